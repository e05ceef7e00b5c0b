"""Reading committed offsets: patience with what passes, and nothing that is missing is taken for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.broker.groups import CommittedOffset
from dekaf_proto.errors import (
    BrokerError,
    ErrorCode,
    GroupAuthorizationError,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationError,
    UnknownMemberIdError,
)
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.offset_commit import OffsetCommitRequest
from dekaf_proto.messages.offset_fetch import OffsetFetchRequest, OffsetFetchResponse
from dekaf_proto.types import OffsetAndMetadata, TopicPartition
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


def committed(setup: Setup, *tps: TopicPartition) -> dict[TopicPartition, OffsetAndMetadata | None]:
    return setup.result(setup.consumer.committed(list(tps), setup.now, 5.0))


@pytest.mark.parametrize("release", ["2.4", "2.5", "3.0", "3.9", "4.4"])
def test_what_is_committed(release: str) -> None:  # P15, P16
    setup = make(3, release=release)
    third = TopicPartition("t", 2)
    assert committed(setup, TP) == {TP: None}  # a group that nobody knows
    setup.broker.commit("g", {TP: CommittedOffset(4, 0, "note"), third: CommittedOffset(1, -1, None)})
    setup.assign([TP])  # the ids are known from here on
    setup.run_for(1.0)
    expected = {TP: OffsetAndMetadata(4, "note", 0), OTHER: None, third: OffsetAndMetadata(1, "", None)}
    assert committed(setup, TP, OTHER, third) == expected
    unknown = TopicPartition("u", 0)
    assert committed(setup, TP, unknown) == {TP: expected[TP], unknown: None}
    for request in setup.requests(OffsetFetchRequest):
        assert request.require_stable == (release != "2.4")


@pytest.mark.parametrize(
    "code", [ErrorCode.UNSTABLE_OFFSET_COMMIT, ErrorCode.UNKNOWN_TOPIC_ID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
)
@pytest.mark.parametrize("release", ["2.8", "4.4"])
def test_one_partition_asks_for_patience(code: ErrorCode, release: str) -> None:  # P17, P18, trap 44
    setup = make(2, release=release)
    setup.broker.commit("g", {TP: 4, OTHER: 5})
    fault = setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, partition=1, error=code, times=3)
    assert committed(setup, TP, OTHER) == {TP: OffsetAndMetadata(4), OTHER: OffsetAndMetadata(5)}
    assert fault.hits == 3
    setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, partition=1, error=code, times=None)
    with pytest.raises(KafkaTimeoutError, match=f"{code.name} .*t-1"):
        committed(setup, TP, OTHER)


@pytest.mark.parametrize("code", PASSING[:3])
@pytest.mark.parametrize("release", ["2.8", "4.4"])
def test_the_group_asks_for_patience(code: ErrorCode, release: str) -> None:  # P18
    setup = make(release=release, nodes=2)
    setup.broker.commit("g", {TP: 4})
    fault = setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, top_error=code, times=3)
    assert committed(setup, TP) == {TP: OffsetAndMetadata(4)}
    assert fault.hits == 3


@pytest.mark.parametrize(
    "code, error",
    [
        (ErrorCode.GROUP_AUTHORIZATION_FAILED, GroupAuthorizationError),
        (ErrorCode.TOPIC_AUTHORIZATION_FAILED, TopicAuthorizationError),
        (ErrorCode.UNKNOWN_MEMBER_ID, UnknownMemberIdError),
        (ErrorCode.UNKNOWN_SERVER_ERROR, BrokerError),
    ],
)
@pytest.mark.parametrize("where", ["top_error", "error"])
def test_errors_of_reading_what_is_committed(code: ErrorCode, error: type[KafkaError], where: str) -> None:  # P18
    setup = make()
    setup.broker.commit("g", {TP: 4})
    options: dict[str, Any] = {where: code}
    setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, **options)
    with pytest.raises(error):
        committed(setup, TP)
    setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, **options)
    setup.assign()
    assert isinstance(setup.failure(), error)


@pytest.mark.parametrize("release", ["2.8", "4.4"])
def test_no_answer_is_not_the_answer_that_there_is_none(release: str) -> None:  # lesson 8
    setup = make(2, release=release)
    setup.append("a", "b", "c")
    setup.broker.commit("g", {TP: 2, OTHER: 0})

    def forget(request: object, response: OffsetFetchResponse) -> OffsetFetchResponse:
        for old in response.topics:
            old.partitions = [p for p in old.partitions if p.partition_index]
        for group in response.groups:
            for topic in group.topics:
                topic.partitions = [p for p in topic.partitions if p.partition_index]
        return response

    setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, times=3, alter=forget)
    setup.assign()
    assert setup.values(1) == ["c"]


def test_a_topic_that_was_made_anew_has_another_id() -> None:  # P18
    setup = make()
    setup.assign()
    setup.run_for(1.0)
    setup.broker.recreate_topic("t")
    assert committed(setup, TP) == {TP: None}


@pytest.mark.parametrize("code", [ErrorCode.UNSTABLE_OFFSET_COMMIT, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS])
def test_an_error_does_not_start_a_partition_anew(code: ErrorCode) -> None:  # lesson 8, P17
    setup = make()
    setup.append("a", "b", "c")
    setup.broker.commit("g", {TP: 2})
    setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, times=4, error=code)
    setup.assign()
    assert setup.values(1) == ["c"]


def test_a_commit_before_the_committed_offsets_are_known() -> None:  # lesson 7
    setup = make(enable_auto_commit=True, auto_commit_interval_ms=500)
    setup.append("a", "b", "c")
    setup.broker.commit("g", {TP: 2})
    setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, delay=3.0)
    setup.assign()
    setup.result(setup.consumer.commit(None, setup.now))
    setup.run_for(2.0)
    assert setup.requests(OffsetCommitRequest) == []
    assert setup.values(1) == ["c"]
