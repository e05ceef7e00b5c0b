"""The driver of `dekaf_proto` for trio: `Consumer`, and the values that it takes and gives.

`Network`, with `Address` and `Connect`, is for programs that make their streams themselves. `EmbeddedBroker` is a
broker for tests and demos, which loads when it is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from dekaf_trio._broker import EmbeddedBroker

__all__ = [
    "Address",
    "Batch",
    "Connect",
    "Consumer",
    "ConsumerConfig",
    "ConsumerMetrics",
    "EmbeddedBroker",
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


def __getattr__(name: str) -> object:
    if name == "EmbeddedBroker":
        from dekaf_trio import _broker

        return globals().setdefault(name, _broker.EmbeddedBroker)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
