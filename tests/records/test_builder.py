"""dekaf_proto.records.builder: what it writes, what it refuses, how well it knows its size."""

from __future__ import annotations

import math
import random
from collections import deque
from typing import Any, NamedTuple

import pytest
from hypothesis import given, strategies as st

from dekaf_proto.errors import EncodeError, RecordTooLargeError
from dekaf_proto.records import (
    BatchBuilder,
    Codec,
    CompressionRatioEstimator,
    ControlType,
    RecordBatch,
    batch_size_bound,
    build_marker,
    builder as module,
)
from dekaf_proto.types import TimestampType
from tests.records.made import CONTENTS, NOW, Content, batch, contents_of, record

REAL = [codec for codec in Codec if codec is not Codec.NONE]


def parse(data: bytes) -> RecordBatch:
    return RecordBatch(memoryview(data), "t", 0)


def builder_with(*timestamps: int, **options: Any) -> BatchBuilder:
    made = BatchBuilder(**options)
    for timestamp in timestamps:
        made.append(timestamp, b"k", b"v")
    return made


def test_bytes() -> None:
    made = BatchBuilder(base_offset=100)
    assert made.append(NOW, None, b"v") == 0
    assert made.append(NOW + 70, b"key", None, [("h", None), ("i", b"x")]) == 1
    payload = record(0, None, b"v") + record(1, b"key", None, 70, tail=b"\x04\x02h\x01\x02i\x02x")
    assert made.build() == batch(payload, 2, max_timestamp=NOW + 70)


def test_all_options() -> None:
    made = builder_with(
        NOW,
        NOW - 1,
        base_offset=7,
        leader_epoch=3,
        producer_id=9,
        producer_epoch=2,
        base_sequence=(1 << 31) - 1,
        transactional=True,
        append_time=NOW + 50,
    )
    got = parse(made.build())
    assert (got.base_offset, got.next_offset, got.leader_epoch, got.count) == (7, 9, 3, 2)
    assert (got.producer_id, got.producer_epoch, got.base_sequence, got.last_sequence) == (9, 2, (1 << 31) - 1, 0)
    assert (got.is_transactional, got.is_control) == (True, False)
    assert (got.timestamp_type, got.base_timestamp, got.max_timestamp) == (
        TimestampType.LOG_APPEND_TIME,
        NOW,  # B5: the producer's
        NOW + 50,
    )
    assert [r.timestamp for r in got.records()] == [NOW + 50] * 2


def test_what_can_be_set_late_and_again() -> None:
    made = builder_with(NOW, codec=Codec.GZIP)
    made.set_producer(5, 1, 10, True)
    first = parse(made.build())
    made.set_producer(5, 2, 0, False)
    made.set_log_position(1000, 4, NOW + 9)
    second = parse(made.build())
    assert (first.producer_id, first.producer_epoch, first.base_sequence, first.is_transactional) == (5, 1, 10, True)
    assert (second.producer_epoch, second.base_sequence, second.is_transactional) == (2, 0, False)
    assert (second.base_offset, second.leader_epoch, second.max_timestamp) == (1000, 4, NOW + 9)
    assert made.max_timestamp == NOW + 9
    assert [r.value for r in second.records()] == [b"v"]


def test_after_build() -> None:
    made = builder_with(NOW, NOW)
    data = made.build()
    with pytest.raises(ValueError, match="the batch is finished"):
        made.append(NOW, None, None)
    assert made.build() == data
    assert (made.count, made.raw_size, made.estimated_size) == (2, len(data) - 61, len(data))


def test_an_empty_batch() -> None:
    made = BatchBuilder(codec=Codec.ZSTD)
    assert (made.count, made.raw_size, made.max_timestamp, made.is_full) == (0, 0, -1, False)
    with pytest.raises(ValueError, match="without records"):
        made.build()
    got = parse(made.build(last_offset_delta=4, max_timestamp=NOW))  # what a log cleaner leaves
    assert (got.count, got.codec, got.last_offset, got.base_timestamp, got.max_timestamp) == (0, 0, 4, -1, NOW)
    assert list(got.records()) == []
    assert made.compression_ratio == 1.0


def test_what_compaction_needs() -> None:
    made = BatchBuilder(base_timestamp=NOW - 1000)
    assert made.append(NOW, b"a", None, offset_delta=3) == 3
    assert made.append(NOW, b"b", None) == 4
    with pytest.raises(ValueError, match="the last record is at 4, beyond 3"):
        made.build(last_offset_delta=3)
    got = parse(made.build(last_offset_delta=9))
    assert (got.base_timestamp, got.last_offset, [r.offset for r in got.records()]) == (NOW - 1000, 9, [3, 4])
    assert [r.timestamp for r in got.records()] == [NOW, NOW]
    assert parse(builder_with(NOW, delete_horizon_ms=NOW + 7).build()).delete_horizon_ms == NOW + 7  # B3


@given(st.lists(CONTENTS, min_size=1, max_size=5), st.none() | st.integers(-1, (1 << 63) - 1))
def test_every_base_timestamp(contents: list[Content], base: int | None) -> None:
    made = BatchBuilder(base_timestamp=base)
    for content in contents:
        made.append(*content)
    got = parse(made.build())
    assert contents_of(got.records()) == contents
    assert got.base_timestamp == (contents[0].timestamp if base is None else base)
    assert got.max_timestamp == made.max_timestamp == max(content.timestamp for content in contents)


def test_many_records() -> None:
    made = BatchBuilder()
    for n in range(3000):
        assert made.append(NOW + n, None, b"") == n
        assert made.count == n + 1
    assert [r.offset for r in parse(made.build()).records()] == list(range(3000))


# ------------------------------------------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize("timestamp", [-2, -(1 << 63), 1 << 63, 1 << 80])
def test_timestamps_that_no_record_has(timestamp: int) -> None:
    for made in (
        BatchBuilder(),
        builder_with(0),
        builder_with((1 << 63) - 1),
        BatchBuilder(base_timestamp=(1 << 63) - 9),
    ):
        before = (made.count, made.raw_size)
        with pytest.raises(EncodeError, match="timestamp: not milliseconds"):
            made.append(timestamp, b"k", b"v")
        assert (made.count, made.raw_size) == before


def test_a_timestamp_just_beyond_the_last() -> None:
    made = builder_with((1 << 63) - 5)
    with pytest.raises(EncodeError, match="timestamp"):
        made.append(1 << 63, b"k", b"v")
    assert made.append((1 << 63) - 1, b"k", b"v") == 1


@pytest.mark.parametrize("delta", [-1, 0, 1, 1 << 31, 1 << 70])
def test_offsets_that_do_not_follow(delta: int) -> None:
    made = builder_with(NOW, NOW)
    with pytest.raises(EncodeError, match=f"{delta} can't follow 1 in a batch"):
        made.append(NOW, b"k", b"v", offset_delta=delta)
    assert made.count == 2


def test_a_batch_whose_offsets_are_used_up_is_full() -> None:
    made = builder_with(NOW)
    assert made.append(NOW, None, None, offset_delta=(1 << 31) - 2) == (1 << 31) - 2
    seen = [made.is_full, made.append(NOW, None, None), made.is_full, made.append(NOW, None, None)]
    assert seen == [False, (1 << 31) - 1, True, -1]
    assert made.count == 3
    with pytest.raises(EncodeError, match="can't follow"):
        made.append(NOW, None, None, offset_delta=1 << 31)
    assert [r.offset for r in parse(made.build()).records()] == [0, (1 << 31) - 2, (1 << 31) - 1]


def test_offsets_that_do_not_exist() -> None:
    made = builder_with(NOW, NOW)
    highest = (1 << 63) - 3
    made.set_log_position(highest + 1, None)
    with pytest.raises(EncodeError, match=f"^record batch: base_offset: {highest + 1} is not between 0 and {highest}$"):
        made.build()
    made.set_log_position(highest, None)
    assert [r.next_offset for r in parse(made.build()).records()] == [highest + 1, (1 << 63) - 1]


def test_keys_that_are_not_text() -> None:
    made = BatchBuilder()
    with pytest.raises(EncodeError, match="headers"):
        made.append(NOW, None, None, [("\ud800", None)])
    assert made.count == 0
    made.append(NOW, None, None, [("\udc80", None)])  # the byte 0x80, as the reader shows it
    assert made.build().endswith(b"\x02\x02\x80\x01")


class Subclass(bytes):
    pass


# A view of items larger than a byte has another length than its bytes.
WRONG_DATA = ["text", 5, ["list"], bytearray(b"k"), memoryview(b"k"), memoryview(b"12345678").cast("q"), 1.5]


@pytest.mark.parametrize(
    "path, arguments",
    [
        *[("key: bytes or None", (NOW, wrong, None)) for wrong in WRONG_DATA],
        *[("value: bytes or None", (NOW, None, wrong)) for wrong in WRONG_DATA],
        *[("headers: a value: bytes or None", (NOW, None, None, [("h", wrong)])) for wrong in WRONG_DATA],
        *[("headers: a key: str", (NOW, None, None, [(wrong, b"v")])) for wrong in (None, b"h", 5, ["h"])],
        *[("headers: a tuple", (NOW, None, None, [wrong])) for wrong in (["h", b"v"], ("h",), ("h", b"v", 1), "hv")],
        *[("headers: a sequence", (NOW, None, None, wrong)) for wrong in (5, {("h", b"v")}, iter([("h", b"v")]))],
        ("headers: a tuple", (NOW, None, None, "hv")),
        ("headers: a tuple", (NOW, None, None, [("h", b"v"), None])),
        *[("timestamp: int", (wrong, None, None)) for wrong in (None, "1", 1.5)],
        *[("offset: int", (NOW, None, None, (), wrong)) for wrong in ("1", 1.5)],
    ],
)
def test_types_that_no_record_has(path: str, arguments: Any) -> None:
    made = BatchBuilder()
    with pytest.raises(EncodeError, match=f"^record: {path}"):
        made.append(*arguments)
    assert made.count == 0
    assert made.append(NOW, None, None) == 0
    if path.startswith(("key", "value", "headers")):
        with pytest.raises(EncodeError, match=f"^record: {path}"):
            batch_size_bound(*arguments[1:])


def test_any_sequence_of_headers_and_any_bytes() -> None:
    class Pair(NamedTuple):
        key: str
        value: bytes | None

    expected = batch(record(0, b"k", b"v", tail=b"\x02\x02h\x02v"))
    for headers in ([("h", b"v")], (("h", b"v"),), deque([("h", b"v")]), [Pair("h", b"v")], [("h", Subclass(b"v"))]):
        made = BatchBuilder(base_offset=100)
        made.append(NOW, Subclass(b"k"), Subclass(b"v"), headers)
        assert made.build() == expected
    made = BatchBuilder(base_offset=100)
    made.append(NOW, None, None, ())
    assert made.build() == batch(record())


def test_header_keys_are_kept_but_not_for_ever() -> None:
    names = [f"key {n}" for n in range(1000)] + ["x" * 200, "ä" * 500, "\udc80"]
    made = BatchBuilder()
    for name in names * 2:
        made.append(NOW, None, None, [(name, None)])
    assert [r.headers[0][0] for r in parse(made.build()).records()] == names * 2
    assert len(module._header_keys) <= 256
    assert max(map(len, module._header_keys)) <= 128


LARGE = [1 << 63, 1 << 80]
OUT_OF_RANGE = [
    ("producer_id", [-2, *LARGE]),
    ("producer_epoch", [-2, 1 << 15, *LARGE]),
    ("base_sequence", [-2, 1 << 31, *LARGE]),
    ("base_offset", [-1, *LARGE]),
    ("leader_epoch", [-1, 1 << 31, *LARGE]),
    ("append_time", [-2, *LARGE]),
    ("base_timestamp", [-(1 << 63) - 1, *LARGE]),
    ("delete_horizon_ms", [-(1 << 63) - 1, *LARGE]),
    ("size_limit", [-1, *LARGE]),
    ("level", LARGE),
]


@pytest.mark.parametrize("name, value", [(name, value) for name, values in OUT_OF_RANGE for value in values])
def test_numbers_that_no_batch_has(name: str, value: int) -> None:
    with pytest.raises(EncodeError, match=f"^record batch: {name}: {value} is not between"):
        builder_with(codec=Codec.ZSTD, **{name: value})
    made = builder_with(NOW)
    if name in ("producer_id", "producer_epoch", "base_sequence"):
        wanted: dict[str, Any] = {
            "producer_id": 1,
            "producer_epoch": 1,
            "base_sequence": 1,
            "transactional": True,
            name: value,
        }
        with pytest.raises(EncodeError, match=name):
            made.set_producer(**wanted)
    if name in ("base_offset", "leader_epoch", "append_time"):
        with pytest.raises(EncodeError, match=name):
            made.set_log_position(**{"base_offset": 1, "leader_epoch": 1, name: value})
    assert made.build() == builder_with(NOW).build()


@pytest.mark.parametrize(
    "name",
    [name for name, _ in OUT_OF_RANGE] + ["transactional", "control", "compression_ratio"],
)
def test_options_are_of_their_type(name: str) -> None:
    with pytest.raises(TypeError):
        builder_with(codec=Codec.ZSTD, **{name: "text"})


@pytest.mark.parametrize("name", ["size_limit", "producer_id", "transactional", "control"])
def test_options_that_are_never_none(name: str) -> None:
    with pytest.raises(TypeError):
        builder_with(**{name: None})


@pytest.mark.parametrize("codec", [None, 1, 9, "gzip"])
def test_codecs_that_are_none(codec: Any) -> None:
    with pytest.raises(ValueError, match="codec: one of Codec's"):
        BatchBuilder(codec=codec)


@pytest.mark.parametrize("ratio", [0, 0.0, -1, math.nan, math.inf])
def test_ratios_that_are_none(ratio: float) -> None:
    for codec in Codec:
        with pytest.raises(ValueError, match="compression_ratio: above 0"):
            BatchBuilder(codec=codec, compression_ratio=ratio)


def test_extreme_sizes_and_ratios() -> None:
    for options in ({"compression_ratio": 1e-300}, {"compression_ratio": 1e300}, {"size_limit": (1 << 63) - 1}):
        made = BatchBuilder(codec=Codec.ZSTD, **options)
        assert made.append(NOW, None, b"v") == 0  # the first record always fits
        assert made.append(NOW, None, b"v") == (1 if options != {"compression_ratio": 1e300} else -1)


@pytest.mark.parametrize(
    "name, value", [("last_offset_delta", 1 << 31), ("max_timestamp", 1 << 63), ("max_timestamp", -(1 << 63) - 1)]
)
def test_numbers_that_build_refuses(name: str, value: int) -> None:
    made = builder_with(NOW)
    with pytest.raises(EncodeError, match=f"^record batch: {name}: {value} is not between"):
        made.build(**{name: value})
    assert made.append(NOW, None, None) == 1


def test_a_failed_first_record_leaves_nothing_behind() -> None:
    made = BatchBuilder()
    with pytest.raises(EncodeError):
        made.append(5, None, None, [("\ud800", None)])
    made.append(NOW, None, None)
    assert parse(made.build()).base_timestamp == NOW


def test_more_than_a_batch_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    if not module.__file__.endswith(".py"):
        pytest.skip("the limit can't be lowered in a compiled module, and 2 GiB are too many")
    monkeypatch.setattr(module, "INT32_MAX", 1000)
    made = BatchBuilder(size_limit=100_000)
    with pytest.raises(RecordTooLargeError, match="would take"):
        made.append(NOW, None, bytes(1000))
    assert made.append(NOW, None, bytes(500)) == 0
    with pytest.raises(RecordTooLargeError, match="would take"):
        made.append(NOW, None, bytes(500))
    assert made.count == 1


def test_levels() -> None:
    assert len(builder_with(NOW, codec=Codec.ZSTD, level=19).build()) > 61
    with pytest.raises(ValueError, match="gzip has the levels 1 to 9, not 10"):
        BatchBuilder(codec=Codec.GZIP, level=10)


# ----------------------------------------------------------------------------------------------------------------- size


@given(st.lists(CONTENTS, min_size=1, max_size=5))
def test_the_size_is_known_exactly_without_compression(contents: list[Content]) -> None:
    made = BatchBuilder()
    for content in contents:
        made.append(*content)
    size = made.estimated_size
    assert size == len(made.build()) == 61 + made.raw_size


@given(CONTENTS)
def test_the_bound_of_one_record(content: Content) -> None:
    made = BatchBuilder(base_timestamp=0)
    made.append(*content, offset_delta=(1 << 31) - 1)
    size = len(made.build())
    assert size <= batch_size_bound(*content[1:]) <= size + 60


@pytest.mark.parametrize("limit", [1, 61, 68, 100, 1000, 16384])
def test_a_batch_is_filled_to_its_limit(limit: int) -> None:
    made = BatchBuilder(size_limit=limit)
    while made.append(NOW, None, b"12345") >= 0:
        pass
    data = made.build()
    assert len(data) <= limit or made.count == 1  # the first record always fits
    assert made.count == 1 or limit - len(data) < 14


def test_the_limit_is_exact_without_compression() -> None:
    for limit, count in ((61 + 13, 1), (61 + 14, 2), (61 + 20, 2), (61 + 21, 3)):
        made = BatchBuilder(size_limit=limit)
        assert [made.append(NOW, None, None) >= 0 for _ in range(4)] == [n < count for n in range(4)]


def test_from_no_time_to_the_end_of_time() -> None:
    made = builder_with(-1, (1 << 63) - 1, 0)  # a difference of 2^63, which wraps like Java's
    assert [r.timestamp for r in parse(made.build()).records()] == [-1, (1 << 63) - 1, 0]


def test_full() -> None:
    made = BatchBuilder(size_limit=61 + 2 * 7)
    assert [(made.append(NOW, None, None), made.is_full) for _ in range(3)] == [(0, False), (1, True), (-1, True)]
    assert (made.count, made.raw_size) == (2, 14)
    assert made.build() == batch(record(0) + record(1), 2, base_offset=0)


@pytest.mark.parametrize("codec", REAL)
def test_compressed_batches_are_filled_by_estimate(codec: Codec) -> None:
    values = random.Random(7)
    estimator = CompressionRatioEstimator()
    sizes = []
    for _ in range(100):
        made = BatchBuilder(codec=codec, size_limit=16384, compression_ratio=estimator.ratio)
        while made.append(NOW, b"order-%d" % values.randrange(1000), b"customer=%d;" % values.randrange(9) * 8) >= 0:
            pass
        assert made.estimated_size <= 16384
        sizes.append(len(made.build()))
        assert made.estimated_size == sizes[-1]
        estimator.observe(made.compression_ratio)
    assert sizes[0] < 16384 / 2  # at first no compression is assumed
    assert all(0.85 * 16384 < size <= 16384 for size in sizes[-20:])


def test_the_ratio_is_raised_faster_than_lowered() -> None:
    estimator = CompressionRatioEstimator()
    estimator.observe(0.2)
    assert estimator.ratio == pytest.approx(0.9)
    for _ in range(100):
        estimator.observe(0.2)
    assert estimator.ratio == pytest.approx(0.2, abs=0.001)
    estimator.observe(0.21)
    assert estimator.ratio == 0.21
    estimator.observe(1.5)
    assert estimator.ratio == 1.5


def test_the_ratio_is_known_when_the_batch_is_made() -> None:
    made = builder_with(NOW)
    with pytest.raises(ValueError, match="not finished"):
        _ = made.compression_ratio
    made.build()
    assert made.compression_ratio == 1.0


# -------------------------------------------------------------------------------------------------------------- markers


@pytest.mark.parametrize("type", [ControlType.COMMIT, ControlType.ABORT])
def test_markers(type: ControlType) -> None:
    data = build_marker(
        type, producer_id=5, producer_epoch=1, coordinator_epoch=2, base_offset=10, timestamp=NOW, leader_epoch=1
    )
    got = parse(data)
    assert data[21:23] == b"\x00\x30"  # B10: transactional and control, not compressed
    assert (got.is_control, got.is_transactional, got.base_sequence, got.count) == (True, True, -1, 1)
    assert (got.base_offset, got.leader_epoch, got.producer_id, got.producer_epoch) == (10, 1, 5, 1)
    control = got.control_record()
    assert control is not None
    assert (control.type, control.coordinator_epoch) == (type, 2)
    assert next(got.records()).key == bytes([0, 0, 0, type.value])
