"""State machines, drawn from their transition tables.

Where each state stands is said here; what leads from one to another is only in the table. What leads to one state from
all others is drawn once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from math import hypot
from typing import Any, NamedTuple

from dekaf_proto import connection, node
from dekaf_proto.consumer import partition
from dekaf_proto.group import classic
from tools.diagrams.svg import Drawing, point

COLUMN, ROW = 240, 120
HEIGHT = 34


class Machine(NamedTuple):
    """`places`: column and row of each state, the first one first. `usual`: moves that are drawn one by one though they
    are possible in any state."""

    title: str
    table: Mapping[Any, Enum]
    places: Mapping[Any, tuple[float, float]]
    usual: Sequence[tuple[Enum, Enum]] = ()


_C, _N, _P, _M = connection.State, node.NodeState, partition.PartitionPhase, classic.MemberState
_IP, _IM = partition.PartitionInput, classic.MemberInput

MACHINES = {
    "connection": Machine(
        "A connection (dekaf_proto/connection.py)",
        connection.TRANSITIONS,
        {_C.NEGOTIATING: (0, 0), _C.READY: (1.3, 0), _C.ERROR: (0, 1.3), _C.CLOSED: (1.3, 1.3)},
    ),
    "node": Machine(
        "A broker and the attempts to reach it (dekaf_proto/node.py)",
        node.TRANSITIONS,
        {
            _N.IDLE: (0, 1),
            _N.RESOLVING: (0.7, 0),
            _N.CONNECTING: (2, 0),
            _N.NEGOTIATING: (3, 1),
            _N.READY: (2.4, 2.2),
            _N.BACKOFF: (0.8, 2.2),
        },
    ),
    "partition": Machine(
        "An assigned partition (dekaf_proto/consumer/partition.py)",
        partition.TRANSITIONS,
        {
            _P.INITIALIZING: (0, 0),
            _P.AWAIT_RESET: (0, 1),
            _P.FETCHING: (1.4, 0.5),
            _P.AWAIT_VALIDATION: (2.9, 0.5),
            _P.FAILED: (1.4, 1.6),
        },
        (
            (_P.INITIALIZING, _IP.OFFSET_KNOWN),
            (_P.INITIALIZING, _IP.RESET),
            (_P.AWAIT_RESET, _IP.OFFSET_KNOWN),
            (_P.FETCHING, _IP.RESET),
        ),
    ),
    "member": Machine(
        "A member of a group (dekaf_proto/group/classic.py)",
        classic.TRANSITIONS,
        {_M.OUT: (0, 0), _M.JOINING: (1.2, 0), _M.SYNCING: (2.4, 0), _M.STABLE: (1.8, 1.2), _M.FAILED: (0, 1.2)},
        ((_M.OUT, _IM.JOIN), (_M.STABLE, _IM.JOIN), (_M.FAILED, _IM.OUT)),
    ),
}


def draw(machine: Machine) -> str:
    """The picture of a machine. ValueError if a state has no place, or if something usual is not in the table."""
    first: Enum = next(iter(machine.places))
    states = list(type(first))
    if set(states) != set(machine.places):
        raise ValueError(f"{machine.title}: each of {', '.join(state.name for state in states)} needs a place")
    if unknown := [
        f"{what.name} in {state.name}" for state, what in machine.usual if (state, what) not in machine.table
    ]:
        raise ValueError(f"{machine.title}: the table does not have {', '.join(unknown)}")
    drawing = Drawing(machine.title)
    drawing.text(20, 26, machine.title, "title", "start")
    spots = {state: (140 + column * COLUMN, 120 + row * ROW) for state, (column, row) in machine.places.items()}
    edges, from_all = _edges(machine)
    for (start, end), labels in edges.items():
        if start is end:
            _loop(drawing, spots[start], labels)
        else:
            _arrow(drawing, spots[start], spots[end], _width(start), _width(end), labels, (end, start) in edges)
    for end, labels in from_all.items():
        (x, y), side = spots[end], 1 if machine.places[end][1] >= 1 else -1  # from below, or from above
        drawing.path(f"M{point(x, y + side * (HEIGHT / 2 + 28))} L{point(x, y + side * (HEIGHT / 2 + 2))}")
        words = f"{', '.join(labels)} (in any state)"
        drawing.text(x, y + side * (HEIGHT / 2 + 36) + 4, words, "small label")
    for index, (state, (x, y)) in enumerate(spots.items()):
        drawing.box(x, y, _width(state), HEIGHT, state.name, first=index == 0)
    width = max(x for x, _ in spots.values()) + 150
    height = max(y for _, y in spots.values()) + 80
    return drawing.svg(width, height)


Edges = dict[tuple[Enum, Enum], list[str]]


def _edges(machine: Machine) -> tuple[Edges, dict[Enum, list[str]]]:
    """What leads from state to state; and what leads to a state from all."""
    states = set(machine.places)
    edges: Edges = {}
    from_all: dict[Enum, list[str]] = {}
    for what in dict.fromkeys(what for _, what in machine.table):
        ends = {state: end for (state, given), end in machine.table.items() if given is what}
        if set(ends) == states and len(set(ends.values())) == 1:
            from_all.setdefault(next(iter(ends.values())), []).append(what.name)
            ends = {state: end for state, end in ends.items() if (state, what) in machine.usual}
        for state, end in ends.items():
            edges.setdefault((state, end), []).append(what.name)
    return edges, from_all


def _width(state: Enum) -> float:
    return 24 + 8 * len(state.name)


def _loop(drawing: Drawing, at: tuple[float, float], labels: list[str]) -> None:
    x, top = at[0], at[1] - HEIGHT / 2
    drawing.path(f"M{point(x - 16, top)} C{point(x - 26, top - 34)} {point(x + 26, top - 34)} {point(x + 16, top - 1)}")
    drawing.text(x, top - 30, ", ".join(labels), "small label")


def _arrow(
    drawing: Drawing,
    start: tuple[float, float],
    end: tuple[float, float],
    start_width: float,
    end_width: float,
    labels: list[str],
    both: bool,
) -> None:
    """A slightly bent line, so that two between the same states do not meet."""
    (x1, y1), (x2, y2) = start, end
    length = hypot(x2 - x1, y2 - y1)
    bend = 34 if both else 12
    middle = (x1 + x2) / 2 + (y2 - y1) / length * bend, (y1 + y2) / 2 - (x2 - x1) / length * bend
    control = 2 * middle[0] - (x1 + x2) / 2, 2 * middle[1] - (y1 + y2) / 2
    share = 0.4  # of the way, so that the labels of lines that cross do not
    weights = (1 - share) ** 2, 2 * share * (1 - share), share**2
    spot = [sum(w * c for w, c in zip(weights, cs, strict=True)) for cs in zip(start, control, end, strict=True)]
    first = _border(start, control, start_width)
    last = _border(end, control, end_width)
    drawing.path(f"M{point(*first)} Q{point(*control)} {point(*last)}")
    drawing.text(spot[0], spot[1] + 4, ", ".join(labels), "small label")


def _border(box: tuple[float, float], towards: tuple[float, float], width: float) -> tuple[float, float]:
    """Where the line from the middle of a box leaves it, and a pixel more."""
    dx, dy = towards[0] - box[0], towards[1] - box[1]
    scale = min((width / 2 + 1) / abs(dx) if dx else 1e9, (HEIGHT / 2 + 1) / abs(dy) if dy else 1e9)
    return box[0] + dx * scale, box[1] + dy * scale
