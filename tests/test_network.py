"""The network of the tests, with clients that do as they are told."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.errors import ErrorCode
from dekaf_proto.events import Address, Connect, Disconnect, Effect, Resolve, Send
from dekaf_proto.messages import ApiKey, MetadataRequest, MetadataResponse
from dekaf_proto.wire import FrameReader, decode_response, encode_request
from tests.network import Network


class Told:
    """A client that does what a test puts into `todo`, and remembers what it was told."""

    def __init__(self) -> None:
        self.todo: list[Effect] = []
        self.told: list[tuple[object, ...]] = []
        self.data = b""
        self.pieces: list[int] = []
        self.deadline: float | None = None
        self.rings: list[float] = []
        self.stubborn = False

    def resolved(self, query: int, addresses: Sequence[Address], now: float) -> None:
        self.told.append(("resolved", query, *addresses))

    def resolve_failed(self, query: int, error: str, now: float) -> None:
        self.told.append(("resolve_failed", query, error))

    def connected(self, conn: int, now: float) -> None:
        self.told.append(("connected", conn))

    def connect_failed(self, conn: int, error: str, now: float) -> None:
        self.told.append(("connect_failed", conn, error))

    def receive_data(self, conn: int, data: bytes, now: float) -> None:
        self.data += data
        self.pieces.append(len(data))

    def disconnected(self, conn: int, error: str, now: float) -> None:
        self.told.append(("disconnected", conn, error))

    def handle_timeout(self, now: float) -> None:
        self.rings.append(now)
        if not self.stubborn:
            self.deadline = None

    def effects(self) -> list[Effect]:
        todo, self.todo = self.todo, []
        return todo

    def next_deadline(self) -> float | None:
        return self.deadline

    # what tests order

    def connect(self, conn: int, address: Address) -> None:
        self.todo.append(Connect(conn, address, address.host, False))

    def ask(self, conn: int, correlation_id: int = 1) -> None:
        self.todo.append(Send(conn, encode_request(MetadataRequest(topics=[]), 13, correlation_id)))


QUESTION = len(encode_request(MetadataRequest(topics=[]), 13, 1))


def responses(client: Told) -> list[int]:
    reader = FrameReader()
    reader.receive_data(client.data)
    found = []
    while (frame := reader.next_frame()) is not None:
        found.append(decode_response(MetadataResponse, 13, frame)[0])
    return found


def has_responses(client: Told, count: int) -> bool:
    return len(responses(client)) == count


def joined(**options: object) -> tuple[Network, Told]:
    network = Network(Broker(nodes=2), **options)  # type: ignore[arg-type]
    client = network.add(Told())
    client.connect(1, network.address(0))
    network.run_until(lambda: client.told)
    assert client.told == [("connected", 1)]
    client.told.clear()
    return network, client


def test_a_question_and_its_answer_take_two_latencies() -> None:
    network, client = joined(latency=0.25, start=10.0)
    assert network.now == 10.5
    client.ask(1)
    network.run_until(lambda: client.data)
    assert network.now == 11.0
    assert responses(client) == [1]


def test_names() -> None:
    network = Network(Broker())
    client = network.add(Told())
    network.names["kafka.test"] = ["10.0.0.1", "::1"]
    network.names["broken.test"] = "server failure"
    for query, host in enumerate(["kafka.test", "broken.test", "127.0.0.9", "unknown.test", "localhost"]):
        client.todo.append(Resolve(query, host, 9092))
    network.run_until(lambda: len(client.told) == 5)
    assert client.told == [
        ("resolved", 0, Address("10.0.0.1", 9092), Address("::1", 9092)),
        ("resolve_failed", 1, "server failure"),
        ("resolved", 2, Address("127.0.0.9", 9092)),
        ("resolve_failed", 3, "unknown.test: name or service not known"),
        ("resolved", 4, Address("127.0.0.1", 9092)),
    ]


def test_the_answer_to_a_query_does_not_reach_a_client_that_is_gone() -> None:
    network = Network(Broker())
    client = network.add(Told())
    client.todo.append(Resolve(1, "localhost", 9092))
    network.run_for(0.0005)
    network.remove(client)
    network.run_for(1)
    assert client.told == []


def test_a_broker_that_advertises_names() -> None:
    broker = Broker(nodes=2, host="kafka{node}.test", port=9000)
    with pytest.raises(AssertionError, match="can't be resolved"):
        Network(broker, names={"kafka0.test": "no such name"})
    network = Network(Broker(nodes=2, host="kafka{node}.test", port=9000), names={"kafka1.test": ["10.0.0.2"]})
    assert network.address(1) == Address("10.0.0.2", 9001)
    assert network.bootstrap_servers() == ["kafka0.test:9000", "kafka1.test:9001"]


@pytest.mark.parametrize("how", ["nobody there", "refused", "stopped"])
def test_a_connection_is_refused(how: str) -> None:
    network = Network(Broker())
    client = network.add(Told())
    address = Address("127.0.0.1", 1) if how == "nobody there" else network.address()
    if how == "refused":
        network.refuse(0)
    if how == "stopped":
        network.broker.stop_node(0, network.now)
    client.connect(1, address)
    network.run_until(lambda: client.told)
    assert client.told == [("connect_failed", 1, "connection refused")]
    assert network.links == []
    network.accept(0)
    if how == "refused":
        client.connect(2, address)
        network.run_until(lambda: len(client.told) == 2)
        assert client.told[1] == ("connected", 2)


def test_a_client_that_gives_up_connecting_hears_nothing_more() -> None:
    for moment in (0.0, 0.0005, 0.0015):  # before it arrives, and when the answer is under way
        network = Network(Broker())
        client = network.add(Told())
        client.connect(1, network.address())
        network.run_for(moment)
        client.todo.append(Disconnect(1))
        client.todo.append(Send(1, b"late"))
        network.run_for(1)
        assert client.told == []
        assert network.broker.connections() == []
        assert network.links == []
    network.refuse(0)
    client.connect(2, network.address())
    network.run_for(0.0015)
    client.todo.append(Disconnect(2))
    network.run_for(1)
    assert client.told == []


def test_what_was_sent_arrives_before_the_end() -> None:
    network, client = joined(jitter=0.01)
    for number in range(20):
        client.ask(1, number)
    client.todo.append(Disconnect(1))
    network.run_for(1)
    assert len(network.broker.requests) == 20
    assert network.broker.connections() == []
    assert client.told == []


def test_the_broker_closes_and_its_last_words_arrive() -> None:
    network, client = joined(jitter=0.01)
    client.ask(1, 7)
    client.todo.append(Send(1, b"\xff\xff\xff\xff"))
    network.run_until(lambda: client.told)
    assert client.told == [("disconnected", 1, "")]
    assert responses(client) == [7]


def test_both_sides_close_at_once() -> None:
    network, client = joined()
    client.todo.append(Disconnect(1))
    network.run_for(0)
    network.broker.stop_node(0, network.now)
    network.run_for(1)
    assert client.told == []
    assert network.links == []


def test_data_for_a_connection_that_the_broker_is_closing_is_lost() -> None:
    network, client = joined()
    network.broker.stop_node(0, network.now)
    client.ask(1)
    network.run_for(1)
    assert client.told == [("disconnected", 1, "")]
    assert not network.broker.requests


def test_pieces_and_the_same_run_for_the_same_seed() -> None:
    runs = []
    for seed in (1, 1, 2):
        network, client = joined(seed=seed, jitter=0.005, max_chunk=7)
        for number in range(5):
            client.ask(1, number)
        network.run_until(partial(has_responses, client, 5))
        assert max(client.pieces) <= 7
        assert responses(client) == [0, 1, 2, 3, 4]
        runs.append((client.pieces, network.now))
    assert runs[0] == runs[1] != runs[2]


def test_a_cut_tells_both_sides_and_loses_what_is_under_way() -> None:
    network, client = joined()
    other = network.add(Told())
    other.connect(1, network.address(1))
    network.run_for(1)
    client.ask(1)
    network.run_for(0.0005)
    assert network.cut(node=0) == 1
    assert client.told == [("disconnected", 1, "connection reset by peer")]
    assert network.broker.connections() == network.broker.connections(1) != []
    network.run_for(1)
    assert not network.broker.requests
    assert network.cut(client=other, error="no route to host") == 1
    assert other.told == [("connected", 1), ("disconnected", 1, "no route to host")]


def test_a_cut_while_connecting() -> None:
    network = Network(Broker())
    client = network.add(Told())
    for moment in (0.0, 0.0015):
        client.connect(1, network.address())
        network.run_for(moment)
        network.cut()
        assert client.told.pop() == ("connect_failed", 1, "connection reset by peer")
        assert network.broker.connections() == []


def test_a_cut_in_mid_frame() -> None:
    network, client = joined()
    network.cut_after(1, 0)  # another node: nothing happens here
    client.ask(1)
    network.cut_after(0, 10)
    network.run_until(lambda: client.told)
    assert client.told == [("disconnected", 1, "connection reset by peer")]
    assert len(client.data) == 10
    network, client = joined()
    network.cut_after(0, 0)
    client.ask(1)
    network.run_until(lambda: client.told)
    assert client.data == b""


def test_silence_and_what_comes_after_it() -> None:
    network, client = joined()
    network.block(0)
    client.ask(1)
    client.connect(2, network.address(0))
    client.connect(3, network.address(1))
    network.run_for(5)
    assert client.told == [("connected", 3)]
    network.unblock(0)
    network.run_until(lambda: client.data)
    assert ("connected", 2) in client.told
    network.unblock(0)  # nothing to end


def test_the_process_of_a_client_dies() -> None:
    network, client = joined()
    network.remove(client)
    network.run_for(1)
    assert client.told == []
    assert network.broker.connections() == []


def test_a_node_that_is_far_away() -> None:
    network, client = joined(start=0.0)
    network.node_latency[0] = 2.0
    sent = network.now
    client.ask(1)
    network.run_until(lambda: client.data)
    assert network.now == pytest.approx(sent + 4)


def test_two_clusters() -> None:
    network, client = joined()
    network.add_broker(Broker(port=7000, seed=1))
    client.connect(2, Address("127.0.0.1", 7000))
    network.run_until(lambda: client.told)
    client.ask(2)
    network.run_until(lambda: client.data)
    assert not network.broker.requests
    with pytest.raises(AssertionError, match="in use"):
        network.add_broker(Broker(port=7000))


def test_a_node_starts_again_at_its_address() -> None:
    network, client = joined()
    before = network.address(0)
    network.broker.stop_node(0, network.now)
    network.run_until(lambda: client.told)
    network.broker.start_node(0, network.now)
    network.run_for(0)
    assert network.address(0) == before
    client.connect(2, before)
    network.run_until(lambda: ("connected", 2) in client.told)


def test_deadlines() -> None:
    network = Network(Broker(), start=5.0)
    client = network.add(Told())
    client.deadline = 7.5
    network.run_for(2)
    assert (network.now, client.rings) == (7.0, [])
    network.run_until(lambda: client.rings)
    assert client.rings == [7.5]
    client.deadline = 3.0  # in the past: at once
    network.run_until(lambda: len(client.rings) == 2)
    assert client.rings == [7.5, 7.5]


def test_a_busy_loop_is_found() -> None:
    network = Network(Broker())
    client = network.add(Told())
    client.stubborn = True
    client.deadline = network.now
    with pytest.raises(AssertionError, match="busy loop"):
        network.run_for(1)


def test_a_condition_that_is_never_met() -> None:
    network, _ = joined()
    with pytest.raises(AssertionError, match=r"(?s)not met.*connection 1 is open to node 0"):
        network.run_until(lambda: False, limit=2)
    assert network.now < 3000


def test_checks_run_after_each_step() -> None:
    network, client = joined()
    network.checks.append(lambda: pytest.fail("a look at each step") if client.data else None)
    client.ask(1)
    with pytest.raises(pytest.fail.Exception, match="a look at each step"):
        network.run_for(1)


class Later:
    """An operation that is done when the client has data."""

    def __init__(self, client: Told) -> None:
        self.client = client

    @property
    def done(self) -> bool:
        return bool(self.client.data)

    def result(self) -> int:
        return len(self.client.data)


def test_the_result_of_an_operation() -> None:
    network, client = joined()
    network.broker.faults.add(api=ApiKey.METADATA, top_error=ErrorCode.REBOOTSTRAP_REQUIRED, delay=3)
    client.ask(1)
    assert network.result(Later(client)) > 0
    with pytest.raises(AssertionError, match="not met"):
        network.result(Later(network.add(Told())), limit=1)
