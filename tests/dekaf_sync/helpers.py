"""A broker behind real sockets, consumers of it, and conditions with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from dekaf_proto.broker import Broker
from dekaf_proto.messages.heartbeat import HeartbeatRequest
from dekaf_proto.trace import Replay, Step
from dekaf_proto.types import TopicPartition
from dekaf_sync import Consumer, RebalanceListener, Record
from tests.broker_server import BrokerServer

T = TypeVar("T")

T0, T1, T2 = (TopicPartition("t", partition) for partition in range(3))

#: How long a test waits for what has to come. Nothing takes that long unless it is broken.
PATIENCE = 20.0


class Kafka:
    """A running broker with a topic `t` of three partitions, and those who use it."""

    def __init__(self, server: BrokerServer, bootstrap: str) -> None:
        self.server = server
        self.bootstrap = bootstrap
        self.call(lambda broker, now: broker.create_topic("t", 3))

    def call(self, function: Callable[[Broker, float], T]) -> T:
        """Runs `function(broker, now)` where the broker is."""
        return self.server.call(function)

    def create(self, topic: str) -> None:
        """Creates a topic with one partition."""
        self.call(lambda broker, now: broker.create_topic(topic))

    def fault(self, **what: Any) -> None:
        """Orders a fault."""
        self.call(lambda broker, now: broker.faults.add(**what))

    def append(self, *values: str, partition: int = 0, topic: str = "t", **options: Any) -> int:
        """Appends records; the first one's offset."""
        data = [value.encode() for value in values]
        return self.call(lambda broker, now: broker.append(topic, partition, data, now, **options))

    def committed(self, tp: TopicPartition, group: str = "g") -> int | None:
        """The offset that a group has committed, as the broker knows it."""
        found = self.call(lambda broker, now: broker.committed(group).get(tp))
        return None if found is None else found.offset

    def members(self, group: str = "g") -> int:
        """How many members a group has."""
        return len(self.call(lambda broker, now: broker.group(group)).members)

    def heartbeats(self) -> int:
        """How many heartbeats have come."""
        return self.call(lambda broker, now: sum(isinstance(r.request, HeartbeatRequest) for r in broker.requests))

    def member(self, *topics: str, **options: Any) -> Consumer[bytes | None, bytes | None]:
        """A member of the group `g` that begins at the beginning, for use in a `with`."""
        options = {
            "bootstrap_servers": self.bootstrap,
            "group_id": "g",
            "auto_offset_reset": "earliest",
            "fetch_max_wait_ms": 50,
            "heartbeat_interval_ms": 50,
            **options,
        }
        return Consumer(*topics, **options)

    def consumer(self, *assigned: TopicPartition, **options: Any) -> Consumer[bytes | None, bytes | None]:
        """A consumer from the beginning, for use in a `with`."""
        consumer: Consumer[bytes | None, bytes | None] = Consumer(
            **{"bootstrap_servers": self.bootstrap, "auto_offset_reset": "earliest", **options}
        )
        if assigned:
            consumer.assign(assigned)
        return consumer


def values(records: Iterable[Record[Any, Any]]) -> list[str]:
    """The records' values as text."""
    return [_text(record.value) for record in records]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value, "utf-8")


def read(consumer: Consumer[Any, Any], count: int) -> list[str]:
    """The values of the next `count` records, by a `for` that then breaks: the last one stays in hand."""
    result: list[str] = []
    for record in consumer:
        result.append(_text(record.value))
        if len(result) == count:
            break
    return result


class Listener(RebalanceListener):
    """Notes what it is told, and in which thread; `on[name]` is called first."""

    def __init__(self, **on: Callable[[Consumer[Any, Any], list[TopicPartition]], object]) -> None:
        self.on = on
        self.told: list[tuple[str, list[int]]] = []
        self.threads: set[int] = set()

    def on_assigned(self, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        self._tell("assigned", consumer, partitions)

    def on_revoked(self, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        self._tell("revoked", consumer, partitions)

    def on_lost(self, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        self._tell("lost", consumer, partitions)

    def _tell(self, name: str, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        self.told.append((name, sorted(tp.partition for tp in partitions)))
        self.threads.add(threading.get_ident())
        if name in self.on:
            self.on[name](consumer, partitions)


def until(condition: Callable[[], object]) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.001)


def once(condition: Callable[[], object], action: Callable[[], object]) -> None:
    """Waits for a condition and then does something."""
    until(condition)
    action()


def waits(consumer: Consumer[Any, Any]) -> bool:
    """Whether a thread waits in a call of the consumer for something that takes time."""
    return any(call.operation is not None and call.interruptible for call in list(consumer._pump._calls))


def callbacks_due(consumer: Consumer[Any, Any]) -> int:
    """How many callbacks of `commit_async` the next call is going to call."""
    return sum(pending.done for pending, _ in list(consumer._callbacks._waiting))


def in_thread(function: Callable[[], object]) -> Callable[[], None]:
    """Runs a function in a thread of its own; what it returns joins it, and raises what it raised."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join() -> None:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the thread does not end"
        for error in errors:
            raise error

    return join


def replay(path: Path) -> list[Step]:
    """Plays a whole recording again; raises where it goes another way."""
    with open(path, encoding="ascii") as file:
        lines = Replay(file)
        steps = list(lines)
    assert lines.end == "closed"
    return steps
