"""Recordings: what an engine was told, when, and what came of it; and the proof that it comes again.

    consumer = TracedConsumer(config, sink=open("session.jsonl", "w"), seed=7)     instead of Consumer(config, seed=7)

    for step in Replay(open("session.jsonl")):                                     raises DifferenceError
        print(step.line, step.output, step.effects)

`dekaf_sync` and `dekaf_trio` record with `Consumer(..., trace="session.jsonl")`, or `trace=Trace("session.jsonl",
payloads=True)`. docs/embedding.md says what such a file is good for, and what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dekaf_proto.trace.consumer import FORMAT, MAX_BYTES, TracedConsumer
from dekaf_proto.trace.readings import Lock
from dekaf_proto.trace.recorder import Sink
from dekaf_proto.trace.replay import DifferenceError, Replay, Step

if TYPE_CHECKING:
    import os


@dataclass(frozen=True, slots=True)
class Trace:
    """What a driver is to record, for `Consumer(..., trace=...)`. A path alone stands for `Trace(path)`.

    The file is made with the first call. `payloads`: also the keys, values and headers of records, and their
    timestamps. The recording ends early when the file has `max_bytes`.
    """

    path: str | os.PathLike[str]
    payloads: bool = False
    max_bytes: int = MAX_BYTES


__all__ = ["FORMAT", "MAX_BYTES", "DifferenceError", "Lock", "Replay", "Sink", "Step", "Trace", "TracedConsumer"]
