"""Membership of a group by the classic protocol: joining, sharing out, heartbeats, leaving (section 5).

    OUT ──JOIN──▶ JOINING ──JOINED──▶ SYNCING ──SYNCED──▶ STABLE ──JOIN──▶ JOINING ...
     ▲               │                   │                   │
     └─────OUT───────┴───────OUT─────────┴────────OUT────────┘      removed, left, or too slow to poll
    FAILED: the program is told, and has to poll again, or to subscribe anew, before there is another attempt.

One flow, `_run`, goes round: wait until a rebalance is due, have the consumer give up what it has to, join, sync, have
the consumer take what it was given. Another flow sends heartbeats, one for each generation; what it learns it notes
for the first one. What happens to partitions is the consumer's affair (`Host`); nothing here knows of positions.

The coordinator sees four numbers: the generation, the member's id, the instance's id of a static member, and how long
to wait for it in a rebalance, which is `max_poll_interval_ms`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple, Protocol

from dekaf_proto.client import Client
from dekaf_proto.connection import ByVersion
from dekaf_proto.errors import (
    AssignorError,
    ErrorCode,
    FencedInstanceIdError,
    GroupAuthorizationError,
    KafkaError,
    LocalProtocolError,
    broker_error,
)
from dekaf_proto.group import ASSIGNORS, gaps
from dekaf_proto.group.assignor import Assignor, GroupMember, GroupTopics
from dekaf_proto.group.payloads import (
    Subscription,
    decode_assignment,
    decode_subscription,
    encode_assignment,
    encode_subscription,
)
from dekaf_proto.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from dekaf_proto.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from dekaf_proto.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from dekaf_proto.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse
from dekaf_proto.metadata import Metadata
from dekaf_proto.node import NodeKey
from dekaf_proto.operation import Call, Flow, Operation, Sleep, Wait
from dekaf_proto.types import TopicPartition

log = logging.getLogger("dekaf.group")

_PROTOCOL_TYPE: Final = "consumer"
_MAX_REASON: Final = 255
#: A broker may take this much longer than the members to end a rebalance, in seconds (G9).
_JOIN_GRACE: Final = 5.0
#: When the first heartbeat of a generation is sent, in seconds; the steps double from there.
_FIRST_HEARTBEAT: Final = 0.1


class GroupMetadata(NamedTuple):
    """Who a member is at the moment: what a producer needs to commit the offsets in a transaction.

    `generation_id` is -1 and `member_id` empty while the consumer is no member.
    """

    group_id: str
    generation_id: int = -1
    member_id: str = ""
    group_instance_id: str | None = None


class MemberState(Enum):
    """See the module."""

    OUT = auto()
    JOINING = auto()
    SYNCING = auto()
    STABLE = auto()
    FAILED = auto()


class MemberInput(Enum):
    """What moves a member from state to state."""

    JOIN = auto()
    JOINED = auto()
    SYNCED = auto()
    OUT = auto()
    FAIL = auto()


_S = MemberState
_I = MemberInput
TRANSITIONS: Final[dict[tuple[MemberState, MemberInput], MemberState]] = {
    (_S.OUT, _I.JOIN): _S.JOINING,
    (_S.STABLE, _I.JOIN): _S.JOINING,
    (_S.JOINING, _I.JOIN): _S.JOINING,
    (_S.SYNCING, _I.JOIN): _S.JOINING,
    (_S.FAILED, _I.JOIN): _S.JOINING,
    (_S.JOINING, _I.JOINED): _S.SYNCING,
    (_S.SYNCING, _I.SYNCED): _S.STABLE,
    **{(state, _I.OUT): _S.OUT for state in _S},
    **{(state, _I.FAIL): _S.FAILED for state in _S},
}


class Host(Protocol):
    """The consumer, as its membership sees it."""

    def topics(self) -> list[str]:
        """What it is subscribed to."""

    @property
    def by_pattern(self) -> bool:
        """Whether it takes all topics to be known to know those."""

    def owned(self) -> list[TopicPartition]:
        """What it has."""

    def prepare(self, eager: bool, deadline: float) -> Flow[None]:
        """Before a join: gives up everything, or what it is no longer subscribed to."""

    def apply(self, assigned: Sequence[TopicPartition], eager: bool, deadline: float) -> Flow[bool]:
        """Takes an assignment; whether something was given up for it, which the group has to be told."""

    def lose(self, cause: str) -> None:
        """All that it has may be somebody else's by now."""

    def wanted_topics(self) -> None:
        """The topics of the group have changed, of which metadata is needed."""

    def idle_since(self) -> float:
        """When the program has last asked for something, or acknowledged something."""

    def fail(self, error: Exception) -> None:
        """The program must know."""


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
        #: The topics of all members, which only the leader has to know.
        self.group_topics: list[str] = []
        #: Why a rebalance is due, None if none is.
        self._due: str | None = None
        self._resting_until = 0.0
        self._failures = 0
        #: No attempt before the program has polled again; or, after a fatal error, subscribed anew.
        self._stalled = False
        self._fatal: Exception | None = None
        self._life: Operation[None] | None = None
        self._heart: object = None
        #: What was subscribed to when the member joined, and how the group's topics looked to the leader.
        self._joined_topics: list[str] = []
        self._seen: object = None
        #: Whether what the leader has shared out leaves a partition to nobody, for one more round.
        self._withheld = False
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
        elif self.group_topics and self._seen != self._look(self.group_topics):
            self.rejoin("the partitions of the group's topics have changed")

    def stop(self) -> None:
        """Ends all attempts at once; until it leaves, it stays a member. Not for flows of the membership's own."""
        if self.is_joining:
            self._metadata.coordinator_lost(self._group_id, "a join is given up")  # nothing may wait behind it
        if self._life is not None:
            self._life.cancel()
            self._life = None
        self._due = None
        self.group_topics = []

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
        response: LeaveGroupResponse = yield Call(coordinator, self._leave_request(member_id, reason))
        for code in (response.error_code, *(member.error_code for member in response.members)):
            if code != ErrorCode.NONE:
                log.info("group %s: leaving: %s", self._group_id, ErrorCode.of(code).name)

    def _leave_request(self, member_id: str, reason: str) -> ByVersion[LeaveGroupResponse]:
        def build(version: int) -> LeaveGroupRequest:
            if version < 3:
                return LeaveGroupRequest(group_id=self._group_id, member_id=member_id)
            members = [MemberIdentity(member_id=member_id, reason=reason[:_MAX_REASON])]
            return LeaveGroupRequest(group_id=self._group_id, members=members)

        return ByVersion(LeaveGroupRequest, build)

    # ------------------------------------------------------------------------------------------------- what is wrong

    def generation_refused(self, code: ErrorCode, sent: GroupMetadata) -> bool:
        """A request under `sent` was answered with 22, 25 or 82; whether that still concerns us (G18)."""
        if sent != self.identity:
            return False
        if code is ErrorCode.FENCED_INSTANCE_ID:
            self._fail(self._fenced())
        else:
            cause = f"the coordinator has removed it from the group ({code.name})"
            self._lose(cause, keep_id=code is ErrorCode.ILLEGAL_GENERATION)
        return True

    def _lose(self, cause: str, *, keep_id: bool) -> None:
        self._reset(cause, keep_id=keep_id)
        self._host.lose(cause)
        self.rejoin(cause)

    def _reset(self, cause: str, *, keep_id: bool) -> None:
        """No member any more. With `keep_id` it comes back under its old name, so that nobody waits for a ghost."""
        self.generation = -1
        if not keep_id:
            self.member_id = ""
        self._last = ([], -1)
        self._heart = None
        self.lost_because = cause
        self.lost_at = self._client.now + self._client.unix_offset
        self.group_topics = []
        self._move(MemberInput.OUT)

    def _fail(self, error: Exception) -> None:
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

    def _coordinator_lost(self, code: ErrorCode) -> None:
        self._metadata.coordinator_lost(self._group_id, code.name)

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
                self._fail(error)
            except KafkaError as error:
                if error.retriable:
                    self._rest(error)
                else:
                    self._fail(error)

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
        self._heart = None  # a join speaks for itself
        self._move(MemberInput.JOIN)
        comes_back = self.generation < 0 and self._client.config.group_instance_id is not None
        joined = yield from self._join(coordinator, cause)
        if joined is None:
            return
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
            return
        self._last = (assignment, self.generation)
        if self._withheld or (comes_back and (joined.skip_assignment or joined.leader != joined.member_id)):
            looking = self._look_for_gaps(joined.leader, patient=self._withheld)
            self._client.runner.start_background(looking, "looking for gaps")
        deadline = self._client.now + self._client.config.max_poll_interval_ms / 1000
        if (yield from self._host.apply(assignment, self.eager, deadline)):
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
        rebalance = config.max_poll_interval_ms / 1000
        timeout = max(config.request_timeout_ms / 1000, rebalance + _JOIN_GRACE)
        try:
            response: JoinGroupResponse = yield Call(coordinator, self._join_request(cause), None, timeout)
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
            self._judge(response.error_code, "joining")
        return None

    def _again(self, cause: str) -> None:
        if self._due is None:
            self._due = cause

    def _judge(self, number: int, doing: str) -> None:
        """What every answer may hold: raises, retriable or not."""
        code = ErrorCode.of(number)
        if code.invalidates == "coordinator":
            self._coordinator_lost(code)
        if code is ErrorCode.GROUP_AUTHORIZATION_FAILED:
            raise GroupAuthorizationError(number, self._group_id)
        raise broker_error(number, f"{doing} group {self._group_id}")

    def _join_request(self, cause: str) -> ByVersion[JoinGroupResponse]:
        config = self._client.config
        last, generation = self._last
        owned = tuple(self._host.owned())
        topics = tuple(self._joined_topics)
        protocols = []
        for name, assignor in self._assignors.items():
            try:
                user_data = assignor.user_data(topics, tuple(last), generation)
                subscription = Subscription(topics, user_data, owned, generation, config.client_rack or None)
                metadata = encode_subscription(subscription)
            except Exception as error:
                raise AssignorError(name, f"{type(error).__name__} from user_data: {error}") from error
            protocols.append(JoinGroupRequestProtocol(name=name, metadata=metadata))

        def build(version: int) -> JoinGroupRequest:
            return JoinGroupRequest(
                group_id=self._group_id,
                session_timeout_ms=config.session_timeout_ms,
                rebalance_timeout_ms=config.max_poll_interval_ms,
                member_id=self.member_id,
                group_instance_id=config.group_instance_id,
                protocol_type=_PROTOCOL_TYPE,
                protocols=protocols,
                reason=cause[:_MAX_REASON],
            )

        return ByVersion(JoinGroupRequest, build)

    def _joined(self, response: JoinGroupResponse, cause: str) -> JoinGroupResponse:
        wrong_type = response.protocol_type is not None and response.protocol_type != _PROTOCOL_TYPE
        if wrong_type or response.protocol_name not in self._assignors:
            self._again(cause)
            kind = f"protocol {response.protocol_name!r} of type {response.protocol_type!r}"
            raise broker_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, f"group {self._group_id} has chosen {kind}")
        self.member_id = response.member_id
        self.generation = response.generation_id
        self._move(MemberInput.JOINED)
        self._start_heart()
        return response

    # -------------------------------------------------------------------------------------------------------- syncing

    def _sync(self, coordinator: NodeKey, joined: JoinGroupResponse, cause: str) -> Flow[list[TopicPartition] | None]:
        sent = self.identity
        assignments: list[SyncGroupRequestAssignment] = []
        self.group_topics = []
        self._withheld = False
        if joined.leader == joined.member_id:
            shared = yield from self._share_out(joined)
            if sent != self.identity:
                self._again(cause)
                return None
            assignments = [
                SyncGroupRequestAssignment(member_id=member_id, assignment=assignment)
                for member_id, assignment in shared.items()
            ]
        request = SyncGroupRequest(
            group_id=self._group_id,
            generation_id=sent.generation_id,
            member_id=sent.member_id,
            group_instance_id=sent.group_instance_id,
            protocol_type=_PROTOCOL_TYPE,
            protocol_name=joined.protocol_name,
            assignments=assignments,
        )
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
            self._judge(response.error_code, "joining")
        return None

    def _synced(self, response: SyncGroupResponse) -> list[TopicPartition]:
        assignment = decode_assignment(response.assignment)  # G7: what is no assignment ends the attempt
        self._move(MemberInput.SYNCED)
        return assignment

    def _share_out(self, joined: JoinGroupResponse) -> Flow[Mapping[str, bytes]]:
        """The leader's part (G11). Nothing is shared out if a static leader has come back (G13)."""
        assert joined.protocol_name is not None
        members = []
        for member in joined.members:
            subscription = decode_subscription(member.metadata)
            members.append(
                GroupMember(
                    id=member.member_id,
                    topics=subscription.topics,
                    owned=subscription.owned,
                    generation=subscription.generation,
                    instance_id=member.group_instance_id,
                    rack=subscription.rack,
                    user_data=subscription.user_data,
                )
            )
        yield from self._watch({topic for member in members for topic in member.topics})
        if joined.skip_assignment:
            return {}
        cluster = self._client.cluster
        partitions = {topic: len(cluster.partitions(topic)) for topic in self.group_topics}
        topics = GroupTopics({topic: count for topic, count in partitions.items() if count}, self._racks())
        shared, given = _checked(self._assignors[joined.protocol_name], topics, members)
        self._withheld = any(tp not in given for member in members for tp in member.owned)
        return shared

    def _watch(self, topics: Iterable[str]) -> Flow[None]:
        """The topics of the group, as its leader: from here on it notices what becomes of them."""
        self.group_topics = sorted(topics)
        self._host.wanted_topics()
        cluster = self._client.cluster
        until = self._client.now + self._client.config.request_timeout_ms / 1000
        yield Wait(lambda: all(topic in cluster.topics for topic in self.group_topics), until)
        self._seen = self._look(self.group_topics)

    def _look(self, topics: Sequence[str]) -> object:
        """What the leader goes by: how many partitions topics have, and, where racks count, in which they are."""
        cluster = self._client.cluster
        racks = self._racks() if self._client.config.client_rack else {}  # else a broker's restart is no reason
        return [(topic, len(cluster.partitions(topic))) for topic in topics], {tp: set(racks[tp]) for tp in racks}

    def _racks(self) -> dict[TopicPartition, tuple[str, ...]]:
        """In which racks each partition has a replica, as far as that is known."""
        cluster = self._client.cluster
        racks = {node_id: broker.rack for node_id, broker in cluster.brokers.items() if broker.rack}
        if not racks:
            return {}
        return {
            TopicPartition(topic, number): tuple(racks[node] for node in info.replicas if node in racks)
            for topic in self.group_topics
            if topic in cluster.topics
            for number, info in cluster.topics[topic].partitions.items()
        }

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
                    yield from self._watch(shares.topics)
                topics = self.group_topics or self._joined_topics
                left = shares.gaps({topic: self._client.cluster.partitions(topic) for topic in topics})
                if left:
                    self.rejoin(f"nobody has {', '.join(map(str, left))}")
            if not patient:
                return

    # ----------------------------------------------------------------------------------------------------- heartbeats

    def _start_heart(self) -> None:
        self._heart = heart = object()
        self._client.runner.start_background(self._beat(heart), "heartbeats")

    def _beat(self, heart: object) -> Flow[None]:
        """Heartbeats of one generation, as long as it is the present one (G14, G19)."""
        config = self._client.config
        interval, session = config.heartbeat_interval_ms / 1000, config.session_timeout_ms / 1000
        heard = self._client.now
        # The next rebalance often comes soon after one, as others join or give something up: ask more often at first.
        step = min(_FIRST_HEARTBEAT, interval)
        due = heard + step
        failures = 0

        def ended() -> bool:
            return self._heart is not heart

        while not ended():
            yield Wait(ended, min(due, self._slow_at()))
            if ended():
                return
            if self._client.now >= self._slow_at():
                self._too_slow()
                return
            if self._client.now < due:
                continue
            try:
                coordinator = yield from self._metadata.coordinator(self._group_id)
                if ended():
                    return
                left = max(heard + session - self._client.now, interval)
                number = yield from self._heartbeat(coordinator, min(left, config.request_timeout_ms / 1000))
                if ended():
                    return
                if number == ErrorCode.NONE:
                    heard = self._client.now
                    failures = 0
                    step = min(2 * step, interval)
                    due = heard + step
                    continue
                if self._heard(number):
                    return
                if number == ErrorCode.REBALANCE_IN_PROGRESS:
                    heard = self._client.now
                    due = heard + interval
                    continue
            except KafkaError as error:
                if ended():
                    return
                if not error.retriable:
                    self._fail(error)
                    return
                log.info("group %s: heartbeat: %s", self._group_id, error)
            failures += 1
            if self._client.now >= heard + session:
                self._coordinator_lost(ErrorCode.COORDINATOR_NOT_AVAILABLE)
                heard = self._client.now
            due = self._client.now + min(self._client.backoff(failures), interval)

    def _slow_at(self) -> float:
        """When the program is too slow, if it does nothing until then; never if it is about to leave anyway."""
        if not self.is_active:
            return float("inf")
        return self._host.idle_since() + self._client.config.max_poll_interval_ms / 1000

    def _heartbeat(self, coordinator: NodeKey, timeout: float) -> Flow[int]:
        sent = self.identity
        request = HeartbeatRequest(
            group_id=self._group_id,
            generation_id=sent.generation_id,
            member_id=sent.member_id,
            group_instance_id=sent.group_instance_id,
        )
        response: HeartbeatResponse = yield Call(coordinator, request, None, timeout)
        return response.error_code

    def _heard(self, number: int) -> bool:
        """What the coordinator has said instead of yes; whether that is the end of this generation."""
        code = ErrorCode.of(number)
        if code is ErrorCode.REBALANCE_IN_PROGRESS:
            if self.state is MemberState.STABLE:
                self.rejoin("the group is rebalancing")
            return False
        if code in (ErrorCode.ILLEGAL_GENERATION, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID):
            self.generation_refused(code, self.identity)
            return True
        if code.invalidates == "coordinator":
            self._coordinator_lost(code)
        elif not code.retriable:
            self._judge(number, "a heartbeat to")
        return False

    def _too_slow(self) -> None:
        """The program has not asked for anything for too long: others are to have its partitions (G21)."""
        seconds = self._client.config.max_poll_interval_ms / 1000
        cause = f"the program asked for no further record for {seconds:g} s (max_poll_interval_ms)"
        log.warning("group %s: leaving it, %s", self._group_id, cause)
        self._client.runner.start_background(self.leave(cause), "leaving the group")
        self._reset(cause, keep_id=True)  # the id is what the goodbye needs, which forgets it
        self._host.lose(cause)
        self.rejoin(cause)
        self._stalled = True


def _checked(
    assignor: Assignor, topics: GroupTopics, members: Sequence[GroupMember]
) -> tuple[Mapping[str, bytes], Mapping[TopicPartition, str]]:
    """What the assignor gives each member, and who gets each partition, if that can be used: whatever else it does
    becomes an AssignorError."""
    name = assignor.name
    try:
        shared = {member_id: list(tps) for member_id, tps in assignor.assign(topics, members).items()}
        given: dict[TopicPartition, str] = {}
        subscribed = {member.id: set(member.topics) for member in members}
        for member_id, tps in shared.items():
            if member_id not in subscribed:
                raise AssignorError(name, f"{member_id!r} is no member of the group")
            for tp in tps:
                _check_one(name, tp, topics, given.setdefault(tp, member_id) != member_id)
                if tp.topic not in subscribed[member_id]:
                    raise AssignorError(name, f"it gives {tp} to {member_id!r}, which is not subscribed to {tp.topic}")
        return {member.id: encode_assignment(shared.get(member.id, ())) for member in members}, given
    except AssignorError:
        raise
    except Exception as error:
        raise AssignorError(name, f"{type(error).__name__}: {error}") from error


def _check_one(name: str, tp: TopicPartition, topics: GroupTopics, twice: bool) -> None:
    if not 0 <= tp.partition < topics.partitions.get(tp.topic, 0):
        raise AssignorError(name, f"there is no partition {tp}")
    if twice:
        raise AssignorError(name, f"it gives {tp} to two members")
