"""Fetch: batches of the partitions of a session, now or when there are enough of them (F2-F14, B17-B19, KIP-227).

A request is worked off in two steps. The session is changed at once. Then the partitions are read, again and again
until enough bytes are there, something is wrong, or the client has waited as long as it wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.broker.cluster import Cluster, Partition
from dekaf_proto.broker.exchange import Exchange, Pending, check_epoch
from dekaf_proto.broker.sessions import NO_SESSION, Answered, Key, Opened
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.fetch import (
    AbortedTransaction,
    EpochEndOffset,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
)
from dekaf_proto.records import Codec
from dekaf_proto.types import IsolationLevel

MAX_BYTES = 55 * 1024 * 1024  # fetch.max.bytes of the broker
#: What is not there at all comes last in a response.
_NOWHERE = (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID)


def fetch(exchange: Exchange, request: FetchRequest) -> FetchResponse | Pending:
    """Opens the session, then reads what it names."""
    sessions = exchange.cluster.nodes[exchange.node].sessions
    if exchange.faults.top_error and exchange.version >= 7:
        return FetchResponse(error_code=exchange.faults.top_error)
    opened = sessions.open(request, exchange.version, exchange.now)
    if opened.error:
        return FetchResponse(error_code=opened.error)  # no session id and no partition (F10)
    reader = _Fetch(exchange, request, opened)
    return Pending(exchange.now + max(0, request.max_wait_ms) / 1000, reader.poll)


@dataclass(slots=True, eq=False)
class _Fetch:
    exchange: Exchange
    request: FetchRequest
    opened: Opened

    def poll(self, expired: bool) -> FetchResponse | None:
        """The response, None while it is worth waiting for more."""
        left = min(self.request.max_bytes, MAX_BYTES)
        enough = min(self.request.min_bytes, left)
        size = 0
        urgent = False
        results: list[tuple[Key, PartitionData]] = []
        for key, asked in self.opened.partitions:
            data = self._read(key, asked, left, first=size == 0)
            count = 0 if data.records is None else len(data.records)
            size += count
            left = max(0, left - count)
            if data.error_code or data.preferred_read_replica >= 0 or data.diverging_epoch is not None:
                urgent = True
            results.append((key, data))
        if results and size < enough and not urgent and not expired:
            return None
        return self._respond(results)

    # ------------------------------------------------------------------------------------------------ one partition

    def _read(self, key: Key, asked: FetchPartition, left: int, *, first: bool) -> PartitionData:
        name = self._topic_name(key)
        # Asked in any case, so that a fault for this topic or for all partitions counts.
        if error := self.exchange.faults.error(name, asked.partition):
            return self._failed(asked, error)
        if name is None:
            return self._failed(asked, ErrorCode.UNKNOWN_TOPIC_ID)
        partition = self.exchange.cluster.partition(name, asked.partition)
        if partition is None:
            return self._failed(asked, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        error = self._check(partition, asked)
        if error:
            return self._failed(asked, error, partition)
        return self._data(partition, asked, left, first)

    def _topic_name(self, key: Key) -> str | None:
        if self.exchange.version < 13:
            return key[0]
        topic = self.exchange.cluster.topic_by_id(key[1])
        return None if topic is None else topic.name

    def _check(self, partition: Partition, asked: FetchPartition) -> ErrorCode:
        node, version = self.exchange.node, self.exchange.version
        if node not in partition.replicas:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        # Unlike other requests, this one may have any negative number for "none".
        if version >= 9 and (error := check_epoch(partition, max(-1, asked.current_leader_epoch))):
            return error
        # From version 11 on consumers may read from any replica (KIP-392).
        if node != partition.leader and (version < 11 or partition.leader is None):
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        return ErrorCode.NONE

    def _data(self, partition: Partition, asked: FetchPartition, left: int, first: bool) -> PartitionData:
        log, node, version = partition.log, self.exchange.node, self.exchange.version
        committed = self.request.isolation_level == IsolationLevel.READ_COMMITTED
        watermark = min(log.high_watermark, partition.replica_ends.get(node, log.end_offset))
        stable = min(log.last_stable_offset, watermark)
        data = PartitionData(
            partition_index=asked.partition,
            high_watermark=watermark,
            last_stable_offset=stable,
            log_start_offset=log.start_offset,
            aborted_transactions=[] if committed else None,
            records=b"",
        )
        end = partition.replica_ends.get(node, log.end_offset)
        if asked.fetch_offset < log.start_offset or (node != partition.leader and asked.fetch_offset > end):
            return self._failed(asked, ErrorCode.OFFSET_OUT_OF_RANGE, partition)
        if version >= 12 and asked.last_fetched_epoch >= 0:
            epoch, end_offset = log.end_of_epoch(asked.last_fetched_epoch)
            if epoch < 0:  # newer than everything in the log
                return self._failed(asked, ErrorCode.OFFSET_OUT_OF_RANGE, partition)
            if epoch < asked.last_fetched_epoch or end_offset < asked.fetch_offset:
                data.diverging_epoch = EpochEndOffset(epoch, end_offset)
                return data
        if asked.fetch_offset > end:
            return self._failed(asked, ErrorCode.OFFSET_OUT_OF_RANGE, partition)
        preferred = partition.preferred_replica
        if (
            version >= 11
            and node == partition.leader
            and preferred not in (None, node)
            and preferred in self.exchange.cluster.alive()
        ):
            data.preferred_read_replica = preferred
            return data
        found = log.read(
            asked.fetch_offset,
            stable if committed else watermark,
            min(asked.partition_max_bytes, left),
            at_least_one=first,
        )
        if version < 10 and any(batch.codec == Codec.ZSTD for batch in found.batches):
            return self._failed(asked, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)  # B15
        data.records = found.data
        if committed:
            data.aborted_transactions = [
                AbortedTransaction(aborted.producer_id, aborted.first_offset)
                for aborted in log.aborted_between(asked.fetch_offset, found.next_offset)
            ]
        return data

    def _failed(self, asked: FetchPartition, error: ErrorCode, partition: Partition | None = None) -> PartitionData:
        """An error, all numbers -1 (F23); with it the way to the leader, where that helps (KIP-951). `partition`: the
        one that could not be read."""
        data = PartitionData(asked.partition, error, high_watermark=-1, records=b"")
        if partition is not None:
            data.aborted_transactions = None
        moved = error in (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)
        if moved and partition is not None and partition.leader is not None and self.exchange.version >= 16:
            data.current_leader = LeaderIdAndEpoch(partition.leader, partition.leader_epoch)
        return data

    # -------------------------------------------------------------------------------------------------- the response

    def _respond(self, results: list[tuple[Key, PartitionData]]) -> FetchResponse:
        session = self.opened.session
        if session is not None:
            told = session.answered
            if self.opened.incremental:
                results = [(key, data) for key, data in results if _is_news(data, told.get(key, Answered()))]
            for key, data in results:
                told[key] = Answered() if data.error_code else Answered(data.high_watermark, data.log_start_offset)
                if data.records and key in session.partitions:
                    session.served(key)
        results.sort(key=lambda result: result[1].error_code in _NOWHERE)
        topics: list[FetchableTopicResponse] = []
        for (name, topic_id, _), data in results:
            if not topics or (topics[-1].topic, topics[-1].topic_id) != (name, topic_id):
                topics.append(FetchableTopicResponse(name, topic_id))  # also where others' have come in between
            topics[-1].partitions.append(data)
        return FetchResponse(
            session_id=NO_SESSION if session is None else session.id,
            responses=topics,
            node_endpoints=_endpoints(self.exchange.cluster, results),
        )


def _is_news(data: PartitionData, told: Answered) -> bool:
    """Whether an incremental response has to mention the partition (F9)."""
    return (
        bool(data.records)
        or data.error_code != ErrorCode.NONE
        or data.preferred_read_replica >= 0
        or data.diverging_epoch is not None
        or (data.high_watermark, data.log_start_offset) != told
    )


def _endpoints(cluster: Cluster, results: list[tuple[Key, PartitionData]]) -> list[NodeEndpoint]:
    leaders = {data.current_leader.leader_id: None for _, data in results if data.current_leader is not None}
    alive = cluster.alive()
    return [
        NodeEndpoint(number, *cluster.endpoint(number), cluster.nodes[number].rack)
        for number in leaders
        if number in alive
    ]
