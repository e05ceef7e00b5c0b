"""ListOffsets (API key 2). Finds the first or last offset of a partition, or the first one at or after a time.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int8, int16, int32, int64, string


@dataclass(slots=True, repr=False)
class ListOffsetsRequest(Request["ListOffsetsResponse"]):
    """What a client sends for ListOffsets."""

    API_KEY = 2
    VERSIONS = Versions(1, 11, flexible=6)

    replica_id: int = int32()
    isolation_level: int = int8("2+")
    topics: list[ListOffsetsTopic] = array()
    timeout_ms: int = int32("10+", ignorable=True)


@dataclass(slots=True, repr=False)
class ListOffsetsTopic(Struct):
    """An element of `ListOffsetsRequest.topics`."""

    name: str = string()
    partitions: list[ListOffsetsPartition] = array()


@dataclass(slots=True, repr=False)
class ListOffsetsPartition(Struct):
    """An element of `ListOffsetsTopic.partitions`."""

    partition_index: int = int32()
    current_leader_epoch: int = int32("4+", default=-1, ignorable=True)
    timestamp: int = int64()


@dataclass(slots=True, repr=False)
class ListOffsetsResponse(Response):
    """What a broker answers to ListOffsets."""

    API_KEY = 2
    VERSIONS = Versions(1, 11, flexible=6)

    throttle_time_ms: int = int32("2+", ignorable=True)
    topics: list[ListOffsetsTopicResponse] = array()


@dataclass(slots=True, repr=False)
class ListOffsetsTopicResponse(Struct):
    """An element of `ListOffsetsResponse.topics`."""

    name: str = string()
    partitions: list[ListOffsetsPartitionResponse] = array()


@dataclass(slots=True, repr=False)
class ListOffsetsPartitionResponse(Struct):
    """An element of `ListOffsetsTopicResponse.partitions`."""

    partition_index: int = int32()
    error_code: int = int16()
    timestamp: int = int64(default=-1)
    offset: int = int64(default=-1)
    leader_epoch: int = int32("4+", default=-1)
