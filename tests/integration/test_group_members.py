"""Groups whose members join, leave, die and stop for a while, with each strategy, while records come in."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.integration.groups import SOAK, Group, Process
from tests.integration.kafka import KafkaCluster

STRATEGIES = ("range", "roundrobin", "sticky", "cooperative-sticky")
SIZES = (1, 2, 5, 20) if SOAK else (5,)
#: The smaller groups of `.ci/run`, and other ways to commit.
SMALL = [("cooperative-sticky", 1, "acknowledge"), ("range", 2, "batch")]
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch": {"enable_auto_commit": False},
    "message": {"enable_auto_commit": False},
    "acknowledge": {"acknowledgement_mode": "explicit"},
}
#: Strategy, size and way of each group.
GROUPS = [(strategy, size, "plain") for size in SIZES for strategy in STRATEGIES]
GROUPS += [(strategy, 5, way) for strategy in STRATEGIES for way in WAYS if way != "plain"] if SOAK else SMALL
#: How many further changes a group goes through, in any order, before it has to be settled again.
ROUNDS = 10 if SOAK else 0
#: How long a member stops is more, and so is how long a machine that is busy may keep one from its heartbeats.
SESSION_MS = 3_000


@pytest.mark.parametrize("strategy, size, way", GROUPS)
def test_members_come_and_go(kafka: KafkaCluster, topic: str, strategy: str, size: int, way: str) -> None:
    options = {"partition_assignment_strategy": strategy, "session_timeout_ms": SESSION_MS, **WAYS[way]}
    with Group(kafka, topic, partitions=2 * size + 1, **options) as group:
        life = Life(group, way)
        group.produce(20)
        for _ in range(size):
            life.join()  # all at once
        life.settle()
        for change in (life.join, life.leave, life.die, life.pause):
            group.produce(20)
            change()
            life.settle()
        seed = Random().getrandbits(32)
        random = Random(seed)
        print(f"seed {seed}")
        for _ in range(ROUNDS):
            for _ in range(3):
                group.produce(20)
                random.choice([life.join, life.leave, life.die, life.pause])()
            life.settle()
        group.end(life.members)
        group.check()
        endings = {tenure.ending for tenures in group.tenures().values() for tenure in tenures}
        assert {"revoked", "lost", "killed"} <= endings


class Life:
    """What happens to a group. There is always somebody left."""

    def __init__(self, group: Group, way: str) -> None:
        self._group = group
        self._way = way
        self.members: list[Process] = []
        self._paused: list[Process] = []

    def join(self) -> None:
        self.members.append(self._group.join(way=self._way, pace=0.0005))

    def leave(self) -> None:
        self._replace(lambda member: self._group.end([member]))

    def die(self) -> None:
        self._replace(Process.kill)

    def pause(self) -> None:
        """One stops for longer than the group waits for it, and then goes on as if nothing had been."""
        (member,) = self._some()
        if member not in self._paused:
            member.pause()
            self._paused.append(member)

    def settle(self) -> None:
        """Waits until the group has done without those that stand still, lets these go on, and waits for it again."""
        for member in self._paused:
            # Not from here: the group may be waiting for the member, and it is not said when it gives that up.
            name = str(member.rows_of("assigned")[-1][4]) if member.rows_of("assigned") else ""
            self._group.wait("the member to be removed", lambda name=name: name not in self._ids())
        rest = [member for member in self.members if member not in self._paused]
        if rest:
            self._group.settle(rest)
        while self._paused:
            member = self._paused.pop()
            before = len(member.rows_of("assigned"))
            member.go_on()
            # Until it hears that it was removed it takes itself for the owner; closing would then be a revocation.
            self._group.wait("the member to be back", lambda m=member, n=before: len(m.rows_of("assigned")) > n)
        self._group.settle(self.members)

    def _replace(self, end: Callable[[Process], object]) -> None:
        """The group has one member fewer, or a new one if it was the last."""
        (member,) = self._some()
        if member in self._paused:
            return
        self.members.remove(member)
        if not self.members:
            self.join()
        end(member)

    def _some(self) -> list[Process]:
        """The one that has been there for longest: the leader, most of the time."""
        return self.members[:1]

    def _ids(self) -> list[str]:
        return [each["id"] for each in self._group.kafka.describe_group(self._group.id)["members"]]
