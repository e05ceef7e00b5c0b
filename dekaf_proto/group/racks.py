"""When an assignor looks at racks at all (KIP-881)."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def racks_matter(members: Iterable[str | None], replicas: Collection[Collection[str]]) -> bool:
    """Whether it makes a difference who gets what.

    It makes none where no replica is in a member's rack, nor where every partition has a replica in every rack.
    """
    everywhere = {rack for racks in replicas for rack in racks}
    nearby = any(rack in everywhere for rack in members if rack)
    return nearby and any(set(racks) != everywhere for racks in replicas)
