"""`Recorder`: writes down what an engine is told, when, and what comes of it.

A line of JSON for each input or call, with its time and its outcome; a line for what the program read in between; at
the beginning one with what the engine was made of. Nothing else goes into an engine, so that is all that it takes to
have the same again (see `replay`). Rules:

- A line is written when the next one begins: what an input leads to is known by then.
- A program may read in one thread while a driver runs the engine in another. With a `lock` the program's reading and
  the engine's work exclude each other, or nobody could say what the engine saw; a deserializer runs without it.
- Recording never gets in the way: when something can't be written it ends, and the log says so.
"""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol
from zlib import compress

from dekaf_proto.consumer.chunk import Chunk, FetchedRecords
from dekaf_proto.consumer.engine import Consumer
from dekaf_proto.consumer.handout import Bound
from dekaf_proto.errors import KafkaError
from dekaf_proto.events import Connect, Disconnect, Effect, EndOfPartition, Failed, PartitionsLost, Rebalance, Send
from dekaf_proto.operation import Operation
from dekaf_proto.trace.payloads import CannotLeaveOutError, Received, frames_of, name_of
from dekaf_proto.trace.readings import Readings, TracedRecords
from dekaf_proto.trace.values import References

log = logging.getLogger("dekaf.trace")

#: Received bytes from this size on are compressed, if they have no payloads.
_COMPRESSED_FROM: Final = 200


class Sink(Protocol):
    """Where the lines go: a text file, say."""

    def write(self, text: str, /) -> object: ...
    def close(self) -> object: ...


class Recorder:
    """The lines of one engine, and the numbers of what they refer to."""

    def __init__(
        self, sink: Sink, header: dict[str, Any], received: Received, max_bytes: int, readings: Readings
    ) -> None:
        self._readings: Final = readings
        self.lock: Final = readings.lock
        self.references: Final = References()
        self.ended = False
        #: For the driver.
        self.effects: list[Effect] = []
        self._sink = sink
        self._left = max_bytes
        self._header: dict[str, Any] | None = header
        self._payloads: Final[bool] = header["payloads"]
        self._received = received
        #: The line that is to be written.
        self._line: dict[str, Any] | None = None
        self._runs = self._operations = 0
        #: The operations that are not done.
        self._pending: dict[Operation[Any], int] = {}

    # ------------------------------------------------------------------------------------------------- what happens

    def call(self, engine: Consumer[Any, Any], name: str, given: dict[str, Any], now: float) -> Any:
        """Calls the engine, and writes it down."""
        with self.lock:
            call = partial(getattr(Consumer, name), engine, **given, now=now)
            line = {"t": now, "do": name} if self._begin() else None
            if line is not None and given:
                line["with"] = self._arguments(name, given)
            return self._do(engine, line, call)

    def cancelled(self, engine: Consumer[Any, Any], operation: Operation[Any], cancel: Callable[[], None]) -> None:
        """Somebody gives up waiting for an operation."""
        with self.lock:
            line = {"cancel": self._pending.get(operation)} if self._begin() else None
            self._do(engine, line, cancel)

    def deadline(self, due: float | None) -> None:
        """The driver has asked when to come back."""
        if self.ended:
            return
        if self._readings or self._line is None:
            self._begin()
            self._line = {"do": "next_deadline"}
        self._line["due"] = due

    def flush(self) -> None:
        """Writes what is still to be written."""
        with self.lock:
            self._begin()

    def _begin(self) -> bool:
        """Writes what came before the next line; whether there is to be one."""
        if not self.ended and self._line is not None:
            line, self._line = self._line, None
            self._write(line)
        for line in self._readings.lines():
            self._write(line)
        return not self.ended

    def _do(self, engine: Consumer[Any, Any], line: dict[str, Any] | None, call: Callable[[], Any]) -> Any:
        if line is None or self.ended:
            try:
                return call()
            finally:
                self.effects += Consumer.effects(engine)
        out: list[Any] = []
        self._line = line
        result = None
        try:
            result = call()
        except BaseException as error:
            out.append(["raised", type(error).__name__, str(error) if isinstance(error, KafkaError) else ""])
            raise
        else:
            return self._result(engine, result, out)
        finally:
            self._after(engine, out)
            if out:
                line["out"] = out
            if engine.closed:
                self._begin()
            if engine.closed and not self.ended:
                self.end("closed")

    def _after(self, engine: Consumer[Any, Any], out: list[Any]) -> None:
        """What the engine wants now, and which operations are done."""
        effects = Consumer.effects(engine)
        self.effects += effects
        out += map(self._effect, effects)
        for operation in [operation for operation in self._pending if operation.done]:
            number = self._pending.pop(operation)
            if operation.error is not None:
                out.append(["failed", number, type(operation.error).__name__, str(operation.error)])
                continue
            result = operation.result()
            if isinstance(result, Bound):
                self.references.bounds.add(result, number)
                result = result.ends
            out.append(["done", number, repr(result)])

    # --------------------------------------------------------------------------------------------------- what is said

    def _arguments(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        if name == "disconnected":
            self._received.forget(given["conn"])
        if name != "receive_data":
            return {key: self.references.encode(value) for key, value in given.items()}
        try:
            data = self._received.received(given["conn"], given["data"])
        except CannotLeaveOutError as error:
            self.end(f"a payload can't be left out: {error}")
            return {}
        if len(data) < _COMPRESSED_FROM or self._payloads:
            return {"conn": given["conn"], "data": b64encode(data).decode()}
        return {"conn": given["conn"], "packed": b64encode(compress(data, 1)).decode()}

    def _result(self, engine: Consumer[Any, Any], result: Any, out: list[Any]) -> Any:
        if isinstance(result, FetchedRecords):
            self._runs += 1
            out.append(["records", self._runs, [_described(chunk) for chunk in result.chunks]])
            for chunk in result.chunks:
                self.references.deliveries.add(chunk._delivery)
            return TracedRecords(self._readings, result, self._runs)
        if isinstance(result, Rebalance):
            cause = [result.cause] if isinstance(result, PartitionsLost) else []
            number = self.references.events.add(result)
            out.append(["event", number, type(result).__name__, [str(tp) for tp in result.partitions], *cause])
        elif isinstance(result, Failed):
            error = result.error
            out.append(["error", type(error).__name__, str(error), [str(tp) for tp in result.partitions]])
        elif isinstance(result, EndOfPartition):
            out.append(["end"])
        elif isinstance(result, Operation):
            out.append(["operation", self._operation(engine, result), result.name])
        elif result is not None:
            out.append(["result", repr(result)])
        return result

    def _operation(self, engine: Consumer[Any, Any], operation: Operation[Any]) -> int:
        number = self._pending.get(operation)
        if number is None:
            self._operations += 1
            number = self._pending[operation] = self._operations
            if operation._cancel is not None:
                operation._cancel = partial(self.cancelled, engine, operation, operation._cancel)
        return number

    def _effect(self, effect: Effect) -> list[Any]:
        if isinstance(effect, Send):
            data = self._received.sent(effect.conn, effect.data)
            return ["Send", effect.conn, ", ".join(map(name_of, frames_of(data))), b64encode(data).decode()]
        if isinstance(effect, Connect):
            return ["Connect", effect.conn, *effect.address, effect.server_name, effect.tls]
        if isinstance(effect, Disconnect):
            self._received.forget(effect.conn)
            return ["Disconnect", effect.conn]
        return ["Resolve", effect.query, effect.host, effect.port]

    # -------------------------------------------------------------------------------------------------------- the file

    def _write(self, line: dict[str, Any]) -> None:
        if self.ended:
            return
        lines = [line]
        if self._header is not None:
            lines.insert(0, self._header)
            self._header = None
        text = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in lines)
        self._left -= len(text)
        if self._left < 0:
            self.end("it has become too large")
        else:
            self._put(text)

    def end(self, why: str) -> None:
        """Writes the last line."""
        if why != "closed":
            log.warning("the recording ends: %s", why)
        self._put(json.dumps({"end": why}, separators=(",", ":")) + "\n")
        if not self.ended:
            self._finish()

    def _put(self, text: str) -> None:
        try:
            self._sink.write(text)
        except (OSError, ValueError) as error:
            log.warning("the recording ends: %s", error)
            self._finish()

    def _finish(self) -> None:
        self.ended = True
        self._readings.close()
        self._pending.clear()
        with suppress(OSError, ValueError):
            self._sink.close()


def _described(chunk: Chunk) -> list[Any]:
    return [str(chunk.tp), chunk.position, chunk.next_offset, chunk.size]
