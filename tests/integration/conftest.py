"""Fixtures with a real Kafka. Every test in this folder is marked `integration`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.integration.drivers import DRIVERS, Driver
from tests.integration.kafka import JavaHelper, KafkaCluster, Unavailable

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.integration)


def unavailable(reason: Unavailable) -> NoReturn:
    """A skip for somebody without Java; in CI nothing may go untested unnoticed."""
    if os.environ.get("CI"):
        pytest.fail(f"CI needs a real Kafka: {reason}", pytrace=False)
    pytest.skip(f"no real Kafka: {reason}")


@pytest.fixture(scope="session")
def java() -> Iterator[JavaHelper]:
    """Java's clients, in one JVM for the whole session."""
    try:
        helper = JavaHelper()
    except Unavailable as reason:
        unavailable(reason)
    with helper:
        yield helper


@pytest.fixture(scope="session")
def kafka(java: JavaHelper) -> Iterator[KafkaCluster]:
    """One node, shared by the session: a test makes topics and groups of its own and leaves the node alone."""
    with KafkaCluster(java) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kafka_cluster(java: JavaHelper) -> Iterator[KafkaCluster]:
    """Three nodes, shared by a module, whose tests may move leaders and kill nodes but leave all of them running."""
    with KafkaCluster(java, nodes=3) as cluster:
        yield cluster


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    """Each driver in turn (see `drivers`)."""
    name: Driver = request.param
    return name


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic name of the test's own. The test creates the topic."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name).strip("-")[:200]
