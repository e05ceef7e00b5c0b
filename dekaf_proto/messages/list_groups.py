"""ListGroups (API key 16). Lists groups.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int16, int32, string


@dataclass(slots=True, repr=False)
class ListGroupsRequest(Request["ListGroupsResponse"]):
    """What a client sends for ListGroups."""

    API_KEY = 16
    VERSIONS = Versions(0, 5, flexible=3)

    states_filter: list[str] = array("4+", of="string")
    types_filter: list[str] = array("5+", of="string")


@dataclass(slots=True, repr=False)
class ListGroupsResponse(Response):
    """What a broker answers to ListGroups."""

    API_KEY = 16
    VERSIONS = Versions(0, 5, flexible=3)

    throttle_time_ms: int = int32("1+", ignorable=True)
    error_code: int = int16()
    groups: list[ListedGroup] = array()


@dataclass(slots=True, repr=False)
class ListedGroup(Struct):
    """An element of `ListGroupsResponse.groups`."""

    group_id: str = string()
    protocol_type: str = string()
    group_state: str = string("4+", ignorable=True)
    group_type: str = string("5+", ignorable=True)
