"""What the docs show of a consumer, run as programs on a real Kafka."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.examples.test_own_loop import EXAMPLES, lines, run_example
from tests.integration.kafka import KafkaCluster, Produced, wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_loop_of_one_s_own(name: str, kafka: KafkaCluster, topic: str) -> None:
    kafka.create_topic(topic, partitions=3)
    kafka.produce([Produced(topic, i % 3, value=b"x" * 1000) for i in range(300)], codec="lz4")
    everything = [(f"{topic}-{partition}", offset) for partition in range(3) for offset in range(100)]
    assert sorted(lines(run_example(name, kafka.bootstrap, topic))) == everything
    done = run_example(name, kafka.bootstrap, topic, "--group", topic)
    assert done[1].startswith("PartitionsAssigned ")
    assert sorted(lines(done)) == everything
    assert kafka.committed(topic) == {(topic, partition): (100, "") for partition in range(3)}
    kafka.produce([Produced(topic, 1, value=b"new")])
    assert lines(run_example(name, kafka.bootstrap, topic, "--group", topic)) == [(f"{topic}-1", 100)]


# ----------------------------------------------------------------------------------------------------------- the README


def snippet(kafka: KafkaCluster, topic: str, *words: str) -> str:
    """The program in the README that has these words, for this Kafka, topic and group."""
    blocks = re.findall(r"```python[^\n]*\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    found: str
    (found,) = [block for block in blocks if all(word in block for word in words)]
    for theirs, ours in (("localhost:9092", kafka.bootstrap), ("orders", topic), ("billing", topic)):
        assert theirs in found or theirs == "billing"
        found = found.replace(f'"{theirs}"', f'"{ours}"')
    return found


@contextmanager
def running(program: str) -> Iterator[list[str]]:
    """Runs a program in the block, and ends it by Ctrl+C; gives the lines that it prints as they come."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        [sys.executable, "-u", "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    printed: list[str] = []
    said: list[str] = []
    readers = [
        threading.Thread(target=lambda: printed.extend(map(str.rstrip, process.stdout or ()))),
        threading.Thread(target=lambda: said.extend(map(str.rstrip, process.stderr or ()))),
    ]
    with process:
        for reader in readers:
            reader.start()
        try:
            yield printed
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == -signal.SIGINT, said
        except Exception as error:
            raise AssertionError(f"{error}; it printed {printed}, and said {said}") from error
        finally:
            process.kill()
            for reader in readers:
                reader.join()
    assert said[-1] == "KeyboardInterrupt"
    assert "Warning" not in "".join(said)


def test_the_readme_in_a_thread(kafka: KafkaCluster, topic: str) -> None:
    kafka.create_topic(topic)
    kafka.produce([Produced(topic, 0, b"k%d" % i, b"v%d" % i, [("h", b"1")], 1_700_000_000_000) for i in range(3)])
    with running(snippet(kafka, topic, "from dekaf_sync", "msg.headers")) as printed:
        wait_until("three lines", lambda: len(printed) == 3)
        kafka.produce([Produced(topic, 0, b"k3", b"v3", [("h", b"1")], 1_700_000_000_000)])
        wait_until("one more", lambda: len(printed) == 4)
    assert printed == [f"{topic} 0 {i} b'k{i}' b'v{i}' (('h', b'1'),) 2023-11-14 22:13:20+00:00" for i in range(4)]
    # It was waiting for the next one when Ctrl+C came: all of them were finished.
    assert kafka.committed(topic) == {(topic, 0): (4, "")}


def test_the_readme_in_trio(kafka: KafkaCluster, topic: str) -> None:
    kafka.create_topic(topic)
    kafka.produce([Produced(topic, 0, value=b"v%d" % i) for i in range(3)])
    with running(snippet(kafka, topic, "from dekaf_trio")) as printed:
        wait_until("three lines", lambda: len(printed) == 3)
    assert printed == [f"b'v{i}'" for i in range(3)]


def test_the_readme_about_offsets(kafka: KafkaCluster, topic: str) -> None:
    kafka.create_topic(topic)
    kafka.produce([Produced(topic, 0, value=b"old", timestamp=1_700_000_000_000)])
    kafka.produce([Produced(topic, 0, value=b"v%d" % i) for i in range(3)])
    with running(snippet(kafka, topic, "from dekaf_sync", "seek_to_timestamp")) as printed:
        wait_until("a commit", lambda: kafka.committed(topic) == {(topic, 0): (4, "")})
    assert printed == [f"4 0 b'v{i}'" for i in range(3)]
