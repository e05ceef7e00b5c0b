"""What the application is given, in which order, and what becomes of it when it breaks off, seeks, pauses or fails."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.consumer import FetchedRecords
from dekaf_proto.errors import DeserializationError, ErrorCode, KafkaTimeoutError
from dekaf_proto.events import EndOfPartition, Failed
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import AnyRecord, Setup, values_of

T0, T1, T2 = (TopicPartition("t", number) for number in range(3))


def buffered(partitions: int = 1, count: int = 10, **options: Any) -> Setup:
    """Partitions with `count` records each, `0:0`, `0:1` and so on, in batches of three, all of them buffered."""
    setup = Setup({"t": partitions}, **options)
    for partition in range(partitions):
        setup.append(*[f"{partition}:{n}" for n in range(count)], partition=partition, per_batch=3)
    setup.assign({TopicPartition("t", number): 0 for number in range(partitions)})
    setup.run_for(2)
    return setup


def numbers(setup: Setup, partition: int = 0) -> tuple[int | None, int]:
    """Position and finished."""
    found = setup.partition("t", partition)
    return found.position, found.finished


# ------------------------------------------------------------------------------------------------------------- the runs


def test_one_run_for_all_that_is_there() -> None:
    """One hand-over pays for a whole response, however many partitions it is of."""
    setup = buffered(50)
    run = setup.poll()
    assert isinstance(run, FetchedRecords)
    assert len(list(run)) == 500
    assert setup.poll() is None


def test_reading_a_run_asks_the_engine_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Lesson 35: no work for each record that grows with what is assigned
    setup = buffered(50)
    run = setup.poll()
    assert isinstance(run, FetchedRecords)
    for part in ("_advance", "_begin"):
        monkeypatch.setattr(setup.consumer, part, None)
    assert len(list(run)) == 500
    monkeypatch.undo()


def test_a_run_is_a_part_of_what_may_be_buffered() -> None:
    setup = buffered(4, 100, fetch_max_buffered_bytes=20_000)
    run = setup.poll()
    assert isinstance(run, FetchedRecords)
    assert 5_000 <= sum(chunk.size for chunk in run.chunks) < 10_000


def test_no_more_than_was_asked_for_and_the_rest_next_time() -> None:
    # F20, trap 18: over all partitions
    setup = buffered(3, 7)
    run = setup.poll()
    assert isinstance(run, FetchedRecords)
    taken = [run.take(10), run.take(10), run.take(10), run.take(10)]
    assert [len(batch) for batch in taken] == [10, 10, 1, 0]
    for partition in range(3):
        mine = [record.offset for batch in taken for record in batch if record.partition == partition]
        assert mine == list(range(7))


def test_the_one_that_waited_longest_comes_first() -> None:
    setup = buffered(3, 100, fetch_max_buffered_bytes=1_200, busy=1_000)
    order: list[int] = []
    while sum(setup.consumer.position(tp) or 0 for tp in (T0, T1, T2)) < 300:
        setup.run_for(0.05)
        run = setup.poll()
        assert isinstance(run, FetchedRecords)
        order += [chunk.tp.partition for chunk in run.chunks]
        list(run)
    assert len(order) > 20
    assert {order[at : at + 3].count(p) for at in range(len(order) - 3) for p in range(3)} == {1}


def test_a_partition_that_comes_and_goes_leaves_nothing_behind() -> None:
    setup = Setup({"t": 100})
    for number in range(100):
        tp = TopicPartition("t", number)
        setup.append("x", partition=number)
        setup.assign({tp: 0})
        setup.values(1)
    setup.poll()
    assert list(setup.consumer._handout._turn) == [TopicPartition("t", 99)]


def test_the_run_in_hand_belongs_to_the_consumer() -> None:
    """After a `break`, a new loop goes on with the same run, and that finishes the record in hand."""
    setup = buffered()
    for record in (setup.next() for _ in range(4)):
        if record.offset == 2:
            break
    assert numbers(setup) == (3, 2)
    assert setup.values(1) == ["0:3"]
    assert numbers(setup) == (4, 3)


def test_a_record_in_hand_is_not_finished_by_the_end() -> None:
    # Lessons 1, 2: what the application holds when it closes is delivered again
    setup = buffered(group_id="g")
    setup.values(4)
    setup.close()
    assert setup.broker.committed("g")[T0].offset == 3
    setup.restart(group_id="g")
    setup.assign()
    assert setup.values(1) == ["0:3"]


def test_going_on_finishes_a_record_whatever_the_program_did_with_it() -> None:
    # Lesson 3
    setup = buffered(group_id="g")
    setup.values(5)
    setup.poll()
    setup.close()
    assert setup.broker.committed("g")[T0].offset == 5


def test_what_an_older_run_still_has_is_not_given_twice() -> None:
    setup = buffered()
    older = setup.poll()
    assert isinstance(older, FetchedRecords)
    assert next(older).offset == 0
    newer = setup.poll()
    assert isinstance(newer, FetchedRecords)
    assert next(newer).offset == 1
    assert list(older) == []
    assert [record.offset for record in newer] == list(range(2, 10))


def test_runs_that_are_broken_off_again_and_again_do_not_pile_up() -> None:
    # Lessons 32, 35
    setup = buffered(2, 300)
    for _ in range(200):
        setup.consumer.pause([T1], setup.now)
        setup.next()
        setup.consumer.resume([T1], setup.now)
        setup.next()
        assert len(setup.consumer._handout._runs) == 1


def test_batches_gathered_from_several_runs() -> None:
    """`more`: nothing of a batch is finished before the next one is asked for (lesson 1)."""
    setup = buffered(2, 6, group_id="g", fetch_max_buffered_bytes=700, max_partition_fetch_bytes=300, busy=1_000)
    batch: list[AnyRecord] = []
    while len(batch) < 8:
        run = setup.consumer.poll(setup.now, more=bool(batch))
        if isinstance(run, FetchedRecords):
            batch += run.take(8 - len(batch))
        else:
            setup.run_for(0.1)
        assert [numbers(setup, p)[1] for p in (0, 1)] == [0, 0]
    setup.run_for(20)
    assert {committed.offset for committed in setup.broker.committed("g").values()} <= {0}
    setup.poll()
    finished = [numbers(setup, p)[1] for p in (0, 1)]
    assert sum(finished) == 8
    assert sorted(values_of(batch)) == sorted(f"{p}:{n}" for p in (0, 1) for n in range(finished[p]))


# ------------------------------------------------------------------------------------------- stops in the loop's body


def test_pause_keeps_the_rest() -> None:
    # F19, trap 2: the very records, without a fetch and without a loss
    setup = buffered(2)
    assert setup.values(2) == ["0:0", "0:1"]
    setup.consumer.pause([T0], setup.now)
    assert values_of(setup.read_all()) == [f"1:{n}" for n in range(10)]
    assert numbers(setup) == (2, 2)
    before = len(setup.fetches())
    setup.consumer.resume([T0], setup.now)
    run = setup.poll()
    assert isinstance(run, FetchedRecords)
    assert values_of(run) == [f"0:{n}" for n in range(2, 10)]
    assert len(setup.fetches()) == before


def test_a_paused_partition_in_hand_stays_unfinished() -> None:
    setup = buffered(1, group_id="g")
    setup.values(3)
    setup.consumer.pause(None, setup.now)
    assert numbers(setup) == (3, 2)
    assert setup.poll() is None  # which asks for the next one
    assert numbers(setup) == (3, 3)


def test_unassign_drops_the_rest() -> None:
    # Lesson 20
    setup = buffered(2)
    assert setup.values(2) == ["0:0", "0:1"]
    setup.consumer.incremental_unassign([T0], setup.now)
    assert values_of(setup.read_all()) == [f"1:{n}" for n in range(10)]
    assert setup.consumer._fetcher.buffered_bytes == 0


def test_assigned_anew_between_two_polls() -> None:
    # Lesson 20: nothing of the old assignment is left
    setup = buffered(1)
    setup.values(3)
    setup.consumer.pause(None, setup.now)
    setup.assign([])
    setup.assign({T0: 1})
    assert setup.consumer.paused == []
    assert values_of(setup.read_all()) == [f"0:{n}" for n in range(1, 10)]


def test_a_seek_drops_the_rest_of_one_partition_only() -> None:
    setup = buffered(2)
    assert setup.values(2) == ["0:0", "0:1"]
    setup.seek(8)
    assert numbers(setup) == (8, 8)
    assert sorted(values_of(setup.read_all())) == ["0:8", "0:9"] + [f"1:{n}" for n in range(10)]


def test_a_seek_to_where_it_is_gives_the_record_again() -> None:
    setup = buffered(1)
    record = setup.read(4)[-1]
    setup.seek(record.offset)
    assert setup.values(1) == ["0:3"]
    assert numbers(setup) == (4, 3)


def test_a_validation_holds_back_what_is_buffered() -> None:
    # F16: the same check when records are handed out
    setup = Setup({"t": 1}, nodes=2)
    setup.append("a", "b")
    setup.assign({T0: 0})
    setup.until_fetching(at=2)
    setup.broker.faults.add(api=ApiKey.OFFSET_FOR_LEADER_EPOCH, error=ErrorCode.OFFSET_NOT_AVAILABLE, times=3)
    setup.broker.move_leader("t", 0, 1)
    setup.refresh()
    setup.run_for(0.02)
    assert setup.poll() is None
    assert setup.values(2) == ["a", "b"]


# --------------------------------------------------------------------------------------------------------------- errors


def refuse_3(value: bytes) -> str:
    if value == b"0:3":
        raise ValueError
    return value.decode()


def test_an_error_among_records_comes_when_it_is_their_turn() -> None:
    # F20, F21
    setup = buffered(1, value_deserializer=refuse_3)
    run = setup.poll()
    assert isinstance(run, FetchedRecords)
    assert len(run.take(10)) == 3
    with pytest.raises(DeserializationError):
        run.take(10)
    assert numbers(setup) == (3, 3)
    run = setup.poll()
    assert isinstance(run, FetchedRecords)
    with pytest.raises(DeserializationError):
        next(run)


def test_other_partitions_wait_behind_an_error_only_until_a_pause() -> None:
    # Lesson 38: it does not end the iteration for good
    setup = buffered(2, value_deserializer=refuse_3)
    for _ in range(3):
        assert isinstance(setup.failure_after_records(10), DeserializationError)
    setup.consumer.pause([T0], setup.now)
    found = [record.value for record in setup.read_all()]
    assert found == [f"1:{n}" for n in range(10)]
    setup.consumer.resume([T0], setup.now)
    assert isinstance(setup.failure(), DeserializationError)
    setup.seek(4)
    assert [record.value for record in setup.read_all()] == [f"0:{n}" for n in range(4, 10)]


def test_errors_come_one_by_one_and_first() -> None:
    setup = buffered(2, auto_offset_reset="none")
    first, second = ValueError("1"), ValueError("2")
    setup.consumer._handout.failures += [first, second]
    setup.partition().tell(third := ValueError("3"))
    assert setup.consumer.wait(setup.now).done
    assert [setup.poll() for _ in range(3)] == [Failed(first), Failed(second), Failed(third, (T0,))]
    assert isinstance(setup.poll(), FetchedRecords)


def test_an_error_of_several_partitions_is_told_once() -> None:
    setup = buffered(3)
    error = ValueError()
    for partition in (0, 2):
        setup.partition("t", partition).tell(error)
    setup.partition("t", 1).tell(other := ValueError())
    assert [setup.poll(), setup.poll()] == [Failed(error, (T0, T2)), Failed(other, (T1,))]


# ----------------------------------------------------------------------------------------------------------- the bounds


def read_to(setup: Setup, bound: Any) -> list[str]:
    found = []
    while True:
        try:
            found.append(setup.next(bound=bound).value.decode())
        except StopIteration:
            return found


def test_the_end_is_what_it_was() -> None:
    setup = buffered(2, 5)
    bound = setup.result(setup.consumer.until_end(setup.now))
    setup.append("late", "later", partition=1)
    setup.run_for(1)
    assert sorted(read_to(setup, bound)) == sorted(f"{p}:{n}" for p in (0, 1) for n in range(5))
    assert [numbers(setup, p) for p in (0, 1)] == [(5, 5), (5, 5)]
    assert isinstance(setup.poll(bound), EndOfPartition)
    assert setup.values(2) == ["late", "later"]  # what is behind it is kept


def test_a_bound_inside_a_batch() -> None:
    setup = Setup()
    setup.append("a", "b", "c", "d")
    setup.assign({T0: 0})
    bound = setup.result(setup.consumer.until_end(setup.now))
    bound.ends[T0] = 2
    assert read_to(setup, bound) == ["a", "b"]
    assert numbers(setup) == (2, 2)
    assert setup.values(2) == ["c", "d"]


def test_a_seek_back_reads_to_the_bound_again() -> None:
    setup = buffered(1, 4)
    bound = setup.result(setup.consumer.until_end(setup.now))
    assert len(read_to(setup, bound)) == 4
    setup.seek(2)
    assert read_to(setup, bound) == ["0:2", "0:3"]
    setup.append("late")
    setup.seek(5)
    assert read_to(setup, bound) == []


def test_under_read_committed_it_is_the_last_stable_offset() -> None:
    setup = Setup(isolation_level="read_committed")
    setup.append("a")
    setup.append("b", producer_id=1, transactional=True)
    setup.broker.abort_transaction("t", 0, 1, setup.now)
    setup.append("c", producer_id=1, transactional=True)
    setup.assign({T0: 0})
    bound = setup.result(setup.consumer.until_end(setup.now))
    setup.broker.commit_transaction("t", 0, 1, setup.now)
    assert read_to(setup, bound) == ["a"]
    assert numbers(setup) == (3, 3)  # behind the marker, which is part of what there was


def test_paused_partitions_are_not_waited_for() -> None:
    setup = buffered(2, 3)
    bound = setup.result(setup.consumer.until_end(setup.now))
    setup.consumer.pause([T0], setup.now)
    assert read_to(setup, bound) == ["1:0", "1:1", "1:2"]
    setup.consumer.resume([T0], setup.now)
    assert read_to(setup, bound) == ["0:0", "0:1", "0:2"]


def test_a_partition_that_is_assigned_later_ends_where_it_ended_then() -> None:
    setup = buffered(3, 2)
    setup.assign([T0])
    bound = setup.result(setup.consumer.until_end(setup.now))
    setup.consumer.incremental_assign({T1: 0}, setup.now)
    assert sorted(read_to(setup, bound)) == ["0:0", "0:1", "1:0", "1:1"]
    setup.append("late", partition=1)
    assert read_to(setup, bound) == []
    setup.consumer.incremental_assign({T2: 1}, setup.now)
    assert setup.poll(bound) is None
    assert read_to(setup, bound) == ["2:1"]


def test_an_end_that_cannot_be_found_is_told_and_looked_up_again() -> None:
    setup = buffered(2, 2, default_api_timeout_ms=3_000, request_timeout_ms=2_000)
    setup.assign([T0])
    bound = setup.result(setup.consumer.until_end(setup.now))
    fault = setup.broker.faults.add(
        api=ApiKey.LIST_OFFSETS, partition=1, error=ErrorCode.OFFSET_NOT_AVAILABLE, times=None
    )
    setup.consumer.incremental_assign({T1: 0}, setup.now)
    assert [setup.next(bound=bound).value for _ in range(2)] == [b"0:0", b"0:1"]
    with pytest.raises(KafkaTimeoutError):
        setup.next(bound=bound)
    setup.broker.faults.remove(fault)
    assert read_to(setup, bound) == ["1:0", "1:1"]


def test_only_records_that_may_be_handed_out_end_a_wait() -> None:
    setup = buffered(2, 3)
    bound = setup.result(setup.consumer.until_end(setup.now))
    read_to(setup, bound)
    setup.append("late")
    setup.run_for(1)
    assert setup.consumer.wait(setup.now, 0, bound).done  # the end
    waiting = setup.consumer.wait(setup.now, 5)
    assert waiting.done
    setup.consumer.pause([T0], setup.now)
    waiting = setup.consumer.wait(setup.now, 5)
    assert not waiting.done
    assert setup.result(waiting) is False


def test_the_record_in_hand_is_not_waited_for() -> None:
    setup = buffered(1, 3)
    setup.read(3)
    assert not setup.consumer.wait(setup.now, 5).done
    assert not setup.consumer.wait(setup.now, 5, records=2).done
    assert numbers(setup) == (3, 2)


def test_fetching_goes_on_while_records_are_in_hand() -> None:
    # F22, architecture: the next response travels while the application works
    setup = Setup()
    setup.append("a")
    setup.assign({T0: 0})
    assert setup.values(1) == ["a"]
    setup.run_for(0.1)
    assert setup.consumer._fetcher.is_fetching(T0)
    last = setup.received(FetchRequest)[-1].request
    assert isinstance(last, FetchRequest)
    assert [p.fetch_offset for t in last.topics for p in t.partitions] == [1]
    assert numbers(setup) == (1, 0)


@pytest.mark.parametrize("way", ["assigned", "subscribed", "bounded", "nothing"])
def test_who_waits_for_ever_for_nothing_is_told(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is no error: another task may still subscribe. But most often that was forgotten."""
    setup = Setup({"t": 1}, group_id="g")
    if way == "assigned":
        setup.assign({T0: 0})
    elif way == "subscribed":
        setup.consumer.subscribe(["t"], setup.now)
    for _ in range(2):
        setup.consumer.wait(setup.now, 1.0 if way == "bounded" else None)
    told = [message for message in caplog.messages if "nothing is subscribed to or assigned" in message]
    assert len(told) == (way == "nothing")
