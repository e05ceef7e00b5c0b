"""What a consumer tells of itself: a plain snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dekaf_proto.client import Client
from dekaf_proto.consumer.acknowledgements import Acknowledgements
from dekaf_proto.consumer.commits import Commits
from dekaf_proto.consumer.fetcher import Fetcher
from dekaf_proto.consumer.partition import Partition
from dekaf_proto.group.classic import Classic
from dekaf_proto.types import IsolationLevel, TopicPartition


@dataclass(frozen=True, slots=True)
class ConsumerMetrics:
    """Counts since the consumer was made; latencies are means, in seconds (None before the first)."""

    assigned_partitions: int
    #: How far behind the end each partition is, where that is known.
    lag: Mapping[TopicPartition, int]
    #: Records handed out in chunks of a fetch that are used up.
    records: int
    buffered_bytes: int
    fetches: int
    fetch_latency: float | None
    commits: int
    failed_commits: int
    commit_latency: float | None
    requests: int
    bytes_received: int
    bytes_sent: int
    connects: int
    failed_connects: int
    #: How many of `connects` were to a broker that had been connected before.
    reconnects: int
    #: How often the group has rebalanced; why it last did, and for how many seconds.
    rebalances: int
    last_rebalance_cause: str | None
    last_rebalance_seconds: float | None
    #: Where records have to be acknowledged: how many are not yet, for how many seconds the first of them, and how many
    #: acknowledgements came too late or twice.
    outstanding: int
    oldest_unacknowledged_age: float | None
    ignored_acknowledgements: int


def lag_of(partition: Partition, isolation_level: IsolationLevel) -> int | None:
    """How many offsets the position is behind the end: the last stable offset under read_committed."""
    committed = isolation_level is IsolationLevel.READ_COMMITTED
    end = partition.last_stable_offset if committed else partition.high_watermark
    position = partition.position
    return max(0, end - position) if end >= 0 and position is not None else None


def snapshot(
    client: Client,
    partitions: Mapping[TopicPartition, Partition],
    fetcher: Fetcher,
    commits: Commits,
    records: int,
    membership: Classic | None,
    acknowledgements: Acknowledgements,
) -> ConsumerMetrics:
    """The present state of a consumer's parts."""
    counts = client.counts
    config = client.config
    lag = {tp: lag_of(partition, config.isolation_level) for tp, partition in list(partitions.items())}
    return ConsumerMetrics(
        assigned_partitions=len(lag),
        lag={tp: behind for tp, behind in lag.items() if behind is not None},
        records=records,
        buffered_bytes=fetcher.buffered_bytes,
        fetches=fetcher.fetches,
        fetch_latency=fetcher.fetch_seconds / fetcher.fetches if fetcher.fetches else None,
        commits=commits.commits,
        failed_commits=commits.failed_commits,
        commit_latency=commits.commit_seconds / commits.commits if commits.commits else None,
        requests=counts["requests"],
        bytes_received=counts["bytes_received"],
        bytes_sent=counts["bytes_sent"],
        connects=counts["connects"],
        failed_connects=counts["failed_connects"],
        reconnects=counts["reconnects"],
        rebalances=0 if membership is None else membership.rebalances,
        last_rebalance_cause=None if membership is None else membership.last_cause,
        last_rebalance_seconds=None if membership is None else membership.last_seconds,
        outstanding=acknowledgements.outstanding(),
        oldest_unacknowledged_age=acknowledgements.oldest_age(client.now, partitions),
        ignored_acknowledgements=acknowledgements.ignored,
    )
