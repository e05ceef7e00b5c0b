"""CreatePartitions: `count` is how many a topic has in the end."""

from __future__ import annotations

from collections import Counter

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.handlers.assignments import wrong_replicas
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)


def create_partitions(exchange: Exchange, request: CreatePartitionsRequest) -> CreatePartitionsResponse:
    """Each topic has its own answer; a name that is given twice has one."""
    named = Counter(topic.name for topic in request.topics)
    results = []
    for name, asked in {topic.name: topic for topic in request.topics}.items():
        error, message = _wrong(exchange, asked, named[name])
        if not error and not request.validate_only:
            _add(exchange, asked)
        results.append(CreatePartitionsTopicResult(name, error, message))
    exchange.cluster.changed()
    return CreatePartitionsResponse(results=results)


def _wrong(exchange: Exchange, asked: CreatePartitionsTopic, times: int) -> tuple[ErrorCode, str | None]:
    if error := exchange.faults.error(asked.name):
        return error, error.name
    if times > 1:
        return ErrorCode.INVALID_REQUEST, "Duplicate topic name."
    topic = exchange.cluster.topics.get(asked.name)
    if topic is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, None
    present = len(topic.partitions)
    if asked.count <= present:
        return (
            ErrorCode.INVALID_PARTITIONS,
            f"The topic {asked.name} currently has {present} partition(s); {asked.count} would not be an increase.",
        )
    if asked.assignments is None:
        return ErrorCode.NONE, None
    if len(asked.assignments) != asked.count - present:
        return (
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Attempted to add {asked.count - present} additional partition(s), but "
            f"{len(asked.assignments)} assignment(s) were specified.",
        )
    return wrong_replicas(exchange.cluster, [each.broker_ids for each in asked.assignments])


def _add(exchange: Exchange, asked: CreatePartitionsTopic) -> None:
    topic = exchange.cluster.topics[asked.name]
    if asked.assignments is None:
        count = asked.count - len(topic.partitions)
        exchange.cluster.add_partitions(topic, count, len(topic.partitions[0].replicas))
        return
    for assignment in asked.assignments:
        exchange.cluster.add_partition(topic, list(assignment.broker_ids))
