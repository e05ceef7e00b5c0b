"""What a driver hands in and carries out: the same for every engine, whatever it is for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from dekaf_proto.client import Client
from dekaf_proto.events import Address, Effect
from dekaf_proto.wire.schema import Buffer


class Driven(ABC):
    """An engine, as its driver sees it. Time is in seconds, from any origin, and never goes back."""

    _client: Client

    @abstractmethod
    def _advance(self, now: float) -> None:
        """Takes every part as far as it gets."""

    def resolved(self, query: int, addresses: Sequence[Address], now: float) -> None:
        """The answer to a Resolve: addresses in the order in which to try them."""
        self._client.resolved(query, addresses, now)
        self._advance(now)

    def resolve_failed(self, query: int, error: str, now: float) -> None:
        """A Resolve failed; `error` is for people."""
        self._client.resolve_failed(query, error, now)
        self._advance(now)

    def connected(self, conn: int, now: float) -> None:
        """A Connect succeeded."""
        self._client.connected(conn, now)
        self._advance(now)

    def connect_failed(self, conn: int, error: str, now: float) -> None:
        """A Connect failed; `error` is for people."""
        self._client.connect_failed(conn, error, now)
        self._advance(now)

    def receive_data(self, conn: int, data: Buffer, now: float) -> None:
        """The next bytes from a connection. Never raises for what they are."""
        if self._client.receive_data(conn, data, now):
            self._advance(now)

    def disconnected(self, conn: int, error: str, now: float) -> None:
        """A connection ended: by the other end (`error` empty) or by a fault."""
        self._client.disconnected(conn, error, now)
        self._advance(now)

    def handle_timeout(self, now: float) -> None:
        """It is `next_deadline()`, or later, or any time that suits."""
        self._client.handle_timeout(now)
        self._advance(now)

    def effects(self) -> list[Effect]:
        """What the driver has to do, in order; each is given once."""
        return self._client.effects()

    @abstractmethod
    def next_deadline(self) -> float | None:
        """When `handle_timeout` has to be called at the latest."""

    @property
    def closed(self) -> bool:
        """Whether `close` has finished: no further effect will come."""
        return self._client.closed

    def set_unix_offset(self, offset: float, now: float) -> None:
        """Corrects the difference between Unix time and `now`."""
        self._client.now = now
        self._client.unix_offset = offset
