"""How fast a real Kafka is consumed in an async program: dekaf_trio, compiled and pure, beside aiokafka.

    python bench/consume_trio.py [--quick]

Starts a Kafka on loopback (tests/integration/kafka.py: Java and Maven are needed) with a topic of records of 100 bytes,
which the contestants read in turn, each in a process of its own: record after record, and in batches. Records a second
from the first record to the last, and CPU per record; the best of the rounds counts, for everybody. The last lines are
what dekaf_trio is to reach.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.consume import Topic, fill, measure  # noqa: E402  # the line above makes it findable
from bench.environments import python_of  # noqa: E402
from tests.integration.kafka import JavaHelper, KafkaCluster  # noqa: E402

TOPIC = Topic("100-bytes", 6, 2_000_000, 100, rounds=3)

#: Name, build, and contestant of consumers.py.
CONTESTANTS = [
    ("dekaf_trio async for, compiled", "compiled", "dekaf_trio for"),
    ("dekaf_trio batches, compiled", "compiled", "dekaf_trio batches"),
    ("dekaf_trio poll, compiled", "compiled", "dekaf_trio poll"),
    ("dekaf_trio async for, pure", "pure", "dekaf_trio for"),
    ("dekaf_trio batches, pure", "pure", "dekaf_trio batches"),
    ("dekaf_trio poll, pure", "pure", "dekaf_trio poll"),
    ("aiokafka async for", "pure", "aiokafka for"),
    ("aiokafka getmany", "pure", "aiokafka getmany"),
]
#: Who is to be how many times as fast as whom.
TARGETS = [
    ("dekaf_trio async for, compiled", "aiokafka async for", 8.0),
    ("dekaf_trio batches, compiled", "aiokafka getmany", 2.0),
    ("dekaf_trio poll, compiled", "aiokafka getmany", 2.0),
    ("dekaf_trio async for, pure", "aiokafka async for", 1.5),
]


def race(bootstrap: str, rounds: int) -> None:
    runs: dict[str, list[dict[str, float]]] = {name: [] for name, *_ in CONTESTANTS}
    numbers = TOPIC.partitions, TOPIC.records - 1000  # not the last few: nobody is to wait for the end of the topic
    for _ in range(rounds):
        for name, build, contestant in CONTESTANTS:
            runs[name].append(measure("throughput", build, contestant, bootstrap, TOPIC.name, *numbers))
    print(f"{TOPIC.records:,} records of {TOPIC.size} bytes, {TOPIC.partitions} partitions, best of {rounds}")
    rates = {name: max(each["records_per_second"] for each in results) for name, results in runs.items()}
    for name, results in runs.items():
        cpu = min(each["cpu_us_per_record"] for each in results)
        worst = min(each["records_per_second"] for each in results)
        print(f"  {name:32}{rates[name] / 1e6:7.3f} M/s (worst {worst / 1e6:.3f}){cpu:8.2f} us CPU a record")
    for ours, theirs, target in TARGETS:
        print(f"  {ours:32} / {theirs:20}{rates[ours] / rates[theirs]:6.2f}   target {target:g}")


def main(arguments: list[str]) -> None:
    python_of("compiled")
    python_of("pure")
    with JavaHelper() as java, KafkaCluster(java) as kafka:
        kafka.create_topic(TOPIC.name, TOPIC.partitions)
        fill(kafka.bootstrap, TOPIC)
        race(kafka.bootstrap, 1 if "--quick" in arguments else TOPIC.rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
