"""A network in virtual time that joins client engines with a Broker: no socket, no thread, no sleep.

    broker = Broker(nodes=3)
    network = Network(broker, seed=7)
    consumer = network.add(Consumer(..., bootstrap_servers=network.bootstrap_servers()))
    operation = consumer.end_offsets([tp], now=network.now)
    assert network.result(operation) == {tp: 3}
    network.run_until(lambda: network.broker.requests != [])

The network owns the clock, `now`. It carries out the effects of all engines, brings bytes from one side to the other
after `latency` (order within a connection is kept), calls `handle_timeout` when a deadline has come, and jumps to the
next moment at which anything happens. Same engines, same calls, same seed: the same run.

What a test may do to it, at any time between two runs or from a `condition`:

    names["kafka.test"] = ["10.0.0.1", "10.0.0.2"]      name resolution; a text instead of a list is its failure
    latency = 0.05, jitter = 0.01, max_chunk = 7        seconds one way; segments of 1 to 7 bytes
    node_latency[2] = 0.3                               one node is far away
    cut(node=2) / cut(client=consumer)                  connections break at once, what is under way is lost
    cut_after(node=2, size=30)                          a connection of node 2 breaks after 30 more bytes to the client
    refuse(node) / accept(node)                         nothing listens there, though the broker thinks so
    block(node) / unblock(node)                         silence, both ways; what was sent arrives after `unblock`
    part(client, nodes) / join(client)                  the same between one client and some nodes: a partition
    jump(engine, seconds)                               the clock of one machine is ahead, or the more so
    remove(client)                                      the process is gone: its connections are reset
    checks.append(function)                             called after each step, to assert an invariant
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from random import Random
from typing import Generic, Protocol, TypeVar

from dekaf_proto.broker import Broker
from dekaf_proto.events import Address, Connect, Disconnect, Effect, Listen, Resolve, Send

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
C = TypeVar("C", bound="Client")

RESET = "connection reset by peer"


class Engine(Protocol):
    """What all engines have: time."""

    def handle_timeout(self, now: float) -> None: ...
    def next_deadline(self) -> float | None: ...


class Client(Engine, Protocol):
    """What the network needs of an engine in the client's role."""

    def resolved(self, query: int, addresses: Sequence[Address], now: float) -> None: ...
    def resolve_failed(self, query: int, error: str, now: float) -> None: ...
    def connected(self, conn: int, now: float) -> None: ...
    def connect_failed(self, conn: int, error: str, now: float) -> None: ...
    def receive_data(self, conn: int, data: bytes, now: float) -> None: ...
    def disconnected(self, conn: int, error: str, now: float) -> None: ...
    def effects(self) -> Sequence[Effect]: ...


class Operation(Protocol[T_co]):
    """What the network needs of an operation."""

    @property
    def done(self) -> bool: ...
    def result(self) -> T_co: ...


@dataclass(eq=False)
class Link(Generic[C]):
    """One TCP connection, from a client's `conn` to a `node`. `server_conn` is None until the broker accepted."""

    client: C
    conn: int
    connect: Connect
    broker: Broker | None = None
    node: int | None = None
    server_conn: int | None = None
    client_open: bool = True
    server_open: bool = False
    client_connected: bool = False
    cut_after: int | None = None
    last_arrival: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})  # key: to the server?


class Network:
    """See the module. `start`: the first value of the clock; `limit`: the virtual seconds that `run_until` may take."""

    def __init__(
        self,
        broker: Broker,
        *,
        seed: int = 0,
        start: float = 1000.0,
        latency: float = 0.001,
        jitter: float = 0.0,
        max_chunk: int | None = None,
        limit: float = 60.0,
        names: Mapping[str, list[str] | str] | None = None,
    ) -> None:
        self.now = start
        self.latency = latency
        self.jitter = jitter
        self.max_chunk = max_chunk
        self.limit = limit
        self.node_latency: dict[int, float] = {}
        self.names: dict[str, list[str] | str] = {"localhost": ["127.0.0.1"], **(names or {})}
        self.checks: list[Callable[[], None]] = []
        self.history: deque[str] = deque(maxlen=200)
        self.clients: list[Client] = []
        self.links: list[Link[Client]] = []
        self._random = Random(seed)
        self._brokers: list[Broker] = []
        self._addresses: dict[Address, tuple[Broker, int]] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._counter = 0
        self._refused: set[int] = set()
        self._blocked: dict[int, list[Callable[[], None]]] = {}
        self._frozen: dict[int, list[Callable[[], None]]] = {}
        self._parted: dict[tuple[int, int], list[Callable[[], None]]] = {}
        self._ahead: dict[int, float] = {}
        self._at_once = 0
        #: How many things have happened.
        self.moments = 0
        self._deadlines: dict[int, tuple[Engine, float | None]] = {}
        #: The clients that were called since they were last asked for their deadlines, and since the last checks. None:
        #: any may have been, unseen; a test that takes the time of all its calls from `time` makes it a dict, which is
        #: quicker.
        self.touched: dict[int, Engine] | None = None
        self.unchecked: dict[int, Engine] = {}
        self.add_broker(broker)

    # --------------------------------------------------------------------------------------------- who takes part

    @property
    def broker(self) -> Broker:
        """The (first) broker."""
        return self._brokers[0]

    def add_broker(self, broker: Broker) -> None:
        """Another cluster in the same network; give it other ports. Its nodes listen from now on."""
        self._brokers.append(broker)
        self._drain()

    def add(self, client: C) -> C:
        """Puts a client's engine on the network and returns it."""
        self.clients.append(client)
        self.touch(client)
        self._drain()
        return client

    def remove(self, client: Client) -> None:
        """The client's process dies: it is told nothing, the brokers see connections that were reset."""
        self.clients.remove(client)
        self._frozen.pop(id(client), None)
        self._ahead.pop(id(client), None)
        self._deadlines.pop(id(client), None)
        if self.touched is not None:
            self.touched.pop(id(client), None)
        for pair in [pair for pair in self._parted if pair[0] == id(client)]:
            del self._parted[pair]
        for link in [link for link in self.links if link.client is client]:
            self._break(link, RESET)

    def address(self, node: int = 0) -> Address:
        """Where a node of the first broker listens."""
        return next(address for address, owner in self._addresses.items() if owner == (self.broker, node))

    def bootstrap_servers(self) -> list[str]:
        """`host:port` of each node of the first broker, as it advertises them."""
        return ["{}:{}".format(*self.broker.cluster.endpoint(node)) for node in self.broker.nodes]

    # ------------------------------------------------------------------------------------------------------ faults

    def cut(self, *, node: int | None = None, client: Client | None = None, error: str = RESET) -> int:
        """Breaks connections, all or those of a node or client, and says how many. Both sides are told at once."""
        cut = [link for link in self.links if node in (None, link.node) and client in (None, link.client)]
        for link in cut:
            self._break(link, error)
        self._drain()
        return len(cut)

    def cut_after(self, node: int, size: int) -> None:
        """Breaks each present connection of `node` after `size` more bytes to the client: in mid-frame, say."""
        for link in self.links:
            if link.node == node:
                link.cut_after = size

    def refuse(self, node: int) -> None:
        """New connections to the node are refused; the present ones stay."""
        self._refused.add(node)

    def accept(self, node: int) -> None:
        """Ends `refuse`."""
        self._refused.discard(node)

    def block(self, node: int) -> None:
        """Nothing arrives at the node or from it, connections neither open nor break, until `unblock`."""
        self._blocked.setdefault(node, [])

    def unblock(self, node: int) -> None:
        """Ends `block`: what was sent meanwhile arrives now, in order, as TCP would send it again."""
        for action in self._blocked.pop(node, []):
            action()
        self._drain()

    def part(self, client: Client, nodes: Sequence[int]) -> None:
        """Nothing gets from the client to these nodes or back, as with `block`, until `join`; others reach them."""
        for node in nodes:
            self._parted.setdefault((id(client), node), [])

    def join(self, client: Client) -> None:
        """Ends `part`."""
        for pair in [pair for pair in self._parted if pair[0] == id(client)]:
            for action in self._parted.pop(pair):
                action()
        self._drain()

    def time(self, engine: Engine) -> float:
        """What the clock of an engine's machine says; for a call of it."""
        self.touch(engine)
        return self.now + self._ahead.get(id(engine), 0.0)

    def touch(self, engine: Engine) -> None:
        """The engine is called, or was."""
        if self.touched is not None and engine not in self._brokers:
            self.touched[id(engine)] = self.unchecked[id(engine)] = engine

    def jump(self, engine: Engine, seconds: float) -> None:
        """An engine's clock jumps ahead, as that of a machine that was asleep. Drivers' clocks do not go back."""
        self.touch(engine)
        self._ahead[id(engine)] = self._ahead.get(id(engine), 0.0) + seconds

    def freeze(self, client: Client) -> None:
        """The client's process is stopped: what comes for it, and its time, wait until `thaw`. Nobody may call it."""
        self._frozen.setdefault(id(client), [])

    def thaw(self, client: Client) -> None:
        """Ends `freeze`."""
        for action in self._frozen.pop(id(client), []):
            action()
        self._drain()

    # ------------------------------------------------------------------------------------------------------ running

    def run_until(self, condition: Callable[[], object], limit: float | None = None) -> None:
        """Runs until `condition()` is true; AssertionError after `limit` virtual seconds, or if nothing can happen."""
        end = self.now + (self.limit if limit is None else limit)
        while not condition():
            if not self._step(end):
                raise AssertionError(self._report(f"the condition was not met by {end:.3f}"))

    def run_for(self, seconds: float) -> None:
        """Runs until `seconds` have passed; the clock then stands there exactly."""
        end = self.now + seconds
        while self._step(end):
            pass
        self.now = end

    def result(self, operation: Operation[T], limit: float | None = None) -> T:
        """Runs until the operation is done and returns, or raises, what came of it."""
        self.run_until(lambda: operation.done, limit)
        return operation.result()

    def _step(self, end: float) -> bool:
        """Goes to the next moment at which something happens and does it; False if that is after `end`."""
        self._drain()
        self._look_at_deadlines()
        moments = [self._queue[0][0]] if self._queue else []
        for engine, deadline in self._deadlines.values():
            if deadline is not None and id(engine) not in self._frozen:
                moments.append(deadline - self._ahead.get(id(engine), 0.0))
        if not moments or min(moments) > end:
            return False
        moment = min(moments)
        # Many things may happen at one moment, but not without end: that would be a program at 100 % CPU.
        self._at_once = self._at_once + 1 if moment <= self.now else 0
        if self._at_once > 10_000:
            raise AssertionError(self._report("busy loop: the clock stands still"))
        self.now = max(self.now, moment)
        self.moments += 1
        if self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()
        else:
            for engine, deadline in list(self._deadlines.values()):
                late = deadline is not None and deadline - self._ahead.get(id(engine), 0.0) <= self.now
                if deadline is not None and late and id(engine) not in self._frozen:
                    engine.handle_timeout(max(deadline, self.time(engine)))  # what was subtracted may not add up
        self._drain()
        for check in self.checks:
            check()
        self.unchecked.clear()
        return True

    def _look_at_deadlines(self) -> None:
        """Asks the engines when they have to be called; all of them, or those for which that may have changed."""
        engines: list[Engine] = [*(self.clients if self.touched is None else self.touched.values()), *self._brokers]
        for engine in engines:
            self._deadlines[id(engine)] = engine, engine.next_deadline()
        if self.touched is not None:
            self.touched.clear()

    def _report(self, what: str) -> str:
        return "\n".join([f"{what} (now {self.now:.3f})", *self.history])

    # ------------------------------------------------------------------------------------------------------ effects

    def _drain(self) -> None:
        """Carries out what the engines ask for."""
        for client in list(self.clients):
            if self.touched is not None and id(client) not in self.touched:
                continue
            for effect in client.effects():
                self._client_effect(client, effect)
        for broker in self._brokers:
            for order in broker.effects():
                if isinstance(order, Listen):
                    self._listen(broker, order)
                    continue
                link = self._link_of_server(broker, order.conn)
                if link is None:
                    continue
                if isinstance(order, Send):
                    self._send(link, order.data, to_server=False)
                else:
                    link.server_open = False
                    self._carry(link, lambda link=link: self._end(link, to_server=False), to_server=False)  # type: ignore[misc]

    def _client_effect(self, client: Client, effect: Effect) -> None:
        if isinstance(effect, Resolve):
            self._note(f"resolve {effect.host}")
            self._at(self.now + self._delay(None), lambda: self._resolve(client, effect))
        elif isinstance(effect, Connect):
            self._note(f"connect {effect.conn} to {effect.address}")
            link = Link(client, effect.conn, effect)
            link.broker, link.node = self._addresses.get(effect.address, (None, None))
            self.links.append(link)
            self._carry(link, lambda: self._arrive(link), to_server=True)
        else:
            link_ = next((link for link in self.links if link.client is client and link.conn == effect.conn), None)
            if link_ is None or not link_.client_open:
                return
            if isinstance(effect, Send):
                self._send(link_, effect.data, to_server=True)
            else:
                assert isinstance(effect, Disconnect)
                self._note(f"client closes {effect.conn}")
                link_.client_open = False
                self._carry(link_, lambda: self._end(link_, to_server=True), to_server=True)

    def _resolve(self, client: Client, query: Resolve) -> None:
        if client not in self.clients:
            return
        found = self.names.get(query.host)
        if found is None:
            try:
                found = [str(ip_address(query.host))]
            except ValueError:
                found = f"{query.host}: name or service not known"
        if isinstance(found, str):
            self._tell(client, lambda: client.resolve_failed(query.query, str(found), self.time(client)))
        else:
            addresses = [Address(host, query.port) for host in found]
            self._tell(client, lambda: client.resolved(query.query, addresses, self.time(client)))

    def _listen(self, broker: Broker, order: Listen) -> None:
        found = self.names.get(order.host, [order.host])
        assert not isinstance(found, str), f"the broker's own host {order.host} can't be resolved"
        address = Address(found[0], order.port or 9092 + order.node)
        owner = self._addresses.get(address)
        assert owner in (None, (broker, order.node)), f"{address} is in use"
        self._addresses[address] = (broker, order.node)
        broker.listening(order.node, address, self.time(broker))

    # ------------------------------------------------------------------------------------------------- connections

    def _arrive(self, link: Link[Client]) -> None:
        """A connection attempt reaches its address."""
        broker, node = link.broker, link.node
        if not link.client_open:
            self._forget(link)
        elif broker is None or node is None or node in self._refused or not broker.is_listening(node):
            self._carry(link, lambda: self._refuse(link), to_server=False)
        else:
            link.server_conn = broker.accepted(node, self.time(broker))
            link.server_open = True
            self._carry(link, lambda: self._connect(link), to_server=False)

    def _refuse(self, link: Link[Client]) -> None:
        self._forget(link)
        if link.client_open:
            self._note(f"connection {link.conn} is refused")
            self._tell(
                link.client, lambda: link.client.connect_failed(link.conn, "connection refused", self.time(link.client))
            )

    def _connect(self, link: Link[Client]) -> None:
        if link.client_open:
            link.client_connected = True
            self._note(f"connection {link.conn} is open to node {link.node}")
            self._tell(link.client, lambda: link.client.connected(link.conn, self.time(link.client)))

    def _send(self, link: Link[Client], data: bytes, *, to_server: bool) -> None:
        while data:
            size = self._random.randint(1, self.max_chunk) if self.max_chunk is not None else len(data)
            chunk, data = data[:size], data[size:]
            self._carry(link, lambda chunk=chunk: self._deliver(link, chunk, to_server), to_server=to_server)  # type: ignore[misc]

    def _deliver(self, link: Link[Client], data: bytes, to_server: bool) -> None:
        if to_server:
            if link.server_open and link.broker is not None and link.server_conn is not None:
                link.broker.receive_data(link.server_conn, data, self.time(link.broker))
            return
        if link.cut_after is not None:
            data = data[: link.cut_after]
            link.cut_after -= len(data)
        if link.client_open and data:
            self._tell(link.client, lambda: link.client.receive_data(link.conn, data, self.time(link.client)))
        if link.cut_after == 0:
            self._break(link, RESET)

    def _end(self, link: Link[Client], *, to_server: bool) -> None:
        """The news that the other side has closed arrives, after all it sent."""
        self._forget(link)
        if to_server and link.server_open and link.broker is not None and link.server_conn is not None:
            link.server_open = False
            link.broker.disconnected(link.server_conn, "", self.time(link.broker))
        elif not to_server and link.client_open:
            link.client_open = False
            self._note(f"the broker has closed {link.conn}")
            self._tell(link.client, lambda: link.client.disconnected(link.conn, "", self.time(link.client)))

    def _break(self, link: Link[Client], error: str) -> None:
        self._forget(link)
        self._note(f"connection {link.conn} breaks: {error}")
        if link.server_open and link.broker is not None and link.server_conn is not None:
            link.server_open = False
            link.broker.disconnected(link.server_conn, error, self.time(link.broker))
        if link.client_open:
            link.client_open = False
            if link.client in self.clients:
                if not link.client_connected:
                    self._tell(
                        link.client, lambda: link.client.connect_failed(link.conn, error, self.time(link.client))
                    )
                else:
                    self._tell(link.client, lambda: link.client.disconnected(link.conn, error, self.time(link.client)))

    def _tell(self, client: Client, action: Callable[[], None]) -> None:
        held = self._frozen.get(id(client))
        if held is None:
            action()
        else:
            held.append(action)

    def _forget(self, link: Link[Client]) -> None:
        if link in self.links:
            self.links.remove(link)

    def _link_of_server(self, broker: Broker, conn: int) -> Link[Client] | None:
        for link in self.links:
            if link.broker is broker and link.server_conn == conn:
                return link
        return None

    # ------------------------------------------------------------------------------------------------------- time

    def _delay(self, node: int | None) -> float:
        delay = self.latency if node is None else self.node_latency.get(node, self.latency)
        return delay + (self._random.random() * self.jitter if self.jitter else 0.0)

    def _carry(self, link: Link[Client], action: Callable[[], None], *, to_server: bool) -> None:
        """Does `action` at the other end of the link, after all that went that way before."""
        arrival = max(self.now + self._delay(link.node), link.last_arrival[to_server])
        link.last_arrival[to_server] = arrival

        def arrive() -> None:
            if link not in self.links:
                return  # it broke while this was under way
            held = None if link.node is None else self._blocked.get(link.node)
            if held is None and self._parted and link.node is not None:
                held = self._parted.get((id(link.client), link.node))
            if held is None:
                action()
            else:
                held.append(arrive)

        self._at(arrival, arrive)

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        self._counter += 1
        heapq.heappush(self._queue, (moment, self._counter, action))

    def _note(self, what: str) -> None:
        self.history.append(f"{self.now:.3f} {what}")
