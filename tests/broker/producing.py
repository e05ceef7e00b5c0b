"""Producers without any logic, for tests of the broker: what a test says is sent, what comes back is shown.

    producer = Producer(peer, "t", "id")        # transactional; without "id" idempotent at most
    producer.init()                             # ("NONE", epoch)
    producer.send(b"a", b"b")                   # ("NONE", base offset, log start, whether the broker set the time)
    producer.end(commit=True)                   # ("NONE", epoch)

The same producers talk to our broker and to a real Kafka (see `Requester`); their ids, which differ, are not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from dekaf_proto.broker import Broker
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    FetchRequest,
    InitProducerIdRequest,
    InitProducerIdResponse,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetFetchRequest,
    ProduceRequest,
    TxnOffsetCommitRequest,
)
from dekaf_proto.messages.add_partitions_to_txn import AddPartitionsToTxnTopic
from dekaf_proto.messages.fetch import FetchPartition, FetchTopic
from dekaf_proto.messages.list_offsets import ListOffsetsPartition, ListOffsetsTopic
from dekaf_proto.messages.metadata import MetadataRequestTopic
from dekaf_proto.messages.offset_fetch import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from dekaf_proto.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceData,
)
from dekaf_proto.messages.txn_offset_commit import TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic
from dekaf_proto.records import BatchBuilder, Codec, RecordBatch, Visibility, judge_batches, read_batches
from dekaf_proto.types import IsolationLevel, Uuid
from dekaf_proto.wire.schema import Request, Response
from tests.broker.members import Requester
from tests.broker.peer import Peer

S = TypeVar("S", bound=Response)

TIMESTAMP = 90_000  # ms since 1970: just before the test clock's beginning
_PATIENCE = 200


def name(code: int) -> str:
    """An error code as it is shown."""
    return ErrorCode(code).name


def made(
    *values: bytes | None,
    producer: tuple[int, int] = (-1, -1),
    sequence: int = -1,
    transactional: bool = False,
    codec: Codec = Codec.NONE,
    timestamp: int = TIMESTAMP,
    key: bytes | None = None,
) -> bytes:
    """A batch as a producer sends it."""
    builder = BatchBuilder(
        codec=codec,
        producer_id=producer[0],
        producer_epoch=producer[1],
        base_sequence=sequence,
        transactional=transactional,
    )
    for number, value in enumerate(values):
        builder.append(timestamp + number, key, value)
    return builder.build()


def produce_request(
    topic: str | Uuid,
    *batches: bytes | None,
    acks: int = -1,
    transactional_id: str | None = None,
    timeout_ms: int = 1000,
    first: int = 0,
) -> ProduceRequest:
    """Produce: one batch for each partition from `first` on."""
    data = [PartitionProduceData(first + number, batch) for number, batch in enumerate(batches)]
    topic_name, topic_id = (topic, Uuid.ZERO) if isinstance(topic, str) else ("", topic)
    return ProduceRequest(transactional_id, acks, timeout_ms, [TopicProduceData(topic_name, topic_id, data)])


def shown(answer: PartitionProduceResponse) -> tuple[str, int, int, bool]:
    """What matters of the answer for a partition."""
    return name(answer.error_code), answer.base_offset, answer.log_start_offset, answer.log_append_time_ms >= 0


def only(response: ProduceResponse) -> PartitionProduceResponse:
    """The answer for the only partition."""
    [topic] = response.responses
    [partition] = topic.partition_responses
    return partition


class Producer:
    """One producer; see the module. `bump`: transactions of version 2."""

    def __init__(
        self,
        peer: Requester,
        topic: str,
        transactional_id: str | None = None,
        *,
        bump: bool = True,
        group: str = "g",
        timestamp: int = TIMESTAMP,
    ) -> None:
        self.peer = peer
        self.topic = topic
        self.transactional_id = transactional_id
        self.bump = bump
        self.group = group
        self.timestamp = timestamp
        self.id = -1
        self.epoch = -1
        self.sequences: dict[int, int] = {}
        self.node = 0
        self._topic_id = Uuid.ZERO

    @property
    def topic_id(self) -> Uuid:
        """The id of its topic."""
        if not self._topic_id:
            request = MetadataRequest([MetadataRequestTopic(name=self.topic)], False)
            self._topic_id = self.peer.ask(request, 12).topics[0].topic_id
        return self._topic_id

    def ask(self, request: Request[S], version: int) -> S:
        """A request to the node that it has."""
        return self.peer.ask(request, version, node=self.node)

    # ----------------------------------------------------------------------------------------------------- the producer

    def init(
        self, *, expected: tuple[int, int] | None = None, timeout_ms: int = 60_000, version: int = 5
    ) -> tuple[str, int]:
        """InitProducerId, once; the error and the epoch, which it then has."""
        answer = self.ask_init(expected=expected, timeout_ms=timeout_ms, version=version)
        if not answer.error_code:
            self.adopt(answer.producer_id, answer.producer_epoch)
        return name(answer.error_code), answer.producer_epoch

    def ask_init(
        self, *, expected: tuple[int, int] | None = None, timeout_ms: int = 60_000, version: int = 5
    ) -> InitProducerIdResponse:
        """InitProducerId, of which nothing is kept."""
        request = InitProducerIdRequest(self.transactional_id, timeout_ms, *(expected or ()))
        return self.ask(request, version)

    def ready(self) -> tuple[str, int]:
        """InitProducerId until the producer before is aborted."""
        for _ in range(_PATIENCE):
            found = self.init()
            if found[0] != "CONCURRENT_TRANSACTIONS":
                return found
            self.peer.pass_time(0.05)
        raise AssertionError("the transaction before does not end")

    def adopt(self, producer_id: int, epoch: int) -> None:
        """Goes on with another id or epoch, and so with sequences from 0 on."""
        if (producer_id, epoch) != (self.id, self.epoch):
            self.id, self.epoch = producer_id, epoch
            self.sequences.clear()

    # ---------------------------------------------------------------------------------------------------------- records

    def batch(self, *values: bytes | None, partition: int = 0, sequence: int | None = None) -> bytes:
        """Its next batch."""
        first = self.sequences.get(partition, 0) if sequence is None else sequence
        self.sequences[partition] = (first + len(values)) & 0x7FFFFFFF
        transactional = self.transactional_id is not None
        return made(
            *values,
            producer=(self.id, self.epoch),
            sequence=first,
            transactional=transactional,
            timestamp=self.timestamp,
        )

    def send(
        self,
        *values: bytes | None,
        partition: int = 0,
        sequence: int | None = None,
        version: int | None = None,
        data: bytes | None = None,
        acks: int = -1,
    ) -> tuple[str, int, int, bool]:
        """Produce of one batch; `data`: of this one."""
        data = self.batch(*values, partition=partition, sequence=sequence) if data is None else data
        version = (13 if self.bump else 11) if version is None else version
        request = produce_request(
            self.topic_id if version >= 13 else self.topic,
            data,
            acks=acks,
            transactional_id=self.transactional_id,
            first=partition,
        )
        return shown(only(self.ask(request, version)))

    # ----------------------------------------------------------------------------------------------------- transactions

    def add(self, *partitions: int, topic: str | None = None, version: int = 3) -> list[str]:
        """AddPartitionsToTxn, as a client; the errors."""
        topics = [AddPartitionsToTxnTopic(topic or self.topic, list(partitions))]
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.transactional_id or "",
            v3_and_below_producer_id=self.id,
            v3_and_below_producer_epoch=self.epoch,
            v3_and_below_topics=topics,
        )
        [answer] = self.ask(request, version).results_by_topic_v3_and_below
        return [name(each.partition_error_code) for each in answer.results_by_partition]

    def add_offsets(self, version: int = 4) -> str:
        """AddOffsetsToTxn; the error."""
        request = AddOffsetsToTxnRequest(self.transactional_id or "", self.id, self.epoch, self.group)
        return name(self.ask(request, version).error_code)

    def commit(
        self,
        offset: int,
        *,
        partition: int = 0,
        member: tuple[int, str, str | None] = (-1, "", None),
        version: int | None = None,
        topic: str | None = None,
        metadata: str | None = "m",
    ) -> str:
        """TxnOffsetCommit of one offset; the error."""
        version = (5 if self.bump else 4) if version is None else version
        partitions = [TxnOffsetCommitRequestPartition(partition, offset, -1, metadata)]
        topic_id = self.topic_id if version >= 6 and topic is None else Uuid(b"\7" * 16)
        topics = [TxnOffsetCommitRequestTopic(topic or self.topic, topic_id, partitions)]
        request = TxnOffsetCommitRequest(
            self.transactional_id or "", self.group, self.id, self.epoch, *member, topics=topics
        )
        return name(self.ask(request, version).topics[0].partitions[0].error_code)

    def end(self, *, commit: bool = True, version: int | None = None, keep: bool = False) -> tuple[str, int]:
        """EndTxn, once; the error and the new epoch (-1 for none), which it then has unless it is to `keep` its own."""
        version = (5 if self.bump else 4) if version is None else version
        request = EndTxnRequest(self.transactional_id or "", self.id, self.epoch, commit)
        answer = self.ask(request, version)
        if answer.producer_id >= 0 and not keep:
            self.adopt(answer.producer_id, answer.producer_epoch)
        return name(answer.error_code), answer.producer_epoch

    def settled(self, *, commit: bool = True) -> tuple[str, int]:
        """The same EndTxn again until the markers are written."""
        for _ in range(_PATIENCE):
            found = self.end(commit=commit, keep=True)
            if found[0] != "CONCURRENT_TRANSACTIONS":
                return found
            self.peer.pass_time(0.05)
        raise AssertionError("the transaction does not end")


def broker_of(producer: Producer) -> Broker:
    """The broker that a producer talks to, which has to be ours."""
    assert isinstance(producer.peer, Peer)
    return producer.peer.broker


# -------------------------------------------------------------------------------------------------------- what is there


def batches(peer: Requester, topic: str, partition: int = 0) -> list[RecordBatch]:
    """All batches of a partition, as Fetch gives them."""
    data = _fetched(peer, topic, partition, 0)[0]
    return [batch for batch in read_batches(data, topic, partition) if isinstance(batch, RecordBatch)]


def log(peer: Requester, topic: str, partition: int = 0) -> list[object]:
    """What the batches of a partition say, without their producers' ids."""
    return [
        (
            *(batch.base_offset, batch.last_offset, batch.leader_epoch, int(batch.timestamp_type)),
            *(batch.producer_id >= 0, batch.producer_epoch, batch.base_sequence),
            batch.control_record() if batch.is_control else [record.value for record in batch.records()],
        )
        for batch in batches(peer, topic, partition)
    ]


def committed(peer: Requester, topic: str, partition: int = 0) -> tuple[list[bytes | None], int, int, int]:
    """What a read_committed consumer gets, how many transactions it is told were aborted, LSO and high watermark."""
    data, aborted, stable, watermark = _fetched(peer, topic, partition, 1)
    first_offsets = [(first, producer) for producer, first in aborted]
    judged = judge_batches(read_batches(data, topic, partition), IsolationLevel.READ_COMMITTED, first_offsets)
    values = [record.value for batch, what in judged if what is Visibility.RECORDS for record in batch.records()]
    return values, len(aborted), stable, watermark


def _fetched(
    peer: Requester, topic: str, partition: int, isolation: int
) -> tuple[bytes, list[tuple[int, int]], int, int]:
    data = b""
    aborted: dict[tuple[int, int], None] = {}
    position = 0
    while True:
        asked = FetchPartition(partition, -1, position, partition_max_bytes=1 << 20)
        request = FetchRequest(
            max_wait_ms=0,
            min_bytes=0,
            max_bytes=1 << 20,
            isolation_level=isolation,
            topics=[FetchTopic(topic, Uuid.ZERO, [asked])],
        )
        [answer] = peer.ask(request, 12).responses[0].partitions
        aborted |= {(each.producer_id, each.first_offset): None for each in answer.aborted_transactions or []}
        if not answer.records:
            return data, list(aborted), answer.last_stable_offset, answer.high_watermark
        data += answer.records
        for batch in read_batches(answer.records, topic, partition):
            position = batch.next_offset


def end_offsets(peer: Requester, topic: str, partition: int = 0) -> tuple[int, int]:
    """The high watermark and the last stable offset, as ListOffsets gives them."""
    found = []
    for isolation in (0, 1):
        asked = ListOffsetsTopic(topic, [ListOffsetsPartition(partition, -1, -1)])
        found.append(peer.ask(ListOffsetsRequest(-1, isolation, [asked]), 7).topics[0].partitions[0].offset)
    return found[0], found[1]


def offsets(
    peer: Requester, topic: str, group: str, partitions: Sequence[int] = (0,), *, stable: bool = True
) -> list[tuple[str, int, str | None]]:
    """OffsetFetch."""
    topics = [OffsetFetchRequestTopics(topic, Uuid.ZERO, list(partitions))]
    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group, topics=topics)], require_stable=stable)
    [answer] = peer.ask(request, 8).groups
    if answer.error_code:
        return [(name(answer.error_code), -1, None)]
    return [(name(p.error_code), p.committed_offset, p.metadata) for p in answer.topics[0].partitions]
