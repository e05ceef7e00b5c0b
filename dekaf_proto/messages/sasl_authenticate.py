"""SaslAuthenticate (API key 36). Carries the messages of a SASL mechanism.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Versions, binary, int16, int64, string


@dataclass(slots=True, repr=False)
class SaslAuthenticateRequest(Request["SaslAuthenticateResponse"]):
    """What a client sends for SaslAuthenticate."""

    API_KEY = 36
    VERSIONS = Versions(0, 2, flexible=2)

    auth_bytes: bytes = binary(secret=True)


@dataclass(slots=True, repr=False)
class SaslAuthenticateResponse(Response):
    """What a broker answers to SaslAuthenticate."""

    API_KEY = 36
    VERSIONS = Versions(0, 2, flexible=2)

    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    auth_bytes: bytes = binary(secret=True)
    session_lifetime_ms: int = int64("1+", ignorable=True)
