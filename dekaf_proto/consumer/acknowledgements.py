"""Explicit acknowledgement: which records are being worked on, in whatever order they get done.

Handing a record out puts its offset into its partition's Delivery (see `chunk`); `acknowledge` takes it out again. What
lies below the first one that is left is finished. So gaps in the log hold nothing up, and what is handed out anew after
a seek or another assignment is told from what was handed out before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dekaf_proto.consumer.chunk import Delivery, Window
from dekaf_proto.consumer.partition import Partition
from dekaf_proto.records import Record
from dekaf_proto.types import TopicPartition


class Acknowledgements:
    """The acknowledgements of one consumer. `partitions` is its own table; `limit` how many may be missing."""

    def __init__(self, partitions: dict[TopicPartition, Partition], limit: int) -> None:
        self._partitions = partitions
        self._limit = limit
        self.window = Window()
        #: How many came for records that are not this consumer's any more, or came again.
        self.ignored = 0

    def acknowledge(self, records: Iterable[Record[Any, Any]]) -> None:
        """These records are done."""
        for record in records:
            delivery = record.context.ownership
            partition = self._partitions.get(record.topic_partition)
            if partition is None or partition.delivery is not delivery or not partition.tenure.live:
                self.ignored += 1
            else:
                self._acknowledge(partition.delivery, record.offset)

    def _acknowledge(self, delivery: Delivery, offset: int) -> None:
        outstanding, acknowledged = delivery.outstanding, delivery.acknowledged
        if not outstanding or offset < outstanding[0] or offset in acknowledged:
            self.ignored += 1
            return
        acknowledged.add(offset)
        while outstanding and outstanding[0] in acknowledged:
            acknowledged.discard(outstanding.popleft())
        while delivery.seen and outstanding and delivery.seen[0][0] <= outstanding[0]:
            delivery.seen.popleft()
        if not outstanding:
            delivery.seen.clear()

    def outstanding(self, tps: Iterable[TopicPartition] | None = None) -> int:
        """How many records of these partitions (None: of all) are handed out and not acknowledged."""
        those = tuple(self._partitions.values()) if tps is None else [self._partitions[tp] for tp in tps]
        return sum(len(p.delivery.outstanding) - len(p.delivery.acknowledged) for p in those)

    def open_window(self) -> bool:
        """Before records are handed out: how many that may be. Whether any may."""
        self.window.left = self._limit - self.outstanding()
        return self.window.left > 0

    def look(self, now: float) -> None:
        """Notes when records were handed out, as far as that is to be seen."""
        for partition in self._partitions.values():
            delivery = partition.delivery
            if delivery.outstanding:
                last = delivery.outstanding[-1] + 1
                if not delivery.seen or delivery.seen[-1][0] < last:
                    delivery.seen.append((last, now))

    def oldest_age(self, now: float, partitions: Mapping[TopicPartition, Partition]) -> float | None:
        """For how many seconds the record that waits the longest has been out; None if none waits."""
        times = [p.delivery.seen[0][1] for p in tuple(partitions.values()) if p.delivery.seen]
        if not times:
            return 0.0 if self.outstanding() else None  # they were handed out a moment ago
        return now - min(times)
