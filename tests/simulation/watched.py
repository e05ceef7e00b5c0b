"""A consumer that counts when it is called: where nobody has called it, nothing about it can have changed.

Most of what happens in a run concerns one engine of several, but each has to be asked for its deadline at each step.
"""

from __future__ import annotations

from typing import Any

from dekaf_proto.consumer import Consumer
from dekaf_proto.wire.schema import Buffer


class Watched(Consumer[Any, Any]):
    """The consumer of a program. Who changes it without calling it, by cancelling an operation, calls `changed`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        #: How often it was called, and how often it had been when its deadline was computed.
        self.calls = 0
        self._known = -1
        self._deadline: float | None = None
        super().__init__(*args, **options)

    def changed(self) -> None:
        """Something is different now."""
        self.calls += 1

    def next_deadline(self) -> float | None:
        if self._known != self.calls:
            self._known = self.calls
            self._deadline = super().next_deadline()
        return self._deadline

    def receive_data(self, conn: int, data: Buffer, now: float) -> None:
        self.calls += 1
        super().receive_data(conn, data, now)

    def _begin(self, *args: Any, **options: Any) -> None:
        self.calls += 1
        super()._begin(*args, **options)

    def _advance(self, now: float) -> None:
        self.calls += 1
        super()._advance(now)
