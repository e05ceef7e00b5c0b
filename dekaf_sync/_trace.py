"""`traced`: an engine that is recorded in a file, for `Consumer(..., trace=...)`."""

from __future__ import annotations

import os
import threading
from typing import Any, Final, TextIO, TypeVar
from weakref import WeakSet

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.trace import Trace, TracedConsumer

K = TypeVar("K")
V = TypeVar("V")


#: The locks of all recordings: a fork must not come while another thread has one, or the child would wait for ever.
_locks: Final[WeakSet[Any]] = WeakSet()
_held: Final[list[Any]] = []


class TraceFile:
    """The file: made with the first line, and written line by line, so that what a crash leaves is nearly all."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path: Final = os.path.abspath(path)
        self._pid: Final = os.getpid()
        self._file: TextIO | None = None

    def write(self, text: str) -> None:
        """A line; not of a forked process, which shares the file."""
        if os.getpid() != self._pid:
            return
        if self._file is None:
            self._file = open(self._path, "w", buffering=1, encoding="ascii")  # noqa: SIM115 (closed below)
        self._file.write(text)

    def close(self) -> None:
        """The recording has ended."""
        if self._file is not None:
            self._file.close()


def traced(
    config: ConsumerConfig[K, V], trace: Trace | str | os.PathLike[str], seed: int, unix_offset: float
) -> TracedConsumer[K, V]:
    """A recorded engine."""
    given = trace if isinstance(trace, Trace) else Trace(trace)
    lock = threading.RLock()
    _locks.add(lock)
    return TracedConsumer(
        config,
        sink=TraceFile(given.path),
        seed=seed,
        unix_offset=unix_offset,
        payloads=given.payloads,
        max_bytes=given.max_bytes,
        lock=lock,
    )


def _before_fork() -> None:
    for lock in list(_locks):
        lock.acquire()
        _held.append(lock)


def _after_fork() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows, which has no fork)
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
