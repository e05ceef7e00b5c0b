"""The assignor "range": each topic is cut into one run of partitions per member (A1).

Members that subscribe to topics with equal numbers of partitions get the same partitions of each, so that they can join
what has the same key. Where racks are known, a member is first given partitions that it can read nearby.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dekaf_proto.group.assignor import Assignor, GroupMember, GroupTopics, in_order
from dekaf_proto.group.racks import racks_matter
from dekaf_proto.types import TopicPartition


class RangeAssignor(Assignor):
    """Cuts each topic into runs of partitions, one for each member that wants it."""

    name = "range"

    def assign(self, topics: GroupTopics, members: Sequence[GroupMember]) -> Mapping[str, Sequence[TopicPartition]]:
        ordered = in_order(members)
        assignment: dict[str, list[TopicPartition]] = {member.id: [] for member in ordered}
        wanted = {topic for member in members for topic in member.topics}
        shares = [
            _Share(topic, topics, [member for member in ordered if topic in member.topics], assignment)
            for topic in sorted(wanted.intersection(topics.partitions))
        ]
        if any(share.racks_matter for share in shares):
            _assign_by_rack(shares)
        for share in shares:
            share.assign_runs(lambda member, partition: True)
        for partitions in assignment.values():
            partitions.sort()
        return assignment


class _Share:
    """One topic on its way to its members."""

    def __init__(
        self, topic: str, topics: GroupTopics, members: list[GroupMember], assignment: dict[str, list[TopicPartition]]
    ) -> None:
        self.topic = topic
        self.members = members
        self.size = topics.partitions[topic]
        self._assignment = assignment
        self._racks = [topics.racks.get(TopicPartition(topic, p), ()) for p in range(self.size)]
        self._left = dict.fromkeys(range(self.size))
        #: Each member gets at least so many, and so many of them one more.
        self._least, self._extra = divmod(self.size, len(members))
        self._given = dict.fromkeys((member.id for member in members), 0)
        self.racks_matter = racks_matter([member.rack for member in members], self._racks)

    def is_near(self, member: GroupMember, partition: int) -> bool:
        """Whether the member can read the partition in its own rack; one without a rack is near everything."""
        return not member.rack or member.rack in self._racks[partition]

    def room(self, member: GroupMember) -> int:
        """How many more the member may have."""
        return max(0, self._least + (self._extra > 0) - self._given[member.id])

    def give(self, member: GroupMember, partitions: list[int]) -> None:
        self._assignment[member.id] += [TopicPartition(self.topic, p) for p in partitions]
        for partition in partitions:
            del self._left[partition]
        self._given[member.id] += len(partitions)
        if self._given[member.id] > self._least:
            self._extra -= 1

    def assign_runs(self, may_have: Callable[[GroupMember, int], bool]) -> None:
        """Gives each member in turn the first partitions that it may have, as many as it has room for."""
        for member in self.members:
            partitions = [p for p in self._left if may_have(member, p)][: self.room(member)]
            if partitions:
                self.give(member, partitions)


def _assign_by_rack(shares: list[_Share]) -> None:
    """Places what has a member nearby. Topics of the same size with the same members are placed as one."""
    alike: dict[tuple[int, tuple[str, ...]], list[_Share]] = {}
    for share in shares:
        alike.setdefault((share.size, tuple(member.id for member in share.members)), []).append(share)
    for group in alike.values():
        if len(group) > 1:
            _place_together(group)
        elif group[0].racks_matter:
            group[0].assign_runs(group[0].is_near)


def _place_together(shares: list[_Share]) -> None:
    """Gives each number of partition, in all these topics, to the first member that is near all of them."""
    members = shares[0].members
    for partition in range(shares[0].size):
        for member in members:
            if all(share.room(member) and share.is_near(member, partition) for share in shares):
                for share in shares:
                    share.give(member, [partition])
                break
