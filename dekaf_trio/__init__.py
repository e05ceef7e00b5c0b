"""The driver of `dekaf_proto` for trio: `Consumer`, and the values that it takes and gives.

`Network`, with `Address` and `Connect`, is for programs that make their streams themselves.
"""

from __future__ import annotations

from dekaf_proto.config import ConsumerConfig, HostPort, OffsetReset
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.consumer.metrics import ConsumerMetrics
from dekaf_proto.errors import KafkaError
from dekaf_proto.events import Address, Connect
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
from dekaf_trio import errors
from dekaf_trio._consumer import Consumer
from dekaf_trio._listening import RebalanceListener
from dekaf_trio._network import Network

__all__ = [
    "Address",
    "Batch",
    "Connect",
    "Consumer",
    "ConsumerConfig",
    "ConsumerMetrics",
    "GroupMetadata",
    "HostPort",
    "IsolationLevel",
    "KafkaError",
    "Network",
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
