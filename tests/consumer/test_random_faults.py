"""Whatever goes wrong: every record once and in order, nothing committed that is not finished, nothing stuck.

A simulation is a seed: a cluster, a consumer, a program that reads, and ten seconds in which brokers stop, freeze and
come back, connections break, leaders and coordinators move, and answers are late, wrong or missing. Then the faults
stop, and everything must come right within a bounded time.

`DEKAF_SIMULATIONS=5000` runs more of them, `DEKAF_FIRST_SEED=700` others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from dekaf_proto.broker.faults import Fault
from dekaf_proto.consumer import FetchedRecords
from dekaf_proto.errors import ErrorCode, KafkaError
from dekaf_proto.events import Failed
from dekaf_proto.messages import ApiKey
from dekaf_proto.operation import Operation
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup

FIRST = int(os.environ.get("DEKAF_FIRST_SEED", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("DEKAF_SIMULATIONS", "100")))

#: How long the faults last, and within which time after them all must be well, in virtual seconds.
TROUBLE, RECOVERY = 10.0, 30.0

_LEADER = [
    ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH, ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.OFFSET_NOT_AVAILABLE, ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.REPLICA_NOT_AVAILABLE,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.LEADER_NOT_AVAILABLE,
]  # fmt: skip
_COORDINATOR = [
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR,
    ErrorCode.REQUEST_TIMED_OUT,
]  # fmt: skip
#: What brokers may answer without a program having to know.
ERRORS = {
    ApiKey.FETCH: [*_LEADER, ErrorCode.UNKNOWN_SERVER_ERROR, ErrorCode.UNKNOWN_TOPIC_ID],
    ApiKey.LIST_OFFSETS: _LEADER,
    ApiKey.OFFSET_FOR_LEADER_EPOCH: _LEADER,
    ApiKey.METADATA: [ErrorCode.LEADER_NOT_AVAILABLE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    ApiKey.FIND_COORDINATOR: _COORDINATOR[:3],
    ApiKey.OFFSET_COMMIT: _COORDINATOR,
    ApiKey.OFFSET_FETCH: [*_COORDINATOR[:3], ErrorCode.UNSTABLE_OFFSET_COMMIT],
}
SESSION_ERRORS = [
    ErrorCode.FETCH_SESSION_ID_NOT_FOUND, ErrorCode.INVALID_FETCH_SESSION_EPOCH, ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
]  # fmt: skip


class Simulation:
    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.mode = random.choice(["auto", "manual", "none"])
        nodes = random.choice([1, 2, 3, 3, 5])
        options: dict[str, Any] = {
            "request_timeout_ms": random.choice([2_000, 4_000]),
            "socket_connection_setup_timeout_ms": 2_000,
            "socket_connection_setup_timeout_max_ms": 4_000,
            "metadata_max_age_ms": random.choice([3_000, 300_000]),
            "fetch_max_wait_ms": random.choice([100, 500]),
            "max_partition_fetch_bytes": random.choice([200, 1_048_576]),
            "fetch_max_buffered_bytes": random.choice([500, 4_000, 33_554_432]),
            "connections_max_idle_ms": random.choice([2_000, 540_000]),
            "close_timeout_ms": 5_000,
        }
        if self.mode != "none":
            options |= {"group_id": "g", "enable_auto_commit": self.mode == "auto", "auto_commit_interval_ms": 900}
        self.setup = Setup(
            {"t": random.randint(1, 4), "u": random.randint(1, 3)},
            nodes=nodes,
            seed=seed,
            release=random.choice([None, None, "4.0", "3.0", "2.4"]),
            fetch_sessions=random.choice([1000, 1000, 1, 0]),
            latency=random.choice([0.001, 0.02]),
            jitter=random.choice([0.0, 0.01]),
            max_chunk=random.choice([None, 300]),
            busy=600,
            limit=RECOVERY,
            **options,
        )
        self.broker, self.network, self.consumer = self.setup.broker, self.setup.network, self.setup.consumer
        self.tps = [TopicPartition("t", n) for n in range(len(self.broker.cluster.topics["t"].partitions))]
        self.tps += [TopicPartition("u", n) for n in range(len(self.broker.cluster.topics["u"].partitions))]
        self.run: FetchedRecords[Any, Any] | None = None
        #: The offset that the program must be given next.
        self.expected = dict.fromkeys(self.tps, 0)
        #: Partitions that were assigned anew: they begin at a committed offset, the program need not know which.
        self.anew: set[TopicPartition] = set()
        #: The highest that could rightly be committed, whatever was sought since.
        self.committable = dict.fromkeys(self.tps, 0)
        self.operations: list[tuple[Operation[Any], float]] = []
        self.faults: list[Fault] = []
        self.network.checks.append(self.check)

    # ---------------------------------------------------------------------------------------------------- the oracles

    def check(self) -> None:
        """After every step."""
        now = self.network.now
        for operation, deadline in self.operations:
            assert operation.done or now <= deadline + 0.001, f"{operation} is late"
        self.operations = [entry for entry in self.operations if not entry[0].done]
        if self.mode != "none":
            for tp, found in self.broker.committed("g").items():
                assert found.offset <= self.committable[tp], f"{tp}: {found.offset} committed ahead of what is finished"

    def take(self, limit: int) -> None:
        """The program asks for records, which finishes those that it has."""
        for _ in range(limit):
            if self.run is None:
                self.finish_all()
                output = self.consumer.poll(self.network.now)
                if isinstance(output, Failed):
                    raise output.error
                if output is None:
                    return
                assert isinstance(output, FetchedRecords)
                self.run = output
            self.finish_all()
            record = next(self.run, None)
            if record is None:
                self.run = None
                continue
            tp = record.topic_partition
            if tp in self.anew:
                self.anew.discard(tp)
                begin = max(
                    self.committable[tp] if self.mode == "manual" else self.expected[tp], self.broker.log_start(*tp)
                )
                assert record.offset <= begin, f"{tp}: records before {record.offset} are lost"
                self.expected[tp] = record.offset
            if self.expected[tp] < record.offset <= self.broker.log_start(*tp):
                self.expected[tp] = record.offset  # retention was faster
            assert record.offset == self.expected[tp], f"{tp}: {record.offset} instead of {self.expected[tp]}"
            assert record.value == f"{tp}@{record.offset}".encode()
            self.expected[tp] += 1
            if self.mode == "manual":
                self.committable[tp] = max(self.committable[tp], self.expected[tp])

    def finish_all(self) -> None:
        for tp in self.tps:
            if tp not in self.anew:
                self.committable[tp] = max(self.committable[tp], self.expected[tp])

    # ----------------------------------------------------------------------------------------------- what is going on

    def append(self) -> None:
        tp = self.random.choice(self.tps)
        start = self.broker.end_offset(*tp)
        values = [f"{tp}@{start + n}".encode() for n in range(self.random.choice([1, 3, 40]))]
        self.broker.append(*tp, values, self.network.now, per_batch=self.random.choice([None, 2]))

    def program(self) -> None:
        """Something that a program does besides reading."""
        consumer, now, tp = self.consumer, self.network.now, self.random.choice(self.tps)
        what = self.random.randrange(10)
        if what == 9:
            if self.random.random() < 0.5:
                consumer.incremental_unassign(tp, now)
                consumer.incremental_assign([tp], now)
            else:
                consumer.assign([other for other in self.tps if other != tp], now)
                consumer.assign(self.tps, now)
            self.anew.add(tp)
        elif what == 0:
            offset = self.random.randint(0, self.expected[tp])
            consumer.seek(tp, offset, now)
            self.expected[tp] = offset
            self.committable[tp] = max(
                self.committable[tp], offset
            )  # by a seek the program is done with what was before
            self.anew.discard(tp)
        elif what == 1:
            consumer.pause(tp, now)
        elif what == 2:
            consumer.resume(None, now)
        elif what == 3 and self.mode == "manual":
            self.begin(lambda timeout: consumer.commit(None, now, timeout))
        elif what == 4 and self.mode != "none":
            self.begin(lambda timeout: consumer.committed(self.tps, now, timeout))
        elif what == 5:
            self.begin(lambda timeout: consumer.end_offsets(self.tps, now, timeout))
        elif what == 6:
            self.begin(lambda timeout: consumer.partitions_for("t", now, timeout))
        elif what == 7 and self.operations:
            self.random.choice(self.operations)[0].cancel()
        else:
            self.begin(lambda timeout: consumer.wait(now, timeout))

    def begin(self, start: Callable[[float], Operation[Any]]) -> None:
        timeout = self.random.choice([0.1, 1.0, 5.0, 20.0])
        self.operations.append((start(timeout), self.network.now + timeout))

    def trouble(self) -> None:
        """Something goes wrong, or is mended."""
        random, broker, network, now = self.random, self.broker, self.network, self.network.now
        node = random.choice(broker.nodes)
        tp = random.choice(self.tps)
        state = broker.cluster.nodes[node].state.value
        what = random.randrange(15)
        if what == 0:
            network.cut(node=random.choice([node, None]))
        elif what == 1:
            network.cut_after(node, random.randrange(100))
        elif what == 2 and state == "running":
            broker.stop_node(node, now, elect=random.random() < 0.7)
        elif what in (2, 3) and state == "stopped":
            broker.start_node(node, now)
        elif what == 4 and state == "running":
            broker.pause_node(node, now)
        elif what in (4, 5) and state == "paused":
            broker.resume_node(node, now)
        elif what == 6:
            random.choice([network.refuse, network.accept, network.accept])(node)
        elif what == 7:
            random.choice([network.block, network.unblock, network.unblock])(node)
        elif what == 8:
            broker.move_leader(*tp, random.choice([None, *broker.nodes]))
        elif what == 9:
            broker.move_coordinator("g", node)
        elif what == 10:
            broker.expire_sessions(random.choice([None, node]))
        elif what == 11:
            before = random.randint(broker.log_start(*tp), broker.end_offset(*tp))
            broker.delete_records(*tp, before)
            self.committable[tp] = max(self.committable[tp], before)  # where it may have to begin
        else:
            self.fault()

    def fault(self) -> None:
        """Some of the next answers are not as they should be."""
        random, add = self.random, self.broker.faults.add
        api = random.choice(list(ERRORS))
        tp = random.choice(self.tps)
        times = random.choice([1, 1, 2, 5])
        what = random.randrange(8)
        if what <= 2:
            topic = None if api is ApiKey.FIND_COORDINATOR else random.choice([None, tp.topic])
            whole = topic is None or api is ApiKey.METADATA
            partition = None if whole else random.choice([None, tp.partition])
            add(api=api, times=times, error=random.choice(ERRORS[api]), topic=topic, partition=partition)
        elif what == 3:
            add(api=ApiKey.FETCH, times=times, top_error=random.choice(SESSION_ERRORS))
        elif what == 4:
            add(api=random.choice([api, None]), times=times, delay=random.choice([0.1, 1.0, 3.0]))
        elif what == 5:
            add(api=random.choice([api, None]), times=times, drop=random.choice(["before", "after"]))
        elif what == 6:
            add(api=random.choice([api, None]), times=1, silent=random.choice(["before", "after"]))
        else:
            add(api=api, times=times, throttle_time_ms=random.choice([50, 1_500]))

    def mend(self) -> None:
        broker, network = self.broker, self.network
        broker.faults.clear()
        for node in broker.nodes:
            state = broker.cluster.nodes[node].state.value
            if state == "stopped":
                broker.start_node(node, network.now)
            elif state == "paused":
                broker.resume_node(node, network.now)
            network.accept(node)
            network.unblock(node)
        for tp in self.tps:
            if broker.leader(*tp) is None:
                broker.move_leader(*tp, broker.nodes[0])
        self.consumer.resume(None, network.now)

    # -------------------------------------------------------------------------------------------------------- the play

    def play(self) -> None:
        setup, random = self.setup, self.random
        for _ in range(3):
            self.append()
        self.consumer.assign(self.tps, self.network.now)
        end = self.network.now + TROUBLE
        while self.network.now < end:
            setup.run_for(random.choice([0.0, 0.01, 0.05, 0.3]))
            self.take(random.choice([0, 1, 10, 100]))
            if random.random() < 0.3:
                self.append()
            if random.random() < 0.2:
                self.program()
            if random.random() < 0.25:
                self.trouble()
        self.mend()
        setup.run_until(self.all_read)
        self.finish_all()
        self.consumer.poll(self.network.now)
        assert all(self.consumer.lag(tp) == 0 for tp in self.tps)
        for operation, _ in list(self.operations):
            setup.run_until(lambda operation=operation: operation.done)  # type: ignore[misc]
            assert operation.error is None or isinstance(operation.error, KafkaError)
        if self.mode == "manual":
            setup.result(self.consumer.commit(None, self.network.now))
        if self.mode != "none":
            setup.run_until(self.all_committed)
        setup.close()
        setup.run_for(1.0)
        assert self.consumer.closed
        assert self.broker.connections() == []

    def all_read(self) -> bool:
        self.take(1000)
        ends = {tp: self.broker.end_offset(*tp) for tp in self.tps}
        for tp in self.tps:
            lost = ends[tp] == self.broker.log_start(*tp)
            assert tp in self.anew or lost or self.expected[tp] == ends[tp] or not self.is_at(tp, ends[tp])
        return all(self.is_at(tp, ends[tp]) for tp in self.tps)

    def is_at(self, tp: TopicPartition, end: int) -> bool:
        return self.consumer.lag(tp) == 0 and self.consumer.position(tp) == end

    def all_committed(self) -> bool:
        found = self.broker.committed("g")
        return all(tp in found and found[tp].offset == self.broker.end_offset(*tp) for tp in self.tps)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_faults(seed: int) -> None:
    Simulation(seed).play()
