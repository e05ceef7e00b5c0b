"""CreatePartitions (API key 37). Adds partitions to topics.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, boolean, int16, int32, string


@dataclass(slots=True, repr=False)
class CreatePartitionsRequest(Request["CreatePartitionsResponse"]):
    """What a client sends for CreatePartitions."""

    API_KEY = 37
    VERSIONS = Versions(0, 3, flexible=2)

    topics: list[CreatePartitionsTopic] = array()
    timeout_ms: int = int32()
    validate_only: bool = boolean()


@dataclass(slots=True, repr=False)
class CreatePartitionsTopic(Struct):
    """An element of `CreatePartitionsRequest.topics`."""

    name: str = string()
    count: int = int32()
    assignments: list[CreatePartitionsAssignment] | None = array(nullable="0+")


@dataclass(slots=True, repr=False)
class CreatePartitionsAssignment(Struct):
    """An element of `CreatePartitionsTopic.assignments`."""

    broker_ids: list[int] = array(of="int32")


@dataclass(slots=True, repr=False)
class CreatePartitionsResponse(Response):
    """What a broker answers to CreatePartitions."""

    API_KEY = 37
    VERSIONS = Versions(0, 3, flexible=2)

    throttle_time_ms: int = int32()
    results: list[CreatePartitionsTopicResult] = array()


@dataclass(slots=True, repr=False)
class CreatePartitionsTopicResult(Struct):
    """An element of `CreatePartitionsResponse.results`."""

    name: str = string()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
