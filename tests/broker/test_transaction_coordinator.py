"""The coordinator of transactions: where it is, what it does in time, and whom it waits for."""

from __future__ import annotations

from dekaf_proto.broker import Broker
from dekaf_proto.broker.transactions import TransactionOptions, TransactionState
from dekaf_proto.messages import ApiVersionsRequest, FetchResponse, ProduceResponse
from tests.broker.peer import Peer
from tests.broker.producing import Producer, batches, broker_of, committed, end_offsets, only, produce_request, shown
from tests.broker.requests import fetch_request


def cluster(nodes: int = 3, **options: int) -> Peer:
    """The partitions 0, 1 and 2 are led by the nodes of these numbers, and so is the id "x" by node 0."""
    peer = Peer(Broker(nodes=nodes, transaction_options=TransactionOptions(**options)))
    peer.broker.create_topic("t", 3)
    peer.broker.move_transaction_coordinator("x", 0, peer.now)
    return peer


def producer(peer: Peer, timeout_ms: int = 60_000) -> Producer:
    p = Producer(peer, "t", "x")
    assert p.init(timeout_ms=timeout_ms)[0] == "NONE"
    return p


def send(p: Producer, partition: int, value: bytes = b"a") -> tuple[str, int, int, bool]:
    """Produce to the node that leads the partition at first."""
    p.node = partition
    found = p.send(value, partition=partition)
    p.node = 0
    return found


def state(p: Producer) -> TransactionState:
    found = broker_of(p).transaction("x")
    assert found is not None
    return found.state


def coordinator_epochs(peer: Peer) -> list[int | None]:
    """Those of the markers in partition 0."""
    controls = [batch.control_record() for batch in batches(peer, "t") if batch.is_control]
    return [record and record.coordinator_epoch for record in controls]


# ---------------------------------------------------------------------------------------------------------------- time


def test_a_transaction_that_is_open_for_too_long_is_aborted() -> None:  # T23, T24
    peer = cluster(1)
    p = producer(peer, timeout_ms=1000)
    peer.pass_time(5)  # nothing has begun
    p.send(b"a")
    peer.pass_time(0.5)
    p.send(b"b", partition=1)  # which does not prolong it
    peer.pass_time(0.25)
    assert end_offsets(peer, "t") == (1, 0)
    peer.pass_time(0.25)
    assert committed(peer, "t") == ([], 1, 2, 2)
    assert state(p) is TransactionState.COMPLETE_ABORT
    assert p.send(b"c")[0] == "INVALID_PRODUCER_EPOCH"
    assert (p.end(version=4), p.end(keep=True)) == (("PRODUCER_FENCED", -1), ("INVALID_TXN_STATE", -1))
    assert p.init() == ("NONE", 2)


def test_an_ended_transaction_is_not_aborted() -> None:
    peer = cluster(1)
    p = producer(peer, timeout_ms=1000)
    p.send(b"a")
    p.end()
    peer.pass_time(5)
    assert state(p) is TransactionState.COMPLETE_COMMIT
    assert peer.broker.next_deadline() is not None  # of idle connections


def test_produce_waits_a_moment_for_the_end_of_the_transaction_before() -> None:  # T15
    for delay, error in ((50, "NONE"), (200, "CONCURRENT_TRANSACTIONS")):
        peer = cluster(1, marker_delay_ms=delay)
        p = producer(peer)
        p.send(b"a")
        p.end()
        conn = peer.connect()
        request = produce_request("t", p.batch(b"b"), transactional_id="x")
        peer.send(conn, request, 12)
        assert peer.frame(conn) is None
        peer.pass_time(0.1)
        answer = peer.receive(conn, ProduceResponse, 12)
        assert answer is not None
        assert shown(only(answer))[0] == error


def test_produce_after_a_moment_still_waits_for_followers() -> None:
    peer = cluster(1, marker_delay_ms=50)
    p = producer(peer)
    p.send(b"a")
    p.end()
    peer.broker.hold_high_watermark("t", 0, 2)
    conn = peer.connect()
    peer.send(conn, produce_request("t", p.batch(b"b"), transactional_id="x"), 12)
    peer.pass_time(0.5)
    assert peer.frame(conn) is None
    peer.broker.hold_high_watermark("t", 0, None)
    answer = peer.receive(conn, ProduceResponse, 12)
    assert answer is not None
    assert shown(only(answer))[:2] == ("NONE", 2)


# -------------------------------------------------------------------------------------------------------------- places


def test_only_the_coordinator_answers() -> None:
    peer = cluster()
    p = producer(peer)
    send(p, 0)
    p.node = 1
    assert p.init()[0] == p.add(0)[0] == p.add_offsets() == p.end()[0] == "NOT_COORDINATOR"


def test_an_id_moves() -> None:
    peer = cluster()
    p = producer(peer)
    send(p, 0)
    peer.broker.move_transaction_coordinator("x", 0, peer.now, load_ms=1000)  # where it is already
    peer.broker.move_transaction_coordinator("x", 1, peer.now, load_ms=1000)
    assert p.end()[0] == "NOT_COORDINATOR"
    p.node = 1
    assert p.end()[0] == p.init()[0] == p.add(0)[0] == "COORDINATOR_LOAD_IN_PROGRESS"
    assert send(p, 2)[0] == "NOT_ENOUGH_REPLICAS"  # the partition's leader can't ask
    assert send(p, 0)[0] == "NONE"  # and here need not
    peer.pass_time(1)
    assert send(p, 2)[0] == "OUT_OF_ORDER_SEQUENCE_NUMBER"  # after the batch that was refused
    p.node = 1
    assert p.end()[0] == "NONE"
    assert coordinator_epochs(peer) == [1]
    assert committed(peer, "t") == ([b"a", b"a"], 0, 3, 3)


def test_a_timeout_waits_until_the_new_coordinator_is_ready() -> None:
    peer = cluster(coordinator_load_ms=3000)
    p = producer(peer, timeout_ms=1000)
    send(p, 0)
    peer.broker.move_transaction_coordinator("x", 1, peer.now)
    peer.pass_time(2.9)
    assert state(p) is TransactionState.ONGOING
    peer.pass_time(0.1)
    assert state(p) is TransactionState.COMPLETE_ABORT


def test_an_id_that_has_no_producer_moves() -> None:
    peer = cluster()
    peer.broker.move_transaction_coordinator("x", 1, peer.now, load_ms=100)
    p = Producer(peer, "t", "x")
    p.node = 1
    assert p.init()[0] == "COORDINATOR_LOAD_IN_PROGRESS"
    peer.pass_time(0.1)
    assert p.init() == ("NONE", 0)


def test_a_coordinator_stops_while_markers_are_on_their_way() -> None:
    peer = cluster(marker_delay_ms=100, coordinator_load_ms=500)
    p = producer(peer)
    send(p, 1)
    p.end()
    peer.broker.stop_node(0, peer.now)
    peer.pass_time(0.4)
    assert state(p) is TransactionState.PREPARE_COMMIT
    peer.pass_time(0.1)
    assert state(p) is TransactionState.COMPLETE_COMMIT
    assert peer.broker.transaction_coordinator("x") != 0
    peer.broker.start_node(0, peer.now)
    peer.drain()
    assert peer.broker.transaction_coordinator("x") == 0


def test_a_coordinator_stands_still_while_markers_are_on_their_way() -> None:
    peer = cluster(marker_delay_ms=100)
    p = producer(peer)
    send(p, 1)
    p.end()
    peer.broker.pause_node(0, peer.now)
    peer.pass_time(0.2)
    peer.connect(2)  # from which the cluster learns the time
    peer.broker.append("t", 2, [b"x"], peer.now)
    peer.drain()
    assert state(p) is TransactionState.PREPARE_COMMIT
    peer.broker.resume_node(0, peer.now)
    assert state(p) is TransactionState.COMPLETE_COMMIT


def test_nobody_coordinates() -> None:
    peer = cluster()
    p = producer(peer, timeout_ms=1000)
    send(p, 1)
    for node in (0, 1, 2):
        peer.broker.stop_node(node, peer.now)
    assert peer.broker.transaction_coordinator("x") is None
    assert peer.broker.next_deadline() is None
    for node in (0, 1, 2):
        peer.broker.start_node(node, peer.now)
    peer.drain()
    peer.pass_time(1)
    assert state(p) is TransactionState.COMPLETE_ABORT


def test_a_coordinator_that_stands_still() -> None:
    peer = cluster()
    p = producer(peer, timeout_ms=1000)
    send(p, 1)
    peer.broker.pause_node(0, peer.now)
    assert send(p, 2)[0] == "NOT_ENOUGH_REPLICAS"
    peer.send(peer.connect(1), fetch_request("t", 1, partition=1, max_wait_ms=1500), 12)
    peer.pass_time(2)  # in which others have something to do
    assert state(p) is TransactionState.ONGOING
    peer.broker.resume_node(0, peer.now)
    assert state(p) is TransactionState.COMPLETE_ABORT


# ------------------------------------------------------------------------------------------------------------- markers


def test_markers_wait_for_leaders() -> None:
    peer = cluster()
    p = producer(peer)
    send(p, 0)
    send(p, 1)
    peer.broker.move_leader("t", 1, None)
    assert p.end()[0] == "NONE"
    found = peer.broker.transaction("x")
    assert found is not None
    assert (found.state, [at.partition for at in found.partitions]) == (TransactionState.PREPARE_COMMIT, [1])
    assert committed(peer, "t")[0] == [b"a"]
    peer.pass_time(1)
    assert p.init()[0] == "CONCURRENT_TRANSACTIONS"
    peer.broker.move_leader("t", 1, 2)
    peer.drain()
    assert state(p) is TransactionState.COMPLETE_COMMIT
    p.node = 2
    [_, marker] = peer.broker.cluster.topics["t"].partitions[1].log.batches
    assert marker.leader_epoch == 2


def test_markers_wait_for_a_leader_that_stands_still() -> None:
    peer = cluster()
    p = producer(peer)
    send(p, 1)
    peer.broker.pause_node(1, peer.now)
    p.end()
    assert state(p) is TransactionState.PREPARE_COMMIT
    peer.broker.resume_node(1, peer.now)
    assert state(p) is TransactionState.COMPLETE_COMMIT


def test_markers_that_wait_move_with_the_coordinator() -> None:
    peer = cluster()
    p = producer(peer)
    send(p, 1)
    peer.broker.move_leader("t", 1, None)
    p.end()
    peer.broker.move_transaction_coordinator("x", 2, peer.now, load_ms=1000)
    peer.broker.move_leader("t", 1, 1)
    peer.drain()
    assert state(p) is TransactionState.PREPARE_COMMIT
    peer.pass_time(1)
    assert state(p) is TransactionState.COMPLETE_COMMIT


def test_a_topic_that_is_deleted_needs_no_marker() -> None:
    peer = cluster()
    p = producer(peer)
    send(p, 0)
    peer.broker.delete_topic("t")
    assert p.end()[0] == "NONE"
    assert state(p) is TransactionState.COMPLETE_COMMIT


def test_groups_wait_for_their_coordinator() -> None:
    peer = cluster()
    peer.broker.move_coordinator("g", 1)
    p = producer(peer)
    p.node = 1
    assert p.commit(5) == "NONE"
    p.node = 0
    peer.broker.pause_node(1, peer.now)
    assert p.end()[0] == "NONE"
    found = peer.broker.transaction("x")
    assert found is not None
    assert (found.state, found.groups) == (TransactionState.PREPARE_COMMIT, ("g",))
    peer.broker.resume_node(1, peer.now)
    assert state(p) is TransactionState.COMPLETE_COMMIT
    assert [each.offset for each in peer.broker.committed("g").values()] == [5]


def test_a_reader_that_waits_gets_the_records_when_the_marker_is_written() -> None:
    peer = cluster()
    p = producer(peer)
    send(p, 0)
    conn = peer.connect()
    peer.send(conn, fetch_request("t", 0, isolation_level=1), 12)
    assert peer.frame(conn) is None
    p.end()
    answer = peer.receive(conn, FetchResponse, 12)
    assert answer is not None
    assert answer.responses[0].partitions[0].last_stable_offset == 2


# ------------------------------------------------------------------------------------------------------------ features


def features(peer: Peer, version: int = 3) -> tuple[list[tuple[str, int]], int, list[str]]:
    answer = peer.ask(ApiVersionsRequest("peer", "1"), version)
    finalized = [(each.name, each.max_version_level) for each in answer.finalized_features]
    return finalized, answer.finalized_features_epoch, [each.name for each in answer.supported_features]


def test_the_version_of_transactions_is_a_feature() -> None:  # T13, W25
    assert features(cluster()) == ([("transaction.version", 2)], 1, ["transaction.version"])
    assert features(cluster(), 2) == ([], -1, [])
    peer = Peer(Broker(transaction_version=1))
    assert features(peer)[0] == [("transaction.version", 1)]
    peer.broker.set_transaction_version(0)
    assert features(peer) == ([], 2, ["transaction.version"])
    assert features(Peer(Broker(release="3.9"))) == ([], -1, [])
    assert features(Peer(Broker(release="4.0")))[0] == [("transaction.version", 2)]


def test_an_old_broker_has_transactions_too() -> None:
    peer = Peer(Broker(release="2.4"))
    peer.broker.create_topic("t")
    p = Producer(peer, "t", "x", bump=False)
    assert p.init(version=2) == ("NONE", 0)
    assert p.add(0, version=1) == ["NONE"]
    assert p.send(b"a", version=8)[0] == "NONE"
    assert p.end(version=1) == ("NONE", -1)
