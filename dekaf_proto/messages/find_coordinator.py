"""FindCoordinator (API key 10). Tells which broker coordinates a group or a transactional id.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int8, int16, int32, string


@dataclass(slots=True, repr=False)
class FindCoordinatorRequest(Request["FindCoordinatorResponse"]):
    """What a client sends for FindCoordinator."""

    API_KEY = 10
    VERSIONS = Versions(0, 6, flexible=3)

    key: str = string("0-3")
    key_type: int = int8("1+")
    coordinator_keys: list[str] = array("4+", of="string")


@dataclass(slots=True, repr=False)
class FindCoordinatorResponse(Response):
    """What a broker answers to FindCoordinator."""

    API_KEY = 10
    VERSIONS = Versions(0, 6, flexible=3)

    throttle_time_ms: int = int32("1+", ignorable=True)
    error_code: int = int16("0-3")
    error_message: str | None = string("1-3", nullable="1-3", ignorable=True)
    node_id: int = int32("0-3")
    host: str = string("0-3")
    port: int = int32("0-3")
    coordinators: list[Coordinator] = array("4+")


@dataclass(slots=True, repr=False)
class Coordinator(Struct):
    """An element of `FindCoordinatorResponse.coordinators`."""

    key: str = string()
    node_id: int = int32()
    host: str = string()
    port: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="4+")
