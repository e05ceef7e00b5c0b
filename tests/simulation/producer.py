"""A program that produces over the network, as foreign clients do: batches with sequence numbers, sent again until they
are written, alone or in transactions of either version. What has become of them is `production`'s affair."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

from dekaf_proto.client import LEAST_LOADED, Client
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.connection import AnyRequest
from dekaf_proto.consumer.driven import Driven
from dekaf_proto.errors import ErrorCode, KafkaError, broker_error
from dekaf_proto.messages import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    EndTxnRequest,
    FindCoordinatorRequest,
    InitProducerIdRequest,
    ProduceRequest,
)
from dekaf_proto.messages.add_partitions_to_txn import AddPartitionsToTxnTopic
from dekaf_proto.messages.produce import PartitionProduceData, TopicProduceData
from dekaf_proto.metadata import Metadata
from dekaf_proto.operation import All, Call, Flow, Operation, Sleep
from dekaf_proto.records import BatchBuilder, Codec
from dekaf_proto.types import TopicPartition, Uuid
from tests.simulation.program import UNIX_OFFSET

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Seconds until the coordinator aborts a transaction, and how long a producer may dawdle in one.
TIMEOUT: Final = 3.0
DAWDLES: Final = 4.0
#: Seconds until something is tried again.
BREATH: Final = 0.1
#: The last versions of requests in transactions of version 1.
OLD_PRODUCE, OLD_END, CLIENTS_ADD = 11, 4, 3

_TRANSACTION: Final = 1  # the key type of a transactional id
#: The coordinator has ended the transaction, as it took too long or another producer has come.
_FENCED: Final = (
    ErrorCode.INVALID_PRODUCER_EPOCH,
    ErrorCode.PRODUCER_FENCED,
    ErrorCode.INVALID_TXN_STATE,
    ErrorCode.TRANSACTION_ABORTABLE,
)


@dataclass(slots=True, eq=False)
class Sent:
    """A batch of one partition. `offset`: where the broker says that it begins, once it was acknowledged."""

    tp: TopicPartition
    topic_id: Uuid
    values: list[bytes]
    sequence: int
    data: bytes
    offset: int | None = None


@dataclass(slots=True, eq=False)
class Transaction:
    """A transaction. `committed`: what has become of it, None while the producer does not know."""

    batches: list[Sent] = field(default_factory=list)
    committed: bool | None = None
    #: Whether the coordinator may have been told to commit it.
    may_commit: bool = False


class Ended(Exception):
    """The coordinator has ended the transaction by itself."""


class Producer(Driven):
    """See the module. A name stands for one process: that which comes after it has the same `transactional_id`."""

    def __init__(self, world: World, name: str, transactional_id: str | None, random: Random) -> None:
        self.name = name
        self.transactional_id = transactional_id
        #: All that it has sent outside of transactions, and in them.
        self.sent: list[Sent] = []
        self.transactions: list[Transaction] = []
        #: It is not to begin anything any more.
        self.stops = False
        self._world = world
        self._random = random
        #: Transactions of version 1; these know topics by name only, so they may write to one that was made again.
        self._is_old = random.random() < 0.5 and not world.plan.recreates
        self._left = random.randint(1, 6)
        self._values = 0
        self._producer: tuple[int, int] | None = None
        self._sequences: dict[tuple[Uuid, int], int] = {}
        #: What is on its way to each partition, in order.
        self._unanswered: dict[tuple[Uuid, int], list[Sent]] = {}
        self._coordinator: int | None = None
        config: ConsumerConfig[Any, Any] = ConsumerConfig(
            bootstrap_servers=world.network.bootstrap_servers(),
            client_id=name,
            request_timeout_ms=1500,
            retry_backoff_ms=50,
            reconnect_backoff_ms=30,
            reconnect_backoff_max_ms=300,
        )
        self._client = Client(config, seed=random.getrandbits(32), unix_offset=UNIX_OFFSET)
        self._metadata = Metadata(self._client)
        self._client.on_lost = self._metadata.node_lost
        self._metadata.start()
        self._metadata.want(world.plan.topics)
        self.life: Operation[None] = self._client.runner.start(name, self._live())
        world.network.add(self)
        self._advance(world.network.time(self))

    def __repr__(self) -> str:
        return f"<{self.name}, {self._left} left>"

    def _advance(self, now: float) -> None:
        self._client.now = now
        self._client.runner.run(now)

    def next_deadline(self) -> float | None:
        return None if self.life.done else self._client.next_deadline()

    def note(self, what: str) -> None:
        """A line of the trace."""
        self._world.history.note(self._world.network.now, self.name, what)

    # ------------------------------------------------------------------------------------------------------- its life

    def _live(self) -> Flow[None]:
        while self._left and not self.stops:
            self._left -= 1
            yield Sleep(self._random.uniform(0, 2))
            while self._producer is None:
                yield from self._initialise()
            if self.transactional_id is None:
                batches = self._batches()
                self.sent += batches
                yield All([self._send(batch) for batch in batches])
            else:
                yield from self._transact(self.transactional_id)

    def _transact(self, transactional_id: str) -> Flow[None]:
        """One transaction: some batches, with pauses between them, and the end."""
        transaction = Transaction()
        self.transactions.append(transaction)
        try:
            whole = True
            for _ in range(self._random.randint(1, 3)):
                batches = self._batches()
                if self._is_old and batches:
                    yield from self._add_partitions(transactional_id, [batch.tp for batch in batches])
                transaction.batches += batches
                whole &= all((yield All([self._send(batch) for batch in batches])))
                yield Sleep(self._random.choice((0.0, 0.05, self._random.uniform(0, DAWDLES))))
            if transaction.batches:
                commit = whole and self._random.random() < 0.7
                transaction.may_commit = commit
                yield from self._end(transactional_id, commit)
                transaction.committed = commit
                self.note("has committed" if commit else "has aborted")
        except Ended:
            self.note("has waited too long, the transaction is aborted")
            transaction.committed = False
            self._producer = None

    def _batches(self) -> list[Sent]:
        """A batch for some partitions of those that are known, or two, of which the second one does not wait."""
        known = self._client.cluster.topics
        present = [
            TopicPartition(name, partition)
            for name in self._world.plan.topics
            if name in known
            for partition in self._client.cluster.partitions(name)
        ]
        chosen = self._random.sample(present, min(len(present), self._random.randint(1, 3)))
        twice = [tp for tp in chosen if self._may_overtake(tp)]
        chosen += twice[: self._random.choice((0, 1, 3))]
        return [self._batch(tp, self._client.cluster.topic_id(tp.topic)) for tp in chosen]

    def _may_overtake(self, tp: TopicPartition) -> bool:
        """Whether the broker would notice: it takes any first sequence from a producer that it does not know, but in
        transactions of version 2 (T2)."""
        new_epochs = self.transactional_id is not None and not self._is_old
        return new_epochs or (self._client.cluster.topic_id(tp.topic), tp.partition) in self._sequences

    def _batch(self, tp: TopicPartition, topic_id: Uuid) -> Sent:
        assert self._producer is not None
        sequence = self._sequences.get((topic_id, tp.partition), 0)
        builder = BatchBuilder(
            codec=self._random.choice((Codec.NONE, Codec.LZ4)),
            producer_id=self._producer[0],
            producer_epoch=self._producer[1],
            base_sequence=sequence,
            transactional=self.transactional_id is not None,
        )
        values = []
        for _ in range(self._random.randint(1, 5)):
            self._values += 1
            values.append(f"{self.name} {self._values}".encode())
            builder.append(int((self._client.now + UNIX_OFFSET) * 1000), b"k", values[-1])
        self._sequences[topic_id, tp.partition] = sequence + len(values)
        self.note(f"sends {len(values)} to {tp}, from sequence {sequence} on")
        sent = Sent(tp, topic_id, values, sequence, builder.build())
        self._unanswered.setdefault((topic_id, tp.partition), []).append(sent)
        return sent

    # ------------------------------------------------------------------------------------------------------- requests

    def _send(self, batch: Sent) -> Flow[bool]:
        """Sends a batch until it is acknowledged; False if its topic was deleted before it was."""
        tp = batch.tp
        while self._client.cluster.topic_id(tp.topic) == batch.topic_id:
            leader = self._client.cluster.leader(tp)
            if leader is None:
                self._metadata.need_leader()
                yield Sleep(BREATH)
                continue
            data = TopicProduceData(tp.topic, batch.topic_id, [PartitionProduceData(tp.partition, batch.data)])
            request = ProduceRequest(self.transactional_id, -1, 1000, [data])
            old = self._is_old and self.transactional_id is not None
            answer = yield from self._ask(leader.leader, request, OLD_PRODUCE if old else None)
            if answer is None:
                continue
            [partition] = answer.responses[0].partition_responses
            before = self._unanswered[batch.topic_id, tp.partition]
            if partition.error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER and before[0] is not batch:
                self.note(f"{tp}: sequence {batch.sequence} has overtaken {before[0].sequence}")
            elif self._is_good(partition.error_code, "Produce"):
                batch.offset = partition.base_offset
                before.remove(batch)
                return True
            yield Sleep(BREATH)
        return False

    def _initialise(self) -> Flow[None]:
        target: object = LEAST_LOADED
        if self.transactional_id is not None:
            yield from self._find_coordinator(self.transactional_id)
            target = self._coordinator
        answer = yield from self._ask(target, InitProducerIdRequest(self.transactional_id, int(TIMEOUT * 1000)))
        if answer is not None and self._is_good(answer.error_code, "InitProducerId"):
            self._take(answer.producer_id, answer.producer_epoch)
        else:
            yield Sleep(BREATH)

    def _take(self, producer_id: int, epoch: int) -> None:
        """From here on it has these, and its sequences begin anew."""
        self._producer = producer_id, epoch
        self._sequences.clear()
        self._unanswered.clear()
        self.note(f"is producer {producer_id} of epoch {epoch}")

    def _find_coordinator(self, transactional_id: str) -> Flow[None]:
        while self._coordinator is None:
            request = FindCoordinatorRequest(key_type=_TRANSACTION, coordinator_keys=[transactional_id])
            answer = yield from self._ask(LEAST_LOADED, request)
            if answer is not None:
                [found] = answer.coordinators
                if self._is_good(found.error_code, "FindCoordinator") and found.node_id in self._client.cluster.brokers:
                    self._coordinator = found.node_id
            if self._coordinator is None:
                self._metadata.refresh()
                yield Sleep(BREATH)

    def _add_partitions(self, transactional_id: str, partitions: Sequence[TopicPartition]) -> Flow[None]:
        assert self._producer is not None
        names = dict.fromkeys(tp.topic for tp in partitions)
        topics = [
            AddPartitionsToTxnTopic(name, [tp.partition for tp in partitions if tp.topic == name]) for name in names
        ]
        request = AddPartitionsToTxnRequest([], transactional_id, *self._producer, topics)
        left = True
        while left:
            answer = yield from self._ask_coordinator(transactional_id, request, CLIENTS_ADD)
            codes = [
                r.partition_error_code for t in answer.results_by_topic_v3_and_below for r in t.results_by_partition
            ]
            left = False
            for code in codes:
                if code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                    self._metadata.refresh()
                    return  # `_send` finds out
                left |= code != ErrorCode.OPERATION_NOT_ATTEMPTED and not self._is_good(code, "AddPartitionsToTxn")
            if left:
                yield Sleep(BREATH)

    def _end(self, transactional_id: str, commit: bool) -> Flow[None]:
        assert self._producer is not None
        self.note("commits" if commit else "aborts")
        request = EndTxnRequest(transactional_id, *self._producer, commit)
        while True:
            answer = yield from self._ask_coordinator(transactional_id, request, OLD_END if self._is_old else None)
            if self._is_good(answer.error_code, "EndTxn"):
                if not self._is_old:
                    self._take(answer.producer_id, answer.producer_epoch)
                return
            yield Sleep(BREATH)

    def _ask_coordinator(
        self, transactional_id: str, request: AnyRequest, max_version: int | None
    ) -> Generator[Any, Any, Any]:
        """The answer of the coordinator, as soon as there is one."""
        while True:
            yield from self._find_coordinator(transactional_id)
            answer = yield from self._ask(self._coordinator, request, max_version)
            if answer is not None:
                return answer

    def _ask(self, target: object, request: AnyRequest, max_version: int | None = None) -> Generator[Any, Any, Any]:
        """An answer; None after a while if there is none."""
        try:
            return (yield Call(target, request, max_version))
        except KafkaError as error:
            self._may_pass(error, request)
            yield Sleep(BREATH)
            return None

    def _is_good(self, code: int, what: str) -> bool:
        """False for an error that may pass."""
        if code == ErrorCode.NONE:
            return True
        if code in _FENCED and self.transactional_id is not None:
            raise Ended
        self._may_pass(broker_error(code), what)
        return False

    def _may_pass(self, error: KafkaError, what: object) -> None:
        assert error.retriable, f"{self.name}: {what}: {error!r}"
        self._coordinator = None
        self._metadata.refresh()


def _codes(answer: AddPartitionsToTxnResponse) -> list[int]:
    results = [result for topic in answer.results_by_topic_v3_and_below for result in topic.results_by_partition]
    return [result.partition_error_code for result in results]
