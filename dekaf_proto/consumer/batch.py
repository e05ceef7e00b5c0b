"""What `poll` and `batches` give: some records at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar, overload

from dekaf_proto.records import Record
from dekaf_proto.types import OffsetAndMetadata, TopicPartition

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)


class Batch(Sequence["Record[K, V]"], Generic[K, V]):
    """Records of several partitions, in order within each. Asking the consumer for more finishes all of them.

    >>> from dekaf_proto.records import make_record
    >>> batch = Batch([make_record("orders", 0, 4, None, b"a"), make_record("orders", 0, 5, None, b"b")])
    >>> len(batch), batch.offsets[TopicPartition("orders", 0)].offset
    (2, 6)
    """

    __slots__ = ("_records",)

    def __init__(self, records: Sequence[Record[K, V]] = ()) -> None:
        self._records = tuple(records)

    @overload
    def __getitem__(self, index: int) -> Record[K, V]: ...
    @overload
    def __getitem__(self, index: slice) -> Batch[K, V]: ...
    def __getitem__(self, index: int | slice) -> Record[K, V] | Batch[K, V]:
        return Batch(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record[K, V]]:
        return iter(self._records)

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} records: {', '.join(map(str, self.by_partition()))}>"

    @property
    def offsets(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What to commit when all of them are done: for each partition the offset after its last record."""
        return {
            tp: OffsetAndMetadata(records[-1].next_offset, "", records[-1].leader_epoch)
            for tp, records in self.by_partition().items()
        }

    def by_partition(self) -> dict[TopicPartition, list[Record[K, V]]]:
        """The records of each partition, in order."""
        result: dict[TopicPartition, list[Record[K, V]]] = {}
        for record in self._records:
            result.setdefault(record.topic_partition, []).append(record)
        return result
