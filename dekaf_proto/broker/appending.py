"""A producer's batch on its way into a partition's log: what is checked, and what the broker writes into it.

    check_shape(data, version)      of a request: is it one batch of format 2, as Produce wants it?
    append(partition, data, ...)    is everything in it right, and is it the producer's turn? Then it is in the log

The offsets, the leader epoch and, by the topic's options, the timestamps are the broker's (B2, B5); the rest of the
batch stays as it came, compressed or not. Both return a `Refused` instead of raising: each partition of a request has
an answer of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from dekaf_proto.broker.cluster import Partition, Topic
from dekaf_proto.errors import CorruptRecordError, ErrorCode
from dekaf_proto.records import Codec, RecordBatch
from dekaf_proto.records.batch import (
    CHECKSUMMED_FROM,
    CODEC_BITS,
    CONTROL_BIT,
    HEADER,
    HEADER_SIZE,
    LENGTH_FROM,
    LOG_APPEND_TIME_BIT,
)
from dekaf_proto.records.checksum import crc32c
from dekaf_proto.types import TimestampType

_START: Final = struct.Struct(">qi")
_MAGIC_AT: Final = 16
_CODEC_AT: Final = 22
_MIN_LENGTH: Final = 14  # of the shortest thing that any format knows
_NO_TIMESTAMP: Final = -1
_SHOWN: Final = 3  # bad records that an error text names


class RecordError(NamedTuple):
    """What is wrong with one record: its number in the batch, and a text."""

    number: int
    message: str


class Refused(NamedTuple):
    """Why a batch was not appended. The text and the records are for the client's log."""

    error: ErrorCode
    message: str | None = None
    records: tuple[RecordError, ...] = ()


class Appended(NamedTuple):
    """Where a batch is now, and its time (ms) if the broker's clock gave it, else -1."""

    base_offset: int
    last_offset: int
    append_time: int


def check_shape(data: bytes, version: int) -> Refused | None:
    """Whether the records of a request are exactly one batch of format 2, in a codec that its version may carry (T7).

    What a batch cut off at the end would be is left out of account.
    """
    found = list(_starts(data))
    if any(at < 0 for at in found):
        return Refused(ErrorCode.CORRUPT_MESSAGE)
    if not found:
        return Refused(ErrorCode.INVALID_RECORD)
    if data[_MAGIC_AT] != 2:
        return Refused(ErrorCode.INVALID_RECORD)
    if version < 7 and data[_CODEC_AT] & CODEC_BITS == Codec.ZSTD:
        return Refused(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
    return Refused(ErrorCode.INVALID_RECORD) if len(found) > 1 else None


def append(partition: Partition, data: bytes, now_ms: int, *, from_zero: bool = False) -> Appended | Refused:
    """Appends what `check_shape` has passed. `from_zero`: see `Producers.check`."""
    log, topic = partition.log, partition.topic
    data = data[: _size(data, 0)]
    batch = _validated(data, topic)
    if isinstance(batch, Refused):
        return batch
    max_timestamp = _check_records(batch, topic, now_ms)
    if isinstance(max_timestamp, Refused):
        return max_timestamp
    if batch.producer_id >= 0:
        if known := log.producers.duplicate_of(batch):
            return Appended(known.first_offset, known.first_offset + batch.count - 1, known.timestamp)
        if error := log.producers.check(batch, from_zero=from_zero):
            return Refused(error)
    first = log.end_offset
    last = first + batch.count - 1
    epoch = partition.leader_epoch
    if topic.log_append_time:
        stored = _stamped(data, first, epoch, LOG_APPEND_TIME_BIT, now_ms)
    else:
        stored = _stamped(data, first, epoch, 0, max_timestamp)
    log.append(stored, base_offset=first, last_offset=last, leader_epoch=epoch)
    return Appended(first, last, now_ms if topic.log_append_time else _NO_TIMESTAMP)


def _starts(data: bytes) -> Iterator[int]:
    """Where the whole batches start; -1 where there is something that can be no batch."""
    at = 0
    while size := _size(data, at):
        if size < 0:
            yield -1
            return
        yield at
        at += size


def _size(data: bytes, at: int) -> int:
    """The size of the batch there; 0 if the data ends before it is whole, -1 if it is none."""
    left = len(data) - at
    if left < _START.size:
        return 0
    _, length = _START.unpack_from(data, at)
    if length < _MIN_LENGTH:
        return -1
    if left <= _MAGIC_AT:
        return 0
    if data[at + _MAGIC_AT] > 2:
        return -1
    size: int = LENGTH_FROM + length
    return size if size <= left else 0


def _validated(data: bytes, topic: Topic) -> RecordBatch | Refused:
    """The batch, if what its header says is what a producer may send."""
    if int.from_bytes(data[:8], "big", signed=True) != 0:
        return Refused(ErrorCode.INVALID_RECORD)  # offsets are the broker's to give
    if len(data) > topic.max_message_bytes:
        return Refused(ErrorCode.MESSAGE_TOO_LARGE)
    if len(data) < HEADER_SIZE or crc32c(data[CHECKSUMMED_FROM:]) != HEADER.unpack_from(data)[4]:
        return Refused(ErrorCode.CORRUPT_MESSAGE)
    header = HEADER.unpack_from(data)
    attributes, last_delta, producer_id, sequence, count = header[5], header[6], header[9], header[11], header[12]
    if count <= 0 or count != last_delta + 1:
        return Refused(ErrorCode.INVALID_RECORD)
    if attributes & CONTROL_BIT or (producer_id >= 0 and sequence < 0):
        return Refused(ErrorCode.INVALID_RECORD)
    if attributes & CODEC_BITS > Codec.ZSTD:
        return Refused(ErrorCode.UNKNOWN_SERVER_ERROR)  # likewise no codec
    return RecordBatch(memoryview(data), topic.name, 0, check_crc=False)


def _check_records(batch: RecordBatch, topic: Topic, now_ms: int) -> int | Refused:
    """The highest timestamp, if all records can be read and the topic takes them."""
    bad: list[RecordError] = []
    error = ErrorCode.INVALID_RECORD
    highest = _NO_TIMESTAMP
    stamped = batch.timestamp_type is TimestampType.LOG_APPEND_TIME
    latest = now_ms + topic.timestamp_after_max_ms
    try:
        records = batch.records()
    except CorruptRecordError:
        return Refused(ErrorCode.UNKNOWN_SERVER_ERROR)  # what can't be decompressed; Kafka has no better answer either
    try:
        for index, record in enumerate(records):
            timestamp = record.timestamp
            if topic.compacted and record.key is None:
                bad.append(RecordError(index, "a compacted topic takes no record without a key"))
            elif stamped and (topic.log_append_time or timestamp == _NO_TIMESTAMP):
                error = ErrorCode.INVALID_TIMESTAMP
                bad.append(RecordError(index, "its timestamp says that the broker set it"))
            elif timestamp > latest and not topic.log_append_time:
                error = ErrorCode.INVALID_TIMESTAMP
                text = f"its timestamp, {timestamp}, is too far ahead of the broker's clock, {now_ms}"
                bad.append(RecordError(index, text))
            highest = max(highest, timestamp)
    except CorruptRecordError:
        return Refused(ErrorCode.INVALID_RECORD)
    if not bad:
        return highest
    shown = "; ".join(f"record {each.number}: {each.message}" for each in bad[:_SHOWN])
    return Refused(error, f"{len(bad)} of {batch.count} records can't be taken: {shown}", tuple(bad))


def _stamped(data: bytes, base_offset: int, leader_epoch: int, type_bit: int, max_timestamp: int) -> bytes:
    """The batch with the broker's values. Its checksum changes only if the timestamps do."""
    header = list(HEADER.unpack_from(data))
    header[0], header[2] = base_offset, leader_epoch
    if (header[5] & LOG_APPEND_TIME_BIT, header[8]) != (type_bit, max_timestamp):
        header[5], header[8] = header[5] & ~LOG_APPEND_TIME_BIT | type_bit, max_timestamp
        header[4] = crc32c(data[HEADER_SIZE:], crc32c(HEADER.pack(*header)[CHECKSUMMED_FROM:]))
    return HEADER.pack(*header) + data[HEADER_SIZE:]
