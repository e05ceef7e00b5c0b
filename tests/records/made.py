"""Record bytes made by hand, right or wrong, without dekaf's own encoder; and strategies for records."""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

from hypothesis import strategies as st

from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records import BatchBuilder, BatchReader, Codec, Headers, RecordIterator
from dekaf_proto.records.checksum import crc32c

NOW = 1_700_000_000_000
HEADER = ">qiibIhiqqqhii"  # of a batch of format 2, its first 61 bytes


def varint(value: int) -> bytes:
    """A signed number as records hold it, by the definition: zigzag, seven bits a byte."""
    raw = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while raw > 0x7F:
        encoded.append(raw & 0x7F | 0x80)
        raw >>= 7
    encoded.append(raw)
    return bytes(encoded)


def record(
    offset_delta: int = 0,
    key: bytes | None = None,
    value: bytes | None = None,
    time_delta: int = 0,
    tail: bytes = b"\0",
) -> bytes:
    """A record; `tail` is its headers with their count."""
    body = b"\0" + varint(time_delta) + varint(offset_delta)
    for part in (key, value):
        body += varint(-1) if part is None else varint(len(part)) + part
    body += tail
    return varint(len(body)) + body


def batch(
    payload: bytes,
    count: int = 1,
    *,
    base_offset: int = 100,
    last_offset_delta: int | None = None,
    attributes: int = 0,
    base_timestamp: int = NOW,
    max_timestamp: int = NOW,
    producer_id: int = -1,
    base_sequence: int = -1,
    leader_epoch: int = -1,
    crc: int | None = None,
) -> bytes:
    """A batch of format 2 round `payload`, with the right checksum unless there is a `crc`."""
    last = max(count - 1, 0) if last_offset_delta is None else last_offset_delta
    fields = [base_offset, 49 + len(payload), leader_epoch, 2, 0, attributes, last, base_timestamp, max_timestamp]
    fields += [producer_id, -1, base_sequence, count]
    checksummed = struct.pack(HEADER, *fields)[21:] + payload
    fields[4] = crc32c(checksummed) if crc is None else crc
    return struct.pack(HEADER, *fields)[:21] + checksummed


def message(
    offset: int = 100,
    key: bytes | None = None,
    value: bytes | None = b"v",
    *,
    magic: int = 1,
    attributes: int = 0,
    timestamp: int = NOW,
    crc: int | None = None,
    tail: bytes = b"",
) -> bytes:
    """A message of format 0 or 1; `tail` follows the value."""
    body = struct.pack(">bb", magic, attributes) + (struct.pack(">q", timestamp) if magic == 1 else b"")
    for part in (key, value):
        body += struct.pack(">i", -1) if part is None else struct.pack(">i", len(part)) + part
    body += tail
    return struct.pack(">qiI", offset, 4 + len(body), crc32(body) if crc is None else crc) + body


class Content(NamedTuple):
    """What a test puts into a record and expects to find in it."""

    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def build(contents: list[Content], codec: Codec = Codec.NONE, base_offset: int = 0) -> bytes:
    builder = BatchBuilder(codec=codec, base_offset=base_offset)
    for content in contents:
        builder.append(*content)
    return builder.build()


def read(data: bytes) -> list[Content]:
    """The contents of all records of all batches."""
    return [content for found in BatchReader(data, "t", 0) for content in contents_of(found.records())]


def contents_of(records: RecordIterator[bytes | None, bytes | None]) -> list[Content]:
    return [Content(r.timestamp, r.key, r.value, r.headers) for r in records]


def read_or_refuse(data: bytes) -> list[Content] | None:
    """What is read, None where it is refused; any other exception is the test's failure."""
    try:
        return read(data)
    except CorruptRecordError:
        return None


CODECS = st.sampled_from(list(Codec))
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TIMES = st.integers(NOW - 5000, NOW + 5000) | st.sampled_from([-1, 0, (1 << 63) - 1]) | st.integers(-1, (1 << 63) - 1)
DATA = st.none() | st.binary(max_size=20) | st.sampled_from([b"", bytes(63), bytes(64), bytes(8191), b"ab" * 5000])
# Also keys that were no UTF-8: surrogates stand for their bytes.
KEYS = st.text(max_size=6) | st.binary(max_size=6).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
HEADERS = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=6)), max_size=3).map(tuple)
CONTENTS = st.builds(Content, TIMES, DATA, DATA, HEADERS)
SMALL_CONTENTS = st.builds(
    Content, st.integers(NOW, NOW + 300), st.none() | st.binary(max_size=5), st.none() | st.binary(max_size=9), HEADERS
)
