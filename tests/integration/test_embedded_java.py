"""Java's admin client, producer and consumers at the embedded broker: the same story as at a real Kafka."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import pytest

from dekaf_proto.broker import GroupOptions
from dekaf_sync import EmbeddedBroker
from tests.integration.groups import QUICK, JavaMember
from tests.integration.kafka import JavaClients, JavaError, JavaHelper, KafkaCluster, Produced, wait_until
from tests.integration.test_embedded_producers import Embedded

NOW = int(time.time() * 1000)
PACKAGE = "org.apache.kafka.clients.consumer."


def story(cluster: JavaClients, topic: str) -> list[object]:
    """A topic is made and grows; a group of two reads it, and is described; time is looked up; the topic goes."""
    seen: list[object] = []

    def refused(op: str, **arguments: object) -> None:
        with pytest.raises(JavaError) as caught:
            cluster._call(op, **arguments)
        seen.append((op, caught.value.kind))

    def described() -> list[Any]:
        return [found["partition"] for found in cluster._call("describe_topic", topic=topic)["partitions"]]

    def exists(count: int) -> bool:
        try:
            return len(described()) == count
        except JavaError:
            return False

    new = {"name": topic, "partitions": 2, "replication": 1, "configs": {"max.message.bytes": 2000}}
    cluster._call("create_topics", topics=[new])
    wait_until("the topic", lambda: exists(2))
    refused("create_topics", topics=[new])
    refused("create_topics", topics=[{**new, "name": topic + "-x", "replication": 99}])
    refused("create_topics", topics=[{**new, "name": topic + "-x", "configs": {"no.such": 1}}])
    cluster._call("alter_topic", topic=topic, configs={}, partitions=4)
    refused("alter_topic", topic=topic, configs={}, partitions=4)
    wait_until("the partitions", lambda: exists(4))

    records = [Produced(topic, n % 4, b"%d" % n, b"order %d" % n, (), NOW + n) for n in range(40)]
    seen.append(cluster.produce(records))
    seen.append([cluster.offset(topic, 1, at) for at in ("earliest", "latest", NOW + 20, NOW + 1000)])
    with pytest.raises(JavaError) as caught:
        cluster.produce([Produced(topic, 0, value=b"x" * 3000)])
    seen.append(caught.value.kind)

    configs = {
        **{name.replace("_", "."): value for name, value in QUICK.items()},
        "group.id": topic,
        "partition.assignment.strategy": PACKAGE + "CooperativeStickyAssignor",
    }
    settings = {"topics": [topic], "configs": configs}
    with ExitStack() as stack:
        members = [stack.enter_context(JavaMember(f"member {n}", cluster, settings)) for n in range(2)]  # type: ignore[arg-type]

        def shares() -> list[int]:
            try:
                group = cluster.describe_group(topic)
            except JavaError:  # nobody has joined yet
                return []
            return sorted(len(m["partitions"]) for m in group["members"]) if group["state"] == "Stable" else []

        wait_until("both have their share", lambda: shares() == [2, 2])
        seen.append(cluster.describe_group(topic)["strategy"])
        wait_until("all is committed", lambda: sorted(o for o, _ in cluster.committed(topic).values()) == [10] * 4)
        for member in members:
            member.close()
    seen.append((cluster.describe_group(topic)["state"], sorted(cluster.committed(topic).items())))
    cluster._call("delete_topics", topics=[topic])
    wait_until("the topic is gone", lambda: not exists(4))
    refused("describe_topic", topic=topic)
    return seen


def test_the_same_story(kafka: KafkaCluster, java: JavaHelper, topic: str) -> None:
    expected = story(kafka, topic)
    with EmbeddedBroker(nodes=3, group_options=GroupOptions(min_session_timeout_ms=1)) as broker:
        cluster = Embedded(java, broker.bootstrap_servers)
        assert story(cluster, topic) == expected
        assert broker.topics == []
        cluster._call("forget")
