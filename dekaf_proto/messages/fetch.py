"""Fetch (API key 1). Reads record batches from partitions, in a session that remembers what was asked before.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import (
    Buffer,
    Request,
    Response,
    Struct,
    Versions,
    array,
    int8,
    int16,
    int32,
    int64,
    records,
    string,
    struct,
    uuid,
)


@dataclass(slots=True, repr=False)
class FetchRequest(Request["FetchResponse"]):
    """What a client sends for Fetch."""

    API_KEY = 1
    VERSIONS = Versions(4, 18, flexible=12)

    cluster_id: str | None = string("12+", nullable="12+", default=None, tag=0, ignorable=True)
    replica_id: int = int32("4-14", default=-1)
    replica_state: ReplicaState | None = struct("15+", tag=1)
    max_wait_ms: int = int32()
    min_bytes: int = int32()
    max_bytes: int = int32(default=0x7FFFFFFF)
    isolation_level: int = int8()
    session_id: int = int32("7+", ignorable=True)
    session_epoch: int = int32("7+", default=-1, ignorable=True)
    topics: list[FetchTopic] = array()
    forgotten_topics_data: list[ForgottenTopic] = array("7+")
    rack_id: str = string("11+", ignorable=True)


@dataclass(slots=True, repr=False)
class ReplicaState(Struct):
    """The structure in `FetchRequest.replica_state`."""

    replica_id: int = int32(default=-1)
    replica_epoch: int = int64(default=-1)


@dataclass(slots=True, repr=False)
class FetchTopic(Struct):
    """An element of `FetchRequest.topics`."""

    topic: str = string("4-12", ignorable=True)
    topic_id: Uuid = uuid("13+", ignorable=True)
    partitions: list[FetchPartition] = array()


@dataclass(slots=True, repr=False)
class FetchPartition(Struct):
    """An element of `FetchTopic.partitions`."""

    partition: int = int32()
    current_leader_epoch: int = int32("9+", default=-1, ignorable=True)
    fetch_offset: int = int64()
    last_fetched_epoch: int = int32("12+", default=-1)
    log_start_offset: int = int64("5+", default=-1, ignorable=True)
    partition_max_bytes: int = int32()
    replica_directory_id: Uuid = uuid("17+", tag=0, ignorable=True)
    high_watermark: int = int64("18+", default=9223372036854775807, tag=1, ignorable=True)


@dataclass(slots=True, repr=False)
class ForgottenTopic(Struct):
    """An element of `FetchRequest.forgotten_topics_data`."""

    topic: str = string("7-12", ignorable=True)
    topic_id: Uuid = uuid("13+", ignorable=True)
    partitions: list[int] = array(of="int32")


@dataclass(slots=True, repr=False)
class FetchResponse(Response):
    """What a broker answers to Fetch."""

    API_KEY = 1
    VERSIONS = Versions(4, 18, flexible=12)

    throttle_time_ms: int = int32()
    error_code: int = int16("7+", ignorable=True)
    session_id: int = int32("7+")
    responses: list[FetchableTopicResponse] = array()
    node_endpoints: list[NodeEndpoint] = array("16+", tag=0)


@dataclass(slots=True, repr=False)
class FetchableTopicResponse(Struct):
    """An element of `FetchResponse.responses`."""

    topic: str = string("4-12", ignorable=True)
    topic_id: Uuid = uuid("13+", ignorable=True)
    partitions: list[PartitionData] = array()


@dataclass(slots=True, repr=False)
class PartitionData(Struct):
    """An element of `FetchableTopicResponse.partitions`."""

    partition_index: int = int32()
    error_code: int = int16()
    high_watermark: int = int64()
    last_stable_offset: int = int64(default=-1)
    log_start_offset: int = int64("5+", default=-1, ignorable=True)
    diverging_epoch: EpochEndOffset | None = struct("12+", tag=0)
    current_leader: LeaderIdAndEpoch | None = struct("12+", tag=1)
    snapshot_id: SnapshotId | None = struct("12+", tag=2)
    aborted_transactions: list[AbortedTransaction] | None = array(nullable="4+")
    preferred_read_replica: int = int32("11+", default=-1)
    records: Buffer | None = records(nullable="0+")


@dataclass(slots=True, repr=False)
class EpochEndOffset(Struct):
    """The structure in `PartitionData.diverging_epoch`."""

    epoch: int = int32(default=-1)
    end_offset: int = int64(default=-1)


@dataclass(slots=True, repr=False)
class LeaderIdAndEpoch(Struct):
    """The structure in `PartitionData.current_leader`."""

    leader_id: int = int32(default=-1)
    leader_epoch: int = int32(default=-1)


@dataclass(slots=True, repr=False)
class SnapshotId(Struct):
    """The structure in `PartitionData.snapshot_id`."""

    end_offset: int = int64(default=-1)
    epoch: int = int32(default=-1)


@dataclass(slots=True, repr=False)
class AbortedTransaction(Struct):
    """An element of `PartitionData.aborted_transactions`."""

    producer_id: int = int64()
    first_offset: int = int64()


@dataclass(slots=True, repr=False)
class NodeEndpoint(Struct):
    """An element of `FetchResponse.node_endpoints`."""

    node_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string(nullable="16+", default=None)
