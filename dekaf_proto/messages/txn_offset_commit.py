"""TxnOffsetCommit (API key 28). Stores a group's offsets as part of a transaction.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int16, int32, int64, string, uuid


@dataclass(slots=True, repr=False)
class TxnOffsetCommitRequest(Request["TxnOffsetCommitResponse"]):
    """What a client sends for TxnOffsetCommit."""

    API_KEY = 28
    VERSIONS = Versions(0, 6, flexible=3)

    transactional_id: str = string()
    group_id: str = string()
    producer_id: int = int64()
    producer_epoch: int = int16()
    generation_id_or_member_epoch: int = int32("3+", default=-1)
    member_id: str = string("3+")
    group_instance_id: str | None = string("3+", nullable="3+", default=None)
    topics: list[TxnOffsetCommitRequestTopic] = array()


@dataclass(slots=True, repr=False)
class TxnOffsetCommitRequestTopic(Struct):
    """An element of `TxnOffsetCommitRequest.topics`."""

    name: str = string("0-5", ignorable=True)
    topic_id: Uuid = uuid("6+", ignorable=True)
    partitions: list[TxnOffsetCommitRequestPartition] = array()


@dataclass(slots=True, repr=False)
class TxnOffsetCommitRequestPartition(Struct):
    """An element of `TxnOffsetCommitRequestTopic.partitions`."""

    partition_index: int = int32()
    committed_offset: int = int64()
    committed_leader_epoch: int = int32("2+", default=-1, ignorable=True)
    committed_metadata: str | None = string(nullable="0+")


@dataclass(slots=True, repr=False)
class TxnOffsetCommitResponse(Response):
    """What a broker answers to TxnOffsetCommit."""

    API_KEY = 28
    VERSIONS = Versions(0, 6, flexible=3)

    throttle_time_ms: int = int32()
    topics: list[TxnOffsetCommitResponseTopic] = array()


@dataclass(slots=True, repr=False)
class TxnOffsetCommitResponseTopic(Struct):
    """An element of `TxnOffsetCommitResponse.topics`."""

    name: str = string("0-5", ignorable=True)
    topic_id: Uuid = uuid("6+", ignorable=True)
    partitions: list[TxnOffsetCommitResponsePartition] = array()


@dataclass(slots=True, repr=False)
class TxnOffsetCommitResponsePartition(Struct):
    """An element of `TxnOffsetCommitResponseTopic.partitions`."""

    partition_index: int = int32()
    error_code: int = int16()
