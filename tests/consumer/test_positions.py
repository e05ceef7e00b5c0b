"""Where partitions begin, and what becomes of a position: resets (section 4), validation (3.5), recreated topics."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dekaf_proto.broker.groups import CommittedOffset
from dekaf_proto.broker.inprocess import NewRecord
from dekaf_proto.consumer.partition import PartitionPhase
from dekaf_proto.errors import (
    ErrorCode,
    GroupAuthorizationError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationError,
    UnsupportedVersionError,
)
from dekaf_proto.events import Failed
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse
from dekaf_proto.messages.metadata import MetadataRequest
from dekaf_proto.messages.offset_for_leader_epoch import OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse
from dekaf_proto.types import OffsetAndMetadata, TopicPartition
from tests.consumer.helpers import Setup, values_of

T0, T1, T2 = (TopicPartition("t", number) for number in range(3))
START = 1_700_000_000_000
HOUR = 3_600_000


def validations(setup: Setup) -> list[int]:
    """The epochs that were asked about."""
    return [p.leader_epoch for r in setup.requests(OffsetForLeaderEpochRequest) for t in r.topics for p in t.partitions]


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


# ---------------------------------------------------------------------------------------------------------- validation


def led_by_0_and_1(**options: Any) -> Setup:
    """Partition t-0 on two nodes; epoch 0: a b c d; the application has read a and b, which is in hand."""
    setup = Setup({"t": 1}, nodes=2, **options)
    setup.append("a", "b", "c", "d", per_batch=2)
    setup.assign({T0: 0})
    assert setup.values(2) == ["a", "b"]
    setup.until_fetching(at=4)
    return setup


def in_phase(setup: Setup, phase: PartitionPhase) -> bool:
    return setup.partition().phase is phase


def test_a_new_leader_is_asked_whether_the_log_is_the_same() -> None:
    # F25, F26: no rewind, nothing twice
    setup = led_by_0_and_1()
    setup.broker.move_leader("t", 0, 1)
    setup.append("e")
    assert values_of(setup.read_all()) == ["c", "d", "e"]
    assert validations(setup) == [0]
    assert setup.received(OffsetForLeaderEpochRequest)[0].node == 1
    assert setup.partition().leader_epoch == 1


def test_a_position_without_an_epoch_is_not_checked() -> None:
    # F25, F28
    setup = Setup(nodes=2)
    setup.append("a", "b")
    setup.assign({T0: 2})
    setup.until_fetching()
    setup.broker.move_leader("t", 0, 1)
    setup.append("c")
    assert setup.values(1) == ["c"]
    assert validations(setup) == []


def test_another_leader_without_a_newer_epoch() -> None:
    # Trap 12, M3: brokers before 2.4 tell no epochs that count
    setup = led_by_0_and_1(release="2.1")
    setup.broker.move_leader("t", 0, 1)
    setup.append("e")
    assert values_of(setup.read_all()) == ["c", "d", "e"]
    assert setup.received(FetchRequest)[-1].node == 1
    assert validations(setup) == []
    setup = Setup(nodes=2)
    setup.assign({T0: 0})
    setup.until_fetching()
    partition = setup.broker._partition("t", 0)
    partition.leader = 1  # in the same epoch
    setup.append("f")
    assert setup.values(1) == ["f"]


def test_a_committed_epoch_is_checked_at_once() -> None:
    # F28, P20
    setup = Setup(nodes=2, group_id="g")
    setup.append("a", "b")
    setup.broker.truncate("t", 0, 1)
    setup.append("B", "c")
    setup.broker.commit("g", {T0: CommittedOffset(2, 0)})
    setup.assign()
    assert setup.values(1) == ["B"]
    assert validations(setup) == [0]


def test_a_committed_epoch_newer_than_ours_asks_for_metadata() -> None:
    # F28
    setup = Setup(nodes=2, group_id="g")
    setup.append("a", "b")
    setup.assign()
    setup.until_fetching()
    setup.consumer.pause(None, setup.now)
    setup.run_for(3)
    before = len(setup.requests(MetadataRequest))
    setup.broker.move_leader("t", 0, 1)
    setup.broker.commit("g", {T0: CommittedOffset(1, 1)})
    setup.consumer.seek_to_committed(T0, setup.now)
    setup.run_for(3)
    assert len(setup.requests(MetadataRequest)) > before
    assert validations(setup)[-1] == 1
    setup.consumer.resume(None, setup.now)
    assert setup.values(1) == ["b"]


def test_a_seek_with_an_epoch_before_anything_is_known_of_the_topic() -> None:
    # F28
    setup = Setup()
    setup.append("a", "b")
    setup.broker.truncate("t", 0, 1)
    setup.append("B")
    setup.assign({T0: 0})
    setup.seek(OffsetAndMetadata(2, "", 0))
    assert setup.values(1) == ["B"]
    assert validations(setup) == [0]


@pytest.mark.parametrize("policy", ["earliest", "latest"])
def test_a_log_cut_off_below_the_position(policy: str) -> None:
    # F26, lesson 36: not the reset policy but the place where the logs part
    setup = led_by_0_and_1(auto_offset_reset=policy, group_id="g")
    setup.broker.truncate("t", 0, 1, leader=1)
    setup.append("B", "C", "D")
    setup.run_for(2)
    assert values_of(setup.read_all()) == ["B", "C", "D"]
    assert validations(setup) == [0, 0]  # what was fetched ahead, then the position
    assert setup.partition().finished == 4
    setup.close()
    assert setup.broker.committed("g")[T0].offset == 4


def test_a_log_cut_off_above_the_position_loses_only_what_was_fetched_ahead() -> None:
    # F26
    setup = led_by_0_and_1()
    setup.broker.truncate("t", 0, 2, leader=1)
    setup.append("C", "D", "E")
    setup.run_for(2)
    assert values_of(setup.read_all()) == ["C", "D", "E"]
    assert setup.consumer.position(T0) == 5


def test_the_record_in_hand_stays_unfinished_when_what_was_fetched_ahead_is_lost() -> None:
    setup = led_by_0_and_1(group_id="g")
    setup.broker.truncate("t", 0, 3, leader=1)
    setup.run_until(lambda: validations(setup) and in_phase(setup, PartitionPhase.FETCHING))
    assert (setup.consumer.position(T0), setup.partition().finished) == (2, 1)
    setup.run_for(20)  # automatic commits
    assert setup.broker.committed("g")[T0].offset == 1
    setup.append("D")
    assert values_of(setup.read_all()) == ["D"]  # the batch of c and d is gone as a whole
    assert setup.partition().finished == 4


def test_a_position_whose_own_epoch_is_unknown_is_left_to_the_fetch() -> None:
    """What was fetched ahead has an epoch, the position has none: it can't be checked, and needs not be (F25)."""
    setup = Setup(nodes=2)
    setup.append("a", "b", "c", "d")
    setup.assign({T0: 1})
    setup.until_fetching(at=4)
    setup.broker.truncate("t", 0, 2, leader=1)
    setup.append("X")
    setup.run_for(2)
    # The batch was cut off as a whole, so the position is out of range.
    assert values_of(setup.read_all()) == ["X"]


def test_truncation_without_a_policy_is_told() -> None:
    # F26: the divergent offset
    setup = led_by_0_and_1(auto_offset_reset="none", group_id="g")
    setup.broker.truncate("t", 0, 1, leader=1)
    setup.append("B", "C", "D")
    setup.run_for(3)
    output = setup.poll()
    assert isinstance(output, Failed)
    assert isinstance(output.error, LogTruncationError)
    assert (output.error.position, output.error.divergent_offset, output.partitions) == (2, 1, (T0,))
    assert setup.consumer.position(T0) == 2
    setup.run_for(5)
    assert setup.poll() is None
    setup.seek(output.error.divergent_offset)
    assert values_of(setup.read_all()) == ["B", "C", "D"]


def unknown_epoch(setup: Setup, times: int | None = None) -> None:
    """The leader does not know the epoch (trap 11): both numbers are -1, without an error."""

    def alter(request: object, response: OffsetForLeaderEpochResponse) -> OffsetForLeaderEpochResponse:
        for topic in response.topics:
            for partition in topic.partitions:
                partition.leader_epoch = partition.end_offset = -1
        return response

    setup.broker.faults.add(api=ApiKey.OFFSET_FOR_LEADER_EPOCH, alter=alter, times=times)


@pytest.mark.parametrize("policy, expected", [("earliest", ["a", "b", "c", "d"]), ("latest", [])])
def test_an_epoch_that_the_leader_does_not_know_is_a_reset(policy: str, expected: list[str]) -> None:
    # F26, trap 11: by policy, once
    setup = led_by_0_and_1(auto_offset_reset=policy)
    unknown_epoch(setup)
    setup.broker.move_leader("t", 0, 1)
    setup.run_for(2)
    assert values_of(setup.read_all()) == expected
    assert len(validations(setup)) == 2


def test_an_epoch_that_the_leader_does_not_know_without_a_policy() -> None:
    setup = led_by_0_and_1(auto_offset_reset="none")
    unknown_epoch(setup)
    setup.broker.move_leader("t", 0, 1)
    setup.run_for(2)
    error = setup.failure()
    assert isinstance(error, LogTruncationError)
    assert (error.position, error.divergent_offset) == (2, None)
    assert setup.consumer.position(T0) == 2


def test_an_unknown_epoch_of_what_was_fetched_ahead_leaves_the_position() -> None:
    setup = led_by_0_and_1()
    unknown_epoch(setup, times=1)
    setup.broker.move_leader("t", 0, 1)
    setup.run_until(lambda: len(validations(setup)) == 2 and in_phase(setup, PartitionPhase.FETCHING))
    assert values_of(setup.read_all()) == ["c", "d"]


PASSING = [
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.REPLICA_NOT_AVAILABLE,
    ErrorCode.KAFKA_STORAGE_ERROR,
    ErrorCode.OFFSET_NOT_AVAILABLE,
    ErrorCode.LEADER_NOT_AVAILABLE,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_SERVER_ERROR,
]


@pytest.mark.parametrize("code", PASSING, ids=lambda code: str(code.name))
def test_errors_of_a_validation(code: ErrorCode) -> None:
    # F26, trap 17: back-off and new metadata, no reset
    setup = led_by_0_and_1()
    setup.broker.faults.add(api=ApiKey.OFFSET_FOR_LEADER_EPOCH, error=code, times=3)
    setup.broker.move_leader("t", 0, 1)
    setup.append("e")
    assert values_of(setup.read_all()) == ["c", "d", "e"]
    assert len(validations(setup)) == 4
    first, *_, last = setup.received(OffsetForLeaderEpochRequest)
    assert last.now - first.now > 0.3


def test_a_validation_that_is_lost_or_lacks_the_partition_is_tried_again() -> None:
    # F26
    def nothing(request: object, response: OffsetForLeaderEpochResponse) -> OffsetForLeaderEpochResponse:
        response.topics.clear()
        return response

    def other(request: object, response: OffsetForLeaderEpochResponse) -> OffsetForLeaderEpochResponse:
        response.topics[0].topic = "elsewhere"
        return response

    setup = led_by_0_and_1()
    setup.broker.faults.add(api=ApiKey.OFFSET_FOR_LEADER_EPOCH, drop="before")
    setup.broker.faults.add(api=ApiKey.OFFSET_FOR_LEADER_EPOCH, alter=nothing)
    setup.broker.faults.add(api=ApiKey.OFFSET_FOR_LEADER_EPOCH, alter=other)
    setup.broker.move_leader("t", 0, 1)
    assert values_of(setup.read_all()) == ["c", "d"]


def test_a_validation_that_is_forbidden() -> None:
    # F26: 29
    setup = led_by_0_and_1()
    setup.broker.faults.add(api=ApiKey.OFFSET_FOR_LEADER_EPOCH, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    setup.broker.move_leader("t", 0, 1)
    setup.run_for(3)
    output = setup.poll()
    assert isinstance(output, Failed)
    assert isinstance(output.error, TopicAuthorizationError)
    assert setup.consumer.position(T0) == 2
    setup.seek(2)
    assert values_of(setup.read_all()) == ["c", "d"]


def test_brokers_that_ask_for_rights_on_the_cluster_are_not_asked() -> None:
    # F26: version 3 at least
    setup = led_by_0_and_1(api_versions={ApiKey.OFFSET_FOR_LEADER_EPOCH: (2, 2)})
    setup.broker.move_leader("t", 0, 1)
    setup.append("e")
    assert values_of(setup.read_all()) == ["c", "d", "e"]
    assert validations(setup) == []


def test_the_answer_of_a_leader_that_was_deposed_meanwhile_does_not_count() -> None:
    # F26: position and leader unchanged since sending
    setup = Setup(nodes=3)
    setup.append("a", "b", "c", "d", per_batch=1)
    setup.assign({T0: 0})
    assert setup.values(2) == ["a", "b"]
    setup.until_fetching(at=4)
    fault = setup.broker.faults.add(api=ApiKey.OFFSET_FOR_LEADER_EPOCH, node=1, delay=2)
    setup.broker.move_leader("t", 0, 1)
    setup.run_until(lambda: fault.hits)
    setup.broker.truncate("t", 0, 1, leader=2)
    setup.append("B", "C", "D", "E")
    setup.refresh()
    setup.run_for(5)
    assert values_of(setup.read_all()) == ["B", "C", "D", "E"]


def test_the_answer_to_an_older_fetch_does_not_come_in_between() -> None:
    # Trap 10
    setup = led_by_0_and_1()
    fault = setup.broker.faults.add(api=ApiKey.FETCH, node=0, delay=2)
    setup.append("e")  # which the old leader answers with, late
    setup.run_until(lambda: fault.hits or setup.now > 1003)
    setup.network.latency = 0.05
    setup.broker.move_leader("t", 0, 1)
    setup.refresh()
    setup.append("f")
    assert values_of(setup.read_all(4)) == ["c", "d", "e", "f"]
    assert setup.consumer.position(T0) == 6


def test_a_seek_while_a_validation_is_on_its_way() -> None:
    setup = led_by_0_and_1()
    fault = setup.broker.faults.add(api=ApiKey.OFFSET_FOR_LEADER_EPOCH, delay=1)
    setup.broker.move_leader("t", 0, 1)
    setup.run_until(lambda: fault.hits)
    setup.seek(0)
    assert setup.values(4) == ["a", "b", "c", "d"]
    setup.run_for(3)
    assert setup.consumer.position(T0) == 4


def test_records_in_hand_are_read_on_while_a_validation_is_on_its_way() -> None:
    setup = led_by_0_and_1()
    setup.broker.faults.add(api=ApiKey.OFFSET_FOR_LEADER_EPOCH, delay=1)
    setup.broker.move_leader("t", 0, 1)
    setup.run_until(lambda: in_phase(setup, PartitionPhase.AWAIT_VALIDATION))
    assert setup.run is not None
    assert values_of(setup.run) == ["c", "d"]
    assert setup.poll() is None
    setup.append("e")
    assert values_of(setup.read_all()) == ["e"]


# --------------------------------------------------------------------------------------------------- topics come and go


def test_a_topic_that_was_deleted_and_created_again() -> None:
    # Trap 13, lesson 36, F12: its epochs and offsets begin anew
    setup = Setup(nodes=2, auto_offset_reset="earliest")
    setup.append("a", "b", "c", "d")
    for leader in (1, 0, 1, 0):
        setup.broker.move_leader("t", 0, leader)
    setup.assign({T0: 0})
    assert setup.values(3) == ["a", "b", "c"]
    setup.until_fetching()
    setup.broker.recreate_topic("t")
    setup.append("A", "B")
    setup.run_for(5)
    assert values_of(setup.read_all()) == ["A", "B"]
    assert setup.partition().leader_epoch == 0
    assert setup.partition().high_watermark == 2


def test_a_topic_that_was_created_again_with_names_only() -> None:
    """Fetch by name, but metadata with ids (Kafka 2.8): only new metadata shows it, for which an offset that is out of
    range is a good reason."""
    setup = Setup({"t": 2}, release="2.8")
    setup.append("a", "b")
    setup.append("c", partition=1)
    setup.assign()
    assert sorted(setup.values(3)) == ["a", "b", "c"]
    setup.until_fetching()
    setup.broker.recreate_topic("t")
    setup.append("A")
    setup.append("C", partition=1)
    assert {"A", "C"} == set(values_of(setup.read_all(5)))
    setup.append("B")
    setup.append("D", partition=1)
    assert sorted(setup.values(2)) == ["B", "D"]


def test_a_topic_that_was_created_again_without_a_policy() -> None:
    setup = led_by_0_and_1(auto_offset_reset="none", group_id="g")
    setup.broker.recreate_topic("t")
    setup.append("A")
    setup.run_for(5)
    output = setup.poll()
    assert isinstance(output, Failed)
    assert isinstance(output.error, OffsetOutOfRangeError)
    assert output.error.offsets == {T0: 2}
    assert setup.consumer.position(T0) == 2
    setup.seek(0)
    assert setup.values(1) == ["A"]


def test_a_topic_that_was_created_again_before_there_was_a_position() -> None:
    # What is on its way was asked about another topic.
    setup = Setup({"t": 2}, nodes=2, group_id="g")
    setup.append("a", "b", "c", partition=1)
    setup.broker.commit("g", {T0: 0, T1: 0})
    setup.result(setup.consumer.end_offsets([T0, T1], setup.now))
    fault = setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, delay=5)
    other = setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, delay=5)
    setup.assign()
    setup.run_until(lambda: fault.hits)
    setup.consumer.seek_to_end(T1, setup.now)
    setup.run_until(lambda: other.hits)
    setup.run_for(1)
    setup.broker.recreate_topic("t")
    setup.append("A")
    setup.append("B", partition=1)
    setup.refresh()
    setup.run_for(10)
    setup.append("C", partition=1)
    assert values_of(setup.read_all()) == ["A", "C"]


def test_a_topic_that_was_created_again_while_the_program_is_to_decide() -> None:
    setup = Setup(auto_offset_reset="none")
    setup.assign()
    assert isinstance(setup.failure(), NoOffsetForPartitionError)
    setup.run_for(1)
    setup.broker.recreate_topic("t")
    setup.refresh()
    setup.run_for(5)
    assert setup.poll() is None
    assert in_phase(setup, PartitionPhase.FAILED)


def test_a_topic_that_is_gone_for_a_while() -> None:
    # M5: it is gone from metadata, and from the brokers, and back with the same id
    setup = led_by_0_and_1()
    topic = setup.broker.cluster.topics.pop("t")
    setup.broker._changed()
    setup.run_for(20)
    setup.broker.cluster.topics["t"] = topic
    setup.append("e")
    assert values_of(setup.read_all(5)) == ["c", "d", "e"]
    assert setup.consumer.position(T0) == 5


def test_a_partition_that_is_gone_for_a_while() -> None:
    setup = Setup({"t": 2})
    setup.append("a", partition=1)
    setup.assign()
    assert setup.values(1) == ["a"]
    partition = setup.broker.cluster.topics["t"].partitions.pop()
    setup.refresh()
    setup.run_for(20)
    assert len(setup.requests(MetadataRequest)) < 40
    setup.broker.cluster.topics["t"].partitions.append(partition)
    setup.append("b", partition=1)
    assert setup.values(1) == ["b"]


def test_a_reset_that_comes_to_nothing_for_long_does_not_hurry() -> None:
    # F24
    setup = Setup()
    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, error=ErrorCode.OFFSET_NOT_AVAILABLE, times=None)
    setup.assign()
    setup.run_for(60)
    assert 50 < len(timestamps(setup)) < 90


def alter_offset(request: object, response: ListOffsetsResponse) -> ListOffsetsResponse:
    response.topics[0].partitions[0].offset = -1
    return response


def test_a_log_without_ends_does_not_hurry_either() -> None:
    setup = Setup(auto_offset_reset="latest")
    fault = setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, alter=alter_offset, times=None)
    setup.assign()
    setup.run_for(20)
    assert len(timestamps(setup)) < 30
    setup.broker.faults.remove(fault)
    setup.until_fetching()
