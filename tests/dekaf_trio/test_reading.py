"""Reading by dekaf_trio in virtual time: iterations, polls, batches, and tasks that share a consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from dekaf_proto.errors import (
    ClosedError,
    ConcurrentUseError,
)
from dekaf_trio import (
    Batch,
)
from tests.dekaf_trio.memory import T0, T1, MemoryKafka, run, take

if TYPE_CHECKING:
    pass


def test_iterating() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a", "b")
        kafka.append("c", tp=T1)
        async with kafka.consumer() as consumer:
            consumer.assign([T0, T1])
            seen = []
            async for msg in consumer:
                seen.append((msg.topic, msg.partition, msg.offset, msg.key, msg.value, msg.headers))
                if len(seen) == 3:
                    break
            assert sorted(seen) == [
                ("t", 0, 0, None, b"a", ()),
                ("t", 0, 1, None, b"b", ()),
                ("t", 1, 0, None, b"c", ()),
            ]
            assert consumer.assignment == [T0, T1]
            assert consumer.metrics().assigned_partitions == 2

    run(main)


def test_a_new_for_goes_on_with_the_same_run_and_only_then_finishes_the_record_in_hand() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcdefgh")
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            assert await take(3, consumer) == ["a", "b", "c"]
            assert consumer.position(T0) == 3
            assert await take(2, consumer) == ["d", "e"]
        assert kafka.committed() == {T0: 4}  # e is in hand

    run(main)


def test_records_that_come_later() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.consumer() as consumer, trio.open_nursery() as nursery:
            consumer.assign([T0])

            async def produce() -> None:
                for value in "abc":
                    await trio.sleep(10)
                    kafka.append(value)

            nursery.start_soon(produce)
            assert await take(3, consumer) == ["a", "b", "c"]
            assert 30 <= trio.current_time() < 31

    run(main)


def test_until_the_end() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abc")
        async with kafka.consumer() as consumer:
            consumer.assign([T0, T1])
            seen = []
            async for msg in consumer.records(until_end=True):
                seen.append(msg.value)
                kafka.append("later")
            assert seen == [b"a", b"b", b"c"]
            assert consumer.position(T0) == 3
            assert await take(1, consumer.records()) == ["later"]
            # What was left in hand by a plain `for` has an end here.
            assert len([msg async for msg in consumer.records(until_end=True)]) == 2

    run(main)


def test_the_end_is_that_of_the_call() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abc")
        async with kafka.consumer() as consumer:
            consumer.assign([T0])
            to_the_end = consumer.records(until_end=True)
            await trio.sleep(1)
            kafka.append(*"def")
            await trio.sleep(1)
            assert await take(1, consumer) == ["a"]  # the run in hand goes further
            assert await take(1, consumer) == ["b"]
            assert [msg.value for msg in [msg async for msg in to_the_end]] == [b"c"]
            assert await take(1, consumer) == ["d"]

    run(main)


def test_poll() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcde")
        async with kafka.consumer(group_id="g", max_poll_records=2) as consumer:
            consumer.assign([T0])
            batch = await consumer.poll()
            assert isinstance(batch, Batch)
            assert [msg.value for msg in batch] == [b"a", b"b"]
            assert batch.offsets[T0].offset == 2
            assert [msg.value for msg in await consumer.poll(max_records=10)] == [b"c", b"d", b"e"]
            with trio.move_on_after(60) as scope:
                await consumer.poll()
            assert scope.cancelled_caught
            with pytest.raises(ValueError, match="max_records can't be 0"):
                await consumer.poll(max_records=0)
        assert kafka.committed() == {T0: 5}  # asked for more: finished, though nothing came

    run(main)


def test_the_batch_in_hand_is_not_finished() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcde")
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            await consumer.poll(max_records=2)
            await consumer.poll(max_records=2)
        assert kafka.committed() == {T0: 2}

    run(main)


def test_batches() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcde")
        async with kafka.consumer() as consumer:
            consumer.assign([T0])
            sizes = []
            async for batch in consumer.batches(max_records=2):
                sizes.append(len(batch))
                if sum(sizes) == 5:
                    break
            assert sizes == [2, 2, 1]
            with pytest.raises(ValueError, match="-1"):
                consumer.batches(max_wait=-1)

    run(main)


def test_batches_that_wait_for_more() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async def produce() -> None:
            await trio.sleep(5)
            for value in "abcdef":
                kafka.append(value)
                await trio.sleep(1)

        async with kafka.consumer(fetch_max_wait_ms=50) as consumer, trio.open_nursery() as nursery:
            consumer.assign([T0])
            nursery.start_soon(produce)
            found = []
            async for batch in consumer.batches(max_records=4, max_wait=10):
                found.append((len(batch), round(trio.current_time())))
                if len(found) == 2:
                    break
            assert found == [(4, 8), (2, 19)]

    run(main)


def test_a_cancelled_wait_for_more_loses_nothing() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a")
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            with trio.move_on_after(5):
                async for _ in consumer.batches(max_records=10, max_wait=100):
                    pytest.fail("too early")
            assert consumer.position(T0) == 0
            await consumer.commit()
            assert [msg.value for msg in await consumer.poll()] == [b"a"]

    run(main)


def test_iterations_of_different_kinds_take_turns() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcdefgh")
        async with kafka.consumer() as consumer:
            consumer.assign([T0])
            assert await take(1, consumer) == ["a"]
            assert [msg.value for msg in await consumer.poll(max_records=2)] == [b"b", b"c"]
            assert await take(2, consumer.records(until_end=True)) == ["d", "e"]
            async for batch in consumer.batches(max_records=1):
                assert [msg.value for msg in batch] == [b"f"]
                break
            async for msg in consumer:  # within each other too, in one task
                assert msg.value == b"g"
                assert await take(1, consumer) == ["h"]
                break

    run(main)


def test_what_the_loops_body_does_to_the_consumer_counts_at_once() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcdef")
        kafka.append(*"uvw", tp=T1)
        async with kafka.consumer() as consumer:
            consumer.assign([T0])
            seen = ""
            async for msg in consumer:
                seen += msg.value.decode()
                if seen == "abc":
                    consumer.seek(T0, 1)
                elif seen == "abcbc":
                    consumer.incremental_assign([T1])
                    consumer.pause([T0])
                    assert consumer.paused == [T0]
                elif seen == "abcbcuvw":
                    consumer.resume()
                    assert consumer.paused == []
                elif seen == "abcbcuvwd":
                    consumer.incremental_unassign([T0])
                    consumer.seek_to_beginning()
                elif seen == "abcbcuvwduvw":
                    break
            assert consumer.assignment == [T1]

    run(main)


def test_closed_in_the_loops_body() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abc")
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            async for _ in consumer:
                await consumer.close()
            async for _ in consumer.batches():
                pytest.fail("it is closed")
            assert kafka.committed() == {T0: 0}
        async with kafka.consumer() as consumer:
            consumer.assign([T0])
            async for _ in consumer.batches(max_records=1):
                await consumer.close()

    run(main)


def test_a_break_leaves_nothing_behind_that_trio_would_warn_about(recwarn: pytest.WarningsRecorder) -> None:
    """Warnings are errors here, but what a finalizer raises is only printed."""

    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abc")
        async with kafka.consumer() as consumer:
            consumer.assign([T0])
            for _ in range(3):
                await take(1, consumer)

    run(main)
    assert [str(warning.message) for warning in recwarn] == []


def test_two_tasks_that_read() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.consumer() as consumer, trio.open_nursery() as nursery:
            consumer.assign([T0])

            async def first() -> None:
                assert await take(2, consumer) == ["a", "b"]
                async for _ in consumer:
                    break

            nursery.start_soon(first, name="the first one")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ConcurrentUseError, match="the first one"):
                await consumer.poll()
            with pytest.raises(ConcurrentUseError):
                await take(1, consumer)
            kafka.append(*"abc")
            await trio.sleep(1)
            assert consumer.position(T0) == 3
            kafka.append("d")
            assert await take(1, consumer) == ["d"]  # the other one is through

    run(main)


def test_another_task_commits_and_closes() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"ab")
        async with kafka.consumer(group_id="g") as consumer, trio.open_nursery() as nursery:
            consumer.assign([T0])

            async def other() -> None:
                await trio.sleep(1)
                await consumer.commit({T0: 1})
                await consumer.close()

            nursery.start_soon(other)
            with pytest.raises(ClosedError):
                await take(3, consumer)
            assert kafka.committed() == {T0: 2}

    run(main)
