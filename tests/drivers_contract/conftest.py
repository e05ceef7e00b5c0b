"""Each scenario runs over both drivers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from dekaf_proto.broker import Broker
from tests.broker_server import BrokerServer
from tests.drivers_contract.scene import Scene
from tests.integration.drivers import DRIVERS


@pytest.fixture(params=DRIVERS)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    server = BrokerServer(Broker(auto_create_partitions=None, unix_offset=time.time() - time.monotonic()))
    with server as bootstrap:
        yield Scene(request.param, server, bootstrap)
