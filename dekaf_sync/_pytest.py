"""pytest's plugin of dekaf: the fixture `dekaf_broker`, an embedded broker of the test's own.

    def test_billing(dekaf_broker):
        dekaf_broker.create_topic("orders")
        ...

    @pytest.mark.dekaf_broker(nodes=3, topics={"orders": 2})
    def test_a_leader_dies(dekaf_broker): ...

The mark's arguments are those of `dekaf_sync.EmbeddedBroker`. pytest imports this module in every run, and early, so it
imports nothing more of dekaf before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dekaf_sync import EmbeddedBroker

__all__ = ["dekaf_broker"]


def pytest_configure(config: pytest.Config) -> None:
    """The mark is one that `--strict-markers` knows."""
    config.addinivalue_line(
        "markers", "dekaf_broker(**options): how the embedded broker of the fixture dekaf_broker is made"
    )


@pytest.fixture
def dekaf_broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker]:
    """A Kafka broker for this test alone, empty and on loopback (`dekaf_sync.EmbeddedBroker`)."""
    from dekaf_sync import EmbeddedBroker

    mark = request.node.get_closest_marker("dekaf_broker")
    if mark is not None and mark.args:
        raise pytest.UsageError(f"the mark dekaf_broker takes keywords, such as nodes=3, and not {mark.args!r}")
    with EmbeddedBroker(**({} if mark is None else mark.kwargs)) as broker:
        yield broker
