"""Whatever a program does, and whatever its logs hold: above its last seek every record once and in order.

A simulation is a seed: logs with all codecs, gaps, transactions, batches of any size and records that can't be
deserialized, and a program that reads them in every way there is, while it seeks, pauses and assigns, memory is short,
leaders move and connections break. `DEKAF_SIMULATIONS=5000` runs more of them, `DEKAF_FIRST_SEED=700` others.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from random import Random
from typing import Any

import pytest

from dekaf_proto.broker.log import AnyRecord
from dekaf_proto.consumer import Bound, FetchedRecords
from dekaf_proto.errors import DeserializationError
from dekaf_proto.events import EndOfPartition, Failed
from dekaf_proto.records import Codec
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup

FIRST = int(os.environ.get("DEKAF_FIRST_SEED", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("DEKAF_SIMULATIONS", "100")))


def deserialize(value: bytes) -> str:
    if value.startswith(b"bad"):
        raise ValueError
    return value.decode()


class Program:
    """A program, and what it must be given. `expected`: from where on, partition by partition."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.committed = random.random() < 0.6
        nodes = random.choice([1, 2, 3])
        self.setup = Setup(
            {"t": random.randint(1, 4), "u": 1},
            nodes=nodes,
            seed=seed,
            release=random.choice([None, None, "2.4", "3.0"]),
            fetch_sessions=random.choice([1000, 0]),
            jitter=random.choice([0.0, 0.01]),
            max_chunk=random.choice([None, 500]),
            busy=1_500,
            isolation_level="read_committed" if self.committed else "read_uncommitted",
            value_deserializer=deserialize,
            fetch_max_wait_ms=random.choice([50, 500]),
            max_partition_fetch_bytes=random.choice([1, 150, 1_000, 1_048_576]),
            fetch_max_bytes=random.choice([500, 52_428_800]),
            fetch_max_buffered_bytes=random.choice([1, 800, 5_000, 33_554_432]),
            metadata_max_age_ms=random.choice([2_000, 300_000]),
        )
        self.broker, self.consumer = self.setup.broker, self.setup.consumer
        self.tps = [TopicPartition(t.name, p.index) for t in self.broker.cluster.topics.values() for p in t.partitions]
        self.expected: dict[TopicPartition, int] = {}
        #: Partitions whose position is looked up: the program learns it with the first record, which is not below this.
        self.unknown: dict[TopicPartition, int] = {}
        self.run: FetchedRecords[Any, Any] | None = None
        self.visible_until: dict[TopicPartition, tuple[object, list[int], list[AnyRecord]]] = {}
        for tp in self.tps:
            for _ in range(random.randint(0, 6)):
                self.append(tp)
            if random.random() < 0.5:
                gone = random.randint(2, 5)

                def keep(record: AnyRecord, gone: int = gone) -> bool:
                    return record.offset % gone != 0

                self.broker.compact(*tp, keep, keep_empty=random.random() < 0.5)
        self.consumer.assign(dict.fromkeys(self.tps, 0), self.setup.now)
        self.expected = dict.fromkeys(self.tps, 0)

    # --------------------------------------------------------------------------------------------------------- the logs

    def append(self, tp: TopicPartition) -> None:
        random = self.random
        start = self.broker.end_offset(*tp)
        count = random.choice([1, 2, 7, 30])
        values = [
            f"{'bad' if random.random() < 0.02 else 'ok'}@{start + n}".encode() + b"." * random.choice([0, 0, 90])
            for n in range(count)
        ]
        producer = random.choice([-1, -1, 1, 2])
        self.broker.append(
            *tp,
            values,
            self.setup.now,
            codec=random.choice(list(Codec)),
            per_batch=random.choice([None, 1, 3]),
            producer_id=producer,
            transactional=producer >= 0,
        )
        if random.random() < 0.4:
            self.end_transaction(tp, random.choice([1, 2]))
        if random.random() < 0.1:
            self.broker.roll(*tp)

    def end_transaction(self, tp: TopicPartition, producer: int) -> None:
        end = self.random.choice([self.broker.commit_transaction, self.broker.abort_transaction])
        end(*tp, producer, self.setup.now)

    def visible(self, tp: TopicPartition) -> tuple[list[int], list[AnyRecord]]:
        """What a reader is to be given of a partition, as it stands: offsets and records."""
        log = self.broker._log(*tp)
        end = log.last_stable_offset if self.committed else log.high_watermark
        state = (len(log.batches), end, len(log.aborted))
        known = self.visible_until.get(tp)
        if known is not None and known[0] == state:
            return known[1], known[2]
        records = []
        for batch in log.batches:
            opened = batch.opened()
            assert opened is not None
            if batch.last_offset >= end or opened.is_control:
                continue
            aborted = any(
                a.producer_id == opened.producer_id and a.first_offset <= batch.base_offset <= a.last_offset
                for a in log.aborted
            )
            if not (self.committed and opened.is_transactional and aborted):
                records += batch.records()
        found = ([record.offset for record in records], records)
        self.visible_until[tp] = (state, *found)
        return found

    # ---------------------------------------------------------------------------------------------------- what it reads

    def check(self, record: Any, bound: Bound | None) -> None:
        tp = record.topic_partition
        offsets, records = self.visible(tp)
        if tp in self.unknown:
            assert record.offset >= self.unknown.pop(tp)
            self.expected[tp] = record.offset
        at = bisect_left(offsets, self.expected[tp])
        assert at < len(offsets), f"{record} though there is nothing from {self.expected[tp]} on"
        assert record.offset == offsets[at], f"{record} instead of the one at {offsets[at]}"
        assert record.value.encode() == records[at].value
        assert bound is None or record.offset < bound.ends[tp]
        assert tp not in self.consumer.paused
        self.expected[tp] = record.offset + 1
        partition = self.consumer._partitions[tp]
        assert partition.finished <= record.offset < (partition.position or 0)

    def failed(self, error: Exception) -> None:
        assert isinstance(error, DeserializationError), error
        tp = TopicPartition(error.topic, error.partition)
        offsets, records = self.visible(tp)
        if tp not in self.unknown:
            at = bisect_left(offsets, self.expected[tp])
            assert error.offset == offsets[at]
            assert (records[at].value or b"").startswith(b"bad")
        if self.random.random() < 0.5:
            self.seek(tp, error.next_offset)

    def read(self, limit: int, bound: Bound | None = None) -> bool:
        """Reads what is there, in one of the ways to do it; whether the bound was reached."""
        output: object
        take = self.random.random() < 0.5
        more = False
        while limit > 0:
            output, self.run = self.run if bound is None else None, None
            if output is None:
                output = self.consumer.poll(self.setup.now, bound, more=more)
            if isinstance(output, Failed):
                self.failed(output.error)
                return False
            if not isinstance(output, FetchedRecords):
                return isinstance(output, EndOfPartition)
            try:
                if take:
                    batch = output.take(limit)
                    for record in batch:
                        self.check(record, bound)
                    limit -= max(1, len(batch))
                    more = True
                else:
                    for record in output:
                        self.check(record, bound)
                        limit -= 1
                        if limit <= 0:
                            self.run = output  # which goes on where it was left
                            break
                    limit -= 1
            except DeserializationError as error:
                self.failed(error)
                return False
        return False

    # ----------------------------------------------------------------------------------------------------- what it does

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.consumer.seek(tp, offset, self.setup.now)
        self.expected[tp] = offset
        self.unknown.pop(tp, None)

    def act(self) -> None:
        random, broker, consumer, now = self.random, self.broker, self.consumer, self.setup.now
        tp = random.choice(self.tps)
        what = random.randrange(16)
        if what < 3:
            self.append(tp)
        elif what == 3:
            self.seek(tp, random.randint(0, broker.end_offset(*tp)))
        elif what == 4:
            consumer.pause(tp, now)
        elif what == 5:
            consumer.resume(None if random.random() < 0.5 else tp, now)
        elif what == 6:
            consumer.seek_to_beginning(tp, now)
            self.expected[tp] = 0
            self.unknown.pop(tp, None)
        elif what == 7:
            consumer.seek_to_end(tp, now)
            self.unknown[tp] = broker.last_stable_offset(*tp) if self.committed else broker.high_watermark(*tp)
        elif what == 8:
            offset = random.randint(0, broker.end_offset(*tp))
            consumer.incremental_unassign(tp, now)
            consumer.incremental_assign({tp: offset}, now)
            self.expected[tp] = offset
            self.unknown.pop(tp, None)
        elif what == 9:
            broker.move_leader(*tp, random.choice(broker.nodes))
        elif what == 10:
            self.setup.network.cut(node=random.choice(broker.nodes))
        elif what == 11:
            broker.prefer_replica(*tp, random.choice([None, *broker._partition(*tp).replicas]))
        elif what == 12:
            broker.expire_sessions()
        elif what == 13:
            self.read_to_the_end()
        else:
            self.end_transaction(tp, random.choice([1, 2]))

    def read_to_the_end(self) -> None:
        bound = self.setup.result(self.consumer.until_end(self.setup.now))
        for _ in range(self.random.randint(1, 30)):
            if self.read(20, bound):
                return
            self.setup.run_for(0.05)

    def everything(self) -> None:
        """The end: all that is left is there, and nothing else."""
        for tp in self.tps:
            for producer in (1, 2):
                self.end_transaction(tp, producer)
            self.broker.prefer_replica(*tp, None)
            if tp in self.unknown:
                self.seek(tp, self.broker.end_offset(*tp))
        self.consumer.resume(None, self.setup.now)
        idle = 0
        while idle < 30:
            before = {tp: self.consumer.position(tp) for tp in self.tps}
            self.read(1_000)
            idle = 0 if before != {tp: self.consumer.position(tp) for tp in self.tps} else idle + 1
            self.setup.run_for(0.1)
        for tp in self.tps:
            offsets, _ = self.visible(tp)
            assert bisect_left(offsets, self.expected[tp]) == len(offsets), f"{tp} ended at {self.expected[tp]}"


@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs(seed: int) -> None:
    program = Program(seed)
    for _ in range(40):
        for _ in range(program.random.randrange(3)):
            program.act()
        program.read(program.random.choice([0, 1, 5, 60]))
        program.setup.run_for(program.random.choice([0.0, 0.003, 0.1, 1.0]))
    program.everything()
    program.setup.close()
