"""Topics, groups, offsets, the cluster and configurations, as administrators ask for them.

What a real Kafka answers to the same is compared in tests/integration/test_admin.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.broker import Broker, CommittedOffset, GroupOptions
from dekaf_proto.broker.configs import TOPIC
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import (
    ApiKey,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeGroupsRequest,
    ListGroupsRequest,
    OffsetDeleteRequest,
)
from dekaf_proto.messages.consumer_protocol import ConsumerProtocolSubscription
from dekaf_proto.messages.create_partitions import CreatePartitionsAssignment, CreatePartitionsTopic
from dekaf_proto.messages.create_topics import CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig
from dekaf_proto.messages.delete_topics import DeleteTopicState
from dekaf_proto.messages.describe_configs import DescribeConfigsResource, DescribeConfigsResult
from dekaf_proto.messages.offset_delete import OffsetDeleteRequestPartition, OffsetDeleteRequestTopic
from dekaf_proto.types import TopicPartition, Uuid
from dekaf_proto.wire import encode
from tests.broker.members import GroupPeer, broker
from tests.broker.peer import Peer
from tests.broker.requests import fetch_request

NONE = ErrorCode.NONE


def cluster(nodes: int = 3, **options: int | None) -> Peer:
    return Peer(Broker(nodes=nodes, **options))  # type: ignore[arg-type]


def topic(name: str, partitions: int = 1, factor: int = -1, **configs: str | None) -> CreatableTopic:
    entries = [CreatableTopicConfig(key.replace("_", "."), value) for key, value in configs.items()]
    return CreatableTopic(name, partitions, factor, configs=entries)


def manual(name: str, *replicas: list[int], partitions: int = -1, factor: int = -1, first: int = 0) -> CreatableTopic:
    assignments = [CreatableReplicaAssignment(first + index, nodes) for index, nodes in enumerate(replicas)]
    return CreatableTopic(name, partitions, factor, assignments)


# ------------------------------------------------------------------------------------------------------ CreateTopics


@pytest.mark.parametrize("version", range(2, 8))
def test_topics_are_created(version: int) -> None:
    peer = cluster(auto_create_partitions=4)
    asked = [topic("a", 2, 1), topic("b", -1), manual("c", [2, 0], [1, 2]), topic("d", retention_ms="5")]
    results = peer.ask(CreateTopicsRequest(asked), version).topics
    assert [(r.name, r.error_code, r.error_message) for r in results] == [(name, NONE, None) for name in "abcd"]
    assert peer.broker.topics == ["a", "b", "c", "d"]
    made = peer.broker.cluster.topics
    assert [[p.replicas for p in made[name].partitions] for name in "abc"] == [
        [[0], [1]],
        [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]],
        [[2, 0], [1, 2]],
    ]
    assert [p.leader for p in made["c"].partitions] == [2, 1]
    if version >= 5:
        assert [(r.num_partitions, r.replication_factor) for r in results] == [(2, 1), (4, 3), (2, 2), (1, 3)]
        configs = {c.name: (c.value, c.config_source) for c in results[3].configs or []}
        assert len(configs) == len(TOPIC)
        assert configs["retention.ms"] == ("5", 1)
        assert configs["segment.ms"] == ("604800000", 5)
    if version >= 7:
        assert [r.topic_id for r in results] == [peer.broker.topic_id(name) for name in "abcd"]


def test_topics_with_options() -> None:
    peer = cluster(1)
    options: dict[str, Any] = {
        "message_timestamp_type": "LogAppendTime",
        "max_message_bytes": "100",
        "cleanup_policy": "compact,delete",
        "message_timestamp_after_max_ms": "7",
    }
    peer.ask(CreateTopicsRequest([topic("t", **options)]), 7)
    made = peer.broker.cluster.topics["t"]
    assert (made.log_append_time, made.max_message_bytes, made.compacted) == (True, 100, True)
    assert made.timestamp_after_max_ms == 7


def test_a_fetch_that_waits_learns_of_topics_that_go() -> None:
    peer = cluster(1)
    peer.broker.create_topic("t")
    conn = peer.connect()
    peer.send(conn, fetch_request("t", 0, max_wait_ms=60_000), 12)
    assert peer.frame(conn) is None
    peer.ask(DeleteTopicsRequest(topic_names=["t"]), 5)
    assert peer.frame(conn) is not None


WRONG_TOPICS = [
    (topic("there"), ErrorCode.TOPIC_ALREADY_EXISTS),
    (topic("a b"), ErrorCode.INVALID_TOPIC_EXCEPTION),
    (topic("x", 0), ErrorCode.INVALID_PARTITIONS),
    (topic("x", -2), ErrorCode.INVALID_PARTITIONS),
    (topic("x", 1, 0), ErrorCode.INVALID_REPLICATION_FACTOR),
    (topic("x", 1, -2), ErrorCode.INVALID_REPLICATION_FACTOR),
    (topic("x", 1, 4), ErrorCode.INVALID_REPLICATION_FACTOR),
    (topic("x", no_such="1"), ErrorCode.INVALID_CONFIG),
    (topic("x", retention_ms=None), ErrorCode.INVALID_CONFIG),
    (topic("x", retention_ms="1.5"), ErrorCode.INVALID_CONFIG),
    (topic("x", min_cleanable_dirty_ratio="half"), ErrorCode.INVALID_CONFIG),
    (topic("x", cleanup_policy="sometimes"), ErrorCode.INVALID_CONFIG),
    (topic("x", preallocate="yes"), ErrorCode.INVALID_CONFIG),
    (topic("the_re.not"), ErrorCode.INVALID_TOPIC_EXCEPTION),  # there is a "the.re_not"
    (topic("x", max_message_bytes="-1"), ErrorCode.INVALID_CONFIG),
    (topic("x", max_message_bytes="2147483648"), ErrorCode.INVALID_CONFIG),
    (topic("x", retention_ms="9223372036854775808"), ErrorCode.INVALID_CONFIG),
    (topic("x", retention_ms="-2"), ErrorCode.INVALID_CONFIG),
    (topic("x", retention_ms="1_0"), ErrorCode.INVALID_CONFIG),
    (topic("x", compression_lz4_level="18"), ErrorCode.INVALID_CONFIG),
    (topic("x", compression_gzip_level="0"), ErrorCode.INVALID_CONFIG),
    (topic("x", min_cleanable_dirty_ratio="1.1"), ErrorCode.INVALID_CONFIG),
    (topic("x", cleanup_policy="delete,"), ErrorCode.INVALID_CONFIG),
    (topic("x", remote_storage_enable="true"), ErrorCode.INVALID_CONFIG),
    (topic("x", min_compaction_lag_ms="6", max_compaction_lag_ms="5"), ErrorCode.INVALID_CONFIG),
    (manual("x", [0], partitions=1), ErrorCode.INVALID_REQUEST),
    (manual("x", [0], factor=1), ErrorCode.INVALID_REQUEST),
    (manual("x", [0], first=1), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    (manual("x", []), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    (manual("x", [1, 1]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    (manual("x", [0, 7]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    (manual("x", [0, 1], [2]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
]


@pytest.mark.parametrize("asked, error", WRONG_TOPICS)
def test_topics_that_can_t_be(asked: CreatableTopic, error: ErrorCode) -> None:
    peer = cluster()
    peer.broker.create_topic("there")
    peer.broker.create_topic("the.re_not")
    result, fine = peer.ask(CreateTopicsRequest([asked, topic("fine", preallocate="true")]), 7).topics
    assert (result.error_code, fine.error_code) == (error, NONE)
    assert result.error_message
    assert (result.num_partitions, result.replication_factor, result.configs) == (-1, -1, [])
    assert peer.broker.topics == ["there", "the.re_not", "fine"]


def test_values_are_written_in_several_ways() -> None:
    peer = cluster()
    options: dict[str, Any] = {
        "cleanup_policy": "compact , delete",
        "preallocate": " TRUE",
        "message_timestamp_type": "LogAppendTime ",
        "max_message_bytes": " +7 ",
        "retention_bytes": "-3",
        "min_cleanable_dirty_ratio": ".5",
    }
    asked = [topic("a", **options), topic("b", cleanup_policy=""), topic("c_d"), topic("c.d")]
    assert [result.error_code for result in peer.ask(CreateTopicsRequest(asked), 7).topics] == [NONE] * 4
    made = peer.broker.cluster.topics
    assert (made["a"].log_append_time, made["a"].max_message_bytes, made["a"].compacted) == (True, 7, True)
    assert not made["b"].compacted


def test_topics_that_are_only_tried_or_named_twice_or_have_a_fault() -> None:
    peer = cluster()
    [result] = peer.ask(CreateTopicsRequest([topic("a", 3)], validate_only=True), 7).topics
    assert (result.error_code, result.num_partitions, result.topic_id) == (NONE, 3, Uuid.ZERO)
    [result] = peer.ask(CreateTopicsRequest([topic("a"), topic("a")]), 7).topics
    assert result.error_code == ErrorCode.INVALID_REQUEST
    peer.broker.faults.add(api=ApiKey.CREATE_TOPICS, topic="a", error=ErrorCode.NOT_CONTROLLER)
    results = peer.ask(CreateTopicsRequest([topic("a"), topic("b")]), 7).topics
    assert [result.error_code for result in results] == [ErrorCode.NOT_CONTROLLER, NONE]
    assert peer.broker.topics == ["b"]


# ------------------------------------------------------------------------------------------------------ DeleteTopics


@pytest.mark.parametrize("version", range(1, 7))
def test_topics_are_deleted_by_name(version: int) -> None:
    peer = cluster()
    for name in ("a", "b", "c"):
        peer.broker.create_topic(name)
    names = ["a", "b", "b", "nowhere"]
    if version < 6:
        request = DeleteTopicsRequest(topic_names=names)
    else:
        request = DeleteTopicsRequest([DeleteTopicState(name) for name in names])
    results = peer.ask(request, version).responses
    assert [(r.name, r.error_code) for r in results] == [
        ("a", NONE),
        ("b", ErrorCode.INVALID_REQUEST),
        ("nowhere", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    assert peer.broker.topics == ["b", "c"]


def test_what_is_committed_goes_with_its_topic() -> None:
    group = GroupPeer(broker())
    group.broker.create_topic("u")
    kept = TopicPartition("u", 0)
    group.broker.commit("g", {TopicPartition("t", 0): 1, kept: 2})
    group.ask(DeleteTopicsRequest(topic_names=["t"]), 1)
    assert group.broker.committed("g") == {kept: CommittedOffset(2)}
    group.broker.recreate_topic("u")
    assert group.broker.committed("g") == {}


def test_topics_are_deleted_by_id() -> None:
    peer = cluster()
    for name in ("a", "b"):
        peer.broker.create_topic(name)
    a, b, nobody = peer.broker.topic_id("a"), peer.broker.topic_id("b"), Uuid(bytes(15) + b"\1")
    states = [DeleteTopicState(topic_id=a), DeleteTopicState("b", b), DeleteTopicState(topic_id=nobody)]
    results = peer.ask(DeleteTopicsRequest([*states, DeleteTopicState()]), 6).responses
    assert [(r.name, r.topic_id, r.error_code) for r in results] == [
        ("a", a, NONE),
        ("b", b, ErrorCode.INVALID_REQUEST),
        (None, nobody, ErrorCode.UNKNOWN_TOPIC_ID),
        (None, Uuid.ZERO, ErrorCode.INVALID_REQUEST),
    ]
    peer.broker.faults.add(api=ApiKey.DELETE_TOPICS, error=ErrorCode.TOPIC_DELETION_DISABLED)
    [result] = peer.ask(DeleteTopicsRequest([DeleteTopicState("b")]), 6).responses
    assert result.error_code == ErrorCode.TOPIC_DELETION_DISABLED
    assert peer.broker.topics == ["b"]


# -------------------------------------------------------------------------------------------------- CreatePartitions


def more(name: str, count: int, *replicas: list[int]) -> CreatePartitionsTopic:
    return CreatePartitionsTopic(name, count, [CreatePartitionsAssignment(each) for each in replicas] or None)


@pytest.mark.parametrize("version", range(4))
def test_partitions_are_added(version: int) -> None:
    peer = cluster()
    peer.broker.create_topic("a", 1, replicas=2)
    peer.broker.create_topic("b", 1, replicas=1)
    peer.broker.append("a", 0, [b"x"], peer.now)
    results = peer.ask(CreatePartitionsRequest([more("a", 3), more("b", 2, [2])]), version).results
    assert [(r.name, r.error_code, r.error_message) for r in results] == [("a", NONE, None), ("b", NONE, None)]
    assert [p.replicas for p in peer.broker.cluster.topics["a"].partitions] == [[0, 1], [1, 2], [2, 0]]
    assert [p.replicas for p in peer.broker.cluster.topics["b"].partitions] == [[0], [2]]
    assert peer.broker.end_offset("a", 0) == 1
    [result] = peer.ask(CreatePartitionsRequest([more("a", 9)], validate_only=True), version).results
    assert result.error_code == NONE
    assert len(peer.broker.cluster.topics["a"].partitions) == 3


@pytest.mark.parametrize(
    "asked, error",
    [
        (more("nowhere", 2), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (more("a", 2), ErrorCode.INVALID_PARTITIONS),
        (more("a", 1), ErrorCode.INVALID_PARTITIONS),
        (more("a", 4, [0]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (more("a", 3, [7]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    ],
)
def test_partitions_that_can_t_be(asked: CreatePartitionsTopic, error: ErrorCode) -> None:
    peer = cluster()
    peer.broker.create_topic("a", 2)
    [result] = peer.ask(CreatePartitionsRequest([asked]), 3).results
    assert result.error_code == error
    assert len(peer.broker.cluster.topics["a"].partitions) == 2


def test_partitions_named_twice_or_with_a_fault() -> None:
    peer = cluster()
    peer.broker.create_topic("a")
    [result] = peer.ask(CreatePartitionsRequest([more("a", 2), more("a", 3)]), 3).results
    assert result.error_code == ErrorCode.INVALID_REQUEST
    peer.broker.faults.add(api=ApiKey.CREATE_PARTITIONS, error=ErrorCode.REASSIGNMENT_IN_PROGRESS)
    [result] = peer.ask(CreatePartitionsRequest([more("a", 2)]), 3).results
    assert result.error_code == ErrorCode.REASSIGNMENT_IN_PROGRESS


# ------------------------------------------------------------------------------------------------------------ groups


def listed(peer: Peer, version: int = 5, node: int = 0, states: str = "", types: str = "") -> list[tuple[str, ...]]:
    request = ListGroupsRequest(states.split(), types.split())
    answer = peer.ask(request, version, node=node)
    assert answer.error_code == NONE
    return [(group.group_id, group.protocol_type, group.group_state, group.group_type) for group in answer.groups]


@pytest.mark.parametrize("version", range(6))
def test_groups_are_listed_by_their_coordinator(version: int) -> None:
    group = GroupPeer(broker(2))
    group.broker.move_coordinator("other", 1)
    group.broker.commit("other", {TopicPartition("t", 0): 1})
    member = group.member()
    group.stable(member)
    state, kind = "Stable" if version >= 4 else "", "classic" if version >= 5 else ""
    assert listed(group, version) == [("g", "consumer", state, kind)]
    empty = "Empty" if version >= 4 else ""
    assert listed(group, version, 1) == [("other", "", empty, kind)]


def test_groups_are_listed_by_state_and_type() -> None:
    group = GroupPeer(broker())
    group.stable(group.member())
    group.broker.commit("e", {TopicPartition("t", 0): 1})
    assert [name for name, *_ in listed(group)] == ["e", "g"]
    assert [name for name, *_ in listed(group, states="stable")] == ["g"]
    assert [name for name, *_ in listed(group, states="Empty Dead")] == ["e"]
    assert [name for name, *_ in listed(group, types="Classic consumer")] == ["e", "g"]
    assert listed(group, types="consumer") == []
    group.broker.faults.add(api=ApiKey.LIST_GROUPS, error=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    answer = group.ask(ListGroupsRequest(), 5)
    assert (answer.error_code, answer.groups) == (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, [])


def test_what_may_be_done_to_a_group() -> None:
    group = GroupPeer(broker())
    group.stable(group.member())
    described = group.ask(DescribeGroupsRequest(["g", "nobody"], True), 6).groups
    assert [d.authorized_operations for d in described] == [3400, -(2**31)]
    assert group.ask(DescribeGroupsRequest(["g"]), 6).groups[0].authorized_operations == -(2**31)
    assert group.ask(DescribeGroupsRequest([""]), 6).groups[0].error_code == ErrorCode.GROUP_ID_NOT_FOUND


@pytest.mark.parametrize("version", range(4))
def test_groups_are_deleted(version: int) -> None:
    group = GroupPeer(broker(2))
    group.broker.move_coordinator("there", 1)
    group.broker.commit("e", {TopicPartition("t", 0): 1})
    group.broker.move_coordinator("e", 0)
    group.broker.move_coordinator("nobody", 0)
    member = group.member()
    group.stable(member)
    names = ["e", "g", "nobody", "there", "nobody", ""]
    results = group.ask(DeleteGroupsRequest(names), version).results
    assert [(r.group_id, r.error_code) for r in results] == [
        ("e", NONE),
        ("g", ErrorCode.NON_EMPTY_GROUP),
        ("nobody", ErrorCode.GROUP_ID_NOT_FOUND),
        ("there", ErrorCode.NOT_COORDINATOR),
        ("", ErrorCode.GROUP_ID_NOT_FOUND),
    ]
    assert group.broker.committed("e") == {}
    member.leave()
    group.broker.faults.add(api=ApiKey.DELETE_GROUPS, error=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    codes = [group.ask(DeleteGroupsRequest(["g"]), version).results[0].error_code for _ in range(3)]
    assert codes == [ErrorCode.GROUP_AUTHORIZATION_FAILED, NONE, ErrorCode.GROUP_ID_NOT_FOUND]


# ----------------------------------------------------------------------------------------------------------- offsets


def delete_offsets(group: Peer, *places: tuple[str, int]) -> tuple[int, dict[tuple[str, int], int]]:
    topics = [OffsetDeleteRequestTopic(name, [OffsetDeleteRequestPartition(index)]) for name, index in places]
    answer = group.ask(OffsetDeleteRequest("g", topics), 0)
    return answer.error_code, {
        (topic.name, partition.partition_index): partition.error_code
        for topic in answer.topics
        for partition in topic.partitions
    }


def subscription(*topics: str) -> bytes:
    return b"\0\0" + encode(ConsumerProtocolSubscription(list(topics)), 0)


def test_offsets_are_deleted() -> None:
    group = GroupPeer(broker())
    assert delete_offsets(group, ("t", 0)) == (ErrorCode.GROUP_ID_NOT_FOUND, {})
    t0, t1 = TopicPartition("t", 0), TopicPartition("t", 1)
    group.broker.commit("g", {t0: 1, t1: 2})
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert delete_offsets(group, ("t", 0), ("t", 9), ("nowhere", 0)) == (
        NONE,
        {("t", 0): NONE, ("t", 9): unknown, ("nowhere", 0): unknown},
    )
    assert delete_offsets(group, ("t", 0)) == (NONE, {("t", 0): NONE})  # again
    assert group.ask(OffsetDeleteRequest("g", [OffsetDeleteRequestTopic("t", [])]), 0).topics == []
    assert group.broker.committed("g") == {t1: CommittedOffset(2)}
    group.broker.faults.add(api=ApiKey.OFFSET_DELETE, error=ErrorCode.GROUP_AUTHORIZATION_FAILED)
    assert delete_offsets(group, ("t", 1)) == (NONE, {("t", 1): ErrorCode.GROUP_AUTHORIZATION_FAILED})
    group.broker.faults.add(api=ApiKey.OFFSET_DELETE, top_error=ErrorCode.NOT_COORDINATOR)
    assert delete_offsets(group, ("t", 1)) == (ErrorCode.NOT_COORDINATOR, {})


@pytest.mark.parametrize(
    "metadata, error",
    [
        (subscription("t"), ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC),
        (subscription("other"), NONE),
        (b"no subscription", ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC),
        (b"\xff\xff", ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC),
    ],
)
def test_offsets_of_topics_that_members_subscribe_to_stay(metadata: bytes, error: ErrorCode) -> None:
    group = GroupPeer(broker())
    group.stable(group.member(protocols=[("range", metadata)]))
    assert delete_offsets(group, ("t", 0)) == (NONE, {("t", 0): error})


def test_offsets_of_members_that_are_no_consumers_stay() -> None:
    group = GroupPeer(broker())
    group.member(protocol_type="connect").join()
    assert delete_offsets(group, ("t", 0)) == (ErrorCode.NON_EMPTY_GROUP, {})


# ------------------------------------------------------------------------------------------------------- the cluster


@pytest.mark.parametrize("version", range(3))
def test_the_cluster(version: int) -> None:
    peer = Peer(Broker(nodes=2, racks={1: "r"}, cluster_id="mine"))
    peer.broker.stop_node(1, peer.now)
    answer = peer.ask(DescribeClusterRequest(), version)
    assert (answer.error_code, answer.error_message, answer.cluster_id, answer.controller_id) == (0, None, "mine", 0)
    assert [(b.broker_id, b.host, b.port) for b in answer.brokers] == [(0, "127.0.0.1", 9092)]
    assert answer.cluster_authorized_operations == -(2**31)
    assert peer.ask(DescribeClusterRequest(True), version).cluster_authorized_operations == 0b1111110100000
    if version >= 1:
        for endpoint, error in ((2, ErrorCode.MISMATCHED_ENDPOINT_TYPE), (3, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)):
            answer = peer.ask(DescribeClusterRequest(endpoint_type=endpoint), version)
            assert (answer.error_code, answer.brokers) == (error, [])
            assert answer.error_message
    if version >= 2:
        answer = peer.ask(DescribeClusterRequest(include_fenced_brokers=True), version)
        assert [(b.broker_id, b.rack, b.is_fenced) for b in answer.brokers] == [(0, None, False), (1, "r", True)]
    peer.broker.faults.add(api=ApiKey.DESCRIBE_CLUSTER, error=ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    assert peer.ask(DescribeClusterRequest(), version).error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED


# ---------------------------------------------------------------------------------------------------- configurations


def configs(
    peer: Peer, type: int, name: str, keys: list[str] | None = None, version: int = 4, synonyms: bool = False
) -> DescribeConfigsResult:
    request = DescribeConfigsRequest([DescribeConfigsResource(type, name, keys)], synonyms)
    [result] = peer.ask(request, version, node=1).results
    return result


@pytest.mark.parametrize("version", range(1, 5))
def test_configurations_of_topics(version: int) -> None:
    peer = cluster(2)
    peer.ask(CreateTopicsRequest([topic("t", retention_ms="5")]), 7)
    found = {c.name: c for c in configs(peer, 2, "t", version=version).configs}
    assert list(found) == list(TOPIC)
    retention, segment = found["retention.ms"], found["segment.ms"]
    assert (retention.value, retention.config_source, retention.read_only) == ("5", 1, False)
    assert (segment.value, segment.config_source) == ("604800000", 5)
    if version >= 3:
        assert (retention.config_type, found["preallocate"].config_type) == (5, 1)
    assert len(configs(peer, 2, "t", [], version).configs) == len(TOPIC)  # none is all
    [entry] = configs(peer, 2, "t", ["retention.ms", "what"], version, synonyms=True).configs
    assert [(s.name, s.value, s.source) for s in entry.synonyms] == [("retention.ms", "5", 1)]


def test_configurations_of_topics_that_were_made_in_the_process() -> None:
    peer = cluster(2)
    peer.broker.create_topic("t", log_append_time=True, compacted=True, max_message_bytes=9)
    peer.broker.create_topic("plain")
    changed = {c.name: c.value for c in configs(peer, 2, "t").configs if c.config_source != 5}
    assert changed == {
        "cleanup.policy": "compact",
        "max.message.bytes": "9",
        "message.timestamp.type": "LogAppendTime",
    }
    assert not [c for c in configs(peer, 2, "plain").configs if c.config_source != 5]


def test_configurations_of_nodes() -> None:
    peer = Peer(
        Broker(nodes=2, auto_create_partitions=None, group_options=GroupOptions(min_session_timeout_ms=7)),
    )
    found = {c.name: c for c in configs(peer, 4, "1").configs}
    assert found["broker.id"].value == "1"
    assert found["auto.create.topics.enable"].value == "false"
    assert found["num.partitions"].value == "1"
    assert found["group.min.session.timeout.ms"].value == "7"
    assert {(c.read_only, c.config_source) for c in found.values()} == {(True, 4)}
    assert configs(peer, 4, "").configs == []
    peer = cluster(2, auto_create_partitions=5)
    found = {c.name: c for c in configs(peer, 4, "1", ["num.partitions", "auto.create.topics.enable"]).configs}
    assert {name: c.value for name, c in found.items()} == {"auto.create.topics.enable": "true", "num.partitions": "5"}


@pytest.mark.parametrize(
    "type, name, error",
    [
        (2, "nowhere", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (2, "a b", ErrorCode.INVALID_TOPIC_EXCEPTION),
        (4, "0", ErrorCode.INVALID_REQUEST),
        (8, "0", ErrorCode.INVALID_REQUEST),
    ],
)
def test_configurations_that_there_are_not(type: int, name: str, error: ErrorCode) -> None:
    found = configs(cluster(2), type, name)
    assert (found.error_code, found.configs) == (error, [])


def test_configurations_with_a_fault() -> None:
    peer = cluster(2)
    peer.broker.create_topic("t")
    peer.broker.faults.add(api=ApiKey.DESCRIBE_CONFIGS, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    found = configs(peer, 2, "t")
    assert (found.error_code, found.configs) == (ErrorCode.TOPIC_AUTHORIZATION_FAILED, [])


# ---------------------------------------------------------------------------------------------------------- releases


def test_older_releases_have_less_of_it() -> None:
    old, new = Broker(release="2.1").versions, Broker().versions
    assert ApiKey.DESCRIBE_CLUSTER not in old
    assert ApiKey.OFFSET_DELETE not in old
    assert old[ApiKey.CREATE_TOPICS] == (2, 3)
    assert new[ApiKey.CREATE_TOPICS] == (2, 7)
    assert Broker(release="2.4").versions[ApiKey.OFFSET_DELETE] == (0, 0)
