"""Record batches: CorruptRecordError is the only exception, in bounded time, and reading twice is the same.

And: what a batch says of itself holds for its records. There are as many as it says, their offsets rise, and none is
outside of it. Together they hold no more bytes than the batch or, compressed, than the limit. What raised once raises
again.
"""
# ruff: noqa: PT017  # these assertions are no test of pytest's

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records import Batch, Codec, RecordBatch, judge_batches, read_batches
from dekaf_proto.records.checksum import crc32c
from dekaf_proto.records.compression import compress
from fuzz.corpus import golden_records

#: What a batch may decompress to in here: a few inputs a second would be no fuzzing.
LIMIT = 1 << 16

CHECK_CRCS = 0x01
FIX_CRCS = 0x02  # else hardly anything gets past the checksum
WRAP = 0x04  # the input is the records of one batch: to be compressed, and given a header
FIT_LENGTH = 0x08  # the input is one batch, whatever it says of its length: bytes can come and go
CODEC_SHIFT = 4

_HEADER = struct.Struct(">qiibIhiqqqhii")


def fuzz_one(data: bytes) -> None:
    """The first byte says what is done with the others; see above."""
    mode = data[0] if data else 0
    log = data[1:]
    if mode & WRAP:
        log = wrapped(log, Codec((mode >> CODEC_SHIFT) % len(Codec)))
    elif mode & FIT_LENGTH:
        log = log[:8] + (len(log) - 12).to_bytes(4, "big") + log[12:] if len(log) > 12 else log
    if mode & FIX_CRCS:
        log = with_right_crcs(log)
    check = bool(mode & CHECK_CRCS)
    assert read(log, check) == read(log, check)
    judge(log, check)


def read(log: bytes, check_crcs: bool) -> list[object]:
    """All that can be read, and how it ended."""
    seen: list[object] = []
    reader = read_batches(log, "fuzz", 0, check_crcs=check_crcs, max_decompressed_size=LIMIT)
    while True:
        left = reader.bytes_left
        try:
            batch = next(reader, None)
        except CorruptRecordError as e:
            assert reader.bytes_left == left
            assert raises_again(lambda: next(reader), e)
            seen.append(str(e))
            return seen
        if batch is None:
            assert reader.bytes_left == left
            seen.append((left, reader.made_no_progress))
            return seen
        assert left - reader.bytes_left == batch.size
        if check_crcs:
            assert batch.crc_is_valid
        seen += read_one(batch)


def read_one(batch: Batch) -> Iterator[object]:
    try:
        # Of a compressed set of the old formats these are found by reading it.
        yield repr(batch), batch.base_offset, batch.last_offset, batch.next_offset, batch.last_sequence
        yield batch.timestamp_type, batch.max_timestamp, batch.delete_horizon_ms, batch.leader_epoch
    except CorruptRecordError as e:
        yield str(e)
    if batch.is_control:
        try:
            yield batch.control_record()
        except CorruptRecordError as e:
            yield str(e)
    count = size = 0
    most = batch.size if batch.codec == Codec.NONE else LIMIT
    offset = -1
    try:
        records = batch.records()
    except CorruptRecordError as e:
        assert raises_again(batch.records, e)
        yield str(e)
        return
    while True:
        try:
            record = next(records, None)
        except CorruptRecordError as e:
            assert raises_again(lambda: next(records), e)
            yield str(e)
            return
        if record is None:
            break
        count += 1
        assert count <= LIMIT  # a record takes a byte at the very least
        assert record.offset > offset
        offset = record.offset
        size += len(record.key or b"") + len(record.value or b"")
        size += sum(len(name) + len(value or b"") for name, value in record.headers)
        assert size <= most
        repr(record)
        yield record
    if isinstance(batch, RecordBatch):
        assert count == batch.count
        assert count == 0 or batch.base_offset <= offset <= batch.last_offset


def judge(log: bytes, check_crcs: bool) -> None:
    reader = read_batches(log, "fuzz", 0, check_crcs=check_crcs, max_decompressed_size=LIMIT)
    try:
        for batch, visibility in judge_batches(reader, aborted=[(0, 0), (5, 9000)]):
            assert (visibility.name == "CONTROL") == batch.is_control
    except CorruptRecordError:
        pass


def raises_again(call: object, first: CorruptRecordError) -> bool:
    assert callable(call)
    try:
        call()
    except CorruptRecordError as e:
        return str(e) == str(first)
    return False


def wrapped(records: bytes, codec: Codec) -> bytes:
    """A batch of format 2 around the bytes of its records, of which the first says how many it claims."""
    count = records[0] if records else 0
    payload = compress(codec, records[1:]) if count else records[1:]
    size = _HEADER.size - 12 + len(payload)
    header = _HEADER.pack(100, size, 1, 2, 0, int(codec), max(count - 1, 0), 1000, 2000, -1, -1, -1, count)
    return with_right_crcs(header + payload)


def with_right_crcs(log: bytes) -> bytes:
    """The same batches, each with the checksum that it should have."""
    fixed = bytearray(log)
    position = 0
    while position + 17 <= len(fixed):
        end = position + 12 + int.from_bytes(fixed[position + 8 : position + 12], "big", signed=True)
        if end <= position + 17 or end > len(fixed):
            break
        if fixed[position + 16] >= 2:
            if end >= position + _HEADER.size:
                fixed[position + 17 : position + 21] = crc32c(bytes(fixed[position + 21 : end])).to_bytes(4, "big")
        else:
            fixed[position + 12 : position + 16] = zlib.crc32(fixed[position + 16 : end]).to_bytes(4, "big")
        position = end
    return bytes(fixed)


#: Modes in which a change gets past length and checksum.
DEEP = (CHECK_CRCS | FIX_CRCS | FIT_LENGTH, CHECK_CRCS | FIX_CRCS, FIT_LENGTH, 0)


def seeds() -> Iterator[bytes]:
    damaged = 0
    for valid, log in golden_records():
        if valid:
            yield from (bytes([mode]) + log for mode in DEEP)
            yield bytes([CHECK_CRCS]) + log
            if len(log) > _HEADER.size and log[16] == 2 and log[22] & 7 == 0:
                for codec in Codec:  # the last byte of the count, then the records
                    yield bytes([WRAP | codec << CODEC_SHIFT]) + log[60:]
            continue
        # Damaged ones reach what refuses them; in full number they would leave little time for anything else.
        damaged += 1
        if damaged % 4 == 0:
            yield bytes([DEEP[damaged // 4 % len(DEEP)]]) + log
