"""LeaveGroup: one member before version 3, then a list, each with its own answer."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.membership import Group
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse


def leave_group(exchange: Exchange, request: LeaveGroupRequest) -> LeaveGroupResponse:
    """An error of the whole group is told once."""
    group = exchange.cluster.groups.get(request.group_id)
    error = exchange.faults.top_error or exchange.coordinator_error(request.group_id)
    if error:
        return LeaveGroupResponse(error_code=error)
    asked = request.members if exchange.version >= 3 else [MemberIdentity(request.member_id)]
    members = [
        MemberResponse(
            member.member_id,
            member.group_instance_id,
            exchange.faults.error() or _leave(group, member, exchange.now),
        )
        for member in asked
    ]
    if exchange.version >= 3:
        return LeaveGroupResponse(members=members)
    return LeaveGroupResponse(error_code=members[0].error_code)


def _leave(group: Group | None, member: MemberIdentity, now: float) -> ErrorCode:
    return (
        ErrorCode.UNKNOWN_MEMBER_ID if group is None else group.leave(member.member_id, member.group_instance_id, now)
    )
