"""DescribeCluster: the nodes and who is the controller."""

from __future__ import annotations

from dekaf_proto.broker.exchange import Exchange
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

_BROKERS, _CONTROLLERS = 1, 2
#: What may be done to a cluster, as bits, where nothing is forbidden: CREATE, ALTER, DESCRIBE, CLUSTER_ACTION,
#: DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE, CREATE_TOKENS, DESCRIBE_TOKENS are 5 and 7 to 14.
CLUSTER_OPERATIONS = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12


def describe_cluster(exchange: Exchange, request: DescribeClusterRequest) -> DescribeClusterResponse:
    """Nodes that are stopped are told only to those who ask for fenced ones."""
    cluster = exchange.cluster
    error, message = ErrorCode(exchange.faults.top_error or exchange.faults.error()), None
    if not error and request.endpoint_type == _CONTROLLERS:
        error = ErrorCode.MISMATCHED_ENDPOINT_TYPE
        message = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
    elif not error and request.endpoint_type != _BROKERS:
        error, message = ErrorCode.UNSUPPORTED_ENDPOINT_TYPE, f"Unsupported endpoint type {request.endpoint_type}"
    if error:
        return DescribeClusterResponse(error_code=error, error_message=message)
    response = DescribeClusterResponse(
        cluster_id=cluster.cluster_id,
        controller_id=cluster.controller(),
        brokers=[
            DescribeClusterBroker(number, *cluster.endpoint(number), rack=node.rack, is_fenced=not node.alive)
            for number, node in cluster.nodes.items()
            if node.alive or request.include_fenced_brokers
        ],
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = CLUSTER_OPERATIONS
    return response
