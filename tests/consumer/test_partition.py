"""The table of one partition, its moves, and its three numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dekaf_proto.config import OffsetReset
from dekaf_proto.consumer.chunk import Chunk, FetchedRecords, Reading
from dekaf_proto.consumer.partition import TRANSITIONS, Partition, PartitionInput, PartitionPhase
from dekaf_proto.errors import LocalProtocolError
from dekaf_proto.records import BatchBuilder
from dekaf_proto.types import OffsetAndMetadata, TopicPartition

TP = TopicPartition("t", 0)
P = PartitionPhase
I = PartitionInput  # noqa: E741


def partition() -> Partition:
    return Partition(TP, {})


def batch(base_offset: int, count: int, epoch: int = 0) -> bytes:
    builder = BatchBuilder(base_offset=base_offset, leader_epoch=epoch if epoch >= 0 else None)
    for number in range(count):
        builder.append(1_700_000_000_000, None, b"%d" % (base_offset + number))
    return builder.build()


def add_chunk(partition: Partition, *epochs: int) -> Chunk:
    """A chunk behind what is buffered: a batch of two records for each leader epoch."""
    start = partition.fetch_offset
    data = b"".join(batch(start + 2 * number, 2, epoch) for number, epoch in enumerate(epochs))
    end = start + 2 * len(epochs)
    chunk: Chunk = Chunk(TP, memoryview(data), start, end, Reading(), (), epochs[-1])
    partition.chunks.append(chunk)
    return chunk


# ----------------------------------------------------------------------------------------------------------- the table

#: The diagram in the module: everything that is possible, phase by phase.
DIAGRAM = {
    P.INITIALIZING: {I.OFFSET_KNOWN: P.FETCHING, I.RESET: P.AWAIT_RESET},
    P.AWAIT_RESET: {I.OFFSET_KNOWN: P.FETCHING, I.RESET: P.AWAIT_RESET},
    P.AWAIT_VALIDATION: {I.OFFSET_KNOWN: P.FETCHING, I.RESET: P.AWAIT_RESET, I.VALID: P.FETCHING},
    P.FETCHING: {I.OFFSET_KNOWN: P.FETCHING, I.RESET: P.AWAIT_RESET, I.VALIDATE: P.AWAIT_VALIDATION},
    P.FAILED: {I.OFFSET_KNOWN: P.FETCHING, I.RESET: P.AWAIT_RESET},
}


@pytest.mark.parametrize("what", list(PartitionInput))
@pytest.mark.parametrize("phase", list(PartitionPhase))
def test_every_pair_of_phase_and_input(phase: PartitionPhase, what: PartitionInput) -> None:
    p = partition()
    p.phase = phase
    # Whatever happens, the program can always go back to the committed offset, and anything can go wrong.
    expected = {I.INITIALIZE: P.INITIALIZING, I.FAIL: P.FAILED, **DIAGRAM[phase]}.get(what)
    assert TRANSITIONS.get((phase, what)) is expected
    if expected is None:
        with pytest.raises(LocalProtocolError, match=rf"t-0: {what.name} is not possible when {phase.name}"):
            p._move(what)
        assert p.phase is phase
    else:
        p._move(what)
        assert p.phase is expected


def test_the_way_of_a_partition() -> None:
    p = partition()

    def state() -> tuple[PartitionPhase, int | None, int, OffsetReset | None]:
        return p.phase, p.position, p.finished, p.reset

    assert state() == (P.INITIALIZING, None, -1, None)
    p.begin_reset(OffsetReset("latest"))
    assert state() == (P.AWAIT_RESET, None, -1, OffsetReset("latest"))
    p.begin_at(7)
    assert state() == (P.FETCHING, 7, 7, None)
    p.validate()
    assert state() == (P.AWAIT_VALIDATION, 7, 7, None)
    p.validate()  # it is being done
    p.is_valid()
    assert state() == (P.FETCHING, 7, 7, None)
    p.fail(ValueError())
    p.validate()  # a failed one waits for the program
    assert state() == (P.FAILED, 7, 7, None)
    p.initialize()
    assert state() == (P.INITIALIZING, None, -1, None)
    assert repr(p) == "<Partition t-0 INITIALIZING at None>"


def test_what_the_program_is_told_is_forgotten_with_a_new_beginning() -> None:
    troubles: dict[TopicPartition, Exception] = {}
    p = Partition(TP, troubles)
    error = ValueError()
    begins: list[Callable[[], None]] = [
        lambda: p.begin_at(3),
        lambda: p.begin_reset(OffsetReset("latest")),
        p.initialize,
        p.drop,
    ]
    for begin in begins:
        p.fail(error)
        p.rest(1e9)
        assert troubles == {TP: error}
        begin()
        assert (troubles, p.failures, p.resting_until) == ({}, 0, 0.0)
        p.begin_at(0)


def test_a_new_beginning_is_another_token_and_forgets_what_belonged_to_the_old_one() -> None:
    p = partition()
    seen = {p.token}
    begins: list[Callable[[], None]] = [
        lambda: p.begin_at(3, 5),
        lambda: p.begin_reset(OffsetReset("earliest")),
        p.initialize,
        lambda: p.begin_at(1),
        p.forget_buffered,
        p.drop,
    ]
    for begin in begins:
        p.confirmed = 9
        p.stored = OffsetAndMetadata(9)
        begin()
        assert p.token not in seen
        seen.add(p.token)
    p.begin_at(4, 2)
    assert (p.confirmed, p.stored, p.offset_epoch, p.floor) == (None, None, 2, 4)


# --------------------------------------------------------------------------------------------------------- the numbers


def test_position_and_finished_follow_the_records() -> None:
    p = partition()
    p.begin_at(10)
    add_chunk(p, 3)
    add_chunk(p, 4)
    assert (p.position, p.finished, p.fetch_offset, p.fetch_epoch) == (10, 10, 14, 4)
    run: FetchedRecords = FetchedRecords(list(p.chunks))
    numbers = []
    for record in run:
        numbers.append((record.offset, p.position, p.finished))
    assert numbers == [(10, 11, 10), (11, 12, 11), (12, 13, 12), (13, 14, 13)]
    assert (p.position, p.finished) == (14, 14)
    assert p.collect() == 4
    assert (p.position, p.finished, p.offset_epoch, p.fetch_offset, p.fetch_epoch) == (14, 14, 4, 14, 4)


def test_what_is_buffered_counts_until_it_is_finished() -> None:
    p = partition()
    p.begin_at(0)
    chunk = add_chunk(p, 0)
    run: FetchedRecords = FetchedRecords([chunk])
    assert len(run.take(5)) == 2
    assert p.collect() == 0
    assert (p.buffered_bytes, p.position, p.finished) == (chunk.size, 2, 0)
    run.finish()
    assert p.finished == 2
    assert p.collect() == 2
    assert (p.buffered_bytes, p.position, p.finished) == (0, 2, 2)


def test_an_explicit_commit_raises_what_is_finished() -> None:
    p = partition()
    p.begin_at(5)
    p.floor = 8
    assert p.finished == 8
    add_chunk(p, 0, 0)
    assert p.finished == 8
    p.held_from = 6
    assert p.finished == 8
    p.floor = 5
    assert p.finished == 6


def test_what_was_fetched_ahead_can_be_forgotten() -> None:
    """Position and the record in hand stay: it is finished when the application asks for more."""
    p = partition()
    p.begin_at(0, 1)
    chunk = add_chunk(p, 2, 3)
    run: FetchedRecords = FetchedRecords([chunk])
    next(run)
    p.forget_buffered()
    assert (p.position, p.finished, p.offset, p.offset_epoch) == (1, 0, 1, 2)
    assert not chunk.live
    assert list(run) == []
    p.forget_buffered()  # once more changes nothing
    assert (p.position, p.finished, p.offset_epoch) == (1, 0, 2)
    p.held_from = None
    assert p.finished == 1


def test_nothing_is_held_if_nothing_is_in_hand() -> None:
    p = partition()
    p.begin_at(0, 1)
    add_chunk(p, 2, 3)
    p.forget_buffered()
    assert (p.position, p.finished, p.offset_epoch, p.held_from) == (0, 0, 1, None)


# ---------------------------------------------------------------------------------------------------------- the epochs


def test_the_epoch_of_the_record_before_an_offset() -> None:
    """It goes into commits, and a later validation relies on it: an older one than it was would look like a log that
    was cut off (F26)."""
    p = partition()
    p.begin_at(10, 1)
    add_chunk(p, 2, 3)  # 10, 11 and 12, 13
    add_chunk(p, 4, 5, 6)  # 14, 15; 16, 17; 18, 19
    assert p.epoch_below(9) is None
    assert p.epoch_below(10) == 1
    run: FetchedRecords = FetchedRecords(list(p.chunks))
    expected = {11: 2, 12: 2, 13: 3, 14: 3, 15: 4, 16: 4, 17: 5, 18: 5, 19: 6, 20: 6}
    for record in run:
        # `finished` is this record's offset, the position the one behind it: both may be committed.
        assert p.epoch_below(record.offset) == expected.get(record.offset, 1)
        assert p.epoch_below(record.offset + 1) == expected[record.offset + 1]
    assert p.collect() == 10
    assert (p.offset_epoch, p.epoch_below(20)) == (6, 6)


def test_an_epoch_that_is_not_remembered_is_none() -> None:
    p = partition()
    p.begin_at(0, 1)
    add_chunk(p, 2, 3, 4)
    run: FetchedRecords = FetchedRecords(list(p.chunks))
    run.take(5)
    assert [p.epoch_below(offset) for offset in range(6)] == [1, None, None, 3, 3, 4]


def test_an_unknown_epoch_is_none() -> None:
    p = partition()
    assert p.epoch_below(0) is None
    p.begin_at(0)
    assert p.epoch_below(0) is None
    chunk = add_chunk(p, -1)
    list(FetchedRecords([chunk]))
    assert p.epoch_below(2) is None
    p.collect()
    assert (p.offset_epoch, p.epoch_below(2)) == (-1, None)


def test_another_topic_of_the_same_name_begins_another_tenure() -> None:
    subject = partition()
    before = subject.tenure
    subject.recreated(5.0)
    assert (before.live, before.recreated, before.since) == (False, True, 5.0)
    assert subject.tenure.live


def test_what_was_lost_stays_lost_when_its_topic_is_another_one() -> None:
    subject = partition()
    subject.tenure.end("put out", 3.0)
    subject.recreated(5.0)
    assert (subject.tenure.live, subject.tenure.cause, subject.tenure.since) == (False, "put out", 3.0)
