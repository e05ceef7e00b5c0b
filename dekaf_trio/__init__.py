"""The driver of `dekaf_proto` for trio. Nothing is here yet: the bottom of the protocol comes first."""

from __future__ import annotations

__all__: list[str] = []
