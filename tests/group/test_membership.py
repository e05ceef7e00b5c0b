"""Joining and sharing out, by the classic protocol: what goes over the wire, in which order, and what it says."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from dekaf_proto.broker.groups import GroupOptions, GroupState
from dekaf_proto.errors import ErrorCode, LocalProtocolError
from dekaf_proto.group.classic import TRANSITIONS, GroupMetadata, MemberInput, MemberState
from dekaf_proto.group.payloads import decode_assignment, decode_subscription
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.messages.join_group import JoinGroupRequest, JoinGroupResponse
from dekaf_proto.types import TopicPartition
from tests.group.helpers import Group

COOPERATIVE: dict[str, Any] = {"partition_assignment_strategy": ["cooperative-sticky"]}


# ---------------------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("state, what", list(itertools.product(MemberState, MemberInput)))
def test_every_pair_of_state_and_input(state: MemberState, what: MemberInput) -> None:  # G8
    membership = Group().add().membership
    membership.state = state
    if (state, what) in TRANSITIONS:
        membership._move(what)
        assert membership.state is TRANSITIONS[state, what]
    else:
        with pytest.raises(LocalProtocolError, match=f"{what.name} is not possible when {state.name}"):
            membership._move(what)
        assert membership.state is state


def test_what_is_allowed() -> None:
    allowed = {(state.name, what.name) for state, what in TRANSITIONS}
    everywhere = {"JOIN", "OUT", "FAIL"}
    assert allowed == {(state.name, what) for state in MemberState for what in everywhere} | {
        ("JOINING", "JOINED"),
        ("SYNCING", "SYNCED"),
    }


# ------------------------------------------------------------------------------------------------------- the first join


def test_the_first_join() -> None:  # G8, G9, G10, trap 23
    group = Group(
        {"t": 2, "u": 1},
        session_timeout_ms=20_000,
        max_poll_interval_ms=50_000,
        client_rack="r1",
        partition_assignment_strategy=["roundrobin", "range"],
    )
    one = group.join(["u", "t"])
    group.settle()
    first, second = group.joins()
    assert (first.member_id, first.group_instance_id, first.protocol_type) == ("", None, "consumer")
    assert (first.session_timeout_ms, first.rebalance_timeout_ms) == (20_000, 50_000)
    assert [protocol.name for protocol in first.protocols] == ["roundrobin", "range"]
    for protocol in first.protocols:
        said = decode_subscription(protocol.metadata)
        assert (said.topics, said.owned, said.generation, said.rack) == (("t", "u"), (), -1, "r1")
    assert first.reason == second.reason == "the consumer has subscribed"
    # MEMBER_ID_REQUIRED is answered at once, under the name that was given, and nobody is told anything.
    assert second.member_id == one.membership.member_id != ""
    times = [received.now for received in group.received(JoinGroupRequest)]
    assert times[1] - times[0] == pytest.approx(2 * group.network.latency)
    assert one.log == ["assigned t-0 t-1 u-0"]
    (sync,) = group.syncs()
    assert (sync.generation_id, sync.member_id) == (1, one.membership.member_id)
    assert (sync.protocol_type, sync.protocol_name) == ("consumer", "roundrobin")
    assert group.broker.group("g").protocol == "roundrobin"


def test_a_reason_is_cut_to_what_the_protocol_allows() -> None:  # G9
    group = Group()
    one = group.join()
    group.settle()
    one.membership.rejoin("x" * 1000)
    group.run_for(0)
    group.settle()
    assert group.joins()[-1].reason == "x" * 255


def test_who_one_is() -> None:
    group = Group(group_instance_id="i")
    one = group.add()
    assert one.consumer.group_metadata() == GroupMetadata("g", -1, "", "i")
    one.subscribe("t")
    group.settle()
    (member,) = group.broker.group("g").members
    assert one.consumer.group_metadata() == GroupMetadata("g", 1, member.member_id, "i")
    one.close()
    assert one.consumer.group_metadata() == GroupMetadata("g", -1, "", "i")


def test_a_join_may_take_as_long_as_members_may() -> None:  # G9
    group = Group({"t": 2}, max_poll_interval_ms=40_000, request_timeout_ms=5_000)
    one = group.join()
    group.settle()
    one.answers = False  # 30 s for its listener: longer than a request may take
    two = group.join()
    group.run_for(30)
    assert one.event is not None
    one.go_on()
    group.settle()
    assert (two.log, two.failures) == (["assigned t-0"], [])
    assert [join.member_id for join in group.joins()].count(two.membership.member_id) == 1


def test_a_join_has_a_connection_of_its_own() -> None:  # G2
    group = Group({"t": 1}, **COOPERATIVE)
    one = group.join()
    group.settle()
    group.broker.faults.add(api=ApiKey.JOIN_GROUP, delay=5.0)
    before = len(group.fetches())
    one.membership.rejoin("a test")
    group.run_until(lambda: one.state is MemberState.JOINING)
    group.append("a")
    group.run_for(4)
    assert one.state is MemberState.JOINING
    assert one.records == ["a"]
    assert len(group.fetches()) > before
    group.settle()


# ------------------------------------------------------------------------------------------------------------- sharing


def test_leader_and_follower() -> None:  # G11
    group = Group({"t": 4})
    one, two = group.join(), group.join()
    group.settle()
    syncs = {sync.member_id: sync.assignments for sync in group.syncs() if sync.generation_id == 2}
    leader = group.broker.group("g").leader
    assert one.membership.member_id == leader
    shared = {each.member_id: decode_assignment(each.assignment) for each in syncs[leader]}
    assert shared == {
        program.membership.member_id: [TopicPartition("t", p) for p in numbers]
        for program, numbers in zip((one, two), ((2, 3), (0, 1)), strict=True)
    }
    assert syncs[two.membership.member_id] == []
    assert one.membership.group_topics == ["t"]
    assert two.membership.group_topics == []


def test_a_member_without_partitions_is_told_so() -> None:  # "an empty assignment is applied, not ignored"
    group = Group({"t": 1})
    one, two = group.join(), group.join()
    group.settle()
    assert sorted([one.log[-1], two.log[-1]]) == ["assigned", "assigned t-0"]
    assert all(program.membership.is_settled for program in (one, two))


def test_the_leader_asks_for_the_topics_of_all() -> None:  # G11
    group = Group({"t": 1, "u": 2})
    one = group.join("t")
    group.settle()
    two = group.join("u")
    group.settle()
    assert one.membership.group_topics == ["t", "u"]
    assert one.log == ["assigned t-0", "revoked t-0", "assigned t-0"]
    assert two.log == ["assigned u-0 u-1"]


def test_a_topic_of_the_group_that_does_not_exist_is_left_out() -> None:  # A, common
    group = Group({"t": 1}, allow_auto_create_topics=False)
    one = group.join(["nowhere", "t"])
    group.settle()
    assert one.log == ["assigned t-0"]
    group.broker.create_topic("nowhere", 2)
    group.refresh()
    group.run_for(1)
    group.settle()  # G17: the leader sees it come
    assert one.log[1:] == ["revoked t-0", "assigned nowhere-0 nowhere-1 t-0"]
    assert group.joins()[-1].reason == "the partitions of the group's topics have changed"


def test_a_leader_without_metadata_goes_on_after_a_while() -> None:
    group = Group({"t": 1}, request_timeout_ms=5_000)
    group.broker.faults.add(api=ApiKey.METADATA, times=None, when=lambda h, r: _names(r, "t"), silent="before")
    one = group.join()
    group.run_until(lambda: group.syncs(), 30)
    assert one.state is MemberState.SYNCING
    assert [decode_assignment(each.assignment) for each in group.syncs()[0].assignments] == [[]]
    group.broker.faults.clear()
    group.run_until(lambda: len(one.log) == 2)
    group.settle()
    assert one.log == ["assigned", "assigned t-0"]


def _names(request: object, topic: str) -> bool:
    return any(each.name == topic for each in request.topics or ())  # type: ignore[attr-defined]


def test_the_protocol_is_what_the_join_says() -> None:  # G12
    group = Group({"t": 2})

    def other(request: object, response: JoinGroupResponse) -> JoinGroupResponse:
        response.protocol_name = "sticky"
        return response

    group.broker.faults.add(api=ApiKey.JOIN_GROUP, when=lambda h, r: bool(_member(r)), alter=other)
    one = group.join(partition_assignment_strategy=["range", "sticky"])
    group.run_until(lambda: one.failures)
    assert group.syncs()[0].protocol_name == "sticky"  # the broker wants "range", and says so
    assert "INCONSISTENT_GROUP_PROTOCOL" in str(one.failures[0])
    group.settle()


def _member(request: object) -> str:
    assert isinstance(request, JoinGroupRequest)
    return request.member_id


@pytest.mark.parametrize("name, kind", [("other", "consumer"), ("range", "connect"), (None, "consumer")])
def test_a_protocol_that_it_does_not_speak(name: str | None, kind: str) -> None:  # G12
    group = Group()

    def other(request: object, response: JoinGroupResponse) -> JoinGroupResponse:
        response.protocol_name, response.protocol_type = name, kind
        return response

    group.broker.faults.add(api=ApiKey.JOIN_GROUP, when=lambda h, r: bool(_member(r)), alter=other)
    one = group.join()
    one.sleep()
    group.run_for(1)
    assert one.state is MemberState.FAILED
    assert group.syncs() == []
    one.wake()
    assert f"has chosen protocol {name!r} of type {kind!r}" in str(one.failures[0])
    group.settle()  # asking again is enough
    assert one.log == ["assigned t-0"]


def test_a_protocol_without_a_type_is_taken() -> None:  # G12: before version 7 there is none
    group = Group(release="2.4")
    one = group.join()
    group.settle()
    assert one.log == ["assigned t-0"]
    assert group.received(JoinGroupRequest)[0].header.request_api_version == 6


@pytest.mark.parametrize("release", ["2.1", "2.3", "2.5", "3.0", "4.4"])
def test_old_brokers(release: str) -> None:
    group = Group({"t": 2}, release=release)
    one, two = group.join(), group.join()
    group.settle()
    two.close()
    group.programs.remove(two)
    group.settle()
    assert sorted(one.log[-1].split()[1:]) == ["t-0", "t-1"]
    (leave,) = group.leaves()
    if leave.members:
        assert (leave.member_id, leave.members[0].reason) in (
            ("", "the consumer was closed"),
            ("", None),  # before version 5
        )
    else:
        assert release in ("2.1", "2.3")
        assert leave.member_id


def test_old_brokers_give_the_id_with_the_first_join() -> None:  # G10: only from version 4 on in two steps
    group = Group(release="2.1")
    one = group.join()
    group.settle()
    assert [join.member_id for join in group.joins()] == [""]
    assert one.membership.member_id == group.broker.group("g").leader


# ---------------------------------------------------------------------------------------------------------- rejoining


def test_a_rejoin_says_what_it_has() -> None:  # G23, A8
    group = Group({"t": 2}, **COOPERATIVE)
    one = group.join()
    group.settle()
    one.membership.rejoin("a test")
    group.run_for(0.1)
    group.settle()
    said = decode_subscription(group.joins()[-1].protocols[0].metadata)
    assert said.owned == (TopicPartition("t", 0), TopicPartition("t", 1))
    assert said.generation == 1
    assert one.log == ["assigned t-0 t-1", "assigned"]


def test_what_it_has_belongs_to_the_generation_in_which_it_got_it() -> None:  # A8
    group = Group({"t": 2}, **COOPERATIVE)
    one = group.join()
    group.settle()
    generation = one.membership.generation
    group.broker.faults.add(api=ApiKey.SYNC_GROUP, error=ErrorCode.REBALANCE_IN_PROGRESS)
    one.membership.rejoin("a test")
    group.run_for(1)
    group.settle()
    said = [decode_subscription(join.protocols[0].metadata).generation for join in group.joins()[-2:]]
    assert said == [generation, generation]  # though it was in a later one in between
    assert one.membership.generation == generation + 1


def test_an_eager_member_has_nothing_when_it_joins() -> None:  # G22
    group = Group({"t": 2})
    one = group.join()
    group.settle()
    one.membership.rejoin("a test")
    group.run_for(0.1)
    group.settle()
    assert decode_subscription(group.joins()[-1].protocols[0].metadata).owned == ()
    assert one.log == ["assigned t-0 t-1", "revoked t-0 t-1", "assigned t-0 t-1"]


def test_sticky_members_remember_what_they_had() -> None:  # A7, A8, lesson 20
    group = Group({"t": 4}, partition_assignment_strategy=["sticky"])
    one, two = group.join(), group.join()
    group.settle()
    had = one.reading, two.reading
    third = group.join()
    group.settle()
    assert set(one.reading) <= set(had[0])
    assert set(two.reading) <= set(had[1])
    assert len(third.reading) == 1


def test_after_a_loss_it_claims_nothing() -> None:  # A8, G24
    group = Group({"t": 2}, partition_assignment_strategy=["cooperative-sticky"])
    one = group.join()
    group.settle()
    group.broker.faults.add(api=ApiKey.HEARTBEAT, error=ErrorCode.ILLEGAL_GENERATION)
    group.run_until(lambda: len(one.log) == 2)
    group.settle()
    said = decode_subscription(group.joins()[-1].protocols[0].metadata)
    assert (said.owned, said.generation, said.user_data) == ((), -1, b"\xff\xff\xff\xff")


def test_it_is_one_mode_everywhere() -> None:  # trap 30: eager unless all strategies can do without
    for strategies, eager in (
        (["range", "cooperative-sticky"], True),
        (["cooperative-sticky", "range"], True),
        (["cooperative-sticky"], False),
    ):
        group = Group({"t": 2}, partition_assignment_strategy=strategies)
        one = group.join()
        group.settle()
        two = group.join()
        assert one.membership.eager is two.membership.eager is eager
        group.settle()
        assert [protocol.name for protocol in group.joins()[0].protocols] == strategies
        assert ("revoked t-0 t-1" in one.log) is eager


def test_a_rolling_change_from_range_to_cooperative() -> None:  # trap 30
    group = Group({"t": 4})
    old = [group.join(), group.join()]
    group.settle()
    for strategies in (["cooperative-sticky", "range"], ["cooperative-sticky"]):
        for i in range(2):
            old[i].close()
            group.programs.remove(old[i])
            old[i] = group.join(partition_assignment_strategy=strategies)
            group.settle()
    assert group.broker.group("g").protocol == "cooperative-sticky"
    assert not any(program.failures for program in old)


def test_a_group_that_speaks_something_else_is_fatal() -> None:  # Join 23
    group = Group()
    group.join()
    group.settle()
    other = group.join(partition_assignment_strategy=["sticky"])
    group.run_until(lambda: other.failures)
    assert "INCONSISTENT_GROUP_PROTOCOL" in str(other.failures[0])
    other.close()
    group.programs.remove(other)
    group.settle()


def test_a_group_that_is_full() -> None:  # Join 81
    group = Group()
    group.broker.cluster.group_options = GroupOptions(max_size=1)
    one = group.join()
    group.settle()
    two = group.join()
    two.sleep()
    group.run_for(5)
    two.poll_once()
    assert "GROUP_MAX_SIZE_REACHED" in str(two.failures[0])
    one.close()
    group.programs.remove(one)
    two.wake()
    group.settle()
    assert two.log == ["assigned t-0"]


def test_a_session_that_the_broker_refuses() -> None:  # Join 26 [L]
    group = Group(session_timeout_ms=1000, heartbeat_interval_ms=300)
    one = group.join()
    one.sleep()
    group.run_for(1)
    one.poll_once()
    assert "INVALID_SESSION_TIMEOUT" in str(one.failures[0])
    group.run_for(100)
    assert len(group.joins()) == 1  # until the program asks again
    assert group.broker.group("g").state is GroupState.DEAD


# ------------------------------------------------------------------------------------------------------- many members


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "sticky", "cooperative-sticky"])
def test_members_in_lockstep(strategy: str) -> None:
    group = Group({"t": 7, "u": 3}, partition_assignment_strategy=[strategy], busy=400)
    for count in range(1, 6):
        group.join()
        group.settle()
        assert sum(len(program.reading) for program in group.programs) == 10
        if count > 1:
            assert all(program.reading for program in group.programs)
    while len(group.programs) > 1:
        first = group.programs[0]
        first.close()
        group.programs.remove(first)
        group.settle()
    assert not any(program.failures for program in group.programs)


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_members_that_come_all_at_once(strategy: str) -> None:
    group = Group({"t": 8}, partition_assignment_strategy=[strategy], busy=400)
    for _ in range(4):
        group.join()
    group.settle()
    assert [len(program.reading) for program in group.programs] == [2, 2, 2, 2]
    assert all(log.startswith(("assigned", "revoked")) for program in group.programs for log in program.log)


def test_the_fetching_goes_to_its_own_connection() -> None:
    group = Group()
    group.join()
    group.settle()
    assert not {r.conn for r in group.received(FetchRequest)} & {r.conn for r in group.received(JoinGroupRequest)}
