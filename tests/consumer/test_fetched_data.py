"""What is made of the data in answers to a fetch, good or not (section 2, 3.3, traps 1-7)."""

from __future__ import annotations

import pytest

from dekaf_proto.broker.log import AnyRecord
from dekaf_proto.errors import CorruptRecordError, DeserializationError
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import EpochEndOffset, FetchRequest, FetchResponse
from dekaf_proto.messages.metadata import MetadataRequest
from dekaf_proto.records import BatchBuilder, Codec
from dekaf_proto.types import OffsetAndMetadata, TopicPartition
from tests.consumer.helpers import Setup, footprint, values_of

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)
HUNDRED = [f"v{number:02}" for number in range(100)]


def offsets(request: FetchRequest) -> dict[int, int]:
    """Of one topic: partition -> the offset that is asked for."""
    return {p.partition: p.fetch_offset for t in request.topics for p in t.partitions}


def idle(setup: Setup) -> None:
    """Runs until nothing is on its way but fetches that wait for data."""
    setup.run_for(3)


# -------------------------------------------------------------------------------------------------------- the answers


def test_an_answer_to_what_was_asked_before_a_seek() -> None:
    # F16, trap 1, lesson 29
    setup = Setup()
    setup.append(*HUNDRED, per_batch=10)
    fault = setup.broker.faults.add(api=ApiKey.FETCH, delay=1)
    setup.assign({T0: 10})
    setup.run_until(lambda: fault.hits)
    setup.seek(50)
    assert setup.consumer.position(T0) == 50
    setup.run_for(0.9)
    assert setup.poll() is None
    assert setup.values(50) == HUNDRED[50:]


@pytest.mark.parametrize("to", [0, 10, 15, 30, 99, 100])
def test_a_seek_from_the_loops_body(to: int) -> None:
    # F16, lesson 29: whatever is buffered or on its way
    setup = Setup()
    setup.append(*HUNDRED, per_batch=7)
    setup.assign({T0: 0})
    assert setup.values(15) == HUNDRED[:15]
    setup.seek(to)
    assert setup.consumer.position(T0) == to
    assert values_of(setup.read_all()) == HUNDRED[to:]


def test_a_fetch_that_starts_inside_a_batch() -> None:
    # B7, lesson 6
    setup = Setup()
    setup.append(*HUNDRED, per_batch=25, codec=Codec.LZ4)
    for start in (0, 1, 24, 25, 26, 99):
        setup.assign({T0: start})
        assert values_of(setup.read_all()) == HUNDRED[start:]


def test_a_response_that_ends_inside_a_batch() -> None:
    # B17: without a back-off
    setup = Setup(max_partition_fetch_bytes=300, busy=1_000)
    setup.append(*HUNDRED, per_batch=7)
    setup.assign({T0: 0})
    started = setup.now
    assert setup.values(100) == HUNDRED
    assert setup.now - started < 0.1
    assert len(setup.fetches()) > 7


def test_batches_larger_than_what_may_be_sent() -> None:
    # B19: the first one comes whole, of one partition at a time
    setup = Setup({"t": 3}, max_partition_fetch_bytes=10, fetch_max_bytes=10, busy=1_000)
    for partition in range(3):
        setup.append(*HUNDRED, partition=partition, per_batch=20)
    setup.assign()
    records = setup.read(300)
    for partition in range(3):
        assert values_of(r for r in records if r.partition == partition) == HUNDRED


def test_compacted_logs() -> None:
    # B6, trap 3, lesson 27: offsets that are gone, at the end of batches, and empty batches
    for keep_empty in (True, False):
        setup = Setup()
        setup.append(*HUNDRED, per_batch=10)

        def keep(record: AnyRecord) -> bool:
            return record.offset % 10 in (3, 6) and not 40 <= record.offset < 60

        setup.broker.compact("t", 0, keep, keep_empty=keep_empty)
        setup.assign({T0: 0})
        assert [r.offset for r in setup.read_all()] == [
            n for n in range(100) if n % 10 in (3, 6) and n // 10 not in (4, 5)
        ]
        assert setup.consumer.position(T0) == 100
        assert setup.consumer.lag(T0) == 0
        before = len(setup.fetches())
        setup.run_for(10)
        assert len(setup.fetches()) - before < 25  # no endless refetch


def test_segments_do_not_end_a_partition() -> None:
    # B21
    setup = Setup()
    for value in HUNDRED[:10]:
        setup.append(value)
        setup.broker.roll("t", 0)
    setup.assign({T0: 0})
    assert setup.values(10) == HUNDRED[:10]


def test_only_control_batches() -> None:
    # B30, trap 4: the position moves, and what comes next is not waited for
    setup = Setup(group_id="g")
    for _ in range(3):
        setup.broker.commit_transaction("t", 0, 7, setup.now)
    setup.assign({T0: 0})
    setup.until_fetching()
    assert setup.read_all() == []
    assert (setup.consumer.position(T0), setup.partition().finished, setup.consumer.lag(T0)) == (3, 3, 0)
    setup.append("a")
    assert setup.values(1) == ["a"]
    setup.close()
    assert setup.broker.committed("g")[T0].offset == 3


def test_read_committed() -> None:
    # B26-B30, traps 4-7, lesson 37
    setup = Setup(isolation_level="read_committed", max_partition_fetch_bytes=200, busy=1_000)
    expected = []
    for number in range(30):
        setup.append(f"{number}a", f"{number}b", producer_id=number % 3, transactional=True, codec=Codec.LZ4)
        if number % 4 == 0:
            setup.append(f"{number}x")
        if number % 3 == 2:
            for producer in range(3):
                if (number + producer) % 2:
                    setup.broker.abort_transaction("t", 0, producer, setup.now, epoch=1)
                else:
                    setup.broker.commit_transaction("t", 0, producer, setup.now)
    log = setup.broker._log("t", 0)
    for batch in log.batches:
        aborted = any(a.first_offset <= batch.base_offset <= a.last_offset and a.producer_id == p for a in log.aborted for p in [batch.opened().producer_id])  # type: ignore[union-attr]  # fmt: skip # noqa: E501
        opened = batch.opened()
        assert opened is not None
        if not opened.is_control and not (aborted and opened.is_transactional):
            expected += values_of(batch.records())
    setup.assign({T0: 0})
    assert values_of(setup.read_all()) == expected
    assert setup.consumer.position(T0) == setup.broker.end_offset("t", 0)


def test_an_open_transaction_holds_readers_back() -> None:
    # B29
    setup = Setup(isolation_level="read_committed")
    setup.append("a")
    setup.append("b", producer_id=1, transactional=True)
    setup.append("c")
    setup.assign({T0: 0})
    assert values_of(setup.read_all()) == ["a"]
    assert (setup.consumer.lag(T0), setup.consumer.highwater(T0)) == (0, 3)
    setup.broker.abort_transaction("t", 0, 1, setup.now)
    assert values_of(setup.read_all()) == ["c"]


def test_watermarks_without_records() -> None:
    # F17, F23
    setup = Setup()
    setup.append("a", "b")
    setup.assign({T0: 2})
    assert (setup.consumer.highwater(T0), setup.consumer.lag(T0)) == (None, None)
    setup.until_fetching()
    setup.run_for(1)
    assert (setup.consumer.highwater(T0), setup.consumer.lag(T0), setup.partition().log_start_offset) == (2, 0, 0)
    setup.broker.delete_records("t", 0, 1)
    setup.run_for(1)
    assert setup.partition().log_start_offset == 1
    setup.consumer.pause(None, setup.now)
    setup.run_for(1)
    setup.seek(1)
    assert setup.consumer.lag(T0) == 1


def test_watermarks_that_are_not_told_change_nothing() -> None:
    # F17
    def alter(request: FetchRequest, response: FetchResponse) -> FetchResponse:
        for topic in response.responses:
            for p in topic.partitions:
                p.high_watermark = p.last_stable_offset = p.log_start_offset = -1
        return response

    setup = Setup()
    setup.append("a", "b")
    setup.assign({T0: 0})
    setup.until_fetching(at=2)
    setup.broker.faults.add(api=ApiKey.FETCH, alter=alter, times=None)
    setup.run_for(1)
    setup.append("c")
    setup.run_for(1)
    partition = setup.partition()
    assert (partition.high_watermark, partition.last_stable_offset, partition.log_start_offset) == (2, 2, 0)
    assert setup.values(3) == ["a", "b", "c"]


def test_a_diverging_epoch_is_not_looked_at() -> None:
    # F29
    def alter(request: FetchRequest, response: FetchResponse) -> FetchResponse:
        for topic in response.responses:
            for partition in topic.partitions:
                partition.diverging_epoch = EpochEndOffset(0, 0)
        return response

    setup = Setup()
    setup.append("a")
    setup.broker.faults.add(api=ApiKey.FETCH, alter=alter, times=None)
    setup.assign({T0: 0})
    assert setup.values(1) == ["a"]
    assert values_of(setup.read_all()) == []


def test_timestamps_and_codecs_come_through() -> None:
    # Traps 19, 20
    setup = Setup({"t": 1})
    setup.broker.create_topic("appended", log_append_time=True)
    setup.append("a", topic="appended")
    builder = BatchBuilder(base_offset=0)
    builder.append(1_000, None, b"early")
    builder.append(1_000 + 2**40, None, b"late")
    setup.broker.append_raw("t", 0, builder.build())
    setup.assign({T0: 0, TopicPartition("appended", 0): 0})
    by_value = {record.value: record for record in setup.read(3)}
    assert by_value[b"a"].timestamp == setup.broker.unix_ms(1000.0)
    assert by_value[b"late"].timestamp - by_value[b"early"].timestamp == 2**40


# ------------------------------------------------------------------------------------------------------- what can't be


def failing(value: bytes) -> str:
    if value == b"v05":
        raise ValueError
    return value.decode()


def test_a_record_that_cannot_be_deserialized() -> None:
    # F21, lessons 5, 38
    setup = Setup(value_deserializer=failing, group_id="g")
    setup.append(*HUNDRED[:10], per_batch=3)
    setup.assign({T0: 0})
    assert [record.value for record in setup.read(5)] == HUNDRED[:5]
    for _ in range(3):
        with pytest.raises(DeserializationError) as raised:
            setup.next()
        assert (raised.value.offset, raised.value.next_offset) == (5, 6)
        assert (setup.consumer.position(T0), setup.partition().finished) == (5, 5)
        setup.poll()  # asking again for all there is does not pass over it either
    setup.seek(raised.value.next_offset)
    assert [record.value for record in setup.read(4)] == HUNDRED[6:10]
    setup.close()
    assert setup.broker.committed("g")[T0].offset == 9


def test_a_corrupt_batch() -> None:
    # B22, lesson 38: as above; others go on
    setup = Setup({"t": 2}, group_id="g")
    setup.append("a", "b")
    good = bytearray(_batch(2, "c", "d"))
    good[-2] ^= 1
    setup.broker.append_raw("t", 0, bytes(good), last_offset=3)
    setup.append("e")
    setup.append("x", partition=1)
    setup.assign({T0: 0, T1: 0})
    error = setup.failure_after_records(4)
    assert isinstance(error, CorruptRecordError)
    assert (error.offset, error.next_offset) == (2, -1)  # a batch with a wrong checksum does not say where to go on
    assert (setup.consumer.position(T0), setup.partition().finished) == (2, 2)
    assert setup.failure() == error or isinstance(setup.failure(), CorruptRecordError)
    setup.consumer.pause([T0], setup.now)
    setup.append("y", partition=1)
    assert "y" in values_of(setup.read_all())
    setup.consumer.resume([T0], setup.now)
    assert isinstance(setup.failure(), CorruptRecordError)
    setup.seek(4)
    assert setup.values(1) == ["e"]


def _batch(base_offset: int, *values: str) -> bytes:
    builder = BatchBuilder(base_offset=base_offset, leader_epoch=0)
    for value in values:
        builder.append(1_700_000_000_000, None, value.encode())
    return builder.build()


def test_data_that_is_no_batch() -> None:
    # B22: what came before it is given first; then it is not fetched for ever
    setup = Setup()
    setup.append("a", "b")
    setup.broker.append_raw("t", 0, bytes(16) + b"\x09" + bytes(100), last_offset=2)
    setup.append("c")
    setup.assign({T0: 0})
    assert setup.values(2) == ["a", "b"]
    for _ in range(2):
        assert isinstance(setup.failure(), CorruptRecordError)
    before = len(setup.fetches())
    setup.run_for(10)
    assert len(setup.fetches()) == before
    assert setup.consumer.position(T0) == 2
    setup.seek(3)
    assert setup.values(1) == ["c"]


def test_metadata_with_a_committed_epoch_is_not_needed_for_a_fetch() -> None:
    setup = Setup()
    setup.append("a", "b")
    setup.assign({T0: 0})
    setup.seek(OffsetAndMetadata(1, "", 0))
    assert setup.values(1) == ["b"]


def test_a_program_that_polls_for_ever_does_not_grow() -> None:
    # Lesson 32: idle polls leave nothing behind
    setup = Setup({"t": 3}, group_id="g")
    setup.assign()
    setup.read_all()

    setup.run_for(1)
    before = footprint(setup.consumer)
    for number in range(20_000):
        assert setup.consumer.poll(setup.now) is None
        if number % 10 == 0:
            setup.consumer.wait(setup.now, 0.01).cancel()
        if number % 1000 == 0:
            setup.run_for(0.001)
    setup.run_for(1)
    assert abs(footprint(setup.consumer) - before) < 20


def test_everything_paused_is_quiet() -> None:
    # Lesson 30
    setup = Setup({"t": 3})
    setup.append("a")
    setup.assign()
    setup.until_fetching()
    setup.consumer.pause(None, setup.now)
    idle(setup)
    before = len(setup.broker.requests)
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    setup.network.checks.append(count)
    waiting = setup.consumer.wait(setup.now, 100)
    assert setup.result(waiting, 200) is False
    assert len(setup.broker.requests) == before
    assert steps < 5


def test_a_metadata_answer_makes_no_noise() -> None:
    setup = Setup({"t": 3}, metadata_max_age_ms=1_000)
    setup.assign()
    setup.until_fetching()
    setup.run_for(10)
    assert 9 <= len(setup.requests(MetadataRequest)) <= 13
    assert all(not offsets(request) for request in setup.fetches()[2:])


def test_without_a_session_each_request_names_all() -> None:
    # Trap 16: also those that only ask the same again
    setup = Setup({"t": 2}, fetch_sessions=0)
    setup.assign({T0: 0, T1: 0})
    idle(setup)
    before = len(setup.fetches())
    idle(setup)
    requests = setup.fetches()[before:]
    assert requests
    assert {sum(len(topic.partitions) for topic in r.topics) for r in requests} == {2}
    assert {r.session_epoch for r in requests} == {0}
