"""Topics that come and go, and grow, while a group reads them (G17)."""

from __future__ import annotations

import pytest

from tests.integration.groups import Group
from tests.integration.kafka import KafkaCluster


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_topics_of_a_pattern(kafka: KafkaCluster, topic: str, strategy: str) -> None:
    options = {"partition_assignment_strategy": strategy, "metadata_max_age_ms": 300}
    pattern = {"pattern": f"{topic}-[ab]$"}
    a, b, other = f"{topic}-a", f"{topic}-b", f"{topic}-c"
    with Group(kafka, topic, partitions=0, **options) as group:
        members = [group.join(topics=pattern), group.join(topics=pattern)]
        kafka.create_topic(other, partitions=1)
        group.create(a, 2)
        group.produce(10)
        group.settle(members)
        group.create(b, 2)  # a new one that matches
        group.produce(10)
        group.settle(members, evenly=strategy != "range")
        group.grow(a, 4)
        group.produce(10)
        group.settle(members, evenly=strategy != "range")
        kafka.delete_topic(b)
        handled = {part: group.ends.pop(part) for part in group.parts if part[0] == b}
        group.wait("the deleted topic to be given up", lambda: group.is_shared_by(members))
        assert {part: len(offsets) for part, offsets in group.handled().items() if part[0] == b} == handled
        group.produce(10)
        group.settle(members)
        group.end(members)
        group.check()
        assert other not in {part[0] for part in group.tenures()}


def test_partitions_are_added(kafka: KafkaCluster, topic: str) -> None:
    with Group(kafka, topic, partitions=1, metadata_max_age_ms=300) as group:
        members = [group.join(), group.join()]
        group.produce(10)
        group.settle(members)
        group.grow(topic, 3)
        group.produce(10)  # at once: they begin at their beginning
        group.settle(members)
        group.end(members)
        group.check()
