"""What a program may ask the brokers, which changes nothing: offsets (committed ones, ends, times), topics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

from dekaf_proto.client import LEAST_LOADED
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer.arguments import Time, partitions_of, times_of, topic_of
from dekaf_proto.consumer.commits import Commits
from dekaf_proto.consumer.driven import Driven
from dekaf_proto.consumer.handout import Bound
from dekaf_proto.consumer.lookups import EARLIEST, LATEST, Lookups
from dekaf_proto.consumer.partition import Partition
from dekaf_proto.errors import ErrorCode, KafkaError, NoGroupError, UnknownTopicError, broker_error
from dekaf_proto.messages.metadata import MetadataResponse
from dekaf_proto.metadata import Asked
from dekaf_proto.operation import Call, Flow, Operation, Sleep
from dekaf_proto.types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition

T = TypeVar("T")


class Questions(Driven):
    """The part of a consumer that asks; see `engine` for the whole."""

    config: ConsumerConfig[Any, Any]
    _partitions: dict[TopicPartition, Partition]
    _lookups: Lookups
    _commits: Commits

    @abstractmethod
    def _begin(self, now: float, *, answers: bool = False, touches: bool = True) -> None:
        """What every call does first."""

    def committed(
        self, partitions: object, now: float, timeout: float | None = None
    ) -> Operation[dict[TopicPartition, OffsetAndMetadata | None]]:
        """What the group has committed for each of these partitions, None where it has nothing."""
        tps = partitions_of(partitions)
        self._begin(now)
        self._need_group()
        return self._start("committed", self._commits.committed(tps), now, timeout)

    def beginning_offsets(
        self, partitions: object, now: float, timeout: float | None = None
    ) -> Operation[dict[TopicPartition, int]]:
        """The first offset of each of these partitions, which need not be assigned."""
        return self._ends("beginning_offsets", partitions_of(partitions), EARLIEST, now, timeout)

    def end_offsets(
        self, partitions: object, now: float, timeout: float | None = None
    ) -> Operation[dict[TopicPartition, int]]:
        """The offset behind the last record of each (read_committed: behind the last stable one)."""
        return self._ends("end_offsets", partitions_of(partitions), LATEST, now, timeout)

    def offsets_for_times(
        self, times: Mapping[TopicPartition, Time], now: float, timeout: float | None = None
    ) -> Operation[dict[TopicPartition, OffsetAndTimestamp | None]]:
        """For each partition the first record that is not older than its time, None if there is none (O5)."""
        wanted = times_of(times)
        self._begin(now)
        return self._start("offsets_for_times", self._lookups.list_offsets(wanted), now, timeout)

    def until_end(self, now: float, timeout: float | None = None) -> Operation[Bound]:
        """A bound for `poll`: the ends of what is assigned, as they are now."""
        tps = list(self._partitions)

        def flow() -> Flow[Bound]:
            return Bound((yield from self._lookups.ends(tps, LATEST)))

        self._begin(now)
        return self._start("looking up the end offsets", flow(), now, timeout)

    def partitions_for(self, topic: str, now: float, timeout: float | None = None) -> Operation[list[TopicPartition]]:
        """A topic's partitions. UnknownTopicError if it does not exist; it is not created."""
        topic_of(topic)

        def flow() -> Flow[list[TopicPartition]]:
            response = yield from self._ask_metadata([topic])
            found = [p.partition_index for t in response.topics if t.name == topic for p in t.partitions]
            if not found:
                raise broker_error(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"topic {topic}")
            return [TopicPartition(topic, partition) for partition in sorted(found)]

        self._begin(now)
        return self._start("partitions_for", flow(), now, timeout)

    def topics(self, now: float, timeout: float | None = None) -> Operation[list[str]]:
        """The names of all topics that may be seen, Kafka's internal ones left out."""

        def flow() -> Flow[list[str]]:
            response = yield from self._ask_metadata(None)
            return sorted(t.name for t in response.topics if t.name is not None and not t.is_internal)

        self._begin(now)
        return self._start("topics", flow(), now, timeout)

    def _need_group(self) -> None:
        if self.config.group_id is None:
            raise NoGroupError

    def _start(self, name: str, flow: Flow[T], now: float, timeout: float | None) -> Operation[T]:
        if timeout is None and name != "wait":
            timeout = self.config.default_api_timeout_ms / 1000
        operation = self._client.runner.start(name, flow, timeout)
        self._advance(now)
        return operation

    def _ends(
        self, name: str, tps: list[TopicPartition], which: int, now: float, timeout: float | None
    ) -> Operation[dict[TopicPartition, int]]:
        self._begin(now)
        return self._start(name, self._lookups.ends(tps, which), now, timeout)

    def _ask_metadata(self, topics: list[str] | None) -> Flow[MetadataResponse]:
        """One question about topics, tried again while the failure is one that passes."""
        failures = 0
        while True:
            try:
                response: MetadataResponse = yield Call(LEAST_LOADED, Asked().request(topics, False))
                for topic in response.topics if topics is not None else ():
                    if topic.error_code != 0:
                        raise broker_error(topic.error_code, f"topic {topic.name}")
                return response
            except UnknownTopicError:
                raise
            except KafkaError as error:
                if not error.retriable:
                    raise
                failures += 1
                yield Sleep(self._client.backoff(failures), error)
