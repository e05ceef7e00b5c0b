"""DescribeTopicPartitions: topics by name and their partitions, in portions (KIP-966)."""

from __future__ import annotations

from dekaf_proto.broker.cluster import Partition, valid_topic_name
from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.describe_topic_partitions import (
    Cursor,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)

#: How many partitions one response has at most, however many are asked for.
_LIMIT = 2000
#: What may be done to a topic, as bits, where nothing is forbidden: READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE,
#: DESCRIBE_CONFIGS, ALTER_CONFIGS are 3 to 8, 10 and 11.
TOPIC_OPERATIONS = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11


def describe_topic_partitions(
    exchange: Exchange, request: DescribeTopicPartitionsRequest
) -> DescribeTopicPartitionsResponse:
    """The topics asked for, or all, in the order of their names, from the cursor on."""
    topics, cursor = exchange.cluster.topics, request.cursor
    asked = {topic.name for topic in request.topics}
    if cursor is not None and (cursor.partition_index < 0 or (asked and cursor.topic_name not in asked)):
        refused = [DescribeTopicPartitionsResponseTopic(ErrorCode.INVALID_REQUEST, name) for name in sorted(asked)]
        return DescribeTopicPartitionsResponse(topics=refused)
    response = DescribeTopicPartitionsResponse()
    room = max(1, min(request.response_partition_limit, _LIMIT))
    for name in sorted(asked or topics):
        if cursor is not None and name < cursor.topic_name:
            continue
        if room == 0:
            response.next_cursor = Cursor(name, 0)
            break
        first = cursor.partition_index if cursor is not None and name == cursor.topic_name else 0
        described = _describe(exchange, name, range(first, first + room))
        response.topics.append(described)
        room -= len(described.partitions)
        following = first + len(described.partitions)
        if not described.error_code and following < len(topics[name].partitions):
            response.next_cursor = Cursor(name, following)
            break
    return response


def _describe(exchange: Exchange, name: str, indexes: range) -> DescribeTopicPartitionsResponseTopic:
    topic = exchange.cluster.topics.get(name)
    described = DescribeTopicPartitionsResponseTopic(name=name, topic_authorized_operations=TOPIC_OPERATIONS)
    if topic is None:
        valid = valid_topic_name(name)
        described.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if valid else ErrorCode.INVALID_TOPIC_EXCEPTION
        return described
    described.topic_id, described.is_internal = topic.id, topic.is_internal
    described.error_code = exchange.faults.error(name)
    if not described.error_code:
        chosen = topic.partitions[indexes.start : indexes.stop]
        described.partitions = [_partition(exchange, partition) for partition in chosen]
    return described


def _partition(exchange: Exchange, partition: Partition) -> DescribeTopicPartitionsResponsePartition:
    alive = exchange.cluster.alive()
    return DescribeTopicPartitionsResponsePartition(
        error_code=exchange.faults.error(partition.topic.name, partition.index),
        partition_index=partition.index,
        leader_id=-1 if partition.leader is None else partition.leader,
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=[number for number in partition.replicas if number in alive],
        eligible_leader_replicas=[],
        last_known_elr=[],
        offline_replicas=[number for number in partition.replicas if number not in alive],
    )
