"""The embedded broker's answers to who reads and commits, and Kafka's: odd requests in every version, the same answers.

Those of consumers that know what they do are compared in the other tests, by what the consumers see.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.messages import (
    FetchRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    OffsetForLeaderEpochRequest,
)
from dekaf_proto.messages.fetch import FetchPartition, FetchTopic
from dekaf_proto.messages.list_offsets import ListOffsetsPartition, ListOffsetsTopic
from dekaf_proto.messages.metadata import MetadataRequestTopic
from dekaf_proto.messages.offset_commit import OffsetCommitRequestPartition, OffsetCommitRequestTopic
from dekaf_proto.messages.offset_fetch import OffsetFetchRequestGroup
from dekaf_proto.messages.offset_for_leader_epoch import OffsetForLeaderPartition, OffsetForLeaderTopic
from dekaf_proto.types import Uuid
from tests.broker.members import GroupPeer, Members
from tests.broker.peer import START
from tests.broker.producing import Producer, made
from tests.integration.kafka import KafkaCluster
from tests.integration.test_admin import UNKNOWN_ID, differences, facts
from tests.integration.wire import Wire

NOW = int(time.time() * 1000)
TOPIC = "reading"


class Asker:
    """Asks for a topic of two partitions, of which the first has records 0 to 5, and notes the facts of the answers."""

    def __init__(self, peer: Members, version: int) -> None:
        self.peer = peer
        self.version = version
        self.seen: list[Any] = []
        found = peer.ask(MetadataRequest([MetadataRequestTopic(name=TOPIC)]), 12)
        self.topic_id = found.topics[0].topic_id

    def ask(self, request: Any) -> Any:
        answer = self.peer.ask(request, self.version)
        self.seen.append(facts(_without_ids(answer), self.version))
        return answer


def _without_ids(answer: Any) -> Any:
    """Sessions have random numbers, and records are buffers."""
    if hasattr(answer, "session_id"):
        answer.session_id = bool(answer.session_id)
        for partition in [partition for topic in answer.responses for partition in topic.partitions]:
            partition.records = None if partition.records is None else len(partition.records)
    return answer


def metadata(asker: Asker) -> None:
    def show(*topics: tuple[Uuid, str | None], operations: bool = False, of_cluster: bool = False) -> None:
        asked = [MetadataRequestTopic(topic_id, name) for topic_id, name in topics]
        asker.ask(MetadataRequest(asked, True, of_cluster, operations))

    none, known, version = Uuid.ZERO, asker.topic_id, asker.version
    show((none, TOPIC), (none, "nowhere"), (none, "a b"), (none, TOPIC))
    if version >= 8:
        show((none, TOPIC), (none, "nowhere"), operations=True)
        if version <= 10:
            show((none, TOPIC), of_cluster=True)
    if version >= 10:
        show((known, None), (none, TOPIC))
        show((known, None), (UNKNOWN_ID, None), (known, None))
        show((known, TOPIC))


def fetching(asker: Asker) -> None:
    version = asker.version

    def fetch(offset: int, *others: int, epoch: int = -1, last: int = -1, session: int = -1, **more: int) -> None:
        asked = [
            FetchPartition(partition, epoch, offset, last, partition_max_bytes=more.get("most", 10_000))
            for partition in (0, *others)
        ]
        by_id = version >= 13
        topics = [FetchTopic("" if by_id else TOPIC, asker.topic_id if by_id else Uuid.ZERO, asked)]
        topics.insert(0, FetchTopic("" if by_id else "nowhere", UNKNOWN_ID if by_id else Uuid.ZERO, asked[:1]))
        request = FetchRequest(max_wait_ms=0, max_bytes=more.get("max_bytes", 10_000), topics=topics)
        if version >= 7:
            request.session_epoch = session
        asker.ask(request)

    for offset in (-5, -1, 0, 1, 6, 7):
        fetch(offset, 1, 9)
    for most in (0, 1, 200):
        fetch(0, 1, most=most)
        fetch(0, 1, max_bytes=most)
    if version >= 7:
        fetch(0, 1, session=0)
        fetch(0, 1, session=5)
    if version >= 9:
        for epoch in (-2, 0, 1):
            fetch(0, epoch=epoch)
            fetch(99, epoch=epoch)
    if version >= 12:
        for last in (-2, 0, 1):
            for offset in (-1, 0, 6, 7):
                fetch(offset, epoch=0, last=last)


def looking_up(asker: Asker) -> None:
    def look_up(*asked: tuple[int, int, int]) -> None:
        partitions = [ListOffsetsPartition(partition, epoch, timestamp) for partition, epoch, timestamp in asked]
        asker.ask(ListOffsetsRequest(-1, 0, [ListOffsetsTopic(TOPIC, partitions)]))

    for timestamp in (0, NOW, NOW + 1, NOW + 2, NOW + 10, -1, -2, -3, -4, -5, -6, -7):
        look_up((0, -1, timestamp), (1, -1, timestamp), (9, -1, timestamp))
    look_up((0, -1, -1), (0, -1, -2), (1, -1, -1))
    look_up()
    if asker.version >= 4:
        for epoch in (-2, 0, 1):
            look_up((0, epoch, -1))


def epochs(asker: Asker) -> None:
    for epoch in (-2, -1, 0, 1):
        for current in (-2, -1, 0, 1):
            asked = [OffsetForLeaderPartition(partition, current, epoch) for partition in (0, 1, 9)]
            asker.ask(OffsetForLeaderEpochRequest(-2, [OffsetForLeaderTopic(TOPIC, asked)]))


def committing(asker: Asker) -> None:
    version = asker.version

    def commit(
        group: str, *offsets: tuple[int, int, str | None], topic: str = TOPIC, generation: int = -1, member: str = ""
    ) -> None:
        asked = [OffsetCommitRequestPartition(at, offset, committed_metadata=text) for at, offset, text in offsets]
        known = asker.topic_id if topic == TOPIC else UNKNOWN_ID
        topics = [
            OffsetCommitRequestTopic("" if version >= 10 else topic, known if version >= 10 else Uuid.ZERO, asked)
        ]
        asker.ask(OffsetCommitRequest(group, generation, member, topics=topics))
        stored = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group, topics=None)])
        asker.seen.append(facts(asker.peer.ask(stored, 8), 8))

    mine = f"{TOPIC}-{version}"
    commit(mine, (0, 5, "m"), (1, 6, None), (9, 1, ""), (-1, 1, ""))
    commit(mine, (0, -1, ""), (1, -5, ""))
    commit(mine)
    commit(mine, (0, 1, ""), topic="nowhere")
    commit(mine, (0, 1, "x" * 4097), (1, 2, "é" * 4096))
    commit(mine, (0, 1, "é" * 4097), (1, 3, "\U0001f600" * 2048))
    commit(mine, (0, 4, ""), generation=-2)
    for generation, member in ((0, ""), (3, "who"), (-1, "who")):
        commit(mine, (0, 7, ""), generation=generation, member=member)
        commit(f"{mine}-other", (0, 7, ""), generation=generation, member=member)
    commit("", (0, version, ""))


SCENARIOS: dict[str, tuple[Callable[[Asker], None], type[Any]]] = {
    "metadata": (metadata, MetadataRequest),
    "fetching": (fetching, FetchRequest),
    "looking up offsets": (looking_up, ListOffsetsRequest),
    "leader epochs": (epochs, OffsetForLeaderEpochRequest),
    "committing": (committing, OffsetCommitRequest),
}


def fill(peer: Members) -> None:
    producer = Producer(peer, TOPIC)
    for number in range(3):
        producer.send(data=made(b"x" * 100, b"y", timestamp=NOW + number), version=9)


@pytest.fixture(scope="module")
def wire(kafka: KafkaCluster) -> Any:
    kafka.create_topic(TOPIC, partitions=2)
    wire = Wire(kafka, TOPIC)
    wire.wait_for_coordinator()
    wire.wait_for_topic(TOPIC, 2)
    fill(wire)
    yield wire
    wire.close()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_answers(wire: Wire, name: str) -> None:
    scenario, request = SCENARIOS[name]
    ours = GroupPeer(Broker(auto_create_partitions=None, unix_offset=NOW / 1000 - START))
    ours.broker.create_topic(TOPIC, 2)
    fill(ours)
    found = []
    for version in range(request.VERSIONS.min, request.VERSIONS.max + 1):
        theirs, mine = Asker(wire, version), Asker(ours, version)
        for asker in (theirs, mine):
            scenario(asker)
        found += [f"{version}: {each}" for each in differences(theirs.seen, mine.seen)]
    assert "\n".join(found) == ""
