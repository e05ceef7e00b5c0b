"""The driver of `dekaf_proto` for threads and blocking calls: `Consumer`, and the values that it takes and gives.

`EmbeddedBroker` is a broker for tests and demos. All names load on first use: the plugin for pytest is in this package
(`_pytest`), and every run of pytest imports it.
"""

from __future__ import annotations

# To type checkers the same as typing's own, whose import costs more than all of this module.
TYPE_CHECKING = False

if TYPE_CHECKING:
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
    from dekaf_sync._broker import EmbeddedBroker
    from dekaf_sync._consumer import Consumer
    from dekaf_sync._listening import RebalanceListener

#: Public name -> the module that has it. The imports above say the same to type checkers; a test compares them.
_HOME = {
    "Batch": "dekaf_proto.consumer.batch",
    "Consumer": "dekaf_sync._consumer",
    "ConsumerConfig": "dekaf_proto.config",
    "ConsumerMetrics": "dekaf_proto.consumer.metrics",
    "EmbeddedBroker": "dekaf_sync._broker",
    "GroupMetadata": "dekaf_proto.group.classic",
    "HostPort": "dekaf_proto.config",
    "IsolationLevel": "dekaf_proto.types",
    "KafkaError": "dekaf_proto.errors",
    "OffsetAndMetadata": "dekaf_proto.types",
    "OffsetAndTimestamp": "dekaf_proto.types",
    "OffsetReset": "dekaf_proto.config",
    "RebalanceListener": "dekaf_sync._listening",
    "Record": "dekaf_proto.records",
    "TimestampType": "dekaf_proto.types",
    "TopicPartition": "dekaf_proto.types",
    "TopicPartitionOffset": "dekaf_proto.types",
}

__all__ = [
    "Batch",
    "Consumer",
    "ConsumerConfig",
    "ConsumerMetrics",
    "EmbeddedBroker",
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

# Hidden from type checkers, to which a `__getattr__` would say that any name exists.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name == "errors":
            return import_module("dekaf_sync.errors")  # which also sets the attribute
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(import_module(_HOME[name]), name))

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
