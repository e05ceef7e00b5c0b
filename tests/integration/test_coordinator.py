"""The scripted broker's group coordinator and Kafka's: the same requests, the same answers.

Each scenario is a list of what was seen; member ids, which are random, are left out. What does not come within a moment
is taken to wait.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import DescribeGroupsRequest, JoinGroupResponse, SyncGroupResponse
from tests.broker.members import GroupPeer, Member, Members, broker
from tests.integration.kafka import KafkaCluster
from tests.integration.wire import Wire

OTHER = (("range", b"other"),)


def joined(member: Member, answer: JoinGroupResponse | None) -> object:
    """What matters of an answer to a JoinGroup."""
    if answer is None:
        return "waits"
    return (
        ErrorCode(answer.error_code).name,
        answer.generation_id,
        answer.protocol_name,
        answer.leader == answer.member_id != "",
        answer.leader == "",
        answer.member_id == "",
        sorted((m.group_instance_id or "", m.metadata) for m in answer.members),
        answer.skip_assignment,
    )


def synced(answer: SyncGroupResponse | None) -> object:
    return "waits" if answer is None else (ErrorCode(answer.error_code).name, answer.protocol_name, answer.assignment)


def stable(*members: Member) -> list[object]:
    """All join, one after the other, and sync; the first one leads."""
    seen: list[object] = []
    first = members[0]
    seen.append(joined(first, first.join()))
    for member in members[1:]:
        seen.append(joined(member, member.join()))
        if member.generation < 0:
            seen.append(joined(first, first.join()))
            seen += [joined(other, other.join()) for other in members[1:] if other is not member and other.id]
            seen.append(joined(member, member.joined))
            seen.append(joined(first, first.joined))
            seen += [synced(other.sync()) for other in members if other.id and other is not first]
            seen.append(synced(first.sync({other.id: b"%d" % n for n, other in enumerate(members)})))
    seen.append(synced(first.sync({other.id: b"%d" % n for n, other in enumerate(members)})))
    return seen


def a_pair(group: Members) -> list[object]:
    a, b = group.member(), group.member()
    seen = stable(a, b)
    seen += [a.heartbeat(), b.heartbeat(), a.commit(), b.commit()]
    seen += [b.leave(), a.heartbeat(), joined(a, a.join()), synced(a.sync({a.id: b"x"})), a.leave(), a.leave()]
    return seen


def in_each_state(group: Members) -> list[object]:
    a, b, c = group.member(), group.member(), group.member()
    seen = stable(a, b)
    seen += [joined(b, b.join()), joined(a, a.join())]  # nothing new; the leader
    seen += [a.heartbeat(), b.heartbeat(), b.commit(), synced(b.sync())]  # PreparingRebalance
    seen += [joined(b, b.join()), joined(a, a.joined)]
    seen += [a.heartbeat(), a.commit(), joined(b, b.join()), joined(a, a.join())]  # CompletingRebalance
    a.generation -= 1
    seen += [a.heartbeat(), a.commit(), synced(a.sync())]
    a.generation += 1
    seen += [synced(b.sync()), joined(c, c.join()), synced(b.synced), synced(a.sync())]
    seen += [joined(b, b.join()), joined(a, a.join()), joined(c, c.joined), joined(b, b.joined)]
    seen += [synced(a.sync({a.id: b"1"})), synced(b.sync()), synced(c.sync())]  # Stable
    b.protocols = OTHER
    seen += [joined(b, b.join()), a.heartbeat()]
    return seen


def strangers(group: Members) -> list[object]:
    a = group.member()
    a.id = "nobody"
    seen: list[object] = [a.heartbeat(), a.leave(), joined(a, a.join()), synced(a.sync())]
    a.generation = 3
    seen.append(a.commit())
    nobody = group.member()
    seen.append(nobody.commit())
    b = group.member()
    seen += stable(b)
    seen += [nobody.commit(), a.heartbeat(), a.leave(), a.commit(), joined(a, a.join()), synced(a.sync())]
    b.generation = -1
    seen.append(b.commit())
    return seen


def what_is_refused(group: Members) -> list[object]:
    seen: list[object] = []
    for other in (
        group.member(session=0.0),
        group.member(session=1800.001),
        group.member(protocols=[]),
        group.member(protocol_type=""),
    ):
        seen.append(joined(other, other.join()))
    a = group.member(protocols=[("x", b""), ("y", b"")])
    seen += stable(a)
    for other in (group.member(), group.member(protocols=[("x", b"")], protocol_type="connect")):
        seen.append(joined(other, other.join()))
    seen += [synced(a.sync({}, protocol="y")), synced(a.sync({}, protocol_type="connect"))]
    seen += [synced(a.sync({}, protocol_type="consumer", protocol="x"))]
    a.protocols = [("z", b"")]
    seen.append(joined(a, a.join()))
    return seen


def votes(group: Members) -> list[object]:
    members = [group.member(protocols=[(name, name.encode()) for name in names]) for names in ("xyz", "zyx", "zy")]
    return stable(*members)


def ids_in_two_steps(group: Members) -> list[object]:
    a, b = group.member(), group.member()
    seen = stable(a)
    b.send_join()
    seen += [joined(b, b.joined), a.heartbeat(), b.leave(), joined(b, b.join())]
    old = group.member(version=3)
    seen.append(joined(old, old.join()))
    return seen


def again(group: Members, old: Member) -> Member:
    return group.member(old.instance, protocols=old.protocols, version=old.version)


def statics(group: Members) -> list[object]:
    a, b = group.member(), group.member("one")
    seen = stable(a, b)
    new = again(group, b)
    seen += [joined(new, new.join()), synced(new.sync()), new.heartbeat(), a.heartbeat()]
    seen += [b.heartbeat(), b.commit(), b.leave(), synced(b.sync()), joined(b, b.join())]
    wrong = group.member("two")
    wrong.id, wrong.generation = new.id, new.generation
    seen += [wrong.heartbeat(), wrong.commit(), joined(wrong, wrong.join())]
    changed = again(group, new)
    changed.protocols = OTHER
    seen += [joined(changed, changed.join()), a.heartbeat(), synced(changed.sync())]
    changed.protocols = (("range", b"third"),)
    seen += [joined(changed, changed.join()), a.heartbeat()]
    return seen


def a_static_leader(version: int) -> Callable[[Members], list[object]]:
    def scenario(group: Members) -> list[object]:
        a, b = group.member("one", version=version), group.member(version=version)
        seen = stable(a, b)
        new = again(group, a)
        seen += [joined(new, new.join()), b.heartbeat(), synced(new.sync({})), new.heartbeat(), a.heartbeat()]
        seen += [joined(new, new.join()), b.heartbeat()]
        return seen

    return scenario


def statics_in_a_rebalance(group: Members) -> list[object]:
    a, b = group.member(), group.member("one")
    seen = stable(a, b)
    seen += [joined(a, a.join()), joined(b, b.join()), joined(a, a.joined), synced(b.sync())]
    new = again(group, b)
    seen += [joined(new, new.join()), synced(b.synced), a.heartbeat()]  # in CompletingRebalance
    newer = again(group, b)
    seen += [joined(newer, newer.join()), joined(new, new.joined)]  # in PreparingRebalance
    seen += [joined(a, a.join()), joined(newer, newer.joined), synced(newer.sync()), synced(a.sync({}))]
    return seen


def other_protocols_of_a_static_member(group: Members) -> list[object]:
    a = group.member("one", protocols=[("x", b""), ("y", b"")])
    seen = stable(a)
    new = again(group, a)
    new.protocols = [("y", b"")]
    seen.append(joined(new, new.join()))
    return seen


def who_does_not_come(group: Members) -> list[object]:
    a, b = group.member("one", rebalance=1.5), group.member(rebalance=1.5)
    c = group.member(rebalance=1.5)
    seen = stable(a, b)
    seen.append(joined(c, c.join()))
    group.pass_time(2)
    seen += [joined(c, c.joined), a.heartbeat(), b.heartbeat(), synced(c.sync({c.id: b"c"}))]
    group.pass_time(2)  # a has not sent SyncGroup either
    seen += [a.heartbeat(), c.heartbeat()]
    return seen


def described(group: Members) -> list[object]:
    a, b = group.member(), group.member("one")
    seen = [description(group)]
    seen += [*stable(a, b), description(group), description(group, version=3)]
    seen += [joined(a, a.join()), description(group), joined(b, b.join()), description(group)]
    return seen


def description(group: Members, version: int = 6) -> object:
    (found,) = group.ask(DescribeGroupsRequest([group.group_id]), version).groups
    found.error_message = None if found.error_message is None else found.error_message.replace(group.group_id, "g")
    members = sorted(
        (m.group_instance_id or "", m.client_id, m.client_host, m.member_metadata, m.member_assignment)
        for m in found.members
    )
    error = ErrorCode(found.error_code).name
    return error, found.error_message, found.group_state, found.protocol_type, found.protocol_data, members


SCENARIOS: dict[str, Callable[[Members], list[object]]] = {
    "a pair": a_pair,
    "in each state": in_each_state,
    "strangers": strangers,
    "what is refused": what_is_refused,
    "votes": votes,
    "ids in two steps": ids_in_two_steps,
    "statics": statics,
    "a static leader": a_static_leader(9),
    "a static leader, version 8": a_static_leader(8),
    "statics in a rebalance": statics_in_a_rebalance,
    "other protocols of a static member": other_protocols_of_a_static_member,
    "who does not come": who_does_not_come,
    "described": described,
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_answers(kafka: KafkaCluster, topic: str, name: str) -> None:
    kafka.create_topic(topic)
    wire = Wire(kafka, topic)
    try:
        wire.wait_for_coordinator()
        expected = SCENARIOS[name](wire)
    finally:
        wire.close()
    assert SCENARIOS[name](GroupPeer(broker())) == expected
