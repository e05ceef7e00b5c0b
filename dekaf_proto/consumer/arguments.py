"""What users may pass where a partition, an offset or a time is wanted, and clear errors for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from dekaf_proto.consumer.batch import Batch
from dekaf_proto.consumer.chunk import Delivery
from dekaf_proto.consumer.partition import Tenure
from dekaf_proto.records import Record
from dekaf_proto.types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition, TopicPartitionOffset

#: One partition, several, or None for all that are assigned.
Some = TopicPartition | Iterable[TopicPartition] | None
#: Partitions, with offsets to begin at or without.
Partitions = Iterable[TopicPartition | TopicPartitionOffset] | Mapping[TopicPartition, int]
#: Where to seek to.
SeekTarget = int | OffsetAndMetadata | OffsetAndTimestamp
#: What to commit or store.
CommitTarget = (
    Record[Any, Any]
    | Batch[Any, Any]
    | Mapping[TopicPartition, int | OffsetAndMetadata]
    | Iterable[TopicPartitionOffset]
)
#: Called with the offsets that were to be committed, and with what went wrong or None.
OnDone = Callable[[Mapping[TopicPartition, OffsetAndMetadata], "Exception | None"], object]
#: A moment: Unix time in milliseconds, or a datetime that says its time zone.
Time = int | datetime

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MAX_OFFSET: Final = 2**63 - 1
#: 1973 in milliseconds; as seconds, a time that far beyond ours that it was not meant.
_LEAST_PLAUSIBLE: Final = 100_000_000_000
#: The year 5138 in milliseconds; in microseconds it was 1973.
_MOST_PLAUSIBLE: Final = 100_000_000_000_000


def partition_of(given: object) -> TopicPartition:
    """A TopicPartition, or a (topic, partition) pair."""
    if isinstance(given, tuple) and len(given) == 2:
        topic, partition = given
        if isinstance(topic, str) and topic and isinstance(partition, int) and not isinstance(partition, bool):
            if partition < 0:
                raise ValueError(f"partition {partition} of {topic} is negative")
            return TopicPartition(topic, partition)
    raise TypeError(f"expected a TopicPartition, not {_shown(given)}")


def topic_of(given: object) -> str:
    """The name of a topic."""
    if not isinstance(given, str) or not given:
        raise TypeError(f"expected the name of a topic, not {_shown(given)}")
    return given


def partitions_of(given: object) -> list[TopicPartition]:
    """One partition or several, each once, in order."""
    if isinstance(given, TopicPartition):
        return [given]
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        raise TypeError(f"expected TopicPartitions, not {_shown(given)}")
    return list(dict.fromkeys(partition_of(item) for item in given))


def assignment_of(given: object) -> dict[TopicPartition, int | None]:
    """What `assign` takes: partitions, each with the offset to begin at, if that was given."""
    if isinstance(given, Mapping):
        return {partition_of(tp): offset_of(offset) for tp, offset in given.items()}
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes, TopicPartition)):
        raise TypeError(f"expected a list of TopicPartitions, not {_shown(given)}")
    result: dict[TopicPartition, int | None] = {}
    for item in given:
        if isinstance(item, TopicPartitionOffset):
            result[partition_of(item[:2])] = offset_of(item.offset)
        else:
            result[partition_of(item)] = None
    return result


def offset_of(given: object) -> int:
    """An offset that a log may have: never negative, which on the wire means something else (P2)."""
    if given is None:
        raise ValueError("there is no such offset: offsets_for_times found no record at or after that time")
    if isinstance(given, (OffsetAndMetadata, OffsetAndTimestamp)):
        given = given.offset
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"expected an offset, not {_shown(given)}")
    if not 0 <= given <= _MAX_OFFSET:
        raise ValueError(f"offset {given} is {'negative' if given < 0 else 'beyond int64'}")
    return given


def epoch_of(given: object) -> int:
    """The leader epoch that comes with an offset, -1 if none does."""
    epoch = given.leader_epoch if isinstance(given, (OffsetAndMetadata, OffsetAndTimestamp)) else None
    return -1 if epoch is None else epoch


def commits_of(given: object) -> dict[TopicPartition, OffsetAndMetadata]:
    """What `commit` takes: a record (to be done with), a batch, offsets by partition, TopicPartitionOffsets."""
    if isinstance(given, Record):
        return {given.topic_partition: OffsetAndMetadata(given.next_offset, "", given.leader_epoch)}
    if isinstance(given, Batch):
        return given.offsets
    if isinstance(given, Mapping):
        return {partition_of(tp): _commit_of(offset) for tp, offset in given.items()}
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes, tuple)):
        result = {}
        for item in given:
            if not isinstance(item, TopicPartitionOffset):
                raise TypeError(f"expected TopicPartitionOffsets, not {_shown(item)}")
            result[partition_of(item[:2])] = _commit_of(item.offset)
        return result
    raise TypeError(f"expected a record, a batch or offsets, not {_shown(given)}")


def records_of(given: object) -> list[Record[Any, Any]]:
    """One record, a batch, or several records."""
    if isinstance(given, Record):
        return [given]
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        records = list(given)
        for record in records:
            if not isinstance(record, Record):
                raise TypeError(f"expected records, not {_shown(record)}")
        return records
    raise TypeError(f"expected a record or several, not {_shown(given)}")


def tenures_of(given: object) -> dict[TopicPartition, Tenure]:
    """Under which assignment records came that are to be committed; empty for anything else."""
    records = [given] if isinstance(given, Record) else given if isinstance(given, Batch) else ()
    return {
        record.topic_partition: delivery.tenure
        for record in records
        if isinstance(delivery := record.context.ownership, Delivery) and isinstance(delivery.tenure, Tenure)
    }


def _commit_of(given: object) -> OffsetAndMetadata:
    offset = offset_of(given)
    if not isinstance(given, OffsetAndMetadata):
        return OffsetAndMetadata(offset)
    if not isinstance(given.metadata, str):
        raise TypeError(f"expected a str as metadata, not {_shown(given.metadata)}")
    return given


def milliseconds_of(given: object) -> int:
    """A time as Kafka counts it. Seconds or microseconds in place of milliseconds are refused (lesson 16)."""
    if isinstance(given, datetime):
        if given.utcoffset() is None:
            raise ValueError(f"{given!r} does not say its time zone; use for instance datetime.now(timezone.utc)")
        given = (given - _EPOCH) // timedelta(milliseconds=1)
        if given < 0:
            raise ValueError("the time is before 1970")
        return given
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"expected a time, in milliseconds or as a datetime, not {_shown(given)}")
    if given < 0:
        raise ValueError(f"the time {given} is before 1970")
    if 0 < given < _LEAST_PLAUSIBLE:
        raise ValueError(f"the time {given} would be in 1970-1973: times are in milliseconds, not seconds")
    if given > _MOST_PLAUSIBLE:
        raise ValueError(f"the time {given} would be after the year 5000: times are in milliseconds")
    return given


def times_of(given: object) -> dict[TopicPartition, int]:
    """A time for each partition."""
    if not isinstance(given, Mapping):
        raise TypeError(f"expected a mapping of TopicPartitions to times, not {_shown(given)}")
    return {partition_of(tp): milliseconds_of(time) for tp, time in given.items()}


def _shown(given: object) -> str:
    return f"{type(given).__name__} {given!r:.80}"
