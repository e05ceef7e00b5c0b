"""What a group has committed: every way to say it, seen by Java and read back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import pytest

from dekaf_proto.consumer.arguments import CommitTarget
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.errors import BrokerError, CommitError, ErrorCode, LocalProtocolError, NoGroupError
from dekaf_proto.types import OffsetAndMetadata, TopicPartition, TopicPartitionOffset
from tests.integration.drivers import AnyRecord, Driver, open_consumer
from tests.integration.kafka import KafkaCluster, Produced, wait_until
from tests.integration.test_consumers import fill, values

Committed = Mapping[TopicPartition, OffsetAndMetadata]


FORMS: dict[str, tuple[Callable[[AnyRecord], CommitTarget | None], OffsetAndMetadata]] = {
    "nothing": (lambda record: None, OffsetAndMetadata(5, "", 0)),
    "a record": (lambda record: record, OffsetAndMetadata(5, "", 0)),
    "a batch": (lambda record: Batch([record]), OffsetAndMetadata(5, "", 0)),
    "an offset": (lambda record: {record.topic_partition: 3}, OffsetAndMetadata(3)),
    "an offset with a note and an epoch": (
        lambda record: {record.topic_partition: OffsetAndMetadata(4, "nöte", 0)},
        OffsetAndMetadata(4, "nöte", 0),
    ),
    "TopicPartitionOffsets": (lambda record: [TopicPartitionOffset(record.topic, 0, 42)], OffsetAndMetadata(42)),
}


@pytest.mark.parametrize("form", FORMS)
def test_commit_in_all_its_forms(kafka: KafkaCluster, driver: Driver, topic: str, form: str) -> None:
    fill(kafka, topic, 10)
    target, expected = FORMS[form]
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap, group_id=topic, enable_auto_commit=False) as consumer:
        consumer.assign([tp])
        assert consumer.committed_of(tp) is None
        record = consumer.read(5)[-1]
        consumer.commit(target(record))
        assert kafka.committed(topic) == {(topic, 0): (expected.offset, expected.metadata)}
        (row,) = kafka.java.call("committed", bootstrap=kafka.bootstrap, group=topic)
        assert row["leader_epoch"] == (-1 if expected.leader_epoch is None else expected.leader_epoch)
        other = TopicPartition(topic, 7)
        assert consumer.committed([tp, other]) == {tp: expected, other: None}
        assert consumer.committed_of(tp) == expected
    with open_consumer(driver, kafka.bootstrap, group_id=topic, enable_auto_commit=False) as consumer:
        if expected.offset <= 10:
            consumer.assign([tp])
            assert [r.offset for r in consumer.read_to_end()] == [*range(expected.offset, 10)]
    assert kafka.committed(topic) == {(topic, 0): (expected.offset, expected.metadata)}


def test_a_batch_of_several_partitions(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 30, partitions=3)
    with open_consumer(driver, kafka.bootstrap, group_id=topic, enable_auto_commit=False) as consumer:
        consumer.assign(consumer.partitions_for(topic))
        for batch in consumer.batches(max_records=30, max_wait=30.0):
            consumer.commit(batch)
            break
        assert kafka.committed(topic) == {(topic, p): (10, "") for p in range(3)}
        consumer.commit()  # there is nothing to commit, which is no error
        consumer.commit({})


def test_committing_needs_a_group(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 3)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap) as consumer:
        consumer.assign([tp])
        consumer.read(1)
        for call in (
            consumer.commit,
            consumer.commit_async,
            lambda: consumer.committed([tp]),
            lambda: consumer.seek_to_committed(),
            lambda: consumer.store_offsets({tp: 1}),
        ):
            with pytest.raises(NoGroupError):
                call()
        assert values(consumer.read(2)) == [b"1", b"2"]


def test_a_commit_that_the_coordinator_refuses(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 3)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap, group_id=topic, enable_auto_commit=False) as consumer:
        consumer.assign([tp])
        with pytest.raises(CommitError) as caught:
            consumer.commit({tp: OffsetAndMetadata(1, "x" * 5000)})
        assert [error.code for error in caught.value.errors.values()] == [ErrorCode.OFFSET_METADATA_TOO_LARGE]
        with pytest.raises(ValueError, match="-1 is negative"):
            consumer.commit({tp: -1})
        assert kafka.committed(topic) == {}
        consumer.commit({tp: 1})
        assert kafka.committed(topic) == {(topic, 0): (1, "")}


def test_commits_in_the_background_call_back_in_order(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 10)
    tp = TopicPartition(topic, 0)
    called: list[tuple[int, object, threading.Thread]] = []

    def on_done(offsets: Committed, error: Exception | None) -> None:
        what = error.errors[tp].code if isinstance(error, CommitError) else error
        called.append((offsets[tp].offset, what, threading.current_thread()))

    with open_consumer(driver, kafka.bootstrap, group_id=topic, enable_auto_commit=False) as consumer:
        consumer.assign([tp])
        got = consumer.read(2)
        consumer.commit_async(on_done=on_done)
        consumer.commit_async({tp: OffsetAndMetadata(1, "x" * 5000)}, on_done=on_done)
        consumer.commit_async(got[0], on_done=on_done)
        consumer.commit_async()  # without anybody to be told
        consumer.commit({tp: 7})  # those before it are done, and told of, when it returns (P9)
        told = [(2, None), (1, ErrorCode.OFFSET_METADATA_TOO_LARGE), (1, None)]
        assert [each[:2] for each in called] == told
        assert kafka.committed(topic) == {(topic, 0): (7, "")}
        consumer.commit_async({tp: 8}, on_done=on_done)
        consumer.close()  # it is waited for
        assert [each[:2] for each in called] == [*told, (8, None)]
    assert kafka.committed(topic) == {(topic, 0): (8, "")}
    mine = threading.main_thread() if driver == "sync" else called[0][2]  # trio's has another name in each test
    assert {thread for *_, thread in called} == {mine}


def test_a_callback_comes_while_the_program_reads(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 3)
    tp = TopicPartition(topic, 0)
    called: list[int] = []
    with open_consumer(driver, kafka.bootstrap, group_id=topic) as consumer:
        consumer.assign([tp])
        consumer.read(3)
        consumer.commit_async(on_done=lambda offsets, error: called.append(offsets[tp].offset))
        wait_until("the callback", lambda: [*consumer.poll(timeout=0.02), *called])
        assert called == [3]


# ------------------------------------------------------------------------------------------------------------ automatic


def test_automatic_commits_take_what_is_finished(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 10)
    tp = TopicPartition(topic, 0)

    def committed() -> int | None:
        found = kafka.committed(topic).get((topic, 0))
        return None if found is None else found[0]

    with open_consumer(driver, kafka.bootstrap, group_id=topic, auto_commit_interval_ms=50) as consumer:
        consumer.assign([tp])
        consumer.read(4)
        wait_until("a commit", lambda: committed() is not None)
        wait_until("the commit of what is finished", lambda: committed() == 3)  # the fourth is in hand
        consumer.read(1)
        wait_until("the commit of what is finished", lambda: committed() == 4)
        consumer.commit()  # now the one in hand is done
        assert committed() == 5
        consumer.poll(max_records=2)
        wait_until("no more", lambda: consumer.metrics().lag == {tp: 3})
        assert committed() == 5
        assert values(consumer.poll(max_records=1)) == [b"7"]
        wait_until("the commit of the batch before", lambda: committed() == 7)


def test_at_close_what_is_finished_is_committed(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 10)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap, group_id=topic) as consumer:
        consumer.assign([tp])
        assert values(consumer.read(4)) == [b"0", b"1", b"2", b"3"]
    assert kafka.committed(topic) == {(topic, 0): (3, "")}
    with open_consumer(driver, kafka.bootstrap, group_id=topic) as consumer:
        consumer.assign([tp])
        assert values(consumer.read_to_end()) == [b"%d" % i for i in range(3, 10)]  # the one in hand comes again
        assert kafka.committed(topic) == {(topic, 0): (3, "")}
        consumer.incremental_unassign(tp)  # commits as well
        wait_until("the commit of what is given up", lambda: kafka.committed(topic) == {(topic, 0): (10, "")})


def test_an_error_in_the_loop_does_not_finish_its_record(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 10)
    tp = TopicPartition(topic, 0)

    def work() -> None:
        with open_consumer(driver, kafka.bootstrap, group_id=topic) as consumer:
            consumer.assign([tp])
            for record in consumer:
                if record.value == b"5":
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert kafka.committed(topic) == {(topic, 0): (5, "")}


def test_a_reader_that_began_at_the_end_commits_that(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 10)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap, group_id=topic, auto_offset_reset="latest") as consumer:
        consumer.assign([tp])
        wait_until("the end", lambda: consumer.position(tp) == 10)
    kafka.produce([Produced(topic, 0, value=b"while it was away")])
    with open_consumer(driver, kafka.bootstrap, group_id=topic, auto_offset_reset="latest") as consumer:
        consumer.assign([tp])
        assert values(consumer.read(1)) == [b"while it was away"]


def test_without_automatic_commits_nothing_is_committed(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 10)
    tp = TopicPartition(topic, 0)
    options = {"enable_auto_commit": False, "auto_commit_interval_ms": 20, "group_id": topic}
    with open_consumer(driver, kafka.bootstrap, **options) as consumer:
        consumer.assign([tp])
        consumer.read_to_end()
        with pytest.raises(LocalProtocolError, match="enable_auto_offset_store"):
            consumer.store_offsets({tp: 1})
    assert kafka.committed(topic) == {}


def test_what_the_program_stores_is_committed_and_nothing_else(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 10)
    tp = TopicPartition(topic, 0)
    with open_consumer(driver, kafka.bootstrap, group_id=topic, enable_auto_offset_store=False) as consumer:
        consumer.assign([tp])
        got = consumer.read(6)
        consumer.commit()
        assert kafka.committed(topic) == {}
        consumer.store_offsets(got[1])
        consumer.commit()
        assert kafka.committed(topic) == {(topic, 0): (2, "")}
        consumer.store_offsets({tp: OffsetAndMetadata(4, "stored")})
        consumer.read(1)
    assert kafka.committed(topic) == {(topic, 0): (4, "stored")}


def test_a_commit_for_a_topic_that_is_gone_ends(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    fill(kafka, topic, 3)
    tp = TopicPartition(topic, 0)
    options = {"group_id": topic, "enable_auto_commit": False, "default_api_timeout_ms": 1500}
    with open_consumer(driver, kafka.bootstrap, request_timeout_ms=1000, **options) as consumer:
        consumer.assign([tp])
        consumer.read(3)
        kafka.delete_topic(topic)
        failed: list[Exception | None] = []
        consumer.commit_async(on_done=lambda offsets, error: failed.append(error))
        wait_until("the callback", lambda: [*consumer.poll(timeout=0.02), *failed])
        assert isinstance(failed[0], CommitError | BrokerError)
