"""DescribeTopicPartitions (API key 75). Tells about topics' partitions, page by page.

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
    string,
    struct,
    uuid,
)


@dataclass(slots=True, repr=False)
class DescribeTopicPartitionsRequest(Request["DescribeTopicPartitionsResponse"]):
    """What a client sends for DescribeTopicPartitions."""

    API_KEY = 75
    VERSIONS = Versions(0, 0, flexible=0)

    topics: list[TopicRequest] = array()
    response_partition_limit: int = int32(default=2000)
    cursor: Cursor | None = struct(nullable="0+")


@dataclass(slots=True, repr=False)
class TopicRequest(Struct):
    """An element of `DescribeTopicPartitionsRequest.topics`."""

    name: str = string()


@dataclass(slots=True, repr=False)
class Cursor(Struct):
    """The structure in `DescribeTopicPartitionsRequest.cursor`."""

    topic_name: str = string()
    partition_index: int = int32()


@dataclass(slots=True, repr=False)
class DescribeTopicPartitionsResponse(Response):
    """What a broker answers to DescribeTopicPartitions."""

    API_KEY = 75
    VERSIONS = Versions(0, 0, flexible=0)

    throttle_time_ms: int = int32()
    topics: list[DescribeTopicPartitionsResponseTopic] = array()
    next_cursor: Cursor | None = struct(nullable="0+")


@dataclass(slots=True, repr=False)
class DescribeTopicPartitionsResponseTopic(Struct):
    """An element of `DescribeTopicPartitionsResponse.topics`."""

    error_code: int = int16()
    name: str | None = string(nullable="0+")
    topic_id: Uuid = uuid()
    is_internal: bool = boolean()
    partitions: list[DescribeTopicPartitionsResponsePartition] = array()
    topic_authorized_operations: int = int32(default=-2147483648)


@dataclass(slots=True, repr=False)
class DescribeTopicPartitionsResponsePartition(Struct):
    """An element of `DescribeTopicPartitionsResponseTopic.partitions`."""

    error_code: int = int16()
    partition_index: int = int32()
    leader_id: int = int32()
    leader_epoch: int = int32(default=-1)
    replica_nodes: list[int] = array(of="int32")
    isr_nodes: list[int] = array(of="int32")
    eligible_leader_replicas: list[int] | None = array(nullable="0+", of="int32", default=None)
    last_known_elr: list[int] | None = array(nullable="0+", of="int32", default=None)
    offline_replicas: list[int] = array(of="int32")
