"""DeleteGroups: groups without members, with their offsets."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.groups import GroupState
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.delete_groups import DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse


def delete_groups(exchange: Exchange, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
    """Each group has its own answer."""
    return DeleteGroupsResponse(results=[_delete(exchange, name) for name in dict.fromkeys(request.groups_names)])


def _delete(exchange: Exchange, name: str) -> DeletableGroupResult:
    if error := exchange.faults.error(name) or exchange.coordinator_error(name, may_be_empty=True):
        return DeletableGroupResult(name, error)
    group = exchange.cluster.groups.get(name)
    if group is None:
        return DeletableGroupResult(name, ErrorCode.GROUP_ID_NOT_FOUND)
    if group.state is not GroupState.EMPTY:
        return DeletableGroupResult(name, ErrorCode.NON_EMPTY_GROUP)
    del exchange.cluster.groups[name]
    return DeletableGroupResult(name)
