"""ListOffsets: the ends of a partition, or the first record at a time (O1-O5)."""

from __future__ import annotations

from collections import Counter

from dekaf_proto.broker.cluster import Partition
from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.log import TimestampedOffset
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from dekaf_proto.types import IsolationLevel

LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
LATEST_TIERED = -5
EARLIEST_PENDING_UPLOAD = -6

#: Special timestamp -> the first version that has it.
_SINCE = {
    LATEST: 1,
    EARLIEST: 1,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
_NOT_FOUND = TimestampedOffset(-1, -1, -1)


def list_offsets(exchange: Exchange, request: ListOffsetsRequest) -> ListOffsetsResponse:
    """Answers each partition by itself."""
    committed = exchange.version >= 2 and request.isolation_level == IsolationLevel.READ_COMMITTED
    asked = Counter(
        (topic.name, partition.partition_index) for topic in request.topics for partition in topic.partitions
    )
    return ListOffsetsResponse(
        topics=[
            ListOffsetsTopicResponse(
                topic.name,
                [
                    _partition(exchange, topic.name, partition, committed)
                    if asked[topic.name, index] == 1
                    else _failed(partition, ErrorCode.INVALID_REQUEST)  # O3
                    for index, partition in {each.partition_index: each for each in topic.partitions}.items()
                ],
            )
            for topic in request.topics
            if topic.partitions
        ]
    )


def _partition(
    exchange: Exchange, topic: str, asked: ListOffsetsPartition, committed: bool
) -> ListOffsetsPartitionResponse:
    if asked.timestamp < 0 and exchange.version < _SINCE.get(asked.timestamp, exchange.version + 1):
        return _failed(asked, ErrorCode.UNSUPPORTED_VERSION)
    error, partition = exchange.find(topic, asked.partition_index, asked.current_leader_epoch)
    if error or partition is None:
        return _failed(asked, error)
    if asked.timestamp == LATEST and partition.log.high_watermark < partition.log.epochs[-1][1]:
        # A new leader does not know yet how far the records of its predecessor are replicated.
        return _failed(
            asked, ErrorCode.OFFSET_NOT_AVAILABLE if exchange.version >= 5 else ErrorCode.LEADER_NOT_AVAILABLE
        )
    found = _search(partition, asked.timestamp, committed)
    return ListOffsetsPartitionResponse(
        asked.partition_index,
        timestamp=found.timestamp,
        offset=found.offset,
        leader_epoch=found.leader_epoch if exchange.version >= 4 else -1,
    )


def _search(partition: Partition, timestamp: int, committed: bool) -> TimestampedOffset:
    log = partition.log
    end = log.last_stable_offset if committed else log.high_watermark
    if timestamp == LATEST:
        return TimestampedOffset(-1, end, partition.leader_epoch)
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        return TimestampedOffset(-1, log.start_offset, log.epoch_at(log.start_offset))
    if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
        return _NOT_FOUND  # nothing is tiered
    found = log.max_timestamp() if timestamp == MAX_TIMESTAMP else log.at_or_after(timestamp)
    return found if found is not None and found.offset < end else _NOT_FOUND


def _failed(asked: ListOffsetsPartition, error: ErrorCode) -> ListOffsetsPartitionResponse:
    return ListOffsetsPartitionResponse(asked.partition_index, error)
