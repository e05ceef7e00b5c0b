"""`TracedConsumer`: a consumer's engine that is recorded, and used as any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeVar

from dekaf_proto import __version__
from dekaf_proto.config import ConsumerConfig, HostPort, OffsetReset
from dekaf_proto.consumer.engine import Consumer
from dekaf_proto.events import Effect
from dekaf_proto.trace.payloads import Received
from dekaf_proto.trace.readings import Lock, NoLock, Readings
from dekaf_proto.trace.recorder import Recorder, Sink
from dekaf_proto.trace.values import References, settled

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)

#: The version of the format.
FORMAT: Final = 1
#: What a file may grow to, in bytes, unless the program says otherwise.
MAX_BYTES: Final = 1 << 30
#: The inputs and calls of an engine. All others only look.
RECORDED: Final = (
    *("resolved", "resolve_failed", "connected", "connect_failed", "receive_data", "disconnected", "handle_timeout"),
    *("set_unix_offset", "poll", "wait", "event_done", "hand_back", "close", "subscribe", "unsubscribe", "acknowledge"),
    *("assign", "incremental_assign", "incremental_unassign", "pause", "resume", "seek", "seek_to_beginning"),
    *("seek_to_end", "seek_to_committed", "seek_to_timestamp", "commit", "due", "store_offsets", "committed"),
    *("beginning_offsets", "end_offsets", "offsets_for_times", "until_end", "partitions_for", "topics"),
)


class TracedConsumer(Consumer[K, V]):
    """A Consumer that is recorded. `sink` is written to until the consumer is closed, and then closed itself.

    Payloads of records are left out unless `payloads` is true. `lock` is for programs that read in another thread than
    the one the engine runs in. The file ends early, with a line that says so, when it has `max_bytes`.
    """

    def __init__(
        self,
        config: ConsumerConfig[K, V],
        *,
        sink: Sink,
        seed: int = 0,
        unix_offset: float = 0.0,
        payloads: bool = False,
        max_bytes: int = MAX_BYTES,
        lock: Lock | None = None,
    ) -> None:
        header = _header(config, seed, unix_offset, payloads)
        readings = Readings(lock or NoLock())
        received = Received(payloads, config.receive_message_max_bytes)
        self._recorder: Final = Recorder(sink, header, received, max_bytes, readings)
        super().__init__(_with_deserializers(config, readings), seed=seed, unix_offset=unix_offset)
        self.config = config

    def effects(self) -> list[Effect]:
        """What the driver has to do, in order; each is given once."""
        effects, self._recorder.effects = self._recorder.effects, []
        return effects

    def next_deadline(self) -> float | None:
        """When `handle_timeout` has to be called at the latest."""
        with self._recorder.lock:
            due = super().next_deadline()
            self._recorder.deadline(due)
            return due

    @property
    def references(self) -> References:
        """The numbers of what lines refer to."""
        return self._recorder.references

    def flush(self) -> None:
        """Writes the line of the last input or call now, not when the next one comes."""
        self._recorder.flush()


def _recorded(name: str) -> Callable[..., Any]:
    method = getattr(Consumer, name)
    code = method.__code__
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    positional = code.co_argcount - 1

    def call(self: TracedConsumer[Any, Any], *args: Any, **kwargs: Any) -> Any:
        if len(args) > positional:
            return method(self, *args, **kwargs)  # a TypeError
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if "now" not in given:
            return method(self, *args, **kwargs)
        now = given.pop("now")
        return self._recorder.call(self, name, {key: settled(value) for key, value in given.items()}, now)

    call.__name__, call.__qualname__, call.__doc__ = name, f"TracedConsumer.{name}", method.__doc__
    return call


for _name in RECORDED:
    setattr(TracedConsumer, _name, _recorded(_name))


def _header(config: ConsumerConfig[Any, Any], seed: int, unix_offset: float, payloads: bool) -> dict[str, Any]:
    """The first line: what the engine is made of. What is secret, or can't be written, is named only."""
    options: dict[str, Any] = {}
    missing: dict[str, str] = {}
    known = config.options()
    for name, value in config._explicit().items():
        if known[name].secret:
            missing[name] = "secret"
            continue
        try:
            options[name] = json.loads(json.dumps(_option(value)))
        except TypeError:
            missing[name] = getattr(value, "__qualname__", type(value).__name__)
    return {
        "dekaf_trace": FORMAT,
        "engine": "Consumer",
        "version": __version__,
        "options": options,
        "missing": missing,
        "seed": seed,
        "unix_offset": unix_offset,
        "payloads": payloads,
    }


def _option(value: Any) -> Any:
    """An option's value as JSON takes it; `replay` makes an option of it again."""
    if isinstance(value, OffsetReset):
        return {"reset": [value.kind, value.duration_ms, value.timestamp_ms]}
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, tuple):
        return [str(item) if isinstance(item, HostPort) else item for item in value]
    return value


def _with_deserializers(config: ConsumerConfig[K, V], readings: Readings) -> ConsumerConfig[K, V]:
    """The same with deserializers that run without the lock."""
    copy = config.replace()
    for name in ("key_deserializer", "value_deserializer"):
        function = getattr(config, name)
        if function is not None:
            object.__setattr__(copy, name, readings.without_lock(function))
    return copy
