"""The coordinator of the classic group protocol: who is in a group, and what it is told when."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dekaf_proto.broker import GroupState
from dekaf_proto.broker.membership import TRANSITIONS
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import (
    ApiKey,
    ConsumerProtocolAssignment,
    HeartbeatRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
)
from dekaf_proto.messages.consumer_protocol import ResponseTopicPartition
from dekaf_proto.messages.leave_group import MemberIdentity
from dekaf_proto.types import TopicPartition
from dekaf_proto.wire import encode
from tests.broker.members import RANGE, GroupPeer, Member, broker

EMPTY, PREPARING = GroupState.EMPTY, GroupState.PREPARING_REBALANCE
COMPLETING, STABLE = GroupState.COMPLETING_REBALANCE, GroupState.STABLE


def peer(nodes: int = 1, **options: int) -> GroupPeer:
    return GroupPeer(broker(nodes, **options))


def pair(group: GroupPeer) -> tuple[Member, Member]:
    """A stable group of two; the first one leads."""
    a, b = group.member(), group.member()
    group.stable(a, b)
    return a, b


# --------------------------------------------------------------------------------------------------- join and sync


@pytest.mark.parametrize("version", range(10))
def test_one_member_gets_an_assignment(version: int) -> None:  # G8, G9, G11
    group = peer()
    assert group.view().state is GroupState.DEAD
    a = group.member(version=version)
    joined = a.join()
    assert joined is not None
    assert (joined.error_code, joined.generation_id, joined.protocol_name) == (0, 1, "range")
    assert joined.protocol_type == ("consumer" if version >= 7 else None)
    assert (joined.leader, joined.member_id) == (a.id, a.id)
    assert [(m.member_id, m.metadata) for m in joined.members] == [(a.id, b"r")]
    assert not joined.skip_assignment
    assert group.view().state is COMPLETING
    synced = a.sync({a.id: b"all"})
    assert synced is not None
    assert (synced.error_code, synced.assignment) == (0, b"all")
    found = group.view()
    assert (found.state, found.generation, found.protocol_type, found.protocol) == (STABLE, 1, "consumer", "range")
    assert (found.leader, found.member(a.id).assignment, found.member(a.id).protocols) == (a.id, b"all", ("range",))
    assert a.heartbeat() == 0
    assert a.commit(5) == 0
    assert a.leave() == 0
    assert (group.view().state, group.view().generation, group.view().members) == (EMPTY, 2, ())
    assert a.leave() == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_dynamic_member_gets_its_id_first() -> None:  # G10
    group = peer()
    a = group.member(version=4)
    a.send_join()
    first = a.receive_join()
    assert (first.error_code, first.generation_id, first.leader) == (ErrorCode.MEMBER_ID_REQUIRED, -1, "")
    assert a.id.startswith("peer-")
    assert group.view().pending == (a.id,)
    a.send_join()
    assert a.receive_join().member_id == a.id
    assert group.view().pending == ()
    for version, instance in ((3, None), (9, "i")):
        other = group.member(instance, version=version)
        other.send_join()
        assert other.joined is None  # it waits for the first one
    assert group.view().member("i").member_id.startswith("i-")
    with pytest.raises(KeyError):
        group.view().member("j")


def test_a_second_member_starts_a_rebalance() -> None:
    group = peer()
    a, b = group.member(), group.member()
    group.stable(a)
    assert b.join() is None
    assert group.view().state is PREPARING
    assert [m.joining for m in group.view().members] == [False, True]
    assert a.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
    assert a.commit() == 0  # G25
    leaders = a.join()
    followers = b.joined
    assert leaders is not None
    assert followers is not None
    assert [m.member_id for m in leaders.members] == [a.id, b.id]
    assert (followers.leader, followers.members) == (a.id, [])  # G11
    assert (followers.generation_id, leaders.generation_id) == (2, 2)
    assert b.sync() is None
    assert a.sync({a.id: b"1", b.id: b"2"}) is not None
    assert b.receive_sync().assignment == b"2"


def test_who_gets_no_assignment_gets_an_empty_one() -> None:
    group = peer()
    a, b = group.member(), group.member()
    group.stable(a)
    b.join()
    a.join()
    b.receive_join()
    a.sync({a.id: b"1"})
    synced = b.sync()  # the group is stable already
    assert synced is not None
    assert (synced.error_code, synced.assignment) == (0, b"")
    assert group.view().state is STABLE


def test_the_state_of_completing() -> None:  # G14, G25
    group = peer()
    a, b = pair(group)
    old = a.generation
    a.join()
    b.join()
    a.receive_join()
    assert group.view().state is COMPLETING
    assert a.heartbeat() == 0
    assert a.commit() == ErrorCode.REBALANCE_IN_PROGRESS
    a.generation = old
    assert a.commit() == a.heartbeat() == ErrorCode.ILLEGAL_GENERATION
    synced = a.sync()
    assert synced is not None
    assert (synced.error_code, synced.assignment) == (ErrorCode.ILLEGAL_GENERATION, b"")


def test_a_rebalance_in_the_middle_of_another() -> None:
    group = peer()
    a, b = pair(group)
    a.join()
    b.join()
    a.receive_join()
    assert b.sync() is None
    c = group.member()
    assert c.join() is None
    assert b.receive_sync().error_code == ErrorCode.REBALANCE_IN_PROGRESS
    late = a.sync()
    assert late is not None
    assert late.error_code == ErrorCode.REBALANCE_IN_PROGRESS
    group.stable(a, b, c)
    assert [m.assignment for m in group.view().members] == [b"0", b"1", b"2"]


def test_a_rebalance_has_its_own_time() -> None:
    group = peer()
    a, b = group.member(session=100, rebalance=30), group.member(session=100, rebalance=30)
    group.stable(a, b)
    a.join()
    b.join()
    a.receive_join()
    group.pass_time(20)
    assert a.join() is not None  # nothing new
    a.protocols = (("range", b"new"),)
    assert a.join() is None
    group.pass_time(29.999)  # the end of the wait for SyncGroups would have been before
    assert [m.member_id for m in group.view().members] == [a.id, b.id]
    assert a.joined is None
    group.pass_time(0.001)
    assert [m.member_id for m in a.receive_join().members] == [a.id]


def test_a_join_without_a_reason() -> None:
    group = peer()
    a, b = pair(group)
    answer = b.join()  # a follower with nothing new
    assert answer is not None
    assert (answer.generation_id, answer.members, group.view().state) == (a.generation, [], STABLE)
    assert a.join() is None  # the leader wants another assignment
    assert group.view().state is PREPARING
    b.join()
    a.receive_join()
    again = a.join()  # it has missed the answer
    assert again is not None
    assert (again.generation_id, len(again.members), group.view().state) == (b.generation, 2, COMPLETING)
    b.protocols = (("range", b"other"),)
    assert b.join() is None
    assert group.view().state is PREPARING
    a.join()
    group.stable(a, b)
    b.protocols = RANGE
    assert b.join() is None
    assert group.view().state is PREPARING


def test_the_last_join_of_a_member_is_answered() -> None:
    group = peer()
    a, b = pair(group)
    a.join()
    a.protocols = (("range", b"new"),)
    assert a.join() is None
    b.join()
    assert [m.metadata for m in a.receive_join().members] == [b"new", b"r"]


# -------------------------------------------------------------------------------------------------------- protocols


@pytest.mark.parametrize(
    "lists, chosen",
    [
        (["xy", "xy"], "x"),
        (["xy", "yx", "yx"], "y"),
        (["xy", "yx"], "x"),  # a draw: the first member's order
        (["xyz", "zy", "y"], "y"),
        (["xyz", "zyx", "zy"], "z"),
    ],
)
def test_members_vote_for_the_protocol(lists: list[str], chosen: str) -> None:
    group = peer()
    members = [group.member(protocols=[(name, name.encode()) for name in names]) for names in lists]
    group.stable(*members)
    assert group.view().protocol == chosen
    for member in members:
        member.join()
    assert {member.metadata for member in members[0].receive_join().members} == {chosen.encode()}


def test_nothing_in_common() -> None:  # 23, live
    group = peer()
    a = group.member()
    for other in (group.member(protocols=[]), group.member(protocol_type="")):
        answer = other.join()
        assert answer is not None
        assert (answer.error_code, answer.protocol_name) == (ErrorCode.INCONSISTENT_GROUP_PROTOCOL, None)
    group.stable(a)
    for other in (group.member(protocols=[("x", b"")]), group.member(protocol_type="connect")):
        answer = other.join()
        assert answer is not None
        assert answer.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    a.protocols = [("x", b"")]
    answer = a.join()
    assert answer is not None
    assert (answer.error_code, answer.member_id) == (ErrorCode.INCONSISTENT_GROUP_PROTOCOL, a.id)
    old = group.member(version=6, protocols=[])
    answer = old.join()
    assert answer is not None
    assert answer.protocol_name == ""


def test_sync_names_another_protocol() -> None:  # G12
    group = peer()
    a = group.member()
    a.join()
    for protocol_type, protocol in (("connect", ""), ("consumer", "sticky"), (None, ""), ("consumer", None)):
        answer = a.sync({}, protocol_type=protocol_type, protocol=protocol)
        assert answer is not None
        assert answer.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    answer = a.sync({a.id: b"x"}, protocol_type="consumer", protocol="range")
    assert answer is not None
    assert (answer.error_code, answer.protocol_type, answer.protocol_name) == (0, "consumer", "range")


# ----------------------------------------------------------------------------------------------------------- limits


def test_session_timeouts_have_limits() -> None:  # 26, live
    group = peer()
    for session in (5.999, 1800.001):
        answer = group.member(session=session).join()
        assert answer is not None
        assert answer.error_code == ErrorCode.INVALID_SESSION_TIMEOUT
    assert group.view().state is GroupState.DEAD
    for session in (6.0, 1800.0):
        group.member(session=session).send_join()
    assert len(group.view().pending) == 2
    short = peer(min_session_timeout_ms=10)
    assert short.member(session=0.01).join() is not None


def test_a_group_has_a_size() -> None:  # 81
    group = peer(max_size=2)
    a, b = pair(group)
    c = group.member()
    answer = c.join()
    assert answer is not None
    assert (answer.error_code, answer.member_id) == (ErrorCode.GROUP_MAX_SIZE_REACHED, "")
    assert group.view().state is STABLE
    assert a.join() is None  # a member may
    d, e = group.member(), group.member()
    d.send_join()
    e.send_join()
    assert (d.receive_join().error_code, e.receive_join().error_code) == (79, 79)
    d.send_join()  # the second of two that wait
    e.send_join()
    assert e.receive_join().error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    assert group.view().pending == ()
    b_answer = b.join()  # too late: that makes room for the others
    assert b_answer is not None
    assert b_answer.error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    assert [m.member_id for m in group.view().members] == [a.id, d.id]
    assert group.view().state is COMPLETING


# --------------------------------------------------------------------------------------------------- members that go


def test_sessions_end() -> None:  # G19, G20
    group = peer()
    a, b = pair(group)
    group.pass_time(6)
    assert a.heartbeat() == 0
    assert b.commit() == 0
    group.pass_time(6)
    assert a.heartbeat() == 0
    group.pass_time(3.999)
    assert (group.view().state, len(group.view().members)) == (STABLE, 2)
    group.pass_time(0.001)
    assert [m.member_id for m in group.view().members] == [a.id]
    assert group.view().state is PREPARING
    assert b.heartbeat() == b.commit() == ErrorCode.UNKNOWN_MEMBER_ID
    group.pass_time(10)
    assert (group.view().state, group.view().generation) == (EMPTY, a.generation + 1)
    assert a.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID
    assert group.broker.next_deadline() is not None  # of idle connections


def test_the_leader_goes() -> None:
    group = peer()
    a, b = pair(group)
    assert a.leave() == 0
    assert group.view().leader == b.id
    assert b.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
    joined = b.join()
    assert joined is not None
    assert (joined.leader, [m.member_id for m in joined.members]) == (b.id, [b.id])


def test_who_waits_is_not_forgotten() -> None:
    group = peer()
    a, b, c = group.member(), group.member(), group.member(session=50, rebalance=40)
    group.stable(a, b, c)
    a.join()
    b.join()
    group.pass_time(39)  # more than two sessions
    assert len(group.view().members) == 3
    c.join()
    a.receive_join()
    b.sync()
    group.pass_time(10)  # b waits for its assignment, a is dead, c has a longer session
    assert [m.member_id for m in group.view().members] == [b.id, c.id]
    assert b.receive_sync().error_code == ErrorCode.REBALANCE_IN_PROGRESS


def test_who_waits_for_its_assignment_is_not_forgotten() -> None:
    group = peer()
    a, b = pair(group)
    b.protocols = (("range", b"new"),)
    b.join()
    a.join()
    assert b.sync() is None
    for _ in range(3):
        group.pass_time(9)
        assert a.heartbeat() == 0
    a.sync({b.id: b"late"})
    assert b.receive_sync().assignment == b"late"


def test_the_rebalance_timeout_ends_the_wait_for_members() -> None:
    group = peer()
    a, b = group.member(rebalance=20, session=100), group.member(rebalance=30, session=100)
    group.stable(a, b)
    assert b.join() is not None
    a.join()
    group.pass_time(29.999)
    assert a.joined is None
    group.pass_time(0.001)
    assert a.receive_join().error_code == 0
    assert [m.member_id for m in group.view().members] == [a.id]
    answer = b.join()
    assert answer is not None
    assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_another_leader_if_the_leader_does_not_come() -> None:
    group = peer()
    a, b = group.member("one", session=1000, rebalance=30), group.member(session=1000, rebalance=30)
    group.stable(a, b)
    b.protocols = (("range", b"new"),)
    assert b.join() is None
    group.pass_time(30)
    joined = b.receive_join()
    assert (joined.leader, [m.member_id for m in joined.members]) == (b.id, [a.id, b.id])  # static members stay
    b.sync()
    group.pass_time(30)  # but they have to ask for their assignment
    assert [m.member_id for m in group.view().members] == [b.id]
    assert group.view().state is PREPARING


def test_nobody_comes_but_static_members_stay() -> None:
    group = peer()
    a, b = group.member("one", session=1000, rebalance=30), group.member("two", session=1000, rebalance=30)
    group.stable(a, b)
    c = group.member(session=1000, rebalance=30)
    assert c.join() is None
    assert c.leave() == 0
    assert c.receive_join().error_code == ErrorCode.UNKNOWN_MEMBER_ID
    group.pass_time(100)
    assert (group.view().state, len(group.view().members), group.view().generation) == (PREPARING, 2, 2)
    b.join()
    a.join()
    assert b.receive_join().generation_id == 3


def test_who_does_not_sync_is_out() -> None:
    group = peer()
    a, b = group.member(rebalance=30, session=100), group.member(rebalance=30, session=100)
    group.stable(a, b)
    group.pass_time(50)
    assert a.heartbeat() == 0
    a.join()
    b.join()
    a.receive_join()
    a.sync({})
    assert group.view().state is STABLE
    group.pass_time(29.999)
    assert len(group.view().members) == 2
    group.pass_time(0.001)
    assert [m.member_id for m in group.view().members] == [a.id]
    assert (group.view().state, a.heartbeat()) == (PREPARING, ErrorCode.REBALANCE_IN_PROGRESS)


def test_a_new_member_waits_only_so_long() -> None:
    group = peer(new_member_join_timeout_ms=20_000)
    a = group.member(session=100, rebalance=100)
    group.stable(a)
    b = group.member()
    assert b.join() is None
    group.pass_time(19.999)
    assert len(group.view().members) == 2
    group.pass_time(0.001)
    assert b.receive_join().error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert [m.member_id for m in group.view().members] == [a.id]


def test_an_id_that_is_not_used_is_forgotten() -> None:
    group = peer()
    a, b = group.member(session=100), group.member(session=20)
    group.stable(a)
    b.send_join()
    b.receive_join()
    assert a.join() is None  # b is waited for
    group.pass_time(20)
    assert a.receive_join().error_code == 0
    answer = b.join()
    assert answer is not None
    assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID
    b.id = ""
    b.send_join()
    b.receive_join()
    a.sync({})
    assert a.join() is None
    assert b.leave() == 0  # an id can be given back
    assert a.receive_join().error_code == 0
    a.sync({})
    c = group.member()
    c.send_join()
    c.receive_join()
    assert c.leave() == 0
    assert group.view().state is STABLE


def test_ids_are_forgotten_each_in_its_time() -> None:
    group = peer()
    slow, quick = group.member(session=30), group.member(session=20)
    slow.send_join()
    quick.send_join()
    group.pass_time(20)
    assert group.view().pending == (slow.receive_join().member_id,)


def test_all_go_while_an_id_is_given_out() -> None:
    group = peer()
    a, b = group.member(), group.member()
    group.stable(a)
    b.send_join()
    b.receive_join()
    a.leave()
    assert (group.view().state, group.view().leader) == (PREPARING, "")
    assert b.join() is not None
    assert (group.view().state, group.view().leader) == (COMPLETING, b.id)


def test_several_leave_at_once() -> None:
    group = peer()
    a, b = pair(group)
    c = group.member("one")
    c.join()
    group.stable(a, b, c)
    members = [MemberIdentity(a.id), MemberIdentity("", "one"), MemberIdentity("x"), MemberIdentity("", "two")]
    response = group.ask(LeaveGroupRequest("g", members=members), 5)
    assert [(m.member_id, m.group_instance_id, m.error_code) for m in response.members] == [
        (a.id, None, 0),
        ("", "one", 0),
        ("x", None, ErrorCode.UNKNOWN_MEMBER_ID),
        ("", "two", ErrorCode.UNKNOWN_MEMBER_ID),
    ]
    assert [m.member_id for m in group.view().members] == [b.id]


def test_nobody_leaves_a_group_that_there_is_not() -> None:  # each member is told, not the request
    members = [MemberIdentity("x"), MemberIdentity("", "one")]
    response = peer().ask(LeaveGroupRequest("nowhere", members=members), 5)
    assert (response.error_code, [m.error_code for m in response.members]) == (0, [ErrorCode.UNKNOWN_MEMBER_ID] * 2)
    assert peer().ask(LeaveGroupRequest("nowhere", "x"), 2).error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_one_that_waits_for_its_assignment_is_put_out() -> None:
    group = peer()
    a, b = pair(group)
    a.join()
    b.join()
    a.receive_join()
    b.sync()
    assert b.leave() == 0
    assert b.receive_sync().error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert group.view().state is PREPARING


def test_a_program_puts_a_member_out() -> None:
    group = peer()
    a, b = pair(group)
    group.broker.expire_member("g", b.id, group.now)
    assert [m.member_id for m in group.view().members] == [a.id]
    assert b.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID
    with pytest.raises(KeyError):
        group.broker.expire_member("g", b.id, group.now)
    with pytest.raises(KeyError):
        group.broker.expire_member("h", b.id, group.now)


# ------------------------------------------------------------------------------------------------------ the first wait


def test_the_first_rebalance_waits_for_more_members() -> None:
    group = peer(initial_rebalance_delay_ms=3000)
    a, b = group.member(), group.member()
    assert a.join() is None
    group.pass_time(2)
    assert b.join() is None
    group.pass_time(1)  # somebody has come: once more
    assert group.view().state is PREPARING
    group.pass_time(2.999)
    assert a.joined is None
    group.pass_time(0.001)
    assert len(a.receive_join().members) == 2
    assert b.receive_join().generation_id == 1
    c = group.member()
    c.join()
    a.join()
    b.join()
    assert c.receive_join().error_code == 0  # only the first one


def test_the_first_wait_is_at_most_the_rebalance_timeout() -> None:
    group = peer(initial_rebalance_delay_ms=3000)
    a = group.member(rebalance=5)
    assert a.join() is None
    for _ in range(4):
        group.pass_time(1)
        other = group.member(rebalance=5)
        other.join()
        assert other.joined is None
    group.pass_time(1)
    assert len(a.receive_join().members) == 5


def test_nobody_is_left_after_the_first_wait() -> None:
    group = peer(initial_rebalance_delay_ms=3000)
    a = group.member()
    a.join()
    a.id = group.view().members[0].member_id
    assert a.leave() == 0
    assert group.view().state is PREPARING
    group.pass_time(3)
    assert (group.view().state, group.view().generation) == (EMPTY, 1)


# ---------------------------------------------------------------------------------------------------- static members


def restarted(group: GroupPeer, old: Member) -> Member:
    """The same instance, in a new process."""
    return group.member(old.instance, version=old.version)


def test_a_static_member_comes_back() -> None:  # G28
    group = peer()
    a, b = group.member(), group.member("one")
    group.stable(a, b)
    again = restarted(group, b)
    joined = again.join()
    assert joined is not None
    assert (joined.error_code, joined.generation_id, joined.leader) == (0, b.generation, a.id)
    assert again.id not in ("", b.id)
    assert not joined.skip_assignment
    assert group.view().state is STABLE
    synced = again.sync()
    assert synced is not None
    assert (synced.error_code, synced.assignment) == (0, b"1")
    assert b.heartbeat() == b.commit() == b.leave() == ErrorCode.FENCED_INSTANCE_ID
    fenced = b.sync()
    assert fenced is not None
    assert fenced.error_code == ErrorCode.FENCED_INSTANCE_ID
    wrong = b.join()
    assert wrong is not None
    assert (wrong.error_code, wrong.member_id) == (ErrorCode.FENCED_INSTANCE_ID, b.id)
    assert again.heartbeat() == 0
    stranger = group.member("two")
    stranger.id, stranger.generation = again.id, again.generation
    assert stranger.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID
    group.pass_time(10)
    assert group.view().members == ()


@pytest.mark.parametrize("version", [5, 8, 9])
def test_a_static_member_comes_back_and_does_not_sync(version: int) -> None:
    group = peer()
    a, b = group.member(session=100), group.member("one", session=100, version=version)
    group.stable(a, b)
    a.join()
    b.join()
    a.receive_join()
    a.sync({})
    again = restarted(group, b)
    again.session = 100
    again.join()
    group.pass_time(60)
    assert [m.member_id for m in group.view().members] == [a.id]
    assert group.view().state is PREPARING


@pytest.mark.parametrize("version", [5, 8, 9])
def test_the_leader_comes_back(version: int) -> None:  # G13
    group = peer()
    a, b = group.member("one", version=version), group.member()
    group.stable(a, b)
    again = restarted(group, a)
    joined = again.join()
    assert joined is not None
    assert group.view().leader == again.id
    if version >= 9:
        assert (joined.leader, joined.skip_assignment) == (again.id, True)
        assert [m.member_id for m in joined.members] == [again.id, b.id]
    else:
        assert (joined.leader, joined.skip_assignment, joined.members) == (a.id, False, [])
    synced = again.sync({})
    assert synced is not None
    assert (synced.assignment, group.view().state) == (b"0", STABLE)


def test_a_static_member_comes_back_with_other_protocols() -> None:
    group = peer()
    a = group.member("one", protocols=[("x", b""), ("y", b"")])
    group.stable(a)
    again = restarted(group, a)
    again.protocols = [("y", b"")]
    joined = again.join()
    assert joined is not None
    assert (joined.generation_id, joined.protocol_name, group.view().state) == (2, "y", COMPLETING)


def test_a_static_member_comes_back_in_a_rebalance() -> None:
    group = peer()
    a, b = group.member(), group.member("one")
    group.stable(a, b)
    a.join()
    b.protocols = (("range", b"new"),)
    a.protocols = b.protocols
    assert group.view().state is PREPARING
    b.join()
    a.receive_join()
    b.sync()
    again = restarted(group, b)
    assert again.join() is None  # its old id may be in the assignment that is being made
    assert b.receive_sync().error_code == ErrorCode.FENCED_INSTANCE_ID
    assert group.view().state is PREPARING
    once_more = restarted(group, b)
    assert once_more.join() is None
    assert again.receive_join().error_code == ErrorCode.FENCED_INSTANCE_ID
    a.join()
    assert once_more.receive_join().error_code == 0
    assert group.view().state is COMPLETING


# ------------------------------------------------------------------------------------------------------ other nodes


def test_another_coordinator_knows_the_last_generation() -> None:  # G4
    group = peer(2)
    a, b = group.member(), group.member("one", protocols=[("x", b""), *RANGE])
    group.stable(a, b)
    assert a.commit(7) == 0
    before = group.view()
    group.broker.move_coordinator("g", 1, group.now)
    assert a.heartbeat() == a.commit() == a.leave() == ErrorCode.NOT_COORDINATOR
    for answer in (a.join(), a.sync()):
        assert answer is not None
        assert answer.error_code == ErrorCode.NOT_COORDINATOR
    a.node = b.node = 1
    assert a.heartbeat() == b.heartbeat() == 0
    after = group.view()
    assert (after.state, after.generation, after.leader) == (STABLE, before.generation, before.leader)
    assert [m.assignment for m in after.members] == [b"0", b"1"]
    assert after.member("one").protocols == ("range",)  # only the chosen one is written down
    assert b.join() is None  # so that even a follower without news starts a rebalance
    assert a.commit(8) == 0
    assert group.broker.committed("g")[TopicPartition("t", 0)].offset == 8
    group.pass_time(10)
    assert [m.member_id for m in group.view().members] == [b.id]


def test_a_rebalance_that_another_coordinator_knows_nothing_of() -> None:
    group = peer(2)
    a, b = pair(group)
    a.join()
    c = group.member()
    c.join()
    group.broker.move_coordinator("g", 1, group.now)
    for member in (a, c):
        joined = member.receive_join()
        assert (joined.error_code, joined.member_id) == (ErrorCode.NOT_COORDINATOR, member.id)
        member.node = 1
    b.node = 1
    answer = c.join()
    assert answer is not None
    assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert (b.heartbeat(), group.view().generation) == (0, b.generation)
    lost = b.generation + 1
    a.join()
    b.join()
    assert (a.receive_join().generation_id, b.generation) == (lost, lost)
    assert b.sync() is None
    group.broker.move_coordinator("g", 0, group.now)
    assert b.receive_sync().error_code == ErrorCode.NOT_COORDINATOR
    a.node = b.node = 0
    assert a.heartbeat() == ErrorCode.ILLEGAL_GENERATION
    assert group.view().generation == lost - 1
    assert a.join() is None
    b.join()
    assert a.receive_join().generation_id == lost  # used a second time


def test_another_coordinator_knows_who_came_back() -> None:
    group = peer(2)
    a, b = group.member(), group.member("one")
    group.stable(a, b)
    again = restarted(group, b)
    again.join()
    group.broker.move_coordinator("g", 1, group.now)
    b.node = again.node = 1
    assert (again.heartbeat(), b.heartbeat()) == (0, ErrorCode.FENCED_INSTANCE_ID)


def test_another_coordinator_does_not_know_ids_that_were_given_out() -> None:
    group = peer(2)
    a, b = group.member(), group.member()
    group.stable(a)
    b.send_join()
    b.receive_join()
    group.broker.move_coordinator("g", 1, group.now)
    b.node = 1
    answer = b.join()
    assert answer is not None
    assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_coordinator_that_knows_nothing() -> None:
    group = peer(2)
    a = group.member()
    a.join()
    a.send_join()
    group.broker.move_coordinator("g", 1)
    assert group.view().state is EMPTY
    a.node = 1
    assert a.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID
    a.id = ""
    group.stable(a)
    a.leave()
    group.broker.move_coordinator("g", 0)
    assert (group.view().state, group.view().generation) == (EMPTY, 2)


def test_loading_takes_time() -> None:  # G3
    group = peer(2)
    a = group.member()
    group.stable(a)
    group.broker.move_coordinator("g", 1, group.now, load_ms=4000)
    a.node = 1
    assert a.heartbeat() == 0  # Kafka says so
    assert a.commit() == a.leave() == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    joined, synced = a.join(), a.sync()
    assert joined is not None
    assert synced is not None
    assert (joined.error_code, joined.member_id) == (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, a.id)
    assert synced.error_code == ErrorCode.REBALANCE_IN_PROGRESS
    group.pass_time(4)
    assert a.commit() == 0
    group.broker.move_coordinator("g", 1, group.now, load_ms=4000)  # it is that one already
    assert a.commit() == 0


def test_the_coordinator_stops_and_comes_back() -> None:
    group = peer(2, coordinator_load_ms=1000)
    a = group.member()
    group.stable(a)
    group.broker.stop_node(0, group.now)
    group.drain()
    a.node = 1
    assert a.commit() == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    group.pass_time(1)
    assert a.commit() == 0
    group.broker.start_node(0, group.now)
    group.drain()
    assert a.commit() == ErrorCode.NOT_COORDINATOR
    group.broker.stop_node(0, group.now)
    group.broker.stop_node(1, group.now)
    group.pass_time(100)
    assert group.view().state is STABLE  # nobody is there to say otherwise
    group.broker.start_node(1, group.now)
    group.drain()
    group.pass_time(10.999)
    assert group.view().state is STABLE
    group.pass_time(0.001)
    assert group.view().state is EMPTY


def test_another_node_stops() -> None:
    group = peer(2)
    a, b = pair(group)
    a.join()
    group.broker.stop_node(1, group.now)
    assert group.view().state is PREPARING  # it goes on
    b.join()
    assert a.receive_join().error_code == 0


def test_a_coordinator_that_stands_still_ends_no_session() -> None:
    group = peer()
    a = group.member()
    group.stable(a)
    group.broker.pause_node(0, group.now)
    group.pass_time(50)
    assert group.view().state is STABLE
    group.broker.resume_node(0, group.now)
    group.pass_time(0)
    assert group.view().state is EMPTY


# ------------------------------------------------------------------------------------------------------------- others


def test_commits_of_those_who_are_in_no_group() -> None:  # P4
    group = peer()
    nobody = group.member()
    assert nobody.commit() == 0
    a = group.member()
    group.stable(a)
    assert nobody.commit() == ErrorCode.UNKNOWN_MEMBER_ID
    a.generation = -1
    assert a.commit() == ErrorCode.ILLEGAL_GENERATION
    a.leave()
    assert nobody.commit() == 0


def test_groups_that_do_not_exist() -> None:
    group = peer()
    a = group.member()
    a.id = "x"
    assert a.heartbeat() == a.leave() == ErrorCode.UNKNOWN_MEMBER_ID
    joined, synced = a.join(), a.sync()
    assert joined is not None
    assert synced is not None
    assert (joined.error_code, synced.error_code) == (ErrorCode.UNKNOWN_MEMBER_ID,) * 2
    assert group.view().state is GroupState.DEAD
    assert group.ask(HeartbeatRequest(""), 4).error_code == ErrorCode.INVALID_GROUP_ID
    assert group.ask(LeaveGroupRequest(""), 5).error_code == ErrorCode.INVALID_GROUP_ID
    assert (
        group.ask(SyncGroupRequest("", protocol_type="consumer", protocol_name="range"), 5).error_code
        == ErrorCode.INVALID_GROUP_ID
    )


@pytest.mark.parametrize("api", [ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP, ApiKey.HEARTBEAT, ApiKey.LEAVE_GROUP])
def test_errors_on_order(api: ApiKey) -> None:
    group = peer()
    a = group.member("one")
    group.stable(a)
    before = group.view()
    fault = group.broker.faults.add(api=api, error=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    asked: dict[ApiKey, Callable[[], object]] = {
        ApiKey.JOIN_GROUP: a.join,
        ApiKey.SYNC_GROUP: a.sync,
        ApiKey.HEARTBEAT: a.heartbeat,
        ApiKey.LEAVE_GROUP: a.leave,
    }
    found = asked[api]()
    assert getattr(found, "error_code", found) == ErrorCode.GROUP_AUTHORIZATION_FAILED
    assert (fault.hits, group.view()) == (1, before)


def test_what_is_assigned_can_be_read() -> None:  # G5, G7
    group = peer()
    a = group.member()
    a.join()
    topics = [ResponseTopicPartition("t", [1]), ResponseTopicPartition("s", [0]), ResponseTopicPartition("t", [0])]
    written = encode(ConsumerProtocolAssignment(topics), 3)
    a.sync({a.id: b"\x00\x03" + written})
    expected = [TopicPartition("s", 0), TopicPartition("t", 0), TopicPartition("t", 1)]
    assert group.view().member(a.id).partitions == expected
    b = group.member()
    b.join()
    assert group.view().members[1].partitions == []


def test_the_table_of_states() -> None:
    assert set(TRANSITIONS) == {EMPTY, PREPARING, COMPLETING, STABLE}
    group = peer()
    a = group.member()
    group.stable(a)
    with pytest.raises(AssertionError, match="STABLE"):
        group.broker.cluster.groups["g"]._enter(COMPLETING)


def test_the_same_calls_give_the_same_ids() -> None:
    ids = []
    for _ in range(2):
        group = peer()
        a = group.member()
        group.stable(a)
        ids.append(a.id)
    assert ids[0] == ids[1]
