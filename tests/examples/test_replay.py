"""docs/examples/replay.py: what it records it replays, and it notices what is another."""

from __future__ import annotations

import json
import os
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
    for told in ("subscribe(orders)", "JOIN_GROUP v", "PartitionsAssigned(", "orders-0 2: b'tea'",
                 "disconnected(2, connection reset by peer)", "orders-0 4: b'tea'", "close()", "PartitionsRevoked(",
                 "OFFSET_COMMIT v", "LEAVE_GROUP v", "Disconnect(conn="):  # fmt: skip
        assert told in printed
        printed = printed[printed.index(told) :]  # in this order


def test_the_same_each_time(recording: Path) -> None:
    by_bytes, whole = run_example(recording), run_example(recording, "--whole", hash_seed=2)
    assert by_bytes.returncode == whole.returncode == 0
    assert by_bytes.stdout == whole.stdout == run_example().stdout
    again = recording.with_suffix(".again")
    assert run_example("--record", again, hash_seed=3).returncode == 0
    assert again.read_text() == recording.read_text()


def test_another_time_or_outcome_is_noticed(recording: Path, tmp_path: Path) -> None:
    lines = recording.read_text().splitlines()
    other = tmp_path / "other.jsonl"
    for name in ("receive_data", "handle_timeout"):
        number, line = next((i, line) for i, line in enumerate(lines) if json.loads(line)[1] == name)
        now, _, args, outcome = json.loads(line)
        assert outcome  # it is the first answer, and the end of a back-off, which lead to requests
        changed = [now - 0.02, name, args, outcome] if name == "handle_timeout" else [now, name, args, []]
        other.write_text("\n".join([*lines[:number], json.dumps(changed), *lines[number + 1 :]]))
        done = run_example(other)
        assert done.returncode == 1
        assert "this is where it is another" in done.stderr
        told = [line for line in done.stdout.splitlines() if not line.startswith(" " * 12)]
        assert name in told[-1]
