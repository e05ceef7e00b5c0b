"""Metadata (M1-M8)."""

from __future__ import annotations

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey, MetadataRequest
from dekaf_proto.messages.metadata import MetadataRequestTopic, MetadataResponseTopic
from dekaf_proto.types import Uuid
from tests.broker.peer import Peer


def cluster() -> Peer:
    peer = Peer(Broker(nodes=3))
    peer.broker.create_topic("orders", 2, replicas=2)
    peer.broker.create_topic("__consumer_offsets", 1, replicas=1)
    return peer


def ask(peer: Peer, version: int, *topics: str | Uuid, create: bool = False) -> list[MetadataResponseTopic]:
    asked = [
        MetadataRequestTopic(name=topic) if isinstance(topic, str) else MetadataRequestTopic(topic, None)
        for topic in topics
    ]
    request = MetadataRequest(asked, create if version >= 4 else True)
    return peer.ask(request, version).topics


@pytest.mark.parametrize("version", range(14))
def test_all_topics_or_none(version: int) -> None:  # M1
    peer = cluster()
    everything = MetadataRequest([] if version == 0 else None)
    response = peer.ask(everything, version)
    assert [topic.name for topic in response.topics] == ["orders", "__consumer_offsets"]
    assert response.error_code == 0
    if version >= 1:
        nothing = peer.ask(MetadataRequest([]), version)
        assert nothing.topics == []
        assert nothing.brokers == response.brokers
        assert nothing.controller_id == 0
        assert [topic.is_internal for topic in response.topics] == [False, True]
    if version >= 2:
        assert response.cluster_id == peer.broker.cluster_id


def test_a_topic_with_all_that_is_known() -> None:
    peer = cluster()
    peer.broker.stop_node(1, peer.now)
    peer.drain()
    [topic] = ask(peer, 12, "orders")
    assert (topic.error_code, topic.name, topic.topic_id) == (0, "orders", peer.broker.topic_id("orders"))
    first, second = topic.partitions
    assert (first.partition_index, first.leader_id, first.leader_epoch) == (0, 0, 0)
    assert (first.replica_nodes, first.isr_nodes, first.offline_replicas) == ([0, 1], [0], [1])
    assert (second.partition_index, second.leader_id, second.leader_epoch) == (1, 2, 1)


def test_a_partition_that_nobody_leads() -> None:
    peer = cluster()
    peer.broker.move_leader("orders", 1, None)
    [topic] = ask(peer, 12, "orders")
    assert topic.error_code == 0
    assert [(p.error_code, p.leader_id) for p in topic.partitions] == [(0, 0), (ErrorCode.LEADER_NOT_AVAILABLE, -1)]


def test_topics_by_id() -> None:  # M6
    peer = cluster()
    orders = peer.broker.topic_id("orders")
    other = Uuid(bytes(15) + b"\x09")
    found, unknown = ask(peer, 12, orders, other)
    assert (found.error_code, found.name, found.topic_id) == (0, "orders", orders)
    assert (unknown.error_code, unknown.name, unknown.topic_id) == (ErrorCode.UNKNOWN_TOPIC_ID, None, other)


@pytest.mark.parametrize("version", [10, 11])
def test_topics_by_id_in_versions_that_only_tell_them(version: int) -> None:  # M6
    peer = cluster()
    orders = peer.broker.topic_id("orders")
    for asked in (
        MetadataRequestTopic(orders, None),
        MetadataRequestTopic(orders, "orders"),
        MetadataRequestTopic(name=None),
    ):
        response = peer.ask(MetadataRequest([asked, MetadataRequestTopic(name="orders")]), version)
        assert [topic.error_code for topic in response.topics] == 2 * [ErrorCode.INVALID_REQUEST]
        assert [topic.name for topic in response.topics] == [asked.name or "", "orders"]
        assert (response.brokers, response.controller_id) == ([], -1)


def test_each_topic_once() -> None:
    peer = cluster()
    orders = peer.broker.topic_id("orders")
    assert [topic.name for topic in ask(peer, 12, "orders", "new", "orders")] == ["orders", "new"]
    assert [topic.name for topic in ask(peer, 12, "__consumer_offsets", orders, orders)] == [
        "orders"
    ]  # ids alone count


@pytest.mark.parametrize("version", [8, 10, 11, 13])
def test_what_may_be_done(version: int) -> None:
    peer = cluster()
    response = peer.ask(MetadataRequest(None), version)
    nothing = -(2**31)
    assert [topic.topic_authorized_operations for topic in response.topics] == [nothing, nothing]
    assert response.cluster_authorized_operations == nothing
    request = MetadataRequest([MetadataRequestTopic(name="orders")], include_topic_authorized_operations=True)
    request.include_cluster_authorized_operations = version <= 10
    response = peer.ask(request, version)
    assert [topic.topic_authorized_operations for topic in response.topics] == [0b1101_1111_1000]
    assert response.cluster_authorized_operations == (0b1_1111_1010_0000 if version <= 10 else nothing)
    if version >= 12:
        request = MetadataRequest([MetadataRequestTopic(Uuid(bytes(15) + b"\x09"), None)])
        request.include_topic_authorized_operations = True
        assert peer.ask(request, version).topics[0].topic_authorized_operations == nothing


def test_a_name_that_collides_is_not_made_on_the_way() -> None:
    peer = cluster()
    peer.broker.create_topic("a.b")
    assert ask(peer, 9, "a_b", create=True)[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert ask(peer, 9, "a_b", create=True)[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_topic_is_recreated() -> None:
    peer = cluster()
    old = peer.broker.topic_id("orders")
    peer.broker.move_leader("orders", 0, 1)
    new = peer.broker.recreate_topic("orders")
    [topic] = ask(peer, 12, "orders")
    assert topic.topic_id == new != old
    assert [partition.leader_epoch for partition in topic.partitions] == [0, 0]
    assert [len(partition.replica_nodes) for partition in topic.partitions] == [2, 2]
    assert ask(peer, 12, old)[0].error_code == ErrorCode.UNKNOWN_TOPIC_ID


@pytest.mark.parametrize("version, create", [(3, False), (4, True)])
def test_topics_are_created_on_the_way(version: int, create: bool) -> None:  # M2; before version 4 always
    peer = cluster()
    peer.broker.cluster.auto_create_partitions = 4
    assert ask(peer, version, "new", create=create)[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    [topic] = ask(peer, version, "new")
    assert (topic.error_code, len(topic.partitions)) == (0, 4)


def test_topics_are_not_created_if_the_client_or_the_broker_does_not_want_it() -> None:  # M2
    peer = cluster()
    assert ask(peer, 9, "new", create=False)[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    peer.broker.cluster.auto_create_partitions = None
    assert ask(peer, 9, "new", create=True)[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert peer.broker.topics == ["orders", "__consumer_offsets"]


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "é", "x" * 250])
def test_illegal_names(name: str) -> None:  # M6
    peer = cluster()
    assert ask(peer, 9, name, create=True)[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    with pytest.raises(ValueError, match="illegal topic name"):
        peer.broker.create_topic(name)


def test_errors_on_order() -> None:  # M5, M8
    peer = cluster()
    faults = peer.broker.faults
    faults.add(api=ApiKey.METADATA, topic="orders", error=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    topics = peer.ask(MetadataRequest(None), 9).topics
    assert [topic.error_code for topic in topics] == [ErrorCode.TOPIC_AUTHORIZATION_FAILED, 0]
    assert topics[0].partitions == []
    faults.add(api=ApiKey.METADATA, topic="orders", partition=1, error=ErrorCode.LEADER_NOT_AVAILABLE)
    [topic] = ask(peer, 9, "orders")
    assert [p.error_code for p in topic.partitions] == [0, ErrorCode.LEADER_NOT_AVAILABLE]
    assert topic.error_code == 0
    faults.add(api=ApiKey.METADATA, top_error=ErrorCode.REBOOTSTRAP_REQUIRED, times=2)
    assert peer.ask(MetadataRequest(None), 12).topics != []  # there is no such field yet
    response = peer.ask(MetadataRequest(None), 13)
    assert (response.error_code, response.topics) == (ErrorCode.REBOOTSTRAP_REQUIRED, [])
