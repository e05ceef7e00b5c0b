"""InitProducerId (API key 22). Gives a producer its id and epoch, and fences its predecessors.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Versions, boolean, int16, int32, int64, string


@dataclass(slots=True, repr=False)
class InitProducerIdRequest(Request["InitProducerIdResponse"]):
    """What a client sends for InitProducerId."""

    API_KEY = 22
    VERSIONS = Versions(0, 6, flexible=2, unstable=6)

    transactional_id: str | None = string(nullable="0+")
    transaction_timeout_ms: int = int32()
    producer_id: int = int64("3+", default=-1)
    producer_epoch: int = int16("3+", default=-1)
    enable2_pc: bool = boolean("6+")
    keep_prepared_txn: bool = boolean("6+")


@dataclass(slots=True, repr=False)
class InitProducerIdResponse(Response):
    """What a broker answers to InitProducerId."""

    API_KEY = 22
    VERSIONS = Versions(0, 6, flexible=2)

    throttle_time_ms: int = int32()
    error_code: int = int16()
    producer_id: int = int64(default=-1)
    producer_epoch: int = int16()
    ongoing_txn_producer_id: int = int64("6+", default=-1)
    ongoing_txn_producer_epoch: int = int16("6+", default=-1)
