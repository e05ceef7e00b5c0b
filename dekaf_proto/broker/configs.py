"""The configurations of topics and nodes that DescribeConfigs tells, with Kafka's names, types and defaults.

What a topic was created with is kept and told. Of all that, `message.timestamp.type`, `max.message.bytes`,
`message.timestamp.after.max.ms` and `cleanup.policy` change what may be produced. Retention and compaction happen when
a program asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple


class Type(IntEnum):
    """The type of a value, as DescribeConfigs numbers them."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7


class Config(NamedTuple):
    """An entry."""

    type: Type
    default: str
    allowed: tuple[str, ...] = ()

    def accepts(self, value: str) -> bool:
        """Whether a value is one of this type."""
        if self.type is Type.BOOLEAN:
            return value in ("true", "false")
        if self.type in (Type.STRING, Type.LIST):
            given = value.split(",") if self.type is Type.LIST else [value]
            return not self.allowed or all(each.strip() in self.allowed for each in given)
        try:
            float(value) if self.type is Type.DOUBLE else int(value)
        except ValueError:
            return False
        return True


_MAX: Final = str(2**63 - 1)
_WEEK: Final = "604800000"

TOPIC: Final[Mapping[str, Config]] = {
    "cleanup.policy": Config(Type.LIST, "delete", ("delete", "compact")),
    "compression.gzip.level": Config(Type.INT, "-1"),
    "compression.lz4.level": Config(Type.INT, "9"),
    "compression.type": Config(
        Type.STRING, "producer", ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer", "none")
    ),
    "compression.zstd.level": Config(Type.INT, "3"),
    "delete.retention.ms": Config(Type.LONG, "86400000"),
    "errors.deadletterqueue.group.enable": Config(Type.BOOLEAN, "false"),
    "file.delete.delay.ms": Config(Type.LONG, "60000"),
    "flush.messages": Config(Type.LONG, _MAX),
    "flush.ms": Config(Type.LONG, _MAX),
    "follower.replication.throttled.replicas": Config(Type.LIST, ""),
    "index.interval.bytes": Config(Type.INT, "4096"),
    "leader.replication.throttled.replicas": Config(Type.LIST, ""),
    "local.retention.bytes": Config(Type.LONG, "-2"),
    "local.retention.ms": Config(Type.LONG, "-2"),
    "max.compaction.lag.ms": Config(Type.LONG, _MAX),
    "max.decompressed.message.bytes": Config(Type.INT, "2147483639"),
    "max.message.bytes": Config(Type.INT, "1048588"),
    "message.timestamp.after.max.ms": Config(Type.LONG, "3600000"),
    "message.timestamp.before.max.ms": Config(Type.LONG, _MAX),
    "message.timestamp.type": Config(Type.STRING, "CreateTime", ("CreateTime", "LogAppendTime")),
    "min.cleanable.dirty.ratio": Config(Type.DOUBLE, "0.5"),
    "min.compaction.lag.ms": Config(Type.LONG, "0"),
    "min.insync.replicas": Config(Type.INT, "1"),
    "preallocate": Config(Type.BOOLEAN, "false"),
    "remote.copy.lag.bytes": Config(Type.LONG, "-1"),
    "remote.copy.lag.ms": Config(Type.LONG, "0"),
    "remote.log.copy.disable": Config(Type.BOOLEAN, "false"),
    "remote.log.delete.on.disable": Config(Type.BOOLEAN, "false"),
    "remote.storage.enable": Config(Type.BOOLEAN, "false"),
    "retention.bytes": Config(Type.LONG, "-1"),
    "retention.ms": Config(Type.LONG, _WEEK),
    "segment.bytes": Config(Type.INT, "1073741824"),
    "segment.index.bytes": Config(Type.INT, "10485760"),
    "segment.jitter.ms": Config(Type.LONG, "0"),
    "segment.ms": Config(Type.LONG, _WEEK),
    "unclean.leader.election.enable": Config(Type.BOOLEAN, "false"),
}


def wrong_config(name: str, value: str | None) -> str | None:
    """What is wrong with an entry for a topic; None if nothing is."""
    known = TOPIC.get(name)
    if known is None:
        return f"Unknown topic config name: {name}"
    if value is None:
        return f"Null value not supported for topic configs: {name}"
    return None if known.accepts(value) else f"Invalid value {value} for configuration {name}"
