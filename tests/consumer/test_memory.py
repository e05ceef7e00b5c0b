"""The memory for what is fetched ahead: it is bounded, and nobody takes another's share (lesson 31)."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer.chunk import Chunk, Reading
from dekaf_proto.consumer.memory import LEAST_ASK, Memory
from dekaf_proto.consumer.partition import Partition
from dekaf_proto.events import EndOfPartition
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup, values_of

T0, T1, T2 = (TopicPartition("t", number) for number in range(3))
KIB, MIB = 1024, 1024 * 1024


def all_of(count: int, topic: str = "t") -> dict[TopicPartition, int]:
    return {TopicPartition(topic, number): 0 for number in range(count)}


def fill(setup: Setup, partition: int, size: int, *, batch: int = 10_000, topic: str = "t") -> None:
    """About `size` bytes in batches of `batch` bytes with ten records each."""
    count = max(1, size // batch)
    setup.append(*["x" * (batch // 10)] * (10 * count), topic=topic, partition=partition, per_batch=10)


def use(setup: Setup) -> int:
    """What is buffered and what may come."""
    fetcher = setup.consumer._fetcher
    return fetcher.buffered_bytes + sum(fetcher._in_flight.values())


# --------------------------------------------------------------------------------------------------------- the numbers


def memory(partitions: int, **options: int) -> Memory:
    table = {tp: Partition(tp, {}) for tp in all_of(partitions)}
    config: ConsumerConfig[Any, Any] = ConsumerConfig(bootstrap_servers="localhost", **options)  # type: ignore[arg-type]
    return Memory(config, table)


@pytest.mark.parametrize(
    "partitions, ask, room",
    [
        (0, MIB, 31 * MIB),
        (1, MIB, 31 * MIB),
        (6, MIB, 32 * MIB // 6 - MIB),
        (32, 768 * KIB, 256 * KIB),
        (100, 251_658, 83_886),
        (1_000, LEAST_ASK, LEAST_ASK // 4),  # where shares are small, whole batches are worth more
        (100_000, LEAST_ASK, LEAST_ASK // 4),
    ],
)
def test_shares(partitions: int, ask: int, room: int) -> None:
    made = memory(partitions)
    assert made.ask == ask
    partition = Partition(T0, {})
    partition.chunks.append(Chunk(T0, memoryview(bytes(room)), 0, 1, Reading()))
    assert made.has_room(partition)
    partition.chunks.append(Chunk(T0, memoryview(bytes(1)), 1, 2, Reading()))
    assert not made.has_room(partition)


def test_small_numbers() -> None:
    made = memory(3, fetch_max_buffered_bytes=1)
    assert (made.part, made.ask, made.share) == (1, 1, 0)
    assert made.has_room(Partition(T0, {}))
    made = memory(2, fetch_max_buffered_bytes=1_000)
    assert (made.part, made.ask, made.share) == (250, 250, 500)


# ----------------------------------------------------------------------------------------------------------- the bound


@pytest.mark.parametrize("total", [50_000, 200_000, 1_000_000])
@pytest.mark.parametrize("partitions, nodes", [(1, 1), (7, 3)])
def test_what_is_buffered_and_promised_is_bounded(total: int, partitions: int, nodes: int) -> None:
    setup = Setup({"t": partitions}, nodes=nodes, fetch_max_buffered_bytes=total, busy=2_000)
    for partition in range(partitions):
        fill(setup, partition, 400_000, batch=5_000)
    highest = 0

    def check() -> None:
        nonlocal highest
        highest = max(highest, setup.consumer._fetcher.buffered_bytes)
        # A batch more for each broker than fits: it may be larger than what was asked for.
        assert use(setup) <= total + 6_000 * nodes

    setup.network.checks.append(check)
    setup.assign(all_of(partitions))
    setup.run_for(3)
    assert highest > total // 2 or partitions * 400_000 < total
    setup.read(400_000 // 500 * partitions)


def test_a_slow_program_stops_the_fetching() -> None:
    setup = Setup(fetch_max_buffered_bytes=100_000)
    fill(setup, 0, 1_000_000)
    setup.assign({T0: 0})
    setup.run_for(5)
    before = len(setup.fetches())
    assert before < 20
    setup.run_for(60)
    assert len(setup.fetches()) == before
    setup.read(1_000)


def test_one_batch_at_least() -> None:
    setup = Setup({"t": 3}, fetch_max_buffered_bytes=1, busy=2_000)
    for partition in range(3):
        fill(setup, partition, 50_000)
    setup.assign(all_of(3))
    assert len(setup.read(150)) == 150
    assert setup.read_all() == []


# --------------------------------------------------------------------------------------------------------- the fairness


def test_a_partition_with_a_million_bytes_does_not_starve_another() -> None:
    setup = Setup({"t": 2}, fetch_max_buffered_bytes=200_000, busy=2_000)
    fill(setup, 0, 1_000_000)
    setup.assign(all_of(2))
    setup.run_for(2)
    read = 0
    for number in range(5):
        setup.append(f"y{number}", partition=1)
        setup.run_for(0.5)
        for _ in range(100):
            record = setup.next()
            read += 1
            if record.partition == 1:
                break
        assert record.value == b"y%d" % number, "nothing of the other partition within a hundred records"
    assert read < 500


def test_a_full_partition_does_not_make_others_of_its_broker_wait_for_long() -> None:
    setup = Setup({"t": 2}, fetch_max_buffered_bytes=200_000)
    fill(setup, 0, 1_000_000)
    setup.assign(all_of(2))
    setup.run_for(5)
    assert not setup.consumer._fetcher._memory.has_room(setup.partition())
    before = len(setup.fetches())
    setup.run_for(10)
    assert 90 < len(setup.fetches()) - before < 110  # a look now and then
    assert {request.max_wait_ms for request in setup.fetches()[before:]} == {0}
    setup.append("y", partition=1)
    setup.run_for(0.2)
    assert setup.partition("t", 1).chunks


def test_one_busy_partition_of_many_is_read_at_full_speed() -> None:
    """Its room is used up again and again; no fetch for the idle ones may hold up the next one for it."""
    setup = Setup({"t": 100}, busy=10_000)
    fill(setup, 42, 5 * MIB)
    setup.assign(all_of(100))
    setup.until_fetching()
    started = setup.now
    assert len(setup.read(5_000)) == 5_000
    assert setup.now - started < 1  # with a fetch that waits for the others each time, 10 s


def test_paused_partitions_take_nothing_from_others() -> None:
    setup = Setup({"t": 4}, fetch_max_buffered_bytes=400_000, busy=2_000)
    for partition in range(4):
        fill(setup, partition, 1_000_000)
    setup.assign(all_of(4))
    setup.run_for(3)
    setup.consumer.pause([T0, T1, T2], setup.now)
    started = setup.now
    assert {record.partition for record in setup.read(1_000)} == {3}
    assert setup.now - started < 1
    setup.consumer.resume(None, setup.now)
    assert len(setup.read(3_000)) == 3_000


def test_partitions_read_to_their_bound_take_nothing_from_others() -> None:
    setup = Setup({"t": 4}, fetch_max_buffered_bytes=400_000, busy=2_000)
    fill(setup, 3, 1_000_000)
    setup.append("a")
    setup.assign(all_of(4))
    bound = setup.result(setup.consumer.until_end(setup.now))
    for partition in range(3):
        fill(setup, partition, 1_000_000)  # behind the bound
    started = setup.now
    count = 0
    while True:
        try:
            setup.next(bound=bound)
            count += 1
        except StopIteration:
            break
    assert count == 1_001
    assert setup.now - started < 1  # they are full, which is no reason to wait for the rest of their broker
    assert isinstance(setup.poll(bound), EndOfPartition)


@pytest.mark.parametrize("how", ["paused", "bound"])
def test_what_is_of_no_use_does_not_block_the_rest_even_with_large_batches(how: str) -> None:
    """Batches larger than a share use up everything: still nothing stands still while the application waits."""
    setup = Setup({"t": 10}, fetch_max_buffered_bytes=100_000, busy=2_000)
    setup.append("a")
    setup.assign(all_of(10))
    bound = setup.result(setup.consumer.until_end(setup.now))
    for partition in range(1, 10):
        fill(setup, partition, 100_000, batch=25_000)
    setup.run_for(3)
    if how == "paused":
        setup.consumer.pause([TopicPartition("t", number) for number in range(1, 10)], setup.now)
    setup.seek(0)
    assert setup.consumer._fetcher.buffered_bytes > 90_000
    assert setup.next(bound=None if how == "paused" else bound).value == b"a"
    assert use(setup) < 400_000


def test_a_program_that_is_busy_is_no_reason_to_exceed_the_bound() -> None:
    setup = Setup({"t": 10}, fetch_max_buffered_bytes=100_000, busy=2_000)
    for partition in range(10):
        fill(setup, partition, 100_000, batch=25_000)
    setup.assign(all_of(10))
    setup.next()
    setup.run_for(10)
    assert setup.consumer._fetcher.buffered_bytes <= 130_000


def test_no_broker_is_left_out() -> None:
    """Requests that wait for data have a share of the memory each: a fifth broker has one, too."""
    setup = Setup({"t": 60}, nodes=6, fetch_max_buffered_bytes=160_000, busy=2_000)
    for partition in range(60):
        setup.broker.move_leader("t", partition, partition % 6)
    setup.assign(all_of(60))
    setup.run_for(5)
    for _ in range(3):
        for partition in range(6):
            setup.append(f"{partition}", partition=partition)
            started = setup.now
            assert setup.values(1) == [f"{partition}"]
            assert setup.now - started < 0.1


def test_no_broker_waits_for_the_end_of_another_ones_fetch() -> None:
    setup = Setup({"t": 60}, nodes=6, fetch_max_buffered_bytes=160_000, busy=2_000)
    setup.append("x")
    setup.assign({T0: 0})
    setup.next()  # in hand: the application does not wait
    setup.run_for(3)
    setup.consumer.incremental_assign(all_of(60), setup.now)
    setup.run_for(3)
    assert len(setup.consumer._fetcher._in_flight) == 6
    assert use(setup) <= 160_000


def test_brokers_take_turns() -> None:
    """Where there is not enough for all at once."""
    setup = Setup({"t": 6}, nodes=6, fetch_max_buffered_bytes=3, fetch_max_wait_ms=100, busy=2_000)
    setup.assign(all_of(6))
    setup.run_for(3)
    asked = [received.node for received in setup.received(FetchRequest)]
    assert {asked.count(node) for node in range(6)} <= set(range(len(asked) // 6 - 2, len(asked) // 6 + 3))
    for partition in range(6):
        setup.append(str(partition), partition=partition)
    assert sorted(setup.values(6)) == list("012345")


def test_all_partitions_get_on_at_the_same_pace() -> None:
    """Lesson 31: as many records of each, within a run's size."""
    setup = Setup({"t": 8}, nodes=2, fetch_max_buffered_bytes=400_000, busy=5_000)
    for partition in range(8):
        fill(setup, partition, 200_000)
    setup.assign(all_of(8))
    count = dict.fromkeys(range(8), 0)
    for _ in range(1_600):
        setup.run_for(0.005)
        count[setup.next().partition] += 1
        assert max(count.values()) - min(count.values()) <= 80
    assert set(count.values()) == {200}


def test_everything_arrives_once_and_in_order_whatever_the_sizes() -> None:
    for total in (1, 700, 5_000, 40_000):
        setup = Setup({"t": 5}, nodes=2, fetch_max_buffered_bytes=total, max_partition_fetch_bytes=900, busy=5_000)
        for partition in range(5):
            setup.append(*[f"{partition}:{n}" for n in range(100)], partition=partition, per_batch=3 + partition)
        setup.assign(all_of(5))
        records = setup.read(500)
        for partition in range(5):
            mine = values_of(record for record in records if record.partition == partition)
            assert mine == [f"{partition}:{n}" for n in range(100)]
