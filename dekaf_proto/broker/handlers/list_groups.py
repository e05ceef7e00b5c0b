"""ListGroups: the groups that a node coordinates."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse

_TYPE = "classic"


def list_groups(exchange: Exchange, request: ListGroupsRequest) -> ListGroupsResponse:
    """All of them, or those of some states and types, whose case does not matter."""
    if error := exchange.faults.top_error or exchange.faults.error():
        return ListGroupsResponse(error_code=error)
    states = [state.lower() for state in request.states_filter]
    types = [type.lower() for type in request.types_filter]
    if types and _TYPE not in types:
        return ListGroupsResponse()
    groups = [
        ListedGroup(name, group.protocol_type or "", group.state.value, _TYPE)
        for name, group in sorted(exchange.cluster.groups.items())
        if group.node == exchange.node and (not states or group.state.value.lower() in states)
    ]
    return ListGroupsResponse(groups=groups)
