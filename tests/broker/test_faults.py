"""Faults on order."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.broker import Broker, Fault
from dekaf_proto.broker.faults import When
from dekaf_proto.errors import DecodeError, ErrorCode, LocalProtocolError
from dekaf_proto.messages import ApiKey, ListOffsetsRequest, MetadataRequest, MetadataResponse, OffsetCommitRequest
from dekaf_proto.messages.offset_commit import OffsetCommitRequestPartition, OffsetCommitRequestTopic
from tests.broker.peer import START, Peer
from tests.broker.requests import list_offsets_request

NOTHING = MetadataRequest(topics=[])


def cluster() -> Peer:
    peer = Peer(Broker(nodes=2))
    peer.broker.create_topic("t", 2)
    peer.broker.move_leader("t", 1, 0)
    return peer


def commit_request() -> OffsetCommitRequest:
    topic = OffsetCommitRequestTopic("t", partitions=[OffsetCommitRequestPartition(0, 1)])
    return OffsetCommitRequest("g", topics=[topic])


def error(peer: Peer, *, partition: int = 0, node: int = 0) -> int:
    [topic] = peer.ask(list_offsets_request("t", -1, partition=partition), 7, node=node).topics
    return topic.partitions[0].error_code


def test_how_often() -> None:
    peer = cluster()
    fault = peer.broker.faults.add(error=ErrorCode.KAFKA_STORAGE_ERROR, times=2)
    assert [error(peer) for _ in range(3)] == [56, 56, 0]
    assert (fault.hits, fault.spent) == (2, True)
    always = peer.broker.faults.add(error=ErrorCode.KAFKA_STORAGE_ERROR, times=None)
    assert [error(peer) for _ in range(5)] == [56] * 5
    assert (always.hits, always.spent) == (5, False)
    peer.broker.faults.remove(always)
    peer.broker.faults.remove(always)
    assert error(peer) == 0
    peer.broker.faults.add(error=ErrorCode.KAFKA_STORAGE_ERROR, times=None)
    peer.broker.faults.clear()
    assert error(peer) == 0


def test_to_whom() -> None:
    peer = cluster()
    faults = peer.broker.faults
    by_api = faults.add(api=ApiKey.FETCH, error=ErrorCode.KAFKA_STORAGE_ERROR)
    by_node = faults.add(node=1, error=ErrorCode.REPLICA_NOT_AVAILABLE)
    chosen = faults.add(
        error=ErrorCode.UNKNOWN_SERVER_ERROR,
        when=lambda header, request: isinstance(request, ListOffsetsRequest) and header.client_id == "somebody",
    )
    by_partition = faults.add(topic="t", partition=1, error=ErrorCode.OFFSET_NOT_AVAILABLE)
    elsewhere = faults.add(topic="u", error=ErrorCode.OFFSET_NOT_AVAILABLE)
    assert error(peer) == 0
    assert error(peer, partition=1) == ErrorCode.OFFSET_NOT_AVAILABLE
    assert error(peer, node=1) == ErrorCode.REPLICA_NOT_AVAILABLE
    assert [fault.hits for fault in (by_api, by_node, chosen, by_partition, elsewhere)] == [0, 1, 0, 1, 0]


def test_an_error_counts_once_a_request() -> None:
    peer = cluster()
    fault = peer.broker.faults.add(error=ErrorCode.KAFKA_STORAGE_ERROR)
    request = list_offsets_request("t", -1)
    request.topics.append(
        request.topics[0].__class__("t", list_offsets_request("t", -1, partition=1).topics[0].partitions)
    )
    codes = [topic.partitions[0].error_code for topic in peer.ask(request, 7).topics]
    assert (codes, fault.hits) == ([56, 56], 1)


def test_the_response_altered() -> None:
    peer = cluster()

    def alter(request: MetadataRequest, response: MetadataResponse) -> MetadataResponse:
        assert request.topics == []
        response.brokers = []
        return response

    peer.broker.faults.add(api=ApiKey.METADATA, alter=alter, throttle_time_ms=70)
    response = peer.ask(NOTHING, 13)
    assert (response.brokers, response.throttle_time_ms) == ([], 70)
    response = peer.ask(NOTHING, 13)
    assert (len(response.brokers), response.throttle_time_ms) == (2, 0)
    peer.broker.faults.add(alter=lambda _request, _response: MetadataResponse(cluster_id="other"))
    assert peer.ask(NOTHING, 13).cluster_id == "other"


def test_a_delay_holds_up_the_connection() -> None:
    peer = cluster()
    peer.broker.faults.add(delay=0.25)
    peer.broker.faults.add(delay=0.5)
    conn = peer.connect()
    peer.send(conn, commit_request(), 8)
    second = peer.send(conn, NOTHING, 13)
    assert len(peer.broker.committed("g")) == (1 if peer.broker.coordinator("g") == 0 else 0)
    assert peer.broker.next_deadline() == START + 0.75
    peer.pass_time(0.7)
    peer.broker.handle_timeout(peer.now)  # too early: nothing happens
    assert peer.frame(conn) is None
    peer.pass_time(0.05)
    assert peer.frame(conn) is not None
    frame = peer.frame(conn)
    assert frame is not None
    assert int.from_bytes(frame[:4], "big") == second


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("how", ["drop", "silent"])
def test_no_answer(how: str, when: When) -> None:
    peer = cluster()
    peer.broker.move_coordinator("g", 0)
    if how == "drop":
        peer.broker.faults.add(api=ApiKey.OFFSET_COMMIT, drop=when)
    else:
        peer.broker.faults.add(api=ApiKey.OFFSET_COMMIT, silent=when)
    conn = peer.connect()
    peer.send(conn, commit_request(), 8)
    peer.send(conn, NOTHING, 13)
    peer.pass_time(1000)
    assert peer.received[conn] == b""
    assert (peer.closed == [conn]) == (how == "drop")
    assert len(peer.broker.committed("g")) == (when == "after")


def test_a_delay_and_then_the_end() -> None:
    peer = cluster()
    peer.broker.faults.add(delay=1, drop="after")
    conn = peer.connect()
    peer.send(conn, NOTHING, 13)
    assert peer.closed == []
    peer.pass_time(1)
    assert peer.closed == [conn]


def test_a_frame_that_is_cut_off() -> None:
    peer = cluster()
    peer.broker.faults.add(truncate=10)
    conn = peer.connect()
    peer.send(conn, NOTHING, 13)
    assert (len(peer.received[conn]), peer.closed) == (10, [conn])


def test_garbage_instead_of_a_frame() -> None:
    peer = cluster()
    peer.broker.faults.add(reply=b"\x00\x00\x00\x09\x00\x00\x00\x01junk!")
    conn = peer.connect()
    peer.send(conn, NOTHING, 13)
    with pytest.raises(DecodeError):
        peer.receive(conn, MetadataResponse, 13)
    assert peer.closed == []
    assert peer.ask(NOTHING, 13, conn=conn).brokers


@pytest.mark.parametrize(
    "given",
    [
        {"api": 12345},
        {"drop": "sometimes"},
        {"silent": "then"},
        {"times": 0},
        {"delay": -0.1},
        {"delay": float("nan")},
        {"truncate": -1},
        {"throttle_time_ms": -1},
    ],
)
def test_faults_that_can_t_be(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(given))} has to be"):
        Fault(**given)


def test_functions_of_a_program_that_are_wrong() -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("on purpose")

    for fault, said in (
        (Fault(when=broken), "`when` has raised RuntimeError"),
        (Fault(alter=broken), "`alter` has raised RuntimeError"),
        (Fault(alter=lambda *_: None), "has to return a response, not None"),  # type: ignore[arg-type]  # it must not
    ):
        peer = cluster()
        peer.broker.faults.put(fault)
        with pytest.raises(LocalProtocolError, match=said):
            peer.ask(NOTHING, 9)


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"api": "FETCH"}, "api has to be of ApiKey, not str 'FETCH'"),
        ({"error": "NOT_COORDINATOR"}, "error has to be of ErrorCode, not str"),
        ({"top_error": "NOT_COORDINATOR"}, "top_error has to be of ErrorCode, not str"),
    ],
)
def test_a_fault_that_could_never_happen_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        Fault(**wrong)
    with pytest.raises(TypeError, match=says):
        cluster().broker.faults.add(**wrong)


def test_what_is_no_fault_is_refused() -> None:
    peer = cluster()
    with pytest.raises(TypeError, match="expected a Fault, not str 'drop'"):
        peer.broker.faults.put("drop")  # type: ignore[arg-type]  # who has no type checker may
    assert error(peer) == 0
