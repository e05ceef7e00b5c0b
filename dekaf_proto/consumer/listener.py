"""Which method of a program's listener an event of the group goes to.

A listener is any object with `on_assigned`, `on_revoked` or `on_lost`, each called with the consumer and a list of
partitions. Drivers offer a class to derive it from, and call it; whether a method is async is their affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dekaf_proto.events import PartitionsAssigned, PartitionsLost, PartitionsRevoked, Rebalance

#: The methods for an event, the first one first: partitions that are lost are revoked ones unless somebody minds.
_METHODS: Final[dict[type[Rebalance], tuple[str, ...]]] = {
    PartitionsAssigned: ("on_assigned",),
    PartitionsRevoked: ("on_revoked",),
    PartitionsLost: ("on_lost", "on_revoked"),
}


def check_listener(listener: object) -> None:
    """TypeError for what can't be one: it has none of the methods, maybe for a typo."""
    methods = [name for names in _METHODS.values() for name in names]
    if isinstance(listener, type):
        raise TypeError(f"a listener is an object; {listener.__name__} is a class, give {listener.__name__}()")
    if listener is not None and not any(callable(getattr(listener, name, None)) for name in methods):
        raise TypeError(f"a listener has a method on_assigned, on_revoked or on_lost; {listener!r} has none")


def method_of(listener: object, event: Rebalance, base: type) -> Callable[..., Any] | None:
    """What to call for `event`, None for nothing. The methods of `base` are there for people: nothing to call."""
    for name in _METHODS[type(event)]:
        method = getattr(listener, name, None)
        if method is not None and getattr(type(listener), name, None) is not getattr(base, name):
            found: Callable[..., Any] = method
            return found
    return None
