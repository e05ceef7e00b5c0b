"""ConsumerGroupHeartbeat (API key 68). Joins, keeps and leaves a group whose assignment the broker makes.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int16, int32, string, struct, uuid


@dataclass(slots=True, repr=False)
class ConsumerGroupHeartbeatRequest(Request["ConsumerGroupHeartbeatResponse"]):
    """What a client sends for ConsumerGroupHeartbeat."""

    API_KEY = 68
    VERSIONS = Versions(0, 1, flexible=0)

    group_id: str = string()
    member_id: str = string()
    member_epoch: int = int32()
    instance_id: str | None = string(nullable="0+", default=None)
    rack_id: str | None = string(nullable="0+", default=None)
    rebalance_timeout_ms: int = int32(default=-1)
    subscribed_topic_names: list[str] | None = array(nullable="0+", of="string", default=None)
    subscribed_topic_regex: str | None = string("1+", nullable="1+", default=None)
    server_assignor: str | None = string(nullable="0+", default=None)
    topic_partitions: list[TopicPartitions] | None = array(nullable="0+", default=None)


@dataclass(slots=True, repr=False)
class TopicPartitions(Struct):
    """An element of `ConsumerGroupHeartbeatRequest.topic_partitions`."""

    topic_id: Uuid = uuid()
    partitions: list[int] = array(of="int32")


@dataclass(slots=True, repr=False)
class ConsumerGroupHeartbeatResponse(Response):
    """What a broker answers to ConsumerGroupHeartbeat."""

    API_KEY = 68
    VERSIONS = Versions(0, 1, flexible=0)

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    member_id: str | None = string(nullable="0+", default=None)
    member_epoch: int = int32()
    heartbeat_interval_ms: int = int32()
    assignment: Assignment | None = struct(nullable="0+")


@dataclass(slots=True, repr=False)
class Assignment(Struct):
    """The structure in `ConsumerGroupHeartbeatResponse.assignment`."""

    topic_partitions: list[TopicPartitions] = array()
