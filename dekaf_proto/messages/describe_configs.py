"""DescribeConfigs (API key 32). Reads configurations.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, boolean, int8, int16, int32, string


@dataclass(slots=True, repr=False)
class DescribeConfigsRequest(Request["DescribeConfigsResponse"]):
    """What a client sends for DescribeConfigs."""

    API_KEY = 32
    VERSIONS = Versions(1, 4, flexible=4)

    resources: list[DescribeConfigsResource] = array()
    include_synonyms: bool = boolean()
    include_documentation: bool = boolean("3+")


@dataclass(slots=True, repr=False)
class DescribeConfigsResource(Struct):
    """An element of `DescribeConfigsRequest.resources`."""

    resource_type: int = int8()
    resource_name: str = string()
    configuration_keys: list[str] | None = array(nullable="0+", of="string")


@dataclass(slots=True, repr=False)
class DescribeConfigsResponse(Response):
    """What a broker answers to DescribeConfigs."""

    API_KEY = 32
    VERSIONS = Versions(1, 4, flexible=4)

    throttle_time_ms: int = int32()
    results: list[DescribeConfigsResult] = array()


@dataclass(slots=True, repr=False)
class DescribeConfigsResult(Struct):
    """An element of `DescribeConfigsResponse.results`."""

    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    resource_type: int = int8()
    resource_name: str = string()
    configs: list[DescribeConfigsResourceResult] = array()


@dataclass(slots=True, repr=False)
class DescribeConfigsResourceResult(Struct):
    """An element of `DescribeConfigsResult.configs`."""

    name: str = string()
    value: str | None = string(nullable="0+", secret=True)
    read_only: bool = boolean()
    config_source: int = int8(default=-1)
    is_sensitive: bool = boolean()
    synonyms: list[DescribeConfigsSynonym] = array()
    config_type: int = int8("3+", ignorable=True)
    documentation: str | None = string("3+", nullable="0+", ignorable=True)


@dataclass(slots=True, repr=False)
class DescribeConfigsSynonym(Struct):
    """An element of `DescribeConfigsResourceResult.synonyms`."""

    name: str = string()
    value: str | None = string(nullable="0+", secret=True)
    source: int = int8()
