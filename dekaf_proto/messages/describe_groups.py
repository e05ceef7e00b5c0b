"""DescribeGroups (API key 15). Tells the state and the members of classic groups.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, binary, boolean, int16, int32, string


@dataclass(slots=True, repr=False)
class DescribeGroupsRequest(Request["DescribeGroupsResponse"]):
    """What a client sends for DescribeGroups."""

    API_KEY = 15
    VERSIONS = Versions(0, 6, flexible=5)

    groups: list[str] = array(of="string")
    include_authorized_operations: bool = boolean("3+")


@dataclass(slots=True, repr=False)
class DescribeGroupsResponse(Response):
    """What a broker answers to DescribeGroups."""

    API_KEY = 15
    VERSIONS = Versions(0, 6, flexible=5)

    throttle_time_ms: int = int32("1+", ignorable=True)
    groups: list[DescribedGroup] = array()


@dataclass(slots=True, repr=False)
class DescribedGroup(Struct):
    """An element of `DescribeGroupsResponse.groups`."""

    error_code: int = int16()
    error_message: str | None = string("6+", nullable="6+", default=None)
    group_id: str = string()
    group_state: str = string()
    protocol_type: str = string()
    protocol_data: str = string()
    members: list[DescribedGroupMember] = array()
    authorized_operations: int = int32("3+", default=-2147483648)


@dataclass(slots=True, repr=False)
class DescribedGroupMember(Struct):
    """An element of `DescribedGroup.members`."""

    member_id: str = string()
    group_instance_id: str | None = string("4+", nullable="4+", default=None, ignorable=True)
    client_id: str = string()
    client_host: str = string()
    member_metadata: bytes = binary()
    member_assignment: bytes = binary()
