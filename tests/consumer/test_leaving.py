"""`close` and `unsubscribe` of a member: what is in hand stays unfinished, and nothing more is handed out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dekaf_proto.events import PartitionsRevoked, Rebalance
from dekaf_proto.operation import Operation
from tests.consumer.helpers import Setup

WAYS: dict[str, Callable[[Setup], Operation[None]]] = {
    "close": lambda setup: setup.consumer.close(setup.now),
    "unsubscribe": lambda setup: setup.consumer.unsubscribe(setup.now),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_in_hand_is_not_finished_by_leaving(way: str) -> None:
    setup = Setup({"t": 1}, group_id="g")
    setup.append("a", "b", "c")
    setup.consumer.subscribe("t", setup.now)
    assert setup.values(2) == ["a", "b"]  # and b is in hand
    leaving = WAYS[way](setup)
    events: list[object] = []
    while not leaving.done:
        assert setup.now < 1060
        event = setup.consumer.poll(setup.now)
        if isinstance(event, Rebalance):
            events.append(type(event))
            setup.consumer.event_done(event, setup.now)
        else:
            assert event is None, "nothing but events"
        setup.run_for(0.01)
    assert events == [PartitionsRevoked]
    assert {tp.partition: found.offset for tp, found in setup.broker.committed("g").items()} == {0: 1}


def test_the_last_commit_does_not_wait_for_a_program_that_does_not_answer() -> None:
    setup = Setup({"t": 1}, group_id="g")
    setup.append("a", "b", "c")
    setup.consumer.subscribe("t", setup.now)
    assert setup.values(2) == ["a", "b"]
    setup.result(setup.consumer.close(setup.now, 5.0))
    assert {tp.partition: found.offset for tp, found in setup.broker.committed("g").items()} == {0: 1}
    assert setup.broker.group("g").members == ()


@pytest.mark.parametrize("way", WAYS)
def test_commits_that_are_on_their_way_come_first(way: str) -> None:  # G31
    setup = Setup({"t": 1}, group_id="g", enable_auto_commit=False, latency=0.03)
    setup.append(*"abcdefgh")
    setup.consumer.subscribe("t", setup.now)
    commits = []
    for _ in range(8):
        commits.append(setup.consumer.commit(setup.next(), setup.now, retry=False))  # not waited for
    leaving = WAYS[way](setup)
    while not leaving.done:
        assert setup.now < 1060
        event = setup.consumer.poll(setup.now)
        if isinstance(event, Rebalance):
            setup.consumer.event_done(event, setup.now)
        setup.run_for(0.01)
    assert [commit.error for commit in commits] == [None] * 8
    assert {tp.partition: found.offset for tp, found in setup.broker.committed("g").items()} == {0: 8}
