"""EndTxn (API key 26). Commits or aborts a transaction.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Versions, boolean, int16, int32, int64, string


@dataclass(slots=True, repr=False)
class EndTxnRequest(Request["EndTxnResponse"]):
    """What a client sends for EndTxn."""

    API_KEY = 26
    VERSIONS = Versions(0, 5, flexible=3)

    transactional_id: str = string()
    producer_id: int = int64()
    producer_epoch: int = int16()
    committed: bool = boolean()


@dataclass(slots=True, repr=False)
class EndTxnResponse(Response):
    """What a broker answers to EndTxn."""

    API_KEY = 26
    VERSIONS = Versions(0, 5, flexible=3)

    throttle_time_ms: int = int32()
    error_code: int = int16()
    producer_id: int = int64("5+", default=-1, ignorable=True)
    producer_epoch: int = int16("5+", default=-1, ignorable=True)
