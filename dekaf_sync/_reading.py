"""How records are read: one after the other, or in batches.

Records are decoded in the program's thread, one by one as it asks, out of the *run* in hand that the engine gave out,
with no code of this module in between. Rules:

- The run in hand belongs to the consumer, not to a generator: after a `break`, a new `for` goes on with it.
- The group's events come between two runs (see `_listening`).
- What the program must be told and what it was given is noted in the I/O thread, so that Ctrl+C loses neither.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from dekaf_proto import consumer as engine, driver
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.consumer.generic import FetchedRecords
from dekaf_proto.consumer.handout import Bound
from dekaf_proto.driver import reading
from dekaf_proto.errors import ClosedError
from dekaf_proto.events import EndOfPartition, Failed
from dekaf_proto.records import Record
from dekaf_sync._client import Client, Hold, script_of
from dekaf_sync._listening import Listening

if TYPE_CHECKING:
    from dekaf_sync._consumer import Consumer

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)


class Reading(Client, Generic[K, V]):
    """The part of a `Consumer` that reads. It is no object of its own: who forgets a consumer leaves no cycle behind,
    and is warned at once."""

    def __init__(self, engine: engine.Consumer[K, V], name: str, close_seconds: float) -> None:
        self._engine: Final = engine
        self._listening: Final = Listening(engine)
        super().__init__(engine, name, close_seconds, self._listening.abandon)
        #: What the program reads, and up to where. Set in the I/O thread.
        self._run: FetchedRecords[K, V] | None = None
        self._bound: Bound | None = None
        #: What the program is still to be told. Added to in the I/O thread.
        self._failures: Final[deque[Exception]] = deque()

    def _iterate(self, bound: Bound | None) -> Iterator[Record[K, V]]:
        with Hold(self):
            self._pump.check()
            while True:
                run = self._run
                if run is None or self._bound is not bound:
                    try:
                        if not self._ask(bound, None):
                            return
                    except ClosedError:
                        if not self._pump.released:  # by a listener
                            raise
                        return
                    continue
                yield from run
                if self._run is run:
                    self._run = None
                if self._pump.released:  # by the loop's body, which then means to end it
                    return

    def _iterate_batches(self, limit: int, max_wait: float) -> Iterator[Batch[K, V]]:
        with Hold(self):
            self._pump.check()
            while not self._pump.released:  # else the loop's body has closed it
                try:
                    yield self._gather(limit, None, max_wait)  # with no step between, where Ctrl+C could come
                except ClosedError:
                    if not self._pump.released:  # by a listener
                        raise

    def _gather(self, limit: int, timeout: float | None, linger: float) -> Batch[K, V]:
        deadline = None if timeout is None else time.monotonic() + timeout
        taking = False
        try:
            with Hold(self):
                while True:
                    run = self._run
                    if run is None or self._bound is not None or linger:
                        left = None if deadline is None else max(0.0, deadline - time.monotonic())
                        self._ask(None, left, linger, limit)
                        run = self._run
                        if run is None and deadline is None:
                            continue
                        if run is None:
                            return Batch()
                    run.finish()  # what was taken before
                    taking = True
                    if batch := Batch(run.take(limit)):
                        return batch
                    self._run = None
        except Exception:
            raise
        except BaseException:  # Ctrl+C
            if taking:  # what was taken has not reached the program
                self._run = None
                self._pump.tell(script_of(self._engine.hand_back))
            raise

    def _ask(self, bound: Bound | None, timeout: float | None, linger: float = 0.0, records: int = 1) -> bool:
        """Gets the next run, which is in `_run` then (None if the time is up). False at the end of `bound`."""

        def script(now: float) -> driver.Steps[bool]:
            self._run = None
            output = yield from reading(self._engine, now, bound, timeout, linger, records)
            if isinstance(output, Failed):
                self._failures.append(output.error.with_traceback(None))
            elif output is not None and not isinstance(output, EndOfPartition):
                self._run, self._bound = output, bound
            return not isinstance(output, EndOfPartition)

        more = True
        if not self._failures:
            consumer = cast("Consumer[K, V]", self)
            more = self._call(self._listening.script(script, consumer, self._failures), interruptible=True) is not False
        if self._failures:
            raise self._failures.popleft()
        return more

    def _stop_run(self) -> None:
        """Has the iteration of the run in hand end with the next record (in the I/O thread, where runs are made)."""
        if self._run is not None:
            self._run.stopped = True
