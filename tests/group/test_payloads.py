"""Subscriptions and assignments as bytes: what is written, what is read of others' (G5-G7)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from dekaf_proto.errors import DecodeError
from dekaf_proto.group.payloads import (
    Subscription,
    decode_assignment,
    decode_subscription,
    encode_assignment,
    encode_subscription,
)
from dekaf_proto.types import TopicPartition

TOPICS_A = bytes.fromhex("00000001 0001 61")
USER_DATA_X = bytes.fromhex("00000001 78")
OWNED_A1 = bytes.fromhex("00000001 0001 61 00000001 00000001")
GENERATION_7 = bytes.fromhex("00000007")
RACK_R = bytes.fromhex("0001 72")
A1 = TopicPartition("a", 1)

names = st.text(st.characters(codec="utf-8"), max_size=5)
partitions = st.builds(TopicPartition, names, st.integers(0, 2**31 - 1))


def test_a_subscription_is_written_in_version_3() -> None:  # G5, G6
    subscription = Subscription(("a",), b"x", (A1,), 7, "r")
    assert encode_subscription(subscription) == b"\0\3" + TOPICS_A + USER_DATA_X + OWNED_A1 + GENERATION_7 + RACK_R


def test_what_a_subscription_lacks_is_null_or_empty() -> None:  # G5
    assert encode_subscription(Subscription(())).hex() == "000300000000ffffffff00000000ffffffffffff"


def test_topics_and_owned_partitions_are_sorted_and_grouped() -> None:  # G6
    owned = [TopicPartition("b", 10), TopicPartition("a", 1), TopicPartition("b", 9)]
    one = encode_subscription(Subscription(("b", "a"), owned=tuple(owned)))
    assert one == encode_subscription(Subscription(("a", "b"), owned=tuple(reversed(owned))))
    assert decode_subscription(one).topics == ("a", "b")
    assert decode_subscription(one).owned == (A1, TopicPartition("b", 9), TopicPartition("b", 10))
    assert one.count(b"\0\1b") == 2  # among the topics, and once among those owned


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"\0\0" + TOPICS_A + USER_DATA_X, Subscription(("a",), b"x")),
        (b"\0\1" + TOPICS_A + USER_DATA_X + OWNED_A1, Subscription(("a",), b"x", (A1,))),
        (b"\0\2" + TOPICS_A + USER_DATA_X + OWNED_A1 + GENERATION_7, Subscription(("a",), b"x", (A1,), 7)),
        (
            b"\0\3" + TOPICS_A + USER_DATA_X + OWNED_A1 + GENERATION_7 + RACK_R,
            Subscription(("a",), b"x", (A1,), 7, "r"),
        ),
    ],
    ids=["v0", "v1", "v2", "v3"],
)
def test_every_version_of_a_subscription_is_read(data: bytes, expected: Subscription) -> None:  # G5
    assert decode_subscription(data) == expected
    assert decode_subscription(data + b"more") == expected  # G6: what is left over does not matter


def test_a_newer_subscription_is_read_as_far_as_it_is_known() -> None:  # G6
    data = b"\0\4" + TOPICS_A + USER_DATA_X + OWNED_A1 + GENERATION_7 + RACK_R + b"\1\2\3"
    assert decode_subscription(data) == Subscription(("a",), b"x", (A1,), 7, "r")


def test_version_1_without_what_it_added_is_read() -> None:  # G6: some clients write that
    assert decode_subscription(b"\0\1" + TOPICS_A + USER_DATA_X) == Subscription(("a",), b"x")


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "ConsumerProtocolSubscription: 0 bytes, but its version alone takes 2"),
        (b"\0", "ConsumerProtocolSubscription: 1 bytes, but its version alone takes 2"),
        (b"\xff\xff" + TOPICS_A + USER_DATA_X, "ConsumerProtocolSubscription: version -1 is negative"),
        (b"\0\1" + TOPICS_A, "ConsumerProtocolSubscription v0: user_data: needs 4 bytes, 0 left"),
        (b"\0\1" + TOPICS_A + USER_DATA_X + b"\0", "owned_partitions: needs 4 bytes, 1 left"),
        (b"\0\2" + TOPICS_A + USER_DATA_X, "owned_partitions: needs 4 bytes, 0 left"),
        (b"\0\3" + TOPICS_A + USER_DATA_X + OWNED_A1 + GENERATION_7, "rack_id: needs 2 bytes, 0 left"),
    ],
)
def test_what_is_no_subscription_is_an_error(data: bytes, message: str) -> None:  # G6
    with pytest.raises(DecodeError) as caught:
        decode_subscription(data)
    assert message in str(caught.value)


@given(st.lists(names, unique=True), st.none() | st.binary(), st.lists(partitions, unique=True), st.none() | names)
def test_a_subscription_comes_back(
    topics: list[str], user_data: bytes | None, owned: list[TopicPartition], rack: str | None
) -> None:
    subscription = Subscription(tuple(sorted(topics)), user_data, tuple(sorted(owned)), 5, rack)
    assert decode_subscription(encode_subscription(subscription)) == subscription


def test_an_assignment_is_written_grouped() -> None:  # G5
    written = encode_assignment([TopicPartition("b", 0), A1, TopicPartition("b", 2)], b"x")
    b02 = bytes.fromhex("0001 62 00000002 00000000 00000002")
    a1 = bytes.fromhex("0001 61 00000001 00000001")
    assert written == b"\0\3" + b"\0\0\0\2" + a1 + b02 + USER_DATA_X
    assert encode_assignment([]).hex() == "000300000000ffffffff"


def test_a_topic_that_stands_twice_in_an_assignment_is_merged() -> None:  # G7
    a = bytes.fromhex("0001 61 00000002 00000001 00000002")
    again = bytes.fromhex("0001 61 00000002 00000002 00000003")
    for version in (b"\0\0", b"\0\1", b"\0\3", b"\0\x09"):
        data = version + b"\0\0\0\2" + a + again + b"\xff\xff\xff\xff" + b"left over"
        assert decode_assignment(data) == [A1, TopicPartition("a", 2), TopicPartition("a", 3)]


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "ConsumerProtocolAssignment: 0 bytes, but its version alone takes 2"),
        (b"\0", "ConsumerProtocolAssignment: 1 bytes, but its version alone takes 2"),
        (b"\x80\0", "ConsumerProtocolAssignment: version -32768 is negative"),
        (b"\0\3\0\0\0\1", "ConsumerProtocolAssignment v3: assigned_partitions: "),
        (
            b"\0\0" + bytes.fromhex("00000001 0001 61 00000001 ffffffff ffffffff"),
            "ConsumerProtocolAssignment v0: assigned_partitions[0].partitions: there is no partition -1",
        ),
    ],
)
def test_what_is_no_assignment_is_an_error(data: bytes, message: str) -> None:  # G7
    with pytest.raises(DecodeError) as caught:
        decode_assignment(data)
    assert str(caught.value).startswith(message)


@given(st.lists(partitions, unique=True), st.none() | st.binary())
def test_an_assignment_comes_back(given_out: list[TopicPartition], user_data: bytes | None) -> None:
    assert decode_assignment(encode_assignment(given_out, user_data)) == sorted(given_out)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\0\0", b"\0\1", b"\0\2", b"\0\3"]))
def test_garbage_is_read_or_a_decode_error(data: bytes, version: bytes) -> None:
    for decode in (decode_subscription, decode_assignment):
        with suppress(DecodeError):
            decode(version + data)
