"""Idempotent producers: InitProducerId, and the sequences of their batches (T1-T3)."""

from __future__ import annotations

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.broker.transaction_coordinator import FIRST_PRODUCER_ID
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey
from tests.broker.peer import Peer
from tests.broker.producing import Producer, batches, broker_of

LAST = 0x7FFFFFFF


def producer(nodes: int = 1) -> Producer:
    peer = Peer(Broker(nodes=nodes))
    peer.broker.create_topic("t", 2, log_append_time=False)
    return Producer(peer, "t")


def known(epoch: int = 0) -> Producer:
    """A producer with an id."""
    made = producer()
    made.adopt(50, epoch)
    return made


@pytest.mark.parametrize("version", range(6))
def test_ids_are_given_out(version: int) -> None:  # T1
    p = producer(2)
    for number in (0, 1):
        p.node = number  # any node does it
        assert p.init(version=version) == ("NONE", 0)
        assert p.id == FIRST_PRODUCER_ID + number


def test_half_an_expected_producer() -> None:
    p = producer()
    assert p.init(expected=(-1, 3)) == ("INVALID_REQUEST", -1)
    assert p.init(expected=(3, -1)) == ("INVALID_REQUEST", -1)
    assert p.init(expected=(3, 4)) == ("NONE", 0)  # a new one all the same


def test_an_error_on_order() -> None:
    p = producer()
    broker_of(p).faults.add(api=ApiKey.INIT_PRODUCER_ID, error=ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    assert p.init() == ("CLUSTER_AUTHORIZATION_FAILED", -1)


def test_the_last_five_batches_are_known_again() -> None:  # T2, T22
    p = known()
    sent = [p.batch(b"%d" % number, b"x") for number in range(7)]
    assert [p.send(data=data)[:2] for data in sent] == [("NONE", 2 * number) for number in range(7)]
    again = [p.send(data=data) for data in sent]
    assert again[:2] == [("OUT_OF_ORDER_SEQUENCE_NUMBER", -1, 0, False)] * 2
    assert [found[:2] for found in again[2:]] == [("NONE", 2 * number) for number in range(2, 7)]
    assert again[2][3]  # as in Kafka, the highest timestamp comes as the append time
    assert len(batches(p.peer, "t")) == 7


@pytest.mark.parametrize(
    "sequence, error",
    [
        (2, "NONE"),
        (3, "OUT_OF_ORDER_SEQUENCE_NUMBER"),  # a gap
        (1, "OUT_OF_ORDER_SEQUENCE_NUMBER"),  # half of what is there
        (0, "OUT_OF_ORDER_SEQUENCE_NUMBER"),
    ],
)
def test_the_next_sequence(sequence: int, error: str) -> None:
    p = known()
    assert p.send(b"a", b"b")[0] == "NONE"
    assert p.send(b"c", sequence=sequence)[0] == error


def test_an_unknown_producer_may_begin_anywhere() -> None:  # T2
    p = known(epoch=3)
    assert p.send(b"a", sequence=77)[0] == "NONE"
    assert p.send(b"b", sequence=78)[0] == "NONE"


def test_sequences_wrap_around() -> None:  # B8
    p = known()
    sent = [p.batch(b"a", b"b", sequence=LAST - 2), p.batch(b"c"), p.batch(b"d"), p.batch(b"e")]
    assert [p.send(data=data)[:2] for data in sent] == [("NONE", 0), ("NONE", 2), ("NONE", 3), ("NONE", 4)]
    p.adopt(51, 0)
    sent = [p.batch(b"a", b"b", b"c", sequence=LAST), p.batch(b"d")]
    assert [p.send(data=data)[:2] for data in sent] == [("NONE", 5), ("NONE", 8)]
    assert p.send(data=sent[0])[:2] == ("NONE", 5)


def test_epochs() -> None:  # T2
    p = known(epoch=1)
    assert p.send(b"a")[0] == "NONE"
    p.epoch = 2
    assert p.send(b"b", sequence=1)[0] == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert p.send(b"b", sequence=0)[0] == "NONE"
    p.epoch = 1
    assert p.send(b"c", sequence=1)[0] == "INVALID_PRODUCER_EPOCH"
    assert p.send(b"a", sequence=0)[0] == "INVALID_PRODUCER_EPOCH"  # not known again: it is another epoch's


def test_each_partition_and_each_producer_counts_for_itself() -> None:
    p = known()
    assert [p.send(b"a", partition=number)[:2] for number in (0, 1, 0)] == [("NONE", 0), ("NONE", 0), ("NONE", 1)]
    p.adopt(51, 0)
    assert p.send(b"a")[:2] == ("NONE", 2)


def test_what_is_cut_off_may_come_again() -> None:
    p = known()
    broker = broker_of(p)
    sent = [p.batch(b"a"), p.batch(b"b"), p.batch(b"c")]
    for data in sent:
        p.send(data=data)
    broker.truncate("t", 0, 1)
    assert p.send(data=sent[2])[0] == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert [p.send(data=data)[:2] for data in sent] == [("NONE", 0), ("NONE", 1), ("NONE", 2)]


def test_what_is_deleted_is_remembered() -> None:
    p = known()
    sent = p.batch(b"a")
    p.send(data=sent)
    broker_of(p).delete_records("t", 0, 1)
    assert p.send(data=sent) == ("NONE", 0, 1, True)


def test_what_a_program_in_the_process_has_appended_without_sequences() -> None:
    p = known(epoch=1)
    append = broker_of(p).append
    append("t", 0, [b"a", b"b"], 0, producer_id=50, producer_epoch=1, transactional=True)
    assert p.send(b"c", sequence=2)[0] == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert p.send(b"c", sequence=0)[:2] == ("NONE", 2)
    broker_of(p).commit_transaction("t", 0, 50, 0, epoch=0)  # which is behind; Kafka would refuse it
    assert p.send(b"d", sequence=1)[:2] == ("NONE", 4)


def test_what_a_program_in_the_process_has_appended_counts() -> None:
    p = known()
    broker_of(p).append("t", 0, [b"a", b"b"], 0, producer_id=50, producer_epoch=0, base_sequence=0)
    assert p.send(b"c", sequence=2)[:2] == ("NONE", 2)
