"""docs/examples/own_loop_asyncio.py, cancelled wherever it waits: nothing is lost, and nothing is left."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.config import ConsumerConfig
from tests.broker_server import BrokerServer

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "own_loop_asyncio.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_loop_asyncio", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def filled() -> BrokerServer:
    broker = Broker()
    broker.create_topic("orders")
    broker.append("orders", 0, [b"%d" % i for i in range(8)], 0.0, per_batch=3)
    return BrokerServer(broker)


def config_for(bootstrap: str, **options: Any) -> ConsumerConfig[Any, Any]:
    return ConsumerConfig(bootstrap_servers=bootstrap, group_id="g", auto_offset_reset="earliest", **options)


def run(main: Coroutine[Any, Any, None] | asyncio.Task[None], loop: asyncio.AbstractEventLoop) -> None:
    """Runs it to its end, after which nothing else may be left."""

    async def leftovers() -> None:
        for _ in range(5):  # what is closed is gone some turns of the loop later
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    try:
        loop.run_until_complete(asyncio.wait_for(main, 60))
    finally:
        loop.run_until_complete(leftovers())
        loop.close()


class Counting(asyncio.SelectorEventLoop):
    """Does something when, for the n-th time, anything is to be called soon: one step of a task, mostly."""

    left = 0
    then: Callable[[], object] = staticmethod(lambda: None)

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        self.left -= 1
        if self.left == 0:
            super().call_soon(self.then)
        return super().call_soon(callback, *args, context=context)


def test_waiting_for_a_record_is_given_up_and_taken_up_again(example: ModuleType) -> None:
    server = filled()
    loop = Counting()
    offsets: list[int] = []
    given_up = 0

    async def read(consumer: Any) -> None:
        async for record in consumer.records():
            offsets.append(record.offset)

    async def main() -> None:
        nonlocal given_up
        async with aclosing(example.AsyncConsumer(config_for(bootstrap))) as consumer:
            consumer.engine.subscribe("orders", consumer.now())
            while 7 not in offsets and given_up < 1000:
                task = loop.create_task(read(consumer))
                loop.left, loop.then = 1 + given_up % 5, task.cancel
                with suppress(asyncio.CancelledError):
                    await task
                given_up += 1
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(consumer.records()), 0.05)
            server.call(lambda broker, now: broker.append("orders", 0, [b"new"], now))
            assert (await anext(consumer.records())).offset == 8

    with server as bootstrap:
        run(main(), loop)
    assert offsets == list(range(8))
    assert given_up > 8


def test_what_was_in_hand_goes_on_in_the_next_loop(example: ModuleType) -> None:
    server = filled()

    async def main() -> None:
        consumer = example.AsyncConsumer(config_for(bootstrap))
        async with aclosing(consumer):
            consumer.engine.subscribe("orders", consumer.now())
            async for record in consumer.records():
                if record.offset == 4:
                    break
            assert (await anext(consumer.records())).offset == 5
        # The record in hand at the end is not finished: it will be given again.
        assert server.call(lambda broker, _: [c.offset for c in broker.committed("g").values()]) == [5]

    with server as bootstrap:
        run(main(), asyncio.new_event_loop())


def test_cancelled_anywhere_it_leaves_and_nothing_is_lost(example: ModuleType) -> None:
    """One step later each time, until that is behind the end."""

    async def main(bootstrap: str, read: list[int], ending: list[bool]) -> None:
        async with aclosing(example.AsyncConsumer(config_for(bootstrap))) as consumer:
            consumer.engine.subscribe("orders", consumer.now())
            try:
                bound = await consumer.result(consumer.engine.until_end(consumer.now()))
                async for record in consumer.records(bound):
                    read.append(record.offset)
            finally:
                ending.append(True)

    def attempt(step: int) -> bool:
        """Whether it was cancelled."""
        read: list[int] = []
        ending: list[bool] = []
        while_ending: list[bool] = []

        def cancel() -> None:
            while_ending.append(bool(ending))
            task.cancel()

        server = filled()
        with server as bootstrap:
            loop = Counting()
            task = loop.create_task(main(bootstrap, read, ending))
            loop.left, loop.then = step, cancel
            with suppress(asyncio.CancelledError):
                run(task, loop)
            committed = server.call(lambda broker, _: [c.offset for c in broker.committed("g").values()] or [0])[0]
            group = server.call(lambda broker, _: broker.group("g"))
        assert read == list(range(len(read)))
        if while_ending != [True]:  # else it was cut short, as was asked for; the session's end tells the group
            assert group.members == ()
            # The record in hand is not finished, if the program was cancelled before it asked for the next.
            assert len(read) - 1 <= committed <= len(read)
        else:
            assert committed <= len(read) == 8
        return task.cancelled()

    steps = 1
    while attempt(steps):
        steps += 1
    assert steps > 40
