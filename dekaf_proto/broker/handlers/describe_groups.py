"""DescribeGroups: the state of classic groups, and their members; what these have said only in a stable one."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.groups import GroupState
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.describe_groups import (
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)


def describe_groups(exchange: Exchange, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
    """A group that there is not is no error before version 6, but one that is dead."""
    return DescribeGroupsResponse(groups=[_described(exchange, group_id) for group_id in request.groups])


def _described(exchange: Exchange, group_id: str) -> DescribedGroup:
    if error := exchange.faults.error() or exchange.coordinator_error(group_id):
        return DescribedGroup(error_code=error, group_id=group_id)
    group = exchange.cluster.groups.get(group_id)
    if group is None:
        found = DescribedGroup(group_id=group_id, group_state=GroupState.DEAD.value)
        if exchange.version >= 6:
            found.error_code, found.error_message = ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} not found."
        return found
    stable = group.state is GroupState.STABLE
    return DescribedGroup(
        group_id=group_id,
        group_state=group.state.value,
        protocol_type=group.protocol_type or "",
        protocol_data=group.protocol or "" if stable else "",
        members=[
            DescribedGroupMember(
                member_id=member.id,
                group_instance_id=member.instance_id,
                client_id=member.given.client_id,
                client_host="/127.0.0.1",
                member_metadata=member.metadata(group.protocol) if stable else b"",
                member_assignment=member.assignment,
            )
            for member in group.members
        ],
    )
