"""The small values that every layer shares. Nothing here knows a protocol version, a connection or a clock."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import IntEnum
from typing import NamedTuple


class TopicPartition(NamedTuple):
    """One partition of one topic.

    >>> str(TopicPartition("orders", 3))
    'orders-3'
    """

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class TimestampType(IntEnum):
    """What a record's timestamp means: when it was made, or when the broker appended it."""

    NO_TIMESTAMP_TYPE = -1  # magic 0 had no timestamps
    CREATE_TIME = 0
    LOG_APPEND_TIME = 1


class IsolationLevel(IntEnum):
    """Which records of transactions a reader sees."""

    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1


class Uuid(bytes):
    """The 16 bytes of a topic id, shown as Kafka's tools show it.

    >>> Uuid.parse("AAAAAAAAAAAAAAAAAAAAAQ")
    Uuid('AAAAAAAAAAAAAAAAAAAAAQ')
    >>> bool(Uuid.ZERO)
    False
    """

    __slots__ = ()

    ZERO: Uuid  # "no id"

    @classmethod
    def parse(cls, text: str) -> Uuid:
        """Reads the 22 characters of `str(uuid)`; ValueError if they are not a UUID's."""
        try:
            uuid = cls(urlsafe_b64decode(text + "=="))
        except ValueError:
            uuid = cls()
        # base64 skips what it does not know and ignores the last bits: what is not written back the same was no id.
        if len(uuid) != 16 or str(uuid) != text:
            raise ValueError(f"not a topic id: {text!r}")
        return uuid

    def __bool__(self) -> bool:
        return self != Uuid.ZERO

    def __str__(self) -> str:
        return urlsafe_b64encode(self).decode().rstrip("=")

    def __repr__(self) -> str:
        return f"Uuid({str(self)!r})"


Uuid.ZERO = Uuid(16)


class OffsetAndMetadata(NamedTuple):
    """An offset to commit, or a committed one: the *next* record to be read (P1).

    `metadata` is a note that the broker keeps beside it, `leader_epoch` the epoch of the record before it, if known.
    """

    offset: int
    metadata: str = ""
    leader_epoch: int | None = None


class OffsetAndTimestamp(NamedTuple):
    """What `offsets_for_times` finds: the first record at or after a time. `timestamp` is in ms since 1970."""

    offset: int
    timestamp: int
    leader_epoch: int | None = None


class TopicPartitionOffset(NamedTuple):
    """A partition and an offset in it."""

    topic: str
    partition: int
    offset: int

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition."""
        return TopicPartition(self.topic, self.partition)
