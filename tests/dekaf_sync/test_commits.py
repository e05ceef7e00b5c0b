"""Commits through a socket: every form, the callbacks of `commit_async`, what is stored and what is left to the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dekaf_proto.errors import (
    ClosedError,
    CommitError,
    ErrorCode,
    KafkaTimeoutError,
    LocalProtocolError,
    NoGroupError,
)
from dekaf_proto.messages import ApiKey
from dekaf_sync import Batch, Consumer, OffsetAndMetadata, Record, TopicPartition, TopicPartitionOffset
from tests.dekaf_sync.helpers import PATIENCE, T0, T1, Kafka, callbacks_due, read, until, values

AnyConsumer = Consumer[Any, Any]
Offsets = Mapping[TopicPartition, OffsetAndMetadata]


def first(consumer: AnyConsumer) -> Record[Any, Any]:
    return next(iter(consumer))


# ------------------------------------------------------------------------------------------------------------ the forms

FORMS: list[tuple[str, Callable[[AnyConsumer], Any], dict[TopicPartition, OffsetAndMetadata]]] = [
    ("nothing", lambda consumer: None, {T0: OffsetAndMetadata(2, "", 0)}),
    ("a record", first, {T0: OffsetAndMetadata(3, "", 0)}),
    ("a batch", lambda consumer: consumer.poll(5.0, 2), {T0: OffsetAndMetadata(4, "", 0)}),
    ("numbers", lambda consumer: {T0: 42, T1: 7}, {T0: OffsetAndMetadata(42), T1: OffsetAndMetadata(7)}),
    (
        "offsets with a note",
        lambda consumer: {T0: OffsetAndMetadata(42, "note", 3)},
        {T0: OffsetAndMetadata(42, "note", 3)},
    ),
    ("a list", lambda consumer: [TopicPartitionOffset("t", 0, 42)], {T0: OffsetAndMetadata(42)}),
    ("a generator", lambda consumer: (TopicPartitionOffset("t", p, 1) for p in (0, 1)), {
        T0: OffsetAndMetadata(1), T1: OffsetAndMetadata(1)
    }),
    ("an empty batch", lambda consumer: Batch(), {}),
]  # fmt: skip


@pytest.mark.parametrize("make, stored", [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
@pytest.mark.parametrize("way", ["commit", "commit_async", "store_offsets"])
def test_every_form(
    kafka: Kafka, make: Callable[[AnyConsumer], Any], stored: dict[TopicPartition, OffsetAndMetadata], way: str
) -> None:
    kafka.append("a", "b", "c", "d", "e")
    manual = way == "store_offsets"
    with kafka.consumer(T0, group_id="g", enable_auto_commit=False, enable_auto_offset_store=not manual) as consumer:
        read(consumer, 2)
        given = make(consumer)
        if way == "commit":
            consumer.commit(given)
        elif way == "commit_async":
            done: list[tuple[Offsets, Exception | None]] = []
            consumer.commit_async(given, on_done=lambda offsets, error: done.append((offsets, error)))
            until(lambda: [consumer.poll(0), *done][1:])
            assert done == [(stored, None)]
        else:
            if given is None:
                given = {T0: OffsetAndMetadata(2, "", 0)}
            else:
                consumer.incremental_assign([T1])
            consumer.store_offsets(given)
            assert consumer.committed(T0) is None
            consumer.commit()
        assert consumer.committed([T0, T1]) == {T0: stored.get(T0), T1: stored.get(T1)}
        assert consumer.committed(T0) == stored.get(T0)
        assert consumer.committed(T1, timeout=5.0) == stored.get(T1)


@pytest.mark.parametrize("wrong", [{T0: -1}, {T0: None}, "t", T0, 42, [T0], {"t": 1}, {T0: OffsetAndMetadata(1, 5)}])  # type: ignore[arg-type]
def test_what_can_t_be_committed_is_refused(kafka: Kafka, wrong: Any) -> None:
    with kafka.consumer(T0, group_id="g") as consumer:
        calls: list[Callable[[Any], None]] = [consumer.commit, consumer.commit_async, consumer.store_offsets]
        for call in calls:
            with pytest.raises((TypeError, ValueError)):
                call(wrong)
        assert consumer.committed(T0) is None


def test_committing_without_a_group_is_an_error(kafka: Kafka) -> None:
    with kafka.consumer(T0) as consumer:
        calls: list[Callable[[], object]] = [
            consumer.commit,
            consumer.commit_async,
            lambda: consumer.committed(T0),
            consumer.seek_to_committed,
            lambda: consumer.store_offsets({T0: 1}),
        ]
        for call in calls:
            with pytest.raises(NoGroupError, match="no group_id"):
                call()


def test_storing_needs_the_option(kafka: Kafka) -> None:
    with (
        kafka.consumer(T0, group_id="g") as consumer,
        pytest.raises(LocalProtocolError, match="enable_auto_offset_store=False"),
    ):
        consumer.store_offsets({T0: 1})


def test_a_commit_that_passes_is_tried_again_and_one_that_does_not_is_raised(kafka: Kafka) -> None:
    with kafka.consumer(T0, group_id="g") as consumer:
        kafka.fault(api=ApiKey.OFFSET_COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, times=2)
        consumer.commit({T0: 1})
        assert kafka.committed(T0) == 1
        kafka.fault(api=ApiKey.OFFSET_COMMIT, error=ErrorCode.OFFSET_METADATA_TOO_LARGE)
        with pytest.raises(CommitError):
            consumer.commit({T0: 2})
        kafka.fault(api=ApiKey.OFFSET_COMMIT, silent="before")
        with pytest.raises(KafkaTimeoutError, match=r"commit did not finish in 0\.05 s"):
            consumer.commit({T0: 2}, timeout=0.05)
        assert kafka.committed(T0) == 1


# --------------------------------------------------------------------------------------------------------- commit_async


class Calls:
    """Callbacks that note when and where they were called."""

    def __init__(self) -> None:
        self.made: list[tuple[object, Offsets, Exception | None]] = []

    def named(self, name: object, error: Exception | None = None) -> Callable[[Offsets, Exception | None], None]:
        def on_done(offsets: Offsets, found: Exception | None) -> None:
            assert threading.current_thread() is threading.main_thread()
            self.made.append((name, offsets, found))
            if error is not None:
                raise error

        return on_done

    @property
    def names(self) -> list[object]:
        return [name for name, _, _ in self.made]


def test_callbacks_come_in_order_and_in_a_later_call(kafka: Kafka) -> None:
    calls = Calls()
    with kafka.consumer(T0, group_id="g") as consumer:
        for offset in range(5):
            consumer.commit_async({T0: offset}, on_done=calls.named(offset))
        until(lambda: kafka.committed(T0) == 4 and callbacks_due(consumer) >= 1 and not consumer._pump._calls)
        assert consumer.assignment == [T0]
        before = list(calls.names)  # by the calls of commit_async themselves; nothing was called by what only reads
        assert before == list(range(len(before)))
        consumer.pause()
        assert calls.names == [0, 1, 2, 3, 4]
        assert [offsets for _, offsets, _ in calls.made] == [{T0: OffsetAndMetadata(n)} for n in range(5)]
        assert {error for _, _, error in calls.made} == {None}


def test_callbacks_come_by_during_a_for(kafka: Kafka) -> None:
    """A run is as long as what is buffered: it ends when a callback is due."""
    kafka.append(*(str(n) for n in range(1000)))
    calls = Calls()
    with kafka.consumer(T0, group_id="g") as consumer:
        for record in consumer:
            if record.offset == 10:
                consumer.commit_async(on_done=calls.named("ten"))
                until(lambda: callbacks_due(consumer) == 1)
                assert calls.made == []
            elif record.offset == 11:
                assert [(name, error) for name, _, error in calls.made] == [("ten", None)]
                break
        assert calls.made[0][1] == {T0: OffsetAndMetadata(11, "", 0)}


def test_a_commit_calls_those_before_it(kafka: Kafka) -> None:
    """P9"""
    calls = Calls()
    with kafka.consumer(T0, group_id="g") as consumer:
        kafka.fault(api=ApiKey.OFFSET_COMMIT, delay=0.05)
        consumer.commit_async({T0: 1}, on_done=calls.named("async"))
        assert calls.made == []
        consumer.commit({T0: 2})
        assert calls.names == ["async"]
        consumer.commit_async({T0: 3}, on_done=calls.named("again"))
        consumer.commit()  # with nothing to send
        assert calls.names == ["async", "again"]


def test_it_is_not_tried_again_and_the_error_is_told(kafka: Kafka) -> None:
    """P8"""
    calls = Calls()
    with kafka.consumer(T0, group_id="g") as consumer:
        error = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        kafka.fault(api=ApiKey.OFFSET_COMMIT, error=error)
        consumer.commit_async({T0: 1}, on_done=calls.named("failed"))
        until(lambda: callbacks_due(consumer))
        consumer.pause()
        [(_, offsets, found)] = calls.made
        assert offsets == {T0: OffsetAndMetadata(1)}
        assert isinstance(found, CommitError)
        assert found.retriable
        assert kafka.committed(T0) is None


def test_an_error_that_nobody_is_told_is_logged(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    with kafka.consumer(T0, group_id="g") as consumer:
        error = ErrorCode.OFFSET_METADATA_TOO_LARGE
        kafka.fault(api=ApiKey.OFFSET_COMMIT, error=error)
        consumer.commit_async({T0: 1})
        until(lambda: "commit_async" in caplog.text)
        consumer.commit_async({T0: 2})
        until(lambda: kafka.committed(T0) == 2)
    assert caplog.text.count("commit_async") == 1


def test_what_is_left_is_called_by_close(kafka: Kafka) -> None:
    calls = Calls()
    with kafka.consumer(T0, group_id="g") as consumer:
        kafka.fault(api=ApiKey.OFFSET_COMMIT, delay=0.05)
        consumer.commit_async({T0: 1}, on_done=calls.named("one"))
        consumer.commit_async({T0: 2}, on_done=calls.named("two"))
        assert calls.made == []
    assert [(name, error) for name, _, error in calls.made] == [("one", None), ("two", None)]
    assert kafka.committed(T0) == 2


def test_what_has_no_answer_when_it_closes_has_failed(kafka: Kafka) -> None:
    calls = Calls()
    consumer = kafka.consumer(T0, group_id="g")
    kafka.fault(api=ApiKey.OFFSET_COMMIT, silent="before")
    consumer.commit_async({T0: 1}, on_done=calls.named("lost"))
    consumer.close(timeout=0.05)
    [(_, _, error)] = calls.made
    assert isinstance(error, ClosedError)


def test_what_a_callback_raises_comes_out_of_the_call(kafka: Kafka) -> None:
    calls = Calls()
    with kafka.consumer(T0, group_id="g") as consumer:
        consumer.commit_async({T0: 1}, on_done=calls.named("one", ZeroDivisionError()))
        consumer.commit_async({T0: 2}, on_done=calls.named("two"))
        until(lambda: kafka.committed(T0) == 2 and callbacks_due(consumer) == 2)
        with pytest.raises(ZeroDivisionError):
            consumer.seek(T0, 7)
        assert (calls.names, consumer.position(T0) != 7) == (["one"], True)  # the call itself was not made
        consumer.seek(T0, 7)
        assert (calls.names, consumer.position(T0)) == (["one", "two"], 7)


def test_a_callback_may_call_the_consumer(kafka: Kafka) -> None:
    kafka.append("a", "b")
    calls = Calls()
    with kafka.consumer(T0, group_id="g") as consumer:

        def on_done(offsets: Offsets, error: Exception | None) -> None:
            consumer.commit_async({T0: 9}, on_done=calls.named("inner"))
            consumer.commit({T0: 8})
            assert values(consumer.poll(5.0, 1)) == ["a"]
            assert calls.made == []  # one after the other
            calls.named("outer")(offsets, error)

        consumer.commit_async({T0: 1}, on_done=on_done)
        until(lambda: callbacks_due(consumer))
        consumer.pause([])
        assert calls.names == ["outer", "inner"]


def test_close_calls_all_whatever_they_raise(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls()
    consumer = kafka.consumer(T0, group_id="g")

    def closes(offsets: Offsets, error: Exception | None) -> None:
        calls.named("closes")(offsets, error)
        consumer.close()

    all_sent = threading.Event()
    kafka.fault(api=ApiKey.OFFSET_COMMIT, when=lambda header, request: all_sent.wait(PATIENCE), delay=0.001)
    for name, error in (("one", None), ("two", ValueError("two")), ("three", ValueError("three")), ("four", None)):
        consumer.commit_async({T0: 1}, on_done=calls.named(name, error))
    consumer.commit_async({T0: 2}, on_done=closes)
    all_sent.set()
    with pytest.raises(ValueError, match="two"):
        consumer.close()
    assert calls.names == ["one", "two", "three", "four", "closes"]
    assert "ValueError: three" in caplog.text
    assert kafka.committed(T0) == 2


# -------------------------------------------------------------------------------------------------------- automatically


def test_in_manual_mode_nothing_is_committed_by_itself(kafka: Kafka) -> None:
    kafka.append("a", "b")
    with kafka.consumer(T0, group_id="g", enable_auto_commit=False) as consumer:
        assert read(consumer, 2) == ["a", "b"]
        consumer.poll(0)
    assert kafka.committed(T0) is None


def test_an_exception_in_the_body_does_not_finish_the_record(kafka: Kafka) -> None:
    """Lesson 2"""
    kafka.append("a", "b", "c")

    def read_and_fail() -> None:
        with kafka.consumer(T0, group_id="g") as consumer:
            for record in consumer:
                if record.value == b"b":
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_and_fail()
    assert kafka.committed(T0) == 1
