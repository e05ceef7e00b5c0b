"""What the application is given, and in which order: runs of chunks, errors, the end of a bounded reading.

A run takes one chunk of each partition that has one, then the second of each, and so on, beginning with the partition
whose turn was the longest ago; so none starves, whatever the others have. It is bounded to a part of what may be
buffered, so that fetching goes on while it is being read. Paused partitions, and those whose log is being checked, keep
what they have.
"""

from __future__ import annotations

from typing import Any, Final

from dekaf_proto.client import Client
from dekaf_proto.consumer.chunk import Chunk, FetchedRecords
from dekaf_proto.consumer.lookups import LATEST, Lookups
from dekaf_proto.consumer.partition import Partition, PartitionPhase
from dekaf_proto.events import EndOfPartition, Failed
from dekaf_proto.operation import Flow, Operation
from dekaf_proto.types import TopicPartition

#: A run holds at most this part of what may be buffered.
RUN_PARTS: Final = 4


class Bound:
    """How far `poll` is to read: the ends of the log as they were when `until_end` was called."""

    def __init__(self, ends: dict[TopicPartition, int]) -> None:
        self.ends = ends
        #: Partitions that were assigned later, whose ends are being looked up.
        self.asked: dict[TopicPartition, Operation[dict[TopicPartition, int]]] = {}


class Handout:
    """The hand-over of one consumer. `partitions` and `troubles` are the consumer's own tables."""

    def __init__(
        self,
        client: Client,
        partitions: dict[TopicPartition, Partition],
        troubles: dict[TopicPartition, Exception],
        lookups: Lookups,
    ) -> None:
        self._client = client
        self._partitions = partitions
        self._troubles = troubles
        self._lookups = lookups
        #: What the program must know besides.
        self.failures: list[Exception] = []
        #: What the application has in hand: the newest last.
        self._runs: list[FetchedRecords[Any, Any]] = []
        #: Whose turn it is, the longest ago first.
        self._turn: dict[TopicPartition, None] = {}
        #: Records handed out, in chunks that are used up.
        self.records = 0

    # -------------------------------------------------------------------------------------------- what is in hand

    def collect(self) -> None:
        """Reads how far the application is: the only place that looks at the cursors."""
        for run in self._runs:
            for chunk in run.chunks:
                partition = self._partitions.get(chunk.tp)
                if partition is not None and partition.chunks and partition.chunks[0].is_used_up:
                    self.records += partition.collect()

    def finish(self) -> None:
        """The application has asked for what comes next: what it has in hand is finished."""
        for run in self._runs:
            run.finish()
        for partition in self._partitions.values():
            partition.held_from = None

    def stop(self) -> None:
        """Something has changed: the application is to ask again before it takes another record."""
        for run in self._runs:
            run.stopped = True

    # ---------------------------------------------------------------------------------------------- what comes next

    def next(self, bound: Bound | None) -> FetchedRecords[Any, Any] | Failed | EndOfPartition | None:
        """What there is, None if nothing. Errors come first: with records there may always be more of them."""
        failed = self._next_failure()
        if failed is not None:
            return failed
        run = self._next_run(bound)
        if run is None and bound is not None and self._has_ended(bound):
            return EndOfPartition()
        return run

    def has_next(self, bound: Bound | None) -> bool:
        """Whether `next` has anything."""
        if self.has_failure:
            return True
        if any(p.chunks and self._may_hand_out(p, bound) for p in self._partitions.values()):
            return True
        return bound is not None and self._has_ended(bound)

    def has_enough(self, records: int, bound: Bound | None) -> bool:
        """Whether there is no point in waiting for more, to hand out `records` at once: they are there, as far as their
        offsets tell, or half of what may be buffered is; or an error or the end comes before them."""
        if self.has_failure or (bound is not None and self._has_ended(bound)):
            return True
        there = size = 0
        for partition in self._partitions.values():
            if partition.chunks and self._may_hand_out(partition, bound):
                there += sum(max(0, chunk.next_offset - chunk.position) for chunk in partition.chunks)
                size += partition.buffered_bytes
        return there >= records or size * 2 >= self._client.config.fetch_max_buffered_bytes

    @property
    def has_failure(self) -> bool:
        """Whether an error comes next."""
        return bool(self._troubles or self.failures)

    def _next_failure(self) -> Failed | None:
        if self.failures:
            return Failed(self.failures.pop(0))
        if not self._troubles:
            return None
        error = next(iter(self._troubles.values()))
        tps = tuple(tp for tp, other in self._troubles.items() if other is error)
        for tp in tps:
            del self._troubles[tp]
        return Failed(error, tps)

    def _next_run(self, bound: Bound | None) -> FetchedRecords[Any, Any] | None:
        limit = max(1, self._client.config.fetch_max_buffered_bytes // RUN_PARTS)
        chunks: list[Chunk[Any, Any]] = []
        bounds: list[int] = []
        ready = [p for p in self._in_turn() if p.chunks and self._may_hand_out(p, bound)]
        depth = 0
        while limit > 0 and ready:
            for partition in ready:
                chunk = partition.chunks[depth]
                chunks.append(chunk)
                if bound is not None:
                    bounds.append(bound.ends[partition.tp])
                limit -= chunk.size
                if limit <= 0:
                    break
            depth += 1
            ready = [p for p in ready if len(p.chunks) > depth]
        self._runs = [run for run in self._runs if not all(c.is_used_up or not c.live for c in run.chunks)]
        if not chunks:
            return None
        for chunk in chunks:
            self._turn.pop(chunk.tp, None)
            self._turn[chunk.tp] = None
        run: FetchedRecords[Any, Any] = FetchedRecords(chunks, bounds or None)
        self._runs.append(run)
        return run

    def _in_turn(self) -> list[Partition]:
        """All partitions, those first that were handed out the longest ago."""
        waited = [partition for tp, partition in self._partitions.items() if tp not in self._turn]
        return [*waited, *(self._partitions[tp] for tp in self._turn if tp in self._partitions)]

    def _may_hand_out(self, partition: Partition, bound: Bound | None) -> bool:
        if partition.paused or partition.phase is not PartitionPhase.FETCHING:
            return False
        if partition.chunks[-1].position >= partition.chunks[-1].next_offset:
            return False  # all handed out, not all finished
        if bound is None:
            return True
        end = self._end_of(partition.tp, bound)
        position = partition.position
        return end is not None and position is not None and position < end

    def _has_ended(self, bound: Bound) -> bool:
        for tp, partition in self._partitions.items():
            end = self._end_of(tp, bound)
            position = partition.position
            if not partition.paused and (end is None or position is None or position < end):
                return False
        return True

    def _end_of(self, tp: TopicPartition, bound: Bound) -> int | None:
        """Where a bound ends; for a partition that was assigned later, where it ended then."""
        if tp in bound.ends:
            return bound.ends[tp]
        asked = bound.asked.get(tp)
        if asked is None:
            timeout = self._client.config.default_api_timeout_ms / 1000
            bound.asked[tp] = self._client.runner.start("end_offsets", self._look_up_end(tp), timeout)
        elif asked.done:
            del bound.asked[tp]
            if asked.error is not None:
                self.failures.append(asked.error)
            else:
                bound.ends.update(asked.result())
        return bound.ends.get(tp)

    def _look_up_end(self, tp: TopicPartition) -> Flow[dict[TopicPartition, int]]:
        return (yield from self._lookups.ends([tp], LATEST))
