"""The loops of docs/examples against the embedded broker. On a real Kafka: tests/integration/test_examples.py."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dekaf_proto.broker import Broker, GroupState
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey
from dekaf_proto.types import TopicPartition
from tests.broker_server import BrokerServer
from tests.examples.programs import finish

ROOT = Path(__file__).resolve().parents[2]
#: Each is a driver by itself, and all tests here are for each of them.
EXAMPLES = ("own_loop_selectors", "own_loop_asyncio")


def start_example(name: str, *arguments: str) -> subprocess.Popen[str]:
    """The example as a reader runs it; where dekaf is not installed, from the checkout."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(ROOT / "docs" / "examples" / f"{name}.py"), *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_example(name: str, *arguments: str) -> tuple[int, str, str]:
    """Runs it to its end; gives its exit code, what it has printed, and what it has said of warnings and errors."""
    with start_example(name, *arguments) as process:
        try:
            printed, said = finish(process)
        finally:
            process.kill()
        return process.returncode, printed, said


def record(line: str) -> tuple[str, int]:
    """Partition and offset of a record that it has printed."""
    tp, offset, *_ = line.split()
    return tp, int(offset)


def lines(done: tuple[int, str, str]) -> list[tuple[str, int]]:
    """The same of all records, if it has ended well."""
    code, printed, said = done
    assert code == 0, said
    assert "Warning" not in said  # what is left open; that a broker is gone for a while is logged there too
    assert "never retrieved" not in said
    return [record(line) for line in printed.splitlines() if not line.startswith("Partitions")]


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """The next lines that it prints."""
    assert process.stdout is not None
    found = [process.stdout.readline().rstrip() for _ in range(count)]
    assert "" not in found, f"it has ended after {found[-3:]}"
    return found


def filled(nodes: int = 1) -> BrokerServer:
    """A server whose topic `orders` has 300 records in each of three partitions."""
    broker = Broker(nodes=nodes)
    broker.create_topic("orders", 3)
    for partition in range(3):
        broker.append("orders", partition, [b"x" * 1000] * 300, 0.0, per_batch=7)
    return BrokerServer(broker)


EVERYTHING = [(f"orders-{partition}", offset) for partition in range(3) for offset in range(300)]

pytestmark = pytest.mark.parametrize("name", EXAMPLES)


def test_it_is_short(name: str) -> None:
    text = (ROOT / "docs" / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150


def test_it_prints_a_topic_to_its_end(name: str) -> None:
    with filled(nodes=2) as bootstrap:
        assert sorted(lines(run_example(name, bootstrap, "orders"))) == EVERYTHING


def test_with_a_group_it_commits_and_goes_on_there(name: str) -> None:
    server = filled()
    with server as bootstrap:
        done = run_example(name, bootstrap, "orders", "--group", "g")
        assert done[1].startswith("PartitionsAssigned orders-0 orders-1 orders-2\n")
        assert sorted(lines(done)) == EVERYTHING
        committed = server.call(lambda broker, _: {tp: c.offset for tp, c in broker.committed("g").items()})
        assert committed == {TopicPartition("orders", partition): 300 for partition in range(3)}
        # It has left: nobody has to wait until its session is over.
        assert server.call(lambda broker, _: broker.group("g")).state is GroupState.EMPTY
        server.call(lambda broker, now: broker.append("orders", 1, [b"new"], now))
        assert lines(run_example(name, bootstrap, "orders", "--group", "g")) == [("orders-1", 300)]


def test_members_share_and_take_over(name: str) -> None:
    server = filled()
    arguments = ("orders", "--group", "g", "--follow")
    with server as bootstrap, start_example(name, bootstrap, *arguments) as first:
        try:
            given, *records = read_lines(first, 901)
            assert given == "PartitionsAssigned orders-0 orders-1 orders-2"
            assert sorted(record(line) for line in records) == EVERYTHING
            with start_example(name, bootstrap, *arguments) as second:
                try:
                    # Each hears of it within a turn of its loop, and the second one goes on where the first one was.
                    assert read_lines(first, 1) == ["PartitionsRevoked orders-0 orders-1 orders-2"]
                    assert read_lines(second, 1)[0].startswith("PartitionsAssigned orders")
                    assert read_lines(first, 1)[0].startswith("PartitionsAssigned orders")
                    second.send_signal(signal.SIGINT)
                    printed, said = finish(second)
                    assert (second.returncode, said) == (0, "")
                    assert "orders-0 0" not in printed
                finally:
                    second.kill()
            # What it has left is back at once.
            assert [line.split()[0] for line in read_lines(first, 2)] == ["PartitionsRevoked", "PartitionsAssigned"]
            server.call(lambda broker, now: [broker.append("orders", n, [b"new"], now) for n in range(3)])
            assert sorted(map(record, read_lines(first, 3))) == [(f"orders-{n}", 300) for n in range(3)]
            first.send_signal(signal.SIGINT)
            _, said = finish(first)
            assert (first.returncode, said) == (0, "")
            committed = server.call(lambda broker, _: {tp: c.offset for tp, c in broker.committed("g").items()})
            # The last one was printed, but perhaps the loop had not come to ask for the next when it was interrupted.
            assert sorted(committed.values())[1:] == [301, 301]
            assert sum(committed.values()) >= 902
            assert server.call(lambda broker, _: broker.group("g")).state is GroupState.EMPTY
        finally:
            first.kill()


def test_ctrl_c_ends_it_while_nobody_answers(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with start_example(name, address, "orders", "--group", "g", "--follow") as process:
            try:
                server.accept()[0].close()
                with server.accept()[0]:  # which stays silent
                    process.send_signal(signal.SIGINT)
                    printed, said = finish(process)
                assert (process.returncode, printed) == (0, "")
                assert "Traceback" not in said
                assert "Warning" not in said
            finally:
                process.kill()


def test_connections_that_break_and_a_first_address_where_nobody_is(name: str) -> None:
    server = filled(nodes=2)
    with server as bootstrap:
        server.call(lambda broker, _: broker.faults.add(api=ApiKey.FETCH, drop="after"))
        server.call(lambda broker, _: broker.faults.add(api=ApiKey.FETCH, truncate=5000))
        server.call(lambda broker, _: broker.faults.add(api=ApiKey.FETCH, error=ErrorCode.NOT_LEADER_OR_FOLLOWER))
        assert sorted(lines(run_example(name, f"127.0.0.1:1,{bootstrap}", "orders"))) == EVERYTHING


def test_a_name_is_resolved_and_an_unknown_topic_told(name: str) -> None:
    with filled() as bootstrap:
        code, printed, said = run_example(name, bootstrap.replace("127.0.0.1", "localhost"), "nowhere")
        assert (code, printed) == (1, "")
        assert "UNKNOWN_TOPIC_OR_PARTITION (3): topic nowhere" in said
