"""`Client`: what is the same for every class of this driver that programs use.

Every call becomes a script for the I/O thread (see `_pump`), except for those that only read, which look at the
engine's tables under the pump's lock. Rules:

- A call, or an iteration that has begun, holds the client for its thread; a second thread is refused, not queued.
- What the program gives is read in its own thread: an iterable may be a generator, and do anything.
- Callbacks are called in the program's thread, when it calls.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, TypeVar

from dekaf_proto.consumer.batch import Batch
from dekaf_proto.driver import Callbacks, Engine, raise_first
from dekaf_proto.errors import ConcurrentUseError
from dekaf_proto.operation import Operation
from dekaf_sync._pump import EXIT_SECONDS, Pump, Script, Steps

log = logging.getLogger("dekaf.sync")

R = TypeVar("R")

#: Timeouts beyond it are meant as "for ever": no clock or lock takes any number.
_FOREVER: Final = 1e9


class Client:
    """The base. `name` is for people; closing may take `close_seconds` unless the program says how long."""

    def __init__(
        self, engine: Engine, name: str, close_seconds: float, closing: Callable[[float], Script[None]]
    ) -> None:
        self._name: Final = name
        self._close_seconds: Final = close_seconds
        #: Added to in the I/O thread.
        self._callbacks: Final = Callbacks(name, log)
        #: The calls and iterations under way, the first one first: the id of each `Hold`, and its thread.
        self._holds: Final[dict[int, int]] = {}
        self._pump: Final = Pump(engine, name, closing)

    def __repr__(self) -> str:
        return f"<{self._name}>"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._close(None)
        except Exception:
            if error is None:
                raise
            log.exception("%s, closed because of an error, met another one", self._name)

    def __del__(self) -> None:
        if hasattr(self, "_pump") and self._pump.abandon(min(EXIT_SECONDS, self._close_seconds)):
            self._pump.warn_unclosed()

    def _close(self, timeout: float | None) -> None:
        seconds = seconds_of(timeout)
        if self._pump.forked:
            return
        seconds = self._close_seconds if seconds is None else seconds
        errors: list[BaseException] = []
        with Hold(self):
            try:
                self._pump.close(seconds, self._closing(seconds, errors))
            finally:
                raised = self._callbacks.call_all()
        errors += [raised] if raised is not None else []
        raise_first(errors, self._name, log)

    def _closing(self, seconds: float, errors: list[BaseException]) -> Script[None] | None:
        """A script for closing that visits the program, if it has to; what goes wrong there is for `errors`."""
        return None

    # --------------------------------------------------------------------------------------------------------- calls

    def _call(self, script: Script[R], *, interruptible: bool) -> R:
        with Hold(self):
            self._check()
            self._callbacks.call()
            return self._pump.call(script, interruptible=interruptible)

    def _check(self) -> None:
        """Raises if there is no use in calling."""
        self._pump.check()

    def _operate(self, start: Callable[[float], Operation[R]]) -> R:
        """Starts an operation in the I/O thread and waits for its result."""

        def script(now: float) -> Steps[R]:
            operation = start(now)
            yield operation
            return operation.result()

        return self._call(script, interruptible=True)

    def _instantly(self, action: Callable[[float], None]) -> None:
        """Calls the engine in the I/O thread."""
        self._call(script_of(action), interruptible=False)

    def _read(self, look: Callable[[], R]) -> R:
        """Looks at the engine's tables from the program's thread, between two turns of the I/O thread."""
        with Hold(self):
            self._check()
            with self._pump.lock:
                return look()


class Hold:
    """A call or an iteration, which keeps other threads out. It ends with its block, or by being dropped: Ctrl+C may
    come between any two steps."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def __enter__(self) -> None:
        holds, me = self._client._holds, threading.get_ident()
        if self._client._pump.forked:
            self._client._pump.check()
        if _first(holds) in (None, me):
            holds[id(self)] = me
            if _first(holds) == me:
                return
            del holds[id(self)]  # another thread came at the same moment, and was first
        raise ConcurrentUseError(
            f"{self._client!r} is in use by another thread; acknowledge(), wakeup() and metrics() may be called by any"
        )

    def __exit__(self, *exc_info: object) -> None:
        self._client._holds.pop(id(self), None)

    def __del__(self) -> None:
        if hasattr(self, "_client"):
            self._client._holds.pop(id(self), None)


def _first(holds: dict[int, int]) -> int | None:
    threads = list(holds.values())
    return threads[0] if threads else None


def script_of(action: Callable[[float], None]) -> Script[None]:
    """A script that has nothing to wait for."""

    def script(now: float) -> Steps[None]:
        action(now)
        yield Operation.completed("call", None)

    return script


def settled(given: Any) -> Any:
    """What the program has given, with nothing left in it that would run its code later."""
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes, tuple, Batch)):
        return list(given)
    return given


def seconds_of(timeout: float | None) -> float | None:
    """A time to wait. ValueError for one that can't be, TypeError for what is none."""
    if timeout is None:
        return None
    if not hasattr(timeout, "__float__"):  # a Decimal will do
        raise TypeError(f"expected a time in seconds, not {type(timeout).__name__} {timeout!r}")
    if not timeout >= 0:
        raise ValueError(f"a time in seconds can't be {timeout!r}")
    return min(float(timeout), _FOREVER)
