"""`BatchBuilder`: makes a batch of message format 2, as a producer sends it and as a broker stores it.

A record is encoded when it is appended, so that the builder knows the batch's size at any time; compression, header and
checksum are made by `build`. The layout is at the top of `batch`.

Rules:
- `append` either takes a record whole or changes nothing.
- The first record always fits: whether a single record is too large is the caller's question (`batch_size_bound`).
- What depends on when a batch is sent (producer id, epoch, sequence, leader epoch) can be set until the last moment and
  set again: a batch that is sent once more is not compressed once more.
- This module is compiled by mypyc: no machine-integer expression leaves its range.

It knows neither topics nor brokers, and when a batch is full enough to be sent is not its affair.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final, overload

from dekaf_proto._i64 import i64
from dekaf_proto.errors import EncodeError, RecordTooLargeError
from dekaf_proto.records.batch import (
    CONTROL_BIT,
    DELETE_HORIZON_BIT,
    HEADER_SIZE,
    LENGTH_FROM,
    LOG_APPEND_TIME_BIT,
    TRANSACTIONAL_BIT,
)
from dekaf_proto.records.checksum import crc32c
from dekaf_proto.records.compression import Codec, check_level, compress
from dekaf_proto.records.control import ControlType, encode_marker
from dekaf_proto.records.record import Header
from dekaf_proto.records.varint import INT64_MAX, SMALL, SMALL_VARINTS, encode_varint

# The header in two parts: what the checksum leaves out, and what it covers.
_START: Final = struct.Struct(">qiibI")
_CHECKSUMMED: Final = struct.Struct(">hiqqqhii")
INT16_MAX: Final = 0x7FFF
INT32_MAX: Final = 0x7FFFFFFF
INT64_MIN: Final = -0x8000000000000000
_NULL: Final = b"\x01"  # the length -1
_ZERO: Final = b"\x00"
_ONE: Final = b"\x02"
_MIN_RECORD_SIZE: Final = 7
_ESTIMATE_MARGIN: Final = 1.05  # compressed sizes are guessed a little high
_MAX_RECORD_OVERHEAD: Final = 5 + 1 + 10 + 5 + 5 + 5 + 5  # length, attributes, two deltas, key, value, header count


class CompressionRatioEstimator:
    """Guesses how well the next batch will compress, from those before it. One for each topic and codec.

    A worse ratio than expected is believed at once, a better one bit by bit: a batch that turns out too large may be
    refused, one that turns out small only costs a little.
    """

    __slots__ = ("ratio",)

    def __init__(self) -> None:
        self.ratio = 1.0

    def observe(self, ratio: float) -> None:
        """Takes note of a finished batch's `compression_ratio`."""
        if ratio > self.ratio:
            self.ratio = ratio
        else:
            self.ratio += (ratio - self.ratio) / 8


class BatchBuilder:
    """Collects records and makes one batch of them.

    `size_limit`: bytes of the batch (header and, by estimate, compression included) beyond which `append` refuses;
    `compression_ratio`: the estimate, compressed size by raw size. `level`: of the codec, None for its default.
    `append_time`: the broker's clock in ms since 1970, which then counts for all records (LOG_APPEND_TIME).
    `base_timestamp` and `delete_horizon_ms` (ms) are for whoever rewrites existing batches; else the first record's
    timestamp is the base. EncodeError for a number that its field in the header can't hold; ValueError for a codec that
    is none, a level that the codec does not have, and a ratio that is not above 0.

    >>> builder = BatchBuilder(codec=Codec.ZSTD)
    >>> builder.append(1_700_000_000_000, b"key", b"value", [("trace", b"1")])
    0
    >>> builder.append(1_700_000_000_001, None, b"another")
    1
    >>> builder.set_producer(producer_id=9000, producer_epoch=0, base_sequence=12, transactional=False)
    >>> len(builder.build()) > 61
    True
    """

    __slots__ = (
        "_append_time",
        "_base_offset",
        "_base_sequence",
        "_base_timestamp",
        "_capacity",
        "_codec",
        "_control",
        "_count",
        "_delete_horizon",
        "_factor",
        "_fast_base",
        "_fast_end",
        "_leader_epoch",
        "_level",
        "_max_timestamp",
        "_next_delta",
        "_payload",
        "_producer_epoch",
        "_producer_id",
        "_raw_size",
        "_records",
        "_room",
        "_transactional",
    )

    def __init__(
        self,
        *,
        codec: Codec = Codec.NONE,
        level: int | None = None,
        size_limit: int = INT32_MAX,
        compression_ratio: float = 1.0,
        base_offset: int = 0,
        leader_epoch: int | None = None,
        producer_id: int = -1,
        producer_epoch: int = -1,
        base_sequence: int = -1,
        transactional: bool = False,
        control: bool = False,
        append_time: int | None = None,
        base_timestamp: int | None = None,
        delete_horizon_ms: int | None = None,
    ) -> None:
        if not isinstance(codec, Codec):
            raise ValueError(f"codec: one of Codec's, not {codec!r}")
        if level is not None:
            _check_number("level", level, INT64_MIN, INT64_MAX)
        check_level(codec, level)
        _check_number("size_limit", size_limit, 0, INT64_MAX)
        if not 0 < compression_ratio < math.inf:
            raise ValueError(f"compression_ratio: above 0, not {compression_ratio}")
        self._codec = codec
        self._level = level
        self._factor = 1.0 if codec == Codec.NONE else compression_ratio * _ESTIMATE_MARGIN
        self.set_log_position(base_offset, leader_epoch, append_time)
        self.set_producer(producer_id, producer_epoch, base_sequence, transactional)
        if base_timestamp is not None:
            _check_number("base_timestamp", base_timestamp, INT64_MIN, INT64_MAX)
        if delete_horizon_ms is not None:
            _check_number("delete_horizon_ms", delete_horizon_ms, INT64_MIN, INT64_MAX)
        _check_flag("control", control)
        self._control = control
        self._delete_horizon = delete_horizon_ms is not None
        # The header has one place for both (B3).
        self._base_timestamp = base_timestamp if delete_horizon_ms is None else delete_horizon_ms
        self._max_timestamp: i64 = -1
        self._next_delta: i64 = 0
        self._raw_size: i64 = 0
        self._records: list[bytes] = []
        self._payload: bytes | None = None
        self._count = 0  # set when the parts have become the payload
        # For the fast lane of `append`: timestamps from base to end, records while there is room. There is neither
        # until the first record was admitted.
        room = (min(size_limit, INT32_MAX) - HEADER_SIZE) / self._factor
        self._capacity = int(min(room, INT32_MAX - HEADER_SIZE))
        self._fast_base = 0
        self._fast_end = 0
        self._room: i64 = -1

    @overload
    def append(self, timestamp: int, key: bytes | None, value: bytes | None, headers: Sequence[Header] = ()) -> int: ...
    @overload
    def append(
        self,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
        offset_delta: int | None = None,
    ) -> int: ...
    def append(
        self, timestamp: object, key: object, value: object, headers: object = (), offset_delta: object = None
    ) -> int:
        """Adds a record and returns how far its offset is from the batch's first; -1, and nothing added, if it is full.

        `timestamp`: ms since 1970, -1 for none. `offset_delta`: for whoever leaves gaps; else one after the last.
        Raises EncodeError for what a record can't have, by its type (keys and values are `bytes`, headers tuples) or by
        its value, RecordTooLargeError for what exceeds 2 GiB, ValueError after `build`.
        """
        # The implementation takes objects, because a compiled function checks what is declared by itself, and would say
        # something else than the pure one.
        if not isinstance(timestamp, int):
            raise _wrong_type("timestamp", "int", timestamp)
        number: int = timestamp
        if self._fast_base <= number < self._fast_end:
            difference: i64 = number - self._fast_base
            time_bytes = SMALL_VARINTS[difference << 1]
        else:
            time_bytes = self._encode_time(number)
        time: i64 = number  # which fits: it is near the base, or was encoded
        delta = self._next_delta
        if offset_delta is not None:
            if not isinstance(offset_delta, int):
                raise _wrong_type("offset", "int", offset_delta)
            # Becomes a machine integer only if it fits.
            delta = offset_delta if 0 <= offset_delta <= INT32_MAX else -1
            if delta < self._next_delta:
                raise EncodeError("record", "offset", f"{offset_delta} can't follow {self._next_delta - 1} in a batch")
        elif delta > INT32_MAX:
            return -1
        length: i64
        delta_bytes = SMALL_VARINTS[delta << 1] if delta < SMALL else encode_varint(delta)
        size: i64 = 2 + len(time_bytes) + len(delta_bytes)  # with the attributes (unused) and one byte for the headers
        if isinstance(value, bytes):
            length = len(value)
            value_length = SMALL_VARINTS[length << 1] if length < SMALL else encode_varint(length)
            size += length
        elif value is None:
            value = b""
            value_length = _NULL
        else:
            raise _wrong_type("value", "bytes or None", value)
        header_bytes = _ZERO
        if headers:
            header_bytes = _encode_headers(headers)
            size += len(header_bytes) - 1
        if isinstance(key, bytes):
            length = len(key)
            key_length = SMALL_VARINTS[length << 1] if length < SMALL else encode_varint(length)
            size += length + len(key_length) + len(value_length)
            size_bytes = SMALL_VARINTS[size << 1] if size < SMALL else encode_varint(size)
            record = b"%b\0%b%b%b%b%b%b%b" % (
                size_bytes,
                time_bytes,
                delta_bytes,
                key_length,
                key,
                value_length,
                value,
                header_bytes,
            )
        elif key is None:
            size += 1 + len(value_length)
            size_bytes = SMALL_VARINTS[size << 1] if size < SMALL else encode_varint(size)
            record = b"%b\0%b%b\1%b%b%b" % (size_bytes, time_bytes, delta_bytes, value_length, value, header_bytes)
        else:
            raise _wrong_type("key", "bytes or None", key)
        raw_size: i64 = self._raw_size + len(record)
        if raw_size > self._room and not self._admit(raw_size, number):
            return -1
        self._records.append(record)
        self._raw_size = raw_size
        self._next_delta = delta + 1
        if time > self._max_timestamp:
            self._max_timestamp = time
        return delta

    def _encode_time(self, timestamp: int) -> bytes:
        """The difference to the base, which is this timestamp if there is none yet."""
        if not -1 <= timestamp <= INT64_MAX:
            raise EncodeError("record", "timestamp", f"not milliseconds since 1970: {timestamp}")
        if self._base_timestamp is None:
            return _ZERO
        difference = timestamp - self._base_timestamp
        if difference > INT64_MAX:  # from -1 to the end of time: the reader's sum wraps like Java's
            difference -= 1 << 64
        return encode_varint(difference)

    def _admit(self, raw_size: int, timestamp: int) -> bool:
        """Whether a record may still be added, asked where the fast lane ends: at the first one and at the limit."""
        if self._payload is not None:
            raise ValueError("the batch is finished")
        if raw_size > INT32_MAX - HEADER_SIZE:
            raise RecordTooLargeError(f"the records of a batch would take {raw_size} bytes")
        if self._records:
            return False
        if self._base_timestamp is None:
            self._base_timestamp = timestamp
        if self._base_timestamp <= INT64_MAX - SMALL:
            self._fast_base = self._base_timestamp
            self._fast_end = self._base_timestamp + SMALL
        self._room = self._capacity
        return True

    @property
    def count(self) -> int:
        """How many records were added."""
        return len(self._records) if self._payload is None else self._count

    @property
    def raw_size(self) -> int:
        """Bytes of all records before compression, without the batch's header."""
        return self._raw_size

    @property
    def estimated_size(self) -> int:
        """Bytes that the batch will have: exact without compression and after `build`, else an estimate."""
        if self._payload is not None:
            return HEADER_SIZE + len(self._payload)
        return HEADER_SIZE + int(self.raw_size * self._factor)

    @property
    def is_full(self) -> bool:
        """Whether not even the smallest record would be taken: by the size limit, or as there are no more offsets."""
        if self._next_delta > INT32_MAX:
            return True
        return self._raw_size > 0 and self._raw_size + _MIN_RECORD_SIZE > self._capacity

    @property
    def max_timestamp(self) -> int:
        """The highest timestamp added so far (ms since 1970), or the append time; -1 without one."""
        return self._max_timestamp if self._append_time is None else self._append_time

    @property
    def compression_ratio(self) -> float:
        """After `build`: compressed size by raw size, for the `CompressionRatioEstimator`. 1.0 for an empty batch."""
        if self._payload is None:
            raise ValueError("the batch is not finished")
        return len(self._payload) / self._raw_size if self._raw_size else 1.0

    def set_producer(self, producer_id: int, producer_epoch: int, base_sequence: int, transactional: bool) -> None:
        """Sets what makes a batch idempotent or transactional; until `build`, and after it for another one.

        -1 for what the batch does not have. EncodeError, and nothing set, for a number that the header can't hold.
        """
        _check_number("producer_id", producer_id, -1, INT64_MAX)
        _check_number("producer_epoch", producer_epoch, -1, INT16_MAX)
        _check_number("base_sequence", base_sequence, -1, INT32_MAX)
        _check_flag("transactional", transactional)
        self._producer_id = producer_id
        self._producer_epoch = producer_epoch
        self._base_sequence = base_sequence
        self._transactional = transactional

    def set_log_position(self, base_offset: int, leader_epoch: int | None, append_time: int | None = None) -> None:
        """Sets what the broker that appends a batch decides: its first offset, the leader epoch, its own clock.

        EncodeError, and nothing set, for a number that the header can't hold.
        """
        _check_number("base_offset", base_offset, 0, INT64_MAX)
        if leader_epoch is not None:
            _check_number("leader_epoch", leader_epoch, 0, INT32_MAX)
        if append_time is not None:
            _check_number("append_time", append_time, -1, INT64_MAX)
        self._base_offset = base_offset
        self._leader_epoch = leader_epoch
        self._append_time = append_time

    def build(self, *, last_offset_delta: int | None = None, max_timestamp: int | None = None) -> bytes:
        """The batch's bytes; after the first call nothing can be appended.

        `last_offset_delta` and `max_timestamp` are for whoever thins out existing batches: what the records that are
        gone had. ValueError for an empty batch without them or a last offset before that of the last record,
        EncodeError for numbers that the header can't hold.
        """
        if last_offset_delta is not None:
            _check_number("last_offset_delta", last_offset_delta, 0, INT32_MAX)
        if max_timestamp is not None:
            _check_number("max_timestamp", max_timestamp, INT64_MIN, INT64_MAX)
        count = self.count
        if last_offset_delta is None:
            if count == 0:
                raise ValueError("a batch without records")
            last_offset_delta = self._next_delta - 1
        elif last_offset_delta < self._next_delta - 1:
            raise ValueError(f"the last record is at {self._next_delta - 1}, beyond {last_offset_delta}")
        highest = INT64_MAX - last_offset_delta - 1
        if self._base_offset > highest:
            raise EncodeError("record batch", "base_offset", f"{self._base_offset} is not between 0 and {highest}")
        if self._payload is None:
            raw = b"".join(self._records)
            # Nothing is not compressed; the header then names no codec either.
            self._payload = compress(self._codec, raw, self._level) if raw else raw
            self._count = count
            self._records = []
            self._room = -1
        attributes = int(self._codec) if count else 0
        if self._append_time is not None:
            attributes |= LOG_APPEND_TIME_BIT
        if self._transactional:
            attributes |= TRANSACTIONAL_BIT
        if self._control:
            attributes |= CONTROL_BIT
        if self._delete_horizon:
            attributes |= DELETE_HORIZON_BIT
        if max_timestamp is None:
            max_timestamp = self.max_timestamp
        checksummed = _CHECKSUMMED.pack(
            attributes,
            last_offset_delta,
            -1 if self._base_timestamp is None else self._base_timestamp,
            max_timestamp,
            self._producer_id,
            self._producer_epoch,
            self._base_sequence,
            count,
        )
        crc = crc32c(self._payload, crc32c(checksummed))
        length = HEADER_SIZE - LENGTH_FROM + len(self._payload)
        epoch = -1 if self._leader_epoch is None else self._leader_epoch
        return b"".join((_START.pack(self._base_offset, length, epoch, 2, crc), checksummed, self._payload))


@overload
def batch_size_bound(key: bytes | None, value: bytes | None) -> int: ...
@overload
def batch_size_bound(key: bytes | None, value: bytes | None, headers: Sequence[Header]) -> int: ...
def batch_size_bound(key: object, value: object, headers: object = ()) -> int:
    """The most bytes that a batch of this one record can have without compression, whatever its offset and time."""
    size = HEADER_SIZE + _MAX_RECORD_OVERHEAD
    if isinstance(key, bytes):
        size += len(key)
    elif key is not None:
        raise _wrong_type("key", "bytes or None", key)
    if isinstance(value, bytes):
        size += len(value)
    elif value is not None:
        raise _wrong_type("value", "bytes or None", value)
    return size + len(_encode_headers(headers)) if headers else size


def build_marker(
    type: ControlType,
    *,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
    base_offset: int,
    timestamp: int,
    leader_epoch: int | None = None,
) -> bytes:
    """The control batch with which a broker ends a transaction (B10): `ControlType.COMMIT` or `ABORT`."""
    key, value = encode_marker(type, coordinator_epoch)
    builder = BatchBuilder(
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transactional=True,
        control=True,
    )
    builder.append(timestamp, key, value)
    return builder.build()


def _encode_headers(headers: object) -> bytes:
    """The headers with their count; EncodeError for what is no sequence of tuples of a str and bytes or None."""
    listed = headers if isinstance(headers, list) else _listed(headers)
    if len(listed) == 1:
        return _encode_header(_ONE, listed[0])
    return b"".join([encode_varint(len(listed)), *[_encode_header(b"", header) for header in listed]])


def _listed(headers: object) -> list[object]:
    if not isinstance(headers, Sequence):
        raise _wrong_type("headers", "a sequence", headers)
    return list(headers)


def _encode_header(before: bytes, header: object) -> bytes:
    """One header behind the bytes `before`, which saves joining them."""
    if not isinstance(header, tuple) or len(header) != 2:
        raise _wrong_type("headers", "a tuple of key and value", header)
    name: object = header[0]
    content: object = header[1]
    if not isinstance(name, str):
        raise _wrong_type("headers: a key", "str", name)
    key = _header_keys.get(name)
    if key is None:
        key = _encode_header_key(name)
    if isinstance(content, bytes):
        length: i64 = len(content)
        content_length = SMALL_VARINTS[length << 1] if length < SMALL else encode_varint(length)
        return b"%b%b%b%b" % (before, key, content_length, content)
    if content is not None:
        raise _wrong_type("headers: a value", "bytes or None", content)
    return b"%b%b\1" % (before, key)


# Header keys with their lengths, as they are in a record: a program has few of them and writes them over and over.
_header_keys: Final[dict[str, bytes]] = {}
_MAX_HEADER_KEYS: Final = 256
_MAX_KEPT: Final = 128  # characters of a key


def _encode_header_key(name: str) -> bytes:
    """A header's key with its length. EncodeError if it is not text."""
    try:
        key = name.encode()
    except UnicodeEncodeError:
        key = _encode_escaped(name)
    encoded = encode_varint(len(key)) + key
    if len(name) <= _MAX_KEPT:
        if len(_header_keys) >= _MAX_HEADER_KEYS:
            _header_keys.clear()
        _header_keys[name] = encoded
    return encoded


def _check_number(name: str, value: object, lowest: int, highest: int) -> None:
    """EncodeError unless the batch's header can hold `value`; TypeError, as from a compiled caller, for no number."""
    if not isinstance(value, int):
        raise TypeError(f"{name}: int, not {type(value).__name__}")
    if not lowest <= value <= highest:
        raise EncodeError("record batch", name, f"{value} is not between {lowest} and {highest}")


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: bool, not {type(value).__name__}")


def _wrong_type(path: str, wanted: str, value: object) -> EncodeError:
    return EncodeError("record", path, f"{wanted}, not {type(value).__name__}")


def _encode_escaped(name: str) -> bytes:
    """A header's key as the reader makes it of bytes that are no UTF-8: they become the same bytes again."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise EncodeError("record", "headers", "a key has characters that are not Unicode's") from None
