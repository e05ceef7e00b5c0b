"""IncrementalAlterConfigs (API key 44). Changes single entries of configurations.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, boolean, int8, int16, int32, string


@dataclass(slots=True, repr=False)
class IncrementalAlterConfigsRequest(Request["IncrementalAlterConfigsResponse"]):
    """What a client sends for IncrementalAlterConfigs."""

    API_KEY = 44
    VERSIONS = Versions(0, 1, flexible=1)

    resources: list[AlterConfigsResource] = array()
    validate_only: bool = boolean()


@dataclass(slots=True, repr=False)
class AlterConfigsResource(Struct):
    """An element of `IncrementalAlterConfigsRequest.resources`."""

    resource_type: int = int8()
    resource_name: str = string()
    configs: list[AlterableConfig] = array()


@dataclass(slots=True, repr=False)
class AlterableConfig(Struct):
    """An element of `AlterConfigsResource.configs`."""

    name: str = string()
    config_operation: int = int8()
    value: str | None = string(nullable="0+", secret=True)


@dataclass(slots=True, repr=False)
class IncrementalAlterConfigsResponse(Response):
    """What a broker answers to IncrementalAlterConfigs."""

    API_KEY = 44
    VERSIONS = Versions(0, 1, flexible=1)

    throttle_time_ms: int = int32()
    responses: list[AlterConfigsResourceResponse] = array()


@dataclass(slots=True, repr=False)
class AlterConfigsResourceResponse(Struct):
    """An element of `IncrementalAlterConfigsResponse.responses`."""

    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    resource_type: int = int8()
    resource_name: str = string()
