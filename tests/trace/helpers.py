"""A Setup, or a Group, whose consumers are recorded, and the replay of what was."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer import Consumer, FetchedRecords
from dekaf_proto.trace import Replay, Step, TracedConsumer
from tests.consumer.helpers import UNIX_OFFSET, Setup
from tests.group.helpers import Group


class Lines:
    """A sink in memory."""

    def __init__(self) -> None:
        self.text = ""
        self.closed = False

    def write(self, text: str) -> None:
        assert not self.closed
        assert text.endswith("\n")
        self.text += text

    def close(self) -> None:
        self.closed = True

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


class Traced(Setup):
    """`trace`: the arguments of TracedConsumer."""

    def __init__(
        self,
        *args: Any,
        trace: dict[str, Any] | None = None,
        sink: Callable[[], Lines] = Lines,
        **options: Any,
    ) -> None:
        self.trace = trace or {}
        self.sink = sink
        self.sinks: list[Lines] = []
        super().__init__(*args, **options)

    def add_consumer(self, *, seed: int = 0, **options: Any) -> Consumer[Any, Any]:
        options = {"bootstrap_servers": self.network.bootstrap_servers(), "auto_offset_reset": "earliest", **options}
        self.sinks.append(self.sink())
        traced: TracedConsumer[Any, Any] = TracedConsumer(
            ConsumerConfig(**options), sink=self.sinks[-1], seed=seed, unix_offset=UNIX_OFFSET, **self.trace
        )
        return self.network.add(traced)

    @property
    def recording(self) -> Lines:
        return self.sinks[0]

    def poll_run(self) -> FetchedRecords[Any, Any]:
        """The next run."""
        self.result(self.consumer.wait(self.now))
        output = self.poll()
        assert isinstance(output, FetchedRecords)
        return output

    def values_read(self) -> int:
        """How many records there are at the moment."""
        return len(list(self.poll_run()))

    def replay(self, **options: Any) -> list[Step]:
        """The replay of the first consumer; whatever was recorded and written."""
        assert isinstance(self.consumer, TracedConsumer)
        self.consumer.flush()
        return replay(self.recording, **options)


class TracedGroup(Traced, Group):
    """The same of a group."""


def replay(recording: Lines, **options: Any) -> list[Step]:
    steps = list(Replay(recording.text.splitlines(), **options))
    last = recording.lines[-1]
    assert steps[-1].line == (recording.lines[-2] if "end" in last else last)
    return steps
