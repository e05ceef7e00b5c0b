"""Sequences, drawn from sessions that were recorded in virtual time.

What is drawn is what the recordings have: the requests that a consumer sent, the answers that it got, its program's
calls and what these gave. Which of it a picture shows, and in which words, is said here.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from zlib import decompress

from dekaf_proto import messages
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey
from dekaf_proto.trace import TracedConsumer
from dekaf_proto.trace.payloads import frames_of
from dekaf_proto.types import TopicPartition
from dekaf_proto.wire import decode_request, decode_response
from tests.consumer.helpers import UNIX_OFFSET
from tests.trace.helpers import Lines, Traced, TracedGroup
from tools.diagrams.svg import Drawing, point

COLUMN, LINE, TOP = 280, 24, 84


class Step(NamedTuple):
    """An arrow from one column to another."""

    time: float
    start: str
    end: str
    words: str


# -------------------------------------------------------------------------------------------------- from the recordings


def _error(code: int) -> str:
    return "" if code == 0 else ErrorCode.of(code).name


REQUESTS: dict[int, Callable[[Any], str]] = {
    ApiKey.JOIN_GROUP: lambda r: f"JoinGroup{' as ' + _short(r.member_id) if r.member_id else ''}",
    ApiKey.SYNC_GROUP: lambda r: (
        f"SyncGroup{' with assignments' if r.assignments else ''}, generation {r.generation_id}"
    ),
    ApiKey.HEARTBEAT: lambda r: f"Heartbeat, generation {r.generation_id}",
    ApiKey.OFFSET_COMMIT: lambda r: f"OffsetCommit, generation {r.generation_id_or_member_epoch}: {_commits(r)}",
    ApiKey.LIST_OFFSETS: lambda r: f"ListOffsets {_times(r)}",
    ApiKey.FETCH: lambda r: f"Fetch {_fetches(r)}",
    ApiKey.FIND_COORDINATOR: lambda r: "FindCoordinator",
    ApiKey.OFFSET_FETCH: lambda r: "OffsetFetch",
}
RESPONSES: dict[int, Callable[[Any], str]] = {
    ApiKey.JOIN_GROUP: lambda r: (
        _error(r.error_code)
        or f"generation {r.generation_id}, {'leader of ' + str(len(r.members)) if r.members else 'follower'}"
    ),
    ApiKey.SYNC_GROUP: lambda r: _error(r.error_code) or "assignment",
    ApiKey.HEARTBEAT: lambda r: _error(r.error_code),
    ApiKey.OFFSET_COMMIT: lambda r: ", ".join(_error(p.error_code) or "ok" for t in r.topics for p in t.partitions),
    ApiKey.LIST_OFFSETS: lambda r: ", ".join(f"offset {p.offset}" for t in r.topics for p in t.partitions),
    ApiKey.FETCH: lambda r: f"{sum(len(p.records or b'') for t in r.responses for p in t.partitions)} bytes of records",
    ApiKey.FIND_COORDINATOR: lambda r: f"broker {r.coordinators[0].node_id}",
    ApiKey.OFFSET_FETCH: lambda r: ", ".join(
        f"{p.partition_index} {'has none' if p.committed_offset < 0 else 'at ' + str(p.committed_offset)}"
        for t in r.groups[0].topics
        for p in t.partitions
    ),
}


def _short(member_id: str) -> str:
    return member_id[:13] + "..."


def _commits(request: Any) -> str:
    return ", ".join(f"{p.partition_index} at {p.committed_offset}" for t in request.topics for p in t.partitions)


def _times(request: Any) -> str:
    names = {-1: "at the end", -2: "at the beginning"}
    found = (names.get(p.timestamp, f"at {p.timestamp}") for t in request.topics for p in t.partitions)
    return ", ".join(found)


def _fetches(request: Any) -> str:
    return ", ".join(f"from {p.fetch_offset}" for t in request.topics for p in t.partitions) or "(the same again)"


def _argument(name: str, given: dict[str, Any]) -> str:
    if name == "commit":
        return ", ".join(f"{tp['v'][1]} at {offset}" for tp, offset in given["offsets"]["v"])
    return str(given["when"]) if name == "seek_to_timestamp" else ""


class Reader:
    """The steps of one recording. Columns: `program`, `consumer` and the broker's. `apis`: which are shown."""

    def __init__(self, program: str, consumer: str, broker: str, apis: Sequence[int]) -> None:
        self.program, self.consumer, self.broker, self.apis = program, consumer, broker, apis
        self.steps: list[Step] = []
        self._asked: dict[tuple[int, int], tuple[int, int, str]] = {}
        self._operations: dict[int, str] = {}

    def read(self, recording: Lines) -> list[Step]:
        for line in recording.lines[1:]:
            now = line.get("t", self.steps[-1].time if self.steps else 0.0)
            if line.get("do") == "receive_data":
                self._received(now, line["with"])
            elif "do" in line:
                self._called(now, line)
            elif line.get("got"):
                self._add(now, self.consumer, self.program, f"{line['got']} records")
            for entry in line.get("out", ()):
                self._came(now, entry)
        return self.steps

    def _add(self, now: float, start: str, end: str, words: str) -> None:
        self.steps.append(Step(now, start, end, words))

    def _called(self, now: float, line: dict[str, Any]) -> None:
        name = line["do"]
        if name in ("subscribe", "assign", "seek_to_timestamp", "commit", "event_done", "close"):
            self._add(now, self.program, self.consumer, f"{name}({_argument(name, line.get('with', {}))})")

    def _came(self, now: float, entry: list[Any]) -> None:
        kind, number, *more = entry if len(entry) > 1 else (entry[0], 0)
        if kind == "event":
            what = ", ".join(more[1]) or "nothing more"
            self._add(now, self.consumer, self.program, f"{more[0]}: {what}")
        elif kind == "operation":
            self._operations[number] = more[0]
        elif kind in ("done", "failed") and self._operations.get(number) not in ("wait", None):
            text = "done" if kind == "done" else more[0]
            self._add(now, self.consumer, self.program, f"{self._operations[number]}: {text}")
        elif kind == "Send":
            for frame in frames_of(b64decode(more[1])):
                header, request = decode_request(frame[4:])
                key = header.request_api_key
                words = REQUESTS[key](request) if key in self.apis else ""
                self._asked[number, header.correlation_id] = key, header.request_api_version, words
                if words and key != ApiKey.HEARTBEAT:
                    self._add(now, self.consumer, self.broker, words)

    def _received(self, now: float, given: dict[str, Any]) -> None:
        data = b64decode(given["data"]) if "data" in given else decompress(b64decode(given["packed"]))
        for frame in frames_of(data):
            key, version, asked = self._asked.pop((given["conn"], int.from_bytes(frame[4:8], "big")))
            if not asked:
                continue
            _, response = decode_response(messages.response_class(key), version, frame[4:])
            words = RESPONSES[key](response)
            if words and key == ApiKey.HEARTBEAT:  # of heartbeats only those that say something
                self._add(now, self.consumer, self.broker, asked)
            if words:
                self._add(now, self.broker, self.consumer, words)


# --------------------------------------------------------------------------------------------------------- the picture


def draw(title: str, columns: Sequence[str], steps: Sequence[Step], start: float) -> str:
    """Steps in order of their times, one below the other. `start`: the time that is called 0."""
    drawing = Drawing(title)
    drawing.text(20, 26, title, "title", "start")
    spots = {column: 150 + COLUMN * index for index, column in enumerate(columns)}
    ordered = sorted(steps, key=lambda step: step.time)
    bottom = TOP + LINE * (len(ordered) + 1)
    for column, x in spots.items():
        drawing.path(f"M{point(x, TOP - 16)} V{point(bottom, 0).split()[0]}", "line life", arrow=False)
        drawing.box(x, TOP - 30, 24 + 8 * len(column), 30, column)
    last = ""
    for index, step in enumerate(ordered):
        y = TOP + LINE * (index + 1)
        time = f"{step.time - start:.3f} s"
        if time != last:
            drawing.text(14, y + 4, time, "small", "start")
        last = time
        x1, x2 = spots[step.start], spots[step.end]
        drawing.path(f"M{point(x1, y)} L{point(x2 + (-1 if x2 > x1 else 1), y)}")
        drawing.text((x1 + x2) / 2, y - 4, step.words, "small label")
    return drawing.svg(max(spots.values()) + 130, bottom + 20)


# ------------------------------------------------------------------------------------------------------- the scenarios

GROUP = (ApiKey.FIND_COORDINATOR, ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP, ApiKey.HEARTBEAT, ApiKey.OFFSET_FETCH)


def _of_group(group: TracedGroup, apis: Sequence[int], since: float = 0.0) -> list[Step]:
    steps: list[Step] = []
    for name, recording, client in zip("AB", group.sinks, (p.consumer for p in group.programs), strict=True):
        assert isinstance(client, TracedConsumer)
        client.flush()
        steps += Reader(f"program {name}", f"consumer {name}", "coordinator", apis).read(recording)
    return [step for step in steps if step.time >= since]


def join() -> str:
    """Two members, one after the other."""
    group = TracedGroup({"orders": 2}, seed=1, group_id="g", heartbeat_interval_ms=1_000)
    group.join(["orders"])
    group.settle(quiet=0.2)
    group.join(["orders"])
    group.settle(quiet=0.0)
    columns = ["program A", "consumer A", "coordinator", "consumer B", "program B"]
    return draw("Two members join a group", columns, _of_group(group, GROUP), 1000.0)


def commit_in_rebalance() -> str:
    """A member commits while another one joins: in the middle of its own join, and when it is to give something up."""
    group = TracedGroup(
        {"orders": 2}, seed=1, group_id="g", enable_auto_commit=False, heartbeat_interval_ms=1_000,
        partition_assignment_strategy="cooperative-sticky",
    )  # fmt: skip
    group.append("a", "b", topic="orders")
    group.append("c", "d", topic="orders", partition=1)
    one = group.join(["orders"])
    group.settle(quiet=0.2)
    group.run_until(lambda: len(one.records) == 4)
    since = group.now
    one.answers = False
    group.join(["orders"])
    group.run_until(lambda: one.membership.is_joining)
    late = one.consumer.commit({TopicPartition("orders", 0): 1}, group.now)
    group.run_until(lambda: one.event is not None)
    held = one.consumer.commit({TopicPartition("orders", 0): 2, TopicPartition("orders", 1): 2}, group.now)
    group.result(held)
    group.result(late)
    one.go_on()
    group.settle(quiet=0.0)
    columns = ["program A", "consumer A", "coordinator", "consumer B", "program B"]
    apis = (ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP, ApiKey.HEARTBEAT, ApiKey.OFFSET_COMMIT, ApiKey.OFFSET_FETCH)
    return draw("Commits during a rebalance (cooperative-sticky)", columns, _of_group(group, apis, since), since)


def seek_by_time() -> str:
    """A consumer reads, and then begins again at a time."""
    setup = Traced({"orders": 1}, seed=1, fetch_max_wait_ms=100)
    tp = TopicPartition("orders", 0)
    for value in "abc":
        setup.append(value, topic="orders")
        setup.run_for(1)
    since = setup.now
    setup.consumer.assign([tp], setup.now)
    setup.values(3)
    setup.result(setup.consumer.seek_to_timestamp(round((UNIX_OFFSET + 1001) * 1000), setup.now))
    setup.values(2)
    assert isinstance(setup.consumer, TracedConsumer)
    setup.consumer.flush()
    steps = Reader("program", "consumer", "broker", (ApiKey.LIST_OFFSETS, ApiKey.FETCH)).read(setup.recording)
    return draw("Seeking to a time", ["program", "consumer", "broker"], steps, since)


SCENARIOS: dict[str, Callable[[], str]] = {
    "join": join,
    "commit-in-rebalance": commit_in_rebalance,
    "seek-by-time": seek_by_time,
}
