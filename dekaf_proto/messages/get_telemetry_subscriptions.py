"""GetTelemetrySubscriptions (API key 71). Asks which metrics a broker wants of this client.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import Request, Response, Versions, array, boolean, int16, int32, uuid


@dataclass(slots=True, repr=False)
class GetTelemetrySubscriptionsRequest(Request["GetTelemetrySubscriptionsResponse"]):
    """What a client sends for GetTelemetrySubscriptions."""

    API_KEY = 71
    VERSIONS = Versions(0, 0, flexible=0)

    client_instance_id: Uuid = uuid()


@dataclass(slots=True, repr=False)
class GetTelemetrySubscriptionsResponse(Response):
    """What a broker answers to GetTelemetrySubscriptions."""

    API_KEY = 71
    VERSIONS = Versions(0, 0, flexible=0)

    throttle_time_ms: int = int32()
    error_code: int = int16()
    client_instance_id: Uuid = uuid()
    subscription_id: int = int32()
    accepted_compression_types: list[int] = array(of="int8")
    push_interval_ms: int = int32()
    telemetry_max_bytes: int = int32()
    delta_temporality: bool = boolean()
    requested_metrics: list[str] = array(of="string")
