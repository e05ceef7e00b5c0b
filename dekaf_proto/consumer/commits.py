"""Commits offsets and reads committed ones (section 7).

Commits go out one after the other, in the order of the calls, so that none overtakes another (P9). A commit that fails
in a way that passes is sent again, with the same offsets, until its time is up (P7); automatic ones stay due and come
again after a back-off, and what they fail of is logged, not raised (P12, P14).

What is due for an automatic commit is *finished* (or what was stored, if the program stores offsets itself), where that
differs from what was confirmed. It is never less than that, unless a seek has begun anew.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from dekaf_proto.client import Client
from dekaf_proto.connection import ByVersion
from dekaf_proto.consumer.partition import Partition
from dekaf_proto.errors import (
    BrokerError,
    CommitError,
    ErrorCode,
    GroupAuthorizationError,
    KafkaError,
    UnknownTopicError,
    broker_error,
)
from dekaf_proto.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from dekaf_proto.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from dekaf_proto.metadata import Metadata
from dekaf_proto.node import NodeKey
from dekaf_proto.operation import Call, Flow, Operation, Sleep, Wait
from dekaf_proto.types import OffsetAndMetadata, TopicPartition, Uuid

log = logging.getLogger("dekaf.offsets")

#: The coordinator is another one, or has forgotten the request (7.3).
_COORDINATOR_STALE: Final = frozenset(
    {ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR, ErrorCode.REQUEST_TIMED_OUT}
)
#: The last versions that name topics.
_COMMIT_NAMES_UP_TO: Final = 9
_FETCH_NAMES_UP_TO: Final = 9

Offsets = Mapping[TopicPartition, OffsetAndMetadata]


class Commits:
    """The committed offsets of one consumer that has its partitions assigned by hand."""

    def __init__(self, client: Client, metadata: Metadata, partitions: dict[TopicPartition, Partition]) -> None:
        self._client = client
        self._metadata = metadata
        self._partitions = partitions
        self._last_ticket = 0
        self._serving = 1
        self._abandoned: set[int] = set()
        #: What each commit has still to get confirmed, by its ticket.
        self._left: dict[int, dict[TopicPartition, OffsetAndMetadata]] = {}
        #: What the commit whose turn it is has failed of last.
        self._problem: KafkaError | None = None
        self._automatic: Operation[None] | None = None
        self._automatic_due: float | None = None
        self._automatic_failures = 0
        self.commits = 0
        self.commit_seconds = 0.0
        self.failed_commits = 0

    # --------------------------------------------------------------------------------------------------- what is due

    def finished(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What an automatic commit has to send."""
        if not self._client.config.enable_auto_offset_store:
            return self.stored()
        due = {}
        for tp, partition in self._partitions.items():
            offset = partition.finished
            if offset >= 0 and (partition.confirmed is None or offset > partition.confirmed):
                due[tp] = OffsetAndMetadata(offset, "", partition.epoch_below(offset))
        return due

    def positions(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What a commit without arguments has to send: the record in hand counts as done."""
        if not self._client.config.enable_auto_offset_store:
            return self.stored()
        due = {}
        for tp, partition in self._partitions.items():
            offset = partition.position
            if offset is not None and offset != partition.confirmed:
                due[tp] = OffsetAndMetadata(offset, "", partition.epoch_below(offset))
        return due

    def stored(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What the program has stored and is not confirmed."""
        return {
            tp: partition.stored
            for tp, partition in self._partitions.items()
            if partition.stored is not None
            and (partition.stored.offset != partition.confirmed or partition.stored.metadata)
        }

    # ------------------------------------------------------------------------------------------------- the automatic

    def advance(self) -> None:
        """Sends an automatic commit if it is time (P12). The timer runs from the last one that was sent."""
        config = self._client.config
        if config.group_id is None or not config.enable_auto_commit or not self._partitions:
            return
        if self._automatic is not None:
            if not self._automatic.done:
                return
            self._automatic_done(self._automatic)
        if self._automatic_due is None:
            self._automatic_due = self._client.now + config.auto_commit_interval_ms / 1000
        if self._client.now < self._automatic_due:
            return
        self._automatic_due = self._client.now + config.auto_commit_interval_ms / 1000
        due = self.finished()
        if due:
            timeout = config.default_api_timeout_ms / 1000
            self._automatic = self._client.runner.start("automatic commit", self.commit(due, retry=False), timeout)

    def next_automatic(self) -> float | None:
        """When the next automatic commit is due, None if there is none to come."""
        if not self._partitions or (self._automatic is not None and not self._automatic.done):
            return None
        return self._automatic_due

    def _automatic_done(self, operation: Operation[None]) -> None:
        self._automatic = None
        error = operation.error
        if error is None:
            self._automatic_failures = 0
            self._client.warn.settled("automatic commit")
            return
        self._client.warn.warning(
            self._client.now, "automatic commit", "an automatic commit failed, it stays due: %s", error
        )
        if isinstance(error, KafkaError) and error.retriable and not _waits_for_topic(error):
            self._automatic_failures += 1
            self._automatic_due = self._client.now + self._client.backoff(self._automatic_failures)

    @property
    def idle(self) -> bool:
        """Whether no commit is on its way or waits for its turn."""
        return self._serving > self._last_ticket

    def is_pending(self, tp: TopicPartition) -> bool:
        """Whether something is being committed for `tp`: what is committed is not to be asked for before that."""
        return any(tp in left for left in self._left.values())

    # --------------------------------------------------------------------------------------------------- committing

    def commit(self, offsets: Offsets, *, retry: bool = True, explicit: bool = False) -> Flow[None]:
        """Commits; with `retry` until it succeeds or fails for good. `explicit`: what is committed is finished."""
        # A seek between now and the commit's turn has the last word, as one after it has.
        tokens = {tp: self._partitions[tp].commit_token for tp in offsets if tp in self._partitions}
        return self._in_turn(dict(offsets), tokens, retry, explicit)

    def _in_turn(
        self,
        left: dict[TopicPartition, OffsetAndMetadata],
        tokens: dict[TopicPartition, object],
        retry: bool,
        explicit: bool,
    ) -> Flow[None]:
        """Commits go out in the order of the calls (P9), which is the one in which flows are started."""
        self._last_ticket += 1
        ticket = self._last_ticket
        self._left[ticket] = left
        try:
            if self._serving != ticket:
                yield Wait(lambda: self._serving == ticket, because=self._why)
            if left:
                yield from self._commit(left, tokens, retry, explicit)
        finally:
            del self._left[ticket]
            self._problem = None
            self._abandoned.add(ticket)
            while self._serving in self._abandoned:
                self._abandoned.discard(self._serving)
                self._serving += 1

    def _why(self) -> KafkaError | None:
        """What holds up the commit whose turn it is."""
        assert self._client.config.group_id is not None
        return self._problem or self._metadata.why_no_coordinator(self._client.config.group_id)

    def _commit(
        self,
        left: dict[TopicPartition, OffsetAndMetadata],
        tokens: dict[TopicPartition, object],
        retry: bool,
        explicit: bool,
    ) -> Flow[None]:
        group_id = self._client.config.group_id
        assert group_id is not None  # the engine has refused it otherwise
        started = self._client.now
        failures = 0
        while True:
            problem: KafkaError
            try:
                coordinator = yield from self._metadata.coordinator(group_id)
                errors = yield from self._send(group_id, coordinator, left)
            except KafkaError as error:
                self.failed_commits += 1
                if not retry or not error.retriable:
                    raise
                problem = error
            else:
                done = {tp: left.pop(tp) for tp in list(left) if tp not in errors}
                self._confirm(done, tokens, explicit)
                if not left:
                    break
                problem = CommitError(errors)
                self.failed_commits += 1
                # A topic that is gone will hardly come back: only who asked for it waits for that (trap 43).
                if not retry or not problem.retriable or (not explicit and _waits_for_topic(problem)):
                    raise problem
            failures += 1
            self._problem = problem
            yield Sleep(self._client.backoff(failures), problem)
        self.commits += 1
        self.commit_seconds += self._client.now - started

    def _send(self, group_id: str, coordinator: NodeKey, offsets: Offsets) -> Flow[dict[TopicPartition, BrokerError]]:
        """One OffsetCommit; the partitions that failed. A manual assignment is no member of the group (P4)."""
        topics: dict[str, OffsetCommitRequestTopic] = {}
        for tp, offset in offsets.items():
            topic_id = self._client.cluster.topic_id(tp.topic)
            topic = topics.setdefault(tp.topic, OffsetCommitRequestTopic(name=tp.topic, topic_id=topic_id))
            topic.partitions.append(
                OffsetCommitRequestPartition(
                    partition_index=tp.partition,
                    committed_offset=offset.offset,
                    committed_leader_epoch=-1 if offset.leader_epoch is None else offset.leader_epoch,
                    committed_metadata=offset.metadata,
                )
            )
        max_version = None if all(topic.topic_id for topic in topics.values()) else _COMMIT_NAMES_UP_TO
        request = OffsetCommitRequest(group_id=group_id, topics=list(topics.values()))
        response: OffsetCommitResponse = yield Call(coordinator, request, max_version)
        names = {topic.topic_id: topic.name for topic in topics.values() if topic.topic_id}
        # No answer is no confirmation.
        errors = {tp: broker_error(ErrorCode.UNKNOWN_SERVER_ERROR, "the answer does not name it") for tp in offsets}
        for answered in response.topics:
            name = answered.name or names.get(answered.topic_id, "")
            for partition in answered.partitions:
                tp = TopicPartition(name, partition.partition_index)
                if partition.error_code == ErrorCode.NONE:
                    errors.pop(tp, None)
                elif tp in errors:
                    errors[tp] = self._judge(group_id, partition.error_code, tp)
        return errors

    def _judge(self, group_id: str, number: int, tp: TopicPartition) -> BrokerError:
        code = ErrorCode.of(number)
        if code is ErrorCode.GROUP_AUTHORIZATION_FAILED:
            return GroupAuthorizationError(number, group_id)
        if code in _COORDINATOR_STALE:
            self._metadata.coordinator_lost(group_id, code.name)
        elif code.invalidates == "metadata":
            self._metadata.refresh()
        if code is ErrorCode.UNKNOWN_MEMBER_ID:
            return broker_error(number, f"group {group_id} has members, which assign its partitions themselves")
        return broker_error(number, None)

    def _confirm(self, offsets: Offsets, tokens: dict[TopicPartition, object], explicit: bool) -> None:
        """What the coordinator has stored. A seek that came meanwhile has the last word."""
        for tp, offset in offsets.items():
            partition = self._partitions.get(tp)
            if partition is not None and partition.commit_token is tokens.get(tp):
                partition.confirmed = offset.offset
                if partition.stored == offset:
                    partition.stored = None  # one that was stored meanwhile is due (lesson 9)
                if explicit:
                    partition.floor = max(partition.floor, offset.offset)

    # ------------------------------------------------------------------------------------------------- what is there

    def committed(self, tps: list[TopicPartition]) -> Flow[dict[TopicPartition, OffsetAndMetadata | None]]:
        """The committed offsets, None where there is none. Asks until there is an answer."""
        failures = 0
        while True:
            try:
                return (yield from self.ask_committed(tps))
            except KafkaError as error:
                if not error.retriable:
                    raise
                failures += 1
                yield Sleep(self._client.backoff(failures), error)

    def ask_committed(self, tps: list[TopicPartition]) -> Flow[dict[TopicPartition, OffsetAndMetadata | None]]:
        """One OffsetFetch: an error of any partition is an error of all, so that none is taken for 'no commit'."""
        group_id = self._client.config.group_id
        assert group_id is not None
        coordinator = yield from self._metadata.coordinator(group_id)
        by_id = all(self._client.cluster.topic_id(tp.topic) for tp in tps)
        response: OffsetFetchResponse = yield Call(
            coordinator, self._offset_fetch(group_id, tps), None if by_id else _FETCH_NAMES_UP_TO
        )
        found: dict[TopicPartition, OffsetAndMetadata | None] = {}
        self._check(group_id, response.error_code, group_id)
        names = {self._client.cluster.topic_id(tp.topic): tp.topic for tp in tps}
        for group in response.groups:
            self._check(group_id, group.error_code, group_id)
            for by_version in group.topics:
                name = by_version.name or names.get(by_version.topic_id, "")
                for p in by_version.partitions:
                    tp = TopicPartition(name, p.partition_index)
                    self._check(group_id, p.error_code, str(tp))
                    found[tp] = _committed(p.committed_offset, p.metadata, p.committed_leader_epoch)
        for topic in response.topics:
            for old in topic.partitions:
                tp = TopicPartition(topic.name, old.partition_index)
                self._check(group_id, old.error_code, str(tp))
                found[tp] = _committed(old.committed_offset, old.metadata, old.committed_leader_epoch)
        for tp in tps:
            if tp not in found:  # no answer is not the answer that there is none (lesson 8)
                raise broker_error(ErrorCode.COORDINATOR_NOT_AVAILABLE, f"the answer does not name {tp}")
        return {tp: found[tp] for tp in tps}

    def _offset_fetch(self, group_id: str, tps: list[TopicPartition]) -> ByVersion[OffsetFetchResponse]:
        by_topic: dict[str, list[int]] = {}
        for tp in tps:
            by_topic.setdefault(tp.topic, []).append(tp.partition)

        def build(version: int) -> OffsetFetchRequest:
            stable = version >= 7  # older brokers have no transactions' offsets to wait for that we could see (P15)
            if version < 8:
                old = [OffsetFetchRequestTopic(name=name, partition_indexes=ps) for name, ps in by_topic.items()]
                return OffsetFetchRequest(group_id=group_id, topics=list(old), require_stable=stable)
            ids: dict[str, Uuid] = {name: self._client.cluster.topic_id(name) for name in by_topic}
            topics = [
                OffsetFetchRequestTopics(name=name, topic_id=ids[name], partition_indexes=ps)
                for name, ps in by_topic.items()
            ]
            return OffsetFetchRequest(
                groups=[OffsetFetchRequestGroup(group_id=group_id, topics=topics)], require_stable=stable
            )

        return ByVersion(OffsetFetchRequest, build)

    def _check(self, group_id: str, number: int, what: str) -> None:
        """Raises for an error code (P17, P18)."""
        code = ErrorCode.of(number)
        if code is ErrorCode.NONE:
            return
        if code in _COORDINATOR_STALE:
            self._metadata.coordinator_lost(group_id, code.name)
        elif code.invalidates == "metadata":
            self._metadata.refresh()
        raise broker_error(number, f"reading the committed offsets of {what}")


def _waits_for_topic(error: KafkaError) -> bool:
    """Whether nothing is missing but topics or partitions that do not exist (any more)."""
    return isinstance(error, CommitError) and all(isinstance(e, UnknownTopicError) for e in error.errors.values())


def _committed(offset: int, metadata: str | None, epoch: int) -> OffsetAndMetadata | None:
    if offset < 0:
        return None
    return OffsetAndMetadata(offset, metadata or "", epoch if epoch >= 0 else None)
