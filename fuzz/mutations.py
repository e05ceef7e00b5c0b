"""A fuzzer in a hundred lines, for Pythons on which atheris does not install: it changes corpus inputs at random.

It sees no coverage, so it finds less than atheris does. The same seed gives the same inputs.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from random import Random
from types import FrameType

#: Sizes, counts and other numbers at which code likes to be wrong.
NUMBERS = (
    *(0, 1, 2, 7, 8, 15, 16, 31, 32, 61, 63, 64, 127, 128, 255, 256, 1000, 32767, 32768, 65535, 65536),
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF),
)

#: Bytes of the longest input.
LONGEST = 4096

#: Seconds after which an input counts as one that hangs.
TIMEOUT = 20


class Failed(Exception):
    """An input that broke an invariant, which `__cause__` tells."""

    def __init__(self, data: bytes, number: int) -> None:
        super().__init__(f"input {number}")
        self.data = data


def run(fuzz_one: Callable[[bytes], None], seeds: Sequence[bytes], inputs: int, seed: int) -> None:
    """Calls the target with the seeds and with what comes of changing them, `inputs` times in all. Raises Failed."""
    random = Random(seed)
    seeds = seeds or [b""]

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {TIMEOUT} seconds")

    previous = signal.signal(signal.SIGALRM, too_long)
    try:
        for number in range(inputs):
            data = seeds[number] if number < min(len(seeds), inputs // 4) else changed(random, seeds)
            signal.alarm(TIMEOUT)
            try:
                fuzz_one(data)
            except Exception as e:
                raise Failed(data, number) from e
            finally:
                signal.alarm(0)
    finally:
        signal.signal(signal.SIGALRM, previous)


def changed(random: Random, seeds: Sequence[bytes]) -> bytes:
    data = bytearray(random.choice(seeds))
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        random.choice(CHANGES)(random, data, seeds)
    return bytes(data[:LONGEST])


def flip_bit(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def set_byte(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] = random.randrange(256)


def set_number(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    size = random.choice((1, 2, 4, 4, 8))
    number = random.choice(NUMBERS) & ((1 << 8 * size) - 1)
    data[at : at + size] = number.to_bytes(size, "big")


def set_varint(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    data[at : at + 1] = b"\xff" * random.randrange(1, 10) + bytes((random.randrange(128),))


def insert(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.randbytes(random.randrange(1, 9))


def remove(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    del data[at : at + random.randrange(1, 9)]


def cut(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    del data[random.randrange(len(data) + 1) :]


def repeat(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    piece = data[at : at + random.randrange(1, 65)]
    data[at:at] = piece * random.choice((1, 1, 1, 2, 10))


def splice(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    other = random.choice(seeds)
    data[random.randrange(len(data) + 1) :] = other[random.randrange(len(other) + 1) :]


CHANGES = (flip_bit, set_byte, set_number, set_number, set_varint, insert, remove, cut, repeat, splice)
