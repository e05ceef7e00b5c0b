"""Works on many records at once, in tasks of trio, and loses none: each is acknowledged when it is done, in any order.

    python docs/examples/work_in_tasks.py localhost:9092 orders --group billing [--to-end]

Start several: they share the topic, and say what they have. Ctrl+C, or an error in a task, cancels what is under way;
what was acknowledged is committed, and the rest is done again by who comes next.
"""

import argparse
from typing import Any

import trio

from dekaf_trio import Consumer, RebalanceListener, Record, TopicPartition


class Say(RebalanceListener):
    async def on_assigned(self, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        print("mine:", *partitions)

    async def on_revoked(self, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        print("to be given up when what is under way is done:", *partitions)


async def handle(msg: Record[Any, Any]) -> None:
    await trio.sleep(0.01)
    print(f"{msg.topic_partition} {msg.offset} {msg.value!r}")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("servers")
    parser.add_argument("topic")
    parser.add_argument("--group", required=True)
    parser.add_argument("--to-end", action="store_true")
    args = parser.parse_args()
    async with (
        Consumer(
            bootstrap_servers=args.servers,
            group_id=args.group,
            auto_offset_reset="earliest",
            acknowledgement_mode="explicit",
            max_unacknowledged_records=100,  # so many tasks at most
            revocation_drain_ms=1000,  # so long a rebalance, and the end, waits for them
        ) as consumer,
        trio.open_nursery() as nursery,  # the inner one: it ends first
    ):
        consumer.subscribe(args.topic, Say())

        async def work(msg: Record[Any, Any]) -> None:
            await handle(msg)
            consumer.acknowledge(msg)

        async for msg in consumer.records(until_end=args.to_end):
            nursery.start_soon(work, msg)


if __name__ == "__main__":
    trio.run(main)
