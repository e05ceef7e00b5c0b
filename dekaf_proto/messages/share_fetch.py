"""ShareFetch (API key 78). Acquires records of a share group.

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
    boolean,
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
class ShareFetchRequest(Request["ShareFetchResponse"]):
    """What a client sends for ShareFetch."""

    API_KEY = 78
    VERSIONS = Versions(1, 2, flexible=1)

    group_id: str | None = string(nullable="0+", default=None)
    member_id: str | None = string(nullable="0+")
    share_session_epoch: int = int32()
    max_wait_ms: int = int32()
    min_bytes: int = int32()
    max_bytes: int = int32(default=0x7FFFFFFF)
    max_records: int = int32()
    batch_size: int = int32()
    share_acquire_mode: int = int8("2+", ignorable=True)
    is_renew_ack: bool = boolean("2+")
    topics: list[FetchTopic] = array()
    forgotten_topics_data: list[ForgottenTopic] = array()


@dataclass(slots=True, repr=False)
class FetchTopic(Struct):
    """An element of `ShareFetchRequest.topics`."""

    topic_id: Uuid = uuid()
    partitions: list[FetchPartition] = array()


@dataclass(slots=True, repr=False)
class FetchPartition(Struct):
    """An element of `FetchTopic.partitions`."""

    partition_index: int = int32()
    acknowledgement_batches: list[AcknowledgementBatch] = array()


@dataclass(slots=True, repr=False)
class AcknowledgementBatch(Struct):
    """An element of `FetchPartition.acknowledgement_batches`."""

    first_offset: int = int64()
    last_offset: int = int64()
    acknowledge_types: list[int] = array(of="int8")


@dataclass(slots=True, repr=False)
class ForgottenTopic(Struct):
    """An element of `ShareFetchRequest.forgotten_topics_data`."""

    topic_id: Uuid = uuid()
    partitions: list[int] = array(of="int32")


@dataclass(slots=True, repr=False)
class ShareFetchResponse(Response):
    """What a broker answers to ShareFetch."""

    API_KEY = 78
    VERSIONS = Versions(1, 2, flexible=1)

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    acquisition_lock_timeout_ms: int = int32()
    responses: list[ShareFetchableTopicResponse] = array()
    node_endpoints: list[NodeEndpoint] = array()


@dataclass(slots=True, repr=False)
class ShareFetchableTopicResponse(Struct):
    """An element of `ShareFetchResponse.responses`."""

    topic_id: Uuid = uuid()
    partitions: list[PartitionData] = array()


@dataclass(slots=True, repr=False)
class PartitionData(Struct):
    """An element of `ShareFetchableTopicResponse.partitions`."""

    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    acknowledge_error_code: int = int16()
    acknowledge_error_message: str | None = string(nullable="0+", default=None)
    current_leader: LeaderIdAndEpoch = struct(factory=lambda: LeaderIdAndEpoch())
    records: Buffer | None = records()
    acquired_records: list[AcquiredRecords] = array()


@dataclass(slots=True, repr=False)
class LeaderIdAndEpoch(Struct):
    """The structure in `PartitionData.current_leader`."""

    leader_id: int = int32()
    leader_epoch: int = int32()


@dataclass(slots=True, repr=False)
class AcquiredRecords(Struct):
    """An element of `PartitionData.acquired_records`."""

    first_offset: int = int64()
    last_offset: int = int64()
    delivery_count: int = int16()


@dataclass(slots=True, repr=False)
class NodeEndpoint(Struct):
    """An element of `ShareFetchResponse.node_endpoints`."""

    node_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string(nullable="0+", default=None)
