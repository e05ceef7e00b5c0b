"""Connections, order, time, nodes: what the broker does whatever it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.events import Address, Disconnect, Listen
from dekaf_proto.messages import (
    ApiKey,
    ApiVersionsRequest,
    ConsumerGroupHeartbeatRequest,
    FetchRequest,
    FetchResponse,
    MetadataRequest,
    MetadataResponse,
)
from dekaf_proto.wire import encode_request
from tests.broker.peer import START, Peer
from tests.broker.requests import fetch_request

NOTHING = MetadataRequest(topics=[])


def test_it_asks_to_listen_and_advertises_where_it_listens() -> None:
    broker = Broker(nodes=2, port=7000, host="kafka{node}.test", racks={1: "b"})
    assert broker.effects() == [Listen(0, "kafka0.test", 7000), Listen(1, "kafka1.test", 7001)]
    assert not broker.is_listening(0)
    with pytest.raises(ValueError, match="does not listen"):
        broker.accepted(0, 1.0)
    broker.listening(0, Address("10.0.0.1", 7000), 1.0)
    assert broker.is_listening(0)
    assert broker.nodes == [0, 1]
    peer = Peer(Broker(nodes=[3, 5], racks={5: "b"}))
    response = peer.ask(NOTHING, 13, node=5)
    assert [(b.node_id, b.host, b.port, b.rack) for b in response.brokers] == [
        (3, "127.0.0.1", 9095, None),
        (5, "127.0.0.1", 9097, "b"),
    ]


def test_the_same_seed_makes_the_same_ids() -> None:
    ids = [(broker.cluster_id, broker.create_topic("t")) for broker in (Broker(), Broker(), Broker(seed=1))]
    assert ids[0] == ids[1] != ids[2]
    assert Broker(cluster_id="mine").cluster_id == "mine"


def test_frames_may_come_in_pieces_and_together() -> None:
    peer = Peer(Broker())
    conn = peer.connect()
    stream = encode_request(NOTHING, 13, 1) + encode_request(NOTHING, 9, 2)
    for at in range(len(stream)):
        peer.send_bytes(conn, stream[at : at + 1])
    whole = peer.received[conn]
    peer.send_bytes(conn, stream)
    assert peer.received[conn] == whole * 2


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("06400001"),  # W2: 104,857,601 bytes
        bytes.fromhex("ffffffff"),  # W1: a negative size
        bytes.fromhex("00000000"),  # nothing
        bytes.fromhex("00000003 000300"),  # not a header
        bytes.fromhex("00000004 00120063"),  # ApiVersions, but no correlation id
        encode_request(ConsumerGroupHeartbeatRequest("g"), 0, 1),  # an API that is not offered
        bytes.fromhex("0000000a 7fff 0000 00000001 ffff"),  # an API that does not exist
        encode_request(NOTHING, 13, 1).replace(b"\x00\x03\x00\x0d", b"\x00\x03\x00\x63"),  # W26: Metadata v99
        encode_request(NOTHING, 8, 1)[:-6] + bytes(6) + b"x",  # a body with something after it
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(data: bytes) -> None:
    peer = Peer(Broker())
    conn, other = peer.connect(), peer.connect()
    if data.endswith(b"x"):
        data = (len(data) - 4).to_bytes(4, "big") + data[4:]
    peer.send_bytes(conn, data + encode_request(NOTHING, 13, 9))
    assert peer.closed == [conn]
    assert peer.received[conn] == b""
    assert peer.broker.connections() == [other]
    peer.send_bytes(conn, data)  # stale: ignored
    peer.broker.disconnected(conn, "", peer.now)


def test_a_long_poll_holds_up_what_follows_on_its_connection() -> None:  # W7
    peer = Peer(Broker())
    peer.broker.create_topic("t")
    conn, other = peer.connect(), peer.connect()
    peer.send(conn, fetch_request("t", 0, max_wait_ms=500), 12)
    later = peer.send(conn, NOTHING, 13)
    assert peer.received[conn] == b""
    assert peer.ask(NOTHING, 13, conn=other).brokers
    assert peer.broker.next_deadline() == START + 0.5
    peer.pass_time(0.49)
    assert peer.received[conn] == b""
    peer.pass_time(0.01)
    assert peer.receive(conn, FetchResponse, 12) is not None
    frame = peer.frame(conn)
    assert frame is not None
    assert int.from_bytes(frame[:4], "big") == later


def test_a_client_that_goes_while_it_waits() -> None:
    peer = Peer(Broker())
    peer.broker.create_topic("t")
    conn = peer.connect()
    peer.send(conn, fetch_request("t", 0), 12)
    peer.broker.disconnected(conn, "reset", peer.now)
    peer.broker.append("t", 0, [b"x"], peer.now)
    assert peer.broker.effects() == []
    assert peer.broker.next_deadline() is None


def test_idle_connections_are_closed() -> None:  # C5
    peer = Peer(Broker(max_idle=10))
    first, second = peer.connect(), peer.connect()
    peer.pass_time(6)
    peer.ask(NOTHING, 13, conn=second)
    peer.pass_time(4)
    assert peer.closed == [first]
    peer.pass_time(6)
    assert peer.closed == [first, second]
    peer = Peer(Broker(max_idle=None))
    peer.connect()
    assert peer.broker.next_deadline() is None


def test_close() -> None:
    peer = Peer(Broker())
    conn = peer.connect()
    peer.broker.close(peer.now)
    assert peer.broker.closed
    assert peer.broker.effects() == [Disconnect(conn)]
    assert not peer.broker.is_listening(0)


def test_what_was_asked_is_kept() -> None:
    peer = Peer(Broker(nodes=2, keep_requests=3))
    peer.ask(ApiVersionsRequest("peer", "1"), 4)
    for node in (0, 1, 1):
        peer.ask(MetadataRequest(topics=[], allow_auto_topic_creation=node == 0), 9, node=node)
    assert len(peer.broker.requests) == 3
    last = peer.broker.requests[-1]
    assert (last.now, last.node, last.header.client_id, last.header.request_api_version) == (START, 1, "peer", 9)
    assert [r.allow_auto_topic_creation for r in peer.broker.requests_of(MetadataRequest)] == [True, False, False]
    assert len(peer.broker.requests_of(MetadataRequest, 1)) == 2
    assert peer.broker.requests_of(FetchRequest) == []
    peer.broker.requests.clear()


# ------------------------------------------------------------------------------------------------------------- nodes


def test_a_node_stops_and_starts() -> None:
    peer = Peer(Broker(nodes=3))
    broker = peer.broker
    broker.create_topic("t", 3)
    broker.create_topic("single", 1, replicas=1)
    conn, other = peer.connect(0), peer.connect(1)
    port = next(b.port for b in peer.ask(NOTHING, 13, conn=other).brokers if b.node_id == 0)
    broker.stop_node(0, peer.now)
    peer.drain()
    assert peer.closed == [conn]
    assert not broker.is_listening(0)
    assert (broker.leader("t", 0), broker.leader_epoch("t", 0)) == (1, 1)
    assert (broker.leader("t", 1), broker.leader_epoch("t", 1)) == (1, 0)
    assert (broker.leader("single", 0), broker.leader_epoch("single", 0)) == (None, 1)
    assert [b.node_id for b in peer.ask(NOTHING, 13, conn=other).brokers] == [1, 2]
    broker.start_node(0, peer.now)
    assert not broker.is_listening(0)
    assert broker.effects() == [Listen(0, "127.0.0.1", port)]
    broker.listening(0, Address("127.0.0.1", port), peer.now)
    assert (broker.leader("single", 0), broker.leader_epoch("single", 0)) == (0, 2)
    assert broker.leader("t", 0) == 1  # it is a follower now
    with pytest.raises(ValueError, match="not stopped"):
        broker.start_node(0, peer.now)


def test_a_node_that_never_listened_may_stop_and_start() -> None:
    broker = Broker(port=7000)
    broker.effects()
    broker.stop_node(0, 1.0)
    broker.start_node(0, 1.0)
    assert broker.effects() == [Listen(0, "127.0.0.1", 7000)]


def test_a_crash_that_the_cluster_has_not_noticed() -> None:
    broker = Broker(nodes=2)
    broker.create_topic("t")
    broker.stop_node(0, 1.0, elect=False)
    assert (broker.leader("t", 0), broker.leader_epoch("t", 0)) == (0, 0)


def test_a_cluster_without_a_living_node() -> None:
    broker = Broker(nodes=2)
    broker.create_topic("t")
    broker.create_topic("single", replicas=1)
    broker.stop_node(0, 1.0)
    broker.stop_node(1, 1.0)
    assert broker.leader_epoch("single", 0) == 1
    assert broker.coordinator("g") is None
    assert broker.leader("t", 0) is None
    assert broker.cluster.controller() == -1


def test_a_paused_node_is_silent_and_then_goes_on() -> None:
    peer = Peer(Broker(nodes=2, max_idle=5))
    broker = peer.broker
    broker.create_topic("t")
    waiting, asking, elsewhere = peer.connect(), peer.connect(), peer.connect(1)
    peer.send(waiting, fetch_request("t", 0, max_wait_ms=100), 12)
    broker.pause_node(0, peer.now)
    assert broker.is_listening(0)
    peer.send(asking, NOTHING, 13)
    idle = peer.connect()
    broker.append("t", 0, [b"x"], peer.now)
    peer.drain()
    peer.pass_time(6)
    broker.handle_timeout(peer.now)
    assert peer.received == {waiting: b"", asking: b"", elsewhere: b"", idle: b""}
    assert peer.closed == [elsewhere]
    peer.connect(1)
    broker.resume_node(0, peer.now)
    response = peer.receive(waiting, FetchResponse, 12)
    assert response is not None
    assert response.responses[0].partitions[0].high_watermark == 1
    assert peer.receive(asking, MetadataResponse, 13) is not None
    with pytest.raises(ValueError, match="not paused"):
        broker.resume_node(0, peer.now)


# ---------------------------------------------------------------------------------------------------------- versions


def test_a_release_and_its_own_versions() -> None:
    old = Broker(release="2.4")
    assert old.versions[ApiKey.FETCH] == (4, 11)
    assert old.versions[ApiKey.METADATA] == (0, 9)
    assert Broker(release="4.4").versions == Broker().versions
    chosen = Broker(release="2.4", api_versions={ApiKey.FETCH: (4, 12), ApiKey.OFFSET_COMMIT: None})
    assert chosen.versions[ApiKey.FETCH] == (4, 12)
    assert ApiKey.OFFSET_COMMIT not in chosen.versions
    with pytest.raises(ValueError, match=r"no table for release '2\.2'"):
        Broker(release="2.2")
    with pytest.raises(ValueError, match="does not know CONSUMER_GROUP_HEARTBEAT"):
        Broker(api_versions={ApiKey.CONSUMER_GROUP_HEARTBEAT: (0, 1)})
    with pytest.raises(ValueError, match="FETCH has versions 4-18, not 3-11"):
        Broker(api_versions={ApiKey.FETCH: (3, 11)})


def test_a_version_that_is_not_offered_ends_the_connection() -> None:  # W26
    peer = Peer(Broker(release="2.4"))
    conn = peer.connect()
    peer.send(conn, NOTHING, 10)
    assert peer.closed == [conn]


@pytest.mark.parametrize("wrong", [0, [], "3"])
def test_a_cluster_of_no_nodes_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="nodes is how many there are, at least 1, or their numbers, and not"):
        Broker(nodes=wrong)
