"""DescribeGroups: a group as others see it."""

from __future__ import annotations

import pytest

from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import DescribeGroupsRequest
from dekaf_proto.messages.describe_groups import DescribedGroup
from tests.broker.members import GroupPeer, broker


def described(group: GroupPeer, version: int = 6, group_id: str = "g") -> DescribedGroup:
    (found,) = group.ask(DescribeGroupsRequest([group_id]), version).groups
    return found


@pytest.mark.parametrize("version", range(7))
def test_a_description(version: int) -> None:
    group = GroupPeer(broker())
    a, b = group.member(), group.member("one")
    group.stable(a, b)
    found = described(group, version)
    assert (found.error_code, found.group_state) == (0, "Stable")
    assert (found.protocol_type, found.protocol_data) == ("consumer", "range")
    seen = [(m.member_id, m.client_id, m.member_metadata, m.member_assignment) for m in found.members]
    assert seen == [(a.id, "peer", b"r", b"0"), (b.id, "peer", b"r", b"1")]
    assert [m.group_instance_id for m in found.members] == [None, "one" if version >= 4 else None]


def test_a_description_in_a_rebalance() -> None:
    group = GroupPeer(broker())
    a, b = group.member(), group.member()
    group.stable(a, b)
    a.join()
    found = described(group)
    assert (found.group_state, found.protocol_type, found.protocol_data) == ("PreparingRebalance", "consumer", "")
    assert [(m.member_id, m.member_metadata, m.member_assignment) for m in found.members] == [
        (a.id, b"", b"0"),
        (b.id, b"", b"1"),
    ]
    b.join()
    assert described(group).group_state == "CompletingRebalance"


def test_a_description_of_what_is_not_there() -> None:
    group = GroupPeer(broker(2))
    group.member().join()
    other = next(name for name in map(str, range(9)) if group.broker.coordinator(name) == 0)
    for version, error in ((5, ErrorCode.NONE), (6, ErrorCode.GROUP_ID_NOT_FOUND)):
        found = described(group, version, other)
        assert (found.group_id, found.error_code, found.group_state) == (other, error, "Dead")
    group.broker.move_coordinator("g", 1, group.now, load_ms=1000)
    assert described(group).error_code == ErrorCode.NOT_COORDINATOR
    group.broker.move_coordinator("g", 0, group.now, load_ms=1000)
    found = described(group)
    assert (found.group_id, found.error_code) == ("g", ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
