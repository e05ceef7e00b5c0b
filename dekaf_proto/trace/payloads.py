"""What a peer sent, without what is nobody's business: payloads of records and secrets, in as many bytes.

An engine sees lengths, offsets and checksums, never a record's key or value. So each batch of a Fetch response is
replaced by one of the same size, with as many records at the same offsets, made of zeros; a checksum that was right is
right again. Timestamps and the lengths of single values go as well. What is secret (see `SECRET`) becomes zeros.

Only whole frames can be rewritten: the bytes of one that is not complete yet are kept back until it is.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from functools import lru_cache
from typing import Final

from dekaf_proto import messages
from dekaf_proto.errors import CorruptRecordError, DecodeError, FrameError
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchResponse
from dekaf_proto.records.batch import (
    CHECKSUMMED_FROM,
    CODEC_BITS,
    CONTROL_BIT,
    HEADER,
    HEADER_SIZE,
    LENGTH_FROM,
    RecordBatch as _Batch,
)
from dekaf_proto.records.checksum import crc32c
from dekaf_proto.records.compression import Codec
from dekaf_proto.wire import FrameReader, decode_response, encode_response
from dekaf_proto.wire.schema import Buffer

#: APIs whose requests and responses never get into a trace.
SECRET: Final = frozenset({ApiKey.SASL_AUTHENTICATE})

_REQUEST_START: Final = struct.Struct(">ihhi")
_SIZE: Final = struct.Struct(">i")
_SHORTEST: Final = HEADER_SIZE - LENGTH_FROM
_EMPTY_BLOCK: Final = b"\0\0\0\xff\xff"  # of a deflate stream: five bytes that hold nothing


class CannotLeaveOutError(Exception):
    """A payload can't be left out; the text says why."""


class Received:
    """What comes in over the connections of one engine, as it may be kept. `max_frame_size`: as the engine's own."""

    def __init__(self, payloads: bool, max_frame_size: int) -> None:
        self._payloads = payloads
        self._max_frame_size = max_frame_size
        self._frames: dict[int, FrameReader] = {}
        #: The requests without a response, by connection: API and version.
        self._asked: dict[int, deque[tuple[int, int]]] = {}

    def sent(self, conn: int, data: bytes) -> bytes:
        """Notes requests that go out, and gives them without secrets."""
        asked = self._asked.setdefault(conn, deque())
        kept = []
        for frame in frames_of(data):
            _, key, version, _ = _REQUEST_START.unpack_from(frame)
            asked.append((key, version))
            start = _REQUEST_START.size
            kept.append(frame[:start] + bytes(len(frame) - start) if key in SECRET else frame)
        return b"".join(kept)

    def received(self, conn: int, data: Buffer) -> bytes:
        """The frames that `data` completes; raises CannotLeaveOutError."""
        reader = self._frames.get(conn)
        if reader is None:
            reader = self._frames[conn] = FrameReader(self._max_frame_size)
        reader.receive_data(data)
        kept = []
        try:
            while (frame := reader.next_frame()) is not None:
                kept += [_SIZE.pack(len(frame)), self._without(conn, frame)]
        except FrameError as error:
            kept.append(_SIZE.pack(error.size))  # the engine sees no more of it either
        return b"".join(kept)

    def forget(self, conn: int) -> None:
        """The connection is gone."""
        self._frames.pop(conn, None)
        self._asked.pop(conn, None)

    def _without(self, conn: int, frame: bytes) -> bytes:
        asked = self._asked.get(conn)
        key, version = asked.popleft() if asked else (-1, 0)
        if key in SECRET:
            return frame[:4] + bytes(len(frame) - 4)
        if key == ApiKey.FETCH and not self._payloads:
            return _fetched(frame, version)
        return frame


def frames_of(data: bytes) -> list[bytes]:
    """Requests, each with its size."""
    frames = []
    while data:
        end = 4 + _SIZE.unpack_from(data)[0]
        frames.append(data[:end])
        data = data[end:]
    return frames


def name_of(frame: bytes) -> str:
    """A request, for people."""
    _, key, version, number = _REQUEST_START.unpack_from(frame)
    return f"{messages.ApiKey(key).name} v{version} #{number}"


def _fetched(frame: bytes, version: int) -> bytes:
    try:
        number, response = decode_response(FetchResponse, version, frame)
    except DecodeError:
        return frame[:4] + bytes(len(frame) - 4)  # the engine can't read it either
    for topic in response.responses:
        for partition in topic.partitions:
            if partition.records:
                partition.records = without_payloads(partition.records)
    kept = encode_response(response, version, number)[4:]
    if len(kept) != len(frame):
        raise CannotLeaveOutError(f"a Fetch response of {len(frame)} bytes would have {len(kept)}")
    return kept


def without_payloads(data: Buffer) -> bytes:
    """Batches as a Fetch response has them, in as many bytes. CannotLeaveOutError for message formats 0 and 1."""
    kept = bytearray(data)
    size, start = len(kept), 0
    while size - start > 16:
        length, magic = int.from_bytes(kept[start + 8 : start + 12], "big", signed=True), kept[start + 16]
        if magic < 2:
            raise CannotLeaveOutError(f"the records are in message format {magic}")
        end = start + LENGTH_FROM + length
        if magic > 2 or length < _SHORTEST or end > size:
            break  # damaged, or cut off by the broker
        _empty(memoryview(kept)[start:end])
        start = end
    rest = min(size, start + HEADER_SIZE)
    kept[rest:] = bytes(size - rest)
    return bytes(kept)


def _empty(batch: memoryview) -> None:
    """Empties one batch in place."""
    fields = HEADER.unpack_from(batch)
    checksum, attributes, last_delta, count = fields[4], fields[5], fields[6], fields[12]
    if attributes & CONTROL_BIT:
        return  # a marker: no payload
    right = crc32c(batch[CHECKSUMMED_FROM:]) == checksum
    size = len(batch) - HEADER_SIZE
    if count == last_delta + 1:
        deltas: tuple[int, ...] | range = range(count)
    else:  # some are missing, and only the records say which
        try:
            offsets = [record.offset for record in _Batch(batch, "", 0, check_crc=False).records()]
            deltas = tuple(offset - fields[0] for offset in offsets)
        except CorruptRecordError:
            deltas = ()
    records, codec = _records(deltas, size)
    HEADER.pack_into(batch, 0, *fields[:5], attributes & ~CODEC_BITS | codec, *fields[6:])
    batch[HEADER_SIZE:] = records
    checksum = crc32c(batch[CHECKSUMMED_FROM:])
    batch[17:21] = (checksum if right else checksum ^ 1).to_bytes(4, "big")


def _records(deltas: tuple[int, ...] | range, size: int) -> tuple[bytes, Codec]:
    """Records at these offsets, in exactly `size` bytes, and how they are compressed."""
    if not deltas:
        return bytes(size), Codec.NONE
    plain = _plain(deltas)
    last = len(_record(deltas[-1]))
    padded = _padded(deltas[-1], size - len(plain) + last)
    if padded is not None:
        return plain[: len(plain) - last] + padded, Codec.NONE
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = compressor.compress(plain) + compressor.flush()
    blocks, rest = divmod(size - len(packed) - 18, 5)
    if blocks < 0:
        raise CannotLeaveOutError(f"{len(deltas)} records were compressed into {size} bytes")
    name = b"-" * (rest - 1) + b"\0" if rest else b""
    start = b"\x1f\x8b\x08" + (b"\x08" if rest else b"\0") + b"\0\0\0\0\0\xff"
    end = struct.pack("<II", zlib.crc32(plain), len(plain))
    return b"".join((start, name, _EMPTY_BLOCK * blocks, packed, end)), Codec.GZIP


@lru_cache(maxsize=64)
def _plain(deltas: tuple[int, ...] | range) -> bytes:
    return b"".join(map(_record, deltas))


def _record(delta: int, key: int = -1, value: int = 0) -> bytes:
    """A record with so many zeros as its key (-1: null) and value."""
    body = b"".join((b"\0\0", _varint(delta), _varint(key), bytes(max(0, key)), _varint(value), bytes(value), b"\0"))
    return _varint(len(body)) + body


def _padded(delta: int, size: int) -> bytes | None:
    """A record of exactly `size` bytes; None if there is none, as where its own length would grow by a byte."""
    spare = size - len(_record(delta))
    for key in (-1, 1, 2):
        for value in range(spare, max(-1, spare - 12), -1):
            if _length(delta, key, value) == size:
                return _record(delta, key, value)
    return None


def _length(delta: int, key: int, value: int) -> int:
    body = 3 + len(_varint(delta)) + len(_varint(key)) + max(0, key) + len(_varint(value)) + value
    return len(_varint(body)) + body


def _varint(value: int) -> bytes:
    value = value << 1 if value >= 0 else -(value << 1) - 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
