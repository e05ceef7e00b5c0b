"""The driver of `dekaf_proto` for trio. Nothing is here yet."""

from __future__ import annotations

__all__: list[str] = []
