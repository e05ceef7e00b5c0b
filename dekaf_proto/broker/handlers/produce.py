"""Produce: appends batches to partitions (T1-T3, T7, T14, T15).

A request is worked off in three steps, of which the last two may have to wait. What can be seen from the request alone
is answered. Batches of a transaction are made part of it. Then they are appended, and with acks=-1 the answer waits
until consumers can read them.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.broker.appending import Refused, append, check_shape
from dekaf_proto.broker.cluster import Partition
from dekaf_proto.broker.enrolling import enrol, verify
from dekaf_proto.broker.exchange import Exchange, Outcome, Pending, Unanswered
from dekaf_proto.broker.transactions import ProducerAt
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.produce import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from dekaf_proto.records.batch import HEADER, HEADER_SIZE, TRANSACTIONAL_BIT
from dekaf_proto.types import TopicPartition

ADMIN_CLIENT = "__admin_client"  # who may write to internal topics
ABORTABLE_SINCE, IMPLICIT_SINCE = 11, 12
_ALL, _LEADER, _NOBODY = -1, 1, 0
#: With these errors an answer says nothing of the log.
_WITHOUT_LOG = (ErrorCode.CORRUPT_MESSAGE, ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.MESSAGE_TOO_LARGE)


def produce(exchange: Exchange, request: ProduceRequest) -> Outcome:
    """With acks=0 there is no answer; the connection is closed if something went wrong (W8)."""
    return _Produce(exchange, request).start()


@dataclass(slots=True, eq=False)
class _Batch:
    """A batch for a partition that exists, and the answer, filled in step by step."""

    partition: Partition
    data: bytes
    answer: PartitionProduceResponse
    last_offset: int = -1

    @property
    def at(self) -> TopicPartition:
        return TopicPartition(self.partition.topic.name, self.partition.index)

    @property
    def producer(self) -> ProducerAt | None:
        """The producer's id and epoch, if the batch belongs to a transaction."""
        if len(self.data) < HEADER_SIZE:
            return None
        header = HEADER.unpack_from(self.data)
        return (header[9], header[10]) if header[5] & TRANSACTIONAL_BIT else None

    @property
    def sequence(self) -> int:
        return int(HEADER.unpack_from(self.data)[11])


class _Produce:
    def __init__(self, exchange: Exchange, request: ProduceRequest) -> None:
        self.exchange = exchange
        self.request = request
        self.response = ProduceResponse()
        self.batches: list[_Batch] = []

    def start(self) -> Outcome:
        """The first step."""
        for topic in (each for each in self.request.topic_data if each.partition_data):
            answers = [self._look_at(topic, asked) for asked in topic.partition_data]
            self.response.responses.append(TopicProduceResponse(topic.name, topic.topic_id, answers))
        producers = {batch.producer: None for batch in self.batches if batch.producer is not None}
        transactional_id = self.request.transactional_id
        if producers and transactional_id is None:
            return self._all_failed(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        if self.request.acks not in (_ALL, _LEADER, _NOBODY):
            return self._all_failed(ErrorCode.INVALID_REQUIRED_ACKS)
        if not producers or transactional_id is None:
            return self._append()
        if len(producers) > 1:
            return self._all_failed(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        return self._add_to_transaction(transactional_id, next(iter(producers)))

    def _look_at(self, topic: TopicProduceData, asked: PartitionProduceData) -> PartitionProduceResponse:
        exchange, name = self.exchange, topic.name
        answer = PartitionProduceResponse(asked.index, base_offset=-1)
        if exchange.version >= 13:
            found = exchange.cluster.topic_by_id(topic.topic_id)
            name = "" if found is None else found.name
        partition = exchange.cluster.partition(name, asked.index)
        data = bytes(asked.records or b"")
        if error := exchange.faults.error(name, asked.index):
            self._refuse(answer, Refused(error), partition)
        elif partition is None:
            unknown_id = exchange.version >= 13 and not name
            answer.error_code = ErrorCode.UNKNOWN_TOPIC_ID if unknown_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        elif partition.topic.is_internal and exchange.client_id != ADMIN_CLIENT:
            answer.error_code = ErrorCode.INVALID_TOPIC_EXCEPTION
        elif refused := check_shape(data, exchange.version):
            answer.error_code = refused.error
        else:
            self.batches.append(_Batch(partition, data, answer))
        return answer

    # ---------------------------------------------------------------------------------------------- the second step

    def _add_to_transaction(self, transactional_id: str, producer: ProducerAt) -> Outcome:
        """Those partitions that know nothing of the transaction yet."""
        new = [batch for batch in self.batches if batch.producer is not None and self._begins(batch, producer)]

        def added(error: ErrorCode) -> Outcome:
            for batch in new:
                batch.answer.error_code = error
            return self._append(from_zero=new)

        if new and self.exchange.version >= IMPLICIT_SINCE:
            at = [batch.at for batch in new]
            return enrol(self.exchange, transactional_id, producer, partitions=at, then=added)
        known = self.exchange.version >= ABORTABLE_SINCE
        for batch in new:
            batch.answer.error_code = verify(
                self.exchange, transactional_id, producer, partition=batch.at, knows_abortable=known
            )
        return self._append()

    def _begins(self, batch: _Batch, producer: ProducerAt) -> bool:
        """Whether it would be the first one of the transaction in its partition."""
        log = batch.partition.log
        if not self._leads(batch.partition) or log.in_transaction(*producer):
            return False
        if producer[1] < log.producers.epoch(producer[0]):
            batch.answer.error_code = ErrorCode.INVALID_PRODUCER_EPOCH
            return False
        log.producers.attempt(*producer, batch.sequence)
        return True

    # ----------------------------------------------------------------------------------------------- the third step

    def _append(self, from_zero: list[_Batch] | None = None) -> Outcome:
        now_ms = self.exchange.cluster.unix_ms(self.exchange.now)
        for batch in self.batches:
            answer, partition = batch.answer, batch.partition
            if answer.error_code:
                continue
            if not self._leads(partition):
                self._refuse(answer, Refused(ErrorCode.NOT_LEADER_OR_FOLLOWER), partition)
                continue
            done = append(partition, batch.data, now_ms, from_zero=batch in (from_zero or ()))
            if isinstance(done, Refused):
                self._refuse(answer, done, partition)
                continue
            answer.base_offset, batch.last_offset, answer.log_append_time_ms = done
            answer.log_start_offset = partition.log.start_offset
            self.exchange.cluster.changed()
        if self.request.acks != _ALL:
            return self._respond()
        return Pending(self.exchange.now + self.request.timeout_ms / 1000, self._poll)

    def _poll(self, expired: bool) -> Outcome | None:
        """The response, once followers have everything that was appended."""
        waits = False
        for batch in self.batches:
            if batch.answer.error_code or batch.partition.log.high_watermark > batch.last_offset:
                continue
            if not self._leads(batch.partition):
                self._refuse(batch.answer, Refused(ErrorCode.NOT_LEADER_OR_FOLLOWER), batch.partition)
            elif expired:
                batch.answer.error_code = ErrorCode.REQUEST_TIMED_OUT
            else:
                waits = True
        return None if waits else self._respond()

    # --------------------------------------------------------------------------------------------------------- answers

    def _leads(self, partition: Partition) -> bool:
        return partition.leader == self.exchange.node

    def _all_failed(self, error: ErrorCode) -> Outcome:
        for batch in self.batches:
            batch.answer.error_code = error
        return self._respond()

    def _refuse(self, answer: PartitionProduceResponse, why: Refused, partition: Partition | None) -> None:
        answer.error_code, answer.error_message = why.error, why.message
        answer.record_errors = [BatchIndexAndErrorMessage(*each) for each in why.records]
        if partition is None:
            return
        if why.error not in _WITHOUT_LOG:
            answer.log_start_offset = partition.log.start_offset
        leader = partition.leader
        if why.error is ErrorCode.NOT_LEADER_OR_FOLLOWER and leader is not None and self.exchange.version >= 10:
            self._name_leader(answer, leader, partition.leader_epoch)

    def _name_leader(self, answer: PartitionProduceResponse, leader: int, epoch: int) -> None:
        """The way to it, so that the client need not ask for metadata (KIP-951)."""
        cluster, endpoints = self.exchange.cluster, self.response.node_endpoints
        answer.current_leader = LeaderIdAndEpoch(leader, epoch)
        if leader in cluster.alive() and leader not in [endpoint.node_id for endpoint in endpoints]:
            endpoints.append(NodeEndpoint(leader, *cluster.endpoint(leader), cluster.nodes[leader].rack))

    def _respond(self) -> ProduceResponse | Unanswered:
        if self.request.acks != _NOBODY:
            return self.response
        answers = [answer for topic in self.response.responses for answer in topic.partition_responses]
        return Unanswered(disconnect=any(answer.error_code for answer in answers))
