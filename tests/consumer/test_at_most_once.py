"""At most once: what is given has been committed before, and what was not given is taken back where there is time."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.errors import CommitError, ErrorCode, KafkaTimeoutError
from dekaf_proto.events import PartitionsRevoked
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.offset_commit import OffsetCommitRequest
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import T0, T1, Setup

COMMIT = ApiKey.OFFSET_COMMIT


def make(partitions: int = 1, **options: Any) -> Setup:
    setup = Setup({"t": partitions}, **{"group_id": "g", "delivery": "at_most_once", "max_poll_records": 2, **options})
    for partition in range(partitions):
        setup.append(*[f"{partition}{letter}" for letter in "abcde"], partition=partition)
    return setup


def stored(setup: Setup, partition: int = 0) -> int | None:
    found = setup.broker.committed("g").get(TopicPartition("t", partition))
    return None if found is None else found.offset


def test_records_are_committed_before_they_are_given() -> None:
    setup = make()
    setup.assign()
    seen = []
    for _ in range(5):
        record = setup.next()
        committed = stored(setup)
        assert committed is not None
        assert committed > record.offset
        seen.append((record.offset, committed))
    assert seen == [(0, 2), (1, 2), (2, 4), (3, 4), (4, 5)]


@pytest.mark.parametrize("answer", [{"delay": 3.0}, {"silent": "after"}, {"drop": "after"}])
def test_nothing_is_given_before_its_commit_is_confirmed(answer: dict[str, Any]) -> None:
    """The coordinator has stored the offset, and has not said so yet: another one may not know of it."""
    setup = make(request_timeout_ms=3_000, retry_backoff_ms=1_000)
    setup.assign()
    assert setup.values(2) == ["0a", "0b"]
    setup.broker.faults.add(api=COMMIT, **answer)
    assert setup.poll() is None
    setup.run_until(lambda: stored(setup) == 4)
    setup.run_for(0.5)
    assert setup.poll() is None
    assert setup.partition().position == 2
    assert setup.values(1) == ["0c"]
    assert stored(setup) == 4


@pytest.mark.parametrize("read", [0, 1, 2])
def test_what_is_unassigned_while_its_commit_is_on_its_way_is_taken_back(read: int) -> None:
    setup = make()
    setup.assign()
    assert setup.values(read) == ["0a", "0b"][:read]
    setup.broker.faults.add(api=COMMIT, delay=1.0, times=2)
    setup.poll()
    setup.run_for(0.5)
    setup.consumer.assign([], setup.now)
    setup.run_for(10)
    assert stored(setup) == read


def test_record_by_record() -> None:
    setup = make(max_poll_records=1)
    setup.assign()
    for offset in range(5):
        assert setup.next().offset == offset
        assert stored(setup) == offset + 1


def test_several_partitions_share_the_number() -> None:
    setup = make(2, max_poll_records=7)
    setup.assign()
    setup.until_fetching()
    assert len(setup.values(7)) == 7
    assert (stored(setup, 0), stored(setup, 1)) == (5, 2)
    assert len(setup.values(3)) == 3


def test_a_crash_loses_what_was_not_given_and_repeats_nothing() -> None:
    setup = make()
    setup.assign()
    assert setup.values(1) == ["0a"]
    setup.restart(group_id="g", delivery="at_most_once", max_poll_records=2)
    setup.assign()
    assert setup.values(3) == ["0c", "0d", "0e"]


def test_close_takes_back_what_was_not_given() -> None:
    setup = make(max_poll_records=4)
    setup.assign()
    assert setup.values(1) == ["0a"]
    assert stored(setup) == 4
    setup.close()
    assert stored(setup) == 1


def test_giving_up_a_partition_takes_back_what_was_not_given() -> None:
    setup = make(2, max_poll_records=4)
    setup.assign([T0])
    assert setup.values(1) == ["0a"]
    setup.assign([T1])
    setup.run_for(1)
    assert stored(setup) == 1


def test_a_seek_commits_where_it_goes() -> None:
    setup = make(max_poll_records=4)
    setup.assign()
    assert setup.values(1) == ["0a"]
    setup.seek(1)
    setup.run_for(1)
    assert stored(setup) == 1
    assert setup.values(2) == ["0b", "0c"]
    assert stored(setup) == 5
    setup.seek(2)
    setup.run_for(1)
    setup.close()
    assert stored(setup) == 2


def test_the_beginning_is_committed_at_once() -> None:
    setup = make()
    setup.assign()
    setup.run_for(1)
    assert stored(setup) == 0


def test_where_the_beginning_could_not_be_committed_the_timer_does_it() -> None:
    setup = make(default_api_timeout_ms=1_000, request_timeout_ms=600)
    setup.broker.faults.add(api=COMMIT, times=None, error=ErrorCode.OFFSET_METADATA_TOO_LARGE)
    setup.assign()
    assert isinstance(setup.failure(), CommitError)
    setup.broker.faults.clear()
    setup.run_for(6)
    assert stored(setup) == 0


def test_if_the_commit_fails_nothing_is_given() -> None:
    setup = make(default_api_timeout_ms=2_000, request_timeout_ms=600)
    setup.assign()
    assert setup.values(2) == ["0a", "0b"]
    fault = setup.broker.faults.add(api=COMMIT, times=None, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    assert isinstance(setup.failure(), KafkaTimeoutError)
    assert stored(setup) == 2
    assert isinstance(setup.failure(), KafkaTimeoutError)  # it tries again, and tells again
    setup.broker.faults.remove(fault)
    assert setup.values(2) == ["0c", "0d"]


def test_nothing_is_committed_ahead_of_the_program() -> None:
    setup = make()
    setup.assign()
    assert setup.values(2) == ["0a", "0b"]
    setup.run_for(20)
    assert stored(setup) == 2
    assert len(setup.requests(OffsetCommitRequest)) == 2  # where it began, and the two


def test_a_paused_partition_is_not_committed() -> None:
    setup = make(2)
    setup.assign()
    setup.until_fetching()
    setup.consumer.pause(T0, setup.now)
    assert [value[0] for value in setup.values(5)] == ["1"] * 5
    assert stored(setup, 0) == 0
    setup.consumer.resume(None, setup.now)
    assert len(setup.values(5)) == 5


def test_batches_and_bounds() -> None:
    setup = make(max_poll_records=3)
    setup.assign()
    bound = setup.result(setup.consumer.until_end(setup.now))
    setup.append("late")
    seen = []
    for _ in range(5):
        seen.append(setup.next(bound=bound).offset)
    with pytest.raises(StopIteration):
        setup.next(bound=bound)
    assert seen == [0, 1, 2, 3, 4]
    assert setup.result(setup.consumer.wait(setup.now, 5, records=3)) is True


def test_a_rebalance_takes_back_and_the_next_owner_goes_on() -> None:
    setup = make(2, max_poll_records=4)
    setup.consumer.subscribe("t", setup.now)
    first = setup.next()
    other = setup.add_consumer(seed=1, group_id="g", delivery="at_most_once")
    other.subscribe("t", setup.now)
    end = setup.now + 20
    while len(setup.consumer.assignment) != 1 or not setup.consumer._membership.is_settled:  # type: ignore[union-attr]
        assert setup.now < end
        setup.run_for(0.05)
        setup.poll()
    assert stored(setup, first.partition) == 1


def test_a_seek_while_the_commit_is_on_its_way() -> None:
    setup = make()
    setup.assign()
    setup.run_for(1)
    setup.broker.faults.add(api=COMMIT, delay=1.0)
    assert setup.poll() is None
    setup.run_for(0.5)
    setup.seek(3)
    assert setup.values(2) == ["0d", "0e"]
    assert stored(setup) == 5


def test_a_partition_given_up_while_the_commit_is_on_its_way() -> None:
    setup = make(2)
    setup.assign()
    setup.run_for(1)
    setup.broker.faults.add(api=COMMIT, delay=1.0)
    assert setup.poll() is None
    setup.run_for(0.5)
    setup.assign([T1])
    assert setup.values(5) == ["1a", "1b", "1c", "1d", "1e"]


def test_a_rebalance_while_the_commit_is_on_its_way() -> None:
    setup = make()
    setup.consumer.subscribe("t", setup.now)
    setup.read(2)
    member = setup.consumer.group_metadata().member_id
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.ILLEGAL_GENERATION)
    assert setup.values(2) == ["0c", "0d"]  # lost, assigned again, and not told of as an error
    assert setup.consumer.group_metadata().member_id == member
    assert setup.consumer.metrics().rebalances == 2


def test_waiting_for_more_than_there_is_commits_nothing() -> None:
    setup = make()
    setup.assign()
    setup.read(5)
    count = len(setup.requests(OffsetCommitRequest))
    waiting = setup.consumer.wait(setup.now, 5)  # the last record is still in hand
    assert setup.result(waiting) is False
    assert len(setup.requests(OffsetCommitRequest)) == count


def test_a_commit_that_is_confirmed_while_the_consumer_closes_is_taken_back() -> None:
    setup = make()
    setup.consumer.subscribe("t", setup.now)
    setup.read(2)
    setup.broker.faults.add(api=COMMIT, delay=1.0)
    assert setup.poll() is None
    setup.run_for(0.5)
    assert stored(setup) == 4  # and the answer is on its way
    closing = setup.consumer.close(setup.now)
    while not closing.done:
        event = setup.consumer.poll(setup.now)
        if event is not None:
            assert isinstance(event, PartitionsRevoked)
            setup.consumer.event_done(event, setup.now)
        setup.run_for(0.1)
    assert stored(setup) == 2
