"""Heartbeat: a member lives, and learns of a rebalance (G14, G19)."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.heartbeat import HeartbeatRequest, HeartbeatResponse


def heartbeat(exchange: Exchange, request: HeartbeatRequest) -> HeartbeatResponse:
    """An error code, nothing else."""
    error = exchange.faults.error()
    return HeartbeatResponse(error_code=error or _heartbeat(exchange, request))


def _heartbeat(exchange: Exchange, request: HeartbeatRequest) -> ErrorCode:
    error = exchange.coordinator_error(request.group_id)
    if error is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
        return ErrorCode.NONE  # Kafka doesn't know better, and does not want to alarm the member
    group = exchange.cluster.groups.get(request.group_id)
    if error or group is None:
        return error or ErrorCode.UNKNOWN_MEMBER_ID
    return group.heartbeat(request.generation_id, request.member_id, request.group_instance_id, exchange.now)
