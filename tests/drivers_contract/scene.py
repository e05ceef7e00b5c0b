"""A broker on loopback, and consumers of whichever driver, all with the blocking calls of dekaf_sync.

A scenario is written once and run over each driver. So is a listener: an object with plain methods, whose consumer is
the same blocking facade; for dekaf_trio it is called in a thread while its task waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import trio

from dekaf_proto.broker import Broker
from dekaf_proto.types import TopicPartition
from tests.broker_server import BrokerServer
from tests.integration.drivers import Consumer, Driver, open_consumer

T = TypeVar("T")

T0, T1, T2 = ALL = [TopicPartition("t", partition) for partition in range(3)]
#: How long a scenario waits for what has to come.
PATIENCE = 20.0


class Scene:
    """A running broker with a topic `t` of three partitions, and a driver for those who use it.

    A scenario that does without `call` and `fault` also runs on a real Kafka (tests/integration/test_contract.py).
    """

    #: The group of all consumers.
    group = "g"

    def __init__(self, driver: Driver, server: BrokerServer, bootstrap: str) -> None:
        self.driver = driver
        self.bootstrap = bootstrap
        self.server = server
        self.call(lambda broker, _: broker.create_topic("t", 3))

    def call(self, function: Callable[[Broker, float], T]) -> T:
        """Runs `function(broker, now)` where the broker is."""
        return self.server.call(function)

    def append(self, *values: str, partition: int = 0, topic: str = "t") -> None:
        """Appends records to a partition."""
        self.call(lambda broker, now: broker.append(topic, partition, [value.encode() for value in values], now))

    def fault(self, **what: Any) -> None:
        """Orders a fault."""
        self.call(lambda broker, _: broker.faults.add(**what))

    def stored(self, tp: TopicPartition = T0) -> int | None:
        """Where whoever owns the partition next goes on: what the group has committed."""
        found = self.call(lambda broker, _: broker.committed(self.group).get(tp))
        return None if found is None else found.offset

    def members(self) -> int:
        """How many members the group has."""
        return len(self.call(lambda broker, _: broker.group(self.group)).members)

    @contextmanager
    def consumer(self, *topics: str, listener: object = None, **options: Any) -> Iterator[Consumer]:
        """A consumer in its block, in the group, from the beginning on."""
        ours = {"group_id": self.group, "heartbeat_interval_ms": 50, "fetch_max_wait_ms": 20}
        with open_consumer(self.driver, self.bootstrap, **{**ours, **options}) as consumer:
            if topics:
                self.subscribe(consumer, list(topics), listener)
            yield consumer

    def subscribe(self, consumer: Consumer, topics: Any, listener: object = None) -> None:
        """Subscribes, with a listener of plain methods."""
        if listener is None:
            consumer._call("subscribe", topics)
        else:
            consumer._call("subscribe", topics, _in_trio(listener) if self.driver == "trio" else _in_sync(listener))


class Notes:
    """A listener that notes what it is told; `on[name]` is called then, with the consumer and the partitions."""

    def __init__(self, **on: Callable[[Any, list[TopicPartition]], object]) -> None:
        self.on = on
        self.told: list[tuple[str, list[int]]] = []

    def on_assigned(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._note("assigned", consumer, partitions)

    def on_revoked(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._note("revoked", consumer, partitions)

    def on_lost(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._note("lost", consumer, partitions)

    def _note(self, name: str, consumer: Any, partitions: list[TopicPartition]) -> None:
        self.told.append((name, sorted(tp.partition for tp in partitions)))
        if name in self.on:
            self.on[name](consumer, partitions)


class Inner:
    """The consumer that a listener is given: `inner.commit(...)`, and `inner.assignment`, in either driver."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def __getattr__(self, name: str) -> Any:
        if isinstance(getattr(type(self._consumer), name, None), property):
            return getattr(self._consumer, name)
        return partial(self._call, name)

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self._consumer, name)(*arguments, **options)


class _TrioInner(Inner):
    """The same, called in a thread that the listener's task waits for."""

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        async def job() -> Any:
            result = getattr(self._consumer, name)(*arguments, **options)
            return await result if hasattr(result, "__await__") else result

        return trio.from_thread.run(job)


_METHODS = ("on_assigned", "on_revoked", "on_lost")


def _in_sync(listener: object) -> object:
    def wrapped(method: Callable[..., object]) -> Callable[..., object]:
        return lambda consumer, partitions: method(Inner(consumer), partitions)

    return _object({name: wrapped(getattr(listener, name)) for name in _METHODS if hasattr(listener, name)})


def _in_trio(listener: object) -> object:
    def wrapped(method: Callable[..., object]) -> Callable[..., object]:
        async def call(consumer: Any, partitions: list[TopicPartition]) -> None:
            with trio.CancelScope(shield=True):  # a time-out of poll would end it in the middle
                await trio.to_thread.run_sync(method, _TrioInner(consumer), partitions)

        return call

    return _object({name: wrapped(getattr(listener, name)) for name in _METHODS if hasattr(listener, name)})


def _object(methods: dict[str, Callable[..., object]]) -> object:
    return type("Listener", (), {name: staticmethod(method) for name, method in methods.items()})()


def values(records: Any) -> list[str]:
    """The records' values as text."""
    return [record.value.decode() for record in records]


def settle(*consumers: Consumer, until: Callable[[], object]) -> None:
    """Has the consumers read in turn until the group is where it is to be."""
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, "it did not happen"
        for consumer in consumers:
            consumer.attend(0.01)


def wait_for(condition: Callable[[], object]) -> None:
    """Waits for a condition while nobody polls."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.002)
