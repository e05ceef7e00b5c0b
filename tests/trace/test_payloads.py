"""What is kept of received bytes: as many, without payloads and secrets, and read in the same way."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from dekaf_proto.consumer.chunk import end_of_batches
from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.messages import ApiKey, FetchRequest, FetchResponse, MetadataRequest
from dekaf_proto.messages.fetch import FetchableTopicResponse, PartitionData
from dekaf_proto.records import BatchBuilder, Codec, ControlType, RecordBatch, build_marker, read_batches
from dekaf_proto.trace.payloads import CannotLeaveOutError, Received, name_of, without_payloads
from dekaf_proto.wire import decode_response, encode_request, encode_response
from tests.strategies import examples


def batch(values: list[bytes], codec: Codec = Codec.NONE, gap: int = 0, **options: Any) -> bytes:
    builder = BatchBuilder(codec=codec, base_offset=100, **options)
    for number, value in enumerate(values):
        builder.append(1_700_000_000_000 + number, b"key", value, [("header", value)])
    return builder.build(last_offset_delta=len(values) - 1 + gap) if gap else builder.build()


def offsets(data: bytes) -> list[int]:
    return [record.offset for batch in read_batches(data, topic="t", partition=0) for record in batch.records()]


@pytest.mark.parametrize("codec", Codec)
def test_as_many_bytes_and_the_same_offsets(codec: Codec) -> None:
    data = batch([b"secret %d" % number for number in range(50)], codec) + batch([b"secret"] * 2, codec)
    kept = without_payloads(data)
    assert len(kept) == len(data)
    assert offsets(kept) == offsets(data)
    assert end_of_batches(memoryview(kept)) == end_of_batches(memoryview(data))
    assert b"secret" not in kept
    for one in read_batches(kept, topic="t", partition=0):
        for record in one.records():
            assert not any(record.value or b"")
            assert not record.headers
        if codec is Codec.NONE:
            assert b"secret" not in b"".join(record.value or b"" for record in one.records())


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.binary(max_size=400), min_size=1, max_size=30), st.sampled_from(list(Codec)), st.integers(0, 3))
def test_any_batch(values: list[bytes], codec: Codec, gap: int) -> None:
    data = batch(values, codec, gap)
    kept = without_payloads(data)
    assert len(kept) == len(data)
    assert offsets(kept) == offsets(data)


@pytest.mark.parametrize("size", [7, 8, 64, 65, 66, 200, 8_193, 8_194, 8_195, 70_000])
def test_any_size(size: int) -> None:
    """Records have no 65 bytes, nor 8,194: where a batch was compressed to that, it has to be compressed again."""
    header = bytearray(batch([b""])[:61])
    struct.pack_into(">i", header, 8, 49 + size)
    if size < 27:
        kept = without_payloads(bytes(header) + bytes(size))
        assert len(kept) == 61 + size
        return
    kept = without_payloads(bytes(header) + bytes(size))
    (read,) = read_batches(kept, topic="t", partition=0, check_crcs=False)
    assert [record.offset for record in read.records()] == [100]


def test_what_is_compressed_to_less_than_records_take() -> None:
    data = batch([b"same"] * 2_000, Codec.GZIP)
    kept = without_payloads(data)
    assert len(kept) == len(data)
    assert offsets(kept) == list(range(100, 2_100))
    (read,) = read_batches(kept, topic="t", partition=0)
    assert isinstance(read, RecordBatch)
    assert read.codec is Codec.GZIP


def test_compressed_too_well() -> None:
    header = bytearray(batch([b"a"] * 2_000)[:61])
    struct.pack_into(">i", header, 8, 49 + 40)
    with pytest.raises(CannotLeaveOutError, match="2000 records were compressed into 40 bytes"):
        without_payloads(bytes(header) + bytes(40))


def test_gaps_stay() -> None:
    """Which offsets are missing only the records say."""
    builder = BatchBuilder(codec=Codec.ZSTD, base_offset=100)
    for _ in range(4):
        builder.append(0, None, b"secret")
    data = bytearray(builder.build())
    struct.pack_into(">i", data, 23, 9)  # the last ones were compacted away
    kept = without_payloads(bytes(data))
    read = list(read_batches(kept, topic="t", partition=0, check_crcs=False))
    assert [record.offset for one in read for record in one.records()] == [100, 101, 102, 103]
    assert read[0].next_offset == 110


def test_a_wrong_checksum_stays_wrong() -> None:
    data = bytearray(batch([b"secret", b"b"]))
    data[17] ^= 1
    with pytest.raises(CorruptRecordError):
        offsets(without_payloads(bytes(data)))


def test_a_marker_is_no_payload() -> None:
    marker = build_marker(ControlType.ABORT, producer_id=1, producer_epoch=0, coordinator_epoch=0, base_offset=5,
                          timestamp=0)  # fmt: skip
    assert without_payloads(marker) == marker


def test_what_is_damaged_or_cut_off_has_nothing_behind_its_header() -> None:
    whole = batch([b"secret"])
    for data in (whole + whole[:70], whole + whole[:20], whole + whole[:5], whole[:70]):
        kept = without_payloads(data)
        assert len(kept) == len(data)
        assert b"secret" not in kept
        assert end_of_batches(memoryview(kept)) == end_of_batches(memoryview(data))
    damaged = bytearray(whole * 2)
    damaged[len(whole) + 16] = 7
    kept = without_payloads(bytes(damaged))
    assert end_of_batches(memoryview(kept)) == end_of_batches(memoryview(bytes(damaged)))
    assert b"secret" not in kept
    unreadable = bytearray(whole)
    struct.pack_into(">i", unreadable, 57, 3)  # it claims more records than it has
    struct.pack_into(">i", unreadable, 23, 5)
    assert b"secret" not in without_payloads(bytes(unreadable))


def test_old_formats_are_refused() -> None:
    old = bytearray(batch([b"a"]))
    old[16] = 1
    with pytest.raises(CannotLeaveOutError, match="message format 1"):
        without_payloads(bytes(old))


# ------------------------------------------------------------------------------------------------------------- frames


def fetched(records: bytes | None) -> FetchResponse:
    partitions = [PartitionData(partition_index=0, records=records), PartitionData(partition_index=1, records=None)]
    return FetchResponse(responses=[FetchableTopicResponse(topic="t", partitions=partitions)])


def answer(records: bytes | None, number: int = 1) -> bytes:
    return encode_response(fetched(records), 12, number)


def asked(received: Received, *requests: Any) -> None:
    for number, request in enumerate(requests):
        received.sent(1, encode_request(request, 12, number))


def test_whole_frames_only() -> None:
    received = Received(False, 1_000_000)
    asked(received, FetchRequest(), MetadataRequest(), FetchRequest())
    first, second = answer(batch([b"secret"]), 0), b"\0\0\0\x08\0\0\0\1meta"
    third = answer(None, 2)
    stream = first + second + third
    pieces = [received.received(1, stream[i : i + 7]) for i in range(0, len(stream), 7)]
    assert pieces[0] == b""
    kept = b"".join(pieces)
    assert len(kept) == len(stream)
    assert kept[len(first) :] == second + third
    assert b"secret" not in kept
    _, response = decode_response(FetchResponse, 12, kept[4 : len(first)])
    assert offsets(bytes(response.responses[0].partitions[0].records or b"")) == [100]
    assert Received(True, 100).received(1, second) == second


def test_with_payloads() -> None:
    received = Received(True, 1_000_000)
    asked(received, FetchRequest())
    data = answer(batch([b"secret"]), 0)
    assert received.received(1, data) == data


def test_what_is_no_response() -> None:
    received = Received(False, 1_000)
    assert received.received(1, b"\xff\xff\xff\xff rubbish") == b"\xff\xff\xff\xff"
    received.forget(1)
    asked(received, FetchRequest())
    kept = received.received(1, b"\0\0\0\x0a\0\0\0\0secret")
    assert kept == b"\0\0\0\x0a\0\0\0\0" + bytes(6)


def test_a_response_that_would_have_another_length_is_refused() -> None:
    received = Received(False, 1_000)
    asked(received, FetchRequest())
    frame = encode_response(fetched(None), 12, 0)[4:]
    longer = frame[:-1] + b"\x80\x00"  # the same number in more bytes than it takes
    with pytest.raises(CannotLeaveOutError, match=f"of {len(longer)} bytes would have {len(frame)}"):
        received.received(1, len(longer).to_bytes(4, "big") + longer)


def test_secrets_are_never_kept() -> None:
    received = Received(True, 1_000)
    start = struct.pack(">hhi", ApiKey.SASL_AUTHENTICATE, 2, 7)
    request = struct.pack(">i", len(start) + 8) + start + b"password"
    assert received.sent(1, request) == request[:12] + bytes(8)
    assert name_of(request) == "SASL_AUTHENTICATE v2 #7"
    assert received.received(1, b"\0\0\0\x0a\0\0\0\7server") == b"\0\0\0\x0a\0\0\0\7" + bytes(6)
