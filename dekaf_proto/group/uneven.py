"""Distributes partitions among members that want different topics (A5).

What is free goes to the least loaded member that wants it. Then single partitions move from a member to one that has at
least two fewer, until nobody can give one away like that. Each such move makes the sum of the squares of all sizes
smaller, so there is an end; the few that don't, see `_detours`, are counted.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence

from dekaf_proto.group.assignor import GroupMember
from dekaf_proto.group.claims import Claims
from dekaf_proto.group.racks import Racks
from dekaf_proto.types import TopicPartition


def distribute_unevenly(
    partitions: Sequence[TopicPartition], members: Sequence[GroupMember], claims: Claims, racks: Racks
) -> dict[str, list[TopicPartition]]:
    """The partitions of each member; `partitions` are sorted."""
    return _Uneven(partitions, members, claims, racks).distribute()


class _Uneven:
    def __init__(
        self, partitions: Sequence[TopicPartition], members: Sequence[GroupMember], claims: Claims, racks: Racks
    ) -> None:
        self._claims = claims
        self._racks = racks
        self._wanted = {member.id: frozenset(member.topics) for member in members}
        counts: dict[str, int] = {}
        for topics in self._wanted.values():
            for topic in topics:
                counts[topic] = counts.get(topic, 0) + 1
        #: Those that few members want come first.
        self._partitions = sorted(partitions, key=lambda partition: counts[partition.topic])
        self._shared = {topic for topic, count in counts.items() if count > 1}
        self._assignment: dict[str, set[TopicPartition]] = {member: set() for member in sorted(self._wanted)}
        self._owners: dict[TopicPartition, str] = {}
        self._moves = _Moves()
        #: How often a partition may yet go back where it came from although that does not help the balance at once.
        #: What moved through several members goes straight then, and more stays where it was.
        self._detours = len(partitions)
        #: (size, id) of every member, sorted.
        self._ranks: list[tuple[int, str]] = []

    def distribute(self) -> dict[str, list[TopicPartition]]:
        dropped = self._keep()
        self._ranks = sorted((len(assigned), member) for member, assigned in self._assignment.items())
        free = [partition for partition in self._partitions if partition not in self._owners]
        self._assign(free)
        if not dropped:
            # With luck it is enough to move what moves anyway.
            self._rebalance(free)
        self._rebalance(self._partitions)
        return {member: sorted(assigned) for member, assigned in self._assignment.items()}

    def _keep(self) -> bool:
        """Leaves each member its own, as far as it still wants that and is near; says whether something was dropped."""
        dropped = False
        for member, assigned in self._assignment.items():
            for partition in self._claims.owned[member]:
                if partition.topic in self._wanted[member] and not self._racks.differ(member, partition):
                    assigned.add(partition)
                    self._owners[partition] = member
                else:
                    dropped = True
        return dropped

    def _assign(self, partitions: Sequence[TopicPartition]) -> None:
        if self._racks.matter:
            partitions = [partition for partition in partitions if not self._assign_one(partition, nearby=True)]
        for partition in partitions:
            self._assign_one(partition, nearby=False)

    def _assign_one(self, partition: TopicPartition, nearby: bool) -> bool:
        for _, member in self._candidates(partition):
            if not nearby or not self._racks.differ(member, partition):
                self._give(partition, member)
                return True
        return False

    def _candidates(self, partition: TopicPartition) -> Iterator[tuple[int, str]]:
        """Size and id of those that want it, the least loaded first."""
        return (rank for rank in self._ranks if partition.topic in self._wanted[rank[1]])

    def _give(self, partition: TopicPartition, member: str) -> None:
        self._owners[partition] = member
        self._resize(member, 1)
        self._assignment[member].add(partition)

    def _resize(self, member: str, by: int) -> None:
        size = len(self._assignment[member])
        del self._ranks[bisect_left(self._ranks, (size, member))]
        insort(self._ranks, (size + by, member))

    def _rebalance(self, partitions: Iterable[TopicPartition]) -> None:
        """Moves partitions while there is one to be moved."""
        movable = [partition for partition in partitions if partition.topic in self._shared]
        moved = True
        while moved:
            moved = False
            for partition in movable:
                if self._ranks[-1][0] - self._ranks[0][0] <= 1:
                    return
                target = self._better(partition)
                if target is not None:
                    self._move(partition, target)
                    moved = True

    def _better(self, partition: TopicPartition) -> str | None:
        """Who should have it, if its owner has enough more than they: who had it before, else who has the least."""
        limit = len(self._assignment[self._owners[partition]]) - 2
        before = self._claims.former.get(partition)
        if before is not None and len(self._assignment[before]) <= limit and partition.topic in self._wanted[before]:
            return before
        size, member = next(self._candidates(partition))
        return member if size <= limit else None

    def _move(self, partition: TopicPartition, target: str) -> None:
        instead = self._moves.instead(partition, self._owners[partition], target)
        helps = len(self._assignment[self._owners[instead]]) - 2 >= len(self._assignment[target])
        if helps or self._detours:
            self._detours -= not helps
            partition = instead
        owner = self._owners[partition]
        self._moves.note(partition, owner, target)
        self._resize(owner, -1)
        self._assignment[owner].remove(partition)
        self._give(partition, target)


class _Moves:
    """Which partitions have moved between whom, so that no two of a topic are swapped for nothing."""

    def __init__(self) -> None:
        self._ways: dict[TopicPartition, tuple[str, str]] = {}
        self._moved: dict[tuple[str, str, str], dict[TopicPartition, None]] = {}

    def instead(self, partition: TopicPartition, owner: str, target: str) -> TopicPartition:
        """One of the same topic that came the other way and may go back, if there is one."""
        way = self._ways.get(partition)
        source = owner if way is None else way[0]
        return next(iter(self._moved.get((partition.topic, target, source), ())), partition)

    def note(self, partition: TopicPartition, owner: str, target: str) -> None:
        way = self._ways.pop(partition, None)
        if way is not None:
            del self._moved[(partition.topic, way[0], way[1])][partition]
            owner = way[0]
            if owner == target:
                return
        self._ways[partition] = (owner, target)
        self._moved.setdefault((partition.topic, owner, target), {})[partition] = None
