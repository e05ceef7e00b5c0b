"""Frames: finding them in a stream, and the headers and bodies inside."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, strategies as st

from dekaf_proto.errors import DecodeError, EncodeError, ErrorCode, FrameError, UnsupportedVersionError
from dekaf_proto.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    FetchRequest,
    FetchResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    MetadataRequest,
    SaslAuthenticateRequest,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from dekaf_proto.messages.api_versions import ApiVersion
from dekaf_proto.messages.header import RequestHeader
from dekaf_proto.wire import (
    MAX_FRAME_SIZE,
    FrameReader,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    response_class,
)
from dekaf_proto.wire.frames import response_header_version
from dekaf_proto.wire.schema import TaggedField

# ------------------------------------------------------------------------------------------------------- a byte stream


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def frames_of(pieces: list[bytes], limit: int = MAX_FRAME_SIZE) -> tuple[list[bytes], str, int]:
    """All that comes of these pieces: the frames, the text of the error that ended them, the bytes still kept."""
    reader = FrameReader(limit)
    frames = []
    for piece in pieces:
        reader.receive_data(piece)
        try:
            while (frame := reader.next_frame()) is not None:
                frames.append(frame)
        except FrameError as e:
            return frames, str(e), 0
    return frames, "", reader.buffered


def test_frames_come_out_whole_and_in_order() -> None:  # W1
    stream = framed(b"one") + framed(b"") + framed(b"three") + b"\0\0\0\x09rest"
    assert frames_of([stream]) == ([b"one", b"", b"three"], "", 4)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """Some frames, then perhaps anything else; and places to cut."""
    stream = b"".join(framed(body) for body in draw(st.lists(st.binary(max_size=20), max_size=5)))
    stream += draw(st.binary(max_size=10))
    return stream, sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))


@given(streams(), st.integers(0, 30))
def test_cuts_change_nothing(stream_and_cuts: tuple[bytes, list[int]], limit: int) -> None:  # W1, W2
    stream, cuts = stream_and_cuts
    whole = frames_of([stream], limit)
    assert frames_of([stream[i : i + 1] for i in range(len(stream))], limit) == whole
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert frames_of(pieces, limit) == whole


@pytest.mark.parametrize(
    "size,text",
    [
        (-1, "a frame announces a size of -1 bytes"),
        (-(1 << 31), "a frame announces a size of -2147483648 bytes"),
        (101, "a frame of 101 bytes exceeds the limit of 100"),
        ((1 << 31) - 1, "a frame of 2147483647 bytes exceeds the limit of 100"),
    ],
)
def test_a_size_that_is_refused_before_anything_is_kept_for_it(size: int, text: str) -> None:  # W1, W2
    reader = FrameReader(max_frame_size=100)
    reader.receive_data(size.to_bytes(4, "big", signed=True))
    with pytest.raises(FrameError) as caught:
        reader.next_frame()
    assert str(caught.value) == text
    assert (caught.value.size, caught.value.limit) == (size, 100)
    # What follows is not taken for a frame.
    reader.receive_data(framed(b"a"))
    with pytest.raises(FrameError, match=text):
        reader.next_frame()


def test_the_largest_frame() -> None:  # W2
    assert frames_of([framed(bytes(100))], limit=100) == ([bytes(100)], "", 0)
    assert MAX_FRAME_SIZE == 100_000_000


def test_what_is_buffered() -> None:
    reader = FrameReader()
    reader.receive_data(b"")
    assert (reader.buffered, reader.next_frame()) == (0, None)
    reader.receive_data(b"\0\0\0")
    assert (reader.buffered, reader.next_frame()) == (3, None)
    reader.receive_data(b"\x02a")
    assert (reader.buffered, reader.next_frame()) == (5, None)
    assert reader.buffered == 1  # the size has been taken
    reader.receive_data(b"bcd")
    assert (reader.next_frame(), reader.next_frame(), reader.buffered) == (b"ab", None, 2)


def test_a_buffer_that_changes_later_is_copied() -> None:
    data = bytearray(framed(b"abc"))
    reader = FrameReader()
    reader.receive_data(memoryview(data)[:6])
    data[4:] = b"xyz"
    reader.receive_data(data[6:])
    assert reader.next_frame() == b"abz"
    assert isinstance(reader.next_frame(), type(None))


def test_a_buffer_of_wider_items_counts_in_bytes() -> None:
    reader = FrameReader()
    reader.receive_data(memoryview(framed(b"abcd")).cast("I"))
    assert (reader.buffered, reader.next_frame(), reader.buffered) == (8, b"abcd", 0)


def test_a_chunk_of_very_many_frames() -> None:
    # With time quadratic in the chunk, as it once was, this would take minutes.
    reader = FrameReader()
    reader.receive_data(framed(b"") * 300_000)
    count = 0
    while reader.next_frame() is not None:
        count += 1
    assert (count, reader.buffered) == (300_000, 0)


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """The most bytes that were allocated at a time, since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_small_chunks_take_little_more_memory_than_they_hold(traced: Callable[[], int]) -> None:
    # Each kept by itself they took 28 times as much, which a peer could make of any frame.
    stream = framed(bytes(200_000))
    reader = FrameReader()
    for i in range(0, len(stream), 2):
        reader.receive_data(stream[i : i + 2])
    assert traced() < 2.5 * len(stream)  # the stream itself is one of them
    assert reader.next_frame() == bytes(200_000)


def test_what_was_taken_of_small_chunks_does_not_stay(traced: Callable[[], int]) -> None:
    reader = FrameReader()
    cycle = framed(b"1234")
    reader.receive_data(cycle[:5])
    for _ in range(20_000):  # never empty: each chunk ends one frame and begins the next
        reader.receive_data(cycle[5:] + cycle[:1])
        reader.receive_data(cycle[1:5])
        assert reader.next_frame() == b"1234"
        assert reader.buffered == 5
    assert traced() < 50_000  # of 160,000 bytes


def test_large_chunks_are_kept_as_they_are_between_small_ones(traced: Callable[[], int]) -> None:
    large = bytes(100_000)
    pieces = [(200_006).to_bytes(4, "big") + b"a", b"b", large, b"c", b"d", b"e", large, b"f"]
    reader = FrameReader()
    for piece in pieces:
        reader.receive_data(piece)
    assert traced() < 150_000  # one of them, which is in there twice, and no copy
    assert reader.next_frame() == b"ab" + large + b"cde" + large + b"f"
    assert reader.buffered == 0


@given(st.lists(st.integers(0, 3000), max_size=12), st.data())
def test_chunks_of_all_sizes(sizes: list[int], data: st.DataObject) -> None:
    """Like test_cuts_change_nothing, with chunks that are joined and chunks that are not."""
    bodies = [bytes([i]) * size for i, size in enumerate(sizes)]
    stream = b"".join(map(framed, bodies))
    reader, found, at = FrameReader(), [], 0
    while at < len(stream):
        end = at + data.draw(st.sampled_from((1, 2, 3, 500, 1023, 1024, 5000)))
        reader.receive_data(stream[at:end])
        at = end
        if data.draw(st.booleans()) or at >= len(stream):
            while (frame := reader.next_frame()) is not None:
                found.append(frame)
    assert (found, reader.buffered) == (bodies, 0)


# ------------------------------------------------------------------------------------------------------------ requests


HEARTBEAT = HeartbeatRequest("g", 7, "m")


@pytest.mark.parametrize(
    "frame,hexadecimal",
    [
        # W3, W4: header v1 has no tagged fields, v2 has; the client id keeps its int16 length
        (encode_request(HEARTBEAT, 3, 5, "me"), "000c 0003 00000005 0002 6d65 0001 67 00000007 0001 6d ffff"),
        (encode_request(HEARTBEAT, 4, 5, "me"), "000c 0004 00000005 0002 6d65 00 02 67 00000007 02 6d 00 00"),
        (encode_request(HEARTBEAT, 4, -1), "000c 0004 ffffffff ffff 00 02 67 00000007 02 6d 00 00"),
        # W5: the request's header is the usual one, only the response's is not
        (encode_request(ApiVersionsRequest("c", "1"), 3, 5), "0012 0003 00000005 ffff 00 02 63 02 31 00"),
        (encode_request(ApiVersionsRequest(), 2, 5), "0012 0002 00000005 ffff"),
        # W6
        (encode_request(SaslHandshakeRequest("PLAIN"), 1, 5), "0011 0001 00000005 ffff 0005 504c41494e"),
    ],
)  # fmt: skip
def test_bytes_of_a_request(frame: bytes, hexadecimal: str) -> None:
    assert frame == framed(bytes.fromhex(hexadecimal))


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("client_id", [None, "", "me", "\u00e4" * 100])
def test_a_request_is_read_back(version: int, client_id: str | None) -> None:
    request = HeartbeatRequest("group", 7, "member", "instance")
    frame = encode_request(request, version, 99, client_id)
    header, body = decode_request(frame[4:])
    assert header == RequestHeader(12, version, 99, client_id)
    assert body == request


def test_unknown_tagged_fields_of_a_header_are_kept() -> None:  # W18
    frame = bytes.fromhex("000c 0004 00000005 ffff 01 07 01 78 02 67 00000007 02 6d 00 00")
    header, _ = decode_request(frame)
    assert header.unknown_tagged_fields == (TaggedField(7, b"x"),)


@pytest.mark.parametrize(
    "hexadecimal,text",
    [
        ("", "RequestHeader: needs 8 bytes, 0 left"),
        ("000c 0004 000000", "RequestHeader: needs 8 bytes, 7 left"),
        ("000c 0004 00000005", "RequestHeader v2: client_id: needs 2 bytes, 0 left"),
        ("000c 0004 00000005 0003 6d65", "RequestHeader v2: client_id: length 3 exceeds the 2 bytes left"),
        ("000c 0004 00000005 ffff", "RequestHeader v2: tagged fields: varint is cut off"),
        ("000c 0004 00000005 ffff 00", "HeartbeatRequest v4: group_id: varint is cut off"),
        ("0011 0000 00000005 ffff 0001 50 00", "SaslHandshakeRequest v0: 1 bytes are left over"),  # W10
    ],
)
def test_requests_that_are_refused(hexadecimal: str, text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_request(bytes.fromhex(hexadecimal))
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "hexadecimal,text",
    [
        ("0004 0000 00000005 ffff", "there is no API with key 4"),
        ("ffff 0000 00000005 ffff", "there is no API with key -1"),
        ("0001 0003 00000005 ffff", "FetchRequest has versions 4-18, not 3"),  # W26
        ("0000 0002 00000005 ffff", "ProduceRequest has versions 3-13, not 2"),  # W27
        ("0012 0063 00000005 ffff", "ApiVersionsRequest has versions 0-5, not 99"),
    ],
)
def test_requests_that_nobody_here_can_read(hexadecimal: str, text: str) -> None:
    with pytest.raises(UnsupportedVersionError, match=f"^{re.escape(text)}$"):
        decode_request(bytes.fromhex(hexadecimal))


def test_a_request_that_can_not_be_written() -> None:
    with pytest.raises(UnsupportedVersionError, match=r"^FetchRequest has versions 4-18, not 3$"):  # W26
        encode_request(FetchRequest(), 3, 1)
    with pytest.raises(EncodeError, match=r"^RequestHeader v1: correlation_id: 2147483648 does not fit int32$"):
        encode_request(MetadataRequest(), 1, 1 << 31)


def test_no_secret_in_what_is_said_of_a_request() -> None:
    request = SaslAuthenticateRequest(b"\0user\0hunter2")
    assert "hunter2" not in repr(request)
    request.auth_bytes = "hunter2"  # type: ignore[assignment]
    with pytest.raises(EncodeError) as caught:
        encode_request(request, 0, 1)
    assert str(caught.value) == "SaslAuthenticateRequest v0: auth_bytes: expected bytes, not str"


# ----------------------------------------------------------------------------------------------------------- responses


VERSIONS = ApiVersionsResponse(0, [ApiVersion(18, 0, 5)])


@pytest.mark.parametrize(
    "frame,hexadecimal",
    [
        # W5: header v0 before plain versions, v1 before flexible ones, and v0 before ApiVersions always
        (encode_response(HeartbeatResponse(1, 27), 3, 5), "00000005 00000001 001b"),
        (encode_response(HeartbeatResponse(1, 27), 4, 5), "00000005 00 00000001 001b 00"),
        (encode_response(VERSIONS, 0, 5), "00000005 0000 00000001 0012 0000 0005"),
        (encode_response(VERSIONS, 3, 5), "00000005 0000 02 0012 0000 0005 00 00000000 00"),
        (encode_response(SaslHandshakeResponse(0, ["PLAIN"]), 1, 5), "00000005 0000 00000001 0005 504c41494e"),  # W6
    ],
)  # fmt: skip
def test_bytes_of_a_response(frame: bytes, hexadecimal: str) -> None:
    assert frame == framed(bytes.fromhex(hexadecimal))


@pytest.mark.parametrize("version", range(4, 19))
def test_a_response_is_read_back(version: int) -> None:
    response = FetchResponse(throttle_time_ms=7)
    frame = encode_response(response, version, 1234)
    assert decode_response(FetchResponse, version, frame[4:]) == (1234, response)


def test_which_header_stands_before_a_response() -> None:  # W5, W6
    assert [response_header_version(FetchResponse, v) for v in (11, 12)] == [0, 1]
    assert [response_header_version(ApiVersionsResponse, v) for v in range(6)] == [0] * 6
    assert [response_header_version(SaslHandshakeResponse, v) for v in range(2)] == [0, 0]


# What a live broker answered to version 99, from the rules.
REFUSAL = bytes.fromhex("00000003 0023 00000001 0012 0000 0005")


@pytest.mark.parametrize("version", range(6))
def test_the_refusal_of_an_api_versions_request_is_read_as_version_0(version: int) -> None:  # W21
    correlation_id, response = decode_response(ApiVersionsResponse, version, REFUSAL)
    assert correlation_id == 3
    assert response.error_code == ErrorCode.UNSUPPORTED_VERSION
    assert response.api_keys == [ApiVersion(18, 0, 5)]  # W22: which is no table of the broker's APIs


@pytest.mark.parametrize("version", range(6))
def test_an_older_broker_reports_nothing_with_its_refusal(version: int) -> None:  # W21
    _, response = decode_response(ApiVersionsResponse, version, bytes.fromhex("00000003 0023 00000000"))
    assert (response.error_code, response.api_keys) == (35, [])


def test_only_error_35_and_only_of_api_versions_is_special() -> None:  # W21
    other = ApiVersionsResponse(42)
    assert decode_response(ApiVersionsResponse, 3, encode_response(other, 3, 1)[4:]) == (1, other)
    heartbeat = HeartbeatResponse(35 << 16)  # the same two bytes in the same place
    assert decode_response(HeartbeatResponse, 3, encode_response(heartbeat, 3, 1)[4:]) == (1, heartbeat)


@pytest.mark.parametrize(
    "version,hexadecimal,text",
    [
        (3, "", "ResponseHeader v0: correlation_id: needs 4 bytes, 0 left"),
        (4, "00000005", "ResponseHeader v1: tagged fields: varint is cut off"),
        (4, "00000005 00 00", "HeartbeatResponse v4: throttle_time_ms: needs 4 bytes, 1 left"),
        (3, "00000005 00000001 001b 00", "HeartbeatResponse v3: 1 bytes are left over"),  # W10
    ],
)
def test_responses_that_are_refused(version: int, hexadecimal: str, text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_response(HeartbeatResponse, version, bytes.fromhex(hexadecimal))
    assert str(caught.value) == text


def test_a_refusal_that_is_cut_off_or_too_long() -> None:  # W10, W21
    text = "^ApiVersionsResponse v0: api_keys: count 1 exceeds the 5 bytes left, at 6 or more apiece$"
    with pytest.raises(DecodeError, match=text):
        decode_response(ApiVersionsResponse, 3, REFUSAL[:-1])
    with pytest.raises(DecodeError, match=r"^ApiVersionsResponse v0: 1 bytes are left over$"):
        decode_response(ApiVersionsResponse, 3, REFUSAL + b"\0")


def test_a_response_in_a_version_that_does_not_exist() -> None:
    with pytest.raises(UnsupportedVersionError, match=r"^HeartbeatResponse has versions 0-4, not 5$"):
        decode_response(HeartbeatResponse, 5, bytes(20))


def test_requests_know_their_responses() -> None:
    assert response_class(FetchRequest) is FetchResponse
    assert response_class(ApiVersionsRequest) is ApiVersionsResponse


@pytest.mark.parametrize("data", [9, "text", None])
def test_what_is_no_buffer(data: Any) -> None:
    for function in (FrameReader().receive_data, decode_request, partial(decode_response, ApiVersionsResponse, 0)):
        with pytest.raises(TypeError):
            function(data)


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_frames_in_any_buffer(buffer: type[bytes]) -> None:
    frame = buffer(encode_request(ApiVersionsRequest(), 3, 7, "me")[4:])
    assert decode_request(frame)[0].correlation_id == 7
    with pytest.raises(DecodeError):
        decode_request(frame[:-1])
    answer = buffer(encode_response(ApiVersionsResponse(error_code=35), 0, 8)[4:])
    assert decode_response(ApiVersionsResponse, 3, answer) == (8, ApiVersionsResponse(error_code=35))
