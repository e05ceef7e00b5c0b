"""Asks brokers of a real Kafka one question at a time, and waits for each answer: all that the demo's topic needs."""

from __future__ import annotations

import socket
from typing import Any, Final, TypeVar

from dekaf_proto.config import HostPort, parse_bootstrap_servers
from dekaf_proto.connection import NEED_DATA, Answer, BrokerConnection, ByVersion, ConnectionClosed, ConnectionEvent
from dekaf_proto.messages import MetadataRequest, MetadataResponse
from dekaf_proto.messages.metadata import MetadataRequestTopic
from dekaf_proto.wire.schema import Request, Response

S = TypeVar("S", bound=Response)

#: How long a broker may take to connect, and to answer, in seconds.
TIMEOUT: Final = 10.0


class Unreachable(OSError):
    """No broker of the list could be asked."""


class _Link:
    """A connection to a broker."""

    def __init__(self, address: HostPort) -> None:
        self._sock: Final = socket.create_connection(address, timeout=TIMEOUT)
        self._protocol: Final = BrokerConnection(client_id="dekaf-demo")
        try:
            self._next_event()  # it is ready
        except BaseException:
            self._sock.close()
            raise

    def ask(self, request: Request[Any] | ByVersion[Any]) -> Response:
        _, data = self._protocol.send(request)
        self._sock.sendall(data)
        event = self._next_event()
        assert isinstance(event, Answer)
        return event.response

    def close(self) -> None:
        self._sock.close()

    def _next_event(self) -> ConnectionEvent:
        while (event := self._protocol.next_event()) is NEED_DATA:
            self._sock.sendall(self._protocol.data_to_send())
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionError("the broker has closed the connection")
            self._protocol.receive_data(data)
        if isinstance(event, ConnectionClosed):
            raise event.error or ConnectionError("the connection is closed")
        return event


class Brokers:
    """The brokers of a cluster. OSError for those that can't be reached or do not answer, KafkaError for what they say;
    ValueError for `servers` that can't be."""

    def __init__(self, servers: str) -> None:
        self._servers: Final = parse_bootstrap_servers(servers)
        self._nodes: dict[int, HostPort] = {}
        self._links: Final[dict[HostPort, _Link]] = {}

    def close(self) -> None:
        """Closes all connections."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    def metadata(self, topic: str) -> MetadataResponse:
        """What any of the brokers knows of the topic, and of the others."""
        request = MetadataRequest([MetadataRequestTopic(name=topic)], allow_auto_topic_creation=False)
        found = self._try_each(request, (*self._nodes.values(), *self._servers))
        self._nodes = {broker.node_id: HostPort(broker.host, broker.port) for broker in found.brokers}
        return found

    def ask(self, node: int, request: Request[S] | ByVersion[S]) -> S:
        """The answer of a node, which metadata has told of."""
        if node not in self._nodes:
            raise Unreachable(f"node {node} is not there")
        return self._ask(self._nodes[node], request)

    def _try_each(self, request: Request[S], addresses: tuple[HostPort, ...]) -> S:
        failed = []
        for address in dict.fromkeys(addresses):
            try:
                return self._ask(address, request)
            except OSError as error:
                failed.append(f"{address}: {error}")
        raise Unreachable("no broker can be reached (" + "; ".join(failed) + ")")

    def _ask(self, address: HostPort, request: Request[S] | ByVersion[S]) -> S:
        link = self._links.pop(address, None) or _Link(address)
        try:
            answer: Any = link.ask(request)
        except BaseException:  # also Ctrl+C: the answer would come to the next question
            link.close()
            raise
        self._links[address] = link
        return answer  # type: ignore[no-any-return]  # the connection has decoded it as what belongs to the request
