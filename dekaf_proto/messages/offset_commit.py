"""OffsetCommit (API key 8). Stores a group's offsets.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int16, int32, int64, string, uuid


@dataclass(slots=True, repr=False)
class OffsetCommitRequest(Request["OffsetCommitResponse"]):
    """What a client sends for OffsetCommit."""

    API_KEY = 8
    VERSIONS = Versions(2, 10, flexible=8)

    group_id: str = string()
    generation_id_or_member_epoch: int = int32(default=-1)
    member_id: str = string()
    group_instance_id: str | None = string("7+", nullable="7+", default=None)
    retention_time_ms: int = int64("2-4", default=-1, ignorable=True)
    topics: list[OffsetCommitRequestTopic] = array()


@dataclass(slots=True, repr=False)
class OffsetCommitRequestTopic(Struct):
    """An element of `OffsetCommitRequest.topics`."""

    name: str = string("2-9", ignorable=True)
    topic_id: Uuid = uuid("10+", ignorable=True)
    partitions: list[OffsetCommitRequestPartition] = array()


@dataclass(slots=True, repr=False)
class OffsetCommitRequestPartition(Struct):
    """An element of `OffsetCommitRequestTopic.partitions`."""

    partition_index: int = int32()
    committed_offset: int = int64()
    committed_leader_epoch: int = int32("6+", default=-1, ignorable=True)
    committed_metadata: str | None = string(nullable="0+")


@dataclass(slots=True, repr=False)
class OffsetCommitResponse(Response):
    """What a broker answers to OffsetCommit."""

    API_KEY = 8
    VERSIONS = Versions(2, 10, flexible=8)

    throttle_time_ms: int = int32("3+", ignorable=True)
    topics: list[OffsetCommitResponseTopic] = array()


@dataclass(slots=True, repr=False)
class OffsetCommitResponseTopic(Struct):
    """An element of `OffsetCommitResponse.topics`."""

    name: str = string("2-9", ignorable=True)
    topic_id: Uuid = uuid("10+", ignorable=True)
    partitions: list[OffsetCommitResponsePartition] = array()


@dataclass(slots=True, repr=False)
class OffsetCommitResponsePartition(Struct):
    """An element of `OffsetCommitResponseTopic.partitions`."""

    partition_index: int = int32()
    error_code: int = int16()
