"""Whatever programs do, and whatever happens to groups: it is recorded so that it can be replayed.

`DEKAF_TRACES=500` takes that many seeds.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from dekaf_proto.consumer import Consumer
from dekaf_proto.metadata import Metadata
from dekaf_proto.trace import Replay, TracedConsumer
from tests.consumer import helpers, test_random_programs
from tests.simulation import program
from tests.simulation.world import World
from tests.trace.helpers import Lines

SEEDS = range(int(os.environ.get("DEKAF_TRACES", "2")))


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[Lines]:
    """Every consumer is recorded, here; and nobody but its program may do anything to it."""
    made: list[Lines] = []

    def consumer(config: Any, **options: Any) -> Consumer[Any, Any]:
        made.append(Lines())
        config = config.replace(metadata_max_age_ms=2_000)  # or the simulator would wait for what nobody refreshes
        return TracedConsumer(config, sink=made[-1], payloads=len(made) % 2 == 0, **options)

    for module in (helpers, program):
        monkeypatch.setattr(module, "Consumer", consumer)
    refresh = Metadata.refresh

    def refresh_of_its_own(self: Metadata) -> None:
        if not sys._getframe(1).f_globals["__name__"].startswith("tests"):
            refresh(self)

    monkeypatch.setattr(Metadata, "refresh", refresh_of_its_own)
    monkeypatch.setattr(helpers, "check_invariant", lambda *args: None)  # it looks for output, which is remembered
    return made


def check(recordings: list[Lines]) -> None:
    for recording in recordings:
        replay = Replay(recording.text.splitlines())
        assert list(replay)
        assert replay.end == ("closed" if recording.closed else None)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_program(seed: int, recordings: list[Lines]) -> None:
    test_random_programs.test_random_programs(seed)
    check(recordings)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_group(seed: int, recordings: list[Lines]) -> None:
    World(seed).run()
    check(recordings)
    assert recordings
