"""A program that reads as a member of a group, for tests that kill it: `python -m tests.integration.member SETTINGS`.

`member_trio` is the same for trio.

What happens goes to stdout, a line each, at once: `[time, what, ...]`, the time as time.monotonic() has it, which is
the same in all processes of a machine. It ends, after closing, when stdin is closed. SETTINGS is JSON:

    topics      names, or one {"pattern": ...}
    options     of the consumer
    way         how it reads and commits: a function of WAYS
    pace        how many seconds a record takes; for several at a time, at most
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import TYPE_CHECKING, Any

from dekaf_proto.consumer.batch import Batch
from dekaf_proto.errors import RebalanceError, WakeupError
from dekaf_proto.records import Record
from dekaf_proto.types import OffsetAndMetadata, TopicPartition
from dekaf_sync import Consumer, GroupMetadata

if TYPE_CHECKING:
    import dekaf_trio

AnyRecord = Record[Any, Any]
#: How often its counters are looked at, in records.
GLANCE = 10


def report(what: str, *more: object) -> None:
    """In one piece, and in nobody's buffer: whoever is killed afterwards has said it."""
    os.write(1, json.dumps([time.monotonic(), what, *more]).encode() + b"\n")


def report_assigned(committed: Mapping[TopicPartition, OffsetAndMetadata | None], me: GroupMetadata) -> None:
    """Partitions, and where they begin."""
    floors = [[*tp, None if found is None else found.offset] for tp, found in committed.items()]
    report("assigned", floors, me.generation_id, me.member_id)


def report_committed(records: Iterable[AnyRecord]) -> None:
    """Records, and with them those before."""
    ends = {record.topic_partition: record.offset + 1 for record in records}
    report("committed", [[*tp, end] for tp, end in ends.items()])


class Glances:
    """Reports when another commit is confirmed."""

    def __init__(self, consumer: Consumer[Any, Any] | dekaf_trio.Consumer[Any, Any]) -> None:
        self._consumer = consumer
        self._commits = 0
        self._handled = 0

    def glance(self) -> None:
        """Called for each record."""
        self._handled += 1
        if self._handled % GLANCE == 0:
            commits = self._consumer.metrics().commits
            if commits != self._commits:
                self._commits = commits
                report("commits", commits)


def settings() -> tuple[dict[str, Any], Any]:
    """What was asked for, and the topics as `subscribe` takes them."""
    found = json.loads(sys.argv[1])
    topics = found["topics"]
    return found, re.compile(topics["pattern"]) if isinstance(topics, dict) else topics


class Listener:
    """Reports what the group gives and takes; of what it gives also what is committed."""

    def on_assigned(self, consumer: Consumer[Any, Any], partitions: Sequence[TopicPartition]) -> None:
        committed = consumer.committed(partitions)
        report_assigned(committed, consumer.group_metadata())

    def on_revoked(self, consumer: Consumer[Any, Any], partitions: Sequence[TopicPartition]) -> None:
        report("revoked", partitions)

    def on_lost(self, consumer: Consumer[Any, Any], partitions: Sequence[TopicPartition]) -> None:
        report("lost", partitions)


class Member(Glances):
    """One consumer, and how it works."""

    def __init__(self, consumer: Consumer[Any, Any], pace: float) -> None:
        super().__init__(consumer)
        self.consumer = consumer
        self.pace = pace

    def handle(self, record: AnyRecord) -> None:
        """A record is worked on; when that is done, it is reported."""
        if self.pace:
            time.sleep(self.pace)
        report("handled", record.topic, record.partition, record.offset)


def plain(member: Member) -> None:
    """Automatic commits, or those before records are handed out: that is the options' affair."""
    for record in member.consumer:
        member.handle(record)
        member.glance()


def message(member: Member) -> None:
    """Commits each record."""
    for record in member.consumer:
        member.handle(record)
        _commit(member.consumer, record, [record])


def batch(member: Member) -> None:
    """Commits each batch."""
    for records in member.consumer.batches(max_records=20):
        for record in records:
            member.handle(record)
        _commit(member.consumer, records, records)


def acknowledge(member: Member) -> None:
    """Several threads work on records, out of order, and acknowledge each."""
    random = Random(1)
    ahead = threading.Semaphore(32)

    def work(record: AnyRecord, seconds: float) -> None:
        time.sleep(seconds)
        report("handled", record.topic, record.partition, record.offset)
        member.consumer.acknowledge(record)
        report("acknowledged", record.topic, record.partition, record.offset)
        ahead.release()

    with ThreadPoolExecutor(8) as pool:
        for record in member.consumer:
            ahead.acquire()
            pool.submit(work, record, random.uniform(0, member.pace))
            member.glance()


WAYS: dict[str, Callable[[Member], None]] = {way.__name__: way for way in (plain, message, batch, acknowledge)}


def _commit(consumer: Consumer[Any, Any], target: AnyRecord | Batch[Any, Any], records: Sequence[AnyRecord]) -> None:
    woken: WakeupError | None = None
    try:
        try:
            consumer.commit(target)
        except WakeupError as error:  # it is to close, but only after this
            woken = error
            consumer.commit(target)
    except RebalanceError as error:
        report("refused", type(error).__name__, str(error))
    else:
        report_committed(records)
    if woken is not None:
        raise woken


def main() -> None:
    given, topics = settings()
    over = threading.Event()
    try:
        with Consumer(**given["options"]) as consumer:

            def wait_for_end() -> None:
                while os.read(0, 100):
                    pass
                over.set()
                consumer.wakeup()

            threading.Thread(target=wait_for_end, daemon=True).start()
            consumer.subscribe(topics, Listener())
            report("began")
            try:
                WAYS[given["way"]](Member(consumer, given["pace"]))
            except WakeupError:
                if not over.is_set():
                    raise
            report("closing")
        report("closed")
    except Exception as error:
        report("failed", type(error).__name__, str(error))
        raise


if __name__ == "__main__":
    main()
