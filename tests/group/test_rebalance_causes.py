"""What makes a group rebalance, and what does not: subscriptions, patterns, topics, racks, coordinators; the assignors
of programs; heartbeats."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from dekaf_proto.broker.groups import GroupState
from dekaf_proto.errors import AssignorError, ErrorCode, GroupAuthorizationError
from dekaf_proto.events import PartitionsRevoked, Rebalance
from dekaf_proto.group import ASSIGNORS
from dekaf_proto.group.assignor import Assignor, GroupMember, GroupTopics
from dekaf_proto.group.classic import MemberState
from dekaf_proto.group.payloads import decode_subscription, encode_assignment
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.find_coordinator import FindCoordinatorRequest
from dekaf_proto.messages.heartbeat import HeartbeatRequest
from dekaf_proto.messages.join_group import JoinGroupRequest
from dekaf_proto.messages.metadata import MetadataRequest
from dekaf_proto.messages.offset_commit import OffsetCommitRequest
from dekaf_proto.messages.sync_group import SyncGroupResponse
from dekaf_proto.types import TopicPartition
from tests.group.helpers import Group, Program

HALF: Any = 0.5
T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)
COOPERATIVE: dict[str, Any] = {"partition_assignment_strategy": ["cooperative-sticky"]}
STRATEGIES = [["range"], ["cooperative-sticky"]]


def stable(topics: Mapping[str, int] | None = None, to: Any = "t", **options: Any) -> tuple[Group, Program]:
    """A group of one member, subscribed to `to`."""
    group = Group({"t": 2, "u": 1} if topics is None else topics, **options)
    one = group.join(to)
    group.settle()
    one.log.clear()
    group.broker.requests.clear()
    return group, one


def refreshed(group: Group) -> None:
    """All members learn of the cluster as it is now, and do what follows from it."""
    for program in group.programs:
        program.consumer._metadata.refresh()
        program.consumer.handle_timeout(group.now)
    group.run_for(2)
    group.settle()


# ------------------------------------------------------------------------------------------------- other subscriptions


def test_subscribing_to_other_topics() -> None:  # G17, G22
    group, one = stable()
    one.subscribe(["u", "t"])
    group.run_for(0.1)
    group.settle()
    assert one.log == ["revoked t-0 t-1", "assigned t-0 t-1 u-0"]
    assert group.joins()[0].reason == "the program has subscribed to other topics"
    assert one.consumer.subscription == ["t", "u"]


def test_subscribing_to_other_topics_keeps_the_rest() -> None:  # G23: only what is no longer subscribed to is given up
    group, one = stable(to=["t", "u"], **COOPERATIVE)
    one.subscribe("t")
    group.run_for(0.1)
    group.settle()
    assert one.log == ["revoked u-0", "assigned"]
    assert decode_subscription(group.joins()[0].protocols[0].metadata).owned == (T0, T1)


def test_subscribing_to_the_same_topics_changes_nothing() -> None:
    group, one = stable(to=["t", "u"])
    one.subscribe(["u", "t", "u"])
    group.run_for(5)
    assert (one.log, group.joins()) == ([], [])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("state", [MemberState.JOINING, MemberState.SYNCING])
def test_subscribing_while_it_joins(state: MemberState, strategy: list[str]) -> None:  # G15, G17
    group, one = stable(partition_assignment_strategy=strategy)
    api = ApiKey.JOIN_GROUP if state is MemberState.JOINING else ApiKey.SYNC_GROUP
    group.broker.faults.add(api=api, delay=0.5)
    one.membership.rejoin("a test")
    group.run_until(lambda: one.state is state)
    one.subscribe("u")
    group.settle()
    # What it was given for the old topics is not taken.
    assert one.log == (["revoked t-0 t-1", "assigned u-0"])
    assert [join.reason for join in group.joins()] == ["a test", "the program has subscribed to other topics"]


def test_subscribing_between_two_attempts_to_join() -> None:  # nothing is given up twice, nor behind the group's back
    group, one = stable(to=["t", "u"], **COOPERATIVE)
    group.append("a", topic="u")
    group.run_until(lambda: one.records)
    group.broker.faults.add(api=ApiKey.JOIN_GROUP, times=None, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    one.membership.rejoin("a test")
    group.run_for(1)
    one.subscribe("t")
    group.run_for(2)
    assert one.log == []
    group.broker.faults.clear()
    group.settle()
    assert one.log[0] == "revoked u-0"
    assert set(one.log[1:]) == {"assigned"}


def test_an_assignment_of_what_it_has_never_asked_for() -> None:  # G15, and no tight loop if the leader insists
    group, one = stable(**COOPERATIVE)

    def strange(request: object, response: SyncGroupResponse) -> SyncGroupResponse:
        response.assignment = encode_assignment([T0, TopicPartition("u", 0)])
        return response

    fault = group.broker.faults.add(api=ApiKey.SYNC_GROUP, times=None, alter=strange)
    one.membership.rejoin("a test")
    group.run_for(10)
    assert 5 < fault.hits < 30
    assert one.log == []
    assert one.reading == [T0, T1]
    assert {join.reason for join in group.joins()} == {"a test", "it was assigned what it is not subscribed to"}
    group.broker.faults.clear()
    group.settle()
    assert one.log == ["assigned"]


# ------------------------------------------------------------------------------------------------------------- patterns


def test_a_pattern() -> None:
    group, one = stable({"ta": 1, "tb": 1, "u": 1, "at": 1}, to=re.compile("t."))
    assert one.consumer.subscription == ["ta", "tb"]
    assert [tp.topic for tp in one.reading] == ["ta", "tb"]
    assert group.requests(MetadataRequest) == []
    group.broker.create_topic("tc", 2)
    refreshed(group)
    assert one.log == ["revoked ta-0 tb-0", "assigned ta-0 tb-0 tc-0 tc-1"]
    assert group.joins()[0].reason == "its topics are others than when it joined"
    group.broker.delete_topic("ta")
    refreshed(group)
    assert one.log[2:] == ["revoked ta-0 tb-0 tc-0 tc-1", "assigned tb-0 tc-0 tc-1"]
    assert all(request.topics is None for request in group.requests(MetadataRequest))


def test_a_pattern_needs_only_one_rebalance() -> None:  # topics first, then the join
    group = Group({"ta": 1}, nodes=3, group_instance_id="i")  # whose first join counts
    one = group.add()
    group.result(one.consumer.committed([T0], group.now))  # the coordinator is known already
    group.broker.faults.add(api=ApiKey.METADATA, delay=0.5)
    one.subscribe(re.compile("t"))
    group.settle()
    assert one.log == ["assigned ta-0"]
    assert len(group.joins()) == len(group.syncs()) == 1


def test_a_pattern_that_matches_nothing_yet() -> None:
    group, one = stable({"u": 1}, to=re.compile("t"))
    assert one.consumer.subscription == []
    group.broker.create_topic("t", 1)
    refreshed(group)
    assert one.log == ["assigned t-0"]


@pytest.mark.parametrize("excluded", [True, False])
def test_internal_topics(excluded: bool) -> None:
    group = Group({"t": 1, "__consumer_offsets": 1}, exclude_internal_topics=excluded)
    one = group.join(re.compile(".*"))
    group.settle_all()
    assert one.consumer.subscription == (["t"] if excluded else ["__consumer_offsets", "t"])


def test_a_topic_that_comes_while_it_joins_is_not_overlooked() -> None:  # G17
    for what in ("pattern", "partitions"):
        group, one = stable({"ta": 1}, to=re.compile("t") if what == "pattern" else "ta")
        group.broker.faults.add(api=ApiKey.SYNC_GROUP, delay=0.5)
        one.membership.rejoin("a test")
        group.run_until(lambda one=one: one.state is MemberState.SYNCING)  # type: ignore[misc]
        if what == "pattern":
            group.broker.create_topic("tb", 1)
        else:
            group.broker.create_partitions("ta", 1)
        group.run_for(0.1)
        one.consumer._metadata.refresh()
        one.consumer.handle_timeout(group.now)
        group.run_for(1)
        group.settle()
        assert len(one.reading) == 2


def test_from_a_pattern_to_names_and_back() -> None:
    group, one = stable(to=re.compile("t|u"))
    one.subscribe("t")
    group.run_for(0.1)
    group.settle()
    assert one.log == ["revoked t-0 t-1 u-0", "assigned t-0 t-1"]
    group.broker.create_topic("uu", 1)
    refreshed(group)
    one.subscribe(re.compile("u"))
    group.run_for(0.5)
    group.settle()
    assert one.log[2:] == ["revoked t-0 t-1", "assigned u-0 uu-0"]


# --------------------------------------------------------------------------------------------------- topics and racks


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_leader_sees_new_partitions(strategy: list[str]) -> None:  # G17
    group = Group({"t": 2}, partition_assignment_strategy=strategy)
    one, two = group.join(), group.join()
    group.settle()
    group.broker.requests.clear()
    group.broker.create_partitions("t", 2)
    refreshed(group)
    assert [len(program.reading) for program in (one, two)] == [2, 2]
    reasons = [join.reason for join in group.joins()]
    assert reasons.count("the partitions of the group's topics have changed") == 1  # the follower leaves it to him


def test_metadata_without_news_is_no_reason() -> None:
    group, one = stable()
    for _ in range(3):
        refreshed(group)
    assert (one.log, group.joins()) == ([], [])


@pytest.mark.parametrize("rack", ["r0", ""])
def test_racks(rack: str) -> None:  # G17; without a rack of its own they are nothing to the member
    group, one = stable(nodes=3, racks={0: "r0", 1: "r1"}, client_rack=rack)
    assert sorted(one.membership._leader._racks()[T0]) == ["r0", "r1"]
    group.broker.cluster.nodes[2].rack = "r2"
    refreshed(group)
    assert bool(group.joins()) is bool(rack)
    assert sorted(one.membership._leader._racks()[T0]) == ["r0", "r1", "r2"]


def test_the_restart_of_a_broker_is_no_reason() -> None:
    group, one = stable(nodes=[0, 1, 2], racks={0: "r0", 1: "r1", 2: "r2"})
    node = next(n for n in (0, 1, 2) if n != group.broker.coordinator("g"))
    group.broker.stop_node(node, group.now)
    refreshed(group)
    group.broker.start_node(node, group.now)
    refreshed(group)
    assert (one.log, group.joins()) == ([], [])


# ---------------------------------------------------------------------------------------------- assignors of programs


class Mine(Assignor):
    """Does whatever the test wants."""

    name = "mine"

    def __init__(self) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        self.data: Any = b"data"
        self.seen: list[tuple[GroupTopics, Sequence[GroupMember]]] = []

    def user_data(self, topics: Sequence[str], owned: Sequence[TopicPartition], generation: int) -> Any:
        if isinstance(self.data, Exception):
            raise self.data
        return self.data

    def assign(self, topics: GroupTopics, members: Sequence[GroupMember]) -> Any:
        self.seen.append((topics, members))
        if self.error is not None:
            raise self.error
        if self.result is not None:
            return self.result(members)
        return ASSIGNORS["range"].assign(topics, members)


def test_an_assignor_of_ones_own() -> None:
    mine = Mine()
    group = Group({"t": 2, "u": 1}, nodes=2, racks={0: "a", 1: "b"}, partition_assignment_strategy=[mine, "range"])
    one = group.join(["t", "nowhere"], group_instance_id="i", client_rack="a", allow_auto_create_topics=False)
    group.settle_all()
    ((topics, (member,)),) = mine.seen
    assert topics.partitions == {"t": 2}
    assert set(topics.racks) == {T0, T1}
    assert set(topics.racks[T0]) == {"a", "b"}
    assert member == GroupMember(
        one.membership.member_id, ("nowhere", "t"), (), -1, instance_id="i", rack="a", user_data=b"data"
    )
    assert one.log == ["assigned t-0 t-1"]


def test_iterators_are_as_good_as_lists() -> None:
    mine = Mine()
    mine.result = lambda members: {members[0].id: (tp for tp in (T0, T1))}
    group = Group({"t": 2}, partition_assignment_strategy=[mine])
    one = group.join()
    group.settle()
    assert one.log == ["assigned t-0 t-1"]


@pytest.mark.parametrize(
    "result, text",
    [
        (lambda members: {"nobody": [T0]}, "'nobody' is no member of the group"),
        (lambda members: {members[0].id: [TopicPartition("t", 2)]}, "there is no partition t-2"),
        (lambda members: {members[0].id: [TopicPartition("t", -1)]}, "there is no partition t--1"),
        (lambda members: {members[0].id: [TopicPartition("nowhere", 0)]}, "there is no partition nowhere-0"),
        (lambda members: {members[0].id: [T0], members[1].id: [T0]}, "it gives t-0 to two members"),
        (lambda members: {_of(members, "t"): [TopicPartition("u", 0)]}, "which is not subscribed to u"),
        (lambda members: {members[0].id: ["t-0"]}, "TypeError"),
        (lambda members: {members[0].id: None}, "TypeError"),
        (lambda members: {members[0].id: [T0._replace(partition=HALF)]}, "partitions"),
        (lambda members: {members[0].id: [("t", 0)]}, "AttributeError"),
        (lambda members: [], "AttributeError"),
        (ValueError("no idea"), "ValueError: no idea"),
    ],
)
def test_an_assignor_goes_wrong(result: Any, text: str) -> None:
    mine = Mine()
    group = Group({"t": 2, "u": 1}, partition_assignment_strategy=[mine])
    one = group.join("t")
    group.settle()
    two = group.add()
    if isinstance(result, Exception):
        mine.error = result
    else:
        mine.result = result
    two.subscribe(["t", "u"])
    group.run_until(lambda: one.failures)
    one.sleep()
    error = one.failures[0]
    assert isinstance(error, AssignorError)
    assert text in str(error)
    asked = len(mine.seen)
    group.run_for(5)
    assert len(mine.seen) == asked  # not before the program polls again
    mine.result = mine.error = None
    one.wake()
    group.settle()  # and then it goes on, without waiting for anybody's session to end
    assert group.now < 1030


def _of(members: Sequence[GroupMember], topic: str) -> str:
    """The member that is subscribed to this topic only."""
    return next(member.id for member in members if member.topics == (topic,))


@pytest.mark.parametrize("data", [ValueError("no idea"), "text", 7])
def test_an_assignors_user_data_goes_wrong(data: Any) -> None:
    mine = Mine()
    mine.data = data
    group = Group({"t": 2}, partition_assignment_strategy=[mine])
    one = group.join()
    group.run_until(lambda: one.failures)
    assert isinstance(one.failures[0], AssignorError)
    assert "from user_data" in str(one.failures[0])
    assert group.joins() == []
    mine.data = None
    group.settle()
    assert one.log == ["assigned t-0 t-1"]


def test_a_failed_leader_that_gives_up_does_not_leave_a_ghost() -> None:
    mine = Mine()
    group = Group({"t": 2}, partition_assignment_strategy=[mine])
    one = group.join()
    group.settle()
    mine.error = ValueError("no idea")
    two = group.join()
    group.run_until(lambda: one.failures)
    one.close()
    group.programs.remove(one)
    mine.error = None
    began = group.now
    group.settle()
    assert group.now - began < 5
    assert two.log[-1] == "assigned t-0 t-1"


def test_a_member_that_says_nonsense() -> None:  # G6: the leader can't go on, and says so
    group, one = stable()
    group.broker.faults.add(api=ApiKey.JOIN_GROUP, alter=_garbled)
    one.membership.rejoin("a test")
    group.run_until(lambda: one.failures)
    assert "ConsumerProtocolSubscription" in str(one.failures[0])
    group.settle()


def _garbled(request: object, response: Any) -> Any:
    response.members[0].metadata = b"\x00"
    return response


# --------------------------------------------------------------------------------------------------------- coordinators


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_coordinator_moves(strategy: list[str]) -> None:  # G4: no reason to rejoin
    group, one = stable(nodes=3, partition_assignment_strategy=strategy)
    here = group.broker.coordinator("g")
    group.broker.move_coordinator("g", next(n for n in range(3) if n != here), group.now, load_ms=1500)
    group.run_for(15)
    assert (one.log, group.joins()) == ([], [])
    assert len({received.node for received in group.received(HeartbeatRequest)}) == 2
    group.settle()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_coordinator_dies(strategy: list[str]) -> None:  # G4, trap 35
    group, one = stable(nodes=3, partition_assignment_strategy=strategy)
    here = group.broker.coordinator("g")
    assert here is not None
    group.broker.stop_node(here, group.now)
    group.run_for(15)
    assert (one.log, group.joins()) == ([], [])
    group.settle()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("state", [MemberState.JOINING, MemberState.SYNCING])
def test_the_coordinator_moves_in_a_rebalance(state: MemberState, strategy: list[str]) -> None:  # trap 35
    group = Group({"t": 4}, nodes=3, partition_assignment_strategy=strategy)
    one, two = group.join(), group.join()
    group.settle()
    api = ApiKey.JOIN_GROUP if state is MemberState.JOINING else ApiKey.SYNC_GROUP
    group.broker.faults.add(api=api, delay=0.5)
    one.membership.rejoin("a test")
    group.run_until(lambda: one.state is state)
    here = group.broker.coordinator("g")
    group.broker.move_coordinator("g", next(n for n in range(3) if n != here), group.now)
    group.settle(120)
    for program in (one, two):
        told = [text.split()[0] for text in program.log]
        assert all(a != "revoked" or b != "revoked" for a, b in itertools.pairwise(told))
        assert program.failures == []


def test_a_coordinator_that_says_nothing_for_a_session() -> None:  # G19, G4
    group, one = stable(nodes=2, session_timeout_ms=6_000, heartbeat_interval_ms=1_000, request_timeout_ms=3_000)
    here = group.broker.coordinator("g")
    group.broker.faults.add(api=ApiKey.HEARTBEAT, times=None, error=ErrorCode.REQUEST_TIMED_OUT)
    before = len(group.requests(FindCoordinatorRequest))
    group.run_for(5)
    assert len(group.requests(FindCoordinatorRequest)) == before
    group.run_for(3)
    assert len(group.requests(FindCoordinatorRequest)) > before  # perhaps there is another one
    group.broker.faults.clear()
    group.settle()
    assert group.broker.coordinator("g") == here
    assert (one.log, group.joins()) == ([], [])


def test_a_member_that_was_cut_off_for_longer_than_its_session() -> None:
    group = Group({"t": 2}, nodes=1, session_timeout_ms=6_000, heartbeat_interval_ms=1_000, exclusive=False)
    one = group.join()
    group.settle()
    group.broker.faults.add(api=ApiKey.HEARTBEAT, times=None, silent="before")
    group.run_until(lambda: group.broker.group("g").state is GroupState.EMPTY)
    group.broker.faults.clear()
    group.settle(60)
    assert one.log == ["assigned t-0 t-1", "lost t-0 t-1", "assigned t-0 t-1"]


def test_group_authorization() -> None:  # G3: found out while looking for the coordinator
    group = Group()
    fault = group.broker.faults.add(api=ApiKey.FIND_COORDINATOR, error=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    one = group.join()
    group.run_until(lambda: one.failures)
    assert fault.hits == 1
    assert isinstance(one.failures[0], GroupAuthorizationError)
    group.settle()


def test_group_authorization_of_a_heartbeat_that_looks_for_its_coordinator() -> None:
    group, one = stable()
    group.broker.faults.add(api=ApiKey.FIND_COORDINATOR, error=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    group.broker.faults.add(api=ApiKey.HEARTBEAT, error=ErrorCode.NOT_COORDINATOR)
    group.run_until(lambda: one.failures)
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]


# ----------------------------------------------------------------------------------------------------------- heartbeats


def test_heartbeats() -> None:  # G14, G19
    group, one = stable(heartbeat_interval_ms=2_000)
    group.run_for(20)
    group.broker.requests.clear()
    group.run_for(20)
    assert 9 <= len(group.heartbeats()) <= 11
    (beat, *_) = group.heartbeats()
    assert (beat.group_id, beat.member_id, beat.generation_id) == ("g", one.membership.member_id, 1)


def test_heartbeats_come_often_after_a_rebalance() -> None:  # the next one mostly comes soon
    group = Group()
    group.join()
    group.settle()
    (sync,) = group.requests(type(group.syncs()[0]))
    assert sync.generation_id == 1
    times = [received.now for received in group.received(HeartbeatRequest)]
    assert 0.09 < times[0] - group.received(JoinGroupRequest)[-1].now < 0.12
    group.run_for(20)
    times = [received.now for received in group.received(HeartbeatRequest)]
    steps = [round(b - a, 1) for a, b in itertools.pairwise(times)]
    assert steps[:4] == [0.2, 0.4, 0.8, 1.6]
    assert set(steps[5:]) == {3.0}


def test_heartbeats_while_it_waits_for_the_others() -> None:  # G14
    group = Group({"t": 2})
    one = group.join()
    group.settle()
    group.broker.faults.add(api=ApiKey.METADATA, delay=2.0)
    one.subscribe(["t", "v"])  # the leader waits for what it does not know yet
    group.run_until(lambda: one.state is MemberState.SYNCING)
    group.broker.requests.clear()
    group.run_for(1)
    assert one.state is MemberState.SYNCING
    assert len(group.heartbeats()) > 2


def test_no_heartbeats_behind_a_join() -> None:  # it would be waited for as long as the join takes
    group = Group({"t": 2}, request_timeout_ms=5_000)
    one, two = group.join(), group.join()
    group.settle()
    group.broker.requests.clear()
    two.answers = False
    one.membership.rejoin("a test")
    group.run_for(30)
    assert one.state is MemberState.JOINING
    mine = one.membership.member_id
    assert [join.member_id for join in group.joins()] == [mine]
    two.go_on()
    group.settle()
    assert [join.member_id for join in group.joins()].count(mine) == 1


def test_a_rebalance_in_progress_is_a_sign_of_life() -> None:  # Heartbeat 27
    group = Group({"t": 2}, session_timeout_ms=6_000, heartbeat_interval_ms=1_000)
    one = group.join()
    group.settle()
    one.answers = False
    group.join()
    group.run_until(lambda: one.event)
    group.run_for(20)
    before = len(group.requests(FindCoordinatorRequest))
    fault = group.broker.faults.add(api=ApiKey.HEARTBEAT, error=ErrorCode.REQUEST_TIMED_OUT)
    group.run_until(lambda: fault.hits)
    group.run_for(0.5)
    assert len(group.requests(FindCoordinatorRequest)) == before
    one.go_on()
    group.settle()


def test_an_idle_group_does_little() -> None:
    group, _ = stable()
    group.run_for(20)
    group.broker.requests.clear()
    group.run_for(60)
    assert len(group.heartbeats()) == 20
    assert len(group.broker.requests) - len(group.fetches()) < 30


# ------------------------------------------------------------------------------------------------------------- commits


def test_the_interval_begins_anew_with_an_assignment() -> None:  # P13
    group, one = stable(**COOPERATIVE)
    group.run_until(lambda: group.requests(OffsetCommitRequest), 10)
    group.append("a")
    group.run_for(3)
    one.membership.rejoin("a test")
    group.run_for(1)
    assert one.membership.rebalances == 2
    group.broker.requests.clear()
    group.run_for(3)
    assert group.requests(OffsetCommitRequest) == []
    group.run_for(2)
    assert group.broker.committed("g")[T0].offset == 1


def test_nothing_is_committed_by_itself_in_mid_rebalance() -> None:  # trap 33, P12
    group, one = stable(auto_commit_interval_ms=1_000, **COOPERATIVE)
    group.append("a", partition=0)
    group.run_until(lambda: one.records)
    group.broker.faults.add(api=ApiKey.JOIN_GROUP, delay=3.0)
    one.membership.rejoin("a test")
    group.run_until(lambda: one.state is MemberState.JOINING)
    group.broker.requests.clear()
    group.run_for(2.5)
    assert one.state is MemberState.JOINING
    assert group.requests(OffsetCommitRequest) == []
    group.settle()
    group.run_for(2)
    assert group.broker.committed("g")[T0].offset == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_new_record_while_the_commit_of_a_revocation_is_on_its_way(strategy: list[str]) -> None:  # trap 32
    group, one = stable({"t": 2}, partition_assignment_strategy=strategy)
    group.append("a", partition=1)
    group.run_until(lambda: one.records)
    fault = group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, delay=1.0)
    two = group.join()
    group.run_until(lambda: fault.hits)
    group.append("b", partition=1)
    group.run_for(0.5)
    assert one.records == ["a"]
    group.settle()
    group.run_for(1)
    assert sorted(one.records + two.records) == ["a", "b"]
    assert T1 in one.reading + two.reading


def test_a_listener_is_told_before_the_commit() -> None:  # its own commit, or acknowledgements, come first
    group, one = stable({"t": 2})
    group.append("a")
    group.run_until(lambda: one.records)
    seen: list[int] = []

    def listener(event: Rebalance) -> None:
        if isinstance(event, PartitionsRevoked):
            seen.append(len(group.requests(OffsetCommitRequest)))

    one.listener = listener
    one.membership.rejoin("a test")
    group.run_until(lambda: seen)
    assert seen == [0]
    group.settle()
    assert group.broker.committed("g")[T0].offset == 1


def test_a_commit_of_a_revocation_that_fails_holds_nothing_up() -> None:  # P13, P14
    group, one = stable({"t": 2})
    group.append("a")
    group.run_until(lambda: one.records)
    group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, error=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    two = group.join()
    group.settle()
    assert one.failures == []
    group.run_for(1)
    assert (one.records + two.records) == ["a", "a"]  # at least once


def test_every_commit_is_under_the_generation_that_holds() -> None:  # lesson 18
    group, _ = stable({"t": 4}, busy=1000, auto_commit_interval_ms=50)
    for i in range(6):
        for partition in range(4):
            group.append(f"r{i}", partition=partition)
        group.join() if i % 2 == 0 else None
        group.run_for(0.3)
    group.settle()
    group.run_for(1)
    held = {(sync.member_id, sync.generation_id) for sync in group.syncs()}
    sent = {(c.member_id, c.generation_id_or_member_epoch) for c in group.requests(OffsetCommitRequest)}
    assert len(sent) > 3
    assert sent <= held | {(p.membership.member_id, 1) for p in group.programs}
    assert sum(len(program.records) for program in group.programs) == 24  # each once
    assert {offset.offset for offset in group.broker.committed("g").values()} == {6}
