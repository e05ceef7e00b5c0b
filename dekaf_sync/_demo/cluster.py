"""Where the demo's orders are. `feed` is called again and again from `begin` on; all offsets are by partition."""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from dekaf_proto.broker import Fault, GroupOptions, NewRecord
from dekaf_proto.messages import ApiKey
from dekaf_sync import Consumer, EmbeddedBroker, TopicPartition

if TYPE_CHECKING:
    from typing_extensions import Self

    from dekaf_sync._demo import Plan

#: Orders a second, at speed 1.
RATE: Final = 40.0
#: What is ordered.
DISHES: Final = ("tea", "soup", "dumplings", "rice", "plums")


class Cluster(AbstractContextManager["Cluster"]):
    """What the story needs."""

    servers: str
    topic: str
    group: str
    description: str
    partitions: Sequence[int]
    #: How many orders there are in the end.
    total: int

    def watch(self, commit: Callable[[Mapping[int, int]], None]) -> None:
        """Has each commit told when it comes, before it counts; where that can be seen. From another thread."""

    def begin(self) -> None:
        """Both consumers are there."""

    def feed(self) -> None:
        """Appends the orders that are due."""

    @abstractmethod
    def offsets(self) -> Mapping[int, Sequence[int]]:
        """The orders that there are."""

    @abstractmethod
    def committed(self) -> Mapping[int, int]:
        """What the group has committed."""


class Embedded(Cluster):
    """An embedded broker, fed by the demo itself."""

    def __init__(self, plan: Plan) -> None:
        self._broker: Final = EmbeddedBroker(
            nodes=3, topics={"orders": plan.partitions}, group_options=GroupOptions(min_session_timeout_ms=500)
        )
        self.total = plan.orders
        self._rate: Final = RATE * plan.speed
        self._random: Final = random.Random(7)
        self._began: float | None = None
        self._appended = 0
        self._offsets: Final[dict[int, list[int]]] = {partition: [] for partition in range(plan.partitions)}
        self.servers = ""
        self.topic = "orders"
        self.group = "billing"
        self.description = f"An embedded broker with three nodes, and {plan.orders} orders for it"
        self.partitions: Sequence[int] = range(plan.partitions)

    def __enter__(self) -> Self:
        self._broker.start()
        self.servers = self._broker.bootstrap_servers
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._broker.stop()

    def watch(self, commit: Callable[[Mapping[int, int]], None]) -> None:
        def look(_: object, request: Any) -> bool:
            commit({p.partition_index: p.committed_offset for topic in request.topics for p in topic.partitions})
            return False

        self._broker.add_fault(Fault(api=ApiKey.OFFSET_COMMIT, times=None, when=look))

    def begin(self) -> None:
        self._began = time.monotonic()

    def feed(self) -> None:
        due = 0 if self._began is None else int((time.monotonic() - self._began) * self._rate)
        while self._appended < min(due, self.total):
            partition = self._appended % len(self.partitions)
            order = f"{self._random.choice(DISHES)} for table {self._random.randint(1, 20)}"
            record = NewRecord(order.encode(), key=b"%d" % self._appended)
            self._offsets[partition].append(self._broker.append(self.topic, partition, [record]))
            self._appended += 1

    def offsets(self) -> Mapping[int, Sequence[int]]:
        return self._offsets

    def committed(self) -> Mapping[int, int]:
        return {tp.partition: found.offset for tp, found in self._broker.committed(self.group).items()}


class Real(Cluster):
    """A topic of a real Kafka, whose last records are the orders. Nothing is written but the offsets of a new group."""

    def __init__(self, servers: str, plan: Plan) -> None:
        assert plan.topic is not None
        self.servers = servers
        self.topic = plan.topic
        self.group = f"dekaf-demo-{uuid4()}"
        self.description = ""
        self.partitions: Sequence[int] = []
        self.total = plan.orders
        self._offsets: Final[dict[int, list[int]]] = {}
        self._observer: Final[Consumer[Any, Any]] = Consumer(
            bootstrap_servers=servers, group_id=self.group, enable_auto_commit=False
        )

    def __enter__(self) -> Self:
        from dekaf_sync._demo import DemoError

        self._observer.__enter__()
        try:
            partitions = self._observer.partitions_for(self.topic)
            if len(partitions) < 2:
                raise DemoError(f"topic {self.topic!r} has one partition: two consumers need at least two")
            begin, end = self._observer.beginning_offsets(partitions), self._observer.end_offsets(partitions)
            share = -(-self.total // len(partitions))
            start: dict[TopicPartition, int] = {tp: max(begin[tp], end[tp] - share) for tp in partitions}
            self.partitions = [tp.partition for tp in partitions]
            self._offsets.update({partition: [] for partition in self.partitions})
            with Consumer(bootstrap_servers=self.servers) as reader:
                reader.assign(start)
                for record in reader.records(until_end=True):
                    self._offsets[record.partition].append(record.offset)
            found = sum(map(len, self._offsets.values()))
            if found < 100:
                raise DemoError(
                    f"topic {self.topic!r} has {found} records, and the demo needs at least 100: "
                    "produce some first, for example with kafka-console-producer.sh"
                )
            self.total = found
            self._observer.commit(dict(start))
            self.description = f"Topic {self.topic!r} of {self.servers}; its last {found} records are the orders"
        except BaseException:
            self._observer.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._observer.close()

    def offsets(self) -> Mapping[int, Sequence[int]]:
        return self._offsets

    def committed(self) -> Mapping[int, int]:
        tps = [TopicPartition(self.topic, partition) for partition in self.partitions]
        return {tp.partition: found.offset for tp, found in self._observer.committed(tps).items() if found is not None}
