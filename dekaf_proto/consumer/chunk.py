"""Fetched records on their way to the application: chunks, and the runs that they are handed out in.

A *chunk* is what one fetch response held for one partition, still undecoded. A *run* (`FetchedRecords`) is a sequence
of chunks of several partitions in fair order, handed over at once; iterating decodes record by record, in the thread or
task of the application, while the engine may run in another one. What the two share are a few slots, each written by
one side:

    written here      `position`, the next offset that the application will be given
                      `finished`, below which everything is finished: the application has asked for what comes after
    written there     `live` (False: seeked away or revoked, drop it), `stopped` (an event waits: look there first)

Each slot alone is always true and only grows, so that a reader in another thread needs no lock. Where records have to
be acknowledged, their offsets go into their Delivery as well: appended here, taken out there.

This module is compiled in wheels, and its `__next__` is the hottest code there is. Its classes are generic for type
checkers only, in `generic`, for the reason that `dekaf_proto.records.record` gives. It knows no broker and no group.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from types import GenericAlias
from typing import Final, cast

from dekaf_proto._i64 import i64
from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records.isolation import TransactionFilter, Visibility
from dekaf_proto.records.iterator import RecordIterator
from dekaf_proto.records.record import Record
from dekaf_proto.records.stream import Batch, BatchReader
from dekaf_proto.types import IsolationLevel, TopicPartition

_RECORDS: Final = Visibility.RECORDS
NO_BOUND: Final = 0x7FFFFFFFFFFFFFFF
_MAX_OFFSET: Final = 0x7FFFFFFFFFFFFFFF
_START: Final = struct.Struct(">qi")
_LEADER_EPOCH: Final = struct.Struct(">i")
_LAST_OFFSET_DELTA: Final = struct.Struct(">i")
_LOG_OVERHEAD: Final = 12
_SHORTEST_V2: Final = 49  # what the length of a v2 batch without records says
_SHORTEST_LEGACY: Final = 14


def end_of_batches(data: memoryview) -> tuple[int, int, int, bool]:
    """How far the whole batches in `data` go: their bytes, the offset behind them (-1: there is none), the last one's
    leader epoch, and whether what follows is damaged rather than just cut off. Reads lengths and offsets only."""
    size = len(data)
    pos = 0
    next_offset = -1
    epoch = -1
    while size - pos >= 17:
        base_offset, length = _START.unpack_from(data, pos)
        magic = data[pos + 16]
        if magic > 2 or length < (_SHORTEST_V2 if magic == 2 else _SHORTEST_LEGACY):
            return pos, next_offset, epoch, True
        end = pos + _LOG_OVERHEAD + length
        if end > size:
            break
        behind = base_offset + 1
        if magic == 2:
            behind += _LAST_OFFSET_DELTA.unpack_from(data, pos + 23)[0]
        if not 0 < behind <= _MAX_OFFSET:
            return pos, next_offset, epoch, True
        next_offset = max(next_offset, behind)
        if magic == 2:
            epoch = _LEADER_EPOCH.unpack_from(data, pos + 12)[0]
        pos = end
    return pos, next_offset, epoch, False


class Reading:
    """How a consumer reads: the same for all its chunks."""

    def __init__(
        self,
        isolation_level: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
        check_crcs: bool = True,
        max_decompressed_size: int = 128 * 1024 * 1024,
        key_deserializer: Callable[[bytes], object] | None = None,
        value_deserializer: Callable[[bytes], object] | None = None,
    ) -> None:
        self.isolation_level: Final = isolation_level
        self.check_crcs: Final = check_crcs
        self.max_decompressed_size: Final = max_decompressed_size
        self.key_deserializer: Final = key_deserializer
        self.value_deserializer: Final = value_deserializer


class Window:
    """How many more records may be handed out before one is acknowledged."""

    def __init__(self) -> None:
        self.left: i64 = 0


class Delivery:
    """What was handed out of a partition since it was assigned, or sought; records carry it as their `ownership`.

    `tenure` stands for the assignment. With a `window`, records have to be acknowledged: `outstanding` has the offsets
    of those that are not, in order, and of later ones that are, which `acknowledged` has too.
    """

    def __init__(self, tp: TopicPartition, tenure: object, window: Window | None = None) -> None:
        self.tp: Final = tp
        self.tenure: Final = tenure
        self.window: Final = window
        self.outstanding: Final[deque[int]] = deque()
        self.acknowledged: Final[set[int]] = set()
        #: Up to which offsets records had been handed out, and when that was seen; for those outstanding.
        self.seen: Final[deque[tuple[int, float]]] = deque()


class Chunk:
    """What a fetch response held for one partition, and how far the application is with it.

    `data` is a view of the response, `start` the offset that was asked for, `next_offset` the one behind the last whole
    batch and `last_epoch` its leader epoch; `aborted` are the aborted transactions of the response. If the batches do
    not come to `next_offset`, what is behind them is damaged: an error.
    """

    def __init__(
        self,
        tp: TopicPartition,
        data: memoryview,
        start: i64,
        next_offset: i64,
        reading: Reading,
        aborted: Sequence[tuple[int, int]] = (),
        last_epoch: int = -1,
        delivery: Delivery | None = None,
    ) -> None:
        self.tp: Final = tp
        self.size: Final = len(data)
        self.start: i64 = start
        self.next_offset: i64 = next_offset
        self.last_epoch: Final = last_epoch
        self.live = True
        self.position: i64 = start
        self.finished: i64 = start
        # The batch that the application is in, and the one before it: where it came into each, and their leader epochs.
        self._batch_start: i64 = start
        self._batch_epoch: i64 = -1
        self._previous_start: i64 = start
        self._previous_epoch: i64 = -1
        #: How many records were handed out.
        self.handed_out: i64 = 0
        self._reading: Final = reading
        self._delivery: Final = delivery
        self._window: Final = None if delivery is None else delivery.window
        self._batches: Final = BatchReader(
            data,
            tp.topic,
            tp.partition,
            check_crcs=reading.check_crcs,
            max_decompressed_size=reading.max_decompressed_size,
        )
        self._filter: Final = TransactionFilter(reading.isolation_level, aborted)
        self._committed: Final = reading.isolation_level == IsolationLevel.READ_COMMITTED
        self._batch: Batch | None = None  # read, but not yet judged or opened
        self._records: RecordIterator | None = None
        self._batch_end: i64 = start
        self._kept_back: Record | None = None

    @property
    def is_used_up(self) -> bool:
        """Whether all of it was handed out and finished."""
        return self.finished >= self.next_offset

    def finish(self) -> None:
        """The application has asked for what comes after the records that it was given."""
        self.finished = self.position

    def epoch_below(self, offset: int) -> int:
        """The leader epoch of the record before `offset`, which is above `start`; -1 if it is not known any more."""
        # Each epoch is read before its start, which is written before it: so the two belong together in any thread.
        epoch: i64 = self._batch_epoch
        if offset > self._batch_start:
            return epoch
        epoch = self._previous_epoch
        return epoch if offset > self._previous_start else -1

    def next_record(self, bound: i64) -> Record | None:
        """The next record below `bound`, None if there is none. Raises what is wrong with it, again and again."""
        record = self._kept_back
        if record is not None:
            self._kept_back = None
        elif self.position >= bound:
            return None
        else:
            record = self._decode()
            if record is None:
                return None
        offset: i64 = record._offset
        if offset >= bound:
            self._kept_back = record
            if bound > self.position:
                self.position = bound  # there is nothing before this record
            return None
        window = self._window
        if window is not None and self._delivery is not None:
            self._delivery.outstanding.append(offset)  # first: what lies below the position is done, or in there
            window.left -= 1
        self.position = offset + 1
        self.handed_out += 1
        return record

    def _decode(self) -> Record | None:
        while True:
            records = self._records
            if records is not None:
                # Without an exception, which at the end of each batch would cost as much as a record.
                if records._next_delta != records._end_delta:
                    return records.__next__()
                self._records = None
                self.position = self._batch_end
            if not self._open_batch():
                return None

    def _open_batch(self) -> bool:
        """Goes on to the next batch; False at the end. What is left out moves the position all the same (B30)."""
        while self.position < self.next_offset:
            batch = self._batch
            if batch is None:
                try:
                    batch = self._batches.__next__()
                except StopIteration:
                    reason = "what the broker sent does not lead beyond this offset"
                    raise CorruptRecordError(self.tp.topic, self.tp.partition, self.position, reason) from None
                self._batch = batch  # until it is opened: what raises here has to raise again
            start: i64 = self.position
            end: i64 = batch.next_offset
            # The filter has a say where transactions count; elsewhere only control batches are passed over.
            wanted = not (self._committed or batch.is_control) or self._filter.judge(batch) is _RECORDS
            if end <= start:
                self._batch = None  # wholly before what was asked for
                continue
            if wanted:
                reading = self._reading
                self._records = cast(
                    "RecordIterator",
                    batch.records(
                        start,
                        key=reading.key_deserializer,
                        value=reading.value_deserializer,
                        ownership=self._delivery,
                    ),
                )
                self._batch_end = end
            else:
                self.position = end
            self._batch = None
            epoch = batch.leader_epoch
            self._previous_start = self._batch_start
            self._previous_epoch = self._batch_epoch
            self._batch_start = start
            self._batch_epoch = -1 if epoch is None else epoch
            if wanted:
                return True
        return False


class FetchedRecords:
    """A run of records: iterate, or `take` some at a time.

    Asking for the next record finishes the one before; asking for more by `take` finishes those taken before. The
    iteration ends where the run does, or as soon as `stopped` is set; then ask the consumer again.
    """

    def __init__(self, chunks: list[Chunk], bounds: list[int] | None = None, window: Window | None = None) -> None:
        self.stopped = False
        self._window: Final = window
        self._chunks: Final = chunks
        self._bounds: Final = bounds
        self._index: i64 = 0
        self._chunk: Chunk | None = chunks[0] if chunks else None
        self._bound: i64 = bounds[0] if bounds else NO_BOUND
        #: Where the application came into the chunk that it is in.
        self._entered: i64 = chunks[0].position if chunks else 0
        #: The chunks that `take` took records of.
        self._unfinished: Final[list[Chunk]] = []

    def __class_getitem__(cls, types: object) -> object:
        return GenericAlias(cls, types)

    @property
    def chunks(self) -> Sequence[Chunk]:
        """What it consists of."""
        return self._chunks

    def __iter__(self) -> FetchedRecords:
        return self

    def __next__(self) -> Record:
        if self._unfinished:
            self.finish()
        chunk = self._chunk
        while chunk is not None:
            chunk.finished = chunk.position  # the record in hand, if there is one, is done
            if self.stopped:
                break
            if chunk.live:
                record = chunk.next_record(self._bound)
                # What was passed over on the way to the record is finished; so is all, if there was none.
                if record is not None:
                    chunk.finished = record._offset
                    if self._window is not None and self._window.left <= 0:
                        self.stopped = True
                    return record
                chunk.finished = chunk.position
            chunk = self._advance()
        raise StopIteration

    def take(self, limit: int) -> list[Record]:
        """The next records, at most `limit`, fewer only at the end of the run or when it was stopped.

        An error is raised only if it comes first: otherwise the records before it are returned, and it is raised by the
        next call.
        """
        self.finish()
        taken: list[Record] = []
        chunk = self._chunk
        while chunk is not None and len(taken) < limit and not self.stopped:
            if chunk.live:
                if not self._unfinished or self._unfinished[-1] is not chunk:
                    self._unfinished.append(chunk)
                try:
                    record = chunk.next_record(self._bound)
                except Exception:
                    if taken:
                        return taken
                    raise
                if record is not None:
                    taken.append(record)
                    if self._window is not None and self._window.left <= 0:
                        self.stopped = True
                    continue
            chunk = self._advance()
        return taken

    def finish(self) -> None:
        """Everything that this run has handed out is finished."""
        for chunk in self._unfinished:
            chunk.finish()
        self._unfinished.clear()
        current = self._chunk
        if current is not None and current.position > self._entered:
            current.finish()

    def _advance(self) -> Chunk | None:
        self._index += 1
        if self._index < len(self._chunks):
            chunk = self._chunks[self._index]
            self._chunk = chunk
            self._entered = chunk.position
            if self._bounds is not None:
                self._bound = self._bounds[self._index]
        else:
            self._chunk = None
        return self._chunk
