"""`Members`: who is in a group, who leads it, and what protocol they agree on. It knows no state, request or time."""

from __future__ import annotations

from collections.abc import Iterator

from dekaf_proto.broker.groups import JoiningMember, Member
from dekaf_proto.errors import ErrorCode


class Members:
    """The members in the order in which they came; a static one that comes back keeps its place. `leader` is "" only
    while there are none."""

    def __init__(self) -> None:
        self.leader = ""
        self._members: dict[str, Member] = {}
        self._statics: dict[str, str] = {}

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member_id: str) -> bool:
        return member_id in self._members

    def __getitem__(self, member_id: str) -> Member:
        return self._members[member_id]

    def get(self, member_id: str) -> Member | None:
        """A member, None if there is none of that id."""
        return self._members.get(member_id)

    def static(self, instance_id: str | None) -> str:
        """The member id behind an instance id, "" if there is none."""
        return "" if instance_id is None else self._statics.get(instance_id, "")

    def identity_error(self, member_id: str, instance_id: str | None) -> ErrorCode:
        """Whether somebody is who he says."""
        if instance_id is not None and self._statics.get(instance_id, member_id) != member_id:
            return ErrorCode.FENCED_INSTANCE_ID
        if member_id not in self._members or (instance_id is not None and instance_id not in self._statics):
            return ErrorCode.UNKNOWN_MEMBER_ID
        return ErrorCode.NONE

    def add(self, member: Member) -> None:
        """A new member; the first one leads."""
        self._members[member.id] = member
        if member.instance_id is not None:
            self._statics[member.instance_id] = member.id
        self.leader = self.leader or member.id

    def remove(self, member: Member) -> None:
        """A member has gone; if it was the leader, the next one is."""
        del self._members[member.id]
        if member.instance_id is not None:
            del self._statics[member.instance_id]
        if self.leader == member.id:
            self.leader = next(iter(self._members), "")

    def rename(self, member: Member, new_id: str) -> None:
        """A static member has another member id."""
        if self.leader == member.id:
            self.leader = new_id
        member.id = new_id
        self._statics[str(member.instance_id)] = new_id
        self._members = {m.id: m for m in self._members.values()}

    def agree_on(self, given: JoiningMember) -> bool:
        """Whether one of somebody's protocols is one that all members know."""
        common = self._common_protocols()
        return not self._members or any(name in common for name, _ in given.protocols)

    def elected_protocol(self) -> str:
        """Each member votes for the first one on its list that all of them know."""
        common = self._common_protocols()
        votes = dict.fromkeys(common, 0)
        for member in self._members.values():
            votes[next(name for name, _ in member.given.protocols if name in votes)] += 1
        return max(common, key=votes.__getitem__)

    def _common_protocols(self) -> list[str]:
        """The protocols that all members know, in the order of the first one."""
        names = [[name for name, _ in member.given.protocols] for member in self._members.values()]
        return [name for name in names[0] if all(name in others for others in names)] if names else []
