"""What there is to know of a group: its options, its offsets, its members, and how others see it. Data only; what
happens to a group is in `membership`, who may commit is in there too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.consumer_protocol import ConsumerProtocolAssignment
from dekaf_proto.types import TopicPartition
from dekaf_proto.wire import decode

T = TypeVar("T")

_FOREVER = float("inf")


class CommittedOffset(NamedTuple):
    """What a group has stored for a partition. `leader_epoch` is -1 if the client gave none."""

    offset: int
    leader_epoch: int = -1
    metadata: str | None = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOptions:
    """What Kafka's own options say of groups, by their names; `new_member_join_timeout_ms` has none, it is a constant
    there. `coordinator_load_ms`: how long a node that has become a group's coordinator answers 14 to everything."""

    initial_rebalance_delay_ms: int = 0
    min_session_timeout_ms: int = 6_000
    max_session_timeout_ms: int = 1_800_000
    max_size: int = 2**31 - 1
    new_member_join_timeout_ms: int = 300_000
    coordinator_load_ms: int = 0


class GroupState(Enum):
    """The states of a classic group, as Kafka writes them. DEAD: there is none of that name."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


class Reply(Generic[T]):
    """The answer to a request that waits: None until it is there."""

    __slots__ = ("value",)

    def __init__(self, value: T | None = None) -> None:
        self.value = value


class JoiningMember(NamedTuple):
    """What a JoinGroup says of its sender. Times in seconds; `protocols`: (name, metadata), the preferred one first."""

    client_id: str
    instance_id: str | None
    session_timeout: float
    rebalance_timeout: float
    protocol_type: str
    protocols: tuple[tuple[str, bytes], ...]


class Joined(NamedTuple):
    """The answer to a JoinGroup. `members`, for the leader only: (member id, instance id, metadata)."""

    error: ErrorCode
    member_id: str = ""
    generation: int = -1
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = ""
    members: tuple[tuple[str, str | None, bytes], ...] = ()
    skip_assignment: bool = False


class Synced(NamedTuple):
    """The answer to a SyncGroup."""

    error: ErrorCode
    protocol_type: str | None = None
    protocol: str | None = None
    assignment: bytes = b""


@dataclass(slots=True, eq=False)
class Member:
    """A member. `joining` and `syncing` are its requests that wait; after `deadline` it is taken for dead, unless it
    waits."""

    id: str
    given: JoiningMember
    joining: Reply[Joined] | None = None
    syncing: Reply[Synced] | None = None
    assignment: bytes = b""
    is_new: bool = True
    deadline: float = _FOREVER

    @property
    def instance_id(self) -> str | None:
        """The group.instance.id of a static member."""
        return self.given.instance_id

    def metadata(self, protocol: str | None) -> bytes:
        """What it says for a protocol."""
        return dict(self.given.protocols).get(protocol or "", b"")

    def snapshot(self) -> MemberSnapshot:
        """How others see it."""
        return MemberSnapshot(
            self.id,
            self.instance_id,
            self.given.client_id,
            tuple(name for name, _ in self.given.protocols),
            self.assignment,
            self.joining is not None,
        )


class MemberSnapshot(NamedTuple):
    """A member of a group. `joining`: its JoinGroup waits for the others'."""

    member_id: str
    instance_id: str | None
    client_id: str
    protocols: tuple[str, ...]
    assignment: bytes
    joining: bool

    @property
    def partitions(self) -> list[TopicPartition]:
        """The partitions of its assignment, sorted; DecodeError if that is not what consumers write."""
        if not self.assignment:
            return []
        version = min(int.from_bytes(self.assignment[:2], "big"), ConsumerProtocolAssignment.VERSIONS.max)
        found = decode(ConsumerProtocolAssignment, version, self.assignment[2:])
        return sorted(TopicPartition(t.topic, p) for t in found.assigned_partitions for p in t.partitions)


class GroupSnapshot(NamedTuple):
    """A group as it is at a moment. `leader` is "" while there is none, `pending` the ids given out with error 79."""

    state: GroupState
    generation: int = 0
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = ""
    members: tuple[MemberSnapshot, ...] = ()
    pending: tuple[str, ...] = ()

    def member(self, member: str) -> MemberSnapshot:
        """A member by its member id or its instance id; KeyError if there is none."""
        for found in self.members:
            if member in (found.member_id, found.instance_id):
                return found
        raise KeyError(member)


class Persisted(NamedTuple):
    """What `__consumer_offsets` holds of a group's members: all that a new coordinator learns of it. Kafka writes it
    when a generation gets its assignment, when the last member has gone, and when a static member comes back."""

    generation: int
    protocol_type: str | None
    protocol: str | None
    leader: str
    members: tuple[tuple[str, JoiningMember, bytes], ...]


#: Called when a request that has waited has its answer.
OnAnswer = Callable[[], None]
