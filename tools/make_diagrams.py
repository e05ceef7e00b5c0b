"""Writes docs/diagrams/: state machines from their transition tables, sequences from recorded sessions.

    python tools/make_diagrams.py [--check]

`--check` writes nothing, and fails if a file is not what would be written. Everything is made with fixed seeds in
virtual time, so it comes out the same each time.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "diagrams"


def diagrams() -> dict[str, str]:
    """File name -> content."""
    from tools.diagrams import sequences, states

    made = {f"{name}.svg": states.draw(machine) for name, machine in states.MACHINES.items()}
    return {**made, **{f"{name}.svg": scenario() for name, scenario in sequences.SCENARIOS.items()}}


def main(arguments: list[str]) -> int:
    """The exit status."""
    sys.path.insert(0, str(ROOT))
    made = diagrams()
    there = {path.name: path.read_text(encoding="utf-8") for path in TARGET.glob("*.svg")}
    if "--check" in arguments:
        wrong = sorted(name for name in {*made, *there} if made.get(name) != there.get(name))
        if wrong:
            print(f"not what tools/make_diagrams.py writes: {', '.join(wrong)}", file=sys.stderr)
        return 1 if wrong else 0
    TARGET.mkdir(exist_ok=True)
    for name in there:
        (TARGET / name).unlink()
    for name, text in made.items():
        (TARGET / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # connections break on purpose
    sys.exit(main(sys.argv[1:]))
