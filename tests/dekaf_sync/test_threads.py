"""`wakeup`, Ctrl+C, and a second thread."""

from __future__ import annotations

import linecache
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest

from dekaf_proto.errors import ConcurrentUseError, KafkaError, WakeupError
from dekaf_proto.messages import ApiKey
from dekaf_sync import Batch, Consumer
from dekaf_sync._client import script_of
from tests.dekaf_sync.helpers import T0, T1, Kafka, in_thread, once, read, until, values, waits

# -------------------------------------------------------------------------------------------------------------- wakeup


WAITS: list[Callable[[Consumer[Any, Any]], object]] = [
    lambda consumer: consumer.poll(),
    lambda consumer: consumer.poll(60.0),
    lambda consumer: next(iter(consumer)),
    lambda consumer: next(consumer.batches()),
    lambda consumer: next(consumer.batches(max_wait=60.0)),
    lambda consumer: consumer.commit({T0: 1}),
    lambda consumer: consumer.end_offsets([T0]),
]
NAMES = ["poll", "poll for a time", "for", "batches", "batches that wait", "commit", "end_offsets"]


@pytest.fixture
def silent(kafka: Kafka) -> Iterator[Consumer[Any, Any]]:
    """A consumer of a broker that answers no commit and no question for offsets."""
    for api in (ApiKey.LIST_OFFSETS, ApiKey.OFFSET_COMMIT):
        kafka.fault(api=api, times=None, silent="before")
    with kafka.consumer(group_id="g", close_timeout_ms=100) as consumer:
        consumer.assign({T1: 0})
        yield consumer


@pytest.mark.parametrize("wait", WAITS, ids=NAMES)
def test_wakeup_ends_a_wait(silent: Consumer[Any, Any], wait: Callable[[Consumer[Any, Any]], object]) -> None:
    join = in_thread(lambda: once(lambda: waits(silent), silent.wakeup))
    with pytest.raises(WakeupError, match=r"woken up by wakeup\(\)"):
        wait(silent)
    join()
    assert not silent._pump._calls
    silent.pause()  # once only
    assert len(silent.poll(0)) == 0


def test_wakeup_reaches_the_next_call_that_may_wait(kafka: Kafka) -> None:
    kafka.append("a", "b")
    consumer = kafka.consumer()
    consumer.wakeup()
    consumer.wakeup()
    with consumer:
        consumer.assign([T0])
        consumer.seek(T0, 0)
        assert consumer.position(T0) == 0
        with pytest.raises(WakeupError):
            consumer.poll(5.0)
        assert values(consumer.poll(5.0)) == ["a", "b"]
        consumer.wakeup()


def test_wakeup_ends_a_loop_that_never_waits(kafka: Kafka) -> None:
    kafka.append(*map(str, range(1000)))
    with kafka.consumer(T0) as consumer:
        seen = []

        def loop() -> None:
            for record in consumer:
                seen.append(record.offset)
                if record.offset == 10:
                    consumer.wakeup()
                    until(lambda: not consumer._pump._posted and consumer._pump._interrupted)

        with pytest.raises(WakeupError):
            loop()
        assert seen == list(range(11))
        assert read(consumer, 1) == ["11"]
        consumer.wakeup()
        until(lambda: consumer._pump._interrupted)
        with pytest.raises(WakeupError):
            consumer.poll()


def test_wakeup_from_a_signal_handler(kafka: Kafka) -> None:
    with kafka.consumer(T0) as consumer, handler(signal.SIGUSR1, consumer.wakeup):
        join = in_thread(lambda: once(lambda: waits(consumer), lambda: os.kill(os.getpid(), signal.SIGUSR1)))
        with pytest.raises(WakeupError):
            consumer.poll()
        join()


def test_closing_in_a_signal_handler_ends_the_call_that_waits(kafka: Kafka) -> None:
    """Lesson 33"""
    with kafka.consumer(T0) as consumer, handler(signal.SIGUSR1, consumer.close):
        join = in_thread(lambda: once(lambda: waits(consumer), lambda: os.kill(os.getpid(), signal.SIGUSR1)))
        with pytest.raises(KafkaError, match="closed"):
            consumer.poll()
        join()


@contextmanager
def handler(number: signal.Signals, function: Callable[[], None]) -> Iterator[None]:
    before = signal.signal(number, lambda *_: function())
    try:
        yield
    finally:
        signal.signal(number, before)


# -------------------------------------------------------------------------------------------------------------- Ctrl+C


@pytest.mark.parametrize("wait", WAITS, ids=NAMES)
def test_ctrl_c_ends_a_wait(silent: Consumer[Any, Any], wait: Callable[[Consumer[Any, Any]], object]) -> None:
    """Lesson 34"""
    join = in_thread(lambda: once(lambda: waits(silent), lambda: os.kill(os.getpid(), signal.SIGINT)))
    with pytest.raises(KeyboardInterrupt):
        wait(silent)
    join()
    until(lambda: not silent._pump._calls)  # nothing goes on waiting in the background
    assert len(silent.poll(0)) == 0


def test_ctrl_c_ends_a_close_and_the_next_one_goes_on(silent: Consumer[Any, Any]) -> None:
    with suppress(KafkaError):
        silent.commit({T0: 1}, timeout=0.01)
    silent.commit_async({T0: 1})  # which close waits for
    join = in_thread(
        lambda: once(lambda: silent._engine._closing is not None, lambda: os.kill(os.getpid(), signal.SIGINT))
    )
    with pytest.raises(KeyboardInterrupt):
        silent.close(timeout=60.0)
    join()
    assert silent._pump._thread is not None
    silent._pump._stop = True  # sixty seconds are too long for a test
    silent._pump.tell(script_of(lambda now: None))
    silent.close()
    assert not silent._pump._thread.is_alive()


class Interrupter:
    """Raises KeyboardInterrupt in this thread at the n-th line that is run in the given files or `file.py:function`s.

    Lines are finer than what can happen: the interpreter looks for signals where a function begins, where a loop
    begins again and after a call of C code. So it does not where a `with` takes a lock, between the taking and the
    block or the block and the release, nor between a return and a yield: these lines are left out.
    """

    def __init__(self, at: int, *packages: str) -> None:
        self.at = at
        self.count = 0
        #: The line that it came on.
        self.line = ""
        self.packages = tuple(os.sep + name.replace("/", os.sep) for name in packages)

    def __enter__(self) -> Interrupter:
        self._before = sys.gettrace(), sys.unraisablehook
        sys.unraisablehook = lambda args: None  # it may come while a generator is being dropped
        sys.settrace(self._trace)
        return self

    def __exit__(self, *exc_info: object) -> None:
        trace, sys.unraisablehook = self._before
        sys.settrace(trace)

    @property
    def hit(self) -> bool:
        return self.count >= self.at

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if not any(name in f"{frame.f_code.co_filename}:{frame.f_code.co_name}" for name in self.packages):
            return None
        if frame.f_code.co_name == "__del__":
            return None  # where an exception would be lost
        return self._line

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        source = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and "yield " not in source and not ("with " in source and "lock" in source):
            self.count += 1
            if self.count == self.at:
                self.line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._line


#: Calls that are interrupted at each of their lines, with a consumer that has a record in hand.
CALLS: dict[str, Callable[[Consumer[Any, Any]], object]] = {
    "for": lambda consumer: read(consumer, 1),
    "poll": lambda consumer: consumer.poll(1.0, 2),
    "poll that waits": lambda consumer: consumer.poll(0.01) if consumer.paused else consumer.pause(),
    "batches": lambda consumer: next(consumer.batches(2, max_wait=0.001)),
    "records until the end": lambda consumer: next(consumer.records(until_end=True), None),
    "assign": lambda consumer: consumer.assign([T0, T1]),
    "incremental_assign": lambda consumer: consumer.incremental_assign([T1]),
    "assignment": lambda consumer: consumer.assignment,
    "position": lambda consumer: consumer.position(T0),
    "seek": lambda consumer: consumer.seek(T0, 1),
    "seek_to_timestamp": lambda consumer: consumer.seek_to_timestamp(1_700_000_000_000),
    "pause": lambda consumer: consumer.pause(),
    "commit": lambda consumer: consumer.commit({T0: 1}),
    "commit_async": lambda consumer: consumer.commit_async({T0: 1}, on_done=lambda offsets, error: None),
    "committed": lambda consumer: consumer.committed(T0),
    "topics": lambda consumer: consumer.topics(),
    "wakeup": lambda consumer: consumer.wakeup(),
    "metrics": lambda consumer: consumer.metrics(),
}


@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_at_every_line_of_a_call(kafka: Kafka, name: str) -> None:
    """The consumer can be used afterwards, by another thread too, and closed."""
    kafka.append(*map(str, range(2000)))
    with kafka.consumer(T0, group_id="g", enable_auto_commit=False) as consumer:
        read(consumer, 1)
        at, hit = 0, True
        while hit:
            at += 1
            with suppress(KeyboardInterrupt, WakeupError), Interrupter(at, "dekaf_sync/_") as interrupter:
                CALLS[name](consumer)
            hit = interrupter.hit
            assert consumer._holds == {}
            if name == "wakeup":
                with suppress(WakeupError):
                    consumer.poll(0)
            in_thread(lambda: consumer.resume())()
            if at % 10 == 0:
                assert read(consumer, 1) != []
        assert at > 2
        until(lambda: not consumer._pump._calls)


@pytest.mark.parametrize("way", ["close", "with"])
def test_ctrl_c_at_every_line_of_beginning_and_end(kafka: Kafka, way: str) -> None:
    """Whenever it comes, another `close` ends everything; what is left behind fails the test (see conftest)."""
    kafka.append("a", "b", "c")
    at, hit = 0, True
    while hit:
        at += 1
        consumer = kafka.consumer(group_id="g")
        with suppress(KeyboardInterrupt), Interrupter(at, "dekaf_sync/_") as interrupter:
            if way == "with":
                with consumer:
                    pass
            else:
                consumer.assign([T0])
                consumer.close()
        hit = interrupter.hit
        started = time.monotonic()
        consumer.close(timeout=5.0)
        assert time.monotonic() - started < 5.0
        assert consumer._pump._thread is None or not consumer._pump._thread.is_alive()
    assert at > 30


def test_ctrl_c_in_a_deserializer_loses_no_record(kafka: Kafka) -> None:
    """The one place where it may come in the middle of a batch when the core is compiled."""
    kafka.append("a", "b", "c")
    interrupt = ["b"]

    def deserialize(data: bytes) -> str:
        if data.decode() in interrupt:
            raise KeyboardInterrupt
        return data.decode()

    with Consumer(
        bootstrap_servers=kafka.bootstrap,
        auto_offset_reset="earliest",
        group_id="g",
        value_deserializer=deserialize,
    ) as consumer:
        consumer.assign([T0])
        with pytest.raises(KeyboardInterrupt):
            consumer.poll(5.0)
        with pytest.raises(KeyboardInterrupt):
            read(consumer, 2)
        interrupt.clear()
        assert [record.value for record in consumer.poll(5.0)] == ["b", "c"]
    assert kafka.committed(T0) == 1


def test_a_wait_for_nothing(kafka: Kafka) -> None:
    """The engine said that there was something, and then there is not: one waits on."""
    kafka.append("a")
    with kafka.consumer(T0) as consumer:
        poll, answers = consumer._engine.poll, [None, None]
        consumer._engine.__dict__["poll"] = lambda *args: answers.pop() if answers else poll(*args)
        assert values(next(consumer.batches())) == ["a"]


@pytest.mark.parametrize("way", ["poll", "batches"])
def test_ctrl_c_loses_no_record_and_finishes_none(kafka: Kafka, way: str) -> None:
    """At every line of taking a batch. Who was interrupted and goes on gets what was taken."""
    at, hit = 0, True
    while hit:
        at += 1
        topic = f"t{at}"
        kafka.create(topic)
        kafka.append(*"abcdefgh", topic=topic, per_batch=3)
        tp = T0._replace(topic=topic)
        got: list[list[str]] = []
        with kafka.consumer(tp, group_id="g", fetch_max_wait_ms=1) as consumer:
            got.append(values(consumer.poll(5.0, 2)))
            batches = consumer.batches(3)
            batch: Batch[Any, Any] = Batch()
            packages = ("dekaf_sync/_", "consumer/chunk.py:take", "consumer/batch.py")
            with suppress(KeyboardInterrupt), Interrupter(at, *packages) as interrupter:
                batch = consumer.poll(5.0, 3) if way == "poll" else next(batches)
            hit = interrupter.hit
            got.append(values(batch))
            while sum(map(len, got)) < 8:
                got.append(values(consumer.poll(5.0, 3)))
        assert [value for some in got for value in some] == list("abcdefgh")
        assert kafka.committed(tp) == 8 - len(got[-1])
    assert at > 20


# ------------------------------------------------------------------------------------------------------ a second thread


def refused(consumer: Consumer[Any, Any]) -> None:
    """A second thread is told at once, whatever it calls; except for what any may call."""
    for call in (
        consumer.poll,
        lambda: next(iter(consumer)),
        lambda: next(consumer.batches()),
        lambda: consumer.seek(T0, 0),
        lambda: consumer.position(T0),
        lambda: consumer.assignment,
        consumer.close,
    ):
        with pytest.raises(ConcurrentUseError, match=r"in use by another thread; acknowledge\(\), wakeup\(\)"):
            call()
    assert consumer.metrics().assigned_partitions == 1


def test_a_second_thread_is_refused_while_the_first_one_waits(kafka: Kafka) -> None:
    with kafka.consumer(T0) as consumer:

        def second() -> None:
            until(lambda: waits(consumer))
            refused(consumer)
            consumer.wakeup()

        join = in_thread(second)
        with pytest.raises(WakeupError):
            consumer.poll()
        join()


@pytest.mark.parametrize("way", ["for", "batches"])
def test_a_second_thread_is_refused_while_the_first_one_iterates(kafka: Kafka, way: str) -> None:
    kafka.append("a", "b", "c")
    with kafka.consumer(T0) as consumer:
        for _ in consumer if way == "for" else consumer.batches(1):
            in_thread(lambda: refused(consumer))()
            consumer.seek(T0, 1)  # the thread itself may
            break
        in_thread(lambda: read(consumer, 1))()  # one after the other is all right
        assert read(consumer, 1) == ["c"]
        kafka.append("d")
        forgotten = iter(consumer)
        assert next(forgotten).value == b"d"
        in_thread(lambda: refused(consumer))()
        del forgotten
        in_thread(consumer.close)()


def test_of_two_that_come_at_the_same_moment_one_is_refused(kafka: Kafka) -> None:
    """The other thread's mark appears between the look and one's own mark."""
    with kafka.consumer(T0) as consumer:

        class Holds(dict[int, int]):
            def __setitem__(self, key: int, value: int) -> None:
                super().__setitem__(-1, -1)
                super().__setitem__(key, value)

        consumer.__dict__["_holds"] = Holds()
        with pytest.raises(ConcurrentUseError):
            consumer.pause()
        assert list(consumer._holds) == [-1]
        consumer.__dict__["_holds"] = {}


def test_two_threads_at_full_speed(kafka: Kafka) -> None:
    """Each call works or is refused; nothing comes twice or is lost."""
    kafka.append(*map(str, range(3000)), per_batch=7)
    seen: list[int] = []
    with kafka.consumer(T0) as consumer:

        def reads() -> None:
            while len(seen) < 3000:
                with suppress(ConcurrentUseError):
                    seen.extend(record.offset for record in consumer.poll(0.01, 10))

        joins = [in_thread(reads) for _ in range(3)]
        for join in joins:
            join()
    assert sorted(seen) == list(range(3000))
