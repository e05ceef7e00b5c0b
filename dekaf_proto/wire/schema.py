"""What the files in `dekaf_proto.messages` are written with: base classes and field declarations.

A message is a slotted dataclass, one class across all its versions. Its fields stand in wire order; the annotation
gives the Python type, and the call beside it says how the field travels:

    throttle_time_ms: int = int32("1+", ignorable=True)
    topics: list[FetchTopic] = array()
    rack: str | None = string("16+", nullable="16+", default=None)

The first argument says which versions have the field (`"4+"`, `"0-12"`, `"7"`; left out: all of them), `nullable` in
which of these it may be None, `tag` makes it a tagged field, and `ignorable` lets the encoder drop it where the version
lacks it (otherwise a value other than the default is refused). A tagged structure is None where it was not sent.

This module only declares. How a declaration becomes bytes is `codec`'s affair.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast, overload

from dekaf_proto.types import Uuid

T = TypeVar("T")
R = TypeVar("R", bound="Response")

#: What the codec takes as binary data; decoding gives `bytes`, and for a `records` field a view of the message.
Buffer = bytes | bytearray | memoryview


class Versions(NamedTuple):
    """The versions of a message that this package speaks: `min` to `max`, both included."""

    min: int
    max: int
    #: The first version with compact lengths and tagged fields, None if there is none.
    flexible: int | None = None
    #: The first version that Kafka does not advertise yet, None if all are stable.
    unstable: int | None = None

    def __contains__(self, version: object) -> bool:
        return isinstance(version, int) and self.min <= version <= self.max

    def __str__(self) -> str:
        return f"{self.min}-{self.max}" if self.min != self.max else str(self.min)

    def is_flexible(self, version: int) -> bool:
        """Whether `version` has compact lengths and tagged fields."""
        return self.flexible is not None and version >= self.flexible


class TaggedField(NamedTuple):
    """A tagged field that the declarations do not know, kept as it came."""

    tag: int
    data: bytes


@dataclass(slots=True, repr=False)
class Struct:
    """A structure inside a message. `unknown_tagged_fields` are kept and written again."""

    unknown_tagged_fields: tuple[TaggedField, ...] = field(default=(), kw_only=True)

    def __repr__(self) -> str:
        """Shows what differs from the default, and neither record data nor secrets."""
        shown = []
        for declared in fields(self):
            value = getattr(self, declared.name)
            default = declared.default if declared.default_factory is MISSING else declared.default_factory()
            if value != default:
                shown.append(f"{declared.name}={value!r}" if declared.repr else f"{declared.name}=...")
        return f"{type(self).__name__}({', '.join(shown)})"


class Message(Struct):
    """A top-level structure, with versions of its own."""

    __slots__ = ()

    VERSIONS: ClassVar[Versions]


class Request(Message, Generic[R]):
    """The body of a request; `R` is the class of its response."""

    __slots__ = ()

    API_KEY: ClassVar[int]


class Response(Message):
    """The body of a response."""

    __slots__ = ()

    API_KEY: ClassVar[int]


# --------------------------------------------------------------------------------------------------- declarations


class _Declaration(NamedTuple):
    """The arguments of a declaration, as they were written."""

    kind: str
    versions: str
    nullable: str
    tag: int | None
    ignorable: bool
    of: str
    compact: bool


def _declare(
    kind: str,
    versions: str,
    default: object,
    *,
    factory: Callable[[], object] | None = None,
    nullable: str = "none",
    tag: int | None = None,
    ignorable: bool = False,
    of: str = "",
    compact: bool = True,
    show: bool = True,
) -> Any:  # a dataclass field, which for the type checker stands in for the default value
    metadata = {"wire": _Declaration(kind, versions, nullable, tag, ignorable, of, compact)}
    if factory is not None:
        return field(default_factory=factory, repr=show, metadata=metadata)
    return field(default=default, repr=show, metadata=metadata)


class _Number(Generic[T]):
    """The declaration of a number of one size."""

    def __init__(self, kind: str, default: T) -> None:
        self._kind = kind
        self._default = default

    def __call__(
        self, versions: str = "", *, default: T | None = None, tag: int | None = None, ignorable: bool = False
    ) -> T:
        value = self._default if default is None else default
        return cast("T", _declare(self._kind, versions, value, tag=tag, ignorable=ignorable))


boolean = _Number("bool", False)
int8 = _Number("int8", 0)
int16 = _Number("int16", 0)
int32 = _Number("int32", 0)
int64 = _Number("int64", 0)


def uuid(versions: str = "", *, tag: int | None = None, ignorable: bool = False) -> Uuid:
    """16 bytes; `Uuid.ZERO` means none."""
    return cast("Uuid", _declare("uuid", versions, Uuid.ZERO, tag=tag, ignorable=ignorable))


@overload
def string(
    versions: str = "",
    *,
    default: str = "",
    tag: int | None = None,
    ignorable: bool = False,
    secret: bool = False,
) -> str: ...
@overload
def string(
    versions: str = "",
    *,
    nullable: str,
    default: str | None = "",
    tag: int | None = None,
    ignorable: bool = False,
    compact: bool = True,
    secret: bool = False,
) -> str | None: ...
def string(
    versions: str = "",
    *,
    nullable: str = "none",
    default: str | None = "",
    tag: int | None = None,
    ignorable: bool = False,
    compact: bool = True,
    secret: bool = False,
) -> str | None:
    """UTF-8 text of at most 32,767 bytes. A `secret` one stays out of the repr; `compact=False` keeps the long form
    of the length in flexible versions too."""
    return cast(
        "str | None",
        _declare(
            "string",
            versions,
            default,
            nullable=nullable,
            tag=tag,
            ignorable=ignorable,
            compact=compact,
            show=not secret,
        ),
    )


@overload
def binary(versions: str = "", *, ignorable: bool = False, secret: bool = False) -> bytes: ...
@overload
def binary(
    versions: str = "",
    *,
    nullable: str,
    default: bytes | None = b"",
    ignorable: bool = False,
    secret: bool = False,
) -> bytes | None: ...
def binary(
    versions: str = "",
    *,
    nullable: str = "none",
    default: bytes | None = b"",
    ignorable: bool = False,
    secret: bool = False,
) -> bytes | None:
    """Bytes. A `secret` field stays out of the repr."""
    return cast(
        "bytes | None",
        _declare("bytes", versions, default, nullable=nullable, ignorable=ignorable, show=not secret),
    )


def records(versions: str = "", *, nullable: str = "none") -> Buffer | None:
    """Record batches, as they are on the wire; `dekaf_proto.records` reads and writes them."""
    return cast("Buffer | None", _declare("records", versions, None, nullable=nullable, show=False))


@overload
def array(versions: str = "", *, of: str = "", tag: int | None = None, ignorable: bool = False) -> list[T]: ...
@overload
def array(
    versions: str = "",
    *,
    of: str = "",
    nullable: str,
    default: tuple[()] | None = (),
    tag: int | None = None,
    ignorable: bool = False,
) -> list[T] | None: ...
def array(
    versions: str = "",
    *,
    of: str = "",
    nullable: str = "none",
    default: tuple[()] | None = (),
    tag: int | None = None,
    ignorable: bool = False,
) -> list[T] | None:
    """A list: of the structure that the annotation names, or `of` a primitive (`"int32"`)."""
    factory = list if default is not None else None
    return cast(
        "list[T] | None",
        _declare("array", versions, None, factory=factory, nullable=nullable, tag=tag, ignorable=ignorable, of=of),
    )


@overload
def struct(versions: str = "", *, factory: Callable[[], T], ignorable: bool = False) -> T: ...
@overload
def struct(
    versions: str = "", *, nullable: str = "none", tag: int | None = None, ignorable: bool = False
) -> T | None: ...
def struct(
    versions: str = "",
    *,
    factory: Callable[[], T] | None = None,
    nullable: str = "none",
    tag: int | None = None,
    ignorable: bool = False,
) -> T | None:
    """The structure that the annotation names."""
    return cast(
        "T | None",
        _declare("struct", versions, None, factory=factory, nullable=nullable, tag=tag, ignorable=ignorable),
    )


# -------------------------------------------------------------------------------------------- reading declarations


class Range(NamedTuple):
    """The versions of which a declaration speaks, both ends included; empty if `first > last`."""

    first: int
    last: int

    def __contains__(self, version: object) -> bool:
        return isinstance(version, int) and self.first <= version <= self.last

    def __str__(self) -> str:
        if self.last == 32767:
            return f"{self.first} or later"
        return f"{self.first} to {self.last}" if self.first < self.last else str(self.first)

    @classmethod
    def parse(cls, text: str) -> Range:
        """Reads `"4+"`, `"0-12"`, `"7"`, `"none"` or `""` (every version)."""
        if text == "none":
            return cls(1, 0)
        if text == "" or text.endswith("+"):
            return cls(int(text[:-1] or 0), 32767)
        first, _, last = text.partition("-")
        return cls(int(first), int(last or first))


class Field(NamedTuple):
    """One declared field of a structure, ready for the codec."""

    name: str
    kind: str  # "bool", "int8" ... "string", "bytes", "records", "uuid", "struct", "array"
    of: str  # for an array what it holds: "struct" or a primitive
    struct: type[Struct] | None
    versions: Range
    nullable: Range
    tag: int | None
    ignorable: bool
    compact: bool
    default: object  # where there is no factory
    factory: Callable[[], object] | None

    def make_default(self) -> object:
        """A default that nobody else holds."""
        return self.default if self.factory is None else self.factory()


_STRUCT_NAME = re.compile(r"(?:list\[)?(\w+)")


def declared_fields(cls: type[Struct]) -> tuple[Field, ...]:
    """The declared fields of a structure, in wire order."""
    result = []
    for declared in fields(cls):
        if "wire" not in declared.metadata:
            continue  # unknown_tagged_fields
        spec: _Declaration = declared.metadata["wire"]
        nested: type[Struct] | None = None
        if spec.kind == "struct" or (spec.kind == "array" and not spec.of):
            match = _STRUCT_NAME.match(str(declared.type))
            assert match is not None
            nested = getattr(sys.modules[cls.__module__], match[1])
        result.append(
            Field(
                declared.name,
                spec.kind,
                (spec.of or "struct") if spec.kind == "array" else "",
                nested,
                Range.parse(spec.versions),
                Range.parse(spec.nullable),
                spec.tag,
                spec.ignorable,
                spec.compact,
                declared.default,
                None if declared.default_factory is MISSING else declared.default_factory,
            )
        )
    return tuple(result)
