"""The log of a partition, and what a program in the same process does to it."""

from __future__ import annotations

import pytest

from dekaf_proto.broker import Broker, NewRecord
from dekaf_proto.broker.cluster import Cluster
from dekaf_proto.broker.inprocess import InProcess
from dekaf_proto.broker.log import PartitionLog
from dekaf_proto.broker.transaction_coordinator import TransactionCoordinator
from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records import BatchBuilder, Codec, RecordBatch, read_batches
from dekaf_proto.types import Uuid


def made(offset: int, *values: bytes, codec: Codec = Codec.NONE) -> bytes:
    builder = BatchBuilder(base_offset=offset, codec=codec)
    for value in values:
        builder.append(1000 + offset, None, value)
    return builder.build()


def broker() -> Broker:
    made = Broker()
    made.create_topic("t")
    return made


def log(broker: Broker) -> PartitionLog:
    return broker.cluster.topics["t"].partitions[0].log


def stored(broker: Broker) -> list[tuple[int, bytes | None]]:
    """All records, as a client decodes them."""
    data = log(broker).read(0, 1 << 40, 1 << 40, at_least_one=True).data
    return [(r.offset, r.value) for batch in read_batches(data, topic="t", partition=0) for r in batch.records()]


# ----------------------------------------------------------------------------------------------------------- append


def test_records_in_batches() -> None:
    b = broker()
    assert b.append("t", 0, [b"a", b"b", b"c"], 1.0, per_batch=2) == 0
    assert b.append("t", 0, [b"d"], 1.0, base_offset=10) == 10  # a gap
    assert b.append("t", 0, [], 1.0) == 11
    assert b.end_offset("t", 0) == b.high_watermark("t", 0) == b.last_stable_offset("t", 0) == 11
    assert b.log_start("t", 0) == 0
    assert stored(b) == [(0, b"a"), (1, b"b"), (2, b"c"), (10, b"d")]
    with pytest.raises(ValueError, match="do not follow"):
        b.append("t", 0, [b"e"], 1.0, base_offset=10)


def test_what_the_batches_say() -> None:
    b = Broker(unix_offset=1000.0)
    b.create_topic("t")
    b.append("t", 0, [b"a", b"b", b"c"], 1.5, per_batch=2, producer_id=7, producer_epoch=1, base_sequence=40)
    first, second = (batch.opened() for batch in log(b).batches)
    assert isinstance(first, RecordBatch)
    assert isinstance(second, RecordBatch)
    assert (first.producer_id, first.producer_epoch, first.base_sequence, second.base_sequence) == (7, 1, 40, 42)
    assert (first.max_timestamp, first.is_transactional, first.leader_epoch) == (1_001_500, False, 0)


def test_names_that_do_not_exist() -> None:
    b = broker()
    for topic, partition in (("u", 0), ("t", 1), ("t", -1)):
        with pytest.raises(KeyError):
            b.append(topic, partition, [b"x"], 0)
    with pytest.raises(KeyError):
        b.delete_topic("u")
    with pytest.raises(ValueError, match="exists"):
        b.create_topic("t")
    with pytest.raises(ValueError, match="2 replicas on 1 nodes"):
        b.create_topic("v", replicas=2)


def test_a_topic_with_a_given_id_and_none_of_its_partitions() -> None:
    b = broker()
    mine = Uuid(b"\x07" * 16)
    assert b.create_topic("v", 0, topic_id=mine) == mine == b.topic_id("v")
    assert b.recreate_topic("v", 2) != mine
    assert b.leader("v", 1) == 0


# -------------------------------------------------------------------------------------------------------- append_raw


def test_bytes_as_they_are() -> None:
    b = broker()
    assert b.append_raw("t", 0, made(0, b"a", b"b") + made(5, b"c", codec=Codec.GZIP)) == 6
    assert stored(b) == [(0, b"a"), (1, b"b"), (5, b"c")]
    assert [batch.codec for batch in log(b).batches] == [0, 1]
    with pytest.raises(ValueError, match="do not follow"):
        b.append_raw("t", 0, made(5, b"again"))


def test_old_formats() -> None:  # B23, B25
    message = bytes.fromhex("0000000000000001 00000016 a5bd1bbd 01 00 0000000000000005 ffffffff 00000000")
    b = broker()
    assert b.append_raw("t", 0, message) == 2
    [batch] = log(b).batches
    assert (batch.base_offset, batch.last_offset, batch.magic, batch.codec, batch.leader_epoch) == (0, 1, 1, 0, -1)
    assert b.append_raw("t", 0, made(2, b"new")) == 3


def test_damaged_bytes() -> None:  # B20, B22
    b = broker()
    for data in (b"short", made(0, b"a")[:-1], bytes(40), bytes(8) + b"\xff" * 30):
        with pytest.raises(ValueError, match="not whole batches"):
            b.append_raw("t", 0, data)
    damaged = made(3, b"a")[:-1] + b"?"
    assert b.append_raw("t", 0, damaged) == 4  # a wrong checksum
    assert b.append_raw("t", 0, made(9, b"late"), last_offset=10) == 11  # its first offset is beyond the end
    assert b.append_raw("t", 0, made(5, b"early"), last_offset=12) == 13
    assert b.append_raw("t", 0, b"no batch", last_offset=13) == 14
    assert b.append_raw("t", 0, b"\x00" * 16 + b"\x02", last_offset=14) == 15
    assert [batch.base_offset for batch in log(b).batches] == [3, 9, 11, 13, 14]
    assert [batch.magic for batch in log(b).batches] == [2, 2, 2, -1, 2]
    assert [batch.codec for batch in log(b).batches] == [0] * 5
    assert log(b).batches[0].opened() is None
    # Searching by time passes over what can't be read.
    found = log(b).at_or_after(0)
    assert found is not None
    assert found.offset == 9
    with pytest.raises(CorruptRecordError):
        stored(b)


def test_records_that_can_not_be_decompressed() -> None:
    b = broker()
    builder = BatchBuilder(codec=Codec.GZIP)
    builder.append(5, None, b"x" * 100)
    data = bytearray(builder.build())
    data[70:75] = b"?????"
    from dekaf_proto.records.checksum import crc32c

    data[17:21] = crc32c(bytes(data[21:])).to_bytes(4, "big")
    b.append_raw("t", 0, bytes(data))
    assert log(b).batches[0].opened() is not None
    assert log(b).batches[0].records() == []


# ------------------------------------------------------------------------------------------- truncation, compaction


def test_truncation() -> None:
    b = broker()
    b.append("t", 0, [b"a", b"b", b"c", b"d"], 0, per_batch=2)
    b.roll("t", 0)
    b.append("t", 0, [b"e"], 0, producer_id=1, producer_epoch=0, transactional=True)
    b.delete_records("t", 0, 1)
    b.truncate("t", 0, 4)
    assert (log(b).segments, log(b).open_transactions) == ([], {})
    b.truncate("t", 0, 3)
    assert stored(b) == [(0, b"a"), (1, b"b")]
    assert (b.end_offset("t", 0), b.leader_epoch("t", 0)) == (3, 2)
    b.truncate("t", 0, 0)
    assert (b.log_start("t", 0), b.end_offset("t", 0), log(b).epochs) == (0, 0, [(3, 0)])
    assert log(b).end_of_epoch(1) == (1, 0)  # older than all that is known
    b.truncate("t", 0, 5)  # beyond the end: nothing is lost
    assert b.end_offset("t", 0) == 0


def test_transactions_survive_a_truncation_behind_them() -> None:
    b = broker()
    for producer in (1, 2):
        b.append("t", 0, [b"x"], 0, producer_id=producer, producer_epoch=0, transactional=True)
    b.abort_transaction("t", 0, 1, 0)
    b.append("t", 0, [b"y"], 0)
    b.truncate("t", 0, 3)
    assert (log(b).open_transactions, [a.producer_id for a in log(b).aborted]) == ({2: 1}, [1])
    b.delete_records("t", 0, 3)
    assert log(b).aborted == []


def test_control_batches_that_end_no_transaction() -> None:  # B10
    b = broker()
    b.append("t", 0, [b"x"], 0, producer_id=1, producer_epoch=0, transactional=True)
    builder = BatchBuilder(base_offset=1, control=True, producer_id=1, producer_epoch=0)
    builder.append(0, b"\0\0\0\2", b"")
    b.append_raw("t", 0, builder.build())
    b.append("t", 0, [b"y"], 0, transactional=True)  # of nobody
    assert log(b).open_transactions == {1: 0}


def test_deleting_records() -> None:
    b = broker()
    b.append("t", 0, [b"a", b"b", b"c", b"d"], 0, per_batch=2)
    b.delete_records("t", 0, 3)
    assert (b.log_start("t", 0), stored(b)) == (3, [(2, b"c"), (3, b"d")])
    for offset in (2, 5):
        with pytest.raises(ValueError, match="is not between"):
            b.delete_records("t", 0, offset)
    b.delete_records("t", 0, 4)
    assert stored(b) == []
    assert log(b).epoch_at(4) == 0


@pytest.mark.parametrize("log_append_time", [False, True])
@pytest.mark.parametrize("keep_empty", [False, True])
def test_compaction(keep_empty: bool, log_append_time: bool) -> None:  # B6, trap 3
    b = Broker()
    b.create_topic("t", log_append_time=log_append_time)
    records = [NewRecord(b"%d" % n, b"k", [("h", None)], n) for n in range(8)]
    b.append("t", 0, records, 20, per_batch=2, codec=Codec.GZIP, producer_id=3, producer_epoch=0, base_sequence=0)
    b.append("t", 0, [b"open"], 0, producer_id=4, producer_epoch=0, transactional=True)
    marker = b.commit_transaction("t", 0, 4, 0)
    before = {batch.base_offset: batch for batch in log(b).batches}
    b.compact("t", 0, lambda record: record.value in (b"1", b"2", b"6", b"7"), keep_empty=keep_empty)
    batches = {batch.base_offset: batch for batch in log(b).batches}
    assert list(batches) == ([0, 2, 4, 6, 8, marker] if keep_empty else [0, 2, 6, marker])
    for offset, batch in batches.items():
        old, new = before[offset].opened(), batch.opened()
        assert isinstance(old, RecordBatch)
        assert isinstance(new, RecordBatch)
        assert (new.last_offset, new.max_timestamp) == (old.last_offset, old.max_timestamp)
        assert (new.producer_id, new.timestamp_type) == (old.producer_id, old.timestamp_type)
        kept = [record for record in old.records() if new.is_control or record.value in (b"1", b"2", b"6", b"7")]
        assert list(new.records()) == kept
    assert batches[6] is before[6] or batches[6] == before[6]
    assert b.end_offset("t", 0) == 10


def test_the_base_class_alone_is_not_enough() -> None:
    cluster = Cluster({0: ("h", 1, None)}, None, 1, 0)
    with pytest.raises(TypeError, match=r"abstract method '?_changed"):
        InProcess(cluster, TransactionCoordinator(cluster, None, 2))  # type: ignore[abstract]  # which is what is tested


def test_moving_leaders() -> None:
    b = Broker(nodes=3)
    b.create_topic("t", replicas=1)
    b.move_leader("t", 0, 2)
    replicas = b.cluster.topics["t"].partitions[0].replicas
    assert (b.leader("t", 0), b.leader_epoch("t", 0), replicas) == (2, 1, [2])
    b.move_leader("t", 0, None)
    b.move_leader("t", 0, 1)
    assert (b.leader("t", 0), b.leader_epoch("t", 0), replicas) == (1, 3, [1])
    with pytest.raises(KeyError):
        b.move_leader("t", 0, 5)
