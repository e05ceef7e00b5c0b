"""The group's events: each is told to the program's listener, in the task that met it, and then answered.

An event is met by the task that reads, or by one that closes or unsubscribes. Rules:

- Each event is answered, whatever the program does: also when the listener raises, is cancelled, or closes.
- While a listener runs, other tasks wait with their polling. They may commit, seek and so on; the listener may, too.
- Between taking an event and calling the listener there is no checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from dekaf_proto import consumer as engine, driver
from dekaf_proto.consumer.listener import method_of
from dekaf_proto.errors import KafkaError
from dekaf_proto.events import Rebalance
from dekaf_proto.types import TopicPartition
from dekaf_trio._pump import Pump

if TYPE_CHECKING:
    from dekaf_trio._consumer import Consumer

log = logging.getLogger("dekaf.trio")

T = TypeVar("T")


class RebalanceListener:
    """What `subscribe` takes: derive from it, or give any object that has some of these methods.

    They are called in the task that reads (or in that of `close` or `unsubscribe`), between two records, and the group
    waits for them. They may commit, seek, pause, and ask for positions and `committed()`; they can't read records. What
    they raise comes out of the call that reads. A time-out around that call cancels them too, and the group goes on all
    the same: what has to be done to the end is done in a `trio.CancelScope(shield=True)`.
    """

    async def on_assigned(self, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        """The group has given these partitions, besides those that there are. A seek in here is where they begin."""

    async def on_revoked(self, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        """The group takes these partitions away afterwards: what is done and not committed still can be."""

    async def on_lost(self, consumer: Consumer[Any, Any], partitions: list[TopicPartition]) -> None:
        """These partitions are gone already, and nothing of them can be committed. By default calls `on_revoked`."""
        await self.on_revoked(consumer, partitions)


class Listening:
    """The listener of one `consumer`, and the event that waits for an answer."""

    def __init__(self, consumer: Consumer[Any, Any], engine: engine.Consumer[Any, Any], pump: Pump) -> None:
        self.listener: object | None = None
        self._consumer: Final = consumer
        self._engine: Final = engine
        self._pump: Final = pump
        #: The event that a listener is told of, its task, and what is done when it is answered.
        self._event: Rebalance | None = None
        self._task: trio.lowlevel.Task | None = None
        self._answered = driver.Signal()

    @property
    def is_caller(self) -> bool:
        """Whether it is the listener that calls."""
        return self._event is not None and self._task is trio.lowlevel.current_task()

    def busy(self) -> driver.Pending | None:
        """What is done when the event that some task has met is answered; None if there is none."""
        return None if self._event is None else self._answered

    def answer(self, error: BaseException | None = None) -> None:
        """Answers the event, if there is one."""
        event, self._event, self._task = self._event, None, None
        if event is not None:
            self._answered.done = True
            with suppress(KafkaError):  # the engine may have closed meanwhile
                self._pump.call(lambda now: self._engine.event_done(event, now, error))

    @trio.lowlevel.enable_ki_protection
    async def run(
        self,
        script: driver.Script[T],
        errors: list[BaseException] | None = None,
        deadline: float = inf,
        waited: Callable[[], object] = lambda: None,
    ) -> T:
        """Runs `script`; `waited` is called after each wait in it.

        What a listener raises, Ctrl+C too, goes to `errors`, or comes out if there is no such list. A listener is
        cancelled at `deadline`.
        """
        steps: driver.Steps[T] | None = None

        def go_on(now: float) -> driver.Step:
            nonlocal steps
            if steps is None:
                steps = script(now)
                return next(steps)
            return steps.send(now)

        try:
            while True:
                step = self._pump.call(go_on)
                if isinstance(step, Rebalance):
                    await self._tell(step, errors, deadline)
                else:
                    await self._pump.wait(step)
                    waited()
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _tell(self, event: Rebalance, errors: list[BaseException] | None, deadline: float) -> None:
        method = method_of(self.listener, event, RebalanceListener)
        self._event, self._task, self._answered = event, trio.lowlevel.current_task(), driver.Signal()
        raised: BaseException | None = None
        try:
            if method is not None:
                with trio.CancelScope(deadline=deadline) as scope:
                    await _call(method, self._consumer, list(event.partitions))
                if scope.cancelled_caught:
                    log.error("%r: %r took longer than closing may, and was cancelled", self._consumer, method)
        except (Exception, KeyboardInterrupt) as error:
            raised = error
            if errors is None:
                raise
            errors.append(error)
        except BaseException as error:
            raised = error
            raise
        finally:
            if self._event is event:  # if not, the listener has closed the consumer
                self.answer(raised)


@trio.lowlevel.disable_ki_protection
async def _call(method: Callable[..., Any], *args: object) -> None:
    """Calls what is the program's."""
    result = method(*args)
    if not isinstance(result, Awaitable):
        raise TypeError(f"{method!r} is not async: a listener of dekaf_trio has async methods")
    await result
