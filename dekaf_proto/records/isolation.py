"""Which batches of a fetch response a reader is given: the read_committed filter (B26-B30).

A broker sends aborted records along with the others, and beside them the list of aborted transactions, each with its
producer id and its first offset. So the filter walks the batches in order: a transaction of the list becomes active
when its first offset is reached, its batches are left out while it is active, and its abort marker ends it.

Rules: what is left out still moves the position (`batch.next_offset`). The state belongs to one response of one
partition. It is a pure function of the batches and the list; it fetches and remembers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from dekaf_proto.records.control import ControlType
from dekaf_proto.records.stream import Batch
from dekaf_proto.types import IsolationLevel


class Visibility(Enum):
    """What a reader does with a batch."""

    RECORDS = "records"  # hand out its records
    CONTROL = "control"  # pass over it: it holds a control record
    ABORTED = "aborted"  # pass over it: its transaction was aborted


class JudgedBatch(NamedTuple):
    """A batch, and what a reader does with it."""

    batch: Batch
    visibility: Visibility


class TransactionFilter:
    """Judges the batches of one response in their order.

    `aborted`: (first offset, producer id) of the response's aborted transactions, in any order; None is an empty list.
    Under READ_UNCOMMITTED only control batches are passed over.
    """

    __slots__ = ("_active", "_isolation_level", "_waiting")

    def __init__(
        self,
        isolation_level: IsolationLevel = IsolationLevel.READ_COMMITTED,
        aborted: Iterable[tuple[int, int]] | None = None,
    ) -> None:
        self._isolation_level = isolation_level
        # The lowest offset last, so that it is popped first. Not every broker sends the list in order.
        self._waiting = sorted(aborted or (), reverse=True)
        self._active: set[int] = set()  # producers inside a transaction that was aborted

    def judge(self, batch: Batch) -> Visibility:
        """What to do with the next batch. CorruptRecordError if it is a control batch that can't be read."""
        control = batch.control_record() if batch.is_control else None
        if self._isolation_level == IsolationLevel.READ_COMMITTED and batch.producer_id >= 0:
            while self._waiting and self._waiting[-1][0] <= batch.last_offset:
                self._active.add(self._waiting.pop()[1])
            if control is not None and control.type is ControlType.ABORT:
                # By producer id alone: since KIP-890 the marker's epoch is above that of the records (B11).
                self._active.discard(batch.producer_id)
            elif not batch.is_control and batch.is_transactional and batch.producer_id in self._active:
                return Visibility.ABORTED
        return Visibility.CONTROL if batch.is_control else Visibility.RECORDS


class JudgedBatches:
    """An iterator over (batch, visibility); `judge_batches` makes it.

    What raised once raises again: a batch that can't be judged is not passed over.
    """

    __slots__ = ("_batches", "_filter", "_pending")

    def __init__(self, batches: Iterator[Batch], transaction_filter: TransactionFilter) -> None:
        self._batches = batches
        self._filter = transaction_filter
        self._pending: Batch | None = None

    def __iter__(self) -> JudgedBatches:
        return self

    def __next__(self) -> JudgedBatch:
        if self._pending is None:
            self._pending = next(self._batches)
        batch = self._pending
        visibility = self._filter.judge(batch)
        self._pending = None
        return JudgedBatch(batch, visibility)


def judge_batches(
    batches: Iterable[Batch],
    isolation_level: IsolationLevel = IsolationLevel.READ_COMMITTED,
    aborted: Iterable[tuple[int, int]] | None = None,
) -> JudgedBatches:
    """Each batch with what a reader of this isolation level does with it.

    `batches`: those of one response for one partition, in order. `aborted`: the response's aborted transactions as
    (first offset, producer id); None where the response has none. Iterating raises CorruptRecordError for damage that
    `batches` meets and for a control batch that can't be read.
    """
    return JudgedBatches(iter(batches), TransactionFilter(isolation_level, aborted))
