"""The scripts that drivers run, over an engine that says what a test wants, and the queue of callbacks."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

import pytest

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.driver import (
    Callbacks,
    FirstOf,
    Pending,
    Signal,
    answering,
    config_of,
    count_of,
    raise_first,
    reading,
)
from dekaf_proto.errors import ClosedError, ConfigurationError, KafkaTimeoutError
from dekaf_proto.events import EndOfPartition, Failed, PartitionsAssigned
from dekaf_proto.operation import Operation
from dekaf_proto.types import TopicPartition

EVENT = PartitionsAssigned((TopicPartition("t", 0),))
END = EndOfPartition()


class Scripted:
    """An engine whose `poll` gives one output after the other, then None. It notes the calls."""

    def __init__(self, *outputs: object) -> None:
        self.outputs = list(outputs)
        self.calls: list[object] = []
        self.waits: list[Operation[bool]] = []
        self.closed = False

    def poll(self, now: float, bound: object = None) -> object:
        self.calls.append("poll")
        self._check()
        return self.outputs.pop(0) if self.outputs else None

    def wait(
        self, now: float, timeout: float | None = None, bound: object = None, *, records: int = 1
    ) -> Operation[bool]:
        self.calls.append(("wait", timeout, records))
        self._check()
        self.waits.append(Operation("wait"))
        return self.waits[-1]

    def _check(self) -> None:
        if self.closed:
            raise ClosedError("closed")


def result_of(steps: Generator[Any, float, Any], now: float = 0.0) -> object:
    """The result of a script that is at its last step."""
    with pytest.raises(StopIteration) as stop:
        steps.send(now)
    return stop.value.value


def start(engine: Scripted, **options: Any) -> Generator[Any, float, Any]:
    return reading(engine, 100.0, **options)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------------- options


def test_options_one_by_one_and_with_a_config() -> None:
    config, name = config_of(None, {"bootstrap_servers": "a:1,b:2", "group_id": "g"}, ["t"])
    assert name == "Consumer('a:1,b:2', group_id='g')"
    assert config_of(config, {}, ["t"])[0] is config
    other, name = config_of(config, {"group_id": None}, [])
    assert (other.group_id, other.bootstrap_servers) == (None, config.bootstrap_servers)
    assert name == "Consumer('a:1,b:2', group_id=None)"


def test_options_that_can_not_be() -> None:
    wrong: Any = {"bootstrap_servers": "a:1"}
    with pytest.raises(TypeError, match="must be a ConsumerConfig, not dict"):
        config_of(wrong, {}, [])
    with pytest.raises(ConfigurationError, match="without a group, use assign"):
        config_of(ConsumerConfig(bootstrap_servers="a:1"), {}, ["t"])


def test_how_many_records() -> None:
    assert [count_of(None, 5), count_of(1, 5)] == [5, 1]
    with pytest.raises(ValueError, match="max_records can't be 0"):
        count_of(0, 5)


# ----------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("output", [END, Failed(ValueError())])
def test_what_is_there_is_given_at_once(output: object) -> None:
    engine = Scripted(output)
    assert result_of(start(engine), None) is output  # type: ignore[arg-type]
    assert engine.calls == ["poll"]


def test_waiting_until_there_is_something() -> None:
    engine = Scripted(None, None, END)
    steps = start(engine, timeout=10.0)
    assert next(steps) is engine.waits[0]
    assert steps.send(104.0) is engine.waits[1]
    assert result_of(steps, 109.0) is END
    assert engine.calls == ["poll", ("wait", 10.0, 1), "poll", ("wait", 6.0, 1), "poll"]


def test_the_time_is_up() -> None:
    engine = Scripted()
    steps = start(engine, timeout=10.0)
    next(steps)
    assert result_of(steps, 110.0) is None
    assert engine.calls == ["poll", ("wait", 10.0, 1), "poll"]


def test_no_time_at_all() -> None:
    engine = Scripted(EVENT, END)
    steps = start(engine, timeout=0.0)
    assert next(steps) is EVENT
    assert result_of(steps, 107.0) is END  # the listener took its time: what is there is given all the same
    engine = Scripted()
    assert result_of(start(engine, timeout=0.0), None) is None  # type: ignore[arg-type]
    assert engine.calls == ["poll"]


def test_an_event_is_to_be_answered_and_then_it_goes_on() -> None:
    engine = Scripted(EVENT, EVENT, None, END)
    steps = start(engine)
    assert next(steps) is EVENT
    assert steps.send(101.0) is EVENT
    assert steps.send(102.0) is engine.waits[0]
    assert result_of(steps, 103.0) is END
    assert engine.calls == ["poll", "poll", "poll", ("wait", None, 1), "poll"]


def test_lingering_takes_nothing_before_the_waits_are_over() -> None:
    engine = Scripted(END)
    steps = start(engine, linger=2.0, records=50)
    assert next(steps) is engine.waits[0]
    assert steps.send(101.0) is engine.waits[1]
    assert engine.calls == [("wait", None, 1), ("wait", 2.0, 50)]
    assert result_of(steps, 103.0) is END


def test_an_event_while_lingering() -> None:
    engine = Scripted(EVENT, None, END)
    steps = start(engine, linger=2.0)
    for _ in range(2):
        assert isinstance(next(steps), Operation)
    assert next(steps) is EVENT
    for _ in range(4):
        assert isinstance(steps.send(101.0), Operation)
    assert result_of(steps, 101.0) is END


@pytest.mark.parametrize("linger", [0.0, 1.0])
def test_while_another_task_answers_nothing_is_polled(linger: float) -> None:
    engine, answered = Scripted(END), Signal()
    held_up: list[Pending | None] = [answered, answered, None, None, None]
    steps = start(engine, linger=linger, busy=lambda: held_up.pop(0))
    assert next(steps) is answered
    assert steps.send(101.0) is answered
    assert engine.calls == []
    if linger:
        assert isinstance(steps.send(102.0), Operation)
        assert isinstance(steps.send(102.0), Operation)
    assert result_of(steps, 103.0) is END


def test_an_event_that_another_task_has_met_at_the_end_of_the_linger() -> None:
    engine, answered = Scripted(END), Signal()
    held_up: list[Pending | None] = [None, answered, answered, None, None]
    steps = start(engine, linger=1.0, busy=lambda: held_up.pop(0))
    next(steps), next(steps)
    assert next(steps) is answered
    assert "poll" not in engine.calls
    steps.send(101.0), steps.send(102.0)
    assert result_of(steps, 103.0) is END


# --------------------------------------------------------------------------------------------------------- answering


def test_an_operation_is_waited_for_and_events_are_answered_meanwhile() -> None:
    engine, operation = Scripted(EVENT, None, EVENT), Operation[None]("close")
    steps = answering(engine, operation, 100.0)  # type: ignore[arg-type]
    assert next(steps) is EVENT
    both: Any = steps.send(101.0)
    assert not both.done
    engine.waits[0]._finish(True, None)
    assert both.done
    assert steps.send(102.0) is EVENT
    both = steps.send(103.0)
    operation._finish(None, None)
    assert both.done
    assert result_of(steps, 104.0) is None
    assert engine.waits[1].done, "the wait was not given up"


def test_giving_up_leaves_the_operation_alone() -> None:
    engine, operation = Scripted(), Operation[None]("close")
    both: Any = next(answering(engine, operation, 100.0))  # type: ignore[arg-type]
    both.cancel()
    assert (engine.waits[0].done, operation.done) == (True, False)


def test_without_events_there_is_only_the_operation() -> None:
    engine, operation = Scripted(), Operation[None]("close")
    engine.closed = True
    steps = answering(engine, operation, 100.0)  # type: ignore[arg-type]
    both: Any = next(steps)
    assert not both.done
    both.cancel()
    operation._finish(None, KafkaTimeoutError("close", 1.0))
    assert both.done
    with pytest.raises(KafkaTimeoutError):
        steps.send(101.0)


def test_while_another_task_answers_only_the_operation_or_that_counts() -> None:
    engine, operation, answered = Scripted(EVENT), Operation[None]("close"), Signal()
    held_up: list[Pending | None] = [answered, answered, None]
    steps = answering(engine, operation, 100.0, lambda: held_up.pop(0))  # type: ignore[arg-type]
    both: Any = next(steps)
    both.cancel()
    assert not both.done
    answered.done = True
    assert both.done
    answered.done = False
    assert isinstance(steps.send(101.0), FirstOf)
    assert engine.calls == []
    assert steps.send(102.0) is EVENT


def test_an_operation_that_is_done_has_nothing_to_wait_for() -> None:
    engine = Scripted(EVENT)
    steps = answering(engine, Operation.completed("close", None), 100.0)  # type: ignore[arg-type]
    assert result_of(steps, None) is None  # type: ignore[arg-type]
    assert engine.calls == []


# --------------------------------------------------------------------------------------------------------- callbacks


class Calls:
    """Callbacks, and which were called."""

    def __init__(self) -> None:
        self.callbacks = Callbacks("it", logging.getLogger("dekaf.test"))
        self.names: list[str] = []
        self.signals: list[Signal] = []

    def add(self, name: str, error: Exception | None = None, *, done: bool = True) -> None:
        def call() -> None:
            self.names.append(name)
            self.callbacks.call()  # what a callback calls may come by again
            assert self.callbacks.call_all() is None
            if error is not None:
                raise error

        self.signals.append(Signal())
        self.signals[-1].done = done
        self.callbacks.add(self.signals[-1], call)


def test_callbacks_are_called_in_order_when_they_are_due() -> None:
    calls = Calls()
    assert not calls.callbacks.due
    calls.add("a")
    calls.add("b", done=False)
    calls.add("c")
    calls.callbacks.call()
    assert calls.names == ["a"]
    assert not calls.callbacks.due
    calls.signals[1].done = True
    calls.callbacks.call()
    assert calls.names == ["a", "b", "c"]


def test_what_a_callback_raises_comes_out_and_the_next_ones_wait() -> None:
    calls = Calls()
    calls.add("a", ValueError("of a"))
    calls.add("b")
    with pytest.raises(ValueError, match="of a"):
        calls.callbacks.call()
    assert calls.names == ["a"]
    calls.callbacks.call()
    assert calls.names == ["a", "b"]


def test_in_the_end_all_are_called_whatever_they_raise(caplog: pytest.LogCaptureFixture) -> None:
    calls, first = Calls(), ValueError("the first")
    calls.add("a")
    calls.add("b", first)
    calls.add("c", ValueError("the second"))
    calls.add("d")
    calls.add("e", done=False)
    assert calls.callbacks.call_all() is first
    assert calls.names == ["a", "b", "c", "d"]
    assert "it: a callback has failed" in caplog.text
    assert "the second" in caplog.text
    assert "the first" not in caplog.text


def test_the_error_of_the_end(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("dekaf.test")
    raise_first([], "it", log)
    with pytest.raises(ValueError, match="first"):
        raise_first([ValueError("first"), KeyError("second")], "it", log)
    assert "it: closing it has met another error" in caplog.text
    assert "second" in caplog.text
    assert "first" not in caplog.text
    with pytest.raises(KeyboardInterrupt):
        raise_first([ValueError("first"), KeyboardInterrupt()], "it", log)
