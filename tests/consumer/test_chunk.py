"""Chunks: what the application is given of a response."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from dekaf_proto.consumer.chunk import Chunk, Delivery, Reading, end_of_batches
from dekaf_proto.errors import CorruptRecordError, DeserializationError
from dekaf_proto.records import BatchBuilder, Codec, ControlType
from dekaf_proto.types import TimestampType
from tests.consumer.batches import (
    READ_COMMITTED,
    TP,
    AnyChunk,
    batch,
    chunk,
    damage,
    legacy,
    marker,
    numbers,
    offsets,
    refuses_3,
    run_of,
)

# ------------------------------------------------------------------------------------------------- the end of the data


def test_the_end_of_whole_batches_at_every_cut() -> None:
    first, second = batch(5, numbers(5, 3), epoch=2), batch(9, numbers(9, 2), epoch=4)
    data = first + second
    for size in range(len(data) + 1):
        found = end_of_batches(memoryview(data[:size]))
        # B17, B18: the rest is the beginning of a batch.
        if size < len(first):
            assert found == (0, -1, -1, False)
        elif size < len(data):
            assert found == (len(first), 8, 2, False)
        else:
            assert found == (len(data), 11, 4, False)


def test_the_end_of_a_compacted_batch_is_its_own_not_its_last_records() -> None:
    # B6, trap 3
    data = batch(5, numbers(5, 2), deltas=[0, 3], last_offset_delta=9)
    assert end_of_batches(memoryview(data)) == (len(data), 15, 0, False)


def test_the_end_of_old_messages() -> None:
    data = legacy(3, b"x") + legacy(7, b"y")
    assert end_of_batches(memoryview(data)) == (len(data), 8, -1, False)
    data += b"\0" * 11
    assert end_of_batches(memoryview(data)) == (len(data) - 11, 8, -1, False)


def header(base_offset: int = 8, length: int = 49, magic: int = 2, last_offset_delta: int = 0) -> bytes:
    data = struct.pack(">qiibIhi", base_offset, length, 7, magic, 0, 0, last_offset_delta)
    return data + bytes(12 + max(length, 49) - len(data))


@pytest.mark.parametrize(
    "data",
    [
        header(magic=3),
        header(magic=-1),  # B22
        header(length=48),  # B1
        header(length=0),
        header(length=-1),
        header(magic=1, length=13),
        header(last_offset_delta=-10),
        header(base_offset=-5),
        header(base_offset=2**63 - 1),
        header(base_offset=2**63 - 1000, last_offset_delta=2**31 - 1),
    ],
)
def test_damage_at_the_end(data: bytes) -> None:
    good = batch(5, numbers(5, 3), epoch=2)
    assert end_of_batches(memoryview(data)) == (0, -1, -1, True)
    assert end_of_batches(memoryview(good + data)) == (len(good), 8, 2, True)
    # What was good is given, then there is an error, for ever.
    run = run_of([chunk(good + data, 6)])
    assert [next(run).offset, next(run).offset] == [6, 7]
    for _ in range(3):
        with pytest.raises(CorruptRecordError):
            next(run)
        assert (run.chunks[0].position, run.chunks[0].finished) == (8, 8)


def test_a_batch_that_ends_before_another_does_not_end_the_chunk() -> None:
    data = batch(5, numbers(5, 5)) + batch(2, numbers(2, 2))
    assert end_of_batches(memoryview(data))[1] == 10
    run = run_of([chunk(data, 5)])
    assert offsets(run) == [5, 6, 7, 8, 9]
    assert run.chunks[0].is_used_up


def test_batches_that_lead_nowhere_are_an_error() -> None:
    """What lies below the offset that was asked for can't be what was asked for; asking again would bring the same."""
    run = run_of([chunk(batch(2, numbers(2, 2)), 9, next_offset=10)])
    for _ in range(2):
        with pytest.raises(CorruptRecordError, match="does not lead beyond") as raised:
            next(run)
        assert raised.value.offset == 9


@st.composite
def broken_data(draw: st.DrawFn) -> bytes:
    parts = [
        batch(0, numbers(0, 3), epoch=1),
        batch(3, numbers(3, 2), epoch=2, codec=Codec.LZ4),
        marker(5, 7),
        batch(6, numbers(6, 3), deltas=[0, 2, 4], last_offset_delta=6, epoch=3),
    ]
    data = bytearray(b"".join(parts))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data) - 1))
        data[at] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


@given(broken_data(), st.integers(0, 12), st.booleans())
def test_whatever_is_broken_ends_or_raises(data: bytes, start: int, check_crcs: bool) -> None:
    """Offsets ascend, no foreign error comes out, and what raised once raises again."""
    size, next_offset, _, damaged = end_of_batches(memoryview(data))
    if (size == 0 and not damaged) or (not damaged and next_offset <= start):
        return
    made = chunk(data, start, Reading(check_crcs=check_crcs))
    run = run_of([made])
    found = []
    error: CorruptRecordError | None = None
    while error is None:
        try:
            record = next(run, None)
        except CorruptRecordError as raised:
            error = raised
            continue
        if record is None:
            assert not damaged
            assert made.is_used_up
            break
        assert made.finished == record.offset < made.position == record.offset + 1
        found.append(record.offset)
    if error is not None:
        position = made.position
        with pytest.raises(CorruptRecordError, match=re.escape(str(error))):
            next(run)
        assert made.position == made.finished == position < made.next_offset
    assert found == sorted(set(found))
    assert all(offset >= start for offset in found)


# -------------------------------------------------------------------------------------------------------------- chunks


def test_the_first_batch_may_begin_before_what_was_asked_for() -> None:
    # B7, lesson 6
    data = batch(0, numbers(0, 4)) + batch(4, numbers(4, 4))
    for start in range(8):
        assert offsets(run_of([chunk(data, start)])) == list(range(start, 8))


@pytest.mark.parametrize("codec", list(Codec))
def test_all_codecs_from_the_middle(codec: Codec) -> None:
    data = batch(0, numbers(0, 50), codec=codec)
    run = run_of([chunk(data, 17)])
    assert [record.value for record in run] == numbers(17, 33)


def test_gaps_and_empty_batches_move_position_and_finished() -> None:
    # B6, trap 3, lesson 27
    data = batch(0, numbers(0, 2), deltas=[2, 5], last_offset_delta=9) + batch(10, [], last_offset_delta=4)
    data += batch(20, numbers(0, 1), last_offset_delta=3)
    made = chunk(data)
    run = run_of([made])
    assert (next(run).offset, made.finished, made.position) == (2, 2, 3)
    assert (next(run).offset, made.finished, made.position) == (5, 5, 6)
    assert (next(run).offset, made.finished, made.position) == (20, 20, 21)
    assert next(run, None) is None
    assert (made.finished, made.position, made.is_used_up) == (24, 24, True)


def test_old_messages() -> None:
    made = chunk(legacy(3, b"x") + legacy(7, b"y"), 4)
    run = run_of([made])
    assert [(record.offset, record.value) for record in run] == [(7, b"y")]
    assert (made.position, made.epoch_below(8)) == (8, -1)


def test_log_append_time() -> None:
    # B5, trap 19
    made = chunk(batch(0, numbers(0, 2), append_time=1_800_000_000_000))
    assert [(r.timestamp, r.timestamp_type) for r in run_of([made])] == [
        (1_800_000_000_000, TimestampType.LOG_APPEND_TIME)
    ] * 2


def test_control_batches_are_passed_over() -> None:
    # B10, B30, trap 4
    made = chunk(marker(0, 7) + marker(1, 7, ControlType.COMMIT, epoch=3))
    assert list(run_of([made])) == []
    assert (made.position, made.finished, made.is_used_up, made.handed_out) == (2, 2, True, 0)
    assert made.epoch_below(2) == 3  # B9: an epoch counts whether or not records of it were given


def transactions(*, codec: Codec = Codec.NONE) -> bytes:
    """0-1 of 7, aborted at 5; 2 of 8, committed at 6; 3 outside; 4 of 7, too; 7 of 7, committed at 8."""
    return b"".join(
        [
            batch(0, [b"a", b"b"], producer_id=7, transactional=True, codec=codec),
            batch(2, [b"c"], producer_id=8, transactional=True, codec=codec),
            batch(3, [b"d"], producer_id=7, codec=codec),  # B27: not transactional
            batch(4, [b"e"], producer_id=7, transactional=True, codec=codec),
            marker(5, 7),
            marker(6, 8, ControlType.COMMIT),
            batch(7, [b"f"], producer_id=7, transactional=True, codec=codec),
            marker(8, 7, ControlType.COMMIT),
        ]
    )


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.LZ4])  # trap 7
def test_read_committed(codec: Codec) -> None:
    # B26, B27, lesson 37
    made = chunk(transactions(codec=codec), 0, READ_COMMITTED, [(0, 7)])
    assert [record.value for record in run_of([made])] == [b"c", b"d", b"f"]
    assert (made.position, made.is_used_up) == (9, True)
    assert [record.value for record in run_of([chunk(transactions())])] == [b"a", b"b", b"c", b"d", b"e", b"f"]


def test_a_list_out_of_order_and_one_without_data() -> None:
    # Traps 5 and 6
    data = transactions() + batch(9, [b"g"], producer_id=9, transactional=True) + marker(10, 9) + marker(11, 5)
    made = chunk(data + batch(12, [b"h"], producer_id=5), 0, READ_COMMITTED, [(9, 9), (11, 5), (0, 7)])
    assert [record.value for record in run_of([made])] == [b"c", b"d", b"f", b"h"]


def test_read_committed_from_the_middle_of_a_transaction() -> None:
    # B28: the list may begin below what was asked for; a batch that is passed over still counts for the filter.
    for start, expected in ((1, [b"c", b"d", b"f"]), (3, [b"d", b"f"]), (4, [b"f"]), (6, [b"f"])):
        made = chunk(transactions(), start, READ_COMMITTED, [(0, 7)])
        assert [record.value for record in run_of([made])] == expected


def corrupt_crc() -> bytes:
    return damage(batch(3, numbers(3, 2)))


def bad_compression() -> bytes:
    """The checksum is right, what it covers is not."""
    from dekaf_proto.records.checksum import crc32c

    data = bytearray(batch(3, numbers(3, 2), codec=Codec.GZIP))
    data[61:71] = b"0123456789"
    data[17:21] = crc32c(memoryview(data)[21:]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("make", [corrupt_crc, bad_compression])
@pytest.mark.parametrize("reading", [Reading(), READ_COMMITTED], ids=["uncommitted", "committed"])
def test_a_corrupt_batch_raises_again_and_again(make: Callable[[], bytes], reading: Reading) -> None:
    # B22, lesson 38: it is not passed over, whatever is wrong with it.
    made = chunk(batch(0, numbers(0, 3)) + make() + batch(5, numbers(5, 2)), 0, reading)
    run = run_of([made])
    assert [next(run).offset for _ in range(3)] == [0, 1, 2]
    for _ in range(3):
        with pytest.raises(CorruptRecordError) as raised:
            next(run)
        # What has a wrong checksum is not believed where it says that it ends.
        assert (raised.value.offset, raised.value.next_offset) == (3, -1 if make is corrupt_crc else 5)
        assert (made.position, made.finished) == (3, 3)
    with pytest.raises(CorruptRecordError):
        run.take(10)


def test_checksums_may_be_left_out() -> None:
    data = damage(batch(3, numbers(3, 2)), at=-2)  # in a value
    assert len(list(run_of([chunk(data, 3, Reading(check_crcs=False))]))) == 2
    with pytest.raises(CorruptRecordError):
        next(run_of([chunk(data, 3)]))


def test_a_bomb_is_corrupt() -> None:
    # B16
    data = batch(0, [bytes(10_000)], codec=Codec.ZSTD)
    with pytest.raises(CorruptRecordError):
        next(run_of([chunk(data, 0, Reading(max_decompressed_size=5_000))]))


def test_a_record_that_cannot_be_deserialized_raises_again_and_again() -> None:
    # F21, lesson 5
    made = chunk(batch(0, numbers(0, 6)), 1, Reading(value_deserializer=refuses_3))
    run = run_of([made])
    assert [next(run).value, next(run).value] == [1, 2]
    for _ in range(3):
        with pytest.raises(DeserializationError) as raised:
            next(run)
        assert (raised.value.offset, raised.value.next_offset, raised.value.field) == (3, 4, "value")
        assert (made.position, made.finished) == (3, 3)  # the one before it is finished
    rest = run_of([chunk(batch(0, numbers(0, 6)), 4, Reading(value_deserializer=refuses_3))])
    assert [record.value for record in rest] == [4, 5]


def test_keys_are_deserialized_and_nulls_are_not() -> None:
    builder = BatchBuilder()
    builder.append(0, b"k", None)
    made = chunk(builder.build(), 0, Reading(key_deserializer=bytes.decode, value_deserializer=refuses_3))
    assert [(record.key, record.value) for record in run_of([made])] == [("k", None)]


def test_the_owner_of_a_record() -> None:
    token = Delivery(TP, None)
    data = batch(0, numbers(0, 1))
    made: AnyChunk = Chunk(TP, memoryview(data), 0, 1, Reading(), (), 0, token)
    (record,) = run_of([made])
    assert record.context.ownership is token
