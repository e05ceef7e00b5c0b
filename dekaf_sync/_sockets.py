"""An engine's connections: carries out its effects with a selector and sockets, and tells it what comes of them.

Nothing here waits but `select`. All of it belongs to one thread, except for `wake`, which any may call. It is the same
for every engine and knows nothing about Kafka.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from dekaf_proto.driver import Engine
from dekaf_proto.events import Address, Connect, Effect, Resolve, Send
from dekaf_sync._resolve import resolve

#: What one read takes at most. The more, the less often the thread has to win the interpreter back from the program.
READ_SIZE: Final = 1 << 20

_UNDER_WAY: Final = {0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EWOULDBLOCK)}


class _Waker:
    """A way to end a sleep of the selector: from any thread, a signal handler included."""

    def __init__(self) -> None:
        self.receiver, self._sender = socket.socketpair()
        self.receiver.setblocking(False)
        self._sender.setblocking(False)
        self._lock: Final = threading.RLock()  # a descriptor that is closed here may be somebody else's at once

    def wake(self) -> None:
        with self._lock, suppress(OSError):  # it is full, so the selector does not sleep; or nobody is there any more
            self._sender.send(b"\0")

    def drain(self) -> None:
        with suppress(OSError):
            self.receiver.recv(4096)

    def close(self) -> None:
        with self._lock:
            self.close_copies()

    def close_copies(self) -> None:
        self.receiver.close()
        self._sender.close()


class _Link:
    """A TCP connection, or an attempt at one."""

    def __init__(self, conn: int, sock: socket.socket) -> None:
        self.conn: Final = conn
        self.sock: Final = sock
        self.connecting = True
        #: What the selector looks for.
        self.events = selectors.EVENT_WRITE
        self.unsent: deque[bytes | memoryview] = deque()

    def send(self) -> None:
        """Writes what can be written without waiting. OSError if nothing ever can again."""
        with suppress(BlockingIOError):
            while self.unsent:
                data = self.unsent[0]
                sent = self.sock.send(data)
                if sent < len(data):
                    self.unsent[0] = memoryview(data)[sent:]
                else:
                    self.unsent.popleft()


class Sockets:
    """See the module. `post` runs a function in the thread that all of this belongs to, from any other one."""

    def __init__(self, engine: Engine, post: Callable[[Callable[[], None]], None]) -> None:
        self._engine: Final = engine
        self._post: Final = post
        self._links: Final[dict[int, _Link]] = {}
        self._buffer: Final = memoryview(bytearray(READ_SIZE))
        self._closed = False
        self._selector: Final = selectors.DefaultSelector()
        self._waker: Final = _Waker()
        self._selector.register(self._waker.receiver, selectors.EVENT_READ)
        #: From any thread: ends a sleep in `select`.
        self.wake: Final = self._waker.wake

    def select(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Sleeps until something happens, `seconds` at most; what has happened is for `handle`."""
        return self._selector.select(seconds)

    def handle(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Reads, writes, and tells the engine."""
        for key, events in ready:
            link: _Link | None = key.data
            if link is None:
                self._waker.drain()
            elif link.conn in self._links:  # it may have been closed since
                try:
                    self._ready(link, events)
                except OSError as error:
                    self._lost(link, error.strerror or str(error))

    def carry_out_effects(self) -> None:
        """Does what the engine wants."""
        while effects := self._engine.effects():  # what can't be done is told at once, and may have effects of its own
            for effect in effects:
                self._carry_out(effect)

    def close(self) -> None:
        """Closes everything."""
        self._closed = True
        self._waker.close()
        self._close_all()

    def close_copies(self) -> None:
        """The same in a forked process, where nobody may be left to release a lock."""
        self._waker.close_copies()
        self._close_all()

    def _close_all(self) -> None:
        self._selector.close()
        for link in self._links.values():
            link.sock.close()
        self._links.clear()

    # ---------------------------------------------------------------------------------------------- what has happened

    def _ready(self, link: _Link, events: int) -> None:
        if link.connecting:
            self._connected(link)
            return
        if events & selectors.EVENT_WRITE:
            self._send(link)
        if events & selectors.EVENT_READ:
            self._read(link)

    def _connected(self, link: _Link) -> None:
        error = link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        link.connecting = False
        self._send(link)
        self._engine.connected(link.conn, time.monotonic())

    def _read(self, link: _Link) -> None:
        try:
            size = link.sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        if size:
            self._engine.receive_data(link.conn, self._buffer[:size], time.monotonic())
        else:
            self._lost(link, "")

    def _lost(self, link: _Link, error: str) -> None:
        self._forget(link)
        tell = self._engine.connect_failed if link.connecting else self._engine.disconnected
        tell(link.conn, error, time.monotonic())

    def _resolved(self, query: int, found: list[Address] | str) -> None:
        """Called by the thread that has looked up a name."""

        def tell() -> None:
            if self._closed:
                return
            if isinstance(found, str):
                self._engine.resolve_failed(query, found, time.monotonic())
            else:
                self._engine.resolved(query, found, time.monotonic())

        self._post(tell)

    # --------------------------------------------------------------------------------------------- what is to be done

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Resolve):
            resolve(effect.host, effect.port, partial(self._resolved, effect.query))
        elif isinstance(effect, Connect):
            try:
                self._connect(effect)
            except OSError as error:
                self._engine.connect_failed(effect.conn, error.strerror or str(error), time.monotonic())
        elif effect.conn in self._links:  # if not, the engine knows, or will in a moment
            link = self._links[effect.conn]
            try:
                if isinstance(effect, Send):
                    link.unsent.append(effect.data)
                    if len(link.unsent) == 1 and not link.connecting:
                        self._send(link)
                else:
                    with suppress(OSError):
                        link.send()
                    self._forget(link)
            except OSError as error:
                self._lost(link, error.strerror or str(error))

    def _connect(self, effect: Connect) -> None:
        host, port = effect.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.inet_pton(family, host.partition("%")[0])  # anything else would be looked up, and here
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            error = sock.connect_ex((host, port))
            if error not in _UNDER_WAY:
                raise OSError(error, os.strerror(error))
        except BaseException:
            sock.close()
            raise
        link = self._links[effect.conn] = _Link(effect.conn, sock)
        self._selector.register(sock, link.events, link)

    def _send(self, link: _Link) -> None:
        link.send()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.unsent else 0)
        if link.events != wanted:
            self._selector.modify(link.sock, wanted, link)
            link.events = wanted

    def _forget(self, link: _Link) -> None:
        del self._links[link.conn]
        self._selector.unregister(link.sock)
        link.sock.close()
