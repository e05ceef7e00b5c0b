"""Where partitions begin: committed offsets, resets (section 4), and what comes in between."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from dekaf_proto.broker.inprocess import NewRecord
from dekaf_proto.errors import (
    ErrorCode,
    GroupAuthorizationError,
    NoOffsetForPartitionError,
    TopicAuthorizationError,
    UnsupportedVersionError,
)
from dekaf_proto.events import Failed
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.list_offsets import ListOffsetsRequest
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup

T0, T1, T2 = (TopicPartition("t", number) for number in range(3))
START = 1_700_000_000_000
HOUR = 3_600_000


def timestamps(setup: Setup) -> list[int]:
    """What ListOffsets was asked for."""
    return [p.timestamp for r in setup.requests(ListOffsetsRequest) for t in r.topics for p in t.partitions]


# ------------------------------------------------------------------------------------------------------ where to begin


@pytest.mark.parametrize("policy, first", [("earliest", "b"), ("latest", "d")])
def test_the_ends_of_the_log(policy: str, first: str) -> None:
    # O7
    setup = Setup(auto_offset_reset=policy)
    setup.append("a", "b", "c")
    setup.broker.delete_records("t", 0, 1)
    setup.assign()
    setup.until_fetching()
    setup.append("d")
    assert setup.values(1) == [first]


def test_latest_under_read_committed_is_the_last_stable_offset() -> None:
    # O1
    setup = Setup(auto_offset_reset="latest", isolation_level="read_committed")
    setup.append("a")
    setup.append("b", producer_id=7, transactional=True)
    setup.assign()
    setup.until_fetching(at=1)
    setup.broker.commit_transaction("t", 0, 7, setup.now)
    assert setup.values(1) == ["b"]


def test_times() -> None:
    # O10
    def beginning(policy: object, *times: int) -> int | None:
        setup = Setup(auto_offset_reset=policy)
        for time in times:
            setup.broker.append("t", 0, [NewRecord(b"", timestamp=time)], setup.now)
        setup.assign()
        setup.until_fetching()
        return setup.consumer.position(T0)

    now = START + 1_000_000  # the network's clock begins at 1,000
    old, young = now - 2 * HOUR, now - HOUR + 10_000
    assert beginning("by_duration:PT1H", old, young, now) == 1
    assert beginning("by_duration:PT1H", old) == 1
    assert beginning("by_duration:P20000D", old) == 0  # before 1970
    assert beginning(datetime.fromtimestamp(young / 1000, timezone.utc), old, young) == 1
    assert beginning(datetime.fromtimestamp(now / 1000, timezone.utc) + timedelta(days=1), old, young) == 2


def test_a_duration_counts_from_each_attempt_and_the_clock_may_be_corrected() -> None:
    # O10
    setup = Setup(auto_offset_reset="by_duration:PT1H")
    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, error=ErrorCode.NOT_LEADER_OR_FOLLOWER, delay=10)
    setup.assign()
    setup.run_until(lambda: len(timestamps(setup)) == 2)
    first, second = timestamps(setup)
    assert 10_000 < second - first < 11_000
    setup.consumer.set_unix_offset(1_800_000_000.0, setup.now)
    setup.until_fetching()
    setup.broker.truncate("t", 0, 0)
    setup.seek(7)
    setup.until_fetching(at=0)
    assert timestamps(setup)[-3] > 1_800_000_000_000 - HOUR


def test_without_a_policy_the_program_is_told_once_about_all() -> None:
    # O9
    setup = Setup({"t": 3}, auto_offset_reset="none")
    setup.assign({T2: 0})
    setup.consumer.incremental_assign([T0, T1], setup.now)
    error = setup.failure()
    assert isinstance(error, NoOffsetForPartitionError)
    assert error.partitions == (T0, T1)
    assert "without a group" in str(error)
    assert [setup.consumer.position(tp) for tp in (T0, T1, T2)] == [None, None, 0]
    setup.append("x", partition=2)
    assert setup.values(1) == ["x"]  # others go on
    setup.run_for(10)
    assert setup.poll() is None
    assert {p.partition for r in setup.fetches() for t in r.topics for p in t.partitions} == {2}
    setup.seek(0, T1)
    setup.append("y", partition=1)
    assert setup.values(1) == ["y"]
    setup.consumer.seek_to_beginning(T0, setup.now)
    setup.append("z")
    assert setup.values(1) == ["z"]


def test_without_a_policy_and_with_a_group() -> None:
    setup = Setup({"t": 2}, auto_offset_reset="none", group_id="g")
    setup.append("a", "b", partition=1)
    setup.broker.commit("g", {T1: 1})
    setup.assign()
    error = setup.failure()
    assert isinstance(error, NoOffsetForPartitionError)
    assert error.partitions == (T0,)
    assert "group g has" in str(error)
    assert setup.values(1) == ["b"]


def test_the_committed_offset_comes_first() -> None:
    for policy in ("earliest", "none"):
        setup = Setup({"t": 2}, group_id="g", auto_offset_reset=policy)
        setup.append("a", "b", "c")
        setup.append("d", "e", partition=1)
        setup.broker.commit("g", {T0: 2, T1: 1})
        setup.assign()
        assert sorted(setup.values(2)) == ["c", "e"]


def test_an_error_is_not_no_commit() -> None:
    # Lesson 8, P16-P18
    setup = Setup(group_id="g")
    setup.append("a", "b", "c")
    setup.broker.commit("g", {T0: 2})
    for code in (
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.UNSTABLE_OFFSET_COMMIT,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ):
        setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, error=code, times=2)
    setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, drop="after", times=2)
    setup.assign()
    assert setup.values(1) == ["c"]
    assert timestamps(setup) == []


def test_a_commit_while_the_committed_offset_is_looked_for() -> None:
    # Lesson 7
    setup = Setup(group_id="g")
    setup.append("a", "b", "c")
    setup.broker.commit("g", {T0: 1})
    fault = setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, times=3)
    setup.assign()
    setup.run_until(lambda: fault.hits == 2)
    setup.result(setup.consumer.commit({T0: 2}, setup.now))
    assert setup.partition().confirmed == 2
    assert setup.values(1) == ["c"]
    assert setup.partition().confirmed == 2


def test_an_error_for_good_is_told_and_the_partitions_wait() -> None:
    setup = Setup({"t": 2}, group_id="g")
    setup.append("a")
    fault = setup.broker.faults.add(api=ApiKey.FIND_COORDINATOR, error=ErrorCode.GROUP_AUTHORIZATION_FAILED, times=None)
    setup.assign()
    output = None
    while output is None:
        setup.result(setup.consumer.wait(setup.now))
        output = setup.poll()
    assert isinstance(output, Failed)
    assert isinstance(output.error, GroupAuthorizationError)
    assert output.partitions == (T0, T1)
    setup.run_for(5)
    assert setup.poll() is None
    setup.broker.faults.remove(fault)
    setup.consumer.seek_to_committed(None, setup.now)
    assert setup.values(1) == ["a"]


def test_seek_to_committed() -> None:
    setup = Setup(group_id="g")
    setup.append("a", "b", "c")
    setup.broker.commit("g", {T0: 2})
    setup.assign({T0: 0})
    assert setup.values(1) == ["a"]
    setup.consumer.seek_to_committed(T0, setup.now)
    assert setup.consumer.position(T0) is None
    assert setup.values(1) == ["c"]


# ------------------------------------------------------------------------------------------------ what comes meanwhile


def test_a_seek_beats_a_reset_that_is_on_its_way() -> None:
    # O7 (KAFKA-7703)
    setup = Setup()
    setup.append("a", "b", "c")
    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, delay=1)
    setup.assign()
    setup.run_until(lambda: timestamps(setup))
    setup.seek(2)
    assert setup.values(1) == ["c"]
    setup.run_for(3)
    assert setup.consumer.position(T0) == 3


def test_a_later_policy_beats_an_earlier_one() -> None:
    # O7: an answer counts only for the same policy
    setup = Setup()
    setup.append("a", "b", "c")
    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, delay=1)
    setup.assign()
    setup.run_until(lambda: timestamps(setup))
    setup.consumer.seek_to_end(None, setup.now)
    setup.until_fetching()
    assert timestamps(setup) == [-2, -1]
    assert setup.consumer.position(T0) == 3


def test_a_seek_beats_a_committed_offset_that_is_on_its_way() -> None:
    # P19
    setup = Setup(group_id="g")
    setup.append("a", "b", "c")
    setup.broker.commit("g", {T0: 2})
    fault = setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, delay=1)
    setup.assign()
    setup.run_until(lambda: fault.hits)
    setup.seek(1)
    assert setup.values(2) == ["b", "c"]
    setup.run_for(3)
    assert setup.consumer.position(T0) == 3


def test_an_answer_for_an_earlier_assignment_is_dropped() -> None:
    # P19, lesson 20
    setup = Setup(group_id="g")
    setup.append("a", "b", "c")
    fault = setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, delay=1)
    setup.assign()
    setup.run_until(lambda: fault.hits)
    setup.assign([])
    setup.run_for(0.5)
    setup.broker.commit("g", {T0: 2})
    setup.assign()
    assert setup.values(1) == ["c"]


def test_a_leader_that_is_silent_does_not_hold_up_partitions_of_others() -> None:
    # O3, lesson 26
    setup = Setup({"t": 3}, nodes=3)
    for partition in range(3):
        setup.append(f"p{partition}", partition=partition)
    setup.result(setup.consumer.end_offsets([T0, T1, T2], setup.now))
    setup.network.block(1)
    setup.assign([T0, T1])
    assert setup.values(1, limit=2) == ["p0"]
    setup.consumer.incremental_assign([T2], setup.now)
    assert setup.values(1, limit=2) == ["p2"]
    setup.network.unblock(1)
    assert setup.values(1) == ["p1"]


def test_a_connection_that_is_lost_costs_a_back_off() -> None:
    setup = Setup()
    setup.append("a")
    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, drop="before", times=3)
    setup.assign()
    assert setup.values(1) == ["a"]
    assert len(timestamps(setup)) == 4
    assert setup.now > 1000.3


def test_what_is_forbidden_is_told_and_the_partition_waits() -> None:
    # O12
    setup = Setup({"t": 2})
    setup.append("a", partition=1)
    fault = setup.broker.faults.add(
        api=ApiKey.LIST_OFFSETS, partition=0, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED, times=None
    )
    setup.assign()
    setup.run_for(1)
    output = setup.poll()
    assert isinstance(output, Failed)
    assert isinstance(output.error, TopicAuthorizationError)
    assert output.partitions == (T0,)
    assert setup.values(1) == ["a"]
    setup.run_for(5)
    assert setup.poll() is None
    assert fault.hits == 1
    setup.broker.faults.clear()
    setup.consumer.seek_to_beginning(T0, setup.now)
    setup.until_fetching()
    assert setup.consumer.position(T0) == 0


def test_a_broker_that_cannot_look_up_offsets() -> None:
    setup = Setup(api_versions={ApiKey.LIST_OFFSETS: None})
    setup.append("a")
    setup.assign()
    assert isinstance(setup.failure(), UnsupportedVersionError)
    setup.seek(0)
    assert setup.values(1) == ["a"]


def test_a_partition_that_does_not_exist_yet() -> None:
    setup = Setup({"t": 1})
    setup.assign([T0, TopicPartition("u", 0), T1])
    setup.run_for(20)
    setup.broker.create_partitions("t", 2)
    setup.broker.create_topic("u")
    setup.append("a", partition=1)
    setup.append("b", topic="u")
    assert sorted(setup.values(2)) == ["a", "b"]
