"""A client without any logic, for tests of the broker: what a test says goes out, what comes back is decoded."""

from __future__ import annotations

from typing import TypeVar

from dekaf_proto.broker import Broker
from dekaf_proto.events import Address, Disconnect, Listen, Send
from dekaf_proto.wire import FrameReader, decode_response, encode_request, response_class
from dekaf_proto.wire.schema import Request, Response

S = TypeVar("S", bound=Response)

START = 100.0


class Peer:
    """Drives a broker: carries out its effects, keeps the clock, and holds what each connection was sent."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.now = START
        self.readers: dict[int, FrameReader] = {}
        self.received: dict[int, bytes] = {}
        self.closed: list[int] = []
        self._correlation_id = 0
        self.drain()

    def drain(self) -> None:
        """Carries out what the broker wants."""
        for effect in self.broker.effects():
            if isinstance(effect, Listen):
                self.broker.listening(effect.node, Address("127.0.0.1", effect.port or 9092 + effect.node), self.now)
            elif isinstance(effect, Send):
                self.received[effect.conn] += effect.data
                self.readers[effect.conn].receive_data(effect.data)
            else:
                assert isinstance(effect, Disconnect)
                self.closed.append(effect.conn)

    def connect(self, node: int = 0) -> int:
        """A new connection to a node."""
        conn = self.broker.accepted(node, self.now)
        self.readers[conn] = FrameReader()
        self.received[conn] = b""
        return conn

    def send_bytes(self, conn: int, data: bytes) -> None:
        """Bytes, whatever they are."""
        self.broker.receive_data(conn, data, self.now)
        self.drain()

    def send(self, conn: int, request: Request[S], version: int) -> int:
        """A request; returns its correlation id."""
        self._correlation_id += 1
        self.send_bytes(conn, encode_request(request, version, self._correlation_id, "peer"))
        return self._correlation_id

    def frame(self, conn: int) -> bytes | None:
        """The next frame that the connection was sent, None if there is none."""
        self.drain()
        return self.readers[conn].next_frame()

    def receive(self, conn: int, cls: type[S], version: int) -> S | None:
        """The next response, None if there is none."""
        frame = self.frame(conn)
        return None if frame is None else decode_response(cls, version, frame)[1]

    def ask(self, request: Request[S], version: int, *, conn: int | None = None, node: int = 0) -> S:
        """A request, and its response, which comes at once; on a new connection if none is given."""
        conn = self.connect(node) if conn is None else conn
        self.send(conn, request, version)
        response = self.receive(conn, response_class(type(request)), version)
        assert response is not None
        return response

    def pass_time(self, seconds: float) -> None:
        """Lets time pass, deadline by deadline."""
        end = self.now + seconds
        while (deadline := self.broker.next_deadline()) is not None and deadline <= end:
            assert deadline >= self.now, "a deadline in the past"
            self.now = deadline
            self.broker.handle_timeout(self.now)
            self.drain()
        self.now = end
