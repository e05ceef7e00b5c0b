"""Replicas as CreateTopics and CreatePartitions are given them."""

from __future__ import annotations

from collections.abc import Sequence

from dekaf_proto.broker.cluster import Cluster
from dekaf_proto.errors import ErrorCode


def wrong_replicas(cluster: Cluster, assignments: Sequence[Sequence[int]]) -> tuple[ErrorCode, str | None]:
    """What is wrong with the nodes of some partitions, and how to say it."""
    for nodes in assignments:
        if not nodes:
            message = "The manual partition assignment includes an empty replica list."
        elif len(set(nodes)) < len(nodes):
            message = "The manual partition assignment includes the broker more than once."
        elif not set(nodes) <= set(cluster.nodes):
            message = "The manual partition assignment includes a broker that is not registered."
        elif len(nodes) != len(assignments[0]):
            message = "The manual partition assignment includes a partition with a different number of replicas."
        else:
            continue
        return ErrorCode.INVALID_REPLICA_ASSIGNMENT, message
    return ErrorCode.NONE, None
