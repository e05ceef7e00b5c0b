"""What a consumer is subscribed to, and what a group does with its partitions.

A rebalance tells the program by events, one after the other, and waits for each to be answered: a listener may commit,
seek and look at positions. A partition that is taken away is withheld from the start, so that nothing more of it is
handed out; when the event is answered, what is still being worked on may be acknowledged for a while, what is finished
is committed (in automatic mode), and the partition goes. A partition that is given is withheld until its event is
answered; its committed offset is asked for meanwhile, and a seek of the listener has the last word.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from dekaf_proto.client import Client
from dekaf_proto.consumer.acknowledgements import Acknowledgements
from dekaf_proto.consumer.commits import Commits
from dekaf_proto.consumer.handout import Handout
from dekaf_proto.consumer.partition import Partition
from dekaf_proto.errors import ErrorCode, LocalProtocolError
from dekaf_proto.events import PartitionsAssigned, PartitionsLost, PartitionsRevoked, Rebalance
from dekaf_proto.group.classic import Classic, MemberState
from dekaf_proto.operation import Flow, Wait
from dekaf_proto.types import TopicPartition

log = logging.getLogger("dekaf.group")

_SEVERAL: Final = (list, tuple, set, re.Pattern)

#: How many of the last seconds are kept for telling the group, so that it does not wait for the session to end.
_FOR_GOODBYE = 1.0

#: What a program may subscribe to.
Topics = str | Iterable[str] | re.Pattern[str]


def topics_of(given: object) -> list[str] | re.Pattern[str]:
    """One topic, several, each once, or a pattern."""
    if isinstance(given, re.Pattern):
        if not isinstance(given.pattern, str):
            raise TypeError("expected a pattern of text, not of bytes")
        return given
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, Iterable) or isinstance(given, bytes):
        raise TypeError(f"expected topics or a compiled pattern, not {type(given).__name__} {given!r:.80}")
    topics = list(given)
    for topic in topics:
        if not isinstance(topic, str) or not topic:
            hint = "; a list or a pattern is given to subscribe, by itself" if isinstance(topic, _SEVERAL) else ""
            raise TypeError(f"expected the name of a topic, not {type(topic).__name__} {topic!r:.80}{hint}")
    if not topics:
        raise ValueError("there is no topic to subscribe to; to end a subscription use unsubscribe")
    return sorted(set(topics))


class Subscription:
    """The subscription of one consumer. `partitions` is its own table; `add` and `remove` change that."""

    def __init__(
        self,
        client: Client,
        partitions: dict[TopicPartition, Partition],
        handout: Handout,
        commits: Commits,
        acknowledgements: Acknowledgements,
        add: Callable[[Iterable[TopicPartition]], None],
        remove: Callable[[Iterable[TopicPartition]], None],
        want: Callable[[], None],
    ) -> None:
        self._client = client
        self._partitions = partitions
        self._handout = handout
        self._commits = commits
        self._acknowledgements = acknowledgements
        self._add = add
        self._remove = remove
        self._want = want
        self.membership: Classic | None = None
        self._topics: list[str] | None = None
        self._pattern: re.Pattern[str] | None = None
        self._matched_version = -1
        #: What the program is to be told, in order, and what it has been told and has not answered.
        self._events: list[Rebalance] = []
        self._handed: Rebalance | None = None
        #: What the program has been told that it is to give up, as long as it still has it.
        self._going: list[TopicPartition] = []
        #: When the program has last done something, and how far it was then.
        self._active_at = 0.0
        self._progress: object = None
        self._waiting = 0

    # ------------------------------------------------------------------------------------------------- the program's

    @property
    def is_subscribed(self) -> bool:
        """Whether the group assigns the partitions."""
        return self._topics is not None

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """What topics have to match, if they are not named."""
        return self._pattern

    def subscribe(self, given: list[str] | re.Pattern[str]) -> None:
        """Subscribes, or changes what is subscribed to."""
        assert self.membership is not None  # the engine has refused it otherwise
        before = self._topics
        if isinstance(given, re.Pattern):
            self._pattern, self._topics, self._matched_version = given, self._topics or [], -1
            self.match()
        else:
            self._pattern, self._topics = None, given
        self._active_at = self._client.now
        self._want()
        if self._topics != before:
            self.membership.rejoin("the program has subscribed to other topics")
        self.membership.start()

    def match(self) -> None:
        """Compares the pattern with the topics that there are."""
        cluster = self._client.cluster
        if self._pattern is None or self._matched_version == cluster.version:
            return
        self._matched_version = cluster.version
        internal = not self._client.config.exclude_internal_topics
        found = sorted(
            topic.name
            for topic in cluster.topics.values()
            if topic.partitions
            and topic.error is not ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            and (internal or not topic.is_internal)
            and self._pattern.match(topic.name)
        )
        if found != self._topics:
            self._topics = found
            self._want()

    def forget(self) -> None:
        """Nothing is subscribed to any more."""
        self._topics = self._pattern = None

    # ---------------------------------------------------------------------------------------------------- the events

    @property
    def in_listener(self) -> bool:
        """Whether the program has an event that it has not answered."""
        return self._handed is not None

    @property
    def has_event(self) -> bool:
        """Whether there is an event for the program."""
        return bool(self._events) and self._handed is None

    def next_event(self) -> Rebalance | None:
        """The next event; none may be unanswered."""
        if self._handed is not None:
            raise LocalProtocolError("a rebalance event is to be answered by event_done before the next poll")
        if not self._events:
            return None
        self._handed = self._events[0]
        if isinstance(self._handed, PartitionsRevoked):
            self._going += self._handed.partitions
        self.made_progress()
        return self._handed

    def event_done(self, event: object) -> None:
        """The program has answered."""
        if event is not self._handed or self._handed is None:
            raise LocalProtocolError(f"{event!r:.80} is not the event that was polled last")
        self._handed = None
        if event in self._events:  # else nobody waits for it any more
            self._events.remove(event)
            if isinstance(event, PartitionsLost):
                self._remove(event.partitions)
        self.made_progress()

    def _is_heard(self) -> bool:
        """Whether the program has answered everything; that it got nothing need not be answered."""
        return not any(event.partitions for event in self._events)

    def _tell(self, event: Rebalance, until: float | None = None) -> Flow[None]:
        """Has the program answer an event, unless a loss overtakes it."""
        self._events.append(event)
        self._handout.stop()
        yield Wait(lambda: event not in self._events, until)

    # ---------------------------------------------------------------------------------------------- the program's life

    def made_progress(self) -> None:
        """The program has asked for something, or has acknowledged something."""
        self._active_at = self._client.now

    def waits(self, more: int) -> None:
        """One more wait has begun, or (-1) ended: while there is one, the program is not slow."""
        self._waiting += more
        self.made_progress()

    @property
    def is_waited_for(self) -> bool:
        """Whether the program waits for what comes."""
        return self._waiting > 0

    def idle_since(self) -> float:
        """When the program has last done something."""
        self._handout.collect()
        progress = self._handout.progress()
        if self._waiting or progress != self._progress:
            self._progress = progress
            self._active_at = self._client.now
        return self._active_at

    # ----------------------------------------------------------------------------------------- what a membership asks

    def topics(self) -> list[str]:
        """What is subscribed to, by name and in order."""
        self.match()
        return list(self._topics or ())

    @property
    def by_pattern(self) -> bool:
        """Whether topics have to match a pattern."""
        return self._pattern is not None

    def owned(self) -> list[TopicPartition]:
        """What the consumer has and may keep."""
        return sorted(tp for tp, partition in self._partitions.items() if partition.tenure.live)

    def wanted_topics(self) -> None:
        """The leader needs to know the topics of all."""
        self._want()

    def fail(self, error: Exception) -> None:
        """The program must know."""
        self._handout.failures.append(error)
        self._handout.stop()

    def prepare(self, eager: bool, deadline: float) -> Flow[None]:
        """What is given up before a join (G22, G23)."""
        yield Wait(self._is_heard)
        topics = self.topics()
        tps = [tp for tp in self.owned() if eager or tp.topic not in topics]
        if tps:
            yield from self.revoke(tps, deadline, "the group has rebalanced")
            yield Wait(self._is_heard)  # it may have been lost instead

    def apply(self, assigned: Sequence[TopicPartition], eager: bool, deadline: float) -> Flow[None]:
        """What the group has given (G22, G23)."""
        yield Wait(self._is_heard)  # what was lost may be among it
        kept = set(assigned)
        gone = [tp for tp in self.owned() if tp not in kept]
        if gone:
            yield from self.revoke(gone, deadline, "the group has given it to another member")
        assert self.membership is not None
        if not self.membership.is_member:
            return  # lost meanwhile
        added = [tp for tp in dict.fromkeys(assigned) if tp not in self._partitions]
        self._add(added)
        self._commits.restart_timer()
        if added:
            yield from self._tell(PartitionsAssigned(tuple(added)))
        elif not any(event.partitions == () and event is not self._handed for event in self._events):
            self._events.append(PartitionsAssigned(()))  # the group need not wait for the program to hear of nothing
            self._handout.stop()
        for tp in added:
            if tp in self._partitions and self._partitions[tp].tenure.live:
                self._partitions[tp].withheld = False
        self._handout.stop()

    def revoke(self, tps: Sequence[TopicPartition], deadline: float, cause: str) -> Flow[None]:
        """Lets go of partitions while the group waits: the event, acknowledgements, the commit, in this order."""
        for tp in tps:
            self._partitions[tp].withheld = True
        yield from self._tell(PartitionsRevoked(tuple(tps)))
        if self._going:  # else they were lost before the program was told
            yield from self.settle(self._going, deadline)
            self._let_go(self._going, cause)

    def _let_go(self, tps: Sequence[TopicPartition], cause: str) -> None:
        """The partitions go."""
        when = self._client.now + self._client.unix_offset
        for tp in tps:
            self._partitions[tp].tenure.end(cause, when)
        self._remove(tps)
        self._going = []

    def settle(self, tps: list[TopicPartition], deadline: float) -> Flow[None]:
        """Waits for acknowledgements, for a while, and for commits that are on their way, and commits what is finished;
        what fails of that is logged."""
        config, client = self._client.config, self._client

        def owned() -> list[TopicPartition]:
            return [tp for tp in tps if tp in self._partitions and self._partitions[tp].tenure.live]

        if config.enable_auto_commit:
            until = min(deadline, client.now + config.revocation_drain_ms / 1000)
            yield Wait(lambda: not self._acknowledgements.outstanding(owned()), until)
        # What is on its way belongs to what is given up, and may be all that there is to commit.
        yield Wait(lambda: self._commits.idle, deadline)
        if not config.enable_auto_commit:
            return
        due = {tp: offset for tp, offset in self._commits.last_due().items() if tp in owned()}
        if due:
            left = min(config.default_api_timeout_ms / 1000, deadline - client.now)
            commit = client.runner.start("automatic commit", self._commits.commit(due), max(0.0, left))
            yield Wait(lambda: commit.done)
            if commit.error is not None:
                client.warn.warning(client.now, "revocation", "committing before a revocation: %s", commit.error)

    def lose(self, cause: str) -> None:
        """Everything may be somebody else's: nothing more is handed out, and nothing can be committed (G24)."""
        when = self._client.now + self._client.unix_offset
        untold = self._untold()
        known = []
        for tp, partition in list(self._partitions.items()):
            if not partition.tenure.live:
                continue
            partition.tenure.end(cause, when)
            partition.withheld = True
            if partition.position is not None:
                partition.forget_buffered()
            if tp in untold:
                self._remove([tp])
            elif tp not in self._going:
                known.append(tp)
        self._forget_events()
        if known:
            self._events.append(PartitionsLost(tuple(known), cause))
        self._handout.stop()

    def _untold(self) -> set[TopicPartition]:
        """What it was given, and has never heard of."""
        waiting = [e for e in self._events if isinstance(e, PartitionsAssigned) and e is not self._handed]
        return {tp for event in waiting for tp in event.partitions}

    def _forget_events(self) -> None:
        """What the program has not been told yet has become pointless, but for losses."""
        self._events = [e for e in self._events if e is self._handed or isinstance(e, PartitionsLost)]

    def end(self, deadline: float, reason: str) -> Flow[None]:
        """Gives everything back and leaves the group: for `unsubscribe` and `close`."""
        membership = self.membership
        assert membership is not None
        for partition in self._partitions.values():
            partition.withheld = True
        self._handout.stop()
        # In the middle of a sync nothing can be committed, but that is soon over. Who has kept partitions over a join
        # waits for that too: the group may have begun the next generation, and would take nothing under the old one.
        now = self._client.now

        def can_commit() -> bool:
            return membership.state is not MemberState.SYNCING and not (membership.is_joining and self.owned())

        yield Wait(can_commit, now + (deadline - now) / 2)
        membership.stop()
        self._remove(sorted(self._untold()))
        self._forget_events()
        # However long the program takes to answer, some time is left to commit and to say goodbye.
        patience = deadline - min(2 * _FOR_GOODBYE, (deadline - self._client.now) / 2)
        yield Wait(lambda: not self._events, patience)
        tps = [tp for tp in self.owned() if tp not in self._going]
        if tps:
            yield from self._tell(PartitionsRevoked(tuple(tps)), patience)
            yield Wait(lambda: not self._events, patience)  # they may have got lost meanwhile
        self._events.clear()  # from here on nobody asks
        left = deadline - self._client.now
        yield from self.settle(self.owned(), deadline - min(_FOR_GOODBYE, left / 4))
        self._let_go(list(self._partitions), reason)
        yield from membership.leave(reason, max(0.0, deadline - self._client.now))
