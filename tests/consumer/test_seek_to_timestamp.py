"""`seek_to_timestamp` asks a broker first. What else happens to the partition meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dekaf_proto.broker import NewRecord
from dekaf_proto.messages import ApiKey
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import UNIX_OFFSET, Setup

T0 = TopicPartition("t", 0)
START = int((UNIX_OFFSET + 1000) * 1000)


def with_a_record_a_minute(**options: object) -> Setup:
    setup = Setup(**options)  # type: ignore[arg-type]
    records = [NewRecord(b"%d" % minute, timestamp=START + minute * 60_000) for minute in range(4)]
    setup.broker.append("t", 0, records, setup.now)
    return setup


@pytest.mark.parametrize("committed", [None, 1])
def test_it_wins_over_the_beginning_that_was_being_looked_for(committed: int | None) -> None:
    """Whether a committed offset or the reset: the program has sought after it was assigned (O7)."""
    setup = with_a_record_a_minute(group_id="g")
    if committed is not None:
        setup.broker.commit("g", {T0: committed})
    setup.assign()
    operation = setup.consumer.seek_to_timestamp(START + 120_000, setup.now)
    setup.result(operation)
    assert setup.consumer.position(T0) == 2
    assert setup.values(1) == ["2"]


def assign_anew(setup: Setup) -> None:
    setup.assign([])
    setup.assign()


SEEKS: list[Callable[[Setup], None]] = [
    lambda setup: setup.seek(1),
    lambda setup: setup.consumer.seek_to_beginning(None, setup.now),
    lambda setup: setup.consumer.seek_to_end(None, setup.now),
    lambda setup: setup.consumer.seek_to_committed(None, setup.now),
    lambda setup: setup.assign({T0: 1}),
    assign_anew,
]


@pytest.mark.parametrize("seek", SEEKS)
def test_a_seek_that_comes_later_wins_over_it(seek: Callable[[Setup], None]) -> None:
    setup = with_a_record_a_minute(group_id="g")
    setup.assign()
    setup.read(1)
    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, delay=1.0)
    operation = setup.consumer.seek_to_timestamp(START + 120_000, setup.now)
    setup.run_for(0.5)
    seek(setup)
    setup.result(operation)
    assert setup.consumer.position(T0) != 2
    setup.run_for(2.0)
    assert setup.consumer.position(T0) != 2


def test_of_two_the_later_one_wins() -> None:
    setup = with_a_record_a_minute()
    setup.assign()
    setup.read(1)
    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, delay=1.0)
    first = setup.consumer.seek_to_timestamp(START + 60_000, setup.now)
    second = setup.consumer.seek_to_timestamp(START + 120_000, setup.now)
    setup.result(first)
    setup.result(second)
    assert setup.consumer.position(T0) == 2


def test_a_task_that_waits_for_records_meanwhile_gets_them() -> None:
    setup = with_a_record_a_minute()
    setup.assign()
    setup.read(4)
    assert setup.poll() is None
    waiting = setup.consumer.wait(setup.now)
    setup.run_for(2.0)  # the broker is asked the same again and again
    setup.consumer.seek_to_timestamp(START + 120_000, setup.now)
    assert setup.result(waiting, limit=2.0)
    assert setup.values(2) == ["2", "3"]
