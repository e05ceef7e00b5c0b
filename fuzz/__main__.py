"""python -m fuzz [--target NAME] [--inputs N] [--seed S] [--runner atheris|mutations] [--keep FOLDER]
python -m fuzz --target NAME --replay FILE

Runs each target (frames, messages, payloads, records), or one of them, with N inputs each. What breaks an invariant is
written to a file, which --replay runs again. --keep: a folder in which atheris keeps the inputs that it found
interesting, for the next run.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fuzz import mutations

TARGETS = ("frames", "messages", "payloads", "records")
ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__, add_help=True)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runner", choices=("atheris", "mutations"))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--replay", type=Path)
    options = parser.parse_args(arguments)
    if options.replay is not None:
        if options.target is None:
            parser.error("--replay needs --target")
        importlib.import_module(f"fuzz.{options.target}").fuzz_one(options.replay.read_bytes())
        print(f"{options.target}: the input of {options.replay} is as it should be")
        return 0
    runner = options.runner
    if runner is None:
        runner = "atheris" if importlib.util.find_spec("atheris") else "mutations"
        if runner == "mutations":
            print("no atheris here: inputs are changed at random, without looking at what they reach")
    failed = 0
    for target in [options.target] if options.target else TARGETS:
        began = time.monotonic()
        run = with_atheris if runner == "atheris" else with_mutations
        passed, result = run(target, options.inputs, options.seed, options.keep)
        seconds = time.monotonic() - began
        print(f"{target}: {result} ({runner}, seed {options.seed}, {seconds:.0f} s)", flush=True)
        failed += not passed
    return 1 if failed else 0


def with_mutations(target: str, inputs: int, seed: int, keep: Path | None) -> tuple[bool, str]:
    """Runs a target with inputs from `mutations`; whether all passed, and how that is said."""
    module = importlib.import_module(f"fuzz.{target}")
    try:
        mutations.run(module.fuzz_one, list(module.seeds()), inputs, seed)
    except mutations.Failed as e:
        traceback.print_exception(e.__cause__)
        path = Path(f"fuzz-{target}-{hashlib.sha256(e.data).hexdigest()[:12]}")
        path.write_bytes(e.data)
        return False, f"FAILED at {e}, which is in {path}"
    return True, f"{inputs} inputs passed"


def with_atheris(target: str, inputs: int, seed: int, keep: Path | None) -> tuple[bool, str]:
    """Runs a target under atheris, from the same corpus; likewise."""
    with tempfile.TemporaryDirectory(prefix="dekaf-fuzz-") as folder:
        corpus = Path(folder)
        for data in importlib.import_module(f"fuzz.{target}").seeds():
            (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        folders = [str(corpus)]
        if keep is not None:
            (keep / target).mkdir(parents=True, exist_ok=True)
            folders.insert(0, str(keep / target))  # libFuzzer writes to the first one
        limits = [f"-max_len={mutations.LONGEST}", f"-timeout={mutations.TIMEOUT}", "-rss_limit_mb=2048"]
        options = [f"-atheris_runs={inputs}", f"-seed={seed}", *limits, f"-artifact_prefix=fuzz-{target}-"]
        done = subprocess.run(
            [sys.executable, "-m", "fuzz.with_atheris", target, *folders, *options],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-6000:], sep="\n")
        return False, f"FAILED with exit code {done.returncode}"
    # What was done, not what was asked for: a run that ended early must not pass for a whole one.
    counted = re.search(r"^Done (\d+) ", done.stderr, re.MULTILINE)
    number = int(counted[1]) if counted else 0
    return number >= inputs, f"{number} inputs passed" if number >= inputs else f"FAILED after {number} of {inputs}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
