"""Cancelled anywhere: the group's offsets are committed, nothing hangs, nothing is left, no record is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from dekaf_proto.broker import Broker
from dekaf_proto.errors import ErrorCode, KafkaTimeoutError
from dekaf_proto.messages import ApiKey
from dekaf_trio import Consumer
from tests.dekaf_trio.memory import T0, T1, MemoryKafka, run

Body = Callable[["Consumer[object, object]", list[str]], Awaitable[None]]
COUNT = 16


class CancelAt(trio.abc.Instrument):
    """Cancels a scope as soon as a task has been scheduled `count` times, whatever it waits for then."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, count: int) -> None:
        self.task, self.scope, self.left = task, scope, count

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task and not self.scope.cancel_called:
            self.left -= 1
            if self.left < 0:
                self.scope.cancel()


async def iterate(consumer: Consumer[object, object], done: list[str]) -> None:
    async for msg in consumer:
        await trio.sleep(0.01)
        done.append(f"{msg.partition}:{msg.offset}")


async def poll(consumer: Consumer[object, object], done: list[str]) -> None:
    while True:
        batch = await consumer.poll(max_records=3)
        await trio.sleep(0.01)
        done.extend(f"{msg.partition}:{msg.offset}" for msg in batch)


async def gather(consumer: Consumer[object, object], done: list[str]) -> None:
    async for batch in consumer.batches(max_records=7, max_wait=0.3):
        done.extend(f"{msg.partition}:{msg.offset}" for msg in batch)
        await consumer.commit(batch)


async def seek_and_ask(consumer: Consumer[object, object], done: list[str]) -> None:
    await consumer.seek_to_timestamp(1_700_000_000_000)
    await consumer.offsets_for_times({T0: 1_700_000_000_000})
    async for msg in consumer.records(until_end=True):
        done.append(f"{msg.partition}:{msg.offset}")
        await consumer.commit()
    await trio.sleep_forever()


@pytest.mark.parametrize("body", [iterate, poll, gather, seek_and_ask])
def test_at_every_checkpoint_in_turn(body: Body) -> None:
    """Done is what the body has noted; whatever was not done by then comes again, and at the end all of it was done."""

    async def main(kafka: MemoryKafka, steps: int) -> bool:
        done: list[str] = []
        kafka.append(*["x"] * (COUNT // 2))
        kafka.append(*["x"] * (COUNT // 2), tp=T1, per_batch=3)
        with trio.CancelScope(deadline=30) as scope:
            instrument = CancelAt(trio.lowlevel.current_task(), scope, steps)
            trio.lowlevel.add_instrument(instrument)
            async with kafka.consumer(group_id="g") as consumer:
                consumer.assign([T0, T1])
                await body(consumer, done)
        trio.lowlevel.remove_instrument(instrument)
        assert scope.cancelled_caught
        assert trio.current_time() < 100
        await trio.testing.wait_all_tasks_blocked()
        assert kafka.links == 0
        for tp, offset in kafka.committed().items():
            assert {f"{tp.partition}:{below}" for below in range(offset)} <= set(done), "committed but not done"
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0, T1])
            async for msg in consumer.records(until_end=True):
                done.append(f"{msg.partition}:{msg.offset}")
        assert len(set(done)) == COUNT, "lost"
        return instrument.left < 0

    for steps in range(1000):
        if not run(lambda kafka, steps=steps: main(kafka, steps)):  # type: ignore[misc]
            break  # it was the deadline
    assert 10 < steps < 999


@pytest.mark.parametrize("kind", ["for", "poll", "batches"])
def test_a_cancelled_reading_takes_no_record_away(kind: str) -> None:
    """Each attempt is given up after one step more; the same consumer still gives every record once, in order."""

    async def read(consumer: Consumer[object, object], seen: list[int]) -> None:
        if kind == "for":
            async for msg in consumer:
                seen.append(msg.offset)
                await trio.lowlevel.checkpoint()
        elif kind == "poll":
            seen.extend(msg.offset for msg in await consumer.poll(max_records=3))
        else:
            async for batch in consumer.batches(max_records=5, max_wait=0.5):
                seen.extend(msg.offset for msg in batch)

    async def main(kafka: MemoryKafka) -> None:
        async with kafka.consumer(fetch_max_wait_ms=100) as consumer:
            consumer.assign([T0])
            seen: list[int] = []
            for steps in range(100):
                kafka.append("x", "y")
                with trio.move_on_after(1) as scope:
                    instrument = CancelAt(trio.lowlevel.current_task(), scope, steps % 10)
                    trio.lowlevel.add_instrument(instrument)
                    await read(consumer, seen)
                trio.lowlevel.remove_instrument(instrument)
                if steps % 10 == 9:
                    await trio.sleep(0.3)
            with trio.move_on_after(10):
                while True:
                    await read(consumer, seen)
            assert seen == list(range(200))

    run(main)


def test_the_program_around_it_is_cancelled() -> None:
    """All of trio's tasks at once: ours are shielded and still commit."""

    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcd")

        async def program() -> None:
            async with kafka.consumer(group_id="g") as consumer, trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                consumer.assign([T0])
                async for msg in consumer:
                    if msg.value == b"c":
                        await trio.sleep_forever()

        with trio.move_on_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(program)
                nursery.start_soon(trio.sleep_forever)
        assert trio.current_time() < 11
        assert kafka.committed() == {T0: 2}

    run(main)


def test_entered_when_it_is_cancelled_already() -> None:
    async def main(kafka: MemoryKafka) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with kafka.consumer() as consumer:
                consumer.assign([T0])
                await consumer.topics()
        assert scope.cancelled_caught

    run(main)


@pytest.mark.parametrize("silent", ["from the beginning", "later"])
def test_closing_is_bounded_by_the_option_also_when_it_is_cancelled(silent: str) -> None:
    """Lesson 33: and no longer than that, whatever else has time-outs."""

    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcd")
        if silent == "from the beginning":
            kafka.do(lambda broker, now: broker.pause_node(0, now))
        with trio.CancelScope() as scope:
            async with kafka.consumer(group_id="g", close_timeout_ms=3000) as consumer:
                consumer.assign([T0])
                with trio.move_on_after(5):
                    async for _ in consumer:
                        pass
                kafka.do(lambda broker, now: broker.pause_node(0, now))
                started = trio.current_time()
                scope.cancel()
                await trio.sleep_forever()
        assert trio.current_time() - started <= 3 + 1

    run(main)


def test_closing_is_quick_when_there_is_nothing_to_wait_for() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.consumer() as consumer:
            consumer.assign([T0])
            await trio.sleep(5)
        assert trio.current_time() < 5.1

    run(main)


def test_a_close_that_is_cancelled_goes_on_and_the_end_of_the_block_waits_for_it() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcd")
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            await consumer.poll()
            kafka.do(lambda broker, _: broker.faults.add(api=ApiKey.OFFSET_COMMIT, delay=2.0))
            with trio.move_on_after(1) as scope:
                await consumer.close()
            assert scope.cancelled_caught
            assert kafka.links > 0
        assert 2 <= trio.current_time() < 3

    run(main)


def test_operations_that_are_cancelled_leave_the_consumer_usable() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcd")
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            await consumer.poll(max_records=2)
            connects = kafka.connects
            for api in (ApiKey.OFFSET_COMMIT, ApiKey.LIST_OFFSETS, ApiKey.OFFSET_FETCH):
                kafka.do(lambda broker, _, api=api: broker.faults.add(api=api, delay=2.0))  # type: ignore[misc]
            with trio.move_on_after(1):
                await consumer.commit()
            with trio.move_on_after(1):
                await consumer.end_offsets(T0)
            with trio.move_on_after(1):
                await consumer.committed(T0)
            assert await consumer.end_offsets(T0) == {T0: 4}
            await consumer.commit({T0: 1})
            assert (await consumer.committed([T0]))[T0] is not None
            assert kafka.connects <= connects + 1  # the late answers are matched and dropped; nothing was torn
            assert [msg.value for msg in await consumer.poll()] == [b"c", b"d"]

    run(main)


def test_an_operation_that_is_cancelled_is_not_tried_again() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.consumer(group_id="g", enable_auto_commit=False) as consumer:
            consumer.assign([T0])
            error = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
            fault = kafka.do(lambda broker, _: broker.faults.add(api=ApiKey.OFFSET_COMMIT, error=error, times=None))
            with trio.move_on_after(3):
                await consumer.commit({T0: 1})
            tried = fault.hits
            assert tried > 1
            await trio.sleep(10)
            assert fault.hits == tried

    run(main)


def test_who_asks_for_more_has_finished_what_was_in_hand_even_if_that_is_cancelled_at_once() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcd")
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            await consumer.poll(max_records=2)
            with trio.CancelScope() as scope:
                scope.cancel()
                await consumer.poll(max_records=2)
        assert kafka.committed() == {T0: 2}

    run(main)


def test_what_bounds_an_operation_that_nobody_cancels() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.consumer(default_api_timeout_ms=4000, request_timeout_ms=4000) as consumer:
            kafka.do(lambda broker, now: broker.pause_node(0, now))
            with pytest.raises(KafkaTimeoutError):
                await consumer.end_offsets(T0)
            assert trio.current_time() <= 5

    run(main)


def test_the_bodys_error_leaves_the_block_as_it_is() -> None:
    """Not in a group of one; and what was finished before it is committed, the record that failed is not."""

    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcd")

        async def body() -> None:
            async with kafka.consumer(group_id="g") as consumer:
                consumer.assign([T0])
                async for msg in consumer:
                    if msg.value == b"c":
                        raise ValueError("c is bad")

        with pytest.raises(ValueError, match="c is bad"):
            await body()
        assert kafka.committed() == {T0: 2}

    run(main)


def test_it_is_not_masked_by_what_goes_wrong_in_closing(caplog: pytest.LogCaptureFixture) -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcd")

        async def body() -> None:
            async with kafka.consumer(group_id="g", close_timeout_ms=2000) as consumer:
                consumer.assign([T0])
                await consumer.poll(max_records=2)
                await consumer.poll(max_records=2)
                kafka.do(
                    lambda broker, _: broker.faults.add(
                        api=ApiKey.OFFSET_COMMIT, error=ErrorCode.GROUP_AUTHORIZATION_FAILED, times=None
                    )
                )
                raise ValueError("c is bad")

        with pytest.raises(ValueError, match="c is bad") as caught:
            await body()
        assert caught.value.__context__ is None
        assert "GROUP_AUTHORIZATION_FAILED" in caplog.text

    run(main)


def test_an_error_and_a_cancellation_at_once() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async def body() -> None:
            with trio.CancelScope() as scope:
                async with kafka.consumer() as consumer:
                    consumer.assign([T0])
                    scope.cancel()
                    raise ValueError("as it is")

        with pytest.raises(ValueError, match="as it is"):
            await body()

    run(main)


def test_an_error_of_a_handler_in_a_nursery_within() -> None:
    """There the group is the program's own, with nothing of ours in it."""

    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"ab")

        async def handle(value: bytes) -> None:
            await trio.sleep(1)
            raise ValueError(value.decode())

        errors: list[Exception] = []
        try:
            async with kafka.consumer() as consumer, trio.open_nursery() as nursery:
                consumer.assign([T0])
                async for msg in consumer:
                    nursery.start_soon(handle, msg.value)
                    break
                await consumer.poll()
                await trio.sleep_forever()
        except Exception as error:
            errors.append(error)
        (group,) = errors
        assert [repr(each) for each in group.exceptions] == ["ValueError('a')"]  # type: ignore[attr-defined]

    run(main)


def test_a_broker_of_three_nodes() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcd")
        kafka.append(*"efgh", tp=T1)
        with trio.CancelScope() as scope:
            async with kafka.consumer(group_id="g") as consumer:
                consumer.assign([T0, T1])
                await consumer.poll(max_records=8)
                assert kafka.links >= 3
                scope.cancel()
                await consumer.poll()

    run(main, Broker(nodes=3))
