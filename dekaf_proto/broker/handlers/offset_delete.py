"""OffsetDelete: forgets a group's offsets of topics that nobody in it subscribes to."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.groups import GroupState
from dekaf_proto.broker.membership import Group
from dekaf_proto.errors import DecodeError, ErrorCode, UnsupportedVersionError
from dekaf_proto.messages.consumer_protocol import ConsumerProtocolSubscription
from dekaf_proto.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from dekaf_proto.types import TopicPartition
from dekaf_proto.wire import decode

_CONSUMER = "consumer"


def offset_delete(exchange: Exchange, request: OffsetDeleteRequest) -> OffsetDeleteResponse:
    """Each partition has its own answer, unless the group has one."""
    if error := exchange.faults.top_error or exchange.coordinator_error(request.group_id):
        return OffsetDeleteResponse(error)
    group = exchange.cluster.groups.get(request.group_id)
    if group is None:
        return OffsetDeleteResponse(ErrorCode.GROUP_ID_NOT_FOUND)
    if group.state is not GroupState.EMPTY and group.protocol_type != _CONSUMER:
        return OffsetDeleteResponse(ErrorCode.NON_EMPTY_GROUP)
    subscribed = _subscribed(group)
    answers: dict[str, OffsetDeleteResponseTopic] = {}
    for topic in request.topics:
        if not topic.partitions:
            continue
        answer = answers.setdefault(topic.name, OffsetDeleteResponseTopic(topic.name))
        for asked in topic.partitions:
            found = _delete(exchange, group, TopicPartition(topic.name, asked.partition_index), subscribed)
            answer.partitions.append(OffsetDeleteResponsePartition(asked.partition_index, found))
    return OffsetDeleteResponse(topics=list(answers.values()))


def _delete(exchange: Exchange, group: Group, tp: TopicPartition, subscribed: list[str] | None) -> ErrorCode:
    if error := exchange.faults.error(*tp):
        return error
    if exchange.cluster.partition(*tp) is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if subscribed is None or tp.topic in subscribed:
        return ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
    group.offsets.pop(tp, None)
    return ErrorCode.NONE


def _subscribed(group: Group) -> list[str] | None:
    """The topics of its members, None if that can't be told."""
    topics: list[str] = []
    for member in group.members:
        data = member.metadata(group.protocol)
        version = min(int.from_bytes(data[:2], "big", signed=True), ConsumerProtocolSubscription.VERSIONS.max)
        try:
            topics += decode(ConsumerProtocolSubscription, version, data[2:]).topics
        except (DecodeError, UnsupportedVersionError):
            return None
    return topics
