"""Who is near which partition, for the assignors (KIP-881)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from dekaf_proto.group.assignor import GroupMember, GroupTopics
from dekaf_proto.types import TopicPartition


def racks_matter(members: Iterable[str | None], replicas: Collection[Collection[str]]) -> bool:
    """Whether it makes a difference who gets what.

    It makes none where no replica is in a member's rack, nor where every partition has a replica in every rack.
    """
    everywhere = {rack for racks in replicas for rack in racks}
    nearby = any(rack in everywhere for rack in members if rack)
    return nearby and any(set(racks) != everywhere for racks in replicas)


class Racks:
    """The racks of members and partitions, or nothing at all where they don't matter."""

    def __init__(
        self, topics: GroupTopics, members: Sequence[GroupMember], partitions: Sequence[TopicPartition]
    ) -> None:
        replicas = {partition: topics.racks.get(partition, ()) for partition in partitions}
        self.matter = racks_matter([member.rack for member in members], replicas.values())
        self._replicas = replicas if self.matter else {}
        self._racks = {member.id: member.rack for member in members if member.rack} if self.matter else {}

    def same(self, member: str, partition: TopicPartition) -> bool:
        """Whether a replica is in the member's rack."""
        return self._racks.get(member) in self._replicas.get(partition, ())

    def differ(self, member: str, partition: TopicPartition) -> bool:
        """Whether the member has a rack, and none of the replicas is there."""
        return member in self._racks and not self.same(member, partition)

    def rarest_first(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        """Those that few members are near come first; else the order stays."""
        if not self.matter:
            return list(partitions)
        near: dict[str, int] = {}
        for rack in self._racks.values():
            near[rack] = near.get(rack, 0) + 1
        return sorted(partitions, key=lambda p: sum(near.get(rack, 0) for rack in set(self._replicas[p])))
