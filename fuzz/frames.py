"""Frames: bytes in pieces give the same frames as the bytes in one piece, and FrameError is the only exception.

And: no frame is longer than the limit, and together with what stays buffered they are what was received, byte for byte.
"""
# ruff: noqa: PT017  # these assertions are no test of pytest's

from __future__ import annotations

from collections.abc import Iterator

from dekaf_proto.errors import FrameError
from dekaf_proto.wire import FrameReader
from fuzz.corpus import golden_messages


def fuzz_one(data: bytes) -> None:
    """The first two bytes are the limit, the next two say how the rest is cut."""
    limit = int.from_bytes(data[:2], "big")
    step, first = data[2:3] or b"\1", data[3:4] or b"\1"
    stream = data[4:]
    whole = read([stream], limit)
    assert read([stream[i : i + 1] for i in range(len(stream))], limit) == whole
    sizes = (first[0], max(step[0], 1))
    starts = [0, *range(sizes[0], len(stream), sizes[1])]
    assert read([stream[a:b] for a, b in zip(starts, [*starts[1:], len(stream)], strict=True)], limit) == whole


def read(pieces: list[bytes], limit: int) -> tuple[list[bytes], str | None]:
    reader = FrameReader(limit)
    frames = []
    size = 0
    for piece in pieces:
        reader.receive_data(piece)
        try:
            while (frame := reader.next_frame()) is not None:
                assert len(frame) <= limit
                frames.append(frame)
                size += 4 + len(frame)
        except FrameError as e:
            assert e.size < 0 or e.size > limit
            return frames, str(e)
    again = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    stream = b"".join(pieces)
    assert stream.startswith(again)
    # Behind the frames: a part of a size, or a size (which has been taken out of the buffer) and a part of a frame.
    assert len(stream) - size - reader.buffered in (0, 4)
    return frames, None


def seeds() -> Iterator[bytes]:
    bodies = [body for _, _, body in golden_messages() if len(body) < 200]
    for i in range(0, len(bodies), 20):
        frames = b"".join(len(body).to_bytes(4, "big") + body for body in bodies[i : i + 3])
        yield bytes((0, 200, i % 256, i % 7)) + frames
    yield b"\xff\xff\1\0" + bytes(64)
    yield b"\0\1\1\0" + b"\xff" * 8
