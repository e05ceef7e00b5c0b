"""Starts an example as a program of its own, against the scripted broker."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def start(name: str, *arguments: str) -> subprocess.Popen[str]:
    """The example `name`; warnings are errors in it."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [sys.executable, "-u", "-W", "error", str(EXAMPLES / name), *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 60) -> tuple[str, str]:
    """Waits for its end; gives what it has printed since the last line that was read, and what it said of errors.

    `communicate` would lose the lines that are in the file object's buffer already.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    late = threading.Timer(timeout, process.kill)
    late.start()
    try:
        printed, said = process.stdout.read(), process.stderr.read()
        process.wait()
    finally:
        late.cancel()
    return printed, said


def run(name: str, *arguments: str) -> list[str]:
    """Runs it to its end, and gives what it has printed."""
    with start(name, *arguments) as process:
        printed, said = finish(process)
    assert (process.returncode, said) == (0, "")
    return printed.splitlines()
