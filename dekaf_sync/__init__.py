"""The driver of `dekaf_proto` for threads and blocking calls: `Consumer`, and the values that it takes and gives."""

from __future__ import annotations

from dekaf_proto.config import ConsumerConfig, HostPort, OffsetReset
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.consumer.metrics import ConsumerMetrics
from dekaf_proto.errors import KafkaError
from dekaf_proto.group.classic import GroupMetadata
from dekaf_proto.records import Record
from dekaf_proto.types import (
    IsolationLevel,
    OffsetAndMetadata,
    OffsetAndTimestamp,
    TimestampType,
    TopicPartition,
    TopicPartitionOffset,
)
from dekaf_sync import errors
from dekaf_sync._consumer import Consumer
from dekaf_sync._listening import RebalanceListener

__all__ = [
    "Batch",
    "Consumer",
    "ConsumerConfig",
    "ConsumerMetrics",
    "GroupMetadata",
    "HostPort",
    "IsolationLevel",
    "KafkaError",
    "OffsetAndMetadata",
    "OffsetAndTimestamp",
    "OffsetReset",
    "RebalanceListener",
    "Record",
    "TimestampType",
    "TopicPartition",
    "TopicPartitionOffset",
    "errors",
]
