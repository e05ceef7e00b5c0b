"""The consumer's operations: their results, their time-outs, and giving them up at any moment. In virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dekaf_proto.errors import (
    ErrorCode,
    KafkaTimeoutError,
    OperationCancelledError,
    TopicAuthorizationError,
    UnknownTopicError,
)
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.metadata import MetadataResponse
from dekaf_proto.operation import Operation
from dekaf_proto.types import OffsetAndTimestamp, TopicPartition
from tests.consumer.helpers import UNIX_OFFSET, Setup

TP, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)


def test_topics_and_partitions() -> None:
    setup = Setup({"b": 2, "a": 1, "__consumer_offsets": 3})
    assert setup.result(setup.consumer.topics(setup.now)) == ["a", "b"]
    found = setup.result(setup.consumer.partitions_for("b", setup.now))
    assert found == [TopicPartition("b", 0), TopicPartition("b", 1)]
    with pytest.raises(UnknownTopicError, match="topic c"):
        setup.result(setup.consumer.partitions_for("c", setup.now))
    setup.broker.faults.add(api=ApiKey.METADATA, topic="a", error=ErrorCode.LEADER_NOT_AVAILABLE, times=3)
    assert len(setup.result(setup.consumer.partitions_for("a", setup.now))) == 1
    setup.broker.faults.add(api=ApiKey.METADATA, topic="a", error=ErrorCode.TOPIC_AUTHORIZATION_FAILED, times=1)
    with pytest.raises(TopicAuthorizationError):
        setup.result(setup.consumer.partitions_for("a", setup.now))

    def nothing(request: object, response: MetadataResponse) -> MetadataResponse:
        response.topics = []
        return response

    setup.broker.faults.add(api=ApiKey.METADATA, alter=nothing, times=None)
    with pytest.raises(UnknownTopicError):
        setup.result(setup.consumer.partitions_for("a", setup.now))


def test_offsets() -> None:
    setup = Setup({"t": 2})
    setup.append("a", "b")
    assert setup.result(setup.consumer.beginning_offsets([TP, OTHER], setup.now)) == {TP: 0, OTHER: 0}
    assert setup.result(setup.consumer.end_offsets([TP, OTHER], setup.now)) == {TP: 2, OTHER: 0}
    moment = round((1000 + UNIX_OFFSET) * 1000) - 5
    found = setup.result(setup.consumer.offsets_for_times({TP: moment, OTHER: moment}, setup.now))
    assert found[TP] == OffsetAndTimestamp(0, moment + 5, 0)
    assert found[OTHER] is None


def operations_of(setup: Setup) -> dict[str, Callable[[], Operation[Any]]]:
    consumer = setup.consumer
    moment = round((1000 + UNIX_OFFSET) * 1000) - 5
    return {
        "topics": lambda: consumer.topics(setup.now, 20.0),
        "partitions_for": lambda: consumer.partitions_for("t", setup.now, 20.0),
        "beginning_offsets": lambda: consumer.beginning_offsets([TP, OTHER], setup.now, 20.0),
        "end_offsets": lambda: consumer.end_offsets([TP, OTHER], setup.now, 20.0),
        "offsets_for_times": lambda: consumer.offsets_for_times({TP: moment}, setup.now, 20.0),
        "until_end": lambda: consumer.until_end(setup.now, 20.0),
        "committed": lambda: consumer.committed([TP, OTHER], setup.now, 20.0),
        "commit": lambda: consumer.commit({TP: 1}, setup.now, 20.0),
        "seek_to_timestamp": lambda: consumer.seek_to_timestamp(moment, setup.now, 20.0),
        "wait": lambda: consumer.wait(setup.now, 20.0),
    }


NAMES = list(operations_of(Setup()))


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_can_be_cancelled_at_any_moment(name: str) -> None:
    """And everything is as usable as before, at once."""
    for moment in (*range(12), 14, 17, 22):
        setup = Setup({"t": 2}, nodes=2, group_id="g", enable_auto_commit=False, latency=0.002)
        setup.append("a", "b")
        setup.assign()
        operation = operations_of(setup)[name]()
        setup.run_for(moment * 0.001)
        operation.cancel()
        if operation.error is not None:
            assert isinstance(operation.error, OperationCancelledError)
        others = [start() for start in operations_of(setup).values()]
        for other in others:
            setup.result(other, limit=2.0)
        assert setup.values(2) == ["a", "b"]
        setup.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trouble", ["refused", "silent"])
def test_every_operation_ends_in_time_and_says_why(name: str, trouble: str) -> None:
    setup = Setup({"t": 2}, group_id="g", enable_auto_commit=False, check=False)
    if trouble == "refused":
        setup.network.refuse(0)
    else:
        setup.network.block(0)
    setup.assign()
    began = setup.now
    operation = operations_of(setup)[name]()
    setup.run_until(lambda: operation.done, 30.0)
    assert setup.now - began == pytest.approx(20.0)
    if name == "wait":
        assert operation.result() is False
        return
    why = "connection refused" if trouble == "refused" else "no connection in time"
    with pytest.raises(KafkaTimeoutError, match=f"did not finish in 20 s: .*127.0.0.1:9092: {why}"):
        operation.result()


def test_the_default_time_out() -> None:
    setup = Setup(default_api_timeout_ms=7_000, check=False)
    setup.network.refuse(0)
    operation = setup.consumer.topics(setup.now)
    with pytest.raises(KafkaTimeoutError, match="topics did not finish in 7 s"):
        setup.result(operation)
