"""Requests as the tests of the broker write them most often."""

from __future__ import annotations

from dekaf_proto.messages import FetchRequest, ListOffsetsRequest
from dekaf_proto.messages.fetch import FetchPartition, FetchTopic
from dekaf_proto.messages.list_offsets import ListOffsetsPartition, ListOffsetsTopic
from dekaf_proto.types import Uuid


def fetch_request(
    topic: str | Uuid,
    offset: int,
    *more: FetchPartition,
    partition: int = 0,
    leader_epoch: int = -1,
    partition_max_bytes: int = 1_000_000,
    last_fetched_epoch: int = -1,
    max_wait_ms: int = 500,
    min_bytes: int = 1,
    max_bytes: int = 1_000_000,
    isolation_level: int = 0,
    session: tuple[int, int] = (0, -1),
) -> FetchRequest:
    """A Fetch of one partition of a topic (by name, or by id), and of `more` of it."""
    first = FetchPartition(
        partition,
        leader_epoch,
        offset,
        last_fetched_epoch=last_fetched_epoch,
        partition_max_bytes=partition_max_bytes,
    )
    name, topic_id = (topic, Uuid.ZERO) if isinstance(topic, str) else ("", topic)
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=isolation_level,
        session_id=session[0],
        session_epoch=session[1],
        topics=[FetchTopic(name, topic_id, [first, *more])],
    )


def list_offsets_request(
    topic: str, timestamp: int, *, partition: int = 0, isolation_level: int = 0, leader_epoch: int = -1
) -> ListOffsetsRequest:
    """A ListOffsets of one partition."""
    asked = ListOffsetsPartition(partition, leader_epoch, timestamp)
    return ListOffsetsRequest(-1, isolation_level, [ListOffsetsTopic(topic, [asked])])
