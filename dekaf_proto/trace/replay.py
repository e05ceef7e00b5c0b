"""`Replay`: says to a new engine what a recording says, and compares what comes of it.

The new engine is recorded too: what has to be the same is the recording, line by line, but for the arguments.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple
from zlib import decompress

from dekaf_proto import __version__
from dekaf_proto.config import ConsumerConfig, OffsetReset
from dekaf_proto.consumer.engine import Consumer
from dekaf_proto.events import Effect
from dekaf_proto.operation import Operation
from dekaf_proto.trace.consumer import FORMAT, TracedConsumer
from dekaf_proto.trace.readings import TracedRecords
from dekaf_proto.trace.text import brief, differences, shown

#: A program may read on in runs that are not the last one; not in older ones than this.
_RUNS_KEPT: Final = 64
_DESERIALIZERS: Final = ("key_deserializer", "value_deserializer")


class Step(NamedTuple):
    """One line of a recording, replayed: what it says, and what came of it.

    `output` is what the call gave; of a line that says what the program has read, the records (and errors) in a list.
    """

    number: int
    line: dict[str, Any]
    output: Any
    effects: list[Effect]

    def __str__(self) -> str:
        read = [f"{'':15}{record!r}" for record in self.output] if "run" in self.line else []
        return "\n".join([shown(self.line), *read])


class DifferenceError(Exception):
    """Something else came of a line than what was recorded. `number` is the line's, from 1."""

    def __init__(self, number: int, recorded: dict[str, Any], replayed: dict[str, Any] | None, version: str) -> None:
        self.number = number
        self.recorded = recorded
        self.replayed = replayed
        text = [f"line {number}, {brief(recorded)}: this is another"]
        if version != __version__:
            text[0] += f" (recorded by dekaf {version}, this is {__version__})"
        super().__init__("\n".join([*text, *differences(recorded, replayed or {})]))


class Replay:
    """An engine that is told what `lines` say. Iterating does it, step by step, and raises DifferenceError.

    `options` are those that the recording can't have, such as an assignor of one's own: ValueError if one is missing.
    What deserializers made of the payloads is not replayed: records come as bytes, or as zeros where the payloads were
    left out. `piece`: hand in what was received in pieces of so many bytes.

    When the iteration ends, `end` says why the recording does; None: it was cut off.
    """

    def __init__(self, lines: Iterable[str], *, piece: int | None = None, **options: Any) -> None:
        self._lines = iter(lines)
        self._number = 0
        self._piece = piece
        header = self._read()
        if header is None or header.get("dekaf_trace") != FORMAT or header.get("engine") != "Consumer":
            raise ValueError(f"this is no recording of a Consumer in format {FORMAT}")
        #: What the engine is made of.
        self.header: Final[dict[str, Any]] = header
        self.end: str | None = None
        given = {name: _option(value) for name, value in header["options"].items()}
        for name, what in header["missing"].items():
            if name in _DESERIALIZERS:
                given[name] = self._deserialize
            elif name not in options:
                raise ValueError(f"the recording does not have the option {name} ({what}): pass it as {name}=...")
        self._expected: deque[tuple[int, dict[str, Any]]] = deque()
        self._steps: deque[Step] = deque()
        self._operations: dict[int, Operation[Any]] = {}
        self._runs: dict[int, TracedRecords] = {}
        self._error: BaseException | None = None
        #: The run that is being read, and how many of its records were handed out before; how many more are when the
        #: engine is told something in a deserializer, as the line says, and when one fails.
        self._reading: tuple[TracedRecords, int] | None = None
        self._inside: int | None = None
        self._fails: int | None = None
        #: The recording ends in there.
        self._cut = False
        self.consumer: Final[TracedConsumer[Any, Any]] = TracedConsumer(
            ConsumerConfig(**{**given, **options}),
            sink=self,
            seed=header["seed"],
            unix_offset=header["unix_offset"],
            payloads=header["payloads"],
            max_bytes=1 << 62,
        )

    def __iter__(self) -> Iterator[Step]:
        while (line := self._next()) is not None:
            self._step(line)
            while self._steps:
                yield self._steps.popleft()

    # ------------------------------------------------------------------------------------------ the sink of the engine

    def write(self, text: str) -> None:
        """A line of the new engine."""
        for line in map(json.loads, text.splitlines()):
            if "dekaf_trace" in line or "end" in line:
                continue
            number, expected = self._expected.popleft()
            if _outcome(line) != _outcome(expected):
                raise self._difference(number, expected, line)

    def close(self) -> None:
        """The new engine is closed."""

    # ------------------------------------------------------------------------------------------------------ the lines

    def _read(self) -> dict[str, Any] | None:
        text = next(self._lines, "")
        self._number += 1
        try:
            line = json.loads(text)
        except ValueError:  # the program ended while it wrote this
            return None
        return line if isinstance(line, dict) else None

    def _next(self) -> dict[str, Any] | None:
        line = self._read() if self.end is None else None
        if line is not None and "end" in line:
            self.end = line["end"]
            return None
        return line

    def _step(self, line: dict[str, Any]) -> None:
        number = self._number
        self._expected.append((number, line))
        if "do" in line:
            output = self._call(line)
        elif "cancel" in line:
            self._operations[line["cancel"]].cancel()
            output = None
        else:
            output = self._reads(number, line)
        if self._cut:
            return
        self._note(line, output)
        if "due" in line:
            self.consumer.next_deadline()
        self.consumer.flush()
        if self._expected and self._expected[-1][0] == number:
            raise self._difference(number, line, None)
        self._steps.append(Step(number, line, output, self.consumer.effects()))

    def _call(self, line: dict[str, Any]) -> Any:
        name, now = line["do"], line.get("t", 0.0)
        given = line.get("with", {})
        if name == "next_deadline":
            return None
        if name == "receive_data":
            packed = given.get("packed")
            data = b64decode(given["data"]) if packed is None else decompress(b64decode(packed))
            size = self._piece or max(1, len(data))
            *pieces, last = [data[i : i + size] for i in range(0, len(data), size)] or [b""]
            for piece in pieces:
                Consumer.receive_data(self.consumer, given["conn"], piece, now)
            given = {"conn": given["conn"], "data": last}
        else:
            given = {key: self.consumer.references.decode(value) for key, value in given.items()}
        try:
            return getattr(self.consumer, name)(**given, now=now)
        except Exception as error:
            self._error = error  # the outcome tells whether it should be
            return error

    def _note(self, line: dict[str, Any], output: Any) -> None:
        """What later lines may refer to."""
        for what, number, *_ in (entry for entry in line.get("out", ()) if len(entry) > 1):
            if what == "operation":
                self._operations[number] = output
            elif what in ("done", "failed"):
                self._operations.pop(number, None)
            elif what == "records":
                self._runs[number] = output
                self._runs.pop(number - _RUNS_KEPT, None)

    # ------------------------------------------------------------------------------------------------------- readings

    def _reads(self, number: int, line: dict[str, Any]) -> list[Any]:
        run = self._runs.get(line["run"])
        if run is None:
            raise self._difference(number, line, None)
        self._reading = run, run.handed_out
        self._expect(line)
        output: list[Any] = []
        if "stop" in line:
            run.stopped = True
        elif "take" in line:
            _append(output, lambda: output.extend(run.take(line["take"])))
        for _ in range(line.get("next", 0)):
            _append(output, lambda: output.append(next(run)))
        for _ in range(line.get("finish", 0)):
            run.finish()
        return output

    def _expect(self, line: dict[str, Any]) -> None:
        got = line.get("got", 0)
        self._inside = got if "inside" in line else None
        self._fails = got if "failed" in line else None

    def _deserialize(self, data: bytes) -> bytes:
        """Where the program's deserializer was called: fails if that did, and goes on where it was interrupted."""
        assert self._reading is not None  # nothing else decodes records
        run, before = self._reading
        handed_out = run.handed_out - before
        while self._inside == handed_out:
            self._nest()
            self._reading = run, before
        if self._fails == handed_out:
            raise ValueError("a deserializer has failed here")
        return data

    def _nest(self) -> None:
        """What happened while the program was in a deserializer."""
        self._inside = None
        while (line := self._next()) is not None:
            if "goes on" in line:
                self._expected.append((self._number, line))
                self._expect(line)
                return
            self._step(line)
        self._cut = True

    def _difference(self, number: int, recorded: dict[str, Any], replayed: dict[str, Any] | None) -> DifferenceError:
        difference = DifferenceError(number, recorded, replayed, self.header["version"])
        difference.__cause__ = self._error
        return difference


def _append(output: list[Any], read: Any) -> None:
    try:
        read()
    except StopIteration:
        pass
    except Exception as error:
        output.append(error)


def _option(value: Any) -> Any:
    return OffsetReset(*value["reset"]) if isinstance(value, dict) else value


def _outcome(line: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same. The text of what a call raises may quote an argument that is only like the real one."""
    out = [entry[:2] if entry[0] == "raised" else entry for entry in line.get("out", ())]
    return {**line, "with": None, "out": out}
