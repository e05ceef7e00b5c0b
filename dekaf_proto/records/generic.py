"""`Record[K, V]` and `RecordIterator[K, V]`: the two classes as type checkers see them.

At run time they are those of `record` and `iterator`, which mypyc compiles and which must not be generic themselves
(`record` says why). So the signatures stand here once more, and a test compares the two.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from dekaf_proto.records import iterator, record
from dekaf_proto.records.record import BatchContext, Header, Headers
from dekaf_proto.types import TimestampType, TopicPartition

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)
T = TypeVar("T")
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

#: Makes a key or a value of its bytes. It is not asked about a null, which stays None.
Deserializer = Callable[[bytes], T]

if TYPE_CHECKING:

    class Record(Generic[K, V]):
        """One record of a partition; `K` and `V` are the types of its key and value (`bytes | None` as it comes)."""

        @property
        def topic(self) -> str:
            """The topic's name."""

        @property
        def partition(self) -> int:
            """The partition's number."""

        @property
        def topic_partition(self) -> TopicPartition:
            """Topic and partition together, as `seek`, `pause` and `commit` take them."""

        @property
        def offset(self) -> int:
            """The record's place in its partition."""

        @property
        def next_offset(self) -> int:
            """`offset + 1`: the offset to commit when this record is done, and to seek to if it shall be left out."""

        @property
        def timestamp(self) -> int:
            """Milliseconds since 1970 (UTC), -1 if there is none; `timestamp_type` says whose clock it was."""

        @property
        def timestamp_type(self) -> TimestampType:
            """Whether the producer made the timestamp (CREATE_TIME) or the broker (LOG_APPEND_TIME)."""

        @property
        def datetime(self) -> dt.datetime | None:
            """The timestamp as an aware datetime in UTC; None if there is none or `datetime` can't hold it."""

        @property
        def key(self) -> K:
            """The key."""

        @property
        def value(self) -> V:
            """The value."""

        @property
        def headers(self) -> Headers:
            """The headers in their order, keys may repeat.

            Bytes of a header's key that are not UTF-8 are kept as surrogates (PEP 383), so that nothing is lost:
            `key.encode("utf-8", "surrogateescape")` gives the bytes back.
            """

        @property
        def leader_epoch(self) -> int | None:
            """The epoch of the leader that appended the record, None if unknown. A commit may carry it (KIP-320)."""

        @property
        def context(self) -> BatchContext:
            """What this record shares with the others of its batch."""

        def __hash__(self) -> int: ...

    class RecordIterator(Generic[K, V]):
        """Yields the records of one batch. `RecordBatch.records` makes it."""

        @property
        def context(self) -> BatchContext:
            """What the records of the batch share."""

        @property
        def next_offset(self) -> int:
            """One above the record handed out or skipped last; where the batch ends, once it is used up."""

        def __iter__(self) -> RecordIterator[K, V]: ...
        def __next__(self) -> Record[K, V]: ...

else:
    Record = record.Record
    RecordIterator = iterator.RecordIterator


def make_record(
    topic: str,
    partition: int,
    offset: int,
    key: _Key,
    value: _Value,
    *,
    headers: Iterable[Header] = (),
    timestamp: int = -1,
    timestamp_type: TimestampType = TimestampType.CREATE_TIME,
    leader_epoch: int | None = None,
) -> Record[_Key, _Value]:
    """A record made by hand, for the tests of a program that consumes records. `timestamp` is in ms since 1970."""
    context = BatchContext(topic, partition, timestamp_type, leader_epoch)
    made = record.Record(context, offset, timestamp, key, value, tuple(headers))
    return cast("Record[_Key, _Value]", made)
