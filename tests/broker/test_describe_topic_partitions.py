"""DescribeTopicPartitions (KIP-966). The answers are those of Kafka 4.4 to the same requests."""

from __future__ import annotations

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey, DescribeTopicPartitionsRequest
from dekaf_proto.messages.describe_topic_partitions import (
    Cursor,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    TopicRequest,
)
from tests.broker.peer import Peer

Place = tuple[str, int]


def cluster() -> Peer:
    peer = Peer(Broker(nodes=2))
    for name, partitions in (("b", 3), ("a", 2), ("__consumer_offsets", 1)):
        peer.broker.create_topic(name, partitions, replicas=1)
    return peer


def ask(peer: Peer, *names: str, limit: int = 2000, cursor: Place | None = None) -> DescribeTopicPartitionsResponse:
    where = None if cursor is None else Cursor(*cursor)
    return peer.ask(DescribeTopicPartitionsRequest([TopicRequest(name) for name in names], limit, where), 0)


def seen(answer: DescribeTopicPartitionsResponse) -> tuple[list[tuple[str | None, int, list[int]]], Place | None]:
    """Each topic with its error and its partitions, and where to go on."""
    topics = [(t.name, t.error_code, [p.partition_index for p in t.partitions]) for t in answer.topics]
    following = answer.next_cursor
    return topics, None if following is None else (following.topic_name, following.partition_index)


A, B, INTERNAL = ("a", 0, [0, 1]), ("b", 0, [0, 1, 2]), ("__consumer_offsets", 0, [0])


def test_by_name() -> None:
    peer = cluster()
    assert seen(ask(peer, "b", "a", "b")) == ([A, B], None)
    assert seen(ask(peer)) == ([INTERNAL, A, B], None)
    missing: list[tuple[str, int, list[int]]] = [
        ("aa", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, []),
        ("b b", ErrorCode.INVALID_TOPIC_EXCEPTION, []),
    ]
    answer = ask(peer, "a", "b b", "aa")
    assert seen(answer) == ([A, *missing], None)
    assert {topic.topic_authorized_operations for topic in answer.topics} == {3576}
    assert [topic.is_internal for topic in ask(peer).topics] == [True, False, False]
    assert ask(peer, "a").topics[0].topic_id == peer.broker.topic_id("a")


@pytest.mark.parametrize(
    "names, limit, found, following",
    [
        ("ba", 1, [("a", 0, [0])], ("a", 1)),
        ("ba", 2, [A], ("b", 0)),
        ("ba", 4, [A, ("b", 0, [0, 1])], ("b", 2)),
        ("ba", 5, [A, B], None),
        ("ab", 0, [("a", 0, [0])], ("a", 1)),
        ("ab", -5, [("a", 0, [0])], ("a", 1)),
        ("ax", 2, [A], ("x", 0)),
        ("", 1, [INTERNAL], ("a", 0)),
    ],
)
def test_in_portions(names: str, limit: int, found: list[object], following: Place | None) -> None:
    assert seen(ask(cluster(), *names, limit=limit)) == (found, following)


def test_no_portion_is_larger_than_the_broker_wants() -> None:
    peer = cluster()
    peer.broker.create_topic("large", 2001)
    [topic], following = seen(ask(peer, "large", limit=5000))
    assert (len(topic[2]), following) == (2000, ("large", 2000))


@pytest.mark.parametrize(
    "names, cursor, found",
    [
        ("ab", ("b", 1), [("b", 0, [1, 2])]),
        ("a", ("a", 5), [("a", 0, [])]),
        ("", ("aa", 1), [B]),
        ("", ("a", 1), [("a", 0, [1]), B]),
        ("", ("b", 7), [("b", 0, [])]),
        ("", ("zz", 0), []),
        ("ax", ("x", 2), [("x", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, [])]),
        ("ab", ("x", 0), [("a", ErrorCode.INVALID_REQUEST, []), ("b", ErrorCode.INVALID_REQUEST, [])]),
        ("ab", ("b", -1), [("a", ErrorCode.INVALID_REQUEST, []), ("b", ErrorCode.INVALID_REQUEST, [])]),
        ("", ("b", -1), []),
    ],
)
def test_from_a_cursor_on(names: str, cursor: Place, found: list[object]) -> None:
    assert seen(ask(cluster(), *names, cursor=cursor)) == (found, None)


def test_a_partition() -> None:
    peer = Peer(Broker(nodes=3))
    peer.broker.create_topic("t", 2, replicas=2)
    peer.broker.stop_node(1, peer.now)
    first, second = ask(peer, "t").topics[0].partitions
    assert first == DescribeTopicPartitionsResponsePartition(0, 0, 0, 0, [0, 1], [0], [], [], [1])
    assert second == DescribeTopicPartitionsResponsePartition(0, 1, 2, 1, [1, 2], [2], [], [], [1])
    peer.broker.stop_node(0, peer.now)  # nobody leads it now, which is no error
    request = DescribeTopicPartitionsRequest([TopicRequest("t")])
    first = peer.ask(request, 0, node=2).topics[0].partitions[0]
    assert (first.error_code, first.leader_id, first.isr_nodes, first.offline_replicas) == (0, -1, [], [0, 1])


def test_faults() -> None:
    peer = cluster()
    api = ApiKey.DESCRIBE_TOPIC_PARTITIONS
    peer.broker.faults.add(api=api, topic="a", error=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    assert seen(ask(peer, "a", "b"))[0] == [("a", ErrorCode.TOPIC_AUTHORIZATION_FAILED, []), B]
    peer.broker.faults.add(api=api, topic="a", partition=1, error=ErrorCode.LEADER_NOT_AVAILABLE)
    assert [p.error_code for p in ask(peer, "a").topics[0].partitions] == [0, ErrorCode.LEADER_NOT_AVAILABLE]
