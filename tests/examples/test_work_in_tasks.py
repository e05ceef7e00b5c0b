"""docs/examples/work_in_tasks.py against the scripted broker."""

from __future__ import annotations

import signal

from dekaf_proto.broker import Broker
from dekaf_proto.types import TopicPartition
from tests.broker_server import BrokerServer
from tests.examples.programs import finish, run, start


def filled() -> BrokerServer:
    broker = Broker()
    broker.create_topic("orders", 2)
    for partition in range(2):
        broker.append("orders", partition, [b"tea"] * 300, 0.0, per_batch=20)
    return BrokerServer(broker)


def committed(server: BrokerServer) -> dict[TopicPartition, int]:
    return server.call(lambda broker, _: {tp: c.offset for tp, c in broker.committed("billing").items()})


def records(lines: list[str]) -> list[tuple[str, int]]:
    return sorted((line.split()[0], int(line.split()[1])) for line in lines if line.startswith("orders"))


EVERYTHING = [(f"orders-{partition}", offset) for partition in range(2) for offset in range(300)]


def test_to_the_end() -> None:
    server = filled()
    with server as bootstrap:
        lines = run("work_in_tasks.py", bootstrap, "orders", "--group", "billing", "--to-end")
        assert records(lines) == EVERYTHING
        assert lines[0] == "mine: orders-0 orders-1"
        assert lines[-1] == "to be given up when what is under way is done: orders-0 orders-1"
        assert committed(server) == {TopicPartition("orders", p): 300 for p in range(2)}


def test_ctrl_c_commits_what_is_done_and_leaves() -> None:
    server = filled()
    with server as bootstrap:
        with start("work_in_tasks.py", bootstrap, "orders", "--group", "billing") as process:
            assert process.stdout is not None
            printed: list[str] = []
            while len(printed) < 150:
                printed.append(process.stdout.readline())
                assert printed[-1]
            process.send_signal(signal.SIGINT)
            rest, _ = finish(process)
        printed += rest.splitlines()
        assert server.call(lambda broker, _: broker.group("billing").members) == ()
        done = records(printed)
        below = committed(server)
        assert {(str(tp), offset) for tp, end in below.items() for offset in range(end)} <= set(done)
        assert sum(below.values()) > 0
        again = records(run("work_in_tasks.py", bootstrap, "orders", "--group", "billing", "--to-end"))
        assert sorted({*done, *again}) == EVERYTHING
