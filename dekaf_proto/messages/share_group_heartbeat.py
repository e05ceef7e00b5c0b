"""ShareGroupHeartbeat (API key 76). Joins, keeps and leaves a share group.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int16, int32, string, struct, uuid


@dataclass(slots=True, repr=False)
class ShareGroupHeartbeatRequest(Request["ShareGroupHeartbeatResponse"]):
    """What a client sends for ShareGroupHeartbeat."""

    API_KEY = 76
    VERSIONS = Versions(1, 1, flexible=1)

    group_id: str = string()
    member_id: str = string()
    member_epoch: int = int32()
    rack_id: str | None = string(nullable="0+", default=None)
    subscribed_topic_names: list[str] | None = array(nullable="0+", of="string", default=None)


@dataclass(slots=True, repr=False)
class ShareGroupHeartbeatResponse(Response):
    """What a broker answers to ShareGroupHeartbeat."""

    API_KEY = 76
    VERSIONS = Versions(1, 1, flexible=1)

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    member_id: str | None = string(nullable="0+", default=None)
    member_epoch: int = int32()
    heartbeat_interval_ms: int = int32()
    assignment: Assignment | None = struct(nullable="0+")


@dataclass(slots=True, repr=False)
class Assignment(Struct):
    """The structure in `ShareGroupHeartbeatResponse.assignment`."""

    topic_partitions: list[TopicPartitions] = array()


@dataclass(slots=True, repr=False)
class TopicPartitions(Struct):
    """An element of `Assignment.topic_partitions`."""

    topic_id: Uuid = uuid()
    partitions: list[int] = array(of="int32")
