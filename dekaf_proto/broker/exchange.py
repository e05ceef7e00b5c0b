"""`Exchange`: one request on its way to its answer, as a handler sees it.

A handler is a function (exchange, request) -> response. One that has to wait (a long poll) returns a `Pending`, which
the engine asks again whenever something has changed or its deadline has come. What gets no answer is `Unanswered`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from dekaf_proto.broker.cluster import Cluster, Partition
from dekaf_proto.broker.faults import ArmedFaults
from dekaf_proto.broker.transaction_coordinator import TransactionCoordinator
from dekaf_proto.broker.versions import VersionRange
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey
from dekaf_proto.wire.schema import Response


@dataclass(slots=True, eq=False)
class Exchange:
    """What a handler may know besides the request. `now` is when the request arrived, in seconds."""

    cluster: Cluster
    node: int
    client_id: str
    version: int
    now: float
    faults: ArmedFaults
    versions: dict[ApiKey, VersionRange]
    transactions: TransactionCoordinator

    def coordinator_error(self, group: str, *, may_be_empty: bool = False) -> ErrorCode:
        """What this node says instead of an answer, if it can't speak for the group. `may_be_empty`: the empty name is
        a group's like any other; such a group can have offsets, but no members."""
        if group == "" and not may_be_empty:
            return ErrorCode.INVALID_GROUP_ID
        return self.cluster.coordinator_error(group, self.node, self.now)

    def transaction_error(self, transactional_id: str) -> ErrorCode:
        """What this node says instead of an answer, if it can't speak for a transactional id."""
        return self.transactions.check(transactional_id, self.node, self.now)

    def find(self, topic: str, index: int, leader_epoch: int) -> tuple[ErrorCode, Partition | None]:
        """A partition that this node leads, or what to say instead. `leader_epoch`: the client's idea, -1 for none."""
        partition = self.cluster.partition(topic, index)
        if error := self.faults.error(topic, index):
            return error, partition
        if partition is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, None
        if self.node not in partition.replicas:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER, partition
        if error := check_epoch(partition, leader_epoch):
            return error, partition
        if partition.leader != self.node:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER, partition
        return ErrorCode.NONE, partition


class Pending(NamedTuple):
    """An answer that is not there yet. `poll(expired)` gives it; None, only before the deadline, if it has to wait, and
    another Pending if it has to wait for something else now."""

    deadline: float
    poll: Callable[[bool], Outcome | None]


class Unanswered(NamedTuple):
    """A request that gets no answer (W8); with `disconnect` the connection is closed instead."""

    disconnect: bool


Outcome = Response | Pending | Unanswered
# The registry holds handlers of many types of requests.
Handler = Callable[[Exchange, Any], Outcome]


def check_epoch(partition: Partition, leader_epoch: int) -> ErrorCode:
    """Compares the leader epoch that a client believes in, -1 for none, with the present one (KIP-320)."""
    if leader_epoch == -1 or leader_epoch == partition.leader_epoch:
        return ErrorCode.NONE
    return ErrorCode.FENCED_LEADER_EPOCH if leader_epoch < partition.leader_epoch else ErrorCode.UNKNOWN_LEADER_EPOCH
