"""What an engine asks its driver to do, and what it tells the program.

*Effects* are orders to the driver: the core opens no socket and looks up no name, it says what it wants. *Events* are
what `Consumer.poll` gives besides records. Both are plain data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dekaf_proto.types import TopicPartition


class Address(NamedTuple):
    """Where to connect to: a numeric IPv4 or IPv6 address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


# ---------------------------------------------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look up `host`; answer with `resolved(query, addresses, now)` or `resolve_failed(query, error, now)`."""

    query: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a TCP connection (no delay, keep-alive) and answer with `connected` or `connect_failed`.

    `server_name` is the host as configured or advertised, for TLS; `tls` says whether to do a handshake first.
    """

    conn: int
    address: Address
    server_name: str
    tls: bool


@dataclass(frozen=True, slots=True)
class Send:
    """Write all of `data`, after what was to be written before."""

    conn: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection, or give up opening it. No answer is expected; what comes late is ignored."""

    conn: int


@dataclass(frozen=True, slots=True)
class Listen:
    """Open a listening socket (the broker engine only); answer with `listening(node, address, now)`."""

    node: int
    host: str
    port: int


Effect = Resolve | Connect | Send | Disconnect
BrokerEffect = Listen | Send | Disconnect


# ----------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Failed:
    """Something the program must know. The driver raises `error` from the user's call.

    Each error is told once; the partitions that it names then wait for the program (a seek, say).
    """

    error: Exception
    partitions: tuple[TopicPartition, ...] = ()


@dataclass(frozen=True, slots=True)
class EndOfPartition:
    """Every partition that `poll` was asked to read up to a bound has reached it."""


@dataclass(frozen=True, slots=True, eq=False)
class PartitionsAssigned:
    """The group has given these partitions, besides those that the consumer has. To be answered with `event_done`.

    They are read from when that is done; a seek before it has the last word.
    """

    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PartitionsRevoked:
    """The group takes these partitions away, and waits for `event_done`. What is finished can still be committed."""

    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PartitionsLost:
    """These partitions are gone already, and may be somebody else's: nothing can be committed.

    `cause` says why, for people. To be answered with `event_done`.
    """

    partitions: tuple[TopicPartition, ...]
    cause: str


Rebalance = PartitionsAssigned | PartitionsRevoked | PartitionsLost
Event = Failed | EndOfPartition | Rebalance
