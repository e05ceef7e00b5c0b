"""Chooses from full files of golden vectors what is small enough to keep in tests/golden/.

    python tools/select_golden.py FILE ...      messages-SEED.jsonl and records-SEED.jsonl, of one seed or of several

Writes tests/golden/messages.jsonl.xz and tests/golden/records.jsonl.xz; the same files give the same selection.

Messages: each type in each version, six samples of each, from the first seed that is given. Records: every valid line
of the first seed but the long ones, of which one for each format and codec is kept; damaged ones of all seeds, since
where the damage is differs between them.
"""

from __future__ import annotations

import json
import lzma
import sys
from collections.abc import Iterable
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


def main(arguments: list[str]) -> int:
    messages: list[str] = []
    records: list[str] = []
    for path in map(Path, arguments):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if lines and "batches" in json.loads(lines[0]):
            records += lines
        else:
            messages += lines
    if not messages or not records:
        print(__doc__)
        return 2
    for name, selected in (("messages", select_messages(messages)), ("records", select_records(records))):
        path = TARGET / f"{name}.jsonl.xz"
        path.write_bytes(lzma.compress("".join(selected).encode(), preset=9 | lzma.PRESET_EXTREME))
        print(f"{path.name}: {len(selected)} lines, {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
