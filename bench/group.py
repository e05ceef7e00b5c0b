"""How fast members of groups begin, rebalance and commit: dekaf beside confluent-kafka, kafka-python and aiokafka.

    python bench/group.py [--quick] [--soak] [first] [rebalance] [commits]

Starts a Kafka on loopback (tests/integration/kafka.py: Java and Maven are needed), whose coordinator does not wait for
further members (`group.initial.rebalance.delay.ms=0`). The contestants take turns, each time in a new process:

first       seconds from the start of the script to its first record, with a group that is new
rebalance   seconds until each member of a group has its share: a group that begins with all members but one, is joined
            by the last one, and is left by it. All members are in one process; heartbeats come every 200 ms, so that
            is what a rebalance may take until all have heard of it. Cooperative ones take two rounds for a join.
commits     records a second of a member that commits each record, and waits for that, before it takes the next one
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.environments import python_of  # noqa: E402  # the line above makes it findable
from tests.integration.kafka import JavaHelper, KafkaCluster  # noqa: E402

#: Name, build, contestant of members.py.
CONTESTANTS = [
    ("dekaf_sync, compiled", "compiled", "dekaf_sync"),
    ("dekaf_sync, pure", "pure", "dekaf_sync"),
    ("confluent-kafka", "pure", "confluent"),
    ("kafka-python", "pure", "kafka-python"),
    ("aiokafka", "pure", "aiokafka"),
]
#: aiokafka has no cooperative rebalances.
REBALANCES = {"range": ("dekaf_sync", "confluent", "aiokafka"), "cooperative-sticky": ("dekaf_sync", "confluent")}
PARTITIONS = 60


def run(build: str, *arguments: object) -> tuple[Any, float]:
    """What a contestant says, and the Unix time when it was started."""
    python = python_of("compiled" if build == "compiled" else "pure")
    command = [str(python), str(ROOT / "bench" / "members.py"), *map(str, arguments)]
    began = time.time()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=600,
        cwd=python.parent,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, arguments))}: {done.stderr[-2000:]}")
    return json.loads(done.stdout), began


def fill(bootstrap: str, topic: str, records: int, partitions: int) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap})
    for i in range(records):
        producer.produce(topic, b"order %d" % i, partition=i % partitions)
    if producer.flush(60):
        raise SystemExit(f"could not fill {topic}")


def first(bootstrap: str, rounds: int) -> None:
    seconds: dict[str, list[float]] = {}
    for i in range(rounds + 1):
        for name, build, contestant in CONTESTANTS:
            at, began = run(build, "first", contestant, bootstrap, "few")
            if i:  # the first one writes the bytecode
                seconds.setdefault(name, []).append(at - began)
    print(f"\nfrom the start of the script to the first record as a member (s), {rounds} rounds")
    for name, found in seconds.items():
        print(f"  {name:24}best {min(found):5.3f}   median {statistics.median(found):5.3f}")


def rebalance(bootstrap: str, members: int, strategy: str, rounds: int, *, only_ours: bool = False) -> None:
    times: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for name, build, contestant in CONTESTANTS:
            if contestant in REBALANCES[strategy] and (contestant == "dekaf_sync" or not only_ours):
                found, _ = run(build, "rebalance", contestant, bootstrap, "shared", PARTITIONS, members, strategy, 3)
                for what, seconds in found.items():
                    times.setdefault(name, {}).setdefault(what, []).extend(seconds)
    kind = "cooperative" if strategy == "cooperative-sticky" else "eager"
    print(f"\nrebalances, {members} members, {PARTITIONS} partitions, {kind} (median, worst in s), {3 * rounds} rounds")
    for name, by_what in times.items():
        figures = (f"{what} {statistics.median(found):5.2f} {max(found):5.2f}" for what, found in by_what.items())
        print(f"  {name:24}" + "   ".join(figures))


def commits(bootstrap: str, rounds: int, count: int) -> None:
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, build, contestant in CONTESTANTS:
            if contestant != "kafka-python":
                rates.setdefault(name, []).append(run(build, "commits", contestant, bootstrap, "many", count)[0])
    print(f"\nrecords a second, each committed before the next one, {rounds} rounds")
    for name, found in rates.items():
        print(f"  {name:24}best {max(found):6,.0f}   median {statistics.median(found):6,.0f}")


def main(arguments: list[str]) -> None:
    rounds = 1 if "--quick" in arguments else 5
    named = [a for a in arguments if not a.startswith("--")]
    python_of("compiled")
    python_of("pure")
    with JavaHelper() as java, KafkaCluster(java) as kafka:
        for topic, partitions, records in (("few", 6, 60), ("many", 6, 12_000), ("shared", PARTITIONS, 0)):
            kafka.create_topic(topic, partitions)
            fill(kafka.bootstrap, topic, records, partitions)
        if not named or "first" in named:
            first(kafka.bootstrap, 2 * rounds)
        if not named or "commits" in named:
            commits(kafka.bootstrap, rounds, 1000 if rounds == 1 else 3000)
        if not named or "rebalance" in named:
            for strategy in REBALANCES:
                for members in (2, 10):
                    rebalance(kafka.bootstrap, members, strategy, rounds)
                if "--soak" in arguments:
                    rebalance(kafka.bootstrap, 50, strategy, rounds, only_ours=True)


if __name__ == "__main__":
    main(sys.argv[1:])
