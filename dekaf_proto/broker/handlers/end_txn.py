"""EndTxn: commits or aborts a transaction (T11, T15, T16)."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.transaction_coordinator import Given
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.end_txn import EndTxnRequest, EndTxnResponse


def end_txn(exchange: Exchange, request: EndTxnRequest) -> EndTxnResponse:
    """From version 5 on (transactions of version 2) the producer gets a new epoch with it."""
    error, (producer_id, epoch) = _end(exchange, request)
    if error is ErrorCode.PRODUCER_FENCED and exchange.version < 2:
        error = ErrorCode.INVALID_PRODUCER_EPOCH  # 90 was not known yet
    return EndTxnResponse(error_code=error, producer_id=producer_id, producer_epoch=epoch)


def _end(exchange: Exchange, request: EndTxnRequest) -> Given:
    if error := exchange.faults.error() or exchange.transaction_error(request.transactional_id):
        return Given(error)
    producer = (request.producer_id, request.producer_epoch)
    return exchange.transactions.end(
        request.transactional_id, producer, request.committed, exchange.now, bump=exchange.version >= 5
    )
