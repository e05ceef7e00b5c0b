"""docs/examples/sync_consumer.py against the embedded broker."""

from __future__ import annotations

import signal

from dekaf_proto.broker import Broker
from dekaf_proto.types import TopicPartition
from tests.broker_server import BrokerServer
from tests.examples.programs import EXAMPLES, finish, start

EXAMPLE = EXAMPLES / "sync_consumer.py"


def filled() -> BrokerServer:
    broker = Broker()
    broker.create_topic("orders", 2)
    broker.append("orders", 0, [b"one tea", b"\xff\xff", b"two teas"], 0.0)
    broker.append("orders", 1, [b"one coffee", None], 0.0)
    return BrokerServer(broker)


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 60


def test_to_the_end_and_over_what_can_t_be_read() -> None:
    server = filled()
    with server as bootstrap:
        with start(EXAMPLE.name, bootstrap, "orders", "--group", "g", "--to-end") as process:
            printed, said = finish(process)
        assert (process.returncode, said) == (0, "")
        *lines, counts = printed.splitlines()
        assert sorted(line.split()[0:2] for line in lines if line.startswith("orders")) == [
            ["orders-0", "0"],
            ["orders-0", "2"],
            ["orders-1", "0"],
            ["orders-1", "1"],
        ]
        assert [line for line in lines if line.startswith("passing over")] == [
            "passing over what is no text: orders-0: the value of the record at offset 1: UnicodeDecodeError"
        ]
        assert counts.startswith("{'one': 2,")
        committed = server.call(lambda broker, _: {tp: c.offset for tp, c in broker.committed("g").items()})
        assert committed == {TopicPartition("orders", 0): 3, TopicPartition("orders", 1): 2}


def test_ctrl_c_ends_it() -> None:
    with filled() as bootstrap, start(EXAMPLE.name, bootstrap, "orders") as process:
        assert process.stdout is not None
        line = "begin"
        while not line.startswith("orders-1 1"):
            assert line
            line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        printed, said = finish(process)
        assert (process.returncode, said) == (0, "")
        assert "stopped" in printed
