"""InitProducerId: gives a producer its id and epoch (T1, T10, KIP-360)."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.transaction_coordinator import Given
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse


def init_producer_id(exchange: Exchange, request: InitProducerIdRequest) -> InitProducerIdResponse:
    """Any node does it for an idempotent producer, the coordinator of its id for a transactional one."""
    error, (producer_id, epoch) = _init(exchange, request)
    if error is ErrorCode.PRODUCER_FENCED and exchange.version < 4:
        error = ErrorCode.INVALID_PRODUCER_EPOCH  # 90 was not known yet
    return InitProducerIdResponse(error_code=error, producer_id=producer_id, producer_epoch=epoch)


def _init(exchange: Exchange, request: InitProducerIdRequest) -> Given:
    if error := exchange.faults.error():
        return Given(error)
    if (request.producer_id < 0) != (request.producer_epoch < 0):
        return Given(ErrorCode.INVALID_REQUEST)
    transactions, transactional_id = exchange.transactions, request.transactional_id
    if transactional_id is None:
        return Given(ErrorCode.NONE, (transactions.new_producer_id(), 0))
    if error := exchange.transaction_error(transactional_id):
        return Given(error)
    expected = None if request.producer_id < 0 else (request.producer_id, request.producer_epoch)
    return transactions.init(transactional_id, request.transaction_timeout_ms, expected, exchange.now)
