"""What scenarios need that not every driver has. `LACKS` says who can't run them, and why.

@needs("listeners")
def test_the_order(scene: Scene) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tests.integration.drivers import DRIVERS, EMBEDDED, Driver

F = TypeVar("F", bound=Callable[..., Any])

#: Both examples are as short as can be: who needs more writes it, or takes a driver.
_EXAMPLE = {
    "listeners": "they answer the group's events themselves, and have no listeners",
    "batches": "they give record after record, neither `poll` nor `batches`",
    "commit_async": "they wait for each operation; calling back when one is done is left to the program",
    "unsubscribe": "they answer the group's events while they read or close, not while an operation is under way",
}
LACKS: dict[Driver, dict[str, str]] = {"sync": {}, "trio": {}, **dict.fromkeys(EMBEDDED, _EXAMPLE)}


def needs(*features: str) -> Callable[[F], F]:
    """Marks a scenario that only drivers with these can run."""
    unknown = set(features) - set(_EXAMPLE)
    assert not unknown, unknown

    def mark(scenario: F) -> F:
        scenario.needs = features  # type: ignore[attr-defined]
        return scenario

    return mark


def able(scenario: Callable[..., Any]) -> list[Driver]:
    """The drivers that can run it."""
    features = getattr(scenario, "needs", ())
    return [driver for driver in (*DRIVERS, *EMBEDDED) if not LACKS[driver].keys() & set(features)]
