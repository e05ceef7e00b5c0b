"""What has happened, and what must not: the oracles.

    lost             at the end every record was finished by somebody (`unfinished`)
    ahead            what is committed was finished (at_most_once excepted)
    back             what is committed never goes down (seeks and at_most_once excepted, and a request whose sender has
                     given it up and closed its connection, but which the network brings after later ones)
    two owners       nobody commits for a partition for which somebody else has committed in the same generation
    order            what a program is given of a partition begins at what was committed when it was assigned, and goes
                     on without a gap and without a record twice; nothing comes of what it was not assigned
    uncommitted      at_most_once gives nothing that is not committed yet
    twice            at_most_once gives no record a second time; where nothing goes wrong, no mode does
    overlap          where nothing goes wrong, no partition is two programs' at a time
    put out          where nothing goes wrong, the group does not go on without a member
    no goodbye       who has closed in the end is no member any more, unless it is a static one

A violation is an AssertionError at the moment at which it happens.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from dekaf_proto.broker import Broker, CommittedOffset
from dekaf_proto.records import Record
from dekaf_proto.types import TopicPartition
from tests.simulation.plan import Plan

AnyRecord = Record[Any, Any]


class History:
    """The history of one run."""

    def __init__(self, plan: Plan, broker: Broker) -> None:
        self.plan = plan
        self.broker = broker
        self.lines: list[tuple[float, str, str]] = []
        self.delivered: Counter[tuple[TopicPartition, int]] = Counter()
        self.committed: dict[TopicPartition, int] = {}
        self.happened: Counter[str] = Counter()
        #: Where the last commit was such a late one.
        self.overtaken: set[TopicPartition] = set()
        self._finished: dict[TopicPartition, set[int]] = {}
        self._prefix: dict[TopicPartition, int] = {}
        self._committers: dict[tuple[int, TopicPartition], str] = {}
        self._owners: dict[TopicPartition, str] = {}

    def note(self, now: float, who: str, what: str) -> None:
        """A line of the trace."""
        self.lines.append((now, who, what))

    def trace(self) -> str:
        """All of it, for people."""
        return "\n".join(f"{now:10.3f} {who:8} {what}" for now, who, what in self.lines)

    # ---------------------------------------------------------------------------------------------------- programs say

    def was_delivered(self, record: AnyRecord) -> None:
        """A program was given a record."""
        key = record.topic_partition, record.offset
        self.delivered[key] += 1
        if self.plan.at_most_once:
            end = self.committed.get(record.topic_partition, 0)
            assert record.offset < end, f"uncommitted: {key} is given when {end} is committed"
        if self.plan.at_most_once or self.plan.calm:
            assert self.delivered[key] == 1, f"twice: {key}"

    def was_finished(self, record: AnyRecord) -> None:
        """A program is done with a record."""
        tp = record.topic_partition
        finished = self._finished.setdefault(tp, set())
        finished.add(record.offset)
        end = self._prefix.get(tp, 0)
        while end in finished:
            end += 1
        self._prefix[tp] = end

    def was_assigned(self, who: str, tp: TopicPartition) -> int:
        """A program has a partition; where it has to begin."""
        if self.plan.calm:
            assert tp not in self._owners, f"overlap: {who} is given {tp}, which {self._owners[tp]} has"
        self._owners[tp] = who
        found = self.broker.committed("g").get(tp)
        return 0 if found is None else found.offset

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
        assert 0 <= committed.offset <= self.broker.end_offset(*tp), f"a commit outside the log: {tp} {committed}"
        owner = self._committers.setdefault((generation, tp), who)
        assert owner == who, f"two owners: {who} and {owner} commit {tp} in generation {generation}"
        before = self.committed.get(tp, -1)
        self.committed[tp] = committed.offset
        self.overtaken.discard(tp)
        if self.plan.at_most_once:
            return
        done = self._prefix.get(tp, 0)
        assert committed.offset <= done, f"ahead: {who} commits {tp} {committed.offset}, finished is {done}"
        if given_up and committed.offset < before:
            self.overtaken.add(tp)
            self.happened["overtaken commits"] += 1
        elif not self.plan.seeks:
            assert committed.offset >= before, f"back: {who} commits {tp} {committed.offset} after {before}"

    # ------------------------------------------------------------------------------------------------------ at the end

    def unfinished(self) -> dict[TopicPartition, int]:
        """Where records are left that nobody has finished, and the first of them."""
        left = {}
        for partition in self.broker.cluster.partitions():
            tp = TopicPartition(partition.topic.name, partition.index)
            # At most once, a crash may lose what was committed already.
            done = (self.committed if self.plan.at_most_once else self._prefix).get(tp, 0)
            if done < partition.log.end_offset:
                left[tp] = done
        return left
