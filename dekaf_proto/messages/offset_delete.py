"""OffsetDelete (API key 47). Deletes a group's stored offsets.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int16, int32, string


@dataclass(slots=True, repr=False)
class OffsetDeleteRequest(Request["OffsetDeleteResponse"]):
    """What a client sends for OffsetDelete."""

    API_KEY = 47
    VERSIONS = Versions(0, 0)

    group_id: str = string()
    topics: list[OffsetDeleteRequestTopic] = array()


@dataclass(slots=True, repr=False)
class OffsetDeleteRequestTopic(Struct):
    """An element of `OffsetDeleteRequest.topics`."""

    name: str = string()
    partitions: list[OffsetDeleteRequestPartition] = array()


@dataclass(slots=True, repr=False)
class OffsetDeleteRequestPartition(Struct):
    """An element of `OffsetDeleteRequestTopic.partitions`."""

    partition_index: int = int32()


@dataclass(slots=True, repr=False)
class OffsetDeleteResponse(Response):
    """What a broker answers to OffsetDelete."""

    API_KEY = 47
    VERSIONS = Versions(0, 0)

    error_code: int = int16()
    throttle_time_ms: int = int32()
    topics: list[OffsetDeleteResponseTopic] = array()


@dataclass(slots=True, repr=False)
class OffsetDeleteResponseTopic(Struct):
    """An element of `OffsetDeleteResponse.topics`."""

    name: str = string()
    partitions: list[OffsetDeleteResponsePartition] = array()


@dataclass(slots=True, repr=False)
class OffsetDeleteResponsePartition(Struct):
    """An element of `OffsetDeleteResponseTopic.partitions`."""

    partition_index: int = int32()
    error_code: int = int16()
