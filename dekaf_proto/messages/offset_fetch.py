"""OffsetFetch (API key 9). Reads a group's stored offsets.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import (
    Request,
    Response,
    Struct,
    Versions,
    array,
    boolean,
    int16,
    int32,
    int64,
    string,
    uuid,
)


@dataclass(slots=True, repr=False)
class OffsetFetchRequest(Request["OffsetFetchResponse"]):
    """What a client sends for OffsetFetch."""

    API_KEY = 9
    VERSIONS = Versions(1, 10, flexible=6)

    group_id: str = string("1-7")
    topics: list[OffsetFetchRequestTopic] | None = array("1-7", nullable="2-7")
    groups: list[OffsetFetchRequestGroup] = array("8+")
    require_stable: bool = boolean("7+")


@dataclass(slots=True, repr=False)
class OffsetFetchRequestTopic(Struct):
    """An element of `OffsetFetchRequest.topics`."""

    name: str = string()
    partition_indexes: list[int] = array(of="int32")


@dataclass(slots=True, repr=False)
class OffsetFetchRequestGroup(Struct):
    """An element of `OffsetFetchRequest.groups`."""

    group_id: str = string()
    member_id: str | None = string("9+", nullable="9+", default=None, ignorable=True)
    member_epoch: int = int32("9+", default=-1, ignorable=True)
    topics: list[OffsetFetchRequestTopics] | None = array(nullable="8+")


@dataclass(slots=True, repr=False)
class OffsetFetchRequestTopics(Struct):
    """An element of `OffsetFetchRequestGroup.topics`."""

    name: str = string("8-9", ignorable=True)
    topic_id: Uuid = uuid("10+", ignorable=True)
    partition_indexes: list[int] = array(of="int32")


@dataclass(slots=True, repr=False)
class OffsetFetchResponse(Response):
    """What a broker answers to OffsetFetch."""

    API_KEY = 9
    VERSIONS = Versions(1, 10, flexible=6)

    throttle_time_ms: int = int32("3+", ignorable=True)
    topics: list[OffsetFetchResponseTopic] = array("1-7")
    error_code: int = int16("2-7", ignorable=True)
    groups: list[OffsetFetchResponseGroup] = array("8+")


@dataclass(slots=True, repr=False)
class OffsetFetchResponseTopic(Struct):
    """An element of `OffsetFetchResponse.topics`."""

    name: str = string()
    partitions: list[OffsetFetchResponsePartition] = array()


@dataclass(slots=True, repr=False)
class OffsetFetchResponsePartition(Struct):
    """An element of `OffsetFetchResponseTopic.partitions`."""

    partition_index: int = int32()
    committed_offset: int = int64()
    committed_leader_epoch: int = int32("5+", default=-1, ignorable=True)
    metadata: str | None = string(nullable="0-7")
    error_code: int = int16()


@dataclass(slots=True, repr=False)
class OffsetFetchResponseGroup(Struct):
    """An element of `OffsetFetchResponse.groups`."""

    group_id: str = string()
    topics: list[OffsetFetchResponseTopics] = array()
    error_code: int = int16()


@dataclass(slots=True, repr=False)
class OffsetFetchResponseTopics(Struct):
    """An element of `OffsetFetchResponseGroup.topics`."""

    name: str = string("8-9", ignorable=True)
    topic_id: Uuid = uuid("10+", ignorable=True)
    partitions: list[OffsetFetchResponsePartitions] = array()


@dataclass(slots=True, repr=False)
class OffsetFetchResponsePartitions(Struct):
    """An element of `OffsetFetchResponseTopics.partitions`."""

    partition_index: int = int32()
    committed_offset: int = int64()
    committed_leader_epoch: int = int32(default=-1)
    metadata: str | None = string(nullable="8+")
    error_code: int = int16()
