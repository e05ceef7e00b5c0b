"""DeleteTopics (API key 20). Deletes topics.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int16, int32, string, uuid


@dataclass(slots=True, repr=False)
class DeleteTopicsRequest(Request["DeleteTopicsResponse"]):
    """What a client sends for DeleteTopics."""

    API_KEY = 20
    VERSIONS = Versions(1, 6, flexible=4)

    topics: list[DeleteTopicState] = array("6+")
    topic_names: list[str] = array("1-5", of="string", ignorable=True)
    timeout_ms: int = int32()


@dataclass(slots=True, repr=False)
class DeleteTopicState(Struct):
    """An element of `DeleteTopicsRequest.topics`."""

    name: str | None = string(nullable="6+", default=None)
    topic_id: Uuid = uuid()


@dataclass(slots=True, repr=False)
class DeleteTopicsResponse(Response):
    """What a broker answers to DeleteTopics."""

    API_KEY = 20
    VERSIONS = Versions(1, 6, flexible=4)

    throttle_time_ms: int = int32()
    responses: list[DeletableTopicResult] = array()


@dataclass(slots=True, repr=False)
class DeletableTopicResult(Struct):
    """An element of `DeleteTopicsResponse.responses`."""

    name: str | None = string(nullable="6+")
    topic_id: Uuid = uuid("6+", ignorable=True)
    error_code: int = int16()
    error_message: str | None = string("5+", nullable="5+", default=None, ignorable=True)
