"""Programs that compute for long, that are busy all the time, and that work on records in tasks of a nursery."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

from dekaf_proto.errors import CommitFailedError
from dekaf_trio import Consumer, TopicPartition
from tests.dekaf_trio.memory import BOTH, T0, T1, MemoryKafka, run

AnyConsumer = Consumer[Any, Any]


class Notes:
    """A listener that notes the names of its calls."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def on_assigned(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        self.told.append("assigned")

    async def on_revoked(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        self.told.append("revoked")

    async def on_lost(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        self.told.append("lost")


# ------------------------------------------------------------------------------------------------------ long computing


def test_computing_for_less_than_the_time_outs_changes_nothing_but_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a", "b")
        notes = Notes()
        async with kafka.member(session_timeout_ms=45_000) as consumer:
            consumer.subscribe("t", notes)
            generations, connects = set(), []
            async for msg in consumer:
                generations.add(consumer.group_metadata().generation_id)
                connects.append(kafka.connects)
                kafka.compute(40)  # longer than a request may take: one waits to be written
                await trio.sleep(3)
                if msg.value == b"b":
                    break
            await consumer.commit(msg)
            assert notes.told == ["assigned"]
            assert len(generations) == 1
            assert kafka.connects == connects[0]
        assert kafka.committed() == {T0: 2, T1: 0}

    with caplog.at_level(logging.WARNING, "dekaf.trio"):
        run(main)
    assert [record.getMessage() for record in caplog.records if "nothing ran for" in record.getMessage()]
    assert "without a checkpoint" in caplog.text


def test_computing_for_longer_than_the_session_loses_the_partitions_and_gets_them_back() -> None:
    """The broker has removed it meanwhile; what it had in hand comes again, and can't be committed."""

    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a", "b")
        notes = Notes()
        async with kafka.member(session_timeout_ms=10_000, enable_auto_commit=False) as consumer:
            consumer.subscribe("t", notes)
            (msg,) = await consumer.poll(max_records=1)
            kafka.compute(30)
            assert kafka.members == 0
            await trio.sleep(3)
            with pytest.raises(CommitFailedError, match="UNKNOWN_MEMBER_ID"):
                await consumer.commit(msg)
            values = [msg.value async for msg in consumer.records(until_end=True)]
            assert values == [b"a", b"b"]
            assert notes.told == ["assigned", "lost", "assigned"]
            assert kafka.members == 1

    run(main)


def test_computing_for_longer_than_the_poll_interval_leaves_the_group_and_comes_back() -> None:
    """It says so itself, as soon as it can, whatever the session would still allow."""

    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a", "b")
        notes = Notes()
        options = {"session_timeout_ms": 45_000, "max_poll_interval_ms": 20_000, "enable_auto_commit": False}
        async with kafka.member(**options) as consumer:
            consumer.subscribe("t", notes)
            (msg,) = await consumer.poll(max_records=1)
            await trio.sleep(0.5)
            kafka.compute(40)
            assert kafka.members == 1
            await trio.sleep(3)
            assert kafka.members == 0
            with pytest.raises(CommitFailedError, match="max_poll_interval_ms"):
                await consumer.commit(msg)
            assert [msg.value async for msg in consumer.records(until_end=True)] == [b"a", b"b"]
            assert notes.told == ["assigned", "lost", "assigned"]

    run(main)


# ----------------------------------------------------------------------------------------------------------- busy ones


@pytest.mark.parametrize("kind", ["poll", "batches"])
def test_who_takes_batch_after_batch_lets_others_run(kind: str) -> None:
    """At least once for each batch, though there always is another one. For records see test_pump."""

    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*["x"] * 1000)
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with kafka.consumer() as consumer, trio.open_nursery() as nursery:
            consumer.assign([T0])
            while consumer.metrics().buffered_bytes < 1000:
                await trio.sleep(1)
            nursery.start_soon(other)
            batches = consumer.batches(max_records=10)
            for number in range(100):
                assert turns >= number - 2  # it begins a little later
                batch = await consumer.poll(max_records=10) if kind == "poll" else await anext(batches)
                assert len(batch) == 10
            nursery.cancel_scope.cancel()

    run(main)


# ------------------------------------------------------------------------------------------------- tasks for records


def test_a_task_that_fails_takes_the_others_along_and_none_of_theirs_is_lost() -> None:
    """The pattern of docs/examples/work_in_tasks.py: what was acknowledged is committed, the rest comes again."""

    async def main(kafka: MemoryKafka) -> None:
        for tp in BOTH:
            kafka.append(*map(str, range(10)), tp=tp)
        acknowledged: set[tuple[int, int]] = set()

        async def program() -> None:
            options = {"acknowledgement_mode": "explicit", "revocation_drain_ms": 100}
            async with kafka.member("t", **options) as consumer, trio.open_nursery() as nursery:

                async def handle(msg: Any) -> None:
                    await trio.sleep(0.01 * (1 + msg.offset))
                    if msg.offset == 6:
                        raise ZeroDivisionError
                    consumer.acknowledge(msg)
                    acknowledged.add((msg.partition, msg.offset))

                async for msg in consumer:
                    nursery.start_soon(handle, msg)

        with pytest.raises(BaseException) as caught:  # noqa: PT011  # the program's own nursery makes a group of it
            await program()
        errors: list[Any] = [caught.value]
        while errors and hasattr(errors[0], "exceptions"):
            errors = [*errors[0].exceptions, *errors[1:]]
        assert {type(error) for error in errors} == {ZeroDivisionError}
        assert kafka.committed() == {T0: 6, T1: 6}
        assert kafka.members == 0
        async with kafka.member("t", acknowledgement_mode="explicit") as consumer:
            rest = {(msg.partition, msg.offset) async for msg in consumer.records(until_end=True)}
        assert rest == {(tp.partition, offset) for tp in BOTH for offset in range(6, 10)}
        assert acknowledged == {(tp.partition, offset) for tp in BOTH for offset in range(6)}

    run(main)
