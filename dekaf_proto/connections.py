"""Makes connections to nodes, keeps them, and carries requests over them in time (C2-C5, W11, W31).

A request that could not be answered fails; nothing is tried again here. Which node is asked is `client`'s affair, how
the bytes of one connection are read `connection`'s.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from dekaf_proto import __version__
from dekaf_proto.cluster import Cluster
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.connection import NEED_DATA, Answer, BrokerConnection, Ready
from dekaf_proto.errors import ConnectionLostError, KafkaError, RebootstrapRequiredError
from dekaf_proto.events import Address, Connect, Disconnect, Effect, Resolve, Send
from dekaf_proto.logs import RateLimited
from dekaf_proto.messages import ApiKey
from dekaf_proto.node import Node, NodeInput, NodeState
from dekaf_proto.operation import sooner
from dekaf_proto.wire.schema import Buffer

log = logging.getLogger("dekaf.client")

#: From which version of its response on a throttle is the client's to keep (W31); older brokers have waited themselves.
THROTTLED_SINCE: Final[dict[int, int]] = {
    ApiKey.PRODUCE: 6,
    ApiKey.FETCH: 8,
    ApiKey.LIST_OFFSETS: 3,
    ApiKey.METADATA: 6,
    ApiKey.OFFSET_COMMIT: 4,
    ApiKey.OFFSET_FETCH: 4,
    ApiKey.FIND_COORDINATOR: 2,
    ApiKey.JOIN_GROUP: 3,
    ApiKey.HEARTBEAT: 2,
    ApiKey.LEAVE_GROUP: 2,
    ApiKey.SYNC_GROUP: 2,
    ApiKey.INIT_PRODUCER_ID: 1,
    ApiKey.ADD_PARTITIONS_TO_TXN: 1,
    ApiKey.ADD_OFFSETS_TO_TXN: 1,
    ApiKey.END_TXN: 1,
    ApiKey.TXN_OFFSET_COMMIT: 1,
    ApiKey.CONSUMER_GROUP_HEARTBEAT: 0,
}


class Connections(ABC):
    """The connections of one engine. `seed` makes its random choices. `_useful` hears of each node that is ready or has
    answered."""

    def __init__(self, config: ConsumerConfig[Any, Any], seed: int) -> None:
        self.config = config
        self.random = Random(seed)
        self.now = 0.0
        self.closed = False
        self.cluster = Cluster()
        self.warn = RateLimited(log)
        #: What a program may want to know of the traffic.
        self.counts: Counter[str] = Counter()
        #: Called with the node when a connection is lost or given up, or was not there in time for a request.
        self.on_lost: Callable[[Node], None] = lambda node: None
        #: Called with an error that the program must know though nobody asked.
        self.on_trouble: Callable[[Exception], None] = lambda error: None
        self._effects: list[Effect] = []
        self._by_handle: dict[int, Node] = {}
        self._next_handle = 1

    @abstractmethod
    def _all_nodes(self) -> list[Node]: ...

    @abstractmethod
    def _useful(self, node: Node) -> None: ...

    @abstractmethod
    def rebootstrap(self, why: str) -> None: ...

    # ------------------------------------------------------------------------------------------- a driver's inputs

    def resolved(self, query: int, addresses: Sequence[Address], now: float) -> None:
        node = self._at(query, NodeState.RESOLVING, now)
        if node is None:
            return
        if not addresses:
            self._failed(node, node.host, "the name has no address")
            return
        v6 = ":" in addresses[0].host
        usable = [a for a in addresses if (":" in a.host) == v6]  # one family, the one preferred here (C3)
        if node.avoid in usable and len(usable) > 1:
            usable.remove(node.avoid)
            usable.append(node.avoid)
        node.avoid = None
        node.addresses.extend(usable)
        self._connect_next(node)

    def resolve_failed(self, query: int, error: str, now: float) -> None:
        node = self._at(query, NodeState.RESOLVING, now)
        if node is not None:
            self._failed(node, node.host, error)

    def connected(self, conn: int, now: float) -> None:
        node = self._at(conn, NodeState.CONNECTING, now)
        if node is None:
            return
        node.connect_failures = 0
        node.move(NodeInput.CONNECTED)
        known = self.config.metadata_recovery_strategy == "rebootstrap" and self.config.metadata_cluster_check_enable
        node.connection = BrokerConnection(
            client_id=self.config.client_id,
            software_version=__version__,
            cluster_id=self.cluster.cluster_id if known else None,
            node_id=node.key.node_id,
            max_frame_size=self.config.receive_message_max_bytes,
        )
        self._send(node, node.connection.data_to_send())

    def connect_failed(self, conn: int, error: str, now: float) -> None:
        node = self._at(conn, NodeState.CONNECTING, now)
        if node is not None:
            self._forget_handles(node)  # the driver has closed it already
            self._connect_failed(node, error)

    def receive_data(self, conn: int, data: Buffer, now: float) -> bool:
        """Whether anything came of it: most reads bring a part of a response only."""
        node = self._at(conn, None, now)
        if node is None or node.connection is None:
            return False
        self.counts["bytes_received"] += len(data)
        connection = node.connection
        connection.receive_data(data)
        happened = False
        while node.connection is connection and (event := connection.next_event()) is not NEED_DATA:
            happened = True
            if isinstance(event, Answer):
                self._answered(node, event)
            elif isinstance(event, Ready):
                self._ready(node, event.throttle_time_ms)
            else:
                self._broken(node, event.error)
        if node.connection is connection and (more := connection.data_to_send()):
            self._send(node, more)  # the negotiation's next question (W21)
        return happened

    def disconnected(self, conn: int, error: str, now: float) -> None:
        node = self._at(conn, None, now)
        if node is None or node.conn is None:
            return
        self._forget_handles(node)  # the driver has closed it already
        if node.state is NodeState.READY and not node.load:
            self._let_go(node)  # the broker closes what is idle: no fault (C5)
        else:
            self._lost(node, error or "the broker closed the connection")

    def handle_timeout(self, now: float) -> None:
        self.now = now
        for node in self._all_nodes() if not self.closed else ():
            self._check_time(node)

    def effects(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> float | None:
        """When `handle_timeout` has to be called at the latest."""
        idle = self.config.connections_max_idle_ms / 1000
        earliest: float | None = None
        for node in self._all_nodes():
            earliest = sooner(earliest, node.next_deadline(idle))
        return earliest

    def _at(self, handle: int, state: NodeState | None, now: float) -> Node | None:
        """The node that an input is about; None if the input is stale."""
        self.now = now
        node = self._by_handle.get(handle)
        return node if node is not None and (state is None or node.state is state) else None

    # -------------------------------------------------------------------------------------------------- connecting

    def _handle(self, node: Node) -> int:
        handle = self._next_handle
        self._next_handle += 1
        self._by_handle[handle] = node
        return handle

    def _dial(self, node: Node) -> None:
        node.move(NodeInput.WANTED)
        node.last_tried = self.now
        if node.addresses:
            self._connect_next(node)
        elif _is_numeric(node.host):
            node.addresses.append(Address(node.host, node.port))
            self._connect_next(node)
        else:
            node.query = self._handle(node)
            node.setup_deadline = self.now + self._setup_seconds(node)
            self._effects.append(Resolve(node.query, node.host, node.port))

    def _connect_next(self, node: Node) -> None:
        self._forget_handles(node)
        node.move(NodeInput.HAS_ADDRESS)
        node.address = node.addresses.popleft()
        node.conn = self._handle(node)
        node.setup_deadline = self.now + self._setup_seconds(node)
        self._effects.append(Connect(node.conn, node.address, node.host, tls=False))

    def _setup_seconds(self, node: Node) -> float:
        base = self.config.socket_connection_setup_timeout_ms
        longest = self.config.socket_connection_setup_timeout_max_ms
        return self._grown(base, longest, node.connect_failures) if node.connect_failures else base / 1000

    def _grown(self, base_ms: int, max_ms: int, failures: int) -> float:
        """C2: doubled with each failure, give or take a fifth, so that not all clients come back at once."""
        # Never nothing at all: what fails at once would be tried again for ever within one moment.
        return max(1.0, min(max_ms, base_ms * 2.0 ** min(failures, 30) * self.random.uniform(0.8, 1.2))) / 1000

    def _connect_failed(self, node: Node, error: str) -> None:
        node.connect_failures += 1
        if node.addresses:
            node.trying.append((str(node.address), error))
            self._hang_up(node)
            self._connect_next(node)
        else:
            self._failed(node, str(node.address), error)

    def _failed(self, node: Node, where: str, error: str) -> None:
        """An attempt has failed for good, or a connection is lost: the node gets a rest, who waits for it an error."""
        self.counts["failed_connects"] += node.state is not NodeState.READY
        self._hang_up(node)
        node.causes = [*node.trying, (where, error)]
        node.trying = []
        rest = self._rest(node, node.failures)
        node.failures += 1
        failure = ConnectionLostError(node.name, node.causes)
        self.warn.warning(self.now, node.name, "%s; next attempt in %.2f s at the earliest", failure, rest)
        self._fail_requests(node, failure)

    def _rest(self, node: Node, failures: int) -> float:
        """Leaves a node alone for a while; for how long (C2)."""
        node.move(NodeInput.FAILED)
        rest = self._grown(self.config.reconnect_backoff_ms, self.config.reconnect_backoff_max_ms, failures)
        node.resting_until = self.now + rest
        return rest

    def _ready(self, node: Node, throttle_ms: int) -> None:
        node.move(NodeInput.NEGOTIATED)
        node.causes.clear()
        node.trying.clear()
        node.setup_deadline = None
        node.late = False
        node.last_used = self.now
        self.counts["connects"] += 1
        self.counts["reconnects"] += node.was_ready
        node.was_ready = True
        self.warn.settled(node.name)
        self._throttle(node, throttle_ms)
        self._flush(node)
        self._useful(node)

    def _broken(self, node: Node, error: KafkaError | None) -> None:
        """The broker broke the protocol, or refused us."""
        assert error is not None  # the connection was not closed by us
        self._lost(node, str(error))
        if isinstance(error, RebootstrapRequiredError):
            self.rebootstrap(str(error))
            return
        node.faults += 1
        if node.faults == 2 and not error.retriable:
            self.on_trouble(error)

    def _lost(self, node: Node, why: str) -> None:
        """A connection is gone while somebody needed it, or is of no use."""
        node.avoid = node.address
        node.addresses.clear()  # resolve again: the broker may be elsewhere by now (C3)
        self._failed(node, str(node.address), why)

    def _let_go(self, node: Node, why: str = "nobody needs the connection") -> None:
        """Closes a connection, or gives up making one, that nobody needs: no fault of the node's."""
        self._hang_up(node)
        node.addresses.clear()
        node.trying.clear()
        if node.is_open:
            node.move(NodeInput.LEFT)
        self._fail_requests(node, ConnectionLostError(node.name, [(str(node.address or node.host), why)]))

    def _hang_up(self, node: Node) -> None:
        if node.conn is not None:
            self._effects.append(Disconnect(node.conn))
        self._forget_handles(node)
        node.connection = None
        node.setup_deadline = None
        node.late = False

    def _forget_handles(self, node: Node) -> None:
        for handle in (node.conn, node.query):
            if handle is not None:
                self._by_handle.pop(handle, None)
        node.conn = node.query = None

    # --------------------------------------------------------------------------------------------- requests in time

    def _send(self, node: Node, data: bytes) -> None:
        assert node.conn is not None
        self.counts["bytes_sent"] += len(data)
        self._effects.append(Send(node.conn, data))

    def _flush(self, node: Node) -> None:
        """Sends what waits, as far as a throttle allows."""
        while node.queue and self.now >= node.throttled_until:
            pending = node.queue.popleft()
            assert node.connection is not None
            try:
                correlation_id, data = node.connection.send(pending.request, pending.max_version)
            except KafkaError as error:
                pending.on_done(None, error)
                continue
            pending.deadline = self.now + pending.seconds
            node.in_flight[correlation_id] = pending
            self.counts["requests"] += 1
            self._send(node, data)

    def _answered(self, node: Node, answer: Answer) -> None:
        # Not before: a broker that ends every connection with the first request is not to be asked without a pause.
        node.failures = node.faults = 0
        node.last_used = self.now
        pending = node.in_flight.pop(answer.correlation_id)
        if answer.version >= THROTTLED_SINCE.get(answer.response.API_KEY, 32767):
            self._throttle(node, getattr(answer.response, "throttle_time_ms", 0))
        pending.on_done(answer.response, None)
        self._useful(node)

    def _throttle(self, node: Node, throttle_ms: int) -> None:
        """The broker wants to be left alone; what waits for it has that much more time (W31)."""
        if throttle_ms > 0:
            node.throttled_until = max(node.throttled_until, self.now + throttle_ms / 1000)
            for pending in (*node.in_flight.values(), *node.queue):
                pending.deadline += throttle_ms / 1000

    def _fail_requests(self, node: Node, error: ConnectionLostError) -> None:
        """In order, those on their way first (W11)."""
        failed = [*node.in_flight.values(), *node.queue]
        node.in_flight.clear()
        node.queue.clear()
        self.on_lost(node)
        for pending in failed:
            pending.on_done(None, error)

    def _check_time(self, node: Node) -> None:
        if node.setup_deadline is not None and node.setup_deadline <= self.now:
            node.setup_deadline = None
            if node.state is NodeState.CONNECTING:
                self._connect_failed(node, "no connection in time")
            elif node.state is NodeState.RESOLVING:
                self._failed(node, node.host, "the name was not resolved in time")
            else:
                self._failed(node, str(node.address), "no answer to ApiVersions in time")
        if node.state is NodeState.BACKOFF and node.resting_until <= self.now:
            node.move(NodeInput.RESTED)
        if any(pending.deadline <= self.now for pending in node.in_flight.values()):
            # Its answer could be taken for another one's, and others wait behind it (C4).
            self._lost(node, "a request was not answered in time")
        expired = [pending for pending in node.queue if pending.deadline <= self.now]
        if expired:
            node.late = True
            self.on_lost(node)
        for pending in expired:
            node.queue.remove(pending)
            pending.on_done(None, ConnectionLostError(node.name, node.hindrances()))
        if node.state is NodeState.READY:
            self._flush(node)
            if not node.load and node.last_used + self.config.connections_max_idle_ms / 1000 <= self.now:
                self._let_go(node)


def _is_numeric(host: str) -> bool:
    """Whether `host` is an address already: nothing to look up."""
    return ":" in host or host.replace(".", "").isdigit()
