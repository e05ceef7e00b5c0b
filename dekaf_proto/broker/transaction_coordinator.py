"""`TransactionCoordinator`: all transactional ids of the cluster, who keeps them, and what ends a transaction.

The ids' states survive a move to another node, as everything in them is written down at once in Kafka too. Markers are
written as soon as they are due to every partition that has a working leader, and every group that has a working
coordinator; the others get theirs when they have one, and until then the transaction is not over.

It knows no version of a message but whether an end is one of version 2 (`bump`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from dekaf_proto.broker.cluster import Cluster, NodeState, Partition
from dekaf_proto.broker.placement import Placement
from dekaf_proto.broker.transactions import (
    NO_PRODUCER,
    ProducerAt,
    Transaction,
    TransactionOptions,
    TransactionSnapshot,
    TransactionState,
)
from dekaf_proto.errors import ErrorCode
from dekaf_proto.records import ControlType, build_marker
from dekaf_proto.types import TopicPartition

FIRST_PRODUCER_ID: Final = 1000  # those below are for programs that write batches of their own
_FOREVER: Final = float("inf")


class Given(NamedTuple):
    """The answer to a producer: an error, or the id and epoch to use from here on."""

    error: ErrorCode
    producer: ProducerAt = NO_PRODUCER


class TransactionCoordinator:
    """See the module. `version`: the level of the feature transaction.version."""

    def __init__(self, cluster: Cluster, options: TransactionOptions | None, version: int) -> None:
        self.version = version
        #: Grows with each change of a feature.
        self.features_epoch = 1
        self._cluster = cluster
        self._options = TransactionOptions() if options is None else options
        self._placement = Placement(cluster.nodes)
        self._transactions: dict[str, Transaction] = {}
        #: Where each id is now, and how often it has moved.
        self._homes: dict[str, tuple[int | None, int]] = {}
        self._next_id = FIRST_PRODUCER_ID

    def snapshot(self, transactional_id: str) -> TransactionSnapshot | None:
        """A transactional id as it is now, None if it is unknown."""
        found = self._transactions.get(transactional_id)
        return None if found is None else found.snapshot()

    def new_producer_id(self) -> int:
        """An id that no producer has."""
        self._next_id += 1
        return self._next_id - 1

    # ----------------------------------------------------------------------------------------------------------- places

    def node(self, transactional_id: str) -> int | None:
        """Who keeps an id; None if nobody lives."""
        return self._placement.node(transactional_id)

    def move(self, transactional_id: str, node: int, now: float, load_ms: int | None = None) -> None:
        """Makes a node the keeper of an id, as long as it lives; `load_ms`: None for what the options say."""
        if self._placement.put(transactional_id, node):
            self._hand_over(transactional_id, now, load_ms)

    def move_all(self, now: float) -> None:
        """Hands each id whose node is another one now over to it."""
        for transactional_id, (home, _) in list(self._homes.items()):
            if self.node(transactional_id) != home:
                self._hand_over(transactional_id, now)

    def _hand_over(self, transactional_id: str, now: float, load_ms: int | None = None) -> None:
        ready = now + (self._options.coordinator_load_ms if load_ms is None else load_ms) / 1000
        self._placement.load(transactional_id, ready)
        found = self._transactions.get(transactional_id)
        if found is not None:
            self._homes[transactional_id] = (self.node(transactional_id), self._homes[transactional_id][1] + 1)
            found.moved(ready)

    def check(self, transactional_id: str, node: int, now: float) -> ErrorCode:
        """What a node has to say to a request about an id, if it can't answer."""
        if transactional_id == "":
            return ErrorCode.INVALID_REQUEST
        return self._placement.error(transactional_id, node, now)

    def check_reach(self, transactional_id: str, now: float) -> ErrorCode:
        """Whether another broker finds an id's coordinator, and finds it ready."""
        node = self.node(transactional_id)
        if node is None or not self._works(node):
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        return self.check(transactional_id, node, now)

    def _works(self, node: int | None) -> bool:
        return node is not None and self._cluster.nodes[node].state is NodeState.RUNNING

    # --------------------------------------------------------------------------------------------------------- requests

    def init(self, transactional_id: str, timeout_ms: int, expected: ProducerAt | None, now: float) -> Given:
        """InitProducerId (T10): a producer gets an epoch, and those before it are fenced. `expected`: what it has."""
        if not 0 < timeout_ms <= self._options.max_timeout_ms:
            return Given(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
        found = self._transactions.get(transactional_id)
        if found is None:
            found = self._transactions[transactional_id] = Transaction(self.new_producer_id())
            self._homes[transactional_id] = (self.node(transactional_id), 0)
        if error := found.check_init(expected):
            return Given(error)
        if found.state is TransactionState.ONGOING:
            self._fence(found, now)
            return Given(ErrorCode.CONCURRENT_TRANSACTIONS)
        found.init(expected, timeout_ms / 1000, self.new_producer_id)
        return Given(ErrorCode.NONE, found.producer)

    def check_add(self, transactional_id: str, producer: ProducerAt) -> ErrorCode:
        """Whether a producer may add something to its transaction now."""
        found = self._transactions.get(transactional_id)
        return ErrorCode.INVALID_PRODUCER_ID_MAPPING if found is None else found.check(producer)

    def add(
        self,
        transactional_id: str,
        producer: ProducerAt,
        now: float,
        *,
        partitions: Iterable[TopicPartition] = (),
        groups: Iterable[str] = (),
    ) -> ErrorCode:
        """Makes partitions and groups part of a producer's transaction, which begins with the first of them."""
        if error := self.check_add(transactional_id, producer):
            return error
        found = self._transactions[transactional_id]
        found.begin(now)
        found.partitions.update(dict.fromkeys(partitions))
        found.groups.update(dict.fromkeys(groups))
        return ErrorCode.NONE

    def verify(
        self,
        transactional_id: str,
        producer: ProducerAt,
        *,
        partition: TopicPartition | None = None,
        group: str | None = None,
    ) -> ErrorCode:
        """Whether a partition, or a group, is part of a producer's ongoing transaction."""
        if error := self.check_add(transactional_id, producer):
            return error
        found = self._transactions[transactional_id]
        ongoing = found.state is TransactionState.ONGOING and (partition in found.partitions or group in found.groups)
        return ErrorCode.NONE if ongoing else ErrorCode.TRANSACTION_ABORTABLE

    def end(self, transactional_id: str, producer: ProducerAt, commit: bool, now: float, *, bump: bool) -> Given:
        """EndTxn (T15, T16)."""
        found = self._transactions.get(transactional_id)
        if found is None:
            return Given(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        error, to_do = found.check_end(producer, commit, bump=bump)
        if error:
            return Given(error)
        if to_do:
            found.end(commit, self._markers_due(now), self.new_producer_id, bump=bump)
            answer = Given(ErrorCode.NONE, found.producer)
            self.progress(now)
            return answer
        return Given(ErrorCode.NONE, found.producer)

    def _fence(self, transaction: Transaction, now: float) -> None:
        transaction.fence(self._markers_due(now), bump=self.version >= 2)
        self.progress(now)

    def _markers_due(self, now: float) -> float:
        return now + self._options.marker_delay_ms / 1000

    # ------------------------------------------------------------------------------------------------------------- time

    def next_deadline(self) -> float:
        """When `handle_timeout` is due; infinite for never."""
        return min(
            (
                min(found.deadline, found.markers_due)
                for transactional_id, found in self._transactions.items()
                if self._works(self.node(transactional_id))
            ),
            default=_FOREVER,
        )

    def handle_timeout(self, now: float) -> None:
        """Aborts what has been open for too long, and does what markers are due."""
        for transactional_id, found in self._transactions.items():
            if found.deadline <= now and self._works(self.node(transactional_id)):
                self._fence(found, now)
        self.progress(now)

    def progress(self, now: float) -> None:
        """Writes the markers that are due and can be written."""
        for transactional_id, found in self._transactions.items():
            if found.wants_markers(now) and self._works(self.node(transactional_id)):
                found.markers_due = _FOREVER  # for those that can't be written something else has to happen first
                self._write_markers(found, self._homes[transactional_id][1], now)

    def _write_markers(self, found: Transaction, coordinator_epoch: int, now: float) -> None:
        before = found.snapshot()
        for at in list(found.partitions):
            partition = self._cluster.partition(at.topic, at.partition)
            if partition is not None and not self._works(partition.leader):
                continue
            if partition is not None:
                self._write_marker(partition, found, coordinator_epoch, now)
            del found.partitions[at]
        for name in list(found.groups):
            if self._works(self._cluster.coordinator(name)):
                self._cluster.group(name).pending.end(found.producer_id, commit=found.commits)
                del found.groups[name]
        if not found.partitions and not found.groups:
            found.complete()
        if found.snapshot() != before:
            self._cluster.changed()

    def _write_marker(self, partition: Partition, found: Transaction, coordinator_epoch: int, now: float) -> None:
        offset = partition.log.end_offset
        marker = build_marker(
            ControlType.COMMIT if found.commits else ControlType.ABORT,
            producer_id=found.producer_id,
            producer_epoch=found.producer_epoch,
            coordinator_epoch=coordinator_epoch,
            base_offset=offset,
            timestamp=self._cluster.unix_ms(now),
            leader_epoch=partition.leader_epoch,
        )
        partition.log.append(marker, base_offset=offset, last_offset=offset, leader_epoch=partition.leader_epoch)
