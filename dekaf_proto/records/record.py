"""`Record`: what a consumer is given, one object per record.

There may be millions of these, so a record is small: what is the same for all records of a batch (topic, partition,
what the timestamp means, leader epoch) is one shared `BatchContext` in one slot. In a wheel this module is compiled by
mypyc, whose classes ignore `frozen` and can't be pickled by themselves; hence the properties over private slots and the
`__reduce__`s. The pure build behaves the same.

`Record` is generic in the types of key and value, but for type checkers only, in `generic`. To a class that is generic
itself mypyc gives a `__dict__` and weak references, which outlive the record and crash the interpreter (mypy 2.4).

Records know nothing of bytes on the wire, of consumers or of commits. `ownership` is a slot in which a consumer may
leave a token of its own; it is neither compared nor pickled.
"""

from __future__ import annotations

import datetime as dt
from types import GenericAlias
from typing import Final

from dekaf_proto._i64 import i64, mypyc_attr
from dekaf_proto.types import TimestampType, TopicPartition

#: A header: its key, and its value or None.
Header = tuple[str, bytes | None]
Headers = tuple[Header, ...]

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_SHOWN: Final = 16  # how many bytes or characters of a key or value a repr shows


class BatchContext:
    """What all records of a batch share: topic, partition, timestamp type, leader epoch, and an owner's token."""

    __slots__ = ("_leader_epoch", "_partition", "_timestamp_type", "_topic", "ownership")

    def __init__(
        self,
        topic: str,
        partition: int,
        timestamp_type: TimestampType = TimestampType.CREATE_TIME,
        leader_epoch: int | None = None,
        ownership: object = None,
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._timestamp_type = timestamp_type
        self._leader_epoch = leader_epoch
        self.ownership = ownership

    @property
    def topic(self) -> str:
        """The topic's name."""
        return self._topic

    @property
    def partition(self) -> int:
        """The partition's number."""
        return self._partition

    @property
    def timestamp_type(self) -> TimestampType:
        """What the records' timestamps mean."""
        return self._timestamp_type

    @property
    def leader_epoch(self) -> int | None:
        """The epoch of the leader that appended the batch, None if unknown."""
        return self._leader_epoch

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BatchContext):
            return NotImplemented
        return (
            self._partition == other._partition
            and self._topic == other._topic
            and self._timestamp_type == other._timestamp_type
            and self._leader_epoch == other._leader_epoch
        )

    def __hash__(self) -> int:
        return hash((self._topic, self._partition))

    def __repr__(self) -> str:
        return f"<BatchContext {self._topic}-{self._partition} leader_epoch={self._leader_epoch}>"

    def __reduce__(self) -> tuple[type[BatchContext], tuple[str, int, TimestampType, int | None]]:
        # A token of ownership means nothing in another process.
        return BatchContext, (self._topic, self._partition, self._timestamp_type, self._leader_epoch)


@mypyc_attr(free_list_len=1)  # in a loop, each record takes the place of the one before it
class Record:
    """One record of a partition. `Record[K, V]` says of which types its key and value are (`bytes | None` as it comes).

    Read-only, hashable (by topic, partition and offset) and picklable. Consumers make records; a program makes one
    only for its tests, with `make_record`.

    >>> from dekaf_proto.records import make_record
    >>> record = make_record("orders", 3, 17, key=b"k", value=b"forty-two")
    >>> record.offset, record.next_offset, record.topic_partition
    (17, 18, TopicPartition(topic='orders', partition=3))
    >>> record
    <Record orders-3 offset=17 key=b'k' value=b'forty-two'>
    """

    __slots__ = ("_context", "_headers", "_key", "_offset", "_timestamp", "_value")

    def __init__(
        self, context: BatchContext, offset: i64, timestamp: i64, key: object, value: object, headers: Headers
    ) -> None:
        self._context = context
        self._offset = offset
        self._timestamp = timestamp
        self._key = key
        self._value = value
        self._headers = headers

    @property
    def topic(self) -> str:
        """The topic's name."""
        return self._context._topic

    @property
    def partition(self) -> int:
        """The partition's number."""
        return self._context._partition

    @property
    def topic_partition(self) -> TopicPartition:
        """Topic and partition together, as `seek`, `pause` and `commit` take them."""
        return TopicPartition(self._context._topic, self._context._partition)

    @property
    def offset(self) -> int:
        """The record's place in its partition."""
        return self._offset

    @property
    def next_offset(self) -> int:
        """`offset + 1`: the offset to commit when this record is done, and to seek to if it shall be left out."""
        return self._offset + 1

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970 (UTC), -1 if there is none; `timestamp_type` says whose clock it was."""
        return self._timestamp

    @property
    def timestamp_type(self) -> TimestampType:
        """Whether the producer made the timestamp (CREATE_TIME) or the broker (LOG_APPEND_TIME)."""
        return self._context._timestamp_type

    @property
    def datetime(self) -> dt.datetime | None:
        """The timestamp as an aware datetime in UTC; None if there is none or `datetime` can't hold it.

        >>> from dekaf_proto.records import make_record
        >>> make_record("orders", 0, 0, key=None, value=None, timestamp=1_700_000_000_250).datetime.isoformat()
        '2023-11-14T22:13:20.250000+00:00'
        """
        if self._timestamp == -1:
            return None
        try:
            return _EPOCH + dt.timedelta(milliseconds=self.timestamp)
        except OverflowError:
            return None

    @property
    def key(self) -> object:
        """The key."""
        return self._key

    @property
    def value(self) -> object:
        """The value."""
        return self._value

    @property
    def headers(self) -> Headers:
        """The headers in their order, keys may repeat.

        Bytes of a header's key that are not UTF-8 are kept as surrogates (PEP 383), so that nothing is lost:
        `key.encode("utf-8", "surrogateescape")` gives the bytes back.
        """
        return self._headers

    @property
    def leader_epoch(self) -> int | None:
        """The epoch of the leader that appended the record, None if unknown. A commit may carry it (KIP-320)."""
        return self._context._leader_epoch

    @property
    def context(self) -> BatchContext:
        """What this record shares with the others of its batch."""
        return self._context

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return (
            self._offset == other._offset
            and self._timestamp == other._timestamp
            and self._context == other._context
            and bool(self._key == other._key)
            and bool(self._value == other._value)
            and self._headers == other._headers
        )

    def __hash__(self) -> int:
        return hash((self._context._topic, self._context._partition, self._offset))

    def __repr__(self) -> str:
        headers = f" headers={len(self._headers)}" if self._headers else ""
        return (
            f"<Record {self._context._topic}-{self._context._partition} offset={self._offset}"
            f" key={_short(self._key)} value={_short(self._value)}{headers}>"
        )

    def __class_getitem__(cls, types: object) -> object:
        return GenericAlias(cls, types)

    def __reduce__(self) -> tuple[type[Record], tuple[BatchContext, int, int, object, object, Headers]]:
        return Record, (self._context, self._offset, self._timestamp, self._key, self._value, self._headers)


def _short(value: object) -> str:
    """A value for a repr: a few bytes or characters of it and how much more there is, never all of a large one."""
    if isinstance(value, (bytes, bytearray, str)):
        if len(value) <= _SHOWN:
            return repr(value)
        return f"{value[:_SHOWN]!r}... ({len(value)} {'characters' if isinstance(value, str) else 'bytes'})"
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    return f"<{type(value).__name__}>"  # anything else may have a repr of any size
