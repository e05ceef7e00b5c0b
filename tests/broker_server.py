"""A Broker behind real sockets on the loopback interface, for tests of drivers.

    with BrokerServer(Broker(nodes=3)) as bootstrap:        # "127.0.0.1:41721,127.0.0.1:36493,..."
        ...

    server = BrokerServer(broker)
    with server as bootstrap:
        server.call(lambda broker, now: broker.append("orders", 0, [b"x"], now))
        server.call(lambda broker, now: broker.stop_node(1, now))

One daemon thread owns the broker and the sockets while the `with` block runs; nobody else may touch the broker then
except through `call`. The clock is `time.monotonic`. Real time is for drivers only: rules are tested with
`tests.network`.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from dekaf_proto.broker import Broker
from dekaf_proto.events import Address, Listen, Send

T = TypeVar("T")

_TIMEOUT = 10.0  # seconds that a test waits for the thread
_CHUNK = 256 * 1024


@dataclass(eq=False)
class _Client:
    conn: int
    sock: socket.socket
    out: bytearray = field(default_factory=bytearray)
    closing: bool = False


@dataclass(eq=False)
class _Listener:
    node: int
    sock: socket.socket


class BrokerServer:
    """See the module. It can be entered once."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._selector = selectors.DefaultSelector()
        self._clients: dict[int, _Client] = {}
        self._listeners: dict[int, _Listener] = {}
        self._calls: deque[tuple[Callable[[Broker, float], Any], Future[Any]]] = deque()
        self._woken, self._wake = socket.socketpair()
        self._lock = threading.Lock()
        self._stop = False
        self._ended = False
        self._crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)

    def __enter__(self) -> str:
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()
        return self.bootstrap_servers

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop = True
        self._wake.send(b"x")
        self._thread.join(_TIMEOUT)
        assert not self._thread.is_alive(), "the broker's thread does not end"
        self._wake.close()
        self._woken.close()
        if self._crash is not None:
            raise self._crash

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of each node, with commas between."""
        endpoints = self.call(lambda broker, _: [broker.cluster.endpoint(node) for node in broker.nodes])
        return ",".join(f"{host}:{port}" for host, port in endpoints)

    def call(self, function: Callable[[Broker, float], T]) -> T:
        """Runs `function(broker, now)` in the broker's thread; returns or raises what it does."""
        future: Future[T] = Future()
        with self._lock:
            if self._ended:
                raise RuntimeError("the broker has ended")
            self._calls.append((function, future))
            self._wake.send(b"x")
        return future.result(_TIMEOUT)

    # ---------------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        try:
            while not self._stop:
                self._drain()
                deadline = self._broker.next_deadline()
                timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
                for key, events in self._selector.select(timeout):
                    self._ready(key.data, events)
                while self._calls:
                    self._execute(*self._calls.popleft())
                now = time.monotonic()
                deadline = self._broker.next_deadline()
                if deadline is not None and deadline <= now:
                    self._broker.handle_timeout(now)
        except BaseException as error:  # told to whoever leaves the block
            self._crash = error
        finally:
            for client in self._clients.values():
                client.sock.close()
            for listener in self._listeners.values():
                listener.sock.close()
            self._selector.close()
            with self._lock:
                self._ended = True
            for _, future in self._calls:
                future.set_exception(RuntimeError("the broker has ended"))

    def _execute(self, function: Callable[[Broker, float], Any], future: Future[Any]) -> None:
        try:
            result = function(self._broker, time.monotonic())
        except Exception as error:
            future.set_exception(error)
        else:
            self._drain()  # before the test goes on: a node that it stopped refuses connections by then
            future.set_result(result)

    def _drain(self) -> None:
        for effect in self._broker.effects():
            if isinstance(effect, Listen):
                self._listen(effect)
                continue
            client = self._clients.get(effect.conn)
            if client is None:
                continue
            if isinstance(effect, Send):
                client.out += effect.data
            else:
                client.closing = True
            self._flush(client)
        for node, listener in list(self._listeners.items()):
            if not self._broker.is_listening(node):
                self._close(listener.sock)
                del self._listeners[node]

    def _listen(self, order: Listen) -> None:
        old = self._listeners.pop(order.node, None)
        if old is not None:
            self._close(old.sock)
        sock = socket.create_server((order.host, order.port))  # with SO_REUSEADDR: a node comes back at its port
        sock.setblocking(False)
        self._listeners[order.node] = listener = _Listener(order.node, sock)
        self._selector.register(sock, selectors.EVENT_READ, listener)
        host, port = sock.getsockname()[:2]
        self._broker.listening(order.node, Address(host, port), time.monotonic())

    def _ready(self, who: _Client | _Listener | None, events: int) -> None:
        if who is None:
            self._woken.recv(4096)
        elif isinstance(who, _Listener):
            self._accept(who)
        else:  # which an event before this one may have closed
            if events & selectors.EVENT_WRITE and who.conn in self._clients:
                self._flush(who)
            if events & selectors.EVENT_READ and who.conn in self._clients:
                self._read(who)

    def _accept(self, listener: _Listener) -> None:
        try:
            sock, _ = listener.sock.accept()
        except OSError:  # the client has given up, or the listener was closed a moment ago
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(self._broker.accepted(listener.node, time.monotonic()), sock)
        self._clients[client.conn] = client
        self._selector.register(sock, selectors.EVENT_READ, client)

    def _read(self, client: _Client) -> None:
        try:
            data = client.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(client, str(error))
            return
        if data:
            self._broker.receive_data(client.conn, data, time.monotonic())
        else:
            self._lost(client, "")

    def _flush(self, client: _Client) -> None:
        try:
            while client.out:
                del client.out[: client.sock.send(client.out[:_CHUNK])]
        except BlockingIOError:
            self._selector.modify(client.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
            return
        except OSError as error:
            self._lost(client, str(error))
            return
        if client.closing:
            del self._clients[client.conn]
            self._close(client.sock)
        else:
            self._selector.modify(client.sock, selectors.EVENT_READ, client)

    def _lost(self, client: _Client, error: str) -> None:
        del self._clients[client.conn]
        self._close(client.sock)
        self._broker.disconnected(client.conn, error, time.monotonic())

    def _close(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        sock.close()
