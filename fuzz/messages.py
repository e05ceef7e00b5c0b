"""Messages: DecodeError is the only exception, and a message that was read is written and read again as it was.

In every response in every version, and in every request, header and message of the consumer protocol too, as the
embedded broker reads those. "As it was" is equality of the messages, not of the bytes: tagged fields may come at their
default, varints longer than need be, true as any number but 0, and strings and arrays in forms of which only one is
written.
"""
# ruff: noqa: PT017  # these assertions are no test of pytest's

from __future__ import annotations

from collections.abc import Iterator

from dekaf_proto import messages
from dekaf_proto.errors import DecodeError
from dekaf_proto.wire import decode, decode_response, encode, encode_response
from dekaf_proto.wire.schema import Message, Request, Response
from fuzz.corpus import golden_messages


def choices() -> list[tuple[type[Message], int]]:
    """Every class and version, responses first, in an order that stays."""
    found = [getattr(messages, name) for name in dir(messages)]
    classes = {c for c in found if isinstance(c, type) and issubclass(c, Message)} - {Message, Request, Response}
    ordered = sorted(classes, key=lambda cls: (not issubclass(cls, Response), cls.__name__))
    return [(cls, v) for cls in ordered for v in range(cls.VERSIONS.min, cls.VERSIONS.max + 1)]


CHOICES = choices()


def fuzz_one(data: bytes) -> None:
    """The first two bytes choose the message; the rest is its body."""
    cls, version = CHOICES[int.from_bytes(data[:2], "big") % len(CHOICES)]
    body = data[2:]
    try:
        message = decode(cls, version, body)
    except DecodeError as e:
        assert str(e).startswith(f"{cls.__name__} v{version}: ")
    else:
        written = encode(message, version)
        again = decode(cls, version, written)
        assert again == message
        assert encode(again, version) == written
        assert len(written) <= len(body)  # so the message held nothing that was not in the bytes
        repr(message)
    if issubclass(cls, Response):
        fuzz_frame(cls, version, body)


def fuzz_frame(cls: type[Response], version: int, frame: bytes) -> None:
    """The same bytes as a frame: a header, and of ApiVersions perhaps a refusal in version 0."""
    try:
        correlation_id, response = decode_response(cls, version, frame)
    except DecodeError:
        return
    if response == decode_or_none(cls, version, encode_response(response, version, correlation_id)[4:]):
        return
    # Written in the version of the request, what was read in version 0 is only as good as a refusal needs to be.
    assert cls is messages.ApiVersionsResponse


def decode_or_none(cls: type[Response], version: int, frame: bytes) -> Response | None:
    try:
        return decode_response(cls, version, frame)[1]
    except DecodeError:
        return None


def seeds() -> Iterator[bytes]:
    index = {(cls.__name__, version): n for n, (cls, version) in enumerate(CHOICES)}
    for name, version, body in golden_messages():
        start = index[name, version].to_bytes(2, "big")
        if len(body) < 1000:
            yield start + body
        cls = CHOICES[index[name, version]][0]
        if cls.VERSIONS.is_flexible(version) and body.endswith(b"\0") and len(body) < 100:
            # In place of no tagged field one that Java never writes: of a tag that is known or not, of the highest
            # tag and the next one, empty or with bytes of which much is the default of a structure.
            for tag in ("00", "01", "02", "ffffffff07", "8080808008"):
                for data in ("00", "0d" + "ff" * 12 + "00", "09" + "ff" * 8 + "00"):
                    yield start + body[:-1] + bytes.fromhex("01" + tag + data)
