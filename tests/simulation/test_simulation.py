"""A few dozen seeds of the simulator; `python -m tests.simulation` runs as many as you like.

What the oracles say is worth something if they can say no: each is shown a history that breaks it.
"""

from __future__ import annotations

import pytest

from dekaf_proto.broker import Broker, CommittedOffset
from dekaf_proto.records import make_record
from dekaf_proto.types import TopicPartition
from tests.simulation.census import census
from tests.simulation.history import AnyRecord, History
from tests.simulation.plan import Plan, plan_of
from tests.simulation.world import World

A0 = TopicPartition("a", 0)


@pytest.mark.parametrize("seed", range(30))
def test_a_seed(seed: int) -> None:
    World(seed).run()


def test_a_seed_is_a_run() -> None:
    traces = [World(7).run().trace() for _ in range(2)]
    assert traces[0] == traces[1]


def test_nothing_grows_with_time() -> None:
    """Two members, for minutes: records, commits, rebalances, connections that break."""
    world = World(4)
    network = world.network
    for member in world.plan.members[:2]:
        world._comes(member)
    network.run_for(10)
    held = []
    for _ in range(30):
        for ledger in world.history.present():
            world.feed.append(ledger, 3)
        world.broker.expire_member("g", world.random.choice(world.broker.group("g").members).member_id, network.now)
        network.cut(client=world.programs[0].consumer)
        network.run_for(10)
        held.append([census(program.consumer) for program in world.programs])
    for early, late in zip(held[5], held[-1], strict=True):
        assert late <= early + 60, held


def history(records: int = 10, **changes: object) -> History:
    """A history in which there is one partition with some records."""
    plan: Plan = plan_of(0)
    plan.calm = plan.at_most_once = plan.read_committed = False
    for name, value in changes.items():
        setattr(plan, name, value)
    broker = Broker()
    broker.create_topic("a", 1)
    seen = History(plan, broker)
    broker.append("a", 0, seen.begins(A0).append(records), 0.0)
    return seen


def record(seen: History, offset: int, life: int = -1) -> AnyRecord:
    """A record as a consumer is given it."""
    return make_record("a", 0, offset, None, seen.lives[A0][life].value(offset))


def finish(seen: History, *offsets: int) -> None:
    for offset in offsets:
        seen.was_finished(record(seen, offset))


def test_a_commit_ahead_is_seen() -> None:
    seen = history()
    finish(seen, 0, 2)
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(1))
    with pytest.raises(AssertionError, match="ahead"):
        seen.was_committed(0.0, 1, "p", A0, CommittedOffset(2))
    with pytest.raises(AssertionError, match="outside the log"):
        seen.was_committed(0.0, 1, "p", A0, CommittedOffset(11))


def test_a_commit_that_goes_back_is_seen() -> None:
    seen = history()
    finish(seen, 0, 1, 2)
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(3))
    with pytest.raises(AssertionError, match="back"):
        seen.was_committed(0.0, 2, "q", A0, CommittedOffset(2))
    seen.plan.at_most_once = True
    seen.was_committed(0.0, 2, "q", A0, CommittedOffset(1))


def test_a_commit_that_was_given_up_may_come_late() -> None:
    seen = history()
    finish(seen, 0, 1, 2)
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(3))
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(2), given_up=True)
    assert seen.ledger(A0).overtaken
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(3))
    assert not seen.ledger(A0).overtaken
    with pytest.raises(AssertionError, match="ahead"):
        seen.was_committed(0.0, 1, "p", A0, CommittedOffset(4), given_up=True)


def test_a_commit_for_a_topic_that_was_deleted_is_seen() -> None:
    seen = history()
    finish(seen, 0, 1, 2)
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(2))
    seen.begins(A0).append(10)
    with pytest.raises(AssertionError, match="ahead"):
        seen.was_committed(0.0, 1, "p", A0, CommittedOffset(3))


def test_two_owners_in_one_generation_are_seen() -> None:
    seen = history()
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(0))
    seen.was_committed(0.0, 2, "q", A0, CommittedOffset(0))
    with pytest.raises(AssertionError, match="two owners"):
        seen.was_committed(0.0, 1, "q", A0, CommittedOffset(0))


@pytest.mark.parametrize("which", ["at_most_once", "calm"])
def test_a_record_given_twice_is_seen(which: str) -> None:
    tolerant = history()
    tolerant.was_delivered(record(tolerant, 0))
    tolerant.was_delivered(record(tolerant, 0))
    seen = history(**{which: True})
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(0 if which == "calm" else 1))
    seen.was_delivered(record(seen, 0))
    with pytest.raises(AssertionError, match="twice"):
        seen.was_delivered(record(seen, 0))


def test_a_record_may_be_given_twice_where_a_commit_has_failed() -> None:
    seen = history(calm=True)
    finish(seen, 0)
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(1))
    seen.was_delivered(record(seen, 0))
    seen.was_delivered(record(seen, 1))
    seen.was_not_committed([A0])
    seen.was_delivered(record(seen, 1))
    for offset in (0, 1):
        with pytest.raises(AssertionError, match="twice"):
            seen.was_delivered(record(seen, offset))


def test_a_record_that_is_given_before_it_is_committed_is_seen() -> None:
    seen = history(at_most_once=True)
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(1))
    seen.was_delivered(record(seen, 0))
    with pytest.raises(AssertionError, match="uncommitted"):
        seen.was_delivered(record(seen, 1))


def test_a_record_in_another_one_s_place_is_seen() -> None:
    seen = history()
    with pytest.raises(AssertionError, match="comes as"):
        seen.was_delivered(make_record("a", 0, 3, None, seen.ledger(A0).value(4)))


@pytest.mark.parametrize("commit", [True, False])
def test_what_is_not_committed_in_a_transaction_is_seen(commit: bool) -> None:
    seen = history(read_committed=True)
    ledger = seen.ledger(A0)
    ledger.append(2, producer=7)
    ledger.append(1)
    assert (ledger.producers, ledger.stable, ledger.next_wanted(10)) == ([7], 10, 10)
    with pytest.raises(AssertionError, match="isolation"):
        seen.was_delivered(record(seen, 10))
    ledger.end_transaction(7, commit=commit)
    assert (ledger.producers, ledger.end, ledger.next_wanted(10)) == ([], 14, 10 if commit else 12)
    finish(seen, *range(10))
    assert ledger.done == (10 if commit else 12)
    if commit:
        seen.was_delivered(record(seen, 10))
    else:
        with pytest.raises(AssertionError, match="isolation"):
            seen.was_delivered(record(seen, 10))


def test_transactions_are_nothing_to_who_reads_everything() -> None:
    seen = history(read_committed=False)
    ledger = seen.ledger(A0)
    ledger.append(2, producer=7)
    seen.was_delivered(record(seen, 10))
    ledger.end_transaction(7, commit=False)
    assert ledger.next_wanted(11) == 11


def test_two_who_have_a_partition_are_seen() -> None:
    seen = history(calm=True)
    assert seen.was_assigned("p", A0) == (0, 0)
    with pytest.raises(AssertionError, match="overlap"):
        seen.was_assigned("q", A0)
    seen.was_given_up("p", A0)
    seen.broker.commit("g", {A0: 4})
    assert seen.was_assigned("q", A0) == (0, 4)


def test_what_is_lost_is_seen() -> None:
    seen = history()
    finish(seen, 0, 1, 3)
    assert seen.unfinished() == {A0: 2}
    seen.ledger(A0).remove([2, 4, 5])
    assert seen.unfinished() == {A0: 6}
    finish(seen, *range(6, 10))
    assert seen.unfinished() == {}
    seen.begins(A0).append(1)
    assert seen.unfinished() == {A0: 0}
    seen.ledger(A0).exists = False
    assert seen.unfinished() == {}
