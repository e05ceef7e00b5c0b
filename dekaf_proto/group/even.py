"""Distributes partitions among members that all want the same topics (A4).

The sizes then differ by one at most, and not a partition more than that takes moves from one member to another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dekaf_proto.group.racks import Racks
from dekaf_proto.types import TopicPartition


def distribute_evenly(
    partitions: Sequence[TopicPartition], owned: Mapping[str, Sequence[TopicPartition]], racks: Racks
) -> dict[str, list[TopicPartition]]:
    """The partitions of each member; `partitions` are sorted, `owned` has an entry for every member."""
    return _Even(partitions, owned, racks).distribute()


class _Even:
    def __init__(
        self, partitions: Sequence[TopicPartition], owned: Mapping[str, Sequence[TopicPartition]], racks: Racks
    ) -> None:
        self._partitions = partitions
        self._owned = owned
        self._racks = racks
        #: Each member gets at least so many, and so many of them one more.
        self._least, self._larger = divmod(len(partitions), len(owned))
        self._assignment: dict[str, list[TopicPartition]] = {member: [] for member in sorted(owned)}
        #: Who has fewer than the least, and who has exactly that and may be one of the larger.
        self._short: list[str] = []
        self._level: list[str] = []

    def distribute(self) -> dict[str, list[TopicPartition]]:
        kept = self._keep()
        left = self._racks.rarest_first(partition for partition in self._partitions if partition not in kept)
        if self._racks.matter:
            left = self._deal_nearby(left)
        self._deal(left)
        return {member: sorted(assigned) for member, assigned in self._assignment.items()}

    def _keep(self) -> set[TopicPartition]:
        """Leaves each member as much of its own as it may have."""
        kept: set[TopicPartition] = set()
        for member, assigned in self._assignment.items():
            near = [partition for partition in self._owned[member] if not self._racks.differ(member, partition)]
            near.sort(key=lambda partition: (partition.partition, partition.topic))
            if len(near) < self._least:
                self._short.append(member)
            elif len(near) > self._least and self._larger:
                self._larger -= 1
                near = near[: self._least + 1]
            else:
                self._level.append(member)
                near = near[: self._least]
            assigned += near
            kept.update(near)
        return kept

    def _deal_nearby(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Gives partitions to members in a rack of theirs, as far as these have room; returns the others."""
        left = []
        turn = 0
        for partition in partitions:
            at = self._next_near(partition, self._short, turn)
            if at is not None:
                member = self._short[at]
                self._assignment[member].append(partition)
                if len(self._assignment[member]) == self._least:
                    del self._short[at]
                    self._level.append(member)
                else:
                    at += 1
                turn = at % len(self._short) if self._short else 0
                continue
            at = self._next_near(partition, self._level, 0) if self._larger else None
            if at is not None:
                self._larger -= 1
                self._assignment[self._level.pop(at)].append(partition)
            else:
                left.append(partition)
        return left

    def _next_near(self, partition: TopicPartition, members: Sequence[str], start: int) -> int | None:
        for i in range(len(members)):
            at = (start + i) % len(members)
            if self._racks.same(members[at], partition):
                return at
        return None

    def _deal(self, partitions: Sequence[TopicPartition]) -> None:
        """Deals partitions out in turn: first to who is short, then one each to who may be larger."""
        at = 0
        for partition in partitions:
            if self._short:
                member = self._short[at]
                self._assignment[member].append(partition)
                if len(self._assignment[member]) == self._least:
                    del self._short[at]
                    self._level.append(member)
                else:
                    at += 1
                if at >= len(self._short):
                    at = 0
            else:
                self._assignment[self._level[at]].append(partition)
                at += 1
