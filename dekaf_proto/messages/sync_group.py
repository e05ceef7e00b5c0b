"""SyncGroup (API key 14). Hands out the assignment of a generation.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, binary, int16, int32, string


@dataclass(slots=True, repr=False)
class SyncGroupRequest(Request["SyncGroupResponse"]):
    """What a client sends for SyncGroup."""

    API_KEY = 14
    VERSIONS = Versions(0, 5, flexible=4)

    group_id: str = string()
    generation_id: int = int32()
    member_id: str = string()
    group_instance_id: str | None = string("3+", nullable="3+", default=None)
    protocol_type: str | None = string("5+", nullable="5+", default=None, ignorable=True)
    protocol_name: str | None = string("5+", nullable="5+", default=None, ignorable=True)
    assignments: list[SyncGroupRequestAssignment] = array()


@dataclass(slots=True, repr=False)
class SyncGroupRequestAssignment(Struct):
    """An element of `SyncGroupRequest.assignments`."""

    member_id: str = string()
    assignment: bytes = binary()


@dataclass(slots=True, repr=False)
class SyncGroupResponse(Response):
    """What a broker answers to SyncGroup."""

    API_KEY = 14
    VERSIONS = Versions(0, 5, flexible=4)

    throttle_time_ms: int = int32("1+", ignorable=True)
    error_code: int = int16()
    protocol_type: str | None = string("5+", nullable="5+", default=None, ignorable=True)
    protocol_name: str | None = string("5+", nullable="5+", default=None, ignorable=True)
    assignment: bytes = binary()
