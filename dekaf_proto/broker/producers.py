"""`Producers`: what a partition remembers of its idempotent and transactional producers (T1-T3, KIP-98).

For each producer id the epoch, and the last five batches of that epoch: enough to tell a retry from a gap. All of it
follows from the batches in the log, in their order, so that it can be made anew when the log was cut off.

It knows no topic, no request and no time.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from dekaf_proto.errors import ErrorCode
from dekaf_proto.records import RecordBatch

REMEMBERED_BATCHES: Final = 5
_NO_EPOCH: Final = -1
_NO_SEQUENCE: Final = -1
_LAST_SEQUENCE: Final = 0x7FFFFFFF


class AppendedBatch(NamedTuple):
    """A batch that is in the log. `timestamp`: its highest one, in ms."""

    first_sequence: int
    last_sequence: int
    first_offset: int
    timestamp: int


class _Producer:
    __slots__ = ("batches", "epoch")

    def __init__(self) -> None:
        self.epoch = _NO_EPOCH
        self.batches: deque[AppendedBatch] = deque(maxlen=REMEMBERED_BATCHES)

    def enter(self, epoch: int) -> None:
        """Sequences start anew with an epoch."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.batches.clear()

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else _NO_SEQUENCE


class Producers:
    """See the module."""

    def __init__(self) -> None:
        self._producers: dict[int, _Producer] = {}
        #: producer id -> the epoch and the lowest sequence with which a transaction has tried to begin here.
        self._attempts: dict[int, tuple[int, int]] = {}

    def epoch(self, producer_id: int) -> int:
        """The producer's present epoch; -1 if it is unknown."""
        found = self._producers.get(producer_id)
        return _NO_EPOCH if found is None else found.epoch

    def duplicate_of(self, batch: RecordBatch) -> AppendedBatch | None:
        """Where the batch is in the log already, if it is one of the last five."""
        found = self._producers.get(batch.producer_id)
        if found is None or found.epoch != batch.producer_epoch:
            return None
        sequences = (batch.base_sequence, batch.last_sequence)
        return next((b for b in found.batches if (b.first_sequence, b.last_sequence) == sequences), None)

    def attempt(self, producer_id: int, epoch: int, sequence: int) -> None:
        """A transaction may begin here with this batch. If it is refused, a later one must not overtake it."""
        known = self._attempts.get(producer_id, (epoch, sequence))
        if epoch > known[0] or (epoch == known[0] and sequence < known[1]):
            known = (epoch, sequence)
        self._attempts[producer_id] = known

    def check(self, batch: RecordBatch, *, from_zero: bool) -> ErrorCode:
        """Whether a batch may be the producer's next one.

        `from_zero`: it is the first of a transaction whose epoch is its own, so its sequences begin at 0; without that
        a producer that is not known here may begin anywhere, as it may have been forgotten.
        """
        found = self._producers.get(batch.producer_id) or _Producer()
        sequence = batch.base_sequence
        if batch.producer_epoch < found.epoch:
            return ErrorCode.INVALID_PRODUCER_EPOCH
        if batch.is_transactional and sequence > self._attempts.get(batch.producer_id, (0, sequence))[1]:
            return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
        if from_zero and not found.batches:
            expected = sequence == 0
        elif found.epoch == _NO_EPOCH:
            expected = True
        elif batch.producer_epoch != found.epoch:
            expected = sequence == 0
        else:
            expected = sequence == (0 if found.last_sequence == _LAST_SEQUENCE else found.last_sequence + 1)
        return ErrorCode.NONE if expected else ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER

    def appended(self, producer_id: int, epoch: int, batch: AppendedBatch) -> None:
        """A batch is in the log, whether or not `check` was asked."""
        self._attempts.pop(producer_id, None)
        producer = self._producers.setdefault(producer_id, _Producer())
        producer.enter(epoch)
        if batch.first_sequence != _NO_SEQUENCE:
            producer.batches.append(batch)

    def ended(self, producer_id: int, epoch: int) -> None:
        """The marker of a transaction is in the log; a later epoch in it is the producer's from here on (B11)."""
        producer = self._producers.setdefault(producer_id, _Producer())
        producer.enter(max(epoch, producer.epoch))
