"""The offsets that groups have committed. State only: who may commit is the handlers' affair."""

from __future__ import annotations

from typing import NamedTuple

from dekaf_proto.types import TopicPartition


class CommittedOffset(NamedTuple):
    """What a group has stored for a partition. `leader_epoch` is -1 if the client gave none."""

    offset: int
    leader_epoch: int = -1
    metadata: str | None = ""


class Group:
    """A group: what its offsets are. Members join it in a later step."""

    __slots__ = ("offsets",)

    def __init__(self) -> None:
        self.offsets: dict[TopicPartition, CommittedOffset] = {}

    def commit(self, partition: TopicPartition, committed: CommittedOffset) -> None:
        """Stores an offset; a negative one erases what was there (P2)."""
        if committed.offset < 0:
            self.offsets.pop(partition, None)
        else:
            self.offsets[partition] = committed
