"""Gives partitions their positions: committed offsets, resets, and the check for a log that was cut off.

Level-triggered: whenever something may have changed, `advance` looks which partitions are in a phase that needs an
answer, and asks for all that have the same broker to ask in one round; rounds of different brokers do not wait for each
other. A round that fails leaves its partitions where they are, with a rest; an answer counts only if the partition is
still what it was when it was asked (P19, O7, F26).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from dekaf_proto.client import Client
from dekaf_proto.config import OffsetReset
from dekaf_proto.consumer.commits import Commits
from dekaf_proto.consumer.lookups import EARLIEST, LATEST, Lookups
from dekaf_proto.consumer.partition import Partition, PartitionPhase
from dekaf_proto.errors import (
    BrokerError,
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from dekaf_proto.messages.offset_for_leader_epoch import EpochEndOffset
from dekaf_proto.metadata import Metadata
from dekaf_proto.operation import Flow
from dekaf_proto.types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition

log = logging.getLogger("dekaf.positions")


class Positions:
    """The positions of one consumer. `partitions` is the consumer's own table of what is assigned."""

    def __init__(
        self,
        client: Client,
        metadata: Metadata,
        partitions: dict[TopicPartition, Partition],
        lookups: Lookups,
        commits: Commits,
    ) -> None:
        self._client = client
        self._metadata = metadata
        self._partitions = partitions
        self._lookups = lookups
        self._commits = commits
        self._busy: set[tuple[PartitionPhase, int]] = set()
        self._cluster_version = -1
        self._rounds: Final[Mapping[PartitionPhase, Callable[[list[Partition]], Flow[None]]]] = {
            PartitionPhase.INITIALIZING: self._initialize,
            PartitionPhase.AWAIT_RESET: self._reset,
            PartitionPhase.AWAIT_VALIDATION: self._validate,
        }

    def advance(self) -> None:
        """Asks what has to be asked."""
        if self._cluster_version != self._client.cluster.version:
            self._cluster_version = self._client.cluster.version
            for partition in self._partitions.values():
                self.look_at_leader(partition)
        waiting: dict[tuple[PartitionPhase, int], list[Partition]] = {}
        for partition in self._partitions.values():
            if partition.phase is PartitionPhase.FETCHING:
                continue  # as nearly all of them; this is asked after each input
            if partition.phase is PartitionPhase.INITIALIZING and self._commits.is_pending(partition.tp):
                continue  # what was given up and taken back begins where it was (lesson 7)
            if partition.phase in self._rounds and partition.resting_until <= self._client.now:
                waiting.setdefault(self._round_of(partition), []).append(partition)
        for which, partitions in waiting.items():
            if which not in self._busy:
                self._begin(which, partitions)

    def is_asking(self, partition: Partition) -> bool:
        """Whether a round, or a commit, is on its way after which it is the partition's turn, if it is not in it."""
        return self._round_of(partition) in self._busy or self._commits.is_pending(partition.tp)

    def _round_of(self, partition: Partition) -> tuple[PartitionPhase, int]:
        """What is to be asked, and whom: the coordinator (-1) or a leader (-1 while it is not known)."""
        leader = self._client.cluster.leader(partition.tp)
        coordinator = leader is None or partition.phase is PartitionPhase.INITIALIZING
        return partition.phase, -1 if coordinator or leader is None else leader.leader

    def next_rest(self) -> float | None:
        """When the first partition that was told to wait may ask again."""
        now = self._client.now
        earliest: float | None = None
        for partition in self._partitions.values():
            rests = partition.resting_until
            if rests > now and (earliest is None or rests < earliest):
                earliest = rests
        return earliest

    def _begin(self, which: tuple[PartitionPhase, int], partitions: list[Partition]) -> None:
        def flow() -> Flow[None]:
            try:
                yield from self._rounds[which[0]](partitions)
            finally:
                self._busy.discard(which)

        self._busy.add(which)
        self._client.runner.start_background(flow())

    def _rest(self, partition: Partition, error: KafkaError | None) -> None:
        partition.rest(self._client.now + self._client.backoff(partition.failures + 1))
        if error is not None:
            # One line for all that are held up by the same.
            self._client.warn.warning(self._client.now, f"position {_kind(error)}", "%s: %s", partition.tp, error)

    # ------------------------------------------------------------------------------------------------- a new leader

    def look_at_leader(self, partition: Partition) -> None:
        """Compares what is known of a partition's leader with what its position stands on (F25, F28)."""
        cluster = self._client.cluster
        topic_id = cluster.topic_id(partition.tp.topic)
        if topic_id and partition.topic_id and topic_id != partition.topic_id:
            log.warning("topic %s was deleted and created again: starting %s anew", partition.tp.topic, partition.tp)
            self._start_anew(partition)
        partition.topic_id = topic_id or partition.topic_id
        info = cluster.leader(partition.tp)
        if info is None:
            return
        changed = (info.leader, info.leader_epoch) != (partition.leader, partition.leader_epoch)
        partition.leader, partition.leader_epoch = info.leader, info.leader_epoch
        if changed:
            partition.preferred_replica = -1
            partition.recovered()
            if partition.fetch_epoch >= 0 and info.leader_epoch >= 0:
                partition.validate()

    def _start_anew(self, partition: Partition) -> None:
        """Nothing that is known of the partition, or on its way, is true of its new topic."""
        partition.recreated(self._client.now + self._client.unix_offset)
        partition.leader = partition.leader_epoch = -1
        partition.high_watermark = partition.last_stable_offset = partition.log_start_offset = -1
        position = partition.position
        if partition.phase is PartitionPhase.INITIALIZING:
            partition.initialize()
        elif partition.phase is PartitionPhase.AWAIT_RESET and partition.reset is not None:
            partition.begin_reset(partition.reset)
        elif partition.phase is not PartitionPhase.FAILED and position is not None:
            self._start_over(partition, OffsetOutOfRangeError({partition.tp: position}))

    def _start_over(self, partition: Partition, error: KafkaError) -> None:
        """By the policy; without one the program gets `error`."""
        policy = self._client.config.auto_offset_reset
        if policy.kind == "none":
            partition.forget_buffered()
            partition.fail(error)
        else:
            partition.begin_reset(policy)

    # --------------------------------------------------------------------------------------------------- the rounds

    def _initialize(self, partitions: list[Partition]) -> Flow[None]:
        """P15-P20: the committed offsets of partitions that have no position yet."""
        tokens = {p.tp: p.token for p in partitions}
        committed: dict[TopicPartition, OffsetAndMetadata | None] = dict.fromkeys(tokens)
        if self._client.config.group_id is not None:
            try:
                committed = yield from self._commits.ask_committed(list(tokens))
            except KafkaError as error:
                for partition in self._still(tokens, PartitionPhase.INITIALIZING):
                    self._initialize_failed(partition, error)
                return
        without = []
        for partition in self._still(tokens, PartitionPhase.INITIALIZING):
            found = committed[partition.tp]
            if found is None:
                without.append(partition)
            else:
                partition.begin_at(found.offset, -1 if found.leader_epoch is None else found.leader_epoch, anew=False)
                if partition.confirmed is None:  # else the program has committed while we asked (lesson 7)
                    partition.confirmed = found.offset
                    partition.confirmed_as = found
                self.stand_on(partition)
        self._without_commit(without)

    def _initialize_failed(self, partition: Partition, error: KafkaError) -> None:
        if error.retriable:
            self._rest(partition, error)
        else:
            partition.fail(error)

    def _without_commit(self, partitions: list[Partition]) -> None:
        policy = self._client.config.auto_offset_reset
        if policy.kind != "none":
            for partition in partitions:
                partition.begin_reset(policy, anew=False)
            return
        if not partitions:
            return
        # All of them in one error, which each of them stands for (O9).
        group_id = self._client.config.group_id
        group = f"group {group_id} has" if group_id is not None else "without a group there is"
        names = ", ".join(str(partition.tp) for partition in partitions)
        error = NoOffsetForPartitionError(
            f"{group} no committed offset for {names}, and auto_offset_reset is none", [p.tp for p in partitions]
        )
        for partition in partitions:
            partition.fail(error)

    def stand_on(self, partition: Partition) -> None:
        """A position with an epoch is checked against the leader's log (F28)."""
        if partition.offset_epoch >= 0:
            if self._client.cluster.is_behind(partition.tp, partition.offset_epoch):
                self._metadata.refresh()
            if partition.leader_epoch >= 0:
                partition.validate()

    def _reset(self, partitions: list[Partition]) -> Flow[None]:
        """O7-O10: the offsets that reset policies stand for."""
        tokens = {p.tp: p.token for p in partitions}
        wanted = {p.tp: self._timestamp(p.reset) for p in partitions if p.reset is not None}
        outcome = yield from self._lookups.ask_offsets_or_ends(wanted)
        for partition in self._still(tokens, PartitionPhase.AWAIT_RESET):
            found: OffsetAndTimestamp | None = outcome.found.get(partition.tp)
            if partition.tp in outcome.failed:
                partition.fail(outcome.failed[partition.tp])
            elif found is None:
                self._rest(partition, outcome.passing.get(partition.tp))
            else:
                log.info("%s: starting at offset %d (%s)", partition.tp, found.offset, partition.reset)
                partition.begin_at(found.offset, anew=False)

    def _timestamp(self, policy: OffsetReset) -> int:
        if policy.kind == "earliest":
            return EARLIEST
        if policy.timestamp_ms is not None:
            return policy.timestamp_ms
        if policy.duration_ms is not None:
            return max(0, int((self._client.now + self._client.unix_offset) * 1000) - policy.duration_ms)
        return LATEST

    def _validate(self, partitions: list[Partition]) -> Flow[None]:
        """F26: has the log been cut off below what was read?"""
        tokens = {p.tp: p.token for p in partitions}
        leaders = {p.tp: (p.leader, p.leader_epoch) for p in partitions}
        outcome = yield from self._lookups.ask_epochs({p.tp: p.fetch_epoch for p in partitions})
        for partition in self._still(tokens, PartitionPhase.AWAIT_VALIDATION):
            tp = partition.tp
            if leaders[tp] != (partition.leader, partition.leader_epoch):
                continue  # to be asked of the new leader
            if tp in outcome.failed:
                partition.forget_buffered()
                partition.fail(outcome.failed[tp])
            elif tp not in outcome.found:
                self._rest(partition, outcome.passing.get(tp))
            else:
                self._validated(partition, outcome.found[tp])

    def _validated(self, partition: Partition, end: EpochEndOffset | None) -> None:
        position = partition.position
        assert position is not None
        known = end is not None and end.end_offset >= 0 and end.leader_epoch >= 0
        if end is None or (known and partition.fetch_offset <= end.end_offset):
            partition.recovered()
            partition.is_valid()
        elif partition.chunks:
            # At least what was fetched ahead is gone. Whether the position stands is asked next, if there is a way.
            log.warning("%s: the log was cut off below offset %d", partition.tp, partition.fetch_offset)
            partition.forget_buffered()
            if partition.offset_epoch < 0:
                partition.is_valid()
        elif not known:
            log.warning("%s: the leader does not know the epoch of offset %d", partition.tp, position)
            self._start_over(partition, LogTruncationError(partition.tp, position, None))
        elif self._client.config.auto_offset_reset.kind == "none":
            partition.fail(LogTruncationError(partition.tp, position, end.end_offset))
        else:
            log.warning("%s: the log was cut off at %d, below the position %d", partition.tp, end.end_offset, position)
            partition.begin_at(end.end_offset, end.leader_epoch)

    def _still(self, tokens: dict[TopicPartition, object], phase: PartitionPhase) -> list[Partition]:
        """Those that still wait for the answer to this very question."""
        return [
            partition
            for tp, token in tokens.items()
            if (partition := self._partitions.get(tp)) is not None
            and partition.token is token
            and partition.phase is phase
        ]


def _kind(error: KafkaError) -> str:
    return error.name if isinstance(error, BrokerError) else type(error).__name__
