"""Operations and the runner of flows, with calls that a test answers by hand."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from dekaf_proto.errors import ClosedError, ConnectionLostError, KafkaTimeoutError, OperationCancelledError
from dekaf_proto.messages.metadata import MetadataRequest
from dekaf_proto.operation import All, Call, Flow, FlowRunner, Operation, Sleep, Wait

REQUEST = MetadataRequest()


class Bench:
    """A runner, and the calls that its flows have made."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call, Callable[[Any, Exception | None], None]]] = []
        self.reason: Exception | None = None
        self.runner = FlowRunner(lambda call, on_done: self.calls.append((call, on_done)), lambda node: self.reason)
        self.log: list[object] = []

    def start(self, flow: Flow[Any], timeout: float | None = None, name: str = "op") -> Operation[Any]:
        operation = self.runner.start(name, flow, timeout)
        self.runner.run(self.runner.now)
        return operation

    def answer(self, index: int, value: object = None, error: Exception | None = None) -> None:
        """The outcome of a call, in an input of its own."""
        self.calls[index][1](value, error)
        self.runner.run(self.runner.now)

    def at(self, now: float) -> bool:
        return self.runner.run(now)

    def call(self, node: object, mark: object = None) -> Flow[Any]:
        """A flow that makes a call, logs how it ends, and gives its answer."""
        mark = node if mark is None else mark
        try:
            value = yield Call(node, REQUEST)
        except Exception as error:
            self.log.append((mark, error))
            raise
        finally:
            self.log.append((mark, "left"))
        return value

    def sleep(self, seconds: float, because: Exception | None = None) -> Flow[str]:
        yield Sleep(seconds, because)
        return "slept"


# ----------------------------------------------------------------------------------------------------------- the handle


def test_an_operation_from_begin_to_end() -> None:
    bench = Bench()
    operation = bench.start(bench.call(1))
    assert repr(operation) == "<Operation op: pending>"
    with pytest.raises(RuntimeError, match="op is not done"):
        operation.result()
    bench.answer(0, "value")
    assert operation.done
    assert operation.result() == operation.result() == "value"
    assert operation.error is None
    assert repr(operation) == "<Operation op: done>"
    operation.cancel()  # too late: nothing happens
    assert operation.result() == "value"


def test_an_operation_that_fails() -> None:
    bench = Bench()
    operation = bench.start(bench.call(1))
    error = ConnectionLostError("broker 1")
    bench.answer(0, None, error)
    assert operation.error is error
    assert repr(operation) == "<Operation op: failed>"
    for _ in range(2):
        with pytest.raises(ConnectionLostError):
            operation.result()


def test_an_operation_that_had_nothing_to_do() -> None:
    operation = Operation.completed("nothing", 7)
    assert operation.done
    assert operation.result() == 7
    operation.cancel()
    assert operation.result() == 7


def test_an_operation_without_a_flow_can_be_cancelled() -> None:
    operation: Operation[None] = Operation("close")
    operation.cancel()
    operation._finish(None, None)  # whoever works on it comes too late
    with pytest.raises(OperationCancelledError, match="close"):
        operation.result()


# ------------------------------------------------------------------------------------------------------------ the steps


def test_calls_and_their_outcomes() -> None:
    bench = Bench()

    def flow() -> Flow[list[object]]:
        got: list[object] = [(yield Call("a", REQUEST, 3, 1.5))]
        try:
            yield Call("b", REQUEST)
        except ConnectionLostError as error:
            got.append(error)
        return got

    operation = bench.start(flow())
    assert bench.calls[0][0] == Call("a", REQUEST, max_version=3, timeout=1.5)
    bench.answer(0, "first")
    error = ConnectionLostError("b")
    bench.answer(1, None, error)
    assert operation.result() == ["first", error]


def test_sleep() -> None:
    bench = Bench()
    operation = bench.start(bench.sleep(2.0))
    assert bench.runner.next_deadline() == 2.0
    assert not bench.at(1.9)
    assert not operation.done
    assert bench.at(2.0)
    assert operation.result() == "slept"
    assert bench.runner.next_deadline() is None


def test_wait_for_a_condition_or_a_time() -> None:
    bench = Bench()
    ready = [False]

    def flow(until: float | None) -> Flow[bool]:
        yield Wait(lambda: ready[0], until)
        return ready[0]

    endless, bounded = bench.start(flow(None)), bench.start(flow(3.0))
    assert bench.runner.next_deadline() == 3.0
    bench.at(2.0)
    assert not endless.done
    assert not bounded.done
    bench.at(3.0)
    assert bounded.result() is False
    assert bench.runner.next_deadline() is None
    ready[0] = True
    bench.at(3.0)
    assert endless.result() is True


def test_flows_side_by_side_give_their_results_in_order() -> None:
    bench = Bench()

    def flow() -> Flow[list[object]]:
        none = yield All([])
        some: list[object] = yield All([bench.call(1), bench.sleep(1.0), bench.call(2)])
        return [*none, *some]

    operation = bench.start(flow())
    bench.answer(1, "second")
    bench.at(1.0)
    bench.answer(0, "first")
    assert operation.result() == ["first", "slept", "second"]


def test_the_first_error_in_order_is_raised_after_all_are_done() -> None:
    bench = Bench()

    def flow() -> Flow[None]:
        yield All([bench.call(1), bench.call(2), bench.call(3)])

    operation = bench.start(flow())
    late, early = ConnectionLostError("2"), ConnectionLostError("3")
    bench.answer(2, None, early)
    bench.answer(1, None, late)
    assert not operation.done
    bench.answer(0, "fine")
    assert operation.error is late


def test_a_flow_never_sees_another_one_half_way() -> None:
    bench = Bench()
    inside = [0]

    def flow() -> Flow[None]:
        for _ in range(3):
            inside[0] += 1
            bench.runner.start("other", other())
            bench.log.append(inside[0])
            inside[0] -= 1
            yield Sleep(0)

    def other() -> Flow[None]:
        assert inside[0] == 0
        yield from ()

    bench.start(flow())
    bench.start(flow())
    bench.at(1.0)
    assert bench.log == [1] * 6


def test_what_was_started_first_takes_its_step_first() -> None:
    bench = Bench()

    def flow(mark: int) -> Flow[None]:
        bench.log.append(mark)
        yield Sleep(1.0)
        bench.log.append(mark)

    for mark in range(3):
        bench.runner.start("op", flow(mark))
    bench.at(0.0)
    bench.at(5.0)
    assert bench.log == [0, 1, 2, 0, 1, 2]


def test_run_says_whether_anything_happened() -> None:
    bench = Bench()
    assert not bench.at(0.0)
    bench.runner.start("op", bench.sleep(1.0))
    assert bench.at(0.0)
    assert not bench.at(0.5)
    assert bench.at(1.0)


# ------------------------------------------------------------------------------------------------------------ time-outs


def test_a_time_out_says_what_held_it_up() -> None:
    bench = Bench()

    def flow() -> Flow[None]:
        yield Sleep(1.0)
        yield Sleep(1.0, ConnectionLostError("broker 7"))
        yield Sleep(1.0)  # nothing new is known
        yield Call(1, REQUEST)

    operation = bench.start(flow(), 3.5, "looking around")
    assert bench.runner.next_deadline() == 1.0
    for now in (1.0, 2.0, 3.0):
        bench.at(now)
    assert bench.runner.next_deadline() == 3.5
    bench.at(3.5)
    with pytest.raises(KafkaTimeoutError, match=r"looking around did not finish in 3\.5 s: broker 7") as caught:
        operation.result()
    assert isinstance(caught.value.last_error, ConnectionLostError)
    assert caught.value.seconds == 3.5


@pytest.mark.parametrize("nested", [False, True])
def test_a_time_out_in_a_call_asks_why(nested: bool) -> None:
    bench = Bench()
    bench.reason = ConnectionLostError("broker 5", [("10.0.0.1:9092", "no connection yet")])

    def flow() -> Flow[None]:
        if nested:
            yield All([bench.sleep(0.1), bench.sleep(9.0), bench.call(5)])
        else:
            yield Call(5, REQUEST)

    operation = bench.start(flow(), 1.0)
    bench.at(0.5)
    bench.at(1.0)
    with pytest.raises(KafkaTimeoutError, match="no connection yet"):
        operation.result()


@pytest.mark.parametrize("why", [None, ConnectionLostError("broker 4")])
def test_a_time_out_while_waiting_for_another(why: Exception | None) -> None:
    bench = Bench()

    def flow(because: Any) -> Flow[None]:
        yield Wait(lambda: False, because=because)

    told, silent = bench.start(flow(lambda: why), 1.0), bench.start(flow(None), 1.0)
    bench.at(1.0)
    assert str(told.error) == "op did not finish in 1 s" + (": broker 4 is not reachable" if why else "")
    assert str(silent.error) == "op did not finish in 1 s"


def test_a_time_out_without_a_reason() -> None:
    bench = Bench()
    bench.reason = ConnectionLostError("broker 5")

    def flow() -> Flow[None]:
        yield All([bench.call(5), bench.sleep(9.0)])

    operation = bench.start(flow(), 1.0)
    bench.answer(0)  # that is not what it waits for
    bench.at(1.0)
    with pytest.raises(KafkaTimeoutError, match=r"^op did not finish in 1 s$"):
        operation.result()


def test_what_a_child_failed_of_is_the_reason_of_the_whole() -> None:
    bench = Bench()

    def flow() -> Flow[None]:
        yield All([bench.sleep(5.0, ConnectionLostError("broker 9")), bench.sleep(5.0)])

    operation = bench.start(flow(), 1.0)
    bench.at(1.0)
    with pytest.raises(KafkaTimeoutError, match="broker 9"):
        operation.result()


def test_an_answer_that_comes_with_the_deadline_counts() -> None:
    bench = Bench()
    operation = bench.start(bench.call(1), 1.0)
    bench.calls[0][1]("in time", None)
    bench.at(1.0)
    assert operation.result() == "in time"


def test_no_time_at_all_is_enough_for_a_first_step() -> None:
    bench = Bench()
    operation = bench.start(bench.call(1), 0.0)
    assert len(bench.calls) == 1
    assert isinstance(operation.error, KafkaTimeoutError)


def test_a_time_out_ends_the_flow() -> None:
    bench = Bench()
    operation = bench.start(bench.call(1), 1.0)
    bench.at(1.0)
    assert bench.log == [(1, "left")]
    bench.answer(0, "late")  # matched, then dropped
    assert isinstance(operation.error, KafkaTimeoutError)
    assert bench.runner.next_deadline() is None


def test_what_waited_for_a_flow_that_timed_out_goes_on_at_once() -> None:
    bench = Bench()
    busy = [True]

    def first() -> Flow[None]:
        try:
            yield Sleep(9.0)
        finally:
            busy[0] = False

    def second() -> Flow[str]:
        yield Wait(lambda: not busy[0])
        return "on"

    bench.start(first(), 1.0)
    waiting = bench.start(second())
    bench.at(1.0)
    assert waiting.result() == "on"


# --------------------------------------------------------------------------------------------------------------- cancel


def waits(bench: Bench) -> dict[str, Flow[Any]]:
    def in_wait() -> Flow[None]:
        yield Wait(lambda: False, 5.0)

    def in_all() -> Flow[None]:
        yield All([bench.call("x"), bench.sleep(5.0), in_wait()])

    return {"call": bench.call("x"), "sleep": bench.sleep(5.0), "wait": in_wait(), "all": in_all()}


@pytest.mark.parametrize("step", ["call", "sleep", "wait", "all"])
@pytest.mark.parametrize("begun", [True, False])
def test_cancel_at_any_step(step: str, begun: bool) -> None:
    bench = Bench()
    operation = bench.runner.start("op", waits(bench)[step], 7.0)
    if begun:
        bench.at(0.0)
    operation.cancel()
    operation.cancel()
    with pytest.raises(OperationCancelledError, match="op"):
        operation.result()
    assert bench.runner.next_deadline() == bench.runner.now  # there may be something to do for others
    bench.at(0.0)
    assert bench.runner.next_deadline() is None
    for _, on_done in bench.calls:
        on_done("late", None)
    bench.at(9.0)
    assert isinstance(operation.error, OperationCancelledError)
    assert bench.log == ([("x", "left")] if bench.calls else [])
    assert not bench.runner._roots
    assert not bench.runner._sleeping
    assert not bench.runner._waiting


def test_cancel_between_an_answer_and_its_flow() -> None:
    bench = Bench()
    operation = bench.start(bench.call(1))
    bench.calls[0][1]("value", None)
    operation.cancel()
    bench.at(0.0)
    assert isinstance(operation.error, OperationCancelledError)


def test_who_waited_for_a_cancelled_flow_is_not_forgotten() -> None:
    bench = Bench()
    busy = [True]

    def first() -> Flow[None]:
        try:
            yield Sleep(90.0)
        finally:
            busy[0] = False

    def second() -> Flow[str]:
        yield Wait(lambda: not busy[0])
        return "on"

    holding = bench.start(first())
    waiting = bench.start(second())
    assert bench.runner.next_deadline() == 90.0
    holding.cancel()
    deadline = bench.runner.next_deadline()
    assert deadline == 0.0
    bench.at(deadline)
    assert waiting.result() == "on"


def test_many_waits_that_were_given_up_leave_nothing_behind() -> None:  # lesson 32
    bench = Bench()
    for _ in range(1000):
        operation = bench.start(waits(bench)["wait"], 5.0)
        operation.cancel()
        bench.start(bench.sleep(0.0), 5.0)
        bench.at(0.0)
    bench.at(0.0)
    runner = bench.runner
    assert (runner._roots, len(runner._ready), runner._sleeping, runner._waiting) == ({}, 0, [], [])


# ---------------------------------------------------------------------------------------------------------------- close


def test_close_ends_everything_in_the_order_of_the_start() -> None:
    bench = Bench()
    operations = [bench.start(flow, name=name) for name, flow in waits(bench).items()]
    bench.runner.start_background(bench.call("background"))
    bench.at(0.0)
    bench.runner.start("not begun", bench.call("never"))
    bench.runner.close(ClosedError())
    assert all(isinstance(operation.error, ClosedError) for operation in operations)
    assert bench.log == [("x", "left"), ("x", "left"), ("background", "left")]
    assert not bench.runner._roots
    for _, on_done in bench.calls:
        on_done("late", None)
    assert not bench.at(99.0)


def test_a_flow_may_close_the_runner_that_runs_it() -> None:
    bench = Bench()

    def flow() -> Flow[str]:
        yield Sleep(1.0)
        bench.runner.close(ClosedError())
        return "closed"

    other = bench.start(bench.sleep(9.0))
    operation = bench.start(flow())
    bench.at(1.0)
    assert operation.result() == "closed"
    assert isinstance(other.error, ClosedError)


# ----------------------------------------------------------------------------------------------------------------- bugs


def test_what_a_background_flow_raises_is_not_hidden() -> None:
    bench = Bench()

    def flow() -> Flow[None]:
        yield Sleep(1.0)
        raise ZeroDivisionError

    bench.runner.start_background(flow())
    bench.at(0.0)
    with pytest.raises(ZeroDivisionError):
        bench.at(1.0)


def test_a_background_flow_that_ends() -> None:
    bench = Bench()

    def flow() -> Generator[Any, Any, None]:
        yield Sleep(1.0)

    bench.runner.start_background(flow())
    bench.at(0.0)
    bench.at(1.0)
    assert bench.runner.next_deadline() is None
