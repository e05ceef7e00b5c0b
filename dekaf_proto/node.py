"""A broker, or one of the addresses to begin with, and the connection to it.

    IDLE ─▶ RESOLVING ─▶ CONNECTING ─▶ NEGOTIATING ─▶ READY
     ▲          │             │             │           │
     ├─ BACKOFF ◀─────────────┴─────────────┴───────────┘   FAILED
     └──────────┴─────────────┴─────────────┴───────────┘   LEFT: nobody needs it

A node keeps what was asked of it in a queue until it is READY. A failed attempt fails the queue too: who asked decides
whether to ask again, or somebody else. How long a node is left alone after a failure grows with each one (C2).

Not here: which node to ask (`client`), and sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Any, Final, NamedTuple

from dekaf_proto.connection import AnyRequest, BrokerConnection
from dekaf_proto.errors import LocalProtocolError
from dekaf_proto.events import Address


class Purpose(IntEnum):
    """What a connection is for. A broker answers one connection's requests one by one, so that what waits at the broker
    (a fetch for data, a join for other members) must not stand before what does not (G2)."""

    GENERAL = auto()
    FETCH = auto()
    COORDINATOR = auto()


class NodeKey(NamedTuple):
    """A connection's place: a broker id (negative for a bootstrap address) and what it is for."""

    node_id: int
    purpose: Purpose = Purpose.GENERAL

    def __str__(self) -> str:
        return f"broker {self.node_id}" if self.node_id >= 0 else "bootstrap server"


class NodeState(Enum):
    IDLE = auto()
    RESOLVING = auto()
    CONNECTING = auto()
    NEGOTIATING = auto()
    READY = auto()
    BACKOFF = auto()


class NodeInput(Enum):
    """What moves a node from state to state."""

    WANTED = auto()  # somebody wants to send
    HAS_ADDRESS = auto()
    CONNECTED = auto()
    NEGOTIATED = auto()
    FAILED = auto()
    LEFT = auto()  # nobody needs it: it was idle, or the broker is another one now
    RESTED = auto()  # the back-off is over


TRANSITIONS: Final[dict[tuple[NodeState, NodeInput], NodeState]] = {
    (NodeState.IDLE, NodeInput.WANTED): NodeState.RESOLVING,
    (NodeState.IDLE, NodeInput.FAILED): NodeState.BACKOFF,  # what it led to was of no use
    (NodeState.RESOLVING, NodeInput.HAS_ADDRESS): NodeState.CONNECTING,
    (NodeState.RESOLVING, NodeInput.FAILED): NodeState.BACKOFF,
    (NodeState.RESOLVING, NodeInput.LEFT): NodeState.IDLE,
    (NodeState.CONNECTING, NodeInput.HAS_ADDRESS): NodeState.CONNECTING,  # the next of several
    (NodeState.CONNECTING, NodeInput.CONNECTED): NodeState.NEGOTIATING,
    (NodeState.CONNECTING, NodeInput.FAILED): NodeState.BACKOFF,
    (NodeState.CONNECTING, NodeInput.LEFT): NodeState.IDLE,
    (NodeState.NEGOTIATING, NodeInput.NEGOTIATED): NodeState.READY,
    (NodeState.NEGOTIATING, NodeInput.FAILED): NodeState.BACKOFF,
    (NodeState.NEGOTIATING, NodeInput.LEFT): NodeState.IDLE,
    (NodeState.READY, NodeInput.FAILED): NodeState.BACKOFF,
    (NodeState.READY, NodeInput.LEFT): NodeState.IDLE,
    (NodeState.BACKOFF, NodeInput.RESTED): NodeState.IDLE,
}

ResponseHandler = Callable[[Any, Exception | None], None]


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A request that was asked for, in a queue or on its way."""

    request: AnyRequest
    max_version: int | None
    on_done: ResponseHandler
    deadline: float
    #: How long an answer may take once it is sent.
    seconds: float


class Node:
    """One connection's state."""

    def __init__(self, key: NodeKey, host: str, port: int) -> None:
        self.key = key
        self.host = host
        self.port = port
        self.state = NodeState.IDLE
        self.query: int | None = None
        self.conn: int | None = None
        self.connection: BrokerConnection | None = None
        self.addresses: deque[Address] = deque()
        self.address: Address | None = None
        #: What the last round of attempts failed of, address by address, and what has failed in the present one.
        self.causes: list[tuple[str, str]] = []
        self.trying: list[tuple[str, str]] = []
        self.queue: deque[PendingRequest] = deque()
        self.in_flight: dict[int, PendingRequest] = {}
        self.failures = 0
        self.faults = 0  # breaches of the protocol in a row
        self.was_ready = False
        self.connect_failures = 0
        self.resting_until = 0.0
        self.setup_deadline: float | None = None
        #: The connection is being made, and was not there in time for a request: others may be faster.
        self.late = False
        self.throttled_until = 0.0
        self.last_used = 0.0
        self.last_tried = float("-inf")
        self.avoid: Address | None = None

    def __repr__(self) -> str:
        return f"<Node {self.key} {self.host}:{self.port} {self.state.name}>"

    @property
    def name(self) -> str:
        """The node as a person knows it."""
        return f"{self.key} ({self.host}:{self.port})"

    @property
    def load(self) -> int:
        """How much it has to do."""
        return len(self.queue) + len(self.in_flight)

    def move(self, what: NodeInput) -> None:
        """Takes the step that the table allows."""
        try:
            self.state = TRANSITIONS[self.state, what]
        except KeyError:
            raise LocalProtocolError(f"{self.name}: {what.name} is not possible when {self.state.name}") from None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, or one is being made."""
        return self.state is not NodeState.IDLE and self.state is not NodeState.BACKOFF

    def next_deadline(self, max_idle: float) -> float | None:
        """When something is due: the end of a rest, of a connection's set-up, of the oldest requests, of a throttle, of
        `max_idle` seconds without use."""
        state = self.state
        if state is NodeState.IDLE:
            return None
        if state is NodeState.READY and not self.queue:
            if not self.in_flight:
                return self.last_used + max_idle
            if len(self.in_flight) == 1:  # as nearly always; this is asked after each input
                return next(iter(self.in_flight.values())).deadline
        times = [pending.deadline for pending in self.in_flight.values()]
        times += [pending.deadline for pending in self.queue]
        if state is NodeState.BACKOFF:
            times.append(self.resting_until)
        if self.setup_deadline is not None:
            times.append(self.setup_deadline)
        if state is NodeState.READY and self.queue:
            times.append(self.throttled_until)
        return min(times, default=None)

    def hindrances(self) -> list[tuple[str, str]]:
        """Why it has not answered, as far as that is known: what failed, and what is being waited for."""
        found = {**dict(self.causes), **dict(self.trying)}
        where = str(self.address)
        if self.state is NodeState.RESOLVING:
            found.setdefault(self.host, "the name is not resolved yet")
        elif self.state is NodeState.CONNECTING:
            found.setdefault(where, "not connected yet")
        elif self.state is NodeState.NEGOTIATING:
            found.setdefault(where, "no answer to ApiVersions yet")
        elif self.in_flight:
            found.setdefault(where, "no answer yet")
        return list(found.items())
