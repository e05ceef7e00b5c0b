"""DescribeGroups: a group's state and members. What members say of themselves is told only while it is stable."""

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

#: What may be done to a group where nothing is forbidden: READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
_OPERATIONS = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11


def describe_groups(exchange: Exchange, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
    """Each group has its own answer."""
    described = [_describe(exchange, name) for name in request.groups]
    if request.include_authorized_operations:
        for group in described:
            if not group.error_code:
                group.authorized_operations = _OPERATIONS
    return DescribeGroupsResponse(groups=described)


def _describe(exchange: Exchange, name: str) -> DescribedGroup:
    if error := exchange.faults.error(name) or exchange.coordinator_error(name, may_be_empty=True):
        return DescribedGroup(error, group_id=name)
    group = exchange.cluster.groups.get(name)
    if group is None:  # before version 6 that is no error
        missing = exchange.version >= 6
        return DescribedGroup(
            ErrorCode.GROUP_ID_NOT_FOUND if missing else ErrorCode.NONE,
            f"Group {name} not found." if missing else None,
            name,
            GroupState.DEAD.value,
        )
    stable = group.state is GroupState.STABLE
    members = [
        DescribedGroupMember(
            member.id,
            member.instance_id,
            member.given.client_id,
            "/127.0.0.1",  # an engine is not told where its clients are
            member.metadata(group.protocol) if stable else b"",
            member.assignment,
        )
        for member in group.members
    ]
    return DescribedGroup(
        group_id=name,
        group_state=group.state.value,
        protocol_type=group.protocol_type or "",
        protocol_data=(group.protocol or "") if stable else "",
        members=members,
    )
