"""OffsetFetch: what groups have stored (P15-P18). One group before version 8, then a list; topic ids from 10 on."""

from __future__ import annotations

from collections.abc import Container

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.groups import CommittedOffset
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)
from dekaf_proto.types import TopicPartition, Uuid

_NOTHING = CommittedOffset(-1)


def offset_fetch(exchange: Exchange, request: OffsetFetchRequest) -> OffsetFetchResponse:
    """Each group by itself; the older layouts are made of the answer for one group."""
    if exchange.version >= 8:
        stable = request.require_stable
        return OffsetFetchResponse(groups=[_group(exchange, group, stable) for group in request.groups])
    topics = None
    # In version 1 an empty list is nothing; null, which stands for all, came with version 2.
    if request.topics is not None:
        topics = [OffsetFetchRequestTopics(topic.name, Uuid.ZERO, topic.partition_indexes) for topic in request.topics]
    group = _group(exchange, OffsetFetchRequestGroup(request.group_id, topics=topics), request.require_stable)
    if group.error_code and exchange.version < 2:
        group.topics = [
            OffsetFetchResponseTopics(
                topic.name,
                Uuid.ZERO,
                [_partition(index, ErrorCode(group.error_code)) for index in topic.partition_indexes],
            )
            for topic in topics or []
        ]
    return OffsetFetchResponse(
        topics=[
            OffsetFetchResponseTopic(
                topic.name,
                [
                    OffsetFetchResponsePartition(
                        partition.partition_index,
                        partition.committed_offset,
                        partition.committed_leader_epoch,
                        partition.metadata,
                        partition.error_code,
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in group.topics
        ],
        error_code=group.error_code,
    )


def _group(exchange: Exchange, asked: OffsetFetchRequestGroup, stable: bool) -> OffsetFetchResponseGroup:
    error = exchange.faults.top_error or exchange.coordinator_error(asked.group_id, may_be_empty=True)
    if error:
        return OffsetFetchResponseGroup(asked.group_id, error_code=error)
    group = exchange.cluster.groups.get(asked.group_id)
    offsets = {} if group is None else group.offsets
    if asked.topics is None:
        wanted = _all_topics(exchange, offsets)
    else:
        wanted = asked.topics
    unstable = group.pending if group is not None and stable else ()
    return OffsetFetchResponseGroup(asked.group_id, [_topic(exchange, topic, offsets, unstable) for topic in wanted])


def _all_topics(exchange: Exchange, offsets: dict[TopicPartition, CommittedOffset]) -> list[OffsetFetchRequestTopics]:
    indexes: dict[str, list[int]] = {}
    for partition in sorted(offsets):
        indexes.setdefault(partition.topic, []).append(partition.partition)
    topics = exchange.cluster.topics
    return [
        OffsetFetchRequestTopics(name, topics[name].id if name in topics else Uuid.ZERO, found)
        for name, found in indexes.items()
        if exchange.version < 10 or name in topics  # a topic that is gone has no id to be named by
    ]


def _topic(
    exchange: Exchange,
    asked: OffsetFetchRequestTopics,
    offsets: dict[TopicPartition, CommittedOffset],
    unstable: Container[TopicPartition],
) -> OffsetFetchResponseTopics:
    name: str | None = asked.name
    if exchange.version >= 10:
        topic = exchange.cluster.topic_by_id(asked.topic_id)
        name = None if topic is None else topic.name
    partitions = []
    for index in asked.partition_indexes:
        error = exchange.faults.error(name, index)
        if name is None:
            error = error or ErrorCode.UNKNOWN_TOPIC_ID
        elif TopicPartition(name, index) in unstable:
            error = error or ErrorCode.UNSTABLE_OFFSET_COMMIT  # P17
        found = _NOTHING if name is None or error else offsets.get(TopicPartition(name, index), _NOTHING)
        partitions.append(_partition(index, error, found))
    return OffsetFetchResponseTopics(asked.name, asked.topic_id, partitions)


def _partition(index: int, error: ErrorCode, found: CommittedOffset = _NOTHING) -> OffsetFetchResponsePartitions:
    return OffsetFetchResponsePartitions(index, found.offset, found.leader_epoch, found.metadata, error)
