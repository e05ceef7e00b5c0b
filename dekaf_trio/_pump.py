"""The I/O of an engine in trio: a task that keeps the time, and for each connection one that reads and one that writes.

    run (shielded) ── the time
                   ├─ a connection: reader, writer
                   ├─ a connection: reader, writer
                   └─ a name that is being looked up ...

Everything is in one thread, and nothing of the engine runs across a checkpoint: no locks. A user's task calls the
engine itself, through `call` or `operate`; then `settle` carries out the effects, sets the alarm and wakes who waits.

Rules:
- Only the writer writes. A call that is cancelled has queued its bytes or has not; it never tears a frame.
- The tasks run in a scope of their own, shielded from what is cancelled around them, so that a consumer can still say
  goodbye. They end after `close`, which the engine bounds.
- What touches the engine is protected from KeyboardInterrupt, which then comes at a checkpoint.
- An error in here is a bug in dekaf. It is kept, and raised as InternalError in everybody who waits or comes later. No
  task of ours raises: a nursery would wrap that, and a program's own exceptions with it, into a group.

It is the same for every engine and knows nothing about Kafka.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Final, TypeVar

import trio

from dekaf_proto.driver import Engine, Pending
from dekaf_proto.errors import InternalError, LocalProtocolError
from dekaf_proto.events import Connect, Disconnect, Effect, Resolve, Send
from dekaf_proto.operation import Operation
from dekaf_trio._network import Network

log = logging.getLogger("dekaf.trio")

T = TypeVar("T")

#: What one read takes at most.
READ_SIZE: Final = 256 * 1024
#: How long a connection that is being closed may take to write what was sent before, in seconds.
FLUSH: Final = 1.0
#: How much longer than the engine may take to close we wait for it, in seconds. It takes that only if it is broken.
GRACE: Final = 2 * FLUSH
#: From which delay of a deadline on it is said that the program did not let others run, in seconds.
LATE: Final = 1.0
#: How long an answer may take then, in seconds, before it is looked for what has taken too long.
ANSWER: Final = 1.0


class _Connection:
    """A connection, or an attempt at one."""

    def __init__(self, order: Connect) -> None:
        self.order: Final = order
        self.opening: Final = trio.CancelScope()
        self.reading: Final = trio.CancelScope()
        self.writing: Final = trio.CancelScope()
        self.unsent: list[bytes] = []
        #: Set when something has come since something was sent.
        self.heard = trio.Event()
        self.heard.set()
        self.closing = False
        self._changed = trio.Event()

    def send(self, data: bytes) -> None:
        if self.heard.is_set():
            self.heard = trio.Event()
        self.unsent.append(data)
        self._changed.set()

    def close(self) -> None:
        """What was sent is still written, if that does not take long."""
        self.closing = True
        self.heard.set()
        self.opening.cancel()
        self.reading.cancel()
        self.writing.deadline = trio.current_time() + FLUSH
        self._changed.set()

    async def wait_for_change(self) -> None:
        await self._changed.wait()
        self._changed = trio.Event()


class Pump:
    """The tasks of one `engine`, called `name` in logs. They run from `enter` to `leave`, which one task calls."""

    def __init__(self, engine: Engine, network: Network, name: str) -> None:
        self._engine: Final = engine
        self._network: Final = network
        self._name: Final = name
        self._scope: Final = trio.CancelScope(shield=True)
        self._ended: Final = trio.Event()
        self._connections: Final[dict[int, _Connection]] = {}
        #: Who waits, and for what.
        self._waiting: Final[dict[trio.Event, Pending]] = {}
        self._tasks: trio.Nursery | None = None
        self._lookups: trio.Nursery | None = None
        self._alarm = trio.CancelScope()
        #: When the alarm is to ring, and how late it was looked at since it last rang, at worst.
        self._due = inf
        self._late = 0.0
        #: The user's, in whose task it was opened.
        self._nursery: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._reads = 0
        self._crash: Exception | None = None

    # ------------------------------------------------------------------------------------------ for the user's tasks

    @property
    def entered(self) -> bool:
        """Whether `enter` was called."""
        return self._nursery is not None

    @trio.lowlevel.enable_ki_protection
    async def enter(self) -> None:
        """Starts the tasks."""
        if self._nursery is not None:
            raise LocalProtocolError(f"{self._name} can't be entered again")
        self._nursery = trio.open_nursery()
        nursery = await self._nursery.__aenter__()
        nursery.start_soon(self._run, name=f"dekaf: {self._name}")

    @trio.lowlevel.enable_ki_protection
    async def leave(self, closing: Callable[[], Awaitable[object]], seconds: float) -> None:
        """Closes the engine, which has `seconds` for that, whatever is cancelled; all tasks have ended then."""
        assert self._nursery is not None
        try:
            with trio.CancelScope(shield=True):
                await self.close(closing, seconds)
        finally:
            self._scope.cancel()
            # It is told of no error: the nursery would make a group of it, while Python raises it again as it is.
            await self._nursery.__aexit__(None, None, None)

    async def close(self, closing: Callable[[], Awaitable[object]], seconds: float) -> None:
        """Closes the engine by `closing`, which has `seconds` for that. Cancelled, it goes on in the background."""
        self._check()
        with trio.move_on_after(seconds + GRACE) as scope:
            await closing()
            await self._ended.wait()
        if scope.cancelled_caught:
            log.error("%s did not close in %g s", self._name, seconds)

    @trio.lowlevel.enable_ki_protection
    def call(self, action: Callable[[float], T]) -> T:
        """Calls the engine: `action` is given the time."""
        if self._nursery is None:
            raise LocalProtocolError(f"{self._name} is to be used in an `async with` block")
        self._check()
        try:
            return action(trio.current_time())
        finally:
            self._settle()

    @trio.lowlevel.enable_ki_protection
    async def operate(self, start: Callable[[float], Operation[T]]) -> T:
        """Starts an operation and waits for its result. If the wait is cancelled, so is the operation."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self.result(self.call(start))

    async def result(self, operation: Operation[T]) -> T:
        """The same for one that was started before."""
        await self.wait(operation)
        return operation.result()

    @trio.lowlevel.enable_ki_protection
    async def wait(self, pending: Pending) -> None:
        """Waits until that is done. If the wait is cancelled, so is what was waited for."""
        try:
            await self._wait(pending)
        except BaseException:
            if self._crash is None:
                pending.cancel()
                self._settle()
            raise

    def _check(self) -> None:
        if self._crash is not None:
            message = f"the I/O of {self._name} has crashed; this is a bug in dekaf: {self._crash!r}"
            raise InternalError(message) from self._crash

    def _settle(self) -> None:
        """Does what has to be done after each input or call of the engine."""
        if self._tasks is None or self._crash is not None:  # not yet running, and `_run` begins with this; or no longer
            return
        for effect in self._engine.effects():
            self._carry_out(effect, self._tasks)
        now, deadline = trio.current_time(), self._engine.next_deadline()
        self._late = max(self._late, now - self._due)
        self._due = inf if deadline is None else max(deadline, now)
        self._alarm.deadline = -inf if self._engine.closed else self._due
        for event, pending in self._waiting.items():
            if pending.done:
                event.set()

    async def _wait(self, pending: Pending) -> None:
        self._check()
        if pending.done:
            await trio.lowlevel.cancel_shielded_checkpoint()  # it has happened: too late to be cancelled
            return
        event = trio.Event()
        self._waiting[event] = pending
        try:
            await event.wait()
        finally:
            del self._waiting[event]
        self._check()

    # ------------------------------------------------------------------------------------------------------ the tasks

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        """Runs until the engine is closed and its connections are."""
        try:
            with self._scope:
                async with trio.open_nursery() as self._tasks, trio.open_nursery() as self._lookups:
                    await self._guard(self._keep_time)
                    self._lookups.cancel_scope.cancel()
        finally:
            self._tasks = self._lookups = None
            self._ended.set()

    @trio.lowlevel.enable_ki_protection
    async def _guard(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        """What every task of ours runs in."""
        try:
            await task(*args)
        except Exception as error:
            if self._crash is None:
                log.critical("the I/O of %s has crashed", self._name, exc_info=error)
                self._crash = error
            for event in self._waiting:
                event.set()
            self._scope.cancel()

    def _tell(self, function: Callable[..., None], *args: object) -> None:
        function(*args, trio.current_time())
        self._settle()

    async def _keep_time(self) -> None:
        while not self._engine.closed:
            with trio.CancelScope() as self._alarm:
                self._settle()
                await trio.sleep_forever()
            late, self._late = max(self._late, trio.current_time() - self._due), 0.0
            if late > LATE:
                log.warning("%s: nothing ran for %.1f s: is there a task without a checkpoint?", self._name, late)
                await self._catch_up()
            self._tell(self._engine.handle_timeout)

    async def _catch_up(self) -> None:
        """What has arrived while nothing ran is not late, nor is the answer to what nobody could write until now."""
        reads = -1
        while reads != self._reads:
            reads = self._reads
            for _ in range(3):  # a reader is woken, reads, and is about to read again
                await trio.lowlevel.checkpoint()
        with trio.move_on_after(ANSWER):
            for connection in list(self._connections.values()):
                await connection.heard.wait()

    # ---------------------------------------------------------------------------------------------------- the effects

    def _carry_out(self, effect: Effect, tasks: trio.Nursery) -> None:
        if isinstance(effect, Resolve):
            assert self._lookups is not None
            self._lookups.start_soon(self._guard, self._look_up, effect, name=f"dekaf: looks up {effect.host}")
        elif isinstance(effect, Connect):
            connection = self._connections[effect.conn] = _Connection(effect)
            tasks.start_soon(self._guard, self._connect, connection, name=f"dekaf: connection to {effect.address}")
        elif effect.conn in self._connections:  # if not, the engine knows
            connection = self._connections[effect.conn]
            if isinstance(effect, Send):
                connection.send(effect.data)
            else:
                assert isinstance(effect, Disconnect)
                del self._connections[effect.conn]
                connection.close()

    async def _look_up(self, query: Resolve) -> None:
        try:
            addresses = await self._network.resolve(query.host, query.port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA does not allow
            self._tell(self._engine.resolve_failed, query.query, _text(error))
        else:
            self._tell(self._engine.resolved, query.query, addresses)

    async def _connect(self, connection: _Connection) -> None:
        stream: trio.abc.Stream | None = None
        with connection.opening:
            try:
                stream = await self._network.connect(connection.order)
            except (OSError, trio.BrokenResourceError) as error:
                self._lost(connection, self._engine.connect_failed, _text(error))
        if stream is None:
            return
        try:
            self._tell(self._engine.connected, connection.order.conn)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._guard, self._write, connection, stream)
                await self._guard(self._read, connection, stream)
        finally:
            await trio.aclose_forcefully(stream)

    async def _read(self, connection: _Connection, stream: trio.abc.Stream) -> None:
        with connection.reading:
            try:
                while data := await stream.receive_some(READ_SIZE):
                    self._reads += 1
                    connection.heard.set()
                    self._tell(self._engine.receive_data, connection.order.conn, data)
                self._lost(connection, self._engine.disconnected, "")
            except (OSError, trio.BrokenResourceError) as error:
                self._lost(connection, self._engine.disconnected, _text(error))

    async def _write(self, connection: _Connection, stream: trio.abc.Stream) -> None:
        with connection.writing:
            try:
                while connection.unsent or not connection.closing:
                    if connection.unsent:
                        data, connection.unsent = b"".join(connection.unsent), []
                        await stream.send_all(data)
                    else:
                        await connection.wait_for_change()
            except (OSError, trio.BrokenResourceError) as error:
                self._lost(connection, self._engine.disconnected, _text(error))

    def _lost(self, connection: _Connection, tell: Callable[[int, str, float], None], error: str) -> None:
        """The connection is gone, or there never was one."""
        self._connections.pop(connection.order.conn, None)
        connection.close()
        connection.writing.cancel()
        self._tell(tell, connection.order.conn, error)


def _text(error: BaseException) -> str:
    """What went wrong, as the system says it: trio wraps that into errors of its own."""
    cause = error.__cause__ or error
    return (isinstance(cause, OSError) and cause.strerror) or str(cause) or type(cause).__name__
