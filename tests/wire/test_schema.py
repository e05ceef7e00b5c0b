"""Declarations as they are read, and what a structure shows of itself."""

from __future__ import annotations

import pytest

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import Range, TaggedField, Versions, declared_fields
from tests.wire.samples import Batches, Binary, Changing, Id, Item, Lists, Nested, Numbers, Point, Tagged, Text


@pytest.mark.parametrize(
    "text,expected",
    [
        ("", Range(0, 32767)),
        ("4+", Range(4, 32767)),
        ("0-12", Range(0, 12)),
        ("7", Range(7, 7)),
        ("none", Range(1, 0)),
    ],
)
def test_ranges(text: str, expected: Range) -> None:
    assert Range.parse(text) == expected


def test_what_is_in_a_range() -> None:
    assert [v for v in range(10) if v in Range.parse("3-5")] == [3, 4, 5]
    assert not any(v in Range.parse("none") for v in range(10))
    text: object = "4"
    assert text not in Range.parse("")


@pytest.mark.parametrize("text,shown", [("5+", "5 or later"), ("0-12", "0 to 12"), ("7", "7")])
def test_how_a_range_is_said(text: str, shown: str) -> None:
    assert str(Range.parse(text)) == shown


def test_versions() -> None:
    versions = Versions(4, 18, flexible=12)
    assert [v for v in range(30) if v in versions] == list(range(4, 19))
    text: object = "4"
    assert text not in versions
    assert str(versions) == "4-18"
    assert str(Versions(3, 3)) == "3"
    assert [v for v in range(4, 19) if versions.is_flexible(v)] == list(range(12, 19))  # W4
    assert not Versions(0, 1).is_flexible(1)  # W6


def test_a_field_as_the_codec_sees_it() -> None:
    fields = {field.name: field for field in declared_fields(Tagged)}
    assert list(fields) == ["number", "before", "text", "numbers", "flag", "id", "point"]
    number = fields["number"]
    assert (number.kind, number.tag, number.ignorable, number.default) == ("int32", 5, True, -1)
    assert (number.versions, number.nullable) == (Range(1, 32767), Range(1, 0))
    assert (fields["numbers"].kind, fields["numbers"].of, fields["numbers"].struct) == ("array", "int32", None)
    assert (fields["point"].kind, fields["point"].of, fields["point"].struct) == ("struct", "", Point)
    assert (fields["text"].nullable, fields["text"].default) == (Range(1, 32767), None)
    assert fields["id"].make_default() == Uuid.ZERO
    items = {field.name: field for field in declared_fields(Lists)}["items"]
    assert (items.of, items.struct) == ("struct", Item)


def test_defaults_are_not_shared() -> None:
    assert Lists().numbers is not Lists().numbers
    assert Nested().item is not Nested().item
    (field,) = (field for field in declared_fields(Changing) if field.name == "entries")
    assert field.make_default() is not field.make_default()


def test_a_repr_shows_what_is_not_at_its_default() -> None:
    assert repr(Numbers()) == "Numbers()"
    assert repr(Numbers(middle=7, big=0)) == "Numbers(middle=7)"
    assert repr(Text("a", "b")) == "Text(text='a', maybe='b')"
    assert repr(Nested(Item(1))) == "Nested(item=Item(number=1))"
    assert repr(Lists([1], items=[Item()])) == "Lists(numbers=[1], items=[Item()])"
    tagged = Tagged(unknown_tagged_fields=(TaggedField(9, b"x"),))
    assert repr(tagged) == "Tagged(unknown_tagged_fields=(TaggedField(tag=9, data=b'x'),))"
    assert repr(Id(Uuid.parse("AAAAAAAAAAAAAAAAAAAAAQ"))) == "Id(id=Uuid('AAAAAAAAAAAAAAAAAAAAAQ'))"


def test_a_repr_hides_secrets_and_record_data() -> None:
    assert repr(Binary(hidden=b"hunter2")) == "Binary(hidden=...)"
    assert repr(Batches(b"much")) == "Batches(data=...)"


def test_a_structure_is_compared_by_value_and_takes_no_other_attribute() -> None:
    assert Numbers(tiny=1) == Numbers(tiny=1) != Numbers(tiny=2)
    with pytest.raises(AttributeError):
        Numbers().tinny = 1  # type: ignore[attr-defined]


def test_unknown_tagged_fields_are_given_by_name_only() -> None:
    with pytest.raises(TypeError):
        Id(Uuid.ZERO, (TaggedField(9, b""),))  # type: ignore[call-arg]
