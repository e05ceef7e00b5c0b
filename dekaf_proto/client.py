"""Many connections: which broker to ask, when to dial it, and what to do when it fails.

A *request* goes to a node: a broker by id, one of its connections, the least loaded broker. The client resolves,
connects, agrees on versions and sends; it watches each request's time and each connection's (C2-C7). It does not
retry: a request that could not be answered fails with a retriable error, and the flow that made it decides.

`metadata` keeps what is known of the cluster fresh by flows over this client. Not here: consumers, groups; sockets.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from dekaf_proto import __version__
from dekaf_proto.cluster import Cluster
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.connection import NEED_DATA, Answer, AnyRequest, BrokerConnection, ConnectionClosed, Ready
from dekaf_proto.errors import ClosedError, ConnectionLostError, KafkaError, RebootstrapRequiredError
from dekaf_proto.events import Address, Connect, Disconnect, Effect, Resolve, Send
from dekaf_proto.logs import RateLimited
from dekaf_proto.messages import ApiKey
from dekaf_proto.node import Node, NodeInput, NodeKey, NodeState, PendingRequest, Purpose, ResponseHandler
from dekaf_proto.operation import Call, FlowRunner
from dekaf_proto.wire.schema import Buffer

log = logging.getLogger("dekaf.client")

#: Stands for any broker: the one that has least to do (C7).
LEAST_LOADED: Final = "least loaded"

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


class Client:
    """The connections of one engine. `seed` makes its random choices, `unix_offset` its Unix time: now + offset."""

    def __init__(self, config: ConsumerConfig[Any, Any], *, seed: int, unix_offset: float) -> None:
        self.config = config
        self.cluster = Cluster()
        self.random = Random(seed)
        self.unix_offset = unix_offset
        self.now = 0.0
        self.runner = FlowRunner(self._call, self.explain)
        self.warn = RateLimited(log)
        #: What a program may want to know of the traffic.
        self.counts: Counter[str] = Counter()
        #: Called with the node when a connection is lost or given up.
        self.on_lost: Callable[[Node], None] = lambda node: None
        #: Called with an error that the program must know though nobody asked.
        self.on_trouble: Callable[[Exception], None] = lambda error: None
        self._effects: list[Effect] = []
        self._nodes: dict[NodeKey, Node] = {}
        self._by_handle: dict[int, Node] = {}
        self._next_handle = 1
        self._bootstrap = [Node(NodeKey(-1 - i), host, port) for i, (host, port) in enumerate(config.bootstrap_servers)]
        self._bootstrapping = True
        #: How often in a row they have led to no broker that would talk to us.
        self._useless_starts = 0
        self.random.shuffle(self._bootstrap)
        self.closed = False

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
            elif isinstance(event, ConnectionClosed):
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
        idle = self.config.connections_max_idle_ms / 1000
        times = [deadline for node in self._all_nodes() if (deadline := node.next_deadline(idle)) is not None]
        flows = self.runner.next_deadline()
        return min(times if flows is None else [*times, flows], default=None)

    def _at(self, handle: int, state: NodeState | None, now: float) -> Node | None:
        """The node that an input is about; None if the input is stale."""
        self.now = now
        node = self._by_handle.get(handle)
        return node if node is not None and (state is None or node.state is state) else None

    # --------------------------------------------------------------------------------------------------- requests

    def request(
        self,
        target: object,
        request: AnyRequest,
        on_done: ResponseHandler,
        max_version: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Sends `request` to `target`: a NodeKey, a broker's id, or LEAST_LOADED. `on_done` gets response or error."""
        node = self._node(target)
        if node is None:
            on_done(None, self._unreachable(target))
            return
        seconds = self.config.request_timeout_ms / 1000 if timeout is None else timeout
        deadline = max(self.now, node.throttled_until) + seconds
        pending = PendingRequest(request, max_version, on_done, deadline, seconds)
        node.queue.append(pending)
        if node.state is NodeState.READY:
            self._flush(node)
        elif node.state is NodeState.IDLE:
            self._dial(node)
        elif node.state is NodeState.BACKOFF:
            node.queue.pop()
            on_done(None, ConnectionLostError(node.name, node.causes))

    def is_available(self, key: NodeKey) -> bool:
        """Whether it makes sense to send to a node now: it is known and not in a back-off."""
        node = self._node(key)
        return node is not None and node.state is not NodeState.BACKOFF

    def is_ready(self, key: NodeKey) -> bool:
        """Whether a request would go out at once."""
        node = self._nodes.get(key)
        return node is not None and node.state is NodeState.READY

    def backoff(self, failures: int) -> float:
        """How long to wait before the retry after `failures` failures in a row, in seconds (C2)."""
        return self._grown(self.config.retry_backoff_ms, self.config.retry_backoff_max_ms, failures - 1)

    def disconnect(self, key: NodeKey, why: str) -> None:
        """Closes a connection; what is on its way fails."""
        node = self._nodes.get(key)
        if node is not None:
            self._let_go(node, why)

    def rebootstrap(self, why: str) -> None:
        """Begins again from the bootstrap addresses; topics, positions and groups are kept (C6)."""
        if self._bootstrapping:
            return
        log.warning("starting again from the bootstrap servers: %s", why)
        self._bootstrapping = True
        self.counts["rebootstraps"] += 1
        for key in list(self._nodes):
            self._remove(key, "starting again from the bootstrap servers")
        self.cluster.brokers = {}
        if self._useless_starts:  # they have led to brokers that are of no use: no tight loop
            for node in self._bootstrap:
                if node.state is NodeState.IDLE:
                    self._rest(node, self._useless_starts - 1)
        self._useless_starts += 1

    def metadata_arrived(self) -> None:
        """The cluster's brokers are known: the bootstrap connections have done their work (C8, M9)."""
        self._bootstrapping = False
        for node in self._bootstrap:
            self._retire(node)
        for key, node in list(self._nodes.items()):
            broker = self.cluster.brokers.get(key.node_id)
            if broker is not None and (broker.host, broker.port) != (node.host, node.port):
                self._remove(key, "the broker has another address now")
            elif broker is None and key.purpose is not Purpose.COORDINATOR:
                self._remove(key, "the broker left the cluster")

    def add_coordinator(self, node_id: int, host: str, port: int) -> NodeKey:
        """The connection to the coordinator that is broker `node_id`: one of its own (G2)."""
        key = NodeKey(node_id, Purpose.COORDINATOR)
        node = self._nodes.get(key)
        if node is not None and (node.host, node.port) != (host, port):
            self._remove(key, "the coordinator has another address now")
            node = None
        if node is None:
            self._nodes[key] = Node(key, host, port)
        return key

    def has_connectable(self) -> bool:
        """Whether any known broker is connected, or could be asked without waiting (C6a)."""
        return any(node.state is not NodeState.BACKOFF for node in self._candidates())

    def has_untried(self, since: float) -> bool:
        """Whether any known broker could be asked that was not dialled since then."""
        return any(node.state is not NodeState.BACKOFF and node.last_tried < since for node in self._candidates())

    def explain(self, target: object) -> ConnectionLostError | None:
        """What keeps a target from answering, None if nothing is known: for the text of a time-out."""
        error = self._unreachable(target)
        return error if error.causes else None

    def close(self) -> None:
        """Closes every connection; what is on its way fails."""
        self.closed = True
        self.runner.close(ClosedError())
        for node in self._all_nodes():
            self._hang_up(node)
            node.queue.clear()
            node.in_flight.clear()

    # ------------------------------------------------------------------------------------------------ finding nodes

    def _call(self, call: Call, on_done: Callable[[Any, Exception | None], None]) -> None:
        def of_any(response: Any, error: Exception | None) -> None:
            # Which one was asked does not matter: what is wrong with all of them is the answer.
            on_done(response, self._unreachable(LEAST_LOADED) if isinstance(error, ConnectionLostError) else error)

        self.request(
            call.node, call.request, of_any if call.node == LEAST_LOADED else on_done, call.max_version, call.timeout
        )

    def _all_nodes(self) -> list[Node]:
        return [*self._bootstrap, *self._nodes.values()]

    def _candidates(self) -> list[Node]:
        if self._bootstrapping:
            return self._bootstrap
        return [self._general(node_id) for node_id in self.cluster.brokers]

    def _general(self, node_id: int) -> Node:
        node = self._node(NodeKey(node_id))
        assert node is not None  # who calls has the id from the cluster
        return node

    def _node(self, target: object) -> Node | None:
        if target == LEAST_LOADED:
            return self._least_loaded()
        key = _key(target)
        node = self._nodes.get(key)
        if node is None and key.purpose is not Purpose.COORDINATOR:
            broker = self.cluster.brokers.get(key.node_id)
            if broker is not None:
                node = self._nodes[key] = Node(key, broker.host, broker.port)
        return node

    def _least_loaded(self) -> Node | None:
        """C7: connected and idle; else the least busy; else one that is being connected; else the longest untried. One
        that wants to be left alone for a while comes last."""
        nodes = self._candidates()
        start = self.random.randrange(len(nodes)) if nodes else 0
        nodes = nodes[start:] + nodes[:start]
        ready = [node for node in nodes if node.state is NodeState.READY]
        willing = [node for node in ready if node.throttled_until <= self.now]
        if willing:
            return min(willing, key=lambda node: node.load)
        for node in nodes:
            if node.is_open and node.state is not NodeState.READY:
                return node
        idle = [node for node in nodes if node.state is NodeState.IDLE]
        if idle:
            return min(idle, key=lambda node: node.last_tried)
        return min(ready, key=lambda node: node.throttled_until, default=None)

    def _unreachable(self, target: object) -> ConnectionLostError:
        if target == LEAST_LOADED:
            found = {where: why for node in self._candidates() for where, why in node.hindrances()}
            return ConnectionLostError("the cluster", list(found.items()))
        node = self._node(target)
        if node is None:
            return ConnectionLostError(str(_key(target)))
        return ConnectionLostError(node.name, node.hindrances())

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
        node.failures = 0
        node.causes.clear()
        node.trying.clear()
        node.setup_deadline = None
        node.last_used = self.now
        self.counts["connects"] += 1
        self.counts["reconnects"] += node.was_ready
        node.was_ready = True
        if node.key.node_id >= 0:
            self._useless_starts = 0
        self.warn.settled(node.name)
        self._throttle(node, throttle_ms)
        self._flush(node)
        self._retire(node)

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

    def _remove(self, key: NodeKey, why: str) -> None:
        """There is no such node any more."""
        self._let_go(self._nodes.pop(key), why)

    def _retire(self, node: Node) -> None:
        """Lets go of a bootstrap connection that has nothing left to do, once the brokers are known (C8)."""
        if not self._bootstrapping and node.key.node_id < 0 and node.is_open and not node.load:
            self._let_go(node)

    def _hang_up(self, node: Node) -> None:
        if node.conn is not None:
            self._effects.append(Disconnect(node.conn))
        self._forget_handles(node)
        node.connection = None
        node.setup_deadline = None

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
            node.last_used = self.now
            self.counts["requests"] += 1
            self._send(node, data)

    def _answered(self, node: Node, answer: Answer) -> None:
        node.faults = 0
        node.last_used = self.now
        pending = node.in_flight.pop(answer.correlation_id)
        if answer.version >= THROTTLED_SINCE.get(answer.response.API_KEY, 32767):
            self._throttle(node, getattr(answer.response, "throttle_time_ms", 0))
        pending.on_done(answer.response, None)
        self._retire(node)

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
        for pending in [p for p in node.queue if p.deadline <= self.now]:
            node.queue.remove(pending)
            pending.on_done(None, ConnectionLostError(node.name, node.hindrances()))
        if node.state is NodeState.READY:
            self._flush(node)
            if not node.load and node.last_used + self.config.connections_max_idle_ms / 1000 <= self.now:
                self._let_go(node)


def _key(target: object) -> NodeKey:
    """What stands for a broker in a request: its id, or the place of one of its connections."""
    key = NodeKey(target) if isinstance(target, int) else target
    assert isinstance(key, NodeKey)
    return key


def _is_numeric(host: str) -> bool:
    """Whether `host` is an address already: nothing to look up."""
    return ":" in host or host.replace(".", "").isdigit()
