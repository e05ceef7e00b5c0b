"""AddPartitionsToTxn (API key 24). Makes partitions part of a transaction.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, boolean, int16, int32, int64, string


@dataclass(slots=True, repr=False)
class AddPartitionsToTxnRequest(Request["AddPartitionsToTxnResponse"]):
    """What a client sends for AddPartitionsToTxn."""

    API_KEY = 24
    VERSIONS = Versions(0, 5, flexible=3)

    transactions: list[AddPartitionsToTxnTransaction] = array("4+")
    v3_and_below_transactional_id: str = string("0-3")
    v3_and_below_producer_id: int = int64("0-3")
    v3_and_below_producer_epoch: int = int16("0-3")
    v3_and_below_topics: list[AddPartitionsToTxnTopic] = array("0-3")


@dataclass(slots=True, repr=False)
class AddPartitionsToTxnTransaction(Struct):
    """An element of `AddPartitionsToTxnRequest.transactions`."""

    transactional_id: str = string()
    producer_id: int = int64()
    producer_epoch: int = int16()
    verify_only: bool = boolean()
    topics: list[AddPartitionsToTxnTopic] = array()


@dataclass(slots=True, repr=False)
class AddPartitionsToTxnTopic(Struct):
    """An element of `AddPartitionsToTxnTransaction.topics`."""

    name: str = string()
    partitions: list[int] = array(of="int32")


@dataclass(slots=True, repr=False)
class AddPartitionsToTxnResponse(Response):
    """What a broker answers to AddPartitionsToTxn."""

    API_KEY = 24
    VERSIONS = Versions(0, 5, flexible=3)

    throttle_time_ms: int = int32()
    error_code: int = int16("4+", ignorable=True)
    results_by_transaction: list[AddPartitionsToTxnResult] = array("4+")
    results_by_topic_v3_and_below: list[AddPartitionsToTxnTopicResult] = array("0-3")


@dataclass(slots=True, repr=False)
class AddPartitionsToTxnResult(Struct):
    """An element of `AddPartitionsToTxnResponse.results_by_transaction`."""

    transactional_id: str = string()
    topic_results: list[AddPartitionsToTxnTopicResult] = array()


@dataclass(slots=True, repr=False)
class AddPartitionsToTxnTopicResult(Struct):
    """An element of `AddPartitionsToTxnResult.topic_results`."""

    name: str = string()
    results_by_partition: list[AddPartitionsToTxnPartitionResult] = array()


@dataclass(slots=True, repr=False)
class AddPartitionsToTxnPartitionResult(Struct):
    """An element of `AddPartitionsToTxnTopicResult.results_by_partition`."""

    partition_index: int = int32()
    partition_error_code: int = int16()
