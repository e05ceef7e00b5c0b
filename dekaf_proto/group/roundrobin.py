"""The assignor "roundrobin": all partitions in order, dealt out like cards (A2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dekaf_proto.group.assignor import Assignor, GroupMember, GroupTopics, in_order
from dekaf_proto.types import TopicPartition


class RoundRobinAssignor(Assignor):
    """Deals the partitions of all topics to the members in turn; who does not want a topic is passed over."""

    name = "roundrobin"

    def assign(self, topics: GroupTopics, members: Sequence[GroupMember]) -> Mapping[str, Sequence[TopicPartition]]:
        ordered = in_order(members)
        assignment: dict[str, list[TopicPartition]] = {member.id: [] for member in ordered}
        wanted = {topic for member in members for topic in member.topics}
        turn = 0
        for topic in sorted(wanted.intersection(topics.partitions)):
            wants = [topic in member.topics for member in ordered]
            for partition in range(topics.partitions[topic]):
                while not wants[turn]:
                    turn = (turn + 1) % len(ordered)
                assignment[ordered[turn].id].append(TopicPartition(topic, partition))
                turn = (turn + 1) % len(ordered)
        return assignment
