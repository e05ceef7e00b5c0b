"""Messages as bytes: bodies, and the frames around them.

    encode(message, version) -> bytes           decode(cls, version, data) -> message

for a body alone, and for a whole frame (size, header, body)

    encode_request, decode_request              what a client sends
    encode_response, decode_response            what a broker answers
    FrameReader                                 finds the frames in a stream of bytes
"""

from dekaf_proto.wire.codec import decode, encode
from dekaf_proto.wire.frames import (
    MAX_FRAME_SIZE,
    FrameReader,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    response_class,
)

__all__ = [
    "MAX_FRAME_SIZE",
    "FrameReader",
    "decode",
    "decode_request",
    "decode_response",
    "encode",
    "encode_request",
    "encode_response",
    "response_class",
]
