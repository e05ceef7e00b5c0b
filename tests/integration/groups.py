"""Groups of consumers in processes of their own, and what must be true of what they say they did.

    group = Group(kafka, topic, partitions=6)
    a, b = group.join(), group.join()
    group.produce(100)
    group.settle([a, b])            # each partition has one owner, and all that was produced is handled
    a.kill()
    group.end()
    group.check()                   # nothing lost, nothing again that was committed

A member is one of ours (`member.py`) or of Java's (the helper's). Both report the same rows, on one clock:
`[time, what, ...]`. Of these `tenures` makes who had which partition, since when, until when and why, and what was
handled meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from tests.integration.drivers import Driver
from tests.integration.kafka import KafkaCluster, Produced, wait_until

ROOT = Path(__file__).resolve().parents[2]
#: `.ci/soak` says yes: then there are more members, and more rounds of everything.
SOAK = bool(os.environ.get("DEKAF_SOAK"))
#: How long one step of a group may take, in seconds. Only a failure takes that long.
PATIENCE = 60.0

Part = tuple[str, int]
Row = list[Any]
#: What ends a tenure: "revoked" in good order, also by closing; the others without the member's doing.
Ending = Literal["revoked", "lost", "killed", "open"]

#: A group in which little has to be waited for. The interval is long enough for a machine that is busy.
QUICK: Mapping[str, Any] = {
    "auto_offset_reset": "earliest",
    "session_timeout_ms": 3_000,
    "heartbeat_interval_ms": 200,
    "auto_commit_interval_ms": 100,
    "fetch_max_wait_ms": 100,
    "metadata_max_age_ms": 60_000,
}


@dataclass
class Tenure:
    """One member's time with one partition."""

    member: Member
    part: Part
    #: What was committed when it began; None if nothing.
    floor: int | None
    since: float
    generation: int
    until: float = float("inf")
    ending: Ending = "open"
    #: When which offset was handled, in the order of the handling.
    handled: list[tuple[float, int]] = field(default_factory=list)

    def __str__(self) -> str:
        offsets = [offset for _, offset in self.handled]
        did = f"handled {offsets[0]}..{offsets[-1]} ({len(offsets)})" if offsets else "handled nothing"
        topic, partition = self.part
        return f"{self.member.name} had {topic}-{partition} from {self.floor} on, {did}, then {self.ending}"


class Member(ABC):
    """One member. Used as a context it is killed at the end, however far it got."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.may_fail = False
        #: Whether it works on several records at once, in any order.
        self.concurrent = False
        self._rows: list[Row] = []
        self._by_kind: dict[str, list[Row]] = defaultdict(list)
        self._tenures: list[Tenure] = []
        self._now: dict[Part, Tenure] = {}
        self._before: dict[Part, Tenure] = {}

    @abstractmethod
    def _more(self) -> list[Row]:
        """What it has reported since it was last asked."""

    @abstractmethod
    def close(self) -> None:
        """Ends it in good order."""

    @abstractmethod
    def drop(self) -> None:
        """Ends it anyhow, and removes what it has left."""

    def __enter__(self) -> Member:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()

    def rows(self) -> list[Row]:
        """All that it has reported so far."""
        for row in self._more():
            self._take(row)
        return self._rows

    def rows_of(self, what: str) -> list[Row]:
        self.rows()
        return self._by_kind[what]

    def tenures(self) -> list[Tenure]:
        """In the order of their beginnings."""
        self.rows()
        return self._tenures

    def owns(self) -> list[Part]:
        """What it has now."""
        self.rows()
        return sorted(self._now)

    @property
    def handled(self) -> int:
        """How many records."""
        return len(self.rows_of("handled"))

    @property
    def generation(self) -> int:
        """In which it was last given something."""
        rows = self.rows_of("assigned")
        return int(rows[-1][3]) if rows else -1

    def _take(self, row: Row) -> None:
        self._rows.append(row)
        when, what, *more = row
        self._by_kind[what].append(row)
        if what == "assigned":
            for topic, partition, floor in more[0]:
                part = topic, partition
                assert part not in self._now, f"{self.name} was given {topic}-{partition} twice"
                self._now[part] = Tenure(self, part, floor, when, more[1])
                self._tenures.append(self._now[part])
        elif what in ("revoked", "lost"):
            self._end([(topic, partition) for topic, partition in more[0]], when, what)
        elif what == "handled":
            # A thread may still be working on it when the partition is to go: the member waits for that.
            tenure = self._now.get((more[0], more[1])) or self._before[more[0], more[1]]
            tenure.handled.append((when, more[2]))

    def _end(self, parts: Iterable[Part], when: float, ending: Ending) -> None:
        for part in parts:
            tenure = self._before[part] = self._now.pop(part)
            tenure.until, tenure.ending = when, ending


class Process(Member):
    """One of ours."""

    def __init__(self, name: str, module: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name)
        self._read = 0
        with ExitStack() as stack:
            self._out = stack.enter_context(tempfile.TemporaryFile())
            self._err = stack.enter_context(tempfile.TemporaryFile())
            command = [sys.executable, "-m", f"tests.integration.{module}", json.dumps(settings)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=self._out, stderr=self._err, cwd=ROOT, bufsize=0
            )
            stack.pop_all()

    def _more(self) -> list[Row]:
        file = self._out.fileno()
        data = os.pread(file, os.fstat(file).st_size - self._read, self._read)  # its offset is the process's
        whole = data.rfind(b"\n") + 1
        self._read += whole
        return [json.loads(line) for line in data[:whole].splitlines()]

    def errors(self) -> str:
        """What it has said on stderr."""
        return os.pread(self._err.fileno(), 1 << 20, 0).decode(errors="replace")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """As a power cut would."""
        self._process.kill()
        self._process.wait()
        self.rows()
        self._end(list(self._now), time.monotonic(), "killed")

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def begin_to_close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def close(self) -> None:
        self.begin_to_close()
        assert self._process.wait(PATIENCE) == 0, self.errors()[-3000:]
        assert self.rows()[-1][1] == "closed"

    def drop(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._out.close()
        self._err.close()


class JavaMember(Member):
    """One of Java's, a thread of the helper."""

    def __init__(self, name: str, kafka: KafkaCluster, settings: Mapping[str, Any]) -> None:
        super().__init__(name)
        self._kafka = kafka
        self._id = kafka.java.call("member_start", bootstrap=kafka.bootstrap, **settings)
        self._ended = False

    def _more(self) -> list[Row]:
        rows: list[Row] = [] if self._ended else self._kafka.java.call("member_rows", id=self._id)
        return rows

    def close(self) -> None:
        self._kafka.java.call("member_close", id=self._id)
        last = self.rows()[-1]
        self.drop()
        assert last[1] == "closed", last

    def drop(self) -> None:
        if not self._ended:
            self._kafka.java.call("member_drop", id=self._id)
            self._ended = True


class Group:
    """A topic, what is in it, and the members that read it. As a context it ends all of them."""

    def __init__(self, kafka: KafkaCluster, topic: str, partitions: int = 4, **options: Any) -> None:
        self.kafka = kafka
        self.id = topic
        self.topic = topic
        self.options = {"bootstrap_servers": kafka.bootstrap, "group_id": topic, **QUICK, **options}
        self.members: list[Member] = []
        self._driver: Driver = "trio"
        #: How many records each partition has.
        self.ends: dict[Part, int] = {}
        self._stack = ExitStack()
        if partitions:
            self.create(topic, partitions)

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def parts(self) -> list[Part]:
        """What there is to share."""
        return sorted(self.ends)

    def create(self, topic: str, partitions: int) -> None:
        """One more topic."""
        self.kafka.create_topic(topic, partitions=partitions)
        self.ends |= {(topic, number): 0 for number in range(partitions)}

    def grow(self, topic: str, partitions: int) -> None:
        """A topic gets more partitions."""
        self.kafka.alter_topic(topic, partitions=partitions)
        wait_until("leaders", lambda: len(self.kafka.describe_topic(topic)["partitions"]) == partitions)
        self.ends |= {(topic, number): 0 for number in range(partitions) if (topic, number) not in self.ends}

    def join(
        self,
        *,
        way: str = "plain",
        pace: float = 0.0,
        topics: Sequence[str] | Mapping[str, str] | None = None,
        driver: Driver | None = None,
        **options: Any,
    ) -> Process:
        """One more member, of ours: with each driver in turn, the one that was not used last."""
        settings = {"topics": topics or [self.topic], "way": way, "pace": pace, "options": self.options | options}
        self._driver = driver or ("trio" if self._driver == "sync" else "sync")
        module = "member_trio" if self._driver == "trio" else "member"
        member = Process(f"member {len(self.members)} ({self._driver})", module, settings)
        member.concurrent = way == "acknowledge"
        self.members.append(self._stack.enter_context(member))
        return member

    def join_java(self, strategies: str, **configs: object) -> JavaMember:
        """One more member, of Java's. `strategies` as in `partition.assignment.strategy`, without the package."""
        package = "org.apache.kafka.clients.consumer."
        quick = {name.replace("_", "."): value for name, value in QUICK.items()}
        names = ",".join(package + name for name in strategies.split(","))
        ours = {**quick, "group.id": self.id, "partition.assignment.strategy": names, **configs}
        member = JavaMember(f"Java's member {len(self.members)}", self.kafka, {"topics": [self.topic], "configs": ours})
        self.members.append(self._stack.enter_context(member))
        return member

    def produce(self, count: int, parts: Sequence[Part] | None = None) -> None:
        """`count` records more in each partition."""
        parts = self.parts if parts is None else parts
        self.kafka.produce(
            Produced(topic, number, value=b"%d" % (self.ends[topic, number] + each))
            for each in range(count)
            for topic, number in parts
        )
        for part in parts:
            self.ends[part] += count

    # -- conditions

    def handled(self) -> dict[Part, set[int]]:
        """What somebody has handled."""
        found: dict[Part, set[int]] = defaultdict(set)
        for member in self.members:
            for tenure in member.tenures():
                found[tenure.part].update(offset for _, offset in tenure.handled)
        return found

    def is_shared_by(self, members: Sequence[Member]) -> bool:
        """Whether each partition has one of these members as its owner, and no other owner."""
        owned = [part for member in members for part in member.owns()]
        return sorted(owned) == self.parts

    def is_handled(self) -> bool:
        """Whether all records are."""
        if sum(member.handled for member in self.members) < sum(self.ends.values()):
            return False
        handled = self.handled()
        return all(len(handled[part]) == end for part, end in self.ends.items())

    def wait(self, what: str, condition: Any, timeout: float = PATIENCE) -> None:
        """Until `condition()`. Fails as soon as a member has, and says what all of them did if it takes long."""

        def fine() -> object:
            for member in self.members:
                failed = member.rows_of("failed")
                assert not failed or member.may_fail, f"{member.name}: {failed}"
            return condition()

        try:
            wait_until(what, fine, timeout)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self}") from None

    def settle(self, members: Sequence[Member], *, evenly: bool = True) -> None:
        """Waits until these members share the partitions, as evenly as can be, and all records are handled."""
        self.wait("the partitions to be shared", lambda: self.is_shared_by(members))
        if evenly:
            self.wait("the partitions to be shared evenly", lambda: self.is_shared_by(members) and self._even(members))
        self.wait("all records to be handled", self.is_handled)

    def _even(self, members: Sequence[Member]) -> bool:
        counts = [len(member.owns()) for member in members]
        return max(counts) - min(counts) <= 1

    def end(self, members: Iterable[Member]) -> None:
        """Closes these members."""
        members = list(members)
        for member in members:
            if isinstance(member, Process):
                member.begin_to_close()  # all at once
        for member in members:
            member.close()

    # -- what must be true

    def tenures(self) -> dict[Part, list[Tenure]]:
        """Who had what, in order."""
        found: dict[Part, list[Tenure]] = defaultdict(list)
        for member in self.members:
            for tenure in member.tenures():
                found[tenure.part].append(tenure)
        return {part: sorted(tenures, key=lambda tenure: tenure.since) for part, tenures in sorted(found.items())}

    def __str__(self) -> str:
        lines = [str(tenure) for tenures in self.tenures().values() for tenure in tenures]
        return "\n".join([f"ends: {sorted(self.ends.items())}", *lines])

    def check(self, *, at_most_once: bool = False) -> None:
        """What at least once means, or at most once, for each partition: see the functions below."""
        try:
            if not at_most_once:
                assert self.is_handled(), "records were never handled"
            for tenures in self.tenures().values():
                check_tenures(tenures)
                if not at_most_once:
                    check_committed(tenures)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self}") from None

    def times(self) -> Counter[tuple[Part, int]]:
        """How often each record was handled."""
        return Counter(((row[2], row[3]), row[4]) for member in self.members for row in member.rows_of("handled"))


def check_tenures(tenures: Sequence[Tenure]) -> None:
    """Who gets a partition begins at what is committed, neither before nor behind, and leaves out nothing.

    Who lets go of it in good order has committed all that it did: the next one does not repeat it. And there are not
    two owners, unless one of them was thrown out and can't know.
    """
    last: Tenure | None = None
    for tenure in tenures:
        start = tenure.floor or 0
        handled = [offset for _, offset in tenure.handled]
        offsets = sorted(handled)
        if not tenure.member.concurrent:
            assert handled == offsets, f"not in order: {tenure}"
        # The threads of a member that was killed may not have come to all of them.
        if not tenure.member.concurrent or tenure.ending in ("revoked", "open"):
            assert offsets == [*range(start, start + len(offsets))], f"not each one from the committed one on: {tenure}"
        else:
            assert len(offsets) == len(set(offsets)), f"one twice: {tenure}"
            assert not offsets or offsets[0] >= start, f"begun before what was committed: {tenure}"
        if last is not None and last.ending == "revoked":
            assert last.until <= tenure.since, f"two owners: {last}; {tenure}"
            if last.handled:
                end = 1 + max(offset for _, offset in last.handled)
                assert start == end, f"not all was committed, or too much: {last}; {tenure}"
        last = tenure


def check_committed(tenures: Sequence[Tenure]) -> None:
    """What was committed when somebody got the partition had been handled by then."""
    done: dict[int, float] = {}
    for tenure in tenures:
        missing = [each for each in range(tenure.floor or 0) if done.get(each, tenure.since) >= tenure.since]
        assert not missing, f"committed and not handled: {missing[:10]}; {tenure}"
        for when, offset in tenure.handled:
            done[offset] = min(when, done.get(offset, when))
