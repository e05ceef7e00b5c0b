"""Leaving a group: close, unsubscribe, and a program that asks for nothing for too long."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.broker.groups import GroupState
from dekaf_proto.errors import (
    ClosedError,
    CommitFailedError,
    ErrorCode,
    KafkaTimeoutError,
    LocalProtocolError,
    NotAssignedError,
)
from dekaf_proto.events import PartitionsAssigned, PartitionsLost, PartitionsRevoked
from dekaf_proto.group.classic import MemberState
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.join_group import JoinGroupRequest
from dekaf_proto.messages.leave_group import LeaveGroupRequest
from dekaf_proto.messages.offset_commit import OffsetCommitRequest
from dekaf_proto.types import TopicPartition
from tests.group.helpers import Group, Program

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)
COOPERATIVE: dict[str, Any] = {"partition_assignment_strategy": ["cooperative-sticky"]}
STRATEGIES = [["range"], ["cooperative-sticky"]]


def stable(**options: Any) -> tuple[Group, Program]:
    """A group of one member, which has t-0 and t-1, and has read one record that it has not committed."""
    group = Group({"t": 2}, **options)
    group.append("a")
    one = group.join()
    group.settle()
    assert one.records == ["a"]
    one.log.clear()
    group.broker.requests.clear()
    return group, one


# --------------------------------------------------------------------------------------------------------------- close


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_close(strategy: list[str]) -> None:  # G31, P13, trap 36
    group, one = stable(partition_assignment_strategy=strategy)
    began = group.now
    one.close()
    assert group.now - began < 0.05
    assert one.log == ["revoked t-0 t-1"]
    (commit,), (leave,) = group.received(OffsetCommitRequest), group.received(LeaveGroupRequest)
    assert commit.now < leave.now
    assert group.broker.committed("g")[T0].offset == 1
    assert group.broker.group("g").state is GroupState.EMPTY
    again = one.consumer.close(group.now)
    assert again.done
    assert len(group.leaves()) == 1


def test_close_commits_nothing_by_itself_in_manual_mode() -> None:
    group, one = stable(enable_auto_commit=False)
    one.close()
    assert group.broker.committed("g") == {}
    assert one.log == ["revoked t-0 t-1"]


def test_a_listener_may_commit_while_the_consumer_closes() -> None:  # G31
    group, one = stable(enable_auto_commit=False)
    one.answers = False
    close = one.consumer.close(group.now)
    group.run_until(lambda: isinstance(one.event, PartitionsRevoked))
    group.result(one.consumer.commit(None, group.now))
    assert group.broker.committed("g")[T0].offset == 1
    one.go_on()
    group.result(close)
    with pytest.raises(ClosedError):
        one.consumer.poll(group.now)


@pytest.mark.parametrize("session", [6_000, 45_000])
def test_a_slow_listener_of_close_keeps_its_place(session: int) -> None:  # heartbeats go on until it leaves
    group, one = stable(session_timeout_ms=session, heartbeat_interval_ms=1_000)
    one.answers = False
    close = one.consumer.close(group.now)
    group.run_until(lambda: one.event)
    group.run_for(20)
    one.go_on()
    group.result(close)
    assert group.broker.committed("g")[T0].offset == 1
    assert group.leaves()[0].members[0].member_id


def test_close_does_not_wait_for_a_listener_for_ever() -> None:
    group, one = stable()
    one.answers = False
    began = group.now
    close = one.consumer.close(group.now, timeout=5.0)
    group.result(close)
    assert 2.9 < group.now - began < 5.1
    assert one.consumer.closed


def test_close_of_a_program_that_does_not_poll() -> None:
    group, one = stable()
    one.sleep()
    began = group.now
    group.result(one.consumer.close(group.now, timeout=5.0))
    assert 2.9 < group.now - began < 5.1


@pytest.mark.parametrize("dead", ["stopped", "silent"])
def test_close_when_there_is_no_broker(dead: str) -> None:  # bounded, whatever the broker does
    group, one = stable()
    if dead == "stopped":
        group.broker.stop_node(0, group.now)
    else:
        group.network.block(0)
    began = group.now
    close = one.consumer.close(group.now, timeout=5.0)
    group.run_until(lambda: close.done, 10)
    assert group.now - began < 5.1
    assert one.log == ["revoked t-0 t-1"]


def test_close_when_the_coordinator_is_not_to_be_found() -> None:
    group, one = stable(enable_auto_commit=False)
    group.broker.faults.add(api=ApiKey.FIND_COORDINATOR, times=None, error=ErrorCode.COORDINATOR_NOT_AVAILABLE)
    group.broker.faults.add(api=ApiKey.LEAVE_GROUP, times=None, drop="before")
    group.network.cut(node=0)
    began = group.now
    one.close(timeout=3.0)
    assert group.now - began < 3.1


@pytest.mark.parametrize("state", [MemberState.JOINING, MemberState.SYNCING])
@pytest.mark.parametrize("how", ["close", "unsubscribe"])
def test_leaving_in_the_middle_of_a_rebalance(how: str, state: MemberState) -> None:  # G31
    group, one = stable(**COOPERATIVE)
    api = ApiKey.JOIN_GROUP if state is MemberState.JOINING else ApiKey.SYNC_GROUP
    group.broker.faults.add(api=api, silent="before")
    one.membership.rejoin("a test")
    group.run_until(lambda: one.state is state)
    began = group.now
    if how == "close":
        one.close(timeout=4.0)
    else:
        group.result(one.consumer.unsubscribe(group.now, timeout=4.0))
    # They are waited for, half the time, and in a sync then the commit: the coordinator takes none before it is over.
    assert group.now - began < (2.1 if state is MemberState.JOINING else 4.1)
    assert one.log == ["revoked t-0 t-1"]
    assert len(group.leaves()) == 1
    assert group.broker.group("g").state is GroupState.EMPTY


def test_closing_while_others_have_gone_on() -> None:  # 22 of the last commit: nobody waits for what will not be
    group, one = stable(**COOPERATIVE)
    group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, times=None, error=ErrorCode.ILLEGAL_GENERATION)
    began = group.now
    one.close()
    assert group.now - began < 0.1
    assert one.log == ["revoked t-0 t-1"]  # and not lost as well
    assert len(group.leaves()) == 1  # under its old name, so that nobody waits for it


@pytest.mark.parametrize("code", [ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID])
def test_closing_when_it_was_put_out(code: ErrorCode) -> None:
    static = {"group_instance_id": "i"} if code is ErrorCode.FENCED_INSTANCE_ID else {}
    group, one = stable(**static)
    group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, times=None, error=code)
    began = group.now
    one.close()
    assert group.now - began < 0.1
    assert group.leaves() == []
    assert one.failures == []


def test_put_out_while_it_closes() -> None:  # G24: what was not revoked yet is lost
    group, one = stable(session_timeout_ms=6_000, heartbeat_interval_ms=300)
    one.sleep()
    close = one.consumer.close(group.now)
    group.run_for(0.1)
    group.broker.expire_member("g", one.membership.member_id, group.now)
    group.run_for(1)
    one.wake()
    group.result(close)
    assert one.log == ["lost t-0 t-1"]
    assert group.leaves() == []


def test_heartbeats_of_one_who_leaves_are_no_reason_to_rejoin(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dekaf.group")
    group, one = stable(heartbeat_interval_ms=300, max_poll_interval_ms=6_000)
    one.answers = False
    unsubscribe = one.consumer.unsubscribe(group.now)
    group.run_until(lambda: one.event)
    group.broker.faults.add(api=ApiKey.HEARTBEAT, times=3, error=ErrorCode.REBALANCE_IN_PROGRESS)
    group.run_for(10)  # longer than max_poll_interval_ms as well: it is about to leave anyway
    assert group.leaves() == []
    group.broker.faults.add(api=ApiKey.HEARTBEAT, times=3, error=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    group.run_for(2)
    one.go_on()
    group.result(unsubscribe)
    assert group.joins() == []
    assert "rejoining" not in caplog.text
    assert one.log == ["revoked t-0 t-1"]
    assert one.failures == []


def test_close_before_the_first_assignment() -> None:
    group = Group({"t": 2})
    one = group.join()
    one.close()
    assert one.log == []
    assert group.leaves() == []
    assert group.broker.group("g").state is GroupState.DEAD


def test_close_in_the_first_join() -> None:  # no ghost
    group = Group({"t": 2})
    one = group.join()
    group.broker.faults.add(api=ApiKey.JOIN_GROUP, when=lambda h, r: r.member_id != "", delay=1.0)  # type: ignore[attr-defined]
    group.run_until(lambda: len(group.joins()) == 2)
    one.close()
    assert group.broker.group("g").members == ()
    assert one.log == []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_close_before_the_program_heard_of_the_assignment(strategy: list[str]) -> None:  # told of nothing it never had
    group = Group({"t": 2}, partition_assignment_strategy=strategy)
    one = group.join()
    one.sleep()
    group.run_until(lambda: one.consumer._subscription.has_event)
    close = one.consumer.close(group.now)
    one.wake()
    group.result(close)
    assert one.log == []
    assert len(group.leaves()) == 1


def test_close_while_the_program_hears_of_the_assignment() -> None:
    group = Group({"t": 2})
    one = group.add()
    one.answers = False
    one.subscribe("t")
    group.run_until(lambda: isinstance(one.event, PartitionsAssigned))
    close = one.consumer.close(group.now)
    group.run_for(1)
    one.go_on()
    group.result(close)
    assert one.log == ["assigned t-0 t-1", "revoked t-0 t-1"]


@pytest.mark.parametrize("how", ["close", "unsubscribe"])
@pytest.mark.parametrize("when", ["waiting", "told", "answered"])
def test_leaving_in_the_middle_of_a_revocation(when: str, how: str) -> None:  # exactly once
    group, one = stable(auto_commit_interval_ms=60_000)
    two = group.add()
    two.subscribe("t")
    if when == "waiting":
        one.sleep()
        group.run_until(lambda: one.consumer._subscription.has_event)
    elif when == "told":
        one.answers = False
        group.run_until(lambda: one.event)
    else:
        group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, delay=0.5)
        group.run_until(lambda: one.log)
    consumer = one.consumer
    end = consumer.close(group.now) if how == "close" else consumer.unsubscribe(group.now)
    if when == "waiting":
        one.wake()
    group.run_for(0.1)
    if when == "told":
        one.go_on()
    group.result(end)
    assert one.log == ["revoked t-0 t-1"]
    assert group.broker.committed("g")[T0].offset == 1
    assert one.consumer.assignment == []
    group.programs.remove(one)
    group.settle()


# --------------------------------------------------------------------------------------------------------- unsubscribe


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_unsubscribe(strategy: list[str]) -> None:  # trap 36
    group, one = stable(partition_assignment_strategy=strategy)
    group.result(one.consumer.unsubscribe(group.now))
    assert one.log == ["revoked t-0 t-1"]
    assert group.broker.committed("g")[T0].offset == 1
    assert (one.consumer.subscription, one.consumer.assignment) == ([], [])
    assert group.leaves()[0].members[0].reason == "the program has unsubscribed"
    assert group.broker.group("g").state is GroupState.EMPTY
    group.run_for(10)
    assert len(group.heartbeats()) < 10
    assert group.joins() == []


def test_subscribe_again() -> None:
    group, one = stable()
    group.result(one.consumer.unsubscribe(group.now))
    before = len(group.broker.requests)
    group.run_for(5)
    assert len(group.broker.requests) - before < 5  # nothing goes on behind its back
    one.subscribe("t")
    group.settle()
    assert one.log == ["revoked t-0 t-1", "assigned t-0 t-1"]
    group.append("b")
    group.run_until(lambda: "b" in one.records)
    assert one.records == ["a", "b"]


def test_a_wait_after_unsubscribe_is_a_wait() -> None:  # no program at 100 % CPU
    for again in ("subscribe", "assign"):
        group, one = stable()
        group.result(one.consumer.unsubscribe(group.now))
        one.sleep()
        if again == "subscribe":
            one.subscribe("t")
        else:
            one.consumer.assign([T1], group.now)
        wait = one.consumer.wait(group.now, 0.001)
        assert not wait.done


def test_no_record_is_handed_out_while_it_leaves() -> None:
    group, one = stable()
    one.sleep()
    group.append("b")
    group.run_for(1)
    assert one.consumer._handout.has_next(None)
    unsubscribe = one.consumer.unsubscribe(group.now)
    assert not one.consumer._handout.has_next(None)
    one.wake()
    group.result(unsubscribe)
    assert one.records == ["a"]
    assert group.broker.committed("g")[T0].offset == 1


def test_unsubscribe_is_one_at_a_time_and_goes_on_when_cancelled() -> None:
    group, one = stable()
    one.answers = False
    first = one.consumer.unsubscribe(group.now)
    second = one.consumer.unsubscribe(group.now)
    group.run_until(lambda: one.event)
    first.cancel()
    with pytest.raises(LocalProtocolError, match="unsubscribe is still under way"):
        one.subscribe("t")
    with pytest.raises(LocalProtocolError, match="unsubscribe first"):
        one.consumer.assign([T0], group.now)
    one.go_on()
    group.result(second)
    assert one.log == ["revoked t-0 t-1"]
    group.result(one.consumer.unsubscribe(group.now))  # nothing is left to be done
    assert len(group.leaves()) == 1


def test_close_while_it_unsubscribes() -> None:
    group, one = stable()
    one.answers = False
    unsubscribe = one.consumer.unsubscribe(group.now)
    group.run_until(lambda: one.event)
    began = group.now
    close = one.consumer.close(group.now, timeout=2.0)
    group.result(close)
    assert group.now - began < 2.1
    assert unsubscribe.done
    assert one.log == ["revoked t-0 t-1"]


def test_unsubscribe_ends_by_its_deadline() -> None:
    group, one = stable()
    one.answers = False
    began = group.now
    group.broker.faults.add(api=ApiKey.LEAVE_GROUP, silent="before")
    group.result(one.consumer.unsubscribe(group.now, timeout=3.0))
    assert group.now - began < 3.2


def test_unsubscribe_of_one_who_has_lost_everything() -> None:
    group, one = stable()
    one.sleep()
    group.broker.expire_member("g", one.membership.member_id, group.now)
    group.run_until(lambda: one.membership.generation < 0)
    unsubscribe = one.consumer.unsubscribe(group.now)
    group.run_for(1)
    assert not unsubscribe.done  # the program is to hear of the loss
    one.wake()
    group.result(unsubscribe)
    assert one.log == ["lost t-0 t-1"]
    assert one.consumer.assignment == []


def test_unsubscribe_when_nobody_hears_of_a_loss() -> None:
    group, one = stable()
    one.sleep()
    group.broker.expire_member("g", one.membership.member_id, group.now)
    group.run_until(lambda: one.membership.generation < 0)
    group.result(one.consumer.unsubscribe(group.now, timeout=1.0))
    assert one.consumer.assignment == []
    one.subscribe("t")  # nothing is left of it
    one.wake()
    group.settle()
    assert one.log == ["assigned t-0 t-1"]


def test_unsubscribe_after_a_fatal_error() -> None:
    group, one = stable(group_instance_id="i")
    group.broker.faults.add(api=ApiKey.HEARTBEAT, error=ErrorCode.FENCED_INSTANCE_ID)
    group.run_until(lambda: one.failures)
    group.result(one.consumer.unsubscribe(group.now))
    one.failures.clear()
    one.subscribe("t")
    group.settle()
    assert one.failures == []
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]


def test_commits_after_unsubscribe_are_nobodys() -> None:
    group, one = stable(enable_auto_commit=False)
    group.result(one.consumer.unsubscribe(group.now))
    with pytest.raises(NotAssignedError):
        one.consumer.position(T0)
    group.result(one.consumer.commit({T0: 7}, group.now))  # the group has no members: anybody may (P4)
    (request,) = group.requests(OffsetCommitRequest)
    assert (request.generation_id_or_member_epoch, request.member_id, request.group_instance_id) == (-1, "", None)


# ------------------------------------------------------------------------------------------------------ static members


def test_a_static_member_that_comes_back_in_time() -> None:  # G28, G29, trap 31
    group = Group({"t": 2})
    one, two = group.join(group_instance_id="a"), group.join(group_instance_id="b")
    group.settle()
    generation = group.broker.group("g").generation
    log = list(two.log)
    had = one.reading
    old = one.membership.member_id
    one.close()
    assert group.leaves() == []
    assert one.log[-1] == "revoked " + " ".join(f"{tp.topic}-{tp.partition}" for tp in had)
    group.programs.remove(one)
    group.run_for(5)
    again = group.join(group_instance_id="a")
    group.settle()
    assert group.broker.group("g").generation == generation  # nobody else notices
    assert two.log == log
    assert again.reading == had
    assert again.membership.member_id != old


def test_a_static_leader_that_comes_back() -> None:  # G13
    group = Group({"t": 4})
    one = group.join(group_instance_id="a")
    group.settle()
    two = group.join(group_instance_id="b")
    group.settle()
    assert group.broker.group("g").leader == one.membership.member_id
    one.die()
    group.broker.requests.clear()
    again = group.join(group_instance_id="a")
    group.settle()
    (sync,) = group.syncs()
    assert (sync.member_id, sync.assignments) == (again.membership.member_id, [])
    assert len(two.log) == 1
    assert again.membership.group_topics == ["t"]  # it goes on watching the topics, as their leader
    group.broker.create_partitions("t", 2)
    again.consumer._metadata.refresh()
    group.run_for(1)
    group.settle()
    assert len(again.reading) == len(two.reading) == 3


def test_a_static_member_that_comes_back_too_late() -> None:  # G29
    group = Group({"t": 2}, session_timeout_ms=6_000, heartbeat_interval_ms=1_000)
    one, two = group.join(group_instance_id="a"), group.join(group_instance_id="b")
    group.settle()
    one.close()
    group.programs.remove(one)
    group.run_until(lambda: len(two.reading) == 2)
    group.settle()
    assert two.log[-1] == "assigned t-0 t-1"


def test_all_requests_of_a_static_member_name_it() -> None:  # G28
    group, _ = stable(group_instance_id="a")
    group.broker.requests.clear()
    group.programs[0].membership.rejoin("a test")
    group.run_for(6)
    requests = [*group.joins(), *group.syncs(), *group.heartbeats(), *group.requests(OffsetCommitRequest)]
    assert len({type(request) for request in requests}) == 4
    assert {request.group_instance_id for request in requests} == {"a"}


# ---------------------------------------------------------------------------------------------------------- restarts


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_program_that_dies(strategy: list[str]) -> None:
    group, one = stable(partition_assignment_strategy=strategy, session_timeout_ms=6_000, heartbeat_interval_ms=1_000)
    two = group.join()
    group.settle()
    one.die()
    group.run_until(lambda: len(two.reading) == 2)
    group.settle()
    three = group.join()
    group.settle()
    assert sorted(two.reading + three.reading) == [T0, T1]


# ----------------------------------------------------------------------------------------------------------- too slow


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_program_that_asks_for_nothing_leaves(strategy: list[str]) -> None:  # G21, trap 37, lesson 23, 25
    group, one = stable(partition_assignment_strategy=strategy, max_poll_interval_ms=10_000)
    one.sleep()
    began = group.now
    group.run_until(lambda: group.leaves())
    assert 9.6 < group.now - began < 10.1
    (leave,) = group.leaves()
    assert "max_poll_interval_ms" in str(leave.members[0].reason)
    assert group.broker.group("g").state is GroupState.EMPTY
    before = len(group.requests(OffsetCommitRequest))
    group.run_for(30)
    assert group.joins() == []  # not before it asks again
    assert len(group.heartbeats()) < 15
    commit = one.consumer.commit({T0: 1}, group.now)
    with pytest.raises(CommitFailedError, match="asked for no further record for 10 s"):
        group.result(commit)
    assert len(group.requests(OffsetCommitRequest)) == before
    one.wake()
    assert isinstance(one.events[-1], PartitionsLost)
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]
    assert [join.member_id for join in group.joins()] == ["", one.membership.member_id]


def test_a_static_member_that_is_too_slow_just_falls_silent() -> None:  # G21, G29
    group, one = stable(group_instance_id="a", max_poll_interval_ms=10_000)
    one.sleep()
    group.run_until(lambda: one.membership.generation < 0, 12)
    group.run_for(5)
    assert group.leaves() == []
    one.wake()
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]


def test_leaving_for_slowness_fails() -> None:  # lesson 25: commits are refused all the same
    group, one = stable(max_poll_interval_ms=10_000, enable_auto_commit=False, session_timeout_ms=6_000)
    one.sleep()
    group.broker.faults.add(api=ApiKey.LEAVE_GROUP, silent="before")
    group.run_until(lambda: group.leaves())
    with pytest.raises(CommitFailedError):
        group.result(one.consumer.commit({T0: 1}, group.now))
    assert group.broker.committed("g") == {}
    group.exclusive = False
    one.wake()
    group.settle(120)
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]


def test_one_record_in_hand_for_too_long() -> None:  # G21 by progress, lesson 23
    group, one = stable(max_poll_interval_ms=10_000)
    one.sleep()
    for i in range(50):
        group.append(f"r{i}")
    group.run_for(1)
    run: Any = one.consumer.poll(group.now)
    for _ in range(10):  # slow, but it moves
        next(run)
        group.run_for(6)
    assert group.leaves() == []
    next(run)
    group.run_for(10.1 + 3)  # how far it is, is looked at with each heartbeat
    assert len(group.leaves()) == 1
    assert next(run, None) is None


def test_waiting_is_not_being_slow() -> None:  # G21
    group, one = stable(max_poll_interval_ms=10_000)
    group.run_for(100)
    assert group.leaves() == []
    one.sleep()
    for _ in range(5):
        group.run_for(9)
        one.poll_once()  # polling is progress
    assert group.leaves() == []
    group.run_for(10.1)
    assert len(group.leaves()) == 1


def test_acknowledging_is_progress() -> None:
    group = Group({"t": 2}, max_poll_interval_ms=10_000, acknowledgement_mode="explicit")
    group.append(*[f"r{i}" for i in range(5)])
    one = group.join()
    one.reads = False
    group.run_for(0.02)
    one.sleep()
    run: Any = None
    while run is None:
        group.run_for(0.1)
        run = one.consumer.poll(group.now)
    for record in list(run):
        group.run_for(8)
        one.consumer.acknowledge(record, group.now)
    assert group.leaves() == []
    group.run_for(10.1)
    assert len(group.leaves()) == 1


def test_a_listener_that_takes_too_long() -> None:  # G21
    group, one = stable(max_poll_interval_ms=10_000)
    one.answers = False
    two = group.add(max_poll_interval_ms=60_000)
    two.subscribe("t")
    group.run_until(lambda: one.event)
    began = group.now
    group.run_until(lambda: one.membership.generation < 0)
    assert 9.9 < group.now - began < 10.2
    group.settle_others(one)
    assert two.log == ["assigned t-0 t-1"]
    one.go_on()
    group.settle()
    assert one.log[0] == "revoked t-0 t-1"  # and not lost as well
    assert len(one.log) == 2


def test_the_interval_begins_when_the_event_is_told() -> None:
    group, one = stable(max_poll_interval_ms=10_000)
    one.sleep()
    one.answers = False
    group.add().subscribe("t")
    group.run_for(9)
    one.poll_once()
    assert isinstance(one.event, PartitionsRevoked)
    group.run_for(9)
    assert group.leaves() == []
    one.go_on()
    one.wake()
    group.settle()
    assert one.log[0] == "revoked t-0 t-1"


def test_too_slow_for_an_event_that_nobody_asks_for() -> None:
    group, one = stable(max_poll_interval_ms=10_000)
    one.sleep()
    two = group.add(max_poll_interval_ms=60_000)
    two.subscribe("t")
    group.run_until(lambda: group.leaves())
    group.settle_others(one)
    assert two.log == ["assigned t-0 t-1"]
    one.wake()
    group.settle()
    assert one.log[0] == "lost t-0 t-1"
    assert len(one.log) == 2


def test_too_slow_with_nothing_assigned() -> None:
    group = Group({"t": 1}, max_poll_interval_ms=10_000)
    one, two = group.join(), group.join()
    group.settle()
    idle = one if not one.reading else two
    idle.sleep()
    idle.log.clear()
    group.run_until(lambda: group.leaves())
    idle.wake()
    group.settle()
    assert idle.log[0].startswith("assigned")


def test_too_slow_while_the_coordinator_is_not_to_be_found() -> None:
    group, one = stable(max_poll_interval_ms=10_000, session_timeout_ms=6_000)
    group.broker.faults.add(api=ApiKey.FIND_COORDINATOR, times=None, error=ErrorCode.COORDINATOR_NOT_AVAILABLE)
    group.broker.faults.add(api=ApiKey.LEAVE_GROUP, times=None, drop="before")
    one.sleep()
    group.run_until(lambda: one.membership.generation < 0, 12)
    group.run_for(20)  # the goodbye is given up after a session
    group.broker.faults.clear()
    one.wake()
    group.settle()
    assert len(group.leaves()) == 1
    assert [type(r) for r in group.requests(JoinGroupRequest)] == [JoinGroupRequest] * 2


def test_unsubscribe_of_what_is_assigned_by_hand() -> None:
    group = Group({"t": 2})
    group.assign([T0])
    group.result(group.consumer.unsubscribe(group.now))
    assert group.consumer.assignment == []
    with pytest.raises(KafkaTimeoutError):
        group.result(group.consumer.committed([T0], group.now, timeout=0.0001))
