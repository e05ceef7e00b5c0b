"""Produce (API key 0). Appends record batches to partitions.

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
    int16,
    int32,
    int64,
    records,
    string,
    struct,
    uuid,
)


@dataclass(slots=True, repr=False)
class ProduceRequest(Request["ProduceResponse"]):
    """What a client sends for Produce."""

    API_KEY = 0
    VERSIONS = Versions(3, 13, flexible=9)

    transactional_id: str | None = string(nullable="3+", default=None)
    acks: int = int16()
    timeout_ms: int = int32()
    topic_data: list[TopicProduceData] = array()


@dataclass(slots=True, repr=False)
class TopicProduceData(Struct):
    """An element of `ProduceRequest.topic_data`."""

    name: str = string("3-12", ignorable=True)
    topic_id: Uuid = uuid("13+", ignorable=True)
    partition_data: list[PartitionProduceData] = array()


@dataclass(slots=True, repr=False)
class PartitionProduceData(Struct):
    """An element of `TopicProduceData.partition_data`."""

    index: int = int32()
    records: Buffer | None = records(nullable="0+")


@dataclass(slots=True, repr=False)
class ProduceResponse(Response):
    """What a broker answers to Produce."""

    API_KEY = 0
    VERSIONS = Versions(3, 13, flexible=9)

    responses: list[TopicProduceResponse] = array()
    throttle_time_ms: int = int32()
    node_endpoints: list[NodeEndpoint] = array("10+", tag=0)


@dataclass(slots=True, repr=False)
class TopicProduceResponse(Struct):
    """An element of `ProduceResponse.responses`."""

    name: str = string("3-12", ignorable=True)
    topic_id: Uuid = uuid("13+", ignorable=True)
    partition_responses: list[PartitionProduceResponse] = array()


@dataclass(slots=True, repr=False)
class PartitionProduceResponse(Struct):
    """An element of `TopicProduceResponse.partition_responses`."""

    index: int = int32()
    error_code: int = int16()
    base_offset: int = int64()
    log_append_time_ms: int = int64(default=-1)
    log_start_offset: int = int64("5+", default=-1, ignorable=True)
    record_errors: list[BatchIndexAndErrorMessage] = array("8+", ignorable=True)
    error_message: str | None = string("8+", nullable="8+", default=None, ignorable=True)
    current_leader: LeaderIdAndEpoch | None = struct("10+", tag=0)


@dataclass(slots=True, repr=False)
class BatchIndexAndErrorMessage(Struct):
    """An element of `PartitionProduceResponse.record_errors`."""

    batch_index: int = int32()
    batch_index_error_message: str | None = string(nullable="8+", default=None)


@dataclass(slots=True, repr=False)
class LeaderIdAndEpoch(Struct):
    """The structure in `PartitionProduceResponse.current_leader`."""

    leader_id: int = int32(default=-1)
    leader_epoch: int = int32(default=-1)


@dataclass(slots=True, repr=False)
class NodeEndpoint(Struct):
    """An element of `ProduceResponse.node_endpoints`."""

    node_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string(nullable="10+", default=None)
