"""Members of a group without any logic, for tests of the coordinator: each has its own connections.

group = GroupPeer(Broker())
a = group.member()
a.join()                       # error 79 and all; `a.joined` is the answer, None while it waits
a.sync({"a": b"all"})          # `a.synced` likewise
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from dekaf_proto.broker import Broker, GroupOptions, GroupSnapshot, GroupState
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import (
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    OffsetCommitRequest,
    SyncGroupRequest,
    SyncGroupResponse,
)
from dekaf_proto.messages.join_group import JoinGroupRequestProtocol
from dekaf_proto.messages.leave_group import MemberIdentity
from dekaf_proto.messages.offset_commit import OffsetCommitRequestPartition, OffsetCommitRequestTopic
from dekaf_proto.messages.sync_group import SyncGroupRequestAssignment
from dekaf_proto.wire.schema import Request, Response
from tests.broker.peer import Peer

RANGE = (("range", b"r"),)
S = TypeVar("S", bound=Response)


class Requester(Protocol):
    """A Peer, or something like it that talks to a real Kafka."""

    def connect(self, node: int = 0) -> int: ...
    def send(self, conn: int, request: Request[S], version: int) -> int: ...
    def receive(self, conn: int, cls: type[S], version: int) -> S | None: ...
    def ask(self, request: Request[S], version: int, *, conn: int | None = None, node: int = 0) -> S: ...
    def pass_time(self, seconds: float) -> None: ...


class Members(Requester):
    """Whoever can send requests for members of one group. `group_id` and `topic`: which, and for what they commit."""

    group_id = "g"
    topic = "t"

    def member(
        self,
        instance: str | None = None,
        *,
        protocols: Sequence[tuple[str, bytes]] = RANGE,
        protocol_type: str = "consumer",
        session: float = 10.0,
        rebalance: float = 60.0,
        version: int = 9,
    ) -> Member:
        """One that has not joined. `version`: of JoinGroup; the other requests are as old."""
        return Member(self, instance, protocols, protocol_type, session, rebalance, version)


class GroupPeer(Peer, Members):
    """Drives a broker with members of a group."""

    def view(self) -> GroupSnapshot:
        """The group as it is now."""
        return self.broker.group("g")

    def stable(self, *members: Member) -> None:
        """All of these join, and get their number in the order in which they are known as their assignment."""
        for member in members:
            if member.id not in [known.member_id for known in self.view().members]:
                member.join()
        while self.view().state is not GroupState.COMPLETING_REBALANCE:
            for member in members:
                if member.joined is None or self.view().state is not GroupState.COMPLETING_REBALANCE:
                    member.join()
        for member in members:
            member.sync({known.member_id: b"%d" % n for n, known in enumerate(self.view().members)})
        assert self.view().state is GroupState.STABLE
        assert [member.receive_sync() for member in members]


class Member:
    """One member; see the module."""

    def __init__(
        self,
        peer: Members,
        instance: str | None,
        protocols: Sequence[tuple[str, bytes]],
        protocol_type: str,
        session: float,
        rebalance: float,
        version: int,
    ) -> None:
        self.peer = peer
        self.instance = instance
        self.protocols = protocols
        self.protocol_type = protocol_type
        self.session = session
        self.rebalance = rebalance
        self.version = version
        self.id = ""
        self.generation = -1
        self.node = 0
        self.leader = ""
        self.protocol: str | None = protocols[0][0] if protocols else "none"
        self._joining: int | None = None
        self._syncing: int | None = None

    # --------------------------------------------------------------------------------------------------------- joining

    def join(self) -> JoinGroupResponse | None:
        """JoinGroup, twice if the first answer is a member id; the answer, None if it waits."""
        self.send_join()
        found = self.joined
        if found is not None and found.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            assert (found.generation_id, found.members) == (-1, [])
            self.send_join()
            found = self.joined
        return found

    def send_join(self) -> None:
        """One JoinGroup, on a connection of its own."""
        protocols = [JoinGroupRequestProtocol(*protocol) for protocol in self.protocols]
        request = JoinGroupRequest(
            self.peer.group_id,
            int(self.session * 1000),
            int(self.rebalance * 1000),
            self.id,
            self.instance,
            self.protocol_type,
            protocols,
        )
        if self.version < 5:
            request.group_instance_id = None
        self._joining = self.peer.connect(self.node)
        self.peer.send(self._joining, request, self.version)

    @property
    def joined(self) -> JoinGroupResponse | None:
        """The answer to the last JoinGroup, once; None while it waits."""
        if self._joining is None:
            return None
        found = self.peer.receive(self._joining, JoinGroupResponse, self.version)
        if found is not None:
            self._joining = None
            self.id, self.leader = found.member_id, found.leader
            self.protocol = found.protocol_name or self.protocol
            self.generation = found.generation_id if not found.error_code else self.generation
        return found

    def receive_join(self) -> JoinGroupResponse:
        """The answer that must have come."""
        found = self.joined
        assert found is not None
        return found

    # --------------------------------------------------------------------------------------------------------- syncing

    def sync(
        self,
        assignments: Mapping[str, bytes] | None = None,
        *,
        protocol_type: str | None = "consumer",
        protocol: str | None = "",
    ) -> SyncGroupResponse | None:
        """SyncGroup; the answer, None if it waits. Only the leader's assignments are sent. `protocol`: "" for the one
        that the JoinGroup's answer has named."""
        _ = self.joined
        given = assignments if assignments is not None and self.leader == self.id else {}
        entries = [SyncGroupRequestAssignment(member, what) for member, what in given.items()]
        request = SyncGroupRequest(
            self.peer.group_id,
            self.generation,
            self.id,
            self.instance,
            protocol_type,
            self.protocol if protocol == "" else protocol,
            entries,
        )
        version = self._version((4, 3), (7, 5))
        if version < 3:
            request.group_instance_id = None
        self._syncing = self.peer.connect(self.node)
        self.peer.send(self._syncing, request, version)
        return self.synced

    @property
    def synced(self) -> SyncGroupResponse | None:
        """The answer to the last SyncGroup, kept; None while it waits."""
        if self._syncing is None:
            return None
        found = self.peer.receive(self._syncing, SyncGroupResponse, self._version((4, 3), (7, 5)))
        if found is not None:
            self._last_sync, self._syncing = found, None
        return found

    def receive_sync(self) -> SyncGroupResponse:
        """The last answer, which must have come."""
        _ = self.synced
        assert self._syncing is None
        return self._last_sync

    # ------------------------------------------------------------------------------------------------------ the others

    def heartbeat(self) -> int:
        """Heartbeat; the error."""
        version = self._version((5, 3), (6, 4))
        request = HeartbeatRequest(
            self.peer.group_id, self.generation, self.id, self.instance if version >= 3 else None
        )
        return self.peer.ask(request, version, node=self.node).error_code

    def leave(self) -> int:
        """LeaveGroup; the error."""
        if self.version < 6:
            return self.peer.ask(LeaveGroupRequest(self.peer.group_id, self.id), 2, node=self.node).error_code
        members = [MemberIdentity(self.id, self.instance)]
        response = self.peer.ask(LeaveGroupRequest(self.peer.group_id, members=members), 5, node=self.node)
        return response.error_code or response.members[0].error_code

    def commit(self, offset: int = 1) -> int:
        """OffsetCommit for partition 0; the error."""
        topic = OffsetCommitRequestTopic(self.peer.topic, partitions=[OffsetCommitRequestPartition(0, offset)])
        request = OffsetCommitRequest(self.peer.group_id, self.generation, self.id, self.instance, topics=[topic])
        return self.peer.ask(request, 8, node=self.node).topics[0].partitions[0].error_code

    def _version(self, *steps: tuple[int, int]) -> int:
        """The version of another API that came with this one's of JoinGroup."""
        return max([0, *(other for own, other in steps if self.version >= own)])


def broker(nodes: int = 1, **options: int) -> Broker:
    """A broker with a topic "t", whose node 0 coordinates the group."""
    made = Broker(nodes=nodes, group_options=GroupOptions(**options))
    made.create_topic("t", 2)
    made.move_coordinator("g", 0)
    return made
