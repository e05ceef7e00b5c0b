"""`RecordIterator`: the records section of one v2 batch, decoded one record per `next()` (B4-B7). The hot path.

It works on one `bytes` that holds all records uncompressed, with the CRC already checked, and still trusts no number in
it: each length is checked against what is left, and whatever is wrong is a CorruptRecordError that names the batch.
A record is handed out only after all of it was checked, the last one only if nothing is left behind it.

Rules:
- The iterator moves on only when it hands a record out. What raised once raises again with the next `next()`.
- Records are decoded as they are asked for; nothing is allocated by a count that only the batch claims.
- Offsets ascend and stay within the batch: anything else would make a reader go back or round in a circle.
- This module is compiled by mypyc: machine integers (`i64`) throughout, no expression that leaves their range.

It knows nothing of sockets, consumers or codecs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from dekaf_proto._i64 import i64
from dekaf_proto.errors import CorruptRecordError, DeserializationError
from dekaf_proto.records.record import BatchContext, Header, Headers, Record
from dekaf_proto.records.varint import INT64_MAX, read_varint, read_varlong, wrapping_add

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)
T = TypeVar("T")

#: Makes a key or a value of its bytes. It is not asked about a null, which stays None.
Deserializer = Callable[[bytes], T]

_NO_HEADERS: Headers = ()


class RecordIterator(Generic[K, V]):
    """Yields the records of one batch. `RecordBatch.records` makes it.

    `data`: all records of the batch, uncompressed. `count`: how many there are. `start`: records below this offset are
    skipped. `append_timestamp`: the timestamp of every record where the broker's clock counts, else None (B5).
    `next()` raises CorruptRecordError for damaged data and DeserializationError where a deserializer fails, and raises
    it again when asked again; it never gets past such a record.
    """

    __slots__ = (
        "_append_time",
        "_append_timestamp",
        "_base_offset",
        "_base_timestamp",
        "_context",
        "_data",
        "_key_deserializer",
        "_last_delta",
        "_left",
        "_max_delta",
        "_position",
        "_safe_delta",
        "_start_delta",
        "_value_deserializer",
    )

    def __init__(
        self,
        context: BatchContext,
        data: bytes,
        count: i64,
        base_offset: i64,
        last_offset_delta: i64,
        base_timestamp: i64,
        append_timestamp: int | None = None,
        start: i64 = 0,
        key_deserializer: Deserializer[K] | None = None,
        value_deserializer: Deserializer[V] | None = None,
    ) -> None:
        self._context = context
        self._data = data
        self._left: i64 = count
        self._position: i64 = 0
        self._base_offset: i64 = base_offset
        self._base_timestamp: i64 = base_timestamp
        # Deltas up to this can be added without leaving int64.
        self._safe_delta: i64 = INT64_MAX - base_timestamp if base_timestamp >= 0 else INT64_MAX + base_timestamp
        self._append_time = append_timestamp is not None
        self._append_timestamp: i64 = -1 if append_timestamp is None else append_timestamp
        self._max_delta: i64 = last_offset_delta
        self._last_delta: i64 = -1  # of the record handed out last
        self._start_delta: i64 = start - base_offset if start > base_offset else 0
        self._key_deserializer = key_deserializer
        self._value_deserializer = value_deserializer
        if count == 0 and data:
            raise self._corrupt("the batch claims no records but has some")
        if count < 0:
            raise self._corrupt(f"the batch claims {count} records")

    def __iter__(self) -> RecordIterator[K, V]:
        return self

    @property
    def context(self) -> BatchContext:
        """What the records of the batch share."""
        return self._context

    @property
    def next_offset(self) -> int:
        """One above the record handed out last; where the batch ends, once it is used up."""
        if self._left == 0:
            return self._base_offset + self._max_delta + 1  # B6: not the last record's offset
        return self._base_offset + self._last_delta + 1

    def __next__(self) -> Record[K, V]:
        left = self._left
        if left == 0:
            raise StopIteration
        data = self._data
        size: i64 = len(data)
        pos = self._position
        last_delta = self._last_delta
        headers = _NO_HEADERS
        raw_key: bytes | None = None
        raw_value: bytes | None = None
        try:
            while True:
                # Each number: one byte, two bytes, or the slow way. length, attributes (unused), timestamp delta,
                # offset delta, key, value, headers.
                raw: i64 = data[pos]
                pos += 1
                if raw >= 0x80:
                    byte: i64 = data[pos]
                    if byte < 0x80:
                        raw = (raw & 0x7F) | (byte << 7)
                        pos += 1
                        length = (raw >> 1) ^ -(raw & 1)
                    else:
                        length, pos = read_varint(data, pos - 1)
                else:
                    length = (raw >> 1) ^ -(raw & 1)
                end = pos + length
                if length < 0 or end > size:
                    raise ValueError(f"a record claims {length} bytes where {size - pos} are left")

                raw = data[pos + 1]
                pos += 2
                if raw >= 0x80:
                    byte = data[pos]
                    if byte < 0x80:
                        raw = (raw & 0x7F) | (byte << 7)
                        pos += 1
                        timestamp_delta = (raw >> 1) ^ -(raw & 1)
                    else:
                        timestamp_delta, pos = read_varlong(data, pos - 1)
                else:
                    timestamp_delta = (raw >> 1) ^ -(raw & 1)

                raw = data[pos]
                pos += 1
                if raw >= 0x80:
                    byte = data[pos]
                    if byte < 0x80:
                        raw = (raw & 0x7F) | (byte << 7)
                        pos += 1
                        delta = (raw >> 1) ^ -(raw & 1)
                    else:
                        delta, pos = read_varint(data, pos - 1)
                else:
                    delta = (raw >> 1) ^ -(raw & 1)
                if delta <= last_delta or delta > self._max_delta:
                    raise ValueError(
                        f"a record has the offset delta {delta}, not one above {last_delta} and up to {self._max_delta}"
                    )

                if delta < self._start_delta:  # B7
                    pos = end
                    last_delta = delta
                    left -= 1
                    if left == 0:
                        break
                    continue

                raw = data[pos]
                pos += 1
                if raw >= 0x80:
                    length, pos = read_varint(data, pos - 1)
                else:
                    length = (raw >> 1) ^ -(raw & 1)
                if length >= 0:
                    stop = pos + length
                    if stop > end:
                        raise ValueError(f"a key of {length} bytes goes beyond its record")
                    raw_key = data[pos:stop]
                    pos = stop
                elif length != -1:
                    raise ValueError(f"a key has the length {length}")

                raw = data[pos]
                pos += 1
                if raw >= 0x80:
                    byte = data[pos]
                    if byte < 0x80:
                        raw = (raw & 0x7F) | (byte << 7)
                        pos += 1
                        length = (raw >> 1) ^ -(raw & 1)
                    else:
                        length, pos = read_varint(data, pos - 1)
                else:
                    length = (raw >> 1) ^ -(raw & 1)
                if length >= 0:
                    stop = pos + length
                    if stop > end:
                        raise ValueError(f"a value of {length} bytes goes beyond its record")
                    raw_value = data[pos:stop]
                    pos = stop
                elif length != -1:
                    raise ValueError(f"a value has the length {length}")

                if data[pos] == 0:
                    pos += 1
                else:
                    headers, pos = _read_headers(data, pos, end)
                if pos != end:
                    raise ValueError(f"a record ends {pos - end} bytes beyond the length it claims")
                left -= 1
                break
            if left == 0 and pos != size:
                raise ValueError(f"{size - pos} bytes follow the last record")
        except IndexError:
            raise self._corrupt("the records end too early") from None
        except ValueError as error:
            raise self._corrupt(str(error)) from None

        if delta < self._start_delta:  # all that was left lay below the start
            self._position = pos
            self._last_delta = last_delta
            self._left = 0
            raise StopIteration

        offset = self._base_offset + delta
        if self._append_time:
            timestamp = self._append_timestamp
        else:
            if -self._safe_delta <= timestamp_delta <= self._safe_delta:
                timestamp = self._base_timestamp + timestamp_delta
            else:
                timestamp = wrapping_add(self._base_timestamp, timestamp_delta)
        key: object = raw_key
        value: object = raw_value
        if self._key_deserializer is not None and raw_key is not None:
            try:
                key = self._key_deserializer(raw_key)
            except Exception as error:
                raise self._undeserializable(offset, "key", error) from error
        if self._value_deserializer is not None and raw_value is not None:
            try:
                value = self._value_deserializer(raw_value)
            except Exception as error:
                raise self._undeserializable(offset, "value", error) from error
        self._position = pos
        self._last_delta = delta
        self._left = left
        # The type checker can't see that K is `bytes | None` where there is no deserializer.
        return Record(self._context, offset, timestamp, key, value, headers)  # type: ignore[arg-type]

    def _corrupt(self, reason: str) -> CorruptRecordError:
        return CorruptRecordError(
            self._context.topic,
            self._context.partition,
            self._base_offset,
            reason,
            self._base_offset + self._max_delta + 1,
        )

    def _undeserializable(self, offset: i64, field: str, error: Exception) -> DeserializationError:
        return DeserializationError(self._context.topic, self._context.partition, offset, field, error)


def _read_headers(data: bytes, pos: i64, end: i64) -> tuple[Headers, i64]:
    """The headers, which start at `pos` with their count, of a record that ends at `end`; the position behind them."""
    count, pos = read_varint(data, pos)
    if count < 0 or count > end - pos:
        raise ValueError(f"a record claims {count} headers in {end - pos} bytes")
    headers: list[Header] = []
    for _ in range(count):
        length, pos = read_varint(data, pos)
        stop = pos + length
        if length < 0 or stop > end:
            raise ValueError(f"a header's key claims {length} bytes")
        # What is not UTF-8 is kept as surrogates: a header nobody asked for must not stop a partition.
        key = data[pos:stop].decode("utf-8", "surrogateescape")
        length, pos = read_varint(data, stop)
        if length >= 0:
            stop = pos + length
            if stop > end:
                raise ValueError(f"a header's value claims {length} bytes")
            headers.append((key, data[pos:stop]))
            pos = stop
        elif length == -1:
            headers.append((key, None))
        else:
            raise ValueError(f"a header's value has the length {length}")
    return tuple(headers), pos
