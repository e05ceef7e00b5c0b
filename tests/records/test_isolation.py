"""dekaf_proto.records.isolation: what a read_committed reader is given (B26-B30)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records import (
    Batch,
    BatchBuilder,
    ControlType,
    LegacyBatch,
    TransactionFilter,
    Visibility,
    build_marker,
    judge_batches,
    read_batches,
)
from dekaf_proto.types import IsolationLevel
from tests.records.made import NOW, batch, message, record

RECORDS, CONTROL, ABORTED = Visibility.RECORDS, Visibility.CONTROL, Visibility.ABORTED


def data(offset: int, producer: int = -1, *, transactional: bool = True, count: int = 1) -> bytes:
    builder = BatchBuilder(base_offset=offset, producer_id=producer, transactional=transactional and producer >= 0)
    for n in range(count):
        builder.append(NOW, None, b"%d" % (offset + n))
    return builder.build()


def marker(offset: int, producer: int, type: ControlType = ControlType.ABORT, epoch: int = 0) -> bytes:
    return build_marker(
        type, producer_id=producer, producer_epoch=epoch, coordinator_epoch=0, base_offset=offset, timestamp=NOW
    )


def commit(offset: int, producer: int) -> bytes:
    return marker(offset, producer, ControlType.COMMIT)


def judge(
    *parts: bytes,
    aborted: list[tuple[int, int]] | None = None,
    level: IsolationLevel = IsolationLevel.READ_COMMITTED,
) -> list[Visibility]:
    judged = list(judge_batches(read_batches(b"".join(parts), "t", 0), level, aborted))
    offsets = [found.next_offset for found, _ in judged]
    assert offsets == sorted(offsets)  # B30: each batch comes, so that the position moves on
    return [visibility for _, visibility in judged]


def test_an_aborted_and_a_committed_transaction() -> None:
    log = [data(0, 1), data(1, 2), marker(2, 1), data(3, 1), commit(4, 2), commit(5, 1)]
    assert judge(*log, aborted=[(0, 1)]) == [ABORTED, RECORDS, CONTROL, RECORDS, CONTROL, CONTROL]  # B26
    assert judge(*log, aborted=[]) == [RECORDS, RECORDS, CONTROL, RECORDS, CONTROL, CONTROL]
    assert judge(*log) == [RECORDS, RECORDS, CONTROL, RECORDS, CONTROL, CONTROL]  # B29: null is an empty list


def test_read_uncommitted_sees_all_but_control_records() -> None:
    log = [data(0, 1), marker(1, 1), data(2)]
    assert judge(*log, aborted=[(0, 1)], level=IsolationLevel.READ_UNCOMMITTED) == [RECORDS, CONTROL, RECORDS]


def test_the_list_need_not_be_in_order() -> None:
    log = [data(0, 1), marker(1, 1), data(2, 2), marker(3, 2), data(4, 1), marker(5, 1)]
    aborted = [(4, 1), (0, 1), (2, 2)]
    for _ in range(6):
        random.Random(_).shuffle(aborted)
        assert judge(*log, aborted=aborted) == [ABORTED, CONTROL] * 3  # B26


def test_a_commit_marker_uses_up_nothing() -> None:
    log = [data(0, 1), commit(1, 2), data(2, 1), marker(3, 1)]
    assert judge(*log, aborted=[(0, 1)]) == [ABORTED, CONTROL, ABORTED, CONTROL]  # B28
    # Not even one of the producer itself, for a transaction before the aborted one.
    log = [data(0, 1), commit(1, 1), data(2, 1), marker(3, 1), data(4, 1)]
    assert judge(*log, aborted=[(2, 1)]) == [RECORDS, CONTROL, ABORTED, CONTROL, RECORDS]


def test_a_transaction_that_began_before_the_fetch() -> None:
    assert judge(data(5, 1), marker(6, 1), data(7, 1), aborted=[(0, 1)]) == [ABORTED, CONTROL, RECORDS]  # B28
    assert judge(marker(6, 1), data(7, 1), aborted=[(5, 1)]) == [CONTROL, RECORDS]


def test_an_abort_marker_of_nothing() -> None:
    assert judge(marker(0, 1), data(1, 1), aborted=[]) == [CONTROL, RECORDS]  # B28


def test_two_aborted_transactions_of_one_producer() -> None:
    log = [data(0, 1), marker(1, 1), data(2, 1), marker(3, 1), data(4, 1), commit(5, 1)]
    assert judge(*log, aborted=[(0, 1), (2, 1)]) == [ABORTED, CONTROL, ABORTED, CONTROL, RECORDS, CONTROL]


def test_a_first_offset_inside_a_batch() -> None:
    # The broker names the first record of the transaction, which may be inside a batch: its last offset counts.
    assert judge(data(0, 1, count=5), marker(5, 1), aborted=[(3, 1)]) == [ABORTED, CONTROL]  # B26


def test_batches_without_a_transaction_are_given_to_all() -> None:
    log = [data(0, 1), data(1, 1, transactional=False), data(2), marker(3, 1)]
    assert judge(*log, aborted=[(0, 1)]) == [ABORTED, RECORDS, RECORDS, CONTROL]  # B27


def test_the_markers_epoch_may_be_a_newer_one() -> None:
    assert judge(data(0, 1), marker(1, 1, epoch=1), data(2, 1), aborted=[(0, 1)]) == [ABORTED, CONTROL, RECORDS]  # B11


def test_control_batches_that_are_no_markers() -> None:
    other = batch(record(0, b"\0\0\0\x02"), base_offset=1, attributes=0x20)
    emptied = batch(b"", 0, base_offset=2, last_offset_delta=0, attributes=0x30, producer_id=1)
    assert judge(data(0, 1), other, emptied, data(3, 1), aborted=[(0, 1)]) == [
        ABORTED,
        CONTROL,
        CONTROL,
        ABORTED,
    ]  # B10


def test_old_formats_have_no_transactions() -> None:
    log = message(0, magic=0) + message(1)
    assert [type(found) for found, _ in judge_batches(read_batches(log, "t", 0))] == [LegacyBatch] * 2
    assert judge(log, aborted=[(0, 1)]) == [RECORDS, RECORDS]


@pytest.mark.parametrize("level", list(IsolationLevel))
def test_a_control_batch_that_cannot_be_read(level: IsolationLevel) -> None:
    bad = batch(record(0, b"data"[:3]), base_offset=1, attributes=0x20)
    judged = judge_batches(read_batches(data(0) + bad + data(2), "t", 0), level)
    assert iter(judged) is judged
    assert next(judged)[1] is RECORDS
    for _ in range(2):  # it is not passed over
        with pytest.raises(CorruptRecordError, match="a control record without"):
            next(judged)


def test_damage_between_batches() -> None:
    judged = judge_batches(read_batches(data(0) + bytes(30), "t", 0))
    assert next(judged)[1] is RECORDS
    for _ in range(2):
        with pytest.raises(CorruptRecordError):
            next(judged)


def test_one_batch_at_a_time() -> None:
    one = TransactionFilter(aborted=iter([(0, 1)]))
    found: list[Batch] = list(read_batches(data(0, 1) + marker(1, 1) + data(2, 1), "t", 0))
    assert [one.judge(each) for each in found] == [ABORTED, CONTROL, RECORDS]


@given(st.data())
def test_any_interleaving_of_transactions(draw: st.DataObject) -> None:
    """What is aborted is exactly what its transaction's end says, whoever else writes in between."""
    open_since: dict[int, int] = {}
    pieces: dict[int, list[int]] = {}
    log: list[bytes] = []
    wanted: list[Visibility] = []
    aborted: list[tuple[int, int]] = []
    offset = 0
    for _ in range(draw.draw(st.integers(1, 15))):
        producer = draw.draw(st.integers(-1, 3))
        ends = producer in open_since and draw.draw(st.booleans())
        if ends:
            aborts = draw.draw(st.booleans())
            if aborts:
                aborted.append((open_since[producer], producer))
                for index in pieces[producer]:
                    wanted[index] = ABORTED
            del open_since[producer]
            log.append(marker(offset, producer) if aborts else commit(offset, producer))
            wanted.append(CONTROL)
            offset += 1
        else:
            if producer >= 0 and producer not in open_since:
                open_since[producer], pieces[producer] = offset, []
            if producer >= 0:
                pieces[producer].append(len(log))
            count = draw.draw(st.integers(1, 3))
            log.append(data(offset, producer, count=count))
            wanted.append(RECORDS)
            offset += count
    # What is still open a broker does not send: it ends before it (B29). Here it counts as committed.
    assert judge(*log, aborted=draw.draw(st.permutations(aborted))) == wanted
