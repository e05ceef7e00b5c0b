"""Waiting until there is enough for a batch, before any of it is taken: who gives up waiting has lost nothing."""

from __future__ import annotations

from dekaf_proto.consumer import FetchedRecords
from dekaf_proto.events import EndOfPartition, Failed
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup

TP = TopicPartition("t", 0)


def test_the_wait_is_over_when_so_many_records_are_there() -> None:
    setup = Setup(check=False, fetch_max_wait_ms=50)
    setup.assign()
    setup.append("a", "b")
    setup.run_for(1)
    waiting = setup.consumer.wait(setup.now, 10, records=5)
    started = setup.now
    setup.run_for(1)
    setup.append("c", "d")
    setup.run_for(1)
    assert not waiting.done
    setup.append("e")
    assert setup.result(waiting) is True
    assert setup.now - started < 3
    assert setup.consumer.position(TP) == 0  # nothing was taken


def test_it_is_over_when_the_time_is_up_with_whatever_is_there() -> None:
    setup = Setup(check=False)
    setup.assign()
    waiting = setup.consumer.wait(setup.now, 3, records=5)
    assert setup.result(waiting) is False
    setup.append("a")
    setup.run_for(1)
    waiting = setup.consumer.wait(setup.now, 3, records=5)
    started = setup.now
    assert setup.result(waiting) is True
    assert setup.now - started == 3


def test_what_is_handed_out_and_what_is_paused_does_not_count() -> None:
    setup = Setup({"t": 2}, check=False)
    setup.append("a", "b", "c")
    setup.append("d", "e", "f", partition=1)
    setup.assign()
    setup.run_for(1)
    assert setup.consumer.wait(setup.now, 1, records=6).done
    assert not setup.consumer.wait(setup.now, 1, records=7).done
    setup.read(2)
    assert not setup.consumer.wait(setup.now, 1, records=5).done
    setup.consumer.pause([TopicPartition("t", 1)], setup.now)
    assert not setup.consumer.wait(setup.now, 1, records=2).done
    assert setup.consumer.wait(setup.now, 1, records=1).done


def test_it_is_over_when_the_buffers_are_half_full() -> None:
    """More may never come, however long one waits."""
    setup = Setup(check=False, fetch_max_buffered_bytes=1_000_000)
    setup.append(*["x" * 1000] * 2000, per_batch=10)
    setup.assign()
    waiting = setup.consumer.wait(setup.now, 1000, records=1_000_000)
    started = setup.now
    assert setup.result(waiting) is True
    assert setup.now - started < 1


def test_it_is_over_when_an_error_or_the_end_comes() -> None:
    setup = Setup(check=False, auto_offset_reset="none")
    setup.append("a")
    setup.assign()
    waiting = setup.consumer.wait(setup.now, 1000, records=2)
    assert setup.result(waiting) is True
    assert isinstance(setup.poll(), Failed)
    setup.seek(0)
    bound = setup.result(setup.consumer.until_end(setup.now))
    started = setup.now
    assert setup.result(setup.consumer.wait(setup.now, 20, bound, records=2)) is True
    assert setup.now - started == 20
    setup.seek(1)
    waiting = setup.consumer.wait(setup.now, 1000, bound, records=2)
    assert waiting.done
    assert isinstance(setup.poll(bound), EndOfPartition)


def test_an_error_waits_for_the_next_batch() -> None:
    """Records that were taken already must be handed out first: an error raised instead would lose them."""
    setup = Setup({"t": 1, "u": 1}, check=False)
    setup.append("a")
    setup.assign()
    setup.run_for(1)
    run = setup.poll()
    assert isinstance(run, FetchedRecords)
    assert len(run.take(2)) == 1
    setup.consumer._partitions[TopicPartition("u", 0)].fail(ValueError("u is broken"))
    assert setup.consumer.poll(setup.now, more=True) is None
    output = setup.poll()
    assert isinstance(output, Failed)
    assert str(output.error) == "u is broken"
