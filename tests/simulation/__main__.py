"""Runs the simulator over many seeds, on all cores, and prints those that fail: what went wrong, and what led to it.

python -m tests.simulation --seeds 2000                     # 0 to 1999
python -m tests.simulation --seeds 4000..4999               # both included
python -m tests.simulation --replay 4711                    # one seed: all that happened, line by line
python -m tests.simulation --replay 4711 --without 0,3      # the same, but for two of the things that befall it

The first few failures are shrunk: what can be left out of what befalls the programs without another outcome is.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing import Pool

from tests.simulation.shrink import Outcome, excerpt, run, shrink

#: How many failures are shrunk; each takes as long as a dozen seeds or two.
SHRUNK = 3


def seeds(text: str) -> range:
    """`A..B`, both included, or how many from 0 on."""
    first, dots, last = text.partition("..")
    try:
        found = range(int(first), int(last) + 1) if dots else range(int(first))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number or A..B, not {text!r}") from None
    if not found:
        raise argparse.ArgumentTypeError(f"there is no seed in {text!r}")
    return found


def numbers(text: str) -> frozenset[int]:
    """Numbers with commas between them."""
    return frozenset(int(number) for number in text.split(",") if number)


def replay(seed: int, without: frozenset[int]) -> int:
    """All of one run."""
    outcome = run(seed, without, trace=True)
    for line in outcome.lines:
        print(line)
    print(outcome.failure or "all went well")
    return 1 if outcome.failure else 0


def explain(outcome: Outcome) -> str:
    """What went wrong, the smallest run in which it does, and how that is replayed."""
    smallest = shrink(outcome)
    command = f"python -m tests.simulation --replay {outcome.seed}"
    if smallest.without:
        command += " --without " + ",".join(map(str, sorted(smallest.without)))
    return "\n".join([*excerpt(smallest), smallest.failure, f"to see all of it: {command}"])


def search(those: Sequence[int], jobs: int, most: int, *, stop: bool, brief: bool) -> int:
    """Runs them in order; exit status."""
    began = time.perf_counter()
    ran = failures = 0
    happened: Counter[str] = Counter()
    with Pool(jobs) as pool:
        for outcome in pool.imap(run, those, chunksize=4):
            ran += 1
            happened += outcome.happened
            if not outcome.failure:
                continue
            failures += 1
            if failures <= most:
                print(f"seed {outcome.seed}: {outcome.failure[:600]}", flush=True)
                if not brief and failures <= SHRUNK:
                    print(explain(outcome), flush=True)
            if stop:
                break
        pool.terminate()
    seconds = time.perf_counter() - began
    print(f"{ran} seeds from {those[0]} on, {failures} failed, {seconds:.0f} s")
    print(", ".join(f"{count} {what}" for what, count in sorted(happened.items())))
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Consumer groups in virtual time.")
    parser.add_argument(
        "--seeds", type=seeds, default=seeds("1000"), help="how many, from 0 on, or A..B, both included"
    )
    parser.add_argument("--replay", type=int, metavar="SEED", help="one seed, with all that happens")
    parser.add_argument(
        "--without", type=numbers, default=frozenset(), metavar="N,M", help="with --replay: what does not happen"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many processes")
    parser.add_argument("--most", type=int, default=20, help="how many failures are printed")
    parser.add_argument("--stop", action="store_true", help="stop at the first failure")
    parser.add_argument("--brief", action="store_true", help="do not look for the smallest run that fails")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.replay is not None:
        return replay(options.replay, options.without)
    return search(options.seeds, options.jobs, options.most, stop=options.stop, brief=options.brief)


if __name__ == "__main__":
    sys.exit(main())
