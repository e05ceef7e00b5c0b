"""A program that reads as a member of a group, for tests that kill it: `python -m tests.integration.member SETTINGS`.

What happens goes to stdout, a line each, at once: `[time, what, ...]`, the time as time.monotonic() has it, which is
the same in all processes of a machine. It ends, after closing, when stdin is closed. SETTINGS is JSON:

    topics      names, or one {"pattern": ...}
    options     of the consumer
    way         how it reads and commits: a function of WAYS
    pace        how many seconds a record takes
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any

from dekaf_proto.consumer.batch import Batch
from dekaf_proto.errors import RebalanceError, WakeupError
from dekaf_proto.records import Record
from dekaf_proto.types import TopicPartition
from dekaf_sync import Consumer

AnyRecord = Record[Any, Any]
#: How often its counters are looked at, in records.
GLANCE = 10


def report(what: str, *more: object) -> None:
    """In one piece, and in nobody's buffer: whoever is killed afterwards has said it."""
    os.write(1, json.dumps([time.monotonic(), what, *more]).encode() + b"\n")


class Listener:
    """Reports what the group gives and takes; of what it gives also what is committed."""

    def on_assigned(self, consumer: Consumer[Any, Any], partitions: Sequence[TopicPartition]) -> None:
        committed = consumer.committed(partitions)
        floors = [[*tp, found.offset if (found := committed[tp]) else None] for tp in partitions]
        me = consumer.group_metadata()
        report("assigned", floors, me.generation_id, me.member_id)

    def on_revoked(self, consumer: Consumer[Any, Any], partitions: Sequence[TopicPartition]) -> None:
        report("revoked", partitions)

    def on_lost(self, consumer: Consumer[Any, Any], partitions: Sequence[TopicPartition]) -> None:
        report("lost", partitions)


@dataclass
class Member:
    """One consumer, and how it works."""

    consumer: Consumer[Any, Any]
    pace: float
    _commits: int = 0
    _handled: int = 0

    def handle(self, record: AnyRecord) -> None:
        """A record is worked on; when that is done, it is reported."""
        if self.pace:
            time.sleep(self.pace)
        report("handled", record.topic, record.partition, record.offset)

    def glance(self) -> None:
        """Reports when another commit is confirmed."""
        self._handled += 1
        if self._handled % GLANCE == 0:
            commits = self.consumer.metrics().commits
            if commits != self._commits:
                self._commits = commits
                report("commits", commits)


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
    try:
        consumer.commit(target)
    except RebalanceError as error:
        report("refused", type(error).__name__, str(error))
    else:
        ends: dict[TopicPartition, int] = {}
        for record in records:
            ends[record.topic_partition] = record.offset + 1
        report("committed", [[*tp, end] for tp, end in ends.items()])


def main() -> None:
    settings = json.loads(sys.argv[1])
    topics = settings["topics"]
    given = re.compile(topics["pattern"]) if isinstance(topics, dict) else topics
    over = threading.Event()
    try:
        with Consumer(**settings["options"]) as consumer:

            def wait_for_end() -> None:
                while os.read(0, 100):
                    pass
                over.set()
                consumer.wakeup()

            threading.Thread(target=wait_for_end, daemon=True).start()
            consumer.subscribe(given, Listener())
            report("began")
            try:
                WAYS[settings["way"]](Member(consumer, settings["pace"]))
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
