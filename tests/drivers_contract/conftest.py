"""Each scenario runs over both drivers, and over the loops of docs/examples where they can do what it needs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from dekaf_proto.broker import Broker
from tests.broker_server import BrokerServer
from tests.drivers_contract.needs import able
from tests.drivers_contract.scene import Scene


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "scene" in metafunc.fixturenames:
        metafunc.parametrize("scene", able(metafunc.function), indirect=True)


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    server = BrokerServer(Broker(auto_create_partitions=None, unix_offset=time.time() - time.monotonic()))
    with server as bootstrap:
        yield Scene(request.param, server, bootstrap)
