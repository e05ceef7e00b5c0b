"""Works on many records at once, in threads, and loses none: each is acknowledged when it is done, in any order.

    python docs/examples/work_in_threads.py localhost:9092 orders --group billing [--to-end]

What is committed is only what everything below is done of. So a crash has some done again that were done already, and
none is left out. No more than `max_unacknowledged_records` wait for a thread or are being worked on.
"""

import argparse
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dekaf_sync import Consumer, Record


def handle(msg: Record[Any, Any]) -> None:
    print(f"{threading.current_thread().name} {msg.topic_partition} {msg.offset} {msg.value!r}\n", end="")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("servers")
    parser.add_argument("topic")
    parser.add_argument("--group", required=True)
    parser.add_argument("--to-end", action="store_true")
    args = parser.parse_args()
    with (
        Consumer(
            args.topic,
            bootstrap_servers=args.servers,
            group_id=args.group,
            auto_offset_reset="earliest",
            acknowledgement_mode="explicit",
            max_unacknowledged_records=100,
        ) as consumer,
        ThreadPoolExecutor(8, thread_name_prefix="worker") as pool,  # the inner one: it ends first
    ):

        def work(msg: Record[Any, Any]) -> None:
            try:
                handle(msg)
            except Exception as error:  # a record that nobody can handle must not hold up the others for ever
                print(f"put aside: {msg.topic_partition} {msg.offset}: {error!r}")
            consumer.acknowledge(msg)

        for msg in consumer.records(until_end=args.to_end):
            pool.submit(work, msg)


if __name__ == "__main__":
    main()
