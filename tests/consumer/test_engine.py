"""The surface of the engine: inputs, deadlines, waiting and polling, operations, determinism. In virtual time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from dekaf_proto.consumer import Bound, FetchedRecords
from dekaf_proto.errors import (
    CommitError,
    ErrorCode,
    FrameError,
    NotAssignedError,
    TopicAuthorizationError,
)
from dekaf_proto.events import Address, EndOfPartition, Failed
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.types import OffsetAndTimestamp, TopicPartition
from tests.consumer.helpers import UNIX_OFFSET, Setup

TP, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)


# --------------------------------------------------------------------------------------------------------------- inputs


def test_nothing_happens_before_the_first_call() -> None:
    setup = Setup()
    consumer = setup.consumer
    assert consumer.effects() == []
    assert consumer.next_deadline() is None
    assert consumer.assignment == []
    assert not consumer.closed
    setup.run_for(10.0)
    assert not setup.broker.requests
    consumer.handle_timeout(setup.now)
    assert consumer.effects() == []


def test_stale_handles_are_ignored() -> None:
    setup = Setup()
    setup.assign()
    setup.until_fetching()
    consumer, now = setup.consumer, setup.now
    for handle in (-1, 0, 1, 55):
        consumer.resolved(handle, [Address("10.0.0.1", 1)], now)
        consumer.resolve_failed(handle, "no", now)
        consumer.connected(handle, now)
        consumer.connect_failed(handle, "no", now)
        consumer.receive_data(handle, b"\xff\xff\xff\xff", now)
        consumer.disconnected(handle, "gone", now)
    assert consumer.effects() == []
    setup.append("a")
    assert setup.values(1) == ["a"]


def test_bytes_that_make_no_sense_never_raise() -> None:
    random = Random(1)
    setup = Setup(nodes=2, max_chunk=50)
    setup.append(*[str(number) for number in range(100)], per_batch=3)

    def junk(request: object, response: Any) -> Any:
        return response

    for _ in range(40):
        setup.broker.faults.add(
            api=random.choice([None, ApiKey.FETCH, ApiKey.METADATA, ApiKey.LIST_OFFSETS]),
            reply=random.randbytes(random.randrange(40)) if random.random() < 0.5 else b"HTTP/1.1 400 Bad Request\r\n",
            alter=junk,
        )
    setup.assign()
    found: list[str] = []
    errors: list[Exception] = []
    while len(found) < 100:
        try:
            found += setup.values(1, limit=200.0)
        except FrameError as error:
            errors.append(error)
        except Exception as error:  # what else is told is about bytes, too
            errors.append(error)
    assert found == [str(number) for number in range(100)]


def test_a_broker_that_talks_nonsense_is_told() -> None:
    setup = Setup(check=False)
    setup.broker.faults.add(api=ApiKey.METADATA, reply=b"HTTP/1.1 400 Bad Request\r\n", times=2)
    setup.assign()
    assert isinstance(setup.failure(), FrameError)
    setup.append("a")
    assert setup.values(1) == ["a"]


def test_unix_time_can_be_corrected() -> None:
    setup = Setup(auto_offset_reset="by_duration:PT1H")
    setup.append("a", "b")
    setup.consumer.set_unix_offset(UNIX_OFFSET + 7200.0, setup.now)
    setup.assign()
    setup.until_fetching()
    assert setup.consumer.position(TP) == 2  # an hour before then the log had nothing
    setup.consumer.set_unix_offset(UNIX_OFFSET, setup.now)
    setup.assign([])
    setup.assign()
    assert setup.values(1) == ["a"]


# ------------------------------------------------------------------------------------------------------------ deadlines


def deadlines(setup: Setup, seconds: float) -> int:
    """How often the engine is woken in this time."""
    woken = [0]
    original = setup.consumer.handle_timeout

    def handle_timeout(now: float) -> None:
        woken[0] += 1
        original(now)
        deadline = setup.consumer.next_deadline()
        assert deadline is None or deadline > now, "a deadline stays in the past"

    setup.consumer.handle_timeout = handle_timeout  # type: ignore[method-assign]
    setup.run_for(seconds)
    setup.consumer.handle_timeout = original  # type: ignore[method-assign]
    return woken[0]


def idle(setup: Setup) -> None:
    setup.assign()


def paused(setup: Setup) -> None:
    setup.assign()
    setup.consumer.pause(None, setup.now)


def unassigned(setup: Setup) -> None:
    setup.assign()
    setup.run_for(7.0)
    setup.assign([])


def full(setup: Setup) -> None:
    setup.append("x" * 2000, "y" * 2000, "z" * 2000, per_batch=1)
    setup.assign()


def brokers_gone(setup: Setup) -> None:
    setup.assign()
    setup.until_fetching()
    setup.broker.stop_node(0, setup.now)


def brokers_silent(setup: Setup) -> None:
    setup.assign()
    setup.until_fetching()
    setup.network.block(0)


def failed(setup: Setup) -> None:
    setup.broker.faults.add(api=ApiKey.FETCH, error=ErrorCode.INVALID_REQUEST)
    setup.assign()
    setup.failure()


def no_topic(setup: Setup) -> None:
    setup.assign([TopicPartition("missing", 0)])


@pytest.mark.parametrize("state", [idle, paused, unassigned, full, brokers_gone, brokers_silent, failed, no_topic])
@pytest.mark.parametrize("backoff", [None, 0])
def test_no_state_keeps_the_processor_busy(state: Callable[[Setup], None], backoff: int | None) -> None:  # lesson 30
    options: dict[str, Any] = {}
    if backoff is not None:
        options = dict.fromkeys(["retry_backoff_ms", "retry_backoff_max_ms"], backoff)
        options.update(reconnect_backoff_ms=backoff, reconnect_backoff_max_ms=backoff)
    small: dict[str, Any] = {"fetch_max_buffered_bytes": 2_000, "fetch_max_bytes": 1_000}
    setup = Setup(group_id="g", busy=100_000, check=False, **small, **options)
    state(setup)
    setup.run_for(1.0)
    # Without any back-off it is a millisecond, so that other things are done as well.
    assert deadlines(setup, 10.0 if backoff is None else 0.5) <= (60 if backoff is None else 1_500)


# ------------------------------------------------------------------------------------------------------- wait and poll


def test_wait_until_there_is_something() -> None:
    setup = Setup()
    setup.assign()
    operation = setup.consumer.wait(setup.now)
    setup.run_for(100.0)
    assert not operation.done
    setup.append("a")
    assert setup.result(operation) is True
    again = setup.consumer.wait(setup.now)
    assert again.done  # there still is
    run = setup.consumer.poll(setup.now)
    assert isinstance(run, FetchedRecords)
    assert [record.value for record in run] == [b"a"]


@pytest.mark.parametrize("timeout", [0.0, 0.25, 3.0])
def test_wait_is_over_when_the_time_is_up(timeout: float) -> None:
    setup = Setup()
    setup.assign()
    began = setup.now
    assert setup.result(setup.consumer.wait(setup.now, timeout)) is False
    assert setup.now - began == pytest.approx(timeout)
    assert setup.consumer.poll(setup.now) is None


def test_wait_is_over_when_there_is_an_error() -> None:
    setup = Setup()
    setup.broker.faults.add(api=ApiKey.METADATA, topic="t", error=ErrorCode.TOPIC_AUTHORIZATION_FAILED, times=1)
    setup.assign()
    assert setup.result(setup.consumer.wait(setup.now, 5.0)) is True
    output = setup.consumer.poll(setup.now)
    assert isinstance(output, Failed)
    assert isinstance(output.error, TopicAuthorizationError)
    assert output.partitions == (TP,)


def test_waits_that_are_given_up_leave_nothing_behind() -> None:  # lesson 32
    setup = Setup()
    setup.assign()
    setup.until_fetching()
    for _ in range(2000):
        setup.consumer.wait(setup.now, 30.0).cancel()
        assert setup.consumer.poll(setup.now) is None
    runner = setup.consumer._client.runner
    assert len(runner._roots) <= 2
    assert len(runner._waiting) <= 2
    assert setup.consumer.effects() == []


def test_until_the_end_as_it_was() -> None:
    setup = Setup({"t": 2})
    setup.append("a", "b")
    setup.append("x", partition=1)
    setup.assign()
    bound = setup.result(setup.consumer.until_end(setup.now))
    setup.append("c")  # too late
    found = [setup.next(bound=bound).value for _ in range(3)]
    with pytest.raises(StopIteration):
        setup.next(bound=bound)
    assert sorted(found) == [b"a", b"b", b"x"]
    assert setup.consumer.poll(setup.now, bound) == EndOfPartition()
    assert setup.values(1) == ["c"]


def test_until_the_end_of_nothing() -> None:
    setup = Setup()
    bound = setup.result(setup.consumer.until_end(setup.now))
    assert isinstance(bound, Bound)
    assert setup.consumer.poll(setup.now, bound) == EndOfPartition()


def test_poll_for_more_of_the_same_batch_leaves_errors_for_the_next() -> None:
    setup = Setup({"t": 1, "u": 1}, group_id="g")
    setup.append("a")
    setup.assign([TP])
    setup.run_until(lambda: setup.consumer._handout.has_next(None))
    run = setup.consumer.poll(setup.now)
    assert isinstance(run, FetchedRecords)
    assert len(run.take(5)) == 1
    setup.broker.faults.add(api=ApiKey.METADATA, topic="u", error=ErrorCode.TOPIC_AUTHORIZATION_FAILED, times=None)
    setup.consumer.incremental_assign([TopicPartition("u", 0)], setup.now)
    setup.run_for(1.0)
    assert setup.consumer.poll(setup.now, more=True) is None
    assert setup.consumer._partitions[TP].finished == 0
    assert isinstance(setup.consumer.poll(setup.now), Failed)
    assert setup.consumer._partitions[TP].finished == 1


# ----------------------------------------------------------------------------------------------------------- assignment


def test_assign_keeps_what_is_assigned_already() -> None:
    setup = Setup({"t": 3})
    for partition in range(3):
        setup.append("a", "b", partition=partition)
    setup.assign([TP])
    assert setup.values(1) == ["a"]
    setup.assign([TP, OTHER])
    assert setup.consumer.assignment == [TP, OTHER]
    assert setup.consumer.position(TP) == 1
    setup.assign({OTHER: 1})
    assert setup.consumer.assignment == [OTHER]
    assert setup.values(1) == ["b"]
    setup.consumer.incremental_assign([TP], setup.now)
    setup.consumer.incremental_unassign([OTHER], setup.now)
    assert setup.consumer.assignment == [TP]
    with pytest.raises(NotAssignedError, match="t-1"):
        setup.consumer.incremental_unassign([TP, OTHER], setup.now)
    assert setup.consumer.assignment == [TP]


def test_a_partition_that_comes_later_does_not_wait_for_anything_else() -> None:
    """Its topic is known, nothing is on its way, and there is no group: nobody but the engine itself can go on."""
    setup = Setup({"t": 2})
    setup.append("x", partition=1)
    setup.assign([TP])
    setup.until_fetching()
    setup.consumer.pause(TP, setup.now)
    setup.run_for(2.0)
    setup.consumer.incremental_assign([OTHER], setup.now)
    began = setup.now
    assert setup.values(1) == ["x"]
    assert setup.now - began < 0.1


def test_what_is_not_assigned_has_no_position() -> None:
    setup = Setup()
    consumer = setup.consumer
    calls: list[Callable[[], object]] = [
        lambda: consumer.position(TP),
        lambda: consumer.lag(TP),
        lambda: consumer.highwater(TP),
        lambda: consumer.seek(TP, 0, setup.now),
        lambda: consumer.pause(TP, setup.now),
        lambda: consumer.resume(TP, setup.now),
        lambda: consumer.seek_to_beginning(TP, setup.now),
        lambda: consumer.seek_to_end([TP], setup.now),
        lambda: consumer.seek_to_timestamp({TP: 1_700_000_000_000}, setup.now),
        lambda: consumer.incremental_unassign(TP, setup.now),
    ]
    for call in calls:
        with pytest.raises(NotAssignedError, match="t-0 is not assigned"):
            call()
    assert setup.result(consumer.seek_to_timestamp(1_700_000_000_000, setup.now)) is None


def test_lag_and_highwater() -> None:
    setup = Setup()
    setup.append("a", "b", "c")
    setup.assign()
    assert (setup.consumer.highwater(TP), setup.consumer.lag(TP), setup.consumer.position(TP)) == (None, None, None)
    setup.next()
    assert (setup.consumer.highwater(TP), setup.consumer.lag(TP), setup.consumer.position(TP)) == (3, 2, 1)


def test_the_end_is_known_again_after_a_new_assignment() -> None:
    """Though in its session the broker has told it, and would not tell it again."""
    setup = Setup({"t": 2})
    setup.append("a", "b")
    setup.assign()
    setup.read(2)
    setup.poll()
    setup.run_for(3.0)
    setup.consumer.incremental_unassign(TP, setup.now)
    setup.consumer.incremental_assign({TP: 2}, setup.now)
    setup.run_for(3.0)
    assert (setup.consumer.highwater(TP), setup.consumer.lag(TP)) == (2, 0)
    before = len(setup.fetches())
    setup.run_for(10.0)
    assert all(not request.topics for request in setup.fetches()[before:])  # and the session goes on


def test_pause_and_resume() -> None:
    setup = Setup({"t": 2}, group_id="g")
    setup.assign()
    setup.consumer.pause([TP], setup.now)
    assert setup.consumer.paused == [TP]
    setup.append("a")
    setup.append("x", partition=1)
    assert setup.values(1) == ["x"]
    setup.consumer.pause(None, setup.now)
    assert setup.consumer.paused == [TP, OTHER]
    setup.consumer.resume(None, setup.now)
    assert setup.values(1) == ["a"]


def test_seeks() -> None:
    setup = Setup(group_id="g", enable_auto_commit=False)
    setup.append("a", "b", "c")
    setup.broker.commit("g", {TP: 1})
    setup.assign()
    assert setup.values(1) == ["b"]
    setup.consumer.seek_to_beginning(None, setup.now)
    assert setup.values(1) == ["a"]
    setup.consumer.seek_to_end(TP, setup.now)
    setup.until_fetching()
    assert setup.consumer.position(TP) == 3
    setup.consumer.seek_to_committed(None, setup.now)
    assert setup.values(1) == ["b"]
    setup.result(setup.consumer.seek_to_timestamp(round((setup.now + UNIX_OFFSET) * 1000) - 60_000, setup.now))
    assert setup.values(1) == ["a"]
    setup.seek(OffsetAndTimestamp(2, 0, 0))
    assert setup.values(1) == ["c"]


# -------------------------------------------------------------------------------------------------------------- metrics


def test_metrics() -> None:
    setup = Setup({"t": 2}, group_id="g", enable_auto_commit=False)
    empty = setup.consumer.metrics()
    assert (empty.fetch_latency, empty.commit_latency, empty.lag) == (None, None, {})
    setup.append("a", "b", "c")
    setup.assign()
    setup.read(2)
    setup.result(setup.consumer.commit(None, setup.now))
    setup.broker.faults.add(api=ApiKey.OFFSET_COMMIT, error=ErrorCode.OFFSET_METADATA_TOO_LARGE)
    with pytest.raises(CommitError):
        setup.result(setup.consumer.commit({TP: 1}, setup.now))
    setup.read(1)
    setup.poll()
    setup.network.cut()
    setup.run_for(5.0)
    found = setup.consumer.metrics()
    assert found.assigned_partitions == 2
    assert found.lag == {TP: 0, OTHER: 0}
    assert found.records == 3
    assert found.buffered_bytes == 0
    assert found.fetches >= 8
    assert found.fetch_latency is not None
    assert 0.3 <= found.fetch_latency <= 0.6
    assert found.commits >= 1
    assert found.failed_commits == 1
    assert found.commit_latency is not None
    assert found.connects > found.reconnects >= 2
    assert found.failed_connects == 0
    assert found.requests >= 10
    assert found.bytes_received > 500
    assert found.bytes_sent > 500


# ---------------------------------------------------------------------------------------------------------- determinism


def trace(seed: int) -> bytes:
    """All that an engine asks for in an eventful half-minute."""
    setup = Setup(
        {"t": 3, "u": 2}, nodes=3, seed=seed, group_id="g", jitter=0.01, max_chunk=200, busy=10_000,
        auto_commit_interval_ms=700, check=False,
    )  # fmt: skip
    written: list[bytes] = []
    original = setup.consumer.effects

    def effects() -> Any:
        found = original()
        written.extend(f"{setup.now!r} {effect!r}\n".encode() for effect in found)
        return found

    setup.consumer.effects = effects  # type: ignore[method-assign]
    random = Random(seed)
    setup.assign()
    for step in range(25):
        setup.append(f"{step}", topic=random.choice("tu"), partition=random.randrange(2))
        setup.run_for(random.random() * 2)
        what = random.randrange(8)
        if what == 0:
            setup.network.cut(node=random.randrange(3))
        elif what == 1:
            setup.broker.move_leader("t", random.randrange(3), random.randrange(3))
        elif what == 2:
            setup.broker.move_coordinator("g", random.randrange(3))
        elif what == 3:
            setup.consumer.end_offsets([TP, TopicPartition("u", 1)], setup.now)
        elif what == 4:
            setup.consumer.seek_to_beginning([TopicPartition("u", 0)], setup.now)
        setup.poll()
        for record in setup.run or ():
            written.append(f"{record!r}\n".encode())
    setup.close()
    return b"".join(written)


def test_the_same_inputs_the_same_effects_byte_for_byte() -> None:
    traces = []
    for hash_seed in ("0", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", "import sys; from tests.consumer.test_engine import trace; "
             "sys.stdout.buffer.write(trace(5))"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            timeout=120,
            check=True,
        )  # fmt: skip
        traces.append(done.stdout)
    assert traces[0] == traces[1] == trace(5)
    assert traces[0].count(b"Send(") > 100
    assert trace(6) != traces[0]


def test_a_broker_that_throttles_is_left_alone() -> None:  # W31
    setup = Setup({"t": 2}, nodes=2)
    setup.assign()
    setup.until_fetching()
    fault = setup.broker.faults.add(api=ApiKey.FETCH, node=0, throttle_time_ms=5_000)
    setup.run_until(lambda: fault.hits)
    setup.append("a")  # in the answer that says so
    assert setup.values(1) == ["a"]
    setup.append("b")
    setup.append("x", partition=1)
    began, before = setup.now, len(setup.fetches(0))
    assert setup.values(2) == ["x", "b"]
    assert 4.9 <= setup.now - began <= 5.1
    assert len(setup.fetches(0)) <= before + 2


def test_fetches_go_on_while_the_application_works() -> None:  # F22
    setup = Setup()
    setup.append("a")
    setup.assign()
    setup.next()
    before = len(setup.requests(FetchRequest))
    setup.run_for(0.01)
    assert len(setup.requests(FetchRequest)) > before - 1
    assert setup.consumer._fetcher.is_fetching(TP)
