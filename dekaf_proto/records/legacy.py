"""Message sets of the formats 0 and 1, which old log segments still hold (B23-B25).

    0 offset i64 | 8 size i32 | 12 crc u32 (IEEE) | 16 magic i8 | 17 attributes i8 | format 1: 18 timestamp i64
    | key length i32, key | value length i32, value

A message is a batch of its own, or, compressed, a wrapper round a set of inner messages. `LegacyBatch` has the surface
of `RecordBatch`. Its messages are rewritten as records of format 2, so that one iterator (and one set of checks) serves
all formats: these bytes are too rare to deserve a hot path.

Rules: inner messages are checked like outer ones, their CRC too; all of a wrapper is read or none of it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast, overload
from zlib import crc32

from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records import iterator
from dekaf_proto.records.compression import MAX_DECOMPRESSED_SIZE, Codec, check_limit, decompress
from dekaf_proto.records.control import ControlRecord
from dekaf_proto.records.record import BatchContext
from dekaf_proto.records.varint import encode_varint
from dekaf_proto.types import TimestampType

if TYPE_CHECKING:
    from dekaf_proto.records.generic import Deserializer, RecordIterator

K = TypeVar("K")
V = TypeVar("V")

_OUTER: Final = struct.Struct(">qiIbb")
_LENGTH: Final = struct.Struct(">i")
_TIMESTAMP: Final = struct.Struct(">q")
_CHECKSUMMED_FROM: Final = 16
_MIN_SIZE: Final = (26, 34)  # of a whole message with a null key and a null value, by format

_CODEC_BITS: Final = 0x07
_LOG_APPEND_TIME_BIT: Final = 0x08
_INT32_MAX: Final = 0x7FFFFFFF


class _Message(NamedTuple):
    offset: int
    crc: int
    magic: int
    attributes: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class _Set(NamedTuple):
    """All messages of a batch, rewritten as records of format 2."""

    base_offset: int
    number: int
    records: bytes


class LegacyBatch:
    """One message of format 0 or 1, or one compressed set of them. `data` is exactly its bytes.

    Raises CorruptRecordError as `RecordBatch` does; `check_crc` False leaves outer and inner checksums unread.
    """

    __slots__ = ("_check_crc", "_data", "_max_decompressed_size", "_message", "_partition", "_set", "_topic")

    # What these formats do not have, as `RecordBatch` shows it.
    leader_epoch: Final = None
    producer_id: Final = -1
    producer_epoch: Final = -1
    base_sequence: Final = -1
    last_sequence: Final = -1
    is_transactional: Final = False
    is_control: Final = False
    delete_horizon_ms: Final = None
    count: Final = None

    def __init__(
        self,
        data: memoryview,
        topic: str,
        partition: int,
        check_crc: bool = True,
        max_decompressed_size: int = MAX_DECOMPRESSED_SIZE,
    ) -> None:
        self._data = data
        self._topic = topic
        self._partition = partition
        self._check_crc = check_crc
        check_limit(max_decompressed_size)
        self._max_decompressed_size = max_decompressed_size
        self._set: _Set | None = None
        try:
            self._message = _read_message(data, check_crc)
        except ValueError as error:
            offset = int.from_bytes(data[:8], "big", signed=True)
            raise CorruptRecordError(topic, partition, offset, str(error)) from None
        if self._message.attributes & _CODEC_BITS > Codec.LZ4:  # zstd came after these formats
            raise self.corrupt(
                f"messages of format {self.magic} have no codec {self._message.attributes & _CODEC_BITS}"
            )

    @property
    def topic(self) -> str:
        """The topic's name."""
        return self._topic

    @property
    def partition(self) -> int:
        """The partition's number."""
        return self._partition

    @property
    def magic(self) -> int:
        """The message format: 0 or 1."""
        return self._message.magic

    @property
    def base_offset(self) -> int:
        """The first message's offset. Of a compressed set it is known only after decompressing: CorruptRecordError."""
        return self._read().base_offset

    @property
    def last_offset(self) -> int:
        """The last message's offset."""
        return self._message.offset

    @property
    def next_offset(self) -> int:
        """`last_offset + 1`."""
        return self._message.offset + 1

    @property
    def size(self) -> int:
        """The length in bytes."""
        return len(self._data)

    @property
    def crc(self) -> int:
        """The checksum that the (outer) message carries."""
        return self._message.crc

    @property
    def crc_is_valid(self) -> bool:
        """Whether the checksum is right (computed with each call)."""
        return crc32(self._data[_CHECKSUMMED_FROM:]) == self._message.crc

    @property
    def codec(self) -> Codec:
        """How the inner messages are compressed; NONE: there are none."""
        return Codec(self._message.attributes & _CODEC_BITS)

    @property
    def timestamp_type(self) -> TimestampType:
        """NO_TIMESTAMP_TYPE for format 0."""
        if self.magic == 0:
            return TimestampType.NO_TIMESTAMP_TYPE
        return TimestampType(self._message.attributes >> 3 & 1)

    @property
    def base_timestamp(self) -> int:
        """The (outer) message's timestamp, in ms since 1970; -1 for format 0."""
        return self._message.timestamp

    @property
    def max_timestamp(self) -> int:
        """The same: of a compressed set it is the highest of the inner ones."""
        return self._message.timestamp

    @overload
    def records(
        self, start: int = 0, *, key: None = None, value: None = None, ownership: object = None
    ) -> RecordIterator[bytes | None, bytes | None]: ...
    @overload
    def records(
        self, start: int = 0, *, key: Deserializer[K], value: None = None, ownership: object = None
    ) -> RecordIterator[K | None, bytes | None]: ...
    @overload
    def records(
        self, start: int = 0, *, key: None = None, value: Deserializer[V], ownership: object = None
    ) -> RecordIterator[bytes | None, V | None]: ...
    @overload
    def records(
        self, start: int = 0, *, key: Deserializer[K], value: Deserializer[V], ownership: object = None
    ) -> RecordIterator[K | None, V | None]: ...
    def records(
        self,
        start: int = 0,
        *,
        key: Deserializer[K] | None = None,
        value: Deserializer[V] | None = None,
        ownership: object = None,
    ) -> RecordIterator[K | bytes | None, V | bytes | None]:
        """An iterator over the messages at `start` and above; as `RecordBatch.records`."""
        base_offset, count, data = self._read()
        # The time of a broker that appended the set counts for all of it.
        append_time = self.timestamp_type is TimestampType.LOG_APPEND_TIME
        records = iterator.RecordIterator(
            BatchContext(self._topic, self._partition, self.timestamp_type, None, ownership),
            data,
            count,
            base_offset,
            self.last_offset - base_offset,
            0,
            self._message.timestamp if append_time else None,
            min(max(start, 0), self.next_offset),  # so that it fits a machine integer
            key,
            value,
            self._check_crc,
        )
        return cast("RecordIterator[K | bytes | None, V | bytes | None]", records)

    def control_record(self) -> ControlRecord | None:
        """None: these formats have no control records."""
        return None

    def corrupt(self, reason: str) -> CorruptRecordError:
        """The exception that says that this batch is damaged."""
        end = self.next_offset if self._check_crc else -1  # as RecordBatch: nobody looked at the checksum
        return CorruptRecordError(self._topic, self._partition, self.last_offset, reason, end)

    def __repr__(self) -> str:
        return (
            f"<LegacyBatch {self._topic}-{self._partition} magic={self.magic} last_offset={self.last_offset}"
            f" codec={self.codec.name.lower()}>"
        )

    def _read(self) -> _Set:
        if self._set is None:
            message = self._message
            try:
                if self.codec == Codec.NONE:
                    self._set = _Set(message.offset, 1, _as_record(message, message.offset))
                else:
                    self._set = self._unwrap()
            except ValueError as error:
                raise self.corrupt(str(error)) from None
        return self._set

    def _unwrap(self) -> _Set:
        """The inner messages with their absolute offsets (B24); ValueError if anything about them is wrong.

        Each is let go at once: as objects they would take ten times the bytes that they come from.
        """
        wrapper = self._message
        if wrapper.value is None:
            raise ValueError("a compressed message set without a value")
        data = memoryview(
            decompress(self.codec, wrapper.value, self._max_decompressed_size, any_lz4_checksum=wrapper.magic == 0)
        )
        records = bytearray()
        count = pos = 0
        first = last = -1
        while pos < len(data):
            if len(data) - pos < 12:
                raise ValueError("the last inner message is cut off")
            end = pos + 12 + _LENGTH.unpack_from(data, pos + 8)[0]
            if not pos + 12 <= end <= len(data):
                raise ValueError(
                    f"an inner message claims {end - pos - 12} bytes where {len(data) - pos - 12} are left"
                )
            message = _read_message(data[pos:end], self._check_crc)
            if message.magic != wrapper.magic:
                raise ValueError(f"a message of format {message.magic} inside one of format {wrapper.magic}")
            if message.attributes & _CODEC_BITS:
                raise ValueError("an inner message is compressed itself")
            if message.offset <= last:
                raise ValueError(f"an inner message has the offset {message.offset}, the one before it {last}")
            last = message.offset
            if count == 0:
                first = last
            if last - first > _INT32_MAX:
                raise ValueError("the inner offsets are too far apart")
            records += _as_record(message, first)
            count += 1
            pos = end
        if count == 0:
            raise ValueError("a compressed message set without messages")
        shift = 0
        if wrapper.magic == 1 and wrapper.offset != 0:  # 0: an old librdkafka's, whose inner offsets are the offsets
            shift = wrapper.offset - last
        if shift < 0 or last + shift > wrapper.offset:
            raise ValueError(f"an inner message has the offset {last}, beyond the set's {wrapper.offset}")
        if wrapper.offset - first - shift > _INT32_MAX:
            raise ValueError("the inner offsets are too far apart")
        return _Set(first + shift, count, bytes(records))


def _read_message(data: memoryview, check_crc: bool) -> _Message:
    """One whole message; ValueError if it is damaged."""
    if len(data) < _MIN_SIZE[0]:
        raise ValueError(f"a message of {len(data)} bytes is too short")
    offset, _, crc, magic, attributes = _OUTER.unpack_from(data)
    if magic not in (0, 1):
        raise ValueError(f"there is no message format {magic} here")
    if len(data) < _MIN_SIZE[magic]:
        raise ValueError(f"a message of {len(data)} bytes is too short")
    if check_crc:
        computed = crc32(data[_CHECKSUMMED_FROM:])
        if computed != crc:
            raise ValueError(f"the checksum is {computed:#010x} where the message says {crc:#010x}")
    if not 0 <= offset < 0x7FFFFFFFFFFFFFFF:
        raise ValueError(f"a message has the offset {offset}")
    pos = 18
    timestamp = -1
    if magic == 1:
        timestamp = _TIMESTAMP.unpack_from(data, pos)[0]
        pos += 8
    key, pos = _read_bytes(data, pos, "key")
    value, pos = _read_bytes(data, pos, "value")
    if pos != len(data):
        raise ValueError(f"{len(data) - pos} bytes follow a message's value")
    return _Message(offset, crc, magic, attributes, timestamp, key, value)


def _read_bytes(data: memoryview, pos: int, what: str) -> tuple[bytes | None, int]:
    if len(data) - pos < 4:
        raise ValueError(f"a message ends before its {what}")
    length = _LENGTH.unpack_from(data, pos)[0]
    pos += 4
    if length == -1:
        return None, pos
    if not 0 <= length <= len(data) - pos:
        raise ValueError(f"a message's {what} claims {length} bytes where {len(data) - pos} are left")
    return bytes(data[pos : pos + length]), pos + length


def _as_record(message: _Message, base_offset: int) -> bytes:
    """The message as a record of format 2, with its timestamp as the delta to 0."""
    parts = [b"\x00", encode_varint(message.timestamp), encode_varint(message.offset - base_offset)]
    for part in (message.key, message.value):
        if part is None:
            parts.append(b"\x01")
        else:
            parts.append(encode_varint(len(part)))
            parts.append(part)
    parts.append(b"\x00")
    body = b"".join(parts)
    return encode_varint(len(body)) + body
