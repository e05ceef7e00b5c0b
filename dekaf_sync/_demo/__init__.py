"""The demo: a group of two consumers, of which one is killed, and an account of what was done, lost and done again.

__init__   the story: what happens when
cluster    where the orders are: in an embedded broker, or in a topic of a real Kafka
topic      makes that one, fills it and deletes it, with what `asking` brings to brokers
worker     a consumer, in a process of its own; writes what it does into its journal
account    reads the journals and checks what they say
screen     a live table where there is a terminal and rich, else lines
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from dekaf_proto.errors import KafkaError
from dekaf_sync._demo.account import Account, Journal
from dekaf_sync._demo.cluster import Cluster, Embedded, Real
from dekaf_sync._demo.screen import Screen, make_screen

#: The one that is killed, and the one that is left.
VICTIM: Final = "automatic"
SURVIVOR: Final = "by hand"
#: How long nothing may happen before the demo gives up, in seconds.
PATIENCE: Final = 30.0
#: How many orders the victim has to have done and not committed when it is killed.
UNCOMMITTED: Final = 10
#: How often it looks at everything, in seconds.
LOOK: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much, and how fast. At `speed` 1 an order takes 20 ms, and 40 come a second."""

    orders: int = 400
    partitions: int = 4
    speed: float = 1.0
    plain: bool = False
    servers: str | None = None

    @property
    def session_ms(self) -> int:
        """After how long a member that says nothing is taken for dead. A real Kafka allows no less than 6 s."""
        return 6_000 if self.servers else max(2_000, round(3_000 / self.speed))


class Worker:
    """A consumer in a process of its own. It ends when its standard input does, or when it is killed."""

    def __init__(self, name: str, folder: Path, cluster: Cluster, plan: Plan) -> None:
        self.name: Final = name
        self.journal: Final = Journal(folder / f"{name}.journal")
        self._errors: Final = (folder / f"{name}.errors").open("w+")
        order = {
            "strategy": name,
            "servers": cluster.servers,
            "topic": cluster.topic,
            "group": cluster.group,
            "journal": str(self.journal.path),
            "work": 0.02 / plan.speed,
            "session_ms": plan.session_ms,
            "commit_ms": max(100, round(1_000 / plan.speed)),
        }
        self._process: Final = subprocess.Popen(
            [sys.executable, "-m", "dekaf_sync._demo.worker", json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # so that Ctrl+C is for the demo, which then ends it
        )

    def kill(self) -> None:
        """No goodbye: SIGKILL, or what comes next to it."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Asks it to end, and waits for that."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._errors.close()

    def check(self) -> None:
        """Raises if it has ended."""
        if self._process.poll() is not None:
            self._errors.seek(0)
            raise DemoError(f"the consumer {self.name!r} has ended by itself:\n{self._errors.read().strip()}")


class DemoError(Exception):
    """The demo can't go on."""


class Stalled(DemoError):
    """Nothing happens any more."""


def run(plan: Plan) -> int:
    """Shows it all; returns 0 if the account is right, else 1."""
    started = time.monotonic()
    with ExitStack() as stack:
        try:
            cluster: Cluster = Real(plan.servers, plan) if plan.servers else Embedded(plan)
            stack.enter_context(cluster)
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="dekaf-demo-")))
            account = Account(cluster.offsets())
            screen = stack.enter_context(make_screen(plan.plain, account))
            screen.say(f"{cluster.description}.")
            screen.say("Two consumers of one group, each in a process of its own:")
            screen.say(f"  {VICTIM!r} commits what it has finished by itself, every so often")
            screen.say(f"  {SURVIVOR!r} calls commit() after each batch")
            workers = []
            for name in (VICTIM, SURVIVOR):
                workers.append(Worker(name, folder, cluster, plan))
                stack.callback(workers[-1].stop)
            _tell(_Story(cluster, account, screen, *workers))
        except (DemoError, KafkaError) as error:
            print(f"dekaf demo: {error}", file=sys.stderr)
            return 1
    print()
    for line in account.summary(VICTIM, SURVIVOR):
        print(line)
    failures = account.failures(VICTIM, SURVIVOR)
    for failure in failures:
        print(f"FAILED: {failure}")
    if not failures:
        print(f"All of this was checked. It took {time.monotonic() - started:.1f} s.")
    return 1 if failures else 0


class _Story:
    """The parts that `_tell` needs, and the look at everything that it takes again and again."""

    def __init__(self, cluster: Cluster, account: Account, screen: Screen, victim: Worker, survivor: Worker) -> None:
        self.cluster, self.account, self.screen = cluster, account, screen
        self.victim, self.survivor = victim, survivor
        self.alive = [victim, survivor]
        self._last = (0, time.monotonic())
        self._lock: Final = threading.Lock()
        cluster.watch(self._commit_came)

    def look(self) -> None:
        """Feeds what is due, reads what is committed, and then what the workers have done."""
        self.cluster.feed()
        committed = self.cluster.committed()
        with self._lock:
            self._read_journals()
            self.account.look(committed)
            events = self.account.take_events()
        for event in events:
            self.screen.say(event)
        self.screen.show()
        for worker in self.alive:
            worker.check()
        now, seen = time.monotonic(), self.account.lines
        if seen != self._last[0]:
            self._last = (seen, now)
        elif now - self._last[1] > PATIENCE:
            raise Stalled(f"nothing has happened for {PATIENCE:g} s: {self.account.left()} orders are not done")
        time.sleep(LOOK)

    def _commit_came(self, offsets: Mapping[int, int]) -> None:
        """Called in the broker's thread."""
        with self._lock:
            self._read_journals()
            self.account.commit(offsets)

    def _read_journals(self) -> None:
        for worker in (self.victim, self.survivor):
            self.account.read(worker.name, worker.journal.read())


def _tell(story: _Story) -> None:
    cluster, account, screen = story.cluster, story.account, story.screen
    while not (account.owned(VICTIM) and account.owned(SURVIVOR)):
        story.look()
    cluster.begin()
    # So that there is something to be done again, it is killed when some of what it has done is not committed.
    while (
        len(account.done) < 0.45 * cluster.total
        or not account.owned(VICTIM)
        or (account.uncommitted(VICTIM) < UNCOMMITTED and account.left())
    ):
        story.look()
    killed = time.monotonic()
    story.alive.remove(story.victim)
    story.victim.kill()
    story.look()
    account.killed(VICTIM)
    count = account.uncommitted(VICTIM)
    screen.say(f"{VICTIM!r} is KILLED, without a goodbye; {count} of the orders that it has done are not committed")
    while set(account.owned(SURVIVOR)) != set(cluster.partitions):
        story.look()
    screen.say(f"after {time.monotonic() - killed:.1f} s the group has noticed: {SURVIVOR!r} has all partitions")
    with suppress(Stalled):  # the account says what is missing
        while len(account.done) < cluster.total or not account.all_committed():
            story.look()
    story.alive.remove(story.survivor)
    story.survivor.stop()
    story.look()
