"""CRC-32C, the checksum of v2 batches (B2).

The library is imported on first use: its import costs more than all of dekaf's.
"""

from __future__ import annotations

from collections.abc import Callable

_crc32c: Callable[[bytes | bytearray | memoryview, int], int] | None = None


def crc32c(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """The Castagnoli CRC of `data`, unsigned; `value` is the CRC of what came before it.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    global _crc32c
    if _crc32c is None:
        from crc32c import crc32c as function

        _crc32c = function
    return _crc32c(data, value)
