"""Requests over connections: their time, throttling, versions, and answers that make no sense; driven by hand."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.client import LEAST_LOADED
from dekaf_proto.connection import ByVersion
from dekaf_proto.connections import THROTTLED_SINCE
from dekaf_proto.errors import (
    DecodeError,
    ErrorCode,
    FrameError,
    UnsupportedVersionCodeError,
    UnsupportedVersionError,
)
from dekaf_proto.events import Connect, Disconnect
from dekaf_proto.messages import ApiKey, request_class, response_class
from dekaf_proto.messages.api_versions import ApiVersionsResponse
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.messages.metadata import MetadataRequest, MetadataResponse
from dekaf_proto.node import NodeState
from dekaf_proto.wire import encode_response
from tests.hand import Hand

# ------------------------------------------------------------------------------------------------------------ time-outs


def test_a_request_that_is_not_answered_in_time_costs_the_connection() -> None:  # C4, W11, trap 47
    hand = Hand()
    conn = hand.ready()
    hand.ask(mark="a")
    hand.after(1.0)
    hand.ask(mark="b")
    hand.after(28.9)
    hand.node().throttled_until = 200.0
    hand.ask(mark="queued")
    assert hand.results == []
    assert hand.client.next_deadline() == 130.0
    hand.at(130.0)
    assert [mark for mark, _, _ in hand.results] == ["a", "b", "queued"]
    assert "not answered in time" in str(hand.error(0))
    assert hand.take(Disconnect).conn == conn
    assert hand.lost == [hand.node()]
    assert hand.client.counts["failed_connects"] == 0
    hand.reply(conn, MetadataResponse())  # its late answer
    assert len(hand.results) == 3


def test_the_time_of_a_request_begins_when_it_is_sent() -> None:  # C4
    hand = Hand(socket_connection_setup_timeout_ms=25_000)
    hand.ask()
    connect = hand.take(Connect)
    hand.after(20.0)
    hand.client.connected(connect.conn, hand.now)
    hand.answer_versions(connect.conn)
    assert hand.client.next_deadline() == 150.0


def test_a_request_waits_for_a_connection_only_as_long() -> None:
    hand = Hand(socket_connection_setup_timeout_ms=25_000, request_timeout_ms=5_000)
    hand.ask(mark="a")
    hand.take(Connect)
    hand.after(2.0)
    hand.ask(mark="b", timeout=1.0)
    assert hand.client.next_deadline() == 103.0
    hand.at(103.0)
    assert [mark for mark, _, _ in hand.results] == ["b"]
    assert hand.error().causes == (("10.0.0.1:9092", "not connected yet"),)
    hand.at(105.0)
    assert [mark for mark, _, _ in hand.results] == ["b", "a"]
    assert hand.node().state is NodeState.CONNECTING


def test_a_time_out_of_its_own() -> None:
    hand = Hand()
    hand.ready()
    hand.ask(timeout=50.0)
    hand.after(49.0)
    assert hand.results == []
    hand.after(1.0)
    assert len(hand.results) == 1


def test_what_is_on_its_way_fails_in_order_when_the_broker_is_gone() -> None:  # W11
    hand = Hand()
    conn = hand.ready()
    for mark in range(3):
        hand.ask(mark=mark)
    hand.client.disconnected(conn, "reset by peer", hand.now)
    assert [mark for mark, _, _ in hand.results] == [0, 1, 2]
    assert all(error is not None and getattr(error, "retriable", False) for _, _, error in hand.results)
    assert "reset by peer" in str(hand.error())
    hand.after(1.0)
    hand.ask()
    conn = hand.connect()
    hand.client.disconnected(conn, "", hand.now)
    assert "the broker closed the connection" in str(hand.error())


def test_a_connection_that_nobody_needs_may_be_closed_by_the_broker(caplog: pytest.LogCaptureFixture) -> None:  # C5
    hand = Hand()
    conn = hand.ready()
    hand.client.disconnected(conn, "", hand.now)
    assert hand.node().state is NodeState.IDLE
    assert hand.nothing()
    assert caplog.messages == []
    hand.ask()
    hand.connect()
    assert hand.client.counts["reconnects"] == 1


def test_a_connection_that_nobody_needs_is_closed() -> None:  # C5
    hand = Hand(connections_max_idle_ms=7_000)
    conn = hand.ready()
    assert hand.client.next_deadline() == 107.0
    hand.at(106.9)
    assert hand.nothing()
    hand.at(107.0)
    assert hand.take(Disconnect).conn == conn
    assert hand.node().state is NodeState.IDLE
    assert hand.client.next_deadline() is None


def test_a_connection_is_not_idle_while_an_answer_is_due() -> None:
    """Nor is there a deadline that lies in the past."""
    hand = Hand(connections_max_idle_ms=1_000)
    conn = hand.ready()
    hand.ask()
    hand.after(5.0)
    assert hand.client.next_deadline() == 130.0
    hand.drain()
    assert not any(isinstance(effect, Disconnect) for effect in hand.effects)
    hand.reply(conn, MetadataResponse())
    assert hand.client.next_deadline() == 106.0


# ----------------------------------------------------------------------------------------------------------- throttling


def test_a_throttled_node_is_left_alone() -> None:  # W31
    hand = Hand("10.0.0.1:9092", request_timeout_ms=5_000)
    conn = hand.ready()
    hand.ask(mark="a")
    hand.ask(mark="b")
    hand.reply(conn, MetadataResponse(throttle_time_ms=20_000))
    hand.ask(mark="c")
    hand.drain()
    assert len(hand.asked[conn]) == 1  # b is on its way, c is not
    assert hand.client.next_deadline() == 120.0
    hand.at(119.9)
    assert [mark for mark, _, _ in hand.results] == ["a"]  # b has 20 seconds more, and c does not fail either
    hand.at(120.0)
    hand.drain()
    assert len(hand.asked[conn]) == 2
    hand.reply(conn, MetadataResponse())
    hand.reply(conn, MetadataResponse())
    assert [mark for mark, _, _ in hand.results] == ["a", "b", "c"]


def test_a_throttle_told_with_the_versions() -> None:  # W31
    hand = Hand()
    hand.ask()
    conn = hand.connect(ready=False)
    hand.answer_versions(conn, throttle_time_ms=2_000)
    hand.drain()
    assert hand.asked[conn] == []
    hand.at(102.0)
    hand.drain()
    assert len(hand.asked[conn]) == 1


def test_a_throttled_node_that_is_lost_has_no_deadline_in_the_past() -> None:
    hand = Hand()
    conn = hand.ready()
    hand.ask()
    hand.reply(conn, MetadataResponse(throttle_time_ms=500))
    hand.client.disconnected(conn, "", hand.now)
    hand.ask()
    hand.take(Connect)
    hand.at(101.0)
    deadline = hand.client.next_deadline()
    assert deadline is not None
    assert deadline > 101.0


def test_from_which_version_on_a_throttle_is_the_clients() -> None:  # W31
    expected = {
        0: 6, 1: 8, 2: 3, 3: 6, 8: 4, 9: 4, 10: 2, 11: 3, 12: 2, 13: 2, 14: 2, 22: 1, 24: 1, 25: 1, 26: 1, 28: 1, 68: 0,
    }  # fmt: skip
    assert expected == THROTTLED_SINCE


@pytest.mark.parametrize("api", list(THROTTLED_SINCE), ids=lambda api: ApiKey(api).name)
def test_older_brokers_have_waited_themselves(api: ApiKey) -> None:  # W31
    request = request_class(api)
    since = THROTTLED_SINCE[api]
    response: Any = response_class(api)
    for version in (since - 1, since):
        if version not in request.VERSIONS:
            continue
        hand = Hand()
        hand.ask()
        conn = hand.connect(ready=False)
        hand.answer_versions(conn, {ApiKey.METADATA: (0, 0), api: (version, version)})
        hand.reply(conn, MetadataResponse())
        hand.ask(request=request())
        hand.reply(conn, response(throttle_time_ms=9_000))
        assert (hand.node().throttled_until > hand.now) == (version >= since)


def test_the_least_loaded_node_is_not_one_that_wants_to_be_left_alone() -> None:
    hand = Hand()
    hand.know(1, 2)
    first = hand.ready(1)
    hand.ask(1)
    hand.reply(first, MetadataResponse(throttle_time_ms=5_000))
    hand.ask()
    assert hand.take(Connect).address.host == "10.0.1.2"


def test_if_all_want_to_be_left_alone_the_first_that_does_not_any_more_is_asked() -> None:
    hand = Hand()
    hand.know(1, 2)
    conns = {n: hand.ready(n) for n in (1, 2)}
    for n, conn in conns.items():
        hand.ask(n)
        hand.reply(conn, MetadataResponse(throttle_time_ms=9_000 // n))
    hand.ask()
    assert len(hand.node(2).queue) == 1


# ------------------------------------------------------------------------------------------------------------- versions


def test_a_version_that_is_too_high_fails_that_request_only() -> None:  # W28, W29
    hand = Hand()
    hand.ask()
    conn = hand.connect(ready=False)
    hand.answer_versions(conn, {ApiKey.METADATA: (0, 9)})
    hand.ask(mark="fetch", request=FetchRequest())
    hand.ask(mark="capped", max_version=4)
    assert [mark for mark, _, _ in hand.results] == ["fetch"]
    assert isinstance(hand.results[0][2], UnsupportedVersionError)
    hand.drain()
    assert [header.request_api_version for header, _ in hand.asked[conn]] == [9, 4]


def test_a_request_that_depends_on_the_version() -> None:
    hand = Hand()
    conn = hand.ready()
    hand.ask(request=ByVersion(MetadataRequest, lambda version: MetadataRequest(topics=None if version == 13 else [])))
    hand.drain()
    ((_, request),) = hand.asked[conn]
    assert isinstance(request, MetadataRequest)
    assert request.topics is None


# --------------------------------------------------------------------------------------------------------------- faults


def junk(hand: Hand, target: object = LEAST_LOADED) -> None:
    """A connection is made, and the answer to its first request is no answer."""
    hand.ask(target)
    conn = hand.connect()
    hand.client.receive_data(conn, b"HTTP/1.1 400 Bad Request\r\n", hand.now)
    hand.after(2.0)
    hand.effects.clear()


def test_a_breach_of_the_protocol_is_told_the_second_time() -> None:
    hand = Hand()
    junk(hand)
    assert hand.troubles == []
    assert "a frame of" in str(hand.error())
    junk(hand)
    assert [type(error) for error in hand.troubles] == [FrameError]
    junk(hand)
    assert len(hand.troubles) == 1  # once
    hand.ready()
    hand.ask()
    hand.client.disconnected(hand.node().conn or 0, "", hand.now)
    hand.after(2.0)
    hand.effects.clear()
    junk(hand)
    assert len(hand.troubles) == 1
    junk(hand)
    assert len(hand.troubles) == 2  # there were good answers in between


def test_an_answer_that_can_not_be_read() -> None:
    hand = Hand()
    for _ in range(2):
        hand.ask()
        conn = hand.connect()
        hand.drain()
        header, _request = hand.asked[conn][-1]
        good = encode_response(MetadataResponse(), 13, header.correlation_id)
        hand.client.receive_data(conn, (len(good) - 5).to_bytes(4, "big") + good[4:-1], hand.now)
        hand.after(2.0)
        hand.effects.clear()
    assert [type(error) for error in hand.troubles] == [DecodeError]


def test_a_broker_that_does_not_want_to_talk_to_us_is_told() -> None:
    hand = Hand()
    for _ in range(2):
        hand.ask()
        conn = hand.connect(ready=False)
        for _ in range(2):
            hand.drain()
            header, _request = hand.asked[conn].pop(0)
            refusal = ApiVersionsResponse(ErrorCode.UNSUPPORTED_VERSION)
            hand.client.receive_data(conn, encode_response(refusal, 0, header.correlation_id), hand.now)
        assert "UNSUPPORTED_VERSION" in str(hand.error())
        hand.after(2.0)
        hand.effects.clear()
    assert [type(error) for error in hand.troubles] == [UnsupportedVersionCodeError]
