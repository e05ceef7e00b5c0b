"""dekaf_proto.records.varint against the definition, at every length and edge."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from dekaf_proto.records.varint import encode_varint, read_varint, read_varlong, wrapping_add
from tests.records.made import INT64, varint

EDGES = sorted({sign * (1 << bit) + step for sign in (1, -1) for bit in range(63) for step in (-1, 0, 1)})
EDGES += [(1 << 63) - 1, -(1 << 63)]


@pytest.mark.parametrize("value", EDGES)
def test_edges(value: int) -> None:
    encoded = encode_varint(value)
    assert encoded == varint(value)
    assert read_varlong(b"??" + encoded + b"?", 2) == (value, 2 + len(encoded))
    if -(1 << 31) <= value < 1 << 31:
        assert read_varint(b"?" + encoded, 1) == (value, 1 + len(encoded))


@given(INT64)
def test_every_number_comes_back(value: int) -> None:
    assert read_varlong(encode_varint(value), 0) == (value, len(varint(value)))


def test_the_longest_form_need_not_be_the_shortest() -> None:
    assert read_varint(bytes.fromhex("8080808000"), 0) == (0, 5)  # W13: zeros are no bits too many
    assert read_varlong(bytes.fromhex("80808080808080808000"), 0) == (0, 10)


@pytest.mark.parametrize("data", ["ffffffff1f", "8080808010", "ffffffffff01", "808080808000"])
def test_more_than_32_bits(data: str) -> None:
    with pytest.raises(ValueError, match="more than 32 bits"):  # W13
        read_varint(bytes.fromhex(data), 0)


@pytest.mark.parametrize("data", ["ffffffffffffffffff02", "80808080808080808080", "ffffffffffffffffffff01"])
def test_more_than_64_bits(data: str) -> None:
    with pytest.raises(ValueError, match="more than 64 bits"):  # W13
        read_varlong(bytes.fromhex(data), 0)


@given(st.binary(max_size=3).map(lambda raw: bytes(b | 0x80 for b in raw)))
def test_a_number_that_is_cut_off(data: bytes) -> None:
    with pytest.raises(IndexError):
        read_varint(data, 0)
    with pytest.raises(IndexError):
        read_varlong(data, 0)


@given(INT64, INT64)
def test_sums_wrap_like_java(a: int, b: int) -> None:
    assert wrapping_add(a, b) == (a + b + (1 << 63)) % (1 << 64) - (1 << 63)
