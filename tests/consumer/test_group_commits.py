"""Commits of a group's member: in its generation, for what it owns, and never in the middle of a join."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.consumer.batch import Batch
from dekaf_proto.errors import (
    CommitError,
    CommitFailedError,
    ErrorCode,
    FencedInstanceIdError,
    KafkaTimeoutError,
    RebalanceError,
    RebalanceInProgressError,
)
from dekaf_proto.events import PartitionsAssigned, PartitionsLost, PartitionsRevoked, Rebalance
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.offset_commit import OffsetCommitRequest
from dekaf_proto.types import OffsetAndMetadata, TopicPartition
from tests.consumer.helpers import T0, T1, Setup

COMMIT = ApiKey.OFFSET_COMMIT


def make(partitions: int = 1, **options: Any) -> Setup:
    """A member that has all partitions; t-0 holds a b c."""
    setup = Setup({"t": partitions}, **{"group_id": "g", "enable_auto_commit": False, **options})
    setup.append("a", "b", "c")
    setup.consumer.subscribe("t", setup.now)
    run_polling(setup, lambda: setup.told)
    return setup


def run_polling(setup: Setup, condition: Any, limit: float = 60) -> None:
    end = setup.now + limit
    while not condition():
        assert setup.now < end, "it did not happen"
        setup.poll()
        setup.run_for(0.05)


def stored(setup: Setup, partition: int = 0) -> int | None:
    found = setup.broker.committed("g").get(TopicPartition("t", partition))
    return None if found is None else found.offset


def commit(setup: Setup, offsets: Any = None, **more: Any) -> None:
    setup.result(setup.consumer.commit(offsets, setup.now, **more))


def join_another(setup: Setup, **options: Any) -> Any:
    other = setup.add_consumer(seed=1, group_id="g", **options)
    other.subscribe("t", setup.now)
    return other


def event_of(setup: Setup, kind: type[Rebalance]) -> Rebalance:
    """The next event, unanswered."""
    end = setup.now + 60
    while True:
        output = setup.consumer.poll(setup.now)
        if isinstance(output, kind):
            return output
        if isinstance(output, Rebalance):
            setup.consumer.event_done(output, setup.now)
        assert setup.now < end
        setup.run_for(0.05)


def test_a_commit_names_the_member() -> None:  # P4
    setup = make(group_instance_id="one")
    setup.values(2)
    commit(setup)
    (request,) = setup.requests(OffsetCommitRequest)
    member = setup.consumer.group_metadata()
    assert request.generation_id_or_member_epoch == member.generation_id == 1
    assert (request.member_id, request.group_instance_id) == (member.member_id, "one")
    assert stored(setup) == 2


def test_a_manual_assignment_names_nobody() -> None:  # P4, trap 34
    setup = Setup(group_id="g", group_instance_id="one")
    setup.append("a")
    setup.assign()
    setup.next()
    commit(setup)
    request = setup.requests(OffsetCommitRequest)[-1]
    assert request.generation_id_or_member_epoch == -1
    assert (request.member_id, request.group_instance_id) == ("", None)


def test_a_record_and_a_batch() -> None:
    setup = make()
    records = setup.read(3)
    commit(setup, records[0])
    assert stored(setup) == 1
    commit(setup, Batch(records))
    assert stored(setup) == 3
    commit(setup, {T0: 2})
    assert stored(setup) == 2


def test_what_is_not_assigned_is_refused() -> None:
    setup = make()
    with pytest.raises(CommitFailedError, match="does not own t-7, because the group has not given") as caught:
        commit(setup, {TopicPartition("t", 7): 1})
    assert caught.value.partitions == (TopicPartition("t", 7),)
    assert isinstance(caught.value, RebalanceError)
    setup.read(2)
    with pytest.raises(CommitFailedError):
        commit(setup, {TopicPartition("t", 7): 1, T0: 2})
    assert stored(setup) == 2  # P5: the others are stored


def test_records_of_before_a_rebalance() -> None:  # lesson 18
    setup = make(2)
    setup.append("x", partition=1)
    records = {record.partition: record for record in setup.read(4)}
    other = join_another(setup)
    run_polling(setup, lambda: len(setup.consumer.assignment) == 1 and stored_by(other))
    for tp in (T0, T1):
        with pytest.raises(CommitFailedError, match="the group has rebalanced") as caught:
            commit(setup, records[tp.partition])
        assert caught.value.partitions == (tp,)
        assert abs(caught.value.since - (setup.now + 1_700_000_000)) < 60
    assert stored(setup, 0) is None


def stored_by(consumer: Any) -> bool:
    return bool(consumer._membership.rebalances)


def test_in_the_listener_of_a_revocation_everything_can_be_committed() -> None:  # G25
    setup = make(2)
    setup.values(2)
    join_another(setup)
    event = event_of(setup, PartitionsRevoked)
    commit(setup)
    assert stored(setup) == 2
    setup.consumer.event_done(event, setup.now)
    run_polling(setup, lambda: len(setup.consumer.assignment) == 1)


def test_in_the_listener_of_an_assignment_too() -> None:
    setup = Setup({"t": 1}, group_id="g", enable_auto_commit=False)
    setup.append("a")
    setup.consumer.subscribe("t", setup.now)
    event = event_of(setup, PartitionsAssigned)
    commit(setup, {T0: 0})
    assert stored(setup) == 0
    setup.consumer.event_done(event, setup.now)


def test_in_the_listener_of_a_loss_nothing_can() -> None:
    setup = make()
    setup.read(1)
    setup.broker.expire_member("g", setup.consumer.group_metadata().member_id, setup.now)
    event = event_of(setup, PartitionsLost)
    assert "UNKNOWN_MEMBER_ID" in event.cause  # type: ignore[union-attr]
    with pytest.raises(CommitFailedError, match="removed it from the group"):
        commit(setup)
    setup.consumer.event_done(event, setup.now)
    run_polling(setup, lambda: setup.consumer.metrics().rebalances == 2)


def test_a_commit_waits_for_the_join_that_is_under_way() -> None:
    setup = make(2, partition_assignment_strategy="cooperative-sticky")
    setup.read(2)
    join_another(setup, partition_assignment_strategy="cooperative-sticky")
    end = setup.now + 30
    mine = setup.consumer.group_metadata().member_id
    setup.broker.faults.add(api=ApiKey.JOIN_GROUP, delay=2.0, when=lambda _, request: request.member_id == mine)  # type: ignore[attr-defined]
    while not setup.consumer._membership.is_joining:  # type: ignore[union-attr]
        assert setup.now < end
        setup.run_for(0.01)
        setup.poll()
    operation = setup.consumer.commit({T0: 2}, setup.now)
    setup.run_for(1)
    assert not operation.done
    setup.result(operation)
    assert stored(setup) == 2
    request = setup.requests(OffsetCommitRequest)[-1]
    assert request.generation_id_or_member_epoch == 2


def test_a_commit_that_waits_for_a_join_has_its_deadline() -> None:
    setup = make(2, partition_assignment_strategy="cooperative-sticky")
    setup.read(2)
    setup.broker.faults.add(api=ApiKey.JOIN_GROUP, delay=20.0, times=None)
    setup.consumer._membership.rejoin("a test wants it")  # type: ignore[union-attr]
    setup.run_for(0.1)
    with pytest.raises(KafkaTimeoutError, match="REBALANCE_IN_PROGRESS"):
        commit(setup, {T0: 2}, timeout=3.0)


@pytest.mark.parametrize("code", [ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION])
@pytest.mark.parametrize("retry", [True, False])
def test_a_member_that_was_removed(code: ErrorCode, retry: bool) -> None:
    setup = make()
    setup.read(2)
    before = setup.consumer.group_metadata()
    setup.broker.faults.add(api=COMMIT, error=code)
    with pytest.raises(CommitFailedError, match=code.name):
        commit(setup, retry=retry)
    run_polling(setup, lambda: len(setup.told) == 3)
    after = setup.consumer.group_metadata()
    assert (after.member_id == before.member_id) is (code is ErrorCode.ILLEGAL_GENERATION)
    assert [type(event) for event in setup.told] == [PartitionsAssigned, PartitionsLost, PartitionsAssigned]
    assert setup.values(1) == ["a"]


def test_a_rebalance_is_waited_for_if_that_needs_nobody() -> None:
    setup = make(partition_assignment_strategy="cooperative-sticky")
    setup.read(2)
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.REBALANCE_IN_PROGRESS)
    commit(setup)
    assert stored(setup) == 2
    run_polling(setup, lambda: setup.consumer.metrics().rebalances == 2)


def test_a_rebalance_that_waits_for_the_caller_is_an_error() -> None:
    setup = make()
    setup.read(2)
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.REBALANCE_IN_PROGRESS, times=None)
    began = setup.now
    with pytest.raises(RebalanceInProgressError, match="poll, then commit again"):
        commit(setup)
    assert setup.now - began < 2
    setup.broker.faults.clear()
    run_polling(setup, lambda: setup.consumer.metrics().rebalances == 2)


def test_without_a_retry_a_rebalance_is_an_error() -> None:  # P8
    setup = make(partition_assignment_strategy="cooperative-sticky")
    setup.read(2)
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.REBALANCE_IN_PROGRESS)
    with pytest.raises(RebalanceInProgressError):
        commit(setup, retry=False)
    assert stored(setup) is None


def test_a_generation_that_has_changed_meanwhile() -> None:  # G18, trap 25
    setup = make(heartbeat_interval_ms=40_000)
    setup.read(2)
    setup.run_for(13)  # now there is no heartbeat for a while
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.ILLEGAL_GENERATION, delay=3.0)
    operation = setup.consumer.commit(None, setup.now)
    setup.run_for(0.1)
    setup.consumer._membership.generation += 1  # type: ignore[union-attr]  # as after another rebalance
    setup.run_until(lambda: setup.consumer.metrics().failed_commits)
    setup.consumer._membership.generation -= 1  # type: ignore[union-attr]
    setup.result(operation)
    assert stored(setup) == 2
    assert not any(isinstance(event, PartitionsLost) for event in setup.told)


def test_a_fenced_member() -> None:
    setup = make(group_instance_id="one")
    setup.read(2)
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.FENCED_INSTANCE_ID)
    with pytest.raises(CommitFailedError, match="taken over as 'one'"):
        commit(setup)
    assert isinstance(setup.failure(), FencedInstanceIdError)


def test_a_fenced_member_whose_generation_has_changed_meanwhile() -> None:
    setup = make(group_instance_id="one")
    setup.read(2)
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.FENCED_INSTANCE_ID, delay=1.0)
    operation = setup.consumer.commit(None, setup.now)
    setup.run_for(0.1)
    setup.consumer._membership.generation += 1  # type: ignore[union-attr]
    setup.run_for(1.5)
    with pytest.raises(FencedInstanceIdError):
        operation.result()


def test_other_errors_are_those_of_the_partition() -> None:
    setup = make()
    setup.read(2)
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.OFFSET_METADATA_TOO_LARGE)
    with pytest.raises(CommitError):
        commit(setup, {T0: OffsetAndMetadata(1, "x" * 5000)})


# ----------------------------------------------------------------------------------------------------- automatically


def test_an_automatic_commit_before_a_revocation() -> None:  # lesson 4, G27
    setup = make(2, enable_auto_commit=True)
    setup.values(3)
    join_another(setup)
    event_of(setup, PartitionsRevoked)
    assert stored(setup) is None or stored(setup) == 0
    setup.consumer.event_done(setup.consumer._subscription._handed, setup.now)  # type: ignore[arg-type]
    setup.run_for(1)
    assert stored(setup) == 3


def test_no_automatic_commit_in_a_rebalance() -> None:  # P12, trap 33
    setup = make(2, enable_auto_commit=True, auto_commit_interval_ms=1_000)
    setup.values(2)
    setup.run_for(2)
    assert stored(setup) == 1
    setup.values(1)
    join_another(setup)
    setup.run_for(0.5)
    count = len(setup.requests(OffsetCommitRequest))
    event_of(setup, PartitionsRevoked)
    setup.run_for(5)  # in the hands of a slow listener
    assert len(setup.requests(OffsetCommitRequest)) <= count + 1


def test_what_fails_before_a_revocation_does_not_hold_up_the_group() -> None:  # trap 43
    setup = make(2, enable_auto_commit=True)
    setup.values(3)
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, times=None)
    join_another(setup)
    run_polling(setup, lambda: len(setup.consumer.assignment) == 1)
    assert stored(setup) is None


def test_idle_commits_are_sent_again() -> None:  # lesson 14
    setup = make(enable_auto_commit=False, recommit_interval_ms=60_000)
    setup.read(2)
    commit(setup, {T0: OffsetAndMetadata(2, "note")})
    count = len(setup.requests(OffsetCommitRequest))
    waiting = setup.consumer.wait(setup.now)
    setup.run_for(150)
    again = setup.requests(OffsetCommitRequest)[count:]
    assert len(again) == 2
    partition = again[-1].topics[0].partitions[0]
    assert (partition.committed_offset, partition.committed_metadata) == (2, "note")
    waiting.cancel()


def test_nothing_is_sent_again_that_was_never_confirmed() -> None:
    setup = make(enable_auto_commit=False, recommit_interval_ms=10_000)
    setup.read(2)
    waiting = setup.consumer.wait(setup.now)
    setup.run_for(35)
    waiting.cancel()
    assert setup.requests(OffsetCommitRequest) == []


def test_a_member_that_is_too_slow_commits_nothing() -> None:  # G21, lessons 19, 25
    setup = make(max_poll_interval_ms=10_000)
    setup.read(2)
    setup.run_for(30)
    with pytest.raises(CommitFailedError, match=r"no further record for 10 s \(max_poll_interval_ms\)"):
        commit(setup)
    assert setup.requests(OffsetCommitRequest) == []
    run_polling(setup, lambda: setup.consumer.metrics().rebalances == 2)
    assert setup.values(1) == ["a"]
