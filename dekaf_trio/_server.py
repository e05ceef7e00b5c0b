"""What an embedded broker has of its clients and its ports."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from math import inf
from typing import Final

import trio


class Client:
    """The broker's end of a connection."""

    def __init__(self, conn: int, stream: trio.abc.Stream) -> None:
        self.conn: Final = conn
        self.stream: Final = stream
        self.scope: Final = trio.CancelScope()
        self.sending, self.to_send = trio.open_memory_channel[bytes](inf)


class Port:
    """A node's port. While the node is stopped, the socket is bound and does not listen: connections are refused, and
    the system gives the port to nobody's outgoing connection."""

    def __init__(self, host: str, port: int) -> None:
        sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.address: Final = sock.getsockname()
        self.family: Final = sock.family
        self.listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        self.kept: socket.socket | None = None

    def stop(self) -> None:
        self.listener.socket.close()
        self.kept = socket.socket(self.family, socket.SOCK_STREAM)
        if os.name == "posix":  # it means something else on Windows
            self.kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody was quicker; who starts the node is told
            self.kept.bind(self.address)

    def close(self) -> None:
        self.listener.socket.close()
        if self.kept is not None:
            self.kept.close()


def reason_of(error: OSError) -> str:
    """What is wrong, without what Python says about where."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
