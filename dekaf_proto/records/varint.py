"""The signed variable-length integers of records: zigzag, seven bits a byte, least significant first (W13).

Message schemas have none of these; they live inside record batches only. The hot loops of `iterator` and `builder`
handle one and two bytes themselves and come here for the rest.

Rules:
- A machine integer wraps where a Python int grows, and this module is compiled with the one and tested with both. So
  no expression here leaves the range of int64, whatever the bytes say.
- Bad bytes are a ValueError, missing bytes an IndexError; the caller knows the place and makes a CorruptRecordError.
"""

from __future__ import annotations

from typing import Final

from dekaf_proto._i64 import i64

INT64_MAX: Final = 0x7FFFFFFFFFFFFFFF

# One and two bytes, encoded once: SMALL_VARINTS[zigzag(n)] for -1024 <= n < 1024, which is nearly every number of a
# record. A longer table would cost more at import than it saves.
SMALL: Final = 1024
SMALL_VARINTS: Final[list[bytes]] = [
    bytes((n,)) if n < 0x80 else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(2 * SMALL)
]


def read_varint(data: bytes, pos: i64) -> tuple[i64, i64]:
    """An int32 at `pos` and the position behind it.

    ValueError if it has more than 32 bits: what a reader would have to drop might have been data.
    """
    raw: i64 = 0
    shift: i64 = 0
    while True:
        byte: i64 = data[pos]
        pos += 1
        if shift == 28 and byte > 0x0F:
            raise ValueError("a varint has more than 32 bits")
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), pos
        shift += 7


def read_varlong(data: bytes, pos: i64) -> tuple[i64, i64]:
    """An int64 at `pos` and the position behind it; ValueError if it has more than 64 bits."""
    raw: i64 = 0
    shift: i64 = 0
    while True:
        byte: i64 = data[pos]
        pos += 1
        if shift == 63:
            if byte > 1:
                raise ValueError("a varlong has more than 64 bits")
            # The 64th bit joins after the shift: before it, a machine integer has no room for it.
            return ((raw >> 1) | (byte << 62)) ^ -(raw & 1), pos
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), pos
        shift += 7


def encode_varint(value: i64) -> bytes:
    """The bytes of an int32 or int64, in the shortest form."""
    sign: i64 = 0
    if value < 0:
        sign = 1
        value = -1 - value
    if value < SMALL:
        return SMALL_VARINTS[(value << 1) | sign]
    # The first byte holds the sign and six bits; shifting the whole number up for it could overflow.
    encoded = [((value & 0x3F) << 1) | sign | 0x80]
    value >>= 6
    while value >= 0x80:
        encoded.append((value & 0x7F) | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def wrapping_add(a: i64, b: i64) -> i64:
    """`a + b` as Java adds longs, where a machine integer and a Python int would part ways.

    >>> wrapping_add(9223372036854775807, 1)
    -9223372036854775808
    """
    low = (a & 0xFFFFFFFF) + (b & 0xFFFFFFFF)
    high = ((a >> 32) + (b >> 32) + (low >> 32)) & 0xFFFFFFFF
    if high >= 0x80000000:
        high -= 0x100000000
    return (high << 32) | (low & 0xFFFFFFFF)
