"""One scenario, every driver: consumers with the blocking calls of dekaf_sync, whatever they are made of.

    with open_consumer(driver, kafka.bootstrap, group_id="g") as consumer:
        consumer.assign([TopicPartition("orders", 0)])
        records = consumer.read(10)

For dekaf_trio a thread runs `trio.run`, in which one task owns the consumer; calls are handed over to it. Every wait
has a deadline, whose end is a TimeoutError.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any, Literal, TypeVar

import trio

import dekaf_sync
import dekaf_trio
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer.arguments import CommitTarget, Partitions, SeekTarget, Time
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.consumer.metrics import ConsumerMetrics
from dekaf_proto.consumer.subscription import Topics
from dekaf_proto.errors import WakeupError
from dekaf_proto.events import Connect
from dekaf_proto.group.classic import GroupMetadata
from dekaf_proto.records import Record
from dekaf_proto.types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition

Driver = Literal["sync", "trio", "selectors", "asyncio"]
DRIVERS: tuple[Driver, ...] = ("sync", "trio")
#: The loops of docs/examples, which can do less (see `embedded`).
EMBEDDED: tuple[Driver, ...] = ("selectors", "asyncio")
PATIENCE = 30.0

T = TypeVar("T")
AnyRecord = Record[Any, Any]
Some = TopicPartition | Iterable[TopicPartition] | None
Committed = Mapping[TopicPartition, OffsetAndMetadata]
OnDone = Callable[[Committed, Exception | None], object]
Method = Callable[["Consumer", list[TopicPartition]], object]


class Consumer(ABC):
    """The calls of `dekaf_sync.Consumer`, and `read`, `read_to_end` and `cut`."""

    #: How long a loop may take, in seconds.
    patience = PATIENCE

    # What a driver does in a way of its own.

    @abstractmethod
    def _call(self, name: str, *arguments: object, **options: object) -> Any:
        """Calls a method, and waits for what it gives."""

    @abstractmethod
    def _look(self, name: str) -> Any:
        """A property's value."""

    @abstractmethod
    def _listens(self, method: Method) -> Callable[..., Any]:
        """A listener's method as the driver calls it."""

    @abstractmethod
    def __iter__(self) -> Iterator[AnyRecord]: ...

    @abstractmethod
    def records(self, *, until_end: bool = False) -> Iterator[AnyRecord]: ...

    @abstractmethod
    def batches(self, max_records: int | None = None, max_wait: float = 0.0) -> Iterator[Batch[Any, Any]]: ...

    @abstractmethod
    def poll(self, timeout: float = PATIENCE, max_records: int | None = None) -> Batch[Any, Any]: ...

    @abstractmethod
    def read(self, count: int, timeout: float = PATIENCE) -> list[AnyRecord]:
        """The next records, by a `for` that ends with a `break`: the last one is in hand then, and not finished."""

    @abstractmethod
    def cut(self) -> int:
        """Breaks all its connections, as the network between would; how many those were."""

    # What is the same.

    def read_to_end(self) -> list[AnyRecord]:
        """All that is left, by `records(until_end=True)`."""
        return list(self.records(until_end=True))

    def attend(self, seconds: float) -> None:
        """Reads for some time, whatever comes: the group's events, most of all."""
        self.poll(seconds)

    def assign(self, partitions: Partitions) -> None:
        self._call("assign", partitions)

    def subscribe(self, topics: Topics, listener: object | None = None) -> None:
        """`listener` has plain methods, which are given this object, and may call it."""
        names = [name for name in ("on_assigned", "on_revoked", "on_lost") if hasattr(listener, name)]
        methods = {name: self._listens(getattr(listener, name)) for name in names}
        self._call("subscribe", topics, SimpleNamespace(**methods) if methods else None)

    def unsubscribe(self) -> None:
        self._call("unsubscribe")

    @property
    def subscription(self) -> list[str]:
        return list(self._look("subscription"))

    def group_metadata(self) -> GroupMetadata:
        metadata = self._call("group_metadata")
        assert isinstance(metadata, GroupMetadata)
        return metadata

    def acknowledge(self, records: AnyRecord | Iterable[AnyRecord]) -> None:
        self._call("acknowledge", records)

    def incremental_assign(self, partitions: Partitions) -> None:
        self._call("incremental_assign", partitions)

    def incremental_unassign(self, partitions: TopicPartition | Iterable[TopicPartition]) -> None:
        self._call("incremental_unassign", partitions)

    @property
    def assignment(self) -> list[TopicPartition]:
        return list(self._look("assignment"))

    def pause(self, partitions: Some = None) -> None:
        self._call("pause", partitions)

    def resume(self, partitions: Some = None) -> None:
        self._call("resume", partitions)

    @property
    def paused(self) -> list[TopicPartition]:
        return list(self._look("paused"))

    def position(self, tp: TopicPartition) -> int | None:
        position: int | None = self._call("position", tp)
        return position

    def lag(self, tp: TopicPartition) -> int | None:
        lag: int | None = self._call("lag", tp)
        return lag

    def highwater(self, tp: TopicPartition) -> int | None:
        highwater: int | None = self._call("highwater", tp)
        return highwater

    def seek(self, tp: TopicPartition, offset: SeekTarget) -> None:
        self._call("seek", tp, offset)

    def seek_to_beginning(self, partitions: Some = None) -> None:
        self._call("seek_to_beginning", partitions)

    def seek_to_end(self, partitions: Some = None) -> None:
        self._call("seek_to_end", partitions)

    def seek_to_committed(self, partitions: Some = None) -> None:
        self._call("seek_to_committed", partitions)

    def seek_to_timestamp(self, when: Time | Mapping[TopicPartition, Time]) -> None:
        self._call("seek_to_timestamp", when)

    def commit(self, offsets: CommitTarget | None = None) -> None:
        self._call("commit", offsets)

    def commit_async(self, offsets: CommitTarget | None = None, *, on_done: OnDone | None = None) -> None:
        self._call("commit_async", offsets, on_done=on_done)

    def store_offsets(self, offsets: CommitTarget) -> None:
        self._call("store_offsets", offsets)

    def committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata | None]:
        return dict(self._call("committed", partitions))

    def committed_of(self, tp: TopicPartition) -> OffsetAndMetadata | None:
        """`committed` of one partition."""
        found: OffsetAndMetadata | None = self._call("committed", tp)
        return found

    def beginning_offsets(self, partitions: TopicPartition | Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict(self._call("beginning_offsets", partitions))

    def end_offsets(self, partitions: TopicPartition | Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict(self._call("end_offsets", partitions))

    def offsets_for_times(
        self, times: Mapping[TopicPartition, Time]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        return dict(self._call("offsets_for_times", times))

    def partitions_for(self, topic: str) -> list[TopicPartition]:
        return list(self._call("partitions_for", topic))

    def topics(self) -> list[str]:
        return list(self._call("topics"))

    def metrics(self) -> ConsumerMetrics:
        metrics = self._call("metrics")
        assert isinstance(metrics, ConsumerMetrics)
        return metrics

    def close(self) -> None:
        self._call("close")


@contextmanager
def open_consumer(driver: Driver, bootstrap: str, **options: Any) -> Iterator[Consumer]:
    """A consumer in its block. Unless `options` differ, it begins at the earliest offset and has PATIENCE."""
    # A partition that is added waits for the answer to the fetch on its way: that is not to take half a second.
    ours = {"auto_offset_reset": "earliest", "default_api_timeout_ms": int(PATIENCE * 1000), "fetch_max_wait_ms": 100}
    options = {**ours, **options}
    config = ConsumerConfig[Any, Any](bootstrap_servers=bootstrap, **options)
    if driver in EMBEDDED:
        from tests.integration.embedded import opened

        with opened(driver, config) as consumer:
            yield consumer
        return
    with _opened_sync(config) if driver == "sync" else _opened_trio(config) as consumer:
        yield consumer


# -------------------------------------------------------------------------------------------------------------- threads


@contextmanager
def _opened_sync(config: ConsumerConfig[Any, Any]) -> Iterator[Consumer]:
    with dekaf_sync.Consumer(config=config) as consumer:
        yield _Sync(consumer)


class _Sync(Consumer):
    def __init__(self, consumer: dekaf_sync.Consumer[Any, Any]) -> None:
        self._consumer = consumer

    def _call(self, name: str, *arguments: object, **options: object) -> Any:
        return getattr(self._consumer, name)(*arguments, **options)

    def _look(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def _listens(self, method: Method) -> Callable[..., Any]:
        return lambda _, partitions: method(self, partitions)

    def __iter__(self) -> Iterator[AnyRecord]:
        return self._bounded(iter(self._consumer))

    def records(self, *, until_end: bool = False) -> Iterator[AnyRecord]:
        return self._bounded(self._consumer.records(until_end=until_end))

    def batches(self, max_records: int | None = None, max_wait: float = 0.0) -> Iterator[Batch[Any, Any]]:
        return self._bounded(self._consumer.batches(max_records, max_wait))

    def poll(self, timeout: float = PATIENCE, max_records: int | None = None) -> Batch[Any, Any]:
        return self._consumer.poll(timeout, max_records)

    def read(self, count: int, timeout: float = PATIENCE) -> list[AnyRecord]:
        got: list[AnyRecord] = []
        with self._deadline(timeout, lambda: f"{len(got)} of {count} records came"):
            for record in self._consumer if count else ():
                got.append(record)
                if len(got) == count:
                    break
        return got

    def cut(self) -> int:
        pump = self._consumer._pump
        with pump.lock:
            assert pump._sockets is not None
            links = list(pump._sockets._links.values())
            for link in links:
                with suppress(OSError):  # it was not yet connected
                    link.sock.shutdown(socket.SHUT_RDWR)
        return len(links)

    def _bounded(self, iterator: Iterator[T]) -> Iterator[T]:
        with self._deadline(self.patience, lambda: "a loop did not end"):
            yield from iterator

    @contextmanager
    def _deadline(self, seconds: float, what: Callable[[], str]) -> Iterator[None]:
        over = threading.Event()

        def wake() -> None:
            over.set()
            self._consumer.wakeup()

        timer = threading.Timer(seconds, wake)
        timer.start()
        try:
            yield
        except WakeupError:
            if not over.is_set():
                raise
            raise TimeoutError(f"{what()} in {seconds:g} s") from None
        finally:
            timer.cancel()
            timer.join()


# ----------------------------------------------------------------------------------------------------------------- trio


class _CuttableNetwork(dekaf_trio.Network):
    """Remembers its sockets."""

    def __init__(self) -> None:
        self._sockets: list[trio.socket.SocketType] = []

    async def connect(self, order: Connect) -> trio.abc.Stream:
        stream = await super().connect(order)
        assert isinstance(stream, trio.SocketStream)
        self._sockets.append(stream.socket)
        return stream

    def cut(self) -> int:
        numbers = [each.fileno() for each in self._sockets if each.fileno() >= 0]
        self._sockets.clear()
        for number in numbers:
            # Behind trio's back, which would take a shutdown by its own socket for the program's will.
            with socket.socket(fileno=os.dup(number)) as same, suppress(OSError):  # the other end was faster
                same.shutdown(socket.SHUT_RDWR)
        return len(numbers)


_TrioConsumer = dekaf_trio.Consumer[Any, Any]
_Job = Callable[[_TrioConsumer], Awaitable[Any]]
_Answer = queue.SimpleQueue[tuple[Any, BaseException | None]]


@contextmanager
def _opened_trio(config: ConsumerConfig[Any, Any]) -> Iterator[Consumer]:
    consumer = _Trio(config)
    try:
        yield consumer
    finally:
        consumer.end()


class _Trio(Consumer):
    def __init__(self, config: ConsumerConfig[Any, Any]) -> None:
        self._config = config
        self._network = _CuttableNetwork()
        self._ended: _Answer = queue.SimpleQueue()
        #: Of a thread in which a listener runs: the consumer.
        self._listening = threading.local()
        started: _Answer = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(started,), name="trio")
        self._thread.start()
        (self._jobs, self._token), error = started.get(timeout=PATIENCE)
        if error is not None:
            raise error

    def end(self) -> None:
        """Leaves the `async with`; raises what that raises."""
        with suppress(trio.RunFinishedError):
            trio.from_thread.run_sync(self._jobs.close, trio_token=self._token)
        _, error = self._ended.get(timeout=2 * PATIENCE)
        self._thread.join(PATIENCE)
        if error is not None:
            raise error

    # In trio's thread.

    def _run(self, started: _Answer) -> None:
        try:
            trio.run(self._serve, started)
        except BaseException as error:
            started.put(((None, None), error))
            self._ended.put((None, error))
        else:
            self._ended.put((None, None))

    async def _serve(self, started: _Answer) -> None:
        jobs, to_do = trio.open_memory_channel[tuple[_Job, _Answer]](10)
        async with dekaf_trio.Consumer(config=self._config, network=self._network) as consumer:
            started.put(((jobs, trio.lowlevel.current_trio_token()), None))
            async for job, answer in to_do:
                try:
                    answer.put((await job(consumer), None))
                except Exception as error:
                    answer.put((None, error))

    # In the thread of the test.

    def _do(self, job: _Job, what: Callable[[], str], timeout: float = PATIENCE) -> Any:
        async def bounded(consumer: _TrioConsumer) -> Any:
            with trio.move_on_after(timeout):
                return await job(consumer)
            raise TimeoutError(f"{what()} in {timeout:g} s")

        listening: _TrioConsumer | None = getattr(self._listening, "consumer", None)
        if listening is not None:  # the task that does the jobs waits for this thread
            return trio.from_thread.run(bounded, listening)
        answer: _Answer = queue.SimpleQueue()
        trio.from_thread.run_sync(self._jobs.send_nowait, (bounded, answer), trio_token=self._token)
        value, error = answer.get(timeout=timeout + PATIENCE)
        if error is not None:
            raise error
        return value

    def _call(self, name: str, *arguments: object, **options: object) -> Any:
        async def job(consumer: _TrioConsumer) -> Any:
            result = getattr(consumer, name)(*arguments, **options)
            return await result if isinstance(result, Awaitable) else result

        return self._do(job, lambda: f"{name} did not end", 2 * PATIENCE)  # it has a deadline of its own

    def _look(self, name: str) -> Any:
        async def job(consumer: _TrioConsumer) -> Any:
            return getattr(consumer, name)

        return self._do(job, lambda: name)

    def _listens(self, method: Method) -> Callable[..., Any]:
        def listen(consumer: _TrioConsumer, partitions: list[TopicPartition]) -> None:
            self._listening.consumer = consumer
            try:
                method(self, partitions)
            finally:
                del self._listening.consumer

        async def call(consumer: _TrioConsumer, partitions: list[TopicPartition]) -> None:
            await trio.to_thread.run_sync(listen, consumer, partitions)

        return call

    def __iter__(self) -> Iterator[AnyRecord]:
        return self._iterate(lambda consumer: aiter(consumer))

    def records(self, *, until_end: bool = False) -> Iterator[AnyRecord]:
        return self._iterate(lambda consumer: consumer.records(until_end=until_end))

    def batches(self, max_records: int | None = None, max_wait: float = 0.0) -> Iterator[Batch[Any, Any]]:
        return self._iterate(lambda consumer: consumer.batches(max_records, max_wait))

    def _iterate(self, begin: Callable[[_TrioConsumer], Any]) -> Iterator[Any]:
        held: list[Any] = []

        async def first(consumer: _TrioConsumer) -> None:
            held.append(begin(consumer))

        async def step(_: _TrioConsumer) -> Any:
            return await anext(held[0], None)

        async def drop(_: _TrioConsumer) -> None:
            held.clear()

        self._do(first, lambda: "a loop did not begin")

        def steps() -> Generator[Any, None, None]:
            try:
                while (item := self._do(step, lambda: "a step of a loop did not end", self.patience)) is not None:
                    yield item
            finally:
                self._do(drop, lambda: "a loop did not end")

        return steps()

    def poll(self, timeout: float = PATIENCE, max_records: int | None = None) -> Batch[Any, Any]:
        async def job(consumer: _TrioConsumer) -> Batch[Any, Any]:
            with trio.move_on_after(timeout):
                return await consumer.poll(max_records)
            return Batch()

        batch = self._do(job, lambda: "poll did not end", timeout + PATIENCE)
        assert isinstance(batch, Batch)
        return batch

    def read(self, count: int, timeout: float = PATIENCE) -> list[AnyRecord]:
        got: list[AnyRecord] = []

        async def job(consumer: _TrioConsumer) -> None:
            async for record in consumer:
                got.append(record)
                if len(got) == count:
                    break

        if count:
            self._do(job, lambda: f"{len(got)} of {count} records came", timeout)
        return got

    def cut(self) -> int:
        return trio.from_thread.run_sync(self._network.cut, trio_token=self._token)
