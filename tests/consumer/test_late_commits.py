"""Commits that come to their turn when their member is no member any more, and timers that nobody needs."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.errors import CommitFailedError, ErrorCode
from dekaf_proto.events import PartitionsRevoked, Rebalance
from dekaf_proto.group.classic import MemberState
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.offset_commit import OffsetCommitRequest
from dekaf_proto.types import OffsetAndMetadata
from tests.consumer.helpers import T0, T1, Setup
from tests.group.helpers import Group


def member(**options: Any) -> Setup:
    """A member with manual commits that has t-0, of which it has read a; b is in hand."""
    setup = Setup({"t": 1}, **{"group_id": "g", "enable_auto_commit": False, **options})
    setup.append("a", "b", "c")
    setup.consumer.subscribe("t", setup.now)
    assert setup.values(2) == ["a", "b"]
    return setup


def revoked(setup: Setup) -> PartitionsRevoked:
    """The event of leaving, unanswered."""
    for _ in range(100):
        output = setup.consumer.poll(setup.now)
        if isinstance(output, PartitionsRevoked):
            return output
        setup.run_for(0.05)
    raise AssertionError("no event")


def test_without_automatic_commits_an_assignment_starts_no_timer() -> None:
    setup = member(auto_commit_interval_ms=100)
    setup.run_for(10)  # which would end at a clock that stands still
    assert setup.requests(OffsetCommitRequest) == []


def test_who_is_fenced_while_closing_does_not_commit_as_a_stranger() -> None:  # P4
    setup = member(group_instance_id="one")
    setup.broker.faults.add(api=ApiKey.OFFSET_COMMIT, error=ErrorCode.FENCED_INSTANCE_ID)
    closing = setup.consumer.close(setup.now)
    event = revoked(setup)
    first = setup.consumer.commit({T0: 1}, setup.now)
    second = setup.consumer.commit({T0: 2}, setup.now)
    other = setup.consumer.commit({T1: 2}, setup.now)  # which it never had
    setup.run_until(lambda: other.done)
    for late in (first, second, other):
        with pytest.raises(CommitFailedError):
            late.result()
    setup.consumer.event_done(event, setup.now)
    setup.result(closing)
    assert [request.generation_id_or_member_epoch for request in setup.requests(OffsetCommitRequest)] == [1]


def test_a_commit_does_not_outlive_the_membership() -> None:  # P4: the group is empty then, and would take it
    setup = member()
    setup.broker.faults.add(api=ApiKey.OFFSET_COMMIT, delay=2.0)
    leaving = setup.consumer.unsubscribe(setup.now, timeout=0.5)
    event = revoked(setup)
    first = setup.consumer.commit({T0: 1}, setup.now)
    second = setup.consumer.commit({T0: 2}, setup.now)
    setup.consumer.event_done(event, setup.now)
    setup.result(leaving)
    setup.run_until(lambda: second.done)
    first.result()
    with pytest.raises(CommitFailedError):
        second.result()
    assert setup.broker.committed("g")[T0].offset == 1
    setup.consumer.assign({T0: 0}, setup.now)  # what the program assigns itself is its own affair again
    setup.result(setup.consumer.commit({T0: OffsetAndMetadata(2)}, setup.now))
    assert setup.broker.committed("g")[T0].offset == 2


def test_what_is_unassigned_by_hand_is_still_committed() -> None:
    setup = Setup({"t": 1}, group_id="g")
    setup.append("a", "b", "c")
    setup.assign([T0])
    assert setup.values(3) == ["a", "b", "c"]
    setup.consumer.incremental_unassign([T0], setup.now)
    setup.run_for(1)
    assert setup.broker.committed("g")[T0].offset == 2
    assert not isinstance(setup.poll(), Rebalance)


@pytest.mark.parametrize("give_up", ["assign", "incremental_unassign", "unsubscribe"])
def test_what_is_unassigned_by_hand_does_not_go_back(give_up: str) -> None:
    setup = Setup({"t": 1}, group_id="g")
    setup.append("a", "b", "c")
    setup.assign([T0])
    assert setup.values(3) == ["a", "b", "c"]
    setup.broker.faults.add(api=ApiKey.OFFSET_COMMIT, delay=0.5)
    commit = setup.consumer.commit(None, setup.now)  # c is done as well
    consumer = setup.consumer
    if give_up == "assign":
        consumer.assign([], setup.now)
    elif give_up == "incremental_unassign":
        consumer.incremental_unassign([T0], setup.now)
    else:
        consumer.unsubscribe(setup.now)
    setup.run_for(2)
    commit.result()
    assert setup.broker.committed("g")[T0].offset == 3


def test_a_commit_of_a_partition_that_was_assigned_anew_says_nothing_of_that() -> None:
    setup = Setup({"t": 1}, group_id="g", enable_auto_commit=False)
    setup.append("a", "b", "c")
    setup.assign([T0])
    assert setup.values(2) == ["a", "b"]
    setup.broker.faults.add(api=ApiKey.OFFSET_COMMIT, delay=0.5)
    commit = setup.consumer.commit(None, setup.now)
    setup.assign([])
    setup.assign({T0: 1})
    setup.result(commit)
    assert setup.partition().confirmed is None
    assert setup.next().offset == 1


def test_who_closes_while_it_joins_commits_what_it_has_kept() -> None:  # the generation may have begun already
    group = Group({"t": 2}, partition_assignment_strategy="cooperative-sticky", auto_commit_interval_ms=600_000)
    one = group.join()
    group.append("a", "b")
    group.run_until(lambda: one.records == ["a", "b"])
    two = group.join()
    group.run_until(lambda: one.state is MemberState.JOINING)
    one.close()
    assert group.broker.committed("g")[T0].offset == 2
    group.settle()
    assert two.records == []
