"""Programs that are killed while they work: what the next one gets again, what it doesn't, and that nothing is lost.

Each round starts a program that reads where the last one was stopped, and kills it at a random moment. How much may
come again is not measured in seconds, which a slow machine has more of, but by what the program had been told before
it died: which commits were confirmed.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from tests.integration.groups import SOAK, Group, Member, Part, Process, Tenure
from tests.integration.kafka import KafkaCluster

ROUNDS = 50 if SOAK else 3
#: For each way to commit: the program's part, how long a record takes it, and the consumer's options. Automatic commits
#: are as quick as a record: if they held the one in hand, it would often be lost. Where records are committed before
#: they are given, that takes longer than they do: if it came afterwards, they would often come again.
MODES: dict[str, tuple[str, float, dict[str, Any]]] = {
    "automatic": ("plain", 0.01, {"auto_commit_interval_ms": 10}),
    "each batch": ("batch", 0.001, {"enable_auto_commit": False}),
    "each message": ("message", 0.001, {"enable_auto_commit": False}),
    "acknowledged by threads": (
        "acknowledge",
        0.02,
        {"acknowledgement_mode": "explicit", "auto_commit_interval_ms": 10},
    ),
    "at most once": ("plain", 0.0001, {"delivery": "at_most_once", "max_poll_records": 2}),
}
#: Where the program does not commit itself, but looks at the count of commits.
COUNTED = ("automatic", "acknowledged by threads")


@pytest.mark.parametrize("mode", MODES)
def test_a_program_is_killed(kafka: KafkaCluster, topic: str, mode: str) -> None:
    way, _, options = MODES[mode]
    seed = Random().getrandbits(32)
    random = Random(seed)
    print(f"seed {seed}")  # of the moments, as far as these are anybody's choice
    with Group(kafka, topic, partitions=2, session_timeout_ms=1_500, **options) as group:
        for number in range(ROUNDS):
            _run_and_kill(group, mode, random, early=number % 5 == 4)
        last = group.join(way=way)
        group.produce(10)
        ends = {(*part, end - 1) for part, end in group.ends.items()}
        group.wait("the rest to be handled", lambda: ends <= {tuple(row[2:]) for row in last.rows_of("handled")})
        group.end([last])
        group.check(at_most_once=mode == "at most once")
        tenures = group.tenures()
        for member in group.members:
            if member is not last:
                _check_kill(member, mode, tenures)
        if mode == "at most once":
            assert set(group.times().values()) == {1}


def _run_and_kill(group: Group, mode: str, random: Random, *, early: bool) -> None:
    """One round; `early` when the member has hardly begun."""
    way, pace, _ = MODES[mode]
    member = group.join(way=way, pace=pace)
    if early:
        moment = random.choice(["began", "assigned"])
        group.wait("the member to begin", lambda: member.rows_of(moment))
    else:
        left = sum(group.ends.values()) - sum(map(len, group.handled().values()))
        group.produce(max(0, 800 - left) // len(group.parts))
        commits, records = random.randint(3, 5), random.randint(20, 100 if mode == "automatic" else 400)
        group.wait("records to be handled", lambda: _is_far(member, mode, records, commits))
    member.kill()


def _is_far(member: Process, mode: str, records: int, commits: int) -> bool:
    confirmed = [row[2] for row in member.rows_of("commits")]
    if mode in COUNTED and (not confirmed or confirmed[-1] < commits):
        return False
    return member.handled >= records


def _check_kill(member: Member, mode: str, tenures: dict[Part, list[Tenure]]) -> None:
    """How much of what it did the next owners did again, and, at most once, how much nobody did."""
    again: dict[Part, list[int]] = defaultdict(list)
    left_out = 0
    sure = _surely_committed(member, mode)
    for part, all_ in tenures.items():
        for tenure, following in pairwise(all_):
            if tenure.member is member and tenure.ending == "killed":
                start = following.floor or 0
                assert start >= sure[part], f"{sure[part]} was committed: {tenure}; {following}"
                again[part] = [offset for _, offset in tenure.handled if offset >= start]
                left_out += max(0, start - max([(tenure.floor or 0), *(offset + 1 for _, offset in tenure.handled)]))
    count = sum(map(len, again.values()))
    if mode == "each message":
        assert count <= 1, f"{member.name} had one record in hand: {dict(again)}"
    elif mode == "each batch":
        assert count <= 20, f"{member.name} had one batch in hand: {dict(again)}"
    if mode == "at most once":
        assert count == 0
        assert left_out <= 2, f"{member.name} had no more than 2 records in hand, {left_out} were left out"
    else:
        assert left_out == 0


def _surely_committed(member: Member, mode: str) -> dict[Part, int]:
    """Up to where the member knew each partition to be committed.

    If it does not commit itself, it looks at the count of commits. When the count is 5, the fifth one was sent after
    the fourth was confirmed: it holds all that was finished when the count was still 3.
    """
    sure: dict[Part, int] = defaultdict(int)
    if mode in ("each batch", "each message"):
        for row in member.rows_of("committed"):
            for topic, partition, offset in row[2]:
                sure[topic, partition] = offset
    elif mode in COUNTED:
        counts = member.rows_of("commits")
        if before := [row[0] for row in counts if row[2] <= counts[-1][2] - 2]:
            done = "acknowledged" if mode == "acknowledged by threads" else "handled"
            rows = [row for row in member.rows_of(done) if row[0] < before[-1]]
            if done == "handled":
                rows = rows[:-1]  # which was in hand then
            for tenure in member.tenures():
                offsets = {row[4] for row in rows if (row[2], row[3]) == tenure.part}
                end = tenure.floor or 0
                while end in offsets:
                    end += 1
                sure[tenure.part] = end
    return sure
