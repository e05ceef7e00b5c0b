"""docs/examples/raw_socket.py on a real Kafka: record by record what Java's and librdkafka's producers wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration import librdkafka
from tests.integration.kafka import CODECS, Codec, KafkaCluster, Placed, Produced, wait_until

EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "examples" / "raw_socket.py"

Line = list[object]


def run(*arguments: str) -> tuple[list[Line], str]:
    """What the example printed, and its last words."""
    done = subprocess.run(
        [sys.executable, EXAMPLE, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def some_records(topic: str, name: str) -> list[Produced]:
    """Two partitions; nulls, empty values, headers; enough of them that a batch is worth compressing."""
    return [
        Produced(
            topic,
            i % 2,
            None if i % 5 == 0 else f"{name}-{i}".encode(),
            None if i % 7 == 0 else b"x" * (i * 3 % 100),
            [("a", b"1"), ("a", None), ("ü", b"")] if i % 3 == 0 else [],
            1_700_000_000_000 + 13 * i,
        )
        for i in range(60)
    ]


def expected(wanted: list[Produced], placed: list[Placed]) -> list[Line]:
    lines: list[Line] = []
    for record, place in zip(wanted, placed, strict=True):
        key, value = (None if data is None else data.hex() for data in (record.key, record.value))
        headers = [[name, None if data is None else data.hex()] for name, data in record.headers]
        lines.append([place.partition, place.offset, record.timestamp, key, value, headers])
    return lines


@pytest.mark.parametrize("codec", CODECS)
def test_it_reads_what_both_producers_wrote(kafka: KafkaCluster, topic: str, codec: Codec) -> None:
    kafka.create_topic(topic, partitions=2)
    lines = []
    first = some_records(topic, "java")
    lines += expected(first, kafka.produce(first, codec=codec))
    second = some_records(topic, "librdkafka")
    lines += expected(second, librdkafka.produce(kafka.bootstrap, second, codec))
    third = some_records(topic, "committed")
    lines += expected(third, kafka.produce(third, codec=codec, transactional_id=f"{topic}-java"))
    kafka.produce(some_records(topic, "aborted"), codec=codec, transactional_id=f"{topic}-java", end="abort")
    librdkafka.produce(kafka.bootstrap, some_records(topic, "aborted"), codec, f"{topic}-rd", "abort")
    fourth = some_records(topic, "committed too")
    lines += expected(fourth, librdkafka.produce(kafka.bootstrap, fourth, codec, f"{topic}-rd"))

    def ends(*, read_committed: bool) -> list[int]:
        return [kafka.offset(topic, p, "latest", read_committed=read_committed) for p in (0, 1)]

    # The coordinator answers before the last marker is in the log.
    wait_until("the last marker", lambda: ends(read_committed=True) == ends(read_committed=False))
    got, _ = run(kafka.bootstrap, topic)
    assert len(got) == 240
    assert got == sorted(lines, key=lambda line: (line[0], line[1]))


def test_it_begins_where_the_log_begins(kafka: KafkaCluster, topic: str) -> None:
    kafka.create_topic(topic, partitions=2)
    records = [Produced(topic, i % 2, value=b"%d" % i, timestamp=1_700_000_000_000) for i in range(8)]
    placed = kafka.produce(records)
    kafka.delete_records(topic, 0, before=3)
    kafka.delete_records(topic, 1, before=4)  # all of them
    got, _ = run(kafka.bootstrap, topic)
    assert [line[:2] for line in got] == [[0, 3]]
    assert got == expected([records[6]], [placed[6]])


def test_it_commits_where_it_ended_and_reads_that_back(kafka: KafkaCluster, topic: str) -> None:
    kafka.create_topic(topic, partitions=2)
    kafka.produce([Produced(topic, i % 2, value=b"%d" % i) for i in range(5)])
    group = f"{topic}-group"
    wait_until("the coordinator", lambda: kafka.committed(group) == {})
    _, said = run(kafka.bootstrap, topic, group)
    assert json.loads(said.removeprefix("committed ")) == {"0": 3, "1": 2}  # in whichever order the broker answers
    committed = kafka.committed(group)
    assert committed == {(topic, 0): (3, ""), (topic, 1): (2, "")}
