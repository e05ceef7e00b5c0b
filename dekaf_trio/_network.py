"""Where the driver takes its streams and addresses from.

A program that wants others (a tunnel, a test with memory streams and trio's MockClock) gives a `Network` of its own.
"""

from __future__ import annotations

import trio

from dekaf_proto.events import Address, Connect


class Network:
    """TCP, and the system's name resolution. What fails raises OSError (streams: also trio.BrokenResourceError)."""

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of `host`, in the order in which to try them."""
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        return list(dict.fromkeys(Address(str(place[0]), port) for *_, place in found))

    async def connect(self, order: Connect) -> trio.abc.Stream:
        """A stream to `order.address`; given up, it leaves nothing open."""
        family = trio.socket.AF_INET6 if ":" in order.address.host else trio.socket.AF_INET
        sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
        try:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_KEEPALIVE, 1)
            await sock.connect(tuple(order.address))
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)  # which turns Nagle's delay off
