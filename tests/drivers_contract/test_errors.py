"""docs/offsets.md, "Errors": what a program sees, by which attributes, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dekaf_proto import errors
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey
from dekaf_proto.types import OffsetAndMetadata, TopicPartition
from tests.drivers_contract.needs import needs
from tests.drivers_contract.scene import T0, T1, Notes, Scene, settle, values
from tests.integration.drivers import Consumer

MANUAL: dict[str, Any] = {"enable_auto_commit": False}


@needs("listeners", "batches", "commit_async")
def test_a_record_of_before_a_loss_is_not_committed_after_it(scene: Scene) -> None:
    """Neither by `commit` nor by `commit_async`: the group may have gone further meanwhile."""
    scene.append(*"abcd")
    told = Notes()
    results: list[Exception | None] = []
    with scene.consumer("t", listener=told, **MANUAL) as consumer:
        (old,) = consumer.read(1)
        member = consumer._call("group_metadata").member_id
        scene.call(lambda broker, now: broker.expire_member("g", member, now))
        settle(consumer, until=lambda: len(told.told) == 3)
        consumer.seek(T0, 0)
        consumer.commit(consumer.read(3)[2])
        assert scene.stored() == 3
        with pytest.raises(errors.CommitFailedError) as failed:
            consumer.commit(old)
        assert "UNKNOWN_MEMBER_ID" in failed.value.cause
        assert failed.value.since > 1_700_000_000
        consumer.commit_async(old, on_done=lambda _, error: results.append(error))
        consumer.commit()
        consumer.poll(0.01)
        assert isinstance(results[0], errors.CommitFailedError)
        assert scene.stored() == 3


def test_a_partition_that_it_never_had(scene: Scene) -> None:
    with scene.consumer("t", **MANUAL) as consumer:
        settle(consumer, until=lambda: consumer.assignment)
        with pytest.raises(
            errors.CommitFailedError, match="does not own t-7, because the group has not given"
        ) as failed:
            consumer.commit({TopicPartition("t", 7): 1})
        assert failed.value.since == 0


def test_the_broker_refuses(scene: Scene) -> None:
    scene.append("a")
    with scene.consumer("t", **MANUAL) as consumer:
        consumer.read(1)
        scene.fault(api=ApiKey.OFFSET_COMMIT, topic="t", partition=0, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
        with pytest.raises(errors.CommitError, match="TOPIC_AUTHORIZATION_FAILED") as failed:
            consumer.commit({T0: 1, T1: 0})
        assert list(failed.value.errors) == [T0]
        assert scene.stored(T1) == 0
        scene.fault(api=ApiKey.OFFSET_COMMIT, error=ErrorCode.OFFSET_METADATA_TOO_LARGE)
        with pytest.raises(errors.CommitError, match="OFFSET_METADATA_TOO_LARGE"):
            consumer.commit({T0: OffsetAndMetadata(1, "a note")})


def test_no_answer_in_time(scene: Scene) -> None:
    scene.append("a")
    with scene.consumer("t", default_api_timeout_ms=300, request_timeout_ms=100, **MANUAL) as consumer:
        msg = consumer.read(1)[0]
        scene.fault(api=ApiKey.OFFSET_COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, times=None)
        with pytest.raises(errors.KafkaTimeoutError, match=r"commit did not finish in 0.3 s: .*LOAD_IN_PROGRESS"):
            consumer.commit(msg)
        scene.call(lambda broker, _: broker.faults.clear())
        consumer.commit(msg)
        assert scene.stored() == 1


def test_what_passes_is_tried_again(scene: Scene) -> None:
    scene.append("a")
    with scene.consumer("t", retry_backoff_ms=10, retry_backoff_max_ms=20, **MANUAL) as consumer:
        msg = consumer.read(1)[0]
        for code in ("NOT_COORDINATOR", "COORDINATOR_LOAD_IN_PROGRESS", "UNKNOWN_TOPIC_OR_PARTITION"):
            scene.fault(api=ApiKey.OFFSET_COMMIT, error=ErrorCode[code])
        scene.fault(api=ApiKey.OFFSET_COMMIT, drop="before")
        consumer.commit(msg)
        assert scene.stored() == 1
        metrics = consumer.metrics()
        assert metrics.commits == 1
        assert metrics.failed_commits >= 3


@needs("listeners")
def test_a_rebalance_that_waits_for_the_program(scene: Scene) -> None:
    """A commit in a listener that finds the group gone on does not wait for itself."""
    caught: list[Exception] = []

    def revoked(consumer: Any, partitions: list[TopicPartition]) -> None:
        scene.fault(api=ApiKey.OFFSET_COMMIT, error=ErrorCode.REBALANCE_IN_PROGRESS)
        try:
            consumer.commit({T0: 1})
        except errors.KafkaError as error:
            caught.append(error)

    scene.append("a", "b")
    with scene.consumer("t", listener=Notes(revoked=revoked), **MANUAL) as consumer:
        consumer.read(1)
        with scene.consumer("t", **MANUAL) as other:
            settle(consumer, other, until=lambda: other.assignment and consumer.assignment)
    assert isinstance(caught[0], errors.RebalanceInProgressError)
    assert isinstance(caught[0], errors.RebalanceError)


def test_no_offset_to_begin_at(scene: Scene) -> None:
    scene.append("a")
    with scene.consumer("t", auto_offset_reset="none") as consumer:
        with pytest.raises(errors.NoOffsetForPartitionError, match="t-0"):
            consumer.read(1)
        consumer.seek_to_beginning()
        assert values(consumer.read(1)) == ["a"]
        scene.call(lambda broker, _: broker.delete_records("t", 0, 1))
        consumer.seek(T0, 0)
        with pytest.raises(errors.OffsetOutOfRangeError, match="t-0 at 0") as failed:
            consumer.read(1)
        assert failed.value.offsets == {T0: 0}
        scene.append("b")
        consumer.seek_to_beginning()
        assert values(consumer.read(1)) == ["b"]


def test_a_record_that_can_not_be_read(scene: Scene) -> None:
    can_not_be_read(scene, lambda consumer: consumer.read(1))


@needs("batches")
@pytest.mark.parametrize("way", ["poll", "batches"])
def test_a_record_in_a_batch_that_can_not_be_read(scene: Scene, way: str) -> None:
    can_not_be_read(scene, lambda consumer: consumer.poll() if way == "poll" else next(consumer.batches()))


def can_not_be_read(scene: Scene, read: Callable[[Consumer], Any]) -> None:
    """It comes again and again, the ones before it are finished, and it is passed over by a seek."""

    def number(data: bytes) -> int:
        return int(data)

    def step(consumer: Consumer) -> list[int]:
        return [record.value for record in read(consumer)]

    scene.append("1", "x", "3")
    with scene.consumer("t", value_deserializer=number, auto_commit_interval_ms=3_600_000) as consumer:
        assert step(consumer) == [1]
        for _ in range(3):
            with pytest.raises(errors.DeserializationError, match="value of the record at offset 1") as failed:
                step(consumer)
        assert isinstance(failed.value.cause, ValueError)
        error = failed.value
        consumer.commit()
        assert scene.stored() == 1
        consumer.seek(TopicPartition(error.topic, error.partition), error.next_offset)
        assert step(consumer) == [3]
        assert consumer.position(T0) == 3
    assert scene.stored() == 2


def test_a_corrupt_record(scene: Scene) -> None:
    scene.append("a")
    scene.append("b")

    def damage(_: Any, response: Any) -> Any:
        for topic in response.responses:
            for partition in topic.partitions:
                if partition.records:
                    data = bytearray(partition.records)
                    data[-1] ^= 0xFF
                    partition.records = bytes(data)
        return response

    with scene.consumer("t") as consumer:
        scene.fault(api=ApiKey.FETCH, alter=damage, times=None)
        for _ in range(2):
            with pytest.raises(errors.CorruptRecordError, match="t-0") as failed:
                consumer.read_to_end()
        assert failed.value.offset in (0, 1)
        consumer.seek(T0, 2)
        scene.call(lambda broker, _: broker.faults.clear())
        scene.append("c")
        assert values(consumer.read(1)) == ["c"]


def test_a_topic_without_permission(scene: Scene) -> None:
    scene.fault(api=ApiKey.METADATA, topic="t", error=ErrorCode.TOPIC_AUTHORIZATION_FAILED, times=None)
    with scene.consumer("t") as consumer, pytest.raises(errors.TopicAuthorizationError, match="topic t"):
        consumer.read(1)
