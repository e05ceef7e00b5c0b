"""The harness itself: what the other tests of this folder build on does what it says."""

from __future__ import annotations

import socket

import pytest

from tests.integration import librdkafka
from tests.integration.kafka import CODECS, Codec, JavaError, KafkaCluster, Placed, Produced, wait_until

MARKER = 1  # a transaction's end takes an offset too


@pytest.mark.parametrize("codec", CODECS)
def test_java_reads_what_java_wrote_with_every_codec(kafka: KafkaCluster, topic: str, codec: Codec) -> None:
    kafka.create_topic(topic, partitions=2)
    wanted = [
        Produced(topic, i % 2, f"k{i}".encode(), b"value" * i, [("h", b"1"), ("null", None)], 1_700_000_000_000 + i)
        for i in range(20)
    ]
    placed = kafka.produce([*wanted, Produced(topic, 1)], codec=codec)
    assert placed[:20] == [Placed(topic, i % 2, i // 2, r.timestamp or 0) for i, r in enumerate(wanted)]
    for partition in (0, 1):
        got = kafka.consume(topic, partition)
        mine = wanted[partition::2]
        assert [(r.offset, r.key, r.value, list(r.headers), r.timestamp) for r in got[:10]] == [
            (i, r.key, r.value, list(r.headers), r.timestamp) for i, r in enumerate(mine)
        ]
        assert [(r.offset, r.key, r.value, r.headers) for r in got[10:]] == (
            [(10, None, None, ())] if partition else []
        )


def test_transactions_end_as_asked_and_an_open_one_holds_back_the_stable_offset(
    kafka: KafkaCluster, topic: str
) -> None:
    kafka.create_topic(topic)

    def one(value: bytes) -> list[Produced]:
        return [Produced(topic, 0, value=value)]

    kafka.produce(one(b"committed"), transactional_id=topic)
    kafka.produce(one(b"aborted"), transactional_id=topic, end="abort")
    kafka.produce(one(b"open"), transactional_id=topic, end="open")
    kafka.produce(one(b"plain"))
    before = [(1 + MARKER) * 2, (1 + MARKER) * 2 + 2]
    assert [kafka.offset(topic, 0, "latest", read_committed=c) for c in (True, False)] == before
    kafka.produce(one(b"still open"), transactional_id=topic, end="open")
    kafka.end_transaction(topic, "commit")
    # The coordinator answers before the marker is in the log.
    wait_until("the marker", lambda: kafka.offset(topic, 0, "latest", read_committed=True) == before[1] + 1 + MARKER)
    values = [r.value for r in kafka.consume(topic, read_committed=True)]
    assert values == [b"committed", b"open", b"plain", b"still open"]
    assert b"aborted" in [r.value for r in kafka.consume(topic)]


@pytest.mark.parametrize("codec", CODECS)
def test_java_reads_what_librdkafka_wrote(kafka: KafkaCluster, topic: str, codec: Codec) -> None:
    kafka.create_topic(topic)
    wanted = [
        Produced(topic, 0, f"k{i}".encode(), b"value" * i, [("h", b"1"), ("null", None)], 1_700_000_000_000 + i)
        for i in range(20)
    ]
    placed = librdkafka.produce(kafka.bootstrap, wanted, codec)
    assert placed == [Placed(topic, 0, i, r.timestamp or 0) for i, r in enumerate(wanted)]
    librdkafka.produce(kafka.bootstrap, wanted[:2], codec, transactional_id=topic, end="abort")
    librdkafka.produce(kafka.bootstrap, wanted[2:4], codec, transactional_id=topic)
    got = kafka.consume(topic, read_committed=True)
    assert [(r.key, r.value, list(r.headers), r.timestamp) for r in got] == [
        (r.key, r.value, list(r.headers), r.timestamp) for r in [*wanted, *wanted[2:4]]
    ]
    assert [r.offset for r in got] == [*range(20), 23, 24]


def test_topics_are_altered_described_and_deleted(kafka: KafkaCluster, topic: str) -> None:
    kafka.create_topic(topic, configs={"segment.bytes": 1 << 20})
    kafka.alter_topic(topic, {"message.timestamp.type": "LogAppendTime"}, partitions=3)
    wait_until("the new partitions", lambda: len(kafka.describe_topic(topic)["partitions"]) == 3)
    placed = kafka.produce([Produced(topic, 0, value=b"x", timestamp=5)])
    assert placed[0].timestamp > 1_600_000_000_000
    kafka.produce([Produced(topic, 0, value=b"x")])
    kafka.delete_records(topic, 0, before=1)
    assert [kafka.offset(topic, 0, at) for at in ("earliest", "latest", 5)] == [1, 2, 1]
    assert kafka.committed(f"{topic}-group") == {}
    kafka.delete_topic(topic)
    with pytest.raises(JavaError, match="UnknownTopicOrPartition") as caught:
        kafka.describe_topic(topic)
    assert caught.value.kind == "UnknownTopicOrPartitionException"


def test_leaders_move_and_nodes_go_and_come_back(kafka_cluster: KafkaCluster, topic: str) -> None:
    kafka_cluster.create_topic(topic, replicas=[[1, 2]])
    kafka_cluster.produce([Produced(topic, 0, value=b"before")])
    kafka_cluster.move_leader(topic, 0, to=3)
    assert kafka_cluster.leader(topic, 0) == 3
    kafka_cluster.produce([Produced(topic, 0, value=b"moved")])
    kafka_cluster.kill(3)
    wait_until("another leader", lambda: kafka_cluster.leader(topic, 0) not in (3, -1))
    kafka_cluster.produce([Produced(topic, 0, value=b"killed")])
    kafka_cluster.start(3)
    kafka_cluster.restart(1)
    got = kafka_cluster.consume(topic)
    assert [r.value for r in got] == [b"before", b"moved", b"killed"]
    assert got[0].leader_epoch < got[1].leader_epoch < got[2].leader_epoch


def test_a_paused_node_is_silent_but_connected(kafka_cluster: KafkaCluster) -> None:
    api_versions_v0 = bytes.fromhex("0000000a 0012 0000 00000001 ffff")

    with socket.create_connection(("127.0.0.1", kafka_cluster.ports[2]), timeout=20) as connection:
        with kafka_cluster.paused(2):
            connection.sendall(api_versions_v0)
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(4)
        connection.settimeout(20)
        assert len(connection.recv(4)) == 4


def test_a_wrong_operation_is_an_error_and_the_helper_lives_on(kafka: KafkaCluster) -> None:
    with pytest.raises(JavaError, match="unknown op") as caught:
        kafka.java.call("nonsense")
    assert caught.value.kind == "IllegalArgumentException"
    assert kafka.java.call("nodes", bootstrap=kafka.bootstrap) == [1]
