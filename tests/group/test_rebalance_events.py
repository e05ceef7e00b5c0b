"""What a program is told of a rebalance: in order, exactly once, and what it may do before it answers."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.broker import GroupState
from dekaf_proto.consumer import FetchedRecords
from dekaf_proto.errors import CommitFailedError, ErrorCode, LocalProtocolError, NotAssignedError
from dekaf_proto.events import EndOfPartition, PartitionsAssigned, PartitionsLost, PartitionsRevoked, Rebalance
from dekaf_proto.group.classic import MemberState
from dekaf_proto.messages import ApiKey, HeartbeatRequest
from dekaf_proto.messages.offset_commit import OffsetCommitRequest
from dekaf_proto.operation import Operation
from dekaf_proto.types import TopicPartition
from tests.group.helpers import NAMES, Group, Program, names

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)
COOPERATIVE: dict[str, Any] = {"partition_assignment_strategy": ["cooperative-sticky"]}
STRATEGIES = [["range"], ["cooperative-sticky"]]


def stable(**options: Any) -> tuple[Group, Program]:
    """A group of one member, which has t-0 and t-1, with two records in each."""
    group = Group({"t": 2}, **options)
    for partition in range(2):
        group.append(f"a{partition}", f"b{partition}", partition=partition)
    one = group.join()
    group.settle()
    group.run_until(lambda: len(one.records) == 4)
    group.result(one.consumer.commit(None, group.now))
    one.log.clear()
    one.records.clear()
    group.broker.requests.clear()
    return group, one


def until_told(group: Group, one: Program, kind: type[Rebalance], **other: Any) -> Program:
    """Another member comes; the first one is told, and does not answer yet."""
    one.answers = False
    two = group.join(**other)
    group.run_until(lambda: isinstance(one.event, kind))
    return two


def poll(group: Group, one: Program) -> FetchedRecords[Any, Any]:
    """The records that a sleeping program gets."""
    run = one.consumer.poll(group.now)
    assert isinstance(run, FetchedRecords)
    return run


def put_out(group: Group, one: Program) -> None:
    """The coordinator removes the member, which learns of it with its next heartbeat."""
    group.exclusive = False
    group.broker.expire_member("g", one.membership.member_id, group.now)
    group.run_until(lambda: one.membership.generation < 0)


# ------------------------------------------------------------------------------------------------------------ the order


def test_eager() -> None:  # G22
    group, one = stable()
    two = group.join()
    group.settle()
    assert one.log == ["revoked t-0 t-1", "assigned t-1"]
    assert two.log == ["assigned t-0"]


def test_cooperative() -> None:  # G23, trap 26
    group, one = stable(**COOPERATIVE)
    two = group.join()
    group.settle()
    # What it gives up first goes away, then it is told of what is new, and it joins once more.
    assert one.log == ["revoked t-1", "assigned", "assigned"]
    assert two.log == ["assigned", "assigned t-1"]
    reasons = [join.reason for join in group.joins() if join.member_id == one.membership.member_id]
    assert reasons == ["the group is rebalancing", "it has given up partitions that others are to get"]


def test_what_is_kept_is_read_all_the_while() -> None:  # G23, trap 26
    group, one = stable(**COOPERATIVE)
    partition = one.consumer._partitions[T0]
    until_told(group, one, PartitionsRevoked)
    assert one.event is not None
    assert one.event.partitions == (T1,)
    group.append("c0", partition=0)
    group.append("c1", partition=1)
    group.run_for(1)
    output = one.consumer._handout.next(None)
    assert [record.value for record in output] == [b"c0"]  # type: ignore[union-attr]
    one.go_on()
    group.settle()
    assert one.consumer._partitions[T0] is partition  # not assigned anew
    assert one.membership.rebalances == 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_a_member_gives_up_goes_to_the_other_where_it_stopped(strategy: list[str]) -> None:
    group, one = stable(partition_assignment_strategy=strategy)
    two = group.join()
    group.settle()
    group.append("c0", partition=0)
    group.append("c1", partition=1)
    group.run_until(lambda: len(one.records + two.records) == 2)
    group.run_for(1)
    assert sorted(one.records + two.records) == ["c0", "c1"]


def test_nothing_is_revoked_before_the_first_join() -> None:  # G22
    group = Group()
    one = group.join()
    group.settle()
    assert one.log == ["assigned t-0"]


# -------------------------------------------------------------------------------------------------- before the answer


def test_one_event_at_a_time() -> None:  # G26
    group, one = stable()
    until_told(group, one, PartitionsRevoked)
    event = one.event
    assert event is not None
    for _ in range(2):
        with pytest.raises(LocalProtocolError, match="to be answered by event_done before the next poll"):
            one.consumer.poll(group.now)
    with pytest.raises(LocalProtocolError, match="is not the event that was polled last"):
        one.consumer.event_done(PartitionsRevoked((T0,)), group.now)
    one.consumer.event_done(event, group.now)
    with pytest.raises(LocalProtocolError, match="is not the event that was polled last"):
        one.consumer.event_done(event, group.now)  # once
    one.event, one.answers = None, True
    group.settle()


def test_nothing_to_answer() -> None:
    _, one = stable()
    with pytest.raises(LocalProtocolError, match="None is not the event"):
        one.consumer.event_done(None, 1000.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [PartitionsRevoked, PartitionsAssigned])
def test_nothing_of_a_partition_is_handed_out_until_the_answer(kind: type[Rebalance]) -> None:  # trap 32, lesson 20
    group, one = stable()
    until_told(group, one, PartitionsRevoked)
    if kind is PartitionsAssigned:
        one.answer()
        group.run_until(lambda: isinstance(one.event, PartitionsAssigned))
    group.append("c0", partition=0)
    group.append("c1", partition=1)
    group.run_for(3)
    assert not one.consumer._handout.has_next(None)
    assert one.reading == []
    one.go_on()
    group.settle()
    group.run_for(1)
    assert one.records == ["c1"]


def test_a_slow_listener_does_not_hold_up_heartbeats() -> None:  # G19, lesson 22
    group, one = stable(session_timeout_ms=6_000, heartbeat_interval_ms=1_000)
    until_told(group, one, PartitionsRevoked)
    group.run_for(30)
    one.go_on()
    group.settle()
    assert one.log == ["revoked t-0 t-1", "assigned t-1"]


def test_the_record_in_hand_is_not_finished_by_a_revocation() -> None:  # lesson 1, 4
    group, one = stable()
    one.reads = False
    one.sleep()
    group.append("c0", "d0", "e0", partition=0)
    group.run_for(1)
    run = poll(group, one)
    assert next(run).value == b"c0"
    assert next(run).value == b"d0"
    two = group.join()
    group.run_until(lambda: one.consumer._subscription.has_event)
    assert next(run, None) is None  # it asks for more: both are done, and nothing more is handed out
    one.reads = True
    one.wake()
    group.run_until(lambda: group.broker.committed("g")[T0].offset == 4, 4)
    group.settle()
    group.run_for(1)
    assert one.records + two.records == ["e0"]


def test_a_record_that_is_still_in_hand_is_handed_out_again() -> None:  # lesson 1
    group, one = stable()
    one.sleep()
    group.append("c1", "d1", partition=1)
    group.run_for(1)
    run = poll(group, one)
    assert [next(run).value, next(run).value] == [b"c1", b"d1"]
    # The program dies with d1 in hand.
    one.die()
    two = group.join()
    group.settle(120)
    group.run_for(1)
    assert two.records[-1] == "d1"


# ------------------------------------------------------------------------------------------- what a listener may do


def test_in_revoked() -> None:  # G25
    group, one = stable(enable_auto_commit=False)
    group.append("c0")
    group.run_until(lambda: one.records)
    seen: list[object] = []
    operations: list[Operation[Any]] = []

    def listener(event: Rebalance) -> None:
        if isinstance(event, PartitionsRevoked):
            seen.append([one.consumer.position(tp) for tp in event.partitions])
            one.consumer.pause([T0], group.now)
            one.consumer.seek(T0, 1, group.now)

    one.listener = listener
    until_told(group, one, PartitionsRevoked)
    generation = one.membership.generation
    operations = [one.consumer.commit(None, group.now), one.consumer.committed([T0, T1], group.now)]
    for operation in operations:
        group.result(operation)
    assert {tp: found.offset for tp, found in operations[1].result().items()} == {T0: 3, T1: 2}
    (request,) = group.requests(OffsetCommitRequest)
    assert request.generation_id_or_member_epoch == generation  # the one before the rebalance
    one.go_on()
    group.settle()
    assert seen == [[3, 2]]
    assert group.broker.committed("g")[T0].offset == 3
    assert one.consumer.paused == []  # it is another assignment


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_in_assigned(strategy: list[str]) -> None:  # lesson 7, 24
    group, one = stable(partition_assignment_strategy=strategy)
    one.close()
    group.programs.remove(one)
    two = group.add()
    seen: list[object] = []

    def listener(event: Rebalance) -> None:
        seen.append([two.consumer.position(tp) for tp in event.partitions])
        two.consumer.seek(T0, 1, group.now)
        two.consumer.pause([T1], group.now)
        seen.append(two.consumer.position(T0))

    two.listener = listener
    two.subscribe("t")
    group.settle()
    assert seen == [[None, None], 1]  # what is committed is not known yet, and a seek beats it
    assert two.records == ["b0"]
    assert two.consumer.position(T0) == 2
    assert two.consumer.paused == [T1]
    group.run_for(6)
    assert group.broker.committed("g")[T0].offset == 2


def test_the_committed_offset_is_asked_for_while_the_listener_runs() -> None:
    group, one = stable()
    one.close()
    group.programs.remove(one)
    two = group.add()
    two.answers = False
    two.subscribe("t")
    group.run_until(lambda: two.event)
    operation = two.consumer.committed([T0], group.now)
    group.run_until(lambda: two.consumer.position(T0) is not None)
    assert two.consumer.position(T0) == group.result(operation)[T0].offset == 2  # type: ignore[union-attr]
    assert two.records == []
    two.go_on()
    group.settle()


def test_a_commit_in_assigned_of_what_was_just_given() -> None:  # the new generation holds
    group, one = stable(enable_auto_commit=False)
    until_told(group, one, PartitionsRevoked)
    one.answer()
    group.run_until(lambda: isinstance(one.event, PartitionsAssigned))
    group.result(one.consumer.commit({T1: 1}, group.now))
    assert group.broker.committed("g")[T1].offset == 1
    assert group.requests(OffsetCommitRequest)[-1].generation_id_or_member_epoch == 2
    with pytest.raises(CommitFailedError, match="the group has not given"):
        group.result(one.consumer.commit({T0: 1}, group.now))
    one.go_on()
    group.settle()


def test_in_lost() -> None:  # G24, lesson 19, 25
    group, one = stable()
    group.append("c0")
    group.run_until(lambda: one.records)
    one.answers = False
    group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, silent="before")
    put_out(group, one)
    group.run_until(lambda: isinstance(one.event, PartitionsLost))
    before = len(group.requests(OffsetCommitRequest))
    assert one.consumer.position(T0) == 3
    with pytest.raises(CommitFailedError, match=r"removed it from the group \(UNKNOWN_MEMBER_ID\)") as caught:
        group.result(one.consumer.commit({T0: 3}, group.now))
    assert caught.value.since is not None
    assert len(group.requests(OffsetCommitRequest)) == before  # refused here, not there
    group.append("d0")
    group.run_for(3)
    assert not one.consumer._handout.has_next(None)
    one.go_on()
    with pytest.raises(NotAssignedError):
        one.consumer.position(T0)
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]
    group.run_for(1)
    assert one.records == ["c0", "c0", "d0"]  # it was not committed


def test_nobody_waits_for_one_who_has_nothing_new() -> None:  # A8, G23: told, but not waited for, and told once
    group, one = stable(**COOPERATIVE)
    one.sleep()
    for _ in range(3):
        one.membership.rejoin("a test")
        group.run_for(1)
    assert one.membership.rebalances == 4
    assert [type(event) for event in one.consumer._subscription._events] == [PartitionsAssigned]
    group.append("c0")
    group.run_for(1)
    assert one.consumer._handout.has_next(None)
    one.wake()
    group.settle()
    assert one.log == ["assigned"]
    assert one.records == ["c0"]


def test_a_listener_may_close_the_consumer() -> None:
    group, one = stable()
    closes: list[Operation[None]] = []
    one.listener = lambda event: closes.append(one.consumer.close(group.now))
    two = group.join()
    group.run_until(lambda: closes and closes[0].done)
    assert one.log == ["revoked t-0 t-1"]
    group.programs.remove(one)
    group.settle()
    assert two.log[-1] == "assigned t-0 t-1"


def test_a_listener_may_subscribe_anew() -> None:  # G15, G17
    group = Group({"t": 2, "u": 1})
    one = group.join("t")
    group.settle()
    one.listener = lambda event: one.subscribe(["u"]) if isinstance(event, PartitionsRevoked) else None
    one.membership.rejoin("a test")
    group.run_for(0.1)
    group.settle()
    assert one.log == ["assigned t-0 t-1", "revoked t-0 t-1", "assigned u-0"]


# ---------------------------------------------------------------------------------------------------------- overtaken


def test_lost_while_a_revocation_waits_to_be_polled() -> None:  # G24: never both
    group, one = stable()
    one.sleep()
    group.join()
    group.run_until(lambda: one.consumer._subscription.has_event)
    put_out(group, one)
    one.wake()
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-1"]


def test_lost_while_the_program_is_in_its_listener() -> None:  # G24: revoked, and nothing more
    group, one = stable()
    until_told(group, one, PartitionsRevoked)
    put_out(group, one)
    group.run_for(1)
    one.go_on()
    group.settle()
    assert one.log == ["revoked t-0 t-1", "assigned t-1"]


def test_a_fatal_error_while_the_program_is_in_its_listener() -> None:
    group, one = stable()
    until_told(group, one, PartitionsRevoked)
    fault = group.broker.faults.add(
        api=ApiKey.HEARTBEAT,
        error=ErrorCode.GROUP_AUTHORIZATION_FAILED,
        when=lambda h, r: r.member_id == one.membership.member_id,  # type: ignore[attr-defined]
    )
    group.run_until(lambda: fault.hits)
    group.run_for(1)
    assert one.state is MemberState.FAILED
    before = [join.member_id for join in group.joins()]
    one.sleep()
    one.answer()
    group.run_for(3)
    assert [join.member_id for join in group.joins()] == before  # not before the program has been told
    one.answers = True
    one.wake()
    assert len(one.failures) == 1
    group.settle()
    assert one.log[0] == "revoked t-0 t-1"
    assert len(one.log) == 2


def test_lost_while_a_part_is_being_revoked() -> None:  # G24: each partition exactly once
    group, one = stable(**COOPERATIVE)
    until_told(group, one, PartitionsRevoked)
    put_out(group, one)
    one.go_on()
    group.settle()
    assert one.log[:2] == ["revoked t-1", "lost t-0"]
    assert one.log[2].startswith("assigned t-")  # what it was given before counts no more


@pytest.mark.parametrize("hold", ["commit", "drain"])
def test_lost_after_the_answer_to_a_revocation(hold: str) -> None:  # G24, P13
    explicit = {"acknowledgement_mode": "explicit"} if hold == "drain" else {}
    group, one = stable(auto_commit_interval_ms=60_000, **explicit)
    group.append("c0")
    group.run_until(lambda: one.records)
    group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, times=None, silent="before")
    two = group.join()
    group.run_until(lambda: one.log == ["revoked t-0 t-1"])
    group.run_for(0.5)
    assert len(one.consumer.assignment) == 2
    group.exclusive = False
    assert one.membership.generation_refused(ErrorCode.ILLEGAL_GENERATION, one.membership.identity)
    assert not one.consumer._subscription.has_event
    group.broker.faults.clear()
    group.settle()
    assert one.log == ["revoked t-0 t-1", "assigned t-1"]
    assert len(two.reading) == 1


def test_lost_while_the_commit_of_a_revocation_is_under_way_and_answered_at_once() -> None:
    """The event of the loss is answered before the commit has failed."""
    group, one = stable(auto_commit_interval_ms=60_000, **COOPERATIVE)
    group.append("c1", partition=1)
    group.run_until(lambda: one.records)
    fault = group.broker.faults.add(api=ApiKey.OFFSET_COMMIT, delay=3.0)
    group.join()
    group.run_until(lambda: one.log == ["revoked t-1"] and fault.hits)
    group.exclusive = False
    assert one.membership.generation_refused(ErrorCode.ILLEGAL_GENERATION, one.membership.identity)
    group.run_until(lambda: one.log == ["revoked t-1", "lost t-0"])
    assert one.consumer.assignment == [T1]
    group.settle()
    assert one.log[2].startswith("assigned")
    assert len(one.log) < 6


def test_lost_before_the_program_heard_of_the_assignment() -> None:  # nothing is told of what it never had
    group = Group({"t": 2}, exclusive=False)
    one = group.join()
    one.sleep()
    group.run_until(lambda: one.consumer._subscription.has_event)
    put_out(group, one)
    assert one.consumer.assignment == []
    assert not one.consumer._subscription.has_event
    one.wake()
    group.settle()
    assert one.log == ["assigned t-0 t-1"]


def test_lost_while_the_program_hears_of_the_assignment() -> None:
    group = Group({"t": 2}, exclusive=False)
    one = group.add()
    one.answers = False
    one.subscribe("t")
    group.run_until(lambda: one.event)
    put_out(group, one)
    one.answers = True
    one.answer()
    assert all(partition.withheld for partition in one.consumer._partitions.values())
    one.step()
    group.settle()
    assert one.log == ["assigned t-0 t-1", "lost t-0 t-1", "assigned t-0 t-1"]


def test_lost_twice_before_the_program_asks() -> None:
    group, one = stable()
    one.sleep()
    put_out(group, one)
    group.run_for(5)
    assert len(group.joins()) == 0  # it waits for the program to know, before it claims them again
    one.wake()
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]


def test_a_second_loss_is_no_news() -> None:
    group, one = stable()
    one.sleep()
    put_out(group, one)
    one.consumer._subscription.lose("something else")
    one.wake()
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]
    assert isinstance(one.events[-2], PartitionsLost)
    assert "UNKNOWN_MEMBER_ID" in one.events[-2].cause


def test_lost_before_the_position_is_known() -> None:  # trap 44
    group = Group({"t": 2}, exclusive=False)
    group.broker.faults.add(api=ApiKey.OFFSET_FETCH, times=None, error=ErrorCode.UNSTABLE_OFFSET_COMMIT)
    group.append("a")
    one = group.join()
    group.run_until(lambda: one.log)
    group.run_for(2)
    assert one.consumer.position(T0) is None
    put_out(group, one)
    group.broker.faults.clear()
    group.settle()
    assert one.log == ["assigned t-0 t-1", "lost t-0 t-1", "assigned t-0 t-1"]
    assert one.failures == []
    group.run_for(1)
    assert one.records == ["a"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rebalance_while_the_position_is_not_known(strategy: list[str]) -> None:  # trap 44, F 4f2e7fe
    group = Group({"t": 2}, partition_assignment_strategy=strategy)
    group.append("a", partition=0)
    group.append("b", partition=1)
    group.broker.faults.add(api=ApiKey.OFFSET_FETCH, times=None, error=ErrorCode.UNSTABLE_OFFSET_COMMIT)
    one = group.join()
    group.run_until(lambda: one.log)
    two = group.join()
    group.run_for(3)
    group.broker.faults.clear()
    group.settle()
    group.run_for(2)
    assert sorted(one.records + two.records) == ["a", "b"]
    assert (one.failures, two.failures) == ([], [])


def test_a_loss_in_the_middle_of_cooperative_giving_up() -> None:  # `apply` must not go on with an old assignment
    group, one = stable(**COOPERATIVE)
    two = until_told(group, one, PartitionsRevoked)
    put_out(group, one)
    one.go_on()
    group.run_for(0)
    assert one.membership.generation == -1
    assert T1 not in one.consumer.assignment
    group.settle()
    assert sorted(one.reading + two.reading) == [T0, T1]


def test_an_answer_after_everything_is_over() -> None:
    group, one = stable()
    until_told(group, one, PartitionsRevoked)
    event = one.event
    assert event is not None
    group.result(one.consumer.unsubscribe(group.now, timeout=2.0))
    assert one.consumer.assignment == []
    one.consumer.event_done(event, group.now)
    one.event, one.answers = None, True
    one.subscribe("t")
    group.settle()
    assert one.log == ["revoked t-0 t-1", "assigned t-1"]


def test_a_late_answer_to_a_loss_takes_nothing_away() -> None:  # lesson 20
    group, one = stable()
    one.answers = False
    put_out(group, one)
    group.run_until(lambda: isinstance(one.event, PartitionsLost))
    group.result(one.consumer.unsubscribe(group.now, timeout=2.0))
    one.subscribe("t")
    group.run_until(lambda: one.state is MemberState.STABLE)
    group.run_for(1)
    assert len(one.consumer.assignment) == 2
    one.go_on()
    group.settle()
    assert one.log == ["lost t-0 t-1", "assigned t-0 t-1"]


# ------------------------------------------------------------------------------- what is left behind by a rebalance


def test_nothing_of_an_earlier_assignment_is_used_again() -> None:  # lesson 20
    group, one = stable()
    one.consumer.pause([T0], group.now)
    one.consumer.seek(T1, 0, group.now)
    group.run_until(lambda: one.records == ["a1", "b1"])
    one.membership.rejoin("a test")
    group.run_until(lambda: len(one.log) == 2)
    group.settle()
    assert one.consumer.paused == []
    assert one.consumer.position(T1) == 2
    group.append("c0")
    group.run_until(lambda: "c0" in one.records)
    assert one.records == ["a1", "b1", "c0"]


def test_buffered_records_of_a_lost_partition_are_dropped() -> None:  # G21, lesson 20
    group, one = stable()
    one.sleep()
    group.append("c0")
    group.run_for(1)
    run = poll(group, one)
    put_out(group, one)
    assert next(run, None) is None
    one.wake()
    group.settle()
    group.run_for(1)
    assert one.records == ["c0"]


# ------------------------------------------------------------------------------------------------- reading to the end


def test_each_rebalance_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "dekaf.group")
    group, one = stable()
    member_id = one.membership.member_id
    assert f"group g: generation 1 as {member_id}, with 2 partitions (the consumer has subscribed)" in caplog.messages
    assert f"group g: generation 1 as {member_id} has ['t-0', 't-1']" in caplog.messages
    group.join()
    group.settle()
    assert "group g: rejoining, the group is rebalancing" in caplog.messages
    assert f"group g: generation 2 as {member_id}, with 1 partitions (the group is rebalancing)" in caplog.messages


def test_of_a_topic_that_has_just_been_created_the_end_is_not_reached() -> None:  # M5
    group = Group({"t": 1})
    group.append("a", "b")
    group.broker.faults.add(api=ApiKey.METADATA, topic="t", error=ErrorCode.LEADER_NOT_AVAILABLE, times=3)
    one = group.join()
    one.sleep()
    bound = group.result(one.consumer.until_end(group.now))
    values: list[str] = []
    while not isinstance(output := one.consumer.poll(group.now, bound), EndOfPartition):
        if isinstance(output, Rebalance):
            one.consumer.event_done(output, group.now)
        elif isinstance(output, FetchedRecords):
            values += [record.value.decode() for record in output]
        else:
            group.result(one.consumer.wait(group.now, None, bound))
    assert values == ["a", "b"]


@pytest.mark.parametrize("cause", ["a member that comes", "removed"])
def test_while_partitions_are_on_their_way_back_the_end_is_not_reached(cause: str) -> None:
    group, one = stable()
    bound = group.result(one.consumer.until_end(group.now))
    one.sleep()
    if cause == "removed":
        group.broker.expire_member("g", one.membership.member_id, group.now)
    else:
        group.append("c0", partition=0)
        group.append("c1", partition=1)
        bound = group.result(one.consumer.until_end(group.now))
        two = group.join()
    group.run_until(lambda: one.consumer._subscription.has_event)
    told: list[str] = []
    values: list[str] = []
    while not isinstance(output := one.consumer.poll(group.now, bound), EndOfPartition):
        if isinstance(output, Rebalance):
            told.append(NAMES[type(output)])
            one.consumer.event_done(output, group.now)
        elif isinstance(output, FetchedRecords):
            values += [record.value.decode() for record in output]
        else:
            assert output is None
            group.result(one.consumer.wait(group.now, None, bound))
    assert told == (["lost", "assigned"] if cause == "removed" else ["revoked", "assigned"])
    if cause != "removed":
        group.run_until(lambda: len(two.records) == 1)
        assert sorted(values + two.records) == ["c0", "c1"]


def test_what_a_member_has_claimed_and_lost_is_shared_out() -> None:
    # G23, G28, the simulator's seeds 231942 and 235648: the others are to get what a member said that it has when that
    # gives it up. But this one has lost it meanwhile, by the answer to its join.
    options: dict[str, Any] = {"partition_assignment_strategy": ["cooperative-sticky"], "max_poll_interval_ms": 5000}
    group = Group({"t": 4}, exclusive=False, session_timeout_ms=60_000, auto_commit_interval_ms=100, **options)
    one = group.join(group_instance_id="a")
    group.settle()
    before = group.broker.group("g").generation
    two = group.join()

    def is_told_to_join() -> bool:
        last = group.broker.requests[-1].request
        return isinstance(last, HeartbeatRequest) and group.broker.group("g").state is GroupState.PREPARING_REBALANCE

    group.run_until(is_told_to_join)
    group.network.freeze(one.consumer)  # it hears of it too late
    group.run_until(lambda: group.broker.group("g").generation == before + 1)
    group.network.freeze(two.consumer)  # which has not shared out anything yet
    told = len(one.log)
    group.network.thaw(one.consumer)
    group.run_until(lambda: group.broker.group("g").state is GroupState.PREPARING_REBALANCE)
    group.network.thaw(two.consumer)
    group.run_until(lambda: len(one.reading) == len(two.reading) == 2)
    assert one.log[told] == "lost t-0 t-1 t-2 t-3"
    assert sorted([*one.reading, *two.reading]) == [TopicPartition("t", number) for number in range(4)]


def test_a_static_member_that_missed_a_rebalance_has_lost_everything() -> None:
    # G28, the simulator's seed 58835: it is a member still, but what it had may have been another one's meanwhile.
    # If it committed for that, now that it is in the present generation, the coordinator would take it.
    options: dict[str, Any] = {"partition_assignment_strategy": ["cooperative-sticky"], "max_poll_interval_ms": 5000}
    group = Group({"t": 4}, exclusive=False, session_timeout_ms=60_000, auto_commit_interval_ms=100, **options)
    one = group.join()
    group.settle()
    two = group.join(group_instance_id="b")
    group.settle()
    had = two.reading
    for tp in had:
        group.append(*"abc", partition=tp.partition)
    group.run_for(0.05)
    before = group.broker.group("g").generation
    three = group.join()

    def is_told_to_join() -> bool:
        last = group.broker.requests[-1].request
        rebalancing = group.broker.group("g").state is GroupState.PREPARING_REBALANCE
        return rebalancing and isinstance(last, HeartbeatRequest) and last.group_instance_id == "b"

    group.run_until(is_told_to_join)
    group.network.freeze(two.consumer)  # it hears of it too late
    group.run_for(7)  # the others have waited for 5 s; in as many more it is put out
    assert group.broker.group("g").generation == before + 1
    taken = [tp for tp in had if tp in one.reading or tp in three.reading]
    assert taken
    assert "b" in [member.instance_id for member in group.broker.group("g").members]
    committed = group.broker.committed("g")
    assert {committed[tp].offset for tp in taken} == {3}
    told = len(two.log)
    group.network.thaw(two.consumer)
    group.settle()
    assert two.log[told] == " ".join(["lost", *names(had)])
    assert not any(line.startswith("revoked") for line in two.log[told:])
    assert group.broker.committed("g").items() >= {tp: committed[tp] for tp in taken}.items()
