"""Commits: what is sent, in which order, what comes of each answer; and what is never sent. In virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.broker.groups import CommittedOffset
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.errors import (
    BrokerError,
    CommitError,
    CommitFailedError,
    ErrorCode,
    GroupAuthorizationError,
    KafkaError,
    KafkaTimeoutError,
    LocalProtocolError,
    NoGroupError,
    NotAssignedError,
    OperationCancelledError,
    TopicAuthorizationError,
    UnknownMemberIdError,
)
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from dekaf_proto.operation import Operation
from dekaf_proto.types import OffsetAndMetadata, TopicPartition, TopicPartitionOffset, Uuid
from tests.consumer.helpers import Setup

TP, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)
COMMIT = ApiKey.OFFSET_COMMIT

PASSING = [
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.REQUEST_TIMED_OUT,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_ID,
]
FINAL = [
    ErrorCode.OFFSET_METADATA_TOO_LARGE,
    ErrorCode.INVALID_COMMIT_OFFSET_SIZE,
    ErrorCode.GROUP_AUTHORIZATION_FAILED,
    ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    ErrorCode.UNKNOWN_MEMBER_ID,
    ErrorCode.ILLEGAL_GENERATION,
    ErrorCode.GROUP_ID_NOT_FOUND,
    ErrorCode.UNKNOWN_SERVER_ERROR,
]


def make(partitions: int = 1, **options: Any) -> Setup:
    return Setup({"t": partitions}, **{"group_id": "g", "enable_auto_commit": False, **options})


def stored(setup: Setup) -> dict[int, int]:
    """What the group has committed, by partition."""
    return {tp.partition: found.offset for tp, found in setup.broker.committed("g").items()}


def sent(setup: Setup) -> list[dict[int, int]]:
    """What was sent to be committed, request by request."""
    return [
        {p.partition_index: p.committed_offset for topic in request.topics for p in topic.partitions}
        for request in setup.requests(OffsetCommitRequest)
    ]


def commit(setup: Setup, offsets: Any = None, timeout: float | None = None, **options: Any) -> Operation[None]:
    return setup.consumer.commit(offsets, setup.now, timeout, **options)


# ------------------------------------------------------------------------------------------------------- what is sent


def test_the_record_in_hand_counts_as_done() -> None:  # P1, P3
    setup = make(2)
    setup.append("a", "b", "c")
    setup.assign()
    assert setup.values(2) == ["a", "b"]
    setup.result(commit(setup))
    assert setup.broker.committed("g") == {TP: CommittedOffset(2, 0, ""), OTHER: CommittedOffset(0, -1, "")}
    assert setup.values(1) == ["c"]
    setup.result(commit(setup))
    assert sent(setup) == [{0: 2, 1: 0}, {0: 3}]  # only what has changed


def test_a_commit_between_two_records_of_a_batch() -> None:  # lesson 17
    setup = make()
    setup.append("a", "b", "c", "d")
    setup.assign()
    for offset in range(1, 5):
        setup.next()
        assert setup.consumer.position(TP) == offset
        setup.result(commit(setup))
        assert stored(setup) == {0: offset}


def test_a_simple_consumer_is_no_member() -> None:  # P4, trap 34
    setup = make()
    setup.result(commit(setup, {TP: 3}))
    (request,) = setup.requests(OffsetCommitRequest)
    assert request.group_id == "g"
    assert (request.generation_id_or_member_epoch, request.member_id, request.group_instance_id) == (-1, "", None)


def test_every_form_of_a_commit() -> None:
    setup = make(2)
    setup.append("a", "b", "c")
    setup.append("x", "y", partition=1)
    setup.assign()
    records = setup.read(5)
    first = next(record for record in records if record.value == b"a")
    forms: list[tuple[Any, dict[TopicPartition, CommittedOffset]]] = [
        (first, {TP: CommittedOffset(1, 0, "")}),
        (Batch(records[:4]), {TP: CommittedOffset(3, 0, ""), OTHER: CommittedOffset(1, 0, "")}),
        ({TP: 1}, {TP: CommittedOffset(1, -1, "")}),
        ({OTHER: OffsetAndMetadata(2, "note", 7)}, {OTHER: CommittedOffset(2, 7, "note")}),
        ([TopicPartitionOffset("t", 0, 2)], {TP: CommittedOffset(2, -1, "")}),
    ]
    for given, expected in forms:
        setup.result(commit(setup, given))
        found = setup.broker.committed("g")
        assert {tp: found[tp] for tp in expected} == expected
    assert len(sent(setup)) == len(forms)


def test_partitions_that_are_not_assigned_can_be_committed() -> None:
    setup = make(2)
    setup.result(commit(setup, {OTHER: 4}))
    assert stored(setup) == {1: 4}


def test_a_lower_offset_can_be_committed() -> None:
    setup = make()
    setup.append(*"abcdef")
    setup.assign()
    setup.read(5)
    setup.result(commit(setup))
    setup.result(commit(setup, {TP: 2}))
    assert stored(setup) == {0: 2}
    setup.result(commit(setup))
    assert stored(setup) == {0: 5}


def test_partitions_whose_position_is_not_known_are_left_out() -> None:  # P3
    setup = make(2)
    setup.append("a")
    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, partition=1, error=ErrorCode.LEADER_NOT_AVAILABLE, times=None)
    setup.assign()
    setup.next()
    setup.result(commit(setup))
    assert sent(setup) == [{0: 1}]


def test_nothing_to_commit_is_no_error() -> None:  # lesson 10
    setup = make()
    setup.result(commit(setup))
    setup.result(commit(setup, {}))
    setup.assign()
    assert commit(setup).done  # at once
    setup.run_for(1.0)
    setup.result(commit(setup))
    setup.result(commit(setup))
    assert sent(setup) == [{0: 0}]
    assert setup.consumer.metrics().commits == 1


def test_without_a_group_there_is_nothing_to_commit_to() -> None:  # lesson 10
    setup = Setup({"t": 1})
    for call in (
        lambda: setup.consumer.commit(None, setup.now),
        lambda: setup.consumer.commit({TP: 1}, setup.now),
        lambda: setup.consumer.store_offsets({TP: 1}, setup.now),
        lambda: setup.consumer.committed(TP, setup.now),
    ):
        with pytest.raises(NoGroupError, match="no group_id"):
            call()


def test_offsets_that_can_not_be() -> None:  # P2
    setup = make()
    for given in ({TP: -1}, {TP: OffsetAndMetadata(-5)}, [TopicPartitionOffset("t", 0, -2)]):
        with pytest.raises(ValueError, match="negative"):
            commit(setup, given)
    assert sent(setup) == []


@pytest.mark.parametrize("release, by_id", [("4.4", True), ("4.1", False), ("2.4", False)])
def test_topics_go_by_id_if_all_have_one(release: str, by_id: bool) -> None:  # P6, W29
    setup = make(release=release)
    setup.assign()
    setup.run_for(0.1)
    setup.result(commit(setup, {TP: 1}))
    assert (setup.received(OffsetCommitRequest)[-1].header.request_api_version >= 10) == by_id
    with pytest.raises(KafkaTimeoutError, match="UNKNOWN_TOPIC_OR_PARTITION"):
        setup.result(commit(setup, {TP: 2, TopicPartition("u", 0): 1}, 1.0))
    assert setup.received(OffsetCommitRequest)[-1].header.request_api_version <= 9
    assert stored(setup) == {0: 2}


# ------------------------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize("code", PASSING, ids=lambda code: code.name)
def test_what_passes_is_tried_again_with_the_same_offsets(code: ErrorCode) -> None:  # P7, 7.3
    setup = make()
    setup.append("a", "b")
    setup.assign()
    setup.next()
    fault = setup.broker.faults.add(api=COMMIT, error=code, times=3)
    operation = commit(setup)
    setup.run_until(lambda: fault.hits == 1)
    setup.next()
    setup.result(operation)
    assert sent(setup) == [{0: 1}] * 4
    assert stored(setup) == {0: 1}
    assert setup.consumer.metrics().failed_commits == 3


@pytest.mark.parametrize("code", FINAL, ids=lambda code: code.name)
def test_what_does_not_pass_is_raised(code: ErrorCode) -> None:  # 7.3
    setup = make()
    fault = setup.broker.faults.add(api=COMMIT, error=code, times=None)
    with pytest.raises(CommitError, match=code.name) as caught:
        setup.result(commit(setup, {TP: 1}))
    assert list(caught.value.errors) == [TP]
    assert caught.value.errors[TP].code == code
    assert caught.value.partitions == (TP,)
    assert not caught.value.retriable
    assert fault.hits == 1
    setup.broker.faults.clear()
    setup.result(commit(setup, {TP: 2}))
    assert stored(setup) == {0: 2}


@pytest.mark.parametrize(
    "code, error, text",
    [
        (ErrorCode.GROUP_AUTHORIZATION_FAILED, GroupAuthorizationError, "g"),
        (ErrorCode.TOPIC_AUTHORIZATION_FAILED, TopicAuthorizationError, "t"),
        (ErrorCode.UNKNOWN_MEMBER_ID, UnknownMemberIdError, "has members"),
    ],
)
def test_the_error_of_a_partition_has_a_class(code: ErrorCode, error: type[BrokerError], text: str) -> None:
    setup = make()
    setup.broker.faults.add(api=COMMIT, error=code)
    with pytest.raises(CommitError, match=text) as caught:
        setup.result(commit(setup, {TP: 1}))
    assert isinstance(caught.value.errors[TP], error)


def test_one_partition_fails_another_is_stored() -> None:  # P5
    setup = make(2)
    setup.append("a")
    setup.append("b", partition=1)
    setup.assign()
    setup.read(2)
    setup.broker.faults.add(api=COMMIT, partition=1, error=ErrorCode.OFFSET_METADATA_TOO_LARGE)
    with pytest.raises(CommitError) as caught:
        setup.result(commit(setup))
    assert list(caught.value.errors) == [OTHER]
    assert stored(setup) == {0: 1}
    setup.result(commit(setup))
    assert sent(setup) == [{0: 1, 1: 1}, {1: 1}]  # what was stored is confirmed


def test_only_the_partitions_that_failed_are_tried_again() -> None:
    setup = make(2)
    setup.broker.faults.add(api=COMMIT, partition=1, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    setup.result(commit(setup, {TP: 1, OTHER: 2}))
    assert sent(setup) == [{0: 1, 1: 2}, {1: 2}]
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.NOT_COORDINATOR)
    setup.result(commit(setup, {TP: 3, OTHER: 4}))
    assert sent(setup)[2:] == [{0: 3, 1: 4}] * 2


def test_a_commit_without_retries_fails_of_what_passes() -> None:  # P8
    setup = make()
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    with pytest.raises(CommitError) as caught:
        setup.result(commit(setup, {TP: 1}, retry=False))
    assert caught.value.retriable
    setup.broker.faults.add(api=COMMIT, drop="before")
    with pytest.raises(KafkaError, match="closed the connection"):
        setup.result(commit(setup, {TP: 1}, retry=False))
    assert len(sent(setup)) == 2


def test_an_automatic_commit_does_not_go_back_behind_one_by_hand_that_nobody_has_answered() -> None:
    # The simulator's seed 60357: it may be stored, and its record is done, though it is still in hand.
    setup = make(enable_auto_commit=True, auto_commit_interval_ms=1000, default_api_timeout_ms=3000)
    setup.append("a", "b")
    setup.assign()
    (record,) = setup.read(1)
    setup.broker.faults.add(api=COMMIT, silent="after")
    with pytest.raises(KafkaTimeoutError):
        setup.result(commit(setup, record), limit=5.0)
    setup.run_for(60)
    assert stored(setup) == {0: 1}
    assert sent(setup)[-1] == {0: 1}
    setup.read(1)
    setup.run_for(5)
    assert sent(setup)[-1] == {0: 1}
    setup.poll()
    setup.run_for(5)
    assert stored(setup) == {0: 2}


def test_an_automatic_commit_that_was_overtaken_while_it_waited_is_left_out() -> None:  # P9
    setup = make(enable_auto_commit=True, auto_commit_interval_ms=1000)
    setup.append("a", "b")
    setup.assign()
    (record,) = setup.read(1)
    setup.broker.faults.add(api=ApiKey.FIND_COORDINATOR, delay=3)
    setup.consumer._metadata.coordinator_lost("g", "the test")
    by_hand = commit(setup, record)
    setup.run_for(2)  # the automatic one is due, with where the record begins
    assert setup.consumer._commits._automatic is not None
    setup.result(by_hand)
    setup.run_for(0.5)
    assert sent(setup) == [{0: 1}]


def test_a_topic_that_was_made_anew_has_another_id() -> None:  # 7.3
    setup = make()
    setup.assign()
    setup.consumer.pause(None, setup.now)
    setup.run_for(2.0)
    setup.broker.recreate_topic("t")
    with pytest.raises(CommitFailedError, match="the topic was deleted and created again"):
        setup.result(commit(setup, {TP: 0}), limit=5.0)  # the offset is one of the topic that is no more
    setup.result(commit(setup, {TP: 0}), limit=5.0)
    assert stored(setup) == {0: 0}


def test_a_record_of_a_topic_that_was_made_anew() -> None:
    # The simulator's seed 188: stored for the new topic, its offset would pass over records that nobody has seen.
    setup = make()
    setup.append("a", "b", "c")
    setup.assign()
    records = setup.read(3)
    fault = setup.broker.faults.add(api=COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    waits = commit(setup, records[1])
    setup.run_until(lambda: fault.hits)
    setup.broker.recreate_topic("t")
    setup.append("A", "B", "C", "D")
    setup.refresh()
    for operation in (waits, commit(setup, records[2], 1.0)):
        with pytest.raises(CommitFailedError, match="the topic was deleted and created again"):
            setup.result(operation, limit=5.0)
    with pytest.raises(CommitFailedError, match="the topic was deleted and created again"):
        setup.result(commit(setup, records[2]), limit=5.0)
    assert stored(setup) == {}
    assert setup.values(1) == ["A"]
    setup.result(commit(setup))
    assert stored(setup) == {0: 1}


def test_a_topic_that_was_made_anew_is_noticed_at_once() -> None:
    # New metadata, and in the same moment it is time for the next attempt: nobody else has looked at it yet.
    setup = make()
    setup.append("a", "b", "c")
    setup.assign()
    records = setup.read(3)
    fault = setup.broker.faults.add(api=COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    waits = commit(setup, records[1])
    setup.run_until(lambda: fault.hits)
    setup.run_for(0.005)
    setup.consumer._client.cluster.topics["t"].topic_id = Uuid(bytes(15) + b"!")
    with pytest.raises(CommitFailedError, match="the topic was deleted and created again"):
        setup.result(waits, limit=5.0)
    assert len(sent(setup)) == 1


def test_a_note_that_is_too_long() -> None:  # P1
    setup = make()
    with pytest.raises(CommitError, match="OFFSET_METADATA_TOO_LARGE"):
        setup.result(commit(setup, {TP: OffsetAndMetadata(1, "x" * 5000)}))


def forget_all(request: object, response: OffsetCommitResponse) -> OffsetCommitResponse:
    response.topics = []
    return response


def forget_one(request: object, response: OffsetCommitResponse) -> OffsetCommitResponse:
    for topic in response.topics:
        topic.partitions = [p for p in topic.partitions if p.partition_index != 1]
    return response


def invent(request: object, response: OffsetCommitResponse) -> OffsetCommitResponse:
    response.topics[0].partitions[0].partition_index = 77
    response.topics[0].partitions[0].error_code = ErrorCode.UNKNOWN_TOPIC_ID
    return response


@pytest.mark.parametrize("alter, missing", [(forget_all, [TP, OTHER]), (forget_one, [OTHER]), (invent, [TP])])
def test_no_answer_is_no_confirmation(alter: Any, missing: list[TopicPartition]) -> None:
    setup = make(2)
    setup.assign()
    setup.run_for(0.1)
    setup.broker.faults.add(api=COMMIT, alter=alter)
    with pytest.raises(CommitError, match="does not name it") as caught:
        setup.result(commit(setup))
    assert list(caught.value.errors) == missing
    setup.result(commit(setup))
    assert set(sent(setup)[1]) == {tp.partition for tp in missing}  # still due


@pytest.mark.parametrize("how", ["moved", "stopped", "cut", "silent", "dropped before", "dropped after"])
def test_the_coordinator_goes_away(how: str) -> None:  # G4
    setup = make(nodes=3, request_timeout_ms=3_000)
    setup.result(commit(setup, {TP: 1}))
    old = setup.broker.coordinator("g")
    assert old is not None
    if how == "moved":
        setup.broker.move_coordinator("g", (old + 1) % 3)
    elif how == "stopped":
        setup.broker.stop_node(old, setup.now)
    elif how == "silent":
        setup.broker.faults.add(api=COMMIT, silent="before")
    elif how.startswith("dropped"):
        setup.broker.faults.add(api=COMMIT, drop="before" if how.endswith("before") else "after")
    operation = commit(setup, {TP: 2})
    if how == "cut":
        setup.network.cut()
    setup.result(operation)
    assert stored(setup) == {0: 2}


def test_a_time_out_says_what_held_it_up() -> None:
    setup = make()
    setup.result(commit(setup, {TP: 1}))
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, times=None)
    operation = commit(setup, {TP: 2}, 3.0)
    behind = commit(setup, {TP: 3}, 2.0)
    with pytest.raises(KafkaTimeoutError, match="commit did not finish in 3 s: not committed: t-0: COORDINATOR_LOAD"):
        setup.result(operation)
    with pytest.raises(KafkaTimeoutError, match="commit did not finish in 2 s: not committed: t-0: COORDINATOR_LOAD"):
        setup.result(behind)
    setup.broker.faults.clear()
    setup.network.block(0)
    operation = commit(setup, {TP: 2}, 3.0)
    with pytest.raises(KafkaTimeoutError, match="no answer yet"):
        setup.result(operation)
    setup.network.unblock(0)


# --------------------------------------------------------------------------------------------------------------- order


def test_commits_go_out_in_the_order_of_the_calls() -> None:  # P9
    setup = make()
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, times=2)
    setup.broker.faults.add(api=COMMIT, delay=0.3, times=1)
    done: list[int] = []
    operations = [commit(setup, {TP: offset}) for offset in range(10)]
    setup.network.checks.append(
        lambda: done.extend(i for i, operation in enumerate(operations) if operation.done and i not in done)
    )
    setup.result(operations[-1])
    assert done == list(range(10))
    assert [request[0] for request in sent(setup)] == [0, 0, 0, *range(1, 10)]


def test_a_commit_of_nothing_does_not_overtake_either() -> None:  # P9
    setup = make()
    setup.assign()
    setup.run_for(0.1)
    setup.result(commit(setup))
    setup.broker.faults.add(api=COMMIT, delay=1.0)
    first, second = commit(setup, {TP: 7}), commit(setup, {})
    setup.run_for(0.5)
    assert not second.done
    setup.result(second)
    assert first.done
    assert setup.consumer.metrics().commits == 2


@pytest.mark.parametrize("when", [0.0, 0.0005, 0.001, 0.002, 0.01, 0.05, 0.1, 0.15, 0.5])
@pytest.mark.parametrize("known", [True, False])
def test_a_commit_that_is_given_up_lets_the_others_go_on(when: float, known: bool) -> None:
    setup = make(latency=0.01)
    if known:
        setup.result(commit(setup, {TP: 99}))
    setup.broker.faults.add(api=COMMIT, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, times=2)
    operations = [commit(setup, {TP: offset}) for offset in range(4)]
    setup.run_for(when)
    for given_up in (2, 0):
        operations[given_up].cancel()
    setup.result(operations[3], limit=5.0)
    assert operations[1].done
    assert stored(setup) == {0: 3}
    for given_up in (0, 2):
        if not isinstance(operations[given_up].error, OperationCancelledError):
            assert operations[given_up].error is None  # it was done before
    assert setup.consumer._commits.idle


def test_a_commit_whose_time_is_up_lets_the_others_go_on() -> None:
    setup = make(nodes=1)
    setup.broker.faults.add(api=COMMIT, silent="before")
    first, second = commit(setup, {TP: 1}, 2.0), commit(setup, {TP: 2}, 60.0)
    with pytest.raises(KafkaTimeoutError):
        setup.result(first)
    setup.result(second, limit=40.0)
    assert stored(setup) == {0: 2}


# -------------------------------------------------------------------------------------- what changes while it is sent


def test_a_seek_has_the_last_word() -> None:
    """Over a commit that is on its way, and over one that waits for its turn."""
    setup = make(enable_auto_commit=True, auto_commit_interval_ms=2_000)
    setup.append(*"abcdefgh")
    setup.assign()
    setup.read(6)
    setup.broker.faults.add(api=COMMIT, delay=0.5, times=2)
    operations = [commit(setup, {TP: 4}), commit(setup)]
    setup.seek(2)
    for operation in operations:
        setup.result(operation)
    assert stored(setup) == {0: 6}
    setup.run_for(5.0)
    assert stored(setup) == {0: 2}  # to read them again is what the seek was for


def test_what_is_stored_meanwhile_is_due() -> None:  # lesson 9
    setup = make(enable_auto_offset_store=False)
    setup.append(*"abcdef")
    setup.assign()
    setup.read(5)
    setup.broker.faults.add(api=COMMIT, delay=0.5)
    setup.consumer.store_offsets({TP: 2}, setup.now)
    operation = commit(setup)
    setup.consumer.store_offsets({TP: 4}, setup.now)
    setup.result(operation)
    assert stored(setup) == {0: 2}
    setup.result(commit(setup))
    assert stored(setup) == {0: 4}


def test_an_assignment_that_ended_meanwhile() -> None:
    setup = make(2)
    setup.assign()
    setup.run_for(0.1)
    setup.broker.faults.add(api=COMMIT, delay=0.5)
    operation = commit(setup)
    setup.consumer.incremental_unassign(TP, setup.now)
    setup.consumer.incremental_assign([TP], setup.now)
    setup.result(operation)
    assert stored(setup) == {0: 0, 1: 0}


# -------------------------------------------------------------------------------------------------------- store_offsets


def test_only_what_was_stored_is_committed() -> None:
    setup = make(2, enable_auto_offset_store=False)
    setup.append("a", "b", "c")
    setup.append("x", partition=1)
    setup.assign()
    records = setup.read(4)
    setup.result(commit(setup))
    assert sent(setup) == []
    setup.consumer.store_offsets(next(record for record in records if record.value == b"b"), setup.now)
    setup.result(commit(setup))
    assert sent(setup) == [{0: 2}]
    setup.result(commit(setup))
    assert len(sent(setup)) == 1
    setup.consumer.store_offsets({TP: 2}, setup.now)  # no news
    setup.result(commit(setup))
    assert len(sent(setup)) == 1
    setup.consumer.store_offsets({TP: OffsetAndMetadata(2, "note")}, setup.now)
    setup.result(commit(setup))
    assert setup.broker.committed("g")[TP].metadata == "note"
    setup.consumer.store_offsets({TP: 1}, setup.now)  # lower, by the program's will
    setup.result(commit(setup))
    assert stored(setup) == {0: 1}


def test_a_seek_forgets_what_was_stored() -> None:
    setup = make(enable_auto_offset_store=False)
    setup.append("a", "b")
    setup.assign()
    setup.next()
    setup.consumer.store_offsets({TP: 1}, setup.now)
    setup.seek(0)
    setup.result(commit(setup))
    assert sent(setup) == []


def test_stored_offsets_are_committed_automatically() -> None:
    setup = make(enable_auto_offset_store=False, enable_auto_commit=True, auto_commit_interval_ms=1_000)
    setup.append("a", "b", "c")
    setup.assign()
    setup.read(3)
    setup.run_for(3.0)
    assert sent(setup) == []
    setup.consumer.store_offsets({TP: 2}, setup.now)
    setup.run_for(3.0)
    assert sent(setup) == [{0: 2}]
    setup.consumer.store_offsets({TP: 3}, setup.now)
    setup.close()
    assert stored(setup) == {0: 3}


def test_store_offsets_refuses_what_it_can_not_do() -> None:
    setup = make(2)
    with pytest.raises(LocalProtocolError, match="enable_auto_offset_store=False"):
        setup.consumer.store_offsets({TP: 1}, setup.now)
    setup = make(2, enable_auto_offset_store=False)
    setup.assign([TP])
    with pytest.raises(NotAssignedError, match="t-1"):
        setup.consumer.store_offsets({TP: 1, OTHER: 1}, setup.now)
    setup.result(commit(setup))
    assert sent(setup) == []  # all or nothing
