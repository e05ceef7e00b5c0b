"""What fills the topics, and what else happens to them: records, transactions, compaction, retention, new partitions,
topics that are deleted and made again. The ledgers are told of all that."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from dekaf_proto.broker.inprocess import NewRecord
from dekaf_proto.records import Codec
from dekaf_proto.types import TopicPartition
from tests.simulation.ledger import Ledger

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Ids of producers: those of transactions, and one that is only idempotent.
TRANSACTIONAL: Final = (100, 101, 102)
IDEMPOTENT: Final = 200
#: The most partitions of a topic.
MOST: Final = 6


class Feed:
    """The feed of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._broker = world.broker
        self._history = world.history
        self._random = world.random
        self._sequences: dict[Ledger, int] = {}
        for topic, partitions in world.plan.topics.items():
            self._create(topic, partitions)

    @property
    def _now(self) -> float:
        return self._world.network.time(self._broker)

    def _create(self, topic: str, partitions: int) -> None:
        self._broker.create_topic(topic, partitions)
        for number in range(partitions):
            self._history.begins(TopicPartition(topic, number))

    # -------------------------------------------------------------------------------------------------------- records

    def over_time(self, seconds: float) -> None:
        """All records that there will be, at random moments."""
        left = self._world.plan.records
        while left > 0:
            count = min(left, self._random.randint(1, 20))
            left -= count
            at = self._random.choice((0.0, self._random.uniform(0, seconds)))
            self._world.later(at, partial(self._append, count))

    def _append(self, count: int) -> None:
        ledger = self._one()
        if ledger is None:
            return
        if self._world.plan.transactions and self._random.random() < 0.6:
            self._append_in_transaction(ledger, count)
        else:
            self.append(ledger, count)

    def append(self, ledger: Ledger, count: int) -> None:
        """Adds records to a partition, outside of transactions."""
        tp = ledger.tp
        self._world.note(f"appends {count} to {ledger} from {ledger.end}")
        idempotent = self._random.random() < 0.3
        sequence = self._sequences.get(ledger, 0)
        self._broker.append(
            tp.topic,
            tp.partition,
            self._records(ledger, count),
            self._now,
            per_batch=self._random.choice((None, 1, 3)),
            codec=self._random.choice((Codec.NONE, Codec.NONE, Codec.LZ4)),
            producer_id=IDEMPOTENT if idempotent else -1,
            producer_epoch=0 if idempotent else -1,
            base_sequence=sequence if idempotent else -1,
        )
        if idempotent:
            self._sequences[ledger] = sequence + count

    def _append_in_transaction(self, ledger: Ledger, count: int) -> None:
        """Adds records in a transaction, which goes on for a while; others may begin meanwhile."""
        producer, tp = self._random.choice(TRANSACTIONAL), ledger.tp
        begins = producer not in ledger.producers
        self._world.note(f"appends {count} to {ledger} from {ledger.end}, in a transaction of {producer}")
        self._broker.append(
            tp.topic,
            tp.partition,
            self._records(ledger, count, producer),
            self._now,
            per_batch=self._random.choice((None, 1, 3)),
            producer_id=producer,
            producer_epoch=0,
            transactional=True,
        )
        if begins:
            self._history.happened["transactions"] += 1
            seconds = self._random.choice((0.01, self._random.uniform(0, 2), self._random.uniform(0, 8)))
            self._world.later(seconds, lambda: self._end(ledger, producer))

    def _records(self, ledger: Ledger, count: int, producer: int | None = None) -> list[bytes | NewRecord | None]:
        return [NewRecord(value, key=b"%d" % self._random.randrange(5)) for value in ledger.append(count, producer)]

    def _end(self, ledger: Ledger, producer: int) -> None:
        if not ledger.exists or producer not in ledger.producers:
            return
        commit = self._random.random() < 0.6
        self._world.note(f"{'commits' if commit else 'aborts'} the transaction of {producer} in {ledger}")
        ledger.end_transaction(producer, commit=commit)
        end = self._broker.commit_transaction if commit else self._broker.abort_transaction
        end(ledger.tp.topic, ledger.tp.partition, producer, self._now)

    def _one(self) -> Ledger | None:
        present = self._history.present()
        return self._random.choice(present) if present else None

    # -------------------------------------------------------------------------------------------------- what goes away

    def compact(self) -> None:
        """The log cleaner has run: what lies below the last batch, and is decided, may be gone."""
        ledger = self._one()
        if ledger is None:
            return
        tp = ledger.tp
        log = self._broker.cluster.topics[tp.topic].partitions[tp.partition].log
        if not log.batches:
            return
        dirty = min(ledger.stable, log.batches[-1].base_offset)
        gone = {offset for offset in range(log.start_offset, dirty) if self._random.random() < 0.5}
        keep_empty = self._random.random() < 0.5
        self._world.note(f"compacts {ledger}: {len(gone)} of the {dirty} first are gone")
        ledger.remove(gone)
        self._broker.compact(tp.topic, tp.partition, lambda record: record.offset not in gone, keep_empty=keep_empty)
        self._history.happened["compactions"] += 1

    def delete_records(self) -> None:
        """The beginning of a log is gone."""
        ledger = self._one()
        if ledger is not None:
            start = self._random.randint(self._broker.log_start(*ledger.tp), ledger.stable)
            self._world.note(f"{ledger} begins at {start}")
            ledger.remove(range(start))
            self._broker.delete_records(*ledger.tp, start)
            self._history.happened["deleted beginnings"] += 1

    # --------------------------------------------------------------------------------------------------------- topics

    def grow(self) -> None:
        """A topic has one more partition."""
        topic = self._random.choice(list(self._world.plan.topics))
        if topic in self._broker.topics and len(self._broker.cluster.topics[topic].partitions) < MOST:
            self._world.note(f"{topic} gets one more partition")
            tp = TopicPartition(topic, len(self._broker.cluster.topics[topic].partitions))
            self._broker.create_partitions(topic, 1)
            self._history.begins(tp)
            self._history.happened["more partitions"] += 1

    def recreate(self) -> None:
        """A topic is deleted, with what groups have committed for it; later it is made again, perhaps smaller."""
        topic = self._random.choice(list(self._world.plan.topics))
        if not self._world.plan.recreates or topic not in self._broker.topics:
            return
        self._world.note(f"deletes {topic}")
        self._history.happened["deleted topics"] += 1
        for ledger in self._history.present():
            if ledger.tp.topic == topic:
                ledger.exists = False
        self._broker.delete_topic(topic)
        self._world.later(self._random.choice((0.0, 0.0, self._random.uniform(0, 6))), lambda: self._again(topic))

    def _again(self, topic: str) -> None:
        if topic not in self._broker.topics:
            self._world.note(f"creates {topic} again")
            self._create(topic, self._random.randint(1, self._world.plan.topics[topic]))
            for ledger in self._history.present():
                if ledger.tp.topic == topic and self._random.random() < 0.8:
                    self.append(ledger, self._random.randint(1, 30))

    def settle(self) -> None:
        """All topics are there, and no transaction is open but those of producers."""
        for topic in self._world.plan.topics:
            self._again(topic)
        for ledger in self._history.present():
            for producer in ledger.producers:
                if producer in TRANSACTIONAL:
                    self._end(ledger, producer)
