"""docs/offsets.md: commits of every kind, seeks, acknowledgements, and what metrics say of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dekaf_proto import errors
from dekaf_proto.types import OffsetAndMetadata, TopicPartition
from tests.drivers_contract.needs import needs
from tests.drivers_contract.scene import ALL, PATIENCE, T0, T1, Notes, Scene, settle, values, wait_for
from tests.integration.drivers import DRIVERS, EMBEDDED, Driver, open_consumer

HOUR = 3_600_000
MANUAL: dict[str, Any] = {"enable_auto_commit": False}
EXPLICIT: dict[str, Any] = {"acknowledgement_mode": "explicit"}


def test_the_three_numbers(scene: Scene) -> None:
    scene.append(*"abcd")
    with scene.consumer("t", auto_commit_interval_ms=HOUR) as consumer:
        consumer.read(2)
        assert consumer.position(T0) == 2
        assert consumer.committed_of(T0) is None
        assert consumer.lag(T0) == 2
        assert consumer.highwater(T0) == 4
        assert consumer.metrics().lag[T0] == 2
    assert scene.stored() == 1


def test_a_break_and_a_new_for(scene: Scene) -> None:
    scene.append(*"abcd")
    with scene.consumer("t", auto_commit_interval_ms=HOUR) as consumer:
        assert values(consumer.read(2)) == ["a", "b"]
        assert values(consumer.read(1)) == ["c"]
    assert scene.stored() == 2
    with scene.consumer("t") as consumer:
        assert values(consumer.read(2)) == ["c", "d"]


@needs("batches")
def test_a_batch_is_finished_by_asking_for_the_next(scene: Scene) -> None:
    scene.append(*"abcdef")
    with scene.consumer("t", auto_commit_interval_ms=50) as consumer:
        assert values(consumer.poll(max_records=2)) == ["a", "b"]
        assert consumer.position(T0) == 2
        assert values(consumer.poll(max_records=2)) == ["c", "d"]
        wait_for(lambda: scene.stored() == 2)
        assert values(next(consumer.batches(max_records=5, max_wait=0.05))) == ["e", "f"]
        wait_for(lambda: scene.stored() == 4)
    assert scene.stored() == 4


def test_a_caught_exception_finishes(scene: Scene) -> None:
    scene.append(*"abc")
    with scene.consumer("t", auto_commit_interval_ms=HOUR) as consumer:
        for msg in consumer:
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                if msg.value == b"c":
                    break
    assert scene.stored() == 2


def test_stored_offsets(scene: Scene) -> None:
    scene.append(*"abcd")
    with scene.consumer("t", enable_auto_offset_store=False, auto_commit_interval_ms=20) as consumer:
        a, b, c, _ = consumer.read(4)
        consumer.store_offsets(a)
        wait_for(lambda: scene.stored() == 1)
        consumer.store_offsets(b)
        consumer.commit()
        assert scene.stored() == 2
        consumer.store_offsets(c)
    assert scene.stored() == 3


@needs("batches", "commit_async")
def test_commits_of_every_kind(scene: Scene) -> None:
    scene.append(*"abcdefgh")
    done: list[tuple[Mapping[TopicPartition, OffsetAndMetadata], Exception | None]] = []
    with scene.consumer("t", **MANUAL) as consumer:
        consumer.commit()  # nothing to commit is no error
        a, b = consumer.read(2)
        consumer.commit()
        assert scene.stored() == 2
        consumer.commit(a)
        assert scene.stored() == 1
        batch = consumer.poll(max_records=3)
        consumer.commit(batch)
        assert scene.stored() == 5
        assert batch.offsets[T0].offset == 5
        consumer.commit({T0: b.next_offset})
        assert scene.stored() == 2
        consumer.commit({T0: OffsetAndMetadata(3, "a note")})
        assert consumer.committed([T0])[T0] == OffsetAndMetadata(3, "a note", None)
        consumer.commit_async(a, on_done=lambda *given: done.append(given))
        consumer.commit_async(on_done=lambda *given: done.append(given))
        consumer.commit({T1: 0})
        assert [(offsets[T0].offset, error) for offsets, error in done] == [(1, None), (5, None)]
        assert scene.stored() == 5
        assert consumer.metrics().commits == 8
    assert scene.stored() == 5


def test_seeks(scene: Scene) -> None:
    for value in "abcdef":
        scene.append(value)
    with scene.consumer("t") as consumer:
        consumer.read(3)
        consumer.commit()
        consumer.seek(T0, 5)
        assert consumer.position(T0) == 5
        assert values(consumer.read(1)) == ["f"]
        consumer.seek_to_beginning()
        assert values(consumer.read(1)) == ["a"]
        consumer.seek_to_committed([T0])
        assert values(consumer.read(1)) == ["d"]
        consumer.seek(T0, OffsetAndMetadata(1))
        assert values(consumer.read(1)) == ["b"]
        consumer.seek_to_timestamp(datetime.now(timezone.utc) - timedelta(hours=1))
        assert values(consumer.read(1)) == ["a"]
        consumer.seek_to_timestamp({T0: datetime.now(timezone.utc) + timedelta(hours=1)})
        scene.append("g")
        assert values(consumer.read(1)) == ["g"]
        consumer.seek_to_end([T0])
        assert list(consumer.read_to_end()) == []
        found = consumer.offsets_for_times({T0: datetime.now(timezone.utc) + timedelta(hours=1)})
        with pytest.raises(ValueError, match="no record at or after"):
            consumer.seek(T0, found[T0])  # type: ignore[arg-type]


def test_a_seek_backwards_takes_automatic_commits_along(scene: Scene) -> None:
    scene.append(*"abcdef")
    with scene.consumer("t", auto_commit_interval_ms=30) as consumer:
        consumer.read(5)
        wait_for(lambda: scene.stored() == 4)
        consumer.seek(T0, 1)
        assert values(consumer.read(2)) == ["b", "c"]
        wait_for(lambda: scene.stored() in (1, 2))
    assert scene.stored() == 2


def test_a_seek_in_the_loop(scene: Scene) -> None:
    scene.append(*"abcdef")
    got = []
    with scene.consumer("t", auto_commit_interval_ms=HOUR) as consumer:
        for msg in consumer:
            got.append(msg.value.decode())
            if len(got) == 2:
                consumer.seek(T0, 4)
            if msg.value == b"f":
                break
    assert got == ["a", "b", "e", "f"]
    assert scene.stored() == 5


@needs("batches")
def test_acknowledging_from_threads_in_any_order(scene: Scene) -> None:
    scene.append(*"abcdefgh")
    options = {"max_unacknowledged_records": 4, "revocation_drain_ms": 50, **EXPLICIT}  # four are left at the end
    with scene.consumer("t", auto_commit_interval_ms=20, **options) as consumer:
        records = consumer.read(4)
        assert list(consumer.poll(0.1)) == []  # no more than that are out
        assert consumer.metrics().outstanding == 4
        assert (consumer.metrics().oldest_unacknowledged_age or 0) > 0.05
        threads = [threading.Thread(target=consumer._call, args=("acknowledge", each)) for each in records[:0:-1]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: consumer.metrics().outstanding == 1)
        assert scene.stored() in (None, 0)
        consumer._call("acknowledge", records[0])
        wait_for(lambda: scene.stored() == 4)
        assert values(consumer.read(4)) == ["e", "f", "g", "h"]
        assert consumer.metrics().oldest_unacknowledged_age is not None
        consumer.commit()
        assert scene.stored() == 4
    assert scene.stored() == 4


@needs("listeners")
@pytest.mark.parametrize("late", [False, True])
def test_a_revocation_waits_for_what_is_being_worked_on(scene: Scene, late: bool) -> None:
    scene.append(*"abc")
    told = Notes()
    options = {"revocation_drain_ms": 200 if late else 20_000, **EXPLICIT}
    with scene.consumer("t", listener=told, auto_commit_interval_ms=HOUR, **options) as consumer:
        a, b, c = consumer.read(3)
        consumer._call("acknowledge", a)
        with scene.consumer("t") as other:
            settle(consumer, other, until=lambda: ("revoked", [0, 1, 2]) in told.told)
            if not late:
                consumer._call("acknowledge", [b, c])
            settle(consumer, other, until=lambda: consumer.assignment and other.assignment)
            assert scene.stored() == (1 if late else 3)
            if late:
                consumer._call("acknowledge", b)
                wait_for(lambda: consumer.metrics().ignored_acknowledgements == 1)
            assert consumer.metrics().outstanding == 0


def test_at_most_once_gives_nothing_twice(scene: Scene) -> None:
    scene.append(*"abcdefgh")
    got: list[str] = []
    options: dict[str, Any] = {"delivery": "at_most_once", "max_poll_records": 3}
    for _ in range(4):
        with scene.consumer("t", **options) as consumer:
            got += values(consumer.read(2))
    assert got == list("abcdefgh")


@needs("batches")
def test_at_most_once_in_a_rebalance(scene: Scene) -> None:
    scene.append(*"abcdefgh")
    options: dict[str, Any] = {"delivery": "at_most_once", "max_poll_records": 5}
    with scene.consumer("t", **options) as consumer:
        got = values(consumer.read(2))
        assert scene.stored() == 5
        with scene.consumer("t", **options) as other:
            deadline = time.monotonic() + PATIENCE
            while len(got) < 8 or not other.assignment:
                assert time.monotonic() < deadline, got
                got += values(consumer.poll(0.01)) + values(other.poll(0.01))
    assert sorted(got) == list("abcdefgh")


@needs("listeners")
def test_exactly_once_by_ones_own_store(scene: Scene) -> None:
    scene.append(*"abcdef")
    store: dict[TopicPartition, int] = {}
    results: list[str] = []

    def assigned(consumer: Any, partitions: list[TopicPartition]) -> None:
        for tp in partitions:
            if tp in store:
                consumer.seek(tp, store[tp])

    for count in (2, 3, 1):
        with scene.consumer("t", listener=Notes(assigned=assigned), **MANUAL) as consumer:
            for msg in consumer.read(count):
                results.append(msg.value.decode())
                store[msg.topic_partition] = msg.next_offset
    assert results == list("abcdef")
    assert scene.stored() is None


@needs("batches")
def test_two_consumers_in_one_process(scene: Scene) -> None:
    other_driver: Driver = "trio" if scene.driver == "sync" else "sync"
    for partition in range(3):
        scene.append(*"abc", partition=partition)
    with scene.consumer("t") as one, open_consumer(other_driver, scene.bootstrap, group_id="g") as two:
        two._call("subscribe", "t")
        settle(one, two, until=lambda: one.assignment and two.assignment)
        assert sorted(one.assignment + two.assignment) == ALL
        settle(
            one, two, until=lambda: sum(each.position(tp) or 0 for each in (one, two) for tp in each.assignment) == 9
        )
        for each in (one, two):
            assert not each.poll(0.01)  # which finishes the batch in hand
    assert scene.members() == 0
    assert [scene.stored(tp) for tp in ALL] == [3, 3, 3]


def test_a_group_of_all_drivers(scene: Scene) -> None:
    scene.call(lambda broker, _: broker.create_topic("u", 4))
    for partition in range(4):
        scene.append("a", "b", topic="u", partition=partition)
    others = [driver for driver in (*DRIVERS, *EMBEDDED) if driver != scene.driver]
    quick = {"group_id": "g", "heartbeat_interval_ms": 50, "fetch_max_wait_ms": 20}
    with ExitStack() as stack:
        first = scene.consumer("u", auto_commit_interval_ms=HOUR)  # which leads
        members = [stack.enter_context(first)]
        settle(*members, until=lambda: members[0].assignment)
        for driver in others:
            members.append(stack.enter_context(open_consumer(driver, scene.bootstrap, **quick)))
            members[-1]._call("subscribe", "u")
        settle(*members, until=lambda: all(len(member.assignment) == 1 for member in members))
        owned = sorted(tp.partition for member in members for tp in member.assignment)
        assert owned == [0, 1, 2, 3]
    assert scene.members() == 0


def test_metrics_of_a_group(scene: Scene) -> None:
    with scene.consumer("t") as consumer:
        assert consumer.metrics().rebalances == 0
        settle(consumer, until=lambda: consumer.assignment)
        metrics = consumer.metrics()
        assert metrics.rebalances == 1
        assert metrics.last_rebalance_cause
        assert metrics.last_rebalance_seconds is not None
        with scene.consumer("t") as other:
            settle(consumer, other, until=lambda: other.assignment and consumer.metrics().rebalances == 2)
            assert consumer.metrics().last_rebalance_cause == "the group is rebalancing"


def test_where_the_mode_does_not_allow_it(scene: Scene) -> None:
    scene.append("a")
    with scene.consumer("t") as consumer:
        (msg,) = consumer.read(1)
        with pytest.raises(errors.LocalProtocolError, match='acknowledgement_mode="explicit"'):
            consumer._call("acknowledge", msg)
        with pytest.raises(errors.LocalProtocolError, match="enable_auto_offset_store=False"):
            consumer.store_offsets(msg)
        with pytest.raises(errors.LocalProtocolError, match="unsubscribe first"):
            consumer.assign([T0])
