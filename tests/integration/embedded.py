"""The loops of docs/examples as drivers: each runs in a thread of its own, to which a scenario's calls are handed over.

What an example does itself is what is tested: moving bytes, telling the time, waiting for operations, iterating,
answering the group, closing. What it leaves to a program (the engine's other calls) is called here.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import queue
import socket
import sys
import threading
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from time import monotonic, time
from typing import Any, TypeVar

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer import Consumer as Engine
from dekaf_proto.consumer.batch import Batch
from dekaf_proto.operation import Operation
from dekaf_proto.types import TopicPartition
from tests.integration.drivers import PATIENCE, AnyRecord, Consumer, Method

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"

T = TypeVar("T")


@cache
def example(name: str) -> Any:
    """A program of docs/examples, as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def opened(driver: str, config: ConsumerConfig[Any, Any]) -> Iterator[Consumer]:
    """The example as a consumer; at the end it closes in its own way."""
    consumer = _Selectors(config) if driver == "selectors" else _Asyncio(config)
    try:
        yield consumer
    finally:
        consumer.end()


class _Embedded(Consumer):
    """What is the same for both."""

    @abstractmethod
    def _do(self, name: str, arguments: tuple[object, ...], options: dict[str, object]) -> Any:
        """Calls the engine."""

    @abstractmethod
    def _next(self, ends: bool, seconds: float) -> AnyRecord | None:
        """The next record of the iteration under way; None at its end. TimeoutError if none comes."""

    @abstractmethod
    def end(self) -> None:
        """Ends the loop and its thread."""

    def _call(self, name: str, *arguments: object, **options: object) -> Any:
        found = self._do(name, arguments, options)
        return found[arguments[0]] if name == "committed" and isinstance(arguments[0], TopicPartition) else found

    def _look(self, name: str) -> Any:
        return self._do(name, (), {})

    def _listens(self, method: Method) -> Callable[..., Any]:
        raise NotImplementedError("the examples answer the group's events themselves")

    def __iter__(self) -> Iterator[AnyRecord]:
        return self.records()

    def records(self, *, until_end: bool = False) -> Iterator[AnyRecord]:
        while (record := self._next(until_end, self.patience)) is not None:
            yield record

    def read(self, count: int, timeout: float = PATIENCE) -> list[AnyRecord]:
        deadline = monotonic() + timeout
        found = (self._next(False, deadline - monotonic()) for _ in range(count))
        return [record for record in found if record is not None]

    def attend(self, seconds: float) -> None:
        with suppress(TimeoutError):
            self._next(False, seconds)

    def batches(self, max_records: int | None = None, max_wait: float = 0.0) -> Iterator[Batch[Any, Any]]:
        raise NotImplementedError("the examples give record after record")

    def poll(self, timeout: float = PATIENCE, max_records: int | None = None) -> Batch[Any, Any]:
        raise NotImplementedError("the examples give record after record")

    def cut(self) -> int:
        raise NotImplementedError("nobody cuts an example's connections yet")


def _apply(engine: Engine[Any, Any], now: float, name: str, arguments: tuple[object, ...], options: Any) -> Any:
    if isinstance(getattr(type(engine), name), property):
        return getattr(engine, name)
    method = getattr(engine, name)
    if "now" in inspect.signature(method).parameters:
        options = {**options, "now": now}
    return method(*arguments, **options)


# ------------------------------------------------------------------------------------------------------------ selectors


class _Selectors(_Embedded):
    """Its loop turns for ever; who rings the bell has given it a job to do in between."""

    def __init__(self, config: ConsumerConfig[Any, Any]) -> None:
        self._engine = Engine(config, seed=int(time() * 1000), unix_offset=time() - monotonic())
        self._alarm, self._bell = socket.socketpair()
        self._loop = _bounded_loop()(self._engine, self._alarm)
        self._records: Iterator[AnyRecord] | None = None
        self._kind = False
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="selectors")
        self._thread.start()

    def end(self) -> None:
        def stop() -> None:
            self._stop = True

        self._hand_over(stop)
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive()
        self._alarm.close()
        self._bell.close()

    def _run(self) -> None:
        with closing(self._loop) as loop:
            while not self._stop:
                try:
                    loop.turn()
                except KeyboardInterrupt:
                    job, future = self._jobs.get(timeout=PATIENCE)
                    try:
                        future.set_result(job())
                    except Exception as error:
                        future.set_exception(error)
        self._loop.selector.close()

    def _hand_over(self, job: Callable[[], T], seconds: float = PATIENCE) -> T:
        future: Future[T] = Future()
        with self._lock:  # one at a time: the bell is for a loop that has nothing else to do
            self._jobs.put((job, future))
            self._bell.send(b"!")
            return future.result(seconds + PATIENCE)

    def _do(self, name: str, arguments: tuple[object, ...], options: dict[str, object]) -> Any:
        def job() -> Any:
            given = _apply(self._engine, monotonic(), name, arguments, options)
            if isinstance(given, Operation):
                return self._loop.result(given)
            self._loop.carry_out_effects()
            return given

        return self._hand_over(job)

    def _next(self, ends: bool, seconds: float) -> AnyRecord | None:
        def job() -> AnyRecord | None:
            loop = self._loop
            try:
                if self._records is None or self._kind is not ends:
                    bound = loop.result(self._engine.until_end(monotonic())) if ends else None
                    self._records, self._kind = loop.records(bound), ends
                loop.deadline = monotonic() + seconds
                self._engine.wait(monotonic(), seconds)  # has the loop turn at that time
                record = next(self._records, None)
            except BaseException:
                self._records = None
                raise
            finally:
                loop.deadline = None
            if record is None:
                self._records = None
            return record

        return self._hand_over(job, seconds)


@cache
def _bounded_loop() -> type[Any]:
    class Bounded(example("own_loop_selectors").Loop):  # type: ignore[misc]
        """The example's loop, which would wait for records for ever."""

        deadline: float | None = None

        def result(self, operation: Operation[Any]) -> Any:
            while not operation.done:
                if self.deadline is not None and monotonic() >= self.deadline:
                    operation.cancel()
                    raise TimeoutError("it did not come in time")
                self.turn()
            return operation.result()

    return Bounded


# -------------------------------------------------------------------------------------------------------------- asyncio


class _Asyncio(_Embedded):
    """Calls become tasks of the example's loop; those that take too long are cancelled."""

    def __init__(self, config: ConsumerConfig[Any, Any]) -> None:
        self._started: Future[tuple[asyncio.AbstractEventLoop, Any]] = Future()
        self._thread = threading.Thread(target=self._run, args=(config,), name="asyncio")
        self._thread.start()
        self._loop, self._consumer = self._started.result(PATIENCE)
        self._records: AsyncIterator[AnyRecord] | None = None
        self._kind = False

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive()

    def _run(self, config: ConsumerConfig[Any, Any]) -> None:
        async def serve() -> None:
            self._over = asyncio.Event()
            consumer = example("own_loop_asyncio").AsyncConsumer(config)
            self._started.set_result((asyncio.get_running_loop(), consumer))
            try:
                await self._over.wait()
            finally:
                await consumer.aclose()

        asyncio.run(serve())

    def _hand_over(self, job: Coroutine[Any, Any, T], seconds: float = PATIENCE) -> T:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(seconds + PATIENCE)

    def _do(self, name: str, arguments: tuple[object, ...], options: dict[str, object]) -> Any:
        async def job() -> Any:
            given = _apply(self._consumer.engine, self._consumer.now(), name, arguments, options)
            if isinstance(given, Operation):
                return await self._consumer.result(given)
            self._consumer.turn()
            return given

        return self._hand_over(job())

    def _next(self, ends: bool, seconds: float) -> AnyRecord | None:
        consumer = self._consumer

        async def job() -> AnyRecord | None:
            if self._records is None or self._kind is not ends:
                bound = await consumer.result(consumer.engine.until_end(consumer.now())) if ends else None
                self._records, self._kind = consumer.records(bound), ends
            try:
                record = await asyncio.wait_for(_following(self._records), seconds)
            except BaseException as error:
                self._records = None
                if isinstance(error, asyncio.TimeoutError):  # another class before Python 3.11
                    raise TimeoutError("it did not come in time") from None
                raise
            if record is None:
                self._records = None
            return record

        return self._hand_over(job(), seconds)


async def _following(records: AsyncIterator[AnyRecord]) -> AnyRecord | None:
    return await anext(records, None)
