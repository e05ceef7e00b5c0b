"""Commits offsets and reads committed ones (section 7).

Commits go out one after the other, in the order of the calls, so that none overtakes another (P9). A commit that fails
in a way that passes is sent again, with the same offsets, until its time is up (P7); automatic ones stay due and come
again after a back-off, and what they fail of is logged, not raised (P12, P14).

What is due for an automatic commit is *finished* (or what was stored, if the program stores offsets itself), where that
differs from what was confirmed. It is never less than that, unless a seek has begun anew; at most once excepted, where
what was committed first and then not handed out is taken back.

A member of a group commits in its generation, and only what it owns: a commit belongs to the *tenure* of each of its
partitions. While the member joins, commits wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Final

from dekaf_proto.client import Client
from dekaf_proto.connection import ByVersion
from dekaf_proto.consumer.partition import RECREATED, Partition, Tenure
from dekaf_proto.errors import (
    BrokerError,
    CommitError,
    CommitFailedError,
    ErrorCode,
    FencedInstanceIdError,
    GroupAuthorizationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownTopicError,
    broker_error,
)
from dekaf_proto.group.classic import Classic, GroupMetadata
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

#: What concerns the member and not an offset.
_OF_MEMBERS: Final = frozenset(
    {
        ErrorCode.REBALANCE_IN_PROGRESS,
        ErrorCode.ILLEGAL_GENERATION,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.FENCED_INSTANCE_ID,
    }
)

Offsets = Mapping[TopicPartition, OffsetAndMetadata]
#: Whose offsets they are, and what stood for the partition's last seek when they were come by.
Origins = Mapping[TopicPartition, "tuple[Partition, object]"]


class Commits:
    """The committed offsets of one consumer."""

    def __init__(self, client: Client, metadata: Metadata, partitions: dict[TopicPartition, Partition]) -> None:
        #: Where the group assigns the partitions: the membership, and whether the program has an event to answer first.
        self.membership: Classic | None = None
        self.has_event: Callable[[], bool] = lambda: False
        self.is_subscribed: Callable[[], bool] = lambda: False
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
        self._again_due: float | None = None
        self.commits = 0
        self.commit_seconds = 0.0
        self.failed_commits = 0

    def by_group(self) -> bool:
        """Whether the group assigns the partitions, so that commits are a member's."""
        membership = self.membership
        return membership is not None and (self.is_subscribed() or membership.is_active or membership.generation >= 0)

    # --------------------------------------------------------------------------------------------------- what is due

    def finished(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What an automatic commit has to send."""
        config = self._client.config
        if not config.enable_auto_offset_store:
            return self.stored()
        first = config.delivery == "at_most_once"  # then only where to begin is due, the rest is committed already
        due = {}
        for tp, partition in self._partitions.items():
            offset = partition.finished
            due_now = partition.confirmed is None or (offset > partition.confirmed and not first)
            if offset >= max(0, partition.unanswered) and due_now and partition.tenure.live:
                due[tp] = OffsetAndMetadata(offset, "", partition.epoch_below(offset))
        return due

    def last_due(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """The same before partitions are given up: what was committed and not handed out is taken back."""
        due = self.finished()
        if self._client.config.delivery == "at_most_once":
            for tp, partition in self._partitions.items():
                position, confirmed = partition.position, partition.confirmed
                # A commit that the program asked for stands.
                offset = -1 if position is None else max(position, partition.floor)
                ahead = self.is_pending(tp) or (confirmed is not None and confirmed > offset)
                if offset >= 0 and partition.tenure.live and ahead:
                    due[tp] = OffsetAndMetadata(offset, "", partition.epoch_below(offset))
        return due

    def positions(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What a commit without arguments has to send: the record in hand counts as done."""
        config = self._client.config
        if not config.enable_auto_offset_store:
            return self.stored()
        explicit = config.acknowledgement_mode == "explicit"
        due = {}
        for tp, partition in self._partitions.items():
            offset = partition.finished if explicit else partition.position
            if offset is not None and offset >= 0 and offset != partition.confirmed:
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

    def give_up(self, tps: Collection[TopicPartition]) -> Flow[None] | None:
        """The commit of what is due of partitions that are unassigned right now, None if there is nothing. It does not
        go back behind one that is still on its way; unless that is for records that are not to be handed out."""
        due = {tp: offset for tp, offset in self.last_due().items() if tp in tps}
        return self.commit(due, forward=self._client.config.delivery != "at_most_once") if due else None

    # ------------------------------------------------------------------------------------------------- the automatic

    @property
    def _rebalancing(self) -> bool:
        """Whether nothing is to be committed by itself at the moment (P12)."""
        return self.membership is not None and self.by_group() and not self.membership.is_settled

    def restart_timer(self) -> None:
        """A new assignment: the interval begins anew (P13)."""
        if self._client.config.enable_auto_commit:
            self._automatic_due = self._client.now + self._client.config.auto_commit_interval_ms / 1000

    def advance(self) -> None:
        """Sends an automatic commit if it is time (P12). The timer runs from the last one that was sent."""
        config = self._client.config
        if config.group_id is None or not self._partitions or self._rebalancing:
            return
        if self._automatic is not None:
            if not self._automatic.done:
                return
            self._automatic_done(self._automatic)
        now = self._client.now
        if config.enable_auto_commit:
            if self._automatic_due is None:
                self.restart_timer()
            elif now >= self._automatic_due:
                self.restart_timer()
                self._commit_automatically(self.finished())
        if config.recommit_interval_ms and self.idle:
            if self._again_due is None:
                self._again_due = now + config.recommit_interval_ms / 1000
            elif now >= self._again_due:
                self._again_due = now + config.recommit_interval_ms / 1000
                self._commit_automatically(
                    {
                        tp: partition.confirmed_as
                        for tp, partition in self._partitions.items()
                        if partition.confirmed_as is not None and partition.tenure.live
                    }
                )

    def _commit_automatically(self, due: Offsets) -> None:
        if due:
            timeout = self._client.config.default_api_timeout_ms / 1000
            self._automatic = self._client.runner.start(
                "automatic commit", self.commit(due, retry=False, forward=True), timeout
            )

    def next_automatic(self) -> float | None:
        """When the next automatic commit is due, None if there is none to come."""
        if not self._partitions or self._rebalancing or (self._automatic is not None and not self._automatic.done):
            return None
        times = [due for due in (self._automatic_due, self._again_due) if due is not None]
        return min(times, default=None)

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

    def commit(
        self,
        offsets: Offsets,
        *,
        retry: bool = True,
        explicit: bool = False,
        tenures: Mapping[TopicPartition, Tenure] | None = None,
        forward: bool = False,
    ) -> Flow[None]:
        """Commits; with `retry` until it succeeds or fails for good. `explicit`: what is committed is finished.

        `tenures`: under which the offsets were come by, where that is not the present one. `forward`: when its turn has
        come, leaves out what would go back behind a commit that was confirmed meanwhile; all of it has to be assigned.
        """
        # The partitions as they are now: when the commit's turn comes, they may be unassigned, or assigned anew. A seek
        # between now and then has the last word, as one after it has.
        partitions = {tp: self._partitions[tp] for tp in offsets if tp in self._partitions}
        origins = {tp: (partition, partition.commit_token) for tp, partition in partitions.items()}
        owned = {tp: partition.tenure for tp, partition in partitions.items()}
        owned.update(tenures or {})
        return self._in_turn(dict(offsets), origins, owned, retry, explicit, forward)

    def _in_turn(
        self,
        left: dict[TopicPartition, OffsetAndMetadata],
        origins: Origins,
        tenures: dict[TopicPartition, Tenure],
        retry: bool,
        explicit: bool,
        forward: bool,
    ) -> Flow[None]:
        """Commits go out in the order of the calls (P9), which is the one in which flows are started."""
        self._last_ticket += 1
        ticket = self._last_ticket
        self._left[ticket] = left
        try:
            if self._serving != ticket:
                yield Wait(lambda: self._serving == ticket, because=self._why)
            if forward:
                for tp in [tp for tp, offset in left.items() if _is_overtaken(*origins[tp], offset)]:
                    del left[tp]
            if left:
                yield from self._commit(left, origins, tenures, retry, explicit)
        finally:
            del self._left[ticket]
            self._problem = None
            self._abandoned.add(ticket)
            while self._serving in self._abandoned:
                self._abandoned.discard(self._serving)
                self._serving += 1

    def _until_member(
        self, left: dict[TopicPartition, OffsetAndMetadata], origins: Origins, tenures: dict[TopicPartition, Tenure]
    ) -> Flow[CommitFailedError | None]:
        """Waits for a join that is under way. What is not owned any more is taken out of `left`, and is the error."""
        membership = self.membership
        assert membership is not None  # there is one wherever there is a group
        yield Wait(lambda: not membership.is_joining, because=self._joining)
        gone = [tp for tp in left if self._is_recreated(tp, origins) or self._is_gone(tenures.get(tp))]
        if not gone:
            return None
        for tp in gone:
            del left[tp]
        tenure = next((tenures[tp] for tp in gone if tp in tenures), None)
        if tenure is not None:
            return CommitFailedError(tenure.cause or RECREATED, tenure.since, gone)
        cause = "the group has not given that to it, or has taken it back"
        since = 0.0 if membership.is_member else membership.lost_at
        return CommitFailedError(cause, since, gone)

    def _is_gone(self, tenure: Tenure | None) -> bool:
        """Whether a commit would be somebody else's affair by now. Who is no member any more must not commit as one who
        never was: while the group has no members, the coordinator would take it."""
        if tenure is None:
            return self.by_group()
        return not tenure.live and (tenure.recreated or tenure.by_group or self.by_group())

    def _is_recreated(self, tp: TopicPartition, origins: Origins) -> bool:
        """Whether metadata has just shown another topic of this name, which the partition does not know yet."""
        known = origins[tp][0].topic_id if tp in origins else Uuid.ZERO
        topic_id = self._client.cluster.topic_id(tp.topic)
        return bool(known) and bool(topic_id) and known != topic_id

    def _joining(self) -> KafkaError:
        """What holds up a commit while the member joins."""
        group_id = self._client.config.group_id
        return self._problem or broker_error(ErrorCode.REBALANCE_IN_PROGRESS, f"group {group_id}")

    def _why(self) -> KafkaError | None:
        """What holds up the commit whose turn it is."""
        assert self._client.config.group_id is not None
        return self._problem or self._metadata.why_no_coordinator(self._client.config.group_id)

    def _commit(
        self,
        left: dict[TopicPartition, OffsetAndMetadata],
        origins: Origins,
        tenures: dict[TopicPartition, Tenure],
        retry: bool,
        explicit: bool,
    ) -> Flow[None]:
        group_id = self._client.config.group_id
        assert group_id is not None  # the engine has refused it otherwise
        started = self._client.now
        failures = 0
        refused: CommitFailedError | None = None
        while True:
            problem: KafkaError
            try:
                coordinator = yield from self._metadata.coordinator(group_id)
                refused = (yield from self._until_member(left, origins, tenures)) or refused
                if not left:
                    break
                as_member = self.by_group()
                if explicit:
                    _note_unanswered(left, origins)
                errors = yield from self._send(group_id, coordinator, left)
                _note_unanswered(dict.fromkeys(left), origins)
            except KafkaError as error:
                self.failed_commits += 1
                if not retry or not error.retriable:
                    raise
                problem = error
            else:
                done = {tp: left.pop(tp) for tp in list(left) if tp not in errors}
                _confirm(done, origins, explicit)
                if not left:
                    break
                problem = CommitError(errors)
                self.failed_commits += 1
                refusal = _refusal_in(errors) if as_member else None
                if refusal is not None:
                    is_member = self.by_group()
                    if is_member and not all(tp in tenures and tenures[tp].live for tp in left):
                        continue  # the member has been removed
                    # It goes out when the member has joined; but not if that waits for who waits for us.
                    if not (retry and is_member) or self.has_event() or isinstance(refusal, FencedInstanceIdError):
                        raise refusal
                    problem = refusal
                # A topic that is gone will hardly come back: only who asked for it waits for that (trap 43).
                elif not retry or not problem.retriable or (not explicit and _waits_for_topic(problem)):
                    raise problem
            failures += 1
            self._problem = problem
            yield Sleep(self._client.backoff(failures), problem)
        if refused is not None:
            self.failed_commits += 1
            raise refused
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
        member = self.membership.identity if self.membership is not None and self.by_group() else None
        request = OffsetCommitRequest(group_id=group_id, topics=list(topics.values()))
        if member is not None:
            request.generation_id_or_member_epoch = member.generation_id
            request.member_id = member.member_id
            request.group_instance_id = member.group_instance_id
        response: OffsetCommitResponse = yield Call(coordinator, request, max_version)
        names = {topic.topic_id: topic.name for topic in topics.values() if topic.topic_id}
        missing = dict.fromkeys(offsets)
        errors = {}
        for answered in response.topics:
            name = answered.name or names.get(answered.topic_id, "")
            for partition in answered.partitions:
                tp = TopicPartition(name, partition.partition_index)
                if tp in missing:
                    del missing[tp]
                    if partition.error_code != ErrorCode.NONE:
                        errors[tp] = self._judge(group_id, partition.error_code, tp, member)
        for tp in missing:  # no answer is no confirmation
            errors[tp] = broker_error(ErrorCode.UNKNOWN_SERVER_ERROR, "the answer does not name it")
        return errors

    def _judge(self, group_id: str, number: int, tp: TopicPartition, member: GroupMetadata | None) -> BrokerError:
        code = ErrorCode.of(number)
        if member is not None and self.membership is not None and code in _OF_MEMBERS:
            if code is ErrorCode.REBALANCE_IN_PROGRESS:
                self.membership.rejoin("a commit was answered with REBALANCE_IN_PROGRESS")
            else:
                self.membership.generation_refused(code, member)
            return broker_error(number, f"group {group_id}")
        if code is ErrorCode.GROUP_AUTHORIZATION_FAILED:
            return GroupAuthorizationError(number, group_id)
        if code in _COORDINATOR_STALE:
            self._metadata.coordinator_lost(group_id, code.name)
        elif code.invalidates == "metadata":
            self._metadata.refresh()
        if code is ErrorCode.UNKNOWN_MEMBER_ID:
            return broker_error(number, f"group {group_id} has members, which assign its partitions themselves")
        return broker_error(number, None)

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


def _confirm(offsets: Offsets, origins: Origins, explicit: bool) -> None:
    """What the coordinator has stored. A seek that came meanwhile has the last word."""
    for tp, offset in offsets.items():
        partition, token = origins.get(tp, (None, None))
        if partition is not None and partition.commit_token is token:
            partition.confirmed = offset.offset
            partition.confirmed_as = offset
            if partition.stored == offset:
                partition.stored = None  # one that was stored meanwhile is due (lesson 9)
            if explicit:
                partition.floor = max(partition.floor, offset.offset)


def _note_unanswered(offsets: Mapping[TopicPartition, OffsetAndMetadata | None], origins: Origins) -> None:
    """What goes out; None for what an answer has come to."""
    for tp, offset in offsets.items():
        partition, token = origins.get(tp, (None, None))
        if partition is not None and partition.commit_token is token:
            partition.unanswered = -1 if offset is None else offset.offset


def _is_overtaken(partition: Partition, token: object, offset: OffsetAndMetadata) -> bool:
    """Whether more than `offset` was confirmed, with no seek since it was come by."""
    return partition.commit_token is token and partition.confirmed is not None and offset.offset < partition.confirmed


def _refusal_in(errors: Mapping[TopicPartition, BrokerError]) -> BrokerError | None:
    """What the coordinator has against the member, if it has: being out of its generation is as a rebalance."""
    for error in errors.values():
        if error.error_code is ErrorCode.FENCED_INSTANCE_ID:
            return error
        if error.error_code in _OF_MEMBERS:
            return RebalanceInProgressError(int(ErrorCode.REBALANCE_IN_PROGRESS), "poll, then commit again")
    return None


def _waits_for_topic(error: KafkaError) -> bool:
    """Whether nothing is missing but topics or partitions that do not exist (any more)."""
    return isinstance(error, CommitError) and all(isinstance(e, UnknownTopicError) for e in error.errors.values())


def _committed(offset: int, metadata: str | None, epoch: int) -> OffsetAndMetadata | None:
    if offset < 0:
        return None
    return OffsetAndMetadata(offset, metadata or "", epoch if epoch >= 0 else None)
