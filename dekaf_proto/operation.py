"""What takes time: `Operation`, the handle that a user sees, and the runner of *flows* behind it.

A flow is a private generator for what runs in a straight line with waits in it. It yields

    Call(node, request)   send a request and wait for the answer; what prevents that is raised in the flow
    Sleep(seconds)        wait
    Wait(condition)       wait until the condition holds (it is looked at after each input)
    All([flow, ...])      run flows side by side and wait for all of them

and gets the result back. The runner knows neither sockets nor Kafka: it hands calls to the client, and the time is what
the engine was last told. Flows are resumed from a queue at the end of an input, never from within another flow, so no
flow ever sees another one half-way through a step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from dekaf_proto.connection import AnyRequest
from dekaf_proto.errors import KafkaTimeoutError, OperationCancelledError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """Sends `request` to `node` (what that is, the client says) and gives the response.

    `max_version` bounds the version, `timeout` in seconds replaces the client's own.
    """

    node: object
    request: AnyRequest
    max_version: int | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Waits. `because` is shown if the operation times out while this is what held it up last."""

    seconds: float
    because: Exception | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Waits until `condition()` is true, or until the time `until`. `because()` is what holds it up, as for Sleep."""

    condition: Callable[[], bool]
    until: float | None = None
    because: Callable[[], Exception | None] | None = None


@dataclass(frozen=True, slots=True)
class All:
    """Runs flows side by side; gives their results in order. The first error, in order, is raised."""

    flows: Sequence[Flow[Any]]


Step = Call | Sleep | Wait | All
Flow = Generator[Step, Any, T]


class Operation(Generic[T]):
    """Something that takes time. `done` turns true once, and then `result` gives or raises its outcome."""

    __slots__ = ("_cancel", "_error", "_result", "done", "name")

    def __init__(self, name: str, cancel: Callable[[], None] | None = None) -> None:
        self.name = name
        self.done = False
        self._result: T | None = None
        self._error: Exception | None = None
        self._cancel = cancel

    def __repr__(self) -> str:
        state = "pending" if not self.done else "failed" if self._error is not None else "done"
        return f"<Operation {self.name}: {state}>"

    def result(self) -> T:
        """The outcome; raises what made the operation fail. RuntimeError while it is not done."""
        if not self.done:
            raise RuntimeError(f"{self.name} is not done")
        if self._error is not None:
            raise self._error
        return cast("T", self._result)

    @property
    def error(self) -> Exception | None:
        """What made the operation fail, None if nothing has."""
        return self._error

    def cancel(self) -> None:
        """Gives up. Requests on their way keep their place; what they do at the broker is not undone."""
        if not self.done:
            if self._cancel is not None:
                self._cancel()
            self._finish(None, OperationCancelledError(self.name))

    def _finish(self, result: T | None, error: Exception | None) -> None:
        if not self.done:
            self.done = True
            self._result = result
            self._error = error
            self._cancel = None

    @classmethod
    def completed(cls, name: str, result: T) -> Operation[T]:
        """An operation that had nothing to wait for."""
        operation: Operation[T] = cls(name)
        operation._finish(result, None)
        return operation


class _Task:
    """A flow on its way. The root of flows that run side by side is the one that was started."""

    __slots__ = ("_children", "_results", "deadline", "done", "flow", "last_error", "limit", "on_done", "operation",
                 "root", "step")  # fmt: skip

    def __init__(self, flow: Flow[Any], on_done: Callable[[Any, Exception | None], None], root: _Task | None) -> None:
        self.flow = flow
        self.on_done = on_done
        self.root = root or self
        self.step: Step | None = None
        self.deadline = 0.0
        self.done = False
        #: Of a root: what it is to the user, until when it may take, how many seconds that were.
        self.operation: Operation[Any] | None = None
        self.limit: tuple[float, float] | None = None
        self.last_error: Exception | None = None
        self._children: list[_Task] = []
        self._results: list[tuple[Any, Exception | None] | None] = []

    def cancel(self) -> None:
        """Ends the flow and what it runs; nobody is told."""
        if not self.done:
            self.done = True
            for child in self._children:
                child.cancel()
            self.flow.close()

    def start_children(self, children: list[_Task]) -> None:
        self._children = children
        self._results = [None] * len(children)

    def child_done(self, index: int, result: Any, error: Exception | None) -> bool:
        """Notes a child's outcome; whether it was the last one."""
        self._results[index] = (result, error)
        return all(r is not None for r in self._results)

    def outcome_of_children(self) -> tuple[list[Any], Exception | None]:
        outcomes = [r for r in self._results if r is not None]
        self._children, self._results = [], []
        return [result for result, _ in outcomes], next((error for _, error in outcomes if error is not None), None)

    def hindrance(self, explain: Callable[[object], Exception | None]) -> Exception | None:
        """What holds up the present step, as far as that is known."""
        if isinstance(self.step, Call):
            return explain(self.step.node)
        if isinstance(self.step, Wait):
            return None if self.step.because is None else self.step.because()
        found = (child.hindrance(explain) for child in self._children if not child.done)
        return next((error for error in found if error is not None), None)


def sooner(a: float | None, b: float | None) -> float | None:
    """The earlier one of two times, of which either may be none."""
    if a is None or (b is not None and b < a):
        return b
    return a


SendCall = Callable[[Call, Callable[[Any, Exception | None], None]], None]


class FlowRunner:
    """Runs flows. `send` takes a Call and a function for its outcome; `explain` says what holds up a call's node, for
    the text of a time-out."""

    def __init__(self, send: SendCall, explain: Callable[[object], Exception | None]) -> None:
        self._send = send
        self._explain = explain
        #: What was started and is not done, in the order in which it was.
        self._roots: dict[_Task, None] = {}
        self._running: _Task | None = None
        self._ready: deque[tuple[_Task, Any, Exception | None]] = deque()
        self._sleeping: list[_Task] = []
        self._waiting: list[tuple[_Task, Wait]] = []
        #: Something was cancelled: what waited for it can go on.
        self._disturbed = False
        self._crash: Exception | None = None
        self.now = 0.0

    def start(self, name: str, flow: Flow[T], timeout: float | None = None) -> Operation[T]:
        """Starts `flow`; the operation fails with KafkaTimeoutError when `timeout` seconds have passed."""
        operation: Operation[T] = Operation(name)
        task = _Task(flow, operation._finish, None)
        task.operation = operation
        operation._cancel = lambda: self._cancel(task)
        if timeout is not None:
            task.limit = (self.now + timeout, timeout)
        self._begin(task)
        return operation

    def start_background(self, flow: Flow[None], name: str = "background") -> Operation[None]:
        """Starts a flow of the engine's own, which may be cancelled. What it raises is a bug: `run` raises it."""
        operation: Operation[None] = Operation(name)

        def on_done(_result: None, error: Exception | None) -> None:
            operation._finish(None, error)
            if error is not None:
                self._crash = error

        task = _Task(flow, on_done, None)
        operation._cancel = lambda: self._cancel(task)
        self._begin(task)
        return operation

    def run(self, now: float) -> bool:
        """Takes every flow as far as it gets; whether any got anywhere."""
        self.now = now
        self._disturbed = False
        progress = False
        while self._wake() or self._expire():
            while self._ready:
                task, value, error = self._ready.popleft()
                if not task.done:
                    progress = True
                    self._resume(task, value, error)
            if self._crash is not None:
                raise self._crash
        return progress

    def next_deadline(self) -> float | None:
        """When `run` has to be called again at the latest."""
        if self._disturbed or self._ready:
            return self.now
        earliest: float | None = None
        for task in self._sleeping:  # none was cancelled, or something would be disturbed
            earliest = sooner(earliest, task.deadline)
        for _, wait in self._waiting:
            earliest = sooner(earliest, wait.until)
        for task in self._roots:
            if task.limit is not None:
                earliest = sooner(earliest, task.limit[0])
        return earliest

    def close(self, error: Exception) -> None:
        """Ends every flow but the one that calls this. Operations that are not done fail with `error`."""
        for task in [task for task in self._roots if task is not self._running]:
            self._cancel(task)
            if task.operation is not None:
                task.operation._finish(None, error)

    # ------------------------------------------------------------------------------------------------------ within

    def _begin(self, task: _Task) -> None:
        self._roots[task] = None
        self._ready.append((task, None, None))

    def _cancel(self, task: _Task) -> None:
        self._roots.pop(task, None)
        task.cancel()
        self._disturbed = True

    def _expire(self) -> bool:
        """Ends what has had its time, but not what has just got its answer; whether there was any."""
        due = [(task, task.limit) for task in self._roots if task.limit is not None and task.limit[0] <= self.now]
        for task, (_, seconds) in due:
            assert task.operation is not None
            why = task.last_error or task.hindrance(self._explain)
            self._cancel(task)
            task.operation._finish(None, KafkaTimeoutError(task.operation.name, seconds, why))
        return bool(due)

    def _wake(self) -> bool:
        """Moves flows whose wait is over to the queue; whether there were any."""
        if self._sleeping:
            asleep = []
            for task in self._sleeping:
                if task.deadline <= self.now:
                    self._ready.append((task, None, None))
                elif not task.done:
                    asleep.append(task)
            self._sleeping = asleep
        if self._waiting:
            waiting = []
            for pair in self._waiting:
                task, wait = pair
                if task.done:
                    continue
                if wait.condition() or (wait.until is not None and wait.until <= self.now):
                    self._ready.append((task, None, None))
                else:
                    waiting.append(pair)
            self._waiting = waiting
        return bool(self._ready)

    def _resume(self, task: _Task, value: Any, error: Exception | None) -> None:
        self._running = task.root
        try:
            step = task.flow.send(value) if error is None else task.flow.throw(error)
        except StopIteration as stop:
            self._ended(task, stop.value, None)
            return
        except Exception as raised:
            self._ended(task, None, raised)
            return
        finally:
            self._running = None
        task.step = step
        if isinstance(step, Call):
            self._send(step, lambda response, failure: self._ready.append((task, response, failure)))
        elif isinstance(step, Sleep):
            task.deadline = self.now + step.seconds
            if step.because is not None:
                task.root.last_error = step.because
            self._sleeping.append(task)
        elif isinstance(step, Wait):
            self._waiting.append((task, step))
        else:
            self._start_children(task, step)

    def _ended(self, task: _Task, result: Any, error: Exception | None) -> None:
        task.done = True
        self._roots.pop(task, None)
        task.on_done(result, error)

    def _start_children(self, task: _Task, step: All) -> None:
        def on_done(index: int) -> Callable[[Any, Exception | None], None]:
            def done(result: Any, error: Exception | None) -> None:
                if task.child_done(index, result, error):
                    self._ready.append((task, *task.outcome_of_children()))

            return done

        children = [_Task(flow, on_done(i), task.root) for i, flow in enumerate(step.flows)]
        if not children:
            self._ready.append((task, [], None))
            return
        task.start_children(children)
        self._ready.extend((child, None, None) for child in children)
