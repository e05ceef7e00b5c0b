"""docs/examples/own_loop_selectors.py against the embedded broker. A real Kafka: tests/integration/test_examples.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dekaf_proto.broker import Broker
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey
from dekaf_proto.types import TopicPartition
from tests.broker_server import BrokerServer

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "own_loop_selectors.py"


def run_example(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The example as a reader runs it; where dekaf is not installed, from the checkout."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[tuple[str, int]]:
    """Partition and offset of what it has printed."""
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr  # what is left open; that a broker is gone for a while is logged there too
    return [(line.split()[0], int(line.split()[1])) for line in done.stdout.splitlines()]


def filled(nodes: int = 1) -> BrokerServer:
    """A server whose topic `orders` has 300 records in each of three partitions."""
    broker = Broker(nodes=nodes)
    broker.create_topic("orders", 3)
    for partition in range(3):
        broker.append("orders", partition, [b"x" * 1000] * 300, 0.0, per_batch=7)
    return BrokerServer(broker)


EVERYTHING = [(f"orders-{partition}", offset) for partition in range(3) for offset in range(300)]


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 150


def test_it_prints_a_topic_to_its_end() -> None:
    with filled(nodes=2) as bootstrap:
        assert sorted(lines(run_example(bootstrap, "orders"))) == EVERYTHING


def test_with_a_group_it_commits_and_goes_on_there() -> None:
    server = filled()
    with server as bootstrap:
        assert sorted(lines(run_example(bootstrap, "orders", "--group", "g"))) == EVERYTHING
        committed = server.call(lambda broker, _: {tp: c.offset for tp, c in broker.committed("g").items()})
        assert committed == {TopicPartition("orders", partition): 300 for partition in range(3)}
        server.call(lambda broker, now: broker.append("orders", 1, [b"new"], now))
        assert lines(run_example(bootstrap, "orders", "--group", "g")) == [("orders-1", 300)]


def test_connections_that_break_and_a_first_address_where_nobody_is() -> None:
    server = filled(nodes=2)
    with server as bootstrap:
        server.call(lambda broker, _: broker.faults.add(api=ApiKey.FETCH, drop="after"))
        server.call(lambda broker, _: broker.faults.add(api=ApiKey.FETCH, truncate=5000))
        server.call(lambda broker, _: broker.faults.add(api=ApiKey.FETCH, error=ErrorCode.NOT_LEADER_OR_FOLLOWER))
        assert sorted(lines(run_example(f"127.0.0.1:1,{bootstrap}", "orders"))) == EVERYTHING


def test_a_name_is_resolved_and_an_unknown_topic_told() -> None:
    with filled() as bootstrap:
        done = run_example(bootstrap.replace("127.0.0.1", "localhost"), "nowhere")
        assert done.returncode == 1
        assert "UNKNOWN_TOPIC_OR_PARTITION (3): topic nowhere" in done.stderr
