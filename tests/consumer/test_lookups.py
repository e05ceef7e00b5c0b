"""Questions to leaders: the ends of logs, offsets for times (section 4), where epochs ended (F26)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dekaf_proto.broker.inprocess import NewRecord
from dekaf_proto.consumer.lookups import EARLIEST, LATEST
from dekaf_proto.errors import (
    BrokerError,
    ErrorCode,
    KafkaTimeoutError,
    TopicAuthorizationError,
    UnsupportedVersionError,
)
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse
from dekaf_proto.messages.metadata import MetadataRequest
from dekaf_proto.messages.offset_for_leader_epoch import OffsetForLeaderEpochRequest
from dekaf_proto.types import OffsetAndTimestamp, TopicPartition
from tests.consumer.helpers import UNIX_OFFSET, Setup

T0, T1, T2 = (TopicPartition("t", number) for number in range(3))
U0 = TopicPartition("u", 0)
START = 1_700_000_000_000


def three_nodes(**options: Any) -> Setup:
    """Topic t with three partitions on three nodes; 2, 3 and 0 records, one each second from START on."""
    setup = Setup({"t": 3, "u": 1}, nodes=3, **options)
    setup.broker.append("t", 0, [NewRecord(b"a", timestamp=START), NewRecord(b"b", timestamp=START + 1000)], setup.now)
    setup.broker.append("t", 1, [NewRecord(b"%d" % i, timestamp=START + 1000 * i) for i in range(3)], setup.now)
    setup.broker.delete_records("t", 1, 1)
    return setup


def asked(setup: Setup) -> list[tuple[int, dict[TopicPartition, int]]]:
    """The ListOffsets requests: who was asked for what."""
    return [
        (
            r.node,
            {TopicPartition(t.name, p.partition_index): p.timestamp for t in r.request.topics for p in t.partitions},
        )
        for r in setup.received(ListOffsetsRequest)
        if isinstance(r.request, ListOffsetsRequest)
    ]


def test_the_ends_of_logs() -> None:
    # O3, O6: one request for each leader, whatever is assigned.
    setup = three_nodes()
    assert setup.result(setup.consumer.end_offsets([T0, T1, T2], setup.now)) == {T0: 2, T1: 3, T2: 0}
    assert sorted(asked(setup), key=lambda a: a[0]) == [(0, {T0: LATEST}), (1, {T1: LATEST}), (2, {T2: LATEST})]
    assert setup.result(setup.consumer.beginning_offsets([T0, T1, T2], setup.now)) == {T0: 0, T1: 1, T2: 0}
    assert setup.result(setup.consumer.end_offsets(T0, setup.now)) == {T0: 2}
    assert setup.result(setup.consumer.end_offsets([], setup.now)) == {}


def test_what_a_request_says() -> None:
    # O2, O3
    setup = Setup({"t": 2, "u": 1}, isolation_level="read_committed", request_timeout_ms=12_345)
    setup.broker.move_leader("t", 0, 0)
    setup.result(setup.consumer.end_offsets([T0, U0, T1], setup.now))
    (request,) = setup.requests(ListOffsetsRequest)
    assert (request.replica_id, request.isolation_level, request.timeout_ms) == (-1, 1, 12_345)
    assert [(t.name, [p.partition_index for p in t.partitions]) for t in request.topics] == [("t", [0, 1]), ("u", [0])]
    assert [p.current_leader_epoch for p in request.topics[0].partitions] == [1, 0]


def test_the_end_is_the_last_stable_offset_under_read_committed() -> None:
    # O1
    for level, end in (("read_committed", 1), ("read_uncommitted", 3)):
        setup = Setup(isolation_level=level)
        setup.append("a")
        setup.append("b", "c", producer_id=7, transactional=True)
        assert setup.result(setup.consumer.end_offsets(T0, setup.now)) == {T0: end}


def test_offsets_for_times() -> None:
    # O5
    setup = three_nodes()
    times = {T0: START + 1, T1: START, T2: START}
    assert setup.result(setup.consumer.offsets_for_times(times, setup.now)) == {
        T0: OffsetAndTimestamp(1, START + 1000, 0),
        T1: OffsetAndTimestamp(1, START + 1000, 0),
        T2: None,
    }
    assert setup.result(setup.consumer.offsets_for_times({T0: START + 1001}, setup.now)) == {T0: None}


def test_implausible_times_are_refused_before_anything_is_sent() -> None:
    # O5, lesson 16
    setup = Setup()
    for time in (-1, 1_700_000_000, 1_700_000_000_000_000):
        with pytest.raises(ValueError, match="time"):
            setup.consumer.offsets_for_times({T0: time}, setup.now)
    setup.assign()
    with pytest.raises(ValueError, match="found no record"):
        setup.seek(None)  # what offsets_for_times says for "no such record"
    assert asked(setup) == []


def test_messages_without_times() -> None:
    # O4: as not found
    setup = Setup()
    setup.append("a")
    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, error=ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT)
    assert setup.result(setup.consumer.offsets_for_times({T0: START}, setup.now)) == {T0: None}


PASSING = [
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.REPLICA_NOT_AVAILABLE,
    ErrorCode.KAFKA_STORAGE_ERROR,
    ErrorCode.OFFSET_NOT_AVAILABLE,
    ErrorCode.LEADER_NOT_AVAILABLE,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_SERVER_ERROR,  # anything else: tried again, too
    ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT,  # which can't be for an end
]


@pytest.mark.parametrize("code", PASSING, ids=lambda code: str(code.name))
def test_errors_that_pass(code: ErrorCode) -> None:
    # O4, trap 17: only what failed is asked again, after a back-off, with new metadata
    setup = three_nodes()
    fault = setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, topic="t", partition=1, error=code, times=3)
    started = setup.now
    assert setup.result(setup.consumer.end_offsets([T0, T1], setup.now)) == {T0: 2, T1: 3}
    assert fault.hits == 3
    assert 0.3 < setup.now - started < 2
    assert [request for _, request in asked(setup)].count({T0: LATEST}) == 1
    assert len(setup.requests(MetadataRequest)) >= 2


def test_an_end_that_is_nowhere_is_asked_for_again() -> None:
    setup = Setup()
    setup.append("a")

    def nowhere(request: ListOffsetsRequest, response: ListOffsetsResponse) -> ListOffsetsResponse:
        response.topics[0].partitions[0].offset = -1
        return response

    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, alter=nowhere, times=2)
    assert setup.result(setup.consumer.end_offsets(T0, setup.now)) == {T0: 1}
    assert len(asked(setup)) == 3


def test_an_answer_that_lacks_a_partition_or_has_others() -> None:
    setup = three_nodes()

    def other(request: ListOffsetsRequest, response: ListOffsetsResponse) -> ListOffsetsResponse:
        response.topics[0].name = "elsewhere"
        return response

    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, alter=other)
    assert setup.result(setup.consumer.end_offsets(T0, setup.now)) == {T0: 2}
    assert len(asked(setup)) == 2


def test_what_is_forbidden_is_raised() -> None:
    # O4: after all have been asked
    setup = three_nodes()
    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, topic="t", partition=1, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(TopicAuthorizationError, match="t"):
        setup.result(setup.consumer.end_offsets([T0, T1, T2], setup.now))
    assert len(asked(setup)) == 3
    assert setup.result(setup.consumer.end_offsets(T1, setup.now)) == {T1: 3}


def test_a_topic_out_of_reach_is_raised() -> None:
    # M6
    setup = Setup()
    setup.broker.faults.add(api=ApiKey.METADATA, topic="t", error=ErrorCode.TOPIC_AUTHORIZATION_FAILED, times=None)
    with pytest.raises(TopicAuthorizationError):
        setup.result(setup.consumer.end_offsets(T0, setup.now))


@pytest.mark.parametrize("tp", [TopicPartition("nowhere", 0), TopicPartition("t", 99)], ids=str)
def test_a_partition_that_does_not_exist_is_waited_for(tp: TopicPartition) -> None:
    setup = Setup({"t": 1})
    with pytest.raises(KafkaTimeoutError) as raised:
        setup.result(setup.consumer.end_offsets([T0, tp], setup.now, 5))
    assert isinstance(raised.value.last_error, BrokerError)
    assert raised.value.last_error.code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    waiting = setup.consumer.end_offsets([T0, tp], setup.now)
    setup.run_for(3)
    setup.broker.cluster.topics.pop("nowhere", None)
    if tp.topic == "t":
        setup.broker.create_partitions("t", 100)
    else:
        setup.broker.create_topic("nowhere")
    assert setup.result(waiting) == {T0: 0, tp: 0}


def test_a_leader_that_is_gone() -> None:
    # O3: an unknown leader, or one that can't be reached
    setup = three_nodes()
    setup.result(setup.consumer.end_offsets([T0, T1, T2], setup.now))
    setup.broker.stop_node(1, setup.now)
    assert setup.result(setup.consumer.end_offsets([T0, T1, T2], setup.now)) == {T0: 2, T1: 3, T2: 0}
    setup.broker.move_leader("t", 1, None)
    waiting = setup.consumer.end_offsets([T1], setup.now)
    setup.run_for(3)
    assert not waiting.done
    setup.broker.move_leader("t", 1, 2)
    assert setup.result(waiting) == {T1: 3}


def test_a_newer_epoch_than_is_known_asks_for_metadata() -> None:
    # O8
    setup = Setup(nodes=2)
    setup.result(setup.consumer.end_offsets(T0, setup.now))
    setup.run_for(3)
    before = len(setup.requests(MetadataRequest))

    def newer(request: ListOffsetsRequest, response: ListOffsetsResponse) -> ListOffsetsResponse:
        response.topics[0].partitions[0].leader_epoch = 3
        return response

    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, alter=newer)
    setup.result(setup.consumer.end_offsets(T0, setup.now))
    setup.run_for(3)
    assert len(setup.requests(MetadataRequest)) == before + 1


def test_a_broker_that_cannot_be_asked() -> None:
    setup = Setup(api_versions={ApiKey.LIST_OFFSETS: None})
    with pytest.raises(UnsupportedVersionError):
        setup.result(setup.consumer.end_offsets(T0, setup.now))


@pytest.mark.parametrize("release", ["2.1", "2.4", "3.0"])
def test_older_brokers(release: str) -> None:
    setup = three_nodes(release=release)
    assert setup.result(setup.consumer.end_offsets([T0, T1, T2], setup.now)) == {T0: 2, T1: 3, T2: 0}
    assert setup.result(setup.consumer.offsets_for_times({T1: START + 1}, setup.now)) == {
        T1: OffsetAndTimestamp(1, START + 1000, 0)
    }


# --------------------------------------------------------------------------------------------- a time, or else the end


def seek_to_the_future(setup: Setup) -> Callable[[], object]:
    setup.assign([T0])
    seeking = setup.consumer.seek_to_timestamp({T0: START + 10_000_000}, setup.now)
    return lambda: seeking.done


def test_a_time_that_no_record_has_reached_is_the_end() -> None:
    setup = three_nodes()
    setup.run_until(seek_to_the_future(setup))
    assert setup.consumer.position(T0) == 2


def test_a_record_that_comes_between_the_two_answers_is_not_passed_over() -> None:
    # O10
    setup = three_nodes()

    def append(request: ListOffsetsRequest, response: ListOffsetsResponse) -> ListOffsetsResponse:
        setup.broker.append("t", 0, [NewRecord(b"c", timestamp=START + 20_000_000)], setup.now)
        return response

    setup.broker.faults.add(
        api=ApiKey.LIST_OFFSETS,
        alter=append,
        when=lambda header, request: request.topics[0].partitions[0].timestamp >= 0,  # type: ignore[attr-defined]
    )
    setup.run_until(seek_to_the_future(setup))
    assert setup.consumer.position(T0) == 2
    assert setup.values(1) == ["c"]


def test_errors_of_the_second_and_third_question() -> None:
    setup = three_nodes(auto_offset_reset="none")
    turns = iter([False, True, False, False, True])
    setup.broker.faults.add(
        api=ApiKey.LIST_OFFSETS,
        error=ErrorCode.NOT_LEADER_OR_FOLLOWER,
        when=lambda header, request: next(turns, False),
        times=None,
    )
    setup.run_until(seek_to_the_future(setup))
    assert setup.consumer.position(T0) == 2
    assert [len(request) for _, request in asked(setup)] == [1] * (2 + 3 + 3)


# --------------------------------------------------------------------------------------------------- where epochs ended


def test_what_is_asked_about_an_epoch() -> None:
    # F26
    setup = Setup({"t": 1, "u": 1}, nodes=2)
    for topic in ("t", "u"):
        setup.append("a", "b", topic=topic)
        setup.broker.move_leader(topic, 0, 0)
    setup.assign([T0, U0])
    setup.consumer.seek(T0, OffsetAndTimestamp(2, START, 0), setup.now)
    setup.consumer.seek(U0, OffsetAndTimestamp(1, START, 1), setup.now)
    setup.until_fetching()
    (request,) = setup.requests(OffsetForLeaderEpochRequest)
    assert request.replica_id == -1
    asked = [
        (t.topic, p.partition, p.leader_epoch, p.current_leader_epoch) for t in request.topics for p in t.partitions
    ]
    assert asked == [("t", 0, 0, 1), ("u", 0, 1, 1)]


@pytest.mark.parametrize("release", ["2.1", None])
def test_brokers_that_cannot_be_asked_are_not(release: str | None) -> None:
    # F25, F26: without version 3 of the question a position is taken as it is.
    setup = Setup(release=release, api_versions=None if release else {ApiKey.OFFSET_FOR_LEADER_EPOCH: None})
    setup.append("a", "b")
    setup.assign()
    setup.consumer.seek(T0, OffsetAndTimestamp(1, START, 0), setup.now)
    assert setup.values(1) == ["b"]
    assert setup.requests(OffsetForLeaderEpochRequest) == []


def test_the_constants() -> None:
    # O1
    assert (LATEST, EARLIEST) == (-1, -2)
    assert UNIX_OFFSET * 1000 == START
