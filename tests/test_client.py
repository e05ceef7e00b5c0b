"""Which broker is asked, and beginning again from the bootstrap servers, driven by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dekaf_proto.client import LEAST_LOADED
from dekaf_proto.cluster import BrokerInfo
from dekaf_proto.errors import (
    ClosedError,
    ConnectionLostError,
    ErrorCode,
    KafkaTimeoutError,
    UnsupportedVersionError,
)
from dekaf_proto.events import Address, Connect, Disconnect, Resolve
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.messages.metadata import MetadataRequest, MetadataResponse
from dekaf_proto.node import NodeKey, NodeState, Purpose
from dekaf_proto.operation import Call, Operation
from tests.hand import Hand, flow_of

# ------------------------------------------------------------------------------------------------- choosing a node (C7)


def test_least_loaded_prefers_what_is_ready_and_idle() -> None:
    for seed in range(10):
        hand = Hand(seed=seed)
        hand.know(1, 2, 3)
        hand.ready(2)
        conn = hand.ready(3)
        hand.ask(3)
        for _ in range(3):
            hand.ask()
        hand.drain()
        assert len(hand.asked[conn]) in (1, 2, 3)
        assert hand.node(2).load + hand.node(3).load == 4
        assert abs(hand.node(2).load - hand.node(3).load) == 0
        assert hand.node(1).state is NodeState.IDLE


def test_least_loaded_waits_for_a_connection_that_is_being_made() -> None:
    hand = Hand()
    hand.know(1, 2, 3)
    hand.ask(2)
    hand.take(Connect)
    hand.ask()
    assert hand.node(2).load == 2
    assert hand.nothing()


def test_least_loaded_does_not_go_on_waiting_for_one_that_was_not_there_in_time() -> None:
    hand = Hand(request_timeout_ms=1_000)
    hand.know(1, 2)
    hand.ask(1)
    first = hand.take(Connect).conn
    hand.after(1.0)
    assert hand.lost == [hand.node(1)]
    assert hand.node(1).is_open  # it may still come
    hand.ask()
    assert hand.node(2).load == 1
    hand.after(1.0)
    hand.ask()  # both are late: one of them
    assert hand.node(1).load + hand.node(2).load == 1
    hand.client.connected(first, hand.now)
    hand.answer_versions(first)
    assert not hand.node(1).late
    hand.ask()
    assert hand.node(1).load > 0


def test_least_loaded_goes_round() -> None:
    hand = Hand()
    hand.know(1, 2, 3)
    seen = []
    for _ in range(6):
        hand.ask()
        connect = hand.take(Connect)
        seen.append(connect.address.host)
        hand.client.connect_failed(connect.conn, "refused", hand.now)
        hand.after(2.0)
    assert set(seen[:3]) == {"10.0.1.1", "10.0.1.2", "10.0.1.3"}
    assert seen[:3] == seen[3:]


def test_where_it_begins_is_left_to_chance() -> None:  # C7, C8
    firsts = set()
    for seed in range(40):
        hand = Hand("10.0.0.1", "10.0.0.2", "10.0.0.3", seed=seed)
        hand.ask()
        firsts.add(hand.take(Connect).address.host)
    assert firsts == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


def test_when_nobody_is_left_all_that_went_wrong_is_said() -> None:  # lesson 39
    hand = Hand("10.0.0.1", "10.0.0.2", "kafka.test")
    for _ in range(3):
        hand.ask()
        effect = hand.drain()[-1]
        hand.effects.clear()
        if isinstance(effect, Resolve):
            hand.client.resolve_failed(effect.query, "no such name", hand.now)
        else:
            assert isinstance(effect, Connect)
            hand.client.connect_failed(effect.conn, f"refused by {effect.address.host}", hand.now)
    hand.ask()
    assert str(hand.error()).startswith("the cluster is not reachable (")
    assert dict(hand.error().causes) == {
        "10.0.0.1:9092": "refused by 10.0.0.1",
        "10.0.0.2:9092": "refused by 10.0.0.2",
        "kafka.test": "no such name",
    }


def test_a_call_to_any_broker_fails_with_what_is_wrong_with_all() -> None:
    hand = Hand("10.0.0.1", "10.0.0.2")
    operations: list[Operation[Any]] = []
    for _ in range(2):
        operations.append(hand.client.runner.start("op", flow_of(Call(LEAST_LOADED, MetadataRequest()))))
        hand.client.runner.run(hand.now)
        connect = hand.take(Connect)
        hand.client.connect_failed(connect.conn, "refused", hand.now)
        hand.client.runner.run(hand.now)
    error = operations[1].error
    assert isinstance(error, ConnectionLostError)
    assert {where for where, _ in error.causes} == {"10.0.0.1:9092", "10.0.0.2:9092"}


def test_a_call_gets_its_answer_and_other_errors_as_they_are() -> None:
    hand = Hand()
    conn = hand.ready()
    good = hand.client.runner.start("op", flow_of(Call(LEAST_LOADED, MetadataRequest())))
    bad = hand.client.runner.start("op", flow_of(Call(LEAST_LOADED, MetadataRequest(), 99)))
    none = hand.client.runner.start("op", flow_of(Call(LEAST_LOADED, FetchRequest(), 1)))
    hand.client.runner.run(hand.now)
    hand.reply(conn, MetadataResponse(cluster_id="a"))
    hand.reply(conn, MetadataResponse(cluster_id="b"))
    hand.client.runner.run(hand.now)
    assert (good.result().cluster_id, bad.result().cluster_id) == ("a", "b")
    assert isinstance(none.error, UnsupportedVersionError)


@pytest.mark.parametrize("target", [LEAST_LOADED, 1, NodeKey(1, Purpose.FETCH)])
def test_a_time_out_names_what_is_being_waited_for(target: object) -> None:
    hand = Hand()
    hand.know(1)
    operation = hand.client.runner.start("asking", flow_of(Call(target, MetadataRequest())), 5.0)
    hand.client.runner.run(hand.now)
    hand.after(5.0)
    with pytest.raises(KafkaTimeoutError, match=r"asking did not finish in 5 s: .*10\.0\.1\.1:9092: not connected yet"):
        operation.result()


def test_a_broker_that_is_not_known() -> None:
    hand = Hand()
    hand.know(1)
    hand.ask(7)
    assert str(hand.error()) == "broker 7 is not reachable"
    assert not hand.client.is_available(NodeKey(7))
    assert not hand.client.is_ready(NodeKey(7))
    hand.client.disconnect(NodeKey(7), "whatever")
    assert hand.client.explain(7) is None
    hand.client.cluster.brokers = {}
    hand.ask()
    assert str(hand.error()) == "the cluster is not reachable"


# -------------------------------------------------------------------------------------------- bootstrap and rebootstrap


def test_bootstrap_connections_are_closed_when_the_brokers_are_known() -> None:  # C8
    hand = Hand()
    conn = hand.ready()
    hand.know(1)
    assert hand.take(Disconnect).conn == conn
    assert hand.node().state is NodeState.IDLE
    hand.ask()
    assert hand.take(Connect).address.host == "10.0.1.1"


def test_the_connection_to_broker_0_is_none_of_them() -> None:
    hand = Hand()
    hand.know(0)
    hand.ready(0)
    hand.know(0)
    assert hand.client.is_ready(NodeKey(0))
    hand.client.rebootstrap("the test says so")
    hand.know(0)
    hand.ready(0)  # it was of use
    hand.client.rebootstrap("the test says so")
    assert hand.node().state is NodeState.IDLE


def test_a_bootstrap_connection_that_is_busy_is_closed_afterwards() -> None:
    hand = Hand()
    conn = hand.ready()
    hand.ask(mark="a")
    hand.ask(mark="b")
    hand.know(1)
    hand.reply(conn, MetadataResponse())
    assert not any(isinstance(effect, Disconnect) for effect in hand.effects)
    hand.reply(conn, MetadataResponse())
    assert [mark for mark, _, error in hand.results if error is None] == ["a", "b"]
    assert hand.take(Disconnect).conn == conn


@pytest.mark.parametrize("state", [NodeState.RESOLVING, NodeState.CONNECTING, NodeState.NEGOTIATING])
def test_a_bootstrap_connection_that_nobody_waits_for_any_more_is_not_made(state: NodeState) -> None:
    hand = Hand("kafka.test", request_timeout_ms=5_000)
    hand.ask()
    query = hand.take(Resolve).query
    if state is not NodeState.RESOLVING:
        hand.client.resolved(query, [Address("10.0.0.1", 9092)], hand.now)
    if state is NodeState.NEGOTIATING:
        hand.connect(ready=False)
    hand.after(5.0)
    assert len(hand.results) == 1
    hand.know(1)
    assert hand.node().state is NodeState.IDLE
    assert not hand.client._by_handle
    hand.drain()
    hand.effects.clear()
    hand.client.resolved(query, [Address("10.0.0.1", 9092)], hand.now)
    assert hand.nothing()


def test_a_bootstrap_connection_that_is_ready_too_late_is_closed() -> None:
    hand = Hand(request_timeout_ms=5_000)
    hand.ask(mark="a")
    conn = hand.connect(ready=False)
    hand.ask(mark="b")
    hand.know(1)
    hand.after(5.0)
    assert len(hand.results) == 2
    hand.answer_versions(conn)
    assert hand.take(Disconnect).conn == conn


def test_a_broker_that_moved_or_left_is_given_up() -> None:  # M9
    hand = Hand()
    hand.know(1, 2)
    conns = {n: hand.ready(n) for n in (1, 2)}
    for n in (1, 2):
        hand.ask(n, mark=n)
    hand.client.cluster.brokers = {1: BrokerInfo(1, "10.0.9.9", 9092)}
    hand.client.metadata_arrived()
    assert [mark for mark, _, _ in hand.results] == [1, 2]
    assert "another address" in str(hand.error(0))
    assert "left the cluster" in str(hand.error(1))
    assert {effect.conn for effect in hand.drain() if isinstance(effect, Disconnect)} == set(conns.values())
    hand.effects.clear()
    hand.ask(1)
    assert hand.take(Connect).address.host == "10.0.9.9"


@pytest.mark.parametrize("state", list(NodeState))
@pytest.mark.parametrize("how", ["moved", "rebootstrap", "disconnect", "coordinator moved"])
def test_a_node_can_be_given_up_in_every_state(state: NodeState, how: str) -> None:
    hand = Hand()
    coordinator = how in ("disconnect", "coordinator moved")
    hand.know(1)
    hand.client.cluster.brokers = {1: BrokerInfo(1, "kafka1.test", 9092)}
    hand.client.metadata_arrived()
    key = hand.client.add_coordinator(1, "kafka1.test", 9092) if coordinator else NodeKey(1)
    query = conn = -1
    if state is not NodeState.IDLE:
        hand.ask(key)
        query = hand.take(Resolve).query
    if state in (NodeState.CONNECTING, NodeState.NEGOTIATING, NodeState.READY):
        hand.client.resolved(query, [Address("10.0.1.1", 9092), Address("10.0.1.2", 9092)], hand.now)
        if state is not NodeState.CONNECTING:
            conn = hand.connect(ready=state is NodeState.READY)
    if state is NodeState.BACKOFF:
        hand.client.resolve_failed(query, "no such name", hand.now)
    node = hand.node(key) if state is not NodeState.IDLE or coordinator else None
    assert node is None or node.state is state
    waiting = node.load if node is not None else 0
    hand.results.clear()
    hand.lost.clear()
    if how == "moved":
        hand.client.cluster.brokers = {1: BrokerInfo(1, "kafka9.test", 9092)}
        hand.client.metadata_arrived()
    elif how == "rebootstrap":
        hand.client.rebootstrap("the test says so")
    elif how == "disconnect":
        hand.client.disconnect(key, "the test says so")
    else:
        assert hand.client.add_coordinator(1, "kafka9.test", 9092) == key
        assert hand.node(key).state is NodeState.IDLE
    assert len(hand.results) == waiting
    assert hand.lost == ([node] if node is not None else [])
    assert not hand.client._by_handle  # nothing is left that could come to life again
    hand.drain()
    for handle in (query, conn):
        hand.client.resolved(handle, [Address("10.0.1.1", 9092)], hand.now)
        hand.client.connected(handle, hand.now)
        hand.client.receive_data(handle, b"\0\0\0\1", hand.now)
        hand.client.disconnected(handle, "", hand.now)
    hand.effects.clear()
    assert hand.nothing()
    deadline = hand.client.next_deadline()
    assert deadline is None or deadline > hand.now


def test_a_coordinator_has_a_connection_of_its_own() -> None:  # G2
    hand = Hand()
    hand.know(1)
    general = hand.ready(1)
    key = hand.client.add_coordinator(1, "10.0.1.1", 9092)
    conn = hand.ready(key)
    assert conn != general
    assert hand.client.is_ready(key)
    assert hand.client.add_coordinator(1, "10.0.1.1", 9092) == key
    assert hand.client.is_ready(key)
    hand.ask(key, "c")
    hand.ask(1, "g")
    hand.client.disconnect(key, "NOT_COORDINATOR")
    assert [mark for mark, _, _ in hand.results] == ["c"]
    assert str(hand.error()) == "broker 1 (10.0.1.1:9092) is not reachable (10.0.1.1:9092: NOT_COORDINATOR)"
    assert hand.take(Disconnect).conn == conn
    hand.ask(key)  # it is no fault of the node's: no back-off
    assert hand.take(Connect).address.host == "10.0.1.1"


def test_a_coordinator_that_metadata_does_not_name_is_kept() -> None:
    hand = Hand()
    hand.know(1)
    key = hand.client.add_coordinator(5, "10.0.1.5", 9092)
    hand.ready(key)
    hand.know(1, 2)
    assert hand.client.is_ready(key)
    assert hand.client.next_deadline() is not None


def test_rebootstrap() -> None:  # C6
    hand = Hand()
    hand.ready()
    hand.know(1, 2)
    conns = [hand.ready(1), hand.ready(2)]
    hand.ask(1, "a")
    hand.client.rebootstrap("the test says so")
    assert [mark for mark, _, _ in hand.results] == ["a"]
    assert [e.conn for e in hand.drain() if isinstance(e, Disconnect)] == conns
    hand.effects.clear()
    hand.client.rebootstrap("again")  # it is being done
    assert hand.client.counts["rebootstraps"] == 1
    hand.ask()
    assert hand.take(Connect).address.host == "10.0.0.1"


def test_a_broker_may_ask_for_it() -> None:  # W24, C6c
    hand = Hand()
    hand.client.cluster.cluster_id = "old"
    hand.know(1, 2)
    hand.ready(2)
    hand.ask(1, "a")
    conn = hand.connect(ready=False)
    hand.answer_versions(conn, {}, error_code=ErrorCode.REBOOTSTRAP_REQUIRED)
    assert "REBOOTSTRAP_REQUIRED" in str(hand.error())
    assert hand.client._nodes == {}
    assert hand.client.cluster.brokers == {}
    assert hand.troubles == []
    hand.effects.clear()
    hand.ask()
    assert hand.take(Connect).address.host == "10.0.0.1"


def test_bootstrap_servers_that_lead_nowhere_are_asked_less_and_less() -> None:  # C6: no tight loop
    hand = Hand()
    waits = []
    for _ in range(8):
        began = hand.now
        hand.ask()
        while hand.node().state is NodeState.BACKOFF:
            hand.at(hand.client.next_deadline() or 0.0)
            hand.ask()
        waits.append(hand.now - began)
        hand.reply(hand.connect(), MetadataResponse())
        hand.know(1)
        hand.effects.clear()
        hand.ask(1)
        hand.answer_versions(hand.connect(ready=False), {}, error_code=ErrorCode.REBOOTSTRAP_REQUIRED)
        hand.effects.clear()
    assert waits[:2] == [0.0, 0.0]
    assert 0.04 <= waits[2] <= 0.06
    assert 0.08 <= waits[3] <= 0.12
    assert waits[7] == 1.0
    hand.after(2.0)
    hand.ask()
    hand.reply(hand.connect(), MetadataResponse())
    hand.know(1)
    hand.effects.clear()
    hand.ready(1)
    hand.client.rebootstrap("now it is something else")
    assert hand.node().state is NodeState.IDLE


# ---------------------------------------------------------------------------------------------------------------- close


def test_close() -> None:
    hand = Hand("10.0.0.1", "kafka.test")
    hand.know(1, 2, 3)
    conn = hand.ready(1)
    hand.ask(1, "a")
    hand.ask(2, "b")
    connecting = hand.take(Connect).conn
    operation = hand.client.runner.start("op", flow_of(Call(3, MetadataRequest())))
    hand.client.runner.run(hand.now)
    third = hand.take(Connect).conn
    hand.client.close()
    assert [e.conn for e in hand.drain() if isinstance(e, Disconnect)] == [conn, connecting, third]
    assert isinstance(operation.error, ClosedError)
    assert hand.results == []  # nobody is told
    hand.effects.clear()
    hand.client.connected(connecting, hand.now)
    hand.client.receive_data(conn, b"\0\0\0\1\0", hand.now)
    hand.at(10_000.0)
    assert hand.nothing()
    hand.client.close()
    assert hand.nothing()


# ----------------------------------------------------------------------------------------------------- whatever happens


def test_stale_handles_are_ignored() -> None:
    hand = Hand("kafka.test")
    hand.ask()
    query = hand.take(Resolve).query
    client = hand.client
    inputs: list[Callable[[int], object]] = [
        lambda h: client.connected(h, hand.now),
        lambda h: client.connect_failed(h, "no", hand.now),
        lambda h: client.receive_data(h, b"\xff\xff\xff\xff", hand.now),
        lambda h: client.disconnected(h, "", hand.now),
    ]
    for give in inputs:  # that is a query, not a connection
        give(query)
        assert hand.node().state is NodeState.RESOLVING
    client.resolved(query, [Address("10.0.0.1", 9092)], hand.now)
    conn = hand.take(Connect).conn
    inputs = [
        lambda h: client.resolved(h, [Address("10.0.0.2", 9092)], hand.now),
        lambda h: client.resolve_failed(h, "no", hand.now),
    ]
    for handle in (query, conn, 0, -1, 99):
        for give in inputs:
            give(handle)
    client.receive_data(conn, b"too early", hand.now)
    assert hand.node().state is NodeState.CONNECTING
    assert hand.nothing()
    client.connected(conn, hand.now)
    client.connected(conn, hand.now)
    client.connect_failed(conn, "no", hand.now)
    assert hand.node().state is NodeState.NEGOTIATING
