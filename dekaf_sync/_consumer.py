"""`Consumer`: what a program with threads and blocking calls uses.

Everything about Kafka is in the engine, how records are read in `_reading`, and what every client does in `_client`.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from dekaf_proto import consumer as engine, driver
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer.arguments import CommitTarget, OnDone, Partitions, SeekTarget, Some, Time, records_of
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.consumer.listener import check_listener
from dekaf_proto.consumer.metrics import ConsumerMetrics
from dekaf_proto.consumer.subscription import Topics, topics_of
from dekaf_proto.driver import Signal, answering, config_of, count_of
from dekaf_proto.errors import KafkaError, LocalProtocolError
from dekaf_proto.group.classic import GroupMetadata
from dekaf_proto.records import Record
from dekaf_proto.types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition
from dekaf_sync._client import Hold, script_of, seconds_of, settled
from dekaf_sync._listening import RebalanceListener
from dekaf_sync._pump import Script, Steps
from dekaf_sync._reading import Reading

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar as TypeVarWithDefault, Unpack

    from dekaf_proto.config import ConsumerOptions
    from dekaf_proto.trace import Trace

    # What a deserializer makes of bytes, and bytes where there is none.
    T = TypeVarWithDefault("T", default=bytes)
    U = TypeVarWithDefault("U", default=bytes)

log = logging.getLogger("dekaf.sync")

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)
R = TypeVar("R")


class Consumer(Reading[K, V]):
    """Reads records of Kafka's topics; `K` and `V` are the types of their keys and values.

    With `topics` it joins the group `group_id` and reads what that gives to it; without, it reads what is assigned or
    subscribed to later. Options are those of `ConsumerConfig`, given one by one or as `config` (then `options` replace
    what it says). Making one only checks them, and raises ConfigurationError; connections are made from the `with` or
    the first call on.

        with Consumer("orders", bootstrap_servers="localhost:9092", group_id="billing") as consumer:
            for msg in consumer:
                handle(msg.value)

    One thread at a time uses it; another one gets ConcurrentUseError. `acknowledge`, `wakeup` and `metrics` are for any
    thread. A `timeout` is in seconds; without one, `default_api_timeout_ms` bounds a call, and nothing bounds the
    waiting for records. Ctrl+C ends every wait. Every call raises ClosedError once the consumer is closed, WakeupError
    if it may wait and `wakeup` was called, and what its own description says.

    `trace` names a file in which to record what the consumer does, for a replay (docs/embedding.md); a
    `dekaf_proto.trace.Trace` says more.
    """

    @overload
    def __init__(
        self: Consumer[T | None, U | None],
        *topics: str,
        config: None = None,
        trace: Trace | str | os.PathLike[str] | None = None,
        key_deserializer: Callable[[bytes], T] | None = None,
        value_deserializer: Callable[[bytes], U] | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        *topics: str,
        config: ConsumerConfig[K, V],
        trace: Trace | str | os.PathLike[str] | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    def __init__(
        self,
        *topics: str,
        config: ConsumerConfig[Any, Any] | None = None,
        trace: Trace | str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        config, name = config_of(config, options, topics)
        self.config: Final[ConsumerConfig[K, V]] = config
        seed, unix_offset = int.from_bytes(os.urandom(8), "big"), time.time() - time.monotonic()
        ours: engine.Consumer[K, V]
        if trace is None:
            ours = engine.Consumer(config, seed=seed, unix_offset=unix_offset)
        else:
            from dekaf_sync._trace import traced

            ours = traced(config, trace, seed, unix_offset)
        super().__init__(ours, name, config.close_timeout_ms / 1000)
        #: What to subscribe to with the first call; the listener of what is subscribed to. Set in the I/O thread.
        self._topics: list[str] | re.Pattern[str] | None = topics_of(topics) if topics else None
        self._listener: object | None = None
        #: What was acknowledged, and is taken all at once when the I/O thread comes to it.
        self._acknowledged: Final[deque[Sequence[Record[Any, Any]]]] = deque()

    # ------------------------------------------------------------------------------------------------ beginning, end

    def __enter__(self) -> Self:
        self._instantly(lambda now: self._engine.resume([], now))  # it begins to look for the brokers
        return self

    def close(self, timeout: float | None = None) -> None:
        """Commits what is finished (if `enable_auto_commit`), says goodbye and closes everything, in bounded time.

        The record or batch in hand is not finished: it will be given again. What can't be done within `timeout`, by
        default `close_timeout_ms`, is left and logged. The listener's `on_revoked` is called, and the callbacks of
        `commit_async` that are left; the first error of theirs is raised at the end. A listener may close, too; then
        its event counts as answered. Closing again does nothing, and so does closing in a forked process.
        """
        self._close(timeout)

    def wakeup(self) -> None:
        """Has the call that waits raise WakeupError, or else the next one that may wait. From any thread or signal."""
        if self._pump.forked:
            self._pump.check()
        self._pump.interrupt(self._stop_run)

    def metrics(self) -> ConsumerMetrics:
        """A snapshot of what it has done and holds. From any thread, also when it is closed."""
        if self._pump.forked:
            self._pump.check()
        with self._pump.lock:
            return self._engine.metrics()

    # ------------------------------------------------------------------------------------------------------- reading

    def __iter__(self) -> Iterator[Record[K, V]]:
        """Record after record, without an end. Asking for the next one finishes the one before."""
        return self._iterate(None)

    def records(self, *, until_end: bool = False) -> Iterator[Record[K, V]]:
        """The same; with `until_end` only up to the end of each partition.

        The ends are looked up by this call; for a partition that is assigned later, at its assignment. With
        `isolation_level="read_committed"` they are the last stable offsets. A paused partition is not waited for.
        """
        return self._iterate(self._operate(self._engine.until_end) if until_end else None)

    def poll(self, timeout: float | None = None, max_records: int | None = None) -> Batch[K, V]:
        """At most `max_records` (by default `max_poll_records`) as soon as there are any; none when the time is up.

        Asking for the next batch finishes this one whole. Raises what went wrong, once, and CorruptRecordError or
        DeserializationError of a record again and again until a seek.
        """
        return self._gather(count_of(max_records, self.config.max_poll_records), seconds_of(timeout), 0.0)

    def batches(self, max_records: int | None = None, max_wait: float = 0.0) -> Iterator[Batch[K, V]]:
        """Batches as from `poll`, without an end and never an empty one.

        With `max_wait` it waits for more, that many seconds after the first record, until the batch is full.
        """
        return self._iterate_batches(count_of(max_records, self.config.max_poll_records), seconds_of(max_wait) or 0.0)

    # --------------------------------------------------------------------------------------------------------- groups

    def subscribe(self, topics: Topics, listener: RebalanceListener | object | None = None) -> None:
        """Reads these topics, as a member of the group `group_id`: whatever partitions that gives to this consumer.

        `topics`: a name, several, or a compiled pattern that names have to match from their beginning on, also those of
        topics that come later. Replaces what was subscribed to. `listener` is told of partitions that come and go, see
        `RebalanceListener`. LocalProtocolError if partitions are assigned by hand, NoGroupError without a `group_id`.
        """
        check_listener(listener)
        given = topics_of(settled(topics))
        self._pump.check()  # no listener may do this when closing

        def action(now: float) -> None:
            self._engine.subscribe(given, now)
            self._listener = listener

        self._topics = None
        self._instantly(action)

    def unsubscribe(self, timeout: float | None = None) -> None:
        """Commits what is finished (if `enable_auto_commit`), and leaves the group.

        The listener's `on_revoked` is called; what that raises comes out at the end.
        """
        seconds = seconds_of(timeout)
        errors: list[BaseException] = []

        def script(now: float) -> driver.Steps[None]:
            operation = self._engine.unsubscribe(now, seconds)
            yield from answering(self._engine, operation, now)

        self._call(self._listening.script(script, self, errors, to_the_end=True), interruptible=True)
        if errors:
            raise errors[0]

    @property
    def subscription(self) -> list[str]:
        """The topics that are subscribed to; with a pattern those that match it now."""
        return self._read(lambda: self._engine.subscription)

    def group_metadata(self) -> GroupMetadata:
        """What the group knows this consumer by, for the transactions of a producer. NoGroupError without a group."""
        return self._read(self._engine.group_metadata)

    def acknowledge(self, records: Record[K, V] | Iterable[Record[K, V]]) -> None:
        """These records are done: for `acknowledgement_mode="explicit"`, from any thread, in any order. Does not wait.

        Those of partitions that this consumer does not have any more are ignored, and counted in `metrics()`.
        """
        given = records_of(records)
        if self.config.acknowledgement_mode != "explicit":
            raise LocalProtocolError('acknowledge needs acknowledgement_mode="explicit"')
        if self._pump.forked:
            self._pump.check()
        self._acknowledged.append(given)
        self._pump.post(self._take_acknowledged)

    # ---------------------------------------------------------------------------------------------------- assignment

    def assign(self, partitions: Partitions) -> None:
        """Reads these partitions and no others; those that it had go on where they are.

        A mapping, or TopicPartitionOffset, gives offsets to begin at. The others begin at the committed offset, or as
        `auto_offset_reset` says.
        """
        given = settled(partitions)
        self._instantly(lambda now: self._engine.assign(given, now))

    def incremental_assign(self, partitions: Partitions) -> None:
        """Reads these partitions too."""
        given = settled(partitions)
        self._instantly(lambda now: self._engine.incremental_assign(given, now))

    def incremental_unassign(self, partitions: TopicPartition | Iterable[TopicPartition]) -> None:
        """Reads these partitions no longer. NotAssignedError, and no change, if one is not assigned."""
        given = settled(partitions)
        self._instantly(lambda now: self._engine.incremental_unassign(given, now))

    @property
    def assignment(self) -> list[TopicPartition]:
        """What is assigned."""
        return self._read(lambda: self._engine.assignment)

    def pause(self, partitions: Some = None) -> None:
        """Gives nothing more of these partitions (None: all) until `resume`; what is buffered is kept."""
        given = settled(partitions)
        self._instantly(lambda now: self._engine.pause(given, now))

    def resume(self, partitions: Some = None) -> None:
        """Goes on with these partitions (None: all)."""
        given = settled(partitions)
        self._instantly(lambda now: self._engine.resume(given, now))

    @property
    def paused(self) -> list[TopicPartition]:
        """Which partitions are paused."""
        return self._read(lambda: self._engine.paused)

    # ----------------------------------------------------------------------------------------------------- positions

    def position(self, tp: TopicPartition) -> int | None:
        """The offset of the next record of `tp` that the program will be given; None while that is not known."""
        return self._read(lambda: self._engine.position(tp))

    def lag(self, tp: TopicPartition) -> int | None:
        """How many offsets the position is behind the end (read_committed: the last stable offset); None if unknown."""
        return self._read(lambda: self._engine.lag(tp))

    def highwater(self, tp: TopicPartition) -> int | None:
        """The end of the log as the last fetch saw it; None before the first."""
        return self._read(lambda: self._engine.highwater(tp))

    def seek(self, tp: TopicPartition, offset: SeekTarget) -> None:
        """Goes on at `offset`: a number, an OffsetAndMetadata, or what `offsets_for_times` found for it."""
        self._instantly(lambda now: self._engine.seek(tp, offset, now))

    def seek_to_beginning(self, partitions: Some = None) -> None:
        """Goes on at the first record of these partitions (None: all)."""
        given = settled(partitions)
        self._instantly(lambda now: self._engine.seek_to_beginning(given, now))

    def seek_to_end(self, partitions: Some = None) -> None:
        """Goes on behind the last record of these partitions (None: all)."""
        given = settled(partitions)
        self._instantly(lambda now: self._engine.seek_to_end(given, now))

    def seek_to_committed(self, partitions: Some = None) -> None:
        """Goes on where the group has committed (None: in all), or as `auto_offset_reset` says if it has not."""
        given = settled(partitions)
        self._instantly(lambda now: self._engine.seek_to_committed(given, now))

    def seek_to_timestamp(self, when: Time | Mapping[TopicPartition, Time], timeout: float | None = None) -> None:
        """Goes on at the first record that is not older than `when`, or at the end if there is none.

        `when`: Unix time in ms or an aware datetime, for all partitions or for each of a mapping.
        """
        given = settled(when)
        seconds = seconds_of(timeout)
        self._operate(lambda now: self._engine.seek_to_timestamp(given, now, seconds))

    # ------------------------------------------------------------------------------------------------------- commits

    def commit(self, offsets: CommitTarget | None = None, timeout: float | None = None) -> None:
        """Commits `offsets`, or without them the positions (or what was stored), and waits until it is done.

        `offsets`: a record or a batch (which is done with), `{tp: 42}`, `{tp: OffsetAndMetadata(42, "note")}` or
        TopicPartitionOffsets. A failure that passes is tried again until the time is up. Nothing to commit is no error.
        Raises CommitFailedError if the group has taken a partition away, RebalanceInProgressError if the group waits
        for this very program, CommitError for what the broker refuses, NoGroupError, KafkaTimeoutError.
        """
        given, seconds = settled(offsets), seconds_of(timeout)
        with Hold(self):
            try:
                self._operate(lambda now: self._engine.commit(given, now, seconds))
            finally:
                self._callbacks.call()  # what was committed before it has ended by now (P9)

    def commit_async(self, offsets: CommitTarget | None = None, *, on_done: OnDone | None = None) -> None:
        """The same without waiting; it is sent once and not tried again.

        `on_done(offsets, error)` is called when it is done, in the order of the commits, in the program's thread, by
        the next call that does not only read; by `close` at the latest. `error` is None, or what `commit` would raise;
        without `on_done` that is logged. What `on_done` itself raises comes out of the call.
        """
        given = settled(offsets)

        def start(now: float) -> None:
            sent = self._engine.due(given, now)
            operation = self._engine.commit(sent if given is None else given, now, retry=False)

            ended = Signal()
            failure: Exception | None = None

            def script(_: float) -> Steps[None]:
                nonlocal failure
                try:
                    yield operation
                    failure = operation.error
                except KafkaError as crash:
                    failure = crash
                ended.done = True
                if on_done is not None:
                    self._stop_run()  # the program is to come by
                elif failure is not None:
                    log.warning("%s: commit_async: %s", self._name, failure)

            if on_done is not None:
                self._callbacks.add(ended, lambda: on_done(sent, failure))
            self._pump.tell(script)

        self._instantly(start)

    def store_offsets(self, offsets: CommitTarget) -> None:
        """Notes what the next commit without arguments is to send, where `enable_auto_offset_store` is off."""
        given = settled(offsets)
        self._instantly(lambda now: self._engine.store_offsets(given, now))

    @overload
    def committed(self, partitions: TopicPartition, timeout: float | None = None) -> OffsetAndMetadata | None: ...
    @overload
    def committed(
        self, partitions: Iterable[TopicPartition], timeout: float | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata | None]: ...
    def committed(
        self, partitions: TopicPartition | Iterable[TopicPartition], timeout: float | None = None
    ) -> OffsetAndMetadata | dict[TopicPartition, OffsetAndMetadata | None] | None:
        """What the group has committed for a partition, None if nothing; for several a dict of that."""
        given, seconds = settled(partitions), seconds_of(timeout)
        found = self._operate(lambda now: self._engine.committed(given, now, seconds))
        return found[given] if isinstance(given, TopicPartition) else found

    # -------------------------------------------------------------------------------------------- questions to brokers

    def beginning_offsets(
        self, partitions: TopicPartition | Iterable[TopicPartition], timeout: float | None = None
    ) -> dict[TopicPartition, int]:
        """The first offset of each of these partitions, which need not be assigned."""
        given, seconds = settled(partitions), seconds_of(timeout)
        return self._operate(lambda now: self._engine.beginning_offsets(given, now, seconds))

    def end_offsets(
        self, partitions: TopicPartition | Iterable[TopicPartition], timeout: float | None = None
    ) -> dict[TopicPartition, int]:
        """The offset behind the last record of each (read_committed: behind the last stable one)."""
        given, seconds = settled(partitions), seconds_of(timeout)
        return self._operate(lambda now: self._engine.end_offsets(given, now, seconds))

    def offsets_for_times(
        self, times: Mapping[TopicPartition, Time], timeout: float | None = None
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """For each partition the first record that is not older than its time (see `seek_to_timestamp`), or None."""
        given, seconds = settled(times), seconds_of(timeout)
        return self._operate(lambda now: self._engine.offsets_for_times(given, now, seconds))

    def partitions_for(self, topic: str, timeout: float | None = None) -> list[TopicPartition]:
        """A topic's partitions. UnknownTopicError if it does not exist; asking does not create it."""
        seconds = seconds_of(timeout)
        return self._operate(lambda now: self._engine.partitions_for(topic, now, seconds))

    def topics(self, timeout: float | None = None) -> list[str]:
        """The names of all topics that may be seen, Kafka's internal ones left out."""
        seconds = seconds_of(timeout)
        return self._operate(lambda now: self._engine.topics(now, seconds))

    # -------------------------------------------------------------------------------------------------------- within

    def _call(self, script: Script[R], *, interruptible: bool) -> R:
        if self._topics is not None:
            super()._call(script_of(self._begin), interruptible=False)
        return super()._call(script, interruptible=interruptible)

    def _read(self, look: Callable[[], R]) -> R:
        if self._topics is not None:
            super()._call(script_of(self._begin), interruptible=False)
        return super()._read(look)

    def _begin(self, now: float) -> None:
        """Subscribes to what the program has given at first (in the I/O thread)."""
        if self._topics is not None:
            self._engine.subscribe(self._topics, now)
            self._topics = None

    def _check(self) -> None:
        self._pump.check(closing=self._listening.told)

    def _closing(self, seconds: float, errors: list[BaseException]) -> Script[None]:
        return self._listening.closing(seconds, self, errors)

    def _take_acknowledged(self) -> None:
        """Passes on what was acknowledged (in the I/O thread)."""
        records: list[Record[Any, Any]] = []
        while self._acknowledged:
            records += self._acknowledged.popleft()
        if records and not self._pump.ended:
            self._engine.acknowledge(records, time.monotonic())
