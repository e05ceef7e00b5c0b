"""Adds up amounts by customer, each record exactly once, whatever crashes and whoever joins: by one's own database.

    python docs/examples/exactly_once_sqlite.py localhost:9092 payments balances.db --group ledger [--to-end]

A record's value is "CUSTOMER AMOUNT". Sum and offset are written in one transaction, so both are there or neither is,
and Kafka's own commits are not needed. A partition begins where the database says, also after a rebalance. A member
that was too slow, and has lost its partition without knowing, does no harm: its offset is not the next one any more.
"""

import argparse
import sqlite3
from collections.abc import Iterable
from typing import Any

from dekaf_sync import Consumer, TopicPartition

TABLES = """
CREATE TABLE IF NOT EXISTS balances (customer TEXT PRIMARY KEY, amount INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS offsets (topic TEXT, partition INTEGER, next INTEGER, PRIMARY KEY (topic, partition));
"""
ADD = """
INSERT INTO balances VALUES (?, ?) ON CONFLICT (customer) DO UPDATE SET amount = amount + excluded.amount
"""


class Ledger:
    """The database; and the listener that has the consumer go on where the database stands."""

    def __init__(self, path: str) -> None:
        self.database = sqlite3.connect(path, isolation_level=None, timeout=60)
        self.database.executescript(TABLES)

    def on_assigned(self, consumer: Consumer[Any, Any], partitions: Iterable[TopicPartition]) -> None:
        for tp in partitions:
            found = self.database.execute("SELECT next FROM offsets WHERE topic = ? AND partition = ?", tp).fetchone()
            if found is not None:
                consumer.seek(tp, found[0])

    def book(self, tp: TopicPartition, offset: int, next_offset: int, customer: str, amount: int) -> bool:
        """Adds the amount and moves the offset; False, and nothing is changed, if somebody else has done it."""
        with self.database:
            self.database.execute("BEGIN IMMEDIATE")
            done = self.database.execute("SELECT next FROM offsets WHERE topic = ? AND partition = ?", tp).fetchone()
            if done is not None and done[0] > offset:
                return False
            self.database.execute("REPLACE INTO offsets VALUES (?, ?, ?)", (*tp, next_offset))
            self.database.execute(ADD, (customer, amount))
        return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("servers")
    parser.add_argument("topic")
    parser.add_argument("database")
    parser.add_argument("--group", required=True)
    parser.add_argument("--to-end", action="store_true")
    args = parser.parse_args()
    ledger = Ledger(args.database)
    with Consumer(
        bootstrap_servers=args.servers,
        group_id=args.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        value_deserializer=bytes.decode,
    ) as consumer:
        consumer.subscribe(args.topic, ledger)
        for msg in consumer.records(until_end=args.to_end):
            customer, amount = (msg.value or "").split()
            if not ledger.book(msg.topic_partition, msg.offset, msg.next_offset, customer, int(amount)):
                print(f"{msg.topic_partition} {msg.offset} is in the books already: somebody else has the partition")
    for customer, amount in ledger.database.execute("SELECT customer, amount FROM balances ORDER BY customer"):
        print(customer, amount)


if __name__ == "__main__":
    main()
