"""The examples of docs/offsets.md against the scripted broker."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from dekaf_proto.broker import Broker
from dekaf_proto.types import TopicPartition
from tests.broker_server import BrokerServer
from tests.dekaf_sync.helpers import until
from tests.examples.programs import run, start


def committed(server: BrokerServer, group: str) -> dict[TopicPartition, int]:
    return server.call(lambda broker, _: {tp: c.offset for tp, c in broker.committed(group).items()})


def test_exactly_once_by_a_database(tmp_path: Path) -> None:
    broker = Broker()
    broker.create_topic("payments", 2)
    broker.append("payments", 0, [b"anna 5", b"ben 7", b"anna -2"], 0.0)
    broker.append("payments", 1, [b"ben 1"], 0.0)
    server = BrokerServer(broker)
    book = str(tmp_path / "book.db")
    with server as bootstrap:
        arguments = (bootstrap, "payments", book, "--group", "ledger", "--to-end")
        assert run("exactly_once_sqlite.py", *arguments) == ["anna 3", "ben 8"]
        assert run("exactly_once_sqlite.py", *arguments) == ["anna 3", "ben 8"]  # the database knows
        server.call(lambda broker, now: broker.append("payments", 1, [b"carla 9"], now))
        assert run("exactly_once_sqlite.py", *arguments) == ["anna 3", "ben 8", "carla 9"]
        assert committed(server, "ledger") == {}


def booked(path: Path) -> int:
    """Up to which offset the books go."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, timeout=60)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE name = 'offsets'").fetchall()
        found = database.execute("SELECT next FROM offsets").fetchone() if tables else None
    return 0 if found is None else int(found[0])


def test_exactly_once_when_it_is_killed(tmp_path: Path) -> None:
    broker = Broker()
    broker.create_topic("payments", 1)
    server = BrokerServer(broker)
    book = tmp_path / "book.db"
    arguments = ("payments", str(book), "--group", "ledger")

    def append_more(broker: Broker, now: float) -> None:
        end = broker.end_offset("payments", 0)
        more = [f"c{i % 3} {i}".encode() for i in range(end, end + 600)]
        broker.append("payments", 0, more, now, per_batch=10)

    def forget_the_dead(broker: Broker, now: float) -> None:
        for member in broker.group("ledger").members:
            broker.expire_member("ledger", member.member_id, now)

    with server as bootstrap:
        for number in range(3):
            server.call(append_more)
            enough = 600 * number + 50
            with start("exactly_once_sqlite.py", bootstrap, *arguments) as process:
                until(lambda: booked(book) > enough)  # noqa: B023
                process.kill()
                process.communicate()
            server.call(forget_the_dead)
        sums = [f"c{k} {sum(range(k, 1_800, 3))}" for k in range(3)]
        assert run("exactly_once_sqlite.py", bootstrap, *arguments, "--to-end") == sums


def test_work_in_threads() -> None:
    broker = Broker()
    broker.create_topic("orders", 2)
    for partition in range(2):
        broker.append("orders", partition, [b"tea"] * 500, 0.0, per_batch=20)
    server = BrokerServer(broker)
    with server as bootstrap:
        lines = run("work_in_threads.py", bootstrap, "orders", "--group", "billing", "--to-end")
        done = sorted((line.split()[1], int(line.split()[2])) for line in lines)
        assert done == [(f"orders-{partition}", offset) for partition in range(2) for offset in range(500)]
        assert len({line.split()[0] for line in lines}) > 1
        assert committed(server, "billing") == {TopicPartition("orders", p): 500 for p in range(2)}
