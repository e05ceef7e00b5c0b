"""Membership of a group by the classic protocol: joining, sharing out, heartbeats, leaving (section 5).

One flow, `_run`, goes round: wait until a rebalance is due, have the consumer give up what it has to, join, sync, have
the consumer take what it was given. Another flow sends heartbeats, one for each generation; what it learns it notes
for the first one. What a member can be is in `member`, what it does while it leads in `leader`. What happens to
partitions is the consumer's affair (`Host`); nothing here knows of positions.

The coordinator sees four numbers: the generation, the member's id, the instance's id of a static member, and how long
to wait for it in a rebalance, which is `max_poll_interval_ms`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from dekaf_proto.client import Client
from dekaf_proto.errors import (
    AssignorError,
    ErrorCode,
    FencedInstanceIdError,
    GroupAuthorizationError,
    KafkaError,
    LocalProtocolError,
    broker_error,
)
from dekaf_proto.group import ASSIGNORS, gaps, requests
from dekaf_proto.group.assignor import Assignor
from dekaf_proto.group.heartbeats import Heartbeats
from dekaf_proto.group.leader import Leader
from dekaf_proto.group.member import TRANSITIONS, GroupMetadata, Host, MemberInput, MemberState
from dekaf_proto.group.payloads import decode_assignment
from dekaf_proto.messages.join_group import JoinGroupResponse
from dekaf_proto.messages.leave_group import LeaveGroupResponse
from dekaf_proto.messages.sync_group import SyncGroupResponse
from dekaf_proto.metadata import Metadata
from dekaf_proto.node import NodeKey
from dekaf_proto.operation import Call, Flow, Operation, Sleep, Wait
from dekaf_proto.types import TopicPartition

__all__ = ["TRANSITIONS", "Classic", "GroupMetadata", "Host", "MemberInput", "MemberState"]

log = logging.getLogger("dekaf.group")

#: A broker may take this much longer than the members to end a rebalance, in seconds (G9).
_JOIN_GRACE: Final = 5.0


class Classic:
    """One member of one group."""

    def __init__(self, client: Client, metadata: Metadata, host: Host) -> None:
        config = client.config
        assert config.group_id is not None
        self._client = client
        self._metadata = metadata
        self._host = host
        self._group_id: Final[str] = config.group_id
        self._assignors: Final[Mapping[str, Assignor]] = {
            (one if isinstance(one, str) else one.name): (ASSIGNORS[one] if isinstance(one, str) else one)
            for one in config.partition_assignment_strategy
        }
        #: Whether everything is given up before a join: unless all strategies can do without (5.5).
        self.eager: Final = not all(assignor.cooperative for assignor in self._assignors.values())
        self.state = MemberState.OUT
        self.generation = -1
        self.member_id = ""
        self._leader = Leader(client, self._assignors, host.wanted_topics)
        self._heartbeats = Heartbeats(client, metadata, config.group_id, self)
        #: Why a rebalance is due, None if none is.
        self._due: str | None = None
        self._resting_until = 0.0
        self._failures = 0
        #: No attempt before the program has polled again; or, after a fatal error, subscribed anew.
        self._stalled = False
        self._fatal: Exception | None = None
        self._life: Operation[None] | None = None
        #: What was subscribed to when the member joined, and what it said that it had.
        self._joined_topics: list[str] = []
        self._claimed: frozenset[TopicPartition] = frozenset()
        self._cluster_version = -1
        #: The last assignment and its generation: what sticky strategies start from (A7, A8).
        self._last: tuple[list[TopicPartition], int] = ([], -1)
        #: Why the consumer is no member any more, and since when (Unix time).
        self.lost_because = "it has not joined the group yet"
        self.lost_at = 0.0
        self.rebalances = 0
        self.last_cause: str | None = None
        self.last_seconds: float | None = None

    # -------------------------------------------------------------------------------------------- what others may ask

    @property
    def identity(self) -> GroupMetadata:
        """Who the member is."""
        instance = self._client.config.group_instance_id
        return GroupMetadata(self._group_id, self.generation, self.member_id, instance)

    @property
    def group_topics(self) -> list[str]:
        """The topics of all members, which only the leader has to know."""
        return self._leader.topics

    @property
    def is_active(self) -> bool:
        """Whether the consumer is, or tries to be, a member."""
        return self._life is not None

    @property
    def is_member(self) -> bool:
        """Whether it has a generation, in which it may commit."""
        return self.generation >= 0

    @property
    def is_joining(self) -> bool:
        """Whether a join or sync is under way: nothing may be committed before it ends."""
        return self._life is not None and self.state in (MemberState.JOINING, MemberState.SYNCING)

    @property
    def is_settled(self) -> bool:
        """Whether it has an assignment, and no rebalance is due."""
        return self.state is MemberState.STABLE and self._due is None

    # ------------------------------------------------------------------------------------------- what others may say

    def start(self) -> None:
        """Begins to be a member."""
        self._stalled = False
        self._fatal = None
        self._resting_until = 0.0
        if self._life is None:
            self._due = "the consumer has subscribed"
            self._life = self._client.runner.start_background(self._run(), "group membership")

    def rejoin(self, cause: str) -> None:
        """A rebalance is due."""
        if self._due is None and self.is_active:
            log.info("group %s: rejoining, %s", self._group_id, cause)
            self._due = cause

    def polled(self) -> None:
        """The program asks for what comes next."""
        if self._fatal is not None:
            self._host.fail(self._fatal)  # or two programs with one name would drive each other out for ever
        elif self._stalled:
            self._stalled = False
            if self.state is MemberState.FAILED:
                self._move(MemberInput.OUT)

    def look_at_metadata(self) -> None:
        """Rejoins if what is subscribed to is not what it was, or, as the leader, if its partitions are (G17)."""
        if self._cluster_version == self._client.cluster.version or self.state is not MemberState.STABLE:
            return  # what comes in the middle of a rebalance is looked at when that is over
        self._cluster_version = self._client.cluster.version
        if self._host.topics() != self._joined_topics:
            self.rejoin("its topics are others than when it joined")
        elif self._leader.has_news():
            self.rejoin("the partitions of the group's topics have changed")

    def stop(self) -> None:
        """Ends all attempts at once; until it leaves, it stays a member. Not for flows of the membership's own."""
        if self.is_joining:
            self._metadata.coordinator_lost(self._group_id, "a join is given up")  # nothing may wait behind it
        if self._life is not None:
            self._life.cancel()
            self._life = None
        self._due = None
        self._leader.resign()

    def leave(self, reason: str, timeout: float | None = None) -> Flow[None]:
        """Tells the coordinator that the member is gone; a static one does not (G29). Best effort, never raises."""
        member_id = self.member_id
        self._reset(reason, keep_id=False)
        if not member_id or self._client.config.group_instance_id is not None:
            return
        goodbye = self._client.runner.start("leaving the group", self._say_goodbye(member_id, reason), timeout)
        yield Wait(lambda: goodbye.done)
        if goodbye.error is not None:
            log.info("group %s: leaving: %s", self._group_id, goodbye.error)

    def _say_goodbye(self, member_id: str, reason: str) -> Flow[None]:
        coordinator = yield from self._metadata.coordinator(self._group_id)
        response: LeaveGroupResponse = yield Call(coordinator, requests.leave(self._group_id, member_id, reason))
        for code in (response.error_code, *(member.error_code for member in response.members)):
            if code != ErrorCode.NONE:
                log.info("group %s: leaving: %s", self._group_id, ErrorCode.of(code).name)

    # ------------------------------------------------------------------------------------------------- what is wrong

    def generation_refused(self, code: ErrorCode, sent: GroupMetadata) -> bool:
        """A request under `sent` was answered with 22, 25 or 82; whether that still concerns us (G18)."""
        if sent != self.identity:
            return False
        if code is ErrorCode.FENCED_INSTANCE_ID:
            self.fail(self._fenced())
        else:
            cause = f"the coordinator has removed it from the group ({code.name})"
            self._lose(cause, keep_id=code is ErrorCode.ILLEGAL_GENERATION)
        return True

    def _lose(self, cause: str, *, keep_id: bool) -> None:
        self._reset(cause, keep_id=keep_id)
        self._host.lose(cause)
        self.rejoin(cause)

    def _missed(self, cause: str) -> None:
        """A static member was a member all the while (G28), but what it had may have been another one's meanwhile."""
        self.lost_because = cause
        self.lost_at = self._client.now + self._client.unix_offset
        self._host.lose(cause)

    def _reset(self, cause: str, *, keep_id: bool) -> None:
        """No member any more. With `keep_id` it comes back under its old name, so that nobody waits for a ghost."""
        self.generation = -1
        if not keep_id:
            self.member_id = ""
        self._last = ([], -1)
        self._heartbeats.stop()
        self.lost_because = cause
        self.lost_at = self._client.now + self._client.unix_offset
        self._leader.resign()
        self._move(MemberInput.OUT)

    def fail(self, error: Exception) -> None:
        """Nothing that waiting mends: the program must know, and act. The next attempt is made under the old name, so
        that the group does not wait for a ghost; unless somebody else has taken it."""
        log.error("group %s: %s", self._group_id, error)
        self._reset(str(error), keep_id=not isinstance(error, FencedInstanceIdError))
        self._host.lose(str(error))
        if not self.is_active:
            return  # it is about to leave anyway
        self._due = "the program has tried again"
        self._stalled = True
        self._fatal = error if isinstance(error, FencedInstanceIdError) else None
        self._move(MemberInput.FAIL)
        self._host.fail(error)

    def _fenced(self) -> FencedInstanceIdError:
        name = self._client.config.group_instance_id
        return FencedInstanceIdError(
            int(ErrorCode.FENCED_INSTANCE_ID), f"another member of group {self._group_id} has taken over as {name!r}"
        )

    def coordinator_lost(self, code: ErrorCode) -> None:
        """Another node is the coordinator, or will be."""
        self._metadata.coordinator_lost(self._group_id, code.name)

    def rebalancing(self) -> None:
        """A heartbeat was answered with REBALANCE_IN_PROGRESS."""
        if self.state is MemberState.STABLE:
            self.rejoin("the group is rebalancing")

    def slow_at(self) -> float:
        """When the program is too slow, if it does nothing until then; never if it is about to leave anyway."""
        if not self.is_active:
            return float("inf")
        return self._host.idle_since() + self._client.config.max_poll_interval_ms / 1000

    def too_slow(self) -> None:
        """The program has not asked for anything for too long: others are to have its partitions (G21)."""
        seconds = self._client.config.max_poll_interval_ms / 1000
        cause = f"the program asked for no further record for {seconds:g} s (max_poll_interval_ms)"
        log.warning("group %s: leaving it, %s", self._group_id, cause)
        self._client.runner.start_background(self.leave(cause), "leaving the group")
        self._reset(cause, keep_id=True)  # the id is what the goodbye needs, which forgets it
        self._host.lose(cause)
        self.rejoin(cause)
        self._stalled = True

    def _move(self, what: MemberInput) -> None:
        try:
            self.state = TRANSITIONS[self.state, what]
        except KeyError:
            raise LocalProtocolError(f"group member: {what.name} is not possible when {self.state.name}") from None

    # ----------------------------------------------------------------------------------------------- one after another

    def _run(self) -> Flow[None]:
        while True:
            yield Wait(self._may_join)
            if self._client.now < self._resting_until:
                yield Sleep(self._resting_until - self._client.now)
                continue
            try:
                yield from self._rebalance()
            except AssignorError as error:
                self.fail(error)
            except KafkaError as error:
                if error.retriable:
                    self._rest(error)
                else:
                    self.fail(error)

    def _may_join(self) -> bool:
        return self._due is not None and not self._stalled

    def _knows_topics(self) -> bool:
        """Whether it can say what it is subscribed to: else there would be a second rebalance soon."""
        return self._metadata.knows_all or not self._host.by_pattern

    def _rest(self, error: KafkaError) -> None:
        """There is another attempt after a back-off."""
        self._failures += 1
        self._resting_until = self._client.now + self._client.backoff(self._failures)
        self._client.warn.warning(self._client.now, "group", "group %s: %s", self._group_id, error)

    def _rebalance(self) -> Flow[None]:
        """One round; what ends it early leaves `_due` set, so that there is another one."""
        began = self._client.now
        cause = self._due
        assert cause is not None
        if not self.is_joining:
            yield from self._metadata.coordinator(self._group_id)  # before anything is given up for it
            yield Wait(self._knows_topics)
            yield from self._host.prepare(self.eager, began + self._client.config.max_poll_interval_ms / 1000)
            if not self._may_join():
                return
        coordinator = yield from self._metadata.coordinator(self._group_id)
        self._heartbeats.stop()  # a join speaks for itself
        self._move(MemberInput.JOIN)
        before = self.generation
        comes_back = before < 0 and self._client.config.group_instance_id is not None
        joined = yield from self._join(coordinator, cause)
        if joined is None:
            return
        if before >= 0 and self.generation > before + 1 and self._client.config.group_instance_id is not None:
            self._missed(f"the group has rebalanced without it since generation {before}")
        assignment = yield from self._sync(coordinator, joined, cause)
        if assignment is None:
            return
        self.rebalances += 1
        self.last_cause = cause
        self.last_seconds = self._client.now - began
        strangers = self._strangers(assignment)
        if strangers:  # G15: meanwhile the program has subscribed to something else
            self._again("it was assigned what it is not subscribed to")
        if any(topic not in self._joined_topics for topic in strangers):  # or the leader is mistaken: not at once again
            self._rest(AssignorError(str(joined.protocol_name), f"it is not subscribed to {', '.join(strangers)}"))
        else:
            self._failures = 0
            self._client.warn.settled("group")
        if strangers:
            if comes_back:  # it has other topics than before; this is how the coordinator sees that, and rebalances
                self._last = ([], self.generation)
            return
        self._last = (assignment, self.generation)
        who = f"group {self._group_id}: generation {self.generation} as {self.member_id}"
        log.info("%s, with %d partitions (%s)", who, len(assignment), cause)
        log.debug("%s has %s", who, [str(tp) for tp in assignment])
        if self._leader.withheld or (comes_back and (joined.skip_assignment or joined.leader != joined.member_id)):
            looking = self._look_for_gaps(joined.leader, patient=self._leader.withheld)
            self._client.runner.start_background(looking, "looking for gaps")
        deadline = self._client.now + self._client.config.max_poll_interval_ms / 1000
        yield from self._host.apply(assignment, self.eager, deadline)
        if not self._claimed.issubset(assignment):  # also what was lost since, or nobody would ever get it
            self.rejoin("it has given up partitions that others are to get")

    def _strangers(self, assignment: Sequence[TopicPartition]) -> list[str]:
        """The topics of what it was assigned that it is not subscribed to."""
        topics = self._host.topics()
        return sorted({tp.topic for tp in assignment}.difference(topics))

    # -------------------------------------------------------------------------------------------------------- joining

    def _join(self, coordinator: NodeKey, cause: str) -> Flow[JoinGroupResponse | None]:
        config = self._client.config
        self._joined_topics = self._host.topics()
        self._due = None  # what comes up from here on is for another round
        sent = self.identity
        owned = self._host.owned()
        self._claimed = frozenset(owned)
        offered = requests.protocols(
            self._assignors, self._joined_topics, owned, self._last, config.client_rack or None
        )
        rebalance = config.max_poll_interval_ms / 1000
        timeout = max(config.request_timeout_ms / 1000, rebalance + _JOIN_GRACE)
        try:
            response: JoinGroupResponse = yield Call(
                coordinator, requests.join(sent, offered, cause, config), None, timeout
            )
        except KafkaError:
            self._again(cause)
            raise
        code = ErrorCode.of(response.error_code)
        if code is ErrorCode.NONE and self.state is MemberState.JOINING:
            return self._joined(response, cause)
        self._again(cause)
        if code is ErrorCode.NONE:  # it was put out meanwhile: in again, as whom the group knows now
            self.member_id = response.member_id
            return None
        if code is ErrorCode.MEMBER_ID_REQUIRED:  # G10: at once, and under the name that was given
            self.member_id = response.member_id
        elif code is ErrorCode.UNKNOWN_MEMBER_ID:
            if sent == self.identity:
                self._lose(f"the coordinator does not know it ({code.name})", keep_id=False)
        elif code is ErrorCode.FENCED_INSTANCE_ID:
            raise self._fenced()
        elif code is ErrorCode.REBALANCE_IN_PROGRESS:
            self._rest(broker_error(code, f"joining group {self._group_id}"))
        else:
            self.judge(response.error_code, "joining")
        return None

    def _again(self, cause: str) -> None:
        if self._due is None:
            self._due = cause

    def judge(self, number: int, doing: str) -> None:
        """What every answer may hold: raises, retriable or not."""
        code = ErrorCode.of(number)
        if code.invalidates == "coordinator":
            self.coordinator_lost(code)
        if code is ErrorCode.GROUP_AUTHORIZATION_FAILED:
            raise GroupAuthorizationError(number, self._group_id)
        raise broker_error(number, f"{doing} group {self._group_id}")

    def _joined(self, response: JoinGroupResponse, cause: str) -> JoinGroupResponse:
        wrong_type = response.protocol_type is not None and response.protocol_type != requests.PROTOCOL_TYPE
        if wrong_type or response.protocol_name not in self._assignors:
            self._again(cause)
            kind = f"protocol {response.protocol_name!r} of type {response.protocol_type!r}"
            raise broker_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, f"group {self._group_id} has chosen {kind}")
        self.member_id = response.member_id
        self.generation = response.generation_id
        self._move(MemberInput.JOINED)
        self._heartbeats.start()
        return response

    # -------------------------------------------------------------------------------------------------------- syncing

    def _sync(self, coordinator: NodeKey, joined: JoinGroupResponse, cause: str) -> Flow[list[TopicPartition] | None]:
        sent = self.identity
        shared: Mapping[str, bytes] = {}
        self._leader.resign()
        if joined.leader == joined.member_id:
            shared = yield from self._leader.share_out(joined)
            if sent != self.identity:
                self._again(cause)
                return None
        request = requests.sync(sent, joined.protocol_name, shared)
        timeout = (self._client.config.max_poll_interval_ms + self._client.config.request_timeout_ms) / 1000
        try:
            response: SyncGroupResponse = yield Call(coordinator, request, None, timeout)
        except KafkaError:
            self._again(cause)
            raise
        if sent != self.identity:  # G16
            self._again(cause)
            return None
        code = ErrorCode.of(response.error_code)
        if code is ErrorCode.NONE:
            return self._synced(response)
        self._again(cause)
        if code in (ErrorCode.ILLEGAL_GENERATION, ErrorCode.UNKNOWN_MEMBER_ID):
            self._lose(
                f"the coordinator has gone on without it ({code.name})", keep_id=code is ErrorCode.ILLEGAL_GENERATION
            )
        elif code is ErrorCode.FENCED_INSTANCE_ID:
            raise self._fenced()
        elif code is not ErrorCode.REBALANCE_IN_PROGRESS:
            self.judge(response.error_code, "joining")
        return None

    def _synced(self, response: SyncGroupResponse) -> list[TopicPartition]:
        assignment = decode_assignment(response.assignment)  # G7: what is no assignment ends the attempt
        self._move(MemberInput.SYNCED)
        return assignment

    def _look_for_gaps(self, leader: str, *, patient: bool) -> Flow[None]:
        """Looks whether a partition is left to nobody, and rejoins for it (see `gaps`): at once, or, if one was left on
        purpose, whenever a member may have gone and have come back since."""
        sent = self.identity
        session = self._client.config.session_timeout_ms / 1000

        def over() -> bool:
            return self.identity != sent or self._due is not None

        while not over():
            if patient:
                yield Wait(over, self._client.now + session)
            shares = yield from gaps.shares(self._client, self._metadata, self._group_id, lambda: not over())
            if shares is not None and not over():
                if leader not in shares.members:  # G13: that was this one, before it came back; older brokers say so
                    yield from self._leader.watch(shares.topics)
                topics = self._leader.topics or self._joined_topics
                there = {topic: self._client.cluster.partitions(topic) for topic in topics}
                left = shares.gaps(there)
                beyond = shares.beyond({topic: numbers for topic, numbers in there.items() if numbers})
                if left:
                    self.rejoin(f"nobody has {', '.join(map(str, left))}")
                elif beyond:
                    self.rejoin(f"a member has what is not there any more: {', '.join(map(str, beyond))}")
            if not patient:
                return
