"""Batches and chunks of them, for tests."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, cast

from dekaf_proto.consumer import FetchedRecords, chunk as native
from dekaf_proto.consumer.chunk import Chunk, Reading, end_of_batches
from dekaf_proto.records import BatchBuilder, Codec, ControlType, Record, build_marker
from dekaf_proto.types import IsolationLevel, TopicPartition

TP = TopicPartition("t", 0)
READ_COMMITTED: Reading = Reading(IsolationLevel.READ_COMMITTED)
AnyChunk = Chunk
AnyRun = FetchedRecords[Any, Any]


def batch(
    base_offset: int,
    values: Iterable[bytes | None],
    *,
    deltas: Iterable[int] | None = None,
    last_offset_delta: int | None = None,
    epoch: int = 0,
    codec: Codec = Codec.NONE,
    producer_id: int = -1,
    transactional: bool = False,
    append_time: int | None = None,
) -> bytes:
    builder = BatchBuilder(
        codec=codec,
        base_offset=base_offset,
        leader_epoch=epoch,
        producer_id=producer_id,
        producer_epoch=0 if producer_id >= 0 else -1,
        base_sequence=0 if producer_id >= 0 else -1,
        transactional=transactional,
        append_time=append_time,
    )
    places = iter(deltas) if deltas is not None else None
    for value in values:
        builder.append(1_700_000_000_000, None, value, (), next(places) if places is not None else None)
    return builder.build(last_offset_delta=last_offset_delta)


def numbers(start: int, count: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


def marker(offset: int, producer_id: int, type: ControlType = ControlType.ABORT, epoch: int = 0) -> bytes:
    return build_marker(
        type,
        producer_id=producer_id,
        producer_epoch=1,  # since KIP-890 above that of the records (B11)
        coordinator_epoch=0,
        base_offset=offset,
        timestamp=1_700_000_000_000,
        leader_epoch=epoch,
    )


def legacy(offset: int, value: bytes) -> bytes:
    """A message of format 0."""
    from zlib import crc32

    body = struct.pack(">bbi", 0, 0, -1) + struct.pack(">i", len(value)) + value
    return struct.pack(">qi", offset, len(body) + 4) + struct.pack(">I", crc32(body)) + body


def chunk(
    data: bytes,
    start: int = 0,
    reading: Reading | None = None,
    aborted: Iterable[tuple[int, int]] = (),
    next_offset: int | None = None,
) -> AnyChunk:
    """As the fetcher makes it."""
    view = memoryview(data)
    size, end, epoch, damaged = end_of_batches(view)
    if damaged:
        end = max(end, start) + 1
    else:
        view = view[:size]
    return Chunk(
        TP, view, start, end if next_offset is None else next_offset, reading or Reading(), list(aborted), epoch
    )


def offsets(records: Iterable[Record[Any, Any]]) -> list[int]:
    return [record.offset for record in records]


def damage(data: bytes, at: int = -1) -> bytes:
    altered = bytearray(data)
    altered[at] ^= 0xFF
    return bytes(altered)


def refuses_3(value: bytes) -> int:
    number = int(value)
    if number == 3:
        raise ValueError("not this one")
    return number


def run_of(chunks: list[Chunk], bounds: list[int] | None = None) -> AnyRun:
    """As the handout makes it, and as drivers see it."""
    return cast("AnyRun", native.FetchedRecords(chunks, bounds))
