"""Partitions that nobody has after a static member has come back (G32)."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.errors import ErrorCode
from dekaf_proto.events import PartitionsRevoked
from dekaf_proto.messages import ApiKey, DescribeGroupsRequest, DescribeGroupsResponse
from dekaf_proto.messages.describe_groups import DescribedGroup
from dekaf_proto.types import TopicPartition
from tests.group.helpers import Group, Program

COOPERATIVE: dict[str, Any] = {"partition_assignment_strategy": ["cooperative-sticky"]}


def pair(release: str | None = None, **options: Any) -> tuple[Group, Program, Program]:
    """A static member, which leads the group, and another one."""
    group = Group({"t": 4}, release=release, group_instance_id="a", **options)
    one = group.join()
    group.settle()
    two = group.join(group_instance_id="b")
    group.settle()
    assert group.broker.group("g").leader == one.membership.member_id
    return group, one, two


def comes_back(group: Group, instance: str = "a", topics: list[str] | None = None, **options: Any) -> Program:
    group.broker.requests.clear()
    program = group.join(topics, group_instance_id=instance, **options)
    group.run_for(1)
    return program


def looks(group: Group) -> int:
    return len(group.requests(DescribeGroupsRequest))


def generation(group: Group) -> int:
    return group.broker.group("g").generation


# ------------------------------------------------------------------------------------------------ while it was away


@pytest.mark.parametrize("options", [{}, COOPERATIVE], ids=["range", "cooperative-sticky"])
@pytest.mark.parametrize("release", [None, "2.8"], ids=["SkipAssignment", "older"])  # G13
def test_partitions_that_came_while_the_leader_was_away(release: str | None, options: dict[str, Any]) -> None:
    group, one, two = pair(release, **options)
    before = generation(group)
    one.die()
    group.broker.create_partitions("t", 2)
    again = comes_back(group)
    group.settle()
    assert len(again.reading) == len(two.reading) == 3
    assert generation(group) == before + 1
    assert looks(group) == 1
    assert str(again.membership.last_cause) == "nobody has t-4, t-5"


@pytest.mark.parametrize("release", [None, "2.8"])
def test_nothing_came_while_the_leader_was_away(release: str | None) -> None:
    group, one, two = pair(release)
    before = generation(group)
    one.die()
    again = comes_back(group)
    group.settle()
    assert (generation(group), looks(group)) == (before, 1)
    assert again.membership.group_topics == ["t"]
    # It is the leader still, whatever an older broker calls it.
    group.broker.create_partitions("t", 2)
    again.consumer._metadata.refresh()
    group.run_for(1)
    group.settle()
    assert generation(group) == before + 1
    assert len(again.reading) == len(two.reading) == 3


@pytest.mark.parametrize("options", [{}, COOPERATIVE], ids=["range", "cooperative-sticky"])
def test_partitions_that_went_while_the_leader_was_away(options: dict[str, Any]) -> None:
    # The simulator's seed 1418
    group, one, two = pair(**options)
    before = generation(group)
    one.die()
    group.broker.recreate_topic("t", 2)
    again = comes_back(group)
    group.settle()
    assert generation(group) > before
    assert sorted([*again.reading, *two.reading]) == [TopicPartition("t", 0), TopicPartition("t", 1)]


def test_a_member_that_does_not_lead_looks_at_its_own_topics() -> None:
    group, _, two = pair()
    before = generation(group)
    two.die()
    again = comes_back(group, "b")
    group.settle()
    assert (generation(group), looks(group)) == (before, 1)
    assert again.membership.group_topics == []


def test_it_comes_back_with_another_topic() -> None:  # G28: the coordinator does not mind
    group = Group({"t": 2, "u": 2}, group_instance_id="a")
    one = group.join(["t"])
    group.settle_all()
    two = group.join(["t"], group_instance_id="b")
    group.settle_all()
    two.die()
    again = comes_back(group, "b", ["t", "u"])
    group.settle()
    assert [tp for tp in again.reading if tp.topic == "u"] == [TopicPartition("u", 0), TopicPartition("u", 1)]
    assert len([tp for tp in one.reading + again.reading if tp.topic == "t"]) == 2


@pytest.mark.parametrize("options", [{}, COOPERATIVE], ids=["range", "cooperative-sticky"])
def test_it_comes_back_with_fewer_topics(options: dict[str, Any]) -> None:  # G15
    group = Group({"t": 2, "u": 2}, group_instance_id="a", **options)
    one = group.join()
    group.settle()
    two = group.join(group_instance_id="b")
    group.settle()
    assert [tp for tp in two.reading if tp.topic == "u"]
    before = generation(group)
    two.die()
    again = comes_back(group, "b", ["t"])
    group.run_for(5)
    group.settle()
    assert generation(group) <= before + 2
    assert [tp for tp in one.reading if tp.topic == "u"] == [TopicPartition("u", 0), TopicPartition("u", 1)]
    assert again.failures == []


def test_members_that_are_not_static_do_not_look() -> None:
    group = Group({"t": 4}, **COOPERATIVE)
    for _ in range(3):
        group.join()
        group.settle()
    assert looks(group) == 0


def test_a_group_that_starts_looks_once_for_each_member_that_does_not_lead() -> None:
    group = Group({"t": 4})
    for name in "abc":
        group.join(group_instance_id=name)
    group.settle()
    assert looks(group) <= 2
    before = looks(group)
    group.programs[0].membership.rejoin("a test")
    group.run_for(1)
    group.settle()
    assert looks(group) == before  # it has not come back, it was here all the time


# ---------------------------------------------------------------------------- between two rounds of a cooperative one


def between(**options: Any) -> tuple[Group, Program, Program]:
    """A member that leads, with a topic of its own; a static one is told to give up a partition for a third."""
    options = {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 1_000, **COOPERATIVE, **options}
    group = Group({"t": 2, "u": 1}, **options)
    leader = group.join(["u"])
    group.settle_all()
    giver = group.join(["t"], group_instance_id="a")
    group.settle()
    giver.answers = False
    group.join(["t"])
    group.run_until(lambda: isinstance(giver.event, PartitionsRevoked))
    assert group.broker.group("g").leader == leader.membership.member_id
    return group, leader, giver


def test_it_dies_before_it_can_ask_for_the_second_round() -> None:  # G23
    group, _, giver = between()
    giver.die()
    again = comes_back(group, topics=["t"])
    group.settle()
    assert (len(again.reading), looks(group)) == (1, 1)
    assert str(again.membership.last_cause).startswith("nobody has t-")


def test_a_member_that_takes_its_time_is_waited_for() -> None:
    group, _, giver = between()
    before = generation(group)
    group.broker.requests.clear()
    group.run_for(20)
    assert looks(group) == 3  # the leader does, every 6 s: the partition may be nobody's by now
    assert generation(group) == before
    giver.go_on()
    group.settle()
    group.broker.requests.clear()
    group.run_for(20)
    assert looks(group) == 0


def test_the_leader_sees_to_a_member_that_does_not_look_itself() -> None:
    """As one of another make that dies between the rounds."""
    group, leader, giver = between()
    giver.die()
    group.broker.faults.add(api=ApiKey.DESCRIBE_GROUPS, error=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    again = comes_back(group, topics=["t"])
    before = generation(group)
    assert (generation(group), looks(group)) == (before, 1)
    began = group.now
    group.run_until(lambda: generation(group) > before)
    assert group.now - began < 6.1
    group.settle()
    assert len(again.reading) == 1
    assert str(leader.membership.last_cause).startswith("nobody has t-")


# ------------------------------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    "fault",
    [
        {"error": ErrorCode.NOT_COORDINATOR},
        {"error": ErrorCode.COORDINATOR_LOAD_IN_PROGRESS},
        {"drop": "after"},
        {"silent": "after"},
    ],
)
def test_what_passes_is_tried_again(fault: dict[str, Any]) -> None:
    group, one, two = pair(request_timeout_ms=5_000)
    one.die()
    group.broker.create_partitions("t", 2)
    group.broker.faults.add(api=ApiKey.DESCRIBE_GROUPS, **fault)
    again = comes_back(group)
    group.run_for(10)
    group.settle()
    assert len(again.reading) == len(two.reading) == 3
    assert looks(group) == 2


def no_answer(request: DescribeGroupsRequest, response: DescribeGroupsResponse) -> DescribeGroupsResponse:
    return DescribeGroupsResponse(groups=[DescribedGroup(group_id="another")])


def nonsense(request: DescribeGroupsRequest, response: DescribeGroupsResponse) -> DescribeGroupsResponse:
    response.groups[0].members[0].member_metadata = b"?"
    return response


def a_rebalance(request: DescribeGroupsRequest, response: DescribeGroupsResponse) -> DescribeGroupsResponse:
    return DescribeGroupsResponse(groups=[DescribedGroup(group_id="g", group_state="PreparingRebalance")])


@pytest.mark.parametrize(
    "fault",
    [
        {"error": ErrorCode.GROUP_AUTHORIZATION_FAILED},
        {"error": ErrorCode.GROUP_ID_NOT_FOUND},
        {"alter": no_answer},
        {"alter": nonsense},
        {"alter": a_rebalance},
    ],
)
def test_what_does_not_pass_is_let_be(fault: dict[str, Any]) -> None:
    group, one, _ = pair()
    before = generation(group)
    one.die()
    group.broker.create_partitions("t", 2)
    group.broker.faults.add(api=ApiKey.DESCRIBE_GROUPS, **fault)
    again = comes_back(group)
    group.settle_all()
    group.run_for(30)
    assert (generation(group), looks(group)) == (before, 1)
    assert again.failures == []
    assert len(again.reading) == 2


def test_one_that_got_nothing_is_no_hindrance() -> None:
    group, one, two = pair()
    one.die()
    group.broker.create_partitions("t", 2)

    def emptied(request: DescribeGroupsRequest, response: DescribeGroupsResponse) -> DescribeGroupsResponse:
        for member in response.groups[0].members:
            member.member_assignment = b""
        return response

    group.broker.faults.add(api=ApiKey.DESCRIBE_GROUPS, alter=emptied)
    again = comes_back(group)
    group.settle()
    assert str(again.membership.last_cause) == "nobody has t-0, t-1, t-2, t-3, t-4, t-5"
    assert len(again.reading) == len(two.reading) == 3


def test_a_rebalance_that_begins_meanwhile_sees_to_it() -> None:
    group, one, _ = pair()
    before = generation(group)
    one.die()
    group.broker.create_partitions("t", 2)
    group.broker.faults.add(api=ApiKey.DESCRIBE_GROUPS, delay=3.0)
    again = comes_back(group)
    again.membership.rejoin("a test")
    group.settle()
    group.run_for(10)
    assert (generation(group), looks(group)) == (before + 1, 1)
    assert again.membership.last_cause == "a test"
