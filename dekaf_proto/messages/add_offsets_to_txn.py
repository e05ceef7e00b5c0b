"""AddOffsetsToTxn (API key 25). Makes a group's offsets part of a transaction.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Versions, int16, int32, int64, string


@dataclass(slots=True, repr=False)
class AddOffsetsToTxnRequest(Request["AddOffsetsToTxnResponse"]):
    """What a client sends for AddOffsetsToTxn."""

    API_KEY = 25
    VERSIONS = Versions(0, 4, flexible=3)

    transactional_id: str = string()
    producer_id: int = int64()
    producer_epoch: int = int16()
    group_id: str = string()


@dataclass(slots=True, repr=False)
class AddOffsetsToTxnResponse(Response):
    """What a broker answers to AddOffsetsToTxn."""

    API_KEY = 25
    VERSIONS = Versions(0, 4, flexible=3)

    throttle_time_ms: int = int32()
    error_code: int = int16()
