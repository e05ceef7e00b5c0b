"""Positions, questions and commits by dekaf_trio in virtual time. Their rules are tested in tests/consumer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest
import trio

from dekaf_proto import errors
from dekaf_proto.errors import (
    ErrorCode,
    NoGroupError,
    NoOffsetForPartitionError,
    NotAssignedError,
    UnknownTopicError,
)
from dekaf_proto.messages import ApiKey
from dekaf_trio import (
    OffsetAndMetadata,
    OffsetAndTimestamp,
    TopicPartition,
    TopicPartitionOffset,
)
from tests.dekaf_trio.memory import T0, T1, MemoryKafka, run, take

if TYPE_CHECKING:
    pass


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
        assert "a callback has failed" in caplog.text

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
