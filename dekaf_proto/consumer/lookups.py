"""Asks leaders about offsets: the ends of a log, the offset for a time, where an epoch ended (section 4, F26).

`ListOffsets` and `OffsetForLeaderEpoch` go to the leaders only, one request each, side by side; a partition whose
leader is not known, or that is answered with an error, is tried again by who asked, of a leader that is looked up anew;
only what the broker forbids has failed for good (O4, F26).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from dekaf_proto.client import Client
from dekaf_proto.connection import ByVersion
from dekaf_proto.errors import (
    ErrorCode,
    KafkaError,
    TopicAuthorizationError,
    UnsupportedVersionError,
    broker_error,
)
from dekaf_proto.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from dekaf_proto.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from dekaf_proto.metadata import Metadata
from dekaf_proto.operation import All, Call, Flow, Wait
from dekaf_proto.types import OffsetAndTimestamp, TopicPartition

#: What a ListOffsets request takes instead of a time (O1).
LATEST: Final = -1
EARLIEST: Final = -2


class Outcome(NamedTuple):
    """What one round of questions brought, partition by partition."""

    found: dict[TopicPartition, Any]
    passing: dict[TopicPartition, KafkaError]
    failed: dict[TopicPartition, KafkaError]

    @classmethod
    def empty(cls) -> Outcome:
        return cls({}, {}, {})

    def judge(self, tp: TopicPartition, code: int, what: str) -> bool:
        """Takes an error code; whether there is an answer besides."""
        error_code = ErrorCode.of(code)
        if error_code is ErrorCode.NONE:
            return True
        if error_code is ErrorCode.TOPIC_AUTHORIZATION_FAILED:
            self.failed[tp] = TopicAuthorizationError(code, tp.topic)
        else:
            self.passing[tp] = broker_error(code, f"{what} {tp}")
        return False


class Lookups:
    """The questions of one consumer."""

    def __init__(self, client: Client, metadata: Metadata) -> None:
        self._client = client
        self._metadata = metadata

    def list_offsets(
        self, wanted: Mapping[TopicPartition, int], *, or_end: bool = False
    ) -> Flow[dict[TopicPartition, OffsetAndTimestamp | None]]:
        """For each partition the offset for a time in ms, for LATEST or EARLIEST; None where there is no such record,
        or with `or_end` the end of the log.

        Asks until every partition is answered; raises what waiting does not mend, after all have been asked (O3, O4).
        """
        result: dict[TopicPartition, OffsetAndTimestamp | None] = {}
        left = dict(wanted)
        self._metadata.visit(tp.topic for tp in left)
        failures = 0
        while True:
            outcome = yield from self.ask_offsets_or_ends(left) if or_end else self.ask_offsets(left)
            result.update(outcome.found)
            if outcome.failed:
                raise next(iter(outcome.failed.values()))
            left = {tp: left[tp] for tp in left if tp not in outcome.found}
            if not left:
                return {tp: result[tp] for tp in wanted}
            failures += 1
            yield self._pause(left, failures, next(iter(outcome.passing.values()), None))

    def _pause(self, left: Mapping[TopicPartition, int], failures: int, problem: KafkaError | None) -> Wait:
        """Before the next round; it is over as soon as a leader is known that was not."""
        cluster = self._client.cluster
        missing = [tp for tp in left if cluster.leader(tp) is None]
        return Wait(
            lambda: any(cluster.leader(tp) is not None for tp in missing),
            self._client.now + self._client.backoff(failures),
            lambda: problem or self._metadata.last_error,
        )

    def ends(self, tps: list[TopicPartition], which: int) -> Flow[dict[TopicPartition, int]]:
        """The first offsets (EARLIEST) or the ends (LATEST) of logs, asked for until there is an answer."""
        found = yield from self.list_offsets(dict.fromkeys(tps, which))
        return {tp: offset.offset for tp, offset in found.items() if offset is not None}

    def ask_offsets(self, wanted: Mapping[TopicPartition, int]) -> Flow[Outcome]:
        """One round of ListOffsets."""
        result: Outcome = yield from self._ask_leaders(wanted, self._ask_offsets_of)
        return result

    def ask_offsets_or_ends(self, wanted: Mapping[TopicPartition, int]) -> Flow[Outcome]:
        """The same; for a time that no record has reached, the end of the log (O10)."""
        outcome: Outcome = yield from self.ask_offsets(wanted)
        beyond = [tp for tp, found in outcome.found.items() if found is None]
        if beyond:
            ends: Outcome = yield from self.ask_offsets(dict.fromkeys(beyond, LATEST))
            # A record may have come between the two answers: it is the one, and not to be passed over.
            again: Outcome = yield from self.ask_offsets({tp: wanted[tp] for tp in ends.found})
            for tp in beyond:
                del outcome.found[tp]
            for tp, found in again.found.items():
                outcome.found[tp] = ends.found[tp] if found is None else found
            for later in (ends, again):
                outcome.passing.update(later.passing)
                outcome.failed.update(later.failed)
        return outcome

    def ask_epochs(self, wanted: Mapping[TopicPartition, int]) -> Flow[Outcome]:
        """One round of OffsetForLeaderEpoch: for each partition where a leader epoch ended. None is found for one whose
        broker is too old to be asked."""
        result: Outcome = yield from self._ask_leaders(wanted, self._ask_epochs_of)
        return result

    def _ask_leaders(
        self,
        wanted: Mapping[TopicPartition, int],
        ask: Callable[[int, dict[TopicPartition, int]], Flow[Outcome]],
    ) -> Flow[Outcome]:
        total = Outcome.empty()
        by_leader: dict[int, dict[TopicPartition, int]] = {}
        for tp, value in wanted.items():
            leader = self._client.cluster.leader(tp)
            if leader is not None:
                by_leader.setdefault(leader.leader, {})[tp] = value
                continue
            error = self._metadata.topic_error(tp.topic)
            if error is not None:
                total.failed[tp] = error
                continue
            self._metadata.need_leader()
            why = self._metadata.why_no_leader(tp)
            if why is not None:
                total.passing[tp] = why
        outcomes: list[Outcome] = yield All([ask(leader, tps) for leader, tps in by_leader.items()])
        for outcome in outcomes:
            total.found.update(outcome.found)
            total.passing.update(outcome.passing)
            total.failed.update(outcome.failed)
        if total.passing:
            self._metadata.refresh()
        return total

    # ----------------------------------------------------------------------------------------------- single leaders

    def _ask_offsets_of(self, leader: int, wanted: dict[TopicPartition, int]) -> Flow[Outcome]:
        config = self._client.config
        request = ListOffsetsRequest(
            replica_id=-1, isolation_level=int(config.isolation_level), timeout_ms=config.request_timeout_ms
        )
        topics: dict[str, ListOffsetsTopic] = {}
        for tp, timestamp in wanted.items():
            topic = topics.setdefault(tp.topic, ListOffsetsTopic(name=tp.topic))
            topic.partitions.append(
                ListOffsetsPartition(
                    partition_index=tp.partition, current_leader_epoch=self._epoch(tp), timestamp=timestamp
                )
            )
        request.topics = list(topics.values())
        outcome = Outcome.empty()
        try:
            response: ListOffsetsResponse = yield Call(leader, request)
        except KafkaError as error:
            return self._nobody_answered(wanted, error)
        for answered in response.topics:
            for partition in answered.partitions:
                tp = TopicPartition(answered.name, partition.partition_index)
                if tp not in wanted:
                    continue
                is_time = wanted[tp] >= 0
                if is_time and partition.error_code == ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT:
                    outcome.found[tp] = None  # messages so old that they have no time
                elif outcome.judge(tp, partition.error_code, "looking up an offset of"):
                    epoch = partition.leader_epoch if partition.leader_epoch >= 0 else None
                    if partition.offset >= 0:
                        outcome.found[tp] = OffsetAndTimestamp(partition.offset, partition.timestamp, epoch)
                    elif is_time:
                        outcome.found[tp] = None
                    else:  # every log has a beginning and an end
                        outcome.judge(tp, ErrorCode.OFFSET_NOT_AVAILABLE, "looking up an end of")
                    if self._client.cluster.is_behind(tp, partition.leader_epoch):
                        self._metadata.refresh()  # O8
        return outcome

    def _ask_epochs_of(self, leader: int, wanted: dict[TopicPartition, int]) -> Flow[Outcome]:
        topics: dict[str, OffsetForLeaderTopic] = {}
        for tp, epoch in wanted.items():
            topic = topics.setdefault(tp.topic, OffsetForLeaderTopic(topic=tp.topic))
            topic.partitions.append(
                OffsetForLeaderPartition(
                    partition=tp.partition, current_leader_epoch=self._epoch(tp), leader_epoch=epoch
                )
            )

        def build(version: int) -> OffsetForLeaderEpochRequest:
            if version < 3:  # which asks for rights on the whole cluster
                raise UnsupportedVersionError("OffsetForLeaderEpochRequest needs version 3 or later", "3 or later")
            return OffsetForLeaderEpochRequest(replica_id=-1, topics=list(topics.values()))

        outcome = Outcome.empty()
        try:
            response: OffsetForLeaderEpochResponse = yield Call(leader, ByVersion(OffsetForLeaderEpochRequest, build))
        except UnsupportedVersionError:
            outcome.found.update(dict.fromkeys(wanted))
            return outcome
        except KafkaError as error:
            return self._nobody_answered(wanted, error)
        for answered in response.topics:
            for partition in answered.partitions:
                tp = TopicPartition(answered.topic, partition.partition)
                if tp in wanted and outcome.judge(tp, partition.error_code, "validating the position of"):
                    outcome.found[tp] = partition
        return outcome

    def _nobody_answered(self, wanted: Mapping[TopicPartition, int], error: KafkaError) -> Outcome:
        outcome = Outcome.empty()
        (outcome.passing if error.retriable else outcome.failed).update(dict.fromkeys(wanted, error))
        return outcome

    def _epoch(self, tp: TopicPartition) -> int:
        info = self._client.cluster.leader(tp)
        return info.leader_epoch if info is not None else -1
