"""`RecordBatch`: a batch of message format 2 as it lies in a fetch response (B1-B11).

A view, not a copy: the 61 bytes of the header are read at once, the records when `records` is called. `read_batches`
(in `stream`) finds the batches in a response and makes these.

    0 base offset i64 | 8 length i32 | 12 leader epoch i32 | 16 magic i8 | 17 crc u32 | 21 attributes i16
    23 last offset delta i32 | 27 base timestamp i64 | 35 max timestamp i64 | 43 producer id i64
    51 producer epoch i16 | 53 base sequence i32 | 57 record count i32 | 61 records

Rules: a batch whose header contradicts itself in a way that would lose records or make a reader go round in a circle is
refused when it is made. It does not know who reads it, from where, or which records are wanted.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, TypeVar, cast, overload

from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records import iterator
from dekaf_proto.records.checksum import crc32c
from dekaf_proto.records.compression import MAX_DECOMPRESSED_SIZE, Codec, check_limit, decompress
from dekaf_proto.records.control import ControlRecord, parse_control_record
from dekaf_proto.records.record import BatchContext
from dekaf_proto.types import TimestampType

if TYPE_CHECKING:
    from dekaf_proto.records.generic import Deserializer, RecordIterator

K = TypeVar("K")
V = TypeVar("V")

HEADER: Final = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE: Final = HEADER.size  # 61
CHECKSUMMED_FROM: Final = 21  # attributes: what lies before is the broker's to change
LENGTH_FROM: Final = 12  # the length counts from here

CODEC_BITS: Final = 0x07
LOG_APPEND_TIME_BIT: Final = 0x08
TRANSACTIONAL_BIT: Final = 0x10
CONTROL_BIT: Final = 0x20
DELETE_HORIZON_BIT: Final = 0x40

# Looked up for each batch, and calling an enum is slow.
_CODECS: Final[tuple[Codec, ...]] = tuple(Codec)
_TIMESTAMP_TYPES: Final = (TimestampType.CREATE_TIME, TimestampType.LOG_APPEND_TIME)
# Looked up once: an enum's attribute costs as much as a record.
_CREATE_TIME: Final = TimestampType.CREATE_TIME
_LOG_APPEND_TIME: Final = TimestampType.LOG_APPEND_TIME

_INT32_MAX: Final = 0x7FFFFFFF
_INT64_MAX: Final = 0x7FFFFFFFFFFFFFFF


class RecordBatch:
    """One batch of format 2. `data` is exactly its bytes; `check_crc` False leaves the checksum unread.

    Raises CorruptRecordError for a wrong checksum and a header that can't be true. `max_decompressed_size` (bytes)
    bounds what `records` will decompress.
    """

    __slots__ = (
        "_attributes",
        "_base_offset",
        "_base_sequence",
        "_base_timestamp",
        "_checked",
        "_count",
        "_crc",
        "_data",
        "_last_offset_delta",
        "_leader_epoch",
        "_max_decompressed_size",
        "_max_timestamp",
        "_partition",
        "_producer_epoch",
        "_producer_id",
        "_topic",
    )

    magic: Final = 2

    _base_offset: int
    _leader_epoch: int
    _crc: int
    _attributes: int
    _last_offset_delta: int
    _base_timestamp: int
    _max_timestamp: int
    _producer_id: int
    _producer_epoch: int
    _base_sequence: int
    _count: int

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
        check_limit(max_decompressed_size)
        self._max_decompressed_size = max_decompressed_size
        self._checked = False  # whether the checksum was found right
        if len(data) < HEADER_SIZE:
            offset = int.from_bytes(data[:8], "big", signed=True)
            raise CorruptRecordError(
                topic, partition, offset, f"a batch of {len(data)} bytes is shorter than its header"
            )
        (
            self._base_offset,
            _,
            self._leader_epoch,
            _,
            self._crc,
            self._attributes,
            self._last_offset_delta,
            self._base_timestamp,
            self._max_timestamp,
            self._producer_id,
            self._producer_epoch,
            self._base_sequence,
            self._count,
        ) = HEADER.unpack_from(data)
        if check_crc:
            computed = crc32c(data[CHECKSUMMED_FROM:])
            if computed != self._crc:
                raise self.corrupt(f"the checksum is {computed:#010x} where the batch says {self._crc:#010x}")
            self._checked = True
        if self._last_offset_delta < 0:  # a reader would never get past the batch
            raise self.corrupt(f"the last offset is {self._last_offset_delta} above the first")
        if not 0 <= self._base_offset < _INT64_MAX - self._last_offset_delta:
            raise self.corrupt(f"the batch claims {self._base_offset} as its first offset")
        if self._attributes & CODEC_BITS > Codec.ZSTD:
            raise self.corrupt(f"there is no codec {self._attributes & CODEC_BITS}")
        if not 0 <= self._count <= self._last_offset_delta + 1:
            raise self.corrupt(f"the batch claims {self._count} records for {self._last_offset_delta + 1} offsets")

    # ---------------------------------------------------------------------------------------------------- the header

    @property
    def topic(self) -> str:
        """The topic's name."""
        return self._topic

    @property
    def partition(self) -> int:
        """The partition's number."""
        return self._partition

    @property
    def base_offset(self) -> int:
        """The offset of the first record that the batch was made with."""
        return self._base_offset

    @property
    def last_offset(self) -> int:
        """The last offset that belongs to the batch, whether or not a record is left there (B6)."""
        return self._base_offset + self._last_offset_delta

    @property
    def next_offset(self) -> int:
        """`last_offset + 1`: where a reader goes on, even if it was given no record."""
        return self._base_offset + self._last_offset_delta + 1

    @property
    def size(self) -> int:
        """The batch's length in bytes, header included."""
        return len(self._data)

    @property
    def leader_epoch(self) -> int | None:
        """The epoch of the leader that appended it, None if unknown (B9)."""
        return self._leader_epoch if self._leader_epoch >= 0 else None

    @property
    def crc(self) -> int:
        """The checksum that the batch carries."""
        return self._crc

    @property
    def crc_is_valid(self) -> bool:
        """Whether the checksum is right (computed with each call)."""
        return crc32c(self._data[CHECKSUMMED_FROM:]) == self._crc

    @property
    def codec(self) -> Codec:
        """How the records are compressed."""
        return _CODECS[self._attributes & CODEC_BITS]

    @property
    def timestamp_type(self) -> TimestampType:
        """Whether the records' timestamps are the producer's or the broker's."""
        return _TIMESTAMP_TYPES[self._attributes >> 3 & 1]

    @property
    def base_timestamp(self) -> int:
        """What the records' timestamps are counted from, in ms since 1970."""
        return self._base_timestamp

    @property
    def max_timestamp(self) -> int:
        """The highest timestamp; with LOG_APPEND_TIME that of all records. Ms since 1970, -1 if there is none."""
        return self._max_timestamp

    @property
    def producer_id(self) -> int:
        """The id of the idempotent or transactional producer, -1 if it was neither."""
        return self._producer_id

    @property
    def producer_epoch(self) -> int:
        """The producer's epoch, -1 if it has none."""
        return self._producer_epoch

    @property
    def base_sequence(self) -> int:
        """The producer's sequence number of the first record, -1 if it has none."""
        return self._base_sequence

    @property
    def last_sequence(self) -> int:
        """The sequence number of the last record: after 2^31-1 comes 0 (B8). -1 if there is none."""
        if self._base_sequence < 0:
            return self._base_sequence
        return (self._base_sequence + self._last_offset_delta) & _INT32_MAX

    @property
    def is_transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return self._attributes & TRANSACTIONAL_BIT != 0

    @property
    def is_control(self) -> bool:
        """Whether the batch holds a control record, which is never given to users (B10)."""
        return self._attributes & CONTROL_BIT != 0

    @property
    def delete_horizon_ms(self) -> int | None:
        """When the log cleaner may drop the batch's tombstones (ms since 1970), None if that is not set."""
        return self._base_timestamp if self._attributes & DELETE_HORIZON_BIT else None

    @property
    def count(self) -> int:
        """How many records the batch says it holds; 0 is possible after compaction."""
        return self._count

    # --------------------------------------------------------------------------------------------------- the records

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
        """An iterator over the records at `start` and above, decoded one by one.

        `key` and `value`: functions that make objects of the bytes; a null is not shown to them and stays None.
        `ownership`: a token for the records' context. Raises CorruptRecordError if the records can't be decompressed,
        or decompress to more than the limit; the iterator raises it for damage found later.
        """
        records = iterator.RecordIterator(
            BatchContext(self._topic, self._partition, self.timestamp_type, self.leader_epoch, ownership),
            self._payload(),
            self._count,
            self._base_offset,
            self._last_offset_delta,
            self._base_timestamp,
            self._max_timestamp if self._attributes & LOG_APPEND_TIME_BIT else None,
            min(max(start, 0), self.next_offset),  # so that it fits a machine integer
            key,
            value,
            self._checked,
        )
        return cast("RecordIterator[K | bytes | None, V | bytes | None]", records)

    def control_record(self) -> ControlRecord | None:
        """What a control batch announces; None if compaction has emptied it. CorruptRecordError if that can't be read.

        Only for batches with `is_control`.
        """
        record = next(self.records(), None)
        if record is None:
            return None
        try:
            return parse_control_record(record.key, record.value)
        except ValueError as error:
            raise self.corrupt(str(error)) from None

    def _payload(self) -> bytes:
        payload = self._data[HEADER_SIZE:]
        # What compaction empties is not compressed nothing but nothing.
        if self._attributes & CODEC_BITS == 0 or (self._count == 0 and not payload):
            return bytes(payload)  # it is in memory already: the limit is for what is not
        try:
            return decompress(self.codec, payload, self._max_decompressed_size)
        except ValueError as error:
            raise self.corrupt(str(error)) from None

    def corrupt(self, reason: str) -> CorruptRecordError:
        """The exception that says that this batch is damaged."""
        end = self.next_offset
        # Under a wrong checksum (or one that nobody looked at) the end may be what is damaged, and seeking there might
        # skip 2^31 offsets. Where a header lies about its offsets, it would lead back, or nowhere.
        known = self._checked and 0 <= self._base_offset < end <= _INT64_MAX
        return CorruptRecordError(self._topic, self._partition, self._base_offset, reason, end if known else -1)

    def __repr__(self) -> str:
        return (
            f"<RecordBatch {self._topic}-{self._partition} offsets={self.base_offset}..{self.last_offset}"
            f" count={self._count} codec={self.codec.name.lower()}>"
        )
