"""CreateTopics (API key 19). Creates topics.

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
    int8,
    int16,
    int32,
    string,
    uuid,
)


@dataclass(slots=True, repr=False)
class CreateTopicsRequest(Request["CreateTopicsResponse"]):
    """What a client sends for CreateTopics."""

    API_KEY = 19
    VERSIONS = Versions(2, 7, flexible=5)

    topics: list[CreatableTopic] = array()
    timeout_ms: int = int32(default=60000)
    validate_only: bool = boolean()


@dataclass(slots=True, repr=False)
class CreatableTopic(Struct):
    """An element of `CreateTopicsRequest.topics`."""

    name: str = string()
    num_partitions: int = int32()
    replication_factor: int = int16()
    assignments: list[CreatableReplicaAssignment] = array()
    configs: list[CreatableTopicConfig] = array()


@dataclass(slots=True, repr=False)
class CreatableReplicaAssignment(Struct):
    """An element of `CreatableTopic.assignments`."""

    partition_index: int = int32()
    broker_ids: list[int] = array(of="int32")


@dataclass(slots=True, repr=False)
class CreatableTopicConfig(Struct):
    """An element of `CreatableTopic.configs`."""

    name: str = string()
    value: str | None = string(nullable="0+", secret=True)


@dataclass(slots=True, repr=False)
class CreateTopicsResponse(Response):
    """What a broker answers to CreateTopics."""

    API_KEY = 19
    VERSIONS = Versions(2, 7, flexible=5)

    throttle_time_ms: int = int32()
    topics: list[CreatableTopicResult] = array()


@dataclass(slots=True, repr=False)
class CreatableTopicResult(Struct):
    """An element of `CreateTopicsResponse.topics`."""

    name: str = string()
    topic_id: Uuid = uuid("7+", ignorable=True)
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    topic_config_error_code: int = int16("5+", tag=0, ignorable=True)
    num_partitions: int = int32("5+", default=-1, ignorable=True)
    replication_factor: int = int16("5+", default=-1, ignorable=True)
    configs: list[CreatableTopicConfigs] | None = array("5+", nullable="5+", ignorable=True)


@dataclass(slots=True, repr=False)
class CreatableTopicConfigs(Struct):
    """An element of `CreatableTopicResult.configs`."""

    name: str = string()
    value: str | None = string(nullable="5+", secret=True)
    read_only: bool = boolean()
    config_source: int = int8(default=-1)
    is_sensitive: bool = boolean()
