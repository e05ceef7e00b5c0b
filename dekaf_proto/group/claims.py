"""What the members say to have, and who of them is believed (A3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dekaf_proto.types import TopicPartition


@dataclass(frozen=True, slots=True)
class Claim:
    """What one member says to have, and the generation in which it got that."""

    partitions: tuple[TopicPartition, ...]
    generation: int


@dataclass(frozen=True, slots=True)
class Claims:
    """What is believed of all claims.

    `owned` are the partitions that are each member's own. `contested` are those that members claim with equal right, so
    that nobody has them. `former` is who had a partition in an older generation than the latest, the last of these.
    """

    owned: Mapping[str, Sequence[TopicPartition]]
    contested: frozenset[TopicPartition]
    former: Mapping[TopicPartition, str]


def settle(claims: Mapping[str, Claim], partitions: Iterable[TopicPartition]) -> Claims:
    """The highest generation wins. What is not among `partitions` is passed over."""
    exist = frozenset(partitions)
    best: dict[TopicPartition, int] = {}
    owners: dict[TopicPartition, list[str]] = {}
    former: dict[TopicPartition, str] = {}
    former_generations: dict[TopicPartition, int] = {}
    latest = max((claim.generation for claim in claims.values()), default=-1)
    for member in sorted(claims):
        generation = claims[member].generation
        for partition in dict.fromkeys(claims[member].partitions):
            if partition not in exist:
                continue
            if generation < latest and generation > former_generations.get(partition, -2):
                former[partition] = member
                former_generations[partition] = generation
            known = best.get(partition)
            if known is None or generation > known:
                best[partition] = generation
                owners[partition] = [member]
            elif generation == known:
                owners[partition].append(member)
    owned: dict[str, list[TopicPartition]] = {member: [] for member in claims}
    for partition, members in owners.items():
        if len(members) == 1:
            owned[members[0]].append(partition)
    contested = frozenset(partition for partition, members in owners.items() if len(members) > 1)
    return Claims(owned, contested, former)
