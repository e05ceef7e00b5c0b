"""What `member` is, with trio: `python -m tests.integration.member_trio SETTINGS`."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import trio

from dekaf_proto.errors import RebalanceError
from dekaf_proto.types import TopicPartition
from dekaf_trio import Batch, Consumer
from tests.integration.member import AnyRecord, Glances, report, report_assigned, report_committed, settings


class Listener:
    """Reports what the group gives and takes."""

    async def on_assigned(self, consumer: Consumer[Any, Any], partitions: Sequence[TopicPartition]) -> None:
        report_assigned(await consumer.committed(partitions), consumer.group_metadata())

    async def on_revoked(self, consumer: Consumer[Any, Any], partitions: Sequence[TopicPartition]) -> None:
        report("revoked", partitions)

    async def on_lost(self, consumer: Consumer[Any, Any], partitions: Sequence[TopicPartition]) -> None:
        report("lost", partitions)


class Member(Glances):
    """One consumer, and how it works."""

    def __init__(self, consumer: Consumer[Any, Any], pace: float) -> None:
        super().__init__(consumer)
        self.consumer = consumer
        self.pace = pace

    async def handle(self, record: AnyRecord) -> None:
        """A record is worked on; that it is done is reported even if it was to be left."""
        with trio.CancelScope(shield=True):
            if self.pace:
                await trio.sleep(self.pace)
            report("handled", record.topic, record.partition, record.offset)


async def plain(member: Member) -> None:
    """Automatic commits, or those before records are handed out: that is the options' affair."""
    async for record in member.consumer:
        await member.handle(record)
        member.glance()


async def message(member: Member) -> None:
    """Commits each record."""
    async for record in member.consumer:
        await member.handle(record)
        await _commit(member.consumer, record, [record])


async def batch(member: Member) -> None:
    """Commits each batch."""
    async for records in member.consumer.batches(max_records=20):
        for record in records:
            await member.handle(record)
        await _commit(member.consumer, records, records)


async def acknowledge(member: Member) -> None:
    """Several tasks work on records, out of order, and acknowledge each."""
    random = Random(1)
    ahead = trio.Semaphore(32)

    async def work(record: AnyRecord, seconds: float) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        report("handled", record.topic, record.partition, record.offset)
        member.consumer.acknowledge(record)
        report("acknowledged", record.topic, record.partition, record.offset)
        ahead.release()

    async with trio.open_nursery() as nursery:
        async for record in member.consumer:
            with trio.CancelScope(shield=True):
                await ahead.acquire()
            nursery.start_soon(work, record, random.uniform(0, member.pace))
            member.glance()


WAYS: dict[str, Callable[[Member], Awaitable[None]]] = {
    way.__name__: way for way in (plain, message, batch, acknowledge)
}


async def _commit(
    consumer: Consumer[Any, Any], target: AnyRecord | Batch[Any, Any], records: Sequence[AnyRecord]
) -> None:
    try:
        with trio.CancelScope(shield=True):
            await consumer.commit(target)
    except RebalanceError as error:
        report("refused", type(error).__name__, str(error))
    else:
        report_committed(records)


async def main() -> None:
    given, topics = settings()
    try:
        async with Consumer(**given["options"]) as consumer:
            consumer.subscribe(topics, Listener())
            report("began")
            async with trio.open_nursery() as nursery:

                async def wait_for_end() -> None:
                    while await trio.to_thread.run_sync(os.read, 0, 100, abandon_on_cancel=True):
                        pass
                    nursery.cancel_scope.cancel()

                nursery.start_soon(wait_for_end)
                await WAYS[given["way"]](Member(consumer, given["pace"]))
            report("closing")
        report("closed")
    except Exception as error:
        report("failed", type(error).__name__, str(error))
        raise


if __name__ == "__main__":
    trio.run(main)
