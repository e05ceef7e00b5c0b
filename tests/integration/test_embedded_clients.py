"""Other people's clients at the embedded broker: they see what they see of a real Kafka."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dekaf_proto.broker import GroupOptions
from dekaf_sync import EmbeddedBroker
from tests.integration.conftest import unavailable
from tests.integration.console import Console, console
from tests.integration.console_story import Tools
from tests.integration.kafka import DEFAULT_VERSION, JavaHelper, KafkaCluster, Unavailable
from tests.integration.test_embedded_producers import Embedded

ROOT = Path(__file__).resolve().parents[2]
#: What each is called as a module, and where its side of the story is (`peers`).
PEERS = {"confluent_kafka": "confluent", "kafka": "kafka_python", "aiokafka": "aio"}
LIMIT = 300


class Telling:
    """A peer at work, in a process of its own."""

    def __init__(self, peer: str, bootstrap: str, topic: str, now: int, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.integration.peers", peer, bootstrap, topic, str(now)]
        self._said, self._errors = folder / "said", folder / "errors"
        folder.mkdir()
        with self._said.open("wb") as said, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=errors, cwd=ROOT)

    def __enter__(self) -> Telling:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def seen(self) -> Any:
        code = self._process.wait(LIMIT)
        assert code == 0, self._errors.read_text(errors="replace")[-4000:]
        return json.loads(self._said.read_bytes())


def embedded(version: str, nodes: int | Sequence[int]) -> EmbeddedBroker:
    """As the real one is configured, and as old."""
    return EmbeddedBroker(
        nodes,
        auto_create_partitions=None,
        group_options=GroupOptions(min_session_timeout_ms=1),
        release=None if version == DEFAULT_VERSION else version.rpartition(".")[0],
    )


def assert_same(found: list[object], expected: list[object]) -> None:
    """Tells each step that differs."""
    differences = [
        f"{here}\ninstead of\n{there}" for here, there in zip(found, expected, strict=False) if here != there
    ]
    assert "\n\n".join(differences) == ""
    assert len(found) == len(expected)


@pytest.mark.parametrize("module", PEERS)
def test_a_client_sees_the_same(kafka: KafkaCluster, topic: str, tmp_path: Path, module: str) -> None:
    if subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, check=False).returncode:
        unavailable(Unavailable(f"{module} is not installed (see the extra `integration`)"))
    peer, now = PEERS[module], int(time.time() * 1000) - 3_600_000
    with embedded(kafka.version, nodes=3) as broker:
        with (
            Telling(peer, broker.bootstrap_servers, topic, now, tmp_path / "ours") as ours,
            Telling(peer, kafka.bootstrap, topic, now, tmp_path / "Kafka's") as theirs,
        ):
            expected, found = theirs.seen(), ours.seen()
        assert broker.topics == []
    assert_same(found, expected)


@pytest.fixture(scope="module")
def tools() -> Iterator[Console]:
    """Kafka's console tools."""
    try:
        with console() as found:
            yield found
    except Unavailable as reason:
        unavailable(reason)


def test_the_console_tools_see_the_same(kafka: KafkaCluster, java: JavaHelper, tools: Console, topic: str) -> None:
    now = int(time.time() * 1000) - 3_600_000
    expected = Tools(tools, kafka, topic, now)
    expected.tell()
    with embedded(kafka.version, nodes=[1]) as broker:
        cluster = Embedded(java, broker.bootstrap_servers)
        found = Tools(tools, cluster, topic, now)
        found.tell()
        assert broker.topics == []
        cluster._call("forget")
    assert_same(found.seen, expected.seen)
