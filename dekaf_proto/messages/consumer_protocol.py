"""What the members of a classic consumer group tell each other inside JoinGroup and SyncGroup.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Message, Struct, Versions, array, binary, int32, string


@dataclass(slots=True, repr=False)
class ConsumerProtocolSubscription(Message):
    """What a member wants and has."""

    VERSIONS = Versions(0, 3)

    topics: list[str] = array(of="string")
    user_data: bytes | None = binary(nullable="0+", default=None)
    owned_partitions: list[TopicPartition] = array("1+", ignorable=True)
    generation_id: int = int32("2+", default=-1, ignorable=True)
    rack_id: str | None = string("3+", nullable="3+", default=None, ignorable=True)


@dataclass(slots=True, repr=False)
class TopicPartition(Struct):
    """An element of `ConsumerProtocolSubscription.owned_partitions`."""

    topic: str = string()
    partitions: list[int] = array(of="int32")


@dataclass(slots=True, repr=False)
class ConsumerProtocolAssignment(Message):
    """What a member gets."""

    VERSIONS = Versions(0, 3)

    assigned_partitions: list[ResponseTopicPartition] = array()
    user_data: bytes | None = binary(nullable="0+", default=None)


@dataclass(slots=True, repr=False)
class ResponseTopicPartition(Struct):
    """An element of `ConsumerProtocolAssignment.assigned_partitions`."""

    topic: str = string()
    partitions: list[int] = array(of="int32")
