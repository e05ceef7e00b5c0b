"""PushTelemetry (API key 72). Sends such metrics.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import Request, Response, Versions, binary, boolean, int8, int16, int32, uuid


@dataclass(slots=True, repr=False)
class PushTelemetryRequest(Request["PushTelemetryResponse"]):
    """What a client sends for PushTelemetry."""

    API_KEY = 72
    VERSIONS = Versions(0, 0, flexible=0)

    client_instance_id: Uuid = uuid()
    subscription_id: int = int32()
    terminating: bool = boolean()
    compression_type: int = int8()
    metrics: bytes = binary()


@dataclass(slots=True, repr=False)
class PushTelemetryResponse(Response):
    """What a broker answers to PushTelemetry."""

    API_KEY = 72
    VERSIONS = Versions(0, 0, flexible=0)

    throttle_time_ms: int = int32()
    error_code: int = int16()
