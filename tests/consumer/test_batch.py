"""Batches: a sequence of records of several partitions."""

from __future__ import annotations

from dekaf_proto.consumer.batch import Batch
from dekaf_proto.records import make_record
from dekaf_proto.types import OffsetAndMetadata, TopicPartition

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)
RECORDS = [
    make_record("t", 0, 4, None, b"a", leader_epoch=1),
    make_record("t", 1, 9, None, b"b"),
    make_record("t", 0, 7, None, b"c", leader_epoch=2),
]


def test_a_sequence() -> None:
    batch = Batch(RECORDS)
    assert len(batch) == 3
    assert list(batch) == RECORDS
    assert batch[1] is RECORDS[1]
    assert batch[-1] is RECORDS[2]
    assert RECORDS[1] in batch
    assert isinstance(batch[1:], Batch)
    assert list(batch[1:]) == RECORDS[1:]
    assert list(reversed(batch)) == RECORDS[::-1]
    assert repr(batch) == "<Batch of 3 records: t-0, t-1>"


def test_nothing() -> None:
    assert not Batch()
    assert (list(Batch()), Batch().offsets, Batch().by_partition()) == ([], {}, {})


def test_a_batch_does_not_change_with_the_list_that_it_was_made_of() -> None:
    records = list(RECORDS)
    batch = Batch(records)
    records.clear()
    assert len(batch) == 3


def test_by_partition() -> None:
    batch = Batch(RECORDS)
    assert batch.by_partition() == {T0: [RECORDS[0], RECORDS[2]], T1: [RECORDS[1]]}
    # Lesson 15: what comes after the last record of each.
    assert batch.offsets == {T0: OffsetAndMetadata(8, "", 2), T1: OffsetAndMetadata(10)}
    assert batch[:1].offsets == {T0: OffsetAndMetadata(5, "", 1)}
