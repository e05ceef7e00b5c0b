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
from types import GenericAlias
from typing import Final

from dekaf_proto._i64 import i64
from dekaf_proto.errors import CorruptRecordError, DeserializationError
from dekaf_proto.records.record import BatchContext, Header, Headers, Record
from dekaf_proto.records.varint import read_varint, read_varlong, wrapping_add

_SAFE: Final = 1 << 62  # the sum of two numbers below this stays within int64

# What the (first) byte of a number stands for, without the bit that says that another follows: the second byte adds 64
# times its value. Lengths are positive: an odd byte, which starts a negative number, makes one that can't be missed.
_SIGNED: Final[list[int]] = [-1 - (byte >> 1 & 0x3F) if byte & 1 else byte >> 1 & 0x3F for byte in range(256)]
_LENGTHS: Final[list[int]] = [-(1 << 40) if byte & 1 else byte >> 1 & 0x3F for byte in range(256)]


class RecordIterator:
    """Yields the records of one batch. `RecordBatch.records` makes it.

    `data`: all records of the batch, uncompressed. `count`: how many there are. `start`: records below this offset are
    skipped at once. `append_timestamp`: the timestamp of every record where the broker's clock counts, else None (B5).
    `checked`: whether the batch's checksum was right, so that errors may tell where the batch ends.
    Making it raises CorruptRecordError for a count that can't be true and for damage in what is skipped. `next()`
    raises CorruptRecordError for damaged data and DeserializationError where a deserializer fails, and raises it again
    when asked again; it never gets past such a record.
    """

    __slots__ = (
        "_append_timestamp",
        "_base_offset",
        "_base_timestamp",
        "_checked",
        "_context",
        "_data",
        "_end_delta",
        "_key_deserializer",
        "_max_delta",
        "_next_delta",
        "_plain",
        "_position",
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
        key_deserializer: Callable[[bytes], object] | None = None,
        value_deserializer: Callable[[bytes], object] | None = None,
        checked: bool = True,
    ) -> None:
        self._context = context
        self._data = data
        self._position: i64 = 0
        self._base_offset: i64 = base_offset
        self._base_timestamp: i64 = base_timestamp
        self._append_timestamp = append_timestamp
        self._max_delta: i64 = last_offset_delta
        # The next record's offset delta and what it will be after the last record, both as if no offset were missing
        # from here on; `_pass_gap` moves both. The difference is the number of records left.
        self._next_delta: i64 = 0
        self._end_delta: i64 = count
        self._checked = checked
        self._key_deserializer = key_deserializer
        self._value_deserializer = value_deserializer
        self._plain = (
            append_timestamp is None
            and key_deserializer is None
            and value_deserializer is None
            and -_SAFE < base_timestamp < _SAFE
        )
        if count == 0 and data:
            raise self._corrupt("the batch claims no records but has some")
        if not 0 <= count <= last_offset_delta + 1:
            raise self._corrupt(f"the batch claims {count} records for {last_offset_delta + 1} offsets")
        if start > base_offset:
            self._skip(start - base_offset)

    def __class_getitem__(cls, types: object) -> object:
        return GenericAlias(cls, types)

    def __reduce__(self) -> str:
        # The two builds would copy different things, and two iterators over one batch help nobody.
        raise TypeError("a RecordIterator can't be copied or pickled: ask the batch for another one")

    def __iter__(self) -> RecordIterator:
        return self

    @property
    def context(self) -> BatchContext:
        """What the records of the batch share."""
        return self._context

    @property
    def next_offset(self) -> int:
        """One above the record handed out or skipped last; where the batch ends, once it is used up."""
        if self._next_delta == self._end_delta:
            return self._base_offset + self._max_delta + 1  # B6: not the last record's offset
        return self._base_offset + self._next_delta

    def __next__(self) -> Record:
        expected = self._next_delta
        if expected == self._end_delta:
            raise StopIteration
        data = self._data
        pos = self._position
        plain = self._plain
        key: bytes | None = None
        value: bytes | None = None
        headers: Headers = ()
        try:
            # Length, attributes (unused), timestamp delta, offset delta, key, value, headers. Each number in one byte,
            # in two, or the slow way.
            low: i64 = data[pos]
            if low < 0x80:
                pos += 1
                end = pos + _LENGTHS[low]
            else:
                high: i64 = data[pos + 1]
                if high < 0x80:
                    pos += 2
                    end = pos + _LENGTHS[low] + (high << 6)
                else:
                    length, pos = read_varint(data, pos)
                    end = pos + length

            low = data[pos + 1]
            if low < 0x80:
                pos += 2
                time_delta: i64 = _SIGNED[low]
            else:
                high = data[pos + 2]
                if high < 0x80:
                    pos += 3
                    time_delta = _SIGNED[low] - (high << 6) if low & 1 else _SIGNED[low] + (high << 6)
                else:
                    time_delta, pos = read_varlong(data, pos + 1)
                    if not -_SAFE < time_delta < _SAFE:
                        plain = False

            low = data[pos]
            if low < 0x80:
                pos += 1
                delta: i64 = _SIGNED[low]
            else:
                high = data[pos + 1]
                if high < 0x80 and not low & 1:
                    pos += 2
                    delta = _SIGNED[low] + (high << 6)
                else:
                    delta, pos = read_varint(data, pos)
            if delta != expected:
                self._pass_gap(delta)

            low = data[pos]
            if low == 1:
                pos += 1
            else:
                if low < 0x80:
                    pos += 1
                    stop = pos + _LENGTHS[low]
                else:
                    length, pos = read_varint(data, pos)
                    stop = pos + length
                if not pos <= stop <= end:
                    raise ValueError("a key has a negative length or goes beyond its record")
                key = data[pos:stop]
                pos = stop

            low = data[pos]
            if low == 1:
                pos += 1
            else:
                if low < 0x80:
                    pos += 1
                    stop = pos + _LENGTHS[low]
                else:
                    high = data[pos + 1]
                    if high < 0x80:
                        pos += 2
                        stop = pos + _LENGTHS[low] + (high << 6)
                    else:
                        length, pos = read_varint(data, pos)
                        stop = pos + length
                if not pos <= stop <= end:
                    raise ValueError("a value has a negative length or goes beyond its record")
                value = data[pos:stop]
                pos = stop

            # This index also proves that key and value were all there: nothing else compares `end` with the data.
            if data[pos] == 0:
                pos += 1
            else:
                headers, pos = _read_headers(data, pos, end)
            if pos != end:
                raise ValueError("a record's content is not as long as the record says")
            next_delta = delta + 1
            if next_delta == self._end_delta and pos != len(data):
                raise ValueError(f"{len(data) - pos} bytes follow the last record")
        except IndexError:
            raise self._corrupt("the records end too early") from None
        except ValueError as error:
            raise self._corrupt(str(error)) from None

        offset = self._base_offset + delta
        if plain:
            timestamp = self._base_timestamp + time_delta
            record = Record(self._context, offset, timestamp, key, value, headers)
        else:
            record = self._make(offset, time_delta, key, value, headers)
        self._position = pos
        self._next_delta = next_delta
        return record

    def _make(
        self, offset: i64, time_delta: i64, raw_key: bytes | None, raw_value: bytes | None, headers: Headers
    ) -> Record:
        """A record that needs more than the usual: the broker's time, an extreme one, deserializers."""
        if self._append_timestamp is not None:
            timestamp: i64 = self._append_timestamp
        else:
            timestamp = wrapping_add(self._base_timestamp, time_delta)
        key: object = raw_key
        if self._key_deserializer is not None and raw_key is not None:
            try:
                key = self._key_deserializer(raw_key)
            except Exception as error:
                raise self._undeserializable(offset, "key", error) from error
        value: object = raw_value
        if self._value_deserializer is not None and raw_value is not None:
            try:
                value = self._value_deserializer(raw_value)
            except Exception as error:
                raise self._undeserializable(offset, "value", error) from error
        return Record(self._context, offset, timestamp, key, value, headers)

    def _skip(self, start_delta: i64) -> None:
        """Passes over the records below `start_delta` without making them (B7)."""
        data = self._data
        try:
            while self._next_delta != self._end_delta:
                length, pos = read_varint(data, self._position)
                end = pos + length
                if length < 0 or end > len(data):
                    raise ValueError(f"a record claims {length} bytes where {len(data) - pos} are left")
                _, pos = read_varlong(data, pos + 1)
                delta, pos = read_varint(data, pos)
                if delta != self._next_delta:
                    self._pass_gap(delta)
                if pos > end:
                    raise ValueError("a record's content is not as long as the record says")
                if delta >= start_delta:
                    return
                self._position = end
                self._next_delta = delta + 1
                if self._next_delta == self._end_delta and end != len(data):
                    raise ValueError(f"{len(data) - end} bytes follow the last record")
        except IndexError:
            raise self._corrupt("the records end too early") from None
        except ValueError as error:
            raise self._corrupt(str(error)) from None

    def _pass_gap(self, delta: i64) -> None:
        """Takes note that the next record's offset is not the expected one: compaction has removed those before it.

        ValueError unless the records left fit between it and the end of the batch. May be called again for the same
        record, if that turns out to be damaged.
        """
        highest = self._max_delta - (self._end_delta - self._next_delta) + 1
        if not self._next_delta <= delta <= highest:
            raise ValueError(
                f"a record's offset delta is {delta}, which is not between {self._next_delta} and {highest}"
            )
        self._end_delta += delta - self._next_delta
        self._next_delta = delta

    def _corrupt(self, reason: str) -> CorruptRecordError:
        return CorruptRecordError(
            self._context.topic,
            self._context.partition,
            self._base_offset,
            reason,
            self._base_offset + self._max_delta + 1 if self._checked else -1,
        )

    def _undeserializable(self, offset: i64, field: str, error: Exception) -> DeserializationError:
        return DeserializationError(self._context.topic, self._context.partition, offset, field, error)


def _read_headers(data: bytes, pos: i64, end: i64) -> tuple[Headers, i64]:
    """The headers, which start at `pos` with their count, of a record that ends at `end`; the position behind them."""
    if end > len(data):
        raise IndexError
    low: i64 = data[pos]
    if low < 0x80:
        pos += 1
        count: i64 = _SIGNED[low]
    else:
        count, pos = read_varint(data, pos)
    if not 0 <= count <= end - pos:
        raise ValueError(f"a record claims {count} headers in {end - pos} bytes")
    headers: list[Header] = []
    while count > 0:
        count -= 1
        low = data[pos]
        if low < 0x80:
            pos += 1
            stop = pos + _LENGTHS[low]
        else:
            length, pos = read_varint(data, pos)
            stop = pos + length
        if not pos <= stop <= end:
            raise ValueError("a header's key has a negative length or goes beyond its record")
        raw_key = data[pos:stop]
        try:
            key = raw_key.decode()
        except UnicodeDecodeError:
            # Kept as surrogates: a header nobody asked for must not stop a partition.
            key = raw_key.decode("utf-8", "surrogateescape")
        low = data[stop]
        if low == 1:
            pos = stop + 1
            headers.append((key, None))
            continue
        if low < 0x80:
            pos = stop + 1
            stop = pos + _LENGTHS[low]
        else:
            length, pos = read_varint(data, stop)
            stop = pos + length
        if not pos <= stop <= end:
            raise ValueError("a header's value has a negative length or goes beyond its record")
        headers.append((key, data[pos:stop]))
        pos = stop
    return tuple(headers), pos
