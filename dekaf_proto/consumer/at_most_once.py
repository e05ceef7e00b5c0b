"""At most once: what is about to be handed out is committed first.

When the application asks and nothing is permitted, the next `max_poll_records` offsets of what is buffered are
committed, one partition's after the other's. Only what is confirmed may be handed out; if the commit fails, nothing is.
What was committed and not handed out is taken back where partitions are given up (`Commits.last_due`). A crash loses
it.
"""

from __future__ import annotations

from dekaf_proto.client import Client
from dekaf_proto.consumer.commits import Commits
from dekaf_proto.consumer.handout import Handout
from dekaf_proto.consumer.partition import Partition, PartitionPhase
from dekaf_proto.errors import RebalanceError
from dekaf_proto.operation import Operation
from dekaf_proto.types import OffsetAndMetadata, TopicPartition


class AtMostOnce:
    """The commits before records are handed out. `partitions` is the consumer's own table."""

    def __init__(
        self, client: Client, partitions: dict[TopicPartition, Partition], handout: Handout, commits: Commits
    ) -> None:
        self._client = client
        self._partitions = partitions
        self._handout = handout
        self._commits = commits
        #: Whether the application waits for records.
        self.asked = False
        self._commit: Operation[None] | None = None
        #: Up to where it makes each partition free, and which delivery that is for.
        self._ends: dict[TopicPartition, tuple[object, int]] = {}
        #: The deliveries whose beginning has been committed.
        self._begun: dict[TopicPartition, object] = {}

    def advance(self) -> None:
        """Permits what has been committed, and commits what is asked for."""
        if self._commit is not None:
            if not self._commit.done:
                return
            self._committed(self._commit.error)
            self._commit = None
        due = self._sought()
        if not due and self.asked and not any(map(self._is_free, self._partitions.values())):
            due = self._next()
        if due:
            timeout = self._client.config.default_api_timeout_ms / 1000
            flow = self._commits.commit(due)
            self._commit = self._client.runner.start("commit before records are handed out", flow, timeout)

    def _committed(self, error: Exception | None) -> None:
        if error is None:
            for tp, (delivery, end) in self._ends.items():
                partition = self._partitions.get(tp)
                if partition is not None and partition.delivery is delivery:
                    partition.permitted = end
        elif not isinstance(error, RebalanceError):  # after one of those everything begins anew
            self._handout.failures.append(error)
            self._handout.stop()
            self.asked = False

    def _is_free(self, partition: Partition) -> bool:
        position = partition.position
        return self._is_readable(partition) and position is not None and position < partition.permitted

    def _is_readable(self, partition: Partition) -> bool:
        return (
            bool(partition.chunks)
            and partition.phase is PartitionPhase.FETCHING
            and not partition.paused
            and not partition.withheld
        )

    def _sought(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """Where partitions begin after a seek, or without a committed offset: what was committed before is past."""
        due = {}
        self._ends = {}
        for tp, partition in self._partitions.items():
            if (
                partition.confirmed is None
                and partition.offset >= 0
                and partition.tenure.live
                and self._begun.get(tp) is not partition.delivery
            ):
                self._begun[tp] = partition.delivery  # once: what fails of it the timer tries again
                due[tp] = OffsetAndMetadata(partition.offset)
        return due

    def _next(self) -> dict[TopicPartition, OffsetAndMetadata]:
        left = self._client.config.max_poll_records
        due = {}
        self._ends = {}
        for partition in self._handout.in_turn():
            position = partition.position
            if left <= 0 or position is None or not self._is_readable(partition):
                continue
            end = min(position + left, partition.chunks[-1].next_offset)
            if end > position:
                left -= end - position
                due[partition.tp] = OffsetAndMetadata(end)
                self._ends[partition.tp] = (partition.delivery, end)
        return due
