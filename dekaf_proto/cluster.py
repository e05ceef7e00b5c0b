"""What is known of the cluster: brokers, topics with their ids, leaders and epochs.

Fed by Metadata responses, leader hints in Fetch responses, and the epochs that commits and offset look-ups bring along.
What a response says of a topic is taken partition by partition, so that a stale or failing answer never undoes what was
known better (M3-M7). Which coordinator is where is the client's affair, as is when to ask again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.metadata import MetadataResponse, MetadataResponseTopic
from dekaf_proto.types import TopicPartition, Uuid


@dataclass(frozen=True, slots=True)
class BrokerInfo:
    """A broker as the cluster advertises it."""

    node_id: int
    host: str
    port: int
    rack: str | None = None


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """Who leads a partition; `leader` is -1 while nobody does, `leader_epoch` -1 while it is not known."""

    leader: int
    leader_epoch: int = -1
    replicas: tuple[int, ...] = ()
    offline_replicas: tuple[int, ...] = ()


@dataclass(slots=True)
class TopicInfo:
    """A topic. `error` is what the last answer said of it, if it was not good; the rest is what was known before."""

    name: str
    topic_id: Uuid
    is_internal: bool
    partitions: dict[int, PartitionInfo]
    error: ErrorCode = ErrorCode.NONE


class Cluster:
    """The cluster as far as it is known. `version` grows with each change, so that others see that there was one."""

    def __init__(self) -> None:
        self.cluster_id: str | None = None
        self.controller_id = -1
        self.brokers: dict[int, BrokerInfo] = {}
        self.topics: dict[str, TopicInfo] = {}
        self.version = 0
        self._names: dict[Uuid, str] = {}

    def leader(self, tp: TopicPartition) -> PartitionInfo | None:
        """Who leads `tp`, None while that is not known."""
        topic = self.topics.get(tp.topic)
        info = topic.partitions.get(tp.partition) if topic is not None else None
        return info if info is not None and info.leader in self.brokers else None

    def topic_id(self, topic: str) -> Uuid:
        """The id of a topic, `Uuid.ZERO` while it has none."""
        info = self.topics.get(topic)
        return info.topic_id if info is not None else Uuid.ZERO

    def partitions(self, topic: str) -> list[int]:
        """The numbers of a topic's partitions, in order; empty while it is unknown."""
        info = self.topics.get(topic)
        return sorted(info.partitions) if info is not None else []

    def update(self, response: MetadataResponse, version: int) -> bool:
        """Takes a Metadata response; False for one without brokers, which means nothing (M7)."""
        if not response.brokers:
            return False
        self.brokers = {b.node_id: BrokerInfo(b.node_id, b.host, b.port, b.rack) for b in response.brokers}
        self.cluster_id = response.cluster_id or self.cluster_id
        self.controller_id = response.controller_id
        for topic in response.topics:
            name = topic.name or self._names.get(topic.topic_id)
            if name is not None:
                self._update_topic(name, topic, version)
        self.version += 1
        return True

    def forget_others(self, response: MetadataResponse) -> None:
        """Takes note of the topics that do not exist any more, where a response names all that do."""
        there = {topic.name for topic in response.topics}
        for name, topic in self.topics.items():
            if name not in there:
                topic.error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    def _update_topic(self, name: str, answer: MetadataResponseTopic, version: int) -> None:
        known = self.topics.get(name)
        error = ErrorCode.of(answer.error_code)
        if error is not ErrorCode.NONE:
            if known is not None:  # what is known stays: the error may pass (M5)
                known.error = error
            else:
                self.topics[name] = TopicInfo(name, answer.topic_id, answer.is_internal, {}, error)
            return
        before_id = known.topic_id if known is not None else Uuid.ZERO
        topic_id = answer.topic_id or before_id  # in a cluster that is being upgraded not every broker tells the id
        recreated = bool(before_id) and topic_id != before_id
        old = known.partitions if known is not None and not recreated else {}
        partitions = {}
        for p in answer.partitions:
            epoch = p.leader_epoch if version >= 9 else -1  # older brokers' epochs can't be trusted (M3)
            before = old.get(p.partition_index)
            if before is not None and 0 <= epoch < before.leader_epoch:
                partitions[p.partition_index] = before  # an answer older than what is known (M4)
            elif before is not None and p.leader_id < 0 and p.error_code != 0:
                partitions[p.partition_index] = before  # no leader at the moment: better to ask the last one (M5)
            else:
                partitions[p.partition_index] = PartitionInfo(
                    p.leader_id, epoch, tuple(p.replica_nodes), tuple(p.offline_replicas)
                )
        self.topics[name] = TopicInfo(name, topic_id, answer.is_internal, partitions)
        if topic_id:
            self._names[topic_id] = name

    def leader_hint(self, tp: TopicPartition, leader: int, epoch: int, endpoints: Iterable[BrokerInfo]) -> bool:
        """Takes a new leader out of another response, if it is news (F27); whether it was."""
        topic = self.topics.get(tp.topic)
        info = topic.partitions.get(tp.partition) if topic is not None else None
        if topic is None or info is None or leader < 0 or epoch < 0 or epoch <= info.leader_epoch:
            return False
        added = {b.node_id: b for b in endpoints}
        if leader not in added and leader not in self.brokers:
            return False
        self.brokers = {**self.brokers, **added}
        topic.partitions[tp.partition] = replace(info, leader=leader, leader_epoch=epoch)
        self.version += 1
        return True

    def is_behind(self, tp: TopicPartition, epoch: int) -> bool:
        """Whether somebody knows a newer leader epoch than we do: then new metadata is due (F28)."""
        topic = self.topics.get(tp.topic)
        info = topic.partitions.get(tp.partition) if topic is not None else None
        return info is not None and 0 <= info.leader_epoch < epoch
