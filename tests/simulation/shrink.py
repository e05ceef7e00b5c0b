"""What came of a seed, and the smallest run in which the same still comes of it.

A run is made smaller by leaving out what befalls its programs, one thing after the other, as long as what goes wrong is
still of the same kind. What is left is printed in an excerpt: what the world did, and what concerns the partitions or
the program that the failure names.
"""

from __future__ import annotations

import re
import traceback
from collections import Counter
from typing import NamedTuple

from tests.simulation.world import World

#: How many lines an excerpt has at most.
LINES = 40

_PARTITION = re.compile(r"\b[a-z]+-\d+\b")
_PROGRAM = re.compile(r"\bp\d+\.\d+\b")


class Outcome(NamedTuple):
    """What came of one run. `failure` is empty if all went well. `things`: how much befell it; `lines`: its trace, if
    something went wrong."""

    seed: int
    without: frozenset[int]
    failure: str
    happened: Counter[str]
    things: int
    lines: list[str]


def run(seed: int, without: frozenset[int] = frozenset(), *, trace: bool = False) -> Outcome:
    """One seed, but for some of what befalls it. `trace`: wanted in any case."""
    world = World(seed, without)
    failure = ""
    try:
        world.run()
    except AssertionError as error:
        failure = str(error) or traceback.format_exc(limit=-3)
    except Exception:
        failure = traceback.format_exc(limit=-3)
    lines = world.history.trace().splitlines() if failure or trace else []
    return Outcome(seed, without, failure, world.summary(), world.things, lines)


def kind(failure: str) -> str:
    """What stays of a failure in a smaller run: which oracle, or which exception, and not whom it has hit."""
    lines = failure.strip().splitlines()
    if not lines:
        return ""
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    line = _PARTITION.sub("", _PROGRAM.sub("", line.partition(";")[0]))
    return re.sub(r"\d+", "", line)[:50]


def shrink(outcome: Outcome) -> Outcome:
    """The smallest run that was found: what comes last is left out first, since it may have come too late to matter."""
    smallest, wanted = outcome, kind(outcome.failure)
    for number in reversed(range(outcome.things)):
        if number not in smallest.without:
            smaller = run(outcome.seed, smallest.without | {number})
            if kind(smaller.failure) == wanted:
                smallest = smaller
    return smallest


def excerpt(outcome: Outcome) -> list[str]:
    """The last lines of the trace that have to do with the failure."""
    names = {*_PARTITION.findall(outcome.failure), *_PROGRAM.findall(outcome.failure)}
    lines = outcome.lines
    if names:
        lines = [line for line in lines if " world " in line or names & set(re.findall(r"[\w.-]+", line))]
    left_out = len(lines) - LINES
    return [f"... {left_out} lines before", *lines[-LINES:]] if left_out > 0 else lines
