"""A topic of the demo's own on a real Kafka: makes it, puts records into it, deletes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from dekaf_proto.connection import ByVersion
from dekaf_proto.errors import BrokerError, ErrorCode, broker_error
from dekaf_proto.messages import (
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    InitProducerIdRequest,
    ProduceRequest,
)
from dekaf_proto.messages.create_topics import CreatableTopic
from dekaf_proto.messages.delete_topics import DeleteTopicState
from dekaf_proto.messages.produce import PartitionProduceData, TopicProduceData
from dekaf_proto.records import BatchBuilder
from dekaf_proto.types import Uuid
from dekaf_sync._demo.asking import Brokers

T = TypeVar("T")

#: For how long what may get better is tried again, and how often, in seconds.
PATIENCE: Final = 30.0
BREATH: Final = 0.1
#: How long a broker may take for what it is asked, in milliseconds. Less than the connection waits for it.
BROKER_MS: Final = 5_000
#: Asks for the number of replicas that the cluster gives topics.
DEFAULT: Final = -1


class OwnTopic:
    """See the module. What fails for good is a KafkaError or an OSError.

    It is an idempotent producer: a batch that is sent once more is there once.
    """

    def __init__(self, servers: str, name: str, partitions: int) -> None:
        self.name: Final = name
        self._brokers: Final = Brokers(servers)
        self._id = Uuid.ZERO
        self._leaders: list[int] = []
        self._producer = (-1, -1)
        self._sequences: Final = [0] * partitions
        #: Whether there may be something to delete.
        self._begun = False

    def create(self) -> None:
        """Makes it; returns when it can be used. Does not wait for a cluster that is not there."""
        self._brokers.metadata(self.name)
        self._begun = True
        _persist(self._create)
        _persist(self._look)
        self._producer = _persist(self._start_producing)

    def append(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int:
        """Puts keys and values in, as one batch that all replicas have; returns the first one's offset."""
        sequence = self._sequences[partition]
        builder = BatchBuilder(producer_id=self._producer[0], producer_epoch=self._producer[1], base_sequence=sequence)
        for key, value in records:
            builder.append(time.time_ns() // 1_000_000, key, value)
        batch = builder.build()
        offset = _persist(lambda: self._produce(partition, batch))
        self._sequences[partition] = sequence + len(records)
        return offset

    def delete(self) -> None:
        """Deletes it, if it was made, and ends all connections."""
        try:
            if self._begun:
                _persist(self._delete)
        finally:
            self._brokers.close()

    # ------------------------------------------------------------------------------------------------- the requests

    def _create(self) -> None:
        topic = CreatableTopic(self.name, len(self._sequences), DEFAULT)
        answer = self._brokers.ask(self._find_controller(), CreateTopicsRequest([topic], BROKER_MS))
        [result] = answer.topics
        if result.error_code != ErrorCode.TOPIC_ALREADY_EXISTS:  # nobody else's has this name: it was made at once
            _check(result.error_code, result.error_message)

    def _find_controller(self) -> int:
        found = self._brokers.metadata(self.name)
        return found.controller_id if found.controller_id >= 0 else found.brokers[0].node_id

    def _look(self) -> None:
        """Finds out who leads each partition."""
        [topic] = self._brokers.metadata(self.name).topics
        _check(topic.error_code)
        if len(topic.partitions) < len(self._sequences):
            raise broker_error(ErrorCode.LEADER_NOT_AVAILABLE)
        for partition in topic.partitions:
            _check(partition.error_code)
        self._id = topic.topic_id
        self._leaders = [p.leader_id for p in sorted(topic.partitions, key=lambda p: p.partition_index)]

    def _start_producing(self) -> tuple[int, int]:
        answer = self._brokers.ask(self._leaders[0], InitProducerIdRequest(None, BROKER_MS))
        _check(answer.error_code)
        return answer.producer_id, answer.producer_epoch

    def _produce(self, partition: int, batch: bytes) -> int:
        data = TopicProduceData(self.name, self._id, [PartitionProduceData(partition, batch)])
        try:
            answer = self._brokers.ask(self._leaders[partition], ProduceRequest(None, -1, BROKER_MS, [data]))
            [result] = answer.responses[0].partition_responses
            _check(result.error_code, result.error_message)
        except (OSError, BrokerError):
            self._look()
            raise
        return result.base_offset

    def _delete(self) -> None:
        def build(version: int) -> DeleteTopicsRequest:
            if version < 6:
                return DeleteTopicsRequest(topic_names=[self.name], timeout_ms=BROKER_MS)
            return DeleteTopicsRequest([DeleteTopicState(self.name)], timeout_ms=BROKER_MS)

        request: ByVersion[DeleteTopicsResponse] = ByVersion(DeleteTopicsRequest, build)
        [result] = self._brokers.ask(self._find_controller(), request).responses
        if result.error_code != ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            _check(result.error_code, result.error_message)


def _check(code: int, message: str | None = None) -> None:
    if code != ErrorCode.NONE:
        raise broker_error(code, message)


def _persist(attempt: Callable[[], T]) -> T:
    """What comes of it, in the end: errors that may pass are waited for."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return attempt()
        except OSError:
            if time.monotonic() > deadline:
                raise
        except BrokerError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
        time.sleep(BREATH)
