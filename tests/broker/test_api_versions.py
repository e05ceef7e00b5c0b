"""ApiVersions (W20-W25)."""

from __future__ import annotations

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.broker.handlers import HANDLERS
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey, ApiVersionsRequest
from tests.broker.peer import Peer


@pytest.mark.parametrize("version", range(6))
def test_what_is_advertised_is_what_is_answered(version: int) -> None:
    peer = Peer(Broker())
    response = peer.ask(ApiVersionsRequest("peer", "1.0"), version)
    assert response.error_code == 0
    table = {entry.api_key: (entry.min_version, entry.max_version) for entry in response.api_keys}
    assert table == {**peer.broker.versions, ApiKey.PRODUCE: (0, 13)}  # W27
    assert list(table) == sorted(HANDLERS)


def test_a_version_that_is_unknown_is_answered_in_version_0() -> None:  # W21
    peer = Peer(Broker())
    conn = peer.connect()
    peer.send_bytes(conn, bytes.fromhex("0000000b 0012 0063 00000003 0000 00"))
    assert peer.received[conn] == bytes.fromhex("00000010 00000003 0023 00000001 0012 0000 0005")
    assert peer.frame(conn) is not None
    assert peer.closed == []  # the client asks again on the same connection
    assert peer.ask(ApiVersionsRequest("peer", "1.0"), 5, conn=conn).error_code == 0


def test_before_2_4_the_refusal_names_no_range() -> None:  # W21
    peer = Peer(Broker(release="2.3"))
    conn = peer.connect()
    peer.send_bytes(conn, bytes.fromhex("0000000b 0012 0003 00000003 0000 00"))
    assert peer.received[conn] == bytes.fromhex("0000000a 00000003 0023 00000000")


def test_a_broker_that_does_not_know_it_closes_the_connection() -> None:
    peer = Peer(Broker(api_versions={ApiKey.API_VERSIONS: None}))
    conn = peer.connect()
    peer.send(conn, ApiVersionsRequest("peer", "1.0"), 3)
    assert peer.closed == [conn]


@pytest.mark.parametrize(
    "name, version", [("", "1"), ("peer", ""), ("-peer", "1"), ("peer", "1."), ("pe er", "1"), ("pear", "1\n")]
)
def test_illegal_names_of_software(name: str, version: str) -> None:  # W23
    peer = Peer(Broker())
    response = peer.ask(ApiVersionsRequest(name, version), 3)
    assert (response.error_code, response.api_keys) == (ErrorCode.INVALID_REQUEST, [])
    assert peer.ask(ApiVersionsRequest(name, version), 2).error_code == 0


@pytest.mark.parametrize(
    "cluster, node, error",
    [
        (None, -1, ErrorCode.NONE),
        ("mine", 1, ErrorCode.NONE),
        ("mine", -1, ErrorCode.INVALID_REQUEST),
        (None, 1, ErrorCode.INVALID_REQUEST),
        ("mine", 0, ErrorCode.REBOOTSTRAP_REQUIRED),
        ("other", 1, ErrorCode.REBOOTSTRAP_REQUIRED),
    ],
)
def test_whom_the_client_thinks_it_talks_to(cluster: str | None, node: int, error: ErrorCode) -> None:  # W24
    peer = Peer(Broker(nodes=2, cluster_id="mine"))
    response = peer.ask(ApiVersionsRequest("peer", "1", cluster, node), 5, node=1)
    assert response.error_code == error
    assert (response.api_keys == []) == (error != 0)
    assert peer.ask(ApiVersionsRequest("peer", "1"), 4, node=1).error_code == 0


def test_an_error_on_order() -> None:
    peer = Peer(Broker())
    peer.broker.faults.add(api=ApiKey.API_VERSIONS, error=ErrorCode.UNKNOWN_SERVER_ERROR)
    assert peer.ask(ApiVersionsRequest("peer", "1"), 4).error_code == -1
