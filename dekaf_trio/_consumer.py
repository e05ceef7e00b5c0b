"""`Consumer`: what a trio program uses.

Every call goes straight to the engine and then has the pump carry out what follows from it; what takes time is awaited.
Two tasks may use a consumer, but only one of them at a time reads from it (see `_reading`).

Everything about Kafka is in the engine.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

import trio

from dekaf_proto import consumer as engine
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer.arguments import CommitTarget, OnDone, Partitions, SeekTarget, Some, Time
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.consumer.listener import check_listener
from dekaf_proto.consumer.metrics import ConsumerMetrics
from dekaf_proto.consumer.subscription import Topics, topics_of
from dekaf_proto.driver import Callbacks, Steps, answering, config_of, count_of, raise_first
from dekaf_proto.errors import ClosedError, LocalProtocolError
from dekaf_proto.group.classic import GroupMetadata
from dekaf_proto.records import Record
from dekaf_proto.types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition
from dekaf_trio._listening import Listening, RebalanceListener
from dekaf_trio._network import Network
from dekaf_trio._pump import Pump
from dekaf_trio._reading import Batches, Reader

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar as TypeVarWithDefault, Unpack

    from dekaf_proto.config import ConsumerOptions
    from dekaf_proto.trace import Trace

    # What a deserializer makes of bytes, and bytes where there is none.
    T = TypeVarWithDefault("T", default=bytes)
    U = TypeVarWithDefault("U", default=bytes)

log = logging.getLogger("dekaf.trio")

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)
R = TypeVar("R")


class Consumer(Generic[K, V]):
    """Reads records of Kafka's topics; `K` and `V` are the types of their keys and values.

    With `topics` it joins the group `group_id` and reads what that gives to it; without, it reads what is assigned or
    subscribed to later. Options are those of `ConsumerConfig`, given one by one or as `config` (then `options` replace
    what it says). Making one only checks them, and raises ConfigurationError; everything else needs the `async with`.

        async with Consumer("orders", bootstrap_servers="localhost:9092", group_id="billing") as consumer:
            async for msg in consumer:
                await handle(msg.value)

    What is awaited takes no timeout: `trio.move_on_after` and `trio.fail_after` do that, and `default_api_timeout_ms`
    bounds all but the wait for records. Leaving the block closes, also when it is cancelled, within `close_timeout_ms`;
    an error leaves it as it is, not in a group. `network` is for programs that make their streams themselves.

    `trace` names a file in which to record what the consumer does, for a replay (docs/embedding.md); a
    `dekaf_proto.trace.Trace` says more.
    """

    @overload
    def __init__(
        self: Consumer[T | None, U | None],
        *topics: str,
        config: None = None,
        network: Network | None = None,
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
        network: Network | None = None,
        trace: Trace | str | os.PathLike[str] | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    def __init__(
        self,
        *topics: str,
        config: ConsumerConfig[Any, Any] | None = None,
        network: Network | None = None,
        trace: Trace | str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        config, name = config_of(config, options, topics)
        self.config: Final[ConsumerConfig[K, V]] = config
        self._name: Final = name
        seed = int.from_bytes(os.urandom(8), "big")
        made: engine.Consumer[K, V]
        if trace is None:
            made = engine.Consumer(config, seed=seed)
        else:
            from dekaf_trio._trace import traced

            made = traced(config, trace, seed)
        self._engine: Final = made
        self._pump: Final = Pump(self._engine, network or Network(), self._name)
        self._call: Final = self._pump.call
        self._operate: Final = self._pump.operate
        self._callbacks: Final = Callbacks(self._name, log)
        self._listening: Final = Listening(self, self._engine, self._pump)
        self._reader: Final = Reader(self._engine, self._pump, self._listening, self._callbacks.call)
        self._topics: Final = topics_of(topics) if topics else None

    def __repr__(self) -> str:
        return f"<{self._name}>"

    # ------------------------------------------------------------------------------------------------ beginning, end

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Self:
        if not self._pump.entered:
            now = trio.current_time()
            self._engine.set_unix_offset(time.time() - now, now)
            if self._topics is None:
                self._engine.resume([], now)  # it begins to look for the brokers
            else:
                self._engine.subscribe(self._topics, now)
        await self._pump.enter()
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._close(self._pump.leave)
        except Exception:
            if error is None:
                raise
            log.exception("%s, closed because of an error, met another one", self._name)

    async def close(self) -> None:
        """Commits what is finished (if `enable_auto_commit`), says goodbye and closes everything, in bounded time.

        The record or batch in hand is not finished: it will be given again. What can't be done within
        `close_timeout_ms` is left and logged. The listener's `on_revoked` is called, and the callbacks of
        `commit_async` that are left; the first error of theirs is raised at the end. A listener may close, too; then
        its event counts as answered. Closing again does nothing. If this is cancelled, it goes on closing, and the end
        of the `async with` waits for it.
        """
        if self._pump.entered:
            await self._close(self._pump.close)

    async def _close(self, how: Callable[[Callable[[], Awaitable[object]], float], Awaitable[None]]) -> None:
        self._reader.closed, self._reader.closer = True, trio.lowlevel.current_task()
        seconds = self.config.close_timeout_ms / 1000
        deadline = trio.current_time() + seconds
        errors: list[BaseException] = []
        if self._listening.is_caller:
            self._listening.answer()

        def script(now: float) -> Steps[None]:
            return answering(self._engine, self._engine.close(now, seconds), now, self._listening.busy)

        await how(lambda: self._listening.run(script, errors, deadline), seconds)
        raised = self._callbacks.call_all()
        errors += [raised] if raised is not None else []
        raise_first(errors, self._name, log)

    def metrics(self) -> ConsumerMetrics:
        """A snapshot of what it has done and holds; also when it is closed."""
        return self._engine.metrics()

    # ------------------------------------------------------------------------------------------------------- reading

    def __aiter__(self) -> AsyncIterator[Record[K, V]]:
        """Record after record, without an end. Asking for the next one finishes the one before."""
        return self._reader.records(None)

    def records(self, *, until_end: bool = False) -> AsyncIterator[Record[K, V]]:
        """The same; with `until_end` only up to the end of each partition.

        The ends are those at this call; for a partition that is assigned later, at its assignment. With
        `isolation_level="read_committed"` they are the last stable offsets. A paused partition is not waited for.
        """
        return self._reader.records(self._call(lambda now: self._engine.until_end(now)) if until_end else None)

    async def poll(self, max_records: int | None = None) -> Batch[K, V]:
        """At most `max_records` (by default `max_poll_records`) as soon as there are any.

        Asking for the next batch finishes this one whole. Raises what went wrong, once, and a record's
        CorruptRecordError or DeserializationError again and again until a seek.
        """
        return await self._reader.batch(count_of(max_records, self.config.max_poll_records), 0.0)

    def batches(self, max_records: int | None = None, max_wait: float = 0.0) -> AsyncIterator[Batch[K, V]]:
        """Batches as from `poll`, without an end and never an empty one.

        With `max_wait` it waits for more, that many seconds after the first record, until the batch is full.
        """
        if not max_wait >= 0:
            raise ValueError(f"a time in seconds can't be {max_wait!r}")
        return Batches(self._reader, count_of(max_records, self.config.max_poll_records), max_wait)

    # --------------------------------------------------------------------------------------------------------- groups

    def subscribe(self, topics: Topics, listener: RebalanceListener | object | None = None) -> None:
        """Reads these topics, as a member of the group `group_id`: whatever partitions that gives to this consumer.

        `topics`: a name, several, or a compiled pattern that names have to match from their beginning on, also those of
        topics that come later. Replaces what was subscribed to. `listener` is told of partitions that come and go, see
        `RebalanceListener`. LocalProtocolError if partitions are assigned by hand, NoGroupError without a `group_id`.
        """
        check_listener(listener)
        if self._reader.closed:  # no listener may do this when closing
            raise ClosedError(f"{self._name} is closed")
        self._call(lambda now: self._engine.subscribe(topics, now))
        self._listening.listener = listener

    async def unsubscribe(self) -> None:
        """Commits what is finished (if `enable_auto_commit`), and leaves the group.

        The listener's `on_revoked` is called; what that raises comes out at the end. If this is cancelled, it goes on
        unsubscribing as soon as the program reads or closes.
        """
        if self._listening.is_caller:
            raise LocalProtocolError("a listener can't unsubscribe: its end is waited for")
        errors: list[BaseException] = []

        def script(now: float) -> Steps[None]:
            return answering(self._engine, self._engine.unsubscribe(now), now, self._listening.busy)

        await trio.lowlevel.checkpoint_if_cancelled()
        await self._listening.run(script, errors)
        if errors:
            raise errors[0]

    @property
    def subscription(self) -> list[str]:
        """The topics that are subscribed to; with a pattern those that match it now."""
        return self._engine.subscription

    def group_metadata(self) -> GroupMetadata:
        """What the group knows this consumer by, for the transactions of a producer. NoGroupError without a group."""
        return self._engine.group_metadata()

    def acknowledge(self, records: Record[K, V] | Iterable[Record[K, V]]) -> None:
        """These records are done: for `acknowledgement_mode="explicit"`, from any task, in any order.

        Those of partitions that this consumer does not have any more are ignored, and counted in `metrics()`.
        """
        self._call(lambda now: self._engine.acknowledge(records, now))

    # ---------------------------------------------------------------------------------------------------- assignment

    def assign(self, partitions: Partitions) -> None:
        """Reads these partitions and no others; those that it had go on where they are.

        A mapping, or TopicPartitionOffset, gives offsets to begin at. The others begin at the committed offset, or as
        `auto_offset_reset` says.
        """
        self._call(lambda now: self._engine.assign(partitions, now))

    def incremental_assign(self, partitions: Partitions) -> None:
        """Reads these partitions too."""
        self._call(lambda now: self._engine.incremental_assign(partitions, now))

    def incremental_unassign(self, partitions: TopicPartition | Iterable[TopicPartition]) -> None:
        """Reads these partitions no longer. NotAssignedError, and no change, if one is not assigned."""
        self._call(lambda now: self._engine.incremental_unassign(partitions, now))

    @property
    def assignment(self) -> list[TopicPartition]:
        """What is assigned."""
        return self._engine.assignment

    def pause(self, partitions: Some = None) -> None:
        """Gives nothing more of these partitions (None: all) until `resume`; what is buffered is kept."""
        self._call(lambda now: self._engine.pause(partitions, now))

    def resume(self, partitions: Some = None) -> None:
        """Goes on with these partitions (None: all)."""
        self._call(lambda now: self._engine.resume(partitions, now))

    @property
    def paused(self) -> list[TopicPartition]:
        """Which partitions are paused."""
        return self._engine.paused

    # ----------------------------------------------------------------------------------------------------- positions

    def position(self, tp: TopicPartition) -> int | None:
        """The offset of the next record of `tp` that the program will be given; None while that is not known."""
        return self._engine.position(tp)

    def lag(self, tp: TopicPartition) -> int | None:
        """How many offsets the position is behind the end (read_committed: the last stable offset); None if unknown."""
        return self._engine.lag(tp)

    def highwater(self, tp: TopicPartition) -> int | None:
        """The end of the log as the last fetch saw it; None before the first."""
        return self._engine.highwater(tp)

    def seek(self, tp: TopicPartition, offset: SeekTarget) -> None:
        """Goes on at `offset`: a number, an OffsetAndMetadata, or what `offsets_for_times` found for it."""
        self._call(lambda now: self._engine.seek(tp, offset, now))

    def seek_to_beginning(self, partitions: Some = None) -> None:
        """Goes on at the first record of these partitions (None: all)."""
        self._call(lambda now: self._engine.seek_to_beginning(partitions, now))

    def seek_to_end(self, partitions: Some = None) -> None:
        """Goes on behind the last record of these partitions (None: all)."""
        self._call(lambda now: self._engine.seek_to_end(partitions, now))

    def seek_to_committed(self, partitions: Some = None) -> None:
        """Goes on where the group has committed (None: in all), or as `auto_offset_reset` says if it has not."""
        self._call(lambda now: self._engine.seek_to_committed(partitions, now))

    async def seek_to_timestamp(self, when: Time | Mapping[TopicPartition, Time]) -> None:
        """Goes on at the first record that is not older than `when`, or at the end if there is none.

        `when`: Unix time in ms or an aware datetime, for all partitions or for each of a mapping.
        """
        await self._operate(lambda now: self._engine.seek_to_timestamp(when, now))

    # ------------------------------------------------------------------------------------------------------- commits

    async def commit(self, offsets: CommitTarget | None = None) -> None:
        """Commits `offsets`, or without them the positions (or what was stored), and waits until it is done.

        `offsets`: a record or a batch (which is done with), `{tp: 42}`, `{tp: OffsetAndMetadata(42, "note")}` or
        TopicPartitionOffsets. A failure that passes is tried again until the time is up. Nothing to commit is no error.
        Raises CommitFailedError if the group has taken a partition away, RebalanceInProgressError if the group waits
        for this very program, CommitError for what the broker refuses, NoGroupError, KafkaTimeoutError.
        """
        try:
            await self._operate(lambda now: self._engine.commit(offsets, now))
        finally:
            self._callbacks.call()  # what was committed before it has ended by now (P9)

    def commit_async(self, offsets: CommitTarget | None = None, *, on_done: OnDone | None = None) -> None:
        """The same without waiting; it is sent once and not tried again.

        `on_done(offsets, error)` is called when it is done, in the order of the commits, in the program's task, by its
        next reading, commit or close. `error` is None, or what `commit` would raise; without `on_done` that is logged.
        What `on_done` itself raises comes out of the call.
        """
        given = list(offsets) if isinstance(offsets, Iterator) else offsets
        sent = self._call(lambda now: self._engine.due(given, now))
        operation = self._call(lambda now: self._engine.commit(sent if given is None else given, now, retry=False))

        def report() -> None:
            if on_done is not None:
                on_done(sent, operation.error)
            elif operation.error is not None:
                log.warning("%s: commit_async: %s", self._name, operation.error)

        self._callbacks.add(operation, report)

    def store_offsets(self, offsets: CommitTarget) -> None:
        """Notes what the next commit without arguments is to send, where `enable_auto_offset_store` is off."""
        self._call(lambda now: self._engine.store_offsets(offsets, now))

    @overload
    async def committed(self, partitions: TopicPartition) -> OffsetAndMetadata | None: ...
    @overload
    async def committed(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata | None]: ...
    async def committed(
        self, partitions: TopicPartition | Iterable[TopicPartition]
    ) -> OffsetAndMetadata | dict[TopicPartition, OffsetAndMetadata | None] | None:
        """What the group has committed for a partition, None if nothing; for several a dict of that."""
        found = await self._operate(lambda now: self._engine.committed(partitions, now))
        return found[partitions] if isinstance(partitions, TopicPartition) else found

    # -------------------------------------------------------------------------------------------- questions to brokers

    async def beginning_offsets(
        self, partitions: TopicPartition | Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """The first offset of each of these partitions, which need not be assigned."""
        return await self._operate(lambda now: self._engine.beginning_offsets(partitions, now))

    async def end_offsets(self, partitions: TopicPartition | Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset behind the last record of each (read_committed: behind the last stable one)."""
        return await self._operate(lambda now: self._engine.end_offsets(partitions, now))

    async def offsets_for_times(
        self, times: Mapping[TopicPartition, Time]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """For each partition the first record that is not older than its time (see `seek_to_timestamp`), or None."""
        return await self._operate(lambda now: self._engine.offsets_for_times(times, now))

    async def partitions_for(self, topic: str) -> list[TopicPartition]:
        """A topic's partitions. UnknownTopicError if it does not exist; asking does not create it."""
        return await self._operate(lambda now: self._engine.partitions_for(topic, now))

    async def topics(self) -> list[str]:
        """The names of all topics that may be seen, Kafka's internal ones left out."""
        return await self._operate(lambda now: self._engine.topics(now))
