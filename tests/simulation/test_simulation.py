"""A few dozen seeds of the simulator; `python -m tests.simulation` runs as many as you like.

What the oracles say is worth something if they can say no: each is shown a history that breaks it.
"""

from __future__ import annotations

import pytest

from dekaf_proto.broker import Broker, CommittedOffset
from dekaf_proto.records import make_record
from dekaf_proto.types import TopicPartition
from tests.simulation.history import History
from tests.simulation.plan import Plan, plan_of
from tests.simulation.world import World

A0 = TopicPartition("a", 0)


@pytest.mark.parametrize("seed", range(30))
def test_a_seed(seed: int) -> None:
    World(seed).run()


def test_a_seed_is_a_run() -> None:
    traces = [World(7).run().trace() for _ in range(2)]
    assert traces[0] == traces[1]


def history(**changes: object) -> History:
    plan: Plan = plan_of(0)
    plan.calm = plan.at_most_once = False
    for name, value in changes.items():
        setattr(plan, name, value)
    broker = Broker()
    broker.create_topic("a", 1)
    broker.append("a", 0, [b"%d" % number for number in range(10)], 0.0)
    return History(plan, broker)


def test_a_commit_ahead_is_seen() -> None:
    seen = history()
    seen.was_finished(make_record("a", 0, 0, None, b""))
    seen.was_finished(make_record("a", 0, 2, None, b""))
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(1))
    with pytest.raises(AssertionError, match="ahead"):
        seen.was_committed(0.0, 1, "p", A0, CommittedOffset(2))
    with pytest.raises(AssertionError, match="outside the log"):
        seen.was_committed(0.0, 1, "p", A0, CommittedOffset(11))


def test_a_commit_that_goes_back_is_seen() -> None:
    seen = history()
    for offset in range(3):
        seen.was_finished(make_record("a", 0, offset, None, b""))
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(3))
    with pytest.raises(AssertionError, match="back"):
        seen.was_committed(0.0, 2, "q", A0, CommittedOffset(2))
    seen.plan.at_most_once = True
    seen.was_committed(0.0, 2, "q", A0, CommittedOffset(1))


def test_a_commit_that_was_given_up_may_come_late() -> None:
    seen = history()
    for offset in range(3):
        seen.was_finished(make_record("a", 0, offset, None, b""))
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(3))
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(2), given_up=True)
    assert seen.overtaken == {A0}
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(3))
    assert seen.overtaken == set()
    with pytest.raises(AssertionError, match="ahead"):
        seen.was_committed(0.0, 1, "p", A0, CommittedOffset(4), given_up=True)


def test_two_owners_in_one_generation_are_seen() -> None:
    seen = history()
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(0))
    seen.was_committed(0.0, 2, "q", A0, CommittedOffset(0))
    with pytest.raises(AssertionError, match="two owners"):
        seen.was_committed(0.0, 1, "q", A0, CommittedOffset(0))


@pytest.mark.parametrize("which", ["at_most_once", "calm"])
def test_a_record_given_twice_is_seen(which: str) -> None:
    record = make_record("a", 0, 0, None, b"")
    tolerant = history()
    tolerant.was_delivered(record)
    tolerant.was_delivered(record)
    seen = history(**{which: True})
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(0 if which == "calm" else 1))
    seen.was_delivered(record)
    with pytest.raises(AssertionError, match="twice"):
        seen.was_delivered(record)


def test_a_record_that_is_given_before_it_is_committed_is_seen() -> None:
    seen = history(at_most_once=True)
    seen.was_committed(0.0, 1, "p", A0, CommittedOffset(1))
    seen.was_delivered(make_record("a", 0, 0, None, b""))
    with pytest.raises(AssertionError, match="uncommitted"):
        seen.was_delivered(make_record("a", 0, 1, None, b""))


def test_two_who_have_a_partition_are_seen() -> None:
    seen = history(calm=True)
    assert seen.was_assigned("p", A0) == 0
    with pytest.raises(AssertionError, match="overlap"):
        seen.was_assigned("q", A0)
    seen.was_given_up("p", A0)
    seen.broker.commit("g", {A0: 4})
    assert seen.was_assigned("q", A0) == 4


def test_what_is_lost_is_seen() -> None:
    seen = history()
    for offset in (0, 1, 3):
        seen.was_finished(make_record("a", 0, offset, None, b""))
    assert seen.unfinished() == {A0: 2}
    for offset in range(10):
        seen.was_finished(make_record("a", 0, offset, None, b""))
    assert seen.unfinished() == {}
