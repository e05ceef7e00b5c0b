"""The pictures are those of the tables and the recordings, and a stale one is noticed."""

from __future__ import annotations

import re
from enum import Enum, auto
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tools import make_diagrams
from tools.diagrams import sequences, states
from tools.diagrams.sequences import Step
from tools.diagrams.states import MACHINES, Machine


def words(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", MACHINES)
def test_all_of_a_table_is_drawn(name: str) -> None:
    machine = MACHINES[name]
    edges, from_all = states._edges(machine)
    drawn = {(start.name, what, end.name) for (start, end), labels in edges.items() for what in labels}
    drawn |= {(s.name, what, end.name) for end, labels in from_all.items() for what in labels for s in machine.places}
    assert drawn == {(start.name, what.name, end.name) for (start, what), end in machine.table.items()}
    found = words(states.draw(machine))
    assert all(state.name in found for state in machine.places)
    text = " ".join(found)
    assert all(what in text for _, what, _ in drawn)


class Light(Enum):
    RED = auto()
    GREEN = auto()


class Press(Enum):
    BUTTON = auto()


def test_a_state_without_a_place_and_a_move_that_is_not_in_the_table() -> None:
    table = {(Light.RED, Press.BUTTON): Light.GREEN}
    with pytest.raises(ValueError, match="each of RED, GREEN needs a place"):
        states.draw(Machine("light", table, {Light.RED: (0, 0)}))
    places = {Light.RED: (0, 0), Light.GREEN: (1, 0)}
    with pytest.raises(ValueError, match="the table does not have BUTTON in GREEN"):
        states.draw(Machine("light", table, places, [(Light.GREEN, Press.BUTTON)]))
    assert words(states.draw(Machine("<&>", table, places))) == ["<&>", "BUTTON", "RED", "GREEN"]


def order(svg: str, *expected: str) -> None:
    found = words(svg)
    for part in expected:
        assert part in found
        found = found[found.index(part) + 1 :]


def test_what_the_sequences_tell() -> None:
    order(sequences.join(), "subscribe()", "MEMBER_ID_REQUIRED", "generation 1, leader of 1", "subscribe()",
          "REBALANCE_IN_PROGRESS", "PartitionsRevoked: orders-0, orders-1", "generation 2, leader of 2",
          "generation 2, follower", "PartitionsAssigned: orders-1")  # fmt: skip
    # A commit waits for the end of the join (G25), and one from a listener goes out at once.
    order(sequences.commit_in_rebalance(), "JoinGroup as dekaf-7bd5d47...", "commit(0 at 1)",
          "generation 2, leader of 2", "OffsetCommit, generation 2: 0 at 1", "PartitionsRevoked: orders-1",
          "commit(0 at 2, 1 at 2)", "OffsetCommit, generation 2: 0 at 2, 1 at 2", "commit: done", "event_done()",
          "PartitionsAssigned: orders-1")  # fmt: skip
    order(sequences.seek_by_time(), "3 records", "seek_to_timestamp(1700001001000)", "ListOffsets at 1700001001000",
          "offset 1", "seek_to_timestamp: done", "Fetch from 1", "2 records")  # fmt: skip


def test_steps_are_in_the_order_of_their_times() -> None:
    svg = sequences.draw("t", ["a", "b"], [Step(2.0, "a", "b", "second"), Step(1.0, "b", "a", "first")], 1.0)
    assert words(svg) == ["t", "a", "b", "0.000 s", "first", "1.000 s", "second"]


def test_stale_and_left_over_files_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {"a.svg": "<a/>", "b.svg": "<b/>"}
    monkeypatch.setattr(make_diagrams, "TARGET", tmp_path / "diagrams")
    monkeypatch.setattr(make_diagrams, "diagrams", lambda: made)
    assert make_diagrams.main(["--check"]) == 1
    assert make_diagrams.main([]) == 0
    assert make_diagrams.main(["--check"]) == 0
    (tmp_path / "diagrams" / "a.svg").write_text("another")
    (tmp_path / "diagrams" / "c.svg").write_text("old")
    assert make_diagrams.main(["--check"]) == 1
    assert re.search("writes: a.svg, c.svg$", capsys.readouterr().err.strip())
    assert make_diagrams.main([]) == 0
    assert sorted(path.name for path in (tmp_path / "diagrams").iterdir()) == ["a.svg", "b.svg"]


def test_those_in_the_docs_are_current() -> None:
    assert make_diagrams.main(["--check"]) == 0
