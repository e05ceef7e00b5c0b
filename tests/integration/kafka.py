"""A real Kafka on loopback for the tests, and Java's own clients to fill and to move it.

`KafkaCluster` starts KRaft brokers (each one also a controller) from the jars that tests/java/fetch-jars brings. It
can be used without pytest:

    with JavaHelper() as java, KafkaCluster(java, nodes=3) as cluster:
        cluster.create_topic("orders", partitions=6)
        cluster.produce([Produced("orders", 0, key=b"k", value=b"v")], codec="zstd")
        cluster.move_leader("orders", 0, to=2)
        cluster.kill(2)

Nothing here sleeps and hopes: everything waits for a condition, with a deadline. What was started ends with the `with`
block, and also where the process dies before that (the helper sees its stdin close; brokers get a signal).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

JAVA = Path(__file__).resolve().parent.parent / "java"
DEFAULT_VERSION = "4.4.0"
HOST = "127.0.0.1"

Codec = Literal["none", "gzip", "snappy", "lz4", "zstd"]
CODECS: tuple[Codec, ...] = ("none", "gzip", "snappy", "lz4", "zstd")

# Small and quick to start; a test broker lives for a minute and never gets hot.
JVM = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]


class Unavailable(Exception):
    """This machine can't run a Kafka; the text says what is missing."""


class JavaError(Exception):
    """An operation of the helper failed; `kind` is the simple name of Java's exception."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


def wait_until(what: str, condition: Callable[[], object], timeout: float = 30.0, interval: float = 0.05) -> None:
    """Returns as soon as `condition()` is true; TimeoutError, naming `what`, if that takes too long."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(interval)


def kafka_version() -> str:
    """The version of the brokers in this run."""
    return os.environ.get("KAFKA_VERSION") or DEFAULT_VERSION


def _script(*command: str) -> str:
    """The folder that one of the scripts of tests/java prints."""
    for program in ("java", "javac"):
        if shutil.which(program) is None:
            raise Unavailable(f"no {program} here (a real Kafka needs a JDK, 17 or later)")
    done = subprocess.run(
        [JAVA / command[0], *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"tests/java/{' '.join(command)} failed: {done.stderr.strip()[-600:]}")
    return done.stdout.strip().splitlines()[-1]


# --------------------------------------------------------------------------------------------------------- Java's side


@dataclass(frozen=True)
class Produced:
    """A record to produce. Without a timestamp it is stamped when it is sent."""

    topic: str
    partition: int | None = None
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp: int | None = None


@dataclass(frozen=True)
class Placed:
    """Where a produced record went. `timestamp` is what the broker answered, in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int


@dataclass(frozen=True)
class Consumed:
    """A record as Java's consumer read it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    leader_epoch: int


class JavaHelper:
    """One long-lived JVM with Java's producer, consumer and admin client (tests/java/helper-src).

    They are those of DEFAULT_VERSION, whatever the brokers are.
    """

    def __init__(self) -> None:
        libs = _script("fetch-jars", DEFAULT_VERSION)
        classes = _script("build", "helper")
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  # closed in close()
        command = ["java", "-Xmx256m", *JVM, "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
        command += ["-cp", f"{classes}:{libs}/*", "KafkaHelper"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> JavaHelper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def call(self, op: str, **arguments: object) -> Any:
        """The operation's result; JavaError if it failed. Every operation has a deadline of its own in Java."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise JavaError("HelperDied", self._log.read()[-2000:])
        answer = json.loads(line)
        if "error" in answer:
            raise JavaError(answer["error"], answer["message"])
        return answer["result"]


class JavaClients(ABC):
    """What Java's clients do with a cluster, whoever it is."""

    java: JavaHelper

    @property
    @abstractmethod
    def bootstrap(self) -> str:
        """Where the cluster is."""

    def produce(
        self,
        records: Iterable[Produced],
        codec: Codec = "none",
        transactional_id: str | None = None,
        end: Literal["commit", "abort", "open"] = "commit",
        flush_every: int | None = None,
        idempotent: bool = True,
        configs: Mapping[str, object] | None = None,
        offsets: tuple[str, str, int, int] | None = None,
    ) -> list[Placed]:
        """Produces with Java's producer (acks=all) and tells where each record went.

        With a `transactional_id` all of them are one transaction, which `end` commits, aborts or leaves open: the next
        call with the same id goes on with it, `end_transaction` ends it. `flush_every`: a batch is at most that long.
        `offsets`: (group, topic, partition, offset) to commit as part of the transaction.
        """
        rows = [
            {
                "topic": r.topic,
                "partition": r.partition,
                "key": _hex(r.key),
                "value": _hex(r.value),
                "headers": [[name, _hex(value)] for name, value in r.headers],
                "timestamp": r.timestamp,
            }
            for r in records
        ]
        options: dict[str, object] = {"codec": codec, "idempotent": idempotent, "configs": dict(configs or {})}
        if transactional_id is not None:
            options |= {"transactional_id": transactional_id, "end": end}
        if flush_every is not None:
            options["flush_every"] = flush_every
        if offsets is not None:
            options["offsets"] = dict(zip(("group", "topic", "partition", "offset"), offsets, strict=True))
        return [Placed(**row) for row in self._call("produce", records=rows, **options)]

    def end_transaction(self, transactional_id: str, end: Literal["commit", "abort"]) -> None:
        self._call("end_transaction", transactional_id=transactional_id, end=end)

    def consume(self, topic: str, partition: int = 0, read_committed: bool = False) -> list[Consumed]:
        """What Java's consumer reads from the partition's beginning to its present end."""
        rows = self._call("consume", topic=topic, partition=partition, read_committed=read_committed)
        for row in rows:
            row["key"], row["value"] = _bytes(row["key"]), _bytes(row["value"])
            row["headers"] = tuple((name, _bytes(value)) for name, value in row["headers"])
        return [Consumed(**row) for row in rows]

    def offset(
        self, topic: str, partition: int, at: Literal["earliest", "latest"] | int, read_committed: bool = False
    ) -> int:
        """The first offset, the end, or the first offset at or after a time in milliseconds (-1: none)."""
        answer = self._call("offset", topic=topic, partition=partition, at=at, read_committed=read_committed)
        return int(answer)

    def committed(self, group: str) -> dict[tuple[str, int], tuple[int, str]]:
        """What the group has committed: (topic, partition) -> (offset, metadata)."""
        rows = self._call("committed", group=group)
        return {(row["topic"], row["partition"]): (row["offset"], row["metadata"]) for row in rows}

    def describe_group(self, group: str) -> dict[str, Any]:
        """`state`, `strategy`, `coordinator` (a node) and `members`: of each `id`, `instance` and `partitions`."""
        answer: dict[str, Any] = self._call("describe_group", group=group)
        return answer

    def _call(self, op: str, **arguments: object) -> Any:
        return self.java.call(op, bootstrap=self.bootstrap, **arguments)


# ---------------------------------------------------------------------------------------------------------- the brokers


class KafkaCluster(JavaClients):
    """Brokers 1 to `nodes`, each also a controller, on free ports of 127.0.0.1.

    `configs` are further lines of server.properties. `version`: of Kafka, by default that in KAFKA_VERSION, or
    DEFAULT_VERSION. `java` is shared between clusters. Topics are not created by
    themselves, records of any age are kept, and groups do not wait for more members before they start.
    """

    def __init__(
        self,
        java: JavaHelper,
        nodes: int = 1,
        configs: Mapping[str, object] | None = None,
        version: str | None = None,
    ) -> None:
        self.java = java
        self.version = version or kafka_version()
        self.nodes = range(1, nodes + 1)
        self.configs = dict(configs or {})
        self.ports: dict[int, int] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="dekaf-kafka-"))
        self._libs = _script("fetch-jars", self.version)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> KafkaCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{HOST}:{port}" for port in self.ports.values())

    def close(self) -> None:
        """Ends all brokers, not gently, and removes what they stored."""
        for node in list(self._processes):
            self.kill(node)
        with contextlib.suppress(JavaError):
            self._call("forget")
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- nodes

    def start(self, node: int) -> None:
        """Starts a node that was stopped or killed, and waits until it serves."""
        self._spawn(node)
        self._wait_ready()

    def stop(self, node: int, timeout: float = 20.0) -> None:
        """Ends a node gently: it hands its leaderships over first."""
        process = self._processes.pop(node)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            _kill(process)

    def kill(self, node: int) -> None:
        """Ends a node as a power cut would."""
        _kill(self._processes.pop(node))

    def restart(self, node: int) -> None:
        self.stop(node)
        self.start(node)

    @contextlib.contextmanager
    def paused(self, node: int) -> Iterator[None]:
        """Within the block the node neither answers nor closes its connections."""
        process = self._processes[node]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def log(self, node: int) -> str:
        """What a node has logged since its start, warnings and above."""
        path = self.folder / f"node-{node}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # -- topics

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication: int | None = None,
        configs: Mapping[str, object] | None = None,
        replicas: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """A topic whose partitions all have a leader when this returns. `replicas`: the node ids a partition has."""
        topic: dict[str, object] = {"name": name, "configs": dict(configs or {}), "partitions": partitions}
        topic["replication"] = replication or min(3, len(self.nodes))
        if replicas is not None:
            topic["replicas"] = replicas
        self._call("create_topics", topics=[topic])
        count = len(replicas) if replicas is not None else partitions
        wait_until(f"leaders for {name}", lambda: self._has_leaders(name, count))

    def delete_topic(self, name: str) -> None:
        self._call("delete_topics", topics=[name])

    def alter_topic(
        self, name: str, configs: Mapping[str, object] | None = None, partitions: int | None = None
    ) -> None:
        """Sets configs, or raises the number of partitions."""
        self._call("alter_topic", topic=name, configs=dict(configs or {}), partitions=partitions)

    def describe_topic(self, name: str) -> dict[str, Any]:
        """`id`, and `partitions`: for each `partition`, `leader` (-1: none), `replicas` and `isr`."""
        answer: dict[str, Any] = self._call("describe_topic", topic=name)
        return answer

    def leader(self, topic: str, partition: int) -> int:
        return int(self.describe_topic(topic)["partitions"][partition]["leader"])

    def move_leader(self, topic: str, partition: int, to: int) -> None:
        """Makes `to`, which becomes a replica if it is none, the leader; returns when it is."""
        replicas = self.describe_topic(topic)["partitions"][partition]["replicas"]
        order = [to, *(node for node in replicas if node != to)][: len(replicas)]
        self._call("reassign", topic=topic, partition=partition, replicas=order)

        def moved() -> bool:
            state = self.describe_topic(topic)["partitions"][partition]
            if state["leader"] == to:
                return True
            if to in state["isr"]:
                # Asking too early (the reassignment has not arrived) fails; the next round asks again.
                with contextlib.suppress(JavaError):
                    self._call("elect_preferred", topic=topic, partition=partition)
            return False

        wait_until(f"node {to} to lead {topic}-{partition}", moved)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Moves the log's start to `before`."""
        self._call("delete_records", topic=topic, partition=partition, before=before)

    # -- below

    def _has_leaders(self, topic: str, count: int) -> bool:
        try:
            partitions = self.describe_topic(topic)["partitions"]
        except JavaError as error:
            if error.kind == "UnknownTopicOrPartitionException":  # not yet known to the node that was asked
                return False
            raise
        return len(partitions) == count and all(p["leader"] >= 0 for p in partitions)

    def _start(self) -> None:
        for attempt in range(3):
            self._configure()
            for node in self.nodes:
                self._spawn(node)
            try:
                self._wait_ready()
                return
            except RuntimeError as error:
                # Between our choosing a port and the broker's opening it, another process can take it.
                if attempt == 2 or "already in use" not in str(error):
                    raise
                for node in list(self._processes):
                    self.kill(node)

    def _configure(self) -> None:
        """Writes each node's server.properties and formats its storage."""
        with contextlib.ExitStack() as sockets:  # open at the same time, so that no two are the same
            held = [sockets.enter_context(socket.socket()) for _ in range(2 * len(self.nodes))]
            for each in held:
                each.bind((HOST, 0))
            free = [each.getsockname()[1] for each in held]
        self.ports = dict(zip(self.nodes, free, strict=False))
        controllers = dict(zip(self.nodes, free[len(self.nodes) :], strict=True))
        copies = min(3, len(self.nodes))
        common: dict[str, object] = {
            "process.roles": "broker,controller",
            "controller.quorum.voters": ",".join(f"{n}@{HOST}:{port}" for n, port in controllers.items()),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1,  # tests of members that vanish are not to take long
            "offsets.topic.num.partitions": 3,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.num.partitions": 3,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": 1,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,  # how soon a timeout is noticed
            "share.coordinator.state.topic.num.partitions": 3,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": 1,
            # Records with old timestamps are not to vanish while a test looks at them.
            "log.retention.ms": -1,
            "log.message.timestamp.after.max.ms": 2**63 - 1,
            # 128 MiB by default, of a heap that is not much larger.
            "log.cleaner.dedupe.buffer.size": 4 << 20,
            "log.cleaner.threads": 1,
            "log.cleaner.backoff.ms": 200,  # between two looks at what is to be compacted
            "num.network.threads": 2,
            "num.io.threads": 4,
            # A killed node is noticed soon, a slow machine is not taken for a dead node.
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 6000,
        }
        if self.version.startswith("3."):
            common["group.coordinator.rebalance.protocols"] = "classic,consumer"
        cluster_id = "ZGVrYWYtdGVzdHMtMDAwMA"
        formatting = []
        for node in self.nodes:
            own: dict[str, object] = {
                "node.id": node,
                "listeners": f"PLAINTEXT://{HOST}:{self.ports[node]},CONTROLLER://{HOST}:{controllers[node]}",
                "advertised.listeners": f"PLAINTEXT://{HOST}:{self.ports[node]}",
                "log.dirs": self.folder / f"data-{node}",
            }
            shutil.rmtree(self.folder / f"data-{node}", ignore_errors=True)
            lines = [f"{name}={value}" for name, value in (common | own | self.configs).items()]
            self._properties(node).write_text("\n".join(lines) + "\n")
            command = ["java", "-Xmx128m", *JVM, "-cp", f"{self._libs}/*", "kafka.tools.StorageTool"]
            command += ["format", "--cluster-id", cluster_id, "--config", str(self._properties(node))]
            formatting.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        outputs = [(process.communicate()[0], process.returncode) for process in formatting]
        for output, code in outputs:
            if code:
                raise RuntimeError(f"Kafka's storage could not be formatted: {output[-2000:]}")

    def _properties(self, node: int) -> Path:
        return self.folder / f"server-{node}.properties"

    def _spawn(self, node: int) -> None:
        assert node not in self._processes, f"node {node} runs"
        command = ["java", "-Xmx384m", *JVM, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        command += ["-cp", f"{self._libs}/*", "kafka.Kafka", str(self._properties(node))]
        if setpriv := shutil.which(
            "setpriv"
        ):  # Linux: the broker dies with us, even where we get no chance to clean up
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with (self.folder / f"node-{node}.log").open("wb") as log:
            self._processes[node] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _wait_ready(self) -> None:
        """Until each node that should run takes connections and the cluster counts them all."""

        def ready() -> bool:
            for node, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"Kafka's node {node} ended by itself: {self.log(node)[-3000:]}")
            for node in self._processes:
                try:
                    socket.create_connection((HOST, self.ports[node]), timeout=1).close()
                except OSError:
                    return False
            try:
                return set(self._call("nodes")) >= set(self._processes)
            except JavaError:
                return False

        try:
            wait_until("Kafka to be ready", ready, timeout=90)
        except TimeoutError as error:
            logs = "\n".join(f"node {node}: {self.log(node)[-1500:]}" for node in self._processes)
            raise RuntimeError(f"{error}\n{logs}") from None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
