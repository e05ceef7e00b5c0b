"""What has happened, and what must not: the oracles.

    lost             at the end every record was finished by somebody (`unfinished`)
    ahead            what is committed was finished (at_most_once excepted)
    back             what is committed never goes down (seeks and at_most_once excepted, and a request whose sender has
                     given it up and closed its connection, but which the network brings after later ones)
    two owners       nobody commits for a partition for which somebody else has committed in the same generation
    order            what a program is given of a partition begins at what was committed when it was assigned, and goes
                     on without a gap and without a record twice; nothing comes of what it was not assigned, nor of a
                     topic that was deleted after that of one that was made later
    isolation        with read_committed nothing comes of a transaction that is open or was aborted; that everything
                     comes of those that were committed, in order, is `order`
    uncommitted      at_most_once gives nothing that is not committed yet
    twice            at_most_once gives no record a second time; where nothing goes wrong, no mode does, unless a commit
                     by hand has failed, as the group has waited for a static member that went without a word
    overlap          where nothing goes wrong, no partition is two programs' at a time
    put out          where nothing goes wrong, the group does not go on without a member
    no goodbye       who has closed in the end is no member any more, unless it is a static one

A violation is an AssertionError at the moment at which it happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from dekaf_proto.broker import Broker, CommittedOffset
from dekaf_proto.records import Record
from dekaf_proto.types import TopicPartition
from tests.simulation.ledger import Ledger, State
from tests.simulation.plan import Plan

AnyRecord = Record[Any, Any]


class History:
    """The history of one run."""

    def __init__(self, plan: Plan, broker: Broker) -> None:
        self.plan = plan
        self.broker = broker
        self.lines: list[tuple[float, str, str]] = []
        self.happened: Counter[str] = Counter()
        #: All lives of all partitions, the present one last.
        self.lives: dict[TopicPartition, list[Ledger]] = {}
        self._owners: dict[TopicPartition, str] = {}

    def note(self, now: float, who: str, what: str) -> None:
        """A line of the trace."""
        self.lines.append((now, who, what))

    def trace(self) -> str:
        """All of it, for people."""
        return "\n".join(f"{now:10.3f} {who:8} {what}" for now, who, what in self.lines)

    # ----------------------------------------------------------------------------------------------------- partitions

    def begins(self, tp: TopicPartition) -> Ledger:
        """A partition is there, for the first time or again."""
        lives = self.lives.setdefault(tp, [])
        ledger = Ledger(tp, len(lives), committed_only=self.plan.read_committed)
        lives.append(ledger)
        return ledger

    def ledger(self, tp: TopicPartition) -> Ledger:
        """The present, or last, life of a partition."""
        return self.lives[tp][-1]

    def ledger_of(self, record: AnyRecord) -> Ledger:
        """The one that a record belongs to."""
        for ledger in self.lives[record.topic_partition]:
            if record.offset < ledger.end and ledger.value(record.offset) == record.value:
                return ledger
        raise AssertionError(f"{record.value!r} comes as {record.topic_partition} {record.offset}")

    def present(self) -> list[Ledger]:
        """All partitions that are there."""
        return [ledger for lives in self.lives.values() for ledger in lives[-1:] if ledger.exists]

    # ---------------------------------------------------------------------------------------------------- programs say

    def was_delivered(self, record: AnyRecord) -> None:
        """A program was given a record."""
        ledger, offset = self.ledger_of(record), record.offset
        state = ledger.states[offset]
        assert state is State.PLAIN, f"isolation: {ledger} {offset} is given, which is {state.value}"
        ledger.delivered[offset] += 1
        if self.plan.at_most_once:
            end = 0 if ledger.committed is None else ledger.committed
            assert offset < end, f"uncommitted: {ledger} {offset} is given when {end} is committed"
        if self.plan.at_most_once or self.plan.calm:
            assert ledger.delivered[offset] == 1, f"twice: {ledger} {offset}"

    def was_not_committed(self, partitions: Iterable[TopicPartition]) -> None:
        """A commit by hand has failed, and a program may leave it at that: others may be given these records again."""
        for tp in partitions:
            ledger = self.ledger(tp)
            for offset in ledger.delivered:
                if ledger.committed is None or offset >= ledger.committed:
                    ledger.delivered[offset] = 0

    def was_finished(self, record: AnyRecord) -> None:
        """A program is done with a record."""
        self.ledger_of(record).finish(record.offset)

    def was_assigned(self, who: str, tp: TopicPartition) -> tuple[int, int]:
        """A program has a partition; its life, and where the program has to begin."""
        if self.plan.calm:
            assert tp not in self._owners, f"overlap: {who} is given {tp}, which {self._owners[tp]} has"
        self._owners[tp] = who
        found = self.broker.committed("g").get(tp)
        return self.ledger(tp).life, 0 if found is None else found.offset

    def was_given_up(self, who: str, tp: TopicPartition) -> None:
        """A program has a partition no more."""
        if self._owners.get(tp) == who:
            del self._owners[tp]

    # ------------------------------------------------------------------------------------------------- the broker says

    def was_committed(
        self,
        now: float,
        generation: int,
        who: str,
        tp: TopicPartition,
        committed: CommittedOffset,
        *,
        given_up: bool = False,
    ) -> None:
        """The coordinator has accepted a commit of `who` (its instance, else its member id)."""
        late = ", which it has given up" if given_up else ""
        self.note(now, "broker", f"{who} commits {tp} {committed.offset} in {generation}{late}")
        ledger = self.ledger(tp)
        assert 0 <= committed.offset <= ledger.end, f"a commit outside the log: {ledger} {committed}"
        owner = ledger.committers.setdefault(generation, who)
        assert owner == who, f"two owners: {who} and {owner} commit {tp} in generation {generation}"
        before = -1 if ledger.committed is None else ledger.committed
        ledger.committed = committed.offset
        ledger.overtaken = False
        if self.plan.at_most_once:
            return
        done = ledger.done
        assert committed.offset <= done, f"ahead: {who} commits {ledger} {committed.offset}, finished is {done}"
        if given_up and committed.offset < before:
            ledger.overtaken = True
            self.happened["overtaken commits"] += 1
        elif not self.plan.seeks:
            assert committed.offset >= before, f"back: {who} commits {ledger} {committed.offset} after {before}"

    # ------------------------------------------------------------------------------------------------------ at the end

    def unfinished(self) -> dict[TopicPartition, int]:
        """Where records are left that nobody has finished, and the first of them."""
        left = {}
        for ledger in self.present():
            # At most once, a crash may lose what was committed already.
            first = ledger.next_wanted((ledger.committed or 0) if self.plan.at_most_once else ledger.done)
            if first is not None:
                left[ledger.tp] = first
        return left
