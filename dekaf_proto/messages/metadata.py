"""Metadata (API key 3). Tells the brokers, the topics, their partitions and who leads each.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, boolean, int16, int32, string, uuid


@dataclass(slots=True, repr=False)
class MetadataRequest(Request["MetadataResponse"]):
    """What a client sends for Metadata."""

    API_KEY = 3
    VERSIONS = Versions(0, 13, flexible=9)

    topics: list[MetadataRequestTopic] | None = array(nullable="1+")
    allow_auto_topic_creation: bool = boolean("4+", default=True)
    include_cluster_authorized_operations: bool = boolean("8-10")
    include_topic_authorized_operations: bool = boolean("8+")


@dataclass(slots=True, repr=False)
class MetadataRequestTopic(Struct):
    """An element of `MetadataRequest.topics`."""

    topic_id: Uuid = uuid("10+", ignorable=True)
    name: str | None = string(nullable="10+")


@dataclass(slots=True, repr=False)
class MetadataResponse(Response):
    """What a broker answers to Metadata."""

    API_KEY = 3
    VERSIONS = Versions(0, 13, flexible=9)

    throttle_time_ms: int = int32("3+", ignorable=True)
    brokers: list[MetadataResponseBroker] = array()
    cluster_id: str | None = string("2+", nullable="2+", default=None, ignorable=True)
    controller_id: int = int32("1+", default=-1, ignorable=True)
    topics: list[MetadataResponseTopic] = array()
    cluster_authorized_operations: int = int32("8-10", default=-2147483648)
    error_code: int = int16("13+", ignorable=True)


@dataclass(slots=True, repr=False)
class MetadataResponseBroker(Struct):
    """An element of `MetadataResponse.brokers`."""

    node_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string("1+", nullable="1+", default=None, ignorable=True)


@dataclass(slots=True, repr=False)
class MetadataResponseTopic(Struct):
    """An element of `MetadataResponse.topics`."""

    error_code: int = int16()
    name: str | None = string(nullable="12+")
    topic_id: Uuid = uuid("10+", ignorable=True)
    is_internal: bool = boolean("1+", ignorable=True)
    partitions: list[MetadataResponsePartition] = array()
    topic_authorized_operations: int = int32("8+", default=-2147483648)


@dataclass(slots=True, repr=False)
class MetadataResponsePartition(Struct):
    """An element of `MetadataResponseTopic.partitions`."""

    error_code: int = int16()
    partition_index: int = int32()
    leader_id: int = int32()
    leader_epoch: int = int32("7+", default=-1, ignorable=True)
    replica_nodes: list[int] = array(of="int32")
    isr_nodes: list[int] = array(of="int32")
    offline_replicas: list[int] = array("5+", of="int32", ignorable=True)
