"""Compares our assignors with the golden lines that Java's made (see tests/java/README.md).

Where Java's answer does not depend on the order of its hash maps (`hash_sensitive` is false), ours is the same. Where
it does, ours is as balanced and as sticky. The same goes where

- the order decides although the line denies it, as it was found by six trials: who keeps one partition more than
  others. That is believed only if our answer, with the members in another order, is Java's to the last partition;
- two members claim a partition: by the order again, Java leaves it to one of them or to nobody. Ours leaves it to the
  one whose claim is newer, or to nobody;
- ours leaves the racks out, because with them the group would not come to rest (A6): believed only if our answer with
  them is Java's to the last partition;
- and, but for stickiness, where Java's sticky assignors give a partition to a member that does not want the topic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from dekaf_proto.group import ASSIGNORS, sticky
from dekaf_proto.group.assignor import GroupMember, GroupTopics
from dekaf_proto.group.even import _Even
from dekaf_proto.group.racks import Racks
from dekaf_proto.group.sticky import CooperativeStickyAssignor, StickyAssignor
from dekaf_proto.types import TopicPartition

Assignment = Mapping[str, Sequence[TopicPartition]]


def check_assign_line(line: dict[str, Any]) -> list[str]:
    """What is wrong with our answer to one line; nothing, if it passes."""
    topics, members = group_of(line)
    assignor = ASSIGNORS[line["assignor"]]
    failures = []
    if isinstance(assignor, (StickyAssignor, CooperativeStickyAssignor)):
        failures += check_user_data(line, members, assignor)
    ours = assignor.assign(topics, members)
    java = {member: partitions_of(pairs) for member, pairs in line["assignment"].items()}
    said, found = line["metrics"], metrics_of(line, java)
    failures += [
        f"{name} is {said[name]} in a line where it is {found[name]}"
        for name in ("sizes", "unassigned", "unique")
        if said[name] != found[name]
    ]
    if line["hash_sensitive"] or not found["valid"]:
        return failures + compare_metrics(metrics_of(line, ours), found)
    different = compare_members(ours, java)
    if not different or not isinstance(assignor, (StickyAssignor, CooperativeStickyAssignor)):
        return failures + different
    if found["contested"] or assign_in_order(assignor, topics, members, java) == answer_of(java):
        # Without the racks others stay where they are.
        return failures + compare_metrics(metrics_of(line, ours), found, stickiness=not topics.racks)
    return failures + different


def compare_members(ours: Assignment, java: Assignment) -> list[str]:
    """Who gets something else."""
    failures = [
        f"{member} gets {shown(ours.get(member, ()))}, in Java {shown(partitions)}"
        for member, partitions in sorted(java.items())
        if sorted(ours.get(member, ())) != sorted(partitions)
    ]
    if set(ours) != set(java):
        failures.append(f"the members are {sorted(ours)}, in Java {sorted(java)}")
    return failures


def assign_in_order(
    assignor: StickyAssignor | CooperativeStickyAssignor,
    topics: GroupTopics,
    members: Sequence[GroupMember],
    java: Assignment,
) -> dict[str, list[TopicPartition]]:
    """Our answer without looking ahead, the members that keep most in Java's being the first that may keep theirs."""
    claims = {member.id: assignor.claim(member) for member in members}

    def kept(member: str) -> int:
        return len(set(java.get(member, ())) & set(claims[member].partitions))

    class InOrder(_Even):
        def _keep(self) -> set[TopicPartition]:
            self._assignment = {member: [] for member in sorted(self._assignment, key=kept, reverse=True)}
            result = super()._keep()
            self._short.sort()
            self._level.sort()
            return result

    def evenly(
        partitions: Sequence[TopicPartition], owned: Mapping[str, Sequence[TopicPartition]], racks: Racks
    ) -> dict[str, list[TopicPartition]]:
        return InOrder(partitions, owned, racks).distribute()

    with patch.object(sticky, "distribute_evenly", evenly):
        return answer_of(assignor._assign_once(topics, members, list(claims.values())))


def answer_of(assignment: Assignment) -> dict[str, list[TopicPartition]]:
    return {member: sorted(partitions) for member, partitions in assignment.items()}


def check_user_data(
    line: dict[str, Any], members: list[GroupMember], assignor: StickyAssignor | CooperativeStickyAssignor
) -> list[str]:
    """Whether we read in Java's user data what it says, and write the same, but for the order of topics."""
    failures = []
    for member, json in zip(members, line["members"], strict=True):
        if member.user_data is None:
            continue
        owned = sorted(partitions_of(json["user_data_owned" if assignor.name == "sticky" else "owned"]))
        generation = json["user_data_generation"]
        written = [member.user_data]
        if generation >= 0:  # else Java's says what was lost, ours nothing
            ours = assignor.user_data(member.topics, owned, generation)
            assert ours is not None
            written.append(ours)
        for data in written:
            claim = assignor.claim(replace(member, user_data=data))
            if len(data) != len(member.user_data) or (sorted(claim.partitions), claim.generation) != (
                owned,
                generation,
            ):
                failures.append(f"the user data {data!r} of {member.id} says {claim}")
    return failures


def group_of(line: dict[str, Any]) -> tuple[GroupTopics, list[GroupMember]]:
    """The question that the line asks."""
    racks = {
        TopicPartition(topic, partition): tuple(replicas)
        for topic, each in (line["partition_racks"] or {}).items()
        for partition, replicas in enumerate(each)
    }
    members = [
        GroupMember(
            id=member["id"],
            topics=tuple(member["topics"]),
            owned=tuple(partitions_of(member["owned"])),
            generation=member["generation"],
            instance_id=member["group_instance_id"],
            rack=member["rack"],
            user_data=None if member["user_data"] is None else bytes.fromhex(member["user_data"]),
        )
        for member in line["members"]
    ]
    return GroupTopics(line["topics"], racks), members


def metrics_of(line: dict[str, Any], assignment: Assignment) -> dict[str, Any]:
    """What the line's `metrics` would say of an assignment."""
    topics: dict[str, int] = line["topics"]
    wants = {member["id"]: set(member["topics"]) for member in line["members"]}
    topics_and_racks, members = group_of(line)
    racks = topics_and_racks.racks
    claimed = "user_data_owned" if line["assignor"] == "sticky" else "owned"
    said = {json["id"]: set(partitions_of(json[claimed])) for json in line["members"]}
    # What is in another rack is given up, and comes back by chance.
    claims = {
        member.id: {p for p in said[member.id] if not member.rack or member.rack in racks.get(p, (member.rack,))}
        for member in members
    }
    given = [(member, partition) for member, partitions in assignment.items() for partition in partitions]
    left = {TopicPartition(t, p) for wanted in wants.values() for t in wanted for p in range(topics.get(t, 0))}
    left -= {partition for _, partition in given}
    # What is withheld is on its way to somebody: as if it was there, if that makes the difference.
    complete = {member: list(assignment.get(member, ())) for member in wants}
    for partition in sorted(left):
        takers = [member for member in wants if partition.topic in wants[member]]
        complete[min(takers, key=lambda member: len(complete[member]))].append(partition)
    return {
        "sizes": sorted(len(assignment.get(member, ())) for member in wants),
        "unassigned": [list(partition) for partition in sorted(left)],
        "owned_kept": sum(partition in claims[member] for member, partition in given),
        "balanced": is_balanced(assignment, wants) or is_balanced(complete, wants),
        "unique": len({partition for _, partition in given}) == len(given),
        # What several claim: whom Java believes may depend on the order too.
        "far": sum(len(said[member] - claims[member]) for member in said),
        "contested": sum(sum(p in each for each in said.values()) > 1 for p in set().union(*said.values())),
        "valid": all(p.topic in wants[m] and 0 <= p.partition < topics.get(p.topic, 0) for m, p in given),
    }


def is_balanced(assignment: Assignment, wants: Mapping[str, set[str]]) -> bool:
    """Whether nobody could give a partition to somebody who has at least two fewer."""
    return not any(
        len(assignment.get(other, ())) + 2 <= len(partitions) and partition.topic in wants[other]
        for partitions in assignment.values()
        for partition in partitions
        for other in wants
    )


def compare_metrics(ours: dict[str, Any], java: dict[str, Any], *, stickiness: bool = True) -> list[str]:
    """Where ours are worse. Java's assignment may not be valid: then it is no measure of what can stay."""
    failures = [f"the assignment is not {name}" for name in ("unique", "valid") if not ours[name]]
    if java["balanced"] and not ours["balanced"]:
        failures.append(f"the sizes {ours['sizes']} are not balanced, in Java {java['sizes']}")
    if not java["valid"] or not stickiness:
        return failures
    if ours["owned_kept"] + ours["contested"] < java["owned_kept"]:
        failures.append(f"{ours['owned_kept']} stay where they were, in Java {java['owned_kept']}")
    if len(ours["unassigned"]) > len(java["unassigned"]) + ours["contested"] + ours["far"]:
        failures.append(f"{ours['unassigned']} are given to nobody, in Java {java['unassigned']}")
    return failures


def partitions_of(pairs: list[list[Any]]) -> list[TopicPartition]:
    """What JSON has as pairs."""
    return [TopicPartition(topic, partition) for topic, partition in pairs]


def shown(partitions: Sequence[TopicPartition]) -> str:
    return ", ".join(map(str, sorted(partitions))) or "nothing"
