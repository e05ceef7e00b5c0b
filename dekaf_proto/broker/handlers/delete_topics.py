"""DeleteTopics, by name or, from version 6 on, by id as well."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from dekaf_proto.types import Uuid


def delete_topics(exchange: Exchange, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    """Each topic has its own answer."""
    asked = request.topics if exchange.version >= 6 else [DeleteTopicState(name) for name in request.topic_names]
    once = [topic for index, topic in enumerate(asked) if topic not in asked[:index]]
    results = [_delete(exchange, asked, topic) for topic in once]
    exchange.cluster.changed()
    return DeleteTopicsResponse(responses=results)


def _delete(exchange: Exchange, asked: list[DeleteTopicState], state: DeleteTopicState) -> DeletableTopicResult:
    name, topic_id = state.name, state.topic_id

    def refused(error: ErrorCode, message: str) -> DeletableTopicResult:
        return DeletableTopicResult(name, topic_id, error, message)

    if name is not None and topic_id:
        return refused(ErrorCode.INVALID_REQUEST, "You may not specify both topic name and topic id.")
    if name is None and not topic_id:
        return refused(ErrorCode.INVALID_REQUEST, "Neither topic name nor id were specified.")
    if asked.count(state) > 1:
        return refused(ErrorCode.INVALID_REQUEST, "Duplicate topic name or id.")
    if name is None:
        found = exchange.cluster.topic_by_id(topic_id)
        if found is None:
            return refused(ErrorCode.UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
    elif name not in exchange.cluster.topics:
        return refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")
    else:
        found = exchange.cluster.topics[name]
    if error := exchange.faults.error(found.name):
        return refused(error, error.name)
    exchange.cluster.delete_topic(found.name)
    return DeletableTopicResult(found.name, found.id if exchange.version >= 6 else Uuid.ZERO)
