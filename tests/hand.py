"""A client driven by hand: each effect is looked at, each answer written."""

from __future__ import annotations

from typing import Any, TypeVar

from dekaf_proto.client import LEAST_LOADED, Client
from dekaf_proto.cluster import BrokerInfo
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.errors import (
    ConnectionLostError,
)
from dekaf_proto.events import Connect, Effect, Send
from dekaf_proto.messages import ApiKey, request_class
from dekaf_proto.messages.api_versions import ApiVersion, ApiVersionsResponse
from dekaf_proto.messages.header import RequestHeader
from dekaf_proto.messages.metadata import MetadataRequest, MetadataResponse
from dekaf_proto.node import Node, NodeKey
from dekaf_proto.operation import Call, Flow
from dekaf_proto.wire import decode_request, encode_response
from dekaf_proto.wire.schema import Request, Response

E = TypeVar("E", bound=Effect)

ALL = {key: (request_class(key).VERSIONS.min, request_class(key).VERSIONS.max) for key in ApiKey}


class Hand:
    """A client, its effects, and the hand that answers them."""

    def __init__(self, *servers: str, seed: int = 0, **options: Any) -> None:
        config: ConsumerConfig[Any, Any] = ConsumerConfig(bootstrap_servers=servers or ("10.0.0.1:9092",), **options)
        self.client = Client(config, seed=seed, unix_offset=0.0)
        self.client.now = self.client.runner.now = 100.0
        self.lost: list[Node] = []
        self.troubles: list[Exception] = []
        self.client.on_lost = self.lost.append
        self.client.on_trouble = self.troubles.append
        self.results: list[tuple[object, Any, Exception | None]] = []
        self.effects: list[Effect] = []
        self.asked: dict[int, list[tuple[RequestHeader, Request[Response]]]] = {}

    @property
    def now(self) -> float:
        return self.client.now

    # effects

    def drain(self) -> list[Effect]:
        """All effects so far; what is sent is decoded into `asked`."""
        for effect in self.client.effects():
            self.effects.append(effect)
            if isinstance(effect, Send):
                data = effect.data
                while data:
                    size = int.from_bytes(data[:4], "big")
                    self.asked.setdefault(effect.conn, []).append(decode_request(data[4 : 4 + size]))
                    data = data[4 + size :]
        return self.effects

    def take(self, kind: type[E]) -> E:
        """The one effect of a kind that is there, which is taken away; what was sent before does not matter."""
        (found,) = [effect for effect in self.drain() if isinstance(effect, kind)]
        self.effects.clear()
        return found

    def nothing(self) -> bool:
        return not self.drain()

    # the far side

    def answer_versions(self, conn: int, ranges: dict[ApiKey, tuple[int, int]] | None = None, **fields: Any) -> None:
        keys = [ApiVersion(key, low, high) for key, (low, high) in (ALL if ranges is None else ranges).items()]
        self.reply(conn, ApiVersionsResponse(api_keys=keys, **fields))

    def reply(self, conn: int, response: Response) -> None:
        """Answers the oldest request on a connection."""
        self.drain()
        header, _ = self.asked[conn].pop(0)
        data = encode_response(response, header.request_api_version, header.correlation_id)
        self.client.receive_data(conn, data, self.now)

    def connect(self, *, ready: bool = True) -> int:
        """Carries out the one Connect that is there."""
        conn = self.take(Connect).conn
        self.client.connected(conn, self.now)
        if ready:
            self.answer_versions(conn)
        return conn

    # the near side

    def ask(self, target: object = LEAST_LOADED, mark: object = None, **options: Any) -> None:
        def on_done(response: Any, error: Exception | None) -> None:
            self.results.append((mark, response, error))

        request = options.pop("request", None) or MetadataRequest(topics=[])
        self.client.request(target, request, on_done, **options)

    def ready(self, target: object = LEAST_LOADED) -> int:
        """A connection that is ready and has nothing to do."""
        self.ask(target)
        conn = self.connect()
        self.reply(conn, MetadataResponse())
        self.results.clear()
        self.effects.clear()
        return conn

    def know(self, *ids: int) -> None:
        """Metadata with these brokers has arrived."""
        self.client.cluster.brokers = {n: BrokerInfo(n, f"10.0.1.{n}", 9092) for n in ids}
        self.client.metadata_arrived()

    def at(self, now: float) -> None:
        self.client.handle_timeout(now)
        self.client.runner.run(now)

    def after(self, seconds: float) -> None:
        self.at(self.now + seconds)

    def node(self, target: object = None) -> Node:
        """A node, by default that of the first bootstrap server."""
        if target is None:
            return self.client._bootstrap[0]
        return self.client._nodes[target if isinstance(target, NodeKey) else NodeKey(int(str(target)))]

    def error(self, index: int = -1) -> ConnectionLostError:
        error = self.results[index][2]
        assert isinstance(error, ConnectionLostError)
        return error


def flow_of(call: Call) -> Flow[Any]:
    """A flow that makes one call."""
    return (yield call)
