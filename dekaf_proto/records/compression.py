"""The codecs of record batches: gzip, snappy, lz4 and zstd, both ways (B12-B16).

`cramjam` does the work and is imported on first use. What this module adds is what Kafka adds to the formats (snappy in
xerial's frame, lz4 with the header checksum that old clients got wrong) and the bound: a few hundred bytes can claim to
be gigabytes, so decompression grows its buffer step by step and stops at a limit.

Rules:
- Whatever is wrong with compressed bytes is a ValueError here; the caller knows the batch and raises
  CorruptRecordError. A stream must be complete and must be all there is: what is cut off is refused, and so is what
  follows the end.
- No size that the data claims is allocated before it is seen to be plausible.

Nothing here knows what the bytes mean once they are decompressed.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final

Buffer = bytes | bytearray | memoryview

#: Bytes that one batch may decompress to, unless the reader says otherwise. Brokers take batches of 1 MiB compressed by
#: default; the largest that make sense are a hundred times that.
MAX_DECOMPRESSED_SIZE: Final = 128 * 1024 * 1024


class Codec(IntEnum):
    """How the records of a batch are compressed (bits 0-2 of its attributes)."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


# Levels that a producer may ask for, and the one it gets if it does not (Java's ranges and defaults, KIP-390).
LEVELS: Final[dict[Codec, tuple[range, int]]] = {
    Codec.GZIP: (range(1, 10), 6),
    Codec.LZ4: (range(1, 18), 9),
    Codec.ZSTD: (range(-131072, 23), 3),
}

# What a codec can make of one byte at most: deflate's limit is 1,032, lz4's 255; a zstd block of 4 bytes can repeat a
# byte 128 KiB long. A buffer never grows beyond what the input could fill.
_MAX_RATIO: Final[dict[Codec, int]] = {Codec.GZIP: 1040, Codec.LZ4: 260, Codec.ZSTD: 32768}

_XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER: Final = _XERIAL_MAGIC + b"\x00\x00\x00\x01\x00\x00\x00\x01"  # version, lowest compatible version
_XERIAL_CHUNK: Final = 32 * 1024  # what Java's stream writes
_SNAPPY_MAX_RATIO: Final = 32  # three bytes can copy 64
_LZ4_MAGIC: Final = b"\x04\x22\x4d\x18"
_MARK: Final = b"\xa7\x13unused\x9e"
_FIRST_GUESS: Final = 64 * 1024


def check_limit(limit: int) -> None:
    """ValueError for a limit of decompressed bytes that is negative."""
    if limit < 0:
        raise ValueError(f"max_decompressed_size: 0 or more bytes, not {limit}")


def check_level(codec: Codec, level: int | None) -> None:
    """ValueError if `codec` has no compression level `level` (None, the default level, is always right)."""
    if level is None:
        return
    if codec not in LEVELS:
        raise ValueError(f"{codec.name.lower()} has no compression levels")
    levels = LEVELS[codec][0]
    if level not in levels:
        raise ValueError(f"{codec.name.lower()} has the levels {levels[0]} to {levels[-1]}, not {level}")


def compress(codec: Codec, data: bytes, level: int | None = None) -> bytes:
    """`data` compressed for a batch. `level`: None for the codec's default; ValueError if it has no such level."""
    check_level(codec, level)
    if codec == Codec.NONE:
        return data
    if codec == Codec.SNAPPY:
        return _compress_snappy(data)
    import cramjam

    chosen = LEVELS[codec][1] if level is None else level
    if codec == Codec.GZIP:
        return bytes(cramjam.gzip.compress(data, chosen))
    if codec == Codec.ZSTD:
        return bytes(cramjam.zstd.compress(data, chosen))
    # Java's default, 9, means its fast compressor; of the others the library has no more than 12. Java refuses blocks
    # that depend on each other.
    chosen = 0 if chosen == LEVELS[codec][1] else min(chosen, 12)
    compressor = cramjam.lz4.Compressor(level=chosen, content_checksum=False, block_linked=False)
    compressor.compress(data)
    return bytes(compressor.finish())


def decompress(
    codec: Codec, data: Buffer, limit: int = MAX_DECOMPRESSED_SIZE, *, any_lz4_checksum: bool = False
) -> bytes:
    """What `data` holds; ValueError if it is damaged, cut off, followed by something, or more than `limit` bytes.

    `any_lz4_checksum`: don't look at the checksum of lz4's header, which clients of message format 0 got wrong (B14).
    """
    if codec == Codec.NONE:
        if len(data) > limit:
            raise ValueError(_beyond(limit))
        return bytes(data)
    if codec == Codec.SNAPPY:
        return _decompress_snappy(data, limit)
    import cramjam

    if codec == Codec.GZIP:
        return _grow(codec, cramjam.gzip.decompress_into, data, limit, limit)
    if codec == Codec.ZSTD:
        return _grow(codec, cramjam.zstd.decompress_into, data, limit, limit)
    parts: list[bytes] = []
    left = limit
    for frame in _lz4_frames(bytes(data)):
        complete = with_lz4_checksum(frame) if any_lz4_checksum else frame
        parts.append(_grow(codec, cramjam.lz4.decompress_into, complete, left, limit))
        left -= len(parts[-1])
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _beyond(limit: int) -> str:
    return f"the records decompress to more than the limit of {limit} bytes"


def _grow(
    codec: Codec, decompress_into: Callable[[Buffer, bytearray], int], data: Buffer, left: int, limit: int
) -> bytes:
    """Decompresses into a buffer that starts small and grows to what is `left` of the limit, but only if it was full.

    That is seen by a mark at its end, since the library's error does not promise to tell "no room" from "damaged".
    """
    import cramjam

    most = min(left, len(data) * _MAX_RATIO[codec])
    size = min(most, max(_FIRST_GUESS, 4 * len(data)))
    while True:
        buffer = bytearray(size)
        buffer[-len(_MARK) :] = _MARK[:size]
        try:
            length = decompress_into(data, buffer)
        except cramjam.DecompressionError as error:
            if buffer.endswith(_MARK[:size]) and "whole buffer" not in str(error):
                # The library puts the name of some codecs before its own words.
                name = codec.name.lower()
                raise ValueError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from None
            if size == most:
                raise ValueError(_beyond(limit)) from None
            size = min(most, size * 4)
            continue
        del buffer[length:]
        return bytes(buffer)


# ------------------------------------------------------------------------------------------------------------- snappy


def _compress_snappy(data: bytes) -> bytes:
    """In the frame that Java writes: a header, then chunks of 32 KiB, each with its compressed length before it."""
    import cramjam

    parts = [_XERIAL_HEADER]
    for start in range(0, len(data), _XERIAL_CHUNK):
        chunk = bytes(cramjam.snappy.compress_raw(data[start : start + _XERIAL_CHUNK]))
        parts.append(len(chunk).to_bytes(4, "big"))
        parts.append(chunk)
    return b"".join(parts)


def _decompress_snappy(data: Buffer, limit: int) -> bytes:
    """A raw block as librdkafka writes it, or chunks in Java's frame (B13)."""
    view = memoryview(data)
    if bytes(view[:8]) != _XERIAL_MAGIC:
        return _snappy_block(view, limit, limit)
    chunks: list[bytes] = []
    left = limit
    pos = 0
    while pos < len(view):
        if bytes(view[pos : pos + 8]) == _XERIAL_MAGIC:  # streams may be joined: each starts with a header
            if len(view) - pos < len(_XERIAL_HEADER):
                raise ValueError("snappy: a header is cut off")
            pos += len(_XERIAL_HEADER)
            continue
        length = int.from_bytes(view[pos : pos + 4], "big")
        pos += 4
        if length > len(view) - pos:
            raise ValueError(f"snappy: a chunk claims {length} bytes where {max(0, len(view) - pos)} are left")
        chunk = _snappy_block(view[pos : pos + length], left, limit)
        chunks.append(chunk)
        left -= len(chunk)
        pos += length
    return b"".join(chunks)


def _snappy_block(block: memoryview, left: int, limit: int) -> bytes:
    """One raw block. Its first bytes say how long its content is: believed only as far as the rest could fill it."""
    import cramjam

    size = shift = 0
    for byte in block[:5]:
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    if size > len(block) * _SNAPPY_MAX_RATIO:
        raise ValueError(f"snappy: {len(block)} bytes can't become {size}")
    if size > left:
        raise ValueError(_beyond(limit))
    buffer = bytearray(size)
    try:
        length = cramjam.snappy.decompress_raw_into(block, buffer)
    except cramjam.DecompressionError as error:
        raise ValueError(f"snappy: {str(error).removeprefix('snappy: ')}") from None
    return bytes(buffer[:length])


# ---------------------------------------------------------------------------------------------------------------- lz4


def _lz4_frames(data: bytes) -> list[bytes]:
    """The frames that the data consists of: usually one. ValueError if it is cut off or followed by anything else.

    Found by their blocks' lengths, because only some versions of the library look at what follows the first frame.
    """
    frames: list[bytes] = []
    start = 0
    while start < len(data) or not frames:
        if data[start : start + 4] != _LZ4_MAGIC or len(data) - start < 7:
            raise ValueError("lz4: there is no frame, or something else follows it")
        flags = data[start + 4]
        pos = start + _lz4_checksum_at(flags) + 1
        while True:
            size = int.from_bytes(data[pos : pos + 4], "little")
            pos += 4
            if size == 0:
                break
            size &= 0x7FFFFFFF  # the top bit: stored as it is
            if size == 0:
                raise ValueError("lz4: a block of no bytes")
            pos += size + (4 if flags & 0x10 else 0)  # the block's checksum
            if pos >= len(data):
                break
        pos += 4 if flags & 0x04 else 0  # the content's checksum
        if pos > len(data) or size != 0:
            raise ValueError("lz4: the frame is cut off")
        frames.append(data[start:pos])
        start = pos
    return frames


def _lz4_checksum_at(flags: int) -> int:
    """Where a frame's header has its checksum: behind the magic, two bytes, content size and dictionary id."""
    return 6 + (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0)


def with_lz4_checksum(frame: bytes, *, as_old_clients: bool = False) -> bytes:
    """An lz4 frame with its header's checksum put right, or made wrong in the way that Kafka's first lz4 clients did.

    They took the magic bytes into the checksum (KAFKA-3160); messages of format 0 still carry it.
    """
    if frame[:4] != _LZ4_MAGIC or len(frame) < 7:
        return frame  # the decoder will say what is wrong
    end = _lz4_checksum_at(frame[4])
    checksum = xxh32(frame[0 if as_old_clients else 4 : end]) >> 8 & 0xFF
    return frame[:end] + bytes((checksum,)) + frame[end + 1 :]


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF


def xxh32(data: bytes) -> int:
    """xxHash of 32 bits, seed 0, for up to 32 bytes: a header's length at most."""
    p1, p2, p3, p4, p5 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1
    mask = 0xFFFFFFFF
    pos = 0
    if len(data) >= 16:
        lanes = [(p1 + p2) & mask, p2, 0, -p1 & mask]
        for lane in range(4):
            word = int.from_bytes(data[4 * lane : 4 * lane + 4], "little")
            lanes[lane] = _rotate((lanes[lane] + word * p2) & mask, 13) * p1 & mask
        pos = 16
        value = (_rotate(lanes[0], 1) + _rotate(lanes[1], 7) + _rotate(lanes[2], 12) + _rotate(lanes[3], 18)) & mask
    else:
        value = p5
    value = (value + len(data)) & mask
    while pos + 4 <= len(data):
        word = int.from_bytes(data[pos : pos + 4], "little")
        value = _rotate((value + word * p3) & mask, 17) * p4 & mask
        pos += 4
    while pos < len(data):
        value = _rotate((value + data[pos] * p5) & mask, 11) * p1 & mask
        pos += 1
    value = (value ^ value >> 15) * p2 & mask
    value = (value ^ value >> 13) * p3 & mask
    return value ^ value >> 16
