"""The frames that messages travel in: a size, a header, a body (W1-W6, W20-W22).

`FrameReader` cuts a stream of bytes into frames. The functions below it write and read whole frames, for both ends of
a connection; they know the one exception among the APIs, ApiVersions: its response has the old header in every
version, and its refusal the body of version 0.

Not here: which request a response answers, and which version to use. That is the connection's affair.
"""

from __future__ import annotations

import struct
from collections import deque
from functools import lru_cache
from typing import Final, TypeVar, cast

from dekaf_proto import messages
from dekaf_proto.errors import DecodeError, ErrorCode, FrameError, UnsupportedVersionError
from dekaf_proto.messages.header import RequestHeader, ResponseHeader
from dekaf_proto.wire.codec import decode_part, decode_rest, encode
from dekaf_proto.wire.schema import Buffer, Request, Response
from dekaf_proto.wire.values import Reader, as_bytes

S = TypeVar("S", bound=Response)

API_VERSIONS: Final = messages.ApiKey.API_VERSIONS

#: What a client takes unless told otherwise, in bytes; the same as librdkafka's `receive.message.max.bytes`.
MAX_FRAME_SIZE: Final = 100_000_000

#: Chunks below this size, in bytes, are joined: each kept by itself would cost more than it holds.
_SMALL: Final = 1024

_SIZE: Final = struct.Struct(">i")
_REQUEST_START: Final = struct.Struct(">hhi")


class FrameReader:
    """Cuts what a peer sends into frames.

    `max_frame_size` is in bytes, without the four of the size itself. A frame that announces more, or less than
    nothing, is a `FrameError`, raised before anything is set aside for it; asking again raises it again.

    >>> reader = FrameReader()
    >>> reader.receive_data(bytes.fromhex("00000003 61"))
    >>> reader.next_frame() is None
    True
    >>> reader.receive_data(b"bc")
    >>> reader.next_frame()
    b'abc'
    """

    def __init__(self, max_frame_size: int = MAX_FRAME_SIZE) -> None:
        self._max_frame_size = max_frame_size
        self._chunks: deque[bytes | bytearray] = deque()  # a bytearray is one that small ones are added to
        self._start = 0  # in the first chunk; to cut that down for each of its frames would be quadratic
        self._buffered = 0
        self._size: int | None = None

    @property
    def buffered(self) -> int:
        """Bytes received and not yet returned."""
        return self._buffered

    def receive_data(self, data: Buffer) -> None:
        """Takes the next bytes of the stream; a buffer that may change is copied."""
        chunk = as_bytes(data)
        if not chunk:
            return
        self._buffered += len(chunk)
        if not self._chunks or len(chunk) >= _SMALL:
            self._chunks.append(chunk)
            return
        last = self._chunks[-1]
        if not isinstance(last, bytearray):
            self._chunks.append(bytearray(chunk))
            return
        if self._start and len(self._chunks) == 1:  # else what was taken from it would stay as long as it grows
            del last[: self._start]
            self._start = 0
        last += chunk

    def next_frame(self) -> bytes | None:
        """The next whole frame without its size, None until more has been received."""
        if self._size is None:
            if self._buffered < 4:
                return None
            self._size = int(_SIZE.unpack(self._take(4))[0])
        if not 0 <= self._size <= self._max_frame_size:
            raise FrameError(self._size, self._max_frame_size)  # the size stays, so that asking again raises again
        if self._buffered < self._size:
            return None
        frame = self._take(self._size)
        self._size = None
        return frame

    def _take(self, size: int) -> bytes:
        """The next `size` bytes, which are there. Whole chunks are copied once."""
        self._buffered -= size
        parts: list[bytes | bytearray] = []
        while size > 0:
            chunk = self._chunks[0]
            part = chunk[self._start : self._start + size]
            self._start += len(part)
            if self._start == len(chunk):
                self._chunks.popleft()
                self._start = 0
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _framed(*parts: bytes) -> bytes:
    return b"".join((_SIZE.pack(sum(map(len, parts))), *parts))


def encode_request(request: Request[S], version: int, correlation_id: int, client_id: str | None = None) -> bytes:
    """The frame of a request. Raises what `encode` raises.

    `correlation_id` is an int32 that the response repeats; `client_id` is a name for the broker's logs and quotas.
    """
    cls = type(request)
    body = encode(request, version)
    header_version = 2 if cls.VERSIONS.is_flexible(version) else 1
    rest = _rest_of_header(client_id, header_version)
    try:
        return _framed(_REQUEST_START.pack(cls.API_KEY, version, correlation_id), rest, body)
    except struct.error:
        encode(RequestHeader(cls.API_KEY, version, correlation_id, client_id), header_version)
        raise  # pragma: no cover  # the line above has raised an EncodeError


@lru_cache(maxsize=64)
def _rest_of_header(client_id: str | None, header_version: int) -> bytes:
    """What follows the correlation id in the header of a request: the same in all requests of a client."""
    return encode(RequestHeader(0, 0, 0, client_id), header_version)[_REQUEST_START.size :]


def decode_request(frame: Buffer) -> tuple[RequestHeader, Request[Response]]:
    """What a client sent, from a frame without its size.

    Raises DecodeError, and UnsupportedVersionError for an API or version that this package does not have.
    """
    frame = as_bytes(frame)
    if len(frame) < _REQUEST_START.size:
        raise DecodeError("RequestHeader", "", f"needs {_REQUEST_START.size} bytes, {len(frame)} left")
    api_key, version, _ = _REQUEST_START.unpack_from(frame)
    try:
        cls = messages.request_class(api_key)
    except KeyError:
        raise UnsupportedVersionError(f"there is no API with key {api_key}") from None
    if version not in cls.VERSIONS:
        raise UnsupportedVersionError(f"{cls.__name__} has versions {cls.VERSIONS}, not {version}", str(cls.VERSIONS))
    reader = Reader(frame)
    header = decode_part(RequestHeader, 2 if cls.VERSIONS.is_flexible(version) else 1, reader)
    return header, decode_rest(cls, version, reader)


def encode_response(response: Response, version: int, correlation_id: int) -> bytes:
    """The frame of a response. Raises what `encode` raises."""
    cls = type(response)
    body = encode(response, version)
    return _framed(encode(ResponseHeader(correlation_id), response_header_version(cls, version)), body)


def decode_response(cls: type[S], version: int, frame: Buffer) -> tuple[int, S]:
    """The correlation id and the response to a request that was sent in `version`, from a frame without its size.

    A broker that does not know the version of an ApiVersions request answers in version 0: so an ApiVersionsResponse
    with error 35 is read as that (W21). Raises DecodeError.
    """
    frame = as_bytes(frame)
    reader = Reader(frame)
    header_version = response_header_version(cls, version)
    if len(frame) > 4 and (header_version == 0 or frame[4] == 0):  # no tagged field, as good as always
        correlation_id = int.from_bytes(frame[:4], "big", signed=True)
        reader.pos = 4 + header_version
    else:
        correlation_id = decode_part(ResponseHeader, header_version, reader).correlation_id
    if cls.API_KEY == API_VERSIONS and frame[4:6] == _UNSUPPORTED:
        version = 0
    return correlation_id, decode_rest(cls, version, reader)


_UNSUPPORTED: Final = int(ErrorCode.UNSUPPORTED_VERSION).to_bytes(2, "big")


def response_header_version(cls: type[Response], version: int) -> int:
    """The version of the header before a response of class `cls` in `version`."""
    return 1 if cls.VERSIONS.is_flexible(version) and cls.API_KEY != API_VERSIONS else 0


def response_class(request: type[Request[S]]) -> type[S]:
    """The class of the responses to requests of the class `request`."""
    cls = _responses.get(request.API_KEY)
    if cls is None:
        cls = _responses[request.API_KEY] = messages.response_class(request.API_KEY)
    return cast("type[S]", cls)


_responses: Final[dict[int, type[Response]]] = {}
