"""TxnOffsetCommit: stores a group's offsets as part of a transaction; they count once it is committed (T17)."""

from __future__ import annotations

from dekaf_proto.broker.enrolling import enrol, verify
from dekaf_proto.broker.exchange import Exchange, Outcome
from dekaf_proto.broker.groups import CommittedOffset
from dekaf_proto.broker.handlers.offset_commit import is_too_large
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)
from dekaf_proto.types import TopicPartition

IMPLICIT_SINCE = 5


def txn_offset_commit(exchange: Exchange, request: TxnOffsetCommitRequest) -> Outcome:
    """From version 5 on (transactions of version 2) the group becomes part of the transaction with it."""
    work = _Commit(exchange, request)
    if error := exchange.faults.top_error or exchange.coordinator_error(request.group_id):
        return work.respond(error)
    transactional_id, producer = request.transactional_id, (request.producer_id, request.producer_epoch)
    if exchange.version >= IMPLICIT_SINCE:
        return enrol(exchange, transactional_id, producer, groups=[request.group_id], then=work.commit)
    known = exchange.version >= 4
    return work.commit(verify(exchange, transactional_id, producer, group=request.group_id, knows_abortable=known))


class _Commit:
    def __init__(self, exchange: Exchange, request: TxnOffsetCommitRequest) -> None:
        self.exchange = exchange
        self.request = request

    def commit(self, error: ErrorCode) -> TxnOffsetCommitResponse:
        """The group is part of the transaction, or not."""
        return self.respond(error or self._check_group())

    def respond(self, error: ErrorCode) -> TxnOffsetCommitResponse:
        """Each partition by itself, if there is no error for all."""
        asked = [topic for topic in self.request.topics if topic.partitions]
        return TxnOffsetCommitResponse(topics=[self._topic(topic, error) for topic in asked])

    def _check_group(self) -> ErrorCode:
        request = self.request
        group = self.exchange.cluster.groups.get(request.group_id)
        generation = request.generation_id_or_member_epoch
        if group is not None:
            return group.check_transactional_commit(generation, request.member_id, request.group_instance_id)
        return ErrorCode.NONE if generation < 0 else ErrorCode.ILLEGAL_GENERATION

    def _topic(self, asked: TxnOffsetCommitRequestTopic, error: ErrorCode) -> TxnOffsetCommitResponseTopic:
        name: str | None = asked.name
        if self.exchange.version >= 6:
            topic = self.exchange.cluster.topic_by_id(asked.topic_id)
            name = None if topic is None else topic.name
        return TxnOffsetCommitResponseTopic(
            asked.name,
            asked.topic_id,
            [
                TxnOffsetCommitResponsePartition(partition.partition_index, error or self._store(name, partition))
                for partition in asked.partitions
            ],
        )

    def _store(self, topic: str | None, asked: TxnOffsetCommitRequestPartition) -> ErrorCode:
        cluster = self.exchange.cluster
        if error := self.exchange.faults.error(topic, asked.partition_index):
            return error
        if topic is None:
            return ErrorCode.UNKNOWN_TOPIC_ID
        if cluster.partition(topic, asked.partition_index) is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if is_too_large(asked.committed_metadata):
            return ErrorCode.OFFSET_METADATA_TOO_LARGE
        offset = CommittedOffset(asked.committed_offset, asked.committed_leader_epoch, asked.committed_metadata or "")
        at = TopicPartition(topic, asked.partition_index)
        cluster.group(self.request.group_id).pending.add(self.request.producer_id, at, offset)
        return ErrorCode.NONE
