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


#: The largest value of each type.
_LARGEST: Final = {Type.SHORT: 2**15 - 1, Type.INT: 2**31 - 1, Type.LONG: 2**63 - 1}


class Config(NamedTuple):
    """An entry. `lowest`, `highest`: of numbers; None for those of the type."""

    type: Type
    default: str
    allowed: tuple[str, ...] = ()
    lowest: float | None = None
    highest: float | None = None

    def accepts(self, value: str) -> bool:
        """Whether a value is one of this type and in its range."""
        given = [each.strip() for each in value.split(",")] if self.type is Type.LIST and value.strip() else []
        if self.type is not Type.LIST:
            given = [value.strip().lower() if self.type is Type.BOOLEAN else value.strip()]
        if self.allowed and not all(each in self.allowed for each in given):
            return False
        if self.type is Type.BOOLEAN:
            return given[0] in ("true", "false")
        return self.type in (Type.STRING, Type.LIST) or self._accepts_number(given[0])

    def _accepts_number(self, value: str) -> bool:
        try:
            number = float(value) if self.type is Type.DOUBLE else int(value)
        except ValueError:
            return False
        largest = _LARGEST.get(self.type, float("inf"))
        lowest = -largest - 1 if self.lowest is None else self.lowest
        return "_" not in value and lowest <= number <= (largest if self.highest is None else self.highest)


_MAX: Final = str(2**63 - 1)
_WEEK: Final = "604800000"

TOPIC: Final[Mapping[str, Config]] = {
    "cleanup.policy": Config(Type.LIST, "delete", ("delete", "compact")),
    "compression.gzip.level": Config(Type.INT, "-1", ("-1", *"123456789")),
    "compression.lz4.level": Config(Type.INT, "9", lowest=1, highest=17),
    "compression.type": Config(
        Type.STRING, "producer", ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer", "none")
    ),
    "compression.zstd.level": Config(Type.INT, "3", lowest=-131072, highest=22),
    "delete.retention.ms": Config(Type.LONG, "86400000", lowest=0),
    "errors.deadletterqueue.group.enable": Config(Type.BOOLEAN, "false"),
    "file.delete.delay.ms": Config(Type.LONG, "60000", lowest=0),
    "flush.messages": Config(Type.LONG, _MAX, lowest=1),
    "flush.ms": Config(Type.LONG, _MAX, lowest=0),
    "follower.replication.throttled.replicas": Config(Type.LIST, ""),
    "index.interval.bytes": Config(Type.INT, "4096", lowest=0),
    "leader.replication.throttled.replicas": Config(Type.LIST, ""),
    "local.retention.bytes": Config(Type.LONG, "-2", lowest=-2),
    "local.retention.ms": Config(Type.LONG, "-2", lowest=-2),
    "max.compaction.lag.ms": Config(Type.LONG, _MAX, lowest=1),
    "max.decompressed.message.bytes": Config(Type.INT, "2147483639", lowest=1, highest=2147483639),
    "max.message.bytes": Config(Type.INT, "1048588", lowest=0),
    "message.timestamp.after.max.ms": Config(Type.LONG, "3600000", lowest=0),
    "message.timestamp.before.max.ms": Config(Type.LONG, _MAX, lowest=0),
    "message.timestamp.type": Config(Type.STRING, "CreateTime", ("CreateTime", "LogAppendTime")),
    "min.cleanable.dirty.ratio": Config(Type.DOUBLE, "0.5", lowest=0, highest=1),
    "min.compaction.lag.ms": Config(Type.LONG, "0", lowest=0),
    "min.insync.replicas": Config(Type.INT, "1", lowest=1),
    "preallocate": Config(Type.BOOLEAN, "false"),
    "remote.copy.lag.bytes": Config(Type.LONG, "-1", lowest=-1),
    "remote.copy.lag.ms": Config(Type.LONG, "0", lowest=-1),
    "remote.log.copy.disable": Config(Type.BOOLEAN, "false"),
    "remote.log.delete.on.disable": Config(Type.BOOLEAN, "false"),
    "remote.storage.enable": Config(Type.BOOLEAN, "false", ("false",)),
    "retention.bytes": Config(Type.LONG, "-1"),
    "retention.ms": Config(Type.LONG, _WEEK, lowest=-1),
    "segment.bytes": Config(Type.INT, "1073741824", lowest=1048576),
    "segment.index.bytes": Config(Type.INT, "10485760", lowest=4),
    "segment.jitter.ms": Config(Type.LONG, "0", lowest=0),
    "segment.ms": Config(Type.LONG, _WEEK, lowest=1),
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


def wrong_together(given: Mapping[str, str]) -> str | None:
    """What is wrong with entries that are right by themselves."""
    least, most = (
        int(given.get(name, TOPIC[name].default)) for name in ("min.compaction.lag.ms", "max.compaction.lag.ms")
    )
    return None if least <= most else f"min.compaction.lag.ms {least} is more than max.compaction.lag.ms {most}"
