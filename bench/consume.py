"""How fast a real Kafka is consumed: dekaf, compiled and pure, beside confluent-kafka, aiokafka and kafka-python.

    python bench/consume.py [--quick] [TOPIC ...]

Starts a Kafka on loopback (tests/integration/kafka.py: Java and Maven are needed), fills its topics, and lets the
contestants read them in turn, each in a process of its own: records a second from the first record to the last, CPU per
record, peak memory; the best of the rounds counts. A *member* subscribes and commits automatically, the others assign
and do not commit. Then latency, synchronous commits a second, and CPU while idle.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.environments import python_of  # noqa: E402  # the line above makes it findable
from tests.integration.kafka import JavaHelper, KafkaCluster  # noqa: E402


@dataclass(frozen=True)
class Topic:
    """What is read, by whom, how often."""

    name: str
    partitions: int
    records: int
    size: int
    codec: str = "none"
    per_batch: int | None = None  # None: as many as the producer puts in
    rounds: int = 2
    everybody: bool = False


TOPICS = [
    Topic("100-bytes", 6, 2_000_000, 100, rounds=3, everybody=True),
    Topic("1000-bytes", 6, 300_000, 1000),
    Topic("lz4", 6, 1_000_000, 100, "lz4"),
    Topic("zstd", 6, 1_000_000, 100, "zstd"),
    Topic("100-partitions", 100, 2_000_000, 100),
    Topic("batches-of-ten", 6, 1_000_000, 100, per_batch=10),
]

#: Name, build, contestant of consumers.py, and whether it takes part in every topic.
CONTESTANTS = [
    ("dekaf_sync for, compiled", "compiled", "dekaf_sync for", True),
    ("dekaf_sync for, pure", "pure", "dekaf_sync for", True),
    ("dekaf_trio async for, compiled", "compiled", "dekaf_trio for", True),
    ("confluent consume(500)", "pure", "confluent consume(500)", True),
    ("confluent poll", "pure", "confluent poll", True),
    ("dekaf_sync for, compiled, member", "compiled", "dekaf_sync for, member", False),
    ("dekaf_sync for, pure, member", "pure", "dekaf_sync for, member", False),
    ("confluent consume(500), member", "pure", "confluent consume(500), member", False),
    ("confluent consume(500), defaults", "pure", "confluent consume(500), defaults", False),
    ("confluent poll, defaults", "pure", "confluent poll, defaults", False),
    ("aiokafka getmany", "pure", "aiokafka getmany", True),
    ("aiokafka async for", "pure", "aiokafka for", False),
    ("kafka-python poll", "pure", "kafka-python poll", False),
    ("kafka-python for", "pure", "kafka-python for", False),
]


def fill(bootstrap: str, topic: Topic) -> None:
    """By confluent's producer; for batches of a given size by one batch a request."""
    from confluent_kafka import Producer

    options: dict[str, object] = {
        "bootstrap.servers": bootstrap,
        "compression.codec": topic.codec,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 1 << 20,
        "linger.ms": 50,
        "batch.size": 1 << 17,
    }
    if topic.per_batch is not None:
        options |= {"batch.num.messages": topic.per_batch, "max.in.flight.requests.per.connection": 50}
    producer = Producer(options)
    # As different as orders are, so that a codec leaves half of them, and not next to nothing.
    random = Random(1)
    words = [b"%x" % random.getrandbits(24) for _ in range(3000)] + [b"order", b"table", b"tea", b"please"] * 500
    values = [b" ".join(random.choices(words, k=topic.size // 3))[: topic.size] for _ in range(5000)]
    for i in range(topic.records):
        while True:
            try:
                producer.produce(topic.name, values[i % len(values)], partition=i % topic.partitions)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(300):
        raise SystemExit(f"could not fill {topic.name}")


def measure(what: str, build: str, contestant: str, bootstrap: str, topic: str, *numbers: int) -> dict[str, float]:
    python = python_of("compiled" if build == "compiled" else "pure")
    script = str(ROOT / "bench" / "consumers.py")
    command = [str(python), script, what, contestant, bootstrap, topic, *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=python.parent, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{contestant} on {topic}: {done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def race(bootstrap: str, topic: Topic, rounds: int) -> None:
    runs: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name, build, contestant, always in CONTESTANTS:
            if topic.everybody or always:
                # All but the last few: what is left behind lets nobody wait for the end of the topic.
                count = topic.records - 1000
                numbers = topic.partitions, count
                runs.setdefault(name, []).append(
                    measure("throughput", build, contestant, bootstrap, topic.name, *numbers)
                )
    print(f"\n{topic.name}: {topic.records:,} records, {topic.partitions} partitions, best of {rounds}")
    for name, results in runs.items():
        best = max(results, key=lambda r: r["records_per_second"])
        cpu = min(r["cpu_us_per_record"] for r in results)
        print(
            f"  {name:34}{best['records_per_second'] / 1e6:7.2f} M/s{cpu:8.2f} us CPU a record"
            f"{statistics.median(r['peak_mb'] for r in results):7.0f} MB"
        )
    rates = {name: max(r["records_per_second"] for r in results) for name, results in runs.items()}
    for peer in ("confluent consume(500)", "confluent poll", "aiokafka getmany", "kafka-python poll"):
        if peer in rates:
            ours = rates["dekaf_sync for, compiled"], rates["dekaf_sync for, pure"]
            print(f"  times {peer:28} compiled {ours[0] / rates[peer]:5.2f}   pure {ours[1] / rates[peer]:5.2f}")


def small_things(kafka: KafkaCluster) -> None:
    kafka.create_topic("latency")
    kafka.create_topic("commits")
    kafka.create_topic("idle-1")
    kafka.create_topic("idle-1000", partitions=1000)
    who = [
        ("dekaf_sync, compiled", "compiled", "dekaf_sync for"),
        ("dekaf_sync, pure", "pure", "dekaf_sync for"),
        ("confluent", "pure", "confluent poll"),
    ]
    print("\nlatency (ms), synchronous commits a second, CPU while idle (% of a core)")
    for name, build, contestant in who:
        figures: dict[str, float] = {}
        for _ in range(2):
            for what, topic, partitions, count in (
                ("latency", "latency", 1, 1000),
                ("commits", "commits", 1, 3000),
            ):
                for key, value in measure(what, build, contestant, kafka.bootstrap, topic, partitions, count).items():
                    better = max if key == "commits_per_second" else min
                    figures[key] = better(value, figures.get(key, value))
        for partitions in (1, 1000):
            found = measure("idle", build, contestant, kafka.bootstrap, f"idle-{partitions}", partitions, 10)
            figures[f"idle_{partitions}"] = found["idle_percent"]
        print(f"  {name:24}" + "  ".join(f"{key} {value:,.2f}" for key, value in figures.items()))


def main(arguments: list[str]) -> None:
    quick = "--quick" in arguments
    named = [a for a in arguments if not a.startswith("--")]
    for build in ("compiled", "pure"):
        python_of(build)
    with JavaHelper() as java, KafkaCluster(java) as kafka:
        for topic in TOPICS:
            if named and topic.name not in named:
                continue
            kafka.create_topic(topic.name, topic.partitions)
            start = time.perf_counter()
            fill(kafka.bootstrap, topic)
            print(f"{topic.name} filled in {time.perf_counter() - start:.0f} s", file=sys.stderr)
            race(kafka.bootstrap, topic, 1 if quick else topic.rounds)
            kafka.delete_topic(topic.name)
        if not named or "small" in named:
            small_things(kafka)


if __name__ == "__main__":
    main(sys.argv[1:])
