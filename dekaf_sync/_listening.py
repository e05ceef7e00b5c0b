"""The group's events: each is told to the program's listener, in the program's thread, and then answered.

A script that meets an event *visits* the thread that waits for it (see `_pump`), which calls the listener and lets the
script go on. Rules:

- Each event is answered, whatever the program does: Ctrl+C before the listener was called leaves it for the next call
  that reads or closes; Ctrl+C in the listener answers it, and so does a `close` in the listener.
- What the listener raises is noted, and raised from the call when the event is answered.
- An event for which the listener has no method is answered with no visit.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Generator, MutableSequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dekaf_proto import consumer as engine, driver
from dekaf_proto.consumer.listener import method_of
from dekaf_proto.errors import KafkaError, LocalProtocolError
from dekaf_proto.events import Rebalance
from dekaf_proto.types import TopicPartition
from dekaf_sync._pump import Script, Steps, Visit

if TYPE_CHECKING:
    from dekaf_sync._consumer import Consumer

T = TypeVar("T")


class RebalanceListener:
    """What `subscribe` takes: derive from it, or give any object that has some of these methods.

    They are called in the program's thread, from within the call or the loop that reads (or `close`, `unsubscribe`),
    between two records, and the group waits for them. They may commit, seek, pause, and ask for positions and
    `committed()`; they can't read records. What they raise comes out of the call that reads.
    """

    def on_assigned(self, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        """The group has given these partitions, besides those that there are. A seek in here is where they begin."""

    def on_revoked(self, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        """The group takes these partitions away afterwards: what is done and not committed still can be."""

    def on_lost(self, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        """These partitions are gone already, and nothing of them can be committed. By default calls `on_revoked`."""
        self.on_revoked(consumer, partitions)


class Listening:
    """The listener of one consumer, and the event that waits for an answer. Everything is for the I/O thread."""

    def __init__(self, engine: engine.Consumer[Any, Any]) -> None:
        self._engine: Final = engine
        self._event: Rebalance | None = None
        self._visit: Visit | None = None

    @property
    def told(self) -> bool:
        """Whether the listener has been called and the event is not answered."""
        return self._visit is not None and self._visit.begun

    def answer(self, error: Exception | None = None) -> None:
        """Answers the event, if one waits."""
        event, self._event, self._visit = self._event, None, None
        if event is not None:
            with suppress(KafkaError):  # the engine may have closed meanwhile
                self._engine.event_done(event, time.monotonic(), error)

    def script(
        self,
        script: driver.Script[T],
        consumer: Consumer[Any, Any] | None,
        errors: MutableSequence[Any],
        *,
        to_the_end: bool = False,
        closing: bool = False,
    ) -> Script[T | None]:
        """Runs `script` in the I/O thread, and has the listener of `consumer` called in the one that waits.

        What that raises goes to `errors`, and ends the script unless it is to be run `to_the_end`. When `closing`,
        Ctrl+C in a listener goes there too.
        """

        def steps(now: float) -> Steps[T | None]:
            if self.told:
                if not closing:
                    raise LocalProtocolError("a listener can't read records or unsubscribe: its end is waited for")
                self.answer()
            if self._event is not None:
                now = yield from self._tell(self._event, consumer, errors, closing)
            running = script(now)
            step = None
            try:
                while to_the_end or not errors:
                    step = next(running) if step is None else running.send(now)
                    if isinstance(step, Rebalance):
                        now = yield from self._tell(step, consumer, errors, closing)
                    else:
                        now = yield step
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                running.close()
            return None

        return steps

    def closing(
        self, seconds: float, consumer: Consumer[Any, Any] | None, errors: MutableSequence[BaseException]
    ) -> Script[None]:
        """Closes the engine. Who gives up waiting for that closes it at once."""

        def script(now: float) -> driver.Steps[None]:
            operation = self._engine.close(now, seconds)
            try:
                yield from driver.answering(self._engine, operation, now)
            except GeneratorExit:
                operation.cancel()
                raise

        return self.script(script, consumer, errors, to_the_end=True, closing=True)

    def abandon(self, seconds: float) -> Script[None]:
        """The same while nobody is there to be told."""
        return self.closing(seconds, None, [])

    def _tell(
        self, event: Rebalance, consumer: Consumer[Any, Any] | None, errors: MutableSequence[Any], closing: bool
    ) -> Generator[Visit, float, float]:
        self._event = event
        method = None if consumer is None else method_of(consumer._listener, event, RebalanceListener)
        raised: list[BaseException] = []

        def listen() -> None:
            assert method is not None
            try:
                visit.begun = True
                result = method(consumer, list(event.partitions))
                if isinstance(result, Coroutine):
                    result.close()
                    raise TypeError(f"{method!r} is async: a listener of dekaf_sync has plain methods")
            except Exception as error:
                raised.append(error)
            except BaseException as error:
                if not closing:
                    raise
                raised.append(error)

        if method is None:
            self.answer()
            return time.monotonic()
        visit = self._visit = Visit(listen)
        try:
            now = yield visit
        except BaseException:  # the program was interrupted, or the thread ends
            if self._event is event and visit.begun:
                self.answer()
            raise
        finally:
            self._visit = None
        errors.extend(raised)
        if self._event is event:  # if not, the listener has closed the consumer
            self.answer(next((error for error in raised if isinstance(error, Exception)), None))
        return now
