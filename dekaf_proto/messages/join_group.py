"""JoinGroup (API key 11). Enters a classic group, or its next generation.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, binary, boolean, int16, int32, string


@dataclass(slots=True, repr=False)
class JoinGroupRequest(Request["JoinGroupResponse"]):
    """What a client sends for JoinGroup."""

    API_KEY = 11
    VERSIONS = Versions(0, 9, flexible=6)

    group_id: str = string()
    session_timeout_ms: int = int32()
    rebalance_timeout_ms: int = int32("1+", default=-1, ignorable=True)
    member_id: str = string()
    group_instance_id: str | None = string("5+", nullable="5+", default=None)
    protocol_type: str = string()
    protocols: list[JoinGroupRequestProtocol] = array()
    reason: str | None = string("8+", nullable="8+", default=None, ignorable=True)


@dataclass(slots=True, repr=False)
class JoinGroupRequestProtocol(Struct):
    """An element of `JoinGroupRequest.protocols`."""

    name: str = string()
    metadata: bytes = binary()


@dataclass(slots=True, repr=False)
class JoinGroupResponse(Response):
    """What a broker answers to JoinGroup."""

    API_KEY = 11
    VERSIONS = Versions(0, 9, flexible=6)

    throttle_time_ms: int = int32("2+", ignorable=True)
    error_code: int = int16()
    generation_id: int = int32(default=-1)
    protocol_type: str | None = string("7+", nullable="7+", default=None, ignorable=True)
    protocol_name: str | None = string(nullable="7+")
    leader: str = string()
    skip_assignment: bool = boolean("9+")
    member_id: str = string()
    members: list[JoinGroupResponseMember] = array()


@dataclass(slots=True, repr=False)
class JoinGroupResponseMember(Struct):
    """An element of `JoinGroupResponse.members`."""

    member_id: str = string()
    group_instance_id: str | None = string("5+", nullable="5+", default=None, ignorable=True)
    metadata: bytes = binary()
