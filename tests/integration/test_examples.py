"""docs/examples against a real Kafka."""

from __future__ import annotations

from tests.examples.test_own_loop import lines, run_example
from tests.integration.kafka import KafkaCluster, Produced


def test_own_loop_selectors(kafka: KafkaCluster, topic: str) -> None:
    kafka.create_topic(topic, partitions=3)
    kafka.produce([Produced(topic, i % 3, value=b"x" * 1000) for i in range(300)], codec="lz4")
    everything = [(f"{topic}-{partition}", offset) for partition in range(3) for offset in range(100)]
    assert sorted(lines(run_example(kafka.bootstrap, topic))) == everything
    assert sorted(lines(run_example(kafka.bootstrap, topic, "--group", topic))) == everything
    kafka.produce([Produced(topic, 1, value=b"new")])
    assert lines(run_example(kafka.bootstrap, topic, "--group", topic)) == [(f"{topic}-1", 100)]
