"""A member's whole life, cancelled at each of its checkpoints in turn: its body, the nursery around it, the whole run.

Wherever that is: it has left the group, what was finished and nothing more is committed, soon, and no task and no
connection is left.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from dekaf_proto.broker import Broker
from dekaf_proto.messages import ApiKey
from dekaf_trio import Consumer, TopicPartition, _reading
from dekaf_trio._pump import GRACE
from tests.dekaf_trio.memory import BOTH, T0, T1, MemoryKafka, Steps

AnyConsumer = Consumer[Any, Any]

#: How many steps of all the program's tasks lie between two of the moments at which it is cancelled.
STRIDE = 1 if os.environ.get("DEKAF_SOAK") else 23
#: How long each of the broker's answers takes, and closing may take, in seconds.
ANSWER, CLOSE = 0.01, 5.0
APIS = (ApiKey.JOIN_GROUP, ApiKey.OFFSET_COMMIT, ApiKey.LIST_OFFSETS, ApiKey.LEAVE_GROUP)

PHASES = ["joining", "assigned", "reading", "committing", "asking", "leaving", "revoked", "rejoining", "closing"]


@pytest.fixture(autouse=True)
def _no_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """`async for` looks at the real clock: on a slow machine it would have more checkpoints."""
    monkeypatch.setattr(_reading, "time", SimpleNamespace(perf_counter=lambda: 0.0))


class CancelAfter(trio.abc.Instrument):
    """Cancels as soon as `task`, or any task if that is None, has made `count` steps more."""

    def __init__(self, cancel: Callable[[], object], count: int, task: trio.lowlevel.Task | None) -> None:
        self.cancel, self.left, self.task = cancel, count, task
        self.done = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.task in (None, task) and not self.done:
            self.left -= 1
            if self.left < 0:
                self.done = True
                self.cancel()


class Life:
    """One member's life, and how far it has come."""

    def __init__(self) -> None:
        self.phase = "joining"
        #: Up to where each partition is finished; several offsets while a call that is to change that is under way.
        self.finished: dict[TopicPartition, set[int]] = {T0: {0}, T1: {0}}
        #: In which phase it was cancelled, and when that was.
        self.cancelled: tuple[str, float] | None = None

    async def on_assigned(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        await self._listen("assigned", consumer, partitions)

    async def on_revoked(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        await self._listen("revoked", consumer, partitions)

    async def _listen(self, phase: str, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        before, self.phase = self.phase, phase
        await trio.sleep(0.01)
        await consumer.committed(partitions)
        await trio.sleep(0.01)
        self.phase = before

    async def live(self, consumer: AnyConsumer) -> None:
        consumer.subscribe("t", self)
        seen = 0
        async for msg in consumer:
            self.phase, seen = "reading", seen + 1
            await trio.sleep(0.01)
            if seen == 6:
                break
            self.finished[msg.topic_partition] = {msg.next_offset}
        self.phase = "committing"
        self.finished[msg.topic_partition] |= {msg.next_offset}
        await consumer.commit(msg)
        self.finished[msg.topic_partition] = {msg.next_offset}
        consumer.commit_async()
        for _ in range(3):
            await consumer.commit({msg.topic_partition: msg.next_offset})
        self.phase = "asking"
        await consumer.offsets_for_times({T0: 1_700_000_000_000})
        await consumer.end_offsets(BOTH)
        self.finished = {tp: offsets | {0} for tp, offsets in self.finished.items()}
        await consumer.seek_to_timestamp(1_700_000_000_000)
        self.finished = {T0: {0}, T1: {0}}
        await consumer.poll(max_records=3)
        self.phase = "leaving"
        for _ in range(3):
            await trio.sleep(0.01)
        await consumer.unsubscribe()
        self.phase = "rejoining"
        consumer.subscribe("t", self)
        await consumer.poll(max_records=3)
        self.phase = "closing"
        await consumer.close()


def run_cancelled(way: str, count: int, *, any_task: bool = False, silent: bool = False) -> Life:
    """One life, cancelled after `count` steps; `cancelled` is None if it had ended then. The broker may be `silent`
    from that moment on."""
    life, guard = Life(), Steps()
    broker = Broker(unix_offset=1_700_000_000.0)
    broker.create_topic("t", 2)
    for api in APIS:
        broker.faults.add(api=api, delay=ANSWER, times=None)

    def cancel(scope: trio.CancelScope) -> None:
        now = trio.current_time()
        life.cancelled = life.phase, now
        scope.cancel()
        if silent:
            broker.pause_node(0, now)

    async def one(network: MemoryKafka, scope: trio.CancelScope) -> None:
        task = None if any_task else trio.lowlevel.current_task()
        instrument = CancelAfter(lambda: cancel(scope), count, task)
        trio.lowlevel.add_instrument(instrument)
        try:
            async with network.member(close_timeout_ms=int(1000 * CLOSE)) as consumer:
                with scope if way == "body" else trio.CancelScope():
                    await life.live(consumer)
        finally:
            trio.lowlevel.remove_instrument(instrument)

    async def main() -> None:
        network = MemoryKafka(broker)
        trio.lowlevel.spawn_system_task(network.keep_time)
        before = trio.lowlevel.current_statistics().tasks_living
        for tp in BOTH:
            network.append("a", "b", "c", tp=tp, per_batch=2)
        try:
            if way == "body":
                await one(network, trio.CancelScope())
            elif way == "nursery":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(one, network, nursery.cancel_scope)
            else:
                nursery_of_all = trio.lowlevel.current_task().parent_nursery
                assert nursery_of_all is not None
                await one(network, nursery_of_all.cancel_scope)
        finally:
            ended = trio.current_time()
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
            assert network.links == 0, "connections are left"
            assert trio.lowlevel.current_statistics().tasks_living == before, "tasks are left"
        assert guard.left > 0, "it hangs"
        if life.cancelled is not None:
            assert ended - life.cancelled[1] <= (CLOSE + GRACE if silent else 1.0)

    try:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0), instruments=[guard])
    except trio.Cancelled:
        assert way == "run"
        assert life.cancelled is not None
    if silent:
        return life
    assert not broker.group("g").members, "it has not left the group"
    committed = broker.committed("g")
    for tp, finished in life.finished.items():
        found = committed[tp].offset if tp in committed else 0
        assert found in finished, f"{tp}: {found} is committed, {finished} was finished; {life.cancelled}"
    return life


@pytest.mark.parametrize("way", ["body", "nursery", "run"])
def test_at_every_checkpoint_of_its_own(way: str) -> None:
    cut = dict.fromkeys(PHASES, 0)
    for count in itertools.count():
        life = run_cancelled(way, count)
        if life.cancelled is None:
            break
        cut[life.cancelled[0]] += 1
    assert all(cut.values()), cut


@pytest.mark.parametrize("way", ["body", "nursery", "run"])
def test_between_steps_of_the_tasks_behind_it(way: str) -> None:
    for count in itertools.count(0, STRIDE):
        if run_cancelled(way, count, any_task=True).cancelled is None:
            break
    assert count > 300


def test_when_the_broker_does_not_answer_any_more() -> None:
    """Nothing can be committed then, but it ends in time and leaves nothing behind."""
    for count in itertools.count():
        if run_cancelled("nursery", count, silent=True).cancelled is None:
            break
    assert count > 20
