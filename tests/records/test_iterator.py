"""dekaf_proto.records.iterator: each record, every lie, and that the iterator stays where it failed (B4-B8)."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given, strategies as st

from dekaf_proto.errors import CorruptRecordError, DeserializationError
from dekaf_proto.records import RecordBatch, RecordIterator, iterator
from tests.records.made import INT64, NOW, batch, record, varint

BytesIterator = RecordIterator["bytes | None", "bytes | None"]


def records_of(
    payload: bytes, count: int = 1, *, last_offset_delta: int | None = None, start: int = 0
) -> BytesIterator:
    data = batch(payload, count, last_offset_delta=last_offset_delta)
    return RecordBatch(memoryview(data), "t", 3).records(start)


def assert_refused(records: BytesIterator, reason: str | None = None, after: int = 0) -> None:
    """`after` good records, then the same error however often one asks."""
    for _ in range(after):
        next(records)
    for _ in range(2):
        with pytest.raises(CorruptRecordError, match=reason) as caught:
            next(records)
        error = caught.value
        assert (error.topic, error.partition, error.offset) == ("t", 3, 100)
        assert error.next_offset > 100


def test_a_record() -> None:
    (got,) = records_of(record(0, b"key", b"value", 7, tail=b"\x04\x02h\x02v\x00\x01"))
    assert (got.topic, got.partition, got.offset, got.timestamp) == ("t", 3, 100, NOW + 7)
    assert (got.key, got.value, got.headers) == (b"key", b"value", (("h", b"v"), ("", None)))
    assert [type(part) for part in (got.key, got.value, got.headers[0][1])] == [bytes, bytes, bytes]


LENGTHS = [0, 1, 62, 63, 64, 65, 8190, 8191, 8192, 8193, 100_000]


@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_of_one_byte_and_more(length: int) -> None:
    data = bytes(range(256)) * (length // 256 + 1)
    data = data[:length]
    header = varint(1) + varint(length) + b"h" * length + varint(length) + data
    (got,) = records_of(record(0, data, data[::-1], tail=header))
    assert (got.key, got.value, got.headers) == (data, data[::-1], (("h" * length, data),))


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 130])
def test_any_number_of_headers(count: int) -> None:
    (got,) = records_of(record(tail=varint(count) + b"\x02a\x01" * count))
    assert got.headers == (("a", None),) * count


@given(st.lists(INT64, min_size=1, max_size=4), INT64)
def test_timestamps_wrap_like_java(deltas: list[int], base: int) -> None:
    payload = b"".join(record(n, time_delta=delta) for n, delta in enumerate(deltas))
    data = batch(payload, len(deltas), base_timestamp=base)
    wanted = [(base + delta + (1 << 63)) % (1 << 64) - (1 << 63) for delta in deltas]  # B5
    assert [r.timestamp for r in RecordBatch(memoryview(data), "t", 0).records()] == wanted


@pytest.mark.parametrize("delta", [sign * n for sign in (1, -1) for n in (0, 1, 63, 64, 65, 8191, 8192, 8193, 1 << 40)])
def test_timestamp_deltas_of_one_byte_and_more(delta: int) -> None:
    (got,) = records_of(record(time_delta=delta))
    assert got.timestamp == NOW + delta


def test_the_brokers_time_counts_for_all_records() -> None:
    payload = record(0, time_delta=5) + record(1, time_delta=-5)
    data = batch(payload, 2, attributes=0x08, max_timestamp=NOW + 999)  # B5
    assert [r.timestamp for r in RecordBatch(memoryview(data), "t", 0).records()] == [NOW + 999, NOW + 999]


@pytest.mark.parametrize("deltas", [[0, 1, 2], [0, 5, 6], [3], [63, 64, 65], [0, 8191, 8192, 8193], [1, 1 << 20]])
def test_gaps_that_compaction_left(deltas: list[int]) -> None:
    payload = b"".join(record(delta) for delta in deltas)
    for behind in (0, 7):
        records = records_of(payload, len(deltas), last_offset_delta=deltas[-1] + behind)
        assert [r.offset for r in records] == [100 + delta for delta in deltas]  # B5
        assert records.next_offset == 101 + deltas[-1] + behind  # B6
        for start in range(deltas[-1] + 102):
            if start < 110 or start > deltas[-1] + 90:
                records = records_of(payload, len(deltas), last_offset_delta=deltas[-1] + behind, start=start)
                assert [r.offset for r in records] == [100 + d for d in deltas if 100 + d >= start]  # B7


def test_where_an_iterator_is() -> None:
    records = records_of(record(1) + record(4), 2, last_offset_delta=9)
    assert iter(records) is records
    assert (records.context.topic, records.context.partition) == ("t", 3)
    positions = [records.next_offset]
    for got in records:
        assert got.context is records.context  # one for the batch
        positions.append(records.next_offset)
    assert positions == [100, 102, 110]  # B6
    assert next(records, None) is None
    assert records_of(record(1) + record(4), 2, last_offset_delta=9, start=103).next_offset == 104
    assert records_of(record(1) + record(4), 2, last_offset_delta=9, start=110).next_offset == 110


def test_a_batch_that_compaction_has_emptied() -> None:
    records = records_of(b"", 0, last_offset_delta=4)
    assert list(records) == []
    assert records.next_offset == 105  # B6


# ----------------------------------------------------------------------------------------------------------------- lies

BAD_RECORDS = {
    "length 0": bytes([0]) + record()[1:],
    "length negative": bytes([1]) + record()[1:],
    "length negative, two bytes": bytes([0x81, 0x01]) + record()[1:],
    "length one short": bytes([10]) + record()[1:],
    "length one long": bytes([14]) + record()[1:] + b"\0",
    "length far too long": bytes.fromhex("feffffff0f") + record()[1:],
    "length of 33 bits": bytes.fromhex("8c80808070") + record()[1:],
    "nothing but a length": b"\x0c",
    "key length -2": bytes.fromhex("0c 00 00 00 03 01 00"),
    "key length -65": bytes.fromhex("0e 00 00 00 8101 01 00"),
    "key beyond the record": bytes.fromhex("0c 00 00 00 64 01 00"),
    "key length int32 max": bytes.fromhex("14 00 00 00 feffffff0f 01 00"),
    "value length -2": bytes.fromhex("0c 00 00 00 01 03 00"),
    "value length -65": bytes.fromhex("0e 00 00 00 01 8101 00"),
    "value beyond the record": bytes.fromhex("0c 00 00 00 01 64 00"),
    "value length int32 max": bytes.fromhex("14 00 00 00 01 feffffff0f 00"),
    "header count negative": record(tail=b"\x01"),
    "header count beyond the record": record(tail=b"\x64"),
    "header count int32 max": record(tail=bytes.fromhex("feffffff0f")),
    "one header fewer than there are": record(tail=b"\x02\x02a\x01\x02b\x01"),
    "one header more than there are": record(tail=b"\x04\x02a\x01"),
    "header key null": record(tail=b"\x02\x01\x01"),
    "header key beyond the record": record(tail=b"\x02\x64a\x01"),
    "header key length of 33 bits": record(tail=b"\x02" + bytes.fromhex("8080808070") + b"\x01"),
    "header key of 64 bytes in 2": record(tail=b"\x02\x80\x01a\x01"),
    "header value length -2": record(tail=b"\x02\x02a\x03"),
    "header value beyond the record": record(tail=b"\x02\x02a\x64"),
    "header value of 64 bytes in 1": record(tail=b"\x02\x02a\x80\x01b"),
    "headers missing": record(tail=b""),
    "timestamp of 65 bits": bytes.fromhex("20 00 ffffffffffffffffffff01 00 01 01 00"),
    "offset of 33 bits": bytes.fromhex("14 00 00 8080808070 01 01 00"),
}


@pytest.mark.parametrize("bad", BAD_RECORDS.values(), ids=BAD_RECORDS.keys())
def test_records_that_lie(bad: bytes) -> None:
    assert_refused(records_of(bad))
    assert_refused(records_of(record(0, b"k", b"v") + bad, 2), after=1)  # B4


def test_a_record_longer_than_the_data() -> None:
    for tail in (b"\0", b"\x02\x02a\x08"):
        long = record(0, b"k", b"vvvv", tail=tail)
        body = varint(40) + long[1:]
        for cut in range(1, len(body) + 1):
            assert_refused(records_of(body[:cut]))
    whole = record(0, b"k", b"vvvv", tail=b"\x02\x02a\x08abcd")
    for cut in range(1, len(whole)):
        assert_refused(records_of(whole[:cut], 2))  # and not handed out with what there is of it


@pytest.mark.parametrize(
    "deltas", [[-1], [0, 0], [1, 0], [5, -3], [0, 70, 70], [1, 2], [2], [0, (1 << 31) - 1], [0, -64]]
)
def test_offsets_that_do_not_ascend_or_leave_the_batch(deltas: list[int]) -> None:
    last = {(1, 2): 1, (2,): 1, (0, (1 << 31) - 1): 1}.get(tuple(deltas), 100)
    payload = b"".join(record(delta) for delta in deltas)
    records = records_of(payload, len(deltas), last_offset_delta=last)
    with pytest.raises(CorruptRecordError, match="a record's offset delta is"):
        list(records)
    with pytest.raises(CorruptRecordError, match="a record's offset delta is"):
        next(records)
    with pytest.raises(CorruptRecordError, match="a record's offset delta is"):
        records_of(payload, len(deltas), last_offset_delta=last, start=1000)


def test_offsets_that_leave_no_room_for_the_records_behind() -> None:
    assert_refused(records_of(record(2) + record(3), 2, last_offset_delta=2), "2, which is not between 0 and 1")


def test_bytes_behind_the_last_record() -> None:
    assert_refused(records_of(record() + b"\0"), "1 bytes follow the last record")
    assert_refused(records_of(record() + record(1)), f"{len(record())} bytes follow the last record")
    assert_refused(records_of(record() + record(1) + b"???", 2), "3 bytes follow the last record", after=1)


def test_fewer_records_than_claimed() -> None:
    assert_refused(records_of(record(), 2), "end too early", after=1)
    assert_refused(records_of(b"", 2), "end too early")


@pytest.mark.parametrize("count", [-1, 3, 1_000_000, (1 << 31) - 1, -(1 << 31)])
def test_counts_that_cannot_be_true(count: int) -> None:
    data = batch(record() + record(1), count, last_offset_delta=1)
    with pytest.raises(CorruptRecordError, match=f"claims {count} records for 2 offsets"):
        RecordBatch(memoryview(data), "t", 0)
    with pytest.raises(CorruptRecordError, match=f"claims {count} records for 2 offsets"):
        iterator.RecordIterator(records_of(b"", 0).context, record() + record(1), count, 100, 1, NOW)


def test_records_that_a_count_of_0_hides() -> None:
    with pytest.raises(CorruptRecordError, match="claims no records but has some"):
        records_of(record(), 0, last_offset_delta=0)


# ------------------------------------------------------------------------------------------------------------- skipping


@pytest.mark.parametrize(
    "payload, count, reason",
    [
        (b"\x64" + record()[1:], 2, "claims 50 bytes where"),
        (b"\x01" + record()[1:], 2, "claims -1 bytes where"),
        (b"\x04\0" + record()[2:], 2, "not as long"),
        (record() + record(1) + b"\0", 2, "1 bytes follow"),
        (record() + b"\x0c", 2, "claims 6 bytes where 0"),
        (record() + b"\x00", 2, "end too early"),
        (record(), 2, "end too early"),
    ],
)
def test_damage_in_what_is_skipped(payload: bytes, count: int, reason: str) -> None:
    with pytest.raises(CorruptRecordError, match=reason):
        records_of(payload, count, start=1000)


def test_skipping_all_but_the_damaged_one() -> None:
    payload = record(0) + record(1) + BAD_RECORDS["key length -2"].replace(b"\0\0\0\x03", b"\0\0\x04\x03")
    assert_refused(records_of(payload, 3, start=102), "a key has a negative length")


# -------------------------------------------------------------------------------------------------------- header's keys


@pytest.mark.parametrize("key", [b"\xc3(", b"\xed\xa0\x80", b"\xff", b"caf\xc3\xa9", b"\xf0\x9f\x98\x80"])
def test_header_keys_lose_nothing(key: bytes) -> None:
    (got,) = records_of(record(tail=b"\x02" + varint(len(key)) + key + b"\x01"))
    assert got.headers[0][0].encode("utf-8", "surrogateescape") == key


# -------------------------------------------------------------------------------------------------------- deserializers


def deserializing_batch() -> RecordBatch:
    payload = record(0, b"1", b"[1]") + record(1, None, None) + record(2, b"x", b"{") + record(3, b"4", b"4")
    return RecordBatch(memoryview(batch(payload, 4)), "t", 3)


def test_deserializers() -> None:
    made = deserializing_batch()
    assert [r.key for r in made.records(key=bytes.decode)] == ["1", None, "x", "4"]  # a null is not shown to them
    records = made.records(value=json.loads)
    assert [next(records).value, next(records).value] == [[1], None]
    both = next(made.records(key=int, value=json.loads))
    assert (both.key, both.value, both.timestamp, both.offset) == (1, [1], NOW, 100)
    token = object()
    assert next(made.records(ownership=token)).context.ownership is token


@pytest.mark.parametrize("field", ["key", "value"])
def test_what_a_deserializer_raises(field: str) -> None:
    made = deserializing_batch()
    records = made.records(key=int) if field == "key" else made.records(value=json.loads)
    assert [next(records).offset, next(records).offset] == [100, 101]
    for _ in range(2):  # asking again raises again
        with pytest.raises(DeserializationError) as caught:
            next(records)
        error = caught.value
        assert (error.topic, error.partition, error.offset, error.next_offset) == ("t", 3, 102, 103)
        assert error.field == field
        assert isinstance(error.__cause__, ValueError)
        assert error.cause is error.__cause__
        assert records.next_offset == 102
    assert [r.offset for r in made.records(start=error.next_offset)] == [103]


def test_deserializers_and_the_brokers_time() -> None:
    data = batch(record(0, b"1"), attributes=0x08, max_timestamp=NOW + 1)
    (got,) = RecordBatch(memoryview(data), "t", 0).records(key=int)
    assert (got.key, got.value, got.timestamp) == (1, None, NOW + 1)


@pytest.mark.parametrize("start", [111, 1 << 31, 1 << 63, 1 << 70, -1, -(1 << 63), -(1 << 70)])
def test_any_start(start: int) -> None:
    records = records_of(record(1) + record(4), 2, last_offset_delta=9, start=start)
    assert [r.offset for r in records] == ([101, 104] if start < 0 else [])
    assert records.next_offset == 110


def test_no_copies() -> None:
    records = records_of(record())
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a RecordIterator can't be copied or pickled"):
            attempt(records)
    assert len(list(records)) == 1
