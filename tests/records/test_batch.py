"""dekaf_proto.records.batch: the header of format 2, field by field (B1-B12)."""

from __future__ import annotations

import struct

import pytest

from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records import Codec, ControlRecord, ControlType, RecordBatch, build_marker
from dekaf_proto.records.compression import compress
from dekaf_proto.types import TimestampType
from tests.records.made import NOW, batch, record


def parse(data: bytes, **options: bool | int) -> RecordBatch:
    return RecordBatch(memoryview(data), "t", 3, **options)  # type: ignore[arg-type]


def refused(data: bytes, reason: str) -> CorruptRecordError:
    with pytest.raises(CorruptRecordError, match=reason) as caught:
        parse(data)
    assert (caught.value.topic, caught.value.partition) == ("t", 3)
    return caught.value


def test_every_field() -> None:
    fields = [1000, 49, 5, 2, 0, 0x10, 9, NOW, NOW + 5, 7000, 3, 20, 0]
    data = struct.pack(">qiibIhiqqqhii", *fields)
    header = parse(data, check_crc=False)
    assert (header.topic, header.partition, header.magic) == ("t", 3, 2)
    assert (header.base_offset, header.last_offset, header.next_offset, header.size) == (1000, 1009, 1010, 61)
    assert (header.leader_epoch, header.crc, header.crc_is_valid) == (5, 0, False)
    assert (header.codec, header.timestamp_type) == (Codec.NONE, TimestampType.CREATE_TIME)
    assert (header.is_transactional, header.is_control, header.delete_horizon_ms) == (True, False, None)
    assert (header.base_timestamp, header.max_timestamp) == (NOW, NOW + 5)
    assert (header.producer_id, header.producer_epoch, header.base_sequence, header.last_sequence) == (7000, 3, 20, 29)
    assert header.count == 0
    assert repr(header) == "<RecordBatch t-3 offsets=1000..1009 count=0 codec=none>"


@pytest.mark.parametrize("codec", list(Codec))
def test_codecs(codec: Codec) -> None:
    payload = record(0, b"k", b"v")
    packed = parse(batch(compress(codec, payload), attributes=int(codec)))
    assert packed.codec is codec
    assert [r.value for r in packed.records()] == [b"v"]  # B12


@pytest.mark.parametrize("bits", [5, 6, 7])
def test_codecs_that_do_not_exist(bits: int) -> None:
    assert refused(batch(record(), attributes=bits), f"there is no codec {bits}").next_offset == 101  # B3


def test_attributes() -> None:
    assert parse(batch(record(), attributes=0x08)).timestamp_type is TimestampType.LOG_APPEND_TIME  # B3
    assert parse(batch(record(), attributes=0x10)).is_transactional
    assert parse(batch(record(), attributes=0x20)).is_control
    assert parse(batch(record(), attributes=0x40)).delete_horizon_ms == NOW
    unused = parse(batch(record(), attributes=-0x80))  # bits 7 to 15: B3
    assert (unused.codec, unused.is_transactional, unused.is_control) == (Codec.NONE, False, False)
    assert len(list(unused.records())) == 1


def test_unknown_leader_epoch() -> None:
    assert parse(batch(record())).leader_epoch is None  # B9
    assert next(parse(batch(record())).records()).leader_epoch is None
    assert next(parse(batch(record(), leader_epoch=7)).records()).leader_epoch == 7


@pytest.mark.parametrize(
    "base, delta, last",
    [(0, 5, 5), (-1, 5, -1), ((1 << 31) - 1, 0, (1 << 31) - 1), ((1 << 31) - 1, 1, 0), ((1 << 31) - 3, 5, 2)],
)
def test_sequences_wrap(base: int, delta: int, last: int) -> None:
    assert parse(batch(record(), last_offset_delta=delta, base_sequence=base)).last_sequence == last  # B8


def test_the_checksum() -> None:
    good = batch(record(0, b"k", b"v"))
    assert parse(good).crc_is_valid
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1
        if at < 17 and at != 16:  # the broker may change offset and epoch (B2); the length is the reader's to check
            assert parse(bytes(bad)).crc_is_valid
        elif at >= 17:
            assert "the checksum is 0x" in str(refused(bytes(bad), "checksum"))
    bad = bytearray(good)
    bad[-2] ^= 1
    assert list(parse(bytes(bad), check_crc=False).records()) != list(parse(good).records())


def test_the_end_is_not_believed_under_a_wrong_checksum() -> None:
    good = batch(record(0, b"k", b"v"))
    for bit in range(17 * 8, len(good) * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert refused(bytes(bad), "checksum").next_offset == -1
    # One bit claims 2^30 offsets more. Where nobody looks at the checksum, the end is not believed either.
    bad = bytearray(batch(record(0, b"k", b"v")[:-1]))
    bad[23] ^= 0x40
    unchecked = parse(bytes(bad), check_crc=False)
    assert unchecked.next_offset == 101 + (1 << 30)
    for start in (0, 1000):
        with pytest.raises(CorruptRecordError, match=r"too early|claims") as caught:
            next(unchecked.records(start))
        assert (caught.value.offset, caught.value.next_offset) == (100, -1)
    assert unchecked.corrupt("some reason").next_offset == -1
    with pytest.raises(CorruptRecordError) as caught:
        parse(batch(record()[:-1])).records(1000)
    assert caught.value.next_offset == 101


def test_a_negative_limit() -> None:
    with pytest.raises(ValueError, match="max_decompressed_size: 0 or more bytes, not -1"):
        parse(batch(record()), max_decompressed_size=-1)
    assert len(list(parse(batch(record()), max_decompressed_size=0).records())) == 1


def test_too_short_for_its_header() -> None:
    for size in range(26, 61):
        error = refused(batch(record())[:size], f"a batch of {size} bytes is shorter than its header")  # B1
        assert (error.offset, error.next_offset) == (100, -1)


@pytest.mark.parametrize("base, delta", [(-1, 0), (-(1 << 63), 0), ((1 << 63) - 1, 0), ((1 << 63) - 11, 10)])
def test_offsets_that_do_not_exist(base: int, delta: int) -> None:
    error = refused(batch(record(), base_offset=base, last_offset_delta=delta), f"claims {base} as its first offset")
    assert error.next_offset == -1  # there is no such place to seek to


def test_the_highest_offsets() -> None:
    top = parse(batch(record(10), base_offset=(1 << 63) - 12, last_offset_delta=10))
    assert top.next_offset == (1 << 63) - 1
    assert [r.next_offset for r in top.records()] == [(1 << 63) - 1]


@pytest.mark.parametrize("delta", [-1, -(1 << 31)])
def test_a_batch_that_ends_before_it_begins(delta: int) -> None:
    error = refused(batch(b"", 0, last_offset_delta=delta), f"the last offset is {delta} above the first")
    assert error.next_offset == -1  # who seeks to its end goes back, or stays


def test_the_end_in_a_damaged_header() -> None:
    data = bytearray(batch(record()))
    data[23] ^= 0x80  # the sign of the last offset
    error = refused(bytes(data), "checksum")
    assert (error.offset, error.next_offset) == (100, -1)


@pytest.mark.parametrize("codec", list(Codec))
def test_emptied_batches(codec: Codec) -> None:
    emptied = parse(batch(b"", 0, last_offset_delta=9, attributes=int(codec)))
    assert list(emptied.records()) == []
    assert emptied.next_offset == 110  # B6
    if codec is not Codec.NONE:
        hiding = parse(batch(compress(codec, record()), 0, last_offset_delta=9, attributes=int(codec)))
        with pytest.raises(CorruptRecordError, match="claims no records but has some"):
            hiding.records()


@pytest.mark.parametrize("codec", [codec for codec in Codec if codec is not Codec.NONE])
def test_damaged_and_oversized_payloads(codec: Codec) -> None:
    packed = compress(codec, record(0, None, bytes(10_000)))
    data = batch(packed[:-3], attributes=int(codec))
    for _ in range(2):
        with pytest.raises(CorruptRecordError) as caught:
            parse(data).records()
        assert (caught.value.offset, caught.value.next_offset) == (100, 101)
    data = batch(packed, attributes=int(codec))
    assert len(list(parse(data, max_decompressed_size=10_100).records())) == 1
    with pytest.raises(CorruptRecordError, match="more than the limit of 9000 bytes"):  # B16
        parse(data, max_decompressed_size=9000).records()


def test_control_records() -> None:
    marker = build_marker(
        ControlType.ABORT, producer_id=5, producer_epoch=1, coordinator_epoch=2, base_offset=10, timestamp=NOW
    )
    assert parse(marker).control_record() == ControlRecord(ControlType.ABORT, 0, 0, 2)  # B10
    assert parse(batch(b"", 0, last_offset_delta=0, attributes=0x20)).control_record() is None
    for key in (None, b"abc"):
        with pytest.raises(CorruptRecordError, match="a control record without a version") as caught:
            parse(batch(record(0, key), attributes=0x20)).control_record()
        assert caught.value.next_offset == 101
