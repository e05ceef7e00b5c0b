"""Members of ours, of each driver, and of Java's client in one group: whoever leads it, all work together."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.integration.drivers import DRIVERS, Driver
from tests.integration.groups import Group, JavaMember, Member, Part
from tests.integration.kafka import KafkaCluster

#: The names of the strategies with us, and with Java.
STRATEGIES = {
    "range": "RangeAssignor",
    "roundrobin": "RoundRobinAssignor",
    "sticky": "StickyAssignor",
    "cooperative-sticky": "CooperativeStickyAssignor",
}
#: With which driver our first member comes; the second one comes with the other.
FIRST: dict[str, Driver] = {"range": "sync", "roundrobin": "trio", "sticky": "sync", "cooperative-sticky": "trio"}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("leader", ["ours", "Java's"])
def test_one_group(kafka: KafkaCluster, topic: str, strategy: str, leader: str) -> None:
    with Group(kafka, topic, partitions=7, partition_assignment_strategy=strategy) as group:
        first = FIRST[strategy]
        drivers = [first, *(driver for driver in DRIVERS if driver != first)]

        def ours() -> Member:
            return group.join(driver=drivers.pop(0))

        def theirs() -> Member:
            return group.join_java(STRATEGIES[strategy])

        # Who is there first leads the group, until it leaves; then the one that is asked first.
        joins = [ours, theirs, ours, theirs] if leader == "ours" else [theirs, ours, theirs, ours]
        members: list[Member] = []
        for join in joins:
            before = owned(members)
            new = join()
            group.produce(20)
            group.settle([*members, new])
            if "sticky" in strategy:  # who was there only gives
                assert all(set(member.owns()) <= before[member] for member in members)
            members.append(new)
        assert kafka.describe_group(group.id)["strategy"] == strategy
        for _ in range(2):
            group.end([members.pop(0)])
            before = owned(members)
            group.produce(20)
            group.settle(members)
            if "sticky" in strategy:  # who stays only gets
                assert all(set(member.owns()) >= before[member] for member in members)
        group.end(members)
        group.check()
        if strategy == "cooperative-sticky":  # nobody gives up what it gets back
            for tenures in group.tenures().values():
                for tenure, following in pairwise(tenures):
                    assert tenure.member is not following.member


def owned(members: list[Member]) -> dict[Member, set[Part]]:
    return {member: set(member.owns()) for member in members}


def test_a_rolling_change_of_the_strategy(kafka: KafkaCluster, topic: str) -> None:
    """From range to cooperative-sticky, one member after the other, in two rounds (KIP-429)."""
    with Group(kafka, topic, partitions=6) as group:

        def rolled(members: list[Member], strategies: list[str]) -> list[Member]:
            """The members are closed one by one, and come back with these strategies."""
            for number, member in enumerate(members):
                if isinstance(member, JavaMember):
                    new: Member = group.join_java(",".join(STRATEGIES[each] for each in strategies))
                else:
                    new = group.join(partition_assignment_strategy=strategies)
                group.end([member])
                members = [*members[:number], new, *members[number + 1 :]]
                group.produce(20)
                group.settle(members)
            return members

        members: list[Member] = [
            group.join(partition_assignment_strategy=["range"]),
            group.join_java("RangeAssignor"),
            group.join(partition_assignment_strategy=["range"]),
        ]
        group.produce(20)
        group.settle(members)
        members = rolled(members, ["cooperative-sticky", "range"])
        members = rolled(members, ["cooperative-sticky"])
        assert kafka.describe_group(group.id)["strategy"] == "cooperative-sticky"
        # Now it is incremental: who stays keeps what it has while others come and go.
        told = len(members[0].rows())
        kept = members[0].owns()
        group.end([members.pop()])
        group.settle(members)
        assert "revoked" not in [row[1] for row in members[0].rows()[told:]]
        assert set(kept) <= set(members[0].owns())
        group.end(members)
        group.check()
