"""The embedded broker in trio, on sockets and in memory."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from dekaf_proto.broker import Broker, Fault, GroupState
from dekaf_proto.errors import ClosedError, ErrorCode, InternalError, KafkaTimeoutError, LocalProtocolError
from dekaf_proto.messages import ApiKey
from dekaf_trio import Consumer, EmbeddedBroker

LIMIT = 60.0  # seconds that a test may take at most


def run(main: Callable[[], Awaitable[None]], *, virtual: bool = False) -> None:
    async def limited() -> None:
        with trio.fail_after(1e6 if virtual else LIMIT):
            await main()

    trio.run(limited, clock=trio.testing.MockClock(autojump_threshold=0) if virtual else None)


def consumer_of(broker: EmbeddedBroker, *topics: str, **options: Any) -> Consumer[Any, Any]:
    options = {"auto_offset_reset": "earliest", "group_id": "g", **options}
    return Consumer(*topics, bootstrap_servers=broker.bootstrap_servers, **options)


async def take(count: int, consumer: Consumer[Any, Any]) -> list[bytes]:
    found = []
    async for msg in consumer:
        found.append(msg.value)
        if len(found) == count:
            break
    return found


def test_a_consumer_on_sockets() -> None:
    async def main() -> None:
        async with EmbeddedBroker(nodes=3, topics={"t": 3}) as broker:
            for partition in range(3):
                broker.append("t", partition, [b"x" * 400_000] * 3)
            async with consumer_of(broker, "t") as consumer:
                assert len(await take(9, consumer)) == 9
                broker.stop_node(broker.leader("t", 1) or 0)
                broker.append("t", 1, [b"y"])
                assert await take(1, consumer) == [b"y"]
            assert sum(found.offset for found in broker.committed("g").values()) == 9
            await broker.wait_until(lambda: broker.call(lambda engine, _: engine.connections()) == [])

    run(main)


def test_a_node_comes_back_at_its_port_and_ports_can_be_taken() -> None:
    async def main() -> None:
        async with EmbeddedBroker(nodes=2) as broker:
            host, _, port = broker.bootstrap_servers.split(",")[1].rpartition(":")
            broker.stop_node(1)
            with pytest.raises(OSError, match="all attempts to connect"):
                await trio.open_tcp_stream(host, int(port))
            broker.start_node(1)
            await trio.aclose_forcefully(await trio.open_tcp_stream(host, int(port)))
            broker.stop_node(1)
            with pytest.raises(OSError, match=r"node 0 can't listen on .* choose another port"):
                async with EmbeddedBroker(port=int(broker.bootstrap_servers.split(",")[0].rpartition(":")[2])):
                    pass
            async with EmbeddedBroker(host="localhost") as other:
                assert other.bootstrap_servers.startswith("localhost:")

    run(main)


def test_a_whole_group_in_memory_and_in_virtual_time() -> None:
    async def main() -> None:
        async with EmbeddedBroker(topics={"t": 2}, in_memory=True) as broker:
            assert broker.bootstrap_servers == "127.0.0.1:9092"
            start = trio.current_time()
            fault = broker.add_fault(Fault(api=ApiKey.FETCH, error=ErrorCode.NOT_LEADER_OR_FOLLOWER))
            async with consumer_of(broker, "t", network=broker.network) as one:
                broker.append("t", 0, [b"a"])
                assert await take(1, one) == [b"a"]
                assert fault.hits == 1
                async with trio.open_nursery() as nursery, consumer_of(broker, "t", network=broker.network) as two:
                    for consumer in (one, two):
                        nursery.start_soon(take, 1000, consumer)
                    await broker.wait_until(lambda: len(broker.group("g").members) == 2)
                    await broker.wait_until(lambda: broker.group("g").state is GroupState.STABLE)
                    assert [len(member.partitions) for member in broker.group("g").members] == [1, 1]
                    nursery.cancel_scope.cancel()
            assert trio.current_time() > start
            with pytest.raises(KafkaTimeoutError):
                await broker.wait_until(lambda: False, timeout=5)

    run(main, virtual=True)


def test_a_node_in_memory_that_is_gone() -> None:
    async def main() -> None:
        async with EmbeddedBroker(nodes=2, topics={"t": 1}, in_memory=True) as broker:
            broker.append("t", 0, [b"a"])
            broker.stop_node(0)
            async with consumer_of(broker, "t", network=broker.network) as consumer:
                assert await take(1, consumer) == [b"a"]
                broker.disconnect()
                broker.append("t", 0, [b"b"])
                assert await take(1, consumer) == [b"b"]
            network, servers = broker.network, broker.bootstrap_servers
        async with Consumer(bootstrap_servers=servers, network=network, default_api_timeout_ms=5_000) as consumer:
            with pytest.raises(KafkaTimeoutError, match="refused"):
                await consumer.topics()

    run(main, virtual=True)


def test_it_is_for_its_block() -> None:
    async def main() -> None:
        broker = EmbeddedBroker()
        with pytest.raises(LocalProtocolError, match="`async with`"):
            _ = broker.bootstrap_servers
        with pytest.raises(LocalProtocolError, match="in_memory"):
            _ = broker.network
        async with broker:
            with pytest.raises(LocalProtocolError, match="once"):
                await broker.__aenter__()
            with pytest.raises(KeyError):
                broker.end_offset("nowhere", 0)
        with pytest.raises(ClosedError):
            _ = broker.bootstrap_servers

    run(main)


def test_what_the_block_raises_is_raised_as_it_is() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with EmbeddedBroker():
                _ = 1 / 0

    run(main)


def test_a_cancel_lets_consumers_say_goodbye() -> None:
    async def main() -> None:
        engine = Broker()
        engine.create_topic("t")
        with trio.CancelScope() as scope:
            async with (
                EmbeddedBroker(engine=engine, in_memory=True) as broker,
                consumer_of(broker, "t", network=broker.network) as consumer,
            ):
                broker.append("t", 0, [b"a", b"b"])
                await take(2, consumer)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert engine.group("g").members == ()
        assert [found.offset for found in engine.committed("g").values()] == [1]

    run(main, virtual=True)


def test_a_crash_is_told() -> None:
    async def main() -> None:
        def broken(_: float) -> None:
            raise RuntimeError("on purpose")

        broker = EmbeddedBroker(engine=Broker(max_idle=0.01))
        await broker.__aenter__()
        broker.call(lambda engine, _: setattr(engine, "handle_timeout", broken))
        host, _, port = broker.bootstrap_servers.rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        assert await stream.receive_some() == b""
        await trio.aclose_forcefully(stream)
        with pytest.raises(InternalError, match="on purpose"):
            _ = broker.nodes
        with pytest.raises(InternalError, match="on purpose"):
            await broker.__aexit__(None, None, None)

    run(main)


def test_clients_that_are_rude() -> None:
    async def main() -> None:
        async with EmbeddedBroker() as broker:
            host, _, port = broker.bootstrap_servers.rpartition(":")
            with socket.create_connection((host, int(port))) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                await broker.wait_until(lambda: broker.call(lambda engine, _: engine.connections()) != [])
            await broker.wait_until(lambda: broker.call(lambda engine, _: engine.connections()) == [])

    run(main)
