"""A broker, a network and a consumer for tests in virtual time, and the invariant that holds after every step.

    setup = Setup({"t": 2}, group_id="g")
    setup.append("a", "b", partition=1)
    setup.assign()                                   # all partitions of all topics
    assert setup.values(2) == ["a", "b"]             # as a `for` loop would get them; the last one stays in hand
    setup.run_until(lambda: setup.fetches())
    error = setup.failure()                          # what `poll` has the driver raise next

`check_invariant` is registered as a check of the network: no partition stands still, no deadline lies in the past for
ever, and no more requests and wake-ups a virtual second than `busy` allows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from dekaf_proto.broker import Broker
from dekaf_proto.broker.engine import ReceivedRequest
from dekaf_proto.broker.faults import Fault
from dekaf_proto.broker.versions import VersionRange
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer import Consumer, FetchedRecords
from dekaf_proto.consumer.handout import Bound
from dekaf_proto.consumer.partition import Partition, PartitionPhase
from dekaf_proto.errors import KafkaError
from dekaf_proto.events import EndOfPartition, Failed, Rebalance
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.node import NodeKey, NodeState, Purpose
from dekaf_proto.operation import Operation
from dekaf_proto.records import Record
from dekaf_proto.types import TopicPartition
from dekaf_proto.wire.schema import Request
from tests.network import Network

T = TypeVar("T")
AnyRecord = Record[Any, Any]

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)

#: What makes the network's clock, which starts at 1,000, a plausible time.
UNIX_OFFSET = 1_700_000_000.0


class Setup:
    """See the module. `topics`: how many partitions each has. `options` go to the consumer."""

    def __init__(
        self,
        topics: Mapping[str, int] | None = None,
        *,
        nodes: int | Sequence[int] = 1,
        seed: int = 0,
        release: str | None = None,
        api_versions: Mapping[ApiKey, VersionRange | None] | None = None,
        racks: Mapping[int, str] | None = None,
        fetch_sessions: int = 1000,
        auto_create_partitions: int | None = None,
        latency: float = 0.001,
        jitter: float = 0.0,
        max_chunk: int | None = None,
        limit: float = 60.0,
        busy: int = 100,
        check: bool = True,
        **options: Any,
    ) -> None:
        self.broker = Broker(
            nodes=nodes,
            seed=seed,
            unix_offset=UNIX_OFFSET,
            release=release,
            api_versions=api_versions,
            racks=racks,
            fetch_sessions=fetch_sessions,
            auto_create_partitions=auto_create_partitions,
        )
        for name, count in ({"t": 1} if topics is None else topics).items():
            self.broker.create_topic(name, count)
        self.network = Network(self.broker, seed=seed, latency=latency, jitter=jitter, max_chunk=max_chunk, limit=limit)
        self.busy = busy
        self.run: FetchedRecords[Any, Any] | None = None
        #: The events that `poll` has answered.
        self.told: list[Rebalance] = []
        self.consumer = self.add_consumer(seed=seed, **options)
        if check:
            self.network.checks.append(self.check)
        self._second = 0
        self._requests = 0

    def add_consumer(self, *, seed: int = 0, **options: Any) -> Consumer[Any, Any]:
        """Another consumer in the same network; only the first one is checked."""
        options = {"bootstrap_servers": self.network.bootstrap_servers(), "auto_offset_reset": "earliest", **options}
        return self.network.add(Consumer(ConsumerConfig(**options), seed=seed, unix_offset=UNIX_OFFSET))

    def restart(self, **options: Any) -> None:
        """The consumer's process dies, another one starts in its place."""
        self.network.remove(self.consumer)
        self.run = None
        self.consumer = self.add_consumer(**options)

    # ---------------------------------------------------------------------------------------------------- the broker

    def append(self, *values: str, topic: str = "t", partition: int = 0, **options: Any) -> int:
        """Appends records; returns the first one's offset. `options` are those of `Broker.append`."""
        return self.broker.append(topic, partition, [value.encode() for value in values], self.now, **options)

    def requests(self, api: type[Request[Any]], node: int | None = None) -> list[Any]:
        """The requests of a kind that the brokers have received."""
        return [r.request for r in self.received(api) if node in (None, r.node)]

    def received(self, api: type[Request[Any]]) -> list[ReceivedRequest]:
        """The same, with when, where and in which version."""
        return [r for r in self.broker.requests if isinstance(r.request, api)]

    def fetches(self, node: int | None = None) -> list[FetchRequest]:
        """The Fetch requests that the brokers (or a node) have received."""
        return self.requests(FetchRequest, node)

    # ------------------------------------------------------------------------------------------------------- running

    @property
    def now(self) -> float:
        return self.network.now

    def run_until(self, condition: Callable[[], object], limit: float | None = None) -> None:
        self.network.run_until(condition, limit)

    def run_for(self, seconds: float) -> None:
        self.network.run_for(seconds)

    def result(self, operation: Operation[T], limit: float | None = None) -> T:
        return self.network.result(operation, limit)

    def refresh(self) -> None:
        """New metadata is asked for now."""
        self.consumer._metadata.refresh()
        self.consumer.handle_timeout(self.now)

    def until_fetching(self, *tps: TopicPartition, at: int | None = None) -> None:
        """Runs until a fetch for each of these partitions (all that are assigned) has reached a broker."""
        wanted = tps or tuple(self.consumer.assignment)

        def asked() -> bool:
            fetcher, client = self.consumer._fetcher, self.consumer._client
            table = self.consumer._partitions
            sent = all(client._nodes[key].in_flight for key in fetcher._in_flight)
            return sent and all(
                fetcher.is_fetching(tp) and (at is None or table[tp].fetch_offset == at) for tp in wanted
            )

        self.run_until(asked)
        self.run_for(2 * self.network.latency)

    # ----------------------------------------------------------------------------------------------------- consuming

    def assign(self, partitions: Any = None) -> None:
        """Assigns `partitions`, all that exist if None."""
        if partitions is None:
            partitions = [
                TopicPartition(t.name, p.index) for t in self.broker.cluster.topics.values() for p in t.partitions
            ]
        self.consumer.assign(partitions, self.now)

    def seek(self, offset: Any, tp: TopicPartition | None = None) -> None:
        self.consumer.seek(tp or TopicPartition("t", 0), offset, self.now)

    def partition(self, topic: str = "t", partition: int = 0) -> Partition:
        """What the consumer knows of an assigned partition."""
        return self.consumer._partitions[TopicPartition(topic, partition)]

    def poll(self, bound: Bound | None = None) -> FetchedRecords[Any, Any] | Failed | EndOfPartition | None:
        """What there is now. A run becomes the one in hand. Events of rebalances are noted and answered."""
        while isinstance(output := self.consumer.poll(self.now, bound), Rebalance):
            self.told.append(output)
            self.consumer.event_done(output, self.now)
        self.run = output if isinstance(output, FetchedRecords) else None
        return output

    def next(self, limit: float = 60.0, bound: Bound | None = None) -> AnyRecord:
        """The next record; raises what a driver would raise from its iterator. StopIteration at the bound's end."""
        end = self.now + limit
        while True:
            if self.run is not None:
                record = next(self.run, None)
                if record is not None:
                    return record
            output = self.poll(bound)
            if isinstance(output, Failed):
                raise output.error
            if isinstance(output, EndOfPartition):
                raise StopIteration
            if output is None and not self.result(self.consumer.wait(self.now, end - self.now, bound), limit + 1):
                raise AssertionError(f"no record within {limit} s")

    def read(self, count: int, limit: float = 60.0) -> list[AnyRecord]:
        """The next `count` records."""
        return [self.next(limit) for _ in range(count)]

    def values(self, count: int, limit: float = 60.0) -> list[str]:
        """The values of the next `count` records."""
        return [record.value.decode() for record in self.read(count, limit)]

    def read_all(self, idle: float = 2.0) -> list[AnyRecord]:
        """What comes until nothing has come for `idle` virtual seconds; all of it is then finished."""
        records = []
        while True:
            try:
                records.append(self.next(idle))
            except AssertionError:
                return records

    def failure(self, limit: float = 60.0) -> Exception:
        """The error that comes next; there must be no record before it."""
        end = self.now + limit
        while True:
            if self.run is not None:
                try:
                    record = next(self.run, None)
                except Exception as error:
                    return error
                assert record is None, f"{record} instead of an error"
            output = self.poll()
            if isinstance(output, Failed):
                return output.error
            waited = output is not None or self.result(self.consumer.wait(self.now, end - self.now), limit + 1)
            assert waited, f"no error within {limit} s"

    def failure_after_records(self, count: int) -> Exception:
        """The error that comes after at most `count` more records."""
        for _ in range(count + 1):
            try:
                self.next()
            except KafkaError as error:
                return error
        raise AssertionError(f"{count + 1} records instead of an error")

    def close(self) -> None:
        self.result(self.consumer.close(self.now))

    # ----------------------------------------------------------------------------------------------------- invariants

    def check(self) -> None:
        """What must be true after every step."""
        self._check_busy()
        check_invariant(self.consumer, self.now)

    def _check_busy(self) -> None:
        if int(self.now) != self._second:
            self._second = int(self.now)
            self._requests = len(self.broker.requests)
            return
        # A deque with a maximal length forgets the oldest: then the difference is too small, which does no harm.
        count = len(self.broker.requests) - self._requests
        assert count <= self.busy, (
            f"{count} requests in a second: {[r.request for r in list(self.broker.requests)[-3:]]}"
        )


def check_invariant(consumer: Consumer[Any, Any], now: float) -> None:
    """No partition stands still: each has a fetch in flight, records, or a deadline, or it waits for the user."""
    if consumer.closed or not consumer._started or consumer._closing is not None:
        return
    deadline = consumer.next_deadline()
    assert deadline is not None, "an open consumer without a deadline: metadata at least must age"
    if deadline <= now:
        return  # something is due, and will be looked at next
    for partition in consumer._partitions.values():
        if not partition.paused and not partition.withheld:
            reason = _reason(consumer, partition, now, deadline)
            assert reason, f"{partition} stands still"


def _reason(consumer: Consumer[Any, Any], partition: Partition, now: float, deadline: float) -> str | None:
    """Why nothing has to happen for a partition at the moment; None if it stands still."""
    if partition.phase is PartitionPhase.FAILED:
        return "waits for the user"
    if partition.resting_until > now:
        assert deadline <= partition.resting_until, f"{partition} would sleep beyond its rest"
        return "rests"
    if partition.phase is not PartitionPhase.FETCHING:
        return "is being asked about" if consumer._positions.is_asking(partition) else None
    if consumer._fetcher.is_fetching(partition.tp):
        return "a fetch is on its way"
    peek = consumer._fetcher.next_peek()
    if peek is not None and peek > now:
        assert deadline <= peek, f"{partition} would sleep for too long"
        return "is asked for soon, when others of its broker have room again"
    if partition.chunks:
        _check_buffered(consumer, partition)
        if partition.damaged:
            return "what is buffered ends in an error"
        if not consumer._fetcher._memory.has_room(partition):
            return "has no room before it is read"
    leader = consumer._client.cluster.leader(partition.tp)
    if leader is None:
        return "metadata is being asked for" if consumer._metadata.is_due or _metadata_is_busy(consumer) else None
    for node_id in (leader.leader, partition.preferred_replica):
        node = consumer._client._nodes.get(consumer_node(node_id))
        if node is not None and node.state is NodeState.BACKOFF:
            assert deadline <= node.resting_until
            return "the broker gets a rest"
        if consumer_node(node_id) in consumer._fetcher._in_flight:
            return "another fetch is on its way to the broker"
    config = consumer.config
    promised = sum(consumer._fetcher._in_flight.values())
    if consumer._fetcher.buffered_bytes + promised >= config.fetch_max_buffered_bytes:
        return "the buffers are full"
    return None


def consumer_node(node_id: int) -> NodeKey:
    """The connection that fetches from a broker."""
    return NodeKey(node_id, Purpose.FETCH)


def _metadata_is_busy(consumer: Consumer[Any, Any]) -> bool:
    runner = consumer._client.runner
    return bool(runner._sleeping) or any(n.load for n in consumer._client._all_nodes())


def _check_buffered(consumer: Consumer[Any, Any], partition: Partition) -> None:
    """What is buffered can be had: the user holds it, or `poll` has output."""
    held = [chunk for run in consumer._handout._runs if not run.stopped for chunk in run.chunks]
    if any(chunk in held or chunk.position > chunk.finished or chunk.is_used_up for chunk in partition.chunks):
        return  # the program has a record of it, or has just read it to its end
    if consumer._window is not None and not consumer._acknowledgements.open_window():
        return  # it is to acknowledge something first
    if consumer._at_most_once is not None and (consumer._at_most_once._commit or not consumer._at_most_once.asked):
        return  # it is being committed first, or nobody asks
    assert consumer._handout.has_next(None), f"{partition} has records that nobody can get"


def values_of(records: Iterable[AnyRecord]) -> list[str]:
    """The records' values, as text."""
    return [record.value.decode() for record in records]


def led_by_0_and_1(**options: Any) -> Setup:
    """Partition t-0 on two nodes; epoch 0: a b c d; the application has read a and b, which is in hand."""
    setup = Setup({"t": 1}, nodes=2, **options)
    setup.append("a", "b", "c", "d", per_batch=2)
    setup.assign({T0: 0})
    assert setup.values(2) == ["a", "b"]
    setup.until_fetching(at=4)
    return setup


def in_phase(setup: Setup, phase: PartitionPhase) -> bool:
    return setup.partition().phase is phase


def from_now_on(setup: Setup, **what: Any) -> Fault:
    """A fault of all fetches; none is on its way that does not have it."""
    fault = setup.broker.faults.add(api=ApiKey.FETCH, times=None, **what)
    setup.run_for(1)
    return fault


def reading(**options: Any) -> Setup:
    """Partition t-0 on two nodes, at offset 2; a and b are read, b is in hand; no fetch is on its way to data."""
    setup = Setup({"t": 2}, nodes=2, **options)
    setup.append("a", "b")
    setup.assign({T0: 0, T1: 0})
    assert setup.values(2) == ["a", "b"]
    assert setup.poll() is None  # b is finished
    setup.run_for(2)
    return setup


def footprint(engine: object) -> int:
    """How many things an engine keeps in its tables, and in those of its parts."""
    seen: set[int] = set()
    waiting = [engine]
    count = 0
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (str, bytes, int, float, type, ConsumerConfig)):
            continue
        seen.add(id(thing))
        if isinstance(thing, Mapping):
            count += len(thing)
            waiting += [*thing.keys(), *thing.values()]
        elif isinstance(thing, (list, tuple, set, frozenset, deque)):
            count += len(thing)
            waiting += thing
        elif type(thing).__module__.startswith("dekaf_proto"):
            names = {*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())}
            waiting += [getattr(thing, name) for name in names if hasattr(thing, name)]
    return count
