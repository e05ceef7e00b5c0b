"""`Transaction`: what a coordinator keeps of one transactional id, and how that may change (KIP-98, KIP-890).

    EMPTY             the id has a producer, which has not begun
    ONGOING           partitions or groups have been added
    PREPARE_COMMIT    the decision stands, and markers are on their way to the partitions and groups
    PREPARE_ABORT
    COMPLETE_COMMIT   all markers are written; the next transaction may begin
    COMPLETE_ABORT

The epoch grows when a producer is initialised and when it is fenced; with transactions of version 2 (`bump`) also when
one ends, in the moment of the decision, so that the markers carry the new one (B11). The last epochs of a producer id
are not given out: after 32766 comes a new id with epoch 0.

A request that is repeated because its answer was lost is told from a new one by the producer's id and epoch before the
last change. It knows no node, partition's log or time but what it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from dekaf_proto.errors import ErrorCode
from dekaf_proto.types import TopicPartition

NO_PRODUCER: Final = (-1, -1)
_NONE: Final = -1
_LAST_EPOCH: Final = 0x7FFE
_MARKERS_EPOCH: Final = 0x7FFF  # only markers have it

#: A producer's id and epoch.
ProducerAt = tuple[int, int]


class TransactionState(Enum):
    """The states of a transactional id, as Kafka writes them."""

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"


_EMPTY: Final = TransactionState.EMPTY
_ONGOING: Final = TransactionState.ONGOING
_PREPARE: Final = {True: TransactionState.PREPARE_COMMIT, False: TransactionState.PREPARE_ABORT}
_COMPLETE: Final = {True: TransactionState.COMPLETE_COMMIT, False: TransactionState.COMPLETE_ABORT}

#: state -> the states it can come from.
TRANSITIONS: Final[dict[TransactionState, tuple[TransactionState, ...]]] = {
    _EMPTY: (_EMPTY, *_COMPLETE.values()),
    _ONGOING: (_EMPTY, _ONGOING, *_COMPLETE.values()),
    _PREPARE[True]: (_ONGOING,),
    _PREPARE[False]: (_EMPTY, _ONGOING, *_COMPLETE.values()),
    _COMPLETE[True]: (_PREPARE[True],),
    _COMPLETE[False]: (_PREPARE[False],),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionOptions:
    """`max_timeout_ms`: Kafka's transaction.max.timeout.ms. The others have no option in Kafka. `marker_delay_ms`: how
    long the markers are on their way after the decision, while everything is answered CONCURRENT_TRANSACTIONS;
    `coordinator_load_ms`: how long a node that has become an id's coordinator answers 14 to everything."""

    max_timeout_ms: int = 900_000
    marker_delay_ms: int = 0
    coordinator_load_ms: int = 0


class TransactionSnapshot(NamedTuple):
    """A transactional id as it is at a moment. `partitions` and `groups`: what is part of the transaction."""

    state: TransactionState
    producer_id: int
    producer_epoch: int
    partitions: tuple[TopicPartition, ...]
    groups: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Transaction:
    """See the module. `timeout` in seconds; `deadline` is when an ongoing transaction is aborted."""

    producer_id: int
    producer_epoch: int = _NONE
    state: TransactionState = _EMPTY
    timeout: float = 0.0
    deadline: float = float("inf")
    partitions: dict[TopicPartition, None] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)
    #: When the markers are tried for the first time; infinite once they were.
    markers_due: float = float("inf")
    #: What the producer had before the last change, for the answers that got lost.
    _before: ProducerAt = NO_PRODUCER
    #: The id that follows when the markers are written, where the epochs of this one are used up.
    _next_id: int = _NONE

    def snapshot(self) -> TransactionSnapshot:
        """How it is now."""
        return TransactionSnapshot(
            self.state, self.producer_id, self.producer_epoch, tuple(self.partitions), tuple(self.groups)
        )

    @property
    def producer(self) -> ProducerAt:
        """The id and epoch that the producer has to use next."""
        return (self.producer_id, self.producer_epoch) if self._next_id == _NONE else (self._next_id, 0)

    @property
    def is_ending(self) -> bool:
        """Whether markers are on their way."""
        return self.state in _PREPARE.values()

    @property
    def commits(self) -> bool:
        """What the last decision was."""
        return self.state in (_PREPARE[True], _COMPLETE[True])

    # -------------------------------------------------------------------------------------------------------- producers

    def check_init(self, expected: ProducerAt | None) -> ErrorCode:
        """Whether a producer may be initialised; `expected` is what it has, None if it is a new one (KIP-360)."""
        if expected is None or self.producer_epoch == _NONE:
            known = True
        elif self.is_ending or self.state is _ONGOING:
            known = expected[0] in (self.producer_id, self._before[0])
        else:
            known = expected in ((self.producer_id, self.producer_epoch), self._before)
        if not known:
            return ErrorCode.PRODUCER_FENCED
        return ErrorCode.CONCURRENT_TRANSACTIONS if self.is_ending else ErrorCode.NONE

    def init(self, expected: ProducerAt | None, timeout: float, new_id: Callable[[], int]) -> None:
        """A producer is initialised, and all before it are fenced. What is repeated gets the same epoch again."""
        self.timeout = timeout
        if expected is None or expected != self._before:
            self._before = NO_PRODUCER if expected is None else (self.producer_id, self.producer_epoch)
            if self.producer_epoch >= _LAST_EPOCH:
                self.producer_id, self.producer_epoch = new_id(), 0
            else:
                self.producer_epoch += 1
        self._enter(_EMPTY)

    # ----------------------------------------------------------------------------------------------------- transactions

    def check(self, producer: ProducerAt) -> ErrorCode:
        """Whether a producer may add something now."""
        if producer[0] != self.producer_id:
            return ErrorCode.INVALID_PRODUCER_ID_MAPPING
        if producer[1] != self.producer_epoch:
            return ErrorCode.PRODUCER_FENCED
        return ErrorCode.CONCURRENT_TRANSACTIONS if self.is_ending else ErrorCode.NONE

    def begin(self, now: float) -> None:
        """Something is being added."""
        if self.state is not _ONGOING:
            self._enter(_ONGOING)
            self.deadline = now + self.timeout

    def check_end(self, producer: ProducerAt, commit: bool, *, bump: bool) -> tuple[ErrorCode, bool]:
        """Whether a producer may end it so, and whether there is anything to do."""
        repeated = bump and self._is_over and self._was(producer)
        if not repeated and producer[0] != self.producer_id:
            return ErrorCode.INVALID_PRODUCER_ID_MAPPING, False
        if not repeated and (producer[1] != self.producer_epoch or (bump and self.is_ending)):
            return ErrorCode.PRODUCER_FENCED, False
        if self.state is _ONGOING:
            return ErrorCode.NONE, True
        if bump and not repeated:  # nothing has been added: then only an abort is possible, and the epoch grows
            return (ErrorCode.INVALID_TXN_STATE, False) if commit else (ErrorCode.NONE, True)
        if not self._is_over or self.commits != commit:
            return ErrorCode.INVALID_TXN_STATE, False
        return (ErrorCode.CONCURRENT_TRANSACTIONS if self.is_ending else ErrorCode.NONE), False

    def end(self, commit: bool, markers_due: float, new_id: Callable[[], int], *, bump: bool) -> None:
        """The producer's decision."""
        if bump:
            self._before = (self.producer_id, self.producer_epoch)
            if self.producer_epoch >= _LAST_EPOCH:
                self._next_id = new_id()
            self.producer_epoch += 1
        self._decide(commit, markers_due)

    def fence(self, markers_due: float, *, bump: bool) -> None:
        """The coordinator's decision: an abort, under an epoch that no producer has. With `bump` the producer may still
        ask for that one, as if an answer had been lost (T23)."""
        self._before = (self.producer_id, self.producer_epoch) if bump else NO_PRODUCER
        self.producer_epoch = min(self.producer_epoch + 1, _MARKERS_EPOCH)
        self._decide(False, markers_due)

    def _decide(self, commit: bool, markers_due: float) -> None:
        self.deadline = float("inf")
        self.markers_due = markers_due
        self._enter(_PREPARE[commit])

    def wants_markers(self, now: float) -> bool:
        """Whether there are markers that can be tried."""
        return self.is_ending and (self.markers_due <= now or self.markers_due == float("inf"))

    def moved(self, ready: float) -> None:
        """Another node keeps it, which begins with its work at `ready`."""
        if self.is_ending:
            self.markers_due = ready if self.markers_due == float("inf") else max(self.markers_due, ready)
        elif self.state is _ONGOING:
            self.deadline = max(self.deadline, ready)

    def complete(self) -> None:
        """All markers are written."""
        self.producer_id, self.producer_epoch = self.producer
        self._next_id = _NONE
        self._enter(_COMPLETE[self.commits])

    def _was(self, producer: ProducerAt) -> bool:
        """Whether a producer has what it had before the last end."""
        if self.producer_epoch == 0:
            return producer == self._before
        return producer == (self.producer_id, self.producer_epoch - 1)

    @property
    def _is_over(self) -> bool:
        return self.is_ending or self.state in _COMPLETE.values()

    def _enter(self, state: TransactionState) -> None:
        assert self.state in TRANSITIONS[state], f"{self.state} -> {state}"
        self.state = state
