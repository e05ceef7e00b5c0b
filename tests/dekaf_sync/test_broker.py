"""The embedded broker on real sockets, asked by plain blocking ones, and by consumers."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import Any

import pytest

from dekaf_proto.broker import Broker, Fault, GroupState
from dekaf_proto.errors import ClosedError, InternalError, KafkaTimeoutError, LocalProtocolError
from dekaf_proto.messages import ApiKey, FetchResponse, MetadataRequest, MetadataResponse
from dekaf_proto.wire import decode_response, encode_request
from dekaf_sync import Consumer, EmbeddedBroker
from tests.broker.requests import fetch_request
from tests.dekaf_sync.helpers import in_thread, read

QUESTION = encode_request(MetadataRequest(topics=[]), 13, 1)


def connect(to: str | EmbeddedBroker) -> socket.socket:
    host, _, port = (to if isinstance(to, str) else to.bootstrap_servers).rpartition(":")
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


def ask(sock: socket.socket) -> bytes:
    sock.sendall(QUESTION)
    return receive(sock)


def test_requests_and_answers() -> None:
    with EmbeddedBroker(nodes=2) as broker:
        addresses = broker.bootstrap_servers.split(",")
        for address in addresses:
            with connect(address) as sock:
                _, response = decode_response(MetadataResponse, 13, ask(sock))
                assert [f"{b.host}:{b.port}" for b in response.brokers] == addresses


def test_what_others_do_ends_a_wait_and_so_does_time() -> None:
    with EmbeddedBroker(topics={"t": 1}) as broker, connect(broker) as sock:
        sock.sendall(encode_request(fetch_request("t", 0, max_wait_ms=60_000), 12, 1))
        broker.append("t", 0, [b"x" * 3_000_000])
        data = receive(sock)  # more than a socket takes at once
        _, response = decode_response(FetchResponse, 12, data)
        assert len(response.responses[0].partitions[0].records or b"") > 3_000_000
        sock.sendall(encode_request(fetch_request("t", 1, max_wait_ms=20), 12, 2))
        _, response = decode_response(FetchResponse, 12, receive(sock))
        assert response.responses[0].partitions[0].high_watermark == 1


def test_a_node_stops_and_comes_back_at_its_port() -> None:
    with EmbeddedBroker(nodes=2) as broker:
        address = broker.bootstrap_servers.split(",")[1]
        with connect(address) as sock:
            broker.stop_node(1)
            assert sock.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                connect(address)
        broker.start_node(1)

        def restart(engine: Broker, now: float) -> None:
            engine.stop_node(1, now)
            engine.start_node(1, now)

        broker.call(restart)
        with connect(address) as sock:
            ask(sock)


def test_clients_that_go_away() -> None:
    with EmbeddedBroker(topics={"t": 1}) as broker:
        broker.append("t", 0, [b"x" * 900_000] * 20)
        polite, rude = connect(broker), connect(broker)
        polite.sendall(QUESTION)
        receive(polite)
        polite.close()
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.sendall(encode_request(fetch_request("t", 0, partition_max_bytes=1 << 30, max_bytes=1 << 30), 12, 1))
        rude.recv(10)
        rude.close()  # a reset, with most of the answer unsent
        broker.wait_until(lambda: broker.call(lambda engine, _: engine.connections()) == [])


def test_what_breaks_the_protocol_is_disconnected() -> None:
    with EmbeddedBroker() as broker, connect(broker) as sock:
        sock.sendall(QUESTION + b"\xff\xff\xff\xff")
        receive(sock)
        assert sock.recv(1) == b""


def test_an_error_in_a_call_is_the_callers() -> None:
    with EmbeddedBroker() as broker:
        with pytest.raises(KeyError):
            broker.end_offset("nowhere", 0)
        assert broker.nodes == [0]


def test_a_crash_of_the_broker_is_told() -> None:
    def broken(_: float) -> None:
        raise RuntimeError("on purpose")

    broker = EmbeddedBroker(engine=Broker(max_idle=0.01))
    broker.start()
    broker.call(lambda engine, _: setattr(engine, "handle_timeout", broken))
    with connect(broker) as sock:
        assert sock.recv(1) == b""
    with pytest.raises(InternalError, match="on purpose"):
        broker.wait_until(lambda: broker.nodes == [])
    with pytest.raises(InternalError, match="on purpose"):
        broker.stop()


@pytest.mark.parametrize("what", ["when", "alter", "no response"])
def test_a_fault_of_the_program_s_is_told_as_one(what: str) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("on purpose")

    def nothing(*_: object) -> Any:
        return None

    faults = {"when": Fault(when=broken), "alter": Fault(alter=broken), "no response": Fault(alter=nothing)}
    broker = EmbeddedBroker()
    broker.start()
    broker.add_fault(faults[what])
    with connect(broker) as sock:
        sock.sendall(QUESTION)
        assert sock.recv(1) == b""
    said = "has to return a response, not None" if what == "no response" else f"`{what}` has raised.*on purpose"
    with pytest.raises(LocalProtocolError, match=said):
        broker.wait_until(lambda: broker.nodes == [])
    with pytest.raises(LocalProtocolError, match=said):
        broker.stop()


def test_nothing_is_left() -> None:
    before = threading.active_count()
    with EmbeddedBroker() as broker, connect(broker):
        address = broker.bootstrap_servers
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        connect(address)


def test_it_is_for_its_block() -> None:
    broker = EmbeddedBroker()
    with pytest.raises(LocalProtocolError, match="`with` block"):
        _ = broker.bootstrap_servers
    with broker, pytest.raises(LocalProtocolError, match="once"):
        broker.start()
    broker.stop()
    with pytest.raises(ClosedError):
        _ = broker.bootstrap_servers
    with pytest.raises(LocalProtocolError, match="once"):
        broker.start()
    other = EmbeddedBroker()
    other.stop()
    with pytest.raises(LocalProtocolError, match="once"):
        other.start()


def free_ports(count: int) -> int:
    """The first of some ports in a row that nobody has."""
    while True:
        taken: list[socket.socket] = []
        try:
            taken.append(socket.create_server(("127.0.0.1", 0)))
            first: int = taken[0].getsockname()[1]
            for port in range(first + 1, first + count):
                taken.append(socket.create_server(("127.0.0.1", port)))
            return first
        except (OSError, OverflowError):
            continue
        finally:
            for each in taken:
                each.close()


def test_ports_that_are_asked_for_and_ports_that_are_taken() -> None:
    port = free_ports(2)
    with EmbeddedBroker(nodes=2, port=port) as broker:
        assert broker.bootstrap_servers == f"127.0.0.1:{port},127.0.0.1:{port + 1}"
        threads = threading.active_count()
        with pytest.raises(OSError, match=f"node 0 can't listen on 127.0.0.1:{port + 1} .*choose another port"):
            EmbeddedBroker(port=port + 1).start()
        assert threading.active_count() == threads
    with EmbeddedBroker(nodes=2, port=port), connect(f"127.0.0.1:{port}") as sock:  # and at once again
        ask(sock)


def test_a_function_of_a_fault_may_use_the_broker() -> None:
    def alter(_: Any, response: Any) -> Any:
        broker.create_topic("made")
        return response

    with EmbeddedBroker() as broker, connect(broker) as sock:
        broker.add_fault(Fault(api=ApiKey.METADATA, alter=alter))
        ask(sock)
        assert broker.topics == ["made"]


def test_any_thread_may_call() -> None:
    with EmbeddedBroker(topics={"t": 1}) as broker:

        def append() -> None:
            for _ in range(50):
                broker.append("t", 0, [b"x"])

        joins = [in_thread(append) for _ in range(4)]
        for join in joins:
            join()
        assert broker.end_offset("t", 0) == 200


def test_waiting() -> None:
    with EmbeddedBroker(topics={"t": 1}) as broker:
        join = in_thread(lambda: broker.append("t", 0, [b"x"]))
        broker.wait_until(lambda: broker.end_offset("t", 0) == 1)
        join()
        with pytest.raises(KafkaTimeoutError, match=r"wait_until did not finish in 0.01 s"):
            broker.wait_until(lambda: False, timeout=0.01)


def test_consumers_of_it() -> None:
    with EmbeddedBroker(nodes=3, topics={"orders": 3}) as broker:
        for partition in range(3):
            broker.append("orders", partition, [b"a", b"b"])
        options: Any = {
            "bootstrap_servers": broker.bootstrap_servers,
            "group_id": "billing",
            "auto_offset_reset": "earliest",
        }
        with Consumer("orders", **options) as consumer:
            assert sorted(read(consumer, 6)) == ["a", "a", "a", "b", "b", "b"]
            broker.wait_until(lambda: broker.group("billing").state is GroupState.STABLE)
            [member] = broker.group("billing").members
            assert [tp.partition for tp in member.partitions] == [0, 1, 2]
            consumer.commit()
        assert {tp.partition: found.offset for tp, found in broker.committed("billing").items()} == {0: 2, 1: 2, 2: 2}
        assert broker.group("billing").state is GroupState.EMPTY
        [record] = {abs(record.timestamp / 1000 - time.time()) < 600 for record in broker.records("orders")}
        assert record
