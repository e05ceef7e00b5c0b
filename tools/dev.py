"""The two commands that a newcomer needs, on a machine with nothing but Python 3.10 or later.

    python3 tools/dev.py demo [ARGS ...]   shows dekaf at work; ARGS go to `dekaf demo`
    python3 tools/dev.py test [ARGS ...]   runs the tests; ARGS go to pytest

Each makes `.venv` beside this folder on its first run and installs the project into it, editable; later runs reuse
it until pyproject.toml or setup.py changes. Nothing else is written outside the checkout than caches (pip's,
Maven's, and Kafka's jars in ~/.cache/dekaf-java).

The tests of the core need nothing else. Those on a real Kafka (`-m integration`) need a JDK, 17 or later, and Maven,
which fetches Kafka's jars; where these are missing they are skipped, and the last lines of the run say so.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "dekaf-installed"

#: What each command installs: the demo must not wait for the tests' tools.
EXTRAS = {"demo": "[cli]", "test": "[dev]"}


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in EXTRAS:
        print(__doc__)
        return 0 if argv in (["-h"], ["--help"]) else 2
    command, arguments = argv[0], argv[1:]
    set_up(EXTRAS[command])
    if command == "demo":
        return run("-m", "dekaf_sync", "demo", *arguments)
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if missing:
        print(f"dev.py: no {' and no '.join(missing)} here: the tests on a real Kafka may be skipped (-ra says)")
    # Under coverage for .ci/run, which would otherwise have to run them twice.
    measured = ["-m", "coverage", "run"] if os.environ.get("DEKAF_COVERAGE") else []
    return run(*measured, "-m", "pytest", *arguments)


def set_up(extras: str) -> None:
    """Makes `.venv` hold the project with `extras`, as cheaply as its present state allows."""
    if sys.version_info < (3, 10):  # noqa: UP036  # whoever runs this may have any Python
        raise SystemExit(f"dev.py: dekaf needs Python 3.10 or later, this is {sys.version.split()[0]}")
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + (ROOT / "setup.py").read_bytes()).hexdigest()
    works = PYTHON.exists() and subprocess.run([PYTHON, "-c", ""], check=False).returncode == 0
    installed = STAMP.read_text().splitlines() if works and STAMP.exists() else []
    if any(line.startswith(wanted) and line.endswith(extras) for line in installed):
        return  # with these extras or, where none are wanted, with any
    if not works:
        print(f"dev.py: making {VENV}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    print(f"dev.py: installing dekaf{extras} into {VENV}", flush=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if subprocess.run([*pip, "--editable", f"{ROOT}{extras}"], check=False).returncode:
        raise SystemExit("dev.py: the installation failed, see above")
    # Written last, so that an interrupted installation is done again.
    STAMP.write_text("\n".join([*(line for line in installed if line.startswith(wanted)), wanted + extras]))


def run(*command: str) -> int:
    return subprocess.run([str(PYTHON), *command], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
