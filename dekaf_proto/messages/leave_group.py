"""LeaveGroup (API key 13). Takes members out of a classic group.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int16, int32, string


@dataclass(slots=True, repr=False)
class LeaveGroupRequest(Request["LeaveGroupResponse"]):
    """What a client sends for LeaveGroup."""

    API_KEY = 13
    VERSIONS = Versions(0, 5, flexible=4)

    group_id: str = string()
    member_id: str = string("0-2")
    members: list[MemberIdentity] = array("3+")


@dataclass(slots=True, repr=False)
class MemberIdentity(Struct):
    """An element of `LeaveGroupRequest.members`."""

    member_id: str = string()
    group_instance_id: str | None = string(nullable="3+", default=None)
    reason: str | None = string("5+", nullable="5+", default=None, ignorable=True)


@dataclass(slots=True, repr=False)
class LeaveGroupResponse(Response):
    """What a broker answers to LeaveGroup."""

    API_KEY = 13
    VERSIONS = Versions(0, 5, flexible=4)

    throttle_time_ms: int = int32("1+", ignorable=True)
    error_code: int = int16()
    members: list[MemberResponse] = array("3+")


@dataclass(slots=True, repr=False)
class MemberResponse(Struct):
    """An element of `LeaveGroupResponse.members`."""

    member_id: str = string()
    group_instance_id: str | None = string(nullable="3+")
    error_code: int = int16()
