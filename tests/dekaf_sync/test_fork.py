"""A process that forks while its I/O thread runs: the child is refused, the parent goes on.

.ci/run has these apart from the tests whose coverage is measured: coverage locks its data now and then, and a child
that inherits the lock from another thread would wait for ever.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from dekaf_proto.errors import ForkedError
from dekaf_sync import Consumer, EmbeddedBroker, _pump
from dekaf_sync._client import script_of
from tests.dekaf_sync.helpers import T0, Kafka, read, replay

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # of Python 3.12 and later: it has threads
]

Call = Callable[[], None]
InChild = Callable[[Call], None]


@pytest.fixture
def in_child() -> InChild:
    """Runs a function in a forked process; its exception fails the test."""

    def run(function: Call) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            try:
                function()
                os.write(writer, b"fine")
            except BaseException:
                os.write(writer, traceback.format_exc().encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read()
        os.waitpid(pid, 0)
        assert told == b"fine", told.decode()

    return run


def test_after_a_fork_the_child_is_refused_and_the_parent_goes_on(kafka: Kafka, in_child: InChild) -> None:
    kafka.append("a", "b", "c")
    with kafka.consumer(T0, group_id="g") as consumer:
        records = iter(consumer)
        assert next(records).value == b"a"

        def child() -> None:
            calls: list[Callable[[], object]] = [
                lambda: next(records),  # the rest of what is in hand too
                consumer.poll,
                consumer.topics,
                consumer.metrics,
                consumer.wakeup,
                lambda: consumer.position(T0),
                lambda: consumer.assign([T0]),
            ]
            for call in calls:
                with pytest.raises(ForkedError, match="belongs to the process that was forked"):
                    call()
            consumer.close()
            consumer.__exit__(None, None, None)
            assert not _pump._running
            _pump._close_all()
            consumer.__del__()

        in_child(child)
        assert next(records).value == b"b"
        assert consumer.topics() == ["t"]
    assert kafka.committed(T0) == 1


def test_what_a_copy_refuses(kafka: Kafka) -> None:
    """The same in one process, where it can be seen which lines are run."""
    with kafka.consumer(T0) as consumer:
        consumer._pump.forked = True
        for call in (consumer.metrics, consumer.wakeup, consumer.poll):
            with pytest.raises(ForkedError):
                call()
        consumer.close()
        assert consumer._pump.abandon(0) is False
        consumer._pump.forked = False
        assert consumer.topics() == ["t"]


def test_the_child_closes_what_it_has_inherited(kafka: Kafka, in_child: InChild) -> None:
    """Else the broker would see the connections end only with the child."""
    with kafka.consumer(T0) as consumer:
        consumer.topics()
        owner = consumer._pump._sockets
        assert owner is not None
        sockets = [link.sock for link in owner._links.values()] + [owner._waker.receiver, owner._waker._sender]
        assert len(sockets) > 2

        def child() -> None:
            assert [sock.fileno() for sock in sockets] == [-1] * len(sockets)

        in_child(child)


def test_a_fork_at_a_bad_moment(kafka: Kafka, in_child: InChild) -> None:
    """The I/O thread holds its locks, and is in the middle of a change."""
    with kafka.consumer(T0) as consumer:
        held, go_on = threading.Event(), threading.Event()

        def hold(now: float) -> None:
            assert consumer._pump._sockets is not None
            with consumer._pump._sockets._waker._lock:
                held.set()
                go_on.wait(20.0)

        consumer._pump.tell(script_of(hold))
        assert held.wait(20.0)

        def child() -> None:
            with pytest.raises(ForkedError):
                consumer.position(T0)
            consumer.close()

        in_child(child)
        go_on.set()
        assert consumer.position(T0) in (None, 0)


def test_one_that_was_not_used_before_the_fork_works(kafka: Kafka, in_child: InChild) -> None:
    kafka.append("a")
    consumer = Consumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")

    def child() -> None:
        with consumer:
            consumer.assign([T0])
            assert read(consumer, 1) == ["a"]

    in_child(child)
    child()


def test_a_fork_leaves_the_recording_to_the_parent(kafka: Kafka, tmp_path: Path, in_child: InChild) -> None:
    path = tmp_path / "trace.jsonl"
    kafka.append("a", "b")
    with kafka.consumer(T0, trace=path) as consumer:
        assert next(iter(consumer)).value == b"a"

        def child() -> None:
            with pytest.raises(ForkedError):
                consumer.topics()
            consumer.close()

        reader = threading.Thread(target=lambda: [consumer.metrics() for _ in range(200)])
        reader.start()
        in_child(child)
        reader.join()
        assert next(iter(consumer)).value == b"b"
    replay(path)


def test_a_fork_has_no_broker() -> None:
    with EmbeddedBroker() as broker:
        child = os.fork()
        if child == 0:
            try:
                _ = broker.nodes
            except ForkedError:
                broker.stop()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert broker.nodes == [0]
