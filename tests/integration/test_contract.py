"""A part of the drivers' contract (tests/drivers_contract) on a real Kafka, over each driver and each example."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dekaf_proto.types import TopicPartition
from tests.drivers_contract import (
    test_crash_table as crash_table,
    test_errors as errors,
    test_listeners as listeners,
    test_offsets as offsets,
)
from tests.drivers_contract.needs import able
from tests.drivers_contract.scene import T0, Scene
from tests.integration.drivers import Driver
from tests.integration.kafka import KafkaCluster, Produced

SCENARIOS: list[Callable[[Scene], None]] = [
    offsets.test_the_three_numbers,
    offsets.test_a_break_and_a_new_for,
    offsets.test_commits_of_every_kind,
    offsets.test_stored_offsets,
    offsets.test_seeks,
    offsets.test_a_seek_in_the_loop,
    crash_table.test_automatic_before_the_timer,
    crash_table.test_manual,
    errors.test_a_record_that_can_not_be_read,
    listeners.test_the_order,
    listeners.test_inside_of_on_assigned,
]


class KafkaScene(Scene):
    """A real Kafka in the broker's place."""

    def __init__(self, driver: Driver, kafka: KafkaCluster, group: str) -> None:
        self.driver = driver
        self.bootstrap = kafka.bootstrap
        self.group = group
        self.kafka = kafka

    def append(self, *values: str, partition: int = 0, topic: str = "t") -> None:
        self.kafka.produce([Produced(topic, partition, value=value.encode()) for value in values])

    def stored(self, tp: TopicPartition = T0) -> int | None:
        found = self.kafka.committed(self.group).get((tp.topic, tp.partition))
        return None if found is None else found[0]

    def members(self) -> int:
        return len(self.kafka.describe_group(self.group)["members"])


@pytest.mark.parametrize(
    "scenario, driver",
    [
        pytest.param(scenario, driver, id=f"{scenario.__name__.removeprefix('test_')}-{driver}")
        for scenario in SCENARIOS
        for driver in able(scenario)
    ],
)
def test_scenario(scenario: Callable[[Scene], None], driver: Driver, kafka: KafkaCluster, topic: str) -> None:
    kafka.create_topic("t", partitions=3)
    try:
        scenario(KafkaScene(driver, kafka, group=topic))
    finally:
        kafka.delete_topic("t")
