"""The broker of a test, and what no test may leave behind."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from dekaf_proto.broker import Broker
from dekaf_sync import _pump
from tests.broker_server import BrokerServer
from tests.dekaf_sync.helpers import Kafka, until


@pytest.fixture
def kafka() -> Iterator[Kafka]:
    server = BrokerServer(Broker(auto_create_partitions=None, unix_offset=time.time() - time.monotonic()))
    with server as bootstrap:
        yield Kafka(server, bootstrap)


@pytest.fixture(autouse=True)
def no_test_hangs() -> Iterator[None]:
    """A driver that is broken waits for ever, mostly."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def give_up(*_: object) -> None:
        raise AssertionError("the test hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Threads end, and so do sockets: one that is collected open is a ResourceWarning, which pytest makes an error."""
    yield
    gc.collect()
    until(lambda: not any(thread.name.startswith("dekaf") for thread in threading.enumerate()))
    assert not _pump._running


@pytest.fixture
def free_signals() -> Iterator[None]:
    """The commands take these."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
