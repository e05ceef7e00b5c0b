"""AddOffsetsToTxn: makes a group's offsets part of a transaction of version 1 (T14)."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.add_offsets_to_txn import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse


def add_offsets_to_txn(exchange: Exchange, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse:
    """Asks nobody whether there is such a group: TxnOffsetCommit may make it."""
    error = exchange.faults.error() or exchange.transaction_error(request.transactional_id)
    if not error:
        producer = (request.producer_id, request.producer_epoch)
        error = exchange.transactions.add(request.transactional_id, producer, exchange.now, groups=[request.group_id])
    if error is ErrorCode.PRODUCER_FENCED and exchange.version < 2:
        error = ErrorCode.INVALID_PRODUCER_EPOCH  # 90 was not known yet
    return AddOffsetsToTxnResponse(error_code=error)
