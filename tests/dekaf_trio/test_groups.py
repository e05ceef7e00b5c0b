"""Members of a group: what a program's listener is told, in which task, what it may do, and cancelled anywhere."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from dekaf_proto.errors import (
    ClosedError,
    ConcurrentUseError,
    ConfigurationError,
    ErrorCode,
    LocalProtocolError,
    NoGroupError,
)
from dekaf_proto.messages import ApiKey
from dekaf_trio import Consumer, RebalanceListener, TopicPartition
from tests.dekaf_trio.memory import T0, T1, MemoryKafka, run, take
from tests.dekaf_trio.test_cancellation import CancelAt

AnyConsumer = Consumer[Any, Any]
Method = Callable[[AnyConsumer, list[TopicPartition]], Awaitable[object]]
BOTH = [0, 1]


class Listener(RebalanceListener):
    """Notes what it is told, and in which task; then calls what a test wants."""

    def __init__(self, **on: Method) -> None:
        self.on = on
        self.told: list[tuple[str, list[int]]] = []
        self.done: list[str] = []
        self.tasks: set[trio.lowlevel.Task] = set()

    async def on_assigned(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        await self._tell("assigned", consumer, partitions)

    async def on_revoked(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        await self._tell("revoked", consumer, partitions)

    async def on_lost(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        await self._tell("lost", consumer, partitions)

    async def _tell(self, name: str, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        self.told.append((name, sorted(tp.partition for tp in partitions)))
        self.tasks.add(trio.lowlevel.current_task())
        assert not trio.lowlevel.currently_ki_protected()
        if name in self.on:
            await self.on[name](consumer, partitions)
        self.done.append(name)


async def fail(*_: object) -> None:
    raise ZeroDivisionError


async def poll_for(consumer: AnyConsumer, seconds: float) -> list[str]:
    """What comes in some time."""
    found: list[str] = []
    with trio.move_on_after(seconds):
        while True:
            found += [f"{msg.partition}:{msg.offset}" for msg in await consumer.poll()]
    return found


# ------------------------------------------------------------------------------------------------------ subscriptions


def test_the_first_example() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a", "b", "c")
        async with kafka.member("t") as consumer:
            assert consumer.subscription == ["t"]
            assert await take(3, consumer) == ["a", "b", "c"]
            assert consumer.assignment == [T0, T1]
            known = consumer.group_metadata()
            assert (known.group_id, known.generation_id) == ("g", 1)
        assert (kafka.members, kafka.committed()[T0]) == (0, 2)  # the last record was in hand

    run(main)


@pytest.mark.parametrize("topics", ["t", ["t", "t"], re.compile("t|u"), iter("t")])
def test_ways_to_subscribe(topics: Any) -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a")
        async with kafka.member() as consumer:
            consumer.subscribe(topics)
            assert await take(1, consumer) == ["a"]
            assert consumer.subscription == ["t"]

    run(main)


def test_what_is_refused() -> None:
    async def main(kafka: MemoryKafka) -> None:
        with pytest.raises(ConfigurationError, match="group_id"):
            Consumer("t", bootstrap_servers="a")
        with pytest.raises(TypeError):
            Consumer("t", b"u", bootstrap_servers="a", group_id="g")  # type: ignore[call-overload]
        consumer = kafka.member("t")
        with pytest.raises(LocalProtocolError, match="async with"):
            consumer.subscribe("t")
        with pytest.raises(LocalProtocolError, match="async with"):
            await consumer.unsubscribe()
        async with consumer:
            with pytest.raises(LocalProtocolError, match="unsubscribe first"):
                consumer.assign([T0])
            wrong: list[Any] = ["", b"t", 5, []]
            for topics in wrong:
                with pytest.raises((TypeError, ValueError)):
                    consumer.subscribe(topics, Listener())
            for listener in (Listener, "t", SimpleNamespace(on_partitions_lost=print)):
                with pytest.raises(TypeError, match="a listener"):
                    consumer.subscribe("t", listener)
            assert consumer._listening.listener is None
        with pytest.raises(ClosedError):
            consumer.subscribe("t")
        async with kafka.consumer() as consumer:
            with pytest.raises(NoGroupError):
                consumer.subscribe("t")
            with pytest.raises(NoGroupError):
                consumer.group_metadata()

    run(main)


def test_unsubscribing() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a", "b")
        listener = Listener()
        async with kafka.member() as consumer:
            consumer.subscribe("t", listener)
            assert await take(2, consumer) == ["a", "b"]
            await consumer.unsubscribe()
            assert (kafka.members, kafka.committed()[T0]) == (0, 1)
            assert (consumer.subscription, consumer.assignment) == ([], [])
            assert listener.told == [("assigned", BOTH), ("revoked", BOTH)]
            await consumer.unsubscribe()
            assert await poll_for(consumer, 1) == []
            listener.on["revoked"] = fail
            consumer.subscribe("t", listener)
            assert await take(1, consumer) == ["b"]
            with pytest.raises(ZeroDivisionError):
                await consumer.unsubscribe()
            assert (kafka.members, consumer.subscription) == (0, [])

    run(main)


def test_a_cancelled_unsubscribe_goes_on() -> None:
    """With the program's next reading, or with closing."""

    async def main(kafka: MemoryKafka) -> None:
        async def slow(*_: object) -> None:
            await trio.sleep(5)

        for reads in (True, False):
            listener = Listener(revoked=slow)
            async with kafka.member() as consumer:
                consumer.subscribe("t", listener)
                await poll_for(consumer, 1)
                with trio.move_on_after(1) as scope:
                    await consumer.unsubscribe()
                assert scope.cancelled_caught
                assert listener.done == ["assigned"]
                if reads:
                    await poll_for(consumer, 1)
                    assert (kafka.members, consumer.subscription) == (0, [])
            assert kafka.members == 0
            assert len(listener.told) == 2

    run(main)


def test_two_members_share() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcd")
        kafka.append(*"efgh", tp=T1)
        one, two = Listener(), Listener()
        async with kafka.member() as first, kafka.member() as second, trio.open_nursery() as nursery:
            first.subscribe("t", one)
            seen = [msg.value for msg in await first.poll(max_records=2)]

            async def read() -> None:
                async for msg in first:
                    seen.append(msg.value)

            nursery.start_soon(read)
            second.subscribe("t", two)
            await poll_for(second, 3)
            assert len(first.assignment) == len(second.assignment) == 1
            await second.close()
            await trio.sleep(3)
            assert len(first.assignment) == 2
            nursery.cancel_scope.cancel()
        assert [name for name, _ in one.told] == ["assigned", "revoked"] * 3
        assert [name for name, _ in two.told] == ["assigned", "revoked"]
        assert kafka.committed() == {T0: 4, T1: 4}
        assert len(seen) == len(set(seen))

    run(main)


# ----------------------------------------------------------------------------------------------------------- listeners


def test_a_listener_may_commit_and_seek_and_ask() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a", "b", "c", "d")
        found: list[object] = []

        async def assigned(consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
            assert partitions == consumer.assignment
            found.append(await consumer.committed(T0))
            consumer.pause([T1])
            consumer.seek(T0, 2)
            found.append(consumer.position(T0))
            found.append(await consumer.end_offsets([T0]))

        async def revoked(consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
            await consumer.commit({T0: 3})
            consumer.commit_async({T1: 1}, on_done=lambda offsets, error: found.append(error))

        listener = Listener(assigned=assigned, revoked=revoked)
        async with kafka.member(enable_auto_commit=False) as consumer:
            consumer.subscribe("t", listener)
            assert await take(2, consumer) == ["c", "d"]
        assert found == [None, 2, {T0: 4}, None]
        assert kafka.committed() == {T0: 3, T1: 1}
        assert listener.tasks == {trio.lowlevel.current_task()}

    run(main)


READS: dict[str, Callable[[AnyConsumer], Awaitable[object]]] = {
    "for": lambda consumer: take(1, consumer),
    "poll": lambda consumer: consumer.poll(),
    "batches": lambda consumer: consumer.batches(5, max_wait=0.1).__anext__(),
    "records until the end": lambda consumer: consumer.records(until_end=True).__anext__(),
}


@pytest.mark.parametrize("way", READS)
def test_what_a_listener_raises_comes_out_and_the_group_goes_on(way: str) -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a")
        listener = Listener(assigned=fail)
        async with kafka.member() as consumer:
            consumer.subscribe("t", listener)
            with pytest.raises(ZeroDivisionError):
                await READS[way](consumer)
            assert await READS[way](consumer)
        assert [name for name, _ in listener.told] == ["assigned", "revoked"]

    run(main)


@pytest.mark.parametrize("way", [*READS, "unsubscribe"])
def test_what_a_listener_can_t_do(way: str) -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a")

        async def refused(consumer: AnyConsumer, _: object) -> None:
            call = READS.get(way, Consumer.unsubscribe)
            with pytest.raises((LocalProtocolError, StopAsyncIteration)) as caught:
                await call(consumer)
            assert "a listener can't" in str(caught.value) or consumer._reader.closed
            if consumer._reader.closed:
                with pytest.raises(ClosedError):
                    consumer.subscribe("t")

        async def tried_by_another(consumer: AnyConsumer, _: object) -> None:
            async def call() -> None:
                with pytest.raises(ConcurrentUseError):
                    await consumer.poll()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)

        listener = Listener(assigned=refused, revoked=refused)
        async with kafka.member() as consumer:
            consumer.subscribe("t", listener)
            assert await take(1, consumer) == ["a"]
            await consumer.unsubscribe()
            listener.on["assigned"] = tried_by_another
            consumer.subscribe("t", listener)
            await poll_for(consumer, 1)
        assert listener.done == ["assigned", "revoked"] * 2

    run(main)


def test_a_listener_has_async_methods() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.member() as consumer:
            consumer.subscribe("t", SimpleNamespace(on_assigned=lambda consumer, partitions: None))
            with pytest.raises(TypeError, match="is not async: a listener of dekaf_trio has async methods"):
                await consumer.poll()

    run(main)


def test_lost_partitions_are_revoked_ones_unless_somebody_minds() -> None:
    async def main(kafka: MemoryKafka) -> None:
        revoked: list[object] = []

        class Derived(RebalanceListener):
            async def on_revoked(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
                revoked.append(len(partitions))

        await RebalanceListener.on_lost(Derived(), None, [])  # type: ignore[arg-type]
        await RebalanceListener().on_assigned(None, [])  # type: ignore[arg-type]
        assert revoked == [0]
        minds = Listener()
        listeners: list[RebalanceListener] = [Derived(), minds]
        for listener in listeners:
            async with kafka.member(group_id=f"g{len(revoked)}") as consumer:
                consumer.subscribe("t", listener)
                await poll_for(consumer, 1)
                kafka.do(lambda broker, now: broker.faults.add(api=ApiKey.HEARTBEAT, error=ErrorCode.UNKNOWN_MEMBER_ID))
                await poll_for(consumer, 1)
        assert revoked == [0, 2]
        assert minds.told[1] == ("lost", BOTH)

    run(main)


# ------------------------------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize("way", ["for", "poll", "batches"])
def test_closing_in_a_listener(way: str) -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a")

        async def close(consumer: AnyConsumer, _: object) -> None:
            await consumer.close()
            assert kafka.members == 0

        listener = Listener(assigned=close, revoked=close)
        async with kafka.member() as consumer:
            consumer.subscribe("t", listener)
            if way == "for":
                assert [msg async for msg in consumer] == []
            elif way == "batches":
                assert [batch async for batch in consumer.batches()] == []
            else:
                with pytest.raises(ClosedError):
                    await consumer.poll()
        assert listener.told == [("assigned", BOTH), ("revoked", BOTH)]
        assert listener.done == ["revoked", "assigned"]

    run(main)


@pytest.mark.parametrize("way", ["for", "poll", "batches"])
@pytest.mark.parametrize("state", ["waits", "is in a listener", "hangs in a listener"])
def test_closing_while_another_task_reads(state: str, way: str) -> None:
    """The event of the end is told in either of the tasks, once; nothing waits longer than closing may take."""

    async def main(kafka: MemoryKafka) -> None:
        async def slow(*_: object) -> None:
            await trio.sleep({"waits": 0, "is in a listener": 2, "hangs in a listener": 1000}[state])

        listener = Listener(assigned=slow)
        async with kafka.member(close_timeout_ms=5000) as consumer, trio.open_nursery() as nursery:
            consumer.subscribe("t", listener)

            async def read() -> None:
                with pytest.raises(ClosedError):
                    await READS[way](consumer)

            nursery.start_soon(read)
            await trio.sleep(1)
            started = trio.current_time()
            with trio.fail_after(10):
                await consumer.close()
            if state == "hangs in a listener":
                assert trio.current_time() - started <= 5
                assert listener.done == []
                nursery.cancel_scope.cancel()
            else:
                assert trio.current_time() - started < 4
                assert listener.done == ["assigned", "revoked"]
        assert trio.current_time() < 1000

    run(main)


def test_closing_goes_on_when_the_listener_of_a_task_that_reads_has_failed() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async def slow(*_: object) -> None:
            await trio.sleep(2)
            raise ZeroDivisionError

        listener = Listener(assigned=slow)
        async with kafka.member(close_timeout_ms=60_000) as consumer, trio.open_nursery() as nursery:
            consumer.subscribe("t", listener)

            async def read() -> None:
                with pytest.raises(ZeroDivisionError):
                    await consumer.poll()

            nursery.start_soon(read)
            await trio.sleep(1)
            await consumer.close()
            assert trio.current_time() < 10
        assert kafka.members == 0
        assert listener.done == ["revoked"]

    run(main)


def test_the_error_of_the_body_wins(caplog: pytest.LogCaptureFixture) -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a", "b")
        listener = Listener(revoked=fail)

        async def body() -> None:
            async with kafka.member() as consumer:
                consumer.subscribe("t", listener)
                await take(2, consumer)
                raise ValueError("the body's")

        with pytest.raises(ValueError, match="the body's"):
            await body()
        assert listener.told[-1] == ("revoked", BOTH)
        assert "closed because of an error, met another one" in caplog.text
        assert (kafka.members, kafka.committed()[T0]) == (0, 1)

    run(main)


def test_what_a_listener_raises_comes_out_of_close(caplog: pytest.LogCaptureFixture) -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.member() as consumer:
            consumer.subscribe("t", Listener(revoked=fail))
            await poll_for(consumer, 1)
            consumer.commit_async({T0: 1}, on_done=lambda *_: [].pop())
            with pytest.raises(ZeroDivisionError):
                await consumer.close()
        assert "closing it has met another error" in caplog.text
        assert kafka.members == 0

    run(main)


@pytest.mark.parametrize("name", ["assigned", "revoked"])
def test_ctrl_c_in_a_listener(name: str) -> None:
    """The event is answered, and the group is left."""

    async def main(kafka: MemoryKafka) -> None:
        async def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        kafka.append("a", "b")
        listener = Listener(**{name: interrupt})

        async def body() -> None:
            async with kafka.member() as consumer:
                consumer.subscribe("t", listener)
                assert await take(2, consumer) == ["a", "b"]

        with pytest.raises(KeyboardInterrupt):
            await body()
        assert kafka.members == 0
        assert listener.told == [("assigned", BOTH), ("revoked", BOTH)]
        if name == "revoked":
            assert kafka.committed()[T0] == 1

    run(main)


def test_a_listener_that_does_not_end_is_cancelled_when_closing(caplog: pytest.LogCaptureFixture) -> None:
    async def main(kafka: MemoryKafka) -> None:
        async def hang(*_: object) -> None:
            await trio.sleep_forever()

        listener = Listener(revoked=hang)
        async with kafka.member(close_timeout_ms=3000) as consumer:
            consumer.subscribe("t", listener)
            await poll_for(consumer, 1)
        assert 3 < trio.current_time() < 6
        assert "took longer than closing may" in caplog.text
        assert listener.done == ["assigned"]

    run(main)


# -------------------------------------------------------------------------------------------------------- cancellation


def test_a_cancelled_listener_has_answered() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async def slow(*_: object) -> None:
            await trio.sleep(100)

        kafka.append("a")
        listener = Listener(assigned=slow)
        async with kafka.member() as consumer:
            consumer.subscribe("t", listener)
            with trio.move_on_after(2) as scope:
                await consumer.poll()
            assert scope.cancelled_caught
            assert await take(1, consumer) == ["a"]
            assert listener.told == [("assigned", BOTH)]

    run(main)


def test_a_cancelled_body_tells_the_listener_which_may_still_commit() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a", "b")

        async def revoked(consumer: AnyConsumer, _: object) -> None:
            await trio.sleep(1)
            await consumer.commit({T0: 1})

        listener = Listener(revoked=revoked)
        with trio.move_on_after(2):
            async with kafka.member(enable_auto_commit=False) as consumer:
                consumer.subscribe("t", listener)
                async for _ in consumer:
                    await trio.sleep(0.1)
        assert listener.done == ["assigned", "revoked"]
        assert (kafka.members, kafka.committed()) == (0, {T0: 1})

    run(main)


def test_a_close_that_is_cancelled_in_a_listener_is_ended_by_the_block() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async def slow(*_: object) -> None:
            await trio.sleep(2)

        listener = Listener(revoked=slow)
        async with kafka.member() as consumer:
            consumer.subscribe("t", listener)
            await poll_for(consumer, 1)
            with trio.move_on_after(1) as scope:
                await consumer.close()
            assert scope.cancelled_caught
        assert kafka.members == 0
        assert listener.told == [("assigned", BOTH), ("revoked", BOTH)]

    run(main)


def test_at_every_checkpoint_in_turn() -> None:
    """A member among others, with a slow listener: the group is left, nothing hangs or is left, nothing is lost."""

    async def main(kafka: MemoryKafka, steps: int) -> bool:
        done: list[str] = []
        kafka.append(*["x"] * 4)
        kafka.append(*["x"] * 4, tp=T1)

        async def slow(consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
            await trio.sleep(0.05)
            await consumer.committed(partitions)

        async def body(consumer: AnyConsumer) -> None:
            async for msg in consumer:
                await trio.sleep(0.02)
                done.append(f"{msg.partition}:{msg.offset}")

        listener = Listener(assigned=slow, revoked=slow)
        async with kafka.member() as other, trio.open_nursery() as nursery:

            async def join() -> None:
                await trio.sleep(0.3)
                other.subscribe("t")
                async for msg in other:
                    done.append(f"{msg.partition}:{msg.offset}")

            nursery.start_soon(join)
            with trio.CancelScope(deadline=5) as scope:
                instrument = CancelAt(trio.lowlevel.current_task(), scope, steps)
                trio.lowlevel.add_instrument(instrument)
                async with kafka.member() as consumer:
                    consumer.subscribe("t", listener)
                    await body(consumer)
            trio.lowlevel.remove_instrument(instrument)
            assert scope.cancelled_caught
            assert trio.current_time() < 20
            assert kafka.members <= 1
            for tp, offset in kafka.committed().items():
                assert {f"{tp.partition}:{below}" for below in range(offset)} <= set(done), "committed but not done"
            await trio.sleep(2)
            assert kafka.members == 1
            assert len(set(done)) == 8, "lost"
            nursery.cancel_scope.cancel()
        names = [name for name, _ in listener.told]
        assert names in [["assigned", "revoked"] * n for n in range(5)] or names[-1] == "assigned"
        return instrument.left < 0

    for steps in range(300):
        if not run(lambda kafka, steps=steps: main(kafka, steps)):  # type: ignore[misc]
            break  # it was the deadline
    assert 20 < steps < 299


# ---------------------------------------------------------------------------------------------------- acknowledgements


def test_a_task_for_each_record() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*map(str, range(20)))
        options = {"acknowledgement_mode": "explicit", "max_unacknowledged_records": 5}
        async with kafka.member("t", **options) as consumer, trio.open_nursery() as nursery:
            running = most = done = 0

            async def handle(msg: Any) -> None:
                nonlocal running, most, done
                running += 1
                most = max(most, running)
                await trio.sleep(0.1 * (7 - msg.offset % 7))
                running -= 1
                consumer.acknowledge(msg)
                done += 1
                if done == 20:
                    nursery.cancel_scope.cancel()

            async for msg in consumer:
                nursery.start_soon(handle, msg)
        assert most == 5
        assert kafka.committed()[T0] == 20
        consumer.acknowledge(msg)  # too late, and nobody minds

    run(main)


def test_acknowledging_needs_the_mode_and_records() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a")
        async with kafka.member("t") as consumer:
            (msg,) = await consumer.poll()
            with pytest.raises(LocalProtocolError, match="explicit"):
                consumer.acknowledge(msg)
        async with kafka.member("t", acknowledgement_mode="explicit") as consumer:
            wrong: list[Any] = [T0, 5, None, "t", [5]]
            for given in wrong:
                with pytest.raises(TypeError):
                    consumer.acknowledge(given)
            consumer.acknowledge(msg)
            batch = await consumer.poll()
            consumer.acknowledge(batch)
        assert kafka.committed()[T0] == 1

    run(main)
