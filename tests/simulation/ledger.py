"""What is true of a partition: which records consumers have to be given, and how far they are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum

from dekaf_proto.types import TopicPartition


class State(Enum):
    """What stands at an offset."""

    PLAIN = "a record for everybody"
    OPEN = "a record of a transaction that is not over"
    ABORTED = "a record of a transaction that came to nothing"
    MARKER = "the end of a transaction"


class Ledger:
    """One life of a partition: if its topic is deleted and made again, it has another one. With `committed_only` its
    readers see what is committed in transactions; else transactions make no difference."""

    def __init__(self, tp: TopicPartition, life: int = 0, *, committed_only: bool = False) -> None:
        self.tp = tp
        self.life = life
        self.committed_only = committed_only
        #: Whether the topic is there.
        self.exists = True
        self.states: list[State] = []
        self.delivered: Counter[int] = Counter()
        #: What the group has committed; None for nothing yet.
        self.committed: int | None = None
        #: Whether the last commit was one that its sender had given up.
        self.overtaken = False
        #: Who has committed in which generation.
        self.committers: dict[int, str] = {}
        self._open: dict[int, list[int]] = {}
        #: The values of records that came from producers, who can't know their offsets.
        self._values: dict[int, bytes] = {}
        #: What compaction or retention has taken away.
        self._removed: set[int] = set()
        self._finished: set[int] = set()
        self._done = 0

    def __repr__(self) -> str:
        return f"<{self.tp}, life {self.life}>"

    def value(self, offset: int) -> bytes:
        """The value of the record at `offset`."""
        return self._values.get(offset) or b"%s %d %d" % (str(self.tp).encode(), self.life, offset)

    # ------------------------------------------------------------------------------------------------------- the feed

    @property
    def end(self) -> int:
        """The offset after the last one."""
        return len(self.states)

    def append(self, count: int, producer: int | None = None, values: Sequence[bytes] = ()) -> list[bytes]:
        """Adds records, in a transaction of `producer` or outside of any; their values, unless they have some."""
        offsets = range(self.end, self.end + count)
        in_transaction = producer is not None and self.committed_only
        self.states += [State.OPEN if in_transaction else State.PLAIN] * count
        self._values.update(zip(offsets, values, strict=False))
        if producer is not None:
            self._open.setdefault(producer, []).extend(offsets)
        return [self.value(offset) for offset in offsets]

    @property
    def producers(self) -> list[int]:
        """Those who have a transaction open here."""
        return list(self._open)

    def end_transaction(self, producer: int, *, commit: bool) -> None:
        """The transaction is over; its marker has an offset of its own."""
        for offset in self._open.pop(producer, ()):
            if self.states[offset] is State.OPEN:
                self.states[offset] = State.PLAIN if commit else State.ABORTED
        self.states.append(State.MARKER)

    @property
    def stable(self) -> int:
        """The offset up to which everything is decided."""
        return min((offsets[0] for offsets in self._open.values()), default=self.end)

    def remove(self, offsets: Iterable[int]) -> None:
        """These are gone from the log: whoever has them already may still be given them, but nobody has to."""
        self._removed.update(offsets)

    # ---------------------------------------------------------------------------------------------------- the readers

    def is_wanted(self, offset: int) -> bool:
        """Whether nobody may pass over it."""
        return self.states[offset] in (State.PLAIN, State.OPEN) and offset not in self._removed

    def next_wanted(self, offset: int) -> int | None:
        """The first record from `offset` on that nobody may pass over."""
        return next((each for each in range(offset, self.end) if self.is_wanted(each)), None)

    def finish(self, offset: int) -> None:
        """A program is done with a record."""
        self._finished.add(offset)

    @property
    def done(self) -> int:
        """Everything below is finished, or does not have to be."""
        while self._done < self.end and (self._done in self._finished or not self.is_wanted(self._done)):
            self._done += 1
        return self._done
