"""DescribeCluster (API key 60). Tells the brokers and the controller.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, boolean, int8, int16, int32, string


@dataclass(slots=True, repr=False)
class DescribeClusterRequest(Request["DescribeClusterResponse"]):
    """What a client sends for DescribeCluster."""

    API_KEY = 60
    VERSIONS = Versions(0, 2, flexible=0)

    include_cluster_authorized_operations: bool = boolean()
    endpoint_type: int = int8("1+", default=1)
    include_fenced_brokers: bool = boolean("2+")


@dataclass(slots=True, repr=False)
class DescribeClusterResponse(Response):
    """What a broker answers to DescribeCluster."""

    API_KEY = 60
    VERSIONS = Versions(0, 2, flexible=0)

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    endpoint_type: int = int8("1+", default=1)
    cluster_id: str = string()
    controller_id: int = int32(default=-1)
    brokers: list[DescribeClusterBroker] = array()
    cluster_authorized_operations: int = int32(default=-2147483648)


@dataclass(slots=True, repr=False)
class DescribeClusterBroker(Struct):
    """An element of `DescribeClusterResponse.brokers`."""

    broker_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string(nullable="0+", default=None)
    is_fenced: bool = boolean("2+")
