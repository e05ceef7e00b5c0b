"""Which method of a listener is called for which event."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dekaf_proto.consumer.listener import check_listener, method_of
from dekaf_proto.events import PartitionsAssigned, PartitionsLost, PartitionsRevoked, Rebalance
from tests.consumer.helpers import T0

ASSIGNED, REVOKED, LOST = PartitionsAssigned((T0,)), PartitionsRevoked((T0,)), PartitionsLost((T0,), "why")


class Base:
    def on_assigned(self) -> str:
        raise AssertionError

    def on_revoked(self) -> str:
        raise AssertionError

    def on_lost(self) -> str:
        raise AssertionError


class Plain:
    def on_revoked(self) -> str:
        return "plain revoked"


class Derived(Base):
    def on_assigned(self) -> str:
        return "assigned"

    def on_revoked(self) -> str:
        return "revoked"


class Full(Derived):
    def on_lost(self) -> str:
        return "lost"


@pytest.mark.parametrize(
    "listener, event, called",
    [
        (None, ASSIGNED, None),
        (Base(), ASSIGNED, None),
        (Base(), LOST, None),
        (Plain(), ASSIGNED, None),
        (Plain(), REVOKED, "plain revoked"),
        (Plain(), LOST, "plain revoked"),
        (Derived(), ASSIGNED, "assigned"),
        (Derived(), REVOKED, "revoked"),
        (Derived(), LOST, "revoked"),
        (Full(), REVOKED, "revoked"),
        (Full(), LOST, "lost"),
        (SimpleNamespace(on_assigned=lambda: "of the object"), ASSIGNED, "of the object"),
        (SimpleNamespace(on_lost=None, on_revoked=lambda: "of the object"), LOST, "of the object"),
    ],
)
def test_the_method_for_an_event(listener: object, event: Rebalance, called: str | None) -> None:
    method = method_of(listener, event, Base)
    assert (None if method is None else method()) == called


def test_what_can_be_a_listener() -> None:
    for listener in (None, Base(), Plain(), SimpleNamespace(on_lost=print)):
        check_listener(listener)
    with pytest.raises(TypeError, match="on_assigned, on_revoked or on_lost; 'orders' has none"):
        check_listener("orders")
    with pytest.raises(TypeError, match="has none"):  # as in Java
        check_listener(SimpleNamespace(on_partitions_revoked=print))
    with pytest.raises(TypeError, match=r"Plain is a class, give Plain\(\)"):
        check_listener(Plain)
