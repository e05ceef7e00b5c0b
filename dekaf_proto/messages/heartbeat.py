"""Heartbeat (API key 12). Keeps a member of a classic group alive, and tells it of a rebalance.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Versions, int16, int32, string


@dataclass(slots=True, repr=False)
class HeartbeatRequest(Request["HeartbeatResponse"]):
    """What a client sends for Heartbeat."""

    API_KEY = 12
    VERSIONS = Versions(0, 4, flexible=4)

    group_id: str = string()
    generation_id: int = int32()
    member_id: str = string()
    group_instance_id: str | None = string("3+", nullable="3+", default=None)


@dataclass(slots=True, repr=False)
class HeartbeatResponse(Response):
    """What a broker answers to Heartbeat."""

    API_KEY = 12
    VERSIONS = Versions(0, 4, flexible=4)

    throttle_time_ms: int = int32("1+", ignorable=True)
    error_code: int = int16()
