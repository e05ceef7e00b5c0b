"""What is written of a session, and that recording gets in nobody's way."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dekaf_proto import __version__
from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer import Consumer, FetchedRecords
from dekaf_proto.errors import DeserializationError, NotAssignedError
from dekaf_proto.events import Address, PartitionsAssigned
from dekaf_proto.group.assignor import Assignor
from dekaf_proto.options import KEY, text
from dekaf_proto.trace import TracedConsumer
from dekaf_proto.trace.consumer import RECORDED
from tests.consumer.helpers import T0, T1
from tests.trace.helpers import Lines, Traced, TracedGroup, replay


def consumer(sink: Any, **options: Any) -> TracedConsumer[Any, Any]:
    trace = {name: options.pop(name) for name in ("max_bytes", "payloads", "lock") if name in options}
    return TracedConsumer(ConsumerConfig(**{"bootstrap_servers": "a:1", **options}), sink=sink, **trace)


def header(**options: Any) -> dict[str, Any]:
    sink = Lines()
    made = consumer(sink, **options)
    made.handle_timeout(0.0)
    made.flush()
    return sink.lines[0]


def entries(recording: Lines, kind: str) -> list[Any]:
    return [entry for line in recording.lines for entry in line.get("out", ()) if entry[0] == kind]


# ----------------------------------------------------------------------------------------------------------- the header


def test_what_the_engine_is_made_of() -> None:
    sink = Lines()
    config: ConsumerConfig[Any, Any] = ConsumerConfig(
        bootstrap_servers="a:1,[::1]:2", isolation_level="read_committed", auto_offset_reset="by_duration:PT1H"
    )
    made = TracedConsumer(config, sink=sink, seed=5, unix_offset=1.5, payloads=True)
    assert made.config is config
    made.set_unix_offset(2.5, 1.0)
    assert sink.text == ""
    made.flush()
    made.flush()
    assert sink.lines == [
        {
            "dekaf_trace": 1,
            "engine": "Consumer",
            "version": __version__,
            "options": {
                "bootstrap_servers": ["a:1", "[::1]:2"],
                "isolation_level": "read_committed",
                "auto_offset_reset": {"reset": ["duration", 3_600_000, None]},
            },
            "missing": {},
            "seed": 5,
            "unix_offset": 1.5,
            "payloads": True,
        },
        {"t": 1.0, "do": "set_unix_offset", "with": {"offset": 2.5}},
    ]


def test_what_is_secret_or_no_json_is_only_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Assignor):
        name = "mine"

    known = ConsumerConfig.options()
    option = text("", "", secret=True)
    secret = {**known, "client_rack": option.metadata[KEY]}  # type: ignore[attr-defined]
    monkeypatch.setattr(ConsumerConfig, "options", classmethod(lambda cls: secret))
    found = header(
        group_id="g", client_rack="password", partition_assignment_strategy=[Mine()], key_deserializer=bytes.decode
    )
    assert found["missing"] == {
        "client_rack": "secret", "partition_assignment_strategy": "tuple", "key_deserializer": "bytes.decode"
    }  # fmt: skip
    assert "password" not in json.dumps(found)


# ------------------------------------------------------------------------------------------------------------ the lines


def test_a_line_for_each_input_and_call() -> None:
    setup = Traced({"t": 1})
    setup.append("a", "b")
    assert setup.network.now == 1000.0
    setup.assign()
    assert setup.values(2) == ["a", "b"]
    lines = setup.recording.lines
    assert lines[1] == {
        "t": 1000.0,
        "do": "assign",
        "with": {"partitions": [{"$": "TopicPartition", "v": ["t", 0]}]},
        "out": [["Connect", 1, "127.0.0.1", 9092, "127.0.0.1", False]],
    }
    assert any(entry[2] == "API_VERSIONS v5 #0" for entry in entries(setup.recording, "Send"))
    assert setup.run is not None
    setup.consumer.flush()  # type: ignore[attr-defined]
    assert entries(setup.recording, "records") == [["records", 1, [["t-0", 0, 2, setup.run.chunks[0].size]]]]
    setup.close()
    assert setup.recording.lines[-1] == {"end": "closed"}
    assert setup.recording.closed
    assert {"run": 1, "next": 2, "got": 2} in setup.recording.lines
    closing = entries(setup.recording, "operation")[-1]
    assert closing[2] == "close"
    assert ["done", closing[1], "None"] in entries(setup.recording, "done")
    setup.replay()


def test_what_came_in_is_not_kept_with_its_payload() -> None:
    for payloads in (False, True):
        setup = Traced({"t": 1}, trace={"payloads": payloads})
        setup.append("secret" * 100)
        setup.assign()
        assert setup.values(1) == ["secret" * 100]
        (record,) = (record for step in setup.replay() if "run" in step.line for record in step.output)
        assert (record.value == b"secret" * 100) is payloads
        fetched = [line["with"] for line in setup.recording.lines if line.get("do") == "receive_data"][-1]
        assert ("packed" in fetched) is not payloads


def test_no_input_or_call_is_forgotten() -> None:
    methods = {name: getattr(Consumer, name) for name in dir(Consumer) if not name.startswith("_")}
    timed = {name for name, each in methods.items() if "now" in getattr(each, "__annotations__", ())}
    assert timed == set(RECORDED)
    assert all(name in vars(TracedConsumer) for name in RECORDED)


def test_what_a_call_raises() -> None:
    setup = Traced({"t": 1})
    again = setup.consumer.wait(setup.now)
    assert again is not setup.consumer.wait(setup.now)
    with pytest.raises(NotAssignedError):
        setup.consumer.seek(T1, 4, setup.now)
    with pytest.raises(TypeError):
        setup.consumer.assign(["t"], setup.now)  # type: ignore[list-item]
    with pytest.raises(TypeError):
        setup.consumer.seek(T1, 4)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        setup.consumer.pause(None, 1.0, 2.0)  # type: ignore[call-arg]
    setup.replay()
    assert entries(setup.recording, "raised") == [
        ["raised", "NotAssignedError", "t-1 is not assigned to this consumer"],
        ["raised", "TypeError", ""],
    ]


def test_resolving_and_failures() -> None:
    sink = Lines()
    made = consumer(sink)
    made.resume([], 1.0)
    assert [str(effect)[:7] for effect in made.effects()] == ["Resolve"]
    assert made.effects() == []
    assert made.next_deadline() == 11.0
    made.resolved(1, [Address("10.0.0.1", 1), Address("10.0.0.2", 1)], 2.0)
    made.connect_failed(2, "refused", 3.0)
    made.connected(3, 4.0)
    made.disconnected(3, "reset", 5.0)
    made.flush()
    assert sink.lines[1]["out"] == [["Resolve", 1, "a", 1]]
    assert sink.lines[1]["due"] == 11.0
    assert "due" not in sink.lines[2]
    replay(sink)


def test_nothing_is_kept_of_connections_that_are_gone() -> None:
    setup = Traced({"t": 1}, reconnect_backoff_ms=10)
    setup.assign()
    for _ in range(3):
        setup.run_for(1)
        setup.network.cut()
    setup.run_for(1)
    received = setup.consumer._recorder._received  # type: ignore[attr-defined]
    there = {link.conn for link in setup.network.links}
    assert there
    assert set(received._asked) == set(received._frames) == there
    setup.close()
    assert received._asked == received._frames == {}


def test_operations_and_who_gives_up() -> None:
    setup = Traced({"t": 1})
    setup.append("a")
    setup.assign()
    waiting = setup.consumer.wait(setup.now)
    waiting.cancel()
    bound = setup.result(setup.consumer.until_end(setup.now))
    with pytest.raises(Exception, match="nope"):
        setup.result(setup.consumer.partitions_for("nope", setup.now))
    assert setup.next(bound=bound).value == b"a"
    with pytest.raises(StopIteration):
        setup.next(bound=bound)
    steps = setup.replay()
    assert ["failed", 1, "OperationCancelledError"] in [entry[:3] for entry in entries(setup.recording, "failed")]
    assert entries(setup.recording, "end")
    assert [step.line["cancel"] for step in steps if "cancel" in step.line] == [1]
    assert "{TopicPartition(topic='t', partition=0): 1}" in str(entries(setup.recording, "done"))


def test_commits_of_records_and_due() -> None:
    setup = Traced({"t": 2}, group_id="g", acknowledgement_mode="explicit")
    setup.append("a", "b", "c")
    setup.assign({T0: 0})
    records = setup.read(3)
    setup.consumer.acknowledge(iter(records[:2]), setup.now)
    assert setup.consumer.due(None, setup.now)[T0].offset == 2
    setup.result(setup.consumer.commit(records[0], setup.now))
    setup.consumer.subscription  # noqa: B018 (only looks)
    setup.close()
    setup.replay()
    assert entries(setup.recording, "result")[0][1].startswith("{TopicPartition(")


def test_events_and_patterns() -> None:
    group = TracedGroup({"t": 2, "u": 1})
    program = group.join(re.compile("t"))
    other = group.join(["t"])
    group.settle()
    group.broker.expire_member("g", program.membership.member_id, group.now)
    group.run_for(60)
    program.close()
    other.close()
    events = [entry for sink in group.sinks for entry in entries(sink, "event")]
    assert {entry[2] for entry in events} == {"PartitionsAssigned", "PartitionsRevoked", "PartitionsLost"}
    assert all(len(entry) == (5 if entry[2] == "PartitionsLost" else 4) for entry in events)
    for sink in group.sinks:
        replay(sink)


def test_errors_that_are_told() -> None:
    setup = Traced({"t": 1}, auto_offset_reset="none")
    setup.assign()
    setup.failure()
    setup.replay()
    assert [entry[1] for entry in entries(setup.recording, "error")] == ["NoOffsetForPartitionError"]


def test_a_deadline_that_is_asked_for_after_reading_has_a_line() -> None:
    setup = Traced({"t": 1})
    setup.append("a", "b")
    setup.assign()
    assert setup.values(1) == ["a"]
    setup.consumer.next_deadline()
    assert setup.values(1) == ["b"]
    setup.consumer.next_deadline()
    setup.replay()
    assert [line["do"] for line in setup.recording.lines if "t" not in line and "do" in line] == ["next_deadline"] * 2


# ------------------------------------------------------------------------------------------------------- what is read


def run_of(setup: Traced, *values: str) -> FetchedRecords[Any, Any]:
    setup.append(*values)
    setup.assign()
    setup.run_until(lambda: setup.consumer._handout.has_next(None))
    output = setup.poll()
    assert isinstance(output, FetchedRecords)
    return output


def readings(setup: Traced) -> list[dict[str, Any]]:
    setup.replay()
    return [{k: v for k, v in line.items() if k != "run"} for line in setup.recording.lines if "run" in line]


def test_readings_are_counted() -> None:
    setup = Traced({"t": 1})
    run = run_of(setup, *"abcdefghij")
    assert iter(run) is run
    assert [record.value for record in run.take(2)] == [b"a", b"b"]
    assert [record.value for record in run.take(1)] == [b"c"]
    run.finish()
    run.finish()
    assert next(run).value == b"d"
    assert next(run).value == b"e"
    assert not run.stopped
    run.stopped = True
    assert run.stopped
    assert list(run) == []
    assert readings(setup) == [
        {"take": 2, "got": 2},
        {"take": 1, "got": 1},
        {"finish": 2},
        {"next": 2, "got": 2},
        {"stop": 1},
        {"next": 1},
    ]


def deserialize(value: bytes) -> bytes:
    if value == b"bad":
        raise ValueError("secret")
    return value


@pytest.mark.parametrize("payloads", [False, True])
def test_a_deserializer_that_fails(payloads: bool) -> None:
    setup = Traced({"t": 1}, trace={"payloads": payloads}, value_deserializer=deserialize)
    run = run_of(setup, "a", "bad", "c")
    assert next(run).value == b"a"
    for _ in range(2):
        with pytest.raises(DeserializationError):
            next(run)
    setup.seek(0)
    run = setup.poll_run()
    assert [record.value for record in run.take(3)] == [b"a"]
    with pytest.raises(DeserializationError):
        run.take(3)
    setup.seek(2)
    assert setup.values(1) == ["c"]
    setup.close()
    assert readings(setup)[:3] == [
        {"next": 2, "got": 1, "failed": True},
        {"next": 1, "failed": True},
        {"take": 3, "got": 1, "failed": True},
    ]
    assert "secret" not in setup.recording.text


def test_a_record_that_is_corrupt() -> None:
    setup = Traced({"t": 1}, trace={"payloads": True})
    setup.append("a")
    log = setup.broker._log("t", 0)
    data = bytearray(log.batches[0].data)
    data[-1] ^= 1
    setup.broker.append_raw("t", 0, bytes(data).replace(bytes(8), bytes(7) + b"\1", 1), last_offset=1)
    setup.assign({T0: 1})
    setup.failure()
    assert readings(setup) == [{"next": 1, "raised": "CorruptRecordError"}]


@pytest.mark.parametrize("payloads", [False, True])
def test_what_happens_while_a_deserializer_runs(payloads: bool) -> None:
    """Also when the engine drops what the program is reading: in the replay it comes in the middle as well."""
    beside: dict[bytes, Any] = {}

    def deserialize(value: bytes) -> bytes:
        beside.pop(value, lambda: None)()
        if value == b"e":
            raise ValueError
        return value

    setup = Traced({"t": 2}, trace={"payloads": payloads}, check=False, group_id="g", value_deserializer=deserialize)
    consumer = setup.consumer

    def twice() -> None:
        consumer.handle_timeout(setup.now)
        consumer.commit(None, setup.now)

    beside[b"b"] = twice
    beside[b"d"] = lambda: consumer.pause(None, setup.now)
    run = run_of(setup, *"abcd")
    assert next(run).value == b"a"
    assert next(run).value == b"b"
    assert next(run).value == b"c"
    assert next(run).value == b"d"  # which was stopped in the meantime
    assert next(run, None) is None
    consumer.resume(None, setup.now)
    setup.append("e", "f", "g")
    beside[b"e"] = lambda: consumer.handle_timeout(setup.now)
    with pytest.raises(DeserializationError):
        setup.next()
    setup.seek(0)
    beside[b"a"] = lambda: consumer.handle_timeout(setup.now)
    beside[b"c"] = lambda: consumer.handle_timeout(setup.now)
    assert [record.value for record in setup.poll_run().take(4)] == [b"a", b"b", b"c", b"d"]
    setup.close()
    found = readings(setup)
    assert found[:3] == [
        {"next": 2, "got": 1, "inside": True},
        {"goes on": 2, "got": 2},
        {"next": 2, "got": 1, "inside": True},
    ]
    assert {"goes on": 4, "got": 2, "inside": True} in found
    assert {"goes on": 4, "got": 4} in found
    assert {"goes on": 1, "failed": True} in found


class LoggingLock:
    def __init__(self) -> None:
        self.held = False

    def acquire(self) -> None:
        assert not self.held
        self.held = True

    def release(self) -> None:
        assert self.held
        self.held = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def test_who_works_holds_the_lock_and_a_deserializer_does_not() -> None:
    lock = LoggingLock()
    held = []

    def deserialize(value: bytes) -> bytes:
        held.append(lock.held)
        return value

    setup = Traced({"t": 1}, trace={"lock": lock}, value_deserializer=deserialize)
    advance = setup.consumer._advance

    def advance_with_lock(now: float) -> None:
        held.append(not lock.held)
        advance(now)

    setup.consumer._advance = advance_with_lock  # type: ignore[method-assign]
    setup.append("a")
    setup.assign()
    assert setup.values(1) == ["a"]
    setup.consumer.flush()  # type: ignore[attr-defined]
    setup.close()
    assert len(held) > 5
    assert not any(held)
    assert not lock.held


# ------------------------------------------------------------------------------------------------- what goes wrong


class Full(Lines):
    def __init__(self, error: Exception, lines: int) -> None:
        super().__init__()
        self.error = error
        self.left = lines

    def write(self, text: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error
        super().write(text)


@pytest.mark.parametrize("error", [OSError("no space left"), ValueError("I/O operation on closed file")])
def test_a_sink_that_fails_stops_the_recording_only(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    setup = Traced({"t": 1}, sink=lambda: Full(error, 3))
    setup.append("a", "b")
    setup.assign()
    assert setup.values(2) == ["a", "b"]
    waiting = setup.consumer.wait(setup.now)
    waiting.cancel()
    setup.close()
    ends = [record.message for record in caplog.records if record.name == "dekaf.trace"]
    assert ends == [f"the recording ends: {error}"]
    replay(setup.recording)


def test_a_file_that_becomes_too_large(caplog: pytest.LogCaptureFixture) -> None:
    setup = Traced({"t": 1}, trace={"max_bytes": 3_000})
    setup.append("a", "b")
    setup.assign()
    assert setup.values(2) == ["a", "b"]
    setup.close()
    assert setup.recording.lines[-1] == {"end": "it has become too large"}
    assert 2_000 < len(setup.recording.text) < 3_100
    assert setup.recording.closed
    setup.replay()
    assert caplog.messages.count("the recording ends: it has become too large") == 1


@pytest.fixture(scope="module")
def whole() -> list[str]:
    return read_and_close({}).recording.text.splitlines(keepends=True)


@pytest.mark.parametrize("kind", ["connected", "poll", "take", "next", "close", "end"])
def test_wherever_it_becomes_too_large(whole: list[str], kind: str) -> None:
    number = next(number for number, line in enumerate(whole) if f'"{kind}"' in line)
    setup = read_and_close({"trace": {"max_bytes": sum(map(len, whole[:number])) + (0 if kind == "end" else 1)}})
    assert len(setup.recording.lines) == number + 1
    assert setup.recording.lines[-1] == {"end": "closed" if kind == "end" else "it has become too large"}
    setup.replay()


@pytest.mark.parametrize("kind", ["connected", "next", "end"])
def test_wherever_there_is_no_space(whole: list[str], kind: str) -> None:
    number = next(number for number, line in enumerate(whole) if f'"{kind}"' in line)
    setup = read_and_close({"sink": lambda: Full(OSError("no space left"), number - 1)})  # the first two come at once
    assert len(setup.recording.lines) == number
    setup.replay()


def read_and_close(options: dict[str, Any]) -> Traced:
    setup = Traced({"t": 1}, check=False, group_id="g", value_deserializer=deserialize, **options)
    run = run_of(setup, "a", "b", "c", "d")
    assert [len(run.take(2)), len(run.take(1))] == [2, 1]
    assert next(run).value == b"d"
    closing = setup.consumer.close(setup.now)
    assert setup.consumer.close(setup.now) is closing
    setup.result(closing)
    setup.consumer.handle_timeout(setup.now)
    assert setup.recording.closed
    assert next(run, None) is None
    return setup


def test_a_payload_that_cannot_be_left_out(caplog: pytest.LogCaptureFixture) -> None:
    setup = Traced({"t": 1})
    setup.broker.append_raw("t", 0, bytes(10) + b"\0\x16" + bytes(4) + b"\1" + bytes(17), last_offset=0)
    setup.assign()
    setup.run_until(lambda: setup.recording.closed)
    assert setup.recording.lines[-1]["end"].startswith("a payload can't be left out: the records are in")
    setup.replay()
    assert "a payload can't be left out" in caplog.text


def test_a_bug_in_the_engine_is_in_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Lines()
    made = consumer(sink)
    made._advance = lambda now: 1 / 0  # type: ignore[method-assign, assignment]
    with pytest.raises(ZeroDivisionError):
        made.handle_timeout(1.0)
    made.flush()
    assert sink.lines[1] == {"t": 1.0, "do": "handle_timeout", "out": [["raised", "ZeroDivisionError", ""]]}


def test_events_are_no_more_than_they_were() -> None:
    """A program may tell about an event that nobody has given it."""
    group = TracedGroup({"t": 1})
    program = group.join()
    group.settle()
    assert program.events
    stranger = PartitionsAssigned((T0,))
    with pytest.raises(Exception, match="not the event"):
        group.consumer.event_done(stranger, group.now, ValueError("secret"))
    assert "secret" not in group.recording.text
    group.replay()
