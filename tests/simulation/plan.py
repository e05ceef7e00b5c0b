"""What a seed stands for: the cluster, the group's members and what they are like. What befalls them is in `world`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any, Final


class Mode(Enum):
    """How a program reads and commits."""

    AUTO = "for each record, automatic commits"
    BATCHES = "batches, automatic commits"
    MANUAL = "a commit after each record"
    MANUAL_BATCHES = "a commit after each batch"
    UNWAITED = "a commit after each record, not waited for"
    EXPLICIT = "acknowledgements in any order"
    AT_MOST_ONCE = "committed before it is handed out"


AT_LEAST_ONCE: Final = [mode for mode in Mode if mode is not Mode.AT_MOST_ONCE]
AUTOMATIC: Final = (Mode.AUTO, Mode.BATCHES, Mode.EXPLICIT)
STRATEGIES: Final = (
    ("range",),
    ("roundrobin",),
    ("sticky",),
    ("cooperative-sticky",),
    ("cooperative-sticky",),
    ("cooperative-sticky", "range"),
    ("range", "cooperative-sticky"),
)
#: Seconds; short ones, so that much happens in little time.
SESSION, HEARTBEAT, POLL_INTERVAL, API_TIMEOUT, CLOSE_TIMEOUT = 3.0, 0.8, 6.0, 5.0, 4.0
#: How long a worker may take for a record: longer than anybody waits for it.
SLOW: Final = (5.0, 10.0)
#: Bytes: some members have room for a few batches only.
LITTLE_MEMORY: Final = 3000


@dataclass(slots=True)
class Member:
    """One program, through all its restarts."""

    name: str
    mode: Mode
    instance: str | None
    topics: list[str]
    work: float
    seeks: bool
    listens: float
    options: dict[str, Any]


@dataclass(slots=True)
class Plan:
    """See the module. `calm`: nothing goes wrong, programs only come and go."""

    seed: int
    calm: bool
    nodes: int
    topics: dict[str, int]
    latency: float
    jitter: float
    max_chunk: int | None
    initial_delay: float
    seconds: float
    records: int
    at_most_once: bool
    #: What programs see: only what is committed in transactions, or everything.
    read_committed: bool
    #: Whether part of the feed is in transactions, and whether topics are deleted and made again.
    transactions: bool
    recreates: bool
    members: list[Member] = field(default_factory=list)

    @property
    def seeks(self) -> bool:
        """Whether any program seeks."""
        return any(member.seeks for member in self.members)


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    random = Random(f"plan {seed}")
    topics = {name: random.randint(1, 4) for name in ("a", "b")[: random.randint(1, 2)]}
    plan = Plan(
        seed=seed,
        calm=random.random() < 0.25,
        nodes=random.choice((1, 2, 3, 3)),
        topics=topics,
        latency=random.choice((0.001, 0.005, 0.03)),
        jitter=random.choice((0.0, 0.0, 0.02)),
        max_chunk=random.choice((None, None, None, 200)),
        initial_delay=random.choice((0.0, 0.0, 0.5)),
        seconds=random.uniform(4, 15),
        records=random.randint(20, 100),
        at_most_once=random.random() < 0.15,
        read_committed=random.random() < 0.5,
        transactions=random.random() < 0.5,
        recreates=False,
    )
    if plan.at_most_once and random.random() < 0.4:
        plan.calm = True  # elsewhere nothing can be said of what is lost
    strategy = random.choice(STRATEGIES)
    seeks = not plan.at_most_once and not plan.calm and random.random() < 0.2
    # After a seek nothing can be said of where a topic that was made again has to be read from.
    plan.recreates = not plan.calm and not seeks and random.random() < 0.25
    for number in range(random.randint(1, 4)):
        names = list(topics) if not number or random.random() < 0.8 else [random.choice(list(topics))]
        plan.members.append(_member(plan, random, number, strategy, names, seeks))
    return plan


def _member(
    plan: Plan, random: Random, number: int, strategy: tuple[str, ...], names: list[str], seeks: bool
) -> Member:
    mode = Mode.AT_MOST_ONCE if plan.at_most_once else random.choice(AT_LEAST_ONCE)
    if len(strategy) > 1 and random.random() < 0.5:
        strategy = strategy[::-1]
    instance = f"i{number}" if random.random() < 0.3 else None
    options: dict[str, Any] = {
        "group_id": "g",
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed" if plan.read_committed else "read_uncommitted",
        "partition_assignment_strategy": list(strategy),
        "group_instance_id": instance,
        "session_timeout_ms": int(SESSION * 1000 * (random.choice((1, 5)) if instance is not None else 1)),
        "heartbeat_interval_ms": int(HEARTBEAT * 1000),
        "max_poll_interval_ms": int(POLL_INTERVAL * 1000),
        "enable_auto_commit": mode in AUTOMATIC or mode is Mode.AT_MOST_ONCE,
        "auto_commit_interval_ms": random.choice((100, 700, 5000)),
        "fetch_max_wait_ms": 2000,
        "request_timeout_ms": random.choice((2500, 5000)),
        "default_api_timeout_ms": int(API_TIMEOUT * 1000),
        "close_timeout_ms": int(CLOSE_TIMEOUT * 1000),
        "retry_backoff_ms": 50,
        "reconnect_backoff_ms": 30,
        "reconnect_backoff_max_ms": 300,
        "fetch_max_buffered_bytes": random.choice((33_554_432, 33_554_432, LITTLE_MEMORY)),
        "max_poll_records": random.choice((1, 3, 50)),
        "revocation_drain_ms": 2000,
    }
    if mode is Mode.EXPLICIT:
        options["acknowledgement_mode"] = "explicit"
        options["max_unacknowledged_records"] = random.choice((1, 4, 1000))
    if mode is Mode.AT_MOST_ONCE:
        options["delivery"] = "at_most_once"
    return Member(
        name=f"p{number}",
        mode=mode,
        instance=instance,
        topics=names,
        work=random.choice((0.0, 0.005, 0.05)),
        seeks=seeks and mode is not Mode.EXPLICIT and random.random() < 0.5,
        listens=random.choice((0.0, 0.0, 0.3)),
        options=options,
    )
