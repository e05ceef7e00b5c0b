"""What a stale, failing or incomplete Metadata response does to what was known: as little as possible."""

from __future__ import annotations

from dekaf_proto.cluster import BrokerInfo, Cluster, PartitionInfo
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from dekaf_proto.types import TopicPartition, Uuid

TP = TopicPartition("t", 0)
ID, OTHER_ID = Uuid(b"a" * 16), Uuid(b"b" * 16)


def partition(leader: int, epoch: int = -1, *, index: int = 0, error: int = 0) -> MetadataResponsePartition:
    return MetadataResponsePartition(error, index, leader, epoch, [1, 2], [1], [2])


def topic(
    *partitions: MetadataResponsePartition, error: int = 0, topic_id: Uuid = ID, name: str | None = "t"
) -> MetadataResponseTopic:
    return MetadataResponseTopic(error, name, topic_id, False, list(partitions))


def answer(
    *topics: MetadataResponseTopic, brokers: tuple[int, ...] = (1, 2), cluster_id: str | None = "c"
) -> MetadataResponse:
    nodes = [MetadataResponseBroker(n, f"kafka{n}", 9092, f"rack{n}") for n in brokers]
    return MetadataResponse(brokers=nodes, cluster_id=cluster_id, topics=list(topics))


def known(epoch: int = 5, leader: int = 1) -> Cluster:
    cluster = Cluster()
    assert cluster.update(answer(topic(partition(leader, epoch))), 13)
    return cluster


def test_nothing_is_known_at_first() -> None:
    cluster = Cluster()
    assert cluster.leader(TP) is None
    assert cluster.partitions("t") == []
    assert not cluster.topic_id("t")
    assert not cluster.is_behind(TP, 7)
    assert not cluster.leader_hint(TP, 1, 7, [])


def test_an_answer() -> None:
    cluster = Cluster()
    response = answer(topic(partition(2, 5, index=1), partition(1, 4)))
    assert cluster.update(response, 13)
    assert cluster.brokers[2] == BrokerInfo(2, "kafka2", 9092, "rack2")
    assert cluster.cluster_id == "c"
    assert cluster.leader(TopicPartition("t", 1)) == PartitionInfo(2, 5, (1, 2), (2,))
    assert cluster.partitions("t") == [0, 1]
    assert cluster.topic_id("t") == ID
    assert cluster.leader(TopicPartition("t", 2)) is None
    assert cluster.version == 1


def test_an_answer_without_brokers_means_nothing() -> None:  # M7
    cluster = known()
    assert not cluster.update(answer(brokers=()), 13)
    assert set(cluster.brokers) == {1, 2}
    assert cluster.version == 1


def test_the_brokers_are_replaced_the_cluster_id_is_kept() -> None:  # M9
    cluster = known()
    cluster.update(answer(brokers=(2, 3), cluster_id=None), 13)
    assert list(cluster.brokers) == [2, 3]
    assert cluster.cluster_id == "c"


def test_a_leader_that_is_no_broker_is_none() -> None:
    cluster = known(leader=1)
    cluster.update(answer(brokers=(2,)), 13)
    assert cluster.leader(TP) is None


def test_epochs_of_old_brokers_are_not_believed() -> None:  # M3
    cluster = Cluster()
    cluster.update(answer(topic(partition(1, 5), topic_id=Uuid.ZERO)), 8)
    found = cluster.leader(TP)
    assert found is not None
    assert found.leader_epoch == -1
    assert not cluster.topic_id("t")


def leader_after(cluster: Cluster, *topics: MetadataResponseTopic, version: int = 13) -> tuple[int, int]:
    cluster.update(answer(*topics), version)
    info = cluster.topics["t"].partitions[0]
    return info.leader, info.leader_epoch


def test_older_answers_do_not_undo_newer_ones() -> None:  # M4
    assert leader_after(known(5), topic(partition(2, 4))) == (1, 5)
    assert leader_after(known(5), topic(partition(2, 0))) == (1, 5)
    assert leader_after(known(5), topic(partition(2, 6))) == (2, 6)
    # trap 12: the same epoch, or none, with another leader
    assert leader_after(known(5), topic(partition(2, 5))) == (2, 5)
    assert leader_after(known(5), topic(partition(2, -1))) == (2, -1)
    assert leader_after(known(5), topic(partition(2, 3)), version=8) == (2, -1)


def test_a_topic_that_was_made_anew_begins_anew() -> None:  # M4, trap 13
    cluster = known(5)
    assert leader_after(cluster, topic(partition(2, 0), topic_id=OTHER_ID)) == (2, 0)
    assert cluster.topic_id("t") == OTHER_ID


def test_a_broker_that_knows_no_ids_does_not_make_a_topic_anew() -> None:
    """While a cluster is being upgraded, some of its brokers do not tell the ids."""
    cluster = known(5)
    assert leader_after(cluster, topic(partition(2, 4), topic_id=Uuid.ZERO), version=9) == (1, 5)
    assert cluster.topic_id("t") == ID


def test_a_topic_that_is_named_by_its_id_only() -> None:
    cluster = known(5)
    assert leader_after(cluster, topic(partition(2, 6), name=None)) == (2, 6)
    cluster.update(answer(topic(partition(1, 1), name=None, topic_id=OTHER_ID)), 13)
    assert list(cluster.topics) == ["t"]


def test_a_partition_without_a_leader_keeps_the_last_one() -> None:  # M5
    cluster = known(5)
    assert leader_after(cluster, topic(partition(-1, 6, error=ErrorCode.LEADER_NOT_AVAILABLE))) == (1, 5)
    assert leader_after(cluster, topic(partition(0, 6, error=ErrorCode.REPLICA_NOT_AVAILABLE))) == (0, 6)
    assert leader_after(cluster, topic(partition(-1, 6))) == (-1, 6)  # nobody leads, and that is no error
    assert cluster.leader(TP) is None


def test_a_failing_topic_keeps_what_is_known() -> None:  # M5
    cluster = known(5)
    for error in (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.TOPIC_AUTHORIZATION_FAILED):
        assert leader_after(cluster, topic(partition(2, 9), error=error)) == (1, 5)
        assert cluster.topics["t"].error is error
    assert leader_after(cluster, topic(partition(2, 6))) == (2, 6)
    assert cluster.topics["t"].error is ErrorCode.NONE


def test_a_failing_topic_that_was_not_known() -> None:
    cluster = Cluster()
    cluster.update(answer(topic(error=999, topic_id=Uuid.ZERO)), 13)
    assert cluster.topics["t"].error is ErrorCode.UNKNOWN_SERVER_ERROR
    assert cluster.partitions("t") == []


def test_a_hint_about_the_leader() -> None:  # F27
    cluster = known(5)
    assert cluster.leader_hint(TP, 2, 6, [])
    found = cluster.leader(TP)
    assert found is not None
    assert (found.leader, found.leader_epoch) == (2, 6)
    assert cluster.version == 2
    assert cluster.leader_hint(TP, 9, 7, [BrokerInfo(9, "new", 9092)])
    assert cluster.brokers[9].host == "new"


def test_hints_that_are_no_news() -> None:  # F27
    cluster = known(5)
    assert not cluster.leader_hint(TP, 2, 5, [])
    assert not cluster.leader_hint(TP, 2, -1, [])
    assert not cluster.leader_hint(TP, -1, 6, [])
    assert not cluster.leader_hint(TP, 9, 6, [])  # nobody knows where that is
    assert not cluster.leader_hint(TopicPartition("t", 7), 2, 6, [])
    assert not cluster.leader_hint(TopicPartition("other", 0), 2, 6, [])
    assert cluster.version == 1


def test_whether_somebody_knows_more() -> None:  # F28
    cluster = known(5)
    assert cluster.is_behind(TP, 6)
    assert not cluster.is_behind(TP, 5)
    assert not cluster.is_behind(TopicPartition("t", 3), 6)
    assert not known(-1).is_behind(TP, 6)
