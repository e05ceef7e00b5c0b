"""What goes wrong around a consumer that lives on: every record once, in order within its partition, and no error.

A program writes numbered records all the time; both drivers read and commit while something is done to the cluster or
to their connections.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

from dekaf_proto.types import TopicPartition
from tests.integration.drivers import DRIVERS, Consumer, Driver, open_consumer
from tests.integration.groups import SOAK, Group, Part, Process
from tests.integration.kafka import KafkaCluster, wait_until

PARTITIONS = 6
#: For what takes a cluster a while, as long as that must not be seen by a program.
LONG = 120.0
END = b"end"


class Writer(threading.Thread):
    """Writes 0, 1, 2 ... to each partition until `end` is called, and END then."""

    def __init__(self, bootstrap: str, topic: str, pause: float = 0.003) -> None:
        super().__init__(name="writer")
        from confluent_kafka import Producer

        self.count = 0
        self.failed: list[object] = []
        self._topic = topic
        self._pause = pause
        self._ended = threading.Event()
        configs = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5}
        # By itself it would wait for a silent broker for a minute, and take less than comes together meanwhile.
        patience = {"socket.timeout.ms": 3000, "request.timeout.ms": 2000, "queue.buffering.max.messages": 1_000_000}
        self._producer = Producer({**configs, **patience})

    def run(self) -> None:
        while not self._ended.is_set():
            self._write(b"%d" % self.count)
            self.count += 1
            self._producer.poll(self._pause)
        self._write(END)
        if left := self._producer.flush(LONG):
            self.failed.append(f"{left} records were not delivered")

    def end(self) -> None:
        self._ended.set()
        self.join(2 * LONG)
        assert self.failed == []

    def _write(self, value: bytes) -> None:
        for partition in range(PARTITIONS):
            self._producer.produce(self._topic, value, partition=partition, on_delivery=self._delivered)

    def _delivered(self, error: object, _: object) -> None:
        if error is not None:
            self.failed.append(error)


class Reader:
    """Reads a topic to the END of each partition, by a `for`, and commits now and then."""

    def __init__(self, driver: Driver, consumer: Consumer, topic: str) -> None:
        self.consumer = consumer
        self.driver = driver
        self.topic = topic
        self.got: dict[int, list[bytes]] = defaultdict(list)
        self.count = 0
        self.commits = 0

    def run(self) -> None:
        tps = [TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        self.consumer.assign(tps)
        offsets = dict.fromkeys(tps, -1)
        ends = 0
        for record in self.consumer:
            assert record.offset > offsets[record.topic_partition]
            offsets[record.topic_partition] = record.offset
            self.got[record.partition].append(record.value)
            self.count += 1
            if self.count % 500 == 0:
                self.consumer.commit()
                self.commits += 1
            ends += record.value == END
            if ends == PARTITIONS:
                break
        self.consumer.commit()


@contextmanager
def reading_and_writing(cluster: KafkaCluster, topic: str, **options: object) -> Iterator[list[Reader]]:
    """Both drivers read what is being written while the block runs; afterwards all that was written has been read."""
    writer = Writer(cluster.bootstrap, topic)
    readers: list[Reader] = []
    futures: list[Future[None]] = []

    def read(driver: Driver) -> None:
        with open_consumer(driver, cluster.bootstrap, group_id=f"{topic}-{driver}", **options) as consumer:
            consumer.patience = 2 * LONG
            reader = Reader(driver, consumer, topic)
            readers.append(reader)
            reader.run()

    def all_read(more: int) -> None:
        """Until each reader has that many records more."""
        aims = [(reader, reader.count + more) for reader in readers]

        def enough() -> bool:
            for future in futures:
                if future.done():
                    future.result()  # raises, if it ended before its time
            return len(readers) == len(DRIVERS) and all(reader.count > aim for reader, aim in aims)

        wait_until("all to read on", enough, LONG)

    with ThreadPoolExecutor() as threads:
        writer.start()
        try:
            futures += [threads.submit(read, driver) for driver in DRIVERS]
            all_read(0)
            all_read(500)
            yield readers
            all_read(500)  # whatever it was, all goes on after it
        finally:
            writer.end()
        for future in futures:
            future.result(LONG)
    wanted = [*(b"%d" % i for i in range(writer.count)), END]
    for reader in readers:
        for partition in range(PARTITIONS):
            got = reader.got[partition]
            assert len(got) == len(wanted), (reader.driver, partition)
            assert got == wanted, (reader.driver, partition)
        committed = cluster.committed(f"{topic}-{reader.driver}")
        assert committed == {(topic, partition): (len(wanted), "") for partition in range(PARTITIONS)}


def coordinator_partition(group: str) -> int:
    """Where a group's offsets are: String.hashCode, modulo the harness's three partitions."""
    number = 0
    for char in group:
        number = (31 * number + ord(char)) & 0xFFFFFFFF
    return (number & 0x7FFFFFFF) % 3


def all_in_sync(cluster: KafkaCluster, topic: str) -> bool:
    return all(len(p["isr"]) == len(p["replicas"]) for p in cluster.describe_topic(topic)["partitions"])


def test_leaders_move(kafka_cluster: KafkaCluster, topic: str) -> None:
    kafka_cluster.create_topic(topic, PARTITIONS)
    with reading_and_writing(kafka_cluster, topic) as readers:
        for partition in range(PARTITIONS):
            leader = kafka_cluster.leader(topic, partition)
            kafka_cluster.move_leader(topic, partition, to=leader % 3 + 1)
        for reader in readers:
            assert reader.commits > 0


def test_connections_are_cut(kafka_cluster: KafkaCluster, topic: str) -> None:
    kafka_cluster.create_topic(topic, PARTITIONS)
    with reading_and_writing(kafka_cluster, topic) as readers:
        for _ in range(10):
            counts = [reader.count for reader in readers]
            for reader in readers:
                wait_until("a connection", lambda: reader.consumer.cut() > 0)  # noqa: B023
            wait_until(
                "records after a cut",
                lambda: all(r.count > count + 100 for r, count in zip(readers, counts, strict=True)),  # noqa: B023
            )


def test_a_broker_is_killed_and_comes_back(kafka_cluster: KafkaCluster, topic: str) -> None:
    """It leads a third of the partitions, coordinates one group at least, and comes first where others begin."""
    kafka_cluster.create_topic(topic, PARTITIONS)
    with reading_and_writing(kafka_cluster, topic) as readers:
        for reader in readers:
            wait_until("a commit", lambda: reader.commits > 0)  # noqa: B023
        group = f"{topic}-{DRIVERS[-1]}"
        victim = kafka_cluster.leader("__consumer_offsets", coordinator_partition(group))
        before = kafka_cluster.committed(group)
        kafka_cluster.kill(victim)
        commits = [reader.commits for reader in readers]
        wait_until(
            "commits after the coordinator's end",
            lambda: all(r.commits > count + 1 for r, count in zip(readers, commits, strict=True)),
            LONG,
        )
        dead_first = f"127.0.0.1:{kafka_cluster.ports[victim]},{kafka_cluster.bootstrap}"
        for driver in DRIVERS:
            with open_consumer(driver, dead_first, group_id=group, enable_auto_commit=False) as late:
                found = late.committed([TopicPartition(topic, p) for p in range(PARTITIONS)])
                for tp, committed in found.items():
                    assert committed is not None
                    assert committed.offset >= before[tp][0]
        kafka_cluster.start(victim)
        wait_until("all replicas", lambda: all_in_sync(kafka_cluster, topic), LONG)


def test_a_broker_falls_silent_until_it_is_replaced(kafka_cluster: KafkaCluster, topic: str) -> None:
    kafka_cluster.create_topic(topic, PARTITIONS)
    with reading_and_writing(kafka_cluster, topic, request_timeout_ms=2000) as readers:
        silent = kafka_cluster.leader(topic, 0)
        mine = [p for p in range(PARTITIONS) if kafka_cluster.leader(topic, p) == silent]
        with kafka_cluster.paused(silent):
            # What was on its way may still come; so much more can only come of another leader.
            enough = [len(reader.got[p]) + 500 for reader in readers for p in mine]
            wait_until(
                "records from other leaders",
                lambda: all(
                    len(reader.got[p]) > count
                    for (reader, p), count in zip([(r, p) for r in readers for p in mine], enough, strict=True)
                ),
                LONG,
            )
        # It has slept through that, and answers as if it still led.
        wait_until("all replicas", lambda: all_in_sync(kafka_cluster, topic), LONG)


def test_groups_outlive_their_coordinator(kafka_cluster: KafkaCluster, topic: str) -> None:
    """One rebalances eagerly, one bit by bit. Members commit all the time; more join while a broker is dead."""
    with ExitStack() as stack:
        groups = []
        for strategy in ("range", "cooperative-sticky"):
            options = {"partition_assignment_strategy": strategy, "session_timeout_ms": 30_000}
            group = stack.enter_context(Group(kafka_cluster, f"{topic}-{strategy}", PARTITIONS, **options))
            writer = Writer(kafka_cluster.bootstrap, group.topic, pause=0.02)
            writer.start()
            stack.callback(writer.end)
            groups.append((group, writer, [group.join(), group.join(), group.join()]))
        for group, _, members in groups:
            group.wait("the partitions to be shared", lambda g=group, m=members: g.is_shared_by(m))
        victim = kafka_cluster.describe_group(groups[0][0].id)["coordinator"]
        for node in (victim, victim % 3 + 1) if SOAK else (victim,):
            kafka_cluster.kill(node)
            for group, _, members in groups:
                _commits_and_grows(kafka_cluster, group, members)
            kafka_cluster.start(node)
            for group, _, _ in groups:
                wait_until("all replicas", partial(all_in_sync, kafka_cluster, group.topic), LONG)
        for group, writer, members in groups:
            writer.end()
            # Not what was written: a producer that loses its leader may write a batch twice, idempotent or not.
            group.ends = {part: kafka_cluster.offset(*part, "latest") for part in group.parts}
            assert min(group.ends.values()) > writer.count
            group.settle(members)
            group.end(members)
            group.check()
            # All went on, and nobody was thrown out: not even a record was handled again.
            assert {tenure.ending for tenures in group.tenures().values() for tenure in tenures} == {"revoked"}
            assert set(group.times().values()) == {1}


def _commits_and_grows(cluster: KafkaCluster, group: Group, members: list[Process]) -> None:
    """Every partition is committed further, and a new member gets its share."""
    before = _committed(cluster, group)
    group.wait("commits", lambda: _all_more(_committed(cluster, group), before), LONG)
    members.append(group.join())
    group.wait("the new one's share", lambda: group.is_shared_by(members) and members[-1].owns())


def _committed(cluster: KafkaCluster, group: Group) -> dict[Part, int]:
    found = {part: offset for part, (offset, _) in cluster.committed(group.id).items()}
    return {part: found.get(part, 0) for part in group.parts}


def _all_more(now: dict[Part, int], before: dict[Part, int]) -> bool:
    return all(now[part] > before[part] + 20 for part in before)
