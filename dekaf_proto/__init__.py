"""The protocol core of dekaf: everything that decides, and nothing that does I/O.

No module below imports a socket, a loop or a thread, reads a clock or draws a random number of its own. The public
names load on first use, so that `import dekaf_proto` costs next to nothing; the submodules `broker`, `config`,
`consumer`, `errors`, `events`, `messages`, `operation`, `records`, `trace`, `types` and `wire` are public too.
"""

from __future__ import annotations

__version__ = "0.1.0.dev0"

# To type checkers the same as typing's own, whose import would be most of what this module costs.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from dekaf_proto import broker, config, consumer, errors, events, messages, operation, records, trace, types, wire
    from dekaf_proto.config import ConsumerConfig
    from dekaf_proto.consumer import Batch, Consumer, ConsumerMetrics, FetchedRecords
    from dekaf_proto.errors import ErrorCode, KafkaError
    from dekaf_proto.group.assignor import Assignor, GroupMember, GroupTopics
    from dekaf_proto.group.classic import GroupMetadata
    from dekaf_proto.operation import Operation
    from dekaf_proto.records import Record
    from dekaf_proto.types import (
        IsolationLevel,
        OffsetAndMetadata,
        OffsetAndTimestamp,
        TimestampType,
        TopicPartition,
        TopicPartitionOffset,
        Uuid,
    )

    #: Whether mypyc compiled the hot modules of this installation. The pure ones are the specification.
    COMPILED: bool

#: Public name -> the module that has it. The imports above say the same to type checkers; a test compares them.
_HOME = {
    "Assignor": "dekaf_proto.group.assignor",
    "Batch": "dekaf_proto.consumer",
    "Consumer": "dekaf_proto.consumer",
    "ConsumerConfig": "dekaf_proto.config",
    "ConsumerMetrics": "dekaf_proto.consumer",
    "ErrorCode": "dekaf_proto.errors",
    "FetchedRecords": "dekaf_proto.consumer",
    "GroupMember": "dekaf_proto.group.assignor",
    "GroupMetadata": "dekaf_proto.group.classic",
    "GroupTopics": "dekaf_proto.group.assignor",
    "IsolationLevel": "dekaf_proto.types",
    "KafkaError": "dekaf_proto.errors",
    "OffsetAndMetadata": "dekaf_proto.types",
    "OffsetAndTimestamp": "dekaf_proto.types",
    "Operation": "dekaf_proto.operation",
    "Record": "dekaf_proto.records",
    "TimestampType": "dekaf_proto.types",
    "TopicPartition": "dekaf_proto.types",
    "TopicPartitionOffset": "dekaf_proto.types",
    "Uuid": "dekaf_proto.types",
}
#: A module that every compiled build compiles (setup.py has the list).
_HOT_MODULE = "dekaf_proto.records.iterator"
_SUBMODULES = (
    "broker",
    "config",
    "consumer",
    "errors",
    "events",
    "messages",
    "operation",
    "records",
    "trace",
    "types",
    "wire",
)

__all__ = [
    "COMPILED",
    "Assignor",
    "Batch",
    "Consumer",
    "ConsumerConfig",
    "ConsumerMetrics",
    "ErrorCode",
    "FetchedRecords",
    "GroupMember",
    "GroupMetadata",
    "GroupTopics",
    "IsolationLevel",
    "KafkaError",
    "OffsetAndMetadata",
    "OffsetAndTimestamp",
    "Operation",
    "Record",
    "TimestampType",
    "TopicPartition",
    "TopicPartitionOffset",
    "Uuid",
    "__version__",
    "broker",
    "config",
    "consumer",
    "errors",
    "events",
    "messages",
    "operation",
    "records",
    "trace",
    "types",
    "wire",
]

# Hidden from type checkers, to which a `__getattr__` would say that any name exists.
if not TYPE_CHECKING:  # pragma: no branch (always so at run time)

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _HOME:
            value = getattr(import_module(_HOME[name]), name)
        elif name in _SUBMODULES:
            return import_module(f"dekaf_proto.{name}")  # which also sets the attribute
        elif name == "COMPILED":
            value = _compiled()
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


def _compiled() -> bool:
    """Whether the import system would take an extension for it. Nothing is imported to find out."""
    from importlib.machinery import EXTENSION_SUFFIXES, PathFinder

    folder = _HOT_MODULE.split(".")[1]
    spec = PathFinder.find_spec(_HOT_MODULE, [f"{path}/{folder}" for path in __path__])
    return spec is not None and spec.origin is not None and spec.origin.endswith(tuple(EXTENSION_SUFFIXES))
