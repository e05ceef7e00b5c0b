"""Fetches records for the partitions that can use some, ahead of the application and within a bounded memory.

One request a broker is on its way at a time, on a connection that nothing else uses. Which partitions it asks for, in
which order and for how many bytes is decided here, and what a partition's answer means (F1-F5, F16-F24, F27, F30). A
partition that answered moves to the end of the line, so that none starves the others; one that holds more than its
share of the memory stays in the session but asks for next to nothing.

Nothing here moves a position: that is the application's doing (see `chunk`).
"""

from __future__ import annotations

import logging
from typing import Any, Final

from dekaf_proto.client import Client
from dekaf_proto.cluster import BrokerInfo
from dekaf_proto.consumer.chunk import Chunk, Reading, end_of_batches
from dekaf_proto.consumer.partition import Partition, PartitionPhase
from dekaf_proto.consumer.session import FetchSession, Wanted
from dekaf_proto.errors import (
    ErrorCode,
    NoProgressError,
    OffsetOutOfRangeError,
    TopicAuthorizationError,
    UnsupportedVersionError,
    broker_error,
)
from dekaf_proto.logs import RateLimited
from dekaf_proto.messages.fetch import FetchRequest, FetchResponse, PartitionData
from dekaf_proto.metadata import Metadata
from dekaf_proto.node import NodeKey, Purpose
from dekaf_proto.types import TopicPartition

log = logging.getLogger("dekaf.fetcher")

#: A response holds at most this part of all that may be buffered, so that memory grows in small steps.
RESPONSE_PARTS: Final = 4

#: Wait, and ask for metadata first (3.4).
_STALE_METADATA: Final = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.REPLICA_NOT_AVAILABLE,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
    }
)


class Fetcher:
    """The fetching of one consumer. `partitions` is the consumer's own table of what is assigned."""

    def __init__(
        self,
        client: Client,
        metadata: Metadata,
        partitions: dict[TopicPartition, Partition],
        reading: Reading[Any, Any],
    ) -> None:
        self._client = client
        self._metadata = metadata
        self._partitions = partitions
        self._reading = reading
        self._sessions: dict[NodeKey, FetchSession] = {}
        #: Requests on their way, and how many bytes each may bring.
        self._in_flight: dict[NodeKey, int] = {}
        #: The order in which partitions are asked for.
        self._line: dict[TopicPartition, None] = {}
        self._warn = RateLimited(log)
        self.fetches = 0
        self.fetch_seconds = 0.0

    # ----------------------------------------------------------------------------------------------------- sending

    @property
    def buffered_bytes(self) -> int:
        """Bytes fetched and not yet used up."""
        return sum(partition.buffered_bytes for partition in tuple(self._partitions.values()))

    def is_fetching(self, tp: TopicPartition) -> bool:
        """Whether a request on its way asks for `tp`."""
        return any(tp in self._sessions[key].partitions for key in self._in_flight)

    def send(self) -> None:
        """Sends what can be sent now."""
        config = self._client.config
        line = {tp: None for tp in self._line if tp in self._partitions}
        line.update((tp, None) for tp in self._partitions)
        self._line = line
        by_node: dict[NodeKey, list[Partition]] = {}
        for tp in line:
            partition = self._partitions[tp]
            if self._is_fetchable(partition):
                key = self._target(partition)
                if key is not None and key not in self._in_flight and self._client.is_available(key):
                    by_node.setdefault(key, []).append(partition)
        if not by_node:
            return
        free = config.fetch_max_buffered_bytes - self.buffered_bytes - sum(self._in_flight.values())
        share = config.fetch_max_buffered_bytes // max(1, len(self._partitions))
        for key, partitions in by_node.items():
            if free <= 0:
                return
            limit = min(
                config.fetch_max_bytes,
                free,
                max(1, config.fetch_max_buffered_bytes // RESPONSE_PARTS),
                config.max_partition_fetch_bytes * len(partitions),
            )
            free -= limit
            self._send(key, partitions, limit, share)

    def _is_fetchable(self, partition: Partition) -> bool:
        """F1, and that what is buffered leads on to something."""
        return (
            partition.phase is PartitionPhase.FETCHING
            and not partition.paused
            and not partition.damaged
            and partition.resting_until <= self._client.now
        )

    def _target(self, partition: Partition) -> NodeKey | None:
        """The follower that the leader has named, while that is fresh, else the leader (F3, F30)."""
        leader = self._client.cluster.leader(partition.tp)
        if leader is None:
            self._metadata.refresh()
            return None
        preferred = partition.preferred_replica
        if preferred >= 0:
            if (
                self._client.now < partition.preferred_until
                and preferred in self._client.cluster.brokers
                and preferred not in leader.offline_replicas
            ):
                return NodeKey(preferred, Purpose.FETCH)
            partition.preferred_replica = -1
        return NodeKey(leader.leader, Purpose.FETCH)

    def _send(self, key: NodeKey, partitions: list[Partition], limit: int, share: int) -> None:
        config = self._client.config
        session = self._sessions.setdefault(key, FetchSession())
        wanted = {}
        tokens = {}
        # Those with room first: the broker fills the response in order (F5).
        for partition in sorted(partitions, key=lambda p: p.buffered_bytes >= share):
            over = partition.buffered_bytes >= share
            wanted[partition.tp] = Wanted(
                self._client.cluster.topic_id(partition.tp.topic),
                partition.fetch_offset,
                partition.leader_epoch,
                1 if over else config.max_partition_fetch_bytes,
            )
            tokens[partition.tp] = (partition.token, partition.fetch_offset)
        request, max_version = session.request(wanted)
        request.max_wait_ms = config.fetch_max_wait_ms
        request.min_bytes = config.fetch_min_bytes
        request.max_bytes = limit
        request.isolation_level = int(config.isolation_level)
        request.rack_id = config.client_rack
        self._in_flight[key] = limit
        sent_at = self._client.now

        def on_done(response: FetchResponse | None, error: Exception | None) -> None:
            self._in_flight.pop(key, None)
            if self._sessions.get(key) is not session:
                return  # the consumer was closed, or the broker left (F15)
            if response is None:
                assert error is not None
                self._failed(key, session, tokens, error)
                return
            self.fetches += 1
            self.fetch_seconds += self._client.now - sent_at
            self._take(key, session, response, tokens)

        timeout = (config.request_timeout_ms + config.fetch_max_wait_ms) / 1000
        self._client.request(key, request, on_done, max_version, timeout)

    # --------------------------------------------------------------------------------------------------- receiving

    def _failed(
        self, key: NodeKey, session: FetchSession, tokens: dict[TopicPartition, tuple[object, int]], error: Exception
    ) -> None:
        session.restart(keep_id=True)
        for tp, (token, _) in tokens.items():
            partition = self._partitions.get(tp)
            if partition is not None and partition.token is token:
                partition.preferred_replica = -1
                if isinstance(error, UnsupportedVersionError):
                    partition.fail(error)  # trying again would not help
        self._warn.warning(self._client.now, f"fetch {key}", "fetching from %s failed: %s", key, error)
        self._metadata.refresh()

    def _take(
        self,
        key: NodeKey,
        session: FetchSession,
        response: FetchResponse,
        tokens: dict[TopicPartition, tuple[object, int]],
    ) -> None:
        version = 13 if any(topic.topic_id for topic in response.responses) else 12
        data = session.accept(response, version)
        if data is None:
            self._session_ended(key, response, tokens)
            return
        self._warn.settled(f"fetch {key}")
        endpoints = [BrokerInfo(n.node_id, n.host, n.port, n.rack) for n in response.node_endpoints]
        for tp, answer in data.items():
            partition = self._partitions.get(tp)
            token, offset = tokens[tp]
            if partition is None or partition.token is not token or partition.fetch_offset != offset:
                continue  # sought, reset or assigned anew in the meantime (F16)
            code = ErrorCode.of(answer.error_code)
            if code is ErrorCode.NONE:
                self._take_data(partition, answer)
            else:
                self._take_error(key, partition, code, answer, offset, endpoints)
            if code is not ErrorCode.NONE or answer.records:
                self._line.pop(tp, None)  # to the end of the line (F5)
                self._line[tp] = None

    def _session_ended(
        self, key: NodeKey, response: FetchResponse, tokens: dict[TopicPartition, tuple[object, int]]
    ) -> None:
        code = ErrorCode.of(response.error_code)
        if code is ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR:
            self._metadata.refresh()
        if code is ErrorCode.NONE and response.throttle_time_ms > 0:
            return  # a broker that throttles may answer with nothing (F7)
        log.debug("the fetch session with %s begins anew (%s)", key, code.name)
        if code in (ErrorCode.FETCH_SESSION_ID_NOT_FOUND, ErrorCode.INVALID_FETCH_SESSION_EPOCH):
            return  # normal when the broker's cache is short: nothing to wait for
        for tp in tokens:
            partition = self._partitions.get(tp)
            if partition is not None:
                self._rest(partition)

    def _take_data(self, partition: Partition, answer: PartitionData) -> None:
        partition.recovered()
        self._take_watermarks(partition, answer)
        if answer.preferred_read_replica >= 0 and not answer.records:
            self._prefer(partition, answer.preferred_read_replica)
        if not answer.records:
            return
        records = answer.records
        view = records if isinstance(records, memoryview) else memoryview(records)
        size, next_offset, epoch, damaged = end_of_batches(view)
        if size == 0 and not damaged:
            # Asking again would bring the same again, for ever (B20).
            partition.fail(NoProgressError(partition.tp, partition.fetch_offset, len(view)))
            return
        if not damaged:
            view = view[:size]
            if next_offset <= partition.fetch_offset:
                return  # nothing but what is there already
        else:
            partition.damaged = True
            next_offset = max(next_offset, partition.fetch_offset) + 1  # behind which nothing can be reached
        aborted = [(t.first_offset, t.producer_id) for t in answer.aborted_transactions or ()]
        partition.chunks.append(
            Chunk(
                partition.tp, view, partition.fetch_offset, next_offset, self._reading, aborted, epoch, partition.token
            )
        )

    @staticmethod
    def _take_watermarks(partition: Partition, answer: PartitionData) -> None:
        if answer.high_watermark >= 0:
            partition.high_watermark = answer.high_watermark
        if answer.last_stable_offset >= 0:
            partition.last_stable_offset = answer.last_stable_offset
        if answer.log_start_offset >= 0:
            partition.log_start_offset = answer.log_start_offset

    def _prefer(self, partition: Partition, replica: int) -> None:
        if replica != partition.preferred_replica:  # the same once more does not prolong it (F30)
            partition.preferred_replica = replica
            partition.preferred_until = self._client.now + self._client.config.metadata_max_age_ms / 1000

    def _take_error(
        self,
        key: NodeKey,
        partition: Partition,
        code: ErrorCode,
        answer: PartitionData,
        offset: int,
        endpoints: list[BrokerInfo],
    ) -> None:
        if code in _STALE_METADATA:
            hint = answer.current_leader
            if (
                hint is not None
                and code in (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)
                and self._client.cluster.leader_hint(partition.tp, hint.leader_id, hint.leader_epoch, endpoints)
            ):
                self._metadata.refresh()
                return  # the new leader can be asked at once (F27)
            partition.preferred_replica = -1
            self._metadata.refresh()
            self._rest(partition)
        elif code is ErrorCode.OFFSET_OUT_OF_RANGE:
            self._out_of_range(key, partition, offset)
        elif code is ErrorCode.TOPIC_AUTHORIZATION_FAILED:
            partition.tell(TopicAuthorizationError(int(code), partition.tp.topic))  # tried again after a while
            self._rest(partition)
        elif code is ErrorCode.CORRUPT_MESSAGE or not (code.retriable or code is ErrorCode.UNKNOWN_SERVER_ERROR):
            partition.fail(broker_error(answer.error_code, f"fetching {partition.tp} at offset {offset}"))
        else:
            self._rest(partition)
        self._warn.warning(
            self._client.now, f"{partition.tp} {code.name}", "fetching %s at %d: %s", partition.tp, offset, code.name
        )

    def _out_of_range(self, key: NodeKey, partition: Partition, offset: int) -> None:
        if partition.preferred_replica >= 0 and key.node_id == partition.preferred_replica:
            partition.preferred_replica = -1  # a follower may lag: the leader decides (trap 8)
            return
        policy = self._client.config.auto_offset_reset
        if partition.chunks:
            self._rest(partition)  # what is buffered comes first; asked again from where that ends
            return
        if policy.kind == "none":
            partition.fail(OffsetOutOfRangeError({partition.tp: offset}))
        else:
            log.info("%s: offset %d is out of range, starting at %s", partition.tp, offset, policy)
            partition.begin_reset(policy)

    def _rest(self, partition: Partition) -> None:
        partition.rest(self._client.now + self._client.backoff(partition.failures + 1))

    # ----------------------------------------------------------------------------------------------------- the end

    def forget(self, node_ids: list[int]) -> None:
        """Brokers that have left: their sessions mean nothing any more (F15)."""
        for key in [key for key in self._sessions if key.node_id in node_ids]:
            del self._sessions[key]
            self._in_flight.pop(key, None)

    def closing_requests(self) -> list[tuple[NodeKey, FetchRequest]]:
        """What tells the brokers that the sessions are over, as far as they can be told without waiting (F14)."""
        requests = []
        for key, session in self._sessions.items():
            request = session.closing_request()
            if request is not None and key not in self._in_flight:
                requests.append((key, request))
        self._sessions.clear()
        return requests
