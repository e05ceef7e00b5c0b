"""The table of one partition: where the application is, and what has to happen before it can read on.

    INITIALIZING ──committed──▶ FETCHING ◀──────valid────── AWAIT_VALIDATION
         │  no commit            │   ▲ ▲                          ▲   │
         ▼                       │   │ └───────leader changed─────┘   │ diverged
    AWAIT_RESET ──found──────────┼───┘                              ▼
         ▲                       └──out of range, seek to an end──▶ (reset or FAILED)
         └───────────────────────────────────────────────────────────┘
    FAILED: the program has been, or will be, told; a seek brings the partition back.

Three numbers (see docs/design.md): *position*, the next offset that the application will be given; *finished*, below
which every record is finished; *committed*, what the coordinator confirmed. The first two live in the chunks that the
application is reading, and in `offset` and `floor` while there are none.

`token` stands for the present assignment, seek and reset: what was asked under another one is no answer any more (F16).
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Final

from dekaf_proto.config import OffsetReset
from dekaf_proto.consumer.chunk import Chunk, Delivery, Window
from dekaf_proto.errors import LocalProtocolError
from dekaf_proto.types import OffsetAndMetadata, TopicPartition, Uuid


class PartitionPhase(Enum):
    INITIALIZING = auto()  # is there a committed offset?
    AWAIT_RESET = auto()  # the offset of an end, or of a time, is being asked for
    AWAIT_VALIDATION = auto()  # has the log been cut off below the position? (KIP-320)
    FETCHING = auto()
    FAILED = auto()  # waits for the program


class PartitionInput(Enum):
    """What moves a partition from phase to phase."""

    OFFSET_KNOWN = auto()  # a committed offset, a reset's answer, a seek
    RESET = auto()
    INITIALIZE = auto()  # go back to the committed offset
    VALIDATE = auto()
    VALID = auto()
    FAIL = auto()


_P = PartitionPhase
_I = PartitionInput
TRANSITIONS: Final[dict[tuple[PartitionPhase, PartitionInput], PartitionPhase]] = {
    **{(phase, _I.OFFSET_KNOWN): _P.FETCHING for phase in _P},
    **{(phase, _I.RESET): _P.AWAIT_RESET for phase in _P},
    **{(phase, _I.INITIALIZE): _P.INITIALIZING for phase in _P},
    **{(phase, _I.FAIL): _P.FAILED for phase in _P},
    (_P.FETCHING, _I.VALIDATE): _P.AWAIT_VALIDATION,
    (_P.AWAIT_VALIDATION, _I.VALID): _P.FETCHING,
}


#: Why a commit is refused that is for a topic which has another id by now.
RECREATED: Final = "the topic was deleted and created again"


class Tenure:
    """The time from a partition's assignment to its loss, or that of its topic. A commit belongs to it."""

    def __init__(self) -> None:
        self.live = True
        #: Whether the group has assigned it, not the program.
        self.by_group = False
        #: Whether it ended with the topic, whoever has assigned it.
        self.recreated = False
        #: Why it ended, and when (Unix time).
        self.cause = ""
        self.since = 0.0

    def end(self, cause: str, since: float) -> None:
        """The partition is not the consumer's any more."""
        if self.live:
            self.live, self.cause, self.since = False, cause, since


class Partition:
    """One assigned partition. With a `window`, its records have to be acknowledged."""

    def __init__(
        self, tp: TopicPartition, troubles: dict[TopicPartition, Exception], window: Window | None = None
    ) -> None:
        self.tp: Final = tp
        self.tenure = Tenure()
        #: What has been handed out since the assignment or the last seek.
        self.delivery = Delivery(tp, self.tenure, window)
        #: A rebalance is not done with it: nothing of it is fetched or handed out.
        self.withheld = False
        #: Where records are committed first: up to where that is done, -1 if nothing is.
        self.permitted = -1
        #: What the program must be told, partition by partition: the consumer's own table.
        self._troubles = troubles
        self.phase = PartitionPhase.INITIALIZING
        self.paused = False
        self.token: object = object()
        #: Stands for what has been committed since the last seek or reset that began anew: other commits are past.
        self.commit_token: object = object()
        #: How often the program has sought.
        self.seeks = 0
        #: The position while nothing is buffered, -1 while there is none.
        self.offset = -1
        #: The leader epoch of the record before the position, -1 if unknown.
        self.offset_epoch = -1
        #: What is finished at least: a seek's target, or what an explicit commit has covered.
        self.floor = -1
        #: The first record in hand whose chunk was dropped; it is finished when the application asks for more.
        self.held_from: int | None = None
        #: The offset that the coordinator confirmed last; None if there is none, or a seek has begun anew.
        self.confirmed: int | None = None
        self.confirmed_as: OffsetAndMetadata | None = None
        #: What the program has committed and nobody has answered: it may be stored, so nothing below it is due.
        self.unanswered = -1
        #: What the program has stored to be committed, where it does that itself.
        self.stored: OffsetAndMetadata | None = None
        self.chunks: deque[Chunk] = deque()
        #: What is buffered can't be read to its end: nothing further is fetched until a seek.
        self.damaged = False
        self.reset: OffsetReset | None = None
        self.topic_id = Uuid.ZERO
        self.leader = -1
        self.leader_epoch = -1
        self.high_watermark = -1
        self.last_stable_offset = -1
        self.log_start_offset = -1
        self.preferred_replica = -1
        self.preferred_until = 0.0
        #: The errors in a row that were answered by waiting, and until when.
        self.failures = 0
        self.resting_until = 0.0

    def __repr__(self) -> str:
        return f"<Partition {self.tp} {self.phase.name} at {self.position}>"

    # ----------------------------------------------------------------------------------------------------- numbers
    # A program may read these from another thread than the engine's: hence the copies, which nothing can come between.

    @property
    def position(self) -> int | None:
        """The next offset that the application will be given; None while that is not known."""
        chunks = tuple(self.chunks)
        for chunk in chunks:
            if chunk.position < chunk.next_offset:
                return chunk.position
        if chunks:
            return chunks[-1].next_offset
        return self.offset if self.offset >= 0 else None

    @property
    def finished(self) -> int:
        """Everything below is finished; -1 while there is no position."""
        if self.delivery.window is not None:
            position = self.position  # first: what is handed out after this look is not below it
            try:
                return max(self.delivery.outstanding[0], self.floor)
            except IndexError:
                return -1 if position is None else max(position, self.floor)
        if self.held_from is not None:
            return max(self.held_from, self.floor)
        chunks = tuple(self.chunks)
        for chunk in chunks:
            if not chunk.is_used_up:
                return max(chunk.finished, self.floor)
        return max(chunks[-1].next_offset if chunks else self.offset, self.floor)

    def epoch_below(self, offset: int) -> int | None:
        """The leader epoch of the record before `offset`, None if it is not known for certain."""
        if offset < self.offset:
            return None
        epoch = self.offset_epoch
        for chunk in tuple(self.chunks):
            if offset <= chunk.start:
                break
            epoch = chunk.epoch_below(offset)
        return epoch if epoch >= 0 else None

    @property
    def fetch_offset(self) -> int:
        """What to fetch next: the end of what is buffered."""
        return self.chunks[-1].next_offset if self.chunks else self.offset

    @property
    def fetch_epoch(self) -> int:
        """The leader epoch of the record before `fetch_offset`, -1 if unknown."""
        return self.chunks[-1].last_epoch if self.chunks else self.offset_epoch

    @property
    def buffered_bytes(self) -> int:
        """Bytes fetched and not yet used up."""
        return sum(chunk.size for chunk in tuple(self.chunks))

    # ------------------------------------------------------------------------------------------------------- moves

    def _move(self, what: PartitionInput) -> None:
        try:
            self.phase = TRANSITIONS[self.phase, what]
        except KeyError:
            raise LocalProtocolError(f"{self.tp}: {what.name} is not possible when {self.phase.name}") from None

    def collect(self) -> int:
        """Lets go of chunks that are used up; how many records were handed out in them."""
        handed_out = 0
        while self.chunks and self.chunks[0].is_used_up:
            chunk = self.chunks[0]
            handed_out += chunk.handed_out
            self.offset, self.offset_epoch = chunk.next_offset, chunk.last_epoch
            self.chunks.popleft()  # last, so that nobody sees a position before it
        return handed_out

    def forget_buffered(self) -> None:
        """What is buffered and not yet handed out is to be fetched again; position and record in hand stay."""
        position, finished = self.position, self.finished
        assert position is not None
        epoch = self.epoch_below(position)
        self.drop()
        self.offset, self.offset_epoch = position, -1 if epoch is None else epoch
        if finished < position:
            self.held_from = finished

    def drop(self) -> None:
        """What is buffered or on its way is not wanted any more."""
        for chunk in tuple(self.chunks):
            chunk.live = False
        self.chunks.clear()
        self.token = object()
        self.damaged = False
        self._troubles.pop(self.tp, None)
        self.failures = 0
        self.resting_until = 0.0
        self.preferred_replica = -1
        self.held_from = None

    def begin_at(self, offset: int, epoch: int = -1, *, anew: bool = True) -> None:
        """The position is `offset`: committed, found by a reset, or sought. `epoch`: of the record before, if known.

        Not `anew` if that is what was being looked for: what the program has committed or stored meanwhile holds.
        """
        self.drop()
        if anew:
            self._forget_commits()
        self.offset = offset
        self.offset_epoch = epoch
        self.floor = max(self.floor, offset)
        self.reset = None
        self._move(PartitionInput.OFFSET_KNOWN)

    def begin_reset(self, policy: OffsetReset, *, anew: bool = True) -> None:
        """The position is where `policy` says, once that is known (O7). For `anew` see `begin_at`."""
        self.drop()
        if anew:
            self._forget_commits()
        self.offset = self.offset_epoch = -1
        self.reset = policy
        self._move(PartitionInput.RESET)

    def initialize(self) -> None:
        """The position is the committed offset, once that is known."""
        self.drop()
        self._forget_commits()
        self.offset = self.offset_epoch = -1
        self.reset = None
        self._move(PartitionInput.INITIALIZE)

    def recreated(self, since: float) -> None:
        """The topic is another one of the same name (Unix time): what was read of it is nothing to the new one."""
        gone, self.tenure = self.tenure, Tenure()
        if not gone.live:  # who has lost the partition does not get it back by that
            self.tenure.end(gone.cause, gone.since)
        gone.recreated = True
        gone.end(RECREATED, since)
        self.tenure.by_group = gone.by_group

    def _forget_commits(self) -> None:
        self.delivery = Delivery(self.tp, self.tenure, self.delivery.window)
        self.permitted = self.unanswered = -1
        self.commit_token = object()
        self.floor = -1
        self.confirmed = self.confirmed_as = None
        self.stored = None

    def validate(self) -> None:
        """Something is to be found out about the log before more is fetched. What is buffered is kept."""
        if self.phase is PartitionPhase.FETCHING:
            self.preferred_replica = -1
            self._move(PartitionInput.VALIDATE)

    def is_valid(self) -> None:
        """The log still has what the position stands on."""
        self._move(PartitionInput.VALID)

    def tell(self, error: Exception) -> None:
        """The program must know, once; the partition goes on trying."""
        self._troubles[self.tp] = error

    def fail(self, error: Exception) -> None:
        """The partition waits for the program, which is told once."""
        self.tell(error)
        self._move(PartitionInput.FAIL)

    def rest(self, until: float) -> None:
        """Another answer that asks for patience."""
        self.failures += 1
        self.resting_until = until

    def recovered(self) -> None:
        """A good answer."""
        self.failures = 0
        self.resting_until = 0.0
