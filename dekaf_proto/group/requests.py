"""The requests of a member: JoinGroup, SyncGroup and LeaveGroup (G9, G28)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.connection import ByVersion
from dekaf_proto.errors import AssignorError
from dekaf_proto.group.assignor import Assignor
from dekaf_proto.group.member import GroupMetadata
from dekaf_proto.group.payloads import Subscription, encode_subscription
from dekaf_proto.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from dekaf_proto.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from dekaf_proto.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from dekaf_proto.types import TopicPartition

PROTOCOL_TYPE: Final = "consumer"
_MAX_REASON: Final = 255


def protocols(
    assignors: Mapping[str, Assignor],
    topics: Sequence[str],
    owned: Sequence[TopicPartition],
    last: tuple[Sequence[TopicPartition], int],
    rack: str | None,
) -> list[JoinGroupRequestProtocol]:
    """What a member says for each strategy, the preferred one first. `last`: the last assignment and its generation."""
    assignment, generation = last
    found = []
    for name, assignor in assignors.items():
        try:
            user_data = assignor.user_data(tuple(topics), tuple(assignment), generation)
            subscription = Subscription(tuple(topics), user_data, tuple(owned), generation, rack)
            metadata = encode_subscription(subscription)
        except Exception as error:
            raise AssignorError(name, f"{type(error).__name__} from user_data: {error}") from error
        found.append(JoinGroupRequestProtocol(name=name, metadata=metadata))
    return found


def join(
    sender: GroupMetadata, offered: list[JoinGroupRequestProtocol], reason: str, config: ConsumerConfig[Any, Any]
) -> ByVersion[JoinGroupResponse]:
    """JoinGroup."""

    def build(version: int) -> JoinGroupRequest:
        return JoinGroupRequest(
            group_id=sender.group_id,
            session_timeout_ms=config.session_timeout_ms,
            rebalance_timeout_ms=config.max_poll_interval_ms,
            member_id=sender.member_id,
            group_instance_id=sender.group_instance_id,
            protocol_type=PROTOCOL_TYPE,
            protocols=offered,
            reason=reason[:_MAX_REASON],
        )

    return ByVersion(JoinGroupRequest, build)


def sync(sender: GroupMetadata, protocol: str | None, shared: Mapping[str, bytes]) -> SyncGroupRequest:
    """SyncGroup; `shared` comes from the leader alone."""
    return SyncGroupRequest(
        group_id=sender.group_id,
        generation_id=sender.generation_id,
        member_id=sender.member_id,
        group_instance_id=sender.group_instance_id,
        protocol_type=PROTOCOL_TYPE,
        protocol_name=protocol,
        assignments=[
            SyncGroupRequestAssignment(member_id=member_id, assignment=assignment)
            for member_id, assignment in shared.items()
        ],
    )


def leave(group_id: str, member_id: str, reason: str) -> ByVersion[LeaveGroupResponse]:
    """LeaveGroup of one member."""

    def build(version: int) -> LeaveGroupRequest:
        if version < 3:
            return LeaveGroupRequest(group_id=group_id, member_id=member_id)
        members = [MemberIdentity(member_id=member_id, reason=reason[:_MAX_REASON])]
        return LeaveGroupRequest(group_id=group_id, members=members)

    return ByVersion(LeaveGroupRequest, build)
