"""`Placement`: which node coordinates what, and whether it is ready to: for groups, or for transactional ids.

A key's node is the one that it was put on, as long as that one lives, else one that follows from the name. A node that
has taken over a key has to read what was written down before it can answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from zlib import crc32

from dekaf_proto.errors import ErrorCode

if TYPE_CHECKING:
    from dekaf_proto.broker.cluster import Node


class Placement:
    """See the module."""

    def __init__(self, nodes: Mapping[int, Node]) -> None:
        self._nodes = nodes
        self._chosen: dict[str, int] = {}
        #: key -> when its node has read what it has to know.
        self._ready: dict[str, float] = {}

    def node(self, key: str) -> int | None:
        """The node; None if nobody lives."""
        chosen = self._chosen.get(key)
        if chosen is not None and self._nodes[chosen].alive:
            return chosen
        numbers = list(self._nodes)
        start = crc32(key.encode()) % len(numbers)
        return next((n for n in numbers[start:] + numbers[:start] if self._nodes[n].alive), None)

    def put(self, key: str, node: int) -> bool:
        """Puts a key on a node; whether that makes a difference."""
        before = self.node(key)
        self._chosen[key] = node
        return self.node(key) != before

    def load(self, key: str, ready: float) -> None:
        """A key's node is new, and is busy reading until `ready`."""
        self._ready[key] = ready

    def error(self, key: str, node: int, now: float) -> ErrorCode:
        """What a node has to say to a request for the coordinator of a key."""
        if self.node(key) != node:
            return ErrorCode.NOT_COORDINATOR
        return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS if now < self._ready.get(key, now) else ErrorCode.NONE
