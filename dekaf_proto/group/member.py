"""What a member of a classic group is: its states, who it is to others, and what it asks of its consumer.

OUT ──JOIN──▶ JOINING ──JOINED──▶ SYNCING ──SYNCED──▶ STABLE ──JOIN──▶ JOINING ...
 ▲               │                   │                   │
 └─────OUT───────┴───────OUT─────────┴────────OUT────────┘      removed, left, or too slow to poll
FAILED: the program is told, and has to poll again, or to subscribe anew, before there is another attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final, NamedTuple, Protocol

from dekaf_proto.operation import Flow
from dekaf_proto.types import TopicPartition


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

    def apply(self, assigned: Sequence[TopicPartition], eager: bool, deadline: float) -> Flow[None]:
        """Takes an assignment, and gives up for it what is not in it."""

    def lose(self, cause: str) -> None:
        """All that it has may be somebody else's by now."""

    def wanted_topics(self) -> None:
        """The topics of the group have changed, of which metadata is needed."""

    def idle_since(self) -> float:
        """When the program has last asked for something, or acknowledged something."""

    def fail(self, error: Exception) -> None:
        """The program must know."""
