"""What a broker asks a transaction's coordinator before it takes records or offsets that belong to it (KIP-890).

    enrol     transactions of version 2: it makes its partitions, or the group, part of the transaction
    verify    older clients have to do that themselves: it looks whether they did

While the producer's last transaction is not over, `enrol` asks again for a moment, so that the client seldom hears of
it. The errors are those that clients of such a version can deal with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from dekaf_proto.broker.exchange import Exchange, Outcome, Pending
from dekaf_proto.broker.transactions import ProducerAt
from dekaf_proto.errors import ErrorCode
from dekaf_proto.types import TopicPartition

RETRY_FOR: Final = 0.1  # seconds; add.partitions.to.txn.retry.backoff.max.ms


def enrol(
    exchange: Exchange,
    transactional_id: str,
    producer: ProducerAt,
    *,
    partitions: Sequence[TopicPartition] = (),
    groups: Sequence[str] = (),
    then: Callable[[ErrorCode], Outcome],
) -> Outcome:
    """Goes on with `then`, which is told whether it may."""
    transactions = exchange.transactions

    def ask() -> ErrorCode:
        return _explained(
            transactions.check_reach(transactional_id, exchange.now)
            or transactions.add(transactional_id, producer, exchange.now, partitions=partitions, groups=groups)
        )

    def again(expired: bool) -> Outcome | None:
        error = ask()
        return None if error is ErrorCode.CONCURRENT_TRANSACTIONS and not expired else then(error)

    error = ask()
    return Pending(exchange.now + RETRY_FOR, again) if error is ErrorCode.CONCURRENT_TRANSACTIONS else then(error)


def verify(
    exchange: Exchange,
    transactional_id: str,
    producer: ProducerAt,
    *,
    partition: TopicPartition | None = None,
    group: str | None = None,
    knows_abortable: bool,
) -> ErrorCode:
    """Whether the client has added it. `knows_abortable`: whether it understands error 120."""
    transactions = exchange.transactions
    error = _explained(
        transactions.check_reach(transactional_id, exchange.now)
        or transactions.verify(transactional_id, producer, partition=partition, group=group)
    )
    if error is ErrorCode.CONCURRENT_TRANSACTIONS:
        return ErrorCode.NOT_ENOUGH_REPLICAS
    if error is ErrorCode.TRANSACTION_ABORTABLE and not knows_abortable:
        return ErrorCode.INVALID_TXN_STATE
    return error


def _explained(error: ErrorCode) -> ErrorCode:
    """What a producer is told of a coordinator's error."""
    if error is ErrorCode.PRODUCER_FENCED:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    if error in (
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ):
        return ErrorCode.NOT_ENOUGH_REPLICAS  # which every client tries again
    return error
