"""Small declarations for the codec's tests: version 0 is plain, version 1 flexible, as far as they have one."""
# ruff: noqa: RUF009  # the calls are declarations, which stand for dataclass fields

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import (
    Buffer,
    Message,
    Struct,
    Versions,
    array,
    binary,
    boolean,
    int8,
    int16,
    int32,
    int64,
    records,
    string,
    struct,
    uuid,
)

BOTH = Versions(0, 1, flexible=1)


@dataclass(slots=True, repr=False)
class Numbers(Message):
    VERSIONS = BOTH

    flag: bool = boolean()
    tiny: int = int8()
    small: int = int16()
    middle: int = int32(default=-1)
    big: int = int64()


@dataclass(slots=True, repr=False)
class Text(Message):
    VERSIONS = BOTH

    text: str = string()
    maybe: str | None = string(nullable="0+", default=None)


@dataclass(slots=True, repr=False)
class Old(Message):
    """A text whose length stays in the long form, as `client_id`'s does."""

    VERSIONS = BOTH

    text: str | None = string(nullable="0+", compact=False)


@dataclass(slots=True, repr=False)
class Binary(Message):
    VERSIONS = BOTH

    data: bytes = binary()
    maybe: bytes | None = binary(nullable="0+", default=None)
    hidden: bytes = binary(secret=True)


@dataclass(slots=True, repr=False)
class Batches(Message):
    VERSIONS = BOTH

    data: Buffer | None = records()
    maybe: Buffer | None = records(nullable="0+")


@dataclass(slots=True, repr=False)
class Id(Message):
    VERSIONS = BOTH

    id: Uuid = uuid()


@dataclass(slots=True, repr=False)
class Item(Struct):
    number: int = int16()
    name: str = string("1+")


@dataclass(slots=True, repr=False)
class Later(Message):
    """What may be None from some version on."""

    VERSIONS = Versions(0, 2)

    data: bytes | None = binary(nullable="2+")
    numbers: list[int] | None = array(of="int8", nullable="2+")


@dataclass(slots=True, repr=False)
class Lists(Message):
    VERSIONS = BOTH

    numbers: list[int] = array(of="int32")
    maybe: list[int] | None = array(of="int8", nullable="0+", default=None)
    names: list[str] = array(of="string")
    items: list[Item] = array()
    rest: list[Item] | None = array(nullable="0+", default=None)


@dataclass(slots=True, repr=False)
class Nested(Message):
    VERSIONS = BOTH

    item: Item = struct(factory=lambda: Item())
    maybe: Item | None = struct(nullable="0+")


@dataclass(slots=True, repr=False)
class Point(Struct):
    x: int = int32(default=-1)
    y: int = int32(default=-1)


@dataclass(slots=True, repr=False)
class Tagged(Message):
    """Tags do not stand in the order of the declarations."""

    VERSIONS = BOTH

    number: int = int32("1+", default=-1, tag=5, ignorable=True)
    before: int = int8()
    text: str | None = string("1+", nullable="1+", default=None, tag=0)
    numbers: list[int] = array("1+", of="int32", tag=2)
    flag: bool = boolean("1+", tag=3)
    id: Uuid = uuid("1+", tag=4)
    point: Point | None = struct("1+", tag=1)


@dataclass(slots=True, repr=False)
class Entry(Struct):
    number: int = int16()


@dataclass(slots=True, repr=False)
class Changing(Message):
    """Fields that come and go."""

    VERSIONS = Versions(2, 6, flexible=5)

    always: int = int8()
    later: int = int8("3+", default=-1)
    between: str = string("3-4")
    once: int = int16("4")
    dropped: int = int32("4+", default=-1, ignorable=True)
    listed: list[Entry] = array("5+")
    entries: list[Entry] = array("2-5", ignorable=True)
