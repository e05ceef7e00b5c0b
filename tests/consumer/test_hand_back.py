"""What was handed out and has not reached the program, which was interrupted, is handed out again."""

from __future__ import annotations

import pytest

from dekaf_proto.consumer import FetchedRecords
from dekaf_proto.errors import ClosedError, NoGroupError
from dekaf_proto.types import OffsetAndMetadata, TopicPartition
from tests.consumer.helpers import Setup, values_of

T0 = TopicPartition("t", 0)


def taken(setup: Setup, count: int) -> list[str]:
    """What a driver takes for a batch."""
    setup.run_until(lambda: setup.consumer._handout.has_next(None))
    run = setup.poll()
    assert isinstance(run, FetchedRecords)
    return values_of(run.take(count))


def test_what_was_taken_comes_again() -> None:
    setup = Setup()
    setup.append("a", "b", "c", "d", per_batch=3)
    setup.assign()
    assert taken(setup, 1) == ["a"]
    assert taken(setup, 2) == ["b", "c"]  # which finishes the first one
    assert setup.consumer.position(T0) == 3
    setup.consumer.hand_back(setup.now)
    assert setup.run is not None
    assert next(setup.run, None) is None  # the run in hand has ended
    assert setup.consumer.position(T0) == 1
    assert setup.values(3) == ["b", "c", "d"]


def test_what_is_finished_does_not_and_nothing_is_refetched() -> None:
    setup = Setup({"t": 2})
    setup.append("a", "b")
    setup.append("x", "y", partition=1)
    setup.assign()
    setup.read(4)
    setup.consumer.poll(setup.now)  # asks for more: all four are finished
    fetches = len(setup.fetches())
    setup.consumer.hand_back(setup.now)
    setup.append("c")
    assert setup.values(1) == ["c"]
    assert all(p.fetch_offset >= 2 for f in setup.fetches()[fetches:] for t in f.topics for p in t.partitions)


def test_an_error_that_waits_to_be_told_is_told() -> None:
    setup = Setup()
    setup.append("a")
    setup.assign()
    assert taken(setup, 1) == ["a"]
    setup.partition().tell(ValueError("trouble"))
    setup.consumer.hand_back(setup.now)
    assert str(setup.failure()) == "trouble"
    assert setup.values(1) == ["a"]


def test_a_closed_consumer_has_nothing_to_hand_out() -> None:
    setup = Setup()
    setup.close()
    with pytest.raises(ClosedError):
        setup.consumer.hand_back(setup.now)


def test_what_a_commit_would_send() -> None:
    setup = Setup(group_id="g")
    setup.append("a", "b", "c")
    setup.assign()
    setup.read(2)
    assert setup.consumer.due(None, setup.now) == {T0: OffsetAndMetadata(2, "", 0)}
    assert setup.consumer.due({T0: 7}, setup.now) == {T0: OffsetAndMetadata(7)}
    with pytest.raises(NoGroupError):
        Setup().consumer.due(None, setup.now)
