"""How much an engine holds: what is in all its containers, counted. It must not grow while nothing happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

_CONTAINERS: Final = (list, tuple, set, frozenset, deque)


def census(root: object) -> int:
    """The number of items in the containers of `root` and of all that it leads to, as far as that is dekaf's own."""
    seen: set[int] = set()
    left: list[object] = [root]
    count = 0
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            count += len(each)
            left += each.keys()
            left += each.values()
        elif isinstance(each, _CONTAINERS):
            count += len(each)
            left += each
        elif type(each).__module__.startswith("dekaf_proto") and not isinstance(each, (type, Enum)):
            left += _attributes(each)
    return count


def _attributes(each: object) -> Iterable[Any]:
    names = [name for cls in type(each).__mro__ for name in getattr(cls, "__slots__", ())]
    found = [getattr(each, name, None) for name in names]
    return [*found, *vars(each).values()] if hasattr(each, "__dict__") else found
