"""Ctrl+C at many points: it comes out as KeyboardInterrupt, never hits the engine, and nothing is left."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import pytest
import trio
import trio.testing

from dekaf_proto.messages import ApiKey
from dekaf_proto.types import TopicPartition
from dekaf_trio import Consumer
from tests.dekaf_trio.memory import T0, T1, MemoryKafka, run

#: How many calls lie between two of the points.
STEP = 1601


class InterruptAt:
    """Sends SIGINT to this process at the `count`th call of a function of dekaf."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __enter__(self) -> InterruptAt:
        sys.setprofile(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(None)

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and "/dekaf_" in frame.f_code.co_filename and "/tests/" not in frame.f_code.co_filename:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)


async def use(consumer: Consumer[Any, Any], finished: dict[TopicPartition, int]) -> None:
    """Calls of all kinds."""
    consumer.assign([T0, T1])
    async for msg in consumer.records(until_end=True):
        finished[msg.topic_partition] = msg.next_offset
        if msg.offset % 20 == 19:
            await consumer.commit()
        elif msg.offset % 20 == 5:
            consumer.pause([msg.topic_partition])
            consumer.commit_async()
            consumer.resume()
    consumer.seek_to_beginning()
    for _ in range(2):
        batch = await consumer.poll(max_records=30)
        await consumer.committed(list(batch.offsets))


@pytest.mark.parametrize("start", range(4))
def test_at_many_points(start: int) -> None:
    async def main(kafka: MemoryKafka, count: int) -> bool:
        kafka.append(*["x"] * 50)
        kafka.append(*["y"] * 50, tp=T1, per_batch=7)
        finished = {T0: 0, T1: 0}
        caught = False
        interrupt = InterruptAt(count)
        try:
            with interrupt:
                async with kafka.consumer(group_id="g") as consumer:
                    with trio.fail_after(60):
                        await use(consumer, finished)
            await trio.sleep(1)  # it may come that late
        except KeyboardInterrupt:
            caught = True
        await trio.testing.wait_all_tasks_blocked()
        assert caught is (interrupt.left <= 0)
        assert kafka.links == 0
        assert all(offset <= finished[tp] for tp, offset in kafka.committed().items())
        return caught

    for count in range(1 + STEP // 4 * start, 100_000, STEP):
        if not run(lambda kafka, count=count: main(kafka, count)):  # type: ignore[misc]
            break
    assert 4_000 < count < 99_000


@pytest.mark.parametrize("call", ["seek", "commit", "poll", "close"])
def test_in_the_middle_of_a_call_of_the_engine(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is carried through; then it comes at the next checkpoint."""
    carried_through = []

    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abc")
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            await consumer.poll(max_records=1)
            original = getattr(consumer._engine, call)

            def interrupted(*args: Any, **options: Any) -> Any:
                monkeypatch.setattr(consumer._engine, call, original)
                signal.raise_signal(signal.SIGINT)
                result = original(*args, **options)
                carried_through.append(call)
                return result

            monkeypatch.setattr(consumer._engine, call, interrupted)
            if call == "seek":
                consumer.seek(T0, 0)
                await trio.lowlevel.checkpoint()
            elif call == "commit":
                await consumer.commit()
            elif call == "poll":
                consumer.seek(T0, 0)
                await consumer.poll()
                await trio.lowlevel.checkpoint()
            await trio.sleep(0)

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert carried_through == [call]


def test_while_a_record_is_read() -> None:
    """It is handed out all the same."""
    seen = []

    def interrupted(data: bytes) -> bytes:
        if data == b"b":
            signal.raise_signal(signal.SIGINT)
        return data

    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abc")
        async with kafka.consumer(value_deserializer=interrupted) as consumer:
            consumer.assign([T0])
            async for msg in consumer:
                seen.append(msg.value)
                if msg.value == b"b":
                    await trio.lowlevel.checkpoint()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert seen == [b"a", b"b"]


def test_while_it_closes_it_ends_that_at_once() -> None:
    """Whoever presses it then means it: nothing is committed any more, but nothing is left behind either."""

    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abc")
        kafka.do(lambda broker, _: broker.faults.add(api=ApiKey.OFFSET_COMMIT, delay=10.0, times=None))

        @trio.lowlevel.enable_ki_protection
        async def press() -> None:
            await trio.sleep(2)
            signal.raise_signal(signal.SIGINT)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(press)

            async def program() -> None:
                async with kafka.member("t") as consumer:
                    await consumer.poll(max_records=1)
                    await consumer.poll(max_records=1)

            with pytest.raises(KeyboardInterrupt):
                await program()
        assert trio.current_time() == 2
        await trio.testing.wait_all_tasks_blocked()
        assert kafka.links == 0
        assert kafka.members == 1

    run(main)
