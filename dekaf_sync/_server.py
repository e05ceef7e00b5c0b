"""A broker's sockets: carries out its effects with a selector, and tells it what comes of them.

All of it belongs to one thread. It is the counterpart of `_sockets`, and knows as little about Kafka.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dekaf_proto.broker import Broker
from dekaf_proto.broker.controls import can_t_listen
from dekaf_proto.events import Address, Listen, Send

#: What one read or write takes at most.
CHUNK: Final = 256 * 1024
#: For how long no connection is taken when the process has no descriptor left for one, in seconds.
BREATH: Final = 0.1


class _Client:
    def __init__(self, conn: int, sock: socket.socket) -> None:
        self.conn: Final = conn
        self.sock: Final = sock
        self.unsent: Final = bytearray()
        self.closing = False


class _Port:
    """A node's port. While the node is stopped, the socket is bound and does not listen: connections are refused, and
    the system gives the port to nobody's outgoing connection."""

    def __init__(self, node: int, host: str, port: int) -> None:
        self.node: Final = node
        self.sock = socket.create_server((host, port), family=_family(host))
        self.sock.setblocking(False)
        self.address: Final = self.sock.getsockname()
        self.listens = True

    def stop(self) -> None:
        self.sock.close()
        self.listens = False
        self.sock = socket.socket(self.sock.family, socket.SOCK_STREAM)
        if os.name == "posix":  # it means something else on Windows
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody was quicker; who starts the node is told
            self.sock.bind(self.address)


class Server:
    """See the module. `select` waits; `wake`, which any thread may use, ends that."""

    def __init__(self, engine: Broker) -> None:
        self._engine: Final = engine
        self._selector: Final = selectors.DefaultSelector()
        self._clients: Final[dict[int, _Client]] = {}
        self._ports: Final[dict[int, _Port]] = {}
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._wake_up)

    def wake(self) -> None:
        """Ends a wait, from any thread."""
        with suppress(BlockingIOError):  # it is full, so there is no wait
            self._waker.send(b"\0")

    def select(self, seconds: float | None) -> None:
        """Waits until something happens, and tells the engine."""
        for key, events in self._selector.select(seconds):
            act: Callable[[int], None] = key.data
            act(events)

    def carry_out(self) -> None:
        """Does what the engine wants. OSError if a node can't listen."""
        for effect in self._engine.effects():
            if isinstance(effect, Listen):
                self._listen(effect)
                continue
            client = self._clients.get(effect.conn)
            if client is None:
                continue
            if isinstance(effect, Send):
                client.unsent.extend(effect.data)
            else:
                client.closing = True
            self._flush(client)
        for node, port in self._ports.items():
            if port.listens and not self._engine.is_listening(node):
                self._selector.unregister(port.sock)
                port.stop()

    def close(self) -> None:
        """Closes everything."""
        self._selector.close()
        sockets = [self._woken, self._waker]
        sockets += [client.sock for client in self._clients.values()]
        sockets += [port.sock for port in self._ports.values()]
        for sock in sockets:
            sock.close()

    def _wake_up(self, events: int) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)

    # ------------------------------------------------------------------------------------------------------ listening

    def _listen(self, order: Listen) -> None:
        old = self._ports.pop(order.node, None)
        if old is not None:
            if old.listens:
                self._selector.unregister(old.sock)
            old.sock.close()
        try:
            port = _Port(order.node, order.host, order.port)
        except OSError as error:
            raise OSError(error.errno, can_t_listen(order, _reason(error))) from None
        self._ports[order.node] = port
        self._selector.register(port.sock, selectors.EVENT_READ, lambda _: self._accept(port))
        self._engine.listening(order.node, Address(order.host, port.address[1]), time.monotonic())

    def _accept(self, port: _Port) -> None:
        if not port.listens:  # no longer, since a moment ago
            return
        try:
            sock, _ = port.sock.accept()
        except BlockingIOError:  # the client has given up
            return
        except OSError:  # too many open files, mostly: it would be ready again at once
            time.sleep(BREATH)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(self._engine.accepted(port.node, time.monotonic()), sock)
        self._clients[client.conn] = client
        self._selector.register(sock, selectors.EVENT_READ, lambda events: self._ready(client, events))

    # -------------------------------------------------------------------------------------------------------- clients

    def _ready(self, client: _Client, events: int) -> None:
        # What came before in the same turn may have closed it.
        if events & selectors.EVENT_WRITE and client.conn in self._clients:
            self._flush(client)
        if events & selectors.EVENT_READ and client.conn in self._clients:
            self._read(client)

    def _read(self, client: _Client) -> None:
        try:
            data = client.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(client, str(error))
            return
        if data:
            self._engine.receive_data(client.conn, data, time.monotonic())
        else:
            self._lost(client, "")

    def _flush(self, client: _Client) -> None:
        try:
            while client.unsent:
                del client.unsent[: client.sock.send(client.unsent[:CHUNK])]
        except BlockingIOError:
            self._want(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
            return
        except OSError as error:
            self._lost(client, str(error))
            return
        if client.closing:
            self._forget(client)
        else:
            self._want(client, selectors.EVENT_READ)

    def _want(self, client: _Client, events: int) -> None:
        key = self._selector.get_key(client.sock)
        if key.events != events:
            self._selector.modify(client.sock, events, key.data)

    def _lost(self, client: _Client, error: str) -> None:
        self._forget(client)
        self._engine.disconnected(client.conn, error, time.monotonic())

    def _forget(self, client: _Client) -> None:
        del self._clients[client.conn]
        self._selector.unregister(client.sock)
        client.sock.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _reason(error: OSError) -> str:
    """What is wrong, without what Python says about where."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
