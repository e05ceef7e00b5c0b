#!/usr/bin/env python3
"""Holds dekaf against the golden vectors that Java made: what it reads, and what it writes.

    python tools/check_golden.py FILE ...      files of tests/java/golden-files, plain or as .xz or .gz

Messages are decoded, compared with Java's JSON and encoded again, which must give the same bytes. Records are decoded,
compared with Java's view, and valid batches of format 2 are written again. Where dekaf differs from Java on purpose,
`golden_decisions` says so for the mutation in question, and only for that. The groups of an assign file are put before
our assignors, and the answers compared.

Prints a line for each line that fails, and at the end `N passed, N failed`. Exits with 1 if anything failed or if there
was nothing to check.
"""

from __future__ import annotations

import gzip
import json
import lzma
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

# As a script this finds its siblings; dekaf itself from here too, unless it is installed.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from tools.golden_assign import check_assign_line
from tools.golden_messages import check_messages_line
from tools.golden_records import check_records_line


def open_lines(path: Path) -> TextIO:
    """A file of lines, whatever its name says it is packed with."""
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def check_line(text: str) -> list[str]:
    """What is wrong with a line; nothing, if it passes. Never raises, whatever the line holds."""
    try:
        line = json.loads(text)
        if "assignor" in line:
            return check_assign_line(line)
        return check_records_line(line) if "batches" in line else check_messages_line(line)
    except Exception as e:  # dekaf raises its own errors only, so this is a finding too (or the line is no golden line)
        return [f"{type(e).__name__}: {e}"]


def title(text: str) -> str:
    """How a line calls itself."""
    try:
        line: dict[str, Any] = json.loads(text)
        if "name" in line:
            return str(line["name"])
        if "assignor" in line:
            return f"{line['chain']} round {line['round']} ({line['change']})"
        return f"{line['api']} {line['kind']} v{line['version']} {line.get('sample', '')}".rstrip()
    except Exception:  # then it has no title
        return "?"


def check_lines(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """For each line that is not empty its number and, in one line, what is wrong with it (empty: nothing)."""
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        failures = check_line(text)
        described = "; ".join(failures)
        yield number, " ".join(f"{title(text)}: {described}".split()) if failures else ""


def main(arguments: list[str]) -> int:
    if not arguments or any(argument.startswith("-") for argument in arguments):
        print(__doc__)
        return 2
    passed = failed = 0
    empty = False
    for argument in arguments:
        found = False
        try:
            with open_lines(Path(argument)) as lines:
                for number, wrong in check_lines(lines):
                    found = True
                    if wrong:
                        failed += 1
                        print(f"{argument}:{number}: {wrong}")
                    else:
                        passed += 1
        except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as e:  # the file, not what is in it
            failed += 1
            print(f"{argument}: {type(e).__name__}: {e}")
        else:
            if not found:
                empty = True
                print(f"{argument}: no lines")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or empty else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
