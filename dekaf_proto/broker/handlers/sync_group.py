"""SyncGroup: hands out the assignment of a generation (G11, G12)."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange, Pending
from dekaf_proto.broker.groups import Synced
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.sync_group import SyncGroupRequest, SyncGroupResponse


def sync_group(exchange: Exchange, request: SyncGroupRequest) -> SyncGroupResponse | Pending:
    """Waits for the leader's, which brings the assignment."""
    error = exchange.faults.error()
    if not error and exchange.version >= 5 and (request.protocol_type is None or request.protocol_name is None):
        error = ErrorCode.INCONSISTENT_GROUP_PROTOCOL  # they are nullable, but not optional
    error = error or exchange.coordinator_error(request.group_id)
    if error is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
        error = ErrorCode.REBALANCE_IN_PROGRESS  # the member has to join again: its generation was not written down
    group = exchange.cluster.groups.get(request.group_id)
    if error or group is None:
        return _response(Synced(error or ErrorCode.UNKNOWN_MEMBER_ID))
    reply = group.sync(
        request.generation_id,
        request.member_id,
        request.group_instance_id,
        request.protocol_type,
        request.protocol_name,
        {entry.member_id: entry.assignment for entry in request.assignments},
        exchange.now,
    )
    if reply.value is not None:
        return _response(reply.value)
    return Pending(float("inf"), lambda _: None if reply.value is None else _response(reply.value))


def _response(synced: Synced) -> SyncGroupResponse:
    return SyncGroupResponse(
        error_code=synced.error,
        protocol_type=synced.protocol_type,
        protocol_name=synced.protocol,
        assignment=synced.assignment,
    )
