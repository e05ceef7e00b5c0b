"""Failures are made small: what does not matter is left out, of the run and of its trace."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections import Counter

import pytest

from tests.simulation import __main__ as command, shrink
from tests.simulation.shrink import Outcome, excerpt, kind, run
from tests.simulation.world import World


def failing(failure: str, *lines: str, things: int = 0) -> Outcome:
    return Outcome(1, frozenset(), failure, Counter(), things, list(lines))


def test_what_does_not_matter_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs 1 and 3; without 0 something else goes wrong."""

    def fake(seed: int, without: frozenset[int]) -> Outcome:
        failure = "" if without & {1, 3} else "lost: a-1 7" if 0 not in without else "busy loop"
        return Outcome(seed, without, failure, Counter(), 5, [])

    monkeypatch.setattr(shrink, "run", fake)
    smallest = shrink.shrink(failing("lost: a-0 12", things=5))
    assert smallest.without == {2, 4}
    assert smallest.failure == "lost: a-1 7"


def test_what_is_of_one_kind() -> None:
    assert kind("order: p0.1 is given a-0 5 and not 3") == kind("order: p2.13 is given b-11 1 and not 0")
    assert kind("order: p0.1 is given a-0 5 and not 3") != kind("order: p0.1 is given a-0 5, which it does not have")
    assert kind("never: at rest; <state>") == kind("never: at rest; <other state>")
    assert kind("Traceback\n  File x, line 3\nKeyError: 3") == kind("Traceback\n  File y, line 4\nKeyError: 4")
    assert kind("") != kind("busy loop")


def test_an_excerpt_has_what_concerns_the_failure() -> None:
    lines = [
        "1 world a node stops",
        "2 p0.1 is given a-0 1",
        "3 p0.1 is given a-1 1",
        "4 p0.11 closes",
        "5 p1.2 closes",
    ]
    assert excerpt(failing("lost: a-1", *lines)) == [lines[0], lines[2]]
    assert excerpt(failing("p1.2: should have ended", *lines)) == [lines[0], lines[4]]
    assert excerpt(failing("busy loop", *lines)) == lines
    assert excerpt(failing("busy loop", *(["line"] * (shrink.LINES + 2))))[0] == "... 2 lines before"


def test_a_run_tells_what_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    well = run(7)
    assert (well.failure, well.lines) == ("", [])
    assert well.things > 0
    everything = frozenset(range(well.things))
    quiet = run(7, everything, trace=True)
    assert quiet.failure == ""
    assert not any(": one " in line for line in quiet.lines)
    assert any(": one " in line for line in run(7, trace=True).lines)

    def fails(world: World) -> None:
        world.note("here")
        raise AssertionError("lost")

    monkeypatch.setattr(World, "run", fails)
    failed = run(7)
    assert failed.failure == "lost"
    assert failed.lines[0].endswith("here")

    def breaks(world: World) -> None:
        raise KeyError("key")

    monkeypatch.setattr(World, "run", breaks)
    assert kind(run(7).failure) == "KeyError: 'key'"


def test_a_failure_says_how_it_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "shrink", lambda outcome: outcome._replace(without=frozenset({3, 0})))
    text = command.explain(failing("lost: a-0", "1 p0.1 a-0"))
    assert text.splitlines() == [
        "1 p0.1 a-0",
        "lost: a-0",
        "to see all of it: python -m tests.simulation --replay 1 --without 0,3",
    ]


def test_seeds() -> None:
    assert command.seeds("3") == range(3)
    assert command.seeds("3..5") == range(3, 6)
    for wrong in ("", "x", "3..", "5..4", "0"):
        with pytest.raises(ArgumentTypeError):
            command.seeds(wrong)
