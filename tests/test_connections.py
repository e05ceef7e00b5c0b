"""How connections are made, kept and lost, driven by hand."""

from __future__ import annotations

import pytest

from dekaf_proto.client import LEAST_LOADED
from dekaf_proto.errors import (
    ErrorCode,
)
from dekaf_proto.events import Address, Connect, Disconnect, Resolve
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.api_versions import ApiVersion, ApiVersionsRequest, ApiVersionsResponse
from dekaf_proto.messages.metadata import MetadataRequest, MetadataResponse
from dekaf_proto.node import NodeKey, NodeState
from dekaf_proto.wire import encode_response
from tests.hand import Hand

# -------------------------------------------------------------------------------------------------------------- dialing


def test_a_name_is_resolved_and_its_first_address_connected_to() -> None:
    hand = Hand("kafka.test:9093")
    hand.ask(mark="m")
    resolve = hand.take(Resolve)
    assert (resolve.host, resolve.port) == ("kafka.test", 9093)
    hand.client.resolved(resolve.query, [Address("10.0.0.1", 9093), Address("10.0.0.2", 9093)], hand.now)
    connect = hand.take(Connect)
    assert connect == Connect(connect.conn, Address("10.0.0.1", 9093), "kafka.test", False)
    hand.client.connected(connect.conn, hand.now)
    hand.drain()
    assert [type(request) for _, request in hand.asked[connect.conn]] == [ApiVersionsRequest]  # W20
    hand.answer_versions(connect.conn)
    hand.drain()
    ((header, request),) = hand.asked[connect.conn]
    assert isinstance(request, MetadataRequest)
    assert header.client_id == "dekaf"
    hand.reply(connect.conn, MetadataResponse(cluster_id="x"))
    assert hand.results == [("m", MetadataResponse(cluster_id="x"), None)]
    assert hand.client.counts["requests"] == 1
    assert hand.client.counts["connects"] == 1


@pytest.mark.parametrize(
    "server, host", [("10.0.0.7:9", "10.0.0.7"), ("[::1]:9", "::1"), ("[fe80::1%eth0]:9", "fe80::1%eth0")]
)
def test_an_address_is_not_looked_up(server: str, host: str) -> None:  # C8
    hand = Hand(server)
    hand.ask()
    assert hand.take(Connect).address == Address(host, 9)


def test_all_addresses_of_one_family_are_tried() -> None:  # C3
    hand = Hand("kafka.test")
    hand.ask(mark="m")
    addresses = [Address(host, 9092) for host in ("::1", "10.0.0.1", "::2", "::3")]
    hand.client.resolved(hand.take(Resolve).query, addresses, hand.now)
    tried = []
    while hand.node().state is NodeState.CONNECTING:
        connect = hand.take(Connect)
        tried.append(connect.address.host)
        hand.client.connect_failed(connect.conn, f"refused {len(tried)}", hand.now)
    assert tried == ["::1", "::2", "::3"]
    assert hand.nothing()  # a connection that the driver knows to be gone is not closed
    assert hand.error().causes == (
        ("[::1]:9092", "refused 1"),
        ("[::2]:9092", "refused 2"),
        ("[::3]:9092", "refused 3"),
    )
    assert str(hand.error()).startswith("bootstrap server (kafka.test:9092) is not reachable ([::1]:9092: refused 1; ")
    assert hand.node().state is NodeState.BACKOFF
    assert hand.client.counts["failed_connects"] == 1


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    hand = Hand("kafka.test")
    hand.ask()
    hand.client.resolved(hand.take(Resolve).query, [Address("10.0.0.1", 9092), Address("10.0.0.2", 9092)], hand.now)
    first = hand.take(Connect)
    assert hand.client.next_deadline() == 110.0
    hand.at(110.0)
    assert hand.drain()[0] == Disconnect(first.conn)
    assert hand.take(Connect).address.host == "10.0.0.2"
    hand.client.connected(first.conn, hand.now)  # too late
    assert hand.nothing()


@pytest.mark.parametrize("how", ["failed", "empty", "silent"])
def test_a_name_that_leads_nowhere(how: str) -> None:  # lesson 39
    hand = Hand("kafka.test")
    hand.ask()
    query = hand.take(Resolve).query
    if how == "failed":
        hand.client.resolve_failed(query, "no such name", hand.now)
    elif how == "empty":
        hand.client.resolved(query, [], hand.now)
    else:
        hand.at(110.0)
    text = {"failed": "no such name", "empty": "has no address", "silent": "not resolved in time"}[how]
    assert text in str(hand.error())
    assert hand.error().causes[0][0] == "kafka.test"
    hand.client.resolved(query, [Address("10.0.0.1", 9092)], hand.now)
    assert hand.nothing()


def test_a_broker_that_does_not_tell_its_versions_in_time() -> None:
    hand = Hand()
    hand.ask()
    conn = hand.connect(ready=False)
    hand.at(110.0)
    assert hand.take(Disconnect).conn == conn
    assert "no answer to ApiVersions in time" in str(hand.error())
    hand.answer_versions(conn)
    assert hand.node().state is NodeState.BACKOFF


def test_after_a_loss_the_name_is_resolved_again_and_the_address_that_failed_comes_last() -> None:  # C3
    hand = Hand("kafka.test")
    hand.ask()
    addresses = [Address(f"10.0.0.{n}", 9092) for n in (1, 2, 3)]
    hand.client.resolved(hand.take(Resolve).query, addresses, hand.now)
    conn = hand.connect()
    hand.client.disconnected(conn, "reset", hand.now)
    hand.after(1.0)
    hand.ask()
    hand.client.resolved(hand.take(Resolve).query, addresses, hand.now)
    tried = []
    for _ in range(3):
        connect = hand.take(Connect)
        tried.append(connect.address.host)
        hand.client.connect_failed(connect.conn, "refused", hand.now)
    assert tried == ["10.0.0.2", "10.0.0.3", "10.0.0.1"]
    hand.after(2.0)
    hand.ask()
    hand.client.resolved(hand.take(Resolve).query, addresses, hand.now)
    assert hand.take(Connect).address.host == "10.0.0.1"  # it is avoided once only


def test_of_two_addresses_the_other_one_is_tried_first() -> None:  # C3
    hand = Hand("kafka.test")
    addresses = [Address("10.0.0.1", 9092), Address("10.0.0.2", 9092)]
    seen = []
    for _ in range(4):
        hand.ask()
        hand.client.resolved(hand.take(Resolve).query, addresses, hand.now)
        (connect,) = [effect for effect in hand.drain() if isinstance(effect, Connect)]
        seen.append(connect.address.host[-1])
        hand.client.disconnected(hand.connect(), "reset", hand.now)
        hand.after(2.0)
    assert seen == ["1", "2", "1", "2"]


def test_what_failed_before_is_forgotten_when_it_works() -> None:
    hand = Hand("kafka.test")
    hand.ask()
    hand.client.resolve_failed(hand.take(Resolve).query, "no such name", hand.now)
    assert hand.client.explain(LEAST_LOADED) is not None
    hand.after(2.0)
    hand.ask()
    hand.client.resolved(hand.take(Resolve).query, [Address("10.0.0.1", 9092), Address("10.0.0.2", 9092)], hand.now)
    hand.client.connect_failed(hand.take(Connect).conn, "refused", hand.now)
    conn = hand.connect()
    hand.reply(conn, MetadataResponse())
    assert hand.client.explain(LEAST_LOADED) is None
    hand.ask()
    hand.client.disconnected(conn, "reset", hand.now)
    assert hand.error().causes == (("10.0.0.2:9092", "reset"),)


def test_the_only_address_is_not_avoided() -> None:
    hand = Hand("kafka.test")
    for _ in range(2):
        hand.ask()
        hand.client.resolved(hand.take(Resolve).query, [Address("10.0.0.1", 9092)], hand.now)
        hand.client.disconnected(hand.connect(), "reset", hand.now)
        hand.after(2.0)


def test_addresses_that_were_not_tried_yet_come_before_a_new_look_up() -> None:
    hand = Hand("kafka.test")
    hand.ask()
    hand.client.resolved(hand.take(Resolve).query, [Address("10.0.0.1", 9092), Address("10.0.0.2", 9092)], hand.now)
    hand.connect(ready=False)
    hand.after(10.0)  # connected, and silent
    hand.after(2.0)
    hand.effects.clear()
    hand.ask()
    assert hand.take(Connect).address.host == "10.0.0.2"


def test_who_is_meant_is_told_when_it_is_known() -> None:  # W24
    for options, sent in (
        ({}, ("c", 1)),
        ({"metadata_cluster_check_enable": False}, (None, -1)),
        ({"metadata_recovery_strategy": "none"}, (None, -1)),
    ):
        hand = Hand(**options)
        hand.client.cluster.cluster_id = "c"
        hand.know(1)
        hand.ask(1)
        hand.connect(ready=False)
        hand.drain()
        ((_, request),) = next(iter(hand.asked.values()))
        assert isinstance(request, ApiVersionsRequest)
        assert (request.cluster_id, request.node_id) == sent
    hand = Hand()
    hand.client.cluster.cluster_id = "c"
    hand.ask()
    hand.connect(ready=False)
    hand.drain()
    ((_, request),) = next(iter(hand.asked.values()))
    assert isinstance(request, ApiVersionsRequest)
    assert (request.cluster_id, request.node_id) == (None, -1)  # a bootstrap server


def test_an_older_broker_is_asked_for_its_versions_again() -> None:  # W21
    hand = Hand()
    hand.ask(mark="m")
    conn = hand.connect(ready=False)
    hand.drain()
    header, _ = hand.asked[conn].pop(0)
    refusal = ApiVersionsResponse(ErrorCode.UNSUPPORTED_VERSION, [ApiVersion(ApiKey.API_VERSIONS, 0, 3)])
    hand.client.receive_data(conn, encode_response(refusal, 0, header.correlation_id), hand.now)
    hand.drain()
    assert hand.asked[conn][0][0].request_api_version == 3
    hand.answer_versions(conn, {ApiKey.METADATA: (0, 9)})
    hand.drain()
    assert hand.asked[conn][0][0].request_api_version == 9


# ------------------------------------------------------------------------------------------------------------- back-off


def backoffs(hand: Hand, count: int) -> list[float]:
    """How long a node is left alone after each of `count` failed attempts in a row."""
    found = []
    for _ in range(count):
        hand.ask()
        hand.client.connect_failed(hand.take(Connect).conn, "refused", hand.now)
        deadline = hand.client.next_deadline()
        assert deadline is not None
        found.append(deadline - hand.now)
        hand.at(deadline)
        assert hand.node().state is NodeState.IDLE
    return found


def test_the_back_off_doubles_with_jitter_up_to_a_limit() -> None:  # C2
    seen = []
    for seed in range(50):
        found = backoffs(Hand(seed=seed), 8)
        for n, seconds in enumerate(found):
            assert min(0.05 * 2**n * 0.8, 1.0) - 1e-9 <= seconds <= min(0.05 * 2**n * 1.2, 1.0) + 1e-9
        seen.append(found[0])
    assert min(seen) < 0.045 < 0.055 < max(seen)  # they do not come back all at once


def test_the_back_off_begins_anew_only_when_a_node_has_answered() -> None:  # C2, F24
    hand = Hand()
    backoffs(hand, 6)
    for ready in (False, False, True, True):  # connected, agreed on versions, and then nothing: as bad as before
        hand.ask()
        hand.client.disconnected(hand.connect(ready=ready), "", hand.now)
        assert hand.node().resting_until - hand.now == 1.0
        hand.after(1.0)
    hand.ask()
    conn = hand.connect()
    hand.reply(conn, MetadataResponse())
    hand.ask()
    hand.client.disconnected(conn, "", hand.now)
    assert hand.node().resting_until - hand.now <= 0.06


def test_the_time_to_connect_grows_with_failed_connects_only() -> None:  # C2
    hand = Hand(
        reconnect_backoff_ms=1, reconnect_backoff_max_ms=1, request_timeout_ms=600_000, default_api_timeout_ms=600_000
    )
    found = []
    for _ in range(5):
        hand.ask()
        hand.effects.clear()
        hand.drain()
        hand.effects.clear()
        deadline = hand.client.next_deadline()
        assert deadline is not None
        found.append(deadline - hand.now)
        hand.at(deadline)
        hand.after(0.002)
    assert found[0] == 10.0
    assert 16.0 <= found[1] <= 24.0
    assert found[3:] == [30.0, 30.0]
    hand.effects.clear()
    hand.ask()
    hand.connect(ready=False)
    assert hand.client.next_deadline() == pytest.approx(hand.now + 30.0)
    hand.client.disconnected(hand.node().conn or 0, "", hand.now)
    hand.after(1.0)
    hand.ask()
    assert hand.client.next_deadline() == hand.now + 10.0


def test_a_back_off_is_never_nothing() -> None:
    """Else what fails without any I/O would be tried again and again within one moment."""
    hand = Hand(retry_backoff_ms=0, retry_backoff_max_ms=0, reconnect_backoff_ms=0, reconnect_backoff_max_ms=0)
    assert hand.client.backoff(1) == 0.001
    assert backoffs(hand, 3) == pytest.approx([0.001] * 3)


def test_the_retry_back_off() -> None:  # C2
    hand = Hand()
    assert 0.08 <= hand.client.backoff(1) <= 0.12
    assert 0.16 <= hand.client.backoff(2) <= 0.24
    assert hand.client.backoff(50) == 1.0
    assert hand.client.backoff(10_000) == 1.0


def test_a_node_that_rests_is_not_asked() -> None:
    hand = Hand()
    hand.ask()
    hand.client.connect_failed(hand.take(Connect).conn, "refused", hand.now)
    hand.know(1)
    assert hand.client.is_available(NodeKey(1))
    hand.ask(1)
    hand.client.connect_failed(hand.take(Connect).conn, "refused too", hand.now)
    assert not hand.client.is_available(NodeKey(1))
    assert not hand.client.has_connectable()
    hand.ask(1, "resting")
    assert hand.results[-1][0] == "resting"
    assert hand.error().causes == (("10.0.1.1:9092", "refused too"),)
    assert hand.nothing()
