"""What all nodes of the cluster share: nodes, topics, who leads and coordinates what, and the groups' offsets.

State and the moves that keep it consistent; it answers no request and knows no connection. Everything is in insertion
order or sorted, and ids come from the seed, so that the same calls make the same cluster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final

from dekaf_proto.broker.groups import GroupOptions
from dekaf_proto.broker.log import PartitionLog
from dekaf_proto.broker.membership import Group
from dekaf_proto.broker.placement import Placement
from dekaf_proto.broker.sessions import SessionCache
from dekaf_proto.errors import ErrorCode
from dekaf_proto.events import Address
from dekaf_proto.types import Uuid

_TOPIC_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class NodeState(Enum):
    """Whether a node works, is silent (its process stands still, its connections stay), or is gone."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(slots=True, eq=False)
class Node:
    """A broker of the cluster. `host` is what it advertises and listens on, `address` where it really listens."""

    number: int
    host: str
    port: int
    rack: str | None
    sessions: SessionCache
    state: NodeState = NodeState.RUNNING
    address: Address | None = None

    @property
    def alive(self) -> bool:
        """Whether the rest of the cluster thinks that it works."""
        return self.state is not NodeState.STOPPED


@dataclass(slots=True, eq=False)
class Partition:
    """A partition: its log, which all replicas share, and who leads it (None: nobody can)."""

    topic: Topic
    index: int
    replicas: list[int]
    leader: int | None
    leader_epoch: int = 0
    log: PartitionLog = field(default_factory=PartitionLog)
    #: Where consumers are sent to read (KIP-392).
    preferred_replica: int | None = None
    #: node -> the end of its copy, where a replica lags behind.
    replica_ends: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Topic:
    """A topic. `log_append_time`: whether the broker's clock counts (message.timestamp.type). The other options are
    those of Kafka: max.message.bytes, message.timestamp.after.max.ms, and whether it is `compacted` (cleanup.policy),
    so that each record needs a key."""

    name: str
    id: Uuid
    partitions: list[Partition] = field(default_factory=list)
    log_append_time: bool = False
    max_message_bytes: int = 1_048_588
    timestamp_after_max_ms: int = 3_600_000
    compacted: bool = False
    #: What was set by CreateTopics, by Kafka's names (see `configs`).
    configs: dict[str, str] = field(default_factory=dict)

    @property
    def is_internal(self) -> bool:
        """Whether Kafka itself keeps it."""
        return self.name in ("__consumer_offsets", "__transaction_state")


class Cluster:
    """See the module."""

    def __init__(
        self,
        nodes: Mapping[int, tuple[str, int, str | None]],
        cluster_id: str | None,
        session_limit: int,
        seed: int,
        group_options: GroupOptions | None = None,
        unix_offset: float = 0.0,
    ) -> None:
        self.random = Random(seed)
        self._unix_offset = unix_offset
        self.cluster_id = str(self.new_id()) if cluster_id is None else cluster_id
        self.nodes = {
            number: Node(number, host, port, rack, SessionCache(session_limit, self.random))
            for number, (host, port, rack) in nodes.items()
        }
        self.topics: dict[str, Topic] = {}
        self.groups: dict[str, Group] = {}
        self.group_options = GroupOptions() if group_options is None else group_options
        #: Whether something has happened that a request may have waited for.
        self.news = False
        #: What a Metadata request with permission makes of unknown topics; None: it makes none.
        self.auto_create_partitions: int | None = 1
        self._coordinators = Placement(self.nodes)

    def new_id(self) -> Uuid:
        """An id that nobody has yet."""
        return Uuid(self.random.randbytes(16))

    def unix_ms(self, now: float) -> int:
        """`now` in ms since 1970."""
        return round((now + self._unix_offset) * 1000)

    def changed(self) -> None:
        """Something has happened that a request may have waited for."""
        self.news = True

    # --------------------------------------------------------------------------------------------------------- nodes

    def alive(self) -> list[int]:
        """The numbers of the nodes that are not stopped."""
        return [node.number for node in self.nodes.values() if node.alive]

    def controller(self) -> int:
        """Who is named as controller; -1 if nobody lives."""
        return min(self.alive(), default=-1)

    def endpoint(self, number: int) -> tuple[str, int]:
        """The host and port that a node advertises."""
        node = self.nodes[number]
        return node.host, node.address.port if node.address is not None else node.port

    # -------------------------------------------------------------------------------------------------------- topics

    def create_topic(
        self, name: str, partitions: int, replicas: int | None, topic_id: Uuid | None, log_append_time: bool
    ) -> Topic:
        """A new topic, its partitions led by the nodes in turn. ValueError if it exists or the name is illegal."""
        if not valid_topic_name(name):
            raise ValueError(f"illegal topic name: {name!r}")
        if name in self.topics:
            raise ValueError(f"topic {name!r} exists")
        topic = Topic(name, self.new_id() if topic_id is None else topic_id, log_append_time=log_append_time)
        self.add_partitions(topic, partitions, replicas)
        self.topics[name] = topic
        return topic

    def delete_topic(self, name: str) -> None:
        """The topic is gone, with its records and with what groups have committed for it. KeyError if there is none."""
        del self.topics[name]
        for group in self.groups.values():
            for partition in [partition for partition in group.offsets if partition.topic == name]:
                del group.offsets[partition]
        self.changed()

    def add_partitions(self, topic: Topic, count: int, replicas: int | None = None) -> None:
        """Adds `count` partitions with `replicas` replicas each (None: one on each node, at most three)."""
        numbers = list(self.nodes)
        copies = min(3, len(numbers)) if replicas is None else replicas
        if not 1 <= copies <= len(numbers):
            raise ValueError(f"{copies} replicas on {len(numbers)} nodes")
        for index in range(len(topic.partitions), len(topic.partitions) + count):
            self.add_partition(topic, [numbers[(index + copy) % len(numbers)] for copy in range(copies)])

    def add_partition(self, topic: Topic, replicas: list[int]) -> None:
        """Adds a partition with replicas on these nodes."""
        partition = Partition(topic, len(topic.partitions), replicas, None)
        partition.leader = self._first_alive(partition)
        topic.partitions.append(partition)

    def colliding(self, name: str) -> str | None:
        """A topic whose name differs only in dots and underscores, which Kafka's metrics can't tell apart."""
        alike = name.replace(".", "_")
        return next((other for other in self.topics if other != name and other.replace(".", "_") == alike), None)

    def partition(self, name: str, index: int) -> Partition | None:
        """A partition, None if there is none."""
        topic = self.topics.get(name)
        return topic.partitions[index] if topic is not None and 0 <= index < len(topic.partitions) else None

    def topic_by_id(self, topic_id: Uuid) -> Topic | None:
        """The topic with this id."""
        return next((topic for topic in self.topics.values() if topic.id == topic_id), None)

    def partitions(self) -> Iterator[Partition]:
        """All partitions of all topics."""
        for topic in self.topics.values():
            yield from topic.partitions

    def lead(self, partition: Partition, leader: int | None) -> None:
        """Makes a node the leader, in a new leader epoch."""
        partition.leader = leader
        partition.leader_epoch += 1
        partition.log.start_epoch(partition.leader_epoch)

    def elect(self) -> None:
        """Gives every partition whose leader is gone to its first living replica, if it has one."""
        for partition in self.partitions():
            leader = partition.leader
            if leader is None or not self.nodes[leader].alive:
                chosen = self._first_alive(partition)
                if chosen != leader:
                    self.lead(partition, chosen)

    def _first_alive(self, partition: Partition) -> int | None:
        return next((number for number in partition.replicas if self.nodes[number].alive), None)

    # -------------------------------------------------------------------------------------------------------- groups

    def group(self, name: str) -> Group:
        """The group, made if there is none."""
        found = self.groups.get(name)
        if found is None:
            found = Group(self.coordinator(name), self.group_options, self.random, self.changed)
            self.groups[name] = found
        return found

    def coordinator(self, key: str) -> int | None:
        """Who coordinates a group; None if nobody lives."""
        return self._coordinators.node(key)

    def move_coordinator(self, key: str, node: int, now: float, load_ms: int | None = None) -> None:
        """Makes a node the coordinator of a group, as long as it lives; `load_ms`: None for what the options say."""
        if self._coordinators.put(key, node):
            self._hand_over(key, now, load_ms)

    def move_groups(self, now: float) -> None:
        """Hands each group whose coordinator is another one now over to it."""
        for name, group in self.groups.items():
            if self.coordinator(name) != group.node:
                self._hand_over(name, now)

    def _hand_over(self, name: str, now: float, load_ms: int | None = None) -> None:
        ready = now + (self.group_options.coordinator_load_ms if load_ms is None else load_ms) / 1000
        self._coordinators.load(name, ready)
        if name in self.groups:
            self.groups[name].move(self.coordinator(name), ready)

    def coordinator_error(self, key: str, node: int, now: float) -> ErrorCode:
        """What a node has to say to a request for the coordinator of a group."""
        return self._coordinators.error(key, node, now)

    def group_deadline(self) -> float:
        """When `expire_groups` is due."""
        return min((group.next_deadline() for group in self._working_groups()), default=float("inf"))

    def expire_groups(self, now: float) -> None:
        """Time passes for the groups; not for those whose coordinator stands still."""
        for group in self._working_groups():
            group.handle_timeout(now)

    def _working_groups(self) -> list[Group]:
        return [
            group
            for group in self.groups.values()
            if group.node is not None and self.nodes[group.node].state is NodeState.RUNNING
        ]


def valid_topic_name(name: str) -> bool:
    """Whether Kafka allows a topic of this name."""
    return _TOPIC_NAME.fullmatch(name) is not None and name not in (".", "..")
