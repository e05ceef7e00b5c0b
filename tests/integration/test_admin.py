"""The embedded broker's administration and Kafka's: the same requests in every version, the same answers.

What differs by nature is left out: ids, addresses, and the words of error messages (whether there is one is compared).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import (
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeGroupsRequest,
    DescribeTopicPartitionsRequest,
    ListGroupsRequest,
    MetadataRequest,
    MetadataResponse,
    OffsetDeleteRequest,
    OffsetFetchRequest,
)
from dekaf_proto.messages.consumer_protocol import ConsumerProtocolSubscription
from dekaf_proto.messages.create_partitions import CreatePartitionsAssignment, CreatePartitionsTopic
from dekaf_proto.messages.create_topics import CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig
from dekaf_proto.messages.delete_topics import DeleteTopicState
from dekaf_proto.messages.describe_configs import DescribeConfigsResource
from dekaf_proto.messages.describe_topic_partitions import Cursor, TopicRequest
from dekaf_proto.messages.metadata import MetadataRequestTopic, MetadataResponseTopic
from dekaf_proto.messages.offset_delete import OffsetDeleteRequestPartition, OffsetDeleteRequestTopic
from dekaf_proto.messages.offset_fetch import OffsetFetchRequestGroup
from dekaf_proto.types import Uuid
from dekaf_proto.wire import encode
from tests.broker.members import GroupPeer, Members
from tests.integration.kafka import KafkaCluster
from tests.integration.wire import Wire

#: What is not compared. Of messages, whether there is one.
RANDOM = {"topic_id", "cluster_id", "controller_id", "host", "port", "throttle_time_ms", "member_id"}
NODES = {"node_id", "broker_id", "leader_id", "leader_epoch", "replica_nodes", "isr_nodes"}
#: Configurations that the tests' Kafka is started with.
OWN = {"retention.ms", "message.timestamp.after.max.ms", "min.insync.replicas"}
UNKNOWN_ID = Uuid(bytes(range(16)))


def facts(answer: Any, version: int) -> Any:
    """An answer without what differs by nature, as plain data."""
    if isinstance(answer, list):
        return sorted((facts(each, version) for each in answer), key=_order)
    if hasattr(answer, "__dataclass_fields__"):
        found = {name: facts(getattr(answer, name), version) for name in answer.__dataclass_fields__}
        for name in (RANDOM | NODES) & set(found):
            del found[name]
        if found.get("name") in OWN and "value" in found:
            return {"name": found["name"]}
        for name in ("error_message", "documentation"):
            if name in found:
                found[name] = found[name] is not None
        return found
    return answer


def _order(found: Any) -> str:
    names = [str(found[name]) for name in ("name", "group_id") if name in found] if isinstance(found, dict) else []
    return repr((names, found))


def _short(found: Any) -> Any:
    kept = ("name", "partition_index", "error_code")
    return [found[name] for name in kept if name in found] if isinstance(found, dict) else found


def differences(theirs: Any, ours: Any, place: str = "") -> list[str]:
    """Where two lists of facts differ, and how."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [d for name in theirs for d in differences(theirs[name], ours[name], f"{place}.{name}")]
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) != len(ours):
        return [f"{place}: Kafka {[_short(each) for each in theirs]}, ours {[_short(each) for each in ours]}"]
    if isinstance(theirs, list) and isinstance(ours, list):
        pairs = enumerate(zip(theirs, ours, strict=True))
        return [d for index, (a, b) in pairs for d in differences(a, b, f"{place}[{index}]")]
    return [] if theirs == ours else [f"{place}: Kafka {theirs!r}, ours {ours!r}"]


def subscription(*topics: str) -> bytes:
    return b"\0\0" + encode(ConsumerProtocolSubscription(list(topics)), 0)


class Admin:
    """Asks, and notes the facts of the answers."""

    def __init__(self, group: Members, name: str, node: int) -> None:
        self.group = group
        self.node = node
        self.name = name
        self.seen: list[Any] = []

    def ask(self, request: Any, version: int) -> Any:
        answer = self.group.ask(request, version)
        self.seen.append(facts(answer, version))
        return answer

    def create(self, version: int, *topics: CreatableTopic, validate_only: bool = False) -> Any:
        return self.ask(CreateTopicsRequest(list(topics), 10_000, validate_only), version)

    def topic(self, name: str = "", partitions: int = 1, factor: int = 1, **configs: str | None) -> CreatableTopic:
        entries = [CreatableTopicConfig(key.replace("_", "."), value) for key, value in configs.items()]
        return CreatableTopic(self.name + name, partitions, factor, [], entries)

    def manual(self, name: str, *assignments: tuple[int, list[int]], partitions: int = -1, factor: int = -1) -> Any:
        given = [CreatableReplicaAssignment(*assignment) for assignment in assignments]
        return CreatableTopic(self.name + name, partitions, factor, given)

    def show(self, ready: Callable[[dict[str, MetadataResponseTopic]], bool], *names: str) -> None:
        """How topics are, as soon as the whole cluster knows."""
        request = MetadataRequest([MetadataRequestTopic(name=self.name + name) for name in names], False)
        deadline = time.monotonic() + 20

        def found(answer: MetadataResponse) -> dict[str, MetadataResponseTopic]:
            return {(topic.name or "").removeprefix(self.name): topic for topic in answer.topics}

        while not ready(found(answer := self.group.ask(request, 9))):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.seen.append(facts(answer, 9))

    def id(self, name: str = "") -> Uuid:
        found = self.group.ask(MetadataRequest([MetadataRequestTopic(name=self.name + name)]), 12)
        id: Uuid = found.topics[0].topic_id
        return id


def creating(admin: Admin, version: int) -> None:
    node = admin.node
    admin.create(version, admin.topic("a", 3), admin.topic("b", -1, -1), admin.topic("c", 2), admin.topic("c", 2))
    admin.create(version, admin.topic("a"), admin.topic("bad name"), admin.topic("z", 0), admin.topic("z2", -2))
    admin.create(version, admin.topic("f0", 1, 0), admin.topic("f9", 1, 9), admin.topic("f-2", 1, -2))
    admin.create(version, admin.topic("d", retention_ms="5", cleanup_policy="compact,delete"))
    admin.create(
        version,
        admin.topic("e1", no_such_config="5"),
        admin.topic("e2", retention_ms="often"),
        admin.topic("e3", cleanup_policy="sometimes"),
        admin.topic("e4", preallocate="yes"),
        admin.topic("e5", retention_ms=None),
        admin.topic("e6", min_cleanable_dirty_ratio="half"),
    )
    admin.create(version, admin.topic("v", 4), admin.topic("a"), validate_only=True)
    admin.create(
        version,
        admin.manual("m1", (1, [node]), (0, [node])),
        admin.manual("m2", (0, [77])),
        admin.manual("m3", (0, [])),
        admin.manual("m4", (0, [node, node])),
        admin.manual("m5", (1, [node])),
        admin.manual("m6", (0, [node]), partitions=1),
        admin.manual("m7", (0, [node]), factor=1),
    )
    admin.create(version)
    admin.show(lambda found: found["m1"].error_code == 0, "a", "b", "c", "d", "v", "m1")


def deleting(admin: Admin, version: int) -> None:
    for name in ("a", "b", "c", "d"):
        admin.group.ask(CreateTopicsRequest([admin.topic(name)]), 7)
    names = [admin.name + name for name in ("a", "b", "b", "nowhere")]
    if version < 6:
        admin.ask(DeleteTopicsRequest(topic_names=names, timeout_ms=10_000), version)
    else:
        states = [DeleteTopicState(name) for name in names]
        ids = [admin.id("c"), UNKNOWN_ID]
        states += [DeleteTopicState(topic_id=topic_id) for topic_id in ids]
        states += [DeleteTopicState(admin.name + "d", admin.id("d"))]
        admin.ask(DeleteTopicsRequest(states, timeout_ms=10_000), version)
    gone = 2 if version >= 6 else 1
    admin.show(lambda found: sum(topic.error_code != 0 for topic in found.values()) == gone, "a", "b", "c", "d")


def partitions(admin: Admin, version: int) -> None:
    for name in ("a", "b", "c"):
        admin.group.ask(CreateTopicsRequest([admin.topic(name, 2)]), 7)

    def more(*topics: tuple[str, int, list[list[int]] | None], validate_only: bool = False) -> None:
        asked = [
            CreatePartitionsTopic(
                admin.name + name,
                count,
                None if given is None else [CreatePartitionsAssignment(each) for each in given],
            )
            for name, count, given in topics
        ]
        admin.ask(CreatePartitionsRequest(asked, 10_000, validate_only), version)

    n = admin.node
    more(("a", 3, None), ("b", 2, None), ("c", 1, None), ("nowhere", 3, None))
    more(("a", 5, None), ("a", 6, None), ("b", 0, None), ("c", -1, None))
    more(("b", 4, [[n]]), ("c", 3, [[7]]))
    more(("b", 3, [[]]), ("c", 3, [[n, n]]))
    more(("c", 4, [[n], [n]]), ("b", 9, None), validate_only=True)
    more(("c", 4, [[n], [n]]))
    admin.show(lambda found: len(found["c"].partitions) == 4, "a", "b", "c")


def groups(admin: Admin, version: int) -> None:
    """ListGroups, in all states; others' groups are left out."""
    group = admin.group

    def listed(states: tuple[str, ...] = (), types: tuple[str, ...] = ()) -> None:
        answer = group.ask(ListGroupsRequest(list(states), list(types)), version)
        admin.seen.append((answer.error_code, facts([g for g in answer.groups if g.group_id == group.group_id], 0)))

    def all_of_them() -> None:
        listed()
        if version >= 4:
            listed(("Stable",))
            listed(("stable", "Empty"))
            listed(("PreparingRebalance", "completingrebalance"))
            listed(("never",))
        if version >= 5:
            listed(types=("classic",))
            listed(types=("Classic", "consumer"))
            listed(types=("consumer",))

    listed()
    nobody = group.member()
    nobody.commit()
    all_of_them()
    a = group.member()
    a.join()
    all_of_them()
    a.sync({a.id: b"x"})
    all_of_them()
    a.leave()
    all_of_them()


def describing_groups(admin: Admin, version: int) -> None:
    group = admin.group

    def describe(*names: str, operations: bool = False) -> None:
        admin.ask(DescribeGroupsRequest(list(names), operations), version)

    describe(group.group_id, "", operations=version >= 3)
    group.member().commit()
    describe(group.group_id, operations=version >= 3)
    a = group.member("one", protocols=[("range", subscription(group.topic)), ("sticky", b"")])
    a.join()
    describe(group.group_id)
    a.sync({a.id: b"assignment"})
    describe(group.group_id, group.group_id)
    b = group.member()
    b.join()
    describe(group.group_id)


def deleting_groups(admin: Admin, version: int) -> None:
    group = admin.group

    def delete(*names: str) -> None:
        admin.ask(DeleteGroupsRequest(list(names)), version)

    delete(group.group_id, "")
    group.member().commit()
    delete(group.group_id)
    delete(group.group_id)
    a = group.member()
    a.join()
    delete(group.group_id)
    a.sync({a.id: b""})
    delete(group.group_id)
    a.leave()
    delete(group.group_id)
    admin.ask(DescribeGroupsRequest([group.group_id]), 5)


def deleting_offsets(admin: Admin, version: int) -> None:
    group = admin.group

    def delete(*places: tuple[str, int]) -> None:
        topics = [OffsetDeleteRequestTopic(t, [OffsetDeleteRequestPartition(p)]) for t, p in places]
        admin.ask(OffsetDeleteRequest(group.group_id, topics), version)

    t = group.topic
    delete((t, 0))
    group.member().commit()
    delete((t, 0), ("nowhere", 0))
    delete((t, 0))
    for topics in ((t,), ("other",)):
        a = group.member(protocols=[("range", subscription(*topics))])
        a.join()
        delete((t, 0))
        a.sync({a.id: b""})
        a.commit()
        delete((t, 0), (t, 99))
        a.leave()
    connect = group.member(protocol_type="connect")
    connect.join()
    delete((t, 0))


def the_cluster(admin: Admin, version: int) -> None:
    admin.ask(DescribeClusterRequest(), version)
    admin.ask(DescribeClusterRequest(True), version)
    if version >= 1:
        admin.ask(DescribeClusterRequest(endpoint_type=2), version)
        admin.ask(DescribeClusterRequest(endpoint_type=3), version)


def topic_partitions(admin: Admin, version: int) -> None:
    admin.group.ask(CreateTopicsRequest([admin.topic("a", 2), admin.topic("b", 3)]), 7)
    admin.show(lambda topics: [len(topics[name].partitions) for name in ("a", "b")] == [2, 3], "a", "b")

    def describe(*names: str, limit: int = 2000, cursor: tuple[str, int] | None = None) -> None:
        where = None if cursor is None else Cursor(admin.name + cursor[0], cursor[1])
        topics = [TopicRequest(admin.name + name) for name in names]
        admin.ask(DescribeTopicPartitionsRequest(topics, limit, where), version)

    describe("b", "a", "no", "a b")
    for limit in (0, 1, 2, 3, 5):
        describe("b", "a", "x", limit=limit)
    for cursor in (("a", 1), ("a", 2), ("b", 1), ("b", -1), ("x", 0)):
        describe("b", "a", cursor=cursor)


def configs(admin: Admin, version: int) -> None:
    admin.group.ask(CreateTopicsRequest([admin.topic(max_message_bytes="1000")]), 7)

    def describe(type: int, name: str, keys: list[str] | None = None, synonyms: bool = False) -> Any:
        request = DescribeConfigsRequest([DescribeConfigsResource(type, name, keys)], synonyms)
        return admin.ask(request, version)

    admin.show(lambda found: found[""].error_code == 0, "")
    answer = describe(2, admin.name)
    describe(2, admin.name, ["retention.ms", "max.message.bytes", "what"])
    describe(2, "nowhere")
    describe(4, "77")
    describe(2, "bad name")
    assert len(answer.results[0].configs) > 30


#: What is done, in which versions.
SCENARIOS: dict[str, tuple[Callable[[Admin, int], None], type[Any]]] = {
    "creating topics": (creating, CreateTopicsRequest),
    "deleting topics": (deleting, DeleteTopicsRequest),
    "partitions": (partitions, CreatePartitionsRequest),
    "groups": (groups, ListGroupsRequest),
    "describing groups": (describing_groups, DescribeGroupsRequest),
    "deleting groups": (deleting_groups, DeleteGroupsRequest),
    "deleting offsets": (deleting_offsets, OffsetDeleteRequest),
    "the cluster": (the_cluster, DescribeClusterRequest),
    "topics' partitions": (topic_partitions, DescribeTopicPartitionsRequest),
    "configurations": (configs, DescribeConfigsRequest),
}
CASES = [
    (name, version)
    for name, (_, request) in SCENARIOS.items()
    for version in range(request.VERSIONS.min, request.VERSIONS.max + 1)
]


@pytest.fixture(scope="module")
def wire(kafka: KafkaCluster) -> Iterator[Wire]:
    """Connections to the real one, whose coordinators are there."""
    kafka.create_topic("admin")
    wire = Wire(kafka, "admin")
    wire.wait_for_coordinator()
    yield wire
    wire.close()


@pytest.mark.parametrize("name, version", CASES)
def test_the_same_answers(kafka: KafkaCluster, wire: Wire, topic: str, name: str, version: int) -> None:
    scenario, _ = SCENARIOS[name]
    seen = []
    broker = Broker()
    for group in (wire, GroupPeer(broker)):
        if isinstance(group, GroupPeer):
            broker.create_topic(topic)
            broker.create_topic("other")
            group.group_id = group.topic = topic
        else:
            kafka.create_topic(topic)
            group.group_id = group.topic = topic
            group.wait_for_coordinator()
        admin = Admin(group, f"{topic}-x", 0 if group is not wire else next(iter(kafka.ports)))
        scenario(admin, version)
        seen.append(admin.seen)
    assert "\n".join(differences(seen[0], seen[1])) == ""


def test_what_is_committed_goes_with_its_topic(kafka: KafkaCluster, wire: Wire, topic: str) -> None:
    broker = Broker()
    broker.create_topic(topic)
    kafka.create_topic(topic)
    for group in (wire, GroupPeer(broker)):
        group.group_id = group.topic = topic
        if isinstance(group, Wire):
            group.wait_for_coordinator()
        assert group.member().commit(7) == ErrorCode.NONE
        assert _committed(group) == [7]
        names = DeleteTopicsRequest([DeleteTopicState(topic)], timeout_ms=20_000)
        assert [result.error_code for result in group.ask(names, 6).responses] == [ErrorCode.NONE]
        deadline = time.monotonic() + 20
        while _committed(group) != []:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _committed(group: Members) -> list[int]:
    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group.group_id, topics=None)])
    found = group.ask(request, 8).groups[0]
    return [partition.committed_offset for each in found.topics for partition in each.partitions]
