"""What a member does while it leads its group: it shares out, and watches the group's topics (G11, G13, G17)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from dekaf_proto.client import Client
from dekaf_proto.errors import AssignorError
from dekaf_proto.group.assignor import Assignor, GroupMember, GroupTopics
from dekaf_proto.group.payloads import decode_subscription, encode_assignment
from dekaf_proto.messages.join_group import JoinGroupResponse, JoinGroupResponseMember
from dekaf_proto.operation import Flow, Wait
from dekaf_proto.types import TopicPartition


class Leader:
    """The leader's part of one member. `want` has metadata of `topics` kept."""

    def __init__(self, client: Client, assignors: Mapping[str, Assignor], want: Callable[[], None]) -> None:
        self._client = client
        self._assignors = assignors
        self._want = want
        #: The topics of all members; empty while it does not lead.
        self.topics: list[str] = []
        #: Whether what it has shared out leaves a partition to nobody, for one more round.
        self.withheld = False
        #: How the topics looked when it shared out.
        self._seen: object = None

    def resign(self) -> None:
        """Somebody else may lead."""
        self.topics = []
        self.withheld = False

    def watch(self, topics: Iterable[str]) -> Flow[None]:
        """The topics of the group: from here on it notices what becomes of them."""
        self.topics = sorted(topics)
        self._want()
        cluster = self._client.cluster
        until = self._client.now + self._client.config.request_timeout_ms / 1000
        yield Wait(lambda: all(topic in cluster.topics for topic in self.topics), until)
        self._seen = self._look()

    def has_news(self) -> bool:
        """Whether the topics are not as they were."""
        return bool(self.topics) and self._seen != self._look()

    def share_out(self, joined: JoinGroupResponse) -> Flow[Mapping[str, bytes]]:
        """What each member is to get. Nothing is shared out if a static leader has come back."""
        assert joined.protocol_name is not None
        members = [_member(member) for member in joined.members]
        yield from self.watch({topic for member in members for topic in member.topics})
        if joined.skip_assignment:
            return {}
        partitions = {topic: len(self._client.cluster.partitions(topic)) for topic in self.topics}
        topics = GroupTopics({topic: count for topic, count in partitions.items() if count}, self._racks())
        shared, given = _checked(self._assignors[joined.protocol_name], topics, members)
        self.withheld = any(tp not in given for member in members for tp in member.owned)
        return shared

    def _look(self) -> object:
        """What it goes by: how many partitions topics have, and, where racks count, in which they are."""
        cluster = self._client.cluster
        racks = self._racks() if self._client.config.client_rack else {}  # else a broker's restart is no reason
        return [(topic, len(cluster.partitions(topic))) for topic in self.topics], {tp: set(racks[tp]) for tp in racks}

    def _racks(self) -> dict[TopicPartition, tuple[str, ...]]:
        """In which racks each partition has a replica, as far as that is known."""
        cluster = self._client.cluster
        racks = {node_id: broker.rack for node_id, broker in cluster.brokers.items() if broker.rack}
        if not racks:
            return {}
        return {
            TopicPartition(topic, number): tuple(racks[node] for node in info.replicas if node in racks)
            for topic in self.topics
            if topic in cluster.topics
            for number, info in cluster.topics[topic].partitions.items()
        }


def _member(member: JoinGroupResponseMember) -> GroupMember:
    subscription = decode_subscription(member.metadata)
    return GroupMember(
        id=member.member_id,
        topics=subscription.topics,
        owned=subscription.owned,
        generation=subscription.generation,
        instance_id=member.group_instance_id,
        rack=subscription.rack,
        user_data=subscription.user_data,
    )


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
