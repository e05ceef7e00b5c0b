"""The socket server of the tests, asked by plain blocking sockets."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.messages import FetchResponse, MetadataRequest, MetadataResponse
from dekaf_proto.wire import decode_response, encode_request
from tests.broker.requests import fetch_request
from tests.broker_server import BrokerServer

QUESTION = encode_request(MetadataRequest(topics=[]), 13, 1)


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def receive(sock: socket.socket) -> bytes:
    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = sock.recv(size - len(data))
            assert more, "the broker has closed the connection"
            data += more
        return data

    return exactly(int.from_bytes(exactly(4), "big"))


def test_requests_and_answers() -> None:
    with BrokerServer(Broker(nodes=2)) as bootstrap:
        addresses = bootstrap.split(",")
        for address in addresses:
            with connect(address) as sock:
                sock.sendall(QUESTION)
                _, response = decode_response(MetadataResponse, 13, receive(sock))
                assert [f"{b.host}:{b.port}" for b in response.brokers] == addresses


def test_what_others_do_ends_a_wait_and_so_does_time() -> None:
    server = BrokerServer(Broker())
    with server as bootstrap, connect(bootstrap) as sock:
        server.call(lambda broker, _: broker.create_topic("t"))
        sock.sendall(encode_request(fetch_request("t", 0, max_wait_ms=60_000), 12, 1))
        server.call(lambda broker, now: broker.append("t", 0, [b"x" * 3_000_000], now))
        data = receive(sock)  # more than a socket takes at once
        _, response = decode_response(FetchResponse, 12, data)
        assert len(response.responses[0].partitions[0].records or b"") > 3_000_000
        sock.sendall(encode_request(fetch_request("t", 1, max_wait_ms=20), 12, 2))
        _, response = decode_response(FetchResponse, 12, receive(sock))
        assert response.responses[0].partitions[0].high_watermark == 1


def test_a_node_stops_and_comes_back_at_its_port() -> None:
    server = BrokerServer(Broker(nodes=2))
    with server as bootstrap:
        address = bootstrap.split(",")[1]
        with connect(address) as sock:
            server.call(lambda broker, now: broker.stop_node(1, now))
            assert sock.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                connect(address)
        server.call(lambda broker, now: broker.start_node(1, now))

        def restart(broker: Broker, now: float) -> None:
            broker.stop_node(1, now)
            broker.start_node(1, now)

        server.call(restart)
        with connect(address) as sock:
            sock.sendall(QUESTION)
            receive(sock)


def test_clients_that_go_away() -> None:
    server = BrokerServer(Broker())
    with server as bootstrap:
        server.call(lambda broker, _: broker.create_topic("t"))
        server.call(lambda broker, now: broker.append("t", 0, [b"x" * 900_000] * 20, now))
        polite, rude = connect(bootstrap), connect(bootstrap)
        polite.sendall(QUESTION)
        receive(polite)
        polite.close()
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.sendall(encode_request(fetch_request("t", 0, partition_max_bytes=1 << 30, max_bytes=1 << 30), 12, 1))
        rude.recv(10)
        rude.close()  # a reset, with most of the answer unsent
        with connect(bootstrap) as sock:
            for _ in range(100):
                sock.sendall(QUESTION)
                receive(sock)
                if server.call(lambda broker, _: len(broker.connections())) == 1:
                    break
            else:
                pytest.fail("connections are left")


def test_what_breaks_the_protocol_is_disconnected() -> None:
    with BrokerServer(Broker()) as bootstrap, connect(bootstrap) as sock:
        sock.sendall(QUESTION + b"\xff\xff\xff\xff")
        receive(sock)
        assert sock.recv(1) == b""


def test_an_error_in_a_call_is_the_callers() -> None:
    server = BrokerServer(Broker())
    with server:
        with pytest.raises(KeyError):
            server.call(lambda broker, _: broker.topic_id("nowhere"))
        assert server.call(lambda broker, _: broker.nodes) == [0]


def test_a_crash_of_the_broker_is_told() -> None:
    def broken(_: float) -> None:
        raise RuntimeError("on purpose")

    server = BrokerServer(Broker(max_idle=0.01))
    bootstrap = server.__enter__()
    server.call(lambda broker, _: setattr(broker, "handle_timeout", broken))
    with connect(bootstrap) as sock:
        assert sock.recv(1) == b""
    with pytest.raises(RuntimeError, match="on purpose"):
        server.__exit__(None, None, None)
    with pytest.raises(RuntimeError, match="has ended"):
        server.call(lambda broker, _: broker.nodes)


def test_nothing_is_left() -> None:
    before = threading.active_count()
    with BrokerServer(Broker()) as bootstrap, connect(bootstrap):
        pass
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        connect(bootstrap)
