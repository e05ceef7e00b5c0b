"""ApiVersions (API key 18). Tells which versions of which APIs a broker speaks.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.wire.schema import Request, Response, Struct, Versions, array, boolean, int16, int32, int64, string


@dataclass(slots=True, repr=False)
class ApiVersionsRequest(Request["ApiVersionsResponse"]):
    """What a client sends for ApiVersions."""

    API_KEY = 18
    VERSIONS = Versions(0, 5, flexible=3)

    client_software_name: str = string("3+", ignorable=True)
    client_software_version: str = string("3+", ignorable=True)
    cluster_id: str | None = string("5+", nullable="5+", default=None, ignorable=True)
    node_id: int = int32("5+", default=-1, ignorable=True)


@dataclass(slots=True, repr=False)
class ApiVersionsResponse(Response):
    """What a broker answers to ApiVersions."""

    API_KEY = 18
    VERSIONS = Versions(0, 5, flexible=3)

    error_code: int = int16()
    api_keys: list[ApiVersion] = array()
    throttle_time_ms: int = int32("1+", ignorable=True)
    supported_features: list[SupportedFeatureKey] = array("3+", tag=0, ignorable=True)
    finalized_features_epoch: int = int64("3+", default=-1, tag=1, ignorable=True)
    finalized_features: list[FinalizedFeatureKey] = array("3+", tag=2, ignorable=True)
    zk_migration_ready: bool = boolean("3+", tag=3, ignorable=True)


@dataclass(slots=True, repr=False)
class ApiVersion(Struct):
    """An element of `ApiVersionsResponse.api_keys`."""

    api_key: int = int16()
    min_version: int = int16()
    max_version: int = int16()


@dataclass(slots=True, repr=False)
class SupportedFeatureKey(Struct):
    """An element of `ApiVersionsResponse.supported_features`."""

    name: str = string()
    min_version: int = int16()
    max_version: int = int16()


@dataclass(slots=True, repr=False)
class FinalizedFeatureKey(Struct):
    """An element of `ApiVersionsResponse.finalized_features`."""

    name: str = string()
    max_version_level: int = int16()
    min_version_level: int = int16()
