"""Partitions that nobody has and nobody is about to get: gaps that the classic protocol leaves (G32).

A static member that comes back is given what it had, and nothing is shared out anew (G13, G28). So nobody gets the
partitions that came while the leader was away; nor those that a cooperative rebalance had taken from a member which
then went before it could ask for the second round; nor those of a topic to which only the member that has come back is
subscribed. So it asks the coordinator who has what, which may ask whoever may be a member. And it sees the contrary:
somebody may have partitions that went while the leader was away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

from dekaf_proto.client import Client
from dekaf_proto.errors import ErrorCode, KafkaError, broker_error
from dekaf_proto.group.payloads import decode_assignment, decode_subscription
from dekaf_proto.messages.describe_groups import DescribedGroup, DescribeGroupsRequest, DescribeGroupsResponse
from dekaf_proto.metadata import Metadata
from dekaf_proto.operation import Call, Flow, Sleep
from dekaf_proto.types import TopicPartition

log = logging.getLogger("dekaf.group")

_STABLE: Final = "Stable"


class Shares(NamedTuple):
    """Who has what in a group that is stable.

    `claimed`: what members had when they last joined; what of that is not theirs any more, they are about to give up.
    """

    members: frozenset[str]
    topics: tuple[str, ...]
    assigned: frozenset[TopicPartition]
    claimed: frozenset[TopicPartition]

    def gaps(self, partitions: Mapping[str, Iterable[int]]) -> list[TopicPartition]:
        """Which of these partitions nobody has, nor is about to give up for somebody else."""
        return sorted(
            tp
            for topic, numbers in partitions.items()
            for tp in (TopicPartition(topic, number) for number in numbers)
            if tp not in self.assigned and tp not in self.claimed
        )

    def beyond(self, partitions: Mapping[str, Collection[int]]) -> list[TopicPartition]:
        """What somebody has of these topics that is not there: a topic was created again, with fewer partitions."""
        return sorted(tp for tp in self.assigned if tp.topic in partitions and tp.partition not in partitions[tp.topic])


def shares(client: Client, metadata: Metadata, group_id: str, needed: Callable[[], bool]) -> Flow[Shares | None]:
    """Who has what in a group, as its coordinator says. None in a rebalance, which sees to gaps itself, if it can't be
    found out, or as soon as it is not `needed`."""
    failures = 0
    while needed():
        try:
            coordinator = yield from metadata.coordinator(group_id)
            response: DescribeGroupsResponse = yield Call(coordinator, DescribeGroupsRequest(groups=[group_id]))
            for group in response.groups:
                if group.group_id == group_id:
                    return _read(metadata, group)
            return None
        except KafkaError as error:
            log.info("group %s: looking who has what: %s", group_id, error)
            if not error.retriable:
                return None
            failures += 1
            yield Sleep(client.backoff(failures), error)
    return None


def _read(metadata: Metadata, group: DescribedGroup) -> Shares | None:
    code = ErrorCode.of(group.error_code)
    if code is not ErrorCode.NONE:
        if code.invalidates == "coordinator":
            metadata.coordinator_lost(group.group_id, code.name)
        raise broker_error(group.error_code, group.error_message)
    if group.group_state != _STABLE:
        return None
    subscriptions = [decode_subscription(member.member_metadata) for member in group.members]
    assignments = [decode_assignment(m.member_assignment) for m in group.members if m.member_assignment]
    return Shares(
        frozenset(member.member_id for member in group.members),
        tuple(sorted({topic for subscription in subscriptions for topic in subscription.topics})),
        frozenset(tp for assignment in assignments for tp in assignment),
        frozenset(tp for subscription in subscriptions for tp in subscription.owned),
    )
