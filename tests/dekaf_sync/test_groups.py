"""Members of a group through sockets: what a program's listener is told, where, and what it may do."""

from __future__ import annotations

import gc
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from dekaf_proto.errors import (
    ClosedError,
    ConcurrentUseError,
    ConfigurationError,
    ErrorCode,
    LocalProtocolError,
    NoGroupError,
    WakeupError,
)
from dekaf_proto.messages import ApiKey
from dekaf_sync import Consumer, RebalanceListener, Record, TopicPartition
from tests.dekaf_sync.helpers import PATIENCE, T0, T1, T2, Kafka, Listener, in_thread, once, read, until, values
from tests.dekaf_sync.test_threads import Interrupter

AnyConsumer = Consumer[Any, Any]
ALL = [0, 1, 2]


def settle(*consumers: AnyConsumer, until_told: Callable[[], object]) -> None:
    """Polls the consumers in turn until the group is where it is to be."""
    deadline = time.monotonic() + PATIENCE
    while not until_told():
        assert time.monotonic() < deadline, "it did not happen"
        for consumer in consumers:
            consumer.poll(0.01)


# ----------------------------------------------------------------------------------------------------- subscriptions


def test_the_first_example(kafka: Kafka) -> None:
    for partition in range(3):
        kafka.append("a", "b", partition=partition)
    with kafka.member("t") as consumer:
        assert consumer.subscription == ["t"]
        assert sorted(read(consumer, 6)) == ["a", "a", "a", "b", "b", "b"]
        assert sorted(consumer.assignment) == [T0, T1, T2]
        known = consumer.group_metadata()
        assert (known.group_id, known.generation_id, known.group_instance_id) == ("g", 1, None)
        assert kafka.call(lambda broker, now: broker.group("g")).members[0].member_id == known.member_id
    # The last record was in hand.
    assert sum(kafka.committed(tp) or 0 for tp in (T0, T1, T2)) == 5
    assert kafka.members() == 0


def test_a_first_call_subscribes_without_a_with(kafka: Kafka) -> None:
    kafka.append("a")
    first: list[Callable[[AnyConsumer], object]] = [
        lambda consumer: consumer.poll(PATIENCE),
        lambda consumer: consumer.subscription,
        lambda consumer: next(iter(consumer)),
    ]
    for call in first:
        consumer = kafka.member("t")
        assert call(consumer)
        assert consumer.subscription == ["t"]
        consumer.close()
    consumer = kafka.member("t")
    with pytest.raises(LocalProtocolError, match="unsubscribe first"):
        consumer.assign([T0])
    consumer.close()


@pytest.mark.parametrize("topics", ["t", ["t"], ("t", "t"), re.compile("t|u"), (topic for topic in "t")])
def test_ways_to_subscribe(kafka: Kafka, topics: Any) -> None:
    kafka.append("a")
    with kafka.member() as consumer:
        assert consumer.subscription == []
        consumer.subscribe(topics)
        assert values([next(iter(consumer))]) == ["a"]
        assert consumer.subscription == ["t"]


def test_subscribing_before_the_with_and_instead_of_the_constructor_s_topics(kafka: Kafka) -> None:
    kafka.create("other")
    kafka.append("a", topic="other")
    consumer = kafka.member("t")
    consumer.subscribe("other")
    with consumer:
        assert read(consumer, 1) == ["a"]
        assert consumer.subscription == ["other"]
        consumer.subscribe(["other", "t"])
        settle(consumer, until_told=lambda: len(consumer.assignment) == 4)


@pytest.mark.parametrize("wrong", ["", b"t", 5, [], [""], [b"t"], None, re.compile(b"t")])
def test_what_is_no_topic(kafka: Kafka, wrong: Any) -> None:
    with kafka.member("t") as consumer:
        with pytest.raises((TypeError, ValueError)):
            consumer.subscribe(wrong)
        assert consumer.subscription == ["t"]


def test_a_group_is_needed(kafka: Kafka) -> None:
    with pytest.raises(ConfigurationError, match="group_id"):
        Consumer("t", bootstrap_servers=kafka.bootstrap)
    with kafka.consumer() as consumer:
        with pytest.raises(NoGroupError):
            consumer.subscribe("t")
        with pytest.raises(NoGroupError):
            consumer.group_metadata()


def test_either_by_hand_or_by_the_group(kafka: Kafka) -> None:
    kafka.append("a")
    with kafka.member() as consumer:
        consumer.assign([T0])
        with pytest.raises(LocalProtocolError):
            consumer.subscribe("t", Listener())
        assert consumer._listener is None
        consumer.unsubscribe()
        assert consumer.assignment == []
        consumer.subscribe("t")
        with pytest.raises(LocalProtocolError):
            consumer.assign([T0])
        assert read(consumer, 1) == ["a"]


def test_unsubscribing(kafka: Kafka) -> None:
    kafka.append("a", "b")
    listener = Listener()
    with kafka.member() as consumer:
        consumer.subscribe("t", listener)
        assert read(consumer, 2) == ["a", "b"]  # and b is in hand
        consumer.unsubscribe()
        assert (kafka.members(), kafka.committed(T0)) == (0, 1)
        assert (consumer.subscription, consumer.assignment) == ([], [])
        assert listener.told == [("assigned", ALL), ("revoked", ALL)]
        assert list(consumer.poll(0.05)) == []
        consumer.unsubscribe()
        assert len(listener.told) == 2
        consumer.subscribe("t", listener)
        assert read(consumer, 1) == ["b"]
    assert listener.told[2:] == [("assigned", ALL), ("revoked", ALL)]


def test_what_the_listener_raises_comes_out_of_unsubscribe(kafka: Kafka) -> None:
    listener = Listener(revoked=fail)
    with kafka.member() as consumer:
        consumer.subscribe("t", listener)
        settle(consumer, until_told=lambda: listener.told)
        with pytest.raises(ZeroDivisionError):
            consumer.unsubscribe()
        assert (kafka.members(), consumer.subscription, consumer.assignment) == (0, [], [])


def test_two_members_share(kafka: Kafka) -> None:
    for partition in range(3):
        kafka.append(*"abcdefgh", partition=partition)
    one, two = Listener(), Listener()
    with kafka.member() as first:
        first.subscribe("t", one)
        seen = [(m.partition, m.offset) for m in first.poll(PATIENCE, 5)]
        with kafka.member() as second:
            second.subscribe("t", two)
            settle(first, second, until_told=lambda: len(one.told) == 3 and two.told)
            assert sorted(first.assignment + second.assignment) == [T0, T1, T2]
            assert first.assignment
            assert second.assignment
        settle(first, until_told=lambda: len(first.assignment) == 3)
        seen += [(m.partition, m.offset) for m in first.records(until_end=True)]
    assert len(seen) == len(set(seen))
    assert one.told[:2] == [("assigned", ALL), ("revoked", ALL)]
    assert two.told[-1][0] == "revoked"
    assert [kafka.committed(tp) for tp in (T0, T1, T2)] == [8, 8, 8]


# ---------------------------------------------------------------------------------------------------------- listeners


def fail(*_: object) -> None:
    raise ZeroDivisionError


def test_a_listener_may_commit_and_seek_and_ask(kafka: Kafka) -> None:
    kafka.append("a", "b", "c", "d")
    kafka.append("x", "y", partition=1)
    with kafka.consumer(T0, group_id="g") as consumer:
        consumer.commit({T0: 1})
    found: list[object] = []

    def assigned(consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        found.append(consumer.committed(T0, timeout=PATIENCE))
        found.append(sorted(consumer.assignment) == sorted(partitions))
        consumer.pause([T1])
        consumer.seek(T0, 2)
        found.append(consumer.position(T0))
        found.append(consumer.end_offsets([T0]))

    def revoked(consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        consumer.commit({T0: 3})
        consumer.commit_async({T1: 1}, on_done=lambda *done: found.append(done[1]))

    listener = Listener(assigned=assigned, revoked=revoked)
    with kafka.member(enable_auto_commit=False) as consumer:
        consumer.subscribe("t", listener)
        assert read(consumer, 2) == ["c", "d"]
        assert consumer.paused == [T1]
    committed, *others = found
    assert committed is not None
    assert others == [True, 2, {T0: 4}, None]
    assert (kafka.committed(T0), kafka.committed(T1)) == (3, 1)
    assert listener.told == [("assigned", ALL), ("revoked", ALL)]
    assert listener.threads == {threading.get_ident()}


def test_it_is_called_between_two_records_of_a_loop(kafka: Kafka) -> None:
    """The record in hand is done before a revocation is told, the next one comes after it."""
    kafka.append(*"abcdef", partition=0)
    story: list[str] = []
    listener = Listener(
        assigned=lambda c, tps: story.append("assigned"),
        revoked=lambda c, tps: story.append(f"revoked at {c.position(T0)}"),
    )
    stop = threading.Event()
    # By these names the first one keeps the first partition.
    with (
        kafka.member(group_instance_id="a") as consumer,
        kafka.member(group_instance_id="b") as other,
    ):
        consumer.subscribe("t", listener)
        join = None
        for msg in consumer:
            if msg.offset == 1:
                other.subscribe("t")
                join = in_thread(lambda: [other.poll(0.01) for _ in iter(stop.is_set, True)])
                until(lambda: consumer._run is not None and consumer._run.stopped)  # it is told in the midst of work
            story.append(values([msg])[0])
            if msg.offset == 5:
                break
        stop.set()
        assert join is not None
        join()
    assert story[:6] == ["assigned", "a", "b", "revoked at 2", "assigned", "c"]


@pytest.mark.parametrize("way", ["for", "poll", "batches", "records until the end"])
def test_what_a_listener_raises_comes_out_and_the_group_goes_on(kafka: Kafka, way: str) -> None:
    kafka.append("a", "b")
    calls: dict[str, Callable[[AnyConsumer], object]] = {
        "for": lambda consumer: next(iter(consumer)),
        "poll": lambda consumer: consumer.poll(PATIENCE),
        "batches": lambda consumer: next(iter(consumer.batches(5, max_wait=0.1))),
        "records until the end": lambda consumer: list(consumer.records(until_end=True)),
    }
    listener = Listener(assigned=fail)
    with kafka.member() as consumer:
        consumer.subscribe("t", listener)
        with pytest.raises(ZeroDivisionError) as caught:
            calls[way](consumer)
        assert caught.traceback[-1].name == "fail"  # it points to the program's own line
        assert calls[way](consumer)
        assert [name for name, _ in listener.told] == ["assigned"]


@pytest.mark.parametrize("way", ["poll", "for", "batches", "unsubscribe"])
def test_what_a_listener_can_t_do(kafka: Kafka, way: str) -> None:
    calls: dict[str, Callable[[AnyConsumer], object]] = {
        "poll": lambda consumer: consumer.poll(1.0),
        "for": lambda consumer: next(iter(consumer)),
        "batches": lambda consumer: next(consumer.batches()),
        "unsubscribe": lambda consumer: consumer.unsubscribe(),
    }
    errors: list[object] = []

    def assigned(consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        with pytest.raises(LocalProtocolError, match="a listener can't read records or unsubscribe"):
            calls[way](consumer)
        errors.append(way)

    def revoked(consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        with pytest.raises((ClosedError, LocalProtocolError)):
            calls[way](consumer)
        with pytest.raises(ClosedError):
            consumer.subscribe("t")
        errors.append("closing")

    kafka.append("a")
    with kafka.member() as consumer:
        consumer.subscribe("t", Listener(assigned=assigned, revoked=revoked))
        assert read(consumer, 1) == ["a"]
    assert errors == [way, "closing"]


def test_a_listener_may_subscribe(kafka: Kafka) -> None:
    kafka.create("other")
    kafka.append("a", topic="other")
    second = Listener()
    first = Listener(assigned=lambda consumer, _: consumer.subscribe("other", second))
    with kafka.member() as consumer:
        consumer.subscribe("t", first)
        assert read(consumer, 1) == ["a"]
    assert first.told == [("assigned", ALL)]
    assert second.told == [("revoked", ALL), ("assigned", [0]), ("revoked", [0])]


@pytest.mark.parametrize("wrong", ["t", 5, object(), Listener, SimpleNamespace(on_partitions_assigned=print)])
def test_what_is_no_listener(kafka: Kafka, wrong: Any) -> None:
    with kafka.member() as consumer:
        with pytest.raises(TypeError, match="a listener"):
            consumer.subscribe("t", wrong)
        assert consumer.subscription == []


def test_an_async_listener_is_of_no_use(kafka: Kafka) -> None:
    class Async:
        async def on_assigned(self, consumer: object, partitions: object) -> None:
            raise AssertionError

    with kafka.member() as consumer:
        consumer.subscribe("t", Async())
        with pytest.raises(TypeError, match="is async: a listener of dekaf_sync has plain methods"):
            consumer.poll(PATIENCE)


def test_lost_partitions_are_revoked_ones_unless_somebody_minds(kafka: Kafka) -> None:
    revoked: list[object] = []
    plain = SimpleNamespace(on_revoked=lambda consumer, partitions: revoked.append(len(partitions)))

    class Derived(RebalanceListener):
        def on_revoked(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
            revoked.append("derived")

    minds = Listener()
    RebalanceListener.on_lost(Derived(), None, [])  # type: ignore[arg-type]
    assert revoked == ["derived"]
    listeners: list[tuple[str, object, list[Any]]] = [("g", plain, revoked), ("h", minds, minds.told)]
    for group, listener, known in listeners:
        revoked.clear()
        with kafka.member(group_id=group) as consumer:
            consumer.subscribe("t", listener)
            settle(consumer, until_told=lambda c=consumer: len(c.assignment) == 3)  # type: ignore[misc]
            kafka.fault(
                api=ApiKey.HEARTBEAT, error=ErrorCode.UNKNOWN_MEMBER_ID
            )  # a heartbeat is told that it is no member
            settle(consumer, until_told=lambda known=known: [e for e in known if e == 3 or e == ("lost", ALL)])  # type: ignore[misc]
    assert minds.told[:2] == [("assigned", ALL), ("lost", ALL)]


# -------------------------------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize("where", ["assigned", "revoked"])
@pytest.mark.parametrize("way", ["for", "poll", "batches"])
def test_closing_in_a_listener(kafka: Kafka, where: str, way: str) -> None:
    kafka.append("a")
    listener = Listener(**{where: lambda consumer, _: consumer.close()})
    consumer = kafka.member()
    consumer.subscribe("t", listener)
    if where == "assigned":
        if way == "for":
            assert list(consumer) == []
        elif way == "batches":
            assert list(consumer.batches()) == []
        else:
            with pytest.raises(ClosedError):
                consumer.poll(PATIENCE)
    else:
        assert read(consumer, 1) == ["a"]
        if way == "for":
            other = kafka.member("t")
            join = in_thread(lambda: [other.poll(0.01) for _ in iter(lambda: kafka.members() > 1, True)])
            until(lambda: kafka.members() == 2)
            assert list(consumer) == []
            other_assigned = lambda: len(other.assignment) == 3  # noqa: E731
            join()
            settle(other, until_told=other_assigned)
            other.close()
        else:
            consumer.close()
    with pytest.raises(ClosedError):
        consumer.poll()
    consumer.close()
    assert kafka.members() == 0
    assert listener.told[0] == ("assigned", ALL)
    assert listener.told[1:]
    assert all(told == ("revoked", ALL) for told in listener.told[1:])


def test_the_error_of_the_body_wins(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    kafka.append("a", "b")
    listener = Listener(revoked=fail)

    def body() -> None:
        with kafka.member() as consumer:
            consumer.subscribe("t", listener)
            read(consumer, 2)
            raise ValueError("the body's")

    with pytest.raises(ValueError, match="the body's"):
        body()
    assert listener.told[-1] == ("revoked", ALL)
    assert "closed because of an error, met another one" in caplog.text
    assert (kafka.members(), kafka.committed(T0)) == (0, 1)


def test_what_a_listener_raises_comes_out_of_close(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    kafka.append("a")
    consumer = kafka.member()
    consumer.subscribe("t", Listener(revoked=fail))
    read(consumer, 1)
    consumer.commit_async({T0: 1}, on_done=lambda *_: [].pop())
    with pytest.raises(ZeroDivisionError):
        consumer.close()
    assert "closing it has met another error" in caplog.text
    assert (kafka.members(), kafka.committed(T0)) == (0, 1)


def test_ctrl_c_in_a_listener_while_closing_leaves_the_group_all_the_same(kafka: Kafka) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    kafka.append("a", "b")
    consumer = kafka.member()
    consumer.subscribe("t", Listener(revoked=interrupt))
    read(consumer, 2)
    consumer.commit_async({T1: 1}, on_done=fail)
    with pytest.raises(KeyboardInterrupt):
        consumer.close()
    assert (kafka.members(), kafka.committed(T0)) == (0, 1)


def test_closing_is_bounded_whatever_the_listener_does(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    """The member has left when its time is over; `close` itself returns as soon as the listener has."""
    seen: list[object] = []

    def revoked(consumer: AnyConsumer, partitions: object) -> None:
        until(lambda: kafka.members() == 0 and not consumer._pump._thread.is_alive())  # type: ignore[union-attr]
        with pytest.raises(ClosedError):
            consumer.commit({T0: 1})
        seen.append(partitions)

    kafka.append("a")
    consumer = kafka.member()
    consumer.subscribe("t", Listener(revoked=revoked))
    read(consumer, 1)
    started = time.monotonic()
    consumer.close(timeout=0.3)
    assert time.monotonic() - started < 5
    assert len(seen) == 1


def test_a_forgotten_member_leaves_without_a_listener(kafka: Kafka) -> None:
    kafka.append("a")
    listener = Listener()
    consumer = kafka.member()
    consumer.subscribe("t", listener)
    read(consumer, 1)
    with pytest.warns(ResourceWarning, match="unclosed"):  # noqa: PT031
        del consumer
        gc.collect()
    until(lambda: kafka.members() == 0)
    assert listener.told == [("assigned", ALL)]


# ------------------------------------------------------------------------------------------------------ interruptions


def test_ctrl_c_in_a_listener(kafka: Kafka) -> None:
    """The event counts as answered, and the next call goes on."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    kafka.append("a")
    listener = Listener(assigned=interrupt)
    with kafka.member() as consumer:
        consumer.subscribe("t", listener)
        with pytest.raises(KeyboardInterrupt):
            consumer.poll(PATIENCE)
        assert read(consumer, 1) == ["a"]
        assert listener.told == [("assigned", ALL)]


def test_ctrl_c_in_a_listener_of_unsubscribe(kafka: Kafka) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with kafka.member() as consumer:
        listener = Listener(revoked=interrupt)
        consumer.subscribe("t", listener)
        settle(consumer, until_told=lambda: listener.told)
        with pytest.raises(KeyboardInterrupt):
            consumer.unsubscribe()
        until(lambda: kafka.members() == 0 and consumer.subscription == [])


def test_ctrl_c_at_every_line_of_a_rebalance(kafka: Kafka) -> None:
    """The listener is told of each event, nothing hangs, and nothing is lost or comes twice."""
    kafka.append("a", "b")
    at, hit = 0, True
    untold: set[str] = set()
    while hit:
        at += 1
        listener = Listener()
        with kafka.member(enable_auto_commit=False) as consumer:
            consumer.subscribe("t", listener)
            with suppress(KeyboardInterrupt), Interrupter(at, "dekaf_sync/_") as interrupter:
                settle(consumer, until_told=lambda told=listener.told: told)  # type: ignore[misc]
            hit = interrupter.hit
            consumer.seek_to_beginning() if consumer.assignment else None
            assert read(consumer, 2) == ["a", "b"]
            names = [name for name, _ in listener.told]
            assert names in (["assigned"], [])
            if not names:
                untold.add(interrupter.line)
        assert kafka.members() == 0
    assert at > 30
    assert len(untold) <= 1  # when it comes on the very line that calls the listener


@pytest.mark.parametrize("way", ["close", "unsubscribe"])
def test_ctrl_c_at_every_line_of_leaving(kafka: Kafka, way: str) -> None:
    """Another `close` ends everything, and the listener is told of the end once, or not at all if it came too late."""
    kafka.append("a")
    at, hit, left = 0, True, 0
    while hit:
        at += 1
        listener = Listener()
        consumer = kafka.member(group_id=f"g{at}")
        consumer.subscribe("t", listener)
        assert read(consumer, 1) == ["a"]
        with suppress(KeyboardInterrupt), Interrupter(at, "dekaf_sync/_") as interrupter:
            getattr(consumer, way)()
        hit = interrupter.hit
        started = time.monotonic()
        consumer.close(timeout=5.0)
        assert time.monotonic() - started < 5.0
        assert listener.told in ([("assigned", ALL)], [("assigned", ALL), ("revoked", ALL)])
        left += kafka.members(f"g{at}") == 0
    assert at > 30
    # Ctrl+C in the wait of `close` ends everything at once, and the group will notice that later.
    assert left > at / 2 if way == "close" else left == at


def test_a_wakeup_during_a_listener(kafka: Kafka) -> None:
    """It is for the call that reads, when the listener is done, or for a call that waits in it."""
    listener = Listener(assigned=lambda consumer, _: consumer.wakeup())
    with kafka.member() as consumer:
        consumer.subscribe("t", listener)
        with pytest.raises(WakeupError):
            consumer.poll(PATIENCE)
        assert list(consumer.poll(0.01)) == []

    def revoked(consumer: AnyConsumer, _: object) -> None:
        consumer.wakeup()
        with pytest.raises(WakeupError):
            consumer.committed(T0)
        consumer.committed(T0)

    listener = Listener(revoked=revoked)
    with kafka.member() as consumer:
        consumer.subscribe("t", listener)
        settle(consumer, until_told=lambda: listener.told)
        consumer.unsubscribe()
        assert listener.told[-1] == ("revoked", ALL)


def test_another_thread_stays_out_while_a_listener_runs(kafka: Kafka) -> None:
    def assigned(consumer: AnyConsumer, _: object) -> None:
        def use() -> None:
            with pytest.raises(ConcurrentUseError):
                consumer.commit()
            with pytest.raises(ConcurrentUseError):
                consumer.close()

        in_thread(use)()

    listener = Listener(assigned=assigned)
    with kafka.member() as consumer:
        consumer.subscribe("t", listener)
        settle(consumer, until_told=lambda: listener.told)


# --------------------------------------------------------------------------------------------------- acknowledgements


def test_acknowledging_from_threads_in_any_order(kafka: Kafka) -> None:
    kafka.append(*map(str, range(20)))
    with kafka.member("t", acknowledgement_mode="explicit", auto_commit_interval_ms=20) as consumer:
        batch = consumer.poll(PATIENCE)
        assert len(batch) == 20
        work = [record for record in batch if record.offset != 7][::-1]

        def acknowledge(part: list[Record[Any, Any]]) -> None:
            for record in part:
                consumer.acknowledge(record)

        joins = [in_thread(partial(acknowledge, work[i::4])) for i in range(4)]
        for join in joins:
            join()
        until(lambda: kafka.committed(T0) == 7)
        consumer.acknowledge(batch[7:8])
        until(lambda: kafka.committed(T0) == 20)
    consumer.acknowledge(batch)  # too late, and nobody minds


def test_acknowledging_opens_the_window(kafka: Kafka) -> None:
    kafka.append(*map(str, range(9)))
    with kafka.member(
        "t", acknowledgement_mode="explicit", max_unacknowledged_records=3, revocation_drain_ms=0
    ) as consumer:
        batch = consumer.poll(PATIENCE)
        assert len(batch) == 3
        assert list(consumer.poll(0.02)) == []
        waiting = in_thread(lambda: once(lambda: consumer._pump._calls, lambda: consumer.acknowledge(iter(batch[:2]))))
        assert values(consumer.poll(PATIENCE)) == ["3", "4"]
        waiting()


def test_acknowledging_needs_the_mode_and_records(kafka: Kafka) -> None:
    kafka.append("a")
    with kafka.member("t") as consumer:
        (record,) = consumer.poll(PATIENCE)
        with pytest.raises(LocalProtocolError, match="explicit"):
            consumer.acknowledge(record)
    with kafka.member("t", acknowledgement_mode="explicit", revocation_drain_ms=0) as consumer:
        wrong: list[Any] = [T0, 5, None, "t", [5]]
        for given in wrong:
            with pytest.raises(TypeError):
                consumer.acknowledge(given)
        consumer.acknowledge([])
        consumer.acknowledge(record)
        until(lambda: consumer.poll(0.01) is not None and not consumer._acknowledged)


def test_at_most_once(kafka: Kafka) -> None:
    kafka.append("a", "b", "c")
    with kafka.member("t", delivery="at_most_once", max_poll_records=1) as consumer:
        assert read(consumer, 1) == ["a"]
        assert kafka.committed(T0) == 1
