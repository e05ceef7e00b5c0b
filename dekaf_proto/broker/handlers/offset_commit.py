"""OffsetCommit: stores a group's offsets (P1-P6, G25)."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.groups import CommittedOffset
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from dekaf_proto.types import TopicPartition

_MAX_METADATA = 4096


def is_too_large(metadata: str | None) -> bool:
    """Whether a commit has more metadata than offset.metadata.max.bytes allows, which are Java's characters in fact."""
    return len((metadata or "").encode("utf-16-le")) > 2 * _MAX_METADATA


def offset_commit(exchange: Exchange, request: OffsetCommitRequest) -> OffsetCommitResponse:
    """Stores what can be stored; each partition has its own answer (P5)."""
    error = _check_group(exchange, request)
    return OffsetCommitResponse(
        topics=[_topic(exchange, request.group_id, topic, error) for topic in request.topics if topic.partitions]
    )


def _check_group(exchange: Exchange, request: OffsetCommitRequest) -> ErrorCode:
    if error := exchange.faults.top_error or exchange.coordinator_error(request.group_id, may_be_empty=True):
        return error
    group = exchange.cluster.groups.get(request.group_id)
    generation = request.generation_id_or_member_epoch
    if group is not None:
        return group.check_commit(generation, request.member_id, request.group_instance_id, exchange.now)
    if generation < 0:
        return ErrorCode.NONE
    return ErrorCode.GROUP_ID_NOT_FOUND if exchange.version >= 9 else ErrorCode.ILLEGAL_GENERATION  # K20


def _topic(
    exchange: Exchange, group: str, asked: OffsetCommitRequestTopic, error: ErrorCode
) -> OffsetCommitResponseTopic:
    by_id = exchange.version >= 10
    name: str | None = asked.name
    if by_id:
        topic = exchange.cluster.topic_by_id(asked.topic_id)
        name = None if topic is None else topic.name
    return OffsetCommitResponseTopic(
        asked.name,
        asked.topic_id,
        [
            OffsetCommitResponsePartition(partition.partition_index, error or _commit(exchange, group, name, partition))
            for partition in asked.partitions
        ],
    )


def _commit(exchange: Exchange, group: str, topic: str | None, asked: OffsetCommitRequestPartition) -> ErrorCode:
    if error := exchange.faults.error(topic, asked.partition_index):
        return error
    if topic is None:
        return ErrorCode.UNKNOWN_TOPIC_ID
    if exchange.cluster.partition(topic, asked.partition_index) is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if is_too_large(asked.committed_metadata):
        return ErrorCode.OFFSET_METADATA_TOO_LARGE
    committed = CommittedOffset(asked.committed_offset, asked.committed_leader_epoch, asked.committed_metadata or "")
    exchange.cluster.group(group).commit(TopicPartition(topic, asked.partition_index), committed)
    return ErrorCode.NONE
