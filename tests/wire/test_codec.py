"""Structures across versions: fields that come and go, tagged fields, and how an error says where it is."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from dekaf_proto.errors import DecodeError, EncodeError, UnsupportedVersionError
from dekaf_proto.messages.consumer_group_heartbeat import (
    Assignment,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)
from dekaf_proto.messages.create_partitions import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from dekaf_proto.messages.create_topics import CreatableTopic, CreateTopicsRequest
from dekaf_proto.messages.fetch import (
    FetchableTopicResponse,
    FetchResponse,
    PartitionData,
)
from dekaf_proto.messages.join_group import JoinGroupRequest
from dekaf_proto.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from dekaf_proto.types import Uuid
from dekaf_proto.wire import decode, encode
from dekaf_proto.wire.schema import Message, TaggedField
from tests.wire.samples import Batches, Changing, Entry, Id, Item, Lists, Nested, Numbers, Point, Tagged, Text

# ------------------------------------------------------------------------------------------------------------ versions


@pytest.mark.parametrize(
    "version,hexadecimal",
    [
        (2, "01 00000001 0009"),
        (3, "01 02 0001 62 00000001 0009"),
        (4, "01 02 0001 62 0004 00000005 00000001 0009"),
        (5, "01 02 00000005 01 02 0009 00 00"),
        (6, "01 02 00000005 01 00"),
    ],
)
def test_each_version_has_its_fields(version: int, hexadecimal: str) -> None:
    message = Changing(always=1)
    if version >= 3:
        message.later = 2
    if 3 <= version <= 4:
        message.between = "b"
    if version == 4:
        message.once = 4
    message.dropped = 5  # ignorable
    message.entries = [Entry(9)]  # ignorable
    encoded = bytes.fromhex(hexadecimal)
    assert encode(message, version) == encoded

    decoded = decode(Changing, version, encoded)
    if version < 4:
        message.dropped = -1  # back at the default
    if version == 6:
        message.entries = []
    assert decoded == message


def test_a_version_that_lacks_an_ignorable_field_drops_it() -> None:  # W19
    assert encode(Changing(dropped=5), 2) == encode(Changing(), 2)
    assert encode(Tagged(number=7), 0) == b"\0"


@pytest.mark.parametrize(
    "message,version,path,needed",
    [
        (Changing(later=0), 2, "later", "3 or later"),
        (Changing(between="x"), 2, "between", "3 to 4"),
        (Changing(between="x"), 5, "between", "3 to 4"),
        (Changing(once=1), 3, "once", "4"),
        (Changing(listed=[Entry()]), 4, "listed", "5 or later"),
        (Tagged(text="x"), 0, "text", "1 or later"),
        (Lists(items=[Item(), Item(1, "x")]), 0, "items[1].name", "1 or later"),
        (Nested(Item(1, "x")), 0, "item.name", "1 or later"),
    ],
)
def test_a_version_that_lacks_any_other_field_refuses_it(
    message: Message, version: int, path: str, needed: str
) -> None:  # W19
    with pytest.raises(UnsupportedVersionError) as caught:
        encode(message, version)
    assert str(caught.value) == f"{type(message).__name__} v{version}: {path} needs version {needed}"
    assert caught.value.needed == needed


def test_a_real_message_says_what_it_needs() -> None:  # W19
    message = JoinGroupRequest(group_id="g", group_instance_id="i")
    assert encode(message, 5)
    with pytest.raises(
        UnsupportedVersionError, match=r"^JoinGroupRequest v4: group_instance_id needs version 5 or later$"
    ):
        encode(message, 4)

    partition = OffsetCommitRequestPartition(3, 7, committed_leader_epoch=2)  # ignorable
    commit = OffsetCommitRequest("g", topics=[OffsetCommitRequestTopic("t", partitions=[partition])])
    assert len(encode(commit, 6)) == len(encode(commit, 5)) + 4
    commit.group_instance_id = "i"
    with pytest.raises(
        UnsupportedVersionError, match=r"^OffsetCommitRequest v6: group_instance_id needs version 7 or later$"
    ):
        encode(commit, 6)


@pytest.mark.parametrize("version", [1, 7, -1])
def test_there_is_no_such_version(version: int) -> None:  # W26, W28
    text = f"^Changing has versions 2-6, not {version}$"
    with pytest.raises(UnsupportedVersionError, match=text) as caught:
        encode(Changing(), version)
    assert caught.value.needed == "2-6"
    with pytest.raises(UnsupportedVersionError, match=text):
        decode(Changing, version, b"")


# ------------------------------------------------------------------------------------------------------- tagged fields


@pytest.mark.parametrize(
    "message,hexadecimal",
    [
        (Tagged(before=1), "01 00"),  # at their defaults: none is written
        (Tagged(number=7), "00 01 05 04 00000007"),
        (Tagged(text="ab"), "00 01 00 03 036162"),
        (Tagged(numbers=[1, 2]), "00 01 02 09 03 00000001 00000002"),
        (Tagged(flag=True), "00 01 03 01 01"),
        (Tagged(id=Uuid(b"0123456789abcdef")), "00 01 04 10 30313233343536373839616263646566"),
        (Tagged(point=Point(3, -1)), "00 01 01 09 00000003 ffffffff 00"),
        # in the order of the tags, not of the declarations; every structure has a section of its own
        (Tagged(7, 1, "a", point=Point(1, 2)), "01 03 00 02 0261 01 09 00000001 00000002 00 05 04 00000007"),
        # unknown ones are kept, and come in their place
        (
            Tagged(
                text="a", flag=True, unknown_tagged_fields=(TaggedField(1 << 20, b"xyz"), TaggedField(1 << 30, b""))
            ),
            "00 04 00 02 0261 03 01 01 808040 03 78797a 8080808004 00",
        ),
        (
            Tagged(point=Point(1, 2, unknown_tagged_fields=(TaggedField(0, b"x"),))),
            "00 01 01 0c 00000001 00000002 01 00 01 78",
        ),
    ],
    ids=str,
)
def test_bytes_of_tagged_fields(message: Tagged, hexadecimal: str) -> None:  # W18
    encoded = bytes.fromhex(hexadecimal)
    assert encode(message, 1) == encoded
    decoded = decode(Tagged, 1, encoded)
    if message.unknown_tagged_fields:
        assert decoded.unknown_tagged_fields == tuple(sorted(message.unknown_tagged_fields))
    assert decoded == message


def test_unknown_tags_are_sorted() -> None:  # W18
    fields = (TaggedField(9, b"n"), TaggedField(6, b"s"))
    decoded = decode(Tagged, 1, encode(Tagged(flag=True, unknown_tagged_fields=fields), 1))
    assert decoded == Tagged(flag=True, unknown_tagged_fields=fields[::-1])


def test_unknown_tags_are_kept_everywhere() -> None:  # W18
    unknown = (TaggedField(77, b"?"),)
    lists = Lists(items=[Item(1, "a", unknown_tagged_fields=unknown)], unknown_tagged_fields=unknown)
    assert decode(Lists, 1, encode(lists, 1)) == lists


def test_a_structure_that_says_nothing_is_none() -> None:  # W18
    assert encode(Tagged(point=Point()), 1) == b"\0\0"
    # A peer may write it all the same.
    assert decode(Tagged, 1, bytes.fromhex("00 01 01 09 ffffffff ffffffff 00")) == Tagged(point=None)


def test_after_a_known_tag_reading_goes_on_where_its_size_ends() -> None:  # W18
    encoded = bytes.fromhex("00 02 03 03 01 ffff 05 04 00000007")
    assert decode(Tagged, 1, encoded) == Tagged(7, flag=True)


@pytest.mark.parametrize(
    "hexadecimal,path,reason",
    [
        ("00", "tagged fields", "varint is cut off"),
        ("00 01", "tagged fields", "varint is cut off"),
        ("00 01 09", "tagged fields", "varint is cut off"),
        ("00 01 09 02 00", "tagged fields", "needs 2 bytes, 1 left"),
        ("00 01 09 ffffffff0f 00", "tagged fields", "needs 4294967295 bytes, 1 left"),
        ("00 02 09 00 09 00", "tagged fields", "tag 9 after tag 9"),
        ("00 02 09 00 03 01 01", "tagged fields", "tag 3 after tag 9"),
        ("00 01 8080808008 00", "tagged fields", "tag 2147483648 exceeds 31 bits"),
        ("00 ffffffff0f 09 00", "tagged fields", "varint is cut off"),
        # a known tag can't read on behind its own size
        ("00 01 05 03 000000 07", "number", "needs 4 bytes, 3 left"),
        ("00 01 00 03 056162 6364", "text", "length 4 exceeds the 2 bytes left"),
        ("00 01 01 08 00000003 ffffffff 00", "point.tagged fields", "varint is cut off"),
        ("00 01 02 05 03 00000001 00000002", "numbers", "needs 8 bytes, 4 left"),
    ],
)
def test_tagged_fields_that_are_refused(hexadecimal: str, path: str, reason: str) -> None:  # W16, W18
    with pytest.raises(DecodeError) as caught:
        decode(Tagged, 1, bytes.fromhex(hexadecimal))
    assert str(caught.value) == f"Tagged v1: {path}: {reason}"


@pytest.mark.parametrize("flag", [False, True])
def test_a_known_tag_can_not_be_written_as_an_unknown_one(flag: bool) -> None:  # W18
    with pytest.raises(EncodeError, match=r"^Tagged v1: unknown_tagged_fields: tag 3 is that of flag$"):
        encode(Tagged(flag=flag, unknown_tagged_fields=(TaggedField(3, b"x"),)), 1)


@pytest.mark.parametrize(
    "message",
    [
        Tagged(unknown_tagged_fields=(TaggedField(9, b""), TaggedField(9, b"x"))),
        Tagged(unknown_tagged_fields=(TaggedField(-1, b""),)),
        Tagged(unknown_tagged_fields=(TaggedField(1 << 31, b""),)),
    ],
)
def test_tags_that_can_not_be_written(message: Tagged) -> None:  # W18
    with pytest.raises(EncodeError) as caught:
        encode(message, 1)
    text = "Tagged v1: unknown_tagged_fields: a tag is given twice, negative or beyond 31 bits"
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "given, text",
    [
        (None, "unknown_tagged_fields: expected a tuple, not NoneType"),
        ({9: b"x"}, "unknown_tagged_fields: expected a tuple, not dict"),
        ((b"x",), "unknown_tagged_fields[0]: expected a TaggedField, not bytes"),
        ((TaggedField(9, b""), (10, b"", b"")), "unknown_tagged_fields[1]: expected a TaggedField, not tuple"),
        (((9.0, b""),), "unknown_tagged_fields[0].tag: expected an int, not float"),
        ((TaggedField(9, b""), ("10", b"")), "unknown_tagged_fields[1].tag: expected an int, not str"),
        (((9, "x"),), "unknown_tagged_fields[0].data: expected bytes, not str"),
        (((9, None),), "unknown_tagged_fields[0].data: expected bytes, not NoneType"),
    ],
)
def test_unknown_tagged_fields_of_a_wrong_type_are_refused(given: Any, text: str) -> None:
    for message, path in (
        (Tagged(unknown_tagged_fields=given), ""),
        (Tagged(point=Point(1, unknown_tagged_fields=given)), "point."),
    ):
        with pytest.raises(EncodeError) as caught:
            encode(message, 1)
        assert str(caught.value) == f"Tagged v1: {path}{text}"


@pytest.mark.parametrize("data", [bytearray(b"xyz"), memoryview(b"xyz"), memoryview(b"zyx")[::-1]])
def test_unknown_tagged_fields_are_taken_as_a_list_and_of_any_buffer(data: Any) -> None:
    given: Any = [TaggedField(9, data)]
    decoded = decode(Tagged, 1, encode(Tagged(unknown_tagged_fields=given), 1))
    assert decoded.unknown_tagged_fields == (TaggedField(9, b"xyz"),)


def test_a_tagged_value_that_is_refused() -> None:
    with pytest.raises(EncodeError, match=r"^Tagged v1: number: 2147483648 does not fit int32$"):
        encode(Tagged(number=1 << 31), 1)
    with pytest.raises(EncodeError, match=r"^Tagged v1: point.x: str does not fit int32$"):
        encode(Tagged(point=Point("1")), 1)  # type: ignore[arg-type]


def test_a_version_without_tags_can_not_carry_any() -> None:
    text = "^Tagged v0: unknown_tagged_fields: the version has no tagged fields$"
    with pytest.raises(EncodeError, match=text):
        encode(Tagged(unknown_tagged_fields=(TaggedField(9, b""),)), 0)
    given: Any = [TaggedField(9, b"")]
    with pytest.raises(EncodeError, match=text):
        encode(Tagged(unknown_tagged_fields=given), 0)


# -------------------------------------------------------------------------------------------------- where an error was


def fetch_response(records: bytes) -> FetchResponse:
    partition = PartitionData(high_watermark=9, records=records)
    topics = [FetchableTopicResponse(topic_id=Uuid(16), partitions=[PartitionData()] * n) for n in (1, 0)]
    return FetchResponse(responses=[*topics, FetchableTopicResponse(partitions=[partition, PartitionData()])])


def test_an_error_names_api_version_and_path() -> None:  # W16
    encoded = encode(fetch_response(b"r" * 9), 13)
    at = encoded.index(b"\x0arrrrrrrrr")
    left = len(encoded) - at - 2
    # The same response with another length before the records: 812, in two bytes.
    altered = encoded[:at] + bytes.fromhex("ad06") + encoded[at + 2 :]
    text = f"FetchResponse v13: responses[2].partitions[0].records: length 812 exceeds the {left} bytes left"
    with pytest.raises(DecodeError) as caught:
        decode(FetchResponse, 13, altered)
    assert str(caught.value) == text
    assert caught.value.what == "FetchResponse v13"
    assert caught.value.path == "responses[2].partitions[0].records"


def test_an_error_in_a_value_names_them_too() -> None:
    response = fetch_response(b"")
    response.responses[2].partitions[1].error_code = 1 << 15
    text = r"^FetchResponse v12: responses\[2\]\.partitions\[1\]\.error_code: 32768 does not fit int16$"
    with pytest.raises(EncodeError, match=text):
        encode(response, 12)
    with pytest.raises(
        EncodeError, match=r"^CreateTopicsRequest v5: topics\[0\]\.assignments: expected a list, not dict$"
    ):
        encode(CreateTopicsRequest([CreatableTopic("t", assignments={})]), 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("message", [Numbers(), Text("a", "b"), Batches(b"x"), Id(), Lists([1]), Nested()], ids=repr)
def test_nothing_may_be_left_over(message: Message, version: int) -> None:  # W10
    encoded = encode(message, version)
    with pytest.raises(DecodeError, match=rf"^{type(message).__name__} v{version}: 2 bytes are left over$") as caught:
        decode(type(message), version, encoded + b"\0\0")
    assert caught.value.path == ""


def test_a_message_as_a_part_of_another_is_refused() -> None:
    with pytest.raises(EncodeError, match=r"^Nested v0: item: expected a Item, not Nested$"):
        encode(Nested(Nested()), 0)  # type: ignore[arg-type]


def test_a_nullable_structure_of_a_real_message() -> None:  # W17
    without = ConsumerGroupHeartbeatResponse(member_id="m", member_epoch=1, heartbeat_interval_ms=5000)
    encoded = encode(without, 0)
    assert encoded.endswith(b"\xff\0")
    assert decode(ConsumerGroupHeartbeatResponse, 0, encoded).assignment is None
    given = ConsumerGroupHeartbeatResponse(assignment=Assignment([TopicPartitions(Uuid(b"x" * 16), [3])]))
    assert encode(given, 0).endswith(b"\x01\x02" + b"x" * 16 + b"\x02\0\0\0\x03\0\0\0")
    assert decode(ConsumerGroupHeartbeatResponse, 0, encode(given, 0)) == given


def test_how_much_memory_a_message_takes_at_worst() -> None:
    """decode's docstring names the factor; this is the structure with the most objects for its bytes."""
    few = [CreatePartitionsTopic(assignments=[CreatePartitionsAssignment()] * 20_000)]
    body = encode(CreatePartitionsRequest(few), 2)
    tracemalloc.start()
    message = decode(CreatePartitionsRequest, 2, body)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert message.topics == few
    assert 40 < size / len(body) < 70


@pytest.mark.parametrize("convert", [bytes, bytearray, memoryview])
def test_any_buffer_is_decoded(convert: type[bytes] | type[bytearray] | type[memoryview]) -> None:
    assert decode(Text, 0, convert(b"\0\x01a\xff\xff")) == Text("a")


@pytest.mark.parametrize("data", [9, "text", None, [0, 0]])
def test_what_is_no_buffer(data: Any) -> None:
    with pytest.raises(TypeError):  # a number would give as many zeros
        decode(Text, 0, data)


def test_a_changing_buffer_is_copied() -> None:
    data = bytearray(b"\0\0\0\x01a\0\0\0\0")
    decoded = decode(Batches, 0, data)
    data[4] = 0
    assert decoded.data == b"a"
