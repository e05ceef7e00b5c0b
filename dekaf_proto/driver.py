"""What the drivers of consumers have in common: options, how a call waits and a rebalance is answered, callbacks.

A call that takes time is a *script*: a generator that calls the engine, and yields what it waits for:

    a Pending     goes on when that is done
    a Rebalance   goes on when somebody has answered it with `event_done`, after telling the program's listener

It is given the time whenever it goes on. A driver runs it where the engine is: in a thread of its own, or in the
program's task. Nothing here waits, or knows a thread or a loop.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.errors import ClosedError, ConfigurationError
from dekaf_proto.events import Address, Effect, EndOfPartition, Failed, Rebalance
from dekaf_proto.operation import Operation
from dekaf_proto.wire.schema import Buffer

if TYPE_CHECKING:
    from dekaf_proto.consumer import Consumer
    from dekaf_proto.consumer.generic import FetchedRecords
    from dekaf_proto.consumer.handout import Bound

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Engine(Protocol):
    """What moves bytes and tells the time needs of an engine."""

    def resolved(self, query: int, addresses: Sequence[Address], now: float) -> None: ...
    def resolve_failed(self, query: int, error: str, now: float) -> None: ...
    def connected(self, conn: int, now: float) -> None: ...
    def connect_failed(self, conn: int, error: str, now: float) -> None: ...
    def receive_data(self, conn: int, data: Buffer, now: float) -> None: ...
    def disconnected(self, conn: int, error: str, now: float) -> None: ...
    def handle_timeout(self, now: float) -> None: ...
    def effects(self) -> Sequence[Effect]: ...
    def next_deadline(self) -> float | None: ...
    @property
    def closed(self) -> bool: ...
    def close(self, now: float, timeout: float | None = None) -> Operation[None]: ...


# -------------------------------------------------------------------------------------------------------- the options


def config_of(
    config: ConsumerConfig[Any, Any] | None, options: Mapping[str, Any], topics: Sequence[str]
) -> tuple[ConsumerConfig[Any, Any], str]:
    """The options of a consumer of `topics`, given one by one or with `config`; and what to call it in texts."""
    if config is None:
        config = ConsumerConfig(**options)
    elif not isinstance(config, ConsumerConfig):
        raise TypeError(f"config must be a ConsumerConfig, not {type(config).__name__}")
    elif options:
        config = config.replace(**options)
    if topics and config.group_id is None:
        raise ConfigurationError("group_id", "must be given with topics; without a group, use assign")
    servers = ",".join(map(str, config.bootstrap_servers))
    return config, f"Consumer({servers!r}, group_id={config.group_id!r})"


def count_of(max_records: int | None, default: int) -> int:
    """How many records a batch may have. ValueError for what can't be."""
    if max_records is None:
        return default
    if max_records < 1:
        raise ValueError(f"max_records can't be {max_records!r}")
    return max_records


# -------------------------------------------------------------------------------------------------- what to wait for


class Pending(Protocol):
    """Something to wait for: an Operation, or what is below. `cancel` is called by who gives up waiting."""

    @property
    def done(self) -> bool: ...
    def cancel(self) -> None: ...


class Signal:
    """Is done when somebody says so; to give up waiting for it changes nothing."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def cancel(self) -> None:
        """Others may wait for it."""


class FirstOf:
    """Is done as soon as one of them is. Who gives up waiting cancels the first one only."""

    __slots__ = ("_all",)

    def __init__(self, first: Pending, *others: Pending) -> None:
        self._all = (first, *others)

    @property
    def done(self) -> bool:
        """Whether one of them is done."""
        return any(pending.done for pending in self._all)

    def cancel(self) -> None:
        """Cancels the first one."""
        self._all[0].cancel()


Step = Pending | Rebalance
Steps = Generator[Step, float, T]
Script = Callable[[float], Steps[T]]


# ---------------------------------------------------------------------------------------------------------- the scripts


def _never() -> Pending | None:
    return None


def reading(
    engine: Consumer[K, V],
    now: float,
    bound: Bound | None = None,
    timeout: float | None = None,
    linger: float = 0.0,
    records: int = 1,
    busy: Callable[[], Pending | None] = _never,
) -> Steps[FetchedRecords[K, V] | Failed | EndOfPartition | None]:
    """What there is to read, or to know, up to `bound`; None if there is nothing within `timeout` seconds.

    After the first record it waits `linger` seconds more for about `records` of them. Nothing is taken before all waits
    are over: whoever gives up has lost nothing. `busy` gives what ends when another task has answered an event.
    """
    deadline = None if timeout is None else now + timeout
    while True:
        answered = busy()
        if answered is not None:
            now = yield answered
            continue
        left = None if deadline is None else max(0.0, deadline - now)
        if linger:
            now = yield engine.wait(now, left, bound)
            now = yield engine.wait(now, linger, bound, records=records)
            if busy() is not None:
                continue
        output = engine.poll(now, bound)
        if isinstance(output, Rebalance):
            now = yield output
        elif output is not None or (deadline is not None and now >= deadline):
            return output
        elif not linger:
            now = yield engine.wait(now, left, bound)


def answering(
    engine: Consumer[K, V], operation: Operation[None], now: float, busy: Callable[[], Pending | None] = _never
) -> Steps[None]:
    """Waits for `operation`, of `close` or `unsubscribe`, which itself waits until the group's events are answered.

    Who gives up does not cancel it.
    """
    while not operation.done:
        event: object = None
        ready = busy()
        if ready is None:
            try:
                event = engine.poll(now)
                ready = Signal() if isinstance(event, Rebalance) else engine.wait(now)
            except ClosedError:  # it is no member of a group: there are no events
                ready = Signal()
        if isinstance(event, Rebalance):
            now = yield event
        else:
            now = yield FirstOf(ready, operation)
            ready.cancel()
    operation.result()


# -------------------------------------------------------------------------------------------------------- the callbacks


class Callbacks:
    """The program's functions that are to be called when something is done: in order, whenever the program comes by."""

    def __init__(self, name: str, log: logging.Logger) -> None:
        self._name: Final = name
        self._log: Final = log
        self._waiting: Final[deque[tuple[Pending, Callable[[], object]]]] = deque()
        self._calling = False

    def add(self, pending: Pending, function: Callable[[], object]) -> None:
        """Calls `function` when `pending` is done and the ones before were called."""
        self._waiting.append((pending, function))

    @property
    def due(self) -> bool:
        """Whether there is one to call."""
        return bool(self._waiting) and self._waiting[0][0].done

    def call(self) -> None:
        """Calls those that are due, unless that is where the program calls from. What one raises comes out."""
        if self._calling:
            return
        self._calling = True
        try:
            while self.due:
                self._waiting.popleft()[1]()
        finally:
            self._calling = False

    def call_all(self) -> Exception | None:
        """The same, whatever they raise; gives the first of it, and logs the others."""
        first: Exception | None = None
        while self.due and not self._calling:
            try:
                self.call()
            except Exception as error:
                if first is None:
                    first = error
                else:
                    self._log.exception("%s: a callback has failed", self._name)
        return first


def raise_first(errors: Sequence[BaseException], name: str, log: logging.Logger) -> None:
    """Raises what went wrong at the end, if anything did: Ctrl+C if it is among it, else the first. Logs the rest."""
    first = next((error for error in errors if not isinstance(error, Exception)), errors[0] if errors else None)
    for error in errors:
        if error is not first:
            log.error("%s: closing it has met another error", name, exc_info=error)
    if first is not None:
        raise first
