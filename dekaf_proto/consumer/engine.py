"""`Consumer`: the engine behind every consumer, whatever the loop around it.

A driver hands in what happens (`resolved` ... `handle_timeout`), carries out `effects()`, and comes back at
`next_deadline()`. A program's calls are either instant, or give an Operation that is done after some later input. Each
takes `now`: seconds from any origin, never going back. The engine does nothing by itself and calls nobody back.

After each input the parts are taken forward in one place, `_advance`: flows first, then positions, commits and fetches,
which look at the tables and do what is due. What the application has read is collected in one place as well, at the
start of each input or call, from the cursors in the run that it is reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar, cast

from dekaf_proto.client import LEAST_LOADED, Client
from dekaf_proto.config import ConsumerConfig, OffsetReset
from dekaf_proto.consumer.acknowledgements import Acknowledgements
from dekaf_proto.consumer.arguments import (
    CommitTarget,
    Partitions,
    SeekTarget,
    Time,
    assignment_of,
    commits_of,
    epoch_of,
    milliseconds_of,
    offset_of,
    partition_of,
    partitions_of,
    records_of,
    tenures_of,
    times_of,
    topic_of,
)
from dekaf_proto.consumer.at_most_once import AtMostOnce
from dekaf_proto.consumer.chunk import Reading
from dekaf_proto.consumer.commits import Commits
from dekaf_proto.consumer.fetcher import Fetcher
from dekaf_proto.consumer.generic import FetchedRecords
from dekaf_proto.consumer.handout import Bound, Handout
from dekaf_proto.consumer.lookups import EARLIEST, LATEST, Lookups
from dekaf_proto.consumer.memory import Memory
from dekaf_proto.consumer.metrics import ConsumerMetrics, lag_of, snapshot
from dekaf_proto.consumer.partition import Partition
from dekaf_proto.consumer.positions import Positions
from dekaf_proto.consumer.subscription import Subscription, Topics, topics_of
from dekaf_proto.errors import (
    ClosedError,
    ErrorCode,
    KafkaError,
    LocalProtocolError,
    NoGroupError,
    NotAssignedError,
    UnknownTopicError,
    broker_error,
)
from dekaf_proto.events import Address, Effect, EndOfPartition, Failed, Rebalance
from dekaf_proto.group.classic import Classic, GroupMetadata
from dekaf_proto.messages.metadata import MetadataResponse
from dekaf_proto.metadata import Asked, Metadata
from dekaf_proto.operation import Call, Flow, Operation, Sleep, Wait, sooner
from dekaf_proto.types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition
from dekaf_proto.wire.schema import Buffer

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)
T = TypeVar("T")


class Consumer(Generic[K, V]):
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
        self._told_version = 0
        #: The subscribed topics that the program was told to be out of reach.
        self._told_topics: set[str] = set()
        self._closing: Operation[None] | None = None
        self._leaving: Operation[None] | None = None
        #: Nothing more will come, and whoever waits need not.
        self._over = False

    # ------------------------------------------------------------------------------------------- a driver's inputs

    def resolved(self, query: int, addresses: Sequence[Address], now: float) -> None:
        """The answer to a Resolve: addresses in the order in which to try them."""
        self._client.resolved(query, addresses, now)
        self._advance(now)

    def resolve_failed(self, query: int, error: str, now: float) -> None:
        """A Resolve failed; `error` is for people."""
        self._client.resolve_failed(query, error, now)
        self._advance(now)

    def connected(self, conn: int, now: float) -> None:
        """A Connect succeeded."""
        self._client.connected(conn, now)
        self._advance(now)

    def connect_failed(self, conn: int, error: str, now: float) -> None:
        """A Connect failed; `error` is for people."""
        self._client.connect_failed(conn, error, now)
        self._advance(now)

    def receive_data(self, conn: int, data: Buffer, now: float) -> None:
        """The next bytes from a connection. Never raises for what they are."""
        if self._client.receive_data(conn, data, now):
            self._advance(now)

    def disconnected(self, conn: int, error: str, now: float) -> None:
        """A connection ended: by the other end (`error` empty) or by a fault."""
        self._client.disconnected(conn, error, now)
        self._advance(now)

    def handle_timeout(self, now: float) -> None:
        """It is `next_deadline()`, or later, or any time that suits."""
        self._client.handle_timeout(now)
        self._advance(now)

    def effects(self) -> list[Effect]:
        """What the driver has to do, in order; each is given once."""
        return self._client.effects()

    def next_deadline(self) -> float | None:
        """When `handle_timeout` has to be called at the latest."""
        if self.closed:
            return None
        deadline = sooner(self._client.next_deadline(), self._positions.next_rest())
        if self._closing is None:
            deadline = sooner(sooner(deadline, self._fetcher.next_peek()), self._commits.next_automatic())
        return deadline

    @property
    def closed(self) -> bool:
        """Whether `close` has finished: no further effect will come."""
        return self._client.closed

    def set_unix_offset(self, offset: float, now: float) -> None:
        """Corrects the difference between Unix time and `now`."""
        self._client.now = now
        self._client.unix_offset = offset

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
        return not self._membership.is_settled or any(p.withheld for p in self._partitions.values())

    # --------------------------------------------------------------------------------------------------- positions

    def position(self, tp: TopicPartition) -> int | None:
        """The offset of the next record that the application will be given; None while that is not known."""
        return self._partition(tp).position

    def seek(self, tp: TopicPartition, offset: SeekTarget, now: float) -> None:
        """Goes on at `offset`: a number, an OffsetAndMetadata, or what `offsets_for_times` found."""
        self._begin(now)
        partition = self._partition(tp)
        partition.begin_at(offset_of(offset), epoch_of(offset))
        partition.seeks += 1
        self._positions.stand_on(partition)
        self._sought(now)

    def seek_to_beginning(self, partitions: object, now: float) -> None:
        """Goes on at the first record of these partitions (None: of all that are assigned)."""
        self._seek_to_end_of_log(partitions, OffsetReset("earliest"), now)

    def seek_to_end(self, partitions: object, now: float) -> None:
        """Goes on behind the last record (under read_committed: behind the last stable one)."""
        self._seek_to_end_of_log(partitions, OffsetReset("latest"), now)

    def seek_to_committed(self, partitions: object, now: float) -> None:
        """Goes on where the group has committed, or as `auto_offset_reset` says if it has not."""
        self._begin(now)
        self._need_group()
        for partition in self._those(partitions):
            partition.initialize()
            partition.seeks += 1
        self._sought(now)

    def _seek_to_end_of_log(self, partitions: object, policy: OffsetReset, now: float) -> None:
        self._begin(now)
        for partition in self._those(partitions):
            partition.begin_reset(policy)
            partition.seeks += 1
        self._sought(now)

    def _sought(self, now: float) -> None:
        self._handout.stop()
        self._advance(now)

    def seek_to_timestamp(
        self, when: Time | Mapping[TopicPartition, Time], now: float, timeout: float | None = None
    ) -> Operation[None]:
        """Goes on at the first record that is not older than `when`, or at the end if there is none.

        `when`: Unix time in ms or an aware datetime, for all assigned partitions or by partition.
        """
        if isinstance(when, Mapping):
            times = times_of(when)
        else:
            times = dict.fromkeys(self._partitions, milliseconds_of(when))
        self._begin(now)
        # A seek that comes meanwhile has the last word; a reset, or a committed offset that is found, has not (O7).
        sought = {tp: self._partition(tp) for tp in times}
        for partition in sought.values():
            partition.seeks += 1
        seeks = {tp: partition.seeks for tp, partition in sought.items()}

        def flow() -> Flow[None]:
            found = yield from self._lookups.list_offsets(times, or_end=True)
            for tp, offset in found.items():
                partition = sought[tp]
                if offset is not None and self._partitions.get(tp) is partition and partition.seeks == seeks[tp]:
                    partition.begin_at(offset.offset)
            self._fetcher.touch()
            self._handout.stop()

        return self._start("seek_to_timestamp", flow(), now, timeout)

    def pause(self, partitions: object, now: float) -> None:
        """Hands out nothing more of these partitions; what is buffered is kept."""
        self._begin(now)
        for partition in self._those(partitions):
            partition.paused = True
        self._sought(now)

    def resume(self, partitions: object, now: float) -> None:
        """Goes on with paused partitions."""
        self._begin(now)
        for partition in self._those(partitions):
            partition.paused = False
        self._sought(now)

    @property
    def paused(self) -> list[TopicPartition]:
        """Which partitions are paused."""
        return [tp for tp, partition in self._partitions.items() if partition.paused]

    def highwater(self, tp: TopicPartition) -> int | None:
        """The end of the log as the last fetch saw it; None before the first."""
        highwater = self._partition(tp).high_watermark
        return highwater if highwater >= 0 else None

    def lag(self, tp: TopicPartition) -> int | None:
        """How many offsets the position is behind the end (the last stable offset under read_committed)."""
        return lag_of(self._partition(tp), self.config.isolation_level)

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

    def committed(
        self, partitions: object, now: float, timeout: float | None = None
    ) -> Operation[dict[TopicPartition, OffsetAndMetadata | None]]:
        """What the group has committed for each of these partitions, None where it has nothing."""
        tps = partitions_of(partitions)
        self._begin(now)
        self._need_group()
        return self._start("committed", self._commits.committed(tps), now, timeout)

    def beginning_offsets(
        self, partitions: object, now: float, timeout: float | None = None
    ) -> Operation[dict[TopicPartition, int]]:
        """The first offset of each of these partitions, which need not be assigned."""
        return self._ends("beginning_offsets", partitions_of(partitions), EARLIEST, now, timeout)

    def end_offsets(
        self, partitions: object, now: float, timeout: float | None = None
    ) -> Operation[dict[TopicPartition, int]]:
        """The offset behind the last record of each (read_committed: behind the last stable one)."""
        return self._ends("end_offsets", partitions_of(partitions), LATEST, now, timeout)

    def offsets_for_times(
        self, times: Mapping[TopicPartition, Time], now: float, timeout: float | None = None
    ) -> Operation[dict[TopicPartition, OffsetAndTimestamp | None]]:
        """For each partition the first record that is not older than its time, None if there is none (O5)."""
        wanted = times_of(times)
        self._begin(now)
        return self._start("offsets_for_times", self._lookups.list_offsets(wanted), now, timeout)

    def until_end(self, now: float, timeout: float | None = None) -> Operation[Bound]:
        """A bound for `poll`: the ends of what is assigned, as they are now."""
        tps = list(self._partitions)

        def flow() -> Flow[Bound]:
            return Bound((yield from self._lookups.ends(tps, LATEST)))

        self._begin(now)
        return self._start("looking up the end offsets", flow(), now, timeout)

    def partitions_for(self, topic: str, now: float, timeout: float | None = None) -> Operation[list[TopicPartition]]:
        """A topic's partitions. UnknownTopicError if it does not exist; it is not created."""
        topic_of(topic)

        def flow() -> Flow[list[TopicPartition]]:
            response = yield from self._ask_metadata([topic])
            found = [p.partition_index for t in response.topics if t.name == topic for p in t.partitions]
            if not found:
                raise broker_error(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"topic {topic}")
            return [TopicPartition(topic, partition) for partition in sorted(found)]

        self._begin(now)
        return self._start("partitions_for", flow(), now, timeout)

    def topics(self, now: float, timeout: float | None = None) -> Operation[list[str]]:
        """The names of all topics that may be seen, Kafka's internal ones left out."""

        def flow() -> Flow[list[str]]:
            response = yield from self._ask_metadata(None)
            return sorted(t.name for t in response.topics if t.name is not None and not t.is_internal)

        self._begin(now)
        return self._start("topics", flow(), now, timeout)

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

    def _start(self, name: str, flow: Flow[T], now: float, timeout: float | None) -> Operation[T]:
        if timeout is None and name != "wait":
            timeout = self.config.default_api_timeout_ms / 1000
        operation = self._client.runner.start(name, flow, timeout)
        self._advance(now)
        return operation

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
            self._tell_topic_errors()
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

    def _tell_topic_errors(self) -> None:
        """A topic that is out of reach is said once for each answer that says so (M6)."""
        if self._told_version == self._client.cluster.version:
            return
        self._told_version = self._client.cluster.version
        for tp, partition in self._partitions.items():
            error = self._metadata.topic_error(tp.topic)
            if error is not None:
                partition.tell(error)
        if self._subscription.is_subscribed and self._subscription.pattern is None:
            self._tell_of_subscribed({tp.topic for tp in self._partitions})

    def _tell_of_subscribed(self, assigned: set[str]) -> None:
        """The same for topics of which the group can't assign anything; of these it is said once."""
        for topic in self._subscription.topics():
            error = None if topic in assigned else self._metadata.topic_error(topic)
            if error is None:
                self._told_topics.discard(topic)
            elif topic not in self._told_topics:
                self._told_topics.add(topic)
                self._subscription.fail(error)

    def _partition(self, given: object) -> Partition:
        tp = partition_of(given)
        partition = self._partitions.get(tp)
        if partition is None:
            raise NotAssignedError(f"{tp} is not assigned to this consumer", [tp])
        return partition

    def _those(self, partitions: object) -> list[Partition]:
        if partitions is None:
            return list(self._partitions.values())
        return [self._partition(tp) for tp in partitions_of(partitions)]

    def _need_group(self) -> None:
        if self.config.group_id is None:
            raise NoGroupError

    def _ends(
        self, name: str, tps: list[TopicPartition], which: int, now: float, timeout: float | None
    ) -> Operation[dict[TopicPartition, int]]:
        self._begin(now)
        return self._start(name, self._lookups.ends(tps, which), now, timeout)

    def _ask_metadata(self, topics: list[str] | None) -> Flow[MetadataResponse]:
        """One question about topics, tried again while the failure is one that passes."""
        failures = 0
        while True:
            try:
                response: MetadataResponse = yield Call(LEAST_LOADED, Asked().request(topics, False))
                for topic in response.topics if topics is not None else ():
                    if topic.error_code != 0:
                        raise broker_error(topic.error_code, f"topic {topic.name}")
                return response
            except UnknownTopicError:
                raise
            except KafkaError as error:
                if not error.retriable:
                    raise
                failures += 1
                yield Sleep(self._client.backoff(failures), error)

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
