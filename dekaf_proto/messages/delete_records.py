"""DeleteRecords (API key 21). Moves the beginning of partitions forward.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, int16, int32, int64, string


@dataclass(slots=True, repr=False)
class DeleteRecordsRequest(Request["DeleteRecordsResponse"]):
    """What a client sends for DeleteRecords."""

    API_KEY = 21
    VERSIONS = Versions(0, 2, flexible=2)

    topics: list[DeleteRecordsTopic] = array()
    timeout_ms: int = int32()


@dataclass(slots=True, repr=False)
class DeleteRecordsTopic(Struct):
    """An element of `DeleteRecordsRequest.topics`."""

    name: str = string()
    partitions: list[DeleteRecordsPartition] = array()


@dataclass(slots=True, repr=False)
class DeleteRecordsPartition(Struct):
    """An element of `DeleteRecordsTopic.partitions`."""

    partition_index: int = int32()
    offset: int = int64()


@dataclass(slots=True, repr=False)
class DeleteRecordsResponse(Response):
    """What a broker answers to DeleteRecords."""

    API_KEY = 21
    VERSIONS = Versions(0, 2, flexible=2)

    throttle_time_ms: int = int32()
    topics: list[DeleteRecordsTopicResult] = array()


@dataclass(slots=True, repr=False)
class DeleteRecordsTopicResult(Struct):
    """An element of `DeleteRecordsResponse.topics`."""

    name: str = string()
    partitions: list[DeleteRecordsPartitionResult] = array()


@dataclass(slots=True, repr=False)
class DeleteRecordsPartitionResult(Struct):
    """An element of `DeleteRecordsTopicResult.partitions`."""

    partition_index: int = int32()
    low_watermark: int = int64()
    error_code: int = int16()
