"""`Group`: the coordinator's side of the classic group protocol, and the group's offsets (sections 5 and 7).

A group goes round through four states:

    EMPTY                   no members; offsets may be there, and may be committed by anybody
    PREPARING_REBALANCE     waits for a JoinGroup of each member, at most for the longest rebalance timeout
    COMPLETING_REBALANCE    each has its JoinGroup's answer; waits for the assignment, in the leader's SyncGroup
    STABLE                  each has its assignment, or can ask for it

A JoinGroup and a SyncGroup that have to wait are a `Reply` in the member, filled in later. A member that does not wait
has a deadline, moved by heartbeats and commits. After the rebalance timeout, members that have not joined again are out
(but for static ones), and so are those that have joined and did not ask for their assignment.

Another node that becomes the coordinator knows what was written down, and nothing else: the last generation that had an
assignment, with the members of that time. Requests that wait at the old one get NOT_COORDINATOR. The number of a
generation that was begun and lost is therefore used again.

Who asks is checked by the handlers (coordinator, loading). Times in seconds; it knows no connection and no version of a
message.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

from dekaf_proto.broker.groups import (
    CommittedOffset,
    GroupOptions,
    GroupSnapshot,
    GroupState,
    Joined,
    JoiningMember,
    Member,
    OnAnswer,
    Persisted,
    Reply,
    Synced,
)
from dekaf_proto.broker.members import Members
from dekaf_proto.broker.pending_offsets import PendingOffsets
from dekaf_proto.errors import ErrorCode
from dekaf_proto.types import TopicPartition

_EMPTY: Final = GroupState.EMPTY
_PREPARING: Final = GroupState.PREPARING_REBALANCE
_COMPLETING: Final = GroupState.COMPLETING_REBALANCE
_STABLE: Final = GroupState.STABLE
_FOREVER: Final = float("inf")
_MOMENT: Final = 0.001
_OUT: Final = Joined(ErrorCode.UNKNOWN_MEMBER_ID)

#: state -> the states it can come from.
TRANSITIONS: Final[Mapping[GroupState, tuple[GroupState, ...]]] = {
    _PREPARING: (_EMPTY, _COMPLETING, _STABLE),
    _COMPLETING: (_PREPARING,),
    _STABLE: (_COMPLETING,),
    _EMPTY: (_PREPARING,),
}


class Group:
    """See the module."""

    def __init__(self, node: int | None, options: GroupOptions, random: Random, on_answer: OnAnswer) -> None:
        #: The node that has it in memory: its coordinator, until another one takes over.
        self.node = node
        self.offsets: dict[TopicPartition, CommittedOffset] = {}
        self.pending = PendingOffsets(self._store)
        self.state = _EMPTY
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        self.members = Members()
        self.persisted: Persisted | None = None
        self._options = options
        self._random = random
        self._on_answer = on_answer
        #: member id -> until when its second JoinGroup must have come (error 79).
        self._pending: dict[str, float] = {}
        #: Those of this generation that have not sent SyncGroup.
        self._not_synced: dict[str, None] = {}
        self._join_deadline = _FOREVER
        self._sync_deadline = _FOREVER
        #: The first rebalance of a group can wait for more members: seconds left of that, and whether one has come.
        self._initial_left: float | None = None
        self._new_member_came = False

    # ---------------------------------------------------------------------------------------------------------- views

    def snapshot(self) -> GroupSnapshot:
        """The group as it is now."""
        return GroupSnapshot(
            self.state,
            self.generation,
            self.protocol_type,
            self.protocol,
            self.members.leader,
            tuple(member.snapshot() for member in self.members),
            tuple(self._pending),
        )

    # --------------------------------------------------------------------------------------------------------- offsets

    def commit(self, partition: TopicPartition, committed: CommittedOffset) -> None:
        """Stores an offset, also a negative one (P2)."""
        self.pending.committed(partition)
        self._store(partition, committed)

    def erase(self, partition: TopicPartition) -> None:
        """Forgets what was committed."""
        self.pending.committed(partition)
        self.offsets.pop(partition, None)

    def _store(self, partition: TopicPartition, committed: CommittedOffset) -> None:
        self.offsets[partition] = committed

    def check_commit(self, generation: int, member_id: str, instance_id: str | None, now: float) -> ErrorCode:
        """Whether somebody may commit (P4, G25); if so, it is a sign of life as well (G20)."""
        if generation < 0 and self.state is _EMPTY:
            return ErrorCode.NONE  # a program that is in no group may use one that has no members
        if generation < 0 and not member_id and instance_id is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if error := self._check(member_id, instance_id, generation):
            return error
        if self.state is _COMPLETING:
            return ErrorCode.REBALANCE_IN_PROGRESS
        self._alive(self.members[member_id], now)
        return ErrorCode.NONE

    def check_transactional_commit(self, generation: int, member_id: str, instance_id: str | None) -> ErrorCode:
        """Whether a transaction may commit for a member, or, where it names none, for the group (T17)."""
        if generation < 0 and (self.state is _EMPTY or (not member_id and instance_id is None)):
            return ErrorCode.NONE
        return self._check(member_id, instance_id, generation)

    # -------------------------------------------------------------------------------------------------------- requests

    def join(self, member_id: str, given: JoiningMember, *, two_steps: bool, skips: bool, now: float) -> Reply[Joined]:
        """JoinGroup. `two_steps`: a dynamic member gets its id first, with error 79 (G10); `skips`: it understands
        SkipAssignment (G13)."""
        reply: Reply[Joined] = Reply()
        if not self._has_room(member_id):
            self._pending.pop(member_id, None)
            if member_id in self.members:
                self._remove(self.members[member_id])
            self._maybe_complete(now)
            return Reply(Joined(ErrorCode.GROUP_MAX_SIZE_REACHED))
        if not self._supports(given):
            return Reply(Joined(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, member_id))
        if member_id:
            self._join_again(member_id, given, reply, now)
            return reply
        new_id = f"{given.client_id if given.instance_id is None else given.instance_id}-{self._new_uuid()}"
        if old_id := self.members.static(given.instance_id):
            self._join_in_place(self.members[old_id], new_id, given, reply, skips, now)
        elif given.instance_id is None and two_steps:
            self._pending[new_id] = now + given.session_timeout
            reply.value = Joined(ErrorCode.MEMBER_ID_REQUIRED, new_id)
        else:
            self._add(new_id, given, reply, now)
        return reply

    def sync(
        self,
        generation: int,
        member_id: str,
        instance_id: str | None,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Mapping[str, bytes],
        now: float,
    ) -> Reply[Synced]:
        """SyncGroup; the leader's brings the assignment."""
        if error := self._check(member_id, instance_id, generation):
            return Reply(Synced(error))
        if protocol_type not in (None, self.protocol_type) or protocol not in (None, self.protocol):
            return Reply(Synced(ErrorCode.INCONSISTENT_GROUP_PROTOCOL))
        if self.state is _PREPARING:
            return Reply(Synced(ErrorCode.REBALANCE_IN_PROGRESS))
        member = self.members[member_id]
        self._not_synced.pop(member_id, None)
        self._stop_waiting_for_syncs()
        if self.state is _STABLE:
            return Reply(self._synced(member))
        reply = member.syncing = Reply()
        if member_id == self.members.leader:
            for other in self.members:
                other.assignment = assignments.get(other.id, b"")
            self._enter(_STABLE)
            self._persist()
            for other in self.members:
                self._answer_sync(other, self._synced(other), now)
        return reply

    def heartbeat(self, generation: int, member_id: str, instance_id: str | None, now: float) -> ErrorCode:
        """Heartbeat: fine in CompletingRebalance as well (G14)."""
        if error := self._check(member_id, instance_id, generation):
            return error
        self._alive(self.members[member_id], now)
        return ErrorCode.REBALANCE_IN_PROGRESS if self.state is _PREPARING else ErrorCode.NONE

    def leave(self, member_id: str, instance_id: str | None, now: float) -> ErrorCode:
        """LeaveGroup of one member; an operator may name a static one by its instance id alone."""
        member_id = member_id or self.members.static(instance_id)
        if self._pending.pop(member_id, None) is not None:
            self._maybe_complete(now)
            return ErrorCode.NONE
        if error := self._check(member_id, instance_id, self.generation):
            return error
        self.expire(member_id, now)
        return ErrorCode.NONE

    def expire(self, member_id: str, now: float) -> None:
        """A member is out, as after its session timeout."""
        self._remove(self.members[member_id])
        self._rebalance(now)

    # ------------------------------------------------------------------------------------------------------------ time

    def next_deadline(self) -> float:
        """When `handle_timeout` is due; infinite for never."""
        members = (member.deadline for member in self.members if not self._waits(member))
        return min(self._join_deadline, self._sync_deadline, *self._pending.values(), *members)

    def handle_timeout(self, now: float) -> None:
        """Does what is due, one after the other."""
        while (deadline := self.next_deadline()) <= now:
            if deadline == self._join_deadline:
                self._join_timed_out(now)
            elif deadline == self._sync_deadline:
                self._sync_timed_out(now)
            else:
                self._one_expired(deadline, now)

    def _one_expired(self, deadline: float, now: float) -> None:
        """The first one whose time is up."""
        for member_id, until in self._pending.items():
            if until == deadline:
                del self._pending[member_id]
                self._maybe_complete(now)
                return
        self.expire(next(m.id for m in self.members if m.deadline == deadline and not self._waits(m)), now)

    def _join_timed_out(self, now: float) -> None:
        self._join_deadline = _FOREVER
        if self._initial_left is not None and self._new_member_came and self._initial_left > 0:
            self._new_member_came = False
            delay = min(self._options.initial_rebalance_delay_ms / 1000, self._initial_left)
            self._initial_left -= delay
            self._join_deadline = now + delay
        else:
            self._complete_join(now)

    def _sync_timed_out(self, now: float) -> None:
        self._sync_deadline = _FOREVER
        for member_id in list(self._not_synced):
            self._remove(self.members[member_id])
        self._rebalance(now)

    @staticmethod
    def _waits(member: Member) -> bool:
        """Whether it can't send heartbeats, because the coordinator owes it an answer. A new one waits only so long: it
        may have given up, and have joined again under another id."""
        return member.syncing is not None or (member.joining is not None and not member.is_new)

    def _alive(self, member: Member, now: float) -> None:
        member.deadline = now + member.given.session_timeout

    # -------------------------------------------------------------------------------------------------- another node

    def move(self, node: int | None, ready: float) -> None:
        """Another node is the coordinator. It has read what was written down at `ready`."""
        self.node = node
        for member in self.members:
            self._answer_join(member, Joined(ErrorCode.NOT_COORDINATOR, member.id))
            self._answer_sync(member, Synced(ErrorCode.NOT_COORDINATOR), ready)
        self._pending.clear()
        self._not_synced.clear()
        self._join_deadline = self._sync_deadline = _FOREVER
        found = Persisted(0, None, None, "", ()) if self.persisted is None else self.persisted
        self.state = _STABLE if found.members else _EMPTY
        self.generation, self.protocol_type, self.protocol, leader, members = found
        self.members = Members()
        for member_id, given, assignment in members:
            member = Member(member_id, given, assignment=assignment, is_new=False)
            self._alive(member, ready)
            self.members.add(member)
        self.members.leader = leader

    def _persist(self) -> None:
        self.persisted = Persisted(
            self.generation,
            self.protocol_type,
            self.protocol,
            self.members.leader,
            tuple(
                (m.id, m.given._replace(protocols=((str(self.protocol), m.metadata(self.protocol)),)), m.assignment)
                for m in self.members
            ),
        )

    # ---------------------------------------------------------------------------------------------------------- checks

    def _check(self, member_id: str, instance_id: str | None, generation: int) -> ErrorCode:
        """Whether somebody is who he says, and up to date."""
        if error := self.members.identity_error(member_id, instance_id):
            return error
        return ErrorCode.NONE if generation == self.generation else ErrorCode.ILLEGAL_GENERATION

    def _has_room(self, member_id: str) -> bool:
        limit = self._options.max_size
        if self.state is _EMPTY:
            return True
        if self.state is _PREPARING:
            member = self.members.get(member_id)
            waiting = [m for m in self.members if m.joining is not None]
            return (member is not None and member.joining is not None) or len(waiting) < limit
        return member_id in self.members or len(self.members) < limit

    def _supports(self, given: JoiningMember) -> bool:
        """Whether the group could agree on one of its protocols."""
        if not given.protocol_type or not given.protocols:
            return False
        return self.state is _EMPTY or (given.protocol_type == self.protocol_type and self.members.agree_on(given))

    # --------------------------------------------------------------------------------------------------------- joining

    def _join_again(self, member_id: str, given: JoiningMember, reply: Reply[Joined], now: float) -> None:
        """A JoinGroup with a member id."""
        if member_id in self._pending:
            del self._pending[member_id]
            self._add(member_id, given, reply, now)
            return
        if error := self._check(member_id, given.instance_id, self.generation):
            reply.value = Joined(error, member_id)
            return
        member = self.members[member_id]
        unchanged = member.given.protocols == given.protocols
        if unchanged and (self.state is _COMPLETING or (self.state is _STABLE and member_id != self.members.leader)):
            reply.value = self._joined(member)  # it has missed the answer, or asks without a reason
            return
        member.given = given
        member.joining = reply
        self._rebalance(now)

    def _join_in_place(
        self, member: Member, new_id: str, given: JoiningMember, reply: Reply[Joined], skips: bool, now: float
    ) -> None:
        """A static member comes back under a new member id, and whoever has the old one is fenced (G28)."""
        old_id, was_leader = member.id, member.id == self.members.leader
        self._answer_join(member, Joined(ErrorCode.FENCED_INSTANCE_ID, old_id))
        self._answer_sync(member, Synced(ErrorCode.FENCED_INSTANCE_ID), now)
        self.members.rename(member, new_id)
        member.given = given
        self._not_synced = {new_id if m == old_id else m: None for m in self._not_synced}
        self._alive(member, now)
        if self.state is not _STABLE or self.members.elected_protocol() != self.protocol:
            member.joining = reply
            self._rebalance(now)
            return
        self._persist()
        joined = self._joined(member)
        if was_leader:
            # G13: an older client must not take itself for the leader, it would hand out a new assignment.
            joined = joined._replace(skip_assignment=True) if skips else joined._replace(leader=old_id, members=())
        reply.value = joined

    def _add(self, member_id: str, given: JoiningMember, reply: Reply[Joined], now: float) -> None:
        if not self.members:
            self.protocol_type = given.protocol_type
        self._new_member_came = True
        deadline = now + self._options.new_member_join_timeout_ms / 1000
        self.members.add(Member(member_id, given, joining=reply, deadline=deadline))
        self._rebalance(now)

    def _rebalance(self, now: float) -> None:
        """Begins a rebalance, or looks whether the present one has them all."""
        if self.state is _PREPARING:
            self._maybe_complete(now)
            return
        if self.state is _COMPLETING:
            for member in self.members:
                member.assignment = b""
                self._answer_sync(member, Synced(ErrorCode.REBALANCE_IN_PROGRESS), now)
        self._not_synced.clear()
        self._stop_waiting_for_syncs()
        first = self.state is _EMPTY
        self._enter(_PREPARING)
        delay = self._options.initial_rebalance_delay_ms / 1000
        if first and delay > 0:
            self._initial_left = max(self._rebalance_timeout() - delay, 0.0)
            self._new_member_came = False
            self._join_deadline = now + delay
        elif first or self._all_joined():
            self._complete_join(now)
        else:
            self._join_deadline = now + self._rebalance_timeout()

    def _maybe_complete(self, now: float) -> None:
        """Somebody has joined, or will not: perhaps nobody else is waited for."""
        if self.state is _PREPARING and self._initial_left is None and self._all_joined():
            self._complete_join(now)

    def _all_joined(self) -> bool:
        return not self._pending and all(member.joining is not None for member in self.members)

    def _rebalance_timeout(self) -> float:
        return max((member.given.rebalance_timeout for member in self.members), default=_MOMENT) or _MOMENT

    def _complete_join(self, now: float) -> None:
        """The next generation has those who have joined, and static members, who may still come."""
        self._initial_left = None
        self._join_deadline = _FOREVER
        for member in self.members:
            if member.joining is None and member.instance_id is None:
                self._remove(member)
        here = [member.id for member in self.members if member.joining is not None]
        if self.members and not here:
            self._join_deadline = now + self._rebalance_timeout()  # until they come, or their sessions end
            return
        self.generation += 1
        if not here:
            self.protocol = None
            self._enter(_EMPTY)
            self._persist()
            return
        if self.members.leader not in here:
            self.members.leader = here[0]
        self.protocol = self.members.elected_protocol()
        self._enter(_COMPLETING)
        self._not_synced = dict.fromkeys(member.id for member in self.members)
        self._sync_deadline = now + self._rebalance_timeout()
        for member in self.members:
            member.is_new = False
            self._alive(member, now)
            self._answer_join(member, self._joined(member))

    def _stop_waiting_for_syncs(self) -> None:
        if not self._not_synced:
            self._sync_deadline = _FOREVER

    # ----------------------------------------------------------------------------------------------------------- parts

    def _enter(self, state: GroupState) -> None:
        assert self.state in TRANSITIONS[state], f"{self.state} -> {state}"
        self.state = state

    def _remove(self, member: Member) -> None:
        self._answer_join(member, _OUT)
        self._answer_sync(member, Synced(ErrorCode.UNKNOWN_MEMBER_ID), 0.0)
        self.members.remove(member)
        self._not_synced.pop(member.id, None)
        self._stop_waiting_for_syncs()

    def _joined(self, member: Member) -> Joined:
        """The answer to a JoinGroup of the present generation (G11: only the leader sees the members)."""
        members: tuple[tuple[str, str | None, bytes], ...] = ()
        if member.id == self.members.leader:
            members = tuple((m.id, m.instance_id, m.metadata(self.protocol)) for m in self.members)
        return Joined(
            ErrorCode.NONE, member.id, self.generation, self.protocol_type, self.protocol, self.members.leader, members
        )

    def _synced(self, member: Member) -> Synced:
        return Synced(ErrorCode.NONE, self.protocol_type, self.protocol, member.assignment)

    def _answer_join(self, member: Member, joined: Joined) -> None:
        if member.joining is not None:
            member.joining.value, member.joining = joined, None
            self._on_answer()

    def _answer_sync(self, member: Member, synced: Synced, now: float) -> None:
        if member.syncing is not None:
            member.syncing.value, member.syncing = synced, None
            self._alive(member, now)
            self._on_answer()

    def _new_uuid(self) -> str:
        text = self._random.randbytes(16).hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
