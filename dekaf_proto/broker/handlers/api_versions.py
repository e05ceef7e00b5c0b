"""ApiVersions: what the broker speaks, and whether the client has come to the right one (W20-W25).

A version that is not offered is answered all the same, in the layout of version 0 (W21): `refusal`.
"""

from __future__ import annotations

import re
from typing import Final

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.broker.versions import VersionRange
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)
from dekaf_proto.messages.produce import ProduceRequest

TRANSACTION_VERSION: Final = "transaction.version"
_SOFTWARE: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def api_versions(exchange: Exchange, request: ApiVersionsRequest) -> ApiVersionsResponse:
    """The table, or the reason why this client is not given it."""
    error = exchange.faults.error() or _check(exchange, request)
    if error:
        return ApiVersionsResponse(error_code=error)
    response = ApiVersionsResponse(api_keys=[_entry(api, offered) for api, offered in exchange.versions.items()])
    if exchange.versions.get(ApiKey.END_TXN, (0, 0))[1] >= 5:  # W25
        transactions = exchange.transactions
        response.supported_features = [SupportedFeatureKey(TRANSACTION_VERSION, 0, 2)]
        response.finalized_features_epoch = transactions.features_epoch
        if level := transactions.version:
            response.finalized_features = [FinalizedFeatureKey(TRANSACTION_VERSION, level, level)]
    return response


def refusal(versions: dict[ApiKey, VersionRange]) -> ApiVersionsResponse:
    """The answer, in version 0, to a version that is not offered: from 2.4 on it names the range of this API."""
    offered = versions[ApiKey.API_VERSIONS]
    keys = [_entry(ApiKey.API_VERSIONS, offered)] if offered[1] >= 3 else []
    return ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=keys)


def _entry(api: ApiKey, offered: VersionRange) -> ApiVersion:
    if api is ApiKey.PRODUCE and offered[0] == ProduceRequest.VERSIONS.min:
        offered = (0, offered[1])  # W27: some clients take the lower versions for a sign of others
    return ApiVersion(api, *offered)


def _check(exchange: Exchange, request: ApiVersionsRequest) -> ErrorCode:
    names = (request.client_software_name, request.client_software_version)
    if exchange.version >= 3 and not all(_SOFTWARE.fullmatch(name) for name in names):
        return ErrorCode.INVALID_REQUEST
    if exchange.version >= 5:  # KIP-1242
        if (request.cluster_id is None) != (request.node_id < 0):
            return ErrorCode.INVALID_REQUEST
        known = (exchange.cluster.cluster_id, exchange.node)
        if request.cluster_id is not None and (request.cluster_id, request.node_id) != known:
            return ErrorCode.REBOOTSTRAP_REQUIRED
    return ErrorCode.NONE
