"""A replay says what was said, and names the first thing that is another."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any
from zlib import compress

import pytest

from dekaf_proto.group import ASSIGNORS
from dekaf_proto.group.assignor import Assignor
from dekaf_proto.trace import DifferenceError, Replay
from dekaf_proto.trace.text import brief, shown
from dekaf_proto.wire import decode_request, encode_request
from tests.trace.helpers import Lines, Traced, TracedGroup, replay


def session() -> Traced:
    setup = Traced({"t": 2}, group_id="g")
    setup.append("a", "b")
    setup.assign()
    setup.values(2)
    setup.seek(0)
    setup.values(1)
    setup.close()
    return setup


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return session().recording.text.splitlines()


def changed(lines: Sequence[str], number: int, **changes: Any) -> list[str]:
    line = {**json.loads(lines[number - 1]), **changes}
    return [*lines[: number - 1], json.dumps(line), *lines[number:]]


def find(lines: Sequence[str], **what: Any) -> int:
    return next(n for n, text in enumerate(lines, 1) if all(json.loads(text).get(k) == v for k, v in what.items()))


def difference(lines: Sequence[str]) -> DifferenceError:
    with pytest.raises(DifferenceError) as caught:
        list(Replay(lines))
    return caught.value


def test_the_same_each_time(lines: list[str]) -> None:
    assert session().recording.text.splitlines() == lines
    for piece in (None, 1, 100):
        made = Replay(lines, piece=piece)
        steps = list(made)
        assert made.end == "closed"
        assert [step.number for step in steps] == list(range(2, len(lines)))
        assert made.header["seed"] == 0


def test_steps_are_for_people_too(lines: list[str]) -> None:
    text = "\n".join(map(str, Replay(lines)))
    for part in ("    1000.000 assign([t-0, t-1])\n               Connect 1 127.0.0.1 9092 127.0.0.1 False",
                 " bytes)\n               Send 1 METADATA v13 #1", "run 1, next 2, got 2\n",
                 "<Record t-0 offset=0",
                 "seek(t-0, 0)", "close()\n"):  # fmt: skip
        assert part in text
        text = text[text.index(part) :]


def test_a_recording_that_was_cut_off(lines: list[str]) -> None:
    for end in (lines[:7], [*lines[:7], lines[7][:-5]], [*lines[:7], "7"]):
        made = Replay(end)
        assert len(list(made)) == 6
        assert made.end is None
    inside: Traced = Traced({"t": 1}, value_deserializer=lambda value: inside.consumer.handle_timeout(inside.now))
    inside.append("a")
    inside.assign()
    inside.values_read()
    inside.close()
    whole = inside.recording.text.splitlines()
    for extra in (0, 1):
        assert list(Replay(whole[: find(whole, inside=True) + extra]))


def test_another_time(lines: list[str]) -> None:
    number = find(lines, do="assign")
    error = difference(changed(lines, number, t=999.5))
    assert error.number == number + 2  # the next automatic commit is due earlier
    assert str(error).splitlines() == [
        f"line {number + 2}, wait at 1000.0: this is another",
        "    recorded: due 1005.0",
        "    replayed: due 1004.5",
    ]


def test_another_request(lines: list[str]) -> None:
    number = next(n for n, text in enumerate(lines, 1) if "OFFSET_COMMIT" in text)
    out = json.loads(lines[number - 1])["out"]
    send = next(entry for entry in out if "OFFSET_COMMIT" in entry[2])
    asked, request = decode_request(b64decode(send[3])[4:])
    request.topics[0].partitions[0].committed_offset = 5  # type: ignore[attr-defined]
    send[3] = b64encode(encode_request(request, asked.request_api_version, asked.correlation_id, "dekaf")).decode()
    error = difference(changed(lines, number, out=out))
    first, recorded, replayed = str(error).splitlines()
    assert first.startswith(f"line {number}, ")
    assert "committed_offset=5" in recorded
    assert "committed_offset=5" not in replayed


def test_more_or_less_than_was_recorded(lines: list[str]) -> None:
    number = find(lines, do="assign")
    assert "recorded: nothing\n    replayed: Connect 1" in str(difference(changed(lines, number, out=[])))
    more = [*json.loads(lines[number - 1])["out"], ["Disconnect", 9]]
    assert "recorded: Disconnect 9\n    replayed: nothing" in str(difference(changed(lines, number, out=more)))


def test_what_was_read(lines: list[str]) -> None:
    number = find(lines, run=1)
    assert "recorded: got 2\n    replayed: got 1" in str(difference(changed(lines, number, next=1)))
    error = difference(changed(lines, number, run=7))
    assert str(error).splitlines()[0] == f"line {number}, run 7, next 2, got 2: this is another"
    assert error.replayed is None


def test_what_the_engine_raises_is_the_cause(lines: list[str]) -> None:
    number = find(lines, do="seek")
    error = difference(changed(lines, number, **{"with": {"tp": {"$": "TopicPartition", "v": ["u", 0]}, "offset": 0}}))
    assert "replayed: raised NotAssignedError u-0 is not assigned" in str(error)
    assert type(error.__cause__).__name__ == "NotAssignedError"


def test_another_version_is_named(lines: list[str]) -> None:
    old = changed(changed(lines, 1, version="0.0.7"), 2, t=900.0)
    assert "this is another (recorded by dekaf 0.0.7, this is " in str(difference([*old[:2], *old[2:]]))


def test_a_line_that_leads_to_nothing(lines: list[str]) -> None:
    end = [*lines[:3], json.dumps({"run": 1, "next": 0})]
    assert difference(end).number == 4
    number = find(lines, run=1)
    assert difference([*lines[:number], json.dumps({"run": 1}), *lines[number:]]).replayed is None


@pytest.mark.parametrize("header", ["", "no json", "[]", "{}", '{"dekaf_trace": 2, "engine": "Consumer"}'])
def test_what_is_no_recording(header: str) -> None:
    with pytest.raises(ValueError, match="no recording of a Consumer in format 1"):
        Replay([header])


def test_an_option_that_is_not_in_it() -> None:
    class Mine(Assignor):
        name = "mine"

        def assign(self, topics: Any, members: Any) -> Any:
            return ASSIGNORS["range"].assign(topics, members)

    group = TracedGroup({"t": 2}, partition_assignment_strategy=[Mine()])
    group.join()
    group.settle()
    group.close()
    text = group.recording.text.splitlines()
    with pytest.raises(ValueError, match=r"not have the option partition_assignment_strategy \(tuple\): pass it as"):
        Replay(text)
    assert list(Replay(text, partition_assignment_strategy=[Mine()]))


def test_old_runs_are_let_go() -> None:
    setup = Traced({"t": 1})
    setup.assign()
    for _ in range(70):
        setup.append("a")
        setup.values(1)
    setup.close()
    made = Replay(setup.recording.text.splitlines())
    assert list(made)
    assert len(made._runs) == 64
    assert not made._operations


def test_lines_for_people() -> None:
    assert brief({"cancel": 3, "out": []}) == "cancel 3"
    assert brief({"do": "next_deadline"}) == "next_deadline"
    line = {"t": 1.0, "do": "poll", "with": {"a": {"$": "event", "v": 2}, "b": {"$": "map", "v": [[1, 2]]}, "c": None}}
    assert shown(line) == "       1.000 poll(event 2, map([1, 2]))"
    packed = {"t": 1.0, "do": "receive_data", "with": {"conn": 1, "packed": b64encode(compress(b"abc")).decode()}}
    assert shown(packed).endswith("receive_data(1, 3 bytes)")


def test_replaying_a_replay(lines: list[str]) -> None:
    """What the new engine writes is the recording again."""
    again = Lines()
    made = Replay(lines)
    write = made.write

    def both(text: str) -> None:
        write(text)
        again.write(text)

    made.write = both  # type: ignore[method-assign]
    list(made)
    assert [line for line in again.lines if "end" not in line][1:] == [json.loads(line) for line in lines[1:-1]]
    assert replay(again)
