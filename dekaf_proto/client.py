"""Many connections: which broker to ask, and when to begin again from the bootstrap servers.

A *request* goes to a node: a broker by id, one of its connections, the least loaded broker (C7). A request that could
not be answered fails with a retriable error, and the flow that made it decides what to do.

How connections are made and kept is in `connections`; `metadata` keeps what is known of the cluster fresh by flows over
this client. Not here: consumers, groups; sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.connection import AnyRequest
from dekaf_proto.connections import Connections, log
from dekaf_proto.errors import ClosedError, ConnectionLostError
from dekaf_proto.node import Node, NodeKey, NodeState, PendingRequest, Purpose, ResponseHandler
from dekaf_proto.operation import Call, FlowRunner, sooner

#: Stands for any broker: the one that has least to do (C7).
LEAST_LOADED: Final = "least loaded"


class Client(Connections):
    """The connections of one engine. `seed` makes its random choices, `unix_offset` its Unix time: now + offset."""

    def __init__(self, config: ConsumerConfig[Any, Any], *, seed: int, unix_offset: float) -> None:
        super().__init__(config, seed)
        self.unix_offset = unix_offset
        self.runner = FlowRunner(self._call, self.explain)
        self._nodes: dict[NodeKey, Node] = {}
        self._bootstrap = [Node(NodeKey(-1 - i), host, port) for i, (host, port) in enumerate(config.bootstrap_servers)]
        self.random.shuffle(self._bootstrap)
        self._bootstrapping = True
        #: What was wrong with the brokers that were known before.
        self._left_behind: dict[str, str] = {}
        #: How often in a row the bootstrap servers have led to no broker that would talk to us.
        self._useless_starts = 0

    def next_deadline(self) -> float | None:
        return sooner(super().next_deadline(), self.runner.next_deadline())

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
        if node.state is NodeState.BACKOFF:
            on_done(None, ConnectionLostError(node.name, node.causes))
            return
        seconds = self.config.request_timeout_ms / 1000 if timeout is None else timeout
        deadline = max(self.now, node.throttled_until) + seconds
        node.queue.append(PendingRequest(request, max_version, on_done, deadline, seconds))
        if node.state is NodeState.READY:
            self._flush(node)
        elif node.state is NodeState.IDLE:
            self._dial(node)

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
        self._left_behind.update(cause for node in self._nodes.values() for cause in node.hindrances())
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
        """Whether any known broker is connected, for whatever purpose, or could be asked without waiting (C6a)."""
        return any(node.state is not NodeState.BACKOFF for node in self._candidates()) or any(
            node.state is NodeState.READY for node in self._nodes.values()
        )

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
        that was waited for in vain, or wants to be left alone for a while, comes last."""
        nodes = self._candidates()
        start = self.random.randrange(len(nodes)) if nodes else 0
        nodes = nodes[start:] + nodes[:start]
        ready = [node for node in nodes if node.state is NodeState.READY]
        willing = [node for node in ready if node.throttled_until <= self.now]
        if willing:
            return min(willing, key=lambda node: node.load)
        dialled = [node for node in nodes if node.is_open and node.state is not NodeState.READY]
        idle = [node for node in nodes if node.state is NodeState.IDLE]
        if any(not node.late for node in dialled) or (dialled and not idle):
            return min(dialled, key=lambda node: node.late)
        if idle:
            return min(idle, key=lambda node: node.last_tried)
        return min(ready, key=lambda node: node.throttled_until, default=None)

    def _unreachable(self, target: object) -> ConnectionLostError:
        if target == LEAST_LOADED:
            found = self._left_behind.copy()
            found.update(cause for node in self._candidates() for cause in node.hindrances())
            return ConnectionLostError("the cluster", list(found.items()))
        node = self._node(target)
        if node is None:
            return ConnectionLostError(str(_key(target)))
        return ConnectionLostError(node.name, node.hindrances())

    def _remove(self, key: NodeKey, why: str) -> None:
        """There is no such node any more."""
        self._let_go(self._nodes.pop(key), why)

    def _useful(self, node: Node) -> None:
        if node.key.node_id >= 0:
            self._useless_starts = 0
            self._left_behind.clear()
        self._retire(node)

    def _retire(self, node: Node) -> None:
        """Lets go of a bootstrap connection that has nothing left to do, once the brokers are known (C8)."""
        if not self._bootstrapping and node.key.node_id < 0 and node.is_open and not node.load:
            self._let_go(node)


def _key(target: object) -> NodeKey:
    """What stands for a broker in a request: its id, or the place of one of its connections."""
    key = NodeKey(target) if isinstance(target, int) else target
    assert isinstance(key, NodeKey)
    return key
