"""`Consumer`: what a trio program uses.

Every call goes straight to the engine and then has the pump carry out what follows from it; what takes time is awaited.
Two tasks may use a consumer, but only one of them at a time reads from it (see `_reading`).

Everything about Kafka is in the engine.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

import trio

from dekaf_proto import consumer as engine
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer.arguments import CommitTarget, Partitions, SeekTarget, Time
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.consumer.metrics import ConsumerMetrics
from dekaf_proto.errors import ConfigurationError
from dekaf_proto.operation import Operation
from dekaf_proto.records import Record
from dekaf_proto.types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition
from dekaf_trio._network import Network
from dekaf_trio._pump import Pump
from dekaf_trio._reading import Batches, Reader

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar as TypeVarWithDefault, Unpack

    from dekaf_proto.config import ConsumerOptions

    # What a deserializer makes of bytes, and bytes where there is none.
    T = TypeVarWithDefault("T", default=bytes)
    U = TypeVarWithDefault("U", default=bytes)

log = logging.getLogger("dekaf.trio")

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)
R = TypeVar("R")

#: Called with the offsets that were to be committed, and with what went wrong or None.
OnDone = Callable[[Mapping[TopicPartition, OffsetAndMetadata], "Exception | None"], object]
#: One partition, several, or None for all that are assigned.
Some = TopicPartition | Iterable[TopicPartition] | None


class Consumer(Generic[K, V]):
    """Reads records of Kafka's topics; `K` and `V` are the types of their keys and values.

    Options are those of `ConsumerConfig`, given one by one or as `config` (then `options` replace what it says). Making
    one only checks them, and raises ConfigurationError; everything else needs the `async with`.

        async with Consumer(bootstrap_servers="localhost:9092", auto_offset_reset="earliest") as consumer:
            consumer.assign([TopicPartition("orders", 0)])
            async for msg in consumer:
                await handle(msg.value)

    What is awaited takes no timeout: `trio.move_on_after` and `trio.fail_after` do that, and `default_api_timeout_ms`
    bounds all but the wait for records. Leaving the block closes, also when it is cancelled, within `close_timeout_ms`;
    an error leaves it as it is, not in a group. `network` is for programs that make their streams themselves.
    """

    @overload
    def __init__(
        self: Consumer[T | None, U | None],
        *topics: str,
        config: None = None,
        network: Network | None = None,
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
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    def __init__(
        self,
        *topics: str,
        config: ConsumerConfig[Any, Any] | None = None,
        network: Network | None = None,
        **options: Any,
    ) -> None:
        if topics:
            raise ConfigurationError("topics", "not yet supported, use assign")
        if config is None:
            config = ConsumerConfig(**options)
        elif options:
            config = config.replace(**options)
        self.config: Final[ConsumerConfig[K, V]] = config
        servers = ",".join(map(str, config.bootstrap_servers))
        self._name: Final = f"Consumer({servers!r}, group_id={config.group_id!r})"
        self._engine: Final[engine.Consumer[K, V]] = engine.Consumer(config, seed=int.from_bytes(os.urandom(8), "big"))
        self._pump: Final = Pump(self._engine, network or Network(), self._name)
        self._call: Final = self._pump.call
        self._operate: Final = self._pump.operate
        self._reader: Final = Reader(self._engine, self._pump, self._report)
        #: The commits whose callbacks are still to be called, in order.
        self._reports: Final[deque[tuple[Operation[None], Callable[[], object]]]] = deque()
        self._reporting = False

    def __repr__(self) -> str:
        return f"<{self._name}>"

    # ------------------------------------------------------------------------------------------------ beginning, end

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Self:
        if not self._pump.entered:
            now = trio.current_time()
            self._engine.set_unix_offset(time.time() - now, now)
            self._engine.incremental_assign([], now)  # it begins to look for the brokers
        await self._pump.enter()
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.closed = True
        try:
            await self._pump.leave(self.config.close_timeout_ms / 1000)
            self._report_all()
        except Exception:
            if error is None:
                raise
            log.exception("%s, closed because of an error, met another one", self._name)

    async def close(self) -> None:
        """Commits what is finished (if `enable_auto_commit`), says goodbye and closes everything, in bounded time.

        The record or batch in hand is not finished: it will be given again. What can't be done within
        `close_timeout_ms` is left and logged. The callbacks of `commit_async` that are left are called; the first error
        of theirs is raised at the end. Closing again does nothing. If this is cancelled, it goes on closing, and the
        end of the `async with` waits for it.
        """
        if self._pump.entered:
            self._reader.closed = True
            await self._pump.close(self.config.close_timeout_ms / 1000)
            self._report_all()

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
        return await self._reader.batch(_count(max_records, self.config.max_poll_records), 0.0)

    def batches(self, max_records: int | None = None, max_wait: float = 0.0) -> AsyncIterator[Batch[K, V]]:
        """Batches as from `poll`, without an end and never an empty one.

        With `max_wait` it waits for more, that many seconds after the first record, until the batch is full.
        """
        if not max_wait >= 0:
            raise ValueError(f"a time in seconds can't be {max_wait!r}")
        return Batches(self._reader, _count(max_records, self.config.max_poll_records), max_wait)

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
        Raises CommitError, NoGroupError, KafkaTimeoutError, and what the broker says.
        """
        try:
            await self._operate(lambda now: self._engine.commit(offsets, now))
        finally:
            self._report()  # what was committed before it has ended by now (P9)

    def commit_async(self, offsets: CommitTarget | None = None, *, on_done: OnDone | None = None) -> None:
        """The same without waiting; it is sent once and not tried again.

        `on_done(offsets, error)` is called when it is done, in the order of the commits, in the program's task, by its
        next reading, commit or close. `error` is None, or what `commit` would raise; without `on_done` that is logged.
        What `on_done` itself raises comes out of the call.
        """
        sent = self._call(lambda now: self._engine.due(offsets, now))
        operation = self._call(lambda now: self._engine.commit(sent, now, retry=False))

        def report() -> None:
            if on_done is not None:
                on_done(sent, operation.error)
            elif operation.error is not None:
                log.warning("%s: commit_async: %s", self._name, operation.error)

        self._reports.append((operation, report))

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

    # -------------------------------------------------------------------------------------------------------- within

    def _report(self) -> None:
        """Calls the callbacks that are due, unless that is where the program calls from."""
        if self._reporting:
            return
        self._reporting = True
        try:
            while self._reports and self._reports[0][0].done:
                self._reports.popleft()[1]()
        finally:
            self._reporting = False

    def _report_all(self) -> None:
        """The same, whatever they raise; raises the first of it at the end."""
        first: Exception | None = None
        while self._reports and not self._reporting:
            try:
                self._report()
            except Exception as error:
                if first is not None:
                    log.exception("%s: a callback of commit_async has failed", self._name)
                first = first or error
        if first is not None:
            raise first


def _count(max_records: int | None, default: int) -> int:
    if max_records is None:
        return default
    if max_records < 1:
        raise ValueError(f"max_records can't be {max_records!r}")
    return max_records
