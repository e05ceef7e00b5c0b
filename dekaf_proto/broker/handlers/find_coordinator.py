"""FindCoordinator: which node keeps a group or a transactional id (G1, G3)."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.find_coordinator import Coordinator, FindCoordinatorRequest, FindCoordinatorResponse

_GROUP, _TRANSACTION = 0, 1


def find_coordinator(exchange: Exchange, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    """One key before version 4, then a list."""
    key_type = request.key_type if exchange.version >= 1 else _GROUP
    if exchange.version >= 4:
        return FindCoordinatorResponse(
            coordinators=[_find(exchange, key, key_type) for key in request.coordinator_keys]
        )
    found = _find(exchange, request.key, key_type)
    return FindCoordinatorResponse(
        error_code=found.error_code,
        error_message=found.error_message,
        node_id=found.node_id,
        host=found.host,
        port=found.port,
    )


def _find(exchange: Exchange, key: str, key_type: int) -> Coordinator:
    error = exchange.faults.error(key)
    if not error and key_type not in (_GROUP, _TRANSACTION):
        error = ErrorCode.INVALID_REQUEST
    if error:
        return Coordinator(key, -1, "", -1, error, error.name)
    number = exchange.transactions.node(key) if key_type == _TRANSACTION else exchange.cluster.coordinator(key)
    assert number is not None  # at least the node that was asked is alive
    return Coordinator(key, number, *exchange.cluster.endpoint(number), error_message="")
