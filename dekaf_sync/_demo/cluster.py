"""Where the demo's orders are. `feed` is called again and again from `begin` on; all offsets are by partition."""

from __future__ import annotations

import random
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from dekaf_proto.broker import Fault, GroupOptions, NewRecord
from dekaf_proto.errors import KafkaError
from dekaf_proto.messages import ApiKey
from dekaf_sync import Consumer, EmbeddedBroker, TopicPartition
from dekaf_sync._demo.topic import OwnTopic

if TYPE_CHECKING:
    from typing_extensions import Self

    from dekaf_sync._demo import Plan

#: Orders a second, at speed 1.
RATE: Final = 40.0
#: What is ordered.
DISHES: Final = ("tea", "soup", "dumplings", "rice", "plums")


class Cluster(AbstractContextManager["Cluster"]):
    """What the story needs, and how orders come in."""

    servers: str
    topic: str
    group: str
    description: str

    def __init__(self, plan: Plan) -> None:
        #: How many orders there are in the end.
        self.total: Final = plan.orders
        self.partitions: Final[Sequence[int]] = range(plan.partitions)
        self._rate: Final = RATE * plan.speed
        self._random: Final = random.Random(7)
        self._began: float | None = None
        self._ordered = 0
        self._offsets: Final[dict[int, list[int]]] = {partition: [] for partition in self.partitions}

    def watch(self, commit: Callable[[Mapping[int, int]], None]) -> None:
        """Has each commit told when it comes, before it counts; where that can be seen. From another thread."""

    def begin(self) -> None:
        """Both consumers are there."""
        self._began = time.monotonic()

    def feed(self) -> None:
        """Appends the orders that are due."""
        due = 0 if self._began is None else int((time.monotonic() - self._began) * self._rate)
        orders: dict[int, list[tuple[bytes, bytes]]] = {}
        for number in range(self._ordered, min(due, self.total)):
            order = f"{self._random.choice(DISHES)} for table {self._random.randint(1, 20)}"
            orders.setdefault(number % len(self.partitions), []).append((b"%d" % number, order.encode()))
            self._ordered = number + 1
        for partition, records in orders.items():
            first = self._append(partition, records)
            self._offsets[partition].extend(range(first, first + len(records)))

    def offsets(self) -> Mapping[int, Sequence[int]]:
        """The orders that there are."""
        return self._offsets

    @abstractmethod
    def _append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int:
        """Appends keys and values as one batch; returns the first one's offset."""

    @abstractmethod
    def committed(self) -> Mapping[int, int]:
        """What the group has committed."""


class Embedded(Cluster):
    """An embedded broker."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._broker: Final = EmbeddedBroker(
            nodes=3, topics={"orders": plan.partitions}, group_options=GroupOptions(min_session_timeout_ms=500)
        )
        self.servers = ""
        self.topic = "orders"
        self.group = "billing"
        self.description = f"An embedded broker with three nodes, and {plan.orders} orders for it"

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

    def _append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int:
        return self._broker.append(self.topic, partition, [NewRecord(value, key=key) for key, value in records])

    def committed(self) -> Mapping[int, int]:
        return {tp.partition: found.offset for tp, found in self._broker.committed(self.group).items()}


class Real(Cluster):
    """A real Kafka, and a topic on it that is made for this and deleted at the end, whatever the end is."""

    def __init__(self, servers: str, plan: Plan) -> None:
        super().__init__(plan)
        self.servers = servers
        self.topic = self.group = f"dekaf-demo-{uuid4()}"
        self.description = f"Topic {self.topic!r} of {servers}, made for this, and {plan.orders} orders for it"
        self._stack: Final = ExitStack()
        with _told():
            self._own: Final = OwnTopic(servers, self.topic, plan.partitions)

    def __enter__(self) -> Self:
        with ExitStack() as stack, _told():
            stack.callback(self._delete)
            self._own.create()
            observer: Consumer[Any, Any] = Consumer(
                bootstrap_servers=self.servers, group_id=self.group, enable_auto_commit=False
            )
            self._observer = stack.enter_context(observer)
            self._stack.push(stack.pop_all())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int:
        with _told():
            return self._own.append(partition, records)

    def committed(self) -> Mapping[int, int]:
        tps = [TopicPartition(self.topic, partition) for partition in self.partitions]
        return {tp.partition: found.offset for tp, found in self._observer.committed(tps).items() if found is not None}

    def _delete(self) -> None:
        deleted = False
        try:
            with suppress(OSError, KafkaError):
                self._own.delete()
                deleted = True
        finally:
            if not deleted:  # Ctrl+C once more, for one
                print(f"dekaf demo: topic {self.topic!r} is left there: delete it", file=sys.stderr)


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong outside ends the demo with a line, and not with a traceback."""
    from dekaf_sync._demo import DemoError

    try:
        yield
    except (OSError, ValueError) as error:
        raise DemoError(str(error)) from error
