"""Single values: what they look like in both forms, and what is refused in both directions."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.errors import DecodeError, EncodeError
from dekaf_proto.messages.fetch import FetchableTopicResponse, FetchResponse
from dekaf_proto.messages.metadata import MetadataRequest, MetadataRequestTopic
from dekaf_proto.types import Uuid
from dekaf_proto.wire import decode, encode
from dekaf_proto.wire.schema import Message
from tests.wire.samples import Batches, Binary, Changing, Id, Item, Later, Lists, Nested, Numbers, Old, Tagged, Text

ID = Uuid(bytes(range(16)))


@pytest.mark.parametrize(
    "message,version,hexadecimal",
    [
        # W12: big-endian; a bool is a byte; a uuid 16 bytes
        (Numbers(True, -2, 0x0102, 0x01020304, -2), 0, "01 fe 0102 01020304 fffffffffffffffe"),
        (Numbers(), 0, "00 00 0000 ffffffff 0000000000000000"),
        (Numbers(), 1, "00 00 0000 ffffffff 0000000000000000 00"),
        (Numbers(False, -128, -32768, -(1 << 31), -(1 << 63)), 0, "00 80 8000 80000000 8000000000000000"),
        (Numbers(True, 127, 32767, (1 << 31) - 1, (1 << 63) - 1), 0, "01 7f 7fff 7fffffff 7fffffffffffffff"),
        (Id(ID), 0, "000102030405060708090a0b0c0d0e0f"),
        (Id(), 1, "00000000000000000000000000000000 00"),
        # W14: int16 length, or uvarint of length + 1; -1 or 0 for null
        (Text("\u00e4", None), 0, "0002 c3a4 ffff"),
        (Text("\u00e4", None), 1, "03 c3a4 00 00"),
        (Text("", ""), 0, "0000 0000"),
        (Text("", ""), 1, "01 01 00"),
        (Text("a" * 127), 1, "8001" + "61" * 127 + "00 00"),  # W13
        (Old("ab"), 0, "0002 6162"),
        (Old("ab"), 1, "0002 6162 00"),  # W3
        (Old(None), 1, "ffff 00"),
        # W14: bytes and records have an int32 length
        (Binary(b"ab", None), 0, "00000002 6162 ffffffff 00000000"),
        (Binary(b"ab", None), 1, "03 6162 00 01 00"),
        (Batches(b"ab", None), 0, "00000002 6162 ffffffff"),
        (Batches(b"ab", None), 1, "03 6162 00 00"),
        # W14: arrays
        (Lists([1], None, ["a"], [Item(2)], []), 0, "00000001 00000001 ffffffff 00000001000161 00000001 0002 00000000"),
        (Lists([1], None, ["a"], [Item(2, "b")], []), 1, "02 00000001 00 02 02 61 02 0002 02 62 00 01 00"),
        (Lists(list(range(9)), list(range(10))), 1, "0a" + "".join(f"{n:08x}" for n in range(9)) + "0b"
            + "".join(f"{n:02x}" for n in range(10)) + "01 01 00 00"),
        # W17: a nullable structure has a byte before it
        (Nested(Item(1), None), 0, "0001 ff"),
        (Nested(Item(1), Item(2)), 0, "0001 01 0002"),
        (Nested(Item(1, "a"), Item(2, "b")), 1, "0001 02 61 00 01 0002 02 62 00 00"),
    ],
    ids=str,
)  # fmt: skip
def test_bytes_of_a_value(message: Message, version: int, hexadecimal: str) -> None:
    encoded = bytes.fromhex(hexadecimal)
    assert encode(message, version) == encoded
    assert decode(type(message), version, encoded) == message


def test_any_nonzero_byte_is_true() -> None:  # W12
    decoded = decode(Numbers, 0, b"\x02" + bytes(15))
    assert decoded.flag is True


def test_types_of_what_is_decoded() -> None:
    assert type(decode(Id, 0, bytes(16)).id) is Uuid
    data = bytes.fromhex("00000002 6162 00000001 63 00000000")
    binary = decode(Binary, 0, bytearray(data))
    assert type(binary.data) is bytes
    assert binary.maybe == b"c"
    batches = decode(Batches, 0, data[:11])
    assert isinstance(batches.data, memoryview)
    assert batches.data.obj == data[:11]  # a view, so that a response is not copied
    assert batches.data.readonly


def test_a_varint_need_not_be_the_shortest() -> None:  # Java reads it too
    assert decode(Text, 1, bytes.fromhex("8200 61 8000 8000")) == Text("a")
    assert decode(Text, 1, bytes.fromhex("8280808000 61 00 00")) == Text("a")


@pytest.mark.parametrize(
    "cls,version,hexadecimal,path,reason",
    [
        (Numbers, 0, "", "flag", "needs 1 bytes, 0 left"),
        (Numbers, 0, "01 02 03", "small", "needs 2 bytes, 1 left"),
        (Numbers, 0, "01 02 0304 05060708 01020304050607", "big", "needs 8 bytes, 7 left"),
        (Id, 0, "00" * 15, "id", "needs 16 bytes, 15 left"),
        # W13: at most 5 bytes, at most 32 bits
        (Text, 1, "", "text", "varint is cut off"),
        (Text, 1, "ffff", "text", "varint is cut off"),
        (Text, 1, "ffffffffff01", "text", "varint is longer than 5 bytes"),
        (Text, 1, "ffffffff1f", "text", "varint exceeds 32 bits"),
        # W15: null where it may not be
        (Text, 0, "ffff", "text", "is null where null is not allowed"),
        (Text, 1, "00", "text", "is null where null is not allowed"),
        (Binary, 0, "ffffffff", "data", "is null where null is not allowed"),
        (Binary, 1, "00", "data", "is null where null is not allowed"),
        (Lists, 0, "ffffffff", "numbers", "is null where null is not allowed"),
        (Lists, 0, "00000000 00000000 ffffffff", "names", "is null where null is not allowed"),
        # W16: lengths and counts against what is left, before anything is allocated
        (Text, 0, "0003 6161", "text", "length 3 exceeds the 2 bytes left"),
        (Text, 0, "fffe", "text", "length -2 is negative"),
        (Text, 0, "7f", "text", "needs 2 bytes, 1 left"),
        (Text, 1, "04 6161", "text", "length 3 exceeds the 2 bytes left"),
        (Text, 1, "ffffffff0f", "text", "length 4294967294 exceeds the 0 bytes left"),
        (Binary, 0, "7fffffff", "data", "length 2147483647 exceeds the 0 bytes left"),
        (Binary, 0, "80000000", "data", "length -2147483648 is negative"),
        (Binary, 0, "0000", "data", "needs 4 bytes, 2 left"),
        (Batches, 0, "00000005 61", "data", "length 5 exceeds the 1 bytes left"),
        (Batches, 0, "fffffffe", "data", "length -2 is negative"),
        (Lists, 0, "7fffffff", "numbers", "count 2147483647 exceeds the 0 bytes left"),
        (Lists, 0, "00000002 01020304", "numbers", "needs 8 bytes, 4 left"),
        (Lists, 0, "fffffffe", "numbers", "count -2 is negative"),
        (Lists, 1, "01 00 ffffffff0f", "names", "count 4294967294 exceeds the 0 bytes left"),
        (Lists, 0, "00000000 00000000 00000002 0001 61 0002 62", "names[1]", "length 2 exceeds the 1 bytes left"),
        (Lists, 0, "00000000 00000000 00000001 0001", "names[0]", "length 1 exceeds the 0 bytes left"),
        # a count against the shortest elements that there could be
        (Lists, 0, "00000000 00000000 00000000 00000002 0001 02", "items",
            "count 2 exceeds the 3 bytes left, at 2 or more apiece"),
        (Lists, 0, "00000000 00000000 00000000 00000001", "items",
            "count 1 exceeds the 0 bytes left, at 2 or more apiece"),
        (Lists, 0, "00000000 00000000 00000002 0000 00", "names",
            "count 2 exceeds the 3 bytes left, at 2 or more apiece"),
        (Lists, 1, "01 00 01 03 0001 01 00 0001 01", "items", "count 2 exceeds the 7 bytes left, at 4 or more apiece"),
        (Lists, 1, "01 00 01 03 0001 02 61 00 0001 01", "items[1].tagged fields", "varint is cut off"),
        # a string is UTF-8, and no longer than Java allows
        (Text, 0, "0002 c328", "text", "not UTF-8: invalid continuation byte at byte 0"),
        (Text, 0, "0003 61eda0", "text", "not UTF-8: invalid continuation byte at byte 1"),
        (Text, 1, "818002" + "61" * 32768, "text", "length 32768 exceeds the 32767 bytes of a string"),
        # W17
        (Nested, 0, "0001", "maybe", "needs 1 bytes, 0 left"),
        (Nested, 0, "0001 02 0003", "maybe", "the marker of a nullable structure is 2, not 1 or -1"),
        (Nested, 0, "0001 01 00", "maybe.number", "needs 2 bytes, 1 left"),
    ],
)  # fmt: skip
def test_bytes_that_are_refused(cls: type[Message], version: int, hexadecimal: str, path: str, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(cls, version, bytes.fromhex(hexadecimal))
    assert str(caught.value) == f"{cls.__name__} v{version}: {path}: {reason}"
    assert (caught.value.path, caught.value.reason) == (path, reason)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("message", [Lists(names=[""] * 9), Lists(items=[Item()] * 9), Lists([0] * 9)], ids=repr)
def test_a_count_of_the_shortest_elements_is_taken(message: Message, version: int) -> None:
    assert decode(type(message), version, encode(message, version)) == message


@pytest.mark.parametrize("version,hexadecimal", [(0, "ffffffff ffffffff"), (1, "00 00 00")])
def test_null_records_are_none_even_where_they_should_not_be(version: int, hexadecimal: str) -> None:  # W15
    assert decode(Batches, version, bytes.fromhex(hexadecimal)) == Batches(None, None)


def test_records_that_may_not_be_null_are_written_empty() -> None:  # W15
    assert encode(Batches(None, None), 0) == bytes.fromhex("00000000 ffffffff")


def test_any_negative_marker_is_no_structure() -> None:  # W17
    assert decode(Nested, 0, bytes.fromhex("0001 80")) == Nested(Item(1), None)


@pytest.mark.parametrize("data", [b"ab", bytearray(b"ab"), memoryview(b"ab")])
def test_binary_data_may_be_any_buffer(data: Any) -> None:
    assert encode(Binary(data), 1) == bytes.fromhex("03 6162 00 01 00")
    assert encode(Batches(data), 1) == bytes.fromhex("03 6162 00 00")


@pytest.mark.parametrize("version", [0, 1])
def test_a_tuple_is_as_good_as_a_list(version: int) -> None:
    given: Any = ((1, 2), None, ("a",), (Item(3),))
    assert encode(Lists(*given), version) == encode(Lists([1, 2], None, ["a"], [Item(3)]), version)


def test_an_empty_tuple_is_as_good_as_no_list() -> None:
    given: Any = ()
    assert encode(Changing(entries=given, listed=given), 2) == encode(Changing(), 2)
    assert encode(Tagged(numbers=given), 1) == encode(Tagged(), 1)


def test_the_longest_string() -> None:
    text = "a" * 32767
    assert decode(Text, 0, encode(Text(text), 0)).text == text
    assert decode(Text, 1, encode(Text(text), 1)).text == text


WRONG: Any = object()


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    "message,path,reason",
    [
        (Numbers(tiny=128), "tiny", "128 does not fit int8"),
        (Numbers(small=-32769), "small", "-32769 does not fit int16"),
        (Numbers(middle=1 << 31), "middle", "2147483648 does not fit int32"),
        (Numbers(big=1 << 63), "big", "9223372036854775808 does not fit int64"),
        (Numbers(big=1 << 40000), "big", "int does not fit int64"),  # Python would not even print it
        (Numbers(big=WRONG), "big", "object does not fit int64"),
        (Numbers(flag=WRONG), "flag", "object does not fit bool"),
        (Numbers(tiny=None), "tiny", "NoneType does not fit int8"),  # type: ignore[arg-type]
        (Id(b"123"), "id", "expected a Uuid of 16 bytes, not bytes"),  # type: ignore[arg-type]
        (Id(WRONG), "id", "expected a Uuid of 16 bytes, not object"),
        (Text(None), "text", "may not be None"),  # type: ignore[arg-type]
        (Text(b"ab"), "text", "expected a str, not bytes"),  # type: ignore[arg-type]
        (Text("\ud800"), "text", "can't be written as UTF-8: surrogates not allowed"),
        (Text("\u00e4" * 16384), "text", "length 32768 exceeds the 32767 bytes of a string"),
        (Binary(None), "data", "may not be None"),  # type: ignore[arg-type]
        (Binary("ab"), "data", "expected bytes, not str"),  # type: ignore[arg-type]
        (Batches(WRONG), "data", "expected bytes, not object"),
        (Lists(None), "numbers", "may not be None"),  # type: ignore[arg-type]
        (Lists({1}), "numbers", "expected a list, not set"),  # type: ignore[arg-type]
        (Lists([1, 1 << 31]), "numbers[1]", "2147483648 does not fit int32"),
        (Lists(maybe=[1, 2, None]), "maybe[2]", "NoneType does not fit int8"),  # type: ignore[list-item]
        (Lists(names=None), "names", "may not be None"),  # type: ignore[arg-type]
        (Lists(names="ab"), "names", "expected a list, not str"),  # type: ignore[arg-type]
        (Lists(names=["a", None]), "names[1]", "may not be None"),  # type: ignore[list-item]
        (Lists(items=[Item(), Item(1 << 15)]), "items[1].number", "32768 does not fit int16"),
        (Lists(items=[Numbers()]), "items[0]", "expected a Item, not Numbers"),  # type: ignore[list-item]
        (Nested(None), "item", "expected a Item, not NoneType"),  # type: ignore[arg-type]
        (Nested(Item(), WRONG), "maybe", "expected a Item, not object"),
    ],
)
def test_values_that_are_refused(message: Message, version: int, path: str, reason: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(message, version)
    assert str(caught.value) == f"{type(message).__name__} v{version}: {path}: {reason}"
    assert (caught.value.path, caught.value.reason) == (path, reason)


@pytest.mark.parametrize(
    "message,version,text",
    [
        (MetadataRequest(None), 0, "topics: may not be None before version 1"),
        (MetadataRequest([MetadataRequestTopic(name=None)]), 9, "topics[0].name: may not be None before version 10"),
        (FetchResponse(responses=[FetchableTopicResponse(None)]), 12, "responses[0].topic: may not be None"),  # type: ignore[arg-type]
        (Later(None), 0, "data: may not be None before version 2"),
        (Later(numbers=None), 1, "numbers: may not be None before version 2"),
    ],
)  # fmt: skip
def test_a_none_that_other_versions_allow(message: Message, version: int, text: str) -> None:  # W15
    with pytest.raises(EncodeError) as caught:
        encode(message, version)
    assert str(caught.value) == f"{type(message).__name__} v{version}: {text}"


PASSWORD: Any = "hunter2"


@pytest.mark.parametrize(
    "message",
    [
        Numbers(big=PASSWORD),
        Id(PASSWORD),
        Text(PASSWORD.encode()),
        Text("hunter2\ud800"),
        Text("hunter2" * 9999),
        Binary(PASSWORD),
        Lists(numbers=[PASSWORD]),
        Lists(names=[PASSWORD.encode()]),
        Lists(names=PASSWORD),
        Nested(PASSWORD),
    ],
)
def test_an_error_never_shows_the_value(message: Message) -> None:  # it may be a password in the wrong field
    with pytest.raises(EncodeError) as caught:
        encode(message, 0)
    assert "hunter2" not in f"{caught.value} {caught.value!r}"


def test_an_undecodable_string_is_not_shown() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(Text, 0, b"\x00\x08hunter2\xff")
    assert "hunter2" not in f"{caught.value} {caught.value!r}"
