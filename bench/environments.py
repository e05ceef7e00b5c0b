"""The environments that the benchmarks compare: dekaf compiled, dekaf pure, and the peers, each from its own wheel.

`python_of("compiled")` gives an interpreter that has the compiled wheel of this checkout (and the peers), building it
on first use and after a change to the sources. The environments lie in .ci-work/bench/.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("dekaf_proto", "dekaf_sync", "dekaf_trio")

Build = Literal["compiled", "pure"]


@cache
def python_of(build: Build) -> Path:
    """An interpreter with the wheel of this checkout, compiled or pure, and the peers. It stays the same in a run."""
    folder = ROOT / ".ci-work" / "bench" / build
    python = folder / "venv" / "bin" / "python"
    stamp = folder / "stamp"
    state = _state()
    if not stamp.exists() or stamp.read_text() != state:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"building the {build} environment", file=sys.stderr)
        source = folder / "source"  # a copy: a build leaves its traces
        names = ("pyproject.toml", "setup.py", "README.md", "LICENSE", *PACKAGES)
        for name in names:
            path = ROOT / name
            (shutil.copytree if path.is_dir() else shutil.copy)(
                path, source / name if path.is_dir() else _in(source, name)
            )
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        environment = {**os.environ, "DEKAF_PURE": "1" if build == "pure" else ""}
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            f"{source}[bench,trio]",
        ]
        subprocess.run(install, check=True, env=environment)
        shutil.rmtree(source)
        stamp.write_text(state)
    found = subprocess.run(
        [python, "-c", "import dekaf_proto; print(dekaf_proto.COMPILED)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
    ).stdout.strip()
    if found != str(build == "compiled"):
        raise SystemExit(f"the {build} environment has COMPILED={found}: is there a C compiler?")
    return python


def _in(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _state() -> str:
    """Changes when a source does."""
    digest = hashlib.sha256(sys.version.encode())
    for package in (ROOT / "pyproject.toml", ROOT / "setup.py", *(ROOT / name for name in PACKAGES)):
        for path in sorted(package.rglob("*.py")) if package.is_dir() else [package]:
            digest.update(path.read_bytes())
    return digest.hexdigest()
