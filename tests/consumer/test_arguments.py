"""What users may pass, and what they are told about the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dekaf_proto.consumer.arguments import (
    assignment_of,
    commits_of,
    epoch_of,
    milliseconds_of,
    offset_of,
    partition_of,
    partitions_of,
    times_of,
    topic_of,
)
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.records import make_record
from dekaf_proto.types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition, TopicPartitionOffset

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)
CET = timezone(timedelta(hours=1))


def test_partitions() -> None:
    assert partition_of(T0) is not None
    assert partition_of(("t", 0)) == T0
    assert isinstance(partition_of(("t", 0)), TopicPartition)
    assert partitions_of(T0) == [T0]
    assert partitions_of([T1, ("t", 0), T1]) == [T1, T0]
    assert partitions_of({T1: 3, T0: 4}) == [T1, T0]
    assert partitions_of([]) == []


@pytest.mark.parametrize(
    "given", ["t", ("t",), ("t", 0, 1), ("", 0), (0, "t"), ("t", "0"), ("t", True), ("t", 1.0), None, b"t"]
)
def test_no_partition(given: object) -> None:
    with pytest.raises(TypeError, match="expected a TopicPartition, not "):
        partition_of(given)
    with pytest.raises(TypeError, match="expected a TopicPartition, not "):
        partitions_of([given])


def test_a_negative_partition() -> None:
    with pytest.raises(ValueError, match="partition -1 of t is negative"):
        partition_of(("t", -1))


@pytest.mark.parametrize("given", ["orders", b"t", 3, None])
def test_no_partitions(given: object) -> None:
    with pytest.raises(TypeError, match="expected TopicPartitions, not "):
        partitions_of(given)


def test_an_assignment() -> None:
    assert assignment_of([T1, TopicPartitionOffset("t", 0, 7), ("u", 2)]) == {T1: None, T0: 7, ("u", 2): None}
    assert assignment_of({T0: 3, ("t", 1): OffsetAndMetadata(4)}) == {T0: 3, T1: 4}
    assert assignment_of([]) == {}
    assert assignment_of(iter([T0])) == {T0: None}


@pytest.mark.parametrize("given", ["orders", T0, 3])
def test_no_assignment(given: object) -> None:
    with pytest.raises(TypeError, match="expected a list of TopicPartitions"):
        assignment_of(given)
    with pytest.raises(ValueError, match="offset -1 is negative"):
        assignment_of({T0: -1})
    with pytest.raises(ValueError, match="offset -2 is negative"):
        assignment_of([TopicPartitionOffset("t", 0, -2)])


def test_offsets() -> None:
    assert offset_of(0) == 0
    assert offset_of(2**63 - 1) == 2**63 - 1
    assert offset_of(OffsetAndMetadata(3, "note", 5)) == offset_of(OffsetAndTimestamp(3, 0, 5)) == 3
    assert epoch_of(3) == epoch_of(OffsetAndMetadata(3)) == -1
    assert epoch_of(OffsetAndMetadata(3, "", 0)) == 0
    assert epoch_of(OffsetAndTimestamp(3, 0, 5)) == 5


@pytest.mark.parametrize(
    "given, error, text",
    [
        (-1, ValueError, "offset -1 is negative"),  # P2, lesson 16: not the end
        (2**63, ValueError, "beyond int64"),
        (OffsetAndTimestamp(-1, -1), ValueError, "negative"),
        (None, ValueError, "offsets_for_times found no record"),
        ("3", TypeError, "expected an offset, not str '3'"),
        (True, TypeError, "expected an offset, not bool"),
        (3.0, TypeError, "expected an offset, not float"),
    ],
)
def test_no_offset(given: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        offset_of(given)


def test_commits() -> None:
    record = make_record("t", 0, 4, None, b"a", leader_epoch=3)
    # Lesson 15: the offset after the record.
    assert commits_of(record) == {T0: OffsetAndMetadata(5, "", 3)}
    assert commits_of(Batch([record, make_record("t", 1, 8, None, b"b")])) == {
        T0: OffsetAndMetadata(5, "", 3),
        T1: OffsetAndMetadata(9),
    }
    assert commits_of(Batch()) == {}
    noted = OffsetAndMetadata(7, "note", 2)
    assert commits_of({T0: 42, ("t", 1): noted}) == {T0: OffsetAndMetadata(42), T1: noted}
    assert commits_of([TopicPartitionOffset("t", 0, 42)]) == {T0: OffsetAndMetadata(42)}
    assert commits_of({}) == commits_of([]) == {}


@pytest.mark.parametrize(
    "given, error, text",
    [
        ({T0: -1}, ValueError, "negative"),
        ({T0: "3"}, TypeError, "expected an offset"),
        ({T0: OffsetAndMetadata(3, None)}, TypeError, "expected a str as metadata"),  # type: ignore[arg-type]
        ({"t": 3}, TypeError, "expected a TopicPartition"),
        ([T0], TypeError, "expected TopicPartitionOffsets, not TopicPartition"),
        ([make_record("t", 0, 4, None, b"a")], TypeError, "expected TopicPartitionOffsets, not Record"),
        (TopicPartitionOffset("t", 0, 42), TypeError, "expected a record, a batch or offsets"),
        ("orders", TypeError, "expected a record, a batch or offsets, not str 'orders'"),
        (42, TypeError, "expected a record, a batch or offsets"),
        (None, TypeError, "expected a record, a batch or offsets"),
    ],
)
def test_no_commits(given: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        commits_of(given)


def test_times() -> None:
    assert milliseconds_of(1_700_000_000_123) == 1_700_000_000_123
    assert milliseconds_of(0) == 0
    assert milliseconds_of(datetime(2023, 11, 14, 22, 13, 20, 123_456, timezone.utc)) == 1_700_000_000_123
    assert milliseconds_of(datetime(2023, 11, 14, 23, 13, 20, 123_999, CET)) == 1_700_000_000_123
    assert milliseconds_of(datetime(1970, 1, 1, tzinfo=timezone.utc)) == 0


@pytest.mark.parametrize(
    "given, error, text",
    [
        (1_700_000_000, ValueError, "not seconds"),  # lesson 16
        (1_700_000_000_123_456, ValueError, "times are in milliseconds"),
        (-1, ValueError, "before 1970"),
        (datetime(2023, 11, 14), ValueError, "time zone"),
        (datetime(1969, 12, 31, tzinfo=timezone.utc), ValueError, "before 1970"),
        (1.7e12, TypeError, "expected a time"),
        (True, TypeError, "expected a time"),
        ("2023-11-14", TypeError, "expected a time"),
        (None, TypeError, "expected a time"),
    ],
)
def test_no_times(given: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        milliseconds_of(given)


@pytest.mark.parametrize("of", [partition_of, offset_of, commits_of, milliseconds_of, assignment_of, partitions_of])
def test_what_is_shown_is_short(of: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError) as raised:
        of("x" * 10_000)
    assert len(str(raised.value)) < 150


def test_times_of_partitions() -> None:
    assert times_of({T0: 0, T1: datetime(2026, 11, 1, tzinfo=CET)}) == {T0: 0, T1: 1_793_487_600_000}
    for wrong in ([T0], [(T0, 0)], 0, None):
        with pytest.raises(TypeError, match="expected a mapping of TopicPartitions to times"):
            times_of(wrong)


def test_a_topic() -> None:
    assert topic_of("t") == "t"
    for wrong in ("", ["t"], b"t", None):
        with pytest.raises(TypeError, match="expected the name of a topic, not"):
            topic_of(wrong)
