"""Where a program reads on: positions, seeks, and partitions that pause."""

from __future__ import annotations

from collections.abc import Mapping

from dekaf_proto.config import OffsetReset
from dekaf_proto.consumer.arguments import (
    SeekTarget,
    Time,
    epoch_of,
    milliseconds_of,
    offset_of,
    partition_of,
    partitions_of,
    times_of,
)
from dekaf_proto.consumer.fetcher import Fetcher
from dekaf_proto.consumer.handout import Handout
from dekaf_proto.consumer.metrics import lag_of
from dekaf_proto.consumer.partition import Partition
from dekaf_proto.consumer.positions import Positions
from dekaf_proto.consumer.questions import Questions
from dekaf_proto.errors import NotAssignedError
from dekaf_proto.operation import Flow, Operation
from dekaf_proto.types import TopicPartition


class Seeks(Questions):
    """The part of a consumer that chooses where to read; see `engine` for the whole."""

    _fetcher: Fetcher
    _handout: Handout
    _positions: Positions

    def position(self, tp: TopicPartition) -> int | None:
        """The offset of the next record that the application will be given; None while that is not known."""
        return self._partition(tp).position

    def seek(self, tp: TopicPartition, offset: SeekTarget, now: float) -> None:
        """Goes on at `offset`: a number, an OffsetAndMetadata, or what `offsets_for_times` found."""
        self._begin(now)
        partition = self._partition(tp)
        partition.begin_at(offset_of(offset), epoch_of(offset))
        partition.seeks += 1
        self._positions.stand_on(partition)
        self._sought(now)

    def seek_to_beginning(self, partitions: object, now: float) -> None:
        """Goes on at the first record of these partitions (None: of all that are assigned)."""
        self._seek_to_end_of_log(partitions, OffsetReset("earliest"), now)

    def seek_to_end(self, partitions: object, now: float) -> None:
        """Goes on behind the last record (under read_committed: behind the last stable one)."""
        self._seek_to_end_of_log(partitions, OffsetReset("latest"), now)

    def seek_to_committed(self, partitions: object, now: float) -> None:
        """Goes on where the group has committed, or as `auto_offset_reset` says if it has not."""
        self._begin(now)
        self._need_group()
        for partition in self._those(partitions):
            partition.initialize()
            partition.seeks += 1
        self._sought(now)

    def _seek_to_end_of_log(self, partitions: object, policy: OffsetReset, now: float) -> None:
        self._begin(now)
        for partition in self._those(partitions):
            partition.begin_reset(policy)
            partition.seeks += 1
        self._sought(now)

    def _sought(self, now: float) -> None:
        self._handout.stop()
        self._advance(now)

    def seek_to_timestamp(
        self, when: Time | Mapping[TopicPartition, Time], now: float, timeout: float | None = None
    ) -> Operation[None]:
        """Goes on at the first record that is not older than `when`, or at the end if there is none.

        `when`: Unix time in ms or an aware datetime, for all assigned partitions or by partition.
        """
        if isinstance(when, Mapping):
            times = times_of(when)
        else:
            times = dict.fromkeys(self._partitions, milliseconds_of(when))
        self._begin(now)
        # A seek that comes meanwhile has the last word; a reset, or a committed offset that is found, has not (O7).
        sought = {tp: self._partition(tp) for tp in times}
        for partition in sought.values():
            partition.seeks += 1
        seeks = {tp: partition.seeks for tp, partition in sought.items()}

        def flow() -> Flow[None]:
            found = yield from self._lookups.list_offsets(times, or_end=True)
            for tp, offset in found.items():
                partition = sought[tp]
                if offset is not None and self._partitions.get(tp) is partition and partition.seeks == seeks[tp]:
                    partition.begin_at(offset.offset)
            self._fetcher.touch()
            self._handout.stop()

        return self._start("seek_to_timestamp", flow(), now, timeout)

    def pause(self, partitions: object, now: float) -> None:
        """Hands out nothing more of these partitions; what is buffered is kept."""
        self._begin(now)
        for partition in self._those(partitions):
            partition.paused = True
        self._sought(now)

    def resume(self, partitions: object, now: float) -> None:
        """Goes on with paused partitions."""
        self._begin(now)
        for partition in self._those(partitions):
            partition.paused = False
        self._sought(now)

    @property
    def paused(self) -> list[TopicPartition]:
        """Which partitions are paused."""
        return [tp for tp, partition in self._partitions.items() if partition.paused]

    def highwater(self, tp: TopicPartition) -> int | None:
        """The end of the log as the last fetch saw it; None before the first."""
        highwater = self._partition(tp).high_watermark
        return highwater if highwater >= 0 else None

    def lag(self, tp: TopicPartition) -> int | None:
        """How many offsets the position is behind the end (the last stable offset under read_committed)."""
        return lag_of(self._partition(tp), self.config.isolation_level)

    def _partition(self, given: object) -> Partition:
        tp = partition_of(given)
        partition = self._partitions.get(tp)
        if partition is None:
            raise NotAssignedError(f"{tp} is not assigned to this consumer", [tp])
        return partition

    def _those(self, partitions: object) -> list[Partition]:
        if partitions is None:
            return list(self._partitions.values())
        return [self._partition(tp) for tp in partitions_of(partitions)]
