"""The headers of requests and responses.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Message, Versions, int16, int32, string


@dataclass(slots=True, repr=False)
class RequestHeader(Message):
    """What stands before a request's body."""

    VERSIONS = Versions(1, 2, flexible=2)

    request_api_key: int = int16()
    request_api_version: int = int16()
    correlation_id: int = int32()
    client_id: str | None = string(nullable="1+", compact=False)


@dataclass(slots=True, repr=False)
class ResponseHeader(Message):
    """What stands before a response's body."""

    VERSIONS = Versions(0, 1, flexible=1)

    correlation_id: int = int32()
