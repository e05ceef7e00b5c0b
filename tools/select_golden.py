"""Chooses from full files of golden vectors what is small enough to keep in tests/golden/.

    python tools/select_golden.py FILE ...      files of tests/java/golden-files, of one seed or of several

Writes tests/golden/messages.jsonl.xz, records.jsonl.xz and assign.jsonl.xz, each if there are files of its kind; the
same files give the same selection.

Messages: each type in each version, six samples of each, from the first seed that is given. Records: every valid line
of the first seed but the long ones, of which one for each format and codec is kept; damaged ones of all seeds, since
where the damage is differs between them. Assignments: every line of the first seed, and of all the others those
where a member claims what it has no right to, which are the hard ones.
"""

from __future__ import annotations

import json
import lzma
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "tests" / "golden"

#: Characters of a line that is kept without a second thought.
SHORT = 20_000


def select_messages(lines: Iterable[str]) -> list[str]:
    chosen: dict[tuple[str, str, int, str], str] = {}
    for text in lines:
        line = json.loads(text)
        chosen.setdefault((line["api"], line["kind"], line["version"], line["sample"]), text)
    return list(chosen.values())


def select_records(lines: Iterable[str]) -> list[str]:
    chosen: dict[tuple[str, ...], str] = {}
    for text in lines:
        line = json.loads(text)
        if line["kind"] != "valid":
            chosen.setdefault((line["name"], line["hex"]), text)
        elif len(text) <= SHORT:
            chosen.setdefault((line["name"],), text)
        else:
            chosen.setdefault(("long", *line["name"].split("/")[:2]), text)
    return list(chosen.values())


def select_assignments(lines: Iterable[str]) -> list[str]:
    chosen: list[str] = []
    seen: set[tuple[str, int]] = set()
    again = False
    for text in lines:
        line = json.loads(text)
        # The first chain of a seed begins with round 0, and where it comes again another seed begins.
        again = again or (line["chain"], line["round"]) in seen
        seen.add((line["chain"], line["round"]))
        if not again or line["change"] == "stale claim":
            chosen.append(text)
    return chosen


SELECTIONS: dict[str, Callable[[Iterable[str]], list[str]]] = {
    "messages": select_messages,
    "records": select_records,
    "assign": select_assignments,
}


def kind_of(text: str) -> str:
    """Which kind of file the line is from."""
    line = json.loads(text)
    if "batches" in line:
        return "records"
    return "assign" if "assignor" in line else "messages"


def main(arguments: list[str]) -> int:
    found: dict[str, list[str]] = {}
    for path in map(Path, arguments):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if lines:
            found.setdefault(kind_of(lines[0]), []).extend(lines)
    if not found:
        print(__doc__)
        return 2
    for kind, lines in found.items():
        selected = SELECTIONS[kind](lines)
        path = TARGET / f"{kind}.jsonl.xz"
        path.write_bytes(lzma.compress("".join(selected).encode(), preset=9 | lzma.PRESET_EXTREME))
        print(f"{path.name}: {len(selected)} lines, {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
