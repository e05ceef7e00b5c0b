"""The I/O thread: carries out an engine's effects, tells it what happens and the time, runs calls for others.

One daemon thread owns the selector, the sockets and the engine; nobody else runs the engine's code. Other threads
*post* to it: they append a function to a deque, wake the thread through a socket if it sleeps, and wait. So Ctrl+C,
which hits the main thread between any two of its steps, never hits the engine in the middle of one.

What a thread posts is mostly a *script*: a generator function that is given `now`, calls the engine, yields each
Operation that it waits for and returns the result. It may also yield a *visit*: a function that is then run in the
thread that waits, before the script goes on. What it raises (KafkaError, TypeError, ValueError) is raised in the thread
that waits. Anything else that is raised in the I/O thread is a bug in dekaf: it is kept, and raised as InternalError in
everybody who waits or comes later.

Rules:
- A turn of the loop runs with `lock` held, which is free while it sleeps. Who only reads takes the lock and looks.
- Whoever waits is woken at the end of a turn, when everything is sent: it would fight for the interpreter with us.
- Nothing here may keep the user's object alive, or one that was forgotten would never be closed.

It is the same for every engine and knows nothing about Kafka.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

from dekaf_proto.driver import Engine, Pending
from dekaf_proto.errors import ClosedError, ForkedError, InternalError, KafkaError, KafkaTimeoutError, WakeupError
from dekaf_sync._sockets import Sockets

log = logging.getLogger("dekaf.sync")

T = TypeVar("T")

#: How long a thread waits for the I/O thread beyond the time that the engine has for closing, in seconds.
GRACE: Final = 1.0
#: How long those that nobody has closed may take at the interpreter's exit, in seconds.
EXIT_SECONDS: Final = 5.0
#: No sleep is longer: selectors can't take any number.
LONGEST_SLEEP: Final = 3600.0
#: Windows lets Ctrl+C through only between two waits.
WAIT_SLICE: Final = 0.1 if os.name == "nt" else -1.0


class Visit:
    """A function of the program's, for the thread that waits for a script. If that raises, the script is closed."""

    __slots__ = ("begun", "function")

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        #: For the function to say that it was called: if it was not, Ctrl+C came first.
        self.begun = False


Steps = Generator["Pending | Visit", float, T]
Script = Callable[[float], Steps[T]]


class _Call(Generic[T]):
    """A script on its way, and the thread that waits for its end, if one does."""

    def __init__(self, interruptible: bool) -> None:
        self.interruptible: Final = interruptible
        #: The script, once it has begun. Its generator holds nothing when it has ended, unlike the function that made
        #: it, which may hold the user's object: the I/O thread must not be the last to have that.
        self.steps: Steps[T] | None = None
        #: What the script waits for: something in the engine, or the thread that waits for the script.
        self.operation: Pending | None = None
        self.visit: Visit | None = None
        self.ended = False
        self.outcome: list[T] = []
        self.error: Exception | None = None
        self._running: Final = threading.Lock()
        self._running.acquire()

    def wait(self, seconds: float | None) -> bool:
        """Waits for the end, or for a visit; False if neither comes in time."""
        if seconds is not None:
            return self._running.acquire(timeout=seconds)
        while not self._running.acquire(timeout=WAIT_SLICE):
            pass
        return True

    def wake(self) -> None:
        """The end has come, or a visit."""
        if self._running.locked():  # if not, the thread is about to look
            self._running.release()


#: Those whose thread runs.
_running: Final[set[Pump]] = set()


class Pump:
    """The I/O thread of one `engine`, called `name` in logs and warnings. The thread starts with the first call."""

    def __init__(self, engine: Engine, name: str, closing: Callable[[float], Script[None]] | None = None) -> None:
        """`closing` makes a script for closing within some seconds while nobody waits, if the engine needs one."""
        self.name: Final = name
        #: Held while the engine's state changes. Reading needs it; it may be taken twice, so by a signal handler too.
        self.lock: Final = threading.RLock()
        #: Whether this is a copy in a forked process, where the I/O thread is not.
        self.forked = False
        #: Whether somebody has taken care that it ends.
        self.released = False
        #: Whether the I/O thread has ended, or never has to start.
        self.ended = False
        self._engine: Final = engine
        self._closing: Final = closing or self._close_engine
        self._posted: Final[deque[Callable[[], None]]] = deque()
        self._calls: list[_Call[Any]] = []
        self._to_wake: list[_Call[Any]] = []
        self._claim: Final = threading.Lock()
        self._thread: threading.Thread | None = None
        self._sockets: Sockets | None = None
        self._asleep = False
        self._interrupted = False
        self._wanted = False
        self._stop = False
        self._crash: BaseException | None = None

    # ------------------------------------------------------------------------------------------ called by any thread

    def check(self, *, closing: bool = False) -> None:
        """Raises if there is no use in calling; `closing`: unless it has closed, not while it does."""
        if self.forked:
            raise ForkedError(f"{self.name} belongs to the process that was forked: make one here")
        if self._crash is not None:
            raise self._crashed()
        if self.released and not (closing and not self.ended):
            raise ClosedError(f"{self.name} is closed")

    def call(self, script: Script[T], *, interruptible: bool = True, patience: float | None = None) -> T:
        """Runs `script` in the I/O thread and waits for its end, for `patience` seconds at most."""
        call: _Call[T] = _Call(interruptible)
        try:
            self.post(partial(self._begin, call, script))
            self.start()
            while True:
                if not call.wait(patience):
                    raise KafkaTimeoutError(self.name, patience or 0.0)
                if call.ended or call.visit is None:
                    break
                call.visit.function()
                self.post(partial(self._go_on, call))
        except BaseException:  # Ctrl+C, most likely
            self.post(partial(self._give_up, call))
            raise
        if call.error is None:
            return call.outcome[0]
        try:
            raise call.error.with_traceback(None)
        finally:
            del call  # or it and the frames in the error's traceback would keep each other alive

    def tell(self, script: Script[None]) -> None:
        """Runs a script in the I/O thread, for whose end nobody waits. What it raises is lost."""
        self.post(partial(self._begin, _Call(False), script))

    def post(self, function: Callable[[], None]) -> None:
        """Runs a function in the I/O thread; in this one if that has ended."""
        self._posted.append(function)
        if self._asleep and self._sockets is not None:
            self._sockets.wake()
        if self.ended:  # nobody else would look at it
            self._run_posted()

    def interrupt(self, also: Callable[[], None]) -> None:
        """Raises WakeupError in the call that waits, or in the next one. `also` is called in the I/O thread."""
        self.post(partial(self._interrupt, also))

    def start(self) -> None:
        """Starts the thread, if it does not run."""
        self._wanted = True
        if self._thread is None:  # who was interrupted before that is set may start two: the second finds it claimed
            try:
                threading.Thread(target=self._run, name=f"dekaf: {self.name}", daemon=True).start()
            except RuntimeError:  # there are too many, or the interpreter is about to exit
                self._wanted = False
                raise

    def close(self, seconds: float, script: Script[None] | None = None) -> None:
        """Closes the engine, the sockets and the thread, whatever happens, within `seconds` and a little more.

        `script` does it, and may visit the caller. Raises InternalError if the I/O thread has crashed and nobody was
        told before.
        """
        first, self.released = not self.released, True
        if not self._wanted:
            self.ended = True
            return
        if not self.ended:
            try:
                self.call(script or self._closing(seconds), interruptible=False, patience=seconds + GRACE)
            except KafkaTimeoutError:
                log.error("%s did not close in %g s and is left as it is", self.name, seconds)
                self._stop = True
                self.post(_nothing)
            except (ClosedError, InternalError):
                pass  # it has ended meanwhile
        if not self.join(GRACE):
            log.error("the I/O thread of %s does not end", self.name)
        if first and self._crash is not None:
            raise self._crashed()

    def abandon(self, seconds: float) -> bool:
        """Closes within `seconds` while nobody waits; False if there is nothing to close, or it is seen to."""
        if not self._wanted or self.released or self.forked or self.ended:
            return False
        self.released = True
        self.tell(self._closing(seconds))
        return True

    def warn_unclosed(self) -> None:
        """Says that somebody has forgotten to close this."""
        warnings.warn(f"unclosed {self.name}", ResourceWarning, stacklevel=3, source=self)

    def join(self, seconds: float) -> bool:
        """Waits until the thread has ended; False if that does not come in time."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def leave_to_parent(self) -> None:
        """After a fork, in the new process: the sockets are the other one's, and what is in hand ends here."""
        self.forked = True
        if self._sockets is not None:
            self._sockets.close_copies()
        with suppress(Exception):  # the fork may have come in the middle of anything
            self._engine.close(time.monotonic(), 0.0)

    def _crashed(self) -> InternalError:
        error = InternalError(f"the I/O thread of {self.name} has crashed; this is a bug in dekaf: {self._crash!r}")
        error.__cause__ = self._crash
        return error

    def _close_engine(self, seconds: float) -> Script[None]:
        def script(now: float) -> Steps[None]:
            yield self._engine.close(now, seconds)

        return script

    # --------------------------------------------------------------------------------------- scripts (the I/O thread)

    def _begin(self, call: _Call[T], script: Script[T]) -> None:
        if self.ended:
            self._throw(call)
        elif call.interruptible and self._interrupted:
            self._interrupted = False
            self._fail(call, WakeupError())
        else:
            self._calls.append(call)
            self._advance(call, script)

    def _advance(self, call: _Call[T], script: Script[T] | None = None) -> None:
        """Takes a script to its next wait, or to its end; `script` is one that begins."""
        try:
            steps = call.steps
            if steps is None:
                assert script is not None
                steps = call.steps = script(time.monotonic())
                step = next(steps)
            else:
                step = steps.send(time.monotonic())
            while not isinstance(step, Visit) and step.done:
                step = steps.send(time.monotonic())
            if isinstance(step, Visit):
                call.operation, call.visit = None, step
                self._to_wake.append(call)
            else:
                call.operation, call.visit = step, None
        except StopIteration as stop:
            call.outcome.append(stop.value)
            self._end_call(call)
        except (KafkaError, TypeError, ValueError) as error:
            self._fail(call, error)

    def _go_on(self, call: _Call[Any]) -> None:
        """The thread that waits for a script has made the visit."""
        if not call.ended:
            self._advance(call)
            if call.interruptible and self._interrupted and call.operation is not None and not call.ended:
                self._interrupted = False
                self._give_up(call)
                self._fail(call, WakeupError())

    def _throw(self, call: _Call[Any]) -> None:
        """The thread has ended: so does the script, which may want to know."""
        error = self._crashed() if self._crash is not None else ClosedError(f"{self.name} is closed")
        if call.steps is not None:
            with suppress(KafkaError, StopIteration):
                call.steps.throw(error)
        self._fail(call, error)

    def _fail(self, call: _Call[Any], error: Exception) -> None:
        call.error = error
        self._end_call(call)

    def _end_call(self, call: _Call[Any]) -> None:
        if call in self._calls:
            self._calls.remove(call)
        call.ended = True
        if self.ended:
            call.wake()
        else:
            self._to_wake.append(call)

    def _give_up(self, call: _Call[Any]) -> None:
        if call in self._calls:
            self._calls.remove(call)
            call.ended = True
            if call.operation is not None:
                call.operation.cancel()
            if call.steps is not None:
                call.steps.close()
            call.visit = None

    def _interrupt(self, also: Callable[[], None]) -> None:
        also()
        waiting = [call for call in self._calls if call.interruptible and call.visit is None]
        self._interrupted = not waiting
        for call in waiting:
            self._give_up(call)
            self._fail(call, WakeupError())

    def _run_posted(self) -> None:
        with self.lock:
            while self._posted:
                self._posted.popleft()()

    # ------------------------------------------------------------------------------------------------------ the loop

    def _run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        self._thread = threading.current_thread()
        _running.add(self)
        try:
            sockets = self._sockets = Sockets(self._engine, self.post)
            while not (self._stop or self._engine.closed):
                self._turn(sockets)
        except BaseException as error:
            log.critical("the I/O thread of %s has crashed", self.name, exc_info=True)
            self._crash = error
        finally:
            self._end()

    def _turn(self, sockets: Sockets) -> None:
        deadline = self._engine.next_deadline()
        sleep = LONGEST_SLEEP if deadline is None else min(max(0.0, deadline - time.monotonic()), LONGEST_SLEEP)
        self._asleep = True  # set before the last look at what is posted: who posts later sees it and wakes us
        ready = sockets.select(0.0 if self._posted else sleep)
        self._asleep = False
        with self.lock:
            self._run_posted()
            sockets.handle(ready)
            if deadline is not None and deadline <= (now := time.monotonic()):
                self._engine.handle_timeout(now)
            sockets.carry_out_effects()
            while done := [call for call in self._calls if call.operation is not None and call.operation.done]:
                for call in done:
                    self._advance(call)
                sockets.carry_out_effects()
        self._wake_callers()

    def _wake_callers(self) -> None:
        ended, self._to_wake = self._to_wake, []
        for call in ended:
            call.wake()

    def _end(self) -> None:
        if self._sockets is not None:
            self._sockets.close()
        self._wake_callers()
        with self.lock:
            self.ended = True
            for call in list(self._calls):
                self._throw(call)
        self._run_posted()
        _running.discard(self)


def _nothing() -> None:
    """What is posted to make the loop look whether it is to stop."""


@atexit.register
def _close_all() -> None:
    """At the interpreter's exit, after the threads that are waited for have ended and while ours still runs."""
    deadline = time.monotonic() + EXIT_SECONDS + GRACE
    pumps = list(_running)
    unclosed = [pump for pump in pumps if pump.abandon(EXIT_SECONDS)]
    for pump in pumps:
        pump.join(max(0.0, deadline - time.monotonic()))
    for pump in unclosed:
        pump.warn_unclosed()


def _after_fork() -> None:
    """In a process that was just forked, where no I/O thread runs."""
    for pump in list(_running):
        pump.leave_to_parent()
    _running.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows, which has no fork)
    os.register_at_fork(after_in_child=_after_fork)
