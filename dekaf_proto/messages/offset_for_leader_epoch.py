"""OffsetForLeaderEpoch (API key 23). Tells where a leader epoch ended, to find out about a truncated log.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int16, int32, int64, string


@dataclass(slots=True, repr=False)
class OffsetForLeaderEpochRequest(Request["OffsetForLeaderEpochResponse"]):
    """What a client sends for OffsetForLeaderEpoch."""

    API_KEY = 23
    VERSIONS = Versions(2, 4, flexible=4)

    replica_id: int = int32("3+", default=-2, ignorable=True)
    topics: list[OffsetForLeaderTopic] = array()


@dataclass(slots=True, repr=False)
class OffsetForLeaderTopic(Struct):
    """An element of `OffsetForLeaderEpochRequest.topics`."""

    topic: str = string()
    partitions: list[OffsetForLeaderPartition] = array()


@dataclass(slots=True, repr=False)
class OffsetForLeaderPartition(Struct):
    """An element of `OffsetForLeaderTopic.partitions`."""

    partition: int = int32()
    current_leader_epoch: int = int32(default=-1)
    leader_epoch: int = int32()


@dataclass(slots=True, repr=False)
class OffsetForLeaderEpochResponse(Response):
    """What a broker answers to OffsetForLeaderEpoch."""

    API_KEY = 23
    VERSIONS = Versions(2, 4, flexible=4)

    throttle_time_ms: int = int32()
    topics: list[OffsetForLeaderTopicResult] = array()


@dataclass(slots=True, repr=False)
class OffsetForLeaderTopicResult(Struct):
    """An element of `OffsetForLeaderEpochResponse.topics`."""

    topic: str = string()
    partitions: list[EpochEndOffset] = array()


@dataclass(slots=True, repr=False)
class EpochEndOffset(Struct):
    """An element of `OffsetForLeaderTopicResult.partitions`."""

    error_code: int = int16()
    partition: int = int32()
    leader_epoch: int = int32(default=-1)
    end_offset: int = int64(default=-1)
