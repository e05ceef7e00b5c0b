"""What the members of a classic group hand each other through the coordinator, which does not look into it (G5-G7).

A subscription travels in JoinGroup from each member to the leader, an assignment in SyncGroup from the leader to each
member: a version of two bytes, then `ConsumerProtocolSubscription` or `ConsumerProtocolAssignment`. They come from
other members, of other makes and versions: what can be understood of them is, and the rest is a DecodeError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dekaf_proto.errors import DecodeError
from dekaf_proto.messages import consumer_protocol
from dekaf_proto.messages.consumer_protocol import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from dekaf_proto.types import TopicPartition
from dekaf_proto.wire.codec import decode_part, encode
from dekaf_proto.wire.values import Reader

#: What is written; all that is newer is read as this, and what its version added is left out.
VERSION: Final = 3

_VERSION: Final = struct.Struct(">h")


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one member tells the leader.

    `owned` is what it still has and in which `generation` it got that, -1 if in none; `rack` is its `client_rack`.
    `user_data` belongs to the assignor.
    """

    topics: tuple[str, ...]
    user_data: bytes | None = None
    owned: tuple[TopicPartition, ...] = ()
    generation: int = -1
    rack: str | None = None


def encode_subscription(subscription: Subscription) -> bytes:
    """The metadata of one protocol in JoinGroup.

    The same subscription, in whatever order, gives the same bytes: the coordinator takes other bytes for a change, and
    a static member that comes back with a change makes the whole group rebalance (G28).
    """
    message = ConsumerProtocolSubscription(
        topics=sorted(subscription.topics),
        user_data=subscription.user_data,
        owned_partitions=[
            consumer_protocol.TopicPartition(topic=topic, partitions=partitions)
            for topic, partitions in by_topic(subscription.owned).items()
        ],
        generation_id=subscription.generation,
        rack_id=subscription.rack,
    )
    return _VERSION.pack(VERSION) + encode(message, VERSION)


def decode_subscription(data: bytes) -> Subscription:
    """What a member sent in JoinGroup; raises DecodeError where that is no subscription (G6)."""
    version, reader = _begin(data, "ConsumerProtocolSubscription")
    start = reader.pos
    try:
        message = decode_part(ConsumerProtocolSubscription, version, reader)
    except DecodeError:
        if version != 1:
            raise
        # Some clients say version 1 and leave out what it added.
        reader.pos = start
        message = decode_part(ConsumerProtocolSubscription, 0, reader)
        if reader.pos != reader.end:
            raise
    return Subscription(
        topics=tuple(message.topics),
        user_data=message.user_data,
        owned=tuple(TopicPartition(each.topic, p) for each in message.owned_partitions for p in each.partitions),
        generation=message.generation_id,
        rack=message.rack_id,
    )


def encode_assignment(partitions: Iterable[TopicPartition], user_data: bytes | None = None) -> bytes:
    """What one member is given in SyncGroup."""
    message = ConsumerProtocolAssignment(
        assigned_partitions=[
            consumer_protocol.ResponseTopicPartition(topic=topic, partitions=numbers)
            for topic, numbers in by_topic(partitions).items()
        ],
        user_data=user_data,
    )
    return _VERSION.pack(VERSION) + encode(message, VERSION)


def decode_assignment(data: bytes) -> list[TopicPartition]:
    """What the leader gave this member, each partition once; raises DecodeError where that is no assignment (G7)."""
    version, reader = _begin(data, "ConsumerProtocolAssignment")
    message = decode_part(ConsumerProtocolAssignment, version, reader)
    partitions: dict[TopicPartition, None] = {}
    for i, each in enumerate(message.assigned_partitions):
        for number in each.partitions:
            if number < 0:
                path = f"assigned_partitions[{i}].partitions"
                raise DecodeError(f"ConsumerProtocolAssignment v{version}", path, f"there is no partition {number}")
            partitions[TopicPartition(each.topic, number)] = None
    return list(partitions)


def by_topic(partitions: Iterable[TopicPartition]) -> dict[str, list[int]]:
    """The partitions' numbers by topic, all sorted."""
    grouped: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        grouped.setdefault(topic, []).append(partition)
    return grouped


def _begin(data: bytes, what: str) -> tuple[int, Reader]:
    """The version to decode in, and where that starts."""
    if len(data) < _VERSION.size:
        raise DecodeError(what, "", f"{len(data)} bytes, but its version alone takes {_VERSION.size}")
    (version,) = _VERSION.unpack_from(data)
    if version < 0:
        raise DecodeError(what, "", f"version {version} is negative")
    reader = Reader(bytes(data))
    reader.pos = _VERSION.size
    return min(version, VERSION), reader
