"""What a program reads: records compared one by one with what was produced and with what Java reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import pytest

from dekaf_proto.errors import ClosedError, DeserializationError, UnknownTopicError
from dekaf_proto.types import TimestampType, TopicPartition, TopicPartitionOffset
from tests.integration import librdkafka
from tests.integration.drivers import AnyRecord, Driver, open_consumer
from tests.integration.kafka import CODECS, Codec, Consumed, KafkaCluster, Placed, Produced, wait_until

MARKER = 1  # a transaction's end takes an offset too

Row = tuple[int, int, int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def some_records(topic: str, name: str, count: int = 60) -> list[Produced]:
    """Two partitions; nulls, empty keys and values, headers; times given and not; batches worth compressing."""
    return [
        Produced(
            topic,
            i % 2,
            None if i % 5 == 0 else b"" if i % 11 == 0 else f"{name}-{i}".encode(),
            None if i % 7 == 0 else b"x" * (i * 3 % 100),
            [("a", b"1"), ("a", None), ("ü", b"")] if i % 3 == 0 else [],
            1_700_000_000_000 + 13 * i if i % 4 else None,
        )
        for i in range(count)
    ]


def expected(wanted: Sequence[Produced], placed: Sequence[Placed]) -> list[Row]:
    """What a consumer has to give, partition by partition."""
    return sorted(
        (
            (place.partition, place.offset, place.timestamp, 0, r.key, r.value, list(r.headers))
            for r, place in zip(wanted, placed, strict=True)
        ),
        key=lambda row: row[:2],
    )


def row(r: AnyRecord | Consumed) -> Row:
    return r.partition, r.offset, r.timestamp, r.timestamp_type, r.key, r.value, list(r.headers)


def by_partition(records: Sequence[AnyRecord]) -> list[Row]:
    """The records of each partition in the order in which they came, which `sorted` does not change."""
    return [row(r) for r in sorted(records, key=lambda r: r.partition)]


def values(records: Sequence[AnyRecord]) -> list[bytes | None]:
    return [r.value for r in records]


def fill(kafka: KafkaCluster, topic: str, count: int, partitions: int = 1) -> list[Placed]:
    """A topic whose values are b"0", b"1" ..., dealt out to its partitions."""
    kafka.create_topic(topic, partitions)
    return kafka.produce([Produced(topic, i % partitions, value=b"%d" % i) for i in range(count)])


# --------------------------------------------------------------------------------------------- every producer and codec


@dataclass
class Written:
    """A topic of two partitions, and what is in it."""

    topic: str
    committed: list[Row]  # in the order of the partitions and offsets
    everything: list[Row]
    by_java: list[Consumed]


@pytest.fixture(scope="module")
def written(kafka: KafkaCluster) -> Callable[[Codec], Written]:
    """Fills a topic with one codec by both producers, plainly, in committed and in aborted transactions; once."""

    @cache
    def write(codec: Codec) -> Written:
        topic = f"written-{codec}"
        kafka.create_topic(topic, partitions=2)
        committed: list[Row] = []
        aborted: list[Row] = []

        def by_java(name: str, transactional_id: str | None = None, *, abort: bool = False) -> None:
            records = some_records(topic, name)
            placed = kafka.produce(records, codec, transactional_id, end="abort" if abort else "commit", flush_every=17)
            (aborted if abort else committed).extend(expected(records, placed))

        def by_librdkafka(name: str, transactional_id: str | None = None, *, abort: bool = False) -> None:
            records = some_records(topic, name)
            placed = librdkafka.produce(
                kafka.bootstrap, records, codec, transactional_id, "abort" if abort else "commit"
            )
            (aborted if abort else committed).extend(expected(records, placed))

        by_java("java")
        by_librdkafka("librdkafka")
        by_java("java committed", f"{topic}-java")
        by_java("java aborted", f"{topic}-java", abort=True)
        by_librdkafka("librdkafka aborted", f"{topic}-rd", abort=True)
        by_librdkafka("librdkafka committed", f"{topic}-rd")

        def ends(*, read_committed: bool) -> list[int]:
            return [kafka.offset(topic, p, "latest", read_committed=read_committed) for p in (0, 1)]

        # The coordinator answers before the last marker is in the log.
        wait_until("the last marker", lambda: ends(read_committed=True) == ends(read_committed=False))
        everything = sorted(committed + aborted, key=lambda r: r[:2])
        consumed = [each for partition in (0, 1) for each in kafka.consume(topic, partition)]
        return Written(topic, sorted(committed, key=lambda r: r[:2]), everything, consumed)

    return write


@pytest.mark.parametrize("isolation_level", ["read_committed", "read_uncommitted"])
@pytest.mark.parametrize("codec", CODECS)
def test_what_both_producers_wrote_with_every_codec(
    kafka: KafkaCluster, driver: Driver, written: Callable[[Codec], Written], codec: Codec, isolation_level: str
) -> None:
    topic = written(codec)
    with open_consumer(driver, kafka.bootstrap, isolation_level=isolation_level) as consumer:
        consumer.assign(consumer.partitions_for(topic.topic))
        got = consumer.read_to_end()
    if isolation_level == "read_committed":
        assert by_partition(got) == topic.committed
    else:
        assert by_partition(got) == topic.everything == [row(r) for r in topic.by_java]
        # Under one leader all epochs are the same; that they follow a leader is test_failures' affair.
        assert {r.leader_epoch for r in got} == {r.leader_epoch for r in topic.by_java}


def test_an_open_transaction_holds_back_what_is_behind_it(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    kafka.create_topic(topic)

    def one(value: bytes) -> list[Produced]:
        return [Produced(topic, 0, value=value)]

    kafka.produce(one(b"committed"), transactional_id=topic)
    kafka.produce(one(b"aborted"), transactional_id=topic, end="abort")
    kafka.produce(one(b"open"), transactional_id=topic, end="open")
    kafka.produce(one(b"plain"))
    tp = TopicPartition(topic, 0)
    with (
        open_consumer(driver, kafka.bootstrap, isolation_level="read_committed") as committed,
        open_consumer(driver, kafka.bootstrap) as uncommitted,
    ):
        committed.assign([tp])
        uncommitted.assign([tp])
        assert values(uncommitted.read_to_end()) == [b"committed", b"aborted", b"open", b"plain"]
        assert values(committed.read_to_end()) == [b"committed"]
        # Up to the first open transaction it has read everything: the aborted one is passed over (B30).
        assert committed.position(tp) == 2 * (1 + MARKER)
        assert (committed.lag(tp), committed.highwater(tp)) == (0, 2 * (1 + MARKER) + 2)
        kafka.end_transaction(topic, "commit")
        assert values(committed.read(2)) == [b"open", b"plain"]
        kafka.produce(one(b"too late"), transactional_id=topic, end="abort")
        kafka.produce(one(b"last"))
        assert values(committed.read(1)) == [b"last"]
        assert values(uncommitted.read(2)) == [b"too late", b"last"]


def test_the_broker_stamps_records_where_the_topic_says_so(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    kafka.create_topic(topic, configs={"message.timestamp.type": "LogAppendTime"})
    placed = kafka.produce([Produced(topic, 0, value=b"x", timestamp=5) for _ in range(9)], "zstd", flush_every=3)
    with open_consumer(driver, kafka.bootstrap) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        got = consumer.read_to_end()
    assert [(r.timestamp, r.timestamp_type) for r in got] == [
        (place.timestamp, TimestampType.LOG_APPEND_TIME) for place in placed
    ]
    assert got[0].timestamp > 1_600_000_000_000


@pytest.fixture(scope="module")
def compacted(kafka: KafkaCluster) -> str:
    """A topic with 51 offsets, of which the first 35 are gone; the values are the offsets."""
    topic = "compacted"
    # A record an hour later begins a new segment; all but the last are cleaned.
    configs = {"cleanup.policy": "compact", "segment.ms": 60_000, "min.cleanable.dirty.ratio": 0.01}
    kafka.create_topic(topic, configs=configs)
    hour = 3_600_000
    wanted = [
        Produced(topic, 0, b"%d" % (i % 5 if i < 40 else i), b"%d" % i, timestamp=1_700_000_000_000 + i // 10 * hour)
        for i in range(50)
    ]
    kafka.produce(wanted, "lz4", flush_every=10)
    kafka.produce([Produced(topic, 0, b"last", b"50", timestamp=1_700_000_000_000 + 9 * hour)])
    wait_until("the cleaner", lambda: [r.offset for r in kafka.consume(topic)] == [*range(35, 51)])
    return topic


def test_a_compacted_topic_has_gaps(kafka: KafkaCluster, driver: Driver, compacted: str) -> None:
    tp = TopicPartition(compacted, 0)
    with open_consumer(driver, kafka.bootstrap) as consumer:
        consumer.assign({tp: 3})
        assert [(r.offset, r.value) for r in consumer.read_to_end()] == [(i, b"%d" % i) for i in range(35, 51)]
        assert consumer.position(tp) == 51


def test_batches_larger_than_what_may_be_fetched(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    kafka.create_topic(topic, partitions=2)
    kafka.produce([Produced(topic, i % 2, value=b"%d" % i + b" " * 50_000) for i in range(40)], flush_every=8)
    small = {"fetch_max_bytes": 1000, "max_partition_fetch_bytes": 100, "fetch_max_buffered_bytes": 1000}
    with open_consumer(driver, kafka.bootstrap, **small) as consumer:
        consumer.assign(consumer.partitions_for(topic))
        got = consumer.read_to_end()
    assert [r.value.strip() for r in sorted(got, key=lambda r: r.partition)] == [
        b"%d" % i for p in (0, 1) for i in range(p, 40, 2)
    ]


# --------------------------------------------------------------------------------------------------------- handing out


def test_a_new_loop_goes_on_where_the_last_one_broke_off(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 20)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap, group_id=topic) as consumer:
        consumer.assign([tp])
        got = consumer.read(3)
        assert consumer.position(tp) == 3
        for record in consumer:
            got.append(record)
            if len(got) == 5:
                break
        got += consumer.poll(max_records=4)
        assert consumer.position(tp) == 9
        for batch in consumer.batches(max_records=2):
            got += batch
            break
        assert values(got) == [b"%d" % i for i in range(11)]
    # The batch in hand was not finished.
    assert kafka.committed(topic) == {(topic, 0): (9, "")}


def test_poll_and_batches(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 40, partitions=4)
    with open_consumer(driver, kafka.bootstrap) as consumer:
        assert len(consumer.poll(timeout=0.0)) == 0  # nothing is assigned
        consumer.assign(consumer.partitions_for(topic))
        batch = consumer.poll(max_records=7)
        assert 1 <= len(batch) <= 7
        got = list(batch)
        for batch in consumer.batches(max_records=12, max_wait=5.0):
            assert len(batch) > 0
            got += batch
            parts = batch.by_partition()
            assert {tp: records[-1].offset + 1 for tp, records in parts.items()} == {
                tp: committed.offset for tp, committed in batch.offsets.items()
            }
            assert [len(records) for records in parts.values()] == [
                sum(r.topic_partition == tp for r in batch) for tp in parts
            ]
            assert len(batch) == 12  # it had time to fill
            if len(got) > 28:
                break
        got += consumer.read_to_end()
        assert len(consumer.poll(timeout=0.05)) == 0
    assert [(r.partition, r.offset) for r in sorted(got, key=lambda r: r.partition)] == [
        (p, offset) for p in range(4) for offset in range(10)
    ]


def test_up_to_the_end_as_it_was(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 20, partitions=2)
    kafka.create_topic(f"{topic}-late")
    kafka.produce([Produced(f"{topic}-late", 0, value=b"late")] * 3)
    first, second, late = TopicPartition(topic, 0), TopicPartition(topic, 1), TopicPartition(f"{topic}-late", 0)
    with open_consumer(driver, kafka.bootstrap) as consumer:
        consumer.assign([first, second])
        got: list[AnyRecord] = []
        for record in consumer.records(until_end=True):
            if not got:
                kafka.produce([Produced(topic, p, value=b"new") for p in (0, 1)])
                consumer.incremental_assign([late])
            got.append(record)
        assert sorted(r.offset for r in got if r.topic == topic) == sorted([*range(10)] * 2)
        assert [r.offset for r in got if r.topic == late.topic] == [0, 1, 2]
        consumer.pause([second])  # it is not waited for
        assert [(r.partition, r.value) for r in consumer.read_to_end()] == [(0, b"new")]
        consumer.resume()
        assert [(r.partition, r.value) for r in consumer.read_to_end()] == [(1, b"new")]
        assert consumer.read_to_end() == []


def test_a_paused_partition_keeps_what_it_has(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 20, partitions=2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    with open_consumer(driver, kafka.bootstrap) as consumer:
        consumer.assign([first, second])
        got = consumer.read(1)
        paused = got[0].topic_partition
        other = second if paused == first else first
        position = consumer.position(paused)
        consumer.pause([paused])
        assert consumer.paused == [paused]
        got += consumer.read(10)
        assert {r.topic_partition for r in got[1:]} == {other}
        assert len(consumer.poll(timeout=0.05)) == 0
        assert consumer.position(paused) == position
        kafka.produce([Produced(topic, paused.partition, value=b"new")])
        consumer.resume([paused])
        assert consumer.paused == []
        got += consumer.read(10)
        assert {r.topic_partition for r in got[11:]} == {paused}
        assert sorted(r.offset for r in got if r.topic_partition == paused) == [*range(11)]
        # From the body of a loop it takes effect at once.
        consumer.seek_to_beginning()
        for record in consumer:
            paused = record.topic_partition
            consumer.pause([paused])
            break
        assert {r.topic_partition for r in consumer.read(10)} == {second if paused == first else first}


def test_assigned_step_by_step(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 30, partitions=3)
    one, two, three = (TopicPartition(topic, p) for p in range(3))
    with open_consumer(driver, kafka.bootstrap) as consumer:
        assert consumer.assignment == []
        consumer.assign([TopicPartitionOffset(topic, 0, 8)])
        assert [r.offset for r in consumer.read(2)] == [8, 9]
        consumer.incremental_assign({two: 5})
        assert consumer.assignment == [one, two]
        assert [(r.partition, r.offset) for r in consumer.read_to_end()] == [(1, offset) for offset in range(5, 10)]
        consumer.incremental_unassign([one])
        assert consumer.assignment == [two]
        consumer.assign([two, three])  # what it had goes on where it was
        assert [(r.partition, r.offset) for r in consumer.read_to_end()] == [(2, offset) for offset in range(10)]
        consumer.assign([])
        assert consumer.assignment == []
        consumer.assign([two])  # as new
        assert [r.offset for r in consumer.read_to_end()] == [*range(10)]


# -------------------------------------------------------------------------------------------------------- deserializers


def test_keys_and_values_are_deserialized_and_one_that_fails_is_told(
    kafka: KafkaCluster, driver: Driver, topic: str
) -> None:
    kafka.create_topic(topic)
    kafka.produce([Produced(topic, 0, b"k%d" % i, b"bad" if i == 3 else b"%d" % i) for i in range(6)])
    tp = TopicPartition(topic, 0)
    with open_consumer(
        driver, kafka.bootstrap, key_deserializer=bytes.decode, value_deserializer=int, group_id=topic
    ) as consumer:
        consumer.assign([tp])
        got: list[tuple[str, int]] = []
        with pytest.raises(DeserializationError) as caught:
            got.extend((record.key, record.value) for record in consumer)
        assert got == [("k0", 0), ("k1", 1), ("k2", 2)]
        error = caught.value
        assert (error.topic, error.partition, error.offset, error.next_offset) == (topic, 0, 3, 4)
        assert isinstance(error.__cause__, ValueError)
        for _ in range(2):  # it is not passed over by itself
            with pytest.raises(DeserializationError, match=re.escape(str(error))):
                consumer.poll()
            assert consumer.position(tp) == 3
        consumer.commit()
        assert kafka.committed(topic) == {(topic, 0): (3, "")}
        consumer.seek(tp, error.next_offset)
        assert [(r.key, r.value) for r in consumer.read_to_end()] == [("k4", 4), ("k5", 5)]


# --------------------------------------------------------------------------------------------------------------- topics


def test_topics_and_their_partitions(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    kafka.create_topic(topic, partitions=3)
    with open_consumer(driver, kafka.bootstrap, group_id=topic) as consumer:
        assert consumer.partitions_for(topic) == [TopicPartition(topic, p) for p in range(3)]
        consumer.committed([TopicPartition(topic, 0)])  # so that there is an internal topic
        assert topic in consumer.topics()
        assert "__consumer_offsets" not in consumer.topics()
        with pytest.raises(UnknownTopicError):
            consumer.partitions_for(f"{topic}-nowhere")
        kafka.alter_topic(topic, partitions=4)
        wait_until("the new partition", lambda: len(consumer.partitions_for(topic)) == 4)


def test_a_topic_that_comes_into_being_later(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    with open_consumer(driver, kafka.bootstrap) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        assert len(consumer.poll(timeout=0.1)) == 0
        fill(kafka, topic, 3)
        assert values(consumer.read(3)) == [b"0", b"1", b"2"]


def test_what_it_tells_of_itself(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 10)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap, group_id=topic) as consumer:
        consumer.assign([tp])
        consumer.read(4)
        consumer.commit()
        metrics = consumer.metrics()
        assert metrics.assigned_partitions == 1
        assert metrics.lag == {tp: 6}
        assert metrics.fetches >= 1
        assert metrics.buffered_bytes > 0
        assert (metrics.commits, metrics.failed_commits) == (1, 0)
        assert metrics.commit_latency is not None
        assert 0 < metrics.commit_latency < 30
        assert metrics.bytes_received > metrics.buffered_bytes
        consumer.read(6)
        assert len(consumer.poll(timeout=0.05)) == 0
        assert consumer.metrics().records == 10
        consumer.close()
        consumer.close()
        assert consumer.metrics().connects == metrics.connects
        for call in (consumer.poll, consumer.commit, consumer.topics, consumer.seek_to_end):
            with pytest.raises(ClosedError):
                call()
