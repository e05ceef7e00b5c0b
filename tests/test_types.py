"""dekaf_proto.types"""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given, strategies as st

from dekaf_proto.types import IsolationLevel, TimestampType, TopicPartition, TopicPartitionOffset, Uuid


def test_a_topic_partition_is_a_readable_key() -> None:
    tp = TopicPartition("orders", 3)
    assert str(tp) == "orders-3"
    assert repr(tp) == "TopicPartition(topic='orders', partition=3)"
    assert {tp: 1}[TopicPartition("orders", 3)] == 1
    assert sorted([TopicPartition("b", 0), TopicPartition("a", 10), TopicPartition("a", 9)]) == [
        ("a", 9),
        ("a", 10),
        ("b", 0),
    ]
    topic, partition = tp
    assert (topic, partition) == ("orders", 3)


def test_enums_have_the_numbers_of_the_protocol() -> None:
    assert {t.name: t.value for t in TimestampType} == {"NO_TIMESTAMP_TYPE": -1, "CREATE_TIME": 0, "LOG_APPEND_TIME": 1}
    assert {i.name: i.value for i in IsolationLevel} == {"READ_UNCOMMITTED": 0, "READ_COMMITTED": 1}


def test_the_zero_uuid_is_no_id() -> None:
    assert str(Uuid.ZERO) == "AAAAAAAAAAAAAAAAAAAAAA"
    assert not Uuid.ZERO
    assert not Uuid(bytes(16))
    assert Uuid(bytes(15) + b"\1")


def test_a_uuid_is_shown_as_kafka_shows_it() -> None:
    # What Java's Uuid prints for most significant bits 0x0123456789abcdef, least significant 0xfedcba9876543210.
    uuid = Uuid(bytes.fromhex("0123456789abcdeffedcba9876543210"))
    assert str(uuid) == "ASNFZ4mrze_-3LqYdlQyEA"
    assert repr(uuid) == "Uuid('ASNFZ4mrze_-3LqYdlQyEA')"
    assert f"{uuid}" == str(uuid)


@given(st.binary(min_size=16, max_size=16))
def test_a_uuid_is_read_back_from_its_text(raw: bytes) -> None:
    uuid = Uuid(raw)
    assert len(str(uuid)) == 22
    again = Uuid.parse(str(uuid))
    assert type(again) is Uuid
    assert again == uuid == raw
    assert hash(again) == hash(uuid)
    assert bool(uuid) is any(raw)
    assert pickle.loads(pickle.dumps(uuid)) == copy.copy(uuid) == uuid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "AAAAAAAAAAAAAAAAAAAAA",  # 21 characters
        "AAAAAAAAAAAAAAAAAAAAAAA",  # 23
        "AAAAAAAAAAAAAAAAAAAAAA==",  # with its padding
        "AAAAAAAAAAAAAAAAAAAAA A",  # a space, which base64 would skip
        "AAAAAAAAAAAAAAAAAAAAA!",
        "AAAAAAAAAAAAAAAAAAAAAB",  # bits where a UUID has none
        "ASNFZ4mrze/+3LqYdlQyEA",  # the other alphabet of base64
        "AAAAAAAAAAAAAAAAAAAAAé",
        "01234567-89ab-cdef-fedc-ba9876543210",
    ],
)
def test_what_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a topic id"):
        Uuid.parse(text)


def test_an_offset_knows_its_partition() -> None:
    assert TopicPartitionOffset("orders", 3, 42).topic_partition == TopicPartition("orders", 3)
