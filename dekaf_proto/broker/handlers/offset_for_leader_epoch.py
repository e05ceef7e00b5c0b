"""OffsetForLeaderEpoch: where a leader epoch ended, so that a client can tell that the log was truncated (F26)."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)


def offset_for_leader_epoch(exchange: Exchange, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse:
    """Answers each partition by itself."""
    return OffsetForLeaderEpochResponse(
        topics=[
            OffsetForLeaderTopicResult(
                topic.topic, [_partition(exchange, topic.topic, partition) for partition in topic.partitions]
            )
            for topic in request.topics
        ]
    )


def _partition(exchange: Exchange, topic: str, asked: OffsetForLeaderPartition) -> EpochEndOffset:
    error, partition = exchange.find(topic, asked.partition, asked.current_leader_epoch)
    if error or partition is None:
        return EpochEndOffset(error, asked.partition)
    epoch, end_offset = partition.log.end_of_epoch(asked.leader_epoch)
    return EpochEndOffset(error, asked.partition, epoch, end_offset)
