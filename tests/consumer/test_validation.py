"""Validation: has the log been cut off below the position? (3.5, KIP-320)"""

from __future__ import annotations

import pytest

from dekaf_proto.broker.groups import CommittedOffset
from dekaf_proto.consumer.partition import PartitionPhase
from dekaf_proto.errors import (
    ErrorCode,
    LogTruncationError,
    TopicAuthorizationError,
)
from dekaf_proto.events import Failed
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.messages.metadata import MetadataRequest
from dekaf_proto.messages.offset_for_leader_epoch import OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse
from dekaf_proto.types import OffsetAndMetadata, TopicPartition
from tests.consumer.helpers import Setup, in_phase, led_by_0_and_1, values_of

T0 = TopicPartition("t", 0)


def validations(setup: Setup) -> list[int]:
    """The epochs that were asked about."""
    return [p.leader_epoch for r in setup.requests(OffsetForLeaderEpochRequest) for t in r.topics for p in t.partitions]


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
