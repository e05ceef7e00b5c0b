"""SaslHandshake (API key 17). Agrees on a SASL mechanism.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Versions, array, int16, string


@dataclass(slots=True, repr=False)
class SaslHandshakeRequest(Request["SaslHandshakeResponse"]):
    """What a client sends for SaslHandshake."""

    API_KEY = 17
    VERSIONS = Versions(0, 1)

    mechanism: str = string()


@dataclass(slots=True, repr=False)
class SaslHandshakeResponse(Response):
    """What a broker answers to SaslHandshake."""

    API_KEY = 17
    VERSIONS = Versions(0, 1)

    error_code: int = int16()
    mechanisms: list[str] = array(of="string")
