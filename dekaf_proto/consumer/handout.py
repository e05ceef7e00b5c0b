"""What the application is given, and in which order: runs of chunks, errors, the end of a bounded reading.

A run takes one chunk of each partition that has one, then the second of each, and so on, beginning with the partition
whose turn was the longest ago; so none starves, whatever the others have. It is bounded to a part of what may be
buffered, so that fetching goes on while it is being read. Paused partitions, and those whose log is being checked, keep
what they have.
"""

from __future__ import annotations

from collections.abc import Callable

from dekaf_proto.client import Client
from dekaf_proto.consumer.acknowledgements import Acknowledgements
from dekaf_proto.consumer.chunk import NO_BOUND, Chunk, FetchedRecords
from dekaf_proto.consumer.lookups import LATEST, Lookups
from dekaf_proto.consumer.memory import Memory
from dekaf_proto.consumer.partition import Partition, PartitionPhase
from dekaf_proto.events import EndOfPartition, Failed
from dekaf_proto.operation import Flow, Operation
from dekaf_proto.types import TopicPartition


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
        memory: Memory,
        lookups: Lookups,
        acknowledgements: Acknowledgements | None = None,
    ) -> None:
        #: With it, records have to be acknowledged.
        self._acknowledgements = acknowledgements
        #: Whether what is assigned is still to come or to change, so that no end is reached yet.
        self.is_unsettled: Callable[[], bool] = lambda: False
        self._permits = client.config.delivery == "at_most_once"
        self._client = client
        self._partitions = partitions
        self._troubles = troubles
        self._memory = memory
        self._lookups = lookups
        #: What the program must know besides.
        self.failures: list[Exception] = []
        #: What the application has in hand: one run, or those of a batch that it gathers, the newest last.
        self._runs: list[FetchedRecords] = []
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

    def progress(self) -> object:
        """Something that is another as soon as the application has taken a record."""
        return [id(run) for run in self._runs], sum(chunk.position for run in self._runs for chunk in run.chunks)

    def finish(self) -> None:
        """The application has asked for what comes next: what it has in hand is finished, and leads no further."""
        for run in self._runs:
            run.finish()
        for partition in self._partitions.values():
            partition.held_from = None
        self.collect()
        self.stop()
        self._runs.clear()

    def hand_back(self) -> None:
        """What was handed out and is not finished is fetched and handed out again."""
        for tp, partition in self._partitions.items():
            finished, position = partition.finished, partition.position
            if position is not None and 0 <= finished < position:
                trouble, epoch = self._troubles.get(tp), partition.epoch_below(finished)
                partition.drop()
                partition.offset, partition.offset_epoch = finished, -1 if epoch is None else epoch
                if trouble is not None:
                    self._troubles[tp] = trouble
        self.stop()

    def stop(self) -> None:
        """Something has changed: the application is to ask again before it takes another record."""
        for run in self._runs:
            run.stopped = True

    # ---------------------------------------------------------------------------------------------- what comes next

    def next(self, bound: Bound | None) -> FetchedRecords | Failed | EndOfPartition | None:
        """What there is, None if nothing. Errors come first: with records there may always be more of them."""
        failed = self._next_failure()
        if failed is not None:
            return failed
        run = self._next_run(bound)
        self._memory.starving = run is None
        if run is None and bound is not None and self._has_ended(bound):
            return EndOfPartition()
        return run

    def has_next(self, bound: Bound | None) -> bool:
        """Whether `next` has anything."""
        if self.has_failure:
            return True
        if self._has_window():
            for partition in self._partitions.values():
                if partition.chunks and self._may_hand_out(partition, bound):
                    self._memory.starving = False
                    return True
        self._memory.starving = True
        return bound is not None and self._has_ended(bound)

    def has_enough(self, records: int, bound: Bound | None) -> bool:
        """Whether there is no point in waiting for more, to hand out `records` at once: they are there, as far as their
        offsets tell, or as much of a partition as may be buffered; or an error or the end comes before them."""
        if self.has_failure or (bound is not None and self._has_ended(bound)):
            return True
        if not self._has_window():
            return False
        there = 0
        for partition in self._partitions.values():
            if partition.chunks and self._may_hand_out(partition, bound):
                there += sum(max(0, chunk.next_offset - chunk.position) for chunk in partition.chunks)
                if there >= records or self._permits or not self._memory.has_room(partition):
                    return True
        self._memory.starving = there == 0
        return False

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

    def _next_run(self, bound: Bound | None) -> FetchedRecords | None:
        limit = self._memory.part
        chunks: list[Chunk] = []
        bounds: list[int] = []
        if not self._has_window():
            return None
        ready = [
            [chunk for chunk in p.chunks if chunk.position < chunk.next_offset]
            for p in self.in_turn()
            if p.chunks and self._may_hand_out(p, bound)
        ]
        depth = 0
        while limit > 0 and ready:
            for waiting in ready:
                chunk = waiting[depth]
                chunks.append(chunk)
                end = NO_BOUND if bound is None else bound.ends[chunk.tp]
                bounds.append(min(end, self._partitions[chunk.tp].permitted) if self._permits else end)
                limit -= chunk.size
                if limit <= 0:
                    break
            depth += 1
            ready = [waiting for waiting in ready if len(waiting) > depth]
        if not chunks:
            return None
        for chunk in chunks:
            self._turn.pop(chunk.tp, None)
            self._turn[chunk.tp] = None
        window = None if self._acknowledgements is None else self._acknowledgements.window
        run: FetchedRecords = FetchedRecords(chunks, bounds if self._permits or bound is not None else None, window)
        self._runs.append(run)
        return run

    def in_turn(self) -> list[Partition]:
        """All partitions, those first that were handed out the longest ago."""
        self._turn = {tp: None for tp in self._turn if tp in self._partitions}
        waited = [partition for tp, partition in self._partitions.items() if tp not in self._turn]
        return [*waited, *(self._partitions[tp] for tp in self._turn)]

    def _may_hand_out(self, partition: Partition, bound: Bound | None) -> bool:
        if partition.paused or partition.withheld or partition.phase is not PartitionPhase.FETCHING:
            return False
        if partition.chunks[-1].position >= partition.chunks[-1].next_offset:
            return False  # all handed out, not all finished
        if self._permits and (partition.position or 0) >= partition.permitted:
            return False
        if bound is None:
            return True
        end = self._end_of(partition.tp, bound)
        position = partition.position
        return end is not None and position is not None and position < end

    def _has_window(self) -> bool:
        return self._acknowledgements is None or self._acknowledgements.open_window()

    def _has_ended(self, bound: Bound) -> bool:
        if self.is_unsettled():
            return False
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
