"""The contestants of consume.py: one program for each way of reading a topic, run in a process of its own.

    python bench/consumers.py throughput|latency|commits|idle CONTESTANT BOOTSTRAP TOPIC PARTITIONS COUNT

It prints a line of JSON. What a contestant does between two records is nothing; what a client of that kind needs to get
going (imports, connections) is not counted, except in `startup`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: A reader gives the number of records in each piece that it got.
Reader = Callable[[str, str, int], Iterator[int]]

# Without these confluent's consumer stops at every 100,000 records and waits (its default is 1 s).
TUNED = {"queued.min.messages": 1_000_000, "fetch.queue.backoff.ms": 0}


def confluent(bootstrap: str, topic: str, partitions: int, options: dict[str, Any], *, at_end: bool = False) -> Any:
    from confluent_kafka import OFFSET_END, Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"bench-{time.time()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **options,
        }
    )
    consumer.assign([TopicPartition(topic, p, OFFSET_END if at_end else 0) for p in range(partitions)])
    return consumer


def confluent_poll(options: dict[str, Any]) -> Reader:
    def read(bootstrap: str, topic: str, partitions: int) -> Iterator[int]:
        consumer = confluent(bootstrap, topic, partitions, options)
        try:
            while True:
                if consumer.poll(1.0) is not None:
                    yield 1
        finally:
            consumer.close()

    return read


def confluent_consume(options: dict[str, Any], *, member: bool = False) -> Reader:
    def read(bootstrap: str, topic: str, partitions: int) -> Iterator[int]:
        if member:
            consumer = confluent(bootstrap, topic, 0, {**options, "enable.auto.commit": True})
            consumer.subscribe([topic])
        else:
            consumer = confluent(bootstrap, topic, partitions, options)
        try:
            while True:
                yield len(consumer.consume(500, 1.0))
        finally:
            consumer.close()

    return read


def kafka_python(*, iterate: bool) -> Reader:
    def read(bootstrap: str, topic: str, partitions: int) -> Iterator[int]:
        from kafka import KafkaConsumer, TopicPartition

        consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
        consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
        try:
            if iterate:
                for _ in consumer:
                    yield 1
            while True:
                yield sum(map(len, consumer.poll(1000).values()))
        finally:
            consumer.close()

    return read


SYNC: dict[str, Reader] = {
    "confluent poll": confluent_poll(TUNED),
    "confluent consume(500)": confluent_consume(TUNED),
    "confluent consume(500), member": confluent_consume(TUNED, member=True),
    "confluent poll, defaults": confluent_poll({}),
    "confluent consume(500), defaults": confluent_consume({}),
    "kafka-python for": kafka_python(iterate=True),
    "kafka-python poll": kafka_python(iterate=False),
}


def peak_mb() -> float:
    """Of this program alone: `ru_maxrss` begins with what the process was that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


class Meter:
    """Time, CPU and memory from the first record, or the first batch of them, to the last.

    What the first batch holds is not counted: it was read before the clock was started. Where that would be most of the
    topic there is nothing to measure.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.seen = 0
        self.uncounted = 0
        self.began = time.perf_counter()
        self.first = 0.0
        self.cpu = time.process_time()

    def saw_first(self, records: int) -> None:
        self.first = time.perf_counter()
        self.cpu = time.process_time()
        self.seen = self.uncounted = records
        if records > self.count / 2:
            raise SystemExit(f"the first batch holds {records} of {self.count} records: use more of them")

    def saw(self, records: int) -> bool:
        """Counts a batch, which may be empty; True when that was the last one."""
        if self.seen:
            self.seen += records
        elif records:
            self.saw_first(records)
        return self.seen >= self.count

    def result(self) -> dict[str, float]:
        seconds = time.perf_counter() - self.first
        cpu = time.process_time() - self.cpu
        counted = self.seen - self.uncounted
        return {
            "records_per_second": counted / seconds,
            "cpu_us_per_record": 1e6 * cpu / counted,
            "peak_mb": peak_mb(),
            "startup": self.first - self.began,
        }


def throughput(contestant: str, bootstrap: str, topic: str, partitions: int, count: int) -> dict[str, float]:
    if contestant in ("dekaf_sync for", "dekaf_sync for, member"):
        return dekaf_throughput(contestant, bootstrap, topic, partitions, count)
    if contestant in ("aiokafka for", "aiokafka getmany"):
        return aiokafka_throughput(contestant, bootstrap, topic, partitions, count)
    if contestant in ("dekaf_trio for", "dekaf_trio poll", "dekaf_trio batches"):
        return trio_throughput(contestant, bootstrap, topic, partitions, count)
    meter = Meter(count)
    with contextlib.closing(SYNC[contestant](bootstrap, topic, partitions)) as reader:  # type: ignore[type-var]
        for records in reader:
            if meter.saw(records):
                return meter.result()
    raise AssertionError("the topic is too short")


def dekaf_throughput(contestant: str, bootstrap: str, topic: str, partitions: int, count: int) -> dict[str, float]:
    """Without the generator that the others are read through: a `for` loop is what is measured."""
    from dekaf_sync import Consumer, TopicPartition

    meter = Meter(count)
    member = contestant == "dekaf_sync for, member"  # which commits automatically, too
    group = f"bench-{time.time()}" if member else None
    with Consumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=group) as consumer:
        if member:
            consumer.subscribe(topic)
        else:
            consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
        for seen, _ in enumerate(consumer, 1):
            if seen == 1:
                meter.saw_first(1)
            elif seen == count:
                meter.seen = seen
                return meter.result()
    raise AssertionError("the topic is too short")


def trio_throughput(contestant: str, bootstrap: str, topic: str, partitions: int, count: int) -> dict[str, float]:
    import trio

    from dekaf_trio import Consumer, TopicPartition

    async def run() -> dict[str, float]:
        meter = Meter(count)
        async with Consumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
            consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
            if contestant == "dekaf_trio batches":
                async for batch in consumer.batches():
                    if meter.saw(len(batch)):
                        return meter.result()
            while contestant == "dekaf_trio poll":
                if meter.saw(len(await consumer.poll())):
                    return meter.result()
            seen = 0
            async for _ in consumer:
                seen += 1  # there is no enumerate for an `async for`
                if seen == 1:
                    meter.saw_first(1)
                elif seen == count:
                    meter.seen = seen
                    return meter.result()
        raise AssertionError("the topic is too short")

    return trio.run(run)


def aiokafka_throughput(contestant: str, bootstrap: str, topic: str, partitions: int, count: int) -> dict[str, float]:
    import asyncio

    from aiokafka import AIOKafkaConsumer, TopicPartition

    async def run() -> dict[str, float]:
        meter = Meter(count)
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
            seen = 0
            if contestant == "aiokafka for":
                async for _ in consumer:
                    seen += 1
                    if seen == 1:
                        meter.saw_first(1)
                    elif seen == count:
                        meter.seen = seen
                        return meter.result()
            while True:
                if meter.saw(sum(map(len, (await consumer.getmany(timeout_ms=1000)).values()))):
                    return meter.result()
        finally:
            await consumer.stop()

    return asyncio.run(run())


def latency(contestant: str, bootstrap: str, topic: str, partitions: int, count: int) -> dict[str, float]:
    """From just before a record is produced (in this process, by confluent's producer) until it is seen."""
    import threading

    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})

    def produce() -> None:
        for _ in range(count + 20):
            producer.produce(topic, str(time.perf_counter()).encode(), partition=0)
            producer.poll(0)
            time.sleep(0.003)
        producer.flush(10)

    thread = threading.Thread(target=produce, daemon=True)
    latencies: list[float] = []

    def saw(value: bytes) -> bool:
        latencies.append(time.perf_counter() - float(value))
        return len(latencies) >= count

    if contestant == "dekaf_sync for":
        from dekaf_sync import Consumer, TopicPartition

        with Consumer(bootstrap_servers=bootstrap) as ours:
            ours.assign([TopicPartition(topic, 0)])
            ours.seek_to_end()
            ours.poll(1.0)
            thread.start()
            for record in ours:
                if saw(record.value or b""):
                    break
    else:
        theirs = confluent(bootstrap, topic, 1, {}, at_end=True)  # what others have left there is hours old
        theirs.poll(1.0)
        thread.start()
        while True:
            message = theirs.poll(1.0)
            if message is not None and not message.error() and saw(message.value()):
                break
        theirs.close()
    thread.join()
    latencies.sort()
    return {"p50_ms": 1000 * latencies[count // 2], "p99_ms": 1000 * latencies[count * 99 // 100]}


def commits(contestant: str, bootstrap: str, topic: str, partitions: int, count: int) -> dict[str, float]:
    """Synchronous commits of one offset after the other."""
    group = f"bench-commits-{time.time()}"
    if contestant == "dekaf_sync for":
        from dekaf_sync import Consumer, TopicPartition

        with Consumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False) as ours:
            ours.assign([TopicPartition(topic, 0)])
            ours.commit({TopicPartition(topic, 0): 1})
            start = time.perf_counter()
            for i in range(count):
                ours.commit({TopicPartition(topic, 0): i + 2})
            return {"commits_per_second": count / (time.perf_counter() - start)}
    from confluent_kafka import TopicPartition as TheirPartition

    theirs = confluent(bootstrap, topic, 1, {"group.id": group})
    theirs.commit(offsets=[TheirPartition(topic, 0, 1)], asynchronous=False)
    start = time.perf_counter()
    for i in range(count):
        theirs.commit(offsets=[TheirPartition(topic, 0, i + 2)], asynchronous=False)
    seconds = time.perf_counter() - start
    theirs.close()
    return {"commits_per_second": count / seconds}


def idle(contestant: str, bootstrap: str, topic: str, partitions: int, count: int) -> dict[str, float]:
    """The CPU of `count` seconds in which nothing comes, as a percentage of a core."""
    if contestant == "dekaf_sync for":
        from dekaf_sync import Consumer, TopicPartition

        with Consumer(bootstrap_servers=bootstrap) as ours:
            ours.assign([TopicPartition(topic, p) for p in range(partitions)])
            ours.poll(5.0)
            before = time.process_time()
            ours.poll(count)
            return {"idle_percent": 100 * (time.process_time() - before) / count}
    theirs = confluent(bootstrap, topic, partitions, {}, at_end=True)
    theirs.poll(5.0)
    before = time.process_time()
    theirs.poll(count)
    spent = time.process_time() - before
    theirs.close()
    return {"idle_percent": 100 * spent / count}


WHAT = {"throughput": throughput, "latency": latency, "commits": commits, "idle": idle}


def main(what: str, contestant: str, bootstrap: str, topic: str, partitions: str, count: str) -> None:
    print(json.dumps(WHAT[what](contestant, bootstrap, topic, int(partitions), int(count))))


if __name__ == "__main__":
    main(*sys.argv[1:])
