"""dekaf_trio over real sockets on loopback, with the real clock: what memory streams can't show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from dekaf_proto.broker import Broker
from dekaf_proto.errors import KafkaTimeoutError
from dekaf_proto.types import TopicPartition
from dekaf_trio import Consumer
from tests.broker_server import BrokerServer

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)
LIMIT = 30  # seconds that a test may take at most


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        with trio.fail_after(LIMIT):
            await main()

    trio.run(limited)


def consumer_of(bootstrap: str, **options: Any) -> Consumer[Any, Any]:
    options = {"bootstrap_servers": bootstrap, "auto_offset_reset": "earliest", "group_id": "g", **options}
    return Consumer(**options)


def server_of(count: int, nodes: int = 2) -> BrokerServer:
    broker = Broker(nodes=nodes)
    broker.create_topic("t", 2)
    for partition in range(2):
        broker.append("t", partition, [b"x" * 1000] * count, 0.0, per_batch=10)
    return BrokerServer(broker)


def committed(server: BrokerServer) -> dict[TopicPartition, int]:
    return server.call(lambda broker, _: {tp: found.offset for tp, found in broker.committed("g").items()})


def test_reading_everything() -> None:
    server = server_of(5000)
    with server as bootstrap:

        async def main() -> None:
            async with consumer_of(bootstrap) as consumer:
                consumer.assign(await consumer.partitions_for("t"))
                seen: dict[int, list[int]] = {0: [], 1: []}
                async for msg in consumer.records(until_end=True):
                    seen[msg.partition].append(msg.offset)
                assert seen == {0: list(range(5000)), 1: list(range(5000))}

        run(main)
        assert committed(server) == {T0: 5000, T1: 5000}


def test_a_name_is_resolved() -> None:
    with server_of(1) as bootstrap:

        async def main() -> None:
            async with consumer_of(bootstrap.replace("127.0.0.1", "localhost")) as consumer:
                assert await consumer.topics() == ["t"]

        run(main)


def test_a_name_that_does_not_exist_and_one_that_can_t() -> None:
    async def main() -> None:
        servers = f"{'x' * 64}.invalid,a..b:1"  # a label that is too long, and one that is empty
        async with consumer_of(servers, default_api_timeout_ms=500) as consumer:
            with pytest.raises(KafkaTimeoutError, match="is not reachable"):
                await consumer.topics()

    run(main)


def test_a_node_that_dies() -> None:
    server = server_of(10, nodes=3)
    with server as bootstrap:

        async def main() -> None:
            async with consumer_of(bootstrap) as consumer:
                consumer.assign([T0, T1])
                seen = 0
                while seen < 20:
                    seen += len(await consumer.poll())
                node = server.call(lambda broker, _: broker.leader("t", 0) or 0)
                server.call(lambda broker, now: broker.stop_node(node, now))
                server.call(lambda broker, now: broker.append("t", 0, [b"y"], now))
                (msg,) = await consumer.poll()
                assert msg.value == b"y"
                server.call(lambda broker, now: broker.start_node(node, now))

        run(main)


def test_nobody_listens() -> None:
    async def main() -> None:
        async with consumer_of("127.0.0.1:1", default_api_timeout_ms=500) as consumer:
            with pytest.raises(KafkaTimeoutError, match="Connection refused"):
                await consumer.topics()

    run(main)
