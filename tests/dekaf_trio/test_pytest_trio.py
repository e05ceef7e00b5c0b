"""With pytest-trio: consumers in tests and in fixtures, on its own clocks. Skipped where that is not installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from dekaf_proto.broker import Broker
from dekaf_trio import Consumer
from tests.dekaf_trio.memory import T0, MemoryKafka, take

pytest_trio = pytest.importorskip("pytest_trio")


@pytest_trio.trio_fixture  # type: ignore[untyped-decorator,unused-ignore]
async def kafka(nursery: trio.Nursery) -> MemoryKafka:
    broker = Broker(unix_offset=1_700_000_000.0)
    broker.create_topic("t", 2)
    network = MemoryKafka(broker)
    nursery.start_soon(network.keep_time)
    return network


@pytest_trio.trio_fixture  # type: ignore[untyped-decorator,unused-ignore]
async def consumer(kafka: MemoryKafka) -> AsyncIterator[Consumer[Any, Any]]:
    """A fixture may be left open for the test, although a nursery is in it."""
    async with kafka.member("t") as member:
        yield member
    assert kafka.committed()[T0] == 2
    assert kafka.members == 0


@pytest.mark.trio
async def test_a_consumer_in_a_fixture_with_a_clock_that_jumps(
    kafka: MemoryKafka, consumer: Consumer[Any, Any], autojump_clock: trio.testing.MockClock
) -> None:
    kafka.append("a", "b", "c")
    assert await take(3, consumer) == ["a", "b", "c"]
    began = trio.current_time()
    with trio.move_on_after(30):
        await consumer.poll()
    assert trio.current_time() - began == 30
    kafka.append("d")
    consumer.seek(T0, 1)
    assert await take(2, consumer) == ["b", "c"]


@pytest.mark.trio
async def test_the_real_clock(kafka: MemoryKafka) -> None:
    async with kafka.consumer() as ours:
        ours.assign([T0])
        kafka.append("a")
        with trio.fail_after(60):
            assert await take(1, ours) == ["a"]
