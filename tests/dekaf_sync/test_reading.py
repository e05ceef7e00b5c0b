"""Records through a socket: `for`, `records`, `poll`, `batches`; positions, assignments and questions to brokers."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from dekaf_proto.broker import Broker, NewRecord
from dekaf_proto.errors import (
    ClosedError,
    DeserializationError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    NotAssignedError,
    UnknownTopicError,
)
from dekaf_proto.messages import ApiKey
from dekaf_sync import (
    Batch,
    Consumer,
    ConsumerConfig,
    OffsetAndMetadata,
    OffsetAndTimestamp,
    Record,
    TopicPartition,
    TopicPartitionOffset,
)
from tests.broker_server import BrokerServer
from tests.dekaf_sync.helpers import T0, T1, T2, Kafka, in_thread, once, read, until, values, waits

if TYPE_CHECKING:
    from typing_extensions import assert_type

# ------------------------------------------------------------------------------------------------------------------ for


def test_a_for_loop_gets_every_record_and_waits_for_more(kafka: Kafka) -> None:
    kafka.append("a", "b")
    with kafka.consumer(T0) as consumer:
        seen = []
        for record in consumer:
            seen.append((record.topic, record.partition, record.offset, record.value))
            if len(seen) == 2:
                kafka.append("c")
            if len(seen) == 3:
                break
        assert seen == [("t", 0, 0, b"a"), ("t", 0, 1, b"b"), ("t", 0, 2, b"c")]


def test_a_break_does_not_finish_the_record_in_hand(kafka: Kafka) -> None:
    kafka.append("a", "b", "c", "d")
    with kafka.consumer(T0, group_id="g") as consumer:
        assert read(consumer, 2) == ["a", "b"]
    assert kafka.committed(T0) == 1
    with kafka.consumer(T0, group_id="g") as consumer:
        assert read(consumer, 1) == ["b"]  # given again


def test_a_new_for_goes_on_and_finishes_it(kafka: Kafka) -> None:
    kafka.append("a", "b", "c", "d")
    with kafka.consumer(T0, group_id="g") as consumer:
        assert read(consumer, 2) == ["a", "b"]
        run = consumer._run
        assert read(consumer, 1) == ["c"]
        assert consumer._run is run  # without asking the I/O thread
    assert kafka.committed(T0) == 2


def test_a_new_for_goes_on_from_the_last_record_of_a_run(kafka: Kafka) -> None:
    kafka.append("a", "b")
    with kafka.consumer(T0) as consumer:
        assert read(consumer, 2) == ["a", "b"]
        kafka.append("c")
        assert read(consumer, 1) == ["c"]


def test_an_automatic_commit_covers_only_what_is_finished(kafka: Kafka) -> None:
    kafka.append("a", "b", "c")
    with kafka.consumer(T0, group_id="g", auto_commit_interval_ms=1) as consumer:
        for record in consumer:
            if record.offset == 1:
                until(lambda: kafka.committed(T0) == 1)
                requests = consumer.metrics().requests + 1
                until(partial(has_sent, consumer, requests))  # a fetch, and time for a wrong commit
                assert kafka.committed(T0) == 1
                break


def has_sent(consumer: Consumer[Any, Any], requests: int) -> bool:
    return consumer.metrics().requests > requests


def test_several_iterators_share_what_is_in_hand(kafka: Kafka) -> None:
    kafka.append("a", "b", "c", "d")
    with kafka.consumer(T0) as consumer:
        one, two = iter(consumer), iter(consumer)
        assert [next(it).value for it in (one, two, one)] == [b"a", b"b", b"c"]
        assert values(consumer.poll(1.0)) == ["d"]
        kafka.append("e", "f")
        assert [next(it).value for it in (two, one)] == [b"e", b"f"]


def test_a_record_s_types(kafka: Kafka) -> None:
    at = int(time.time() * 1000)
    record = NewRecord(b"v", b"k", [("h", b"1")], at)
    kafka.call(lambda broker, now: broker.append("t", 0, [record, None], now))
    with kafka.consumer(T0) as consumer:
        first, second = consumer.poll(5.0)
        assert (first.key, first.value, first.headers, first.timestamp) == (b"k", b"v", (("h", b"1"),), at)
        assert (second.key, second.value) == (None, None)


def test_deserializers(kafka: Kafka) -> None:
    kafka.append('{"n": 1}', '"x"')
    with Consumer(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", value_deserializer=json.loads
    ) as consumer:
        consumer.assign([T0])
        assert [record.value for record in consumer.poll(5.0)] == [{"n": 1}, "x"]


def test_a_type_checker_knows_keys_and_values(kafka: Kafka) -> None:
    """mypy compares; what is here at run time is only that it runs."""
    kafka.append("1")
    servers = kafka.bootstrap
    with Consumer(bootstrap_servers=servers, auto_offset_reset="earliest", value_deserializer=int) as consumer:
        consumer.assign([T0])
        for record in consumer:
            batch = Batch([record])
            if TYPE_CHECKING:
                assert_type(consumer, Consumer[bytes | None, int | None])
                assert_type(record, Record[bytes | None, int | None])
                assert_type(record.value, int | None)
                assert_type(batch[0].key, bytes | None)
            break
    if TYPE_CHECKING:
        plain = Consumer(bootstrap_servers=servers, group_id="g")
        assert_type(plain, Consumer[bytes | None, bytes | None])
        assert_type(plain.poll(0), Batch[bytes | None, bytes | None])
        assert_type(next(plain.batches()), Batch[bytes | None, bytes | None])
        assert_type(plain.committed(T0), OffsetAndMetadata | None)
        assert_type(plain.committed([T0]), dict[TopicPartition, OffsetAndMetadata | None])
        config = ConsumerConfig(bootstrap_servers=servers, key_deserializer=bytes.decode)
        assert_type(Consumer(config=config), Consumer[str | None, bytes | None])
        assert_type(Consumer(config=config, group_id="g"), Consumer[str | None, bytes | None])
        Consumer(bootstrap_servers=servers, fetch_min_bytes="1")  # type: ignore[call-overload]
        Consumer(bootstrap_servers=servers, fetch_min_byte=1)  # type: ignore[call-overload]


def test_a_deserializer_runs_in_the_program_s_thread(kafka: Kafka) -> None:
    kafka.append("a")
    threads = []

    def deserialize(data: bytes) -> str:
        threads.append(threading.current_thread())
        return data.decode()

    with Consumer(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", value_deserializer=deserialize
    ) as consumer:
        consumer.assign([T0])
        assert [next(iter(consumer)).value, consumer.position(T0)] == ["a", 1]
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize("way", ["for", "poll", "batches"])
def test_a_record_that_can_t_be_read_stops_it_until_a_seek(kafka: Kafka, way: str) -> None:
    """F20, F21, lesson 38: what is before it comes first; then it raises each time; a seek passes it."""
    kafka.append("1", "2", "x", "4")
    with Consumer(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", value_deserializer=int, group_id="g"
    ) as consumer:
        consumer.assign([T0])
        seen: list[Any] = []

        def go_on() -> None:
            if way == "for":
                for record in consumer:
                    seen.append(record.value)
                    if record.value == 4:
                        break
            elif way == "poll":
                while 4 not in seen:
                    seen.extend(record.value for record in consumer.poll(5.0))
            else:
                for batch in consumer.batches(max_wait=0.01):
                    seen.extend(record.value for record in batch)
                    if 4 in seen:
                        break

        for _ in range(3):
            with pytest.raises(DeserializationError) as caught:
                go_on()
            assert (caught.value.offset, seen) == (2, [1, 2])
        consumer.commit()
        assert kafka.committed(T0) == 2  # not beyond it (lesson 5)
        consumer.seek(T0, caught.value.next_offset)
        go_on()
        assert seen == [1, 2, 4]


def test_an_error_of_the_engine_is_raised_once_and_the_rest_goes_on(kafka: Kafka) -> None:
    kafka.append("a")
    with kafka.consumer(T0, T1, auto_offset_reset="none") as consumer:
        with pytest.raises(NoOffsetForPartitionError) as caught:
            next(iter(consumer))
        assert sorted(caught.value.partitions) == [T0, T1]
        frames = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert not any("dekaf_proto" in name for name in frames)  # nothing of the I/O thread's
        assert len(consumer.poll(0)) == 0
        consumer.seek_to_beginning()
        assert read(consumer, 1) == ["a"]


# ------------------------------------------------------------------------------------------------------ until the end


def test_reading_up_to_the_end_as_it_was(kafka: Kafka) -> None:
    kafka.append("a", "b")
    kafka.append("x", partition=1)
    with kafka.consumer(T0, T1, T2) as consumer:
        records = consumer.records(until_end=True)
        kafka.append("late")  # after the call, before the first record is asked for
        assert sorted(values(records)) == ["a", "b", "x"]
        assert values(consumer.records(until_end=True)) == ["late"]
        assert values(consumer.records(until_end=True)) == []
        kafka.append("more")
        assert next(consumer.records()).value == b"more"


def test_a_bounded_iteration_leaves_the_rest_to_others(kafka: Kafka) -> None:
    kafka.append("a", "b", per_batch=2)
    with kafka.consumer(T0) as consumer:
        records = consumer.records(until_end=True)
        assert next(records).value == b"a"
        kafka.append("c", "d", per_batch=2)
        assert values(consumer.poll(5.0, 1)) == ["b"]  # in the middle of it, and without its bound
        assert list(records) == []
        assert read(consumer, 2) == ["c", "d"]


# ----------------------------------------------------------------------------------------------------- poll and batches


def test_poll_gives_what_is_there_and_nothing_when_the_time_is_up(kafka: Kafka) -> None:
    with kafka.consumer(T0) as consumer:
        assert len(consumer.poll(0)) == 0
        started = time.monotonic()
        assert len(consumer.poll(0.05)) == 0
        assert time.monotonic() - started >= 0.05
        kafka.append("a", "b", "c")
        batch = consumer.poll()
        assert (values(batch), batch.offsets) == (["a", "b", "c"], {T0: OffsetAndMetadata(3, "", 0)})
        assert batch.by_partition() == {T0: list(batch)}


def test_poll_gives_at_most_so_many_and_the_rest_next_time(kafka: Kafka) -> None:
    kafka.append(*"abcdefg")
    with kafka.consumer(T0, max_poll_records=3) as consumer:
        assert [values(consumer.poll(5.0)), values(consumer.poll(5.0, 2))] == [["a", "b", "c"], ["d", "e"]]
        assert values(consumer.poll(5.0, max_records=100)) == ["f", "g"]


def test_the_next_poll_finishes_the_batch_before(kafka: Kafka) -> None:
    kafka.append(*"abcde")
    with kafka.consumer(T0, group_id="g") as consumer:
        consumer.poll(5.0, 2)
        consumer.poll(5.0, 2)
    assert kafka.committed(T0) == 2


def test_batches_are_never_empty(kafka: Kafka) -> None:
    kafka.append("a", "b", "c")
    with kafka.consumer(T0) as consumer:
        batches = consumer.batches(2)
        assert [values(next(batches)), values(next(batches))] == [["a", "b"], ["c"]]
        done = in_thread(lambda: once(lambda: waits(consumer), lambda: kafka.append("d")))
        assert values(next(batches)) == ["d"]
        done()


def test_batches_can_wait_for_more(kafka: Kafka) -> None:
    with kafka.consumer(T0, fetch_max_wait_ms=10) as consumer:
        batches = consumer.batches(4, max_wait=20.0)

        def trickle() -> None:
            for value in "abcd":
                before = consumer.metrics().fetches
                kafka.append(value)
                until(lambda before=before: consumer.metrics().fetches > before + 1)  # type: ignore[misc]

        done = in_thread(trickle)
        assert values(next(batches)) == ["a", "b", "c", "d"]
        done()
        kafka.append("e")
        short = consumer.batches(4, max_wait=0.02)
        assert values(next(short)) == ["e"]


def test_a_batch_that_was_waited_for_finishes_the_one_before_at_once(kafka: Kafka) -> None:
    kafka.append("a", "b")
    with kafka.consumer(T0, group_id="g", auto_commit_interval_ms=1) as consumer:
        batches = consumer.batches(1, max_wait=20.0)
        assert values(next(batches)) == ["a"]
        assert values(next(batches)) == ["b"]
        until(lambda: kafka.committed(T0) == 1)


@pytest.mark.parametrize("wrong", [0, -1])
def test_no_batch_has_no_records(kafka: Kafka, wrong: int) -> None:
    with kafka.consumer() as consumer:
        with pytest.raises(ValueError, match=f"max_records can't be {wrong}"):
            consumer.poll(0, wrong)
        with pytest.raises(ValueError, match=f"max_records can't be {wrong}"):
            consumer.batches(wrong)


@pytest.mark.parametrize("wrong", [-1, -0.001, float("nan")])
def test_a_time_that_can_t_be(kafka: Kafka, wrong: float) -> None:
    with kafka.consumer() as consumer:
        for call in (consumer.poll, consumer.topics, consumer.close):
            with pytest.raises(ValueError, match="a time in seconds can't be"):
                call(wrong)
        with pytest.raises(ValueError, match="a time in seconds can't be"):
            consumer.batches(max_wait=wrong)


def test_what_is_no_time(kafka: Kafka) -> None:
    with kafka.consumer() as consumer:
        with pytest.raises(TypeError, match="expected a time in seconds, not str '1'"):
            consumer.poll("1")  # type: ignore[arg-type]  # who has no type checker may
        with pytest.raises(TypeError, match="expected a time in seconds, not str '1'"):
            consumer.batches(max_wait="1")  # type: ignore[arg-type]  # likewise


def test_a_time_without_end(kafka: Kafka) -> None:
    """No clock, lock or selector takes any number."""
    kafka.append("a")
    with kafka.consumer(T0) as consumer:
        assert values(consumer.poll(float("inf"))) == ["a"]
        assert consumer.topics(1e300) == ["t"]


# ---------------------------------------------------------------------------------------------------------- assignment


def test_assignments(kafka: Kafka) -> None:
    kafka.append("a", "b")
    kafka.append("x", "y", "z", partition=1)
    with kafka.consumer() as consumer:
        assert consumer.assignment == []
        consumer.assign({T0: 1})
        assert (consumer.assignment, values(consumer.poll(5.0))) == ([T0], ["b"])
        consumer.incremental_assign([TopicPartitionOffset("t", 1, 2)])
        assert (consumer.assignment, values(consumer.poll(5.0))) == ([T0, T1], ["z"])
        consumer.incremental_unassign(T0)
        assert consumer.assignment == [T1]
        with pytest.raises(NotAssignedError):
            consumer.incremental_unassign([T1, T2])
        assert consumer.assignment == [T1]
        consumer.assign(tp for tp in [T2])
        assert consumer.assignment == [T2]


def test_what_the_program_gives_is_read_in_its_own_thread(kafka: Kafka) -> None:
    def partitions() -> Any:
        assert threading.current_thread() is threading.main_thread()
        yield T0
        raise OSError("no more")

    with kafka.consumer() as consumer:
        for call in (consumer.assign, consumer.pause, consumer.committed, consumer.end_offsets):
            with pytest.raises(OSError, match="no more"):
                call(partitions())
        assert consumer.assignment == []


def test_pausing_keeps_what_is_buffered(kafka: Kafka) -> None:
    kafka.append("a", "b", "c")
    with kafka.consumer(T0, T1) as consumer:
        seen = []
        for record in consumer:
            seen.append(record.value)
            if record.value == b"a":
                consumer.pause(T0)
                assert consumer.paused == [T0]
                kafka.append("x", partition=1)
            elif record.value == b"x":
                fetched = consumer.metrics().bytes_received
                consumer.resume()
                assert consumer.paused == []
            elif record.value == b"c":
                assert consumer.metrics().bytes_received - fetched < 1000
                break
        assert seen == [b"a", b"x", b"b", b"c"]
        consumer.pause()
        assert consumer.paused == [T0, T1]


# ----------------------------------------------------------------------------------------------------------- positions


def test_positions(kafka: Kafka) -> None:
    kafka.append("a", "b", "c")
    with kafka.consumer(T0) as consumer:
        consumer.pause()
        assert consumer.position(T0) in (None, 0)
        assert consumer.highwater(T0) is None or consumer.highwater(T0) == 3
        consumer.resume()
        assert read(consumer, 1) == ["a"]
        assert (consumer.position(T0), consumer.lag(T0), consumer.highwater(T0)) == (1, 2, 3)
        with pytest.raises(NotAssignedError):
            consumer.position(T1)
        with pytest.raises(TypeError, match="expected a TopicPartition"):
            consumer.lag("t")  # type: ignore[arg-type]
        metrics = consumer.metrics()
        assert (metrics.assigned_partitions, metrics.lag) == (1, {T0: 2})


def test_seeks(kafka: Kafka) -> None:
    kafka.append(*"abcdef", per_batch=4)
    kafka.call(lambda broker, now: broker.commit("g", {T0: 3}))
    with kafka.consumer(T0, group_id="g") as consumer:
        assert read(consumer, 1) == ["d"]
        seeks: list[tuple[Callable[[], None], str]] = [
            (lambda: consumer.seek(T0, 1), "b"),
            (lambda: consumer.seek(T0, OffsetAndMetadata(4, "note")), "e"),
            (lambda: consumer.seek(T0, OffsetAndTimestamp(2, 0)), "c"),
            (lambda: consumer.seek_to_beginning(), "a"),
            (lambda: consumer.seek_to_committed([T0]), "d"),
            (lambda: consumer.seek_to_beginning(T0), "a"),
        ]
        for seek, first in seeks:
            seek()
            assert read(consumer, 1) == [first]
        consumer.seek_to_end()
        assert len(consumer.poll(0.02)) == 0
        kafka.append("g")
        assert read(consumer, 1) == ["g"]
        for wrong in (-1, None, 2**63, "1"):
            with pytest.raises((ValueError, TypeError)):
                consumer.seek(T0, wrong)  # type: ignore[arg-type]
        assert consumer.position(T0) == 7


def test_a_seek_from_the_loop_takes_effect_at_once(kafka: Kafka) -> None:
    kafka.append("a", "b", "c", "d")
    with kafka.consumer(T0) as consumer:
        seen = []
        for record in consumer:
            seen.append(record.offset)
            if len(seen) == 2:
                consumer.seek(T0, 0)
            if len(seen) == 4:
                break
        assert seen == [0, 1, 0, 1]


def test_seeking_to_a_time(kafka: Kafka) -> None:
    now_ms = int(time.time() * 1000)
    for minute in range(4):
        record = NewRecord(b"%d" % minute, timestamp=now_ms + minute * 60_000)
        kafka.call(partial(lambda record, broker, now: broker.append("t", 0, [record], now), record))
    with kafka.consumer(T0, T1) as consumer:
        consumer.seek_to_timestamp(now_ms + 60_000)
        assert read(consumer, 1) == ["1"]
        consumer.seek_to_timestamp({T0: datetime.fromtimestamp(now_ms / 1000, timezone.utc) + timedelta(minutes=2.5)})
        assert read(consumer, 1) == ["3"]
        consumer.seek_to_timestamp(now_ms + 3_600_000)  # past the last record: to the end
        assert consumer.position(T0) == 4
        found = consumer.offsets_for_times({T0: now_ms + 60_000, T1: now_ms})
        assert found == {T0: OffsetAndTimestamp(1, now_ms + 60_000, 0), T1: None}
        wrongs: list[tuple[Any, str]] = [
            (datetime(2024, 1, 1), "time zone"),
            (1_700_000_000, "milliseconds"),
            (-1, "before 1970"),
        ]
        for wrong_time, text in wrongs:
            with pytest.raises(ValueError, match=text):
                consumer.seek_to_timestamp(wrong_time)


def test_the_offset_reset(kafka: Kafka) -> None:
    kafka.append("a")
    with kafka.consumer(T0, auto_offset_reset="latest") as consumer:
        until(lambda: consumer.position(T0) == 1)
        kafka.append("b")
        assert read(consumer, 1) == ["b"]
    with kafka.consumer(T0, auto_offset_reset="by_duration:PT1H") as consumer:
        assert read(consumer, 1) == ["a"]  # the engine's Unix time is right


# ------------------------------------------------------------------------------------------------- questions to brokers


def test_questions_to_brokers(kafka: Kafka) -> None:
    kafka.append("a", "b", "c")
    kafka.call(lambda broker, now: broker.delete_records("t", 0, 1))
    with kafka.consumer() as consumer:
        assert consumer.topics() == ["t"]
        assert consumer.partitions_for("t") == [T0, T1, T2]
        assert consumer.beginning_offsets([T0, T1]) == {T0: 1, T1: 0}
        assert consumer.end_offsets([T0, T1], timeout=5.0) == {T0: 3, T1: 0}
        assert consumer.end_offsets(T0) == {T0: 3}
        with pytest.raises(UnknownTopicError):
            consumer.partitions_for("nowhere")
        for wrong in ("t", 3, [("t", -1)], [3]):
            with pytest.raises((TypeError, ValueError)):
                consumer.end_offsets(wrong)  # type: ignore[arg-type]
    assert kafka.call(lambda broker, now: broker.topics) == ["t"]  # asking has created none


def test_a_question_without_an_answer_ends_in_time(kafka: Kafka) -> None:
    kafka.fault(api=ApiKey.LIST_OFFSETS, times=None, silent="before")
    with kafka.consumer(request_timeout_ms=600) as consumer:
        with pytest.raises(KafkaTimeoutError, match=r"end_offsets did not finish in 0\.05 s"):
            consumer.end_offsets([T0], timeout=0.05)
        assert consumer.topics() == ["t"]


def test_several_nodes(kafka: Kafka) -> None:
    server = BrokerServer(Broker(nodes=3))
    with server as bootstrap:
        several = Kafka(server, bootstrap)
        for partition in range(3):
            several.append(*(f"{partition}-{i}" for i in range(100)), partition=partition, per_batch=10)
        with several.consumer(T0, T1, T2) as consumer:
            found = values(consumer.records(until_end=True))
        assert len(found) == 300
        for partition in range(3):
            mine = [value for value in found if value.startswith(f"{partition}-")]
            assert mine == [f"{partition}-{i}" for i in range(100)]


def test_much_data_in_few_reads(kafka: Kafka) -> None:
    """Responses of some megabytes: more than a read takes, and than a socket holds."""
    payload = "x" * 100_000
    for _ in range(5):
        kafka.append(*[payload] * 10)
    with kafka.consumer(T0, max_partition_fetch_bytes=10_000_000) as consumer:
        records = list(consumer.records(until_end=True))
        assert [len(record.value or b"") for record in records] == [100_000] * 50
        assert consumer.metrics().bytes_received > 5_000_000


# -------------------------------------------------------------------------------------------------------------- options


def test_a_config_and_options_over_it(kafka: Kafka) -> None:
    config = ConsumerConfig(bootstrap_servers=kafka.bootstrap, group_id="g", value_deserializer=bytes.decode)
    with Consumer(config=config) as consumer:
        assert consumer.config is config
    with Consumer(config=config, auto_offset_reset="earliest") as consumer:
        kafka.append("a")
        consumer.assign([T0])
        assert next(iter(consumer)).value == "a"
        assert consumer.config.group_id == "g"


def test_a_closed_consumer_refuses(kafka: Kafka) -> None:
    kafka.append("a", "b")
    consumer = kafka.consumer(T0)
    assert read(consumer, 1) == ["a"]
    records, batches = iter(consumer), consumer.batches()
    consumer.close()
    for call in (
        consumer.poll,
        consumer.topics,
        consumer.__enter__,
        lambda: next(records),
        lambda: next(batches),
        lambda: consumer.position(T0),
        lambda: consumer.assignment,
        lambda: consumer.seek(T0, 0),
    ):
        with pytest.raises(ClosedError):
            call()
    consumer.close()
    consumer.wakeup()
    assert consumer.metrics().assigned_partitions == 1


@pytest.mark.parametrize("way", ["for", "batches"])
def test_closing_from_the_loop_ends_it(kafka: Kafka, way: str) -> None:
    kafka.append("a", "b")
    consumer = kafka.consumer(T0)
    for _ in consumer if way == "for" else consumer.batches(1):
        consumer.close()


def test_a_topic_partition_is_any_pair(kafka: Kafka) -> None:
    kafka.append("a")
    with kafka.consumer() as consumer:
        consumer.assign([("t", 0)])  # type: ignore[list-item]
        assert consumer.assignment == [TopicPartition("t", 0)]
