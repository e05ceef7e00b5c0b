"""ConsumerGroupDescribe (API key 69). Tells the state and the members of such groups.

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
    int8,
    int16,
    int32,
    string,
    struct,
    uuid,
)


@dataclass(slots=True, repr=False)
class ConsumerGroupDescribeRequest(Request["ConsumerGroupDescribeResponse"]):
    """What a client sends for ConsumerGroupDescribe."""

    API_KEY = 69
    VERSIONS = Versions(0, 1, flexible=0)

    group_ids: list[str] = array(of="string")
    include_authorized_operations: bool = boolean()


@dataclass(slots=True, repr=False)
class ConsumerGroupDescribeResponse(Response):
    """What a broker answers to ConsumerGroupDescribe."""

    API_KEY = 69
    VERSIONS = Versions(0, 1, flexible=0)

    throttle_time_ms: int = int32()
    groups: list[DescribedGroup] = array()


@dataclass(slots=True, repr=False)
class DescribedGroup(Struct):
    """An element of `ConsumerGroupDescribeResponse.groups`."""

    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    group_id: str = string()
    group_state: str = string()
    group_epoch: int = int32()
    assignment_epoch: int = int32()
    assignor_name: str = string()
    members: list[Member] = array()
    authorized_operations: int = int32(default=-2147483648)


@dataclass(slots=True, repr=False)
class Member(Struct):
    """An element of `DescribedGroup.members`."""

    member_id: str = string()
    instance_id: str | None = string(nullable="0+", default=None)
    rack_id: str | None = string(nullable="0+", default=None)
    member_epoch: int = int32()
    client_id: str = string()
    client_host: str = string()
    subscribed_topic_names: list[str] = array(of="string")
    subscribed_topic_regex: str | None = string(nullable="0+", default=None)
    assignment: Assignment = struct(factory=lambda: Assignment())
    target_assignment: Assignment = struct(factory=lambda: Assignment())
    member_type: int = int8("1+", default=-1, ignorable=True)


@dataclass(slots=True, repr=False)
class Assignment(Struct):
    """The structure in `Member.assignment`."""

    topic_partitions: list[TopicPartitions] = array()


@dataclass(slots=True, repr=False)
class TopicPartitions(Struct):
    """An element of `Assignment.topic_partitions`."""

    topic_id: Uuid = uuid()
    topic_name: str = string()
    partitions: list[int] = array(of="int32")
