"""A broker behind trio's memory streams, and virtual time: what the tests of the trio driver run in.

    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a", "b")
        async with kafka.consumer(group_id="g") as consumer:
            ...

    run(main)

`run` starts `main` under a MockClock that jumps as soon as all tasks wait, so that nothing ever sleeps, with a broker
that has the topic `t` with two partitions. It checks that `main` leaves no task and no connection behind, and that it
comes to an end: a loop that goes round without the clock moving is an error.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import trio
import trio.testing

from dekaf_proto.broker import Broker
from dekaf_proto.events import Address, Connect, Listen, Send
from dekaf_proto.types import TopicPartition
from dekaf_trio import Consumer, Network, Record

T = TypeVar("T")

#: Steps of tasks after which a test counts as hanging.
STEPS = 50_000
T0, T1 = BOTH = [TopicPartition("t", 0), TopicPartition("t", 1)]


class Steps(trio.abc.Instrument):
    """Ends a program that does not end by itself."""

    def __init__(self) -> None:
        self.left = STEPS
        self.scope = trio.CancelScope()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


class _Link:
    """A connection of a client. The broker, which is another machine, acts as soon as it is sent something, and what it
    sends has arrived: both without a step of any task."""

    def __init__(self, conn: int, kafka: MemoryKafka) -> None:
        self.conn = conn
        self.kafka = kafka
        self.sending = trio.testing.MemorySendStream(self._sent, close_hook=self.end)
        self.receiving = trio.testing.MemoryReceiveStream()

    async def _sent(self) -> None:
        if self.conn not in self.kafka.open:
            raise trio.BrokenResourceError
        data = self.sending.get_data_nowait()
        self.kafka.do(lambda broker, now: broker.receive_data(self.conn, bytes(data), now))

    def end(self) -> None:
        """One side has closed it."""
        if self.kafka.open.pop(self.conn, None) is not None:
            self.receiving.put_eof()
            self.kafka.do(lambda broker, now: broker.disconnected(self.conn, "", now))


class MemoryKafka(Network):
    """The network of a consumer, with a broker at its other end. See the module."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        #: Addresses that do not answer at all.
        self.silent: set[Address] = set()
        self.names: dict[str, list[str] | str] = {}
        #: How often a stream was asked for.
        self.connects = 0
        #: A function to call with each stream that a consumer gets; gives what it gets instead.
        self.wrap: Callable[[trio.abc.Stream], trio.abc.Stream] = lambda stream: stream
        self.open: dict[int, _Link] = {}
        self._addresses: dict[Address, int] = {}
        self._changed = trio.Event()
        self.settle()

    @property
    def bootstrap_servers(self) -> str:
        """Where the nodes listen."""
        return ",".join(map(str, self._addresses))

    @property
    def links(self) -> int:
        """How many connections are open."""
        return len(self.open)

    def consumer(self, **options: Any) -> Consumer[Any, Any]:
        """A consumer of this broker that begins at the beginning."""
        options = {"bootstrap_servers": self.bootstrap_servers, "auto_offset_reset": "earliest", **options}
        return Consumer(network=self, **options)

    def member(self, *topics: str, **options: Any) -> Consumer[Any, Any]:
        """A member of the group `g` that begins at the beginning."""
        options = {
            "bootstrap_servers": self.bootstrap_servers,
            "auto_offset_reset": "earliest",
            "group_id": "g",
            "heartbeat_interval_ms": 200,
            **options,
        }
        return Consumer(*topics, network=self, **options)

    @property
    def members(self) -> int:
        """How many members the group `g` has."""
        return len(self.broker.group("g").members)

    def append(self, *values: str, tp: TopicPartition = T0, **options: Any) -> int:
        """Appends records."""
        offset = self.broker.append(*tp, [value.encode() for value in values], trio.current_time(), **options)
        self.settle()
        return offset

    def committed(self, group: str = "g") -> dict[TopicPartition, int]:
        """The offsets that a group has committed."""
        return {tp: found.offset for tp, found in self.broker.committed(group).items()}

    def do(self, action: Callable[[Broker, float], T]) -> T:
        """Does something to the broker."""
        result = action(self.broker, trio.current_time())
        self.settle()
        return result

    def compute(self, seconds: float) -> None:
        """The program takes that long without a checkpoint, while the broker goes on."""
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        for _ in range(100):
            clock.jump(seconds / 100)
            self.do(lambda broker, now: broker.handle_timeout(now))

    def cut(self) -> None:
        """Breaks all connections."""
        for link in list(self.open.values()):
            link.end()

    # ----------------------------------------------------------------------------------------------- as the network

    async def resolve(self, host: str, port: int) -> list[Address]:
        await trio.lowlevel.checkpoint()
        found = self.names.get(host, f"{host}: unknown")
        if isinstance(found, str):
            raise OSError(found)
        return [Address(address, port) for address in found]

    async def connect(self, order: Connect) -> trio.abc.Stream:
        self.connects += 1
        if order.address in self.silent:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        node = self._addresses.get(order.address)
        if node is None or not self.broker.is_listening(node):
            raise ConnectionRefusedError(111, "Connection refused")
        conn = self.broker.accepted(node, trio.current_time())
        self.open[conn] = link = _Link(conn, self)
        return self.wrap(trio.StapledStream(link.sending, link.receiving))

    # ------------------------------------------------------------------------------------------------ as the broker

    @trio.lowlevel.enable_ki_protection
    async def keep_time(self) -> None:
        """The broker's clock."""
        while True:
            deadline = self.broker.next_deadline()
            with trio.move_on_at(math.inf if deadline is None else deadline):
                await self._changed.wait()
                self._changed = trio.Event()
                continue
            self.broker.handle_timeout(trio.current_time())
            self.settle()

    def settle(self) -> None:
        """Carries out what the broker wants."""
        for effect in self.broker.effects():
            if isinstance(effect, Listen):
                address = Address(effect.host, effect.port or 9092 + effect.node)
                self._addresses[address] = effect.node
                self.broker.listening(effect.node, address, trio.current_time())
            elif effect.conn in self.open:
                if isinstance(effect, Send):
                    self.open[effect.conn].receiving.put_data(effect.data)
                else:
                    self.open[effect.conn].end()
        self._changed.set()


def run(main: Callable[[MemoryKafka], Awaitable[T]], broker: Broker | None = None) -> T:
    """See the module."""
    steps = Steps()
    results: list[T] = []
    errors: list[BaseException] = []

    async def test(network: MemoryKafka) -> None:
        try:
            results.append(await main(network))
        except (Exception, KeyboardInterrupt) as error:  # kept, or the nursery here would make a group of it
            errors.append(error)

    async def all_of_it() -> None:
        kafka = Broker(unix_offset=1_700_000_000.0) if broker is None else broker
        if not kafka.topics:
            kafka.create_topic("t", 2)
        before = trio.lowlevel.current_statistics().tasks_living
        with steps.scope:
            async with trio.open_nursery() as tasks:
                network = MemoryKafka(kafka)
                tasks.start_soon(network.keep_time)
                await test(network)
                await trio.testing.wait_all_tasks_blocked()
                if not errors:
                    assert network.links == 0, "connections are left"
                    assert trio.lowlevel.current_statistics().tasks_living == before + 1, "tasks are left"
                tasks.cancel_scope.cancel()
        if errors:
            raise errors[0]
        assert steps.left > 0, "it hangs"

    trio.run(all_of_it, clock=trio.testing.MockClock(autojump_threshold=0), instruments=[steps])
    return results[0]


async def take(count: int, records: AsyncIterator[Record[Any, Any]] | Consumer[Any, Any]) -> list[str]:
    """The values of the next records, in a `for` that is left with the last one in hand."""
    values = []
    async for msg in records:
        values.append(msg.value.decode())
        if len(values) == count:
            break
    return values
