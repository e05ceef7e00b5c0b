"""dekaf_proto.records.legacy: message formats 0 and 1, plain and compressed (B23-B25)."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, strategies as st

from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records import Codec, LegacyBatch
from dekaf_proto.records.compression import compress, with_lz4_checksum
from dekaf_proto.types import TimestampType
from tests.records.made import NOW, message

CODECS = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4]


def parse(data: bytes, **options: bool | int) -> LegacyBatch:
    return LegacyBatch(memoryview(data), "t", 3, **options)  # type: ignore[arg-type]


def wrapper(
    inner: bytes,
    offset: int = 102,
    *,
    magic: int = 1,
    codec: Codec = Codec.GZIP,
    attributes: int = 0,
    timestamp: int = NOW,
) -> bytes:
    """A compressed message round `inner`."""
    packed = compress(codec, inner)
    return message(offset, None, packed, magic=magic, attributes=attributes | int(codec), timestamp=timestamp)


def refused(data: bytes, reason: str, *, whole: bool = True) -> None:
    """`whole`: the batch itself; else its records."""
    for _ in range(2):
        with pytest.raises(CorruptRecordError, match=reason) as caught:
            parse(data) if whole else parse(data).records()
        assert (caught.value.topic, caught.value.partition) == ("t", 3)
    if not whole:
        made = parse(data)
        with pytest.raises(CorruptRecordError, match=reason):
            _ = made.base_offset
        assert (caught.value.offset, caught.value.next_offset) == (made.last_offset, made.last_offset + 1)


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("key", [None, b"", b"key"])
@pytest.mark.parametrize("value", [None, b"", b"value" * 100])
def test_a_message(magic: int, key: bytes | None, value: bytes | None) -> None:
    data = message(77, key, value, magic=magic)
    made = parse(data)
    assert (made.topic, made.partition, made.magic, made.size) == ("t", 3, magic, len(data))
    assert (made.base_offset, made.last_offset, made.next_offset) == (77, 77, 78)
    assert (made.codec, made.crc_is_valid) == (Codec.NONE, True)
    assert made.crc == int.from_bytes(data[12:16], "big")
    timestamp = NOW if magic == 1 else -1
    assert (made.base_timestamp, made.max_timestamp) == (timestamp, timestamp)
    (got,) = made.records()
    assert (got.topic, got.partition, got.offset, got.timestamp) == ("t", 3, 77, timestamp)
    assert (got.key, got.value, got.headers, got.leader_epoch) == (key, value, (), None)
    assert got.timestamp_type is made.timestamp_type
    assert made.timestamp_type is (TimestampType.CREATE_TIME if magic == 1 else TimestampType.NO_TIMESTAMP_TYPE)
    assert list(made.records(start=78)) == []
    assert repr(made) == f"<LegacyBatch t-3 magic={magic} last_offset=77 codec=none>"


def test_what_these_formats_do_not_have() -> None:
    made = parse(message())
    assert (made.producer_id, made.producer_epoch, made.base_sequence, made.last_sequence) == (-1, -1, -1, -1)
    assert (made.leader_epoch, made.delete_horizon_ms, made.count, made.control_record()) == (None, None, None, None)
    assert (made.is_transactional, made.is_control) == (False, False)


def test_the_brokers_time() -> None:
    made = parse(message(attributes=0x08))
    assert made.timestamp_type is TimestampType.LOG_APPEND_TIME
    assert next(made.records()).timestamp == NOW
    inner = message(0, timestamp=5) + message(1, timestamp=6)
    for attributes, wanted in ((0x08, [NOW, NOW]), (0, [5, 6])):
        assert [r.timestamp for r in parse(wrapper(inner, attributes=attributes)).records()] == wanted  # B24
    # Format 0 has neither a timestamp nor the bit.
    assert parse(message(magic=0, attributes=0x08)).timestamp_type is TimestampType.NO_TIMESTAMP_TYPE


@pytest.mark.parametrize("timestamp", [-(1 << 63), -1, 0, (1 << 63) - 1])
def test_any_timestamp(timestamp: int) -> None:
    assert next(parse(message(timestamp=timestamp)).records()).timestamp == timestamp


# ---------------------------------------------------------------------------------------------------------- compressed


@pytest.mark.parametrize("codec", CODECS)
def test_relative_offsets_of_format_1(codec: Codec) -> None:
    inner = message(0, b"a") + message(1, b"b") + message(4, b"c")
    made = parse(wrapper(inner, 104, codec=codec))
    assert (made.codec, made.base_offset, made.last_offset, made.next_offset) == (codec, 100, 104, 105)
    assert [(r.offset, r.key) for r in made.records()] == [(100, b"a"), (101, b"b"), (104, b"c")]  # B24
    assert [r.offset for r in made.records(start=101)] == [101, 104]
    keys = [r.key for r in made.records(key=bytes.decode)]
    assert keys == ["a", "b", "c"]


@pytest.mark.parametrize("codec", CODECS)
def test_absolute_offsets_of_format_0(codec: Codec) -> None:
    inner = message(100, b"a", magic=0) + message(103, b"b", magic=0)
    made = parse(wrapper(inner, 103, magic=0, codec=codec))
    assert made.base_offset == 100
    assert [(r.offset, r.key, r.timestamp) for r in made.records()] == [(100, b"a", -1), (103, b"b", -1)]  # B24


def test_compaction_may_have_removed_the_last_message_of_format_0() -> None:
    made = parse(wrapper(message(100, magic=0), 103, magic=0))
    assert [r.offset for r in made.records()] == [100]
    assert made.next_offset == 104


def test_offsets_that_only_a_broker_sets() -> None:
    made = parse(wrapper(message(0), 0))
    assert [r.offset for r in made.records()] == [0]  # B24: the wrapper's 0 says nothing, the inner offsets count
    refused(wrapper(message(3), 0), "has the offset 3, beyond the set's 0", whole=False)
    refused(wrapper(message(0) + message(1), 0), "has the offset 1, beyond the set's 0", whole=False)


def test_lz4s_header_checksum_is_not_looked_at_in_format_0() -> None:
    packed = with_lz4_checksum(compress(Codec.LZ4, message(100, magic=0)), as_old_clients=True)
    data = message(100, None, packed, magic=0, attributes=3)
    assert [r.offset for r in parse(data).records()] == [100]  # B14
    packed = with_lz4_checksum(compress(Codec.LZ4, message(0)), as_old_clients=True)
    refused(message(100, None, packed, attributes=3), "lz4", whole=False)


# ----------------------------------------------------------------------------------------------------------------- lies


@pytest.mark.parametrize("magic", [0, 1])
def test_messages_that_lie(magic: int) -> None:
    good = message(magic=magic)
    lengths = 26 if magic == 1 else 18
    refused(message(magic=magic, crc=1), "the checksum is")  # B23
    refused(message(magic=magic, tail=b"x"), "1 bytes follow a message's value")
    refused(message(-5, magic=magic), "a message has the offset -5")
    refused(message((1 << 63) - 1, magic=magic), "a message has the offset")
    for cut in range(12, len(good)):
        with pytest.raises(CorruptRecordError):
            parse(good[:cut], check_crc=False)
    for length, reason in ((-2, "claims -2 bytes"), (1000, "claims 1000 bytes"), (1, "claims 374 bytes where 0")):
        bad = bytearray(good)
        bad[lengths : lengths + 4] = length.to_bytes(4, "big", signed=True)
        with pytest.raises(CorruptRecordError, match=reason):
            parse(bytes(bad), check_crc=False)
    bad[lengths : lengths + 4] = (3).to_bytes(4, "big")
    with pytest.raises(CorruptRecordError, match="ends before its value"):
        parse(bytes(bad), check_crc=False)


@pytest.mark.parametrize("check, end", [(True, 105), (False, -1)])
def test_where_no_checksum_was_looked_at_nobody_is_sent_to_the_end(check: bool, end: int) -> None:
    made = parse(wrapper(message(0) + message(1)[:-1], offset=104), check_crc=check)
    with pytest.raises(CorruptRecordError) as caught:
        made.records()
    assert (caught.value.offset, caught.value.next_offset) == (104, end)
    with pytest.raises(CorruptRecordError) as caught:
        parse(message(104, attributes=5), check_crc=check)
    assert (caught.value.offset, caught.value.next_offset) == (104, end)


@pytest.mark.parametrize("codec", [4, 5, 6, 7])
@pytest.mark.parametrize("magic", [0, 1])
def test_codecs_that_came_later(codec: int, magic: int) -> None:
    refused(message(magic=magic, attributes=codec), f"format {magic} have no codec {codec}")  # B15


def test_not_a_message() -> None:
    bad = bytearray(message())
    bad[16] = 2
    refused(bytes(bad), "there is no message format 2 here")


def test_sets_that_lie() -> None:
    two = message(0) + message(1)
    refused(message(attributes=1, value=None), "without a value", whole=False)
    refused(message(attributes=1, value=b"no gzip"), "gzip", whole=False)
    refused(wrapper(b""), "without messages", whole=False)
    refused(wrapper(two[:-1]), "claims 23 bytes where 22 are left", whole=False)
    refused(wrapper(two + b"\0"), "the last inner message is cut off", whole=False)
    refused(wrapper(two + bytes(8) + b"\xff" * 4), "claims -1 bytes where 0 are left", whole=False)
    refused(wrapper(two + bytes(12)), "a message of 12 bytes is too short", whole=False)
    refused(wrapper(message(0) + message(1, crc=1)), "the checksum is", whole=False)
    refused(wrapper(message(0) + message(1, magic=0)), "a message of format 0 inside one of format 1", whole=False)
    refused(wrapper(message(0, magic=0), magic=1), "a message of format 0 inside one of format 1", whole=False)
    refused(wrapper(wrapper(two)), "compressed itself", whole=False)  # B24
    refused(wrapper(message(0) + message(200)), "beyond the set's 102", whole=False)
    refused(wrapper(message(1) + message(103)), "beyond the set's 102", whole=False)
    refused(wrapper(message(103, magic=0), magic=0), "has the offset 103, beyond the set's 102", whole=False)
    far = message(0, magic=0) + message(1 << 40, magic=0)
    refused(wrapper(far, 1 << 40, magic=0), "too far apart", whole=False)
    refused(wrapper(message(0, magic=0), 1 << 31, magic=0), "too far apart", whole=False)
    assert parse(wrapper(message(0, magic=0), (1 << 31) - 1, magic=0)).base_offset == 0


def test_inner_checksums_can_be_left_out() -> None:
    made = parse(wrapper(message(0) + message(1, b"k", crc=1)), check_crc=False)
    assert [r.key for r in made.records()] == [None, b"k"]


@pytest.mark.parametrize("offsets", [(0, 0), (1, 0, 2), (0, 5, 3)])
def test_inner_offsets_that_do_not_ascend(offsets: tuple[int, ...]) -> None:
    for magic in (0, 1):
        inner = b"".join(message(offset, magic=magic) for offset in offsets)
        refused(wrapper(inner, magic=magic), "an inner message has the offset .*, the one before it", whole=False)


def test_a_set_takes_little_more_memory_than_its_bytes() -> None:
    inner = b"".join(message(offset) for offset in range(5000))
    made = parse(wrapper(inner, 4999))
    tracemalloc.start()
    try:
        assert made.base_offset == 0
        kept, highest = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < len(inner)
    assert highest < 4 * len(inner)


def test_the_limit() -> None:
    data = wrapper(message(0, None, bytes(10_000)))
    with pytest.raises(CorruptRecordError, match="limit of 9000"):  # B16
        parse(data, max_decompressed_size=9000).records()


@given(st.sampled_from(CODECS), st.data())
def test_a_flipped_byte_inside(codec: Codec, data: st.DataObject) -> None:
    inner = bytearray(message(0, b"a", b"one") + message(1, None, b"two"))
    at = data.draw(st.integers(0, len(inner) - 1))
    inner[at] ^= data.draw(st.integers(1, 255))
    for check in (True, False):
        made = parse(wrapper(bytes(inner), codec=codec), check_crc=check)
        try:
            got = [(r.key, r.value) for r in made.records()]
        except CorruptRecordError:
            continue
        # Only offsets and lengths lie outside the checksums.
        assert not check or got == [(b"a", b"one"), (None, b"two")]


@pytest.mark.parametrize("start", [101, 1 << 63, 1 << 70, 0, -(1 << 70)])
def test_any_start(start: int) -> None:
    assert len(list(parse(message()).records(start))) == (1 if start <= 100 else 0)


def test_a_negative_limit() -> None:
    with pytest.raises(ValueError, match="max_decompressed_size: 0 or more bytes, not -1"):
        parse(message(), max_decompressed_size=-1)
