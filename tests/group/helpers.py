"""Groups of consumers in virtual time: programs that poll, answer events and read, each with a log of what it was told.

    group = Group({"t": 2})
    one = group.join()                       # the first consumer subscribes to all topics and polls by itself
    two = group.join()                       # another one
    group.settle()                           # until the group is stable, and all agree on who has what
    assert one.log == ["assigned t-0 t-1", "revoked t-0 t-1", "assigned t-0"]
    one.listener = lambda event: ...         # runs before the event is answered
    one.answers = False                      # the program is handed events and does not answer them
    one.awake = False                        # the program does nothing any more; its consumer goes on

After each step no two members may read one partition, unless `exclusive` is turned off for a test that puts a member
out behind its back; and each consumer's `check_invariant` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dekaf_proto.broker.groups import GroupState
from dekaf_proto.consumer import Consumer, FetchedRecords
from dekaf_proto.consumer.subscription import Topics
from dekaf_proto.events import (
    Failed,
    PartitionsAssigned,
    PartitionsLost,
    PartitionsRevoked,
    Rebalance,
)
from dekaf_proto.group.classic import Classic, MemberState
from dekaf_proto.messages.heartbeat import HeartbeatRequest
from dekaf_proto.messages.join_group import JoinGroupRequest
from dekaf_proto.messages.leave_group import LeaveGroupRequest
from dekaf_proto.messages.sync_group import SyncGroupRequest
from dekaf_proto.operation import Operation
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup, check_invariant

#: How long a program does nothing after an error, in seconds.
PAUSE = 0.1

NAMES = {PartitionsAssigned: "assigned", PartitionsRevoked: "revoked", PartitionsLost: "lost"}


def names(tps: Iterable[TopicPartition]) -> list[str]:
    return [f"{tp.topic}-{tp.partition}" for tp in tps]


class Program:
    """What a user's program does with a consumer: it waits, polls, reads what it gets, and answers events."""

    def __init__(self, group: Group, consumer: Consumer[Any, Any]) -> None:
        self.group = group
        self.consumer = consumer
        self.awake = True
        self.answers = True
        self.reads = True
        self.listener: Callable[[Rebalance], object] = lambda event: None
        #: What it was told, as text and as it came; what it was told that went wrong; what it has read.
        self.log: list[str] = []
        self.events: list[Rebalance] = []
        self.failures: list[Exception] = []
        self.records: list[str] = []
        #: The event that it has not answered.
        self.event: Rebalance | None = None
        self._waiting: Operation[bool] | None = None
        self._rests_until = 0.0

    @property
    def membership(self) -> Classic:
        membership = self.consumer._membership
        assert membership is not None
        return membership

    @property
    def state(self) -> MemberState:
        return self.membership.state

    @property
    def reading(self) -> list[TopicPartition]:
        """What may be handed out."""
        return [tp for tp, p in self.consumer._partitions.items() if p.tenure.live and not p.withheld]

    def subscribe(self, topics: Topics) -> None:
        self.consumer.subscribe(topics, self.group.now)

    def step(self) -> None:
        """Takes the program as far as it gets without time passing."""
        while self.awake and self.event is None and not self.consumer.closed and self.group.now >= self._rests_until:
            if self._waiting is None:
                if self._poll():
                    continue
                self._waiting = self.consumer.wait(self.group.now)
            if not self._waiting.done:
                return
            self._waiting = None
            if self.consumer._over:
                return

    def _poll(self) -> bool:
        """One poll; whether it gave anything."""
        output = self.consumer.poll(self.group.now)
        if isinstance(output, Rebalance):
            self.events.append(output)
            self.log.append(" ".join([NAMES[type(output)], *names(output.partitions)]))
            self.event = output
            if self.answers:
                self.answer()
        elif isinstance(output, Failed):
            self.failures.append(output.error)
            self._rests_until = self.group.now + PAUSE
            self.group.network._at(self._rests_until, lambda: None)
        elif isinstance(output, FetchedRecords) and self.reads:
            self.records += [record.value.decode() for record in output]
        return output is not None

    def answer(self) -> None:
        """Runs the listener and answers the event."""
        event = self.event
        assert event is not None
        self.listener(event)
        self.consumer.event_done(event, self.group.now)
        self.event = None

    def go_on(self) -> None:
        """Answers what it was told, and all that comes."""
        self.answers = True
        self.answer()
        self.step()

    def sleep(self) -> None:
        """The program does something else from now on: it neither waits nor polls."""
        self.awake = False
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def wake(self) -> None:
        """It asks again."""
        self.awake = True
        self.step()

    def poll_once(self) -> None:
        """A sleeping program asks once, without waiting."""
        self._poll()

    def close(self, timeout: float | None = None) -> None:
        """Closes, polling all the while."""
        self.group.result(self.consumer.close(self.group.now, timeout))

    def die(self) -> None:
        """The process is gone; nobody is told."""
        self.sleep()
        self.group.programs.remove(self)
        self.group.network.remove(self.consumer)


class Group(Setup):
    """See the module. `options` go to the first consumer and, if nothing else is said, to the others."""

    def __init__(self, topics: Mapping[str, int] | None = None, *, exclusive: bool = True, **options: Any) -> None:
        self.programs: list[Program] = []
        self.exclusive = exclusive
        self._count = 0
        setup = {
            name: options.pop(name)
            for name in ("nodes", "seed", "release", "api_versions", "racks", "latency", "jitter", "max_chunk", "busy")
            if name in options
        }
        self.options = {"group_id": "g", **options}
        super().__init__(topics, **setup, **self.options)
        self.network.checks.append(self.after_step)

    def add(self, **options: Any) -> Program:
        """One more consumer, which does nothing yet; the first call gives the one that is there."""
        if not self._count and not options:
            consumer = self.consumer
        else:
            consumer = self.add_consumer(seed=self._count, **{**self.options, **options})
        self._count += 1
        program = Program(self, consumer)
        self.programs.append(program)
        return program

    def join(self, topics: Topics | None = None, **options: Any) -> Program:
        """One more member; it subscribes to all topics, unless told otherwise."""
        program = self.add(**options)
        program.subscribe(list(self.broker.topics) if topics is None else topics)
        program.step()
        return program

    def after_step(self) -> None:
        for program in list(self.programs):
            program.step()
        seen: dict[TopicPartition, Program] = {}
        for program in self.programs:
            if not program.consumer.closed:
                check_invariant(program.consumer, self.now)
                for tp in program.reading if self.exclusive else ():
                    assert seen.setdefault(tp, program) is program, f"{tp} is read by two members"

    def is_settled(self) -> bool:
        """Whether the group is stable, and its members agree with its coordinator on who has what."""
        snapshot = self.broker.group("g")
        members = {program.membership.member_id: program for program in self.programs if program.membership.is_active}
        if snapshot.state is not GroupState.STABLE or len(snapshot.members) != len(members):
            return False
        for member in snapshot.members:
            program = members.get(member.member_id)
            if program is None or not program.membership.is_settled:
                return False
            if program.membership.generation != snapshot.generation or program.event is not None:
                return False
            if sorted(program.reading) != member.partitions or len(program.consumer.assignment) != len(program.reading):
                return False
        return True

    def settle_all(self) -> None:
        """Runs until the group is stable, whatever topics there are."""
        self.run_until(self.is_settled)

    def settle(self, limit: float | None = None, quiet: float = 1.0) -> None:
        """Runs until the group is stable, and stays so for a while; every partition then has its reader."""
        self.run_until(self.is_settled, limit)
        generation = self.broker.group("g").generation
        self.run_for(quiet)
        assert self.is_settled(), f"{self.broker.group('g')}"
        assert self.broker.group("g").generation == generation, "another rebalance without a reason"
        wanted = {topic for program in self.programs for topic in program.consumer.subscription}
        read = sorted(tp for program in self.programs for tp in program.reading)
        there = sorted(
            TopicPartition(t.name, p.index) for t in self.broker.cluster.topics.values() for p in t.partitions
        )
        assert read == [tp for tp in there if tp.topic in wanted]

    def settle_others(self, one: Program) -> None:
        """The same for all others, while one is out."""
        self.programs.remove(one)
        self.settle()
        self.programs.append(one)

    def joins(self) -> list[JoinGroupRequest]:
        return self.requests(JoinGroupRequest)

    def syncs(self) -> list[SyncGroupRequest]:
        return self.requests(SyncGroupRequest)

    def heartbeats(self) -> list[HeartbeatRequest]:
        return self.requests(HeartbeatRequest)

    def leaves(self) -> list[LeaveGroupRequest]:
        return self.requests(LeaveGroupRequest)
