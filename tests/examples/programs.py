"""Starts an example as a program of its own, against the scripted broker."""

from __future__ import annotations

import os
import subprocess
import sys
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


def run(name: str, *arguments: str) -> list[str]:
    """Runs it to its end, and gives what it has printed."""
    with start(name, *arguments) as process:
        printed, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    return printed.splitlines()
