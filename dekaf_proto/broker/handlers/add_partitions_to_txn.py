"""AddPartitionsToTxn: makes partitions part of a transaction of version 1 (T14).

A client sends one transaction. From version 4 on it is a list: what brokers ask one another, for clients that add
partitions by producing (KIP-890); some of it only wants to know.
"""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.add_partitions_to_txn import (
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
)
from dekaf_proto.types import TopicPartition


def add_partitions_to_txn(exchange: Exchange, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse:
    """Adds all partitions of a transaction, or none."""
    if exchange.version >= 4:
        if exchange.faults.top_error:
            return AddPartitionsToTxnResponse(error_code=exchange.faults.top_error)
        return AddPartitionsToTxnResponse(
            results_by_transaction=[
                AddPartitionsToTxnResult(asked.transactional_id, _transaction(exchange, asked))
                for asked in request.transactions
            ]
        )
    asked = AddPartitionsToTxnTransaction(
        request.v3_and_below_transactional_id,
        request.v3_and_below_producer_id,
        request.v3_and_below_producer_epoch,
        False,
        request.v3_and_below_topics,
    )
    return AddPartitionsToTxnResponse(results_by_topic_v3_and_below=_transaction(exchange, asked))


def _transaction(exchange: Exchange, asked: AddPartitionsToTxnTransaction) -> list[AddPartitionsToTxnTopicResult]:
    wanted = [TopicPartition(topic.name, index) for topic in asked.topics for index in topic.partitions]
    errors = {at: _check_partition(exchange, at) for at in wanted}
    if any(errors.values()):
        errors = {at: error or ErrorCode.OPERATION_NOT_ATTEMPTED for at, error in errors.items()}
    elif error := exchange.transaction_error(asked.transactional_id):
        errors = dict.fromkeys(wanted, error)
    elif asked.verify_only:
        errors = {at: _verify(exchange, asked, at) for at in wanted}
    else:
        producer = (asked.producer_id, asked.producer_epoch)
        error = exchange.transactions.add(asked.transactional_id, producer, exchange.now, partitions=wanted)
        if error is ErrorCode.PRODUCER_FENCED and exchange.version < 2:
            error = ErrorCode.INVALID_PRODUCER_EPOCH  # 90 was not known yet
        errors = dict.fromkeys(wanted, error)
    return [_topic(topic, errors) for topic in asked.topics]


def _check_partition(exchange: Exchange, at: TopicPartition) -> ErrorCode:
    if error := exchange.faults.error(*at):
        return error
    known = exchange.cluster.partition(at.topic, at.partition) is not None
    return ErrorCode.NONE if known else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def _verify(exchange: Exchange, asked: AddPartitionsToTxnTransaction, at: TopicPartition) -> ErrorCode:
    producer = (asked.producer_id, asked.producer_epoch)
    error = exchange.transactions.verify(asked.transactional_id, producer, partition=at)
    if error is ErrorCode.TRANSACTION_ABORTABLE and exchange.version < 5:
        return ErrorCode.INVALID_TXN_STATE  # 120 was not known yet
    return error


def _topic(asked: AddPartitionsToTxnTopic, errors: dict[TopicPartition, ErrorCode]) -> AddPartitionsToTxnTopicResult:
    return AddPartitionsToTxnTopicResult(
        asked.name,
        [
            AddPartitionsToTxnPartitionResult(index, errors[TopicPartition(asked.name, index)])
            for index in asked.partitions
        ],
    )
