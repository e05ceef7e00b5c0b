"""How records are read: one after the other, or in batches.

Records are decoded in the program's task, one by one as it asks, out of the *run* in hand that the engine gave out.

Rules:
- The run in hand belongs to the consumer, not to a generator: after a `break`, a new `async for` goes on with it.
- A checkpoint comes before records are taken, never between taking them and handing them out: a cancel loses none. What
  the program had in hand is finished before that checkpoint, since it has asked for more.
- `async for` has a checkpoint at its start, in every wait for records, and about each millisecond in between: it takes
  records in slices that last about that long, and looks at the clock after each. No other Python runs for each record.
- Only one task at a time reads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final, Generic, TypeVar, cast

import trio

from dekaf_proto.consumer import Consumer
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.consumer.generic import FetchedRecords
from dekaf_proto.consumer.handout import Bound
from dekaf_proto.driver import reading
from dekaf_proto.errors import ClosedError, ConcurrentUseError, LocalProtocolError
from dekaf_proto.events import EndOfPartition, Failed
from dekaf_proto.operation import Operation
from dekaf_proto.records import Record
from dekaf_trio._listening import Listening
from dekaf_trio._pump import Pump

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)
T = TypeVar("T")

#: How long `async for` may go on without a checkpoint, in seconds of the real clock, and the records of a slice.
BUSY: Final = 0.001
LARGEST_SLICE: Final = 256


class Reader(Generic[K, V]):
    """The reading of one consumer. `report` is called when the program comes by."""

    def __init__(self, engine: Consumer[K, V], pump: Pump, listening: Listening, report: Callable[[], object]) -> None:
        #: Whether the program has begun to close the consumer, and in which task: iterations end.
        self.closed = False
        self.closer: trio.lowlevel.Task | None = None
        self._engine: Final = engine
        self._pump: Final = pump
        self._listening: Final = listening
        self._report: Final = report
        #: What the program reads, and up to where.
        self._run: FetchedRecords[K, V] | None = None
        self._bound: Bound | None = None
        #: The readings under way, the first one first, and their tasks.
        self._readings: Final[dict[object, trio.lowlevel.Task]] = {}

    def records(self, ends: Operation[Bound] | None) -> AsyncIterator[Record[K, V]]:
        """Record after record, up to `ends` if there are any."""
        return _without_hooks(self._iterate(ends))

    @trio.lowlevel.enable_ki_protection
    async def _iterate(self, ends: Operation[Bound] | None) -> AsyncGenerator[Record[K, V], None]:
        yield cast("Record[K, V]", None)  # not for the program: see _without_hooks
        with self._reading():
            await self._pause()
            bound: Bound | None = None
            if ends is not None:
                bound = await self._pump.result(ends)
            clock = time.perf_counter
            last_checkpoint = clock()
            size = 1
            while not self.closed:  # else the loop's body has closed it
                run = self._run
                if run is None or self._bound is not bound:
                    try:
                        if not await self._ask(bound):
                            return
                    except ClosedError:
                        if self.closed_here:  # by a listener
                            return
                        raise
                    continue
                record = None
                started = clock()
                for record in islice(run, size):
                    yield record
                if record is None and self._run is run:
                    self._run = None
                now = clock()
                if now - started > BUSY:
                    size = max(1, size // 2)
                elif now - started < BUSY / 2:
                    size = min(LARGEST_SLICE, size * 2)
                if now - last_checkpoint > BUSY:
                    await self._pause()
                    last_checkpoint = clock()

    @trio.lowlevel.enable_ki_protection
    async def batch(self, limit: int, linger: float) -> Batch[K, V]:
        """At least one record and at most `limit`, waiting `linger` seconds longer for these."""
        with self._reading():
            await self._pause()
            while True:
                if self._run is None or linger:
                    await self._ask(None, linger, limit)
                run = self._run
                if run is not None and (batch := Batch(run.take(limit))):
                    return batch
                self._run = None

    async def _ask(self, bound: Bound | None, linger: float = 0.0, records: int = 1) -> bool:
        """Gets the next run, which is in `_run` then. False at the end of `bound`."""
        self._run = None
        engine, busy = self._engine, self._listening.busy
        output = await self._listening.run(
            lambda now: reading(engine, now, bound, None, linger, records, busy), waited=self._report
        )
        if isinstance(output, Failed):
            raise output.error.with_traceback(None)
        if isinstance(output, EndOfPartition):
            return False
        self._run, self._bound = output, bound
        return True

    async def _pause(self) -> None:
        """A checkpoint. The program has asked for more by now: what it has in hand is done."""
        if self._run is not None:
            self._run.finish()
        await trio.lowlevel.checkpoint()
        self._report()

    @property
    def closed_here(self) -> bool:
        """Whether this task has closed the consumer. Others that read are told by an error."""
        return self.closer is trio.lowlevel.current_task()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Keeps other tasks from reading, and listeners."""
        if self._listening.is_caller:
            raise LocalProtocolError("a listener can't read records: the group waits for its end")
        key, task = object(), trio.lowlevel.current_task()
        holder = next(iter(self._readings.values()), task)
        if holder is not task:
            raise ConcurrentUseError(f"the consumer is being read by another task, {holder.name}")
        self._readings[key] = task
        try:
            yield
        finally:
            del self._readings[key]


class Batches(AsyncIterator[Batch[K, V]]):
    """What `batches` gives: no generator, so there is nothing to clean up after a `break`."""

    def __init__(self, reader: Reader[K, V], limit: int, max_wait: float) -> None:
        self._reader = reader
        self._limit = limit
        self._max_wait = max_wait

    async def __anext__(self) -> Batch[K, V]:
        if self._reader.closed:  # by the loop's body
            raise StopAsyncIteration
        try:
            return await self._reader.batch(self._limit, self._max_wait)
        except ClosedError:
            if self._reader.closed_here:  # by a listener
                raise StopAsyncIteration from None
            raise


def _without_hooks(generator: AsyncGenerator[T, None]) -> AsyncIterator[T]:
    """Takes a generator over its first `yield` while trio's hooks are out, which would warn about each one that a
    `break` leaves behind. Ours have nothing to await at their end: without hooks, Python just closes them."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        generator.__anext__().__await__().__next__()
    except StopIteration:
        pass
    finally:
        sys.set_asyncgen_hooks(*hooks)
    return generator
