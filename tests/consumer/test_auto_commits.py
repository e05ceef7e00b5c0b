"""Automatic commits: what is finished and nothing else, again and again until it is confirmed. In virtual time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from dekaf_proto.errors import DeserializationError, ErrorCode
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.offset_commit import OffsetCommitRequest
from dekaf_proto.types import OffsetAndMetadata, TopicPartition
from tests.consumer.helpers import Setup

TP, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)
COMMIT = ApiKey.OFFSET_COMMIT


def make(partitions: int = 1, **options: Any) -> Setup:
    return Setup({"t": partitions}, **{"group_id": "g", "auto_commit_interval_ms": 5_000, **options})


def stored(setup: Setup) -> dict[int, int]:
    """What the group has committed, by partition."""
    return {tp.partition: found.offset for tp, found in setup.broker.committed("g").items()}


def sent(setup: Setup) -> list[tuple[float, dict[int, int]]]:
    """What was sent to be committed, and when."""
    return [
        (
            received.now,
            {p.partition_index: p.committed_offset for topic in received.request.topics for p in topic.partitions},  # type: ignore[attr-defined]
        )
        for received in setup.received(OffsetCommitRequest)
    ]


def what_was_sent(setup: Setup) -> list[dict[int, int]]:
    return [offsets for _, offsets in sent(setup)]


def test_the_record_in_hand_is_not_finished() -> None:  # lesson 1, P11, P12
    setup = make()
    setup.append("a", "b", "c")
    setup.assign()
    assert setup.values(2) == ["a", "b"]
    setup.run_for(6.0)
    assert stored(setup) == {0: 1}
    assert setup.values(1) == ["c"]  # going on means that b is done (lesson 3)
    setup.run_for(6.0)
    assert stored(setup) == {0: 2}
    assert setup.poll() is None  # asking for more as well
    setup.run_for(6.0)
    assert stored(setup) == {0: 3}


def test_a_record_that_can_not_be_read_is_not_passed_over() -> None:  # lesson 5
    def value(data: bytes) -> str:
        if data == b"b":
            raise ValueError
        return data.decode()

    setup = make(value_deserializer=value)
    setup.append("a", "b", "c")
    setup.assign()
    assert setup.next().value == "a"
    for _ in range(3):
        with pytest.raises(DeserializationError) as caught:
            setup.next()
        assert caught.value.next_offset == 2
        setup.run_for(6.0)
        assert stored(setup) == {0: 1}
    setup.seek(caught.value.next_offset)
    assert setup.next().value == "c"
    setup.close()
    assert stored(setup) == {0: 2}


def test_what_take_gave_is_finished_by_the_next_take() -> None:
    setup = make()
    setup.append(*"abcdef")
    setup.assign()
    setup.run_until(lambda: setup.consumer._handout.has_next(None))
    setup.poll()
    assert setup.run is not None
    setup.run.take(2)
    setup.run_for(6.0)
    assert stored(setup) == {0: 0}
    setup.run.take(3)
    setup.run_for(6.0)
    assert stored(setup) == {0: 2}


def test_the_timer_is_not_restarted_by_calls() -> None:  # lesson 11
    setup = make()
    setup.append(*[str(number) for number in range(200)])
    setup.assign()
    began = setup.now
    while setup.now < began + 21.0:
        setup.next()
        setup.consumer.pause([], setup.now)
        setup.result(setup.consumer.end_offsets(TP, setup.now))
        setup.run_for(0.3)
    assert [now - began for now, _ in sent(setup)] == pytest.approx([5.0, 10.0, 15.0, 20.0], abs=0.01)


def test_only_what_has_changed_is_sent() -> None:
    setup = make(3)
    setup.append("a", "b", partition=1)
    setup.assign()
    setup.next()
    setup.run_for(6.0)
    assert what_was_sent(setup) == [{0: 0, 1: 0, 2: 0}]
    setup.run_for(30.0)
    assert len(sent(setup)) == 1
    setup.next()
    setup.run_for(6.0)
    assert what_was_sent(setup)[1:] == [{1: 1}]


def test_a_position_that_came_from_a_reset_is_due_though_nothing_was_read() -> None:
    """Else an idle consumer that began at the end would leave out, after a restart, what came meanwhile."""
    setup = make(auto_offset_reset="latest")
    setup.append("a", "b")
    setup.assign()
    setup.run_for(6.0)
    assert stored(setup) == {0: 2}
    setup.append("c")
    setup.restart(group_id="g", auto_offset_reset="latest")
    setup.assign()
    assert setup.values(1) == ["c"]


def test_a_position_that_was_committed_is_not_due() -> None:
    setup = make()
    setup.append("a", "b")
    setup.broker.commit("g", {TP: 1})
    setup.assign()
    setup.next()
    setup.run_for(30.0)
    assert sent(setup) == []


def test_it_stays_due_after_a_failure_that_passes() -> None:  # lesson 12, P12
    setup = make()
    setup.append("a")
    setup.assign()
    setup.run_for(0.5)
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, times=5)
    setup.run_until(lambda: stored(setup))
    times = [now for now, _ in sent(setup)]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert [0.08 <= pauses[0] <= 0.13, 0.16 <= pauses[1] <= 0.25, 0.8 <= pauses[4] <= 1.01] == [True] * 3
    setup.read(1)
    setup.poll()
    began = setup.now
    setup.run_until(lambda: stored(setup) == {0: 1})
    assert setup.now - began > 4.0  # the timer is the ordinary one again


def test_what_does_not_pass_is_tried_again_at_the_next_interval(caplog: pytest.LogCaptureFixture) -> None:  # P14
    setup = make()
    setup.assign()
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.GROUP_AUTHORIZATION_FAILED, times=3)
    setup.run_for(22.0)
    assert len(sent(setup)) == 4
    assert stored(setup) == {0: 0}
    assert setup.poll() is None  # it is logged, not raised
    assert sum("an automatic commit failed" in message for message in caplog.messages) == 1  # not at each attempt


def test_a_topic_that_is_gone_does_not_hold_up_the_others() -> None:  # lesson 13, trap 43
    setup = Setup({"t": 1, "gone": 1}, group_id="g", auto_commit_interval_ms=5_000)
    setup.append(*[str(number) for number in range(100)])
    setup.assign()
    setup.run_for(6.0)
    setup.broker.delete_topic("gone")
    setup.seek(0, TopicPartition("gone", 0))  # so that something of it is due
    for _ in range(4):
        setup.next()
        setup.run_for(5.0)
    assert setup.broker.committed("g")[TP].offset >= 3
    assert len(sent(setup)) <= 7  # not more often than the interval
    began = setup.now
    setup.close()
    assert setup.now - began < 1.0


def test_without_a_seek_it_never_sends_less() -> None:
    setup = make()
    setup.append(*"abcdefgh")
    setup.assign()
    setup.read(3)
    setup.result(setup.consumer.commit({TP: 6}, setup.now))  # by hand, and further than it has read
    assert setup.partition().finished == 6
    setup.run_for(11.0)
    setup.read(2)
    setup.run_for(11.0)
    assert what_was_sent(setup) == [{0: 6}]
    setup.read(3)
    setup.run_for(6.0)
    assert what_was_sent(setup) == [{0: 6}, {0: 7}]


def test_a_seek_back_is_committed() -> None:
    setup = make()
    setup.append(*"abcdefgh")
    setup.assign()
    setup.read(6)
    setup.run_for(6.0)
    setup.seek(2)
    setup.run_for(6.0)
    assert what_was_sent(setup) == [{0: 5}, {0: 2}]
    setup.consumer.seek_to_beginning(None, setup.now)
    setup.run_for(6.0)
    assert stored(setup) == {0: 0}


def test_what_is_given_up_is_committed() -> None:
    setup = make(2)
    setup.append("a", "b", "c")
    setup.assign()
    setup.read(3)
    setup.consumer.incremental_unassign(TP, setup.now)
    setup.run_until(lambda: stored(setup))
    assert stored(setup) == {0: 2}  # c was in hand
    setup.assign([])
    setup.run_for(1.0)
    assert stored(setup) == {0: 2, 1: 0}


@pytest.mark.parametrize("trouble", ["loading", "slow", "moved", "cut"])
def test_what_is_given_up_and_taken_back_begins_where_it_was(trouble: str) -> None:  # lesson 7
    """What is committed of a partition is asked for only after what was being committed is."""
    setup = make(2, nodes=2)
    setup.append(*"abcdefgh")
    setup.append(*"stuvwxyz", partition=1)
    setup.assign()
    setup.read(16)
    setup.run_for(6.0)
    setup.seek(2)
    assert setup.values(3) == ["c", "d", "e"]
    if trouble == "loading":
        setup.broker.faults.add(api=COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, times=3)
    elif trouble == "slow":
        setup.broker.faults.add(api=COMMIT, delay=0.5)
    elif trouble == "moved":
        setup.broker.move_coordinator("g", 1 - (setup.broker.coordinator("g") or 0))
    setup.consumer.incremental_unassign(TP, setup.now)
    if trouble == "cut":
        setup.network.cut()
    setup.consumer.incremental_assign([TP], setup.now)
    assert setup.values(1) == ["e"]  # which was in hand
    assert setup.broker.committed("g")[TP].offset == 4


def test_what_can_not_be_committed_does_not_hold_up_others() -> None:
    setup = make(2)
    setup.append("a")
    setup.append("x", partition=1)
    operation = setup.consumer.commit({TP: 0, TopicPartition("gone", 0): 5}, setup.now)
    setup.run_for(0.5)
    setup.assign()
    began = setup.now
    assert setup.read(2)
    assert setup.now - began < 0.1
    assert not operation.done


def test_without_partitions_there_is_nothing_to_do() -> None:
    """And no deadline that stays in the past."""
    setup = make()
    setup.assign()
    setup.run_for(6.0)
    setup.assign([])
    setup.run_for(30.0)
    deadline = setup.consumer.next_deadline()
    assert deadline is not None
    assert deadline > setup.now + 60.0
    setup.append("a")
    setup.assign()
    setup.next()
    setup.poll()
    setup.run_for(6.0)
    assert stored(setup) == {0: 1}


def test_only_one_is_on_its_way() -> None:  # P12
    setup = make(auto_commit_interval_ms=100)
    setup.append(*[str(number) for number in range(100)])
    fault = setup.broker.faults.add(api=COMMIT, delay=1.0, times=3)
    setup.assign()
    for _ in range(30):
        setup.next()
        setup.run_for(0.1)
    assert len(sent(setup)) <= 4
    assert fault.hits == 3
    setup.close()
    assert stored(setup) == {0: 29}


# ---------------------------------------------------------------------------------------------------------------- close


def test_close_commits_what_is_finished() -> None:  # P13
    setup = make()
    setup.append("a", "b", "c")
    setup.assign()
    setup.read(2)
    setup.close()
    assert stored(setup) == {0: 1}  # b was in hand: after an exception in the loop it comes again (lesson 2)


def test_close_in_manual_mode_commits_nothing() -> None:
    setup = make(enable_auto_commit=False)
    setup.append("a", "b")
    setup.assign()
    setup.read(2)
    setup.close()
    assert stored(setup) == {}


@pytest.mark.parametrize("code", [ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR])
def test_close_tries_again(code: ErrorCode) -> None:  # lesson 12
    setup = make()
    setup.append("a", "b")
    setup.assign()
    setup.read(2)
    setup.broker.faults.add(api=COMMIT, error=code, times=4)
    setup.close()
    assert stored(setup) == {0: 1}


def test_close_waits_for_the_commits_that_are_on_their_way() -> None:
    setup = make(auto_commit_interval_ms=1_000)
    setup.append("a", "b", "c")
    setup.assign()
    setup.read(3)
    setup.broker.faults.add(api=COMMIT, delay=0.5, times=2)
    setup.run_until(lambda: sent(setup))
    operation = setup.consumer.commit({TP: OffsetAndMetadata(1, "mine")}, setup.now)
    setup.close()
    operation.result()
    assert what_was_sent(setup) == [{0: 2}, {0: 1}, {0: 2}]


def test_close_does_not_send_what_is_being_confirmed() -> None:
    setup = make(auto_commit_interval_ms=1_000)
    setup.append("a", "b", "c")
    setup.assign()
    setup.read(3)
    setup.broker.faults.add(api=COMMIT, delay=0.5)
    setup.run_until(lambda: sent(setup))
    setup.close()
    assert what_was_sent(setup) == [{0: 2}]


@pytest.mark.parametrize("trouble", ["refused", "blocked", "loading", "silent"])
@pytest.mark.parametrize("timeout", [0.0, 2.0, None])
def test_close_is_bounded(trouble: str, timeout: float | None, caplog: pytest.LogCaptureFixture) -> None:  # lesson 33
    setup = make(close_timeout_ms=7_000)
    setup.append("a", "b", "c")
    setup.assign()
    setup.read(3)
    if trouble == "blocked":
        setup.network.block(0)
    elif trouble == "loading":
        setup.broker.faults.add(api=COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, times=None)
    elif trouble == "silent":
        setup.broker.faults.add(api=COMMIT, silent="before", times=None)
    else:
        setup.broker.stop_node(0, setup.now)
    began = setup.now
    operation = setup.consumer.close(setup.now, timeout)
    setup.result(operation)
    assert setup.now - began == pytest.approx(7.0 if timeout is None else timeout, abs=0.001)
    assert setup.consumer.closed
    assert any("closing: the last automatic commit did not finish in" in message for message in caplog.messages)


def test_close_without_time_still_says_what_it_has_to_say() -> None:
    setup = make(auto_commit_interval_ms=1_000)
    setup.append("a", "b", "c")
    setup.assign()
    setup.next()
    setup.run_for(2.0)  # the coordinator is known
    setup.next()
    setup.result(setup.consumer.close(setup.now, 0.0))
    setup.run_for(1.0)
    assert what_was_sent(setup)[-1] == {0: 1}


def test_an_automatic_commit_does_not_undo_one_that_was_ahead_of_it() -> None:
    setup = make(auto_commit_interval_ms=1_000)
    setup.append("a", "b", "c")
    setup.assign()
    assert setup.values(3) == ["a", "b", "c"]
    setup.broker.faults.add(api=COMMIT, delay=2.0)
    ahead = setup.consumer.commit(None, setup.now)  # of c too, which is in hand
    setup.run_for(1.5)  # the timer has come meanwhile, when c was not finished
    setup.result(ahead)
    setup.run_for(0.5)
    assert stored(setup) == {0: 3}
    assert {0: 2} not in what_was_sent(setup)


def test_a_seek_lets_an_automatic_commit_go_back() -> None:
    setup = make(auto_commit_interval_ms=1_000)
    setup.append("a", "b", "c")
    setup.assign()
    assert setup.values(3) == ["a", "b", "c"]
    setup.broker.faults.add(api=COMMIT, delay=2.0)
    ahead = setup.consumer.commit(None, setup.now)
    setup.run_for(0.5)
    setup.seek(0)
    setup.result(ahead)
    setup.run_for(1.5)
    assert stored(setup) == {0: 0}
