"""The driver of `dekaf_proto` for threads and blocking calls. Nothing is here yet: the bottom of the protocol comes first."""

from __future__ import annotations

__all__: list[str] = []
