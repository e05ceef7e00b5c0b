"""What a program in the same process does to the broker: topics, records, transactions, leaders, nodes, offsets.

`Broker` inherits these methods. None of them sends anything by itself: what has changed is told to waiting clients when
the driver next drains the effects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dekaf_proto.broker.cluster import Cluster, Partition, Topic
from dekaf_proto.broker.faults import Faults
from dekaf_proto.broker.groups import CommittedOffset, GroupSnapshot, GroupState
from dekaf_proto.broker.log import AnyRecord, PartitionLog
from dekaf_proto.broker.transaction_coordinator import TransactionCoordinator
from dekaf_proto.broker.transactions import TransactionSnapshot
from dekaf_proto.records import BatchBuilder, Codec, ControlType, Header, LegacyBatch, build_marker, read_batches
from dekaf_proto.types import TopicPartition, Uuid


class NewRecord(NamedTuple):
    """A record to append. `timestamp` in ms since 1970, None for now."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[Header] = ()
    timestamp: int | None = None


class InProcess(ABC):
    """See the module. Names of topics and numbers of partitions that do not exist raise KeyError."""

    def __init__(self, cluster: Cluster, transactions: TransactionCoordinator) -> None:
        self.cluster = cluster
        self.transactions = transactions
        self.faults = Faults()
        self._now = 0.0

    def unix_ms(self, now: float) -> int:
        """`now` in ms since 1970."""
        return self.cluster.unix_ms(now)

    # -------------------------------------------------------------------------------------------------------- topics

    @property
    def topics(self) -> list[str]:
        """The names of all topics."""
        return list(self.cluster.topics)

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        *,
        replicas: int | None = None,
        topic_id: Uuid | None = None,
        log_append_time: bool = False,
        compacted: bool = False,
        max_message_bytes: int = 1_048_588,
    ) -> Uuid:
        """Creates a topic and returns its id. Partition n is led by the node after n others, replicated on `replicas`.

        `compacted` and `max_message_bytes` limit what clients may produce: records without a key, batches above the
        size are refused. ValueError if the topic exists, or for an illegal name or number.
        """
        _at_least(0, "partitions", partitions)
        topic = self.cluster.create_topic(name, partitions, replicas, topic_id, log_append_time)
        topic.compacted, topic.max_message_bytes = compacted, max_message_bytes
        return topic.id

    def create_partitions(self, name: str, count: int) -> None:
        """Adds `count` partitions to a topic."""
        self.cluster.add_partitions(self._topic(name), _at_least(0, "count", count))

    def delete_topic(self, name: str) -> None:
        """Deletes a topic with its records, and the offsets that groups have committed for it."""
        self.cluster.delete_topic(self._topic(name).name)
        self._changed()

    def recreate_topic(self, name: str, partitions: int | None = None) -> Uuid:
        """Deletes a topic and creates it anew: another id, empty, leader epochs from 0 on. Returns the new id."""
        old = self._topic(name)
        count = _at_least(0, "partitions", len(old.partitions) if partitions is None else partitions)
        self.delete_topic(name)
        return self.create_topic(
            name,
            count,
            replicas=len(old.partitions[0].replicas) if old.partitions else None,
            log_append_time=old.log_append_time,
            compacted=old.compacted,
            max_message_bytes=old.max_message_bytes,
        )

    def topic_id(self, name: str) -> Uuid:
        """The topic's id."""
        return self._topic(name).id

    # ------------------------------------------------------------------------------------------------------- records

    def append(
        self,
        topic: str,
        partition: int,
        records: Sequence[bytes | NewRecord | None],
        now: float,
        *,
        codec: Codec = Codec.NONE,
        per_batch: int | None = None,
        base_offset: int | None = None,
        leader_epoch: int | None = None,
        producer_id: int = -1,
        producer_epoch: int = -1,
        base_sequence: int = -1,
        transactional: bool = False,
    ) -> int:
        """Appends records (a value, or a NewRecord) as one batch, or batches of `per_batch`; returns the first offset.

        `base_offset` may lie beyond the end: the offsets between stay empty. `leader_epoch`: None for the present one.
        `transactional` opens a transaction of `producer_id`, which `commit_transaction` or `abort_transaction` ends.
        """
        target = self._partition(topic, partition)
        log = target.log
        epoch = target.leader_epoch if leader_epoch is None else leader_epoch
        size = len(records) if per_batch is None else _at_least(1, "per_batch", per_batch)
        next_offset = first = log.end_offset if base_offset is None else base_offset
        append_time = self.unix_ms(now) if target.topic.log_append_time else None
        for start in range(0, len(records), size or 1):
            builder = BatchBuilder(
                codec=codec,
                base_offset=next_offset,
                leader_epoch=epoch,
                producer_id=producer_id,
                producer_epoch=producer_epoch,
                base_sequence=base_sequence + start if base_sequence >= 0 else -1,
                transactional=transactional,
                append_time=append_time,
            )
            for given in records[start : start + size]:
                record = given if isinstance(given, NewRecord) else NewRecord(given)
                timestamp = self.unix_ms(now) if record.timestamp is None else record.timestamp
                builder.append(timestamp, record.key, record.value, record.headers)
            last = next_offset + builder.count - 1
            log.append(builder.build(), base_offset=next_offset, last_offset=last, leader_epoch=epoch)
            next_offset = last + 1
        self._changed()
        return first

    def append_raw(self, topic: str, partition: int, data: bytes, *, last_offset: int | None = None) -> int:
        """Appends bytes as they are: batches of any format, with the offsets that stand in them (gaps are allowed).

        With `last_offset` the bytes may be damaged or no batch at all; they then take up the offsets from the end of
        the log to there. Returns the log's new end. ValueError for offsets that the log has already.
        """
        log = self._log(topic, partition)
        log.append_raw(data, last_offset)
        self._changed()
        return log.end_offset

    def commit_transaction(self, topic: str, partition: int, producer_id: int, now: float, *, epoch: int = 0) -> int:
        """Appends the marker that commits a producer's transaction in this partition; returns the marker's offset."""
        return self._end_transaction(topic, partition, ControlType.COMMIT, producer_id, epoch, now)

    def abort_transaction(self, topic: str, partition: int, producer_id: int, now: float, *, epoch: int = 0) -> int:
        """Appends the marker that aborts a producer's transaction in this partition; returns the marker's offset."""
        return self._end_transaction(topic, partition, ControlType.ABORT, producer_id, epoch, now)

    def _end_transaction(
        self, topic: str, partition: int, type: ControlType, producer_id: int, epoch: int, now: float
    ) -> int:
        target = self._partition(topic, partition)
        offset = target.log.end_offset
        marker = build_marker(
            type,
            producer_id=producer_id,
            producer_epoch=epoch,
            coordinator_epoch=0,
            base_offset=offset,
            timestamp=self.unix_ms(now),
            leader_epoch=target.leader_epoch,
        )
        target.log.append(marker, base_offset=offset, last_offset=offset, leader_epoch=target.leader_epoch)
        self._changed()
        return offset

    def end_offset(self, topic: str, partition: int) -> int:
        """The offset that the next record gets."""
        return self._log(topic, partition).end_offset

    def high_watermark(self, topic: str, partition: int) -> int:
        """The offset up to which consumers may read."""
        return self._log(topic, partition).high_watermark

    def last_stable_offset(self, topic: str, partition: int) -> int:
        """The offset up to which read_committed consumers may read."""
        return self._log(topic, partition).last_stable_offset

    def log_start(self, topic: str, partition: int) -> int:
        """The first offset that can be read."""
        return self._log(topic, partition).start_offset

    def hold_high_watermark(self, topic: str, partition: int, offset: int | None) -> None:
        """Keeps the high watermark from passing `offset`, as followers that lag do; None ends it."""
        self._log(topic, partition).watermark_limit = offset
        self._changed()

    def truncate(self, topic: str, partition: int, offset: int, *, leader: int | None = None) -> None:
        """An unclean election: the records from `offset` on are lost, and the leader (a new one, or the same again)
        starts a new leader epoch."""
        target = self._partition(topic, partition)
        target.log.truncate(offset)
        self.cluster.lead(target, target.leader if leader is None else leader)
        self._changed()

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Deletes the records below the offset `before`, as retention does. ValueError if it is outside the log."""
        self._log(topic, partition).delete_before(before)
        self._changed()

    def compact(
        self, topic: str, partition: int, keep: Callable[[AnyRecord], bool] | None = None, *, keep_empty: bool = False
    ) -> None:
        """Removes the records for which `keep` is false, by default those that have no key, or whose key has a later
        record, or that belong to an aborted transaction; from the first open transaction on, all stay. Offsets stay as
        they are. With `keep_empty` a batch that loses everything remains as an empty one, else it is gone."""
        log = self._log(topic, partition)
        if keep is None:
            latest: dict[bytes | None, int] = {
                record.key: record.offset for record in log.settled_records() if record.key is not None
            }
            end = log.last_stable_offset
            log.compact(
                lambda record: record.offset >= end or latest.get(record.key) == record.offset, keep_empty=keep_empty
            )
        else:
            log.compact(keep, keep_empty=keep_empty)
        self._changed()

    def retain(self, now: float, *, ms: int | None = None, max_bytes: int | None = None) -> None:
        """Retention, now: each partition loses its oldest batches whose records are all older than `ms`, and as many
        more as it takes to have `max_bytes` at most. A batch that consumers can't read yet stays."""
        for partition in self.cluster.partitions():
            partition.log.retain(None if ms is None else self.unix_ms(now) - ms, max_bytes)
        self._changed()

    def records(self, topic: str, partition: int | None = None) -> list[AnyRecord]:
        """The records of a partition, or of all, by partition and offset: also those that consumers can't read yet and
        those of aborted transactions. CorruptRecordError if something there is not readable."""
        partitions = self._topic(topic).partitions if partition is None else [self._partition(topic, partition)]
        return [
            record
            for each in partitions
            for stored in each.log.batches
            for batch in read_batches(stored.data, topic=topic, partition=each.index)
            if isinstance(batch, LegacyBatch) or not batch.is_control
            for record in batch.records()
            if record.offset >= each.log.start_offset
        ]

    def roll(self, topic: str, partition: int) -> None:
        """Starts a new segment of the log: one fetch does not read beyond the end of the old one (B21)."""
        self._log(topic, partition).roll()

    # ------------------------------------------------------------------------------------------- leaders and replicas

    def leader(self, topic: str, partition: int) -> int | None:
        """The node that leads the partition, None if nobody does."""
        return self._partition(topic, partition).leader

    def leader_epoch(self, topic: str, partition: int) -> int:
        """The present leader epoch."""
        return self._partition(topic, partition).leader_epoch

    def move_leader(self, topic: str, partition: int, node: int | None) -> None:
        """Makes a node the leader, in a new leader epoch; None leaves the partition without one.

        A node that had no replica takes the place of the former leader, which then has none.
        """
        target = self._partition(topic, partition)
        if node is not None and node not in target.replicas:
            gone = target.leader if target.leader is not None else target.replicas[0]
            target.replicas[target.replicas.index(gone)] = self.cluster.nodes[node].number
        self.cluster.lead(target, node)
        self._changed()

    def prefer_replica(self, topic: str, partition: int, node: int | None) -> None:
        """The leader sends consumers to this node to read (KIP-392); None ends it."""
        self._partition(topic, partition).preferred_replica = node
        self._changed()

    def lag_replica(self, topic: str, partition: int, node: int, end_offset: int | None) -> None:
        """The node's copy of the log ends at `end_offset`; None: it is complete again."""
        ends = self._partition(topic, partition).replica_ends
        if end_offset is None:
            ends.pop(node, None)
        else:
            ends[node] = end_offset
        self._changed()

    # -------------------------------------------------------------------------------------------------------- groups

    def coordinator(self, group: str) -> int | None:
        """The node that coordinates the group."""
        return self.cluster.coordinator(group)

    def move_coordinator(self, group: str, node: int, now: float | None = None, *, load_ms: int | None = None) -> None:
        """Makes a node the group's coordinator, as long as it is not stopped.

        The offsets move with it, and the last generation that got its assignment; who waits in a rebalance gets
        NOT_COORDINATOR. For `load_ms` (None: what the options say) the new one answers COORDINATOR_LOAD_IN_PROGRESS.
        `now`: None for the time of the last input.
        """
        self._now = self._now if now is None else now
        self.cluster.move_coordinator(group, self.cluster.nodes[node].number, self._now, load_ms)
        self._changed()

    def group(self, group: str) -> GroupSnapshot:
        """The group as it is now; in state DEAD if there is none."""
        found = self.cluster.groups.get(group)
        return GroupSnapshot(GroupState.DEAD) if found is None else found.snapshot()

    def expire_member(self, group: str, member: str, now: float) -> None:
        """Puts a member, named by its member id or its instance id, out of the group as after its session timeout.

        KeyError if there is none.
        """
        self._now = now
        self.cluster.groups[group].expire(self.group(group).member(member).member_id, now)
        self._changed()

    def committed(self, group: str) -> dict[TopicPartition, CommittedOffset]:
        """What the group has committed."""
        found = self.cluster.groups.get(group)
        return {} if found is None else dict(found.offsets)

    def commit(self, group: str, offsets: Mapping[TopicPartition, CommittedOffset | int]) -> None:
        """Stores offsets for a group; a negative one erases."""
        for partition, given in offsets.items():
            committed = given if isinstance(given, CommittedOffset) else CommittedOffset(given)
            if committed.offset < 0:
                self.cluster.group(group).erase(partition)
            else:
                self.cluster.group(group).commit(partition, committed)
        self._changed()

    def expire_sessions(self, node: int | None = None) -> None:
        """Forgets the fetch sessions of a node, or of all."""
        nodes = self.cluster.nodes
        for owner in nodes.values() if node is None else [nodes[node]]:
            owner.sessions.expire_all()

    # -------------------------------------------------------------------------------------------------- transactions

    def transaction(self, transactional_id: str) -> TransactionSnapshot | None:
        """A transactional id as it is now; None if no producer has been initialised with it."""
        return self.transactions.snapshot(transactional_id)

    def transaction_coordinator(self, transactional_id: str) -> int | None:
        """The node that keeps a transactional id."""
        return self.transactions.node(transactional_id)

    def move_transaction_coordinator(
        self, transactional_id: str, node: int, now: float, *, load_ms: int | None = None
    ) -> None:
        """Makes a node the keeper of a transactional id, as long as it is not stopped. For `load_ms` (None: what the
        options say) it answers COORDINATOR_LOAD_IN_PROGRESS."""
        self._now = now
        self.transactions.move(transactional_id, self.cluster.nodes[node].number, now, load_ms)
        self._changed()

    def set_transaction_version(self, level: int) -> None:
        """Changes the level of the feature transaction.version, which clients hear of with their next ApiVersions."""
        self.transactions.version = level
        self.transactions.features_epoch += 1

    # -------------------------------------------------------------------------------------------------------- private

    @abstractmethod
    def _changed(self) -> None:
        """What waits has to be looked at again."""

    def _topic(self, name: str) -> Topic:
        return self.cluster.topics[name]

    def _partition(self, topic: str, partition: int) -> Partition:
        found = self.cluster.partition(topic, partition)
        if found is None:
            raise KeyError(f"{topic}-{partition}")
        return found

    def _log(self, topic: str, partition: int) -> PartitionLog:
        return self._partition(topic, partition).log


def _at_least(least: int, name: str, number: int) -> int:
    if number < least:
        raise ValueError(f"{name} has to be at least {least}, not {number}")
    return number
