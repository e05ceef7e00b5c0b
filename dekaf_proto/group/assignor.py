"""Who gets which partition: the interface of those who decide that, and what they are told.

In a classic group the leader, one of the consumers, decides for all. An assignor is a plain object without state; what
it wants to know of a member's past comes with the member's subscription.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dekaf_proto.types import TopicPartition


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member of the group, as it described itself when it joined.

    `owned` are the partitions that it says to have, and `generation` the one of the group in which it got them, -1 if
    it does not say. These are claims: two members may claim the same partition, which may not even exist any more.
    `instance_id` is its `group_instance_id`, `rack` its `client_rack`, and `user_data` what its `Assignor.user_data`
    returned.
    """

    id: str
    topics: tuple[str, ...]
    owned: tuple[TopicPartition, ...] = ()
    generation: int = -1
    instance_id: str | None = None
    rack: str | None = None
    user_data: bytes | None = None


@dataclass(frozen=True, slots=True)
class GroupTopics:
    """The topics that members want and that exist.

    `partitions` is the number of each topic's partitions, and `racks` names the racks of a partition's replicas, as far
    as they are known.
    """

    partitions: Mapping[str, int]
    racks: Mapping[TopicPartition, tuple[str, ...]] = field(default_factory=dict)


class Assignor:
    """Distributes partitions to the members of a group. Inherit from it for a distribution of your own.

    All members must have the assignor of the same name, and `assign` runs in the one that the group made its leader. It
    must not wait for anything: while it runs, nothing else happens in that consumer.

    >>> class Everything(Assignor):
    ...     "The first member gets it all, the others stand by."
    ...
    ...     name = "everything"
    ...
    ...     def assign(self, topics, members):
    ...         first = members[0]
    ...         return {first.id: [TopicPartition(t, p) for t in first.topics for p in range(topics.partitions[t])]}
    >>> Everything().assign(GroupTopics({"orders": 2}), [GroupMember("a", ("orders",)), GroupMember("b", ("orders",))])
    {'a': [TopicPartition(topic='orders', partition=0), TopicPartition(topic='orders', partition=1)]}
    """

    #: What the group calls it: the same in each member.
    name: str

    #: Whether members may keep what they have while the group rebalances (KIP-429). `assign` must then leave out a
    #: partition that one member still has and another shall get: it is given out in the rebalance that follows.
    cooperative: bool = False

    def user_data(self, topics: Sequence[str], owned: Sequence[TopicPartition], generation: int) -> bytes | None:
        """What a member sends along when it joins, for `assign` to read in `GroupMember.user_data`.

        `owned` is what it was last assigned and `generation` when; -1 if it has never had anything, or has lost it.
        """
        return None

    def assign(self, topics: GroupTopics, members: Sequence[GroupMember]) -> Mapping[str, Sequence[TopicPartition]]:
        """The partitions of each member, by its id; a member that is left out gets none.

        A topic that a member wants may be missing in `topics`. An exception fails the rebalance, and reaches the user.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method assign")


def in_order(members: Iterable[GroupMember]) -> list[GroupMember]:
    """Static members by their instance ids, then the others by their ids: so that restarts change nothing (G30)."""
    return sorted(members, key=lambda m: (m.instance_id is None, m.instance_id or "", m.id))
