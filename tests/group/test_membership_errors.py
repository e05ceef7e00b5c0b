"""The errors of section 5.3, row by row: what is kept, what is lost, what the program is told, and that it goes on."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from dekaf_proto.broker.faults import Fault
from dekaf_proto.errors import (
    CommitFailedError,
    ErrorCode,
    FencedInstanceIdError,
    GroupAuthorizationError,
    KafkaError,
    RebalanceError,
    RebalanceInProgressError,
)
from dekaf_proto.events import PartitionsLost
from dekaf_proto.group.classic import MemberState
from dekaf_proto.group.payloads import encode_assignment
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.find_coordinator import FindCoordinatorRequest
from dekaf_proto.messages.heartbeat import HeartbeatRequest
from dekaf_proto.messages.join_group import JoinGroupRequest, JoinGroupResponse
from dekaf_proto.messages.leave_group import LeaveGroupResponse, MemberResponse
from dekaf_proto.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from dekaf_proto.messages.sync_group import SyncGroupResponse
from dekaf_proto.types import TopicPartition
from tests.group.helpers import Group, Program

E = ErrorCode
T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)
COOPERATIVE: dict[str, Any] = {"partition_assignment_strategy": ["cooperative-sticky"]}
STRATEGIES = [["range"], ["cooperative-sticky"]]


def stable(**options: Any) -> tuple[Group, Program]:
    """A group of one member, which has t-0 and t-1."""
    group = Group({"t": 2}, **options)
    one = group.join()
    group.settle()
    assert one.log == ["assigned t-0 t-1"]
    one.log.clear()
    group.broker.requests.clear()
    return group, one


def rejoin(group: Group, one: Program, api: ApiKey, **what: Any) -> Fault:
    """The member rejoins, and something is wrong with the first request of `api`."""
    fault = group.broker.faults.add(api=api, **what)
    one.membership.rejoin("a test")
    group.run_until(lambda: fault.hits)
    return fault


def unchanged(group: Group, one: Program) -> list[str]:
    """What a rejoin tells the program that changes nothing."""
    return ["revoked t-0 t-1", "assigned t-0 t-1"] if one.membership.eager else ["assigned"]


# ---------------------------------------------------------------------------------------------------------------- join


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("code", [E.COORDINATOR_LOAD_IN_PROGRESS, E.COORDINATOR_NOT_AVAILABLE, E.NOT_COORDINATOR])
def test_join_again_after_a_while(code: ErrorCode, strategy: list[str]) -> None:
    group, one = stable(partition_assignment_strategy=strategy)
    before = one.membership.member_id
    rejoin(group, one, ApiKey.JOIN_GROUP, error=code)
    group.settle()
    # Neither id nor partitions are lost, and nothing is given up twice.
    assert one.log == unchanged(group, one)
    assert [join.member_id for join in group.joins()] == [before, before]
    times = [received.now for received in group.received(JoinGroupRequest)]
    assert times[1] - times[0] >= 0.08  # a back-off of about retry_backoff_ms
    # A coordinator that loads is the right one; the others are looked for anew.
    assert len(group.requests(FindCoordinatorRequest)) == (0 if code is E.COORDINATOR_LOAD_IN_PROGRESS else 1)
    assert one.failures == []


def test_join_refused_while_the_group_rebalances() -> None:  # Join 27
    group, one = stable()
    fault = rejoin(group, one, ApiKey.JOIN_GROUP, error=E.REBALANCE_IN_PROGRESS, times=None)
    group.run_for(5)
    assert 3 < fault.hits < 20  # less and less often
    group.broker.faults.clear()
    group.settle()
    assert (one.log, one.failures) == (["revoked t-0 t-1", "assigned t-0 t-1"], [])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_join_of_an_unknown_member(strategy: list[str]) -> None:  # Join 25, G18, G24
    group, one = stable(partition_assignment_strategy=strategy)
    old = one.membership.member_id
    rejoin(group, one, ApiKey.JOIN_GROUP, error=E.UNKNOWN_MEMBER_ID)
    group.broker.expire_member("g", old, group.now)
    group.settle()
    assert [join.member_id for join in group.joins()] == [old, "", one.membership.member_id]
    times = [received.now for received in group.received(JoinGroupRequest)]
    assert times[1] - times[0] == pytest.approx(2 * group.network.latency)  # at once
    if strategy == ["range"]:
        assert one.log == ["revoked t-0 t-1", "assigned t-0 t-1"]
    else:
        assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]
        (lost,) = (event for event in one.events if isinstance(event, PartitionsLost))
        assert lost.cause == "the coordinator does not know it (UNKNOWN_MEMBER_ID)"


@pytest.mark.parametrize(
    "code",
    [
        E.INCONSISTENT_GROUP_PROTOCOL,
        E.INVALID_SESSION_TIMEOUT,
        E.INVALID_GROUP_ID,
        E.GROUP_AUTHORIZATION_FAILED,
        E.GROUP_MAX_SIZE_REACHED,
        E.UNSUPPORTED_VERSION,
        E.UNKNOWN_SERVER_ERROR,
    ],
)
@pytest.mark.parametrize("api", [ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP])
def test_what_the_program_must_know(api: ApiKey, code: ErrorCode) -> None:
    group, one = stable(**COOPERATIVE)
    member_id = one.membership.member_id
    rejoin(group, one, api, error=code)
    one.sleep()  # it deals with what it will be told
    group.run_for(10)
    assert one.state is MemberState.FAILED
    before = len(group.joins())
    assert len(group.heartbeats()) < 10
    one.awake = True
    one.poll_once()
    assert (one.log, one.failures) == (["lost t-0 t-1"], [])
    one.poll_once()
    (error,) = one.failures
    assert isinstance(error, KafkaError)
    assert code.name in str(error)
    assert isinstance(error, GroupAuthorizationError) is (code is E.GROUP_AUTHORIZATION_FAILED)
    one.step()  # asking again is another attempt
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]
    # It comes back under its name: otherwise the group would wait for the old one until its session ends.
    assert group.joins()[before].member_id == member_id
    assert one.failures == [error]


@pytest.mark.parametrize("api", [ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP, ApiKey.HEARTBEAT])
def test_an_error_that_nobody_knows_keeps_its_number(api: ApiKey) -> None:
    group, one = stable()

    def new(request: object, response: Any) -> Any:
        response.error_code = 999
        return response

    group.broker.faults.add(api=api, alter=new)
    one.membership.rejoin("a test")
    group.run_until(lambda: one.failures)
    assert "999" in str(one.failures[0])
    group.settle()


def test_what_is_wrong_is_said_at_each_attempt() -> None:
    group, one = stable()
    rejoin(group, one, ApiKey.JOIN_GROUP, error=E.GROUP_AUTHORIZATION_FAILED, times=3)
    group.run_until(lambda: one.state is MemberState.STABLE)
    group.settle()
    assert len(one.failures) == 3
    assert one.log == ["revoked t-0 t-1", "assigned t-0 t-1"]


# ---------------------------------------------------------------------------------------------------------------- sync


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_sync_in_a_rebalance(strategy: list[str]) -> None:  # Sync 27
    group, one = stable(partition_assignment_strategy=strategy)
    before = one.membership
    rejoin(group, one, ApiKey.SYNC_GROUP, error=E.REBALANCE_IN_PROGRESS)
    group.settle()
    assert one.log == unchanged(group, one)  # not lost, and not given up twice
    assert {join.member_id for join in group.joins()} == {before.member_id}
    assert [join.reason for join in group.joins()] == ["a test", "a test"]


@pytest.mark.parametrize("code", [E.ILLEGAL_GENERATION, E.UNKNOWN_MEMBER_ID])
def test_sync_of_one_who_is_out(code: ErrorCode) -> None:  # Sync 22, 25; trap 24, G18
    group, one = stable(**COOPERATIVE)
    before = one.membership.member_id
    group.exclusive = False
    rejoin(group, one, ApiKey.SYNC_GROUP, error=code)
    kept = code is E.ILLEGAL_GENERATION
    if not kept:
        group.broker.expire_member("g", before, group.now)
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]
    assert [join.member_id for join in group.joins()][1] == (before if kept else "")
    assert (one.membership.member_id == before) is kept
    assert f"({code.name})" in one.events[-2].cause  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "code", [E.COORDINATOR_LOAD_IN_PROGRESS, E.COORDINATOR_NOT_AVAILABLE, E.NOT_COORDINATOR, E.REQUEST_TIMED_OUT]
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_sync_again_after_a_while(code: ErrorCode, strategy: list[str]) -> None:  # Sync 14, 15, 16, other
    group, one = stable(partition_assignment_strategy=strategy)
    rejoin(group, one, ApiKey.SYNC_GROUP, error=code)
    group.settle()
    assert one.log == unchanged(group, one)
    assert len(group.joins()) == len(group.syncs()) == 2
    assert len(group.requests(FindCoordinatorRequest)) == (code.invalidates == "coordinator")
    assert one.failures == []


@pytest.mark.parametrize("assignment", [b"", b"\x00", b"\x00\x00\x00\x00\x00\x01"])
def test_what_is_no_assignment(assignment: bytes) -> None:  # G7
    group, one = stable(**COOPERATIVE)

    def broken(request: object, response: SyncGroupResponse) -> SyncGroupResponse:
        response.assignment = assignment
        return response

    rejoin(group, one, ApiKey.SYNC_GROUP, alter=broken)
    group.settle()
    assert "ConsumerProtocolAssignment" in str(one.failures[0])
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]


def test_a_topic_twice_in_an_assignment() -> None:  # G7
    group, one = stable()

    def twice(request: object, response: SyncGroupResponse) -> SyncGroupResponse:
        one_topic = encode_assignment([T0])[6:-4]
        other = encode_assignment([T1])[6:-4]
        response.assignment = b"\x00\x03\x00\x00\x00\x02" + one_topic + other + b"\xff\xff\xff\xff"
        return response

    rejoin(group, one, ApiKey.SYNC_GROUP, alter=twice)
    group.settle()
    assert one.log == ["revoked t-0 t-1", "assigned t-0 t-1"]


# ----------------------------------------------------------------------------------------------------------- heartbeat


def test_a_heartbeat_says_that_there_is_a_rebalance() -> None:  # Heartbeat 27
    group, one = stable()
    group.broker.faults.add(api=ApiKey.HEARTBEAT, error=E.REBALANCE_IN_PROGRESS)
    group.run_until(lambda: one.log)
    group.settle()
    assert one.log == ["revoked t-0 t-1", "assigned t-0 t-1"]
    assert group.joins()[0].reason == "the group is rebalancing"


def test_a_rebalance_that_is_under_way_is_no_news() -> None:  # Heartbeat 27 in SYNCING: ignored, and a sign of life
    group, one = stable()
    group.broker.faults.add(api=ApiKey.SYNC_GROUP, silent="before")
    group.broker.faults.add(api=ApiKey.HEARTBEAT, times=None, error=E.REBALANCE_IN_PROGRESS)
    one.membership._heartbeats.stop()
    one.membership.rejoin("a test")
    group.run_until(lambda: one.state is MemberState.SYNCING)
    assert one.membership._heartbeats._heard(E.REBALANCE_IN_PROGRESS) is False
    assert one.membership._due is None


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("code", [E.ILLEGAL_GENERATION, E.UNKNOWN_MEMBER_ID])
def test_a_heartbeat_says_that_one_is_out(code: ErrorCode, strategy: list[str]) -> None:  # Heartbeat 22, 25; trap 24
    group, one = stable(partition_assignment_strategy=strategy)
    before = one.membership.member_id
    group.broker.faults.add(api=ApiKey.HEARTBEAT, error=code)
    group.run_until(lambda: one.log)
    kept = code is E.ILLEGAL_GENERATION
    if not kept:
        group.broker.expire_member("g", before, group.now)
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]  # never revoked as well
    assert group.joins()[0].member_id == (before if kept else "")
    assert one.membership.lost_because == f"the coordinator has removed it from the group ({code.name})"
    assert one.failures == []


@pytest.mark.parametrize("code", [E.GROUP_AUTHORIZATION_FAILED, E.UNKNOWN_SERVER_ERROR])
def test_a_heartbeat_that_the_program_must_know(code: ErrorCode) -> None:  # Heartbeat 30, other
    group, one = stable()
    group.broker.faults.add(api=ApiKey.HEARTBEAT, error=code)
    group.run_until(lambda: one.failures)
    assert code.name in str(one.failures[0])
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]
    assert len(one.failures) == 1


@pytest.mark.parametrize(
    "code", [E.COORDINATOR_NOT_AVAILABLE, E.NOT_COORDINATOR, E.COORDINATOR_LOAD_IN_PROGRESS, E.REQUEST_TIMED_OUT]
)
def test_a_heartbeat_that_goes_wrong(code: ErrorCode) -> None:  # Heartbeat 15, 16; G4: no reason to rejoin
    group, one = stable()
    fault = group.broker.faults.add(api=ApiKey.HEARTBEAT, times=2, error=code)
    group.run_until(lambda: fault.spent)
    group.run_for(10)
    assert (one.log, one.failures, group.joins()) == ([], [], [])
    times = [received.now for received in group.received(HeartbeatRequest)]
    first = next(i for i in range(len(times)) if times[i + 1] - times[i] < 0.3)  # again after a back-off
    assert times[first + 2] - times[first + 1] < 0.6
    assert len(group.requests(FindCoordinatorRequest)) == (2 if code.invalidates == "coordinator" else 0)
    group.settle()


# -------------------------------------------------------------------------------------------------------------- fenced


@pytest.mark.parametrize("api", [ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP, ApiKey.HEARTBEAT, ApiKey.OFFSET_COMMIT])
def test_fenced(api: ApiKey) -> None:  # 82 of Join, Sync, Heartbeat, commits; G18, G28
    group, one = stable(group_instance_id="i", **COOPERATIVE)
    group.append("a")
    group.run_until(lambda: one.records)
    fault = group.broker.faults.add(api=api, error=E.FENCED_INSTANCE_ID)
    if api in (ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP):
        one.membership.rejoin("a test")
    group.run_until(lambda: fault.hits)
    group.run_for(0.01)
    one.sleep()
    joins = len(group.joins())
    for _ in range(5):
        one.failures.clear()
        one.poll_once()
        one.poll_once()
        assert [type(error) for error in one.failures] == [FencedInstanceIdError]  # told again whenever it asks
        group.run_for(3)
    assert "another member of group g has taken over as 'i'" in str(one.failures[0])
    assert one.log == ["lost t-0 t-1"]
    assert len(group.joins()) == joins  # or two programs with one name would drive each other out for ever
    assert one.state is MemberState.FAILED
    assert one.membership.member_id == ""
    one.subscribe("t")  # the program means it
    one.failures.clear()
    one.wake()
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]
    assert one.failures == []


def test_two_programs_with_one_name() -> None:  # G28
    group, one = stable(group_instance_id="i", exclusive=False)
    two = group.join()
    group.run_until(lambda: one.failures)
    group.run_for(20)
    assert {type(error) for error in one.failures} == {FencedInstanceIdError}
    assert one.state is MemberState.FAILED
    assert (two.log, two.failures) == (["assigned t-0 t-1"], [])
    assert len(two.reading) == 2
    assert one.reading == []


def test_a_fenced_member_closes_at_once() -> None:
    group, one = stable(group_instance_id="i")
    group.broker.faults.add(api=ApiKey.HEARTBEAT, error=E.FENCED_INSTANCE_ID)
    group.run_until(lambda: one.failures)
    began = group.now
    one.close()
    assert group.now - began < 0.1
    assert group.leaves() == []


# ------------------------------------------------------------------------------------------------- what was overtaken


@pytest.mark.parametrize("code", [E.ILLEGAL_GENERATION, E.UNKNOWN_MEMBER_ID])
def test_an_error_of_an_old_generation(code: ErrorCode) -> None:  # G18, lesson 21
    group, one = stable()
    old = one.membership.identity
    one.membership.rejoin("a test")
    group.run_for(0.1)
    group.settle()
    one.log.clear()
    assert one.membership.generation_refused(code, old) is False
    assert one.membership.generation_refused(code, old._replace(generation_id=7)) is False
    group.run_for(5)
    assert one.log == []


def test_a_late_answer_to_a_heartbeat_of_the_generation_before() -> None:  # lesson 21, G18
    group, one = stable()
    fault = group.broker.faults.add(api=ApiKey.HEARTBEAT, delay=0.5, error=E.UNKNOWN_MEMBER_ID)
    group.run_until(lambda: fault.hits)
    one.membership.rejoin("a test")
    group.settle()
    assert one.log == ["revoked t-0 t-1", "assigned t-0 t-1"]
    times = [received.now for received in group.received(HeartbeatRequest)][-4:]
    assert min(b - a for a, b in itertools.pairwise(times)) > 0.09  # one row of heartbeats, not two


def test_put_out_while_a_heartbeat_is_on_its_way() -> None:  # lesson 21
    group, one = stable(exclusive=False)
    fault = group.broker.faults.add(api=ApiKey.HEARTBEAT, drop="before", delay=0.05)
    group.run_until(lambda: fault.hits)
    assert one.membership.generation_refused(E.ILLEGAL_GENERATION, one.membership.identity)
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]


def test_put_out_while_a_heartbeat_looks_for_the_coordinator() -> None:
    group, one = stable(exclusive=False)
    group.broker.faults.add(api=ApiKey.HEARTBEAT, error=E.NOT_COORDINATOR)
    fault = group.broker.faults.add(api=ApiKey.FIND_COORDINATOR, delay=1.0)
    group.run_until(lambda: fault.hits)
    assert one.membership.generation_refused(E.ILLEGAL_GENERATION, one.membership.identity)
    before = len(group.heartbeats())
    group.run_until(lambda: one.state is MemberState.SYNCING)
    assert len(group.heartbeats()) == before
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]


@pytest.mark.parametrize("code", [E.ILLEGAL_GENERATION, E.UNKNOWN_MEMBER_ID])
def test_put_out_while_a_join_is_on_its_way(code: ErrorCode) -> None:  # G16 for a join
    group, one = stable(**COOPERATIVE)
    group.broker.faults.add(api=ApiKey.JOIN_GROUP, delay=0.5)
    one.membership.rejoin("a test")
    group.run_until(lambda: one.state is MemberState.JOINING)
    old = one.membership.identity
    assert one.membership.generation_refused(code, old)  # as the answer to a commit says that was sent before
    assert one.state is MemberState.OUT
    group.settle()
    assert one.failures == []
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]
    assert [join.member_id for join in group.joins()] == [old.member_id] * 2  # no ghost is left behind


@pytest.mark.parametrize("role", ["leader", "follower"])
@pytest.mark.parametrize("code", [E.ILLEGAL_GENERATION, E.UNKNOWN_MEMBER_ID])
def test_put_out_while_a_sync_is_on_its_way(code: ErrorCode, role: str) -> None:  # G16
    group = Group({"t": 2}, exclusive=False, **COOPERATIVE)
    programs = [group.join()]
    group.settle()
    programs.append(group.join())
    group.settle()
    leader = group.broker.group("g").leader
    one = next(p for p in programs if (p.membership.member_id == leader) is (role == "leader"))
    group.broker.faults.add(
        api=ApiKey.SYNC_GROUP,
        delay=0.4,
        when=lambda h, r: r.member_id == one.membership.member_id,  # type: ignore[attr-defined]
    )
    one.log.clear()
    one.membership.rejoin("a test")
    for program in programs:
        program.membership.rejoin("a test")
    group.run_until(lambda: one.state is MemberState.SYNCING)
    old = one.membership.identity
    assert one.membership.generation_refused(code, old)
    if code is E.UNKNOWN_MEMBER_ID:
        group.broker.expire_member("g", old.member_id, group.now)
    group.settle()
    assert one.log[0].startswith("lost t-")
    assert one.log[1].startswith("assigned t-") or one.log[1] == "assigned"
    assert not any(program.failures for program in programs)


def test_fenced_while_the_leader_waits_for_metadata() -> None:  # G16 in the leader's part
    group = Group({"t": 1, "u": 1}, exclusive=False)
    one = group.join("t")
    group.settle()
    group.broker.faults.add(api=ApiKey.METADATA, delay=1.0)
    group.add().subscribe("u")
    group.run_until(lambda: one.membership.group_topics == ["t", "u"])
    old = one.membership.identity
    assert one.membership.generation_refused(E.ILLEGAL_GENERATION, old)
    group.settle()
    assert old.generation_id not in [sync.generation_id for sync in group.syncs() if sync.member_id == old.member_id]
    assert one.failures == []


@pytest.mark.parametrize("api", [ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_connection_breaks(api: ApiKey, strategy: list[str]) -> None:  # trap 35
    group, one = stable(partition_assignment_strategy=strategy)
    before = one.membership.member_id
    rejoin(group, one, api, drop="before")
    group.settle()
    assert one.log == unchanged(group, one)
    assert {join.member_id for join in group.joins()} == {before}


@pytest.mark.parametrize("api", [ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP])
def test_there_is_no_answer(api: ApiKey) -> None:  # G9
    group, one = stable(max_poll_interval_ms=20_000, request_timeout_ms=10_000)
    rejoin(group, one, api, silent="before")
    began = group.now
    group.settle(120)
    waited = group.now - began - 1
    assert 24.9 < waited < 26 if api is ApiKey.JOIN_GROUP else waited < 47
    assert (one.log[-1], one.failures) == ("assigned t-0 t-1", [])


# --------------------------------------------------------------------------------------------------------------- leave


@pytest.mark.parametrize(
    "what",
    [
        {"error": E.UNKNOWN_MEMBER_ID},
        {"top_error": E.NOT_COORDINATOR},
        {"top_error": E.GROUP_AUTHORIZATION_FAILED},
        {"drop": "before"},
        {"drop": "after"},
        {"silent": "before"},
        {"alter": lambda request, response: LeaveGroupResponse(members=[MemberResponse(error_code=25)])},
    ],
)
def test_leaving_goes_wrong(what: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:  # LeaveGroup any
    caplog.set_level("INFO", "dekaf.group")
    group, one = stable()
    group.broker.faults.add(api=ApiKey.LEAVE_GROUP, times=None, **what)
    began = group.now
    one.close(timeout=3.0)
    assert one.consumer.closed
    assert len(group.leaves()) == 1  # no retry
    assert (group.now - began < 0.1) is ("silent" not in what)
    assert group.now - began < 3.1
    assert "leaving:" in caplog.text
    assert one.log == ["revoked t-0 t-1"]
    assert one.failures == []


def test_leaving_is_not_said_aloud_when_it_works(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dekaf.group")
    group, one = stable()
    one.close()
    assert "leaving" not in caplog.text
    assert group.leaves()[0].members[0].reason == "the consumer was closed"


# ----------------------------------------------------------------------------------------------------------- retrying


def test_attempts_become_fewer() -> None:
    group, one = stable()
    fault = rejoin(group, one, ApiKey.JOIN_GROUP, error=E.COORDINATOR_LOAD_IN_PROGRESS, times=None)
    group.run_for(20)
    assert 15 < fault.hits < 40  # 0.1 s at first, about a second in the end
    group.broker.faults.clear()
    group.settle()
    rejoin(group, one, ApiKey.JOIN_GROUP, error=E.COORDINATOR_LOAD_IN_PROGRESS)
    began = group.now
    group.run_until(lambda: one.state is MemberState.STABLE)
    assert group.now - began < 0.2  # it begins anew


def test_a_new_subscription_does_not_wait_for_the_next_attempt_of_the_old_one() -> None:
    group, one = stable()
    fault = rejoin(group, one, ApiKey.JOIN_GROUP, error=E.COORDINATOR_LOAD_IN_PROGRESS, times=None)
    group.run_until(lambda: fault.hits == 10)
    group.run_for(0.01)
    group.broker.faults.clear()
    group.result(one.consumer.unsubscribe(group.now))
    began = group.now
    one.subscribe("t")
    group.run_until(lambda: one.state is MemberState.STABLE)
    assert group.now - began < 0.1


def test_put_out_again_and_again() -> None:
    group, one = stable(exclusive=False, busy=200)
    for _ in range(10):
        group.run_for(0.35)
        group.broker.expire_member("g", one.membership.member_id, group.now)
        group.run_until(lambda: one.state is not MemberState.STABLE)
        group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"] * 10


# -------------------------------------------------------------------------------------------------------------- commits


@pytest.mark.parametrize("code", [E.ILLEGAL_GENERATION, E.UNKNOWN_MEMBER_ID])
def test_a_commit_says_that_one_is_out(code: ErrorCode) -> None:  # 7.3; G18, lesson 18, 19
    group, one = stable(enable_auto_commit=False)
    group.append("a")
    group.run_until(lambda: one.records)
    before = one.membership.member_id
    group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, error=code)
    commit = one.consumer.commit(None, group.now)
    with pytest.raises(CommitFailedError, match=f"removed it from the group \\({code.name}\\)") as caught:
        group.result(commit)
    assert isinstance(caught.value, RebalanceError)
    assert code is E.ILLEGAL_GENERATION or one.membership.member_id != before
    if code is E.UNKNOWN_MEMBER_ID:
        group.broker.expire_member("g", before, group.now)
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]
    assert one.records == ["a", "a"]  # nothing was committed, so it comes again


def test_a_commit_says_that_there_is_a_rebalance() -> None:  # 7.3: 27
    group, one = stable(enable_auto_commit=False)
    group.append("a")
    group.run_until(lambda: one.records)
    group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, error=E.REBALANCE_IN_PROGRESS)
    commit = one.consumer.commit(None, group.now, retry=False)
    with pytest.raises(RebalanceInProgressError):
        group.result(commit)
    assert group.joins() == []
    group.run_for(0.1)
    group.settle()
    assert one.log == ["revoked t-0 t-1", "assigned t-0 t-1"]
    assert group.joins()[0].reason == "a commit was answered with REBALANCE_IN_PROGRESS"


def test_a_commit_of_a_generation_that_is_over() -> None:  # trap 25, G18: nothing is lost for that
    group, one = stable(enable_auto_commit=False, **COOPERATIVE)
    group.append("a")
    group.run_until(lambda: one.records)

    def late(request: object, response: OffsetCommitResponse) -> OffsetCommitResponse:
        one.membership.generation += 1  # as if the next one had begun before the answer arrived
        return response

    group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, error=E.ILLEGAL_GENERATION, alter=late)
    with pytest.raises(RebalanceInProgressError):
        group.result(one.consumer.commit(None, group.now, retry=False))
    assert one.reading == [T0, T1]
    one.membership.generation -= 1
    group.result(one.consumer.commit(None, group.now))
    group.settle()
    assert one.log == []


def test_a_commit_before_the_first_join() -> None:  # P10, lesson 7
    group = Group()
    one = group.add()
    one.subscribe("t")
    with pytest.raises(CommitFailedError, match="the group has not given"):
        group.result(one.consumer.commit({T0: 1}, group.now))
    group.settle()
    assert group.broker.committed("g") == {}


def test_a_commit_while_it_joins() -> None:  # P10; it waits, and goes out under the generation that comes
    group, one = stable(enable_auto_commit=False, **COOPERATIVE)
    group.append("a")
    group.run_until(lambda: one.records)
    group.broker.faults.add(api=ApiKey.JOIN_GROUP, delay=0.5)
    one.membership.rejoin("a test")
    group.run_until(lambda: one.state is MemberState.JOINING)
    commit = one.consumer.commit(None, group.now)
    group.run_for(0.3)
    assert not commit.done
    group.result(commit)
    assert group.broker.committed("g")[T0].offset == 1
    (request,) = group.requests(OffsetCommitRequest)
    assert request.generation_id_or_member_epoch == one.membership.generation == 2
    group.settle()


def test_join_of_an_unknown_member_that_was_put_out_meanwhile() -> None:  # G18: Join 25 under another identity
    group, one = stable(**COOPERATIVE)

    def unknown(request: JoinGroupRequest, response: JoinGroupResponse) -> JoinGroupResponse:
        assert one.membership.generation_refused(E.ILLEGAL_GENERATION, one.membership.identity)
        return JoinGroupResponse(error_code=E.UNKNOWN_MEMBER_ID)

    member_id = one.membership.member_id
    rejoin(group, one, ApiKey.JOIN_GROUP, alter=unknown)
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]  # once
    assert one.membership.member_id == member_id


@pytest.mark.parametrize(
    "code, expected",
    [(ErrorCode.FENCED_INSTANCE_ID, FencedInstanceIdError), (ErrorCode.UNKNOWN_MEMBER_ID, RebalanceError)],
)
def test_a_commit_is_answered_when_its_sender_is_no_member_any_more(code: ErrorCode, expected: type[Exception]) -> None:
    # The simulator's seed 73046: it was sent as a member, and that is what the answer is about.
    group = Group({"t": 1}, enable_auto_commit=False)
    one = group.join()
    group.settle()
    fault = group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, error=code, delay=2)
    commit = one.consumer.commit({TopicPartition("t", 0): 0}, group.now)
    group.run_until(lambda: fault.hits)
    one.consumer.unsubscribe(group.now, 0.5)
    group.run_until(lambda: not one.consumer._commits.by_group(), 1.5)
    with pytest.raises(expected):
        group.result(commit)
