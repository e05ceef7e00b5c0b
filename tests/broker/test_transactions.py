"""Transactions of both versions: what a producer is answered, and what is in the log afterwards (T9-T17)."""

from __future__ import annotations

from itertools import product

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.broker.transactions import (
    TRANSITIONS,
    Transaction,
    TransactionOptions,
    TransactionSnapshot,
    TransactionState,
)
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import AddPartitionsToTxnRequest, ApiKey, FindCoordinatorRequest
from dekaf_proto.messages.add_partitions_to_txn import AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction
from dekaf_proto.records import ControlType
from dekaf_proto.types import TopicPartition
from tests.broker.peer import Peer
from tests.broker.producing import Producer, batches, broker_of, committed, end_offsets, made, name, produce_request

BOTH = pytest.mark.parametrize("bump", [False, True], ids=["version 1", "version 2"])
FENCED = "PRODUCER_FENCED"
T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


def producer(*, bump: bool = True, marker_delay_ms: int = 0, version: int | None = None) -> Producer:
    """One that has been initialised, so that it has epoch 0."""
    options = TransactionOptions(marker_delay_ms=marker_delay_ms)
    peer = Peer(Broker(transaction_options=options, transaction_version=version))
    peer.broker.create_topic("t", 2)
    found = Producer(peer, "t", "x", bump=bump)
    assert found.init() == ("NONE", 0)
    return found


def another(first: Producer) -> Producer:
    """A second one with the same transactional id, not initialised."""
    return Producer(first.peer, first.topic, first.transactional_id, bump=first.bump)


def snapshot(p: Producer) -> TransactionSnapshot:
    found = broker_of(p).transaction("x")
    assert found is not None
    return found


def begun(p: Producer, *values: bytes, partition: int = 0) -> Producer:
    """The same, with records in a transaction."""
    if not p.bump:
        assert p.add(partition) == ["NONE"]
    assert p.send(*values or (b"a",), partition=partition)[0] == "NONE"
    return p


def markers(p: Producer, partition: int = 0) -> list[tuple[int, ControlType | None, int]]:
    """Offset, type and epoch of the markers."""
    found = []
    for batch in batches(p.peer, "t", partition):
        if batch.is_control:
            record = batch.control_record()
            found.append((batch.base_offset, record and record.type, batch.producer_epoch))
    return found


# ----------------------------------------------------------------------------------------------------- a transaction


@BOTH
def test_a_commit(bump: bool) -> None:
    p = begun(producer(bump=bump), b"a", b"b")
    begun(p, b"c", partition=1)
    assert snapshot(p) == (TransactionState.ONGOING, p.id, 0, (T0, T1), ())
    assert (end_offsets(p.peer, "t"), committed(p.peer, "t")) == ((2, 0), ([], 0, 0, 2))
    assert p.end() == ("NONE", 1 if bump else -1)
    assert committed(p.peer, "t") == ([b"a", b"b"], 0, 3, 3)
    assert committed(p.peer, "t", 1) == ([b"c"], 0, 2, 2)
    assert markers(p) == [(2, ControlType.COMMIT, int(bump))]  # B11
    assert snapshot(p) == (TransactionState.COMPLETE_COMMIT, p.id, int(bump), (), ())


@BOTH
def test_an_abort(bump: bool) -> None:
    p = begun(producer(bump=bump), b"a", b"b")
    assert p.end(commit=False)[0] == "NONE"
    assert committed(p.peer, "t") == ([], 1, 3, 3)
    assert markers(p) == [(2, ControlType.ABORT, int(bump))]
    begun(p, b"c")
    assert p.end()[0] == "NONE"
    assert committed(p.peer, "t") == ([b"c"], 1, 5, 5)
    assert snapshot(p).state is TransactionState.COMPLETE_COMMIT


@BOTH
def test_sequences_after_the_end(bump: bool) -> None:  # T14, T15
    p = begun(producer(bump=bump))
    p.end()
    if not p.bump:
        p.add(0)
    assert p.send(b"b", sequence=0 if bump else 1)[0] == "NONE"
    assert p.send(b"c", sequence=1 if bump else 2)[0] == "NONE"


def test_the_epoch_before_is_refused_after_the_end() -> None:  # T15, T26
    p = begun(producer())
    p.end(keep=True)
    assert p.send(b"b")[0] == "INVALID_PRODUCER_EPOCH"
    assert p.send(b"b", partition=1)[0] == "INVALID_PRODUCER_EPOCH"  # which knows nothing of it: the coordinator does
    p.transactional_id = "another"
    assert p.send(b"b")[0] == "INVALID_PRODUCER_EPOCH"  # nobody is asked
    assert p.send(b"b", partition=1)[0] == "INVALID_PRODUCER_ID_MAPPING"


def test_a_partition_without_records_gets_a_marker_all_the_same() -> None:
    p = producer(bump=False)
    p.add(0, 1)
    p.send(b"a")
    p.end(commit=False)
    assert (markers(p, 1), committed(p.peer, "t", 1)) == ([(0, ControlType.ABORT, 0)], ([], 0, 1, 1))


def test_records_outside_of_transactions_of_the_same_log() -> None:
    p = begun(producer(), b"a")
    Producer(p.peer, "t").send(b"plain")
    p.end(commit=False)
    assert committed(p.peer, "t") == ([b"plain"], 1, 3, 3)


# --------------------------------------------------------------------------------------------------- adding partitions


@pytest.mark.parametrize("version, error", [(10, "INVALID_TXN_STATE"), (11, "TRANSACTION_ABORTABLE"), (12, "NONE")])
def test_partitions_that_were_not_added(version: int, error: str) -> None:  # T14
    p = producer(bump=False)
    assert p.send(b"a", version=version)[0] == error
    p.add(1)
    assert p.send(b"a", version=version)[0] == error


def test_after_a_refusal_the_first_sequence_has_to_come_first() -> None:  # T25
    p = producer(bump=False)
    assert p.send(b"a", sequence=3)[0] == "TRANSACTION_ABORTABLE"
    assert p.send(b"b", sequence=2)[0] == "TRANSACTION_ABORTABLE"
    assert p.send(b"b", sequence=4)[0] == "TRANSACTION_ABORTABLE"
    p.add(0)
    assert p.send(b"a", sequence=3)[0] == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert p.send(b"b", sequence=2)[0] == "NONE"
    assert p.send(b"a", sequence=3)[0] == "NONE"


def test_attempts_of_an_earlier_epoch_do_not_count() -> None:
    p = producer(bump=False)
    assert p.send(b"a", sequence=0)[0] == "TRANSACTION_ABORTABLE"
    assert p.init() == ("NONE", 1)
    assert p.send(b"a", sequence=5)[0] == "TRANSACTION_ABORTABLE"
    p.add(0)
    assert p.send(b"a", sequence=5)[0] == "NONE"


def test_a_transaction_of_version_2_begins_with_sequence_0() -> None:  # T2
    p = producer()
    assert p.send(b"a", sequence=1)[0] == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert p.send(b"a", sequence=0)[0] == "NONE"


@pytest.mark.parametrize("version", range(4))
def test_adding_partitions(version: int) -> None:
    p = producer(bump=False)
    assert p.add(0, 1, version=version) == ["NONE", "NONE"]
    assert p.add(0, version=version) == ["NONE"]
    assert p.add(0, 7, version=version) == ["OPERATION_NOT_ATTEMPTED", "UNKNOWN_TOPIC_OR_PARTITION"]
    assert p.add(0, topic="u", version=version) == ["UNKNOWN_TOPIC_OR_PARTITION"]
    broker_of(p).faults.add(api=ApiKey.ADD_PARTITIONS_TO_TXN, partition=1, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    assert p.add(0, 1, version=version) == ["OPERATION_NOT_ATTEMPTED", "TOPIC_AUTHORIZATION_FAILED"]
    p.epoch = 7
    assert p.add(0, version=version) == [FENCED if version >= 2 else "INVALID_PRODUCER_EPOCH"]
    p.id = 7
    assert p.add(0, version=version) == ["INVALID_PRODUCER_ID_MAPPING"]


@pytest.mark.parametrize("version", range(5))
def test_adding_offsets(version: int) -> None:
    p = producer(bump=False)
    assert p.add_offsets(version=version) == "NONE"
    assert snapshot(p).groups == ("g",)
    p.epoch = 7
    assert p.add_offsets(version=version) == (FENCED if version >= 2 else "INVALID_PRODUCER_EPOCH")


@pytest.mark.parametrize("version, missing", [(4, "INVALID_TXN_STATE"), (5, "TRANSACTION_ABORTABLE")])
def test_what_brokers_ask_one_another(version: int, missing: str) -> None:  # KIP-890
    p = producer()

    def ask(*partitions: int, verify: bool, producer_id: int = p.id) -> list[str]:
        topics = [AddPartitionsToTxnTopic("t", list(partitions))]
        transaction = AddPartitionsToTxnTransaction("x", producer_id, p.epoch, verify, topics)
        answer = p.ask(AddPartitionsToTxnRequest([transaction]), version)
        [result] = answer.results_by_transaction
        assert (answer.error_code, result.transactional_id) == (0, "x")
        return [ErrorCode(each.partition_error_code).name for each in result.topic_results[0].results_by_partition]

    assert ask(0, 1, verify=True) == [missing] * 2
    assert ask(0, verify=False) == ["NONE"]
    assert ask(0, 1, verify=True) == ["NONE", missing]
    assert ask(0, verify=True, producer_id=3) == ["INVALID_PRODUCER_ID_MAPPING"]
    broker_of(p).faults.add(api=ApiKey.ADD_PARTITIONS_TO_TXN, top_error=ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    refused = p.ask(AddPartitionsToTxnRequest([]), version)
    assert refused.error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED


# ------------------------------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize("version", range(5))
def test_ending_again_in_version_1(version: int) -> None:  # T16
    p = producer(bump=False)
    assert p.end(version=version) == ("INVALID_TXN_STATE", -1)
    assert p.end(commit=False, version=version) == ("INVALID_TXN_STATE", -1)
    for commit in (True, False):
        begun(p)
        assert [p.end(commit=commit, version=version) for _ in range(2)] == [("NONE", -1)] * 2
        assert p.end(commit=not commit, version=version) == ("INVALID_TXN_STATE", -1)
    p.epoch = 9
    assert p.end(version=version) == (FENCED if version >= 2 else "INVALID_PRODUCER_EPOCH", -1)


def test_ending_again_in_version_2() -> None:  # T15, T16
    p = begun(producer())
    first = p.epoch
    assert p.end() == ("NONE", 1)
    p.epoch = first
    assert p.end(keep=True) == ("NONE", 1)
    assert p.end(commit=False, keep=True) == ("INVALID_TXN_STATE", -1)
    p.epoch = 1
    assert p.end() == ("INVALID_TXN_STATE", -1)  # nothing was added
    assert p.end(commit=False) == ("NONE", 2)  # T11
    assert snapshot(p).state is TransactionState.COMPLETE_ABORT
    assert p.end(commit=False) == ("NONE", 3)
    begun(p)
    assert p.end(commit=False) == ("NONE", 4)
    p.epoch = 2
    assert p.end() == (FENCED, -1)


def test_an_empty_transaction_of_version_2() -> None:  # T11
    p = producer()
    assert p.end() == ("INVALID_TXN_STATE", -1)
    assert p.end(commit=False) == ("NONE", 1)
    p.id = 7
    assert p.end() == ("INVALID_PRODUCER_ID_MAPPING", -1)


def test_an_empty_abort_takes_time_too() -> None:
    p = producer(marker_delay_ms=200)
    assert p.end(commit=False) == ("NONE", 1)
    assert p.init() == ("CONCURRENT_TRANSACTIONS", -1)
    p.peer.pass_time(0.2)
    assert p.init() == ("NONE", 2)


@BOTH
def test_an_end_takes_time(bump: bool) -> None:  # T16
    p = begun(producer(bump=bump, marker_delay_ms=200))
    first = p.epoch
    assert p.end()[0] == "NONE"
    assert snapshot(p).state is TransactionState.PREPARE_COMMIT
    assert (end_offsets(p.peer, "t"), markers(p)) == ((1, 0), [])
    second, p.epoch = p.epoch, first
    assert p.end(keep=True) == ("CONCURRENT_TRANSACTIONS", -1)
    assert p.end(commit=False, keep=True) == ("INVALID_TXN_STATE", -1)
    p.epoch = second
    assert p.end(keep=True)[0] == (FENCED if bump else "CONCURRENT_TRANSACTIONS")
    assert p.add(1) == ["CONCURRENT_TRANSACTIONS"]
    assert p.add_offsets() == "CONCURRENT_TRANSACTIONS"
    assert p.send(b"b", partition=1, version=11)[0] == "NOT_ENOUGH_REPLICAS"
    assert p.init() == ("CONCURRENT_TRANSACTIONS", -1)
    p.peer.pass_time(0.2)
    assert snapshot(p).state is TransactionState.COMPLETE_COMMIT
    assert end_offsets(p.peer, "t") == (2, 2)
    p.epoch = first
    assert p.end(keep=True)[0] == "NONE"
    assert p.init() == ("NONE", second + 1)


def test_an_abort_takes_time() -> None:
    p = begun(producer(marker_delay_ms=200))
    p.end(commit=False, keep=True)
    assert snapshot(p).state is TransactionState.PREPARE_ABORT
    assert p.end(commit=False, keep=True) == ("CONCURRENT_TRANSACTIONS", -1)
    assert p.end(keep=True) == ("INVALID_TXN_STATE", -1)


# ------------------------------------------------------------------------------------------------------------ producers


@pytest.mark.parametrize("version", range(6))
def test_a_new_producer_fences_the_old_one(version: int) -> None:  # T10, T23
    old = begun(producer())
    new = another(old)
    assert new.init(version=version) == ("CONCURRENT_TRANSACTIONS", -1)  # until the transaction is aborted
    assert markers(old) == [(1, ControlType.ABORT, 1)]
    assert new.init(version=version) == ("NONE", 2)
    assert old.send(b"b")[0] == "INVALID_PRODUCER_EPOCH"
    assert (old.end(version=4), old.end()) == ((FENCED, -1), (FENCED, -1))
    assert (old.add(0), old.add_offsets(), old.commit(1)) == ([FENCED], FENCED, "INVALID_PRODUCER_EPOCH")
    fenced = FENCED if version >= 4 else "INVALID_PRODUCER_EPOCH"
    if version >= 3:
        assert old.init(expected=(old.id, old.epoch), version=version) == (fenced, -1)
        assert old.init(expected=(old.id + 1, 0), version=version) == (fenced, -1)
    assert begun(new).end()[0] == "NONE"


def test_a_producer_goes_on_after_an_error() -> None:  # T28, KIP-360
    p = begun(producer())
    assert p.init(expected=(p.id, 7)) == ("CONCURRENT_TRANSACTIONS", -1)  # as in Kafka, whatever its epoch
    assert p.init(expected=(p.id, 0)) == ("NONE", 1)  # the epoch of the abort
    assert p.init() == ("NONE", 2)
    lost = (p.id, p.epoch)
    assert p.init(expected=lost) == ("NONE", 3)
    assert p.init(expected=lost) == ("NONE", 3)  # the same request again
    assert p.init(expected=(p.id, 3)) == ("NONE", 4)
    assert p.init(expected=lost) == (FENCED, -1)
    begun(p)
    stranger = another(p)
    assert stranger.init(expected=(p.id + 1, 4)) == (FENCED, -1)
    assert snapshot(p).state is TransactionState.ONGOING


def test_an_epoch_from_before_a_new_producer_is_of_no_use() -> None:
    p = producer()
    assert another(p).init() == ("NONE", 1)
    assert p.init(expected=(p.id, 0)) == (FENCED, -1)
    p.epoch = 1
    begun(p).end()
    begun(p)
    assert p.init() == ("CONCURRENT_TRANSACTIONS", -1)
    assert p.init(expected=(p.id, 1)) == (FENCED, -1)
    assert p.init(expected=(p.id, 3)) == ("NONE", 4)


@pytest.mark.parametrize("version, answer", [(1, (FENCED, -1)), (2, ("NONE", 1))])
def test_a_producer_that_was_fenced_by_an_abort(version: int, answer: tuple[str, int]) -> None:  # T23
    p = begun(producer(bump=False, version=version))
    assert another(p).init()[0] == "CONCURRENT_TRANSACTIONS"
    assert p.init(expected=(p.id, 0)) == answer


def test_a_producer_that_the_coordinator_does_not_know() -> None:
    p = producer()
    stranger = Producer(p.peer, "t", "unknown")
    stranger.adopt(p.id, p.epoch)
    assert (stranger.add(0), stranger.send(b"a")[0]) == (["INVALID_PRODUCER_ID_MAPPING"], "INVALID_PRODUCER_ID_MAPPING")
    assert (stranger.end(), stranger.commit(1)) == (("INVALID_PRODUCER_ID_MAPPING", -1), "INVALID_PRODUCER_ID_MAPPING")
    assert broker_of(p).transaction("unknown") is None
    assert stranger.init(expected=(4, 4)) == ("NONE", 0)


def test_two_producers_in_one_request() -> None:
    p = producer()
    data = [made(b"a", producer=(p.id, epoch), sequence=0, transactional=True) for epoch in (0, 1)]
    answer = p.peer.ask(produce_request("t", *data, transactional_id="x"), 12)
    errors = [name(each.error_code) for each in answer.responses[0].partition_responses]
    assert errors == ["INVALID_PRODUCER_ID_MAPPING"] * 2


def test_plain_batches_beside_those_of_a_transaction() -> None:
    p = producer()
    answer = p.peer.ask(produce_request("t", p.batch(b"a"), made(b"b"), transactional_id="x"), 12)
    assert [each.error_code for each in answer.responses[0].partition_responses] == [0, 0]
    assert snapshot(p).partitions == (T0,)


def test_illegal_ids_and_timeouts() -> None:  # T10
    p = producer()
    assert (p.init(timeout_ms=0), p.init(timeout_ms=900_001)) == (("INVALID_TRANSACTION_TIMEOUT", -1),) * 2
    assert p.init(timeout_ms=900_000) == ("NONE", 1)
    nobody = Producer(p.peer, "t", "")
    nobody.adopt(p.id, p.epoch)
    assert (nobody.init(), nobody.end()) == (("INVALID_REQUEST", -1),) * 2
    assert (nobody.add(0), nobody.add_offsets()) == (["INVALID_REQUEST"], "INVALID_REQUEST")
    assert nobody.send(b"a")[0] == "INVALID_REQUEST"


def test_errors_on_order() -> None:
    p = begun(producer())
    faults = broker_of(p).faults
    faults.add(api=ApiKey.END_TXN, error=ErrorCode.TRANSACTION_ABORTABLE)
    faults.add(api=ApiKey.ADD_OFFSETS_TO_TXN, error=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    faults.add(api=ApiKey.INIT_PRODUCER_ID, error=ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    assert p.end() == ("TRANSACTION_ABORTABLE", -1)
    assert p.add_offsets() == "GROUP_AUTHORIZATION_FAILED"
    assert p.init() == ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", -1)
    assert snapshot(p).state is TransactionState.ONGOING


# ---------------------------------------------------------------------------------------------------- the end of epochs


def used_up(p: Producer, epoch: int = 0x7FFE) -> Producer:
    """The same producer, many transactions later."""
    broker_of(p).transactions._transactions["x"].producer_epoch = p.epoch = epoch
    return p


def test_a_producer_id_that_is_used_up_by_transactions() -> None:  # T15
    p = begun(used_up(producer()))
    old = p.id
    assert p.end() == ("NONE", 0)
    assert p.id == old + 1
    assert markers(p) == [(1, ControlType.COMMIT, 0x7FFF)]
    p.id, p.epoch = old, 0x7FFE
    assert p.end() == ("NONE", 0)  # the same request again
    assert p.id == old + 1
    assert begun(p).end() == ("NONE", 1)


def test_a_retry_while_the_last_transaction_of_an_id_ends() -> None:
    p = begun(used_up(producer(marker_delay_ms=10)))
    old = p.id
    assert p.end(keep=True) == ("NONE", 0)
    assert p.end(keep=True) == ("CONCURRENT_TRANSACTIONS", -1)
    p.peer.pass_time(0.01)
    assert p.end() == ("NONE", 0)
    assert p.id == old + 1


def test_a_producer_id_that_is_used_up_by_new_producers() -> None:
    p = used_up(producer(), 0x7FFD)
    old = p.id
    assert p.init() == ("NONE", 0x7FFE)
    lost = (p.id, p.epoch)
    assert p.init(expected=lost) == ("NONE", 0)
    assert p.id == old + 1
    assert p.init(expected=lost) == ("NONE", 0)


def test_the_last_transaction_of_an_id_is_aborted() -> None:
    p = begun(used_up(producer()))
    old = p.id
    assert another(p).init()[0] == "CONCURRENT_TRANSACTIONS"
    assert markers(p) == [(1, ControlType.ABORT, 0x7FFF)]
    assert (p.init(), p.id) == (("NONE", 0), old + 1)


def test_nothing_is_beyond_the_last_epoch() -> None:
    p = begun(used_up(producer(), 0x7FFF))
    assert another(p).init()[0] == "CONCURRENT_TRANSACTIONS"
    assert markers(p) == [(1, ControlType.ABORT, 0x7FFF)]


# ------------------------------------------------------------------------------------------------------------ the table


def test_every_move_that_is_not_in_the_table_is_refused() -> None:
    for before, after in product(TransactionState, TransactionState):
        transaction = Transaction(1, state=before)
        if before in TRANSITIONS[after]:
            transaction._enter(after)
        else:
            with pytest.raises(AssertionError):
                transaction._enter(after)
            after = before
        assert transaction.state is after


@pytest.mark.parametrize("version", range(1, 7))
def test_transactional_ids_have_coordinators_of_their_own(version: int) -> None:
    peer = Peer(Broker(nodes=3))
    peer.broker.move_coordinator("x", 0)
    peer.broker.move_transaction_coordinator("x", 2, peer.now)
    for key_type, node in ((0, 0), (1, 2)):
        if version < 4:
            found = peer.ask(FindCoordinatorRequest(key="x", key_type=key_type), version).node_id
        else:
            request = FindCoordinatorRequest(coordinator_keys=["x"], key_type=key_type)
            found = peer.ask(request, version).coordinators[0].node_id
        assert found == node
    assert (peer.broker.coordinator("x"), peer.broker.transaction_coordinator("x")) == (0, 2)
