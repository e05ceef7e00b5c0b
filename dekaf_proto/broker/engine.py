"""`Broker`: connections, requests and their answers, time.

    inputs    listening(node, address, now)   accepted(node, now) -> conn   receive_data(conn, data, now)
              disconnected(conn, error, now)   handle_timeout(now)
    outputs   effects() -> [Listen | Send | Disconnect]   next_deadline() -> float | None   closed

Requests of one connection are answered in their order, one at a time: a long poll holds up what was sent after it, as
in Kafka. A peer that breaks the protocol is disconnected without an answer (W2, W26). The methods for programs in the
same process are in `inprocess`, the answers in `handlers`, the faults in `faults`.

A driver has no order to stop listening: it asks `is_listening(node)`, which is false while a node is stopped, and takes
no connection for it then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from dekaf_proto.broker.cluster import Cluster, Node, NodeState
from dekaf_proto.broker.exchange import Exchange, Outcome, Pending, Unanswered
from dekaf_proto.broker.faults import ArmedFaults
from dekaf_proto.broker.groups import GroupOptions
from dekaf_proto.broker.handlers import HANDLERS
from dekaf_proto.broker.handlers.api_versions import refusal
from dekaf_proto.broker.inprocess import InProcess
from dekaf_proto.broker.transaction_coordinator import TransactionCoordinator
from dekaf_proto.broker.transactions import TransactionOptions
from dekaf_proto.broker.versions import VersionRange, offered_versions
from dekaf_proto.errors import DecodeError, FrameError, UnsupportedVersionError
from dekaf_proto.events import Address, BrokerEffect, Disconnect, Listen, Send
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.header import RequestHeader
from dekaf_proto.wire import FrameReader, decode_request, encode_response
from dekaf_proto.wire.schema import Message, Request, Response

M = TypeVar("M", bound=Message)

MAX_REQUEST_SIZE: Final = 104_857_600  # socket.request.max.bytes
_FOREVER: Final = float("inf")


class ReceivedRequest(NamedTuple):
    """A request as it came, for tests to look at."""

    now: float
    node: int
    conn: int
    header: RequestHeader
    request: Request[Response]


@dataclass(slots=True, eq=False)
class _Waiting:
    """The request that a connection is busy with: until it has a response, and then until that may go out."""

    header: RequestHeader
    request: Request[Response]
    faults: ArmedFaults
    pending: Pending | None = None
    response: Response | Unanswered | None = None
    deadline: float = _FOREVER


@dataclass(slots=True, eq=False)
class _Connection:
    number: int
    node: Node
    last_active: float
    frames: FrameReader = field(default_factory=lambda: FrameReader(MAX_REQUEST_SIZE))
    waiting: _Waiting | None = None


class Broker(InProcess):
    """A Kafka cluster of `nodes` nodes (numbered from 0, or with the numbers given), without I/O; see the module.

    `host` is what every node listens on and advertises (`{node}` in it becomes the number), `port` that of the first
    node, the others follow; 0 leaves the choice to the driver. `racks`: node -> rack. `release` ("2.4") and
    `api_versions` ({ApiKey.FETCH: (4, 11), ApiKey.OFFSET_COMMIT: None}) make it older than it is.
    `fetch_sessions`: how many a node remembers, 0 for none. `max_idle`: seconds until an idle connection is closed.
    `group_options`, `transaction_options`: what Kafka's options say of groups and of transactions.
    `transaction_version`: the level of that feature; None for 2, or 0 where the offered versions have no EndTxn 5.
    `auto_create_partitions`: of topics that a Metadata request may create, None if it may not. Unix time is `now +
    unix_offset`. `seed` makes the ids.
    """

    def __init__(
        self,
        *,
        nodes: int | Sequence[int] = 1,
        cluster_id: str | None = None,
        unix_offset: float = 0.0,
        seed: int = 0,
        release: str | None = None,
        api_versions: Mapping[ApiKey, VersionRange | None] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        racks: Mapping[int, str] | None = None,
        fetch_sessions: int = 1000,
        max_idle: float | None = 600.0,
        auto_create_partitions: int | None = 1,
        group_options: GroupOptions | None = None,
        transaction_options: TransactionOptions | None = None,
        transaction_version: int | None = None,
        keep_requests: int = 10_000,
    ) -> None:
        numbers = list(range(nodes)) if isinstance(nodes, int) else list(nodes)
        if {*map(type, numbers)} != {int} or min(numbers) < 0 or len({*numbers}) < len(numbers):
            raise ValueError(f"nodes have to be a number, at least 1, or different numbers from 0 on, not {nodes!r}")
        if auto_create_partitions is not None and auto_create_partitions < 1:
            raise ValueError(f"auto_create_partitions has to be at least 1, or None, not {auto_create_partitions}")
        places = {
            number: (host.replace("{node}", str(number)), port + index if port else 0, (racks or {}).get(number))
            for index, number in enumerate(numbers)
        }
        #: The versions that are offered.
        self.versions = offered_versions(HANDLERS, release, api_versions)
        if transaction_version is None:
            transaction_version = 2 if self.versions.get(ApiKey.END_TXN, (0, 0))[1] >= 5 else 0
        cluster = Cluster(places, cluster_id, fetch_sessions, seed, group_options, unix_offset)
        cluster.auto_create_partitions = auto_create_partitions
        super().__init__(cluster, TransactionCoordinator(cluster, transaction_options, transaction_version))
        #: The last requests, `keep_requests` of them; `clear()` it as you like.
        self.requests: deque[ReceivedRequest] = deque(maxlen=keep_requests)
        self.closed = False
        self._max_idle = max_idle
        self._connections: dict[int, _Connection] = {}
        self._last_conn = 0
        self._dirty = False
        self._effects: list[BrokerEffect] = []
        for node in self.cluster.nodes.values():
            self._effects.append(Listen(node.number, node.host, node.port))

    # -------------------------------------------------------------------------------------------------------- inputs

    def listening(self, node: int, address: Address, now: float) -> None:
        """A node listens at `address`; its port is what Metadata names from now on."""
        self._now = now
        self.cluster.nodes[node].address = address

    def accepted(self, node: int, now: float) -> int:
        """A client has connected to a node; returns the connection's number. ValueError if the node does not listen."""
        self._now = now
        if not self.is_listening(node):
            raise ValueError(f"node {node} does not listen")
        self._last_conn += 1
        self._connections[self._last_conn] = _Connection(self._last_conn, self.cluster.nodes[node], now)
        return self._last_conn

    def receive_data(self, conn: int, data: bytes, now: float) -> None:
        """Bytes of a client. Never raises for what they are."""
        self._now = now
        connection = self._connections.get(conn)
        if connection is not None:
            connection.last_active = now
            connection.frames.receive_data(data)
            self._serve(connection)

    def disconnected(self, conn: int, error: str, now: float) -> None:
        """A client has gone; `error` is empty if it closed the connection itself."""
        self._now = now
        self._connections.pop(conn, None)

    def handle_timeout(self, now: float) -> None:
        """The deadline has come."""
        self._now = now
        self.cluster.expire_groups(now)
        self.transactions.handle_timeout(now)
        for connection in list(self._connections.values()):
            if connection.node.state is not NodeState.RUNNING:
                continue
            if connection.waiting is not None:
                self._resume(connection)
            elif self._idle_deadline(connection) <= now:
                self._disconnect(connection)

    def close(self, now: float) -> None:
        """Closes all connections; nothing is accepted any more."""
        self._now = now
        self.closed = True
        for connection in list(self._connections.values()):
            self._disconnect(connection)

    # ------------------------------------------------------------------------------------------------------- outputs

    def effects(self) -> list[BrokerEffect]:
        """What the driver has to do, in this order. Drained after each input and each call."""
        while self._dirty or self.cluster.news:
            self._dirty = self.cluster.news = False
            self.transactions.progress(self._now)
            for connection in list(self._connections.values()):
                if connection.waiting is not None and connection.waiting.pending is not None:
                    self._resume(connection)
        drained, self._effects = self._effects, []
        return drained

    def next_deadline(self) -> float | None:
        """When `handle_timeout` is due, None for never."""
        deadlines = [
            connection.waiting.deadline if connection.waiting is not None else self._idle_deadline(connection)
            for connection in self._connections.values()
            if connection.node.state is NodeState.RUNNING
        ]
        earliest = min(self.cluster.group_deadline(), self.transactions.next_deadline(), *deadlines)
        return None if earliest == _FOREVER else earliest

    def is_listening(self, node: int) -> bool:
        """Whether connections to a node can be made: it listens, and is not stopped."""
        found = self.cluster.nodes[node]
        return not self.closed and found.address is not None and found.alive

    @property
    def nodes(self) -> list[int]:
        """The numbers of all nodes."""
        return list(self.cluster.nodes)

    @property
    def cluster_id(self) -> str:
        """The cluster's id."""
        return self.cluster.cluster_id

    def connections(self, node: int | None = None) -> list[int]:
        """The open connections, of one node or all."""
        return [found.number for found in self._connections.values() if node in (None, found.node.number)]

    def requests_of(self, cls: type[M], node: int | None = None) -> list[M]:
        """The requests of a class among `requests`, to one node or all."""
        return [
            received.request
            for received in self.requests
            if isinstance(received.request, cls) and node in (None, received.node)
        ]

    # --------------------------------------------------------------------------------------------------------- nodes

    def stop_node(self, node: int, now: float, *, elect: bool = True) -> None:
        """A node is gone: its connections close, it forgets its fetch sessions, and refuses connections.

        What it led is led by its partitions' next living replicas, in a new leader epoch. With `elect=False` the
        cluster has not noticed yet: leaders stay as they are.
        """
        self._now = now
        stopped = self.cluster.nodes[node]
        stopped.state = NodeState.STOPPED
        stopped.sessions.expire_all()
        for connection in list(self._connections.values()):
            if connection.node is stopped:
                self._disconnect(connection)
        if elect:
            self.cluster.elect()
        self.cluster.move_groups(now)
        self.transactions.move_all(now)
        self._changed()

    def start_node(self, node: int, now: float) -> None:
        """A stopped node is back, at the same port, and leads what nobody led."""
        self._now = now
        started = self.cluster.nodes[node]
        if started.state is not NodeState.STOPPED:
            raise ValueError(f"node {node} is not stopped")
        started.state = NodeState.RUNNING
        port = started.address.port if started.address is not None else started.port
        started.address = None
        self._effects.append(Listen(node, started.host, port))
        self.cluster.elect()
        self.cluster.move_groups(now)
        self.transactions.move_all(now)
        self._changed()

    def pause_node(self, node: int, now: float) -> None:
        """A node's process stands still: connections are accepted and stay open, but nothing is answered."""
        self._now = now
        self.cluster.nodes[node].state = NodeState.PAUSED

    def resume_node(self, node: int, now: float) -> None:
        """A paused node goes on, with what has arrived meanwhile."""
        self._now = now
        resumed = self.cluster.nodes[node]
        if resumed.state is not NodeState.PAUSED:
            raise ValueError(f"node {node} is not paused")
        resumed.state = NodeState.RUNNING
        for connection in list(self._connections.values()):
            if connection.node is resumed:
                if connection.waiting is not None:
                    self._resume(connection)
                self._serve(connection)
        self.cluster.expire_groups(now)  # those whose heartbeats have not come meanwhile
        self.transactions.handle_timeout(now)

    def disconnect(self, node: int | None = None) -> None:
        """Closes the connections to a node, or all; clients may connect again at once."""
        only = None if node is None else self.cluster.nodes[node]
        for connection in list(self._connections.values()):
            if only in (None, connection.node):
                self._disconnect(connection)

    # ------------------------------------------------------------------------------------------------------- requests

    def _changed(self) -> None:
        self._dirty = True

    def _serve(self, connection: _Connection) -> None:
        """Works off the frames that are there, until one has to wait."""
        while (
            connection.waiting is None
            and connection.number in self._connections
            and connection.node.state is NodeState.RUNNING
        ):
            try:
                frame = connection.frames.next_frame()
                if frame is None:
                    return
                self._handle(connection, frame)
            except (FrameError, DecodeError, UnsupportedVersionError):
                self._disconnect(connection)

    def _handle(self, connection: _Connection, frame: bytes) -> None:
        key, version = (int.from_bytes(frame[at : at + 2], "big", signed=True) for at in (0, 2))
        offered = self.versions.get(ApiKey(key)) if key in HANDLERS else None
        if offered is None or not offered[0] <= version <= offered[1]:
            if key == ApiKey.API_VERSIONS and offered is not None and len(frame) >= 8:
                # W21: the only API whose wrong version is answered.
                correlation_id = int.from_bytes(frame[4:8], "big", signed=True)
                answer = encode_response(refusal(self.versions), 0, correlation_id)
                self._effects.append(Send(connection.number, answer))
                return
            raise UnsupportedVersionError(f"API {key} version {version} is not offered")
        header, request = decode_request(frame)
        node = connection.node.number
        self.requests.append(ReceivedRequest(self._now, node, connection.number, header, request))
        faults = self.faults.take(node, header, request)
        if faults.drop == "before":
            self._disconnect(connection)
            return
        connection.waiting = waiting = _Waiting(header, request, faults)
        if faults.silent == "before":
            return
        exchange = Exchange(
            self.cluster, node, header.client_id or "", version, self._now, faults, self.versions, self.transactions
        )
        self._take(waiting, HANDLERS[ApiKey(key)](exchange, request))
        self._advance(connection)

    def _resume(self, connection: _Connection) -> None:
        """Looks again at the request that a connection is busy with, and goes on with those behind it."""
        if connection.node.state is NodeState.RUNNING:
            self._advance(connection)
            self._serve(connection)

    def _advance(self, connection: _Connection) -> None:
        waiting = connection.waiting
        assert waiting is not None
        while waiting.pending is not None:
            outcome = waiting.pending.poll(waiting.deadline <= self._now)
            if outcome is None:
                return
            self._take(waiting, outcome)
        if waiting.response is None or waiting.deadline > self._now:
            return
        connection.waiting = None
        connection.last_active = self._now
        self._send(connection, waiting, waiting.response)

    def _take(self, waiting: _Waiting, outcome: Outcome) -> None:
        """The response is there, and goes out at once, later or never; or it has to be waited for."""
        if isinstance(outcome, Pending):
            waiting.pending, waiting.deadline = outcome, outcome.deadline
            return
        waiting.pending = None
        if not isinstance(outcome, Unanswered):
            outcome = waiting.faults.apply(waiting.request, outcome)
        waiting.response = outcome
        waiting.deadline = _FOREVER if waiting.faults.silent else self._now + waiting.faults.delay

    def _send(self, connection: _Connection, waiting: _Waiting, response: Response | Unanswered) -> None:
        faults, header = waiting.faults, waiting.header
        if faults.drop or (isinstance(response, Unanswered) and response.disconnect):
            self._disconnect(connection)
            return
        if isinstance(response, Unanswered):
            return
        frame = faults.reply
        if frame is None:
            frame = encode_response(response, header.request_api_version, header.correlation_id)
        self._effects.append(Send(connection.number, frame[: faults.truncate]))
        if faults.truncate is not None:
            self._disconnect(connection)

    def _disconnect(self, connection: _Connection) -> None:
        del self._connections[connection.number]
        self._effects.append(Disconnect(connection.number))

    def _idle_deadline(self, connection: _Connection) -> float:
        return _FOREVER if self._max_idle is None else connection.last_active + self._max_idle
