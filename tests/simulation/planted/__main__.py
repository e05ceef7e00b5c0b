"""Plants faults in a copy of the client, one at a time, and shows the seed by which the simulator finds each.

python -m tests.simulation.planted                          # all of them, with at most 2,000 seeds each
python -m tests.simulation.planted --only "no goodbye"
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import dekaf_proto
from tests.simulation.planted.faults import FAULTS, Fault

CLIENT = Path(dekaf_proto.__file__).parent
TESTS = Path(__file__).parents[3]


class Verdict(NamedTuple):
    """Whether a fault was found, and what the simulator has said."""

    found: bool
    text: str


def hunt(fault: Fault, seeds: int) -> Verdict:
    """Runs the simulator over a client that has the fault, until the first seed that fails."""
    text = fault.plant(CLIENT.parent)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(CLIENT, folder / CLIENT.name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / fault.path).write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "tests.simulation", "--seeds", str(seeds), "--jobs", "1", "--stop", "--brief"]
        # In this order: the client comes from the copy, the tests from here.
        environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{TESTS}"}
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    failed = [line for line in ran.stdout.splitlines() if line.startswith("seed ")]
    if failed:
        return Verdict(True, failed[0])
    problem = "" if ran.returncode == 0 else f"; the simulator has ended with {ran.returncode}: {ran.stderr[-1000:]}"
    return Verdict(False, f"NOT FOUND by {seeds} seeds{problem}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.planted", description="Does the simulator find faults of the client?"
    )
    parser.add_argument("--seeds", type=int, default=2000, help="at most so many for each fault, from 0 on")
    parser.add_argument("--only", choices=[fault.name for fault in FAULTS], metavar="NAME", help="this fault only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many faults at a time")
    options = parser.parse_args()
    if dekaf_proto.COMPILED:
        parser.error("the client that is installed is compiled, so no change to its source would be noticed")
    began = time.perf_counter()
    faults = [fault for fault in FAULTS if options.only in (None, fault.name)]
    for fault in faults:
        try:
            fault.plant(CLIENT.parent)
        except LookupError as error:
            parser.error(str(error))
    found = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for fault, verdict in zip(faults, pool.map(lambda fault: hunt(fault, options.seeds), faults), strict=True):
            found += verdict.found
            print(f"{fault.name} ({fault.breaks}): {verdict.text[:200]}", flush=True)
    print(f"{found} of {len(faults)} found, {time.perf_counter() - began:.0f} s")
    return 0 if found == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
