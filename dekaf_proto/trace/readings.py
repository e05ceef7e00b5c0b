"""What a program reads between two inputs of the engine: the calls of its runs, counted.

The engine sees only how far the program is, so `next` 17 times is all there is to say. A program that reads in another
thread does so at any moment; with the lock that is never while the engine works. A deserializer runs without the lock:
what the engine is told meanwhile comes in the middle of the program's call, and that is how it is written down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from dekaf_proto.consumer.chunk import FetchedRecords

if TYPE_CHECKING:
    from types import TracebackType


class Lock(Protocol):
    """A `threading.Lock`, or one that does nothing."""

    def acquire(self) -> object: ...
    def release(self) -> object: ...
    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> object: ...


class NoLock:
    """For programs that read where the engine runs."""

    def acquire(self) -> None:
        """Nobody else is there."""

    def release(self) -> None:
        """Nobody else is there."""

    def __enter__(self) -> None:
        """Nobody else is there."""

    def __exit__(self, *exc_info: object) -> None:
        """Nobody else is there."""


@dataclass(slots=True, eq=False)
class _Reading:
    """What a program does with a run: some `next`s in a row, or one other call."""

    run: TracedRecords
    kind: str
    count: int
    #: How many records had been handed out before.
    before: int
    #: How many had been after it, if there was another one since.
    after: int | None = None
    raised: str = ""
    #: A deserializer has failed.
    failed: bool = False
    #: The program is in it; and in a deserializer.
    active: bool = False
    inside: bool = False
    #: It was written down while it was going on; and so was the deserializer that it is in.
    opened: bool = False
    noted: bool = False

    @property
    def is_open(self) -> bool:
        """Whether another `next` is one more of these."""
        return not (self.raised or self.failed or self.opened or self.active)

    def line(self) -> dict[str, Any]:
        line: dict[str, Any] = {"run": self.run.number}
        line["goes on" if self.opened else self.kind] = self.count
        after = self.run.handed_out if self.after is None else self.after
        if got := after - self.before:
            line["got"] = got
        if self.active:
            line["inside"] = self.opened = self.noted = True
        elif self.failed:  # by whatever the deserializer has raised
            line["failed"] = True
        elif self.raised:
            line["raised"] = self.raised
        return line


class Readings:
    """The readings since the last line. `lock` excludes the engine's work."""

    def __init__(self, lock: Lock) -> None:
        self.lock: Final = lock
        #: Whether there is nobody to exclude.
        self.alone: Final = isinstance(lock, NoLock)
        self.closed = False
        #: The `next`s in a row of which another one may be the next.
        self.in_a_row: _Reading | None = None
        self._readings: list[_Reading] = []
        self._active: _Reading | None = None

    def __bool__(self) -> bool:
        return bool(self._readings)

    def lines(self) -> list[dict[str, Any]]:
        """What has been read since the last time, as lines."""
        readings = self._readings
        self.in_a_row = None
        self._readings = [reading for reading in readings if reading.active]
        return [reading.line() for reading in readings if not (reading.active and reading.noted)]

    def close(self) -> None:
        """Nobody wants to know any more."""
        self.closed = True
        self._readings.clear()

    def note(self, run: TracedRecords, kind: str, count: int = 1) -> _Reading:
        """The program is about to read (with the lock held)."""
        last = self._readings[-1] if self._readings else None
        if last is not None and last.run is run and last.kind == kind and kind != "take" and last.is_open:
            last.count += count
            return last
        if last is not None:
            last.after = last.run.handed_out
        last = _Reading(run, kind, count, run.handed_out)
        self.in_a_row = None
        if not self.closed:
            self._readings.append(last)
        return last

    def read(self, reading: _Reading, function: Callable[[], Any]) -> Any:
        """Does it."""
        reading.active = True
        self._active = reading
        try:
            result = function()
        except StopIteration:
            raise
        except BaseException as error:
            reading.raised = type(error).__name__
            raise
        finally:
            reading.active = False
        if reading.kind == "next" and reading.is_open:
            self.in_a_row = reading
        return result

    def without_lock(self, function: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        """A deserializer that lets the engine work meanwhile."""

        def call(data: bytes) -> Any:
            reading = self._active
            if reading is None or not reading.active:  # the recording has ended
                return function(data)
            reading.inside = True
            self.lock.release()
            try:
                return function(data)
            except BaseException:
                reading.failed = True
                raise
            finally:
                self.lock.acquire()
                reading.inside = reading.noted = False

        return call


class TracedRecords:
    """Stands in for a run, and is one to `isinstance`."""

    __slots__ = ("_readings", "_run", "number")

    def __init__(self, readings: Readings, run: FetchedRecords, number: int) -> None:
        self._readings: Final = readings
        self._run: Final = run
        self.number: Final = number

    @property  # type: ignore[misc]  # to mypy it may be set
    def __class__(self) -> Any:
        return FetchedRecords

    @property
    def chunks(self) -> Any:
        """What it consists of."""
        return self._run.chunks

    @property
    def handed_out(self) -> int:
        """How many records of its chunks were."""
        return sum(chunk.handed_out for chunk in self._run.chunks)

    @property
    def stopped(self) -> bool:
        """Whether the iteration ends with the record in hand."""
        return self._run.stopped

    @stopped.setter
    def stopped(self, stopped: bool) -> None:
        with self._readings.lock:
            self._readings.note(self, "stop")
            self._run.stopped = stopped

    def __iter__(self) -> TracedRecords:
        return self

    def __next__(self) -> Any:
        readings = self._readings
        if readings.alone:
            return self._next(readings)
        with readings.lock:
            return self._next(readings)

    def _next(self, readings: Readings) -> Any:
        reading = readings.in_a_row
        if reading is None or reading.run is not self:
            return readings.read(readings.note(self, "next"), self._run.__next__)
        reading.count += 1  # this is called for nearly every record
        try:
            reading.active = True
            return self._run.__next__()
        except BaseException as error:
            readings.in_a_row = None
            if not isinstance(error, StopIteration):
                reading.raised = type(error).__name__
            raise
        finally:
            reading.active = False

    def take(self, limit: int) -> Any:
        """The next records, at most `limit`."""
        readings = self._readings
        with readings.lock:
            return readings.read(readings.note(self, "take", limit), lambda: self._run.take(limit))

    def finish(self) -> None:
        """Everything that this run has handed out is finished."""
        with self._readings.lock:
            self._readings.note(self, "finish")
            self._run.finish()
