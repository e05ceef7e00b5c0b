"""JoinGroup: enters a classic group, or its next generation (G9-G13, G28)."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange, Pending
from dekaf_proto.broker.groups import Joined, JoiningMember
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.join_group import JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember


def join_group(exchange: Exchange, request: JoinGroupRequest) -> JoinGroupResponse | Pending:
    """Waits until all members have joined, or the rebalance timeout has passed."""
    version = exchange.version
    if error := exchange.faults.error() or _refused(exchange, request):
        return _response(Joined(error, request.member_id), version)
    session_timeout = request.session_timeout_ms / 1000
    given = JoiningMember(
        exchange.client_id,
        request.group_instance_id,
        session_timeout,
        request.rebalance_timeout_ms / 1000 if version >= 1 else session_timeout,
        request.protocol_type,
        tuple((protocol.name, protocol.metadata) for protocol in request.protocols),
    )
    group = exchange.cluster.group(request.group_id)
    reply = group.join(request.member_id, given, two_steps=version >= 4, skips=version >= 9, now=exchange.now)
    if reply.value is not None:
        return _response(reply.value, version)
    return Pending(float("inf"), lambda _: None if reply.value is None else _response(reply.value, version))


def _refused(exchange: Exchange, request: JoinGroupRequest) -> ErrorCode:
    if error := exchange.coordinator_error(request.group_id):
        return error
    options = exchange.cluster.group_options
    if not options.min_session_timeout_ms <= request.session_timeout_ms <= options.max_session_timeout_ms:
        return ErrorCode.INVALID_SESSION_TIMEOUT
    # A group is made for those who have no member id yet.
    unknown = request.member_id and request.group_id not in exchange.cluster.groups
    return ErrorCode.UNKNOWN_MEMBER_ID if unknown else ErrorCode.NONE


def _response(joined: Joined, version: int) -> JoinGroupResponse:
    return JoinGroupResponse(
        error_code=joined.error,
        generation_id=joined.generation,
        protocol_type=joined.protocol_type,
        protocol_name=joined.protocol if version >= 7 else joined.protocol or "",
        leader=joined.leader,
        skip_assignment=joined.skip_assignment,
        member_id=joined.member_id,
        members=[JoinGroupResponseMember(*member) for member in joined.members],
    )
