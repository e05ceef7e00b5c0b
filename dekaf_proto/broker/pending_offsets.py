"""`PendingOffsets`: what transactions want to commit for a group, until they have ended (KIP-447).

They are in the order in which they were written: what was committed later, by anybody, is not undone by the end of a
transaction that had written earlier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dekaf_proto.types import TopicPartition

if TYPE_CHECKING:
    from dekaf_proto.broker.groups import CommittedOffset


class PendingOffsets:
    """See the module. `store` commits an offset for good."""

    def __init__(self, store: Callable[[TopicPartition, CommittedOffset], None]) -> None:
        self._store = store
        self._written = 0
        #: producer id -> partition -> when it was written, and what.
        self._pending: dict[int, dict[TopicPartition, tuple[int, CommittedOffset]]] = {}
        #: partition -> when what is committed was written.
        self._committed: dict[TopicPartition, int] = {}

    def __contains__(self, partition: object) -> bool:
        return any(partition in offsets for offsets in self._pending.values())

    def add(self, producer_id: int, partition: TopicPartition, offset: CommittedOffset) -> None:
        """An offset of a transaction that goes on."""
        self._pending.setdefault(producer_id, {})[partition] = (self._next(), offset)

    def committed(self, partition: TopicPartition) -> None:
        """An offset was committed outside of transactions."""
        self._committed[partition] = self._next()

    def end(self, producer_id: int, *, commit: bool) -> None:
        """A transaction has ended."""
        for partition, (written, offset) in self._pending.pop(producer_id, {}).items():
            if commit and written > self._committed.get(partition, 0):
                self._committed[partition] = written
                self._store(partition, offset)

    def _next(self) -> int:
        self._written += 1
        return self._written
