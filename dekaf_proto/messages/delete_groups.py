"""DeleteGroups (API key 42). Deletes groups.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int16, int32, string


@dataclass(slots=True, repr=False)
class DeleteGroupsRequest(Request["DeleteGroupsResponse"]):
    """What a client sends for DeleteGroups."""

    API_KEY = 42
    VERSIONS = Versions(0, 3, flexible=2)

    groups_names: list[str] = array(of="string")


@dataclass(slots=True, repr=False)
class DeleteGroupsResponse(Response):
    """What a broker answers to DeleteGroups."""

    API_KEY = 42
    VERSIONS = Versions(0, 3, flexible=2)

    throttle_time_ms: int = int32()
    results: list[DeletableGroupResult] = array()


@dataclass(slots=True, repr=False)
class DeletableGroupResult(Struct):
    """An element of `DeleteGroupsResponse.results`."""

    group_id: str = string()
    error_code: int = int16()
    error_message: str | None = string("3+", nullable="3+", default=None, ignorable=True)
