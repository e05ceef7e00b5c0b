"""The contestants of group.py: members of groups, one program for each kind of measurement, in a process of its own.

    python bench/members.py first CONTESTANT BOOTSTRAP TOPIC
    python bench/members.py rebalance CONTESTANT BOOTSTRAP TOPIC PARTITIONS MEMBERS STRATEGY ROUNDS
    python bench/members.py commits CONTESTANT BOOTSTRAP TOPIC COUNT

It prints a line of JSON. Nothing is imported at the top but what all of them need: with `first`, importing counts.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    #: A member's thread, with its number, until the function says that it is to leave.
    Member = Callable[[int, "Ownership", Callable[[], bool]], None]


def group_name() -> str:
    return f"bench-{time.time_ns()}"


# ------------------------------------------------------------------------------------------------- the first record


def first(contestant: str, bootstrap: str, topic: str) -> object:
    """The Unix time at which the first record was there."""
    if contestant == "dekaf_sync":
        from dekaf_sync import Consumer

        with Consumer(
            topic, bootstrap_servers=bootstrap, group_id=group_name(), auto_offset_reset="earliest"
        ) as consumer:
            for _ in consumer:
                return time.time()
    if contestant == "confluent":
        from confluent_kafka import Consumer as Confluent

        confluent = Confluent(
            {"bootstrap.servers": bootstrap, "group.id": group_name(), "auto.offset.reset": "earliest"}
        )
        confluent.subscribe([topic])
        while confluent.poll(1.0) is None:
            pass
        at = time.time()
        confluent.close()
        return at
    if contestant == "kafka-python":
        from kafka import KafkaConsumer

        theirs = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group_name(), auto_offset_reset="earliest")
        for _ in theirs:
            at = time.time()
            theirs.close()
            return at
    import asyncio

    from aiokafka import AIOKafkaConsumer

    async def run() -> float:
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, group_id=group_name(), auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            await consumer.getone()
            return time.time()
        finally:
            await consumer.stop()

    return asyncio.run(run())


# ---------------------------------------------------------------------------------------------------- a rebalance

#: The same for all: how long it takes until a member hears of a rebalance is up to its heartbeats.
HEARTBEAT_MS = 200
SESSION_MS = 10_000
#: How long a call that polls may wait, in seconds: all of them call in such a loop.
POLL = 0.1


class Ownership:
    """Who has been given what, as the members were told it."""

    def __init__(self, partitions: int) -> None:
        import threading

        self._partitions = partitions
        self._owned: dict[int, set[int]] = {}
        self._changed = 0.0
        self._condition = threading.Condition()
        self.left = 0.0

    def told(self, member: int, owned: set[int]) -> None:
        """What `member` has now."""
        with self._condition:
            self._owned[member] = set(owned)
            self._changed = time.perf_counter()
            self._condition.notify_all()

    def leaves(self, member: int) -> None:
        """`member` is about to close."""
        with self._condition:
            self._owned.pop(member, None)
            self.left = time.perf_counter()

    def _is_settled(self, members: int) -> bool:
        shares = sorted(map(len, self._owned.values()))
        whole = set().union(*self._owned.values()) if shares else set()
        return len(shares) == members and sum(shares) == len(whole) == self._partitions and shares[-1] - shares[0] <= 1

    def settled(self, members: int) -> float:
        """Waits until so many members have it all, in equal shares; when that was."""
        with self._condition:
            if not self._condition.wait_for(lambda: self._is_settled(members), 60):
                raise SystemExit(f"not settled: {sorted(map(len, self._owned.values()))}")
            return self._changed


class Threads:
    """Members that block, each with a thread of the program's."""

    def __init__(self, run: Member, ownership: Ownership) -> None:
        self._run = run
        self._ownership = ownership
        self._members: list[tuple[threading.Thread, threading.Event]] = []

    def join(self) -> None:
        import threading

        stop = threading.Event()
        arguments = (len(self._members), self._ownership, stop.is_set)
        thread = threading.Thread(target=self._run, args=arguments)
        self._members.append((thread, stop))
        thread.start()

    def leave(self) -> None:
        thread, stop = self._members.pop()
        stop.set()
        thread.join()


def dekaf_member(bootstrap: str, topic: str, group: str, strategy: str) -> Member:
    from dekaf_sync import Consumer, RebalanceListener

    def run(number: int, ownership: Ownership, stopped: Callable[[], bool]) -> None:
        owned: set[int] = set()

        class Listener(RebalanceListener):
            def on_assigned(self, consumer: Any, partitions: list[Any]) -> None:
                owned.update(tp.partition for tp in partitions)
                ownership.told(number, owned)

            def on_revoked(self, consumer: Any, partitions: list[Any]) -> None:
                owned.difference_update(tp.partition for tp in partitions)
                if not stopped():
                    ownership.told(number, owned)

        with Consumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            partition_assignment_strategy=strategy,
            heartbeat_interval_ms=HEARTBEAT_MS,
            session_timeout_ms=SESSION_MS,
        ) as consumer:
            consumer.subscribe([topic], Listener())
            while not stopped():
                consumer.poll(POLL)
            ownership.leaves(number)

    return run


def confluent_member(bootstrap: str, topic: str, group: str, strategy: str) -> Member:
    from confluent_kafka import Consumer

    def run(number: int, ownership: Ownership, stopped: Callable[[], bool]) -> None:
        owned: set[int] = set()

        def assigned(_consumer: Any, partitions: list[Any]) -> None:
            owned.update(tp.partition for tp in partitions)
            ownership.told(number, owned)

        def revoked(_consumer: Any, partitions: list[Any]) -> None:
            owned.difference_update(tp.partition for tp in partitions)
            if not stopped():
                ownership.told(number, owned)

        consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "partition.assignment.strategy": strategy,
                "heartbeat.interval.ms": HEARTBEAT_MS,
                "session.timeout.ms": SESSION_MS,
            }
        )
        consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked)
        while not stopped():
            consumer.poll(POLL)
        ownership.leaves(number)
        consumer.close()

    return run


class Tasks:
    """Members of aiokafka, each a task of one loop, which runs in a thread of its own."""

    def __init__(self, bootstrap: str, topic: str, group: str, strategy: str, ownership: Ownership) -> None:
        import asyncio
        import threading

        self._settings = bootstrap, topic, group, strategy
        self._ownership = ownership
        self._members: list[tuple[Future[None], list[bool]]] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def join(self) -> None:
        import asyncio

        stop: list[bool] = []
        future = asyncio.run_coroutine_threadsafe(self._run(len(self._members), stop), self._loop)
        self._members.append((future, stop))

    def leave(self) -> None:
        future, stop = self._members.pop()
        stop.append(True)
        future.result()

    async def _run(self, number: int, stop: list[bool]) -> None:
        from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
        from aiokafka.coordinator.assignors.range import RangePartitionAssignor
        from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

        bootstrap, topic, group, strategy = self._settings
        ownership = self._ownership

        class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
            async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
                if not stop:
                    ownership.told(number, set())

            async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
                ownership.told(number, {tp.partition for tp in assigned})

        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            partition_assignment_strategy=[
                RangePartitionAssignor if strategy == "range" else RoundRobinPartitionAssignor
            ],
            heartbeat_interval_ms=HEARTBEAT_MS,
            session_timeout_ms=SESSION_MS,
        )
        consumer.subscribe([topic], listener=Listener())
        await consumer.start()
        try:
            while not stop:
                await consumer.getmany(timeout_ms=int(1000 * POLL))
            ownership.leaves(number)
        finally:
            await consumer.stop()


def rebalance(
    contestant: str, bootstrap: str, topic: str, partitions: str, members: str, strategy: str, rounds: str
) -> object:
    """Seconds until everybody has their share: of a group that begins, that gets one more, and that loses one."""
    size = int(members)
    times: dict[str, list[float]] = {"begin": [], "join": [], "leave": []}
    pause = 0.5  # for members that look after a change whether another one is due
    for i in range(int(rounds)):
        ownership = Ownership(int(partitions))
        settings = bootstrap, topic, group_name(), strategy
        group: Threads | Tasks
        if contestant == "aiokafka":
            group = Tasks(*settings, ownership)
        else:
            member = dekaf_member if contestant == "dekaf_sync" else confluent_member
            group = Threads(member(*settings), ownership)
        began = time.perf_counter()
        for _ in range(size - 1):
            group.join()
        times["begin"].append(ownership.settled(size - 1) - began)
        time.sleep(
            pause + HEARTBEAT_MS / 1000 * i / int(rounds)
        )  # so that all phases of the heartbeats have their turn
        began = time.perf_counter()
        group.join()
        times["join"].append(ownership.settled(size) - began)
        time.sleep(pause + HEARTBEAT_MS / 1000 * i / int(rounds))
        group.leave()
        times["leave"].append(ownership.settled(size - 1) - ownership.left)
        for _ in range(size - 1):
            group.leave()
    return times


# ------------------------------------------------------------------------------------------- a commit for each record


def commits(contestant: str, bootstrap: str, topic: str, count: str) -> object:
    """How many records a second are read when each is committed, and waited for, before the next one."""
    number = int(count)
    if contestant == "dekaf_sync":
        from dekaf_sync import Consumer

        began = 0.0
        with Consumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group_name(),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        ) as consumer:
            for i, record in enumerate(consumer):
                consumer.commit(record)
                if i == 0:
                    began = time.perf_counter()
                elif i == number:
                    return number / (time.perf_counter() - began)
    if contestant == "confluent":
        from confluent_kafka import Consumer as Confluent

        confluent = Confluent(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group_name(),
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        confluent.subscribe([topic])
        i = 0
        while True:
            message = confluent.poll(1.0)
            if message is None or message.error():
                continue
            confluent.commit(message=message, asynchronous=False)
            if i == 0:
                began = time.perf_counter()
            elif i == number:
                rate = number / (time.perf_counter() - began)
                confluent.close()
                return rate
            i += 1
    import asyncio

    from aiokafka import AIOKafkaConsumer, TopicPartition

    async def run() -> float:
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group_name(),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            i = 0
            began = 0.0
            async for record in consumer:
                await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})
                if i == 0:
                    began = time.perf_counter()
                elif i == number:
                    return number / (time.perf_counter() - began)
                i += 1
            raise AssertionError("the topic is too short")
        finally:
            await consumer.stop()

    return asyncio.run(run())


WHAT: dict[str, Callable[..., object]] = {"first": first, "rebalance": rebalance, "commits": commits}

if __name__ == "__main__":
    print(json.dumps(WHAT[sys.argv[1]](*sys.argv[2:])))
