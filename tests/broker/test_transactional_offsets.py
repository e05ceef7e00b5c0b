"""Offsets that are committed as part of a transaction (T17, P17, KIP-447)."""

from __future__ import annotations

import pytest

from dekaf_proto.broker import CommittedOffset
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey, OffsetFetchRequest
from dekaf_proto.types import TopicPartition
from tests.broker.members import GroupPeer, Member, broker
from tests.broker.producing import Producer, name, offsets

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)
NOTHING = ("NONE", -1, "")
UNSTABLE = ("UNSTABLE_OFFSET_COMMIT", -1, "")


def start(*, bump: bool = True) -> tuple[GroupPeer, Producer]:
    peer = GroupPeer(broker())
    producer = Producer(peer, "t", "x", bump=bump)
    producer.init()
    if not bump:
        assert producer.add_offsets() == "NONE"
    return peer, producer


def identity(member: Member) -> tuple[int, str, str | None]:
    return member.generation, member.id, member.instance


@pytest.mark.parametrize("bump", [False, True], ids=["version 1", "version 2"])
def test_a_commit(bump: bool) -> None:
    peer, p = start(bump=bump)
    peer.broker.commit("g", {T0: 3})
    assert (p.commit(5), p.commit(6), p.commit(7, partition=1)) == ("NONE",) * 3
    assert offsets(peer, "t", "g", (0, 1)) == [UNSTABLE, UNSTABLE]
    assert offsets(peer, "t", "g", (0, 1), stable=False) == [("NONE", 3, ""), NOTHING]
    found = peer.broker.transaction("x")
    assert found is not None
    assert (found.partitions, found.groups) == ((), ("g",))
    assert p.end()[0] == "NONE"
    assert offsets(peer, "t", "g", (0, 1)) == [("NONE", 6, "m"), ("NONE", 7, "m")]


@pytest.mark.parametrize("bump", [False, True], ids=["version 1", "version 2"])
def test_an_abort(bump: bool) -> None:
    peer, p = start(bump=bump)
    peer.broker.commit("g", {T0: 3})
    p.commit(5)
    assert p.end(commit=False)[0] == "NONE"
    assert offsets(peer, "t", "g", (0, 1)) == [("NONE", 3, ""), NOTHING]


def test_offsets_of_all_topics_are_unstable_too() -> None:
    peer, p = start()
    peer.broker.commit("g", {T0: 3, T1: 4})
    p.commit(5)
    answer = peer.ask(OffsetFetchRequest("g", topics=None, require_stable=True), 7)
    [topic] = answer.topics
    assert [(name(each.error_code), each.committed_offset) for each in topic.partitions] == [UNSTABLE[:2], ("NONE", 4)]


def test_what_came_later_stays() -> None:
    peer, p = start()
    p.commit(5)
    p.commit(6, partition=1)
    peer.broker.commit("g", {T0: 9})
    assert offsets(peer, "t", "g", (0, 1)) == [UNSTABLE, UNSTABLE]
    p.end()
    assert offsets(peer, "t", "g", (0, 1)) == [("NONE", 9, ""), ("NONE", 6, "m")]


def test_two_transactions_want_the_same_partition() -> None:
    peer, p = start()
    q = Producer(peer, "t", "y")
    q.init()
    p.commit(5)
    q.commit(8)
    q.end()
    assert offsets(peer, "t", "g") == [UNSTABLE]
    p.end()
    assert offsets(peer, "t", "g") == [("NONE", 8, "m")]


@pytest.mark.parametrize("version", range(7))
def test_all_versions(version: int) -> None:
    _, p = start(bump=False)
    assert p.commit(5, version=version) == "NONE"
    assert p.commit(5, version=version, topic="u") == (
        "UNKNOWN_TOPIC_ID" if version >= 6 else "UNKNOWN_TOPIC_OR_PARTITION"
    )
    assert p.commit(5, version=version, partition=7) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert p.commit(5, version=version, metadata="x" * 4097) == "OFFSET_METADATA_TOO_LARGE"
    assert p.commit(5, version=version, metadata=None) == "NONE"
    p.epoch = 7
    assert p.commit(5, version=version) == "INVALID_PRODUCER_EPOCH"


@pytest.mark.parametrize("version, error", [(3, "INVALID_TXN_STATE"), (4, "TRANSACTION_ABORTABLE"), (5, "NONE")])
def test_a_group_that_was_not_added(version: int, error: str) -> None:
    peer = GroupPeer(broker())
    p = Producer(peer, "t", "x")
    p.init()
    assert p.commit(5, version=version) == error


def test_who_may_commit() -> None:
    peer, p = start()
    member = peer.member("one")
    assert p.commit(5, member=(3, "nobody", None)) == "ILLEGAL_GENERATION"  # there is no group
    assert p.commit(5, member=(-1, "nobody", None)) == "NONE"  # which makes one
    peer.stable(member)
    good = identity(member)
    assert p.commit(5, member=good) == p.commit(5) == "NONE"
    assert p.commit(5, member=(good[0] - 1, *good[1:])) == "ILLEGAL_GENERATION"
    assert p.commit(5, member=(-1, *good[1:])) == "ILLEGAL_GENERATION"
    assert p.commit(5, member=(good[0], "nobody", None)) == "UNKNOWN_MEMBER_ID"
    assert p.commit(5, member=(-1, "nobody", None)) == "UNKNOWN_MEMBER_ID"
    assert p.commit(5, member=(-1, "", "one")) == "FENCED_INSTANCE_ID"
    assert p.commit(5, member=(good[0], "nobody", "one")) == "FENCED_INSTANCE_ID"


def test_errors_on_order_and_other_coordinators() -> None:
    peer, p = start()
    faults = peer.broker.faults
    faults.add(api=ApiKey.TXN_OFFSET_COMMIT, top_error=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    faults.add(api=ApiKey.TXN_OFFSET_COMMIT, partition=0, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    assert (p.commit(5), p.commit(5), p.commit(5)) == (
        "GROUP_AUTHORIZATION_FAILED",
        "TOPIC_AUTHORIZATION_FAILED",
        "NONE",
    )
    p.group = ""
    assert p.commit(5) == "INVALID_GROUP_ID"


def test_negative_offsets_are_kept_as_they_are() -> None:  # P2
    peer, p = start()
    peer.broker.commit("g", {T0: CommittedOffset(3, 1, "x")})
    p.commit(-1, metadata=None)
    p.end()
    assert peer.broker.committed("g") == {T0: CommittedOffset(-1, -1, "")}


def test_the_group_keeps_them_when_its_coordinator_moves() -> None:
    peer = GroupPeer(broker(nodes=2))
    peer.broker.move_transaction_coordinator("x", 0, peer.now)
    p = Producer(peer, "t", "x")
    p.init()
    p.commit(5)
    peer.broker.move_coordinator("g", 1, peer.now)
    assert p.commit(6) == "NOT_COORDINATOR"
    p.end()
    assert peer.broker.committed("g")[T0].offset == 5
