"""What members of a group hand each other: DecodeError is the only exception, and what was read says the same again.

And: whatever another member says, as long as it can be read, each assignor shares out: every partition at most once,
and to members that are subscribed to it.
"""
# ruff: noqa: PT017  # these assertions are no test of pytest's

from __future__ import annotations

from collections.abc import Iterator

from dekaf_proto.errors import DecodeError
from dekaf_proto.group import ASSIGNORS
from dekaf_proto.group.assignor import GroupMember, GroupTopics
from dekaf_proto.group.payloads import (
    Subscription,
    decode_assignment,
    decode_subscription,
    encode_assignment,
    encode_subscription,
)
from dekaf_proto.messages import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from dekaf_proto.types import TopicPartition
from fuzz.corpus import golden_messages

ASSIGNMENT = 0x01  # else the input is a subscription

TOPICS = GroupTopics({"t": 3, "u": 2}, {})
THERE = [TopicPartition(topic, number) for topic, count in TOPICS.partitions.items() for number in range(count)]


def fuzz_one(data: bytes) -> None:
    """The first byte says what the others are."""
    try:
        if data[:1] and data[0] & ASSIGNMENT:
            fuzz_assignment(data[1:])
        else:
            fuzz_subscription(data[1:])
    except DecodeError as e:
        assert str(e).startswith("ConsumerProtocol")


def fuzz_assignment(payload: bytes) -> None:
    read = decode_assignment(payload)
    assert len(set(read)) == len(read)
    assert all(tp.partition >= 0 for tp in read)
    assert decode_assignment(encode_assignment(read)) == sorted(read)


def fuzz_subscription(payload: bytes) -> None:
    read = decode_subscription(payload)
    again = decode_subscription(encode_subscription(read))
    assert (again.user_data, again.generation, again.rack) == (read.user_data, read.generation, read.rack)
    assert (again.topics, again.owned) == (tuple(sorted(read.topics)), tuple(sorted(read.owned)))
    for name, assignor in ASSIGNORS.items():
        members = [member("other", Subscription(("t",), owned=(TopicPartition("t", 0),), generation=2))]
        members.append(member("one", read))
        given = [(tp, to) for to, tps in assignor.assign(TOPICS, members).items() for tp in tps]
        assert len({tp for tp, _ in given}) == len(given), f"{name} gives something twice"
        subscribed = {each.id: each.topics for each in members}
        assert all(tp in THERE and tp.topic in subscribed[to] for tp, to in given), f"{name} gives what it must not"


def member(name: str, said: Subscription) -> GroupMember:
    return GroupMember(name, said.topics, said.owned, said.generation, rack=said.rack, user_data=said.user_data)


def seeds() -> Iterator[bytes]:
    kinds = {ConsumerProtocolSubscription.__name__: b"\0", ConsumerProtocolAssignment.__name__: b"\1"}
    for name, version, body in golden_messages():
        if name in kinds and len(body) < 1000:
            yield kinds[name] + version.to_bytes(2, "big") + body
    for strategy in ("sticky", "cooperative-sticky"):
        owned = [TopicPartition("t", 1), TopicPartition("u", 0)]
        user_data = ASSIGNORS[strategy].user_data(("t", "u"), owned, 2)
        for generation, rack in ((-1, None), (2, "a")):
            yield b"\0" + encode_subscription(Subscription(("t", "u"), user_data, tuple(owned), generation, rack))
    yield b"\1" + encode_assignment(THERE, b"data")
