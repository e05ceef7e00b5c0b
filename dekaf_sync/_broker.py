"""`EmbeddedBroker`: a broker in a thread of the program's own process.

The thread owns the engine and its sockets (see `_server`); others hand it functions and wait for their results.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dekaf_proto.broker import Broker, GroupOptions
from dekaf_proto.broker.controls import Controls, crashed, make_engine
from dekaf_proto.errors import ClosedError, ForkedError, KafkaTimeoutError, LocalProtocolError
from dekaf_sync._server import Server

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("dekaf.sync")

T = TypeVar("T")

#: How often `wait_until` looks, in seconds.
LOOK: Final = 0.005


class EmbeddedBroker(Controls):
    """A Kafka cluster of `nodes` nodes (0, 1, ..., or those numbers) in this process, on loopback, without Java.

        with EmbeddedBroker(topics={"orders": 3}) as broker:
            broker.append("orders", 0, [b"two teas"])
            with Consumer("orders", bootstrap_servers=broker.bootstrap_servers, group_id="billing") as consumer:
                ...

    Its state is in memory and ends with it. `host` is where it listens and what clients are told; `port` the first
    node's, the others have the next ones; 0 takes whichever are free. `topics`: name -> how many partitions.
    `auto_create_partitions`: of topics that are made when a client asks for them, None for none. `release` ("2.4")
    makes it as old as that. `group_options`: what brokers say of session timeouts and the like. `engine`: a
    `dekaf_proto.broker.Broker` made by hand, instead of all these but `topics`.

    Its methods (see `Controls`) may be called by any thread, between `start` and `stop` or in a `with`.
    """

    def __init__(
        self,
        nodes: int | Sequence[int] = 1,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        topics: Mapping[str, int] | None = None,
        auto_create_partitions: int | None = 1,
        release: str | None = None,
        group_options: GroupOptions | None = None,
        engine: Broker | None = None,
    ) -> None:
        self._engine: Final = make_engine(
            engine,
            nodes=nodes,
            host=host,
            port=port,
            topics=topics,
            auto_create_partitions=auto_create_partitions,
            release=release,
            group_options=group_options,
            unix_offset=time.time() - time.monotonic(),
        )
        self._calls: Final[deque[tuple[Callable[[Broker, float], Any], Future[Any]]]] = deque()
        #: Held while a call is posted, and while it is decided that no more are.
        self._lock: Final = threading.Lock()
        self._thread: Final = threading.Thread(target=self._run, name="dekaf: embedded broker", daemon=True)
        self._server: Server | None = None
        self._process = 0
        self._stop = False
        self._ended = False
        self._crash: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listens, and begins to answer. Once only. OSError if a port can't be had."""
        if self._server is not None or self._ended:
            raise LocalProtocolError("an embedded broker can be started once: make another one")
        server = Server(self._engine)
        try:
            server.carry_out()
        except BaseException:
            server.close()
            raise
        self._server = server
        self._process = os.getpid()
        self._thread.start()

    def stop(self) -> None:
        """Closes all connections and ends the thread. Stopping again does nothing. InternalError if it has crashed,
        LocalProtocolError if that was a fault's function."""
        self._stop = True
        if self._server is None or self._process != os.getpid():
            self._ended = True
            return
        with self._lock:
            if not self._ended:
                self._server.wake()
        self._thread.join()
        if self._crash is not None:
            raise crashed(self._crash)

    def call(self, action: Callable[[Broker, float], T]) -> T:
        """Returns `action(broker, now)`, run in the broker's thread, or raises what that raises. The broker answers
        nobody meanwhile."""
        if threading.current_thread() is self._thread:  # in a function of a fault, say
            return action(self._engine, time.monotonic())
        future: Future[T] = Future()
        with self._lock:
            self._check()
            assert self._server is not None
            self._calls.append((action, future))
            self._server.wake()
        return future.result()

    def wait_until(self, condition: Callable[[], object], timeout: float = 30.0) -> None:
        """Waits until `condition()` is true, which it looks at every few milliseconds, in this thread.

        KafkaTimeoutError after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() >= deadline:
                raise KafkaTimeoutError("EmbeddedBroker.wait_until", timeout)
            time.sleep(LOOK)

    def _check(self) -> None:
        if self._crash is not None:
            raise crashed(self._crash)
        if self._ended or self._stop:
            raise ClosedError("the embedded broker has been stopped")
        if self._server is None:
            raise LocalProtocolError("the embedded broker is to be used in a `with` block, or after start()")
        if self._process != os.getpid():
            raise ForkedError("the embedded broker is in the process that was forked: use it there")

    # ----------------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        server, engine = self._server, self._engine
        assert server is not None
        try:
            while not self._stop:
                deadline = engine.next_deadline()
                server.select(None if deadline is None else max(0.0, deadline - time.monotonic()))
                while self._calls:
                    self._execute(server, *self._calls.popleft())
                deadline = engine.next_deadline()
                if deadline is not None and deadline <= (now := time.monotonic()):
                    engine.handle_timeout(now)
                server.carry_out()
        except BaseException as error:  # told to whoever calls next
            log.critical("%s", crashed(error), exc_info=error)
            self._crash = error
        finally:
            with self._lock:
                self._ended = True
                server.close()
            for _, future in self._calls:
                future.set_exception(
                    crashed(self._crash) if self._crash else ClosedError("the embedded broker has stopped")
                )

    def _execute(self, server: Server, action: Callable[[Broker, float], Any], future: Future[Any]) -> None:
        try:
            result = action(self._engine, time.monotonic())
            server.carry_out()  # before the caller goes on: a node that it stopped refuses connections by then
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
