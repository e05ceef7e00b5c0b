"""The assignors "sticky" and "cooperative-sticky": balanced, and as much as possible stays where it is (A3-A8).

Both distribute alike. "sticky" is for groups whose members give up everything before they join, so what they had
travels in the user data. With "cooperative-sticky" they keep it, and it stands in the subscription itself; a partition
that is to change hands is then given to nobody yet, and the members join again when its owner has let it go (A6).
"""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from dekaf_proto.errors import DecodeError
from dekaf_proto.group.assignor import Assignor, GroupMember, GroupTopics
from dekaf_proto.group.claims import Claim, settle
from dekaf_proto.group.even import distribute_evenly
from dekaf_proto.group.payloads import by_topic
from dekaf_proto.group.racks import Racks
from dekaf_proto.group.uneven import distribute_unevenly
from dekaf_proto.types import TopicPartition
from dekaf_proto.wire.codec import decode_part, encode
from dekaf_proto.wire.schema import Message, Struct, Versions, array, int32, string
from dekaf_proto.wire.values import Reader

_GENERATION: Final = struct.Struct(">i")
_NOTHING: Final = Claim((), -1)
#: In a row, until a group has come to rest after a change; one or two are usual.
_MOST_REBALANCES: Final = 10


@dataclass(slots=True, repr=False)
class _Partitions(Struct):
    topic: str = string()
    partitions: list[int] = array(of="int32")  # noqa: RUF009  # a declaration, as in dekaf_proto.messages


@dataclass(slots=True, repr=False)
class _StickyUserData(Message):
    """What "sticky" sends along (A7); it says no version."""

    VERSIONS = Versions(0, 1)

    previous_assignment: list[_Partitions] = array()  # noqa: RUF009  # likewise
    generation: int = int32("1+", default=-1)


class _Sticky(Assignor):
    """What both have in common."""

    @abstractmethod
    def claim(self, member: GroupMember) -> Claim:
        """What the member says to have."""

    def assign(self, topics: GroupTopics, members: Sequence[GroupMember]) -> Mapping[str, Sequence[TopicPartition]]:
        claims = [self.claim(member) for member in members]
        assignment = self._assign_once(topics, members, claims)
        # Only in a rebalance that follows another one: nobody is new.
        together = min((claim.generation for claim in claims), default=-1) >= 0
        if topics.racks and together and not self._comes_to_rest(topics, members, assignment):
            return self._assign_once(GroupTopics(topics.partitions), members, claims)
        return assignment

    @abstractmethod
    def _assign_once(
        self, topics: GroupTopics, members: Sequence[GroupMember], claims: Sequence[Claim]
    ) -> dict[str, list[TopicPartition]]:
        """What takes effect at once."""

    def _comes_to_rest(
        self, topics: GroupTopics, members: Sequence[GroupMember], assignment: dict[str, list[TopicPartition]]
    ) -> bool:
        """Whether partitions would stay where they are in the rebalances that follow, sooner or later.

        A partition whose owner is not near is dealt again each time. Where wishes differ, that can make others move
        too, back and forth for ever; and each partition that a cooperative group withholds makes it rebalance again.
        """
        for _ in range(_MOST_REBALANCES):
            again = self._assign_once(topics, members, [Claim(tuple(assignment[member.id]), 0) for member in members])
            if again == assignment:
                return True
            assignment = again
        return False


class StickyAssignor(_Sticky):
    """Balances, and moves as little as it can; for members that give up everything when the group rebalances."""

    name = "sticky"

    def user_data(self, topics: Sequence[str], owned: Sequence[TopicPartition], generation: int) -> bytes | None:
        if generation < 0:
            return None
        previous = [_Partitions(topic=t, partitions=partitions) for t, partitions in by_topic(owned).items()]
        return encode(_StickyUserData(previous_assignment=previous, generation=generation), 1)

    def claim(self, member: GroupMember) -> Claim:
        if member.user_data is None:
            return _NOTHING
        for version in (1, 0):
            try:
                told = decode_part(_StickyUserData, version, Reader(member.user_data))
            except DecodeError:
                continue
            partitions = [TopicPartition(each.topic, p) for each in told.previous_assignment for p in each.partitions]
            return Claim(tuple(partitions), max(told.generation, -1))
        return _NOTHING

    def _assign_once(
        self, topics: GroupTopics, members: Sequence[GroupMember], claims: Sequence[Claim]
    ) -> dict[str, list[TopicPartition]]:
        return _distribute(topics, members, claims).assignment


class CooperativeStickyAssignor(_Sticky):
    """Distributes like "sticky", among members that go on with what they keep while the group rebalances."""

    name = "cooperative-sticky"
    cooperative = True

    def user_data(self, topics: Sequence[str], owned: Sequence[TopicPartition], generation: int) -> bytes | None:
        return _GENERATION.pack(generation)

    def claim(self, member: GroupMember) -> Claim:
        generation = member.generation
        if generation < 0 and member.user_data is not None and len(member.user_data) >= _GENERATION.size:
            (generation,) = _GENERATION.unpack_from(member.user_data)
        return Claim(member.owned, max(generation, -1))

    def _assign_once(
        self, topics: GroupTopics, members: Sequence[GroupMember], claims: Sequence[Claim]
    ) -> dict[str, list[TopicPartition]]:
        """Not what another member still has and the new one has not (A6)."""
        target = _distribute(topics, members, claims)
        claimants: dict[TopicPartition, set[str]] = {}
        for member, claim in zip(members, claims, strict=True):
            for partition in claim.partitions:
                claimants.setdefault(partition, set()).add(member.id)
        return {
            member: [p for p in partitions if p not in target.contested and member in claimants.get(p, (member,))]
            for member, partitions in target.assignment.items()
        }


class _Target(NamedTuple):
    """Who shall have what, and which of it several members say to have."""

    assignment: dict[str, list[TopicPartition]]
    contested: frozenset[TopicPartition]


def _distribute(topics: GroupTopics, members: Sequence[GroupMember], claims: Sequence[Claim]) -> _Target:
    wanted = {topic for member in members for topic in member.topics if topic in topics.partitions}
    partitions = [TopicPartition(topic, p) for topic in sorted(wanted) for p in range(topics.partitions[topic])]
    settled = settle({member.id: claim for member, claim in zip(members, claims, strict=True)}, partitions)
    racks = Racks(topics, members, partitions)
    if len({frozenset(member.topics) for member in members}) == 1:
        return _Target(distribute_evenly(partitions, settled.owned, racks), settled.contested)
    # Java withholds nothing on that account here, and neither do we.
    return _Target(distribute_unevenly(partitions, members, settled, racks), frozenset())
