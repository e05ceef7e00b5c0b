"""What producers send over the network is checked; here each check is shown something that is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dekaf_proto.records import BatchBuilder, ControlType, RecordBatch, build_marker
from tests.simulation.ledger import Ledger, State
from tests.simulation.producer import Sent, Transaction
from tests.simulation.production import Production
from tests.simulation.world import World


def ended(wanted: Callable[[Production], object]) -> Production:
    """The producers of the first world in which there is what is wanted, when all is over and well."""
    for seed in range(100):
        world = World(seed)
        if world.production.may_begin:
            world.run()
            if wanted(world.production):
                world.production.check()
                return world.production
    raise AssertionError("no such world")


def transactions(production: Production) -> list[Transaction]:
    """Those that were committed, of which something is left."""
    return [
        transaction
        for producer in production.gone
        for transaction in producer.transactions
        if transaction.committed and len(values(production, transaction)) > 1
    ]


def values(production: Production, transaction: Transaction) -> list[tuple[Ledger, bytes]]:
    sent = [value for batch in transaction.batches for value in batch.values]
    return [(ledger, value) for value in sent for ledger, _ in production.found.get(value, ()) if ledger.exists]


def acknowledged(production: Production) -> list[Sent]:
    return [sent for producer in production.gone for sent in producer.sent if sent.offset is not None]


def test_a_transaction_that_is_half_committed_is_seen() -> None:
    production = ended(transactions)
    half = values(production, transactions(production)[0])[0]
    production.decided[half] = False
    with pytest.raises(AssertionError, match="atomicity"):
        production.check()


def test_a_transaction_that_was_committed_and_is_not_is_seen() -> None:
    production = ended(transactions)
    for place in values(production, transactions(production)[0]):
        production.decided[place] = False
    with pytest.raises(AssertionError, match="were told to be"):
        production.check()


def test_a_transaction_that_nobody_has_committed_may_not_be() -> None:
    production = ended(transactions)
    transaction = transactions(production)[0]
    transaction.committed = None
    production.check()  # its producer has not heard what became of it
    transaction.may_commit = False
    with pytest.raises(AssertionError, match="were told to be"):
        production.check()


def test_an_acknowledged_batch_that_is_lost_is_seen() -> None:
    production = ended(acknowledged)
    sent = acknowledged(production)[0]
    place = production.found.pop(sent.values[0])
    with pytest.raises(AssertionError, match="lost"):
        production.check()
    production.found[sent.values[0]] = [(ledger, offset + 1) for ledger, offset in place]
    with pytest.raises(AssertionError, match="lost"):
        production.check()


def test_what_is_written_twice_is_seen() -> None:
    production = ended(lambda production: any(ledger.exists for ledger, _ in production.decided))
    ledger = next(ledger for ledger, _ in production.decided if ledger.exists)
    production.take(ledger, batch(ledger, 1, b"w9 1", b"w9 2"))
    with pytest.raises(AssertionError, match="twice, or out of order"):
        production.take(ledger, batch(ledger, 1, b"w9 2"))


def test_a_gap_is_seen() -> None:
    production = ended(lambda production: production.history.present())
    ledger = production.history.present()[0]
    late = batch(ledger, 1, b"w9 1")
    production.take(ledger, batch(ledger, 1, b"w9 1"))
    with pytest.raises(AssertionError, match="a gap"):
        production.take(ledger, late)


@pytest.mark.parametrize("type", [ControlType.COMMIT, ControlType.ABORT])
def test_it_is_not_over_before_all_transactions_are(type: ControlType) -> None:
    production = ended(lambda production: any(each.committed_only for each in production.history.present()))
    ledger = production.history.present()[0]
    over = [production.is_over]
    production.take(ledger, batch(ledger, 9, b"w9 1", transactional=True))
    over.append(production.is_over)
    assert ledger.states[-1] is State.OPEN
    marker = build_marker(
        type, producer_id=9, producer_epoch=0, coordinator_epoch=0, base_offset=ledger.end, timestamp=0, leader_epoch=0
    )
    production.take(ledger, RecordBatch(memoryview(marker), "a", 0))
    assert [*over, production.is_over] == [True, False, True]
    assert ledger.states[-2:] == [State.PLAIN if type is ControlType.COMMIT else State.ABORTED, State.MARKER]


def batch(ledger: Ledger, producer_id: int, *values: bytes, transactional: bool = False) -> RecordBatch:
    """A batch at the end of a partition."""
    builder = BatchBuilder(
        base_offset=ledger.end, producer_id=producer_id, producer_epoch=0, base_sequence=0, transactional=transactional
    )
    for value in values:
        builder.append(0, None, value)
    return RecordBatch(memoryview(builder.build()), "a", 0)
