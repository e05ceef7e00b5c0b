"""Runs of chunks: bounds, and what counts as handed out and as finished."""

from __future__ import annotations

from typing import get_origin

import pytest

from dekaf_proto.consumer import FetchedRecords, chunk as native
from dekaf_proto.consumer.chunk import Reading
from dekaf_proto.errors import DeserializationError
from tests.consumer.batches import (
    AnyChunk,
    batch,
    chunk,
    numbers,
    offsets,
    refuses_3,
    run_of,
)

# -------------------------------------------------------------------------------------------------------------- bounds


def test_a_bound_ends_a_run_before_it() -> None:
    made = chunk(batch(0, numbers(0, 4)) + batch(4, numbers(4, 4)))
    assert offsets(run_of([made], [3])) == [0, 1, 2]
    assert (made.position, made.finished, made.is_used_up) == (3, 3, False)
    assert offsets(run_of([made], [3])) == []
    assert offsets(run_of([made], [6])) == [3, 4, 5]
    assert offsets(run_of([made])) == [6, 7]
    assert made.is_used_up


def test_a_bound_in_a_gap() -> None:
    made = chunk(batch(0, numbers(0, 2), deltas=[0, 8], last_offset_delta=9))
    assert offsets(run_of([made], [5])) == [0]
    assert (made.position, made.finished) == (5, 5)  # there is nothing between
    assert offsets(run_of([made], [7])) == []
    assert (made.position, made.finished) == (7, 7)
    assert offsets(run_of([made], [4])) == []
    assert (made.position, made.finished) == (7, 7)
    assert offsets(run_of([made], [20])) == [8]
    assert made.is_used_up


def test_nothing_beyond_a_bound_is_looked_at() -> None:
    """A record that nobody asked for raises nothing."""
    made = chunk(batch(0, numbers(0, 6)), 0, Reading(value_deserializer=refuses_3))
    assert offsets(run_of([made], [3])) == [0, 1, 2]
    assert run_of([made], [3]).take(5) == []
    with pytest.raises(DeserializationError):
        next(run_of([made], [4]))


def test_bounds_of_several_chunks() -> None:
    first, second = chunk(batch(0, numbers(0, 4))), chunk(batch(10, numbers(10, 4)), 10)
    assert offsets(run_of([first, second], [2, 13])) == [0, 1, 10, 11, 12]


# ---------------------------------------------------------------------------------------------------------------- runs


def two() -> tuple[AnyChunk, AnyChunk]:
    return chunk(batch(0, numbers(0, 3))), chunk(batch(10, numbers(10, 3)), 10)


def finished(*chunks: AnyChunk) -> list[int]:
    return [made.finished for made in chunks]


def test_asking_for_the_next_record_finishes_the_one_before() -> None:
    # Lessons 1, 3
    first, second = two()
    run = run_of([first, second])
    seen = [(record.offset, finished(first, second)) for record in run]
    assert seen == [(0, [0, 10]), (1, [1, 10]), (2, [2, 10]), (10, [3, 10]), (11, [3, 11]), (12, [3, 12])]
    assert finished(first, second) == [3, 13]
    assert next(run, None) is None
    assert (first.handed_out, second.handed_out) == (3, 3)


def test_no_run_is_empty_for_ever() -> None:
    run = run_of([])
    assert list(run) == run.take(3) == []
    run.finish()


def test_a_stop_ends_the_iteration_and_finishes_what_is_in_hand() -> None:
    first, second = two()
    run = run_of([first, second])
    next(run)
    next(run)
    run.stopped = True
    assert next(run, None) is None
    assert finished(first, second) == [2, 10]
    assert run.take(5) == []
    again = run_of([first, second])
    assert offsets(again) == [2, 10, 11, 12]


def test_what_is_not_live_is_left_out() -> None:
    first, second = two()
    run = run_of([first, second])
    next(run)
    first.live = False
    assert offsets(run) == [10, 11, 12]
    first, second = two()
    second.live = False
    assert offsets(run_of([first, second]).take(9)) == [0, 1, 2]


def test_taking_finishes_what_was_taken_before() -> None:
    first, second = two()
    run = run_of([first, second])
    assert offsets(run.take(2)) == [0, 1]
    assert finished(first, second) == [0, 10]
    assert offsets(run.take(3)) == [2, 10, 11]
    assert finished(first, second) == [2, 10]
    assert offsets(run.take(5)) == [12]
    assert finished(first, second) == [3, 12]
    assert run.take(5) == []
    assert finished(first, second) == [3, 13]


def test_taking_and_iterating_in_turn() -> None:
    first, second = two()
    run = run_of([first, second])
    run.take(4)
    assert finished(first, second) == [0, 10]
    assert next(run).offset == 11
    assert finished(first, second) == [3, 11]
    assert offsets(run.take(1)) == [12]
    assert finished(first, second) == [3, 12]
    run.finish()
    assert finished(first, second) == [3, 13]


def test_finish_of_a_run_that_was_iterated() -> None:
    first, second = two()
    run = run_of([first, second])
    next(run)
    assert finished(first, second) == [0, 10]
    run.finish()
    assert finished(first, second) == [1, 10]


def test_a_stop_while_taking() -> None:
    first, second = two()
    run = run_of([first, second])
    run.take(2)
    run.stopped = True
    assert run.take(2) == []
    assert finished(first, second) == [2, 10]


def test_an_error_while_taking_comes_after_the_records_before_it() -> None:
    # F20
    first = chunk(batch(0, numbers(0, 6)), 1, Reading(value_deserializer=refuses_3))
    run = run_of([first])
    assert offsets(run.take(10)) == [1, 2]
    assert finished(first) == [1]
    for _ in range(2):
        with pytest.raises(DeserializationError):
            run.take(10)
        assert finished(first) == [3]


def test_a_later_run_does_not_finish_what_an_earlier_one_has_taken() -> None:
    """A batch that is gathered from two runs: taking from the second one must not finish what was taken from the first,
    which the application has not even seen (lesson 1)."""
    made = chunk(batch(0, numbers(0, 6)))
    run = run_of([made])
    assert len(run.take(2)) == 2
    run.stopped = True
    later = run_of([made])
    assert len(later.take(2)) == 2
    assert made.finished == 0
    later.finish()
    assert made.finished == 4


def test_a_run_can_be_named_with_the_types_of_its_records() -> None:
    assert get_origin(FetchedRecords[str, bytes]) is native.FetchedRecords
