"""Beginning and end: the constructor, `with`, `close`, brokers that die, exit, forks, consumers that nobody closed."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dekaf_proto.errors
import dekaf_sync
from dekaf_proto.broker import Broker
from dekaf_proto.errors import (
    ClosedError,
    ConfigurationError,
    InternalError,
    KafkaError,
    KafkaTimeoutError,
)
from dekaf_proto.messages import ApiKey
from dekaf_sync import Consumer, _pump, _sockets
from dekaf_sync._client import script_of
from tests.broker_server import BrokerServer
from tests.dekaf_sync.helpers import T0, Kafka, in_thread, read, until, values, waits


def threads() -> list[str]:
    """Those of consumers: the broker has one too."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dekaf: Consumer")]


# ---------------------------------------------------------------------------------------------------------- beginning


def test_the_errors_are_those_of_the_core() -> None:
    import dekaf_sync.errors
    from dekaf_sync.errors import WakeupError

    assert dekaf_sync.errors is dekaf_proto.errors
    assert WakeupError is dekaf_proto.errors.WakeupError


def test_the_constructor_only_checks() -> None:
    consumer = Consumer(bootstrap_servers="localhost:1")
    assert threads() == []
    assert repr(consumer) == "<Consumer('localhost:1', group_id=None)>"
    assert consumer.assignment == []
    consumer.close()
    consumer.close()
    assert threads() == []


@pytest.mark.parametrize(
    "arguments, options, text",
    [
        (["orders"], {}, "group_id: must be given with topics; without a group, use assign"),
        ([], {"bootstrap_server": "x"}, "unknown option, did you mean bootstrap_servers"),
        ([], {"security_protocol": "SSL"}, "not yet supported"),
        ([], {"sasl_mechanism": "PLAIN"}, "not yet supported"),
        ([], {"enable_auto_commit": True}, "needs a group_id"),
        ([], {"config": {"group_id": "g"}, "fetch_min_bytes": 1}, "config must be a ConsumerConfig, not dict"),
    ],
)
def test_what_the_constructor_refuses(arguments: list[Any], options: dict[str, Any], text: str) -> None:
    with pytest.raises((ConfigurationError, TypeError), match=text):
        Consumer(*arguments, **{"bootstrap_servers": "localhost", **options})
    assert threads() == []


def test_with_begins_to_connect(kafka: Kafka) -> None:
    with kafka.consumer() as consumer:
        assert threads() == [f"dekaf: Consumer('{kafka.bootstrap}', group_id=None)"]
        until(lambda: consumer.metrics().connects)
    assert threads() == []
    with pytest.raises(ClosedError), consumer:
        pass


# ---------------------------------------------------------------------------------------------------------------- close


def test_close_is_there_for_everything(kafka: Kafka) -> None:
    consumer = kafka.consumer(T0)
    consumer.close()
    until(lambda: not kafka.call(lambda broker, now: broker.connections()))
    assert threads() == []
    assert consumer._engine.closed
    assert consumer._pump._sockets is not None
    assert consumer._pump._sockets._links == {}


def test_an_error_of_the_body_is_not_masked(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise OSError("from a callback")

    def commit_and_fail() -> None:
        with kafka.consumer(T0, group_id="g") as consumer:
            consumer.commit_async({T0: 1}, on_done=fail)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        commit_and_fail()
    assert "OSError: from a callback" in caplog.text
    with pytest.raises(OSError, match="from a callback"):
        commit_and_leave(kafka, fail)


def commit_and_leave(kafka: Kafka, on_done: Callable[..., object]) -> None:
    with kafka.consumer(T0, group_id="g") as consumer:
        consumer.commit_async({T0: 1}, on_done=on_done)


@pytest.mark.parametrize("reading", [False, True])
def test_close_is_bounded_when_a_broker_stands_still(kafka: Kafka, reading: bool) -> None:
    """Lesson 33"""
    kafka.append("a", "b")
    consumer = kafka.consumer(T0, group_id="g")
    if reading:
        assert read(consumer, 2) == ["a", "b"]
    kafka.call(lambda broker, now: broker.pause_node(0, now))
    started = time.monotonic()
    consumer.close(timeout=0.2)
    assert time.monotonic() - started < 0.2 + _pump.GRACE
    assert threads() == []
    kafka.call(lambda broker, now: broker.resume_node(0, now))


def test_close_is_bounded_when_nobody_listens() -> None:
    consumer = Consumer(bootstrap_servers=f"127.0.0.1:{closed_port()}", group_id="g")
    consumer.assign({T0: 3})
    consumer.commit_async({T0: 5})
    started = time.monotonic()
    consumer.close(timeout=0.1)
    assert time.monotonic() - started < 0.1 + _pump.GRACE
    assert threads() == []


def _wait(event: threading.Event) -> None:
    event.wait(20.0)


def test_close_gives_up_an_io_thread_that_does_not_answer(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_pump, "GRACE", 0.05)
    held = threading.Event()
    consumer = kafka.consumer(T0)
    consumer._pump.tell(script_of(lambda now: _wait(held)))
    consumer.close(timeout=0.05)
    assert "did not close in 0.05 s" in caplog.text
    assert "does not end" in caplog.text
    with pytest.raises(ClosedError):
        consumer.poll()
    held.set()
    until(lambda: threads() == [])
    consumer.close()


def test_a_call_that_comes_too_late_is_refused(kafka: Kafka) -> None:
    """It was posted when the thread had ended, or ends up there."""
    consumer = kafka.consumer(T0)
    consumer.close()
    with pytest.raises(ClosedError, match="is closed"):
        consumer._pump.call(script_of(lambda now: None))


# ------------------------------------------------------------------------------------------------- trouble with brokers


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def test_a_refused_connection_is_named() -> None:
    """Lesson 39"""
    address = f"127.0.0.1:{closed_port()}"
    with (
        Consumer(bootstrap_servers=address) as consumer,
        pytest.raises(KafkaTimeoutError, match=f"{address}.*[Cc]onnection refused"),
    ):
        consumer.topics(timeout=0.2)


def test_a_name_that_is_not_known_is_named() -> None:
    with Consumer(bootstrap_servers="no-such-host.invalid:9092") as consumer:
        until(lambda: consumer.metrics().failed_connects)
        with pytest.raises(KafkaTimeoutError) as caught:
            consumer.topics(timeout=0.1)
        assert "no-such-host.invalid" in str(caught.value)
        assert "not known" in str(caught.value) or "resolution" in str(caught.value) or "resolved" in str(caught.value)


def test_every_address_is_named_with_its_cause() -> None:
    one, two = f"127.0.0.1:{closed_port()}", "no-such-host.invalid"
    with Consumer(bootstrap_servers=[one, two]) as consumer:
        until(lambda: consumer.metrics().failed_connects >= 2)
        with pytest.raises(KafkaTimeoutError) as caught:
            consumer.topics(timeout=0.3)
    assert one in str(caught.value)
    assert two in str(caught.value)


def test_a_name_is_looked_up(kafka: Kafka) -> None:
    kafka.append("a")
    port = kafka.bootstrap.partition(":")[2]
    with Consumer(bootstrap_servers=f"localhost:{port}", auto_offset_reset="earliest") as consumer:
        consumer.assign([T0])
        assert values(consumer.poll(10.0)) == ["a"]


def test_a_broker_that_dies_and_comes_back(kafka: Kafka) -> None:
    kafka.append("a", "b")
    with kafka.consumer(T0, group_id="g") as consumer:
        assert read(consumer, 1) == ["a"]
        kafka.call(lambda broker, now: broker.stop_node(0, now))
        assert read(consumer, 1) == ["b"]
        assert len(consumer.poll(0.05)) == 0
        with pytest.raises(KafkaTimeoutError):
            consumer.commit(timeout=0.05)
        kafka.call(lambda broker, now: broker.start_node(0, now))
        kafka.append("c")
        assert read(consumer, 1) == ["c"]
        consumer.commit()
    assert kafka.committed(T0) == 3


def test_a_broker_that_is_gone_for_good() -> None:
    server = BrokerServer(Broker())
    with server as bootstrap:
        consumer = Kafka(server, bootstrap).consumer(T0, group_id="g")
        consumer.topics()
    assert len(consumer.poll(0.05)) == 0
    consumer.close(timeout=0.1)


# ---------------------------------------------------------------------------------------------------------------- crash


class CrashedError(Exception):
    pass


def crash(consumer: Consumer[Any, Any]) -> None:
    """Has the engine raise something that it must not raise."""

    def broken(now: float) -> None:
        raise CrashedError("a bug")

    consumer._engine.__dict__["handle_timeout"] = broken
    consumer._engine.__dict__["next_deadline"] = lambda: 0.0


def test_a_crash_reaches_who_waits_and_who_comes_later(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    consumer = kafka.consumer(T0, group_id="g")
    done: list[Exception | None] = []
    kafka.fault(api=ApiKey.OFFSET_COMMIT, silent="before")
    consumer.commit_async({T0: 1}, on_done=lambda offsets, error: done.append(error))

    def crashes() -> None:
        until(lambda: waits(consumer))
        crash(consumer)
        consumer._pump.post(lambda: None)  # wakes it; with a record the wait could end well first

    join = in_thread(crashes)
    with pytest.raises(InternalError, match=r"the I/O thread of Consumer.* has crashed.*a bug") as caught:
        consumer.poll()
    join()
    assert isinstance(caught.value.__cause__, CrashedError)
    assert "in broken" in "".join(traceback.format_exception(caught.value))  # where it was
    assert "has crashed" in caplog.text
    calls: list[Callable[[], object]] = [
        consumer.poll,
        consumer.topics,
        lambda: consumer.assign([T0]),
        lambda: consumer.position(T0),
        lambda: consumer.assignment,
    ]
    for call in calls:
        with pytest.raises(InternalError):
            call()
    until(lambda: threads() == [])
    with pytest.raises(InternalError):
        consumer.close()
    assert isinstance(done[0], InternalError)
    consumer.close()
    consumer.wakeup()


def test_a_crash_in_a_call_reaches_it(kafka: Kafka) -> None:
    def broken(*_: object) -> None:
        raise CrashedError

    consumer = kafka.consumer(T0)
    consumer._engine.__dict__["pause"] = broken
    with pytest.raises(InternalError):
        consumer.pause()
    with pytest.raises(ZeroDivisionError), consumer_that_is_closed_by_with(consumer):
        raise ZeroDivisionError


def consumer_that_is_closed_by_with(consumer: Consumer[Any, Any]) -> Any:
    class Closing:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *exc_info: Any) -> None:
            consumer.__exit__(*exc_info)

    return Closing()


def test_a_crash_while_it_closes(kafka: Kafka) -> None:
    def broken(*_: object) -> None:
        raise CrashedError

    consumer = kafka.consumer(T0)
    consumer._engine.__dict__["close"] = broken
    with pytest.raises(InternalError):
        consumer.close()
    assert threads() == []


def test_what_is_no_file_or_socket_any_more(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptors left: the I/O thread can't even begin."""

    def none_left() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(_sockets, "_Waker", none_left)
    consumer = Consumer(bootstrap_servers=kafka.bootstrap)
    with pytest.raises(InternalError, match="Too many open files"):
        consumer.topics()
    with pytest.raises(InternalError):
        consumer.close()


# ------------------------------------------------------------------------------------------------------- not closed


def test_a_forgotten_consumer_warns_and_ends(kafka: Kafka) -> None:
    kafka.append("a", "b")
    consumer = kafka.consumer(T0, group_id="g")
    assert read(consumer, 2) == ["a", "b"]
    gone = weakref.ref(consumer)
    with pytest.warns(ResourceWarning, match=r"unclosed Consumer\('127.0.0.1:\d+', group_id='g'\)"):
        del consumer
    assert gone() is None
    until(lambda: threads() == [])
    assert kafka.committed(T0) == 1  # closed as `close` does


def test_a_consumer_in_a_cycle_is_forgotten_too(kafka: Kafka) -> None:
    consumer = kafka.consumer(T0)
    consumer.__dict__["me"] = consumer
    del consumer
    with pytest.warns(ResourceWarning, match="unclosed Consumer"):
        gc.collect()


def test_one_that_was_never_used_or_never_made_does_not_warn() -> None:
    Consumer(bootstrap_servers="localhost")
    with pytest.raises(ConfigurationError):
        Consumer(bootstrap_servers="localhost", nonsense=1)  # type: ignore[call-overload]
    gc.collect()


def run_program(source: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own; it must end by itself."""
    root = str(Path(dekaf_sync.__file__).parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", source, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


READS = """
import sys
from dekaf_sync import Consumer, TopicPartition
consumer = Consumer(bootstrap_servers=sys.argv[1], group_id="g", auto_offset_reset="earliest")
consumer.assign([TopicPartition("t", 0)])
for record in consumer:
    if record.offset == 2:
        break
print("done")
"""


def test_at_exit_it_warns_and_closes(kafka: Kafka) -> None:
    kafka.append("a", "b", "c")
    done = run_program(READS, kafka.bootstrap)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "ResourceWarning: unclosed Consumer" in done.stderr
    assert "Traceback" not in done.stderr
    assert kafka.committed(T0) == 2


def test_at_exit_it_is_bounded(kafka: Kafka) -> None:
    kafka.append("a", "b", "c")
    program = READS + "from dekaf_sync import _pump\n_pump.EXIT_SECONDS = 0.2\nsys.stdin.read()"
    root = str(Path(dekaf_sync.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", program, kafka.bootstrap],
        env={**os.environ, "PYTHONPATH": root},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        kafka.call(lambda broker, now: broker.pause_node(0, now))
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20.0) == 0


def test_where_warnings_are_errors_all_are_closed_all_the_same(kafka: Kafka) -> None:
    kafka.append("a", "b", "c")
    program = READS + "other = Consumer(bootstrap_servers=sys.argv[1])\nother.topics()\n"
    done = run_program(program, kafka.bootstrap, PYTHONWARNINGS="error::ResourceWarning")
    assert "unclosed Consumer" in done.stderr
    assert kafka.committed(T0) == 2
    until(lambda: not kafka.call(lambda broker, now: broker.connections()))


def test_a_thread_that_waits_at_exit_is_told(kafka: Kafka) -> None:
    program = """
import sys, threading
from dekaf_sync import Consumer, TopicPartition, errors
consumer = Consumer(bootstrap_servers=sys.argv[1])
consumer.assign([TopicPartition("t", 0)])
def wait():
    try:
        consumer.poll()
    except errors.ClosedError:
        print("closed", flush=True)
threading.Thread(target=wait, daemon=True).start()
while not consumer._pump._calls:
    pass
"""
    done = run_program(program, kafka.bootstrap)
    assert done.returncode == 0
    assert done.stdout in ("closed\n", "")  # a daemon thread may be stopped before it can say so


def test_ctrl_c_in_a_program(kafka: Kafka) -> None:
    """As a user does it: the loop ends with a KeyboardInterrupt, the `with` closes."""
    kafka.append("a", "b")
    program = """
import sys
from dekaf_sync import Consumer, TopicPartition
with Consumer(bootstrap_servers=sys.argv[1], group_id="g", auto_offset_reset="earliest") as consumer:
    consumer.assign([TopicPartition("t", 0)])
    for record in consumer:
        print(record.offset, flush=True)
"""
    root = str(Path(dekaf_sync.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", program, kafka.bootstrap],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [process.stdout.readline() for _ in range(2)] == ["0\n", "1\n"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20.0) != 0
        told = process.stderr.read()
        assert "KeyboardInterrupt" in told
        assert "Warning" not in told
    assert kafka.committed(T0) in (1, 2)


@pytest.mark.parametrize("name", ["KafkaError", "Consumer", "Batch", "TopicPartitionOffset"])
def test_what_the_package_exports(name: str) -> None:
    assert name in dekaf_sync.__all__
    assert issubclass(dekaf_sync.KafkaError, KafkaError)
