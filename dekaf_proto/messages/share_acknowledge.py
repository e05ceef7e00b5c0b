"""ShareAcknowledge (API key 79). Settles acquired records of a share group.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import (
    Request,
    Response,
    Struct,
    Versions,
    array,
    boolean,
    int16,
    int32,
    int64,
    string,
    struct,
    uuid,
)


@dataclass(slots=True, repr=False)
class ShareAcknowledgeRequest(Request["ShareAcknowledgeResponse"]):
    """What a client sends for ShareAcknowledge."""

    API_KEY = 79
    VERSIONS = Versions(1, 2, flexible=1)

    group_id: str | None = string(nullable="0+", default=None)
    member_id: str | None = string(nullable="0+")
    share_session_epoch: int = int32()
    is_renew_ack: bool = boolean("2+")
    topics: list[AcknowledgeTopic] = array()


@dataclass(slots=True, repr=False)
class AcknowledgeTopic(Struct):
    """An element of `ShareAcknowledgeRequest.topics`."""

    topic_id: Uuid = uuid()
    partitions: list[AcknowledgePartition] = array()


@dataclass(slots=True, repr=False)
class AcknowledgePartition(Struct):
    """An element of `AcknowledgeTopic.partitions`."""

    partition_index: int = int32()
    acknowledgement_batches: list[AcknowledgementBatch] = array()


@dataclass(slots=True, repr=False)
class AcknowledgementBatch(Struct):
    """An element of `AcknowledgePartition.acknowledgement_batches`."""

    first_offset: int = int64()
    last_offset: int = int64()
    acknowledge_types: list[int] = array(of="int8")


@dataclass(slots=True, repr=False)
class ShareAcknowledgeResponse(Response):
    """What a broker answers to ShareAcknowledge."""

    API_KEY = 79
    VERSIONS = Versions(1, 2, flexible=1)

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    acquisition_lock_timeout_ms: int = int32("2+", ignorable=True)
    responses: list[ShareAcknowledgeTopicResponse] = array()
    node_endpoints: list[NodeEndpoint] = array()


@dataclass(slots=True, repr=False)
class ShareAcknowledgeTopicResponse(Struct):
    """An element of `ShareAcknowledgeResponse.responses`."""

    topic_id: Uuid = uuid()
    partitions: list[PartitionData] = array()


@dataclass(slots=True, repr=False)
class PartitionData(Struct):
    """An element of `ShareAcknowledgeTopicResponse.partitions`."""

    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    current_leader: LeaderIdAndEpoch = struct(factory=lambda: LeaderIdAndEpoch())


@dataclass(slots=True, repr=False)
class LeaderIdAndEpoch(Struct):
    """The structure in `PartitionData.current_leader`."""

    leader_id: int = int32()
    leader_epoch: int = int32()


@dataclass(slots=True, repr=False)
class NodeEndpoint(Struct):
    """An element of `ShareAcknowledgeResponse.node_endpoints`."""

    node_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string(nullable="0+", default=None)
