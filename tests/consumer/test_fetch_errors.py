"""What becomes of errors in answers to a fetch: of partitions, of sessions, of the network (3.4, F10, F11)."""

from __future__ import annotations

import logging

import pytest

from dekaf_proto.errors import (
    BrokerError,
    CorruptMessageError,
    ErrorCode,
    NoProgressError,
    OffsetOutOfRangeError,
    TopicAuthorizationError,
    UnsupportedVersionError,
)
from dekaf_proto.events import Failed
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchRequest, FetchResponse
from dekaf_proto.messages.list_offsets import ListOffsetsRequest
from dekaf_proto.messages.metadata import MetadataRequest, MetadataResponse
from dekaf_proto.records import Codec
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup, from_now_on, reading, values_of

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


# ----------------------------------------------------------------------------------------------------- partition errors

PASSING = [
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.REPLICA_NOT_AVAILABLE,
    ErrorCode.KAFKA_STORAGE_ERROR,
    ErrorCode.OFFSET_NOT_AVAILABLE,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_ID,
    ErrorCode.INCONSISTENT_TOPIC_ID,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.LEADER_NOT_AVAILABLE,
]


@pytest.mark.parametrize("code", PASSING, ids=lambda code: str(code.name))
def test_errors_that_pass(code: ErrorCode) -> None:
    # 3.4, F24, traps 17: retried with a back-off that grows, no reset, the position unchanged
    setup = reading(retry_backoff_ms=100, retry_backoff_max_ms=1_000)
    metadata = len(setup.requests(MetadataRequest))
    fault = setup.broker.faults.add(api=ApiKey.FETCH, topic="t", partition=0, error=code, times=None)
    setup.append("c")
    setup.append("x", partition=1)
    setup.run_for(30)
    assert setup.consumer.position(T0) == 2
    assert 28 < fault.hits < 80
    if code.invalidates == "metadata" or code is ErrorCode.OFFSET_NOT_AVAILABLE:
        assert len(setup.requests(MetadataRequest)) > metadata + 5
    assert setup.values(1) == ["x"]  # others go on
    setup.broker.faults.clear()
    assert setup.values(1) == ["c"]
    assert setup.requests(ListOffsetsRequest) == []


def test_the_same_trouble_is_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    setup = reading()
    setup.broker.faults.add(api=ApiKey.FETCH, partition=0, error=ErrorCode.KAFKA_STORAGE_ERROR, times=None)
    with caplog.at_level(logging.WARNING, "dekaf"):
        setup.run_for(65)
    assert 2 <= len([r for r in caplog.records if "KAFKA_STORAGE_ERROR" in r.getMessage()]) <= 3


FATAL = [
    ErrorCode.CORRUPT_MESSAGE,
    ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
    ErrorCode.OFFSET_MOVED_TO_TIERED_STORAGE,
    ErrorCode.INVALID_REQUEST,
]


@pytest.mark.parametrize("code", FATAL, ids=lambda code: str(code.name))
def test_errors_for_the_program(code: ErrorCode) -> None:
    # 3.4: raised, the position unchanged, until a seek
    setup = reading()
    fault = from_now_on(setup, topic="t", partition=0, error=code)
    setup.append("c")
    setup.append("x", partition=1)
    error = setup.failure_after_records(1)
    assert isinstance(error, BrokerError)
    assert error.code == code
    assert "t-0 at offset 2" in str(error)
    assert isinstance(error, CorruptMessageError) == (code is ErrorCode.CORRUPT_MESSAGE)
    hits = fault.hits
    setup.run_for(10)
    assert fault.hits == hits
    setup.read_all()
    assert setup.consumer.position(T0) == 2
    setup.broker.faults.clear()
    setup.seek(2)
    assert setup.values(1) == ["c"]


@pytest.mark.parametrize("code", [ErrorCode.CORRUPT_MESSAGE, ErrorCode.OFFSET_OUT_OF_RANGE])
def test_records_that_were_fetched_before_an_error_come_first(code: ErrorCode) -> None:
    # F20: an error of what is fetched ahead is not told, and nothing is reset, before the program is there
    setup = Setup(auto_offset_reset="none", max_partition_fetch_bytes=200, busy=1_000)
    setup.append(*"abcdefgh", per_batch=2)
    setup.assign({T0: 0})
    setup.run_until(lambda: setup.partition().chunks)
    fault = setup.broker.faults.add(api=ApiKey.FETCH, error=code, times=None)
    setup.run_until(lambda: fault.hits > 3)
    there = setup.partition().fetch_offset
    assert there < 8
    assert setup.poll() is not None  # records
    setup.broker.faults.clear()
    setup.run_for(2)
    assert values_of(setup.read_all()) == list("abcdefgh")
    from_now_on(setup, error=code)
    setup.append("i")
    assert isinstance(setup.failure(), (CorruptMessageError, OffsetOutOfRangeError))


def test_a_topic_that_may_not_be_read() -> None:
    # 3.4: raised; tried again by itself
    setup = reading()
    fault = from_now_on(setup, partition=0, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    setup.append("c")
    for _ in range(3):
        error = setup.failure()
        assert isinstance(error, TopicAuthorizationError)
    assert 3 <= fault.hits < 10
    setup.broker.faults.clear()
    setup.run_for(3)
    setup.poll()
    assert setup.values(1) == ["c"]


def test_data_without_one_batch() -> None:
    # B20: once, not for ever
    def short(request: FetchRequest, response: FetchResponse) -> FetchResponse:
        for topic in response.responses:
            for partition in topic.partitions:
                if partition.records:
                    partition.records = bytes(partition.records)[:20]
        return response

    setup = reading()
    fault = from_now_on(setup, alter=short)
    setup.append("c")
    error = setup.failure()
    assert isinstance(error, NoProgressError)
    assert (error.partitions, error.offset) == ((T0,), 2)
    before = len(setup.fetches(0))
    setup.run_for(10)
    assert len(setup.fetches(0)) == before
    setup.broker.faults.remove(fault)
    setup.seek(2)
    assert setup.values(1) == ["c"]


def test_an_old_broker_has_no_zstd_for_us() -> None:
    # B15
    setup = Setup(api_versions={ApiKey.FETCH: (4, 9)})
    setup.append("a", codec=Codec.ZSTD)
    setup.assign({T0: 0})
    error = setup.failure()
    assert isinstance(error, BrokerError)
    assert error.code == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE


# -------------------------------------------------------------------------------------------------------- out of range


@pytest.mark.parametrize("policy, expected", [("earliest", ["c", "d"]), ("latest", ["d"])])
def test_out_of_range_begins_anew_by_the_policy(policy: str, expected: list[str]) -> None:
    # 3.4, O7, lesson 28
    setup = Setup(auto_offset_reset=policy)
    setup.append("a", "b", "c")
    setup.broker.delete_records("t", 0, 2)
    setup.assign({T0: 1})
    setup.until_fetching(at=2 if policy == "earliest" else 3)
    setup.append("d")
    assert setup.values(len(expected)) == expected


def test_out_of_range_without_a_policy_is_told_once() -> None:
    # 3.4, O9, lesson 28: not `earliest`, and not swallowed
    setup = Setup({"t": 2}, auto_offset_reset="none")
    setup.append("a")
    setup.assign({T0: 7, T1: 0})
    output: object = None
    while output is None:
        setup.result(setup.consumer.wait(setup.now))
        output = setup.poll()
    assert isinstance(output, Failed)
    assert isinstance(output.error, OffsetOutOfRangeError)
    assert (output.error.offsets, output.partitions) == ({T0: 7}, (T0,))
    setup.append("x", partition=1)
    assert setup.values(1) == ["x"]
    setup.run_for(5)
    assert setup.poll() is None
    assert setup.consumer.position(T0) == 7
    setup.seek(0)
    assert setup.values(1) == ["a"]


def test_out_of_range_waits_until_the_record_in_hand_is_finished() -> None:
    setup = Setup(group_id="g", auto_offset_reset="latest")
    setup.append("a", "b")
    setup.assign({T0: 0})
    assert setup.values(2) == ["a", "b"]
    setup.append("c", "d")
    setup.broker.delete_records("t", 0, 3)
    setup.broker.faults.add(api=ApiKey.FETCH, error=ErrorCode.OFFSET_OUT_OF_RANGE)
    setup.run_for(10)
    assert (setup.consumer.position(T0), setup.partition().finished) == (2, 1)
    assert len(setup.fetches()) < 40


# ------------------------------------------------------------------------------------------------------ session errors


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
        ErrorCode.UNKNOWN_SERVER_ERROR,
        ErrorCode.KAFKA_STORAGE_ERROR,
    ],
    ids=lambda code: str(code.name),
)
def test_errors_of_the_whole_answer(code: ErrorCode) -> None:
    # F10: no partition is looked at; 106 asks for metadata
    setup = reading()
    metadata = len(setup.requests(MetadataRequest))
    setup.broker.faults.add(api=ApiKey.FETCH, node=0, top_error=code)
    setup.append("c")
    assert setup.values(1) == ["c"]
    setup.run_for(2)
    assert (len(setup.requests(MetadataRequest)) > metadata) == (code is ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
    # For ever: no hurry (F24).
    fault = setup.broker.faults.add(api=ApiKey.FETCH, node=0, top_error=code, times=None)
    setup.run_for(30)
    assert fault.hits < 60
    setup.append("d")
    setup.broker.faults.clear()
    assert setup.values(1) == ["d"]


def test_a_broker_that_ends_the_session() -> None:
    # F8: without an error, and with nothing new
    def end(request: FetchRequest, response: FetchResponse) -> FetchResponse:
        response.session_id = 0
        return response

    setup = reading()
    fault = setup.broker.faults.add(api=ApiKey.FETCH, node=0, alter=end)
    setup.run_until(lambda: fault.hits)
    setup.run_for(1)
    setup.append("c")
    assert setup.values(1) == ["c"]
    assert [(r.session_id, r.session_epoch) for r in setup.fetches(0)].count((0, 0)) == 2


def test_a_full_answer_that_lacks_a_partition() -> None:
    # F7
    def lacking(request: FetchRequest, response: FetchResponse) -> FetchResponse:
        response.responses.clear()
        return response

    setup = Setup()
    setup.append("a")
    fault = setup.broker.faults.add(api=ApiKey.FETCH, alter=lacking, times=10)
    setup.assign({T0: 0})
    assert setup.values(1) == ["a"]
    assert fault.hits == 10
    assert setup.now > 1004  # F24


def test_a_throttled_answer_is_empty() -> None:
    # F7, W31, W32: kept to, and no reason for a back-off
    def nothing(request: FetchRequest, response: FetchResponse) -> FetchResponse:
        response.responses.clear()
        response.session_id = 0
        return response

    setup = Setup()
    setup.append("a")
    setup.broker.faults.add(api=ApiKey.FETCH, alter=nothing, throttle_time_ms=3_000)
    setup.assign({T0: 0})
    setup.until_fetching()
    started = setup.now
    assert setup.values(1) == ["a"]
    assert 2.9 < setup.now - started < 3.1
    assert setup.partition().failures == 0


# ---------------------------------------------------------------------------------------------------------- the network


def test_a_connection_that_is_lost() -> None:
    # F11: a full request that closes the old session
    setup = reading()
    setup.network.cut(node=0)
    setup.append("c")
    assert setup.values(1) == ["c"]
    first = next(r for r in reversed(setup.fetches(0)) if r.session_epoch == 0)
    assert first.session_id != 0


def test_a_fetch_that_is_never_answered() -> None:
    # C4
    setup = reading(request_timeout_ms=5_000)
    setup.broker.faults.add(api=ApiKey.FETCH, node=0, silent="after")
    setup.run_for(1)
    setup.append("c")
    started = setup.now
    assert setup.values(1) == ["c"]
    assert 4 < setup.now - started < 6


@pytest.mark.parametrize("how", ["connection", "session"])
def test_a_failure_does_not_hold_up_what_was_sought_meanwhile(how: str) -> None:
    # F16: neither a rest nor an error for what was asked before
    setup = reading()
    fault = setup.broker.faults.add(
        api=ApiKey.FETCH,
        node=0,
        delay=1,
        drop="after" if how == "connection" else None,
        top_error=ErrorCode.UNKNOWN_SERVER_ERROR if how == "session" else None,
    )
    setup.run_until(lambda: fault.hits)
    setup.seek(0)
    before = len(setup.fetches(0))
    setup.run_until(lambda: len(setup.fetches(0)) > before)
    assert setup.partition().failures == 0
    assert setup.values(2) == ["a", "b"]


def test_a_broker_that_leaves_the_cluster_while_it_is_asked() -> None:
    # F15
    def without_node_0(request: object, response: MetadataResponse) -> MetadataResponse:
        response.brokers = [broker for broker in response.brokers if broker.node_id != 0]
        response.topics[0].partitions[0].leader_id = 1
        response.topics[0].partitions[0].leader_epoch = 1
        return response

    setup = reading()
    setup.network.block(0)
    setup.broker.faults.add(api=ApiKey.METADATA, alter=without_node_0, times=None)
    setup.broker.move_leader("t", 0, 1)
    setup.refresh()
    setup.append("c")
    assert setup.values(1) == ["c"]
    assert {key.node_id for key in setup.consumer._fetcher._sessions} == {1}


def test_an_answer_that_is_cut_in_the_middle() -> None:
    setup = reading()
    setup.network.cut_after(0, 30)
    setup.append("c")
    assert setup.values(1) == ["c"]
    assert values_of(setup.read_all()) == []


def test_a_broker_that_answers_with_junk_is_not_hurried() -> None:
    # F24: connecting and agreeing on versions each time is no success
    setup = reading()
    fault = from_now_on(setup, node=0, reply=bytes(40))
    setup.append("c")
    setup.run_for(30)
    assert fault.hits < 60
    setup.broker.faults.clear()
    while not isinstance(setup.poll(), Failed):
        setup.run_for(0.1)
    assert setup.values(1) == ["c"]


def test_a_broker_that_cannot_be_fetched_from() -> None:
    # W28: told once for all; a seek tries again
    setup = Setup({"t": 2}, api_versions={ApiKey.FETCH: None})
    setup.append("a")
    setup.assign({T0: 0, T1: 0})
    output: object = None
    while output is None:
        setup.result(setup.consumer.wait(setup.now))
        output = setup.poll()
    assert isinstance(output, Failed)
    assert isinstance(output.error, UnsupportedVersionError)
    assert output.partitions == (T0, T1)
    setup.run_for(10)
    assert setup.poll() is None
    setup.broker.versions[ApiKey.FETCH] = (4, 18)  # the broker is updated
    setup.network.cut()
    setup.seek(0)
    assert setup.values(1) == ["a"]
