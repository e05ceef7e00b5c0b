"""dekaf_proto.records.stream: batches of all formats one behind the other, tails, and what is no batch (B17-B22)."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, strategies as st

from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records import BatchReader, Codec, LegacyBatch, RecordBatch, read_batches
from tests.records.made import (
    CODECS,
    CONTENTS,
    SMALL_CONTENTS,
    Content,
    batch,
    build,
    message,
    read,
    read_or_refuse,
    record,
)

SET = message(0, magic=0) + batch(record(), base_offset=1) + message(2, magic=1) + batch(record(), base_offset=3)


def test_all_formats_together() -> None:
    reader = read_batches(SET, "t", 3)
    assert iter(reader) is reader
    found = list(reader)
    assert [type(b) for b in found] == [LegacyBatch, RecordBatch, LegacyBatch, RecordBatch]
    assert [b.magic for b in found] == [0, 2, 1, 2]
    assert [b.next_offset for b in found] == [1, 2, 3, 4]
    assert (reader.batches_read, reader.bytes_left, reader.made_no_progress) == (4, 0, False)
    assert [b.size for b in found] == [len(message(0, magic=0)), 68, len(message(2)), 68]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer(kind: type) -> None:
    assert [b.next_offset for b in read_batches(kind(SET), "t", 3)] == [1, 2, 3, 4]


def test_no_data() -> None:
    reader = read_batches(b"", "t", 3)
    assert list(reader) == []
    assert (reader.batches_read, reader.bytes_left, reader.made_no_progress) == (0, 0, False)


def test_a_partial_tail() -> None:
    ends = [len(b) for b in (message(0, magic=0), batch(record()), message(2), batch(record()))]
    ends = [sum(ends[:n]) for n in range(1, 5)]
    for cut in range(len(SET) + 1):
        whole = sum(end <= cut for end in ends)
        reader = read_batches(SET[:cut], "t", 3)
        assert len(list(reader)) == whole  # B17, B18
        assert reader.batches_read == whole
        assert reader.bytes_left == cut - ([0, *ends])[whole]
        assert reader.made_no_progress == (whole == 0 and cut > 0)  # B20


@pytest.mark.parametrize("length", [0, -1, 1, 13, -(1 << 31), (1 << 31) - 1, (1 << 31) - 12])
def test_lengths_that_no_batch_has(length: int) -> None:
    for tail in (b"", bytes(4), bytes(100)):
        reader = BatchReader(SET + struct.pack(">qi", 77, length) + tail, "t", 3)
        for _ in range(4):
            next(reader)
        for _ in range(2):  # it stays there
            with pytest.raises(CorruptRecordError, match=f"a length of {length} bytes") as caught:
                next(reader)
            assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("t", 3, 77)
        assert (reader.batches_read, reader.bytes_left) == (4, 12 + len(tail))


def test_the_shortest_length() -> None:
    shortest = message(7, None, None, magic=0)
    assert shortest[8:12] == b"\0\0\0\x0e"
    (found,) = read_batches(shortest, "t", 3)
    assert [(r.offset, r.key, r.value) for r in found.records()] == [(7, None, None)]  # B23


def test_the_longest_length_is_a_partial_batch() -> None:
    reader = read_batches(SET + struct.pack(">qi", 4, (1 << 31) - 13) + bytes(4) + b"\2", "t", 3)
    assert len(list(reader)) == 4  # B18: a batch of 2 GiB is not all here
    assert reader.bytes_left == 17


@pytest.mark.parametrize("magic", [3, 4, 127, 128, 255])
def test_formats_that_do_not_exist(magic: int) -> None:
    data = bytearray(batch(record()))
    data[16] = magic
    for cut in (17, len(data)):  # even if the rest is not there yet
        with pytest.raises(CorruptRecordError, match=f"there is no message format {magic}"):  # B22
            next(read_batches(data[:cut], "t", 3))


def test_garbage_behind_a_batch() -> None:
    for garbage in (bytes(30), b"\xff" * 30, b"garbage " * 5):
        reader = read_batches(SET + garbage, "t", 3)
        with pytest.raises(CorruptRecordError):
            list(reader)
        assert reader.batches_read == 4


def test_checksums_can_be_left_out() -> None:
    for data in (batch(record(), crc=1), message(5, crc=1), message(5, crc=1, magic=0)):
        reader = read_batches(data, "t", 3)
        for _ in range(2):
            with pytest.raises(CorruptRecordError, match="the checksum is"):  # B22
                next(reader)
        (unchecked,) = read_batches(data, "t", 3, check_crcs=False)
        assert len(list(unchecked.records())) == 1
        assert not unchecked.crc_is_valid


def test_the_limit_is_passed_on() -> None:
    for codec in (Codec.GZIP, Codec.ZSTD):
        data = build([Content(0, None, bytes(5000), ())], codec)
        assert len(list(next(read_batches(data, "t", 3, max_decompressed_size=5100)).records())) == 1
        with pytest.raises(CorruptRecordError, match="limit of 4000"):  # B16
            next(read_batches(data, "t", 3, max_decompressed_size=4000)).records()


# ----------------------------------------------------------------------------------------------------------- properties


@given(st.lists(CONTENTS, min_size=1, max_size=6), CODECS)
def test_what_is_written_is_read(contents: list[Content], codec: Codec) -> None:
    assert read(build(contents, codec)) == contents


@given(st.lists(st.lists(SMALL_CONTENTS, min_size=1, max_size=3), min_size=1, max_size=4), CODECS, st.data())
def test_a_stream_cut_anywhere_reads_the_same_whole_batches(
    batches: list[list[Content]], codec: Codec, data: st.DataObject
) -> None:
    parts = [build(contents, codec, base_offset=10 * n) for n, contents in enumerate(batches)]
    stream = b"".join(parts)
    cut = data.draw(st.integers(0, len(stream)))
    whole, end = 0, 0
    while whole < len(parts) and end + len(parts[whole]) <= cut:
        end += len(parts[whole])
        whole += 1
    assert read(stream[:cut]) == [content for contents in batches[:whole] for content in contents]
    # And the rest of it reads from where the first part ended.
    assert read(stream[end:]) == [content for contents in batches[whole:] for content in contents]


@given(st.lists(SMALL_CONTENTS, min_size=1, max_size=3), CODECS, st.data())
def test_every_prefix_of_a_batch_is_partial(contents: list[Content], codec: Codec, data: st.DataObject) -> None:
    made = build(contents, codec)
    cut = data.draw(st.integers(0, len(made) - 1))
    reader = read_batches(made[:cut], "t", 0)
    assert list(reader) == []
    assert reader.bytes_left == cut


@given(st.lists(SMALL_CONTENTS, min_size=1, max_size=3), CODECS, st.data())
def test_flipping_a_byte(contents: list[Content], codec: Codec, data: st.DataObject) -> None:
    made = bytearray(build(contents, codec))
    at = data.draw(st.integers(0, len(made) - 1))
    made[at] ^= data.draw(st.integers(1, 255))
    got = read_or_refuse(bytes(made))
    if at >= 17:
        assert got is None  # the CRC sees it
    # Behind the CRC: what a wrong checksum would have caught must still end in a value or a CorruptRecordError.
    read_unchecked(bytes(made))


@given(
    st.lists(SMALL_CONTENTS, min_size=1, max_size=2),
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4),
)
def test_any_damage_behind_a_right_checksum(contents: list[Content], damage: list[tuple[int, int]]) -> None:
    made = bytearray(build(contents))
    for at, value in damage:
        made[17 + at % (len(made) - 17)] = value
    read_unchecked(bytes(made))


@given(st.sampled_from([0, 1, 2]), st.binary(max_size=120))
def test_junk_in_the_form_of_a_batch(magic: int, junk: bytes) -> None:
    data = struct.pack(">qiib", 5, 5 + len(junk), 0, magic) + junk
    read_unchecked(data)
    read_or_refuse(data)


def read_unchecked(data: bytes) -> None:
    """Reads all there is without checksums; only CorruptRecordError may come of it."""
    with contextlib.suppress(CorruptRecordError):
        for found in read_batches(data, "t", 0, check_crcs=False, max_decompressed_size=1 << 20):
            repr(found)
            list(found.records())
            list(found.records(start=found.last_offset))
            found.control_record()


def test_a_negative_limit() -> None:
    with pytest.raises(ValueError, match="max_decompressed_size: 0 or more bytes, not -5"):
        read_batches(b"", "t", 0, max_decompressed_size=-5)
