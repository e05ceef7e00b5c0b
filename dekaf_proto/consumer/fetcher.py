"""Fetches records for the partitions that can use some, ahead of the application and within a bounded memory.

One request a broker is on its way at a time, on a connection that nothing else uses. Which partitions it asks for, in
which order and for how many bytes is decided here, and what a partition's answer means (F1-F5, F16-F24, F27, F30). A
partition that answered moves to the end of the line, and a broker that was asked too, so that none starves the others.
A partition that has no room left (see `memory`) leaves the session. It will have room soon, so no request may wait at
its broker for data of others in the meantime: they are asked for now and then, without waiting.

Nothing here moves a position: that is the application's doing (see `chunk`).
"""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from dekaf_proto.client import Client
from dekaf_proto.cluster import BrokerInfo
from dekaf_proto.connection import ByVersion
from dekaf_proto.consumer.chunk import Chunk, Reading, end_of_batches
from dekaf_proto.consumer.memory import Memory
from dekaf_proto.consumer.partition import Partition, PartitionPhase
from dekaf_proto.consumer.session import FetchSession, Wanted
from dekaf_proto.errors import (
    ErrorCode,
    KafkaError,
    NoProgressError,
    OffsetOutOfRangeError,
    TopicAuthorizationError,
    broker_error,
)
from dekaf_proto.logs import RateLimited
from dekaf_proto.messages.fetch import FetchRequest, FetchResponse, PartitionData
from dekaf_proto.metadata import Metadata
from dekaf_proto.node import NodeKey, Purpose
from dekaf_proto.types import TopicPartition, Uuid

log = logging.getLogger("dekaf.fetcher")

#: How often a broker is asked for the rest while one of its partitions has no room, in seconds.
PEEK_INTERVAL: Final = 0.1


class Asked(NamedTuple):
    """What a partition was when it was asked for: an answer counts only as long as it still is (F16)."""

    token: object
    offset: int
    leader: int
    leader_epoch: int
    topic_id: Uuid


class Fetcher:
    """The fetching of one consumer. `partitions` is the consumer's own table of what is assigned."""

    def __init__(
        self,
        client: Client,
        metadata: Metadata,
        partitions: dict[TopicPartition, Partition],
        memory: Memory,
        reading: Reading,
    ) -> None:
        self._client = client
        self._metadata = metadata
        self._partitions = partitions
        self._memory = memory
        self._reading = reading
        self._sessions: dict[NodeKey, FetchSession] = {}
        #: Requests on their way, and how many bytes each may bring.
        self._in_flight: dict[NodeKey, int] = {}
        #: The order in which partitions are asked for, and which request was a broker's last one.
        self._line: dict[TopicPartition, None] = {}
        self._asked_last: dict[NodeKey, int] = {}
        self._requests = 0
        self._cluster_version = -1
        #: When a broker that can't be asked for all of its partitions may be asked for the rest.
        self._peek_at: dict[NodeKey, float] = {}
        #: Partitions in requests on their way of which not even the end is known.
        self._untold: dict[NodeKey, list[TopicPartition]] = {}
        self._next_peek: float | None = None
        #: Whether anything may be different from what the last requests said; and those requests. Where nothing is, a
        #: broker that has nothing new is asked the same again, so that a thousand idle partitions cost little.
        self._changed = True
        self._last: dict[NodeKey, tuple[dict[TopicPartition, Asked], int, int]] = {}
        self._warn = RateLimited(log)
        self.fetches = 0
        self.fetch_seconds = 0.0

    # ----------------------------------------------------------------------------------------------------- sending

    @property
    def buffered_bytes(self) -> int:
        """Bytes fetched and not yet used up."""
        return self._memory.buffered

    def is_fetching(self, tp: TopicPartition) -> bool:
        """Whether a request on its way asks for `tp`."""
        return any(tp in self._sessions[key].partitions for key in self._in_flight)

    def next_peek(self) -> float | None:
        """When there is something to send at the latest, though nothing else may have happened."""
        return self._next_peek

    def touch(self) -> None:
        """The program has called: anything may have changed."""
        self._changed = True

    def send(self) -> None:
        """Sends what can be sent now."""
        if self._cluster_version != self._client.cluster.version:
            self._forget_brokers()
            self._changed = True
        if not self._changed and self._send_again():
            return
        self._changed = False  # unless what follows finds something that is not settled
        self._last = {key: last for key, last in self._last.items() if key in self._in_flight}
        self._next_peek = None
        by_node, full = self._by_node()
        if not by_node:
            return
        memory, config = self._memory, self._client.config
        free = memory.total - memory.buffered - sum(self._in_flight.values())
        # What each broker may bring at once: so little that there is something for all of them.
        part = min(memory.part, max(1, memory.total // (len(self._in_flight) + len(by_node))))
        for key in sorted(by_node, key=lambda key: self._asked_last.get(key, 0)):
            partitions = by_node[key]
            if free <= 0:
                partitions = [partition for partition in partitions if not partition.chunks]
                if not memory.starving or not partitions:
                    self._changed = True
                    continue
            if key in full and not self._may_peek(key):
                self._changed = True
                continue
            limit = max(1, min(config.fetch_max_bytes, free, part, memory.ask * len(partitions)))
            free -= limit
            self._send(key, partitions, limit, 0 if key in full else config.fetch_max_wait_ms)

    def _by_node(self) -> tuple[dict[NodeKey, list[Partition]], set[NodeKey]]:
        """What can be asked for, and whom to ask, in the order of the line; and who has more for which there is no
        room."""
        line = {tp: None for tp in self._line if tp in self._partitions}
        line.update((tp, None) for tp in self._partitions)
        self._line = line
        by_node: dict[NodeKey, list[Partition]] = {}
        full = set()
        on_their_way = dict.fromkeys(self._in_flight, 0)
        for tp in line:
            partition = self._partitions[tp]
            if not self._is_fetchable(partition):
                self._changed = self._changed or not (partition.paused or partition.withheld or partition.damaged)
                continue
            key = self._target(partition)
            if key is None or partition.preferred_replica >= 0:
                self._changed = True
            if key is None:
                continue
            if key in self._in_flight:
                on_their_way[key] += 1
                self._changed = self._changed or self._last[key][0].get(tp) != self._asked(partition)
            elif not self._client.is_available(key):
                self._changed = True
            elif self._memory.has_room(partition):
                by_node.setdefault(key, []).append(partition)
            else:
                self._changed = True
                full.add(key)
        for key, count in on_their_way.items():
            asked, _, cluster_version = self._last[key]
            if len(asked) != count or cluster_version != self._cluster_version:
                self._changed = True  # what is on its way is not what would be asked for now
        return by_node, full

    def _send_again(self) -> bool:
        """Asks the brokers that have answered the same again; whether that is all that is to be done."""
        for key, (asked, limit, _) in self._last.items():
            if key not in self._in_flight:
                again = self._sessions[key].request_again() if self._client.is_available(key) else None
                if again is None:
                    return False
                self._request(key, *again, asked, limit, self._client.config.fetch_max_wait_ms)
        return True

    def _may_peek(self, key: NodeKey) -> bool:
        now = self._client.now
        peek_at = self._peek_at.get(key, now)
        if now >= peek_at:
            self._peek_at[key] = now + PEEK_INTERVAL
            return True
        self._next_peek = peek_at if self._next_peek is None else min(peek_at, self._next_peek)
        return False

    def _asked(self, p: Partition) -> Asked:
        return Asked(p.token, p.fetch_offset, p.leader, p.leader_epoch, self._client.cluster.topic_id(p.tp.topic))

    def _is_fetchable(self, partition: Partition) -> bool:
        """F1, and that what is buffered leads on to something."""
        return (
            partition.phase is PartitionPhase.FETCHING
            and not partition.paused
            and not partition.withheld
            and not partition.damaged
            and partition.resting_until <= self._client.now
        )

    def _target(self, partition: Partition) -> NodeKey | None:
        """The follower that the leader has named, while that is fresh, else the leader (F3, F30)."""
        leader = self._client.cluster.leader(partition.tp)
        if leader is None:
            self._metadata.need_leader()
            self._rest(partition)  # a new leader ends it
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

    def _send(self, key: NodeKey, partitions: list[Partition], limit: int, max_wait_ms: int) -> None:
        session = self._sessions.setdefault(key, FetchSession())
        max_bytes = self._memory.ask
        wanted = {}
        asked = {}
        for p in partitions:
            what = asked[p.tp] = self._asked(p)
            wanted[p.tp] = Wanted(what.topic_id, what.offset, what.leader_epoch, max_bytes)
        request, max_version = session.request(wanted)
        self._untold[key] = [p.tp for p in partitions if p.high_watermark < 0]
        self._last[key] = (asked, limit, self._cluster_version)
        self._request(key, request, max_version, asked, limit, max_wait_ms)

    def _request(
        self,
        key: NodeKey,
        request: FetchRequest,
        max_version: int | None,
        asked: dict[TopicPartition, Asked],
        limit: int,
        max_wait_ms: int,
    ) -> None:
        config = self._client.config
        session = self._sessions[key]
        request.max_wait_ms = max_wait_ms
        request.min_bytes = config.fetch_min_bytes
        request.max_bytes = limit
        request.isolation_level = int(config.isolation_level)
        request.rack_id = config.client_rack
        self._in_flight[key] = limit
        self._requests += 1
        self._asked_last[key] = self._requests
        sent_at = self._client.now

        def build(version: int) -> FetchRequest:
            return session.in_version(request, version)

        def on_done(response: FetchResponse | None, error: Exception | None) -> None:
            del self._in_flight[key]
            if response is None:
                assert error is not None
                self._failed(key, session, asked, error)
                return
            self.fetches += 1
            self.fetch_seconds += self._client.now - sent_at
            self._take(key, session, response, asked)

        timeout = (config.request_timeout_ms + config.fetch_max_wait_ms) / 1000
        self._client.request(key, ByVersion(FetchRequest, build), on_done, max_version, timeout)

    # --------------------------------------------------------------------------------------------------- receiving

    def _counts(self, tp: TopicPartition, asked: Asked) -> Partition | None:
        """The partition, if an answer to what was asked still means it: it was not sought, reset, assigned anew or led
        by another broker in the meantime, and nobody else has answered (F16)."""
        p = self._partitions.get(tp)
        if p is None or p.phase is not PartitionPhase.FETCHING:
            return None
        return p if asked == self._asked(p) else None

    def _failed(
        self, key: NodeKey, session: FetchSession, asked: dict[TopicPartition, Asked], error: Exception
    ) -> None:
        self._changed = True
        session.restart(keep_id=True)
        for tp, what in asked.items():
            partition = self._counts(tp, what)
            if partition is not None:
                partition.preferred_replica = -1
                if not (isinstance(error, KafkaError) and error.retriable):
                    self._fail(partition, error)  # trying again would not help
        self._warn.warning(self._client.now, f"fetch {key}", "fetching from %s failed: %s", key, error)
        self._metadata.refresh()

    def _take(
        self, key: NodeKey, session: FetchSession, response: FetchResponse, asked: dict[TopicPartition, Asked]
    ) -> None:
        was_full = session.epoch == 0
        data = session.accept(response)
        if data is None:
            self._changed = True
            self._session_ended(key, response, asked, was_full)
            return
        if data:
            self._changed = True
        self._warn.settled(f"fetch {key}")
        if any(answer.records for answer in data.values()):
            self._peek_at.pop(key, None)  # there may be more
        for tp in self._untold.pop(key, ()):
            if tp not in data and self._counts(tp, asked[tp]) is not None:
                # Assigned anew: the broker has told its end before, and does so again only in a full response (F9).
                session.restart(keep_id=True)
                self._changed = True
        endpoints = [BrokerInfo(n.node_id, n.host, n.port, n.rack) for n in response.node_endpoints]
        for tp, answer in data.items():
            partition = self._counts(tp, asked[tp])
            if partition is None:
                continue
            code = ErrorCode.of(answer.error_code)
            if code is ErrorCode.NONE:
                self._take_data(partition, answer)
            else:
                self._take_error(key, partition, code, answer, endpoints)
            if code is not ErrorCode.NONE or answer.records:
                self._line.pop(tp, None)  # to the end of the line (F5)
                self._line[tp] = None

    def _session_ended(
        self, key: NodeKey, response: FetchResponse, asked: dict[TopicPartition, Asked], was_full: bool
    ) -> None:
        code = ErrorCode.of(response.error_code)
        if code is ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR:
            self._metadata.refresh()
        if code is ErrorCode.NONE and response.throttle_time_ms > 0:
            return  # a broker that throttles may answer with nothing (F7)
        log.debug("the fetch session with %s begins anew (%s)", key, code.name)
        if code in (ErrorCode.FETCH_SESSION_ID_NOT_FOUND, ErrorCode.INVALID_FETCH_SESSION_EPOCH) and not was_full:
            return  # normal when the broker's cache is short: nothing to wait for
        for tp, what in asked.items():
            partition = self._counts(tp, what)
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
        offset = partition.fetch_offset
        size, next_offset, epoch, damaged = end_of_batches(view)
        if size == 0 and not damaged:
            # Asking again would bring the same again, for ever (B20).
            self._fail(partition, NoProgressError(partition.tp, offset, len(view)))
            return
        if damaged or next_offset <= offset:
            # Nothing behind it can be reached: whoever reads that far gets an error.
            partition.damaged = True
            next_offset = max(next_offset, offset) + 1
        else:
            view = view[:size]  # the rest is the beginning of a batch (B17)
        aborted = [(t.first_offset, t.producer_id) for t in answer.aborted_transactions or ()]
        partition.chunks.append(
            Chunk(partition.tp, view, offset, next_offset, self._reading, aborted, epoch, partition.delivery)
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
        if replica not in self._client.cluster.brokers:
            self._metadata.refresh()
            self._rest(partition)
        elif replica != partition.preferred_replica:  # the same once more does not prolong it (F30)
            partition.preferred_replica = replica
            partition.preferred_until = self._client.now + self._client.config.metadata_max_age_ms / 1000

    def _take_error(
        self, key: NodeKey, partition: Partition, code: ErrorCode, answer: PartitionData, endpoints: list[BrokerInfo]
    ) -> None:
        offset = partition.fetch_offset
        if code.invalidates == "metadata" or code is ErrorCode.OFFSET_NOT_AVAILABLE:
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
            self._fail(partition, broker_error(answer.error_code, f"fetching {partition.tp} at offset {offset}"))
        else:
            self._rest(partition)
        self._warn.warning(
            self._client.now, f"fetch {code.name}", "fetching %s at %d: %s", partition.tp, offset, code.name
        )

    def _out_of_range(self, key: NodeKey, partition: Partition, offset: int) -> None:
        policy = self._client.config.auto_offset_reset
        self._metadata.refresh()  # which may show that the topic is another one
        if partition.preferred_replica >= 0 and key.node_id == partition.preferred_replica:
            partition.preferred_replica = -1  # a follower may lag: the leader decides (trap 8)
            self._rest(partition)  # who may send us back to the follower
        elif policy.kind == "none" or partition.chunks:
            self._fail(partition, OffsetOutOfRangeError({partition.tp: offset}))
        else:
            log.info("%s: offset %d is out of range, starting at %s", partition.tp, offset, policy)
            partition.begin_reset(policy)

    def _fail(self, partition: Partition, error: Exception) -> None:
        """The program must know, when it has come so far: what is buffered comes first (F20). It is asked again until
        then, as an error that can't be told may pass as well."""
        if partition.chunks:
            self._rest(partition)
        else:
            partition.fail(error)

    def _rest(self, partition: Partition) -> None:
        partition.rest(self._client.now + self._client.backoff(partition.failures + 1))

    # ----------------------------------------------------------------------------------------------------- the end

    def _forget_brokers(self) -> None:
        """The sessions of brokers that have left mean nothing any more (F15)."""
        self._cluster_version = self._client.cluster.version
        for key in [key for key in self._sessions if key.node_id not in self._client.cluster.brokers]:
            del self._sessions[key]  # what was on its way has failed before
            self._last.pop(key, None)
            self._asked_last.pop(key, None)
            self._peek_at.pop(key, None)

    def closing_requests(self) -> list[tuple[NodeKey, FetchRequest]]:
        """What tells the brokers that the sessions are over, as far as they can be told without waiting (F14)."""
        requests = []
        for key, session in self._sessions.items():
            request = session.closing_request()
            if request is not None:
                # Behind a fetch that waits for data it would come too late.
                requests.append((NodeKey(key.node_id) if key in self._in_flight else key, request))
        self._sessions.clear()
        return requests
