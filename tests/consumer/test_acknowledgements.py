"""Explicit acknowledgement: records are done in any order, and only what all are done below is committed."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.consumer.batch import Batch
from dekaf_proto.errors import LocalProtocolError
from dekaf_proto.events import PartitionsRevoked
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import T0, Setup


def make(partitions: int = 1, **options: Any) -> Setup:
    return Setup({"t": partitions}, **{"group_id": "g", "acknowledgement_mode": "explicit", **options})


def stored(setup: Setup, partition: int = 0) -> int | None:
    found = setup.broker.committed("g").get(TopicPartition("t", partition))
    return None if found is None else found.offset


def acknowledge(setup: Setup, *records: Any) -> None:
    setup.consumer.acknowledge(records, setup.now)


def test_what_lies_below_the_first_open_record_is_committed() -> None:
    setup = make()
    setup.append("a", "b", "c", "d")
    setup.assign()
    a, b, c, d = setup.read(4)
    setup.run_for(6)
    assert stored(setup) == 0  # where it began; nothing is done
    acknowledge(setup, c, a)
    setup.run_for(6)
    assert stored(setup) == 1
    setup.result(setup.consumer.commit(None, setup.now))
    assert stored(setup) == 1
    acknowledge(setup, b)
    setup.result(setup.consumer.commit(None, setup.now))
    assert stored(setup) == 3
    acknowledge(setup, d)
    setup.close()
    assert stored(setup) == 4


def test_one_a_batch_or_several() -> None:
    setup = make()
    setup.append("a", "b", "c", "d")
    setup.assign()
    a, b, c, d = setup.read(4)
    setup.consumer.acknowledge(a, setup.now)
    assert setup.consumer.metrics().outstanding == 3
    setup.consumer.acknowledge(Batch([b, c]), setup.now)
    setup.consumer.acknowledge(iter([d]), setup.now)
    metrics = setup.consumer.metrics()
    assert (metrics.outstanding, metrics.ignored_acknowledgements) == (0, 0)
    assert metrics.oldest_unacknowledged_age is None


@pytest.mark.parametrize("wrong", [None, 3, "abc", [1], b"x"])
def test_nothing_but_records(wrong: Any) -> None:
    setup = make()
    with pytest.raises(TypeError, match="expected"):
        setup.consumer.acknowledge(wrong, setup.now)


def test_only_where_records_have_to_be_acknowledged() -> None:
    setup = make(acknowledgement_mode="implicit")
    setup.append("a")
    setup.assign()
    with pytest.raises(LocalProtocolError, match="acknowledgement_mode"):
        setup.consumer.acknowledge(setup.next(), setup.now)


def test_after_close_it_does_nothing() -> None:
    setup = make()
    setup.append("a")
    setup.assign()
    record = setup.next()
    setup.close()
    acknowledge(setup, record)
    assert setup.consumer.metrics().ignored_acknowledgements == 0
    assert stored(setup) == 0


def test_twice_counts_once() -> None:
    setup = make()
    setup.append("a", "b", "c")
    setup.assign()
    a, b, c = setup.read(3)
    acknowledge(setup, b, b)
    acknowledge(setup, a, a, b)
    metrics = setup.consumer.metrics()
    assert (metrics.outstanding, metrics.ignored_acknowledgements) == (1, 3)
    acknowledge(setup, c)
    assert setup.consumer.metrics().outstanding == 0


def test_gaps_are_never_open() -> None:
    setup = make()
    setup.append("a", "b", "c", "d")
    setup.append("e")
    setup.broker.compact("t", 0, keep=lambda record: record.offset not in (1, 2))
    setup.assign()
    records = setup.read(3)
    assert [record.offset for record in records] == [0, 3, 4]
    acknowledge(setup, records[0])
    setup.result(setup.consumer.commit(None, setup.now))
    assert stored(setup) == 3
    acknowledge(setup, *records)
    setup.result(setup.consumer.commit(None, setup.now))
    assert stored(setup) == 5


def test_an_explicit_commit_covers_what_is_open() -> None:
    setup = make()
    setup.append("a", "b", "c")
    setup.assign()
    records = setup.read(3)
    setup.result(setup.consumer.commit(records[1], setup.now))
    assert stored(setup) == 2
    setup.run_for(11)
    assert stored(setup) == 2
    acknowledge(setup, records[2])
    setup.run_for(6)
    assert stored(setup) == 2  # the first two are still open, so nothing above the commit is
    acknowledge(setup, records[0], records[1])
    setup.run_for(6)
    assert stored(setup) == 3


def test_a_seek_forgets_what_is_open() -> None:
    setup = make()
    setup.append("a", "b", "c")
    setup.assign()
    old = setup.read(3)
    setup.seek(1)
    (again,) = setup.read(1)
    assert again.offset == 1
    acknowledge(setup, *old)
    assert setup.consumer.metrics().ignored_acknowledgements == 3
    assert setup.consumer.metrics().outstanding == 1
    setup.run_for(6)
    assert stored(setup) == 1
    acknowledge(setup, again)
    setup.run_for(6)
    assert stored(setup) == 2


def test_no_more_than_may_be_open_are_given() -> None:
    setup = make(2, max_unacknowledged_records=3)
    setup.append("a", "b", "c", "d")
    setup.append("x", "y", partition=1)
    setup.assign()
    records = setup.read(3)
    assert setup.poll() is None
    waiting = setup.consumer.wait(setup.now, 30)
    gathering = setup.consumer.wait(setup.now, 20, records=5)
    setup.run_for(10)
    assert not waiting.done
    assert not gathering.done
    acknowledge(setup, records[1], records[2])
    assert setup.result(waiting) is True
    more = setup.read(2)
    assert setup.poll() is None
    acknowledge(setup, *more, records[0])
    assert len(setup.read(1)) == 1
    assert setup.result(gathering) is False


def test_a_batch_takes_no_more_than_may_be_open() -> None:
    setup = make(max_unacknowledged_records=3)
    setup.append("a", "b", "c", "d", "e")
    setup.assign()
    setup.result(setup.consumer.wait(setup.now))
    run = setup.poll()
    assert run is not None
    taken = run.take(100)  # type: ignore[union-attr]
    assert len(taken) == 3
    assert run.take(100) == []  # type: ignore[union-attr]


def test_the_age_of_the_oldest() -> None:
    setup = make()
    setup.append("a", "b", "c")
    setup.assign()
    a, b = setup.read(2)
    setup.run_for(1)
    (c,) = setup.read(1)
    setup.run_for(2)
    age = setup.consumer.metrics().oldest_unacknowledged_age
    assert age is not None
    assert 1.9 < age < 3.1  # as far as it is to be seen: at each input
    acknowledge(setup, a, b)
    age = setup.consumer.metrics().oldest_unacknowledged_age
    assert age is not None
    assert 1.4 < age < 2.1
    acknowledge(setup, c)
    assert setup.consumer.metrics().oldest_unacknowledged_age is None


# ------------------------------------------------------------------------------------------------------- revocations


def subscribed(**options: Any) -> Setup:
    setup = make(2, revocation_drain_ms=5_000, **options)
    setup.append("a", "b")
    setup.consumer.subscribe("t", setup.now)
    return setup


def revoked(setup: Setup) -> bool:
    setup.poll()
    return any(isinstance(event, PartitionsRevoked) for event in setup.told)


def joined_by_another(setup: Setup) -> Any:
    other = setup.add_consumer(seed=1, group_id="g")
    other.subscribe("t", setup.now)
    return other


def run_polling(setup: Setup, condition: Any, limit: float = 30) -> None:
    end = setup.now + limit
    while not condition():
        assert setup.now < end, "it did not happen"
        setup.poll()
        setup.run_for(0.05)


def test_a_revocation_waits_for_what_is_being_worked_on() -> None:
    setup = subscribed()
    a, b = setup.read(2)
    joined_by_another(setup)
    run_polling(setup, lambda: revoked(setup))
    acknowledge(setup, a)
    setup.run_for(1)
    assert setup.consumer.assignment == [T0, TopicPartition("t", 1)]
    assert stored(setup) in (None, 0)
    acknowledge(setup, b)
    setup.run_for(1)
    assert stored(setup) == 2
    assert setup.consumer.metrics().ignored_acknowledgements == 0


def test_a_revocation_does_not_wait_for_ever() -> None:
    setup = subscribed()
    a, b = setup.read(2)
    joined_by_another(setup)
    run_polling(setup, lambda: revoked(setup))
    acknowledge(setup, a)
    began = setup.now
    run_polling(setup, lambda: stored(setup) == 1)
    assert 4.5 < setup.now - began < 6.5
    run_polling(setup, lambda: len(setup.told) > 2)
    acknowledge(setup, b)
    assert setup.consumer.metrics().ignored_acknowledgements == 1


def test_close_waits_for_what_is_being_worked_on() -> None:
    setup = subscribed()
    a, b = setup.read(2)
    acknowledge(setup, a)
    closing = setup.consumer.close(setup.now)
    setup.run_for(1)
    setup.poll()
    setup.run_for(1)
    assert not closing.done
    acknowledge(setup, b)
    setup.result(closing)
    assert stored(setup) == 2


def test_without_automatic_commits_a_revocation_waits_for_nothing() -> None:
    setup = subscribed(enable_auto_commit=False)
    setup.read(2)
    joined_by_another(setup)
    run_polling(setup, lambda: revoked(setup))
    setup.run_for(1)
    assert len(setup.consumer.assignment) == 1  # it has joined again
    assert stored(setup) is None


def test_when_records_were_given_is_noted_once() -> None:
    setup = make(2)
    setup.append("a")
    setup.assign()
    (a,) = setup.read(1)
    setup.run_for(5)
    assert len(setup.partition().delivery.seen) == 1
    acknowledge(setup, a)
    assert not setup.partition().delivery.seen


# ------------------------------------------------------------------------------------------------------------- closing


@pytest.mark.parametrize("drain, seconds", [(5_000, 5.0), (0, 0.0)])
def test_close_waits_for_who_may_still_be_at_work(drain: int, seconds: float) -> None:
    setup = make(1, revocation_drain_ms=drain)
    setup.append("a", "b")
    setup.consumer.subscribe("t", setup.now)
    a, _ = setup.read(2)
    acknowledge(setup, a)
    began = setup.now
    closing = setup.consumer.close(setup.now)
    run_polling(setup, lambda: closing.done)
    assert seconds <= setup.now - began < seconds + 0.3
    assert setup.broker.committed("g")[T0].offset == 1


def test_close_waits_no_longer_than_somebody_is_at_work() -> None:
    setup = make(1, revocation_drain_ms=5_000)
    setup.append("a", "b")
    setup.consumer.subscribe("t", setup.now)
    a, b = setup.read(2)
    began = setup.now
    closing = setup.consumer.close(setup.now)
    run_polling(setup, lambda: setup.now > began + 1)
    acknowledge(setup, b)
    acknowledge(setup, a)
    run_polling(setup, lambda: closing.done)
    assert setup.now - began < 1.3
    assert setup.broker.committed("g")[T0].offset == 2
