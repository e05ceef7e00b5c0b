"""`traced`: an engine that is recorded in a file, for `Consumer(..., trace=...)`."""

from __future__ import annotations

import os
from typing import Final, TextIO, TypeVar

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.trace import Trace, TracedConsumer

K = TypeVar("K")
V = TypeVar("V")


class TraceFile:
    """The file: made with the first line, and written line by line, so that what a crash leaves is nearly all."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path: Final = os.path.abspath(path)
        self._file: TextIO | None = None

    def write(self, text: str) -> None:
        """A line."""
        if self._file is None:
            self._file = open(self._path, "w", buffering=1, encoding="ascii")  # noqa: SIM115 (closed below)
        self._file.write(text)

    def close(self) -> None:
        """The recording has ended."""
        if self._file is not None:
            self._file.close()


def traced(config: ConsumerConfig[K, V], trace: Trace | str | os.PathLike[str], seed: int) -> TracedConsumer[K, V]:
    """A recorded engine."""
    given = trace if isinstance(trace, Trace) else Trace(trace)
    return TracedConsumer(
        config,
        sink=TraceFile(given.path),
        seed=seed,
        payloads=given.payloads,
        max_bytes=given.max_bytes,
    )
