"""Where a program reads: seeks, resets, and what brokers say about offsets, against what Java is told."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from dekaf_proto.errors import NoOffsetForPartitionError, NotAssignedError, OffsetOutOfRangeError
from dekaf_proto.types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition
from tests.integration.drivers import Driver, open_consumer
from tests.integration.kafka import KafkaCluster, Produced, wait_until
from tests.integration.test_consumers import MARKER, fill, values

MINUTE = 60_000
START = 1_700_000_000_000  # of the records' times


def fill_by_time(kafka: KafkaCluster, topic: str, count: int = 10, partitions: int = 1) -> None:
    """Each partition gets a record a minute from START on, in batches of several."""
    kafka.create_topic(topic, partitions)
    kafka.produce(
        Produced(topic, p, value=b"%d" % i, timestamp=START + i * MINUTE)
        for p in range(partitions)
        for i in range(count)
    )


# ---------------------------------------------------------------------------------------------------------------- seeks


def test_seek_in_all_its_forms(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill_by_time(kafka, topic)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap, group_id=topic) as consumer:
        consumer.assign([tp])
        consumer.seek(tp, 4)  # in the middle of a batch
        assert consumer.position(tp) == 4
        assert [r.offset for r in consumer.read(2)] == [4, 5]
        consumer.seek(tp, OffsetAndMetadata(2, "note", 0))
        assert [r.offset for r in consumer.read(2)] == [2, 3]
        found = consumer.offsets_for_times({tp: START + 6 * MINUTE})[tp]
        assert found is not None
        consumer.seek(tp, found)
        assert [r.offset for r in consumer.read(2)] == [6, 7]
        consumer.seek_to_beginning([tp])
        assert [r.offset for r in consumer.read(2)] == [0, 1]
        consumer.commit()
        consumer.seek_to_end()
        wait_until("the end", lambda: consumer.position(tp) == 10)
        kafka.produce([Produced(topic, 0, value=b"new")])
        assert [r.offset for r in consumer.read(1)] == [10]
        consumer.seek_to_committed(tp)
        assert [r.offset for r in consumer.read(2)] == [2, 3]
        # The last word counts, from wherever it comes.
        consumer.seek_to_beginning()
        consumer.seek_to_end(tp)
        consumer.seek(tp, 9)
        assert [r.offset for r in consumer.read(2)] == [9, 10]


def test_a_seek_from_the_body_of_a_loop_takes_effect_at_once(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 10)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap) as consumer:
        consumer.assign([tp])
        got = []
        for record in consumer.records(until_end=True):
            got.append(record.offset)
            if len(got) == 3:
                consumer.seek(tp, 7)
            elif len(got) == 5:
                consumer.seek(tp, 1)
        assert got == [0, 1, 2, 7, 8, *range(1, 10)]


def test_seek_to_a_time(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill_by_time(kafka, topic, partitions=2)
    one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)

    def when(minutes: int) -> datetime:
        return datetime.fromtimestamp(START / 1000, timezone.utc) + timedelta(minutes=minutes)

    with open_consumer(driver, kafka.bootstrap) as consumer:
        consumer.assign([one, two])
        consumer.seek_to_timestamp(START + 8 * MINUTE)
        assert sorted((r.partition, r.offset) for r in consumer.read_to_end()) == [(0, 8), (0, 9), (1, 8), (1, 9)]
        consumer.seek_to_timestamp(when(9) - timedelta(seconds=1))
        assert sorted((r.partition, r.offset) for r in consumer.read_to_end()) == [(0, 9), (1, 9)]
        consumer.seek_to_timestamp({one: when(7), two: START + 11 * MINUTE})
        assert (consumer.position(one), consumer.position(two)) == (7, 10)  # past the last record: the end
        assert [(r.partition, r.offset) for r in consumer.read_to_end()] == [(0, 7), (0, 8), (0, 9)]
        consumer.seek_to_timestamp({two: 0})
        kafka.produce([Produced(topic, 1, value=b"new")])
        assert [(r.partition, r.offset) for r in consumer.read(11)] == [(1, offset) for offset in range(11)]


def test_seeks_that_make_no_sense(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 3)
    tp, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    with open_consumer(driver, kafka.bootstrap) as consumer:
        consumer.assign([tp])
        with pytest.raises(NotAssignedError, match=str(other)):
            consumer.seek(other, 0)
        with pytest.raises(NotAssignedError, match=str(other)):
            consumer.seek_to_timestamp({other: START})
        with pytest.raises(ValueError, match="-1 is negative"):
            consumer.seek(tp, -1)
        with pytest.raises(ValueError, match="not seconds"):
            consumer.seek_to_timestamp(START // 1000)
        with pytest.raises(ValueError, match="does not say its time zone"):
            consumer.seek_to_timestamp(datetime(2024, 1, 1))
        assert consumer.offsets_for_times({tp: 90_000_000_000_000})[tp] is None
        assert [r.offset for r in consumer.read_to_end()] == [0, 1, 2]  # nothing of this has done anything


# ----------------------------------------------------------------------------------------------- what brokers are asked


def test_offsets_are_those_that_java_is_told(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill_by_time(kafka, topic, partitions=3)
    kafka.delete_records(topic, 1, before=4)
    kafka.produce([Produced(topic, 2, value=b"open")], transactional_id=topic, end="open")
    tps = [TopicPartition(topic, p) for p in range(3)]
    for level in ("read_uncommitted", "read_committed"):
        committed = level == "read_committed"
        with open_consumer(driver, kafka.bootstrap, isolation_level=level) as consumer:
            begins = {tp: kafka.offset(topic, tp.partition, "earliest", committed) for tp in tps}
            ends = {tp: kafka.offset(topic, tp.partition, "latest", committed) for tp in tps}
            assert consumer.beginning_offsets(tps) == begins == dict(zip(tps, (0, 4, 0), strict=True))
            assert consumer.end_offsets(tps) == ends == dict(zip(tps, (10, 10, 11 - committed), strict=True))
            assert consumer.end_offsets(tps[0]) == {tps[0]: 10}
            for at in (0, START, START + 1, START + 5 * MINUTE, START + 9 * MINUTE, START + 30 * 60 * MINUTE):
                found = consumer.offsets_for_times(dict.fromkeys(tps, at))
                by_java = {tp: kafka.offset(topic, tp.partition, at, committed) for tp in tps}
                assert {tp: -1 if each is None else each.offset for tp, each in found.items()} == by_java
                for each in found.values():
                    if each is not None and each.offset < 10:
                        assert each == OffsetAndTimestamp(each.offset, START + each.offset * MINUTE, 0)
    kafka.end_transaction(topic, "abort")


def test_position_lag_and_highwater(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 10)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap) as consumer:
        with pytest.raises(NotAssignedError):
            consumer.position(tp)
        consumer.assign([tp])
        consumer.pause()  # so that the first position is seen before a record is
        wait_until("a position", lambda: consumer.position(tp) is not None)
        assert consumer.position(tp) == 0
        consumer.resume()
        for record in consumer:
            assert consumer.position(tp) == record.next_offset  # between two records of a batch
            assert (consumer.lag(tp), consumer.highwater(tp)) == (9 - record.offset, 10)
            if record.offset == 6:
                break
        kafka.produce([Produced(topic, 0, value=b"new")])
        consumer.read(3)
        wait_until("the new end", lambda: (consumer.lag(tp), consumer.highwater(tp)) == (1, 11))


# --------------------------------------------------------------------------------------------------------------- resets


def test_where_a_new_reader_begins(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    kafka.create_topic(topic)
    now = datetime.now(timezone.utc)
    times = [now - timedelta(minutes=m) for m in (150, 120, 90, 30, 20, 10)]
    for i, time in enumerate(times):
        kafka.produce([Produced(topic, 0, value=b"%d" % i, timestamp=int(time.timestamp() * 1000))])
    tp = TopicPartition(topic, 0)
    for policy, first in (
        ("earliest", 0),
        ("by_duration:PT1H", 3),
        ("by_duration:P7D", 0),
        ("by_duration:PT1S", 6),  # nothing is that young: the end
        (times[2] - timedelta(seconds=1), 2),
        (now + timedelta(hours=1), 6),
        ("latest", 6),
    ):
        with open_consumer(driver, kafka.bootstrap, auto_offset_reset=policy) as consumer:
            consumer.assign([tp])
            wait_until(f"a position after {policy}", lambda: consumer.position(tp) is not None)
            assert (policy, consumer.position(tp)) == (policy, first)
            assert [r.offset for r in consumer.read_to_end()] == [*range(first, 6)]


def test_without_a_reset_a_missing_offset_is_an_error(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 30, partitions=3)
    one, two, three = (TopicPartition(topic, p) for p in range(3))
    with open_consumer(driver, kafka.bootstrap, auto_offset_reset="none", group_id=topic) as consumer:
        consumer.commit({three: 8})
        consumer.assign([one, two, three])
        with pytest.raises(NoOffsetForPartitionError) as caught:
            consumer.read(3)
        assert sorted(caught.value.partitions) == [one, two]
        for name in (str(one), str(two), topic):
            assert name in str(caught.value)
        assert [(r.partition, r.offset) for r in consumer.read(2)] == [(2, 8), (2, 9)]  # others go on
        consumer.seek(one, 9)
        consumer.seek_to_end(two)
        assert [(r.partition, r.offset) for r in consumer.read(1)] == [(0, 9)]


@pytest.mark.parametrize("policy", ["earliest", "latest", "none"])
def test_an_offset_that_is_gone(kafka: KafkaCluster, driver: Driver, topic: str, policy: str) -> None:
    fill(kafka, topic, 10)
    kafka.delete_records(topic, 0, before=6)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap, auto_offset_reset=policy) as consumer:
        consumer.assign({tp: 2})
        if policy == "none":
            with pytest.raises(OffsetOutOfRangeError) as caught:
                consumer.poll()
            assert caught.value.offsets == {tp: 2}
            assert consumer.position(tp) == 2
            consumer.seek(tp, 7)
        elif policy == "latest":
            wait_until("the end", lambda: consumer.position(tp) == 10)
            kafka.produce([Produced(topic, 0, value=b"new")])
        first = {"earliest": 6, "latest": 10, "none": 7}[policy]
        assert consumer.read(1)[0].offset == first


def test_the_beginning_of_a_log_moves_while_it_is_read(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    kafka.create_topic(topic)
    kafka.produce([Produced(topic, 0, value=b"%d" % i + b" " * 1000) for i in range(100)], flush_every=1)
    with open_consumer(
        driver, kafka.bootstrap, max_partition_fetch_bytes=2000, fetch_max_buffered_bytes=8000
    ) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        got = [r.offset for r in consumer.read(2)]
        kafka.delete_records(topic, 0, before=90)
        got += [r.offset for r in consumer.read_to_end()]
    buffered = got[:-10]
    assert buffered == [*range(len(buffered))]
    assert len(buffered) < 20
    assert got[-10:] == [*range(90, 100)]


def test_a_topic_that_is_deleted_and_made_again(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 5)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap, group_id=topic, metadata_max_age_ms=500) as consumer:
        consumer.assign([tp])
        assert values(consumer.read(5)) == [b"%d" % i for i in range(5)]
        before = kafka.describe_topic(topic)["id"]
        kafka.delete_topic(topic)
        kafka.create_topic(topic)
        assert kafka.describe_topic(topic)["id"] != before
        # More than there was before: an offset of the old topic would be one of the new topic too.
        kafka.produce([Produced(topic, 0, value=b"new %d" % i) for i in range(9)])
        assert values(consumer.read(9)) == [b"new %d" % i for i in range(9)]
        consumer.commit()
        assert kafka.committed(topic) == {(topic, 0): (9, "")}


def test_the_last_stable_offset_is_the_end_of_who_reads_committed(
    kafka: KafkaCluster, driver: Driver, topic: str
) -> None:
    fill(kafka, topic, 3)
    kafka.produce([Produced(topic, 0, value=b"open")], transactional_id=topic, end="open")
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap, isolation_level="read_committed") as consumer:
        consumer.assign([tp])
        consumer.seek_to_end()
        wait_until("the end", lambda: consumer.position(tp) == 3)
        kafka.end_transaction(topic, "commit")
        assert values(consumer.read(1)) == [b"open"]
        wait_until("the marker", lambda: consumer.end_offsets(tp)[tp] == 4 + MARKER)
