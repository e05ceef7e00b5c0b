"""`PartitionLog`: the batches of one partition as bytes, and the offsets that follow from them.

    start offset <= last stable offset <= high watermark <= end offset

The log keeps bytes as they came; it reads of a batch only what a real broker reads of it: offsets, leader epoch,
timestamps, the producer's id and the two bits for transactions. So it can also hold what a client must refuse.

It does not know topics, nodes or who asks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from dekaf_proto.broker.producers import AppendedBatch, Producers
from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records import BatchBuilder, Codec, ControlType, LegacyBatch, Record, RecordBatch, read_batches
from dekaf_proto.records.batch import CODEC_BITS, CONTROL_BIT, HEADER, HEADER_SIZE, LENGTH_FROM, TRANSACTIONAL_BIT
from dekaf_proto.types import TimestampType

AnyRecord = Record[bytes | None, bytes | None]

_NO_TIMESTAMP: Final = -1
_NEVER: Final = 2**63 - 1


class StoredBatch(NamedTuple):
    """One batch, or anything that stands for one."""

    base_offset: int
    last_offset: int
    leader_epoch: int
    data: bytes

    @property
    def magic(self) -> int:
        """The format, -1 if there is not even that."""
        return self.data[16] if len(self.data) > 16 else -1

    @property
    def codec(self) -> int:
        """The number of the codec, 0 where the batch is too damaged to say."""
        return self.data[22] & CODEC_BITS if self.magic == 2 and len(self.data) > 22 else 0

    @property
    def producer_id(self) -> int:
        """The producer's id, -1 for none."""
        whole = self.magic == 2 and len(self.data) >= HEADER_SIZE
        return int(HEADER.unpack_from(self.data)[9]) if whole else -1

    def opened(self) -> RecordBatch | LegacyBatch | None:
        """The batch for reading, None if it can't be read."""
        try:
            return next(iter(read_batches(self.data, topic="", partition=0)), None)
        except CorruptRecordError:
            return None

    def records(self) -> list[AnyRecord]:
        """The records, none of a damaged batch."""
        batch = self.opened()
        try:
            return list(batch.records()) if batch is not None else []
        except CorruptRecordError:
            return []


class Aborted(NamedTuple):
    """A transaction that was aborted: its first offset here, and that of the marker."""

    producer_id: int
    first_offset: int
    last_offset: int


class TimestampedOffset(NamedTuple):
    """What a search by time found."""

    timestamp: int
    offset: int
    leader_epoch: int


class Slice(NamedTuple):
    """What `read` gives: the bytes, the batches that are whole in them, and where the next one would start."""

    data: bytes
    batches: tuple[StoredBatch, ...]
    next_offset: int


class PartitionLog:
    """See the module. A new log is empty and starts at offset 0 in leader epoch 0."""

    def __init__(self) -> None:
        self.start_offset = 0
        self.end_offset = 0
        self.batches: list[StoredBatch] = []
        #: (epoch, its first offset), ascending in both.
        self.epochs: list[tuple[int, int]] = [(0, 0)]
        self.open_transactions: dict[int, int] = {}
        self.aborted: list[Aborted] = []
        self.producers = Producers()
        #: Replicas that lag behind hold the high watermark back at this offset; None: none does.
        self.watermark_limit: int | None = None
        #: Offsets at which a segment starts: a read does not go beyond one (B21).
        self.segments: list[int] = []

    @property
    def high_watermark(self) -> int:
        """The offset up to which consumers may read."""
        return self.end_offset if self.watermark_limit is None else min(self.watermark_limit, self.end_offset)

    @property
    def last_stable_offset(self) -> int:
        """The offset up to which read_committed consumers may read: the first one of an open transaction, or what is
        left of it."""
        return min(self.high_watermark, max(self.start_offset, min(self.open_transactions.values(), default=_NEVER)))

    # ------------------------------------------------------------------------------------------------------ writing

    def append(self, data: bytes, *, base_offset: int, last_offset: int, leader_epoch: int) -> None:
        """Takes a batch as it is. ValueError if it does not lie beyond the end."""
        if base_offset < self.end_offset or last_offset < base_offset:
            raise ValueError(f"offsets {base_offset} to {last_offset} do not follow the log's end, {self.end_offset}")
        batch = StoredBatch(base_offset, last_offset, leader_epoch, data)
        self.batches.append(batch)
        self.end_offset = last_offset + 1
        if leader_epoch > self.epochs[-1][0]:
            self.start_epoch(leader_epoch, base_offset)
        self._follow(batch)

    def append_raw(self, data: bytes, last_offset: int | None) -> None:
        """Takes bytes as they are: batches of any format, each with its own offsets. With `last_offset` the bytes,
        which may then be anything, are one batch from the log's end (or from its own first offset) to there."""
        if last_offset is not None:
            base = int.from_bytes(data[:8], "big", signed=True) if len(data) >= HEADER_SIZE else self.end_offset
            base = base if self.end_offset <= base <= last_offset else self.end_offset
            self.append(data, base_offset=base, last_offset=last_offset, leader_epoch=self.epochs[-1][0])
            return
        while data:
            size = LENGTH_FROM + int.from_bytes(data[8:12], "big", signed=True)
            if len(data) < LENGTH_FROM + 5 or not LENGTH_FROM + 5 <= size <= len(data):
                raise ValueError("not whole batches; give last_offset to store damaged bytes")
            entry, data = data[:size], data[size:]
            first = int.from_bytes(entry[:8], "big", signed=True)
            if entry[16] == 2 and len(entry) >= HEADER_SIZE:
                header = HEADER.unpack_from(entry)
                self.append(entry, base_offset=first, last_offset=first + header[6], leader_epoch=header[2])
            else:  # an old message's offset is its own, a wrapper's that of its last message
                self.append(entry, base_offset=self.end_offset, last_offset=first, leader_epoch=-1)

    def start_epoch(self, epoch: int, offset: int | None = None) -> None:
        """A new leader: its epoch starts at the end of the log."""
        start = self.end_offset if offset is None else offset
        self.epochs = [entry for entry in self.epochs if entry[0] < epoch and entry[1] < start]
        self.epochs.append((epoch, start))

    def truncate(self, offset: int) -> None:
        """Loses everything from `offset` on, and the whole batch that contains it, as a replica that was behind."""
        self.batches = [batch for batch in self.batches if batch.last_offset < offset]
        self.end_offset = min(self.end_offset, offset)
        self.start_offset = min(self.start_offset, offset)
        self.epochs = [entry for entry in self.epochs if entry[1] < offset] or [(self.epochs[0][0], offset)]
        self.segments = [start for start in self.segments if start < offset]
        self._follow_all()

    def delete_before(self, offset: int) -> None:
        """Moves the start of the log, as retention and DeleteRecords do. A batch around it stays."""
        if not self.start_offset <= offset <= self.end_offset:
            raise ValueError(f"{offset} is not between {self.start_offset} and {self.end_offset}")
        self.start_offset = offset
        self.batches = [batch for batch in self.batches if batch.last_offset >= offset]
        self.aborted = [transaction for transaction in self.aborted if transaction.last_offset >= offset]

    def compact(self, keep: Callable[[AnyRecord], bool], *, keep_empty: bool) -> None:
        """Drops records for which `keep` is false, as the log cleaner does: offsets stay, gaps remain (B6).

        A batch that loses all its records disappears, or stays as an empty one with `keep_empty`.
        """
        kept: list[StoredBatch] = []
        for batch in self.batches:
            opened = batch.opened()
            if not isinstance(opened, RecordBatch) or opened.is_control:
                kept.append(batch)
                continue
            records = batch.records()
            left = [record for record in records if keep(record)]
            if len(left) == len(records):
                kept.append(batch)
            elif left or keep_empty:
                kept.append(batch._replace(data=_rewritten(opened, left)))
        self.batches = kept

    def retain(self, before: int | None, max_bytes: int | None) -> None:
        """Deletes the oldest batches: those whose latest record is from before `before` (ms since 1970), and while all
        are more than `max_bytes`. None for no limit. A batch that is not below the high watermark stays."""
        size = sum(len(batch.data) for batch in self.batches)
        start = self.start_offset
        for batch in self.batches:
            latest = max((record.timestamp for record in batch.records()), default=_NO_TIMESTAMP)
            too_old = before is not None and latest < before
            too_much = max_bytes is not None and size > max_bytes
            if not (too_old or too_much) or batch.last_offset >= self.high_watermark:
                break
            size -= len(batch.data)
            start = batch.last_offset + 1
        self.delete_before(start)

    def roll(self) -> None:
        """What is appended from now on lies in a new segment."""
        if self.end_offset not in self.segments:
            self.segments.append(self.end_offset)

    def in_transaction(self, producer_id: int, epoch: int) -> bool:
        """Whether there are records here of a transaction that this producer, in this epoch, has not ended."""
        return producer_id in self.open_transactions and self.producers.epoch(producer_id) == epoch

    def _follow(self, batch: StoredBatch) -> None:
        """Learns what a batch says of its producer and its transaction."""
        if batch.magic != 2 or len(batch.data) < HEADER_SIZE:
            return
        header = HEADER.unpack_from(batch.data)
        attributes, last_delta, timestamp, producer_id, epoch, sequence = *header[5:7], *header[8:12]
        if producer_id < 0:
            return
        if not attributes & CONTROL_BIT:
            last_sequence = sequence + last_delta & 0x7FFFFFFF
            self.producers.appended(
                producer_id, epoch, AppendedBatch(sequence, last_sequence, batch.base_offset, timestamp)
            )
            if attributes & TRANSACTIONAL_BIT:
                self.open_transactions.setdefault(producer_id, batch.base_offset)
        elif attributes & TRANSACTIONAL_BIT:
            self.producers.ended(producer_id, epoch)
            self._follow_marker(batch, producer_id)

    def _follow_marker(self, batch: StoredBatch, producer_id: int) -> None:
        first = self.open_transactions.pop(producer_id, None)
        opened = batch.opened()
        marker = opened.control_record() if opened is not None else None
        if first is not None and marker is not None and marker.type is ControlType.ABORT:
            self.aborted.append(Aborted(producer_id, first, batch.last_offset))

    def _follow_all(self) -> None:
        self.open_transactions = {}
        self.aborted = []
        self.producers = Producers()
        for batch in self.batches:
            self._follow(batch)

    # ------------------------------------------------------------------------------------------------------ reading

    def read(self, offset: int, limit: int, max_bytes: int, *, at_least_one: bool) -> Slice:
        """The batches from the one around `offset` up to the offset `limit`, cut at `max_bytes` as a broker cuts.

        The cut may go through a batch (B17). If not even the first one fits, nothing is given, or with
        `at_least_one` that first batch whole (B19).
        """
        parts: list[bytes] = []
        whole: list[StoredBatch] = []
        left = max_bytes
        next_offset = offset
        end = next((start for start in self.segments if start > offset), self.end_offset)
        for batch in self._from(offset):
            if batch.last_offset >= limit or (whole and batch.base_offset >= end):
                break
            size = len(batch.data)
            if size > left and (whole or not at_least_one):
                if whole:
                    parts.append(batch.data[:left])
                break
            parts.append(batch.data)
            whole.append(batch)
            next_offset = batch.last_offset + 1
            left = max(0, left - size)
        return Slice(b"".join(parts), tuple(whole), next_offset)

    def aborted_between(self, offset: int, next_offset: int) -> list[Aborted]:
        """The aborted transactions that concern a reader of this range, in the order of their markers."""
        return [a for a in self.aborted if a.last_offset >= offset and a.first_offset < next_offset]

    def at_or_after(self, timestamp: int) -> TimestampedOffset | None:
        """The first record with at least this timestamp (ms); as in Kafka it may be a control record."""
        for batch, record in self._records():
            if record.timestamp >= timestamp:
                return TimestampedOffset(record.timestamp, record.offset, batch.leader_epoch)
        return None

    def max_timestamp(self) -> TimestampedOffset | None:
        """The first of the records with the highest timestamp."""
        best: TimestampedOffset | None = None
        for batch, record in self._records():
            if best is None or record.timestamp > best.timestamp:
                best = TimestampedOffset(record.timestamp, record.offset, batch.leader_epoch)
        return best if best is not None and best.timestamp != _NO_TIMESTAMP else None

    def epoch_at(self, offset: int) -> int:
        """The leader epoch in which `offset` was, or will be, written."""
        return max((epoch for epoch, start in self.epochs if start <= offset), default=self.epochs[0][0])

    def end_of_epoch(self, epoch: int) -> tuple[int, int]:
        """For a leader epoch: the highest one not above it that is known, and where that ended; (-1, -1) if it is newer
        than all that are known (KIP-320)."""
        known = [entry[0] for entry in self.epochs]
        if epoch == -1 or epoch > known[-1]:
            return -1, -1
        if epoch == known[-1]:
            return epoch, self.end_offset
        index = bisect_right(known, epoch)
        if index == 0:
            return epoch, self.epochs[0][1]
        return self.epochs[index - 1][0], self.epochs[index][1]

    def _from(self, offset: int) -> Iterator[StoredBatch]:
        first = bisect_right(self.batches, offset, key=lambda batch: batch.last_offset + 1)
        for index in range(first, len(self.batches)):
            yield self.batches[index]

    def settled_records(self) -> list[AnyRecord]:
        """Those that a read_committed consumer gets."""
        end = self.last_stable_offset
        aborted = [(each.producer_id, range(each.first_offset, each.last_offset)) for each in self.aborted]
        return [
            record
            for batch, record in self._records()
            if record.offset < end
            and not any(id == batch.producer_id and batch.base_offset in offsets for id, offsets in aborted)
        ]

    def _records(self) -> Iterator[tuple[StoredBatch, AnyRecord]]:
        for batch in self._from(self.start_offset):
            for record in batch.records():
                if record.offset >= self.start_offset:
                    yield batch, record


def _rewritten(batch: RecordBatch, records: list[AnyRecord]) -> bytes:
    """The batch with only these of its records."""
    builder = BatchBuilder(
        codec=batch.codec if records else Codec.NONE,
        base_offset=batch.base_offset,
        leader_epoch=batch.leader_epoch,
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        base_sequence=batch.base_sequence,
        transactional=batch.is_transactional,
        base_timestamp=batch.base_timestamp,
        append_time=batch.max_timestamp if batch.timestamp_type is TimestampType.LOG_APPEND_TIME else None,
    )
    for record in records:
        builder.append(record.timestamp, record.key, record.value, record.headers, record.offset - batch.base_offset)
    return builder.build(last_offset_delta=batch.last_offset - batch.base_offset, max_timestamp=batch.max_timestamp)
