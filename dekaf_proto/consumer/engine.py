"""`Consumer`: the engine behind every consumer, whatever the loop around it.

A driver hands in what happens (`resolved` ... `handle_timeout`), carries out `effects()`, and comes back at
`next_deadline()`. A program's calls are either instant, or give an Operation that is done after some later input. Each
takes `now`: seconds from any origin, never going back. The engine does nothing by itself and calls nobody back.

After each input the parts are taken forward in one place, `_advance`: flows first, then positions, commits and fetches,
which look at the tables and do what is due. What the application has read is collected in one place as well, at the
start of each input or call, from the cursors in the run that it is reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar, cast

from dekaf_proto.client import Client
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer.acknowledgements import Acknowledgements
from dekaf_proto.consumer.arguments import (
    CommitTarget,
    Partitions,
    assignment_of,
    commits_of,
    partitions_of,
    records_of,
    tenures_of,
)
from dekaf_proto.consumer.at_most_once import AtMostOnce
from dekaf_proto.consumer.chunk import Reading
from dekaf_proto.consumer.commits import Commits
from dekaf_proto.consumer.fetcher import Fetcher
from dekaf_proto.consumer.generic import FetchedRecords
from dekaf_proto.consumer.handout import Bound, Handout
from dekaf_proto.consumer.lookups import Lookups
from dekaf_proto.consumer.memory import Memory
from dekaf_proto.consumer.metrics import ConsumerMetrics, snapshot
from dekaf_proto.consumer.partition import Partition
from dekaf_proto.consumer.positions import Positions
from dekaf_proto.consumer.seeks import Seeks
from dekaf_proto.consumer.subscription import Subscription, Topics, topics_of
from dekaf_proto.consumer.topic_errors import TopicErrors
from dekaf_proto.errors import (
    ClosedError,
    LocalProtocolError,
)
from dekaf_proto.events import EndOfPartition, Failed, Rebalance
from dekaf_proto.group.classic import Classic, GroupMetadata
from dekaf_proto.metadata import Metadata
from dekaf_proto.operation import Flow, Operation, Wait, sooner
from dekaf_proto.types import OffsetAndMetadata, TopicPartition

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)
T = TypeVar("T")


class Consumer(Seeks, Generic[K, V]):
    """The consumer's engine. `seed` makes its random choices, `unix_offset` its Unix time: now + unix_offset."""

    def __init__(self, config: ConsumerConfig[K, V], *, seed: int = 0, unix_offset: float = 0.0) -> None:
        self.config = config
        self._client = Client(config, seed=seed, unix_offset=unix_offset)
        self._metadata = Metadata(self._client)
        self._partitions: dict[TopicPartition, Partition] = {}
        #: What the program must be told about a partition.
        self._troubles: dict[TopicPartition, Exception] = {}
        self._lookups = Lookups(self._client, self._metadata)
        self._commits = Commits(self._client, self._metadata, self._partitions)
        self._positions = Positions(self._client, self._metadata, self._partitions, self._lookups, self._commits)
        reading = Reading(
            config.isolation_level,
            config.check_crcs,
            config.max_decompressed_batch_bytes,
            config.key_deserializer,
            config.value_deserializer,
        )
        memory = Memory(config, self._partitions)
        self._fetcher = Fetcher(self._client, self._metadata, self._partitions, memory, reading)
        self._client.on_lost = self._metadata.node_lost
        self._acknowledgements = Acknowledgements(self._partitions, config.max_unacknowledged_records)
        explicit = self._acknowledgements if config.acknowledgement_mode == "explicit" else None
        self._window = None if explicit is None else explicit.window
        self._handout = Handout(self._client, self._partitions, self._troubles, memory, self._lookups, explicit)
        self._client.on_trouble = self._handout.failures.append
        self._at_most_once: AtMostOnce | None = None
        if config.delivery == "at_most_once":
            self._at_most_once = AtMostOnce(self._client, self._partitions, self._handout, self._commits)
        self._subscription = Subscription(
            self._client,
            self._partitions,
            self._handout,
            self._commits,
            self._acknowledgements,
            self._add_by_group,
            self._drop,
            self._want,
        )
        self._membership: Classic | None = None
        if config.group_id is not None:
            self._membership = Classic(self._client, self._metadata, self._subscription)
            self._subscription.membership = self._commits.membership = self._membership
            self._commits.is_subscribed = lambda: self._subscription.is_subscribed
            self._commits.has_event = lambda: self._subscription.has_event or self._subscription.in_listener
            self._handout.is_unsettled = self._is_unsettled
        self._started = False
        self._topic_errors = TopicErrors(self._client, self._metadata, self._partitions, self._subscription)
        self._closing: Operation[None] | None = None
        self._leaving: Operation[None] | None = None
        #: Nothing more will come, and whoever waits need not.
        self._over = False

    # ------------------------------------------------------------------------------------------- a driver's inputs

    def next_deadline(self) -> float | None:
        """When `handle_timeout` has to be called at the latest."""
        if self.closed:
            return None
        deadline = sooner(self._client.next_deadline(), self._positions.next_rest())
        if self._closing is None:
            deadline = sooner(sooner(deadline, self._fetcher.next_peek()), self._commits.next_automatic())
        return deadline

    # -------------------------------------------------------------------------------------------------- assignment

    def assign(self, partitions: Partitions, now: float) -> None:
        """Reads these partitions from now on and no others; those that it had keep their positions.

        A partition with an offset (a mapping, or TopicPartitionOffset) begins there. LocalProtocolError, here and
        below, if the consumer is subscribed: then its group assigns.
        """
        wanted = assignment_of(partitions)
        self._begin(now)
        self._refuse_subscribed()
        self._remove([tp for tp in self._partitions if tp not in wanted])
        self._add(wanted)
        self._advance(now)

    def incremental_assign(self, partitions: Partitions, now: float) -> None:
        """Reads these partitions too."""
        wanted = assignment_of(partitions)
        self._begin(now)
        self._refuse_subscribed()
        self._add(wanted)
        self._advance(now)

    def incremental_unassign(self, partitions: object, now: float) -> None:
        """Reads these partitions no longer. NotAssignedError, and no change, if one is not assigned."""
        tps = partitions_of(partitions)
        self._begin(now)
        self._refuse_subscribed()
        for tp in tps:
            self._partition(tp)
        self._remove(tps)
        self._advance(now)

    @property
    def assignment(self) -> list[TopicPartition]:
        """What is assigned."""
        return list(self._partitions)

    def _add(self, wanted: Mapping[TopicPartition, int | None]) -> None:
        self._leaving = None
        for tp, offset in wanted.items():
            partition = self._partitions.get(tp)
            if partition is None:
                partition = self._partitions[tp] = Partition(tp, self._troubles, self._window)
                self._positions.look_at_leader(partition)
            if offset is not None:
                partition.seeks += 1
                partition.begin_at(offset)
        self._handout.stop()
        self._want()

    def _add_by_group(self, tps: Iterable[TopicPartition]) -> None:
        """What a rebalance has given: withheld until the program has been told."""
        for tp in tps:
            partition = self._partitions[tp] = Partition(tp, self._troubles, self._window)
            partition.withheld = True
            partition.tenure.by_group = True
            self._positions.look_at_leader(partition)
        self._fetcher.touch()
        self._want()

    def _remove(self, tps: list[TopicPartition]) -> None:
        if self.config.group_id is not None and self.config.enable_auto_commit:
            commit = self._commits.give_up(tps)
            if commit is not None:
                timeout = self.config.default_api_timeout_ms / 1000
                self._client.runner.start("commit of what is given up", commit, timeout)
        for tp in tps:
            self._partitions[tp].tenure.end("it was unassigned", self._client.now + self._client.unix_offset)
        self._drop(tps)

    def _drop(self, tps: Iterable[TopicPartition]) -> None:
        for tp in tps:
            self._partitions.pop(tp).drop()
        self._fetcher.touch()
        self._handout.stop()
        self._want()

    def _want(self) -> None:
        """Which topics are to be kept fresh."""
        topics = {tp.topic: None for tp in self._partitions}
        topics.update(dict.fromkeys(self._subscription.topics()))
        if self._membership is not None:
            topics.update(dict.fromkeys(self._membership.group_topics))
        self._metadata.want(topics, all_topics=self._subscription.pattern is not None)

    def _refuse_subscribed(self) -> None:
        if self._subscription.is_subscribed:
            raise LocalProtocolError("the consumer is subscribed, so its group assigns: unsubscribe first")

    # --------------------------------------------------------------------------------------------------------- groups

    def subscribe(self, topics: Topics, now: float) -> None:
        """Becomes a member of the group, which assigns partitions of these topics; or changes the topics.

        `topics`: a name, several, or a compiled pattern that names have to match from their beginning on. Raises
        LocalProtocolError if partitions are assigned by hand, NoGroupError without a `group_id`.
        """
        given = topics_of(topics)
        self._begin(now)
        self._need_group()
        if self._partitions and not self._subscription.is_subscribed:
            raise LocalProtocolError("partitions are assigned by hand: unsubscribe first")
        if self._leaving is not None and not self._leaving.done:
            raise LocalProtocolError("unsubscribe is still under way")
        self._leaving = None
        self._subscription.subscribe(given)
        self._advance(now)

    def unsubscribe(self, now: float, timeout: float | None = None) -> Operation[None]:
        """Gives all partitions back, as before a rebalance, and leaves the group. It goes on if it is cancelled.

        It is done when the event for it has been polled and answered. What is assigned by hand is given up as well.
        """
        self._begin(now)
        seconds = self.config.default_api_timeout_ms / 1000 if timeout is None else timeout
        if not self._subscription.is_subscribed:
            self._remove(list(self._partitions))
        elif self._leaving is None or self._leaving.done:
            deadline = now + seconds
            self._leaving = self._client.runner.start_background(self._unsubscribe(deadline), "leaving the group")
        leaving = self._leaving

        def flow() -> Flow[None]:
            yield Wait(lambda: leaving is None or leaving.done)

        return self._start("unsubscribe", flow(), now, seconds + 1)

    def _unsubscribe(self, deadline: float) -> Flow[None]:
        yield from self._subscription.end(deadline, "the program has unsubscribed")
        self._subscription.forget()
        self._want()

    @property
    def subscription(self) -> list[str]:
        """The topics that are subscribed to; with a pattern, those that match it."""
        return self._subscription.topics()

    def group_metadata(self) -> GroupMetadata:
        """Who the consumer is in its group at the moment. NoGroupError without a `group_id`."""
        self._need_group()
        assert self._membership is not None
        return self._membership.identity

    def event_done(self, event: Rebalance, now: float, error: BaseException | None = None) -> None:
        """The program has dealt with an event of a rebalance, which goes on now; `error` is what its listener raised,
        which changes nothing here."""
        self._begin(now, answers=True)
        self._subscription.event_done(event)
        self._advance(now)

    def acknowledge(self, records: object, now: float) -> None:
        """These records (one, a batch, or several) are done, where `acknowledgement_mode` is explicit.

        What is not the consumer's any more, or was acknowledged before, is ignored and counted.
        """
        given = records_of(records)
        if self.config.acknowledgement_mode != "explicit":
            raise LocalProtocolError('acknowledge needs acknowledgement_mode="explicit"')
        if self.closed:
            return
        self._client.now = self._client.runner.now = now
        self._acknowledgements.acknowledge(given)
        self._subscription.made_progress()
        self._fetcher.touch()
        self._advance(now)

    def _is_unsettled(self) -> bool:
        """Whether an assignment is still to come, the first or that of a rebalance, or has not been told yet."""
        if not self._subscription.is_subscribed or self._membership is None:
            return False
        if not self._membership.is_settled or any(p.withheld for p in self._partitions.values()):
            return True
        return any(map(self._metadata.is_coming, self._subscription.topics()))

    # ----------------------------------------------------------------------------------------------------- offsets

    def commit(
        self,
        offsets: CommitTarget | None,
        now: float,
        timeout: float | None = None,
        *,
        retry: bool = True,
    ) -> Operation[None]:
        """Commits `offsets`, or without them the positions (or what was stored). See `arguments.commits_of`.

        With `retry` a failure that passes is tried again until the time is up. Nothing to send is no error.
        """
        given = None if offsets is None else commits_of(offsets)
        self._begin(now, touches=False)
        self._need_group()
        due = self._commits.positions() if given is None else given
        if not due and self._commits.idle:
            return Operation.completed("commit", None)
        flow = self._commits.commit(due, retry=retry, explicit=True, tenures=tenures_of(offsets))
        return self._start("commit", flow, now, timeout)

    def due(self, offsets: CommitTarget | None, now: float) -> dict[TopicPartition, OffsetAndMetadata]:
        """What `commit` with the same argument would send now."""
        given = None if offsets is None else commits_of(offsets)
        self._begin(now)
        self._need_group()
        return self._commits.positions() if given is None else given

    def store_offsets(self, offsets: CommitTarget, now: float) -> None:
        """Notes what the next commit is to send, where `enable_auto_offset_store` is off."""
        given = commits_of(offsets)
        self._begin(now)
        self._need_group()
        if self.config.enable_auto_offset_store:
            raise LocalProtocolError("store_offsets needs enable_auto_offset_store=False")
        for tp in given:
            self._partition(tp)
        for tp, offset in given.items():
            self._partitions[tp].stored = offset

    # --------------------------------------------------------------------------------------------------- consuming

    def poll(
        self, now: float, bound: Bound | None = None, *, more: bool = False
    ) -> FetchedRecords[K, V] | Failed | EndOfPartition | Rebalance | None:
        """What there is for the application: records, or something that it must know; None if nothing.

        Asking finishes what was handed out before, unless the application wants `more` of the same batch. Then None
        stands for an error or an event too, which the next batch begins with. What a rebalance brings is to be answered
        by `event_done` before the next poll. While the consumer is closing or unsubscribes there is nothing else, and
        what is in hand is not finished by asking.
        """
        subscription = self._subscription
        ending = self._is_ending
        self._begin(now, answers=True)
        if not more and not ending:
            self._handout.finish()
        output: object
        if more and (self._handout.has_failure or subscription.has_event):
            output = None
        else:
            output = subscription.next_event()
            if output is None and not ending:
                output = self._handout.next(bound)
                self._polled(isinstance(output, Failed))
        self._ask(output is None and not more)
        self._advance(now)
        return cast("FetchedRecords[K, V] | Failed | EndOfPartition | Rebalance | None", output)

    @property
    def _is_ending(self) -> bool:
        """Whether `close` or `unsubscribe` is under way."""
        return self._closing is not None or (self._leaving is not None and not self._leaving.done)

    def _polled(self, failed: bool) -> None:
        self._subscription.made_progress()
        if self._membership is not None and not failed and self._subscription.is_subscribed:
            self._membership.polled()

    def _ask(self, asks: bool) -> None:
        if self._at_most_once is not None:
            self._at_most_once.asked = asks

    def wait(
        self, now: float, timeout: float | None = None, bound: Bound | None = None, *, records: int = 1
    ) -> Operation[bool]:
        """Done as soon as `poll` has something, with True; or when the time is up, with False.

        With `records` it also waits, as long as there is time, until there are about so many to hand out at once. A
        driver that gathers a batch waits first and takes then, so that whoever gives up waiting has lost nothing.
        While the consumer is closing, or unsubscribes, it is done at the end of that too.
        """
        handout, subscription = self._handout, self._subscription
        leaving = self._leaving if self._leaving is not None and not self._leaving.done else None

        def over() -> bool:
            return (self._over and subscription.is_subscribed) or (leaving is not None and leaving.done)

        def ready() -> bool:
            if subscription.has_event or over():
                return True
            if self._is_ending:
                return False
            return handout.has_next(bound) if records <= 1 else handout.has_enough(records, bound)

        def flow() -> Flow[bool]:
            subscription.waits(1)
            try:
                yield Wait(ready, None if timeout is None else self._client.now + timeout)
            finally:
                subscription.waits(-1)
            return subscription.has_event or over() or handout.has_next(bound)

        self._begin(now, answers=True)
        self._ask(True)
        if timeout is None and not self._partitions and not subscription.is_subscribed and not self._is_ending:
            self._client.warn.warning(
                now,
                "nothing to read",
                "waiting, but nothing is subscribed to or assigned: until another task does that",
            )
        return self._start("wait", flow(), now, None)

    def hand_back(self, now: float) -> None:
        """What was handed out last has not reached the application, which was interrupted: it is handed out again."""
        self._begin(now)
        self._handout.hand_back()
        self._advance(now)

    def metrics(self) -> ConsumerMetrics:
        """A snapshot of what this consumer has done and has in hand."""
        return snapshot(
            self._client,
            self._partitions,
            self._fetcher,
            self._commits,
            self._handout.records,
            self._membership,
            self._acknowledgements,
        )

    def close(self, now: float, timeout: float | None = None) -> Operation[None]:
        """Commits what is finished (in automatic mode), says goodbye and closes every connection, in bounded time.

        A member of a group has to poll for the event of its last revocation, and to answer it. It does not fail: what
        could not be done in time is logged. Calling it again gives the same operation. Cancelling that closes the
        connections at once.
        """
        if self.closed:
            self._closing = Operation.completed("close", None)
        if self._closing is not None:
            return self._closing
        self._client.now = self._client.runner.now = now
        self._handout.collect()
        self._handout.stop()
        seconds = self.config.close_timeout_ms / 1000 if timeout is None else timeout
        self._closing = Operation("close", self._client.close)
        self._client.runner.start_background(self._close(now + seconds, self._closing))
        self._advance(now)
        return self._closing

    # ------------------------------------------------------------------------------------------------------ within

    def _begin(self, now: float, *, answers: bool = False, touches: bool = True) -> None:
        """What every call does first. While closing, only what a listener needs is let through.

        `touches`: whether it may change what is to be fetched.
        """
        subscription = self._subscription
        ending = self._closing is not None and not (
            subscription.in_listener or (answers and subscription.is_subscribed)
        )
        if self.closed or ending:
            raise ClosedError("the consumer is closed")
        self._client.now = self._client.runner.now = now
        if not self._started:
            self._started = True
            self._metadata.start()
        if touches:
            self._fetcher.touch()
        self._handout.collect()

    def _advance(self, now: float) -> None:
        """Takes every part as far as it gets."""
        client = self._client
        if client.closed:
            return
        client.now = now
        self._handout.collect()
        client.runner.run(now)
        if self._window is not None:
            self._acknowledgements.look(now)
        while self._started and self._closing is None:
            self._topic_errors.advance()
            self._look_at_group()
            self._positions.advance()
            self._commits.advance()
            if self._at_most_once is not None:
                self._at_most_once.advance()
            self._fetcher.send()
            if not client.runner.run(now):  # else what the flows have brought may lead on
                return

    def _look_at_group(self) -> None:
        if self._membership is not None and self._subscription.is_subscribed:
            self._subscription.match()
            self._membership.look_at_metadata()

    def _close(self, deadline: float, operation: Operation[None]) -> Flow[None]:
        if self._leaving is not None:
            yield Wait(lambda: self._leaving is None or self._leaving.done, deadline)
        if self._subscription.is_subscribed:
            yield from self._subscription.end(deadline, "the consumer was closed")
        # The commits that are on their way come first, and may be all that there is to commit.
        yield Wait(lambda: self._commits.idle, deadline)
        due = self._commits.last_due() if self.config.group_id is not None and self.config.enable_auto_commit else {}
        if due:
            left = max(0.0, deadline - self._client.now)
            commit = self._client.runner.start("the last automatic commit", self._commits.commit(due), left)
            yield Wait(lambda: commit.done)
            if commit.error is not None:
                self._client.warn.warning(self._client.now, "close", "closing: %s", commit.error)
        for key, request in self._fetcher.closing_requests():
            if self._client.is_ready(key):
                self._client.request(key, request, lambda response, error: None)
        self._over = True
        yield Wait(lambda: not (self._subscription.is_subscribed and self._subscription.is_waited_for))
        self._client.close()
        operation._finish(None, None)
