"""docs/examples/replay.py: what it records it replays, and it notices what is another."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "replay.py"


def run_example(*arguments: object, hash_seed: int = 0) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("replay") / "session.jsonl"
    done = run_example("--record", file, hash_seed=1)
    assert (done.returncode, done.stdout) == (0, "")
    return file


def test_a_session_is_made_and_replayed() -> None:
    done = run_example()
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    for told in ("subscribe([orders])", " JOIN_GROUP v", "PartitionsAssigned ['orders-0']",
                 "<Record orders-0 offset=2 key=None value=b'tea'>", "disconnected(", "<Record orders-0 offset=4",
                 " close(", "PartitionsRevoked", " OFFSET_COMMIT v", " LEAVE_GROUP v", "Disconnect ",
                 "the same, up to its end: closed"):  # fmt: skip
        assert told in printed
        printed = printed[printed.index(told) :]  # in this order


def test_the_same_each_time(recording: Path) -> None:
    """Also where sets and dictionaries of strings have another order than when it was recorded."""
    by_bytes, whole = run_example(recording, "--piece", 1), run_example(recording, hash_seed=2)
    assert by_bytes.returncode == whole.returncode == 0
    assert by_bytes.stdout == whole.stdout


def test_another_outcome_is_named(recording: Path, tmp_path: Path) -> None:
    lines = recording.read_text().splitlines()
    number, line = next((i, json.loads(line)) for i, line in enumerate(lines) if '"receive_data"' in line)
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join([*lines[:number], json.dumps({**line, "out": []}), *lines[number + 1 :]]))
    done = run_example(other)
    assert done.returncode == 1
    assert re.search(rf"line {number + 1}, receive_data at .*: this is another\n    recorded: nothing\n", done.stderr)

    cut = tmp_path / "cut.jsonl"
    cut.write_text("\n".join(lines[:number]))
    assert "it was cut off" in run_example(cut).stdout
