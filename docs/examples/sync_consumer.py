"""Reads a topic and counts its words: a consumer in a program with threads, or with nothing of the kind.

    python docs/examples/sync_consumer.py localhost:9092 orders --group billing

It goes on until Ctrl+C, or with `--to-end` until it has read what is there. With a group it begins where it stopped the
last time. What is committed is only what was finished: a record when the next one is asked for, a batch when the next
one is. A crash, or Ctrl+C, has the rest delivered again; nothing is lost.
"""

import argparse
from collections import Counter

from dekaf_sync import Consumer, TopicPartition
from dekaf_sync.errors import DeserializationError


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("servers")
    parser.add_argument("topic")
    parser.add_argument("--group")
    parser.add_argument("--to-end", action="store_true")
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    # An option that does not exist, or a value that makes no sense, is an error here; connections come with the `with`.
    with Consumer(
        bootstrap_servers=args.servers,
        group_id=args.group,
        auto_offset_reset="earliest",
        value_deserializer=bytes.decode,  # so a type checker knows that msg.value is a str, or None for a null
    ) as consumer:
        consumer.assign(consumer.partitions_for(args.topic))
        while True:
            try:
                for msg in consumer.records(until_end=args.to_end):
                    print(msg.topic_partition, msg.offset, msg.datetime, msg.value)
                    counts.update((msg.value or "").split())
                break
            except DeserializationError as error:
                print(f"passing over what is no text: {error}")
                consumer.seek(TopicPartition(error.topic, error.partition), error.next_offset)
            except KeyboardInterrupt:
                print("stopped; what is finished is committed at the end of the `with`")
                break
    print(dict(counts.most_common(10)))


if __name__ == "__main__":
    main()
