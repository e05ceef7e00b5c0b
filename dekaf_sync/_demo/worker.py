"""A consumer of the demo: `python -m dekaf_sync._demo.worker ORDER`, where ORDER is JSON.

An order counts as done when a line of the journal says so. A line is one write to a file: it is there whatever happens
to this process afterwards.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dekaf_sync import Consumer, RebalanceListener, Record, TopicPartition
from dekaf_sync.errors import WakeupError

AnyConsumer = Consumer[Any, Any]
Do = Callable[[Record[Any, Any]], None]


class Journal(RebalanceListener):
    """Writes down what this process does, and which partitions it has."""

    def __init__(self, path: str, work: float) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._work = work

    def do(self, record: Record[Any, Any]) -> None:
        """Works on an order."""
        time.sleep(self._work)
        self._write(done=[record.partition, record.offset])

    def on_assigned(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        """Partitions have come."""
        self._write(assigned=[tp.partition for tp in partitions])

    def on_revoked(self, consumer: AnyConsumer, partitions: list[TopicPartition]) -> None:
        """Partitions are going."""
        self._write(revoked=[tp.partition for tp in partitions])

    on_lost = on_revoked

    def _write(self, **what: list[int]) -> None:
        os.write(self._file, json.dumps(what).encode() + b"\n")


def automatic(consumer: AnyConsumer, do: Do) -> None:
    """Asking for the next record finishes the one before; what is finished is committed by itself."""
    for record in consumer:
        do(record)


def by_hand(consumer: AnyConsumer, do: Do) -> None:
    """Commits each batch when all of it is done."""
    for batch in consumer.batches(max_records=20, max_wait=0.1):
        for record in batch:
            do(record)
        consumer.commit(batch)


def main(order: str) -> None:
    """Works until standard input ends, as it does when the demo does."""
    given: dict[str, Any] = json.loads(order)
    journal = Journal(given["journal"], given["work"])
    strategy = automatic if given["strategy"] == "automatic" else by_hand
    consumer: AnyConsumer = Consumer(
        bootstrap_servers=given["servers"],
        client_id=given["strategy"].replace(" ", "-"),
        group_id=given["group"],
        auto_offset_reset="earliest",
        session_timeout_ms=given["session_ms"],
        heartbeat_interval_ms=given["session_ms"] // 6,
        enable_auto_commit=strategy is automatic,
        auto_commit_interval_ms=given["commit_ms"],
        fetch_max_wait_ms=100,
    )

    def wait_for_the_end() -> None:
        sys.stdin.read()
        consumer.wakeup()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    with consumer:
        consumer.subscribe([given["topic"]], journal)
        with suppress(WakeupError):
            strategy(consumer, journal.do)


if __name__ == "__main__":
    main(sys.argv[1])
