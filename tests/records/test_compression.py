"""dekaf_proto.records.compression: both ways, every way of being wrong, and never without a bound (B12-B16)."""

from __future__ import annotations

import contextlib
import random
import tracemalloc

import cramjam
import pytest
from hypothesis import given, strategies as st

from dekaf_proto.records.compression import LEVELS, Codec, compress, decompress, with_lz4_checksum, xxh32

REAL = [codec for codec in Codec if codec is not Codec.NONE]
TEXT = b"".join(b"order-%d;customer-%d;" % (n, n % 7) for n in range(20_000))  # half a megabyte


def refused(codec: Codec, data: bytes, match: str | None = None, **options: bool) -> None:
    with pytest.raises(ValueError, match=match):
        decompress(codec, data, **options)


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("data", [b"", b"x", bytes(32 * 1024), bytes(32 * 1024 + 1), TEXT], ids=len)
def test_round_trip(codec: Codec, data: bytes) -> None:
    if codec is not Codec.NONE and not data:
        return  # an empty batch is not compressed
    packed = compress(codec, data)
    assert decompress(codec, packed) == data
    assert decompress(codec, bytearray(packed), limit=len(data)) == data
    assert decompress(codec, memoryview(packed), limit=len(data)) == data


@given(st.sampled_from(REAL), st.binary(min_size=1, max_size=300), st.integers(1, 400))
def test_round_trip_of_anything(codec: Codec, data: bytes, times: int) -> None:
    assert decompress(codec, compress(codec, data * times)) == data * times


@pytest.mark.parametrize("codec", LEVELS)
def test_levels(codec: Codec) -> None:
    levels, default = LEVELS[codec]
    for level in (levels[0], default, levels[-1]):
        assert decompress(codec, compress(codec, TEXT[:50_000], level)) == TEXT[:50_000]
    for level in (levels[0] - 1, levels[-1] + 1):
        with pytest.raises(ValueError, match=f"{codec.name.lower()} has the levels"):
            compress(codec, TEXT, level)
    assert compress(codec, TEXT) == compress(codec, TEXT, default)


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.SNAPPY])
def test_codecs_without_levels(codec: Codec) -> None:
    with pytest.raises(ValueError, match="has no compression levels"):
        compress(codec, b"x", 1)


def test_lz4_is_written_as_java_reads_it() -> None:
    assert compress(Codec.LZ4, TEXT)[:4].hex() == "04224d18"
    assert compress(Codec.LZ4, TEXT)[4] & 0x60 == 0x60  # B14: version 1, blocks independent of each other


def test_snappy_is_written_as_java_writes_it() -> None:
    packed = compress(Codec.SNAPPY, bytes(40_000))  # B13: header, chunks of 32 KiB with their length
    assert packed[:16] == b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"
    first = int.from_bytes(packed[16:20], "big")
    assert bytes(cramjam.snappy.decompress_raw(packed[20 : 20 + first])) == bytes(32 * 1024)


# --------------------------------------------------------------------------------------------------- damaged, cut, junk


@pytest.mark.parametrize("codec", REAL)
def test_truncated_streams_are_refused(codec: Codec) -> None:
    packed = compress(codec, TEXT[:3000] + random.Random(1).randbytes(300))
    for cut in range(len(packed)):
        if codec is Codec.SNAPPY and cut == 16:
            assert decompress(codec, packed[:16]) == b""  # a header is a whole stream, of nothing
        else:
            refused(codec, packed[:cut])


@pytest.mark.parametrize("codec", REAL)
@pytest.mark.parametrize("junk", [b"\0", b"junk", bytes(9), b"\xff" * 9])
def test_what_follows_the_stream_is_refused(codec: Codec, junk: bytes) -> None:
    refused(codec, compress(codec, TEXT) + junk)


@pytest.mark.parametrize("codec", REAL)
def test_streams_one_behind_the_other_are_all_read(codec: Codec) -> None:
    assert decompress(codec, compress(codec, b"one") + compress(codec, b"two")) == b"onetwo"


@given(st.sampled_from(REAL), st.data())
def test_a_flipped_byte_is_an_error_or_other_data(codec: Codec, data: st.DataObject) -> None:
    packed = bytearray(compress(codec, TEXT[:2000]))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError):
        decompress(codec, bytes(packed), limit=1 << 20, any_lz4_checksum=data.draw(st.booleans()))


@given(st.sampled_from(REAL), st.binary(max_size=60), st.booleans())
def test_junk_is_an_error(codec: Codec, junk: bytes, any_checksum: bool) -> None:
    prefix = {Codec.GZIP: b"\x1f\x8b\x08", Codec.LZ4: b"\x04\x22\x4d\x18", Codec.ZSTD: b"\x28\xb5\x2f\xfd"}
    with contextlib.suppress(ValueError):
        decompress(codec, prefix.get(codec, b"\x82SNAPPY\0") + junk, any_lz4_checksum=any_checksum)


# ------------------------------------------------------------------------------------------------------------ the bound


@pytest.mark.parametrize("codec", list(Codec))
def test_the_limit_is_exact(codec: Codec) -> None:
    packed = compress(codec, bytes(200_000))  # B16
    assert decompress(codec, packed, limit=200_000) == bytes(200_000)
    with pytest.raises(ValueError, match="more than the limit of 199999 bytes"):
        decompress(codec, packed, limit=199_999)


@pytest.mark.parametrize("codec", REAL)
def test_the_limit_holds_beyond_the_first_guess(codec: Codec) -> None:
    packed = compress(codec, bytes(5_000_000))
    with pytest.raises(ValueError, match="more than the limit of 1000000 bytes"):
        decompress(codec, packed, limit=1_000_000)
    assert len(decompress(codec, packed)) == 5_000_000


def test_a_size_that_is_only_claimed_is_not_allocated() -> None:
    claims = b"\xff\xff\xff\xff\x0f" + b"\0" * 20  # a raw snappy block of 4 GiB
    tracemalloc.start()
    try:
        refused(Codec.SNAPPY, claims, "25 bytes can't become 4294967295")
        refused(Codec.SNAPPY, b"\xff" * 30)
        refused(Codec.GZIP, b"\x1f\x8b\x08" + bytes(50))
        refused(Codec.LZ4, b"\x04\x22\x4d\x18\x68\x70" + b"\xff" * 8 + bytes(20))  # content size: 2^64-1
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------------------------------ snappy's frames


def test_raw_snappy_as_librdkafka_writes_it() -> None:
    assert decompress(Codec.SNAPPY, bytes(cramjam.snappy.compress_raw(TEXT))) == TEXT  # B13
    assert decompress(Codec.SNAPPY, b"\0") == b""


def test_snappy_chunks_that_lie() -> None:
    packed = compress(Codec.SNAPPY, b"hello")
    refused(Codec.SNAPPY, packed + b"\x82SNAPPY\0\0\0", "a header is cut off")
    refused(Codec.SNAPPY, packed + b"\0\0\0\x05abc", "claims 5 bytes where 3 are left")
    refused(Codec.SNAPPY, packed + b"\xff\xff\xff\xff", "claims 4294967295 bytes where 0 are left")
    refused(Codec.SNAPPY, packed + b"\0\0\0\0", "snappy")  # a chunk of nothing has not even a length
    refused(Codec.SNAPPY, b"", "snappy")


# ------------------------------------------------------------------------------------------------ lz4's header checksum


def frame(content_size: bool) -> bytes:
    """A frame, with the length of its content in the header or without."""
    packed = compress(Codec.LZ4, TEXT)
    if not content_size:
        return packed
    header = packed[:4] + bytes((packed[4] | 0x08, packed[5])) + len(TEXT).to_bytes(8, "little")
    return with_lz4_checksum(header + b"\0" + packed[7:])


@pytest.mark.parametrize("content_size", [False, True])
def test_the_checksum_of_old_clients(content_size: bool) -> None:
    right = frame(content_size)
    wrong = with_lz4_checksum(right, as_old_clients=True)
    assert [n for n in range(len(right)) if right[n] != wrong[n]] == [14 if content_size else 6]
    assert decompress(Codec.LZ4, right) == TEXT
    refused(Codec.LZ4, wrong, "lz4")  # B14
    assert decompress(Codec.LZ4, wrong, any_lz4_checksum=True) == TEXT
    assert with_lz4_checksum(wrong) == right
    assert compress(Codec.LZ4, b"x") == with_lz4_checksum(compress(Codec.LZ4, b"x"))


def test_the_checksum_covers_a_dictionary_id() -> None:
    data = b"\x04\x22\x4d\x18\x69\x40" + bytes(12 + 1 + 4)  # size 0, dictionary 0, checksum, the end
    refused(Codec.LZ4, data, "lz4")
    assert decompress(Codec.LZ4, data, any_lz4_checksum=True) == b""


@pytest.mark.parametrize("data", [b"", b"\x04\x22\x4d\x18", b"\x04\x22\x4d\x18\x60\x40", b"no lz4 at all"])
def test_what_has_no_header_is_left_alone(data: bytes) -> None:
    assert with_lz4_checksum(data) == data
    refused(Codec.LZ4, data, "lz4", any_lz4_checksum=True)


@pytest.mark.parametrize("length", range(32))
def test_the_checksum_itself(length: int) -> None:
    # lz4 keeps the same checksum of the content at a frame's end, if asked to.
    compressor = cramjam.lz4.Compressor(content_checksum=True, block_linked=False)
    compressor.compress(TEXT[:length])
    assert xxh32(TEXT[:length]) == int.from_bytes(bytes(compressor.finish())[-4:], "little")


def test_lz4_frames_of_every_kind() -> None:
    for content_checksum in (False, True):
        for linked in (False, True):  # blocks that depend on each other: Java refuses them, we read them
            compressor = cramjam.lz4.Compressor(content_checksum=content_checksum, block_linked=linked)
            compressor.compress(TEXT)
            packed = bytes(compressor.finish())
            assert decompress(Codec.LZ4, packed) == TEXT
            assert decompress(Codec.LZ4, packed + packed, limit=2 * len(TEXT)) == TEXT + TEXT
            with pytest.raises(ValueError, match=f"more than the limit of {2 * len(TEXT) - 1} bytes"):
                decompress(Codec.LZ4, packed + packed, limit=2 * len(TEXT) - 1)
            bad = bytearray(packed)
            bad[-5 if content_checksum else len(packed) // 2] ^= 1
            refused(Codec.LZ4, bytes(bad), "lz4")


def test_marks_that_no_decoder_should_take() -> None:
    packed = bytearray(compress(Codec.LZ4, TEXT))
    packed[-1] = 0x80  # the mark of the end is all zeros
    refused(Codec.LZ4, bytes(packed), "lz4: a block of no bytes")
    packed = bytearray(compress(Codec.GZIP, TEXT))
    for bit in (0x20, 0x40, 0x80):  # which are reserved
        packed[3] = bit
        refused(Codec.GZIP, bytes(packed), "gzip: ")
    for tail in (b"\0", b"\0\0", b"\0\0\0"):
        refused(Codec.SNAPPY, compress(Codec.SNAPPY, TEXT) + tail, "snappy: a chunk claims 0 bytes")


@pytest.mark.parametrize("codec", [Codec.SNAPPY, Codec.LZ4, Codec.GZIP, Codec.ZSTD])
def test_the_codec_is_named_once(codec: Codec) -> None:
    packed = bytearray(compress(codec, b"some text" * 100))
    packed[-8] ^= 0xFF
    packed[-20:-12] = bytes(8)
    with pytest.raises(ValueError, match=f"^{codec.name.lower()}: ") as caught:
        decompress(codec, bytes(packed))
    assert str(caught.value).count(f"{codec.name.lower()}: ") == 1
