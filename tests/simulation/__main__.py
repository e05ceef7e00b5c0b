"""Runs the simulator over many seeds, and prints those that fail; with one seed, its trace.

python -m tests.simulation --seeds 1000 --jobs 2
python -m tests.simulation --first 4711            # one seed: what happened, line by line
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections import Counter
from multiprocessing import Pool
from typing import NamedTuple

from tests.simulation.world import World


class Outcome(NamedTuple):
    """What came of one seed. `failure` is empty if all went well."""

    seed: int
    failure: str
    happened: Counter[str]


def run(seed: int) -> Outcome:
    """One seed."""
    world = World(seed)
    try:
        world.run()
    except AssertionError as error:
        return Outcome(seed, str(error) or traceback.format_exc(limit=-3), world.summary())
    except Exception:
        return Outcome(seed, traceback.format_exc(limit=-3), world.summary())
    return Outcome(seed, "", world.summary())


def show(seed: int) -> bool:
    """One seed with all that happened; whether it went well."""
    world = World(seed)
    try:
        world.run()
    except Exception:
        print(world.history.trace())
        traceback.print_exc(limit=-4)
        return False
    print(world.history.trace())
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Consumer groups in virtual time.")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    parser.add_argument("--most", type=int, default=20, help="how many failures are printed")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.seeds == 1:
        return 0 if show(options.first) else 1
    began = time.perf_counter()
    failures = 0
    happened: Counter[str] = Counter()
    with Pool(options.jobs) as pool:
        seeds = range(options.first, options.first + options.seeds)
        for outcome in pool.imap_unordered(run, seeds, chunksize=10):
            happened += outcome.happened
            if outcome.failure:
                failures += 1
                if failures <= options.most:
                    print(f"seed {outcome.seed}: {outcome.failure[:600]}", flush=True)
    print(f"{options.seeds} seeds from {options.first} on, {failures} failed, {time.perf_counter() - began:.0f} s")
    print(", ".join(f"{count} {what}" for what, count in sorted(happened.items())))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
