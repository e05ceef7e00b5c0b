"""What the targets start from: the golden vectors in tests/golden, read each time, as there is no second copy."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
SUFFIX = {"request": "Request", "response": "Response", "header": "", "data": ""}


def golden_messages() -> Iterator[tuple[str, int, bytes]]:
    """Name of the class, version, body."""
    with lzma.open(GOLDEN / "messages.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            yield line["api"] + SUFFIX[line["kind"]], line["version"], bytes.fromhex(line["hex"])


def golden_records(longest: int = 3000) -> Iterator[tuple[bool, bytes]]:
    """Logs of batches, and whether they are valid: somebody has already damaged the others."""
    with lzma.open(GOLDEN / "records.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if len(line["hex"]) <= 2 * longest:
                yield line["kind"] == "valid", bytes.fromhex(line["hex"])
