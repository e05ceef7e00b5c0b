"""What a user of dekaf_trio writes, in virtual time. The rules behind it are tested in tests/consumer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest
import trio

import dekaf_trio.errors
from dekaf_proto import errors
from dekaf_proto.errors import (
    ClosedError,
    ConcurrentUseError,
    ConfigurationError,
    DeserializationError,
    ErrorCode,
    LocalProtocolError,
    NoGroupError,
    NoOffsetForPartitionError,
    NotAssignedError,
    UnknownTopicError,
)
from dekaf_proto.messages import ApiKey
from dekaf_trio import (
    Batch,
    Consumer,
    ConsumerConfig,
    OffsetAndMetadata,
    OffsetAndTimestamp,
    TopicPartition,
    TopicPartitionOffset,
)
from tests.dekaf_trio.memory import T0, T1, MemoryKafka, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from typing_extensions import assert_type

    from dekaf_trio import Record


async def take(count: int, records: AsyncIterator[Record[Any, Any]] | Consumer[Any, Any]) -> list[str]:
    """The values of the next records, in a `for` that is left with the last one in hand."""
    values = []
    async for msg in records:
        values.append(msg.value.decode())
        if len(values) == count:
            break
    return values


# ------------------------------------------------------------------------------------------------------------ reading


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


# -------------------------------------------------------------------------------------------- positions and questions


def test_positions() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcdef")
        async with kafka.consumer() as consumer:
            consumer.assign({T0: 2})
            assert consumer.position(T0) == 2
            assert consumer.lag(T0) is None
            assert consumer.highwater(T0) is None
            assert await take(1, consumer) == ["c"]
            assert (consumer.position(T0), consumer.lag(T0), consumer.highwater(T0)) == (3, 3, 6)
            consumer.seek_to_end([T0])
            kafka.append("g")
            consumer.seek(T0, OffsetAndMetadata(4))
            assert await take(1, consumer) == ["e"]
            consumer.assign([TopicPartitionOffset("t", 1, 0)])
            with pytest.raises(NotAssignedError):
                consumer.position(T0)
            with pytest.raises(ValueError, match="negative"):
                consumer.seek(T1, -1)

    run(main)


def test_times() -> None:
    async def main(kafka: MemoryKafka) -> None:
        for value in "abc":
            kafka.append(value)
            await trio.sleep(100)
        start = 1_700_000_000_000
        async with kafka.consumer() as consumer:
            consumer.assign([T0, T1])
            assert await consumer.offsets_for_times({T0: start + 50_000, T1: start}) == {
                T0: OffsetAndTimestamp(1, start + 100_000, 0),
                T1: None,
            }
            await consumer.seek_to_timestamp(datetime.fromtimestamp(start / 1000 + 150, timezone.utc))
            assert await take(1, consumer) == ["c"]
            await consumer.seek_to_timestamp({T0: start})
            assert await take(1, consumer) == ["a"]
            with pytest.raises(ValueError, match="milliseconds, not seconds"):
                await consumer.seek_to_timestamp(start // 1000)

    run(main)


def test_questions() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abc")
        kafka.do(lambda broker, _: broker.delete_records("t", 0, 1))
        async with kafka.consumer() as consumer:
            assert await consumer.beginning_offsets([T0, T1]) == {T0: 1, T1: 0}
            assert await consumer.end_offsets(T0) == {T0: 3}
            assert await consumer.partitions_for("t") == [T0, T1]
            assert await consumer.topics() == ["t"]
            with pytest.raises(UnknownTopicError):
                await consumer.partitions_for("u")

    run(main)


def test_no_offset_and_no_policy() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a")
        async with kafka.consumer(group_id="g", auto_offset_reset="none") as consumer:
            consumer.assign([T0, T1])
            with pytest.raises(NoOffsetForPartitionError, match="t-0, t-1"):
                await take(1, consumer)
            consumer.seek_to_beginning()
            assert await take(1, consumer) == ["a"]

    run(main)


# ------------------------------------------------------------------------------------------------------------ commits


def test_commits() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcdef")
        async with kafka.consumer(group_id="g", enable_auto_commit=False) as consumer:
            consumer.assign([T0])
            assert await consumer.committed(T0) is None
            async for msg in consumer:
                await consumer.commit(msg)
                break
            assert kafka.committed() == {T0: 1}
            await consumer.commit(await consumer.poll(max_records=2))
            assert kafka.committed() == {T0: 3}
            await take(1, consumer)
            await consumer.commit()
            assert kafka.committed() == {T0: 4}
            await consumer.commit({T0: 2})
            await consumer.commit([TopicPartitionOffset("t", 1, 7)])
            assert kafka.committed() == {T0: 2, T1: 7}
            await consumer.commit({T0: OffsetAndMetadata(5, "note", 0)})
            assert await consumer.committed([T0, T1]) == {
                T0: OffsetAndMetadata(5, "note", 0),
                T1: OffsetAndMetadata(7),
            }
            consumer.seek_to_committed()
            assert await take(1, consumer) == ["f"]
        assert kafka.committed()[T0] == 5  # nothing by itself

    run(main)


def test_without_a_group() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.consumer() as consumer:
            consumer.assign([T0])
            with pytest.raises(NoGroupError):
                await consumer.commit()
            with pytest.raises(NoGroupError):
                consumer.commit_async()
            with pytest.raises(NoGroupError):
                await consumer.committed(T0)

    run(main)


def test_commits_that_are_not_awaited() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcdef")
        told: list[tuple[dict[TopicPartition, int], Exception | None]] = []

        def on_done(offsets: Mapping[TopicPartition, OffsetAndMetadata], error: Exception | None) -> None:
            told.append(({tp: found.offset for tp, found in offsets.items()}, error))

        async with kafka.consumer(group_id="g", enable_auto_commit=False) as consumer:
            consumer.assign([T0])
            await take(1, consumer)
            consumer.commit_async(on_done=on_done)
            consumer.commit_async({T0: 2}, on_done=on_done)
            assert told == []
            await consumer.commit({T0: 3})  # P9: the earlier ones have been told by then
            assert told == [({T0: 1}, None), ({T0: 2}, None)]
            assert kafka.committed() == {T0: 3}

            told.clear()
            kafka.do(
                lambda broker, _: broker.faults.add(
                    api=ApiKey.OFFSET_COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
                )
            )
            consumer.commit_async({T0: 4}, on_done=on_done)  # P8: not tried again
            await trio.sleep(1)
            await consumer.poll(max_records=1)
            ((offsets, error),) = told
            assert offsets == {T0: 4}
            assert isinstance(error, errors.CommitError)

            told.clear()
            consumer.commit_async({T0: 5}, on_done=on_done)
        assert told == [({T0: 5}, None)]  # what is left, by the end of the block

    run(main)


def test_what_a_callback_raises_comes_out_of_the_call(caplog: pytest.LogCaptureFixture) -> None:
    async def main(kafka: MemoryKafka) -> None:
        def on_done(offsets: object, error: Exception | None) -> None:
            raise ZeroDivisionError

        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            consumer.commit_async({T0: 1}, on_done=on_done)
            await trio.sleep(1)
            with pytest.raises(ZeroDivisionError):
                await consumer.commit({T0: 2})
            consumer.commit_async({T0: 1}, on_done=on_done)
            consumer.commit_async({T0: 2}, on_done=on_done)
            with pytest.raises(ZeroDivisionError):
                await consumer.close()
        assert "a callback of commit_async has failed" in caplog.text

        async def body() -> None:
            async with kafka.consumer(group_id="g") as consumer:
                consumer.assign([T0])
                consumer.commit_async({T0: 1}, on_done=on_done)
                raise ValueError("the body's")

        with pytest.raises(ValueError, match="the body's"):
            await body()
        assert "closed because of an error, met another one" in caplog.text

    run(main)


def test_a_commit_that_fails_without_a_callback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.consumer(group_id="g", enable_auto_commit=False) as consumer:
            consumer.assign([T0])
            kafka.do(lambda broker, _: broker.faults.add(api=ApiKey.OFFSET_COMMIT, drop="before"))
            consumer.commit_async({T0: 1})
            await trio.sleep(1)
        assert "commit_async: " in caplog.text

    run(main)


def test_stored_offsets_and_automatic_commits() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abcdef")
        async with kafka.consumer(group_id="g", enable_auto_offset_store=False) as consumer:
            consumer.assign([T0])
            await take(4, consumer)
            consumer.store_offsets({T0: 2})
            await trio.sleep(10)
            assert kafka.committed() == {T0: 2}
        async with kafka.consumer(group_id="h") as consumer:
            consumer.assign([T0])
            await take(4, consumer)
            await trio.sleep(10)
            assert kafka.committed("h") == {T0: 3}

    run(main)


# ----------------------------------------------------------------------------------------------------- types, options


def test_deserializers() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("1", "2", "three", "4")
        async with Consumer(
            bootstrap_servers=kafka.bootstrap_servers,
            auto_offset_reset="earliest",
            group_id="g",
            network=kafka,
            value_deserializer=int,
        ) as consumer:
            if TYPE_CHECKING:
                assert_type(consumer, Consumer[bytes | None, int | None])
            consumer.assign([T0])
            seen = []

            async def read() -> None:
                async for msg in consumer:
                    if TYPE_CHECKING:
                        assert_type(msg.value, int | None)
                    seen.append(msg.value)

            for _ in range(2):
                with pytest.raises(DeserializationError) as caught:
                    await read()
            assert seen == [1, 2]
            with pytest.raises(DeserializationError):
                await consumer.poll()
            consumer.seek(T0, caught.value.next_offset)
            assert [msg.value for msg in await consumer.poll()] == [4]
        assert kafka.committed() == {T0: 3}

    run(main)


def test_options() -> None:
    config = ConsumerConfig(bootstrap_servers="a", group_id="g", value_deserializer=bytes.decode)
    consumer = Consumer(config=config, group_id="h")
    if TYPE_CHECKING:
        assert_type(consumer, Consumer[bytes | None, str | None])
    assert consumer.config.group_id == "h"
    assert repr(consumer) == "<Consumer('a:9092', group_id='h')>"
    with pytest.raises(ConfigurationError, match="not yet supported"):
        Consumer("topic", bootstrap_servers="a")
    with pytest.raises(ConfigurationError, match="did you mean group_id"):
        Consumer(bootstrap_servers="a", groupid="g")  # type: ignore[call-overload]


def test_the_errors_are_the_cores() -> None:
    assert dekaf_trio.errors is errors


# --------------------------------------------------------------------------------------------------- beginning and end


def test_it_is_used_within_its_block_and_once() -> None:
    async def main(kafka: MemoryKafka) -> None:
        consumer = kafka.consumer()
        with pytest.raises(LocalProtocolError, match="async with"):
            consumer.assign([T0])
        with pytest.raises(LocalProtocolError, match="async with"):
            await consumer.poll()
        await consumer.close()
        async with consumer:
            pass
        with pytest.raises(ClosedError):
            consumer.assign([T0])
        with pytest.raises(ClosedError):
            await consumer.topics()
        assert consumer.metrics().assigned_partitions == 0
        await consumer.close()
        with pytest.raises(LocalProtocolError, match="again"):
            await consumer.__aenter__()

    run(main)


def test_closing_twice() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abc")
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            await take(2, consumer)
            await consumer.close()
            assert kafka.links == 0
            assert kafka.committed() == {T0: 1}
            await consumer.close()

    run(main)
