"""`Controls`: what a program does to an embedded broker that runs, in whichever driver.

The same as the methods of `Broker`, without `now`: a driver says how and when the broker is reached (`call`). None of
these waits for clients; what they cause has happened at the broker when they return.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from dekaf_proto.broker.engine import Broker, ReceivedRequest
from dekaf_proto.broker.faults import Fault
from dekaf_proto.broker.groups import CommittedOffset, GroupOptions, GroupSnapshot
from dekaf_proto.broker.inprocess import NewRecord
from dekaf_proto.broker.log import AnyRecord
from dekaf_proto.errors import ConfigurationError, InternalError, LocalProtocolError
from dekaf_proto.events import Listen
from dekaf_proto.records import Codec
from dekaf_proto.types import TopicPartition
from dekaf_proto.wire.schema import Message

T = TypeVar("T")
M = TypeVar("M", bound=Message)

#: Addresses that mean "all of this machine's": a client can't connect to them.
_ALL = ("", "0.0.0.0", "::")


class Controls(ABC):
    """See the module. Topics, partitions, nodes and members that do not exist raise KeyError; a number or a name that
    can't be, ValueError."""

    @abstractmethod
    def call(self, action: Callable[[Broker, float], T]) -> T:
        """Returns `action(broker, now)`, run where the broker runs: for whatever has no method here."""

    # -------------------------------------------------------------------------------------------------------- cluster

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of each node, with commas between."""
        endpoints = self.call(lambda broker, _: [broker.cluster.endpoint(node) for node in broker.nodes])
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in endpoints)

    @property
    def nodes(self) -> list[int]:
        """The numbers of all nodes, running or not."""
        return self.call(lambda broker, _: broker.nodes)

    def stop_node(self, node: int, *, elect: bool = True) -> None:
        """A node dies: its connections close, and it refuses new ones. With `elect=False` the others do not notice:
        what it led has no leader that works."""
        self.call(lambda broker, now: broker.stop_node(node, now, elect=elect))

    def start_node(self, node: int) -> None:
        """A stopped node comes back, at the same port."""
        self.call(lambda broker, now: broker.start_node(node, now))

    def pause_node(self, node: int) -> None:
        """A node stands still: it takes connections, and answers nothing."""
        self.call(lambda broker, now: broker.pause_node(node, now))

    def resume_node(self, node: int) -> None:
        """A paused node goes on."""
        self.call(lambda broker, now: broker.resume_node(node, now))

    def disconnect(self, node: int | None = None) -> None:
        """Closes the connections to a node, or all of them."""
        self.call(lambda broker, _: broker.disconnect(node))

    def leader(self, topic: str, partition: int) -> int | None:
        """The node that leads a partition, None if none does."""
        return self.call(lambda broker, _: broker.leader(topic, partition))

    def move_leader(self, topic: str, partition: int, node: int | None) -> None:
        """Makes a node the leader of a partition; None takes its leader away."""
        self.call(lambda broker, _: broker.move_leader(topic, partition, node))

    def coordinator(self, group: str) -> int | None:
        """The node that coordinates a group."""
        return self.call(lambda broker, _: broker.coordinator(group))

    def move_coordinator(self, group: str, node: int, *, load_ms: int | None = None) -> None:
        """Makes a node the coordinator of a group; for `load_ms` it is busy with reading the group's past."""
        self.call(lambda broker, now: broker.move_coordinator(group, node, now, load_ms=load_ms))

    # --------------------------------------------------------------------------------------------------------- topics

    @property
    def topics(self) -> list[str]:
        """The names of all topics."""
        return self.call(lambda broker, _: broker.topics)

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        *,
        replicas: int | None = None,
        log_append_time: bool = False,
        compacted: bool = False,
        max_message_bytes: int = 1_048_588,
    ) -> None:
        """Creates a topic, by default with replicas on three nodes, or on as many as there are. What is `compacted`
        takes no record without a key. ValueError if it exists, or can't be."""
        _check_count(name, partitions)
        self.call(
            lambda broker, _: broker.create_topic(
                name,
                partitions,
                replicas=replicas,
                log_append_time=log_append_time,
                compacted=compacted,
                max_message_bytes=max_message_bytes,
            )
        )

    def create_partitions(self, name: str, count: int) -> None:
        """Adds `count` partitions to a topic."""
        self.call(lambda broker, _: broker.create_partitions(name, count))

    def delete_topic(self, name: str) -> None:
        """Deletes a topic with its records, and the offsets that groups have committed for it."""
        self.call(lambda broker, _: broker.delete_topic(name))

    def recreate_topic(self, name: str, partitions: int | None = None) -> None:
        """Deletes a topic and creates it anew at once: empty, and with another id."""
        self.call(lambda broker, _: broker.recreate_topic(name, partitions))

    # -------------------------------------------------------------------------------------------------------- records

    def append(
        self,
        topic: str,
        partition: int,
        records: Sequence[bytes | NewRecord | None],
        *,
        codec: Codec = Codec.NONE,
        per_batch: int | None = None,
        producer_id: int = -1,
        transactional: bool = False,
    ) -> int:
        """Appends records, each a value or a NewRecord, as one batch or in batches of `per_batch`; returns the first
        one's offset. `transactional`: they belong to a transaction of `producer_id`, which `end_transaction` ends."""
        return self.call(
            lambda broker, now: broker.append(
                topic,
                partition,
                records,
                now,
                codec=codec,
                per_batch=per_batch,
                producer_id=producer_id,
                producer_epoch=0 if producer_id >= 0 else -1,
                transactional=transactional,
            )
        )

    def end_transaction(self, topic: str, partition: int, producer_id: int, *, commit: bool) -> None:
        """Ends a producer's transaction in a partition."""

        def end(broker: Broker, now: float) -> None:
            marker = broker.commit_transaction if commit else broker.abort_transaction
            marker(topic, partition, producer_id, now)

        self.call(end)

    def records(self, topic: str, partition: int | None = None) -> list[AnyRecord]:
        """The records that a partition has, or all partitions have, by partition and offset; committed or not."""
        return self.call(lambda broker, _: broker.records(topic, partition))

    def end_offset(self, topic: str, partition: int) -> int:
        """The offset that the next record gets."""
        return self.call(lambda broker, _: broker.end_offset(topic, partition))

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Deletes the records below the offset `before`."""
        self.call(lambda broker, _: broker.delete_records(topic, partition, before))

    def retain(self, *, ms: int | None = None, max_bytes: int | None = None) -> None:
        """Retention, now: each partition loses what is older than `ms`, and the oldest of more than `max_bytes`."""
        self.call(lambda broker, now: broker.retain(now, ms=ms, max_bytes=max_bytes))

    def compact(self, topic: str, partition: int, keep: Callable[[AnyRecord], bool] | None = None) -> None:
        """Compaction, now: by default only the last record of each key stays."""
        self.call(lambda broker, _: broker.compact(topic, partition, keep))

    # --------------------------------------------------------------------------------------------------------- groups

    def group(self, group: str) -> GroupSnapshot:
        """A group as it is now: its state, generation and members, with their partitions."""
        return self.call(lambda broker, _: broker.group(group))

    def committed(self, group: str) -> dict[TopicPartition, CommittedOffset]:
        """What a group has committed."""
        return self.call(lambda broker, _: broker.committed(group))

    def commit(self, group: str, offsets: Mapping[TopicPartition, CommittedOffset | int]) -> None:
        """Stores offsets for a group, whoever its members are; a negative one erases."""
        self.call(lambda broker, _: broker.commit(group, offsets))

    def expire_member(self, group: str, member: str) -> None:
        """Puts a member (by its member id or instance id) out of its group, as if its session had expired."""
        self.call(lambda broker, now: broker.expire_member(group, member, now))

    # --------------------------------------------------------------------------------------------------------- faults

    def add_fault(self, fault: Fault) -> Fault:
        """Has requests go wrong as `fault` says; returns it, and its `hits` count them."""
        self.call(lambda broker, _: broker.faults.put(fault))
        return fault

    def remove_fault(self, fault: Fault) -> None:
        """Takes a fault back, spent or not."""
        self.call(lambda broker, _: broker.faults.remove(fault))

    def clear_faults(self) -> None:
        """Takes all faults back."""
        self.call(lambda broker, _: broker.faults.clear())

    def expire_sessions(self, node: int | None = None) -> None:
        """A node forgets its fetch sessions, or all do."""
        self.call(lambda broker, _: broker.expire_sessions(node))

    def limit_sessions(self, count: int) -> None:
        """How many fetch sessions each node keeps from now on; 0 is a cache that is always full."""

        def limit(broker: Broker, _: float) -> None:
            for node in broker.cluster.nodes.values():
                node.sessions.limit = count

        self.call(limit)

    # ---------------------------------------------------------------------------------------------- what clients asked

    def requests(self, cls: type[M], node: int | None = None) -> list[M]:
        """The last requests of a class (of `dekaf_proto.messages`) that came, to a node or to all."""
        return self.call(lambda broker, _: broker.requests_of(cls, node))

    def received(self) -> list[ReceivedRequest]:
        """The last requests of all kinds, each with its node, its connection and its header."""
        return self.call(lambda broker, _: list(broker.requests))


def make_engine(
    engine: Broker | None,
    *,
    nodes: int | Sequence[int],
    host: str,
    port: int,
    topics: Mapping[str, int] | None,
    auto_create_partitions: int | None,
    release: str | None,
    group_options: GroupOptions | None,
    unix_offset: float,
) -> Broker:
    """What both drivers make of their arguments. An `engine` that is given has its own; it only gets the topics.

    Raises ConfigurationError, and ValueError for what the engine refuses.
    """
    if host in _ALL:
        raise ConfigurationError("host", "must be an address that clients can connect to: nodes advertise it")
    if not 0 <= port <= 65535:
        raise ConfigurationError("port", f"must be between 0 and 65535, not {port}")
    count = nodes if isinstance(nodes, int) else len(nodes)
    if port and port + count - 1 > 65535:
        raise ConfigurationError("port", f"{count} nodes need the ports {port} to {port + count - 1}")
    if topics is not None and not isinstance(topics, Mapping):
        raise ConfigurationError("topics", f'must be a mapping, such as {{"orders": 2}}, not {topics!r}')
    if engine is None:
        engine = Broker(
            nodes=nodes,
            host=host,
            port=port,
            auto_create_partitions=auto_create_partitions,
            release=release,
            group_options=group_options,
            unix_offset=unix_offset,
        )
    for name, partitions in (topics or {}).items():
        _check_count(name, partitions)
        engine.create_topic(name, partitions)
    return engine


def crashed(cause: BaseException) -> InternalError | LocalProtocolError:
    """What the program is told after the engine has raised: that it was wrong itself, or that dekaf was."""
    error: InternalError | LocalProtocolError
    if isinstance(cause, LocalProtocolError):
        error = LocalProtocolError(f"the embedded broker has stopped: {cause}")
    else:
        error = InternalError(f"the embedded broker has crashed; this is a bug in dekaf: {cause!r}")
    error.__cause__ = cause
    return error


def _check_count(topic: str, partitions: int) -> None:
    if partitions < 1:
        raise ValueError(f"topic {topic!r} has to have at least 1 partition, not {partitions!r}")


def can_t_listen(order: Listen, reason: str) -> str:
    """What to say if a node can't have its port."""
    return f"node {order.node} can't listen on {order.host}:{order.port} ({reason}): choose another port"
