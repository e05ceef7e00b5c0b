"""Messages to bytes and back, by the declarations in `dekaf_proto.messages`.

For each pair of structure and version a *plan* is made on first use and kept: neighbouring fields of fixed size are
read and written by one `struct.Struct`, every other field by a small codec object. Nothing is generated and executed.

Decoding is strict: what is short, negative, absurd, not UTF-8, or left over at the end is a `DecodeError` that names
the field (W10, W13-W18). Encoding refuses what does not fit with an `EncodeError`, and a value that the version can't
carry with an `UnsupportedVersionError` (W19).

This module is compiled in wheels. It knows no API in particular.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, TypeVar, cast

from dekaf_proto.errors import DecodeError, EncodeError, UnsupportedVersionError
from dekaf_proto.wire.schema import Buffer, Field, Message, Struct, TaggedField, declared_fields
from dekaf_proto.wire.values import (
    FORMATS,
    PACK_FORMATS,
    ArrayCodec,
    BytesCodec,
    Codec,
    FixedCodec,
    Malformed,
    NumbersCodec,
    Reader,
    RecordsCodec,
    StringCodec,
    UuidCodec,
    as_bytes,
    pack,
    type_name,
    uvarint,
)

M = TypeVar("M", bound=Message)

MAX_TAG: Final = 0x7FFFFFFF  # Java reads tags into an int, and writes no negative ones
_UNKNOWN: Final = "unknown_tagged_fields"


class _StructCodec(Codec):
    """A structure; a nullable one has a byte before it that says whether it is there (W17)."""

    def __init__(self, plan: _Plan, nullable: bool) -> None:
        self._plan = plan
        self._nullable = nullable
        self.smallest = 1 if nullable else plan.smallest

    def decode(self, reader: Reader) -> object:
        if self._nullable:
            marker = reader.data[reader.skip(1)]
            if marker >= 0x80:
                return None
            if marker != 1:
                raise Malformed(f"the marker of a nullable structure is {marker}, not 1 or -1")
        return self._plan.decode(reader)

    def encode(self, out: list[bytes], value: object) -> None:
        if self._nullable:
            if value is None:
                out.append(b"\xff")
                return
            out.append(b"\x01")
        self._plan.encode(out, value)


class _Step:
    """Reads and writes the next field, or the next few, of a structure."""

    #: Bytes that this takes at the least.
    smallest: int = 0

    def decode(self, reader: Reader, values: list[object]) -> None:
        raise NotImplementedError  # pragma: no cover  # every subclass has its own

    def encode(self, out: list[bytes], message: object) -> None:
        raise NotImplementedError  # pragma: no cover  # every subclass has its own


class _FixedStep(_Step):
    """Neighbouring fields of fixed size."""

    def __init__(self, fields: list[Field]) -> None:
        self._names = [f.name for f in fields]
        self._kinds = [f.kind for f in fields]
        reading = struct.Struct(">" + "".join(FORMATS[kind] for kind in self._kinds))
        writing = struct.Struct(">" + "".join(PACK_FORMATS[kind] for kind in self._kinds))
        self._size: int = reading.size
        self.smallest = self._size
        self._unpack: Callable[[bytes, int], tuple[object, ...]] = reading.unpack_from
        self._pack: Callable[..., bytes] = writing.pack
        self._get: Callable[[object], Any] = attrgetter(*self._names)

    def decode(self, reader: Reader, values: list[object]) -> None:
        start = reader.pos
        if reader.end - start < self._size:
            raise self._short(reader)
        reader.pos = start + self._size
        values.extend(self._unpack(reader.data, start))

    def _short(self, reader: Reader) -> Malformed:
        for name, kind in zip(self._names, self._kinds, strict=True):
            size = struct.calcsize(">" + FORMATS[kind])
            left = reader.end - reader.pos
            if size > left:
                return Malformed(f"needs {size} bytes, {left} left", name)
            reader.pos += size
        raise AssertionError("not short at all")  # pragma: no cover  # the sizes add up to the step's

    def encode(self, out: list[bytes], message: object) -> None:
        try:
            if len(self._names) == 1:
                out.append(self._pack(self._get(message)))
            else:
                out.append(self._pack(*self._get(message)))
        except struct.error:
            raise self._misfit(message) from None

    def _misfit(self, message: object) -> Malformed:
        for name, kind in zip(self._names, self._kinds, strict=True):
            try:
                pack(kind, getattr(message, name))
            except Malformed as e:
                return e.inside(name)
        raise AssertionError("they all fit")  # pragma: no cover  # together they would too


class _CodecStep(_Step):
    """One field that has a codec of its own."""

    def __init__(self, name: str, codec: Codec) -> None:
        self._name = name
        self._codec = codec
        self.smallest = codec.smallest

    def decode(self, reader: Reader, values: list[object]) -> None:
        try:
            values.append(self._codec.decode(reader))
        except Malformed as e:
            raise e.inside(self._name) from None

    def encode(self, out: list[bytes], message: object) -> None:
        try:
            self._codec.encode(out, getattr(message, self._name))
        except Malformed as e:
            raise e.inside(self._name) from None


class _DefaultStep(_Step):
    """A field that does not stand here in the message: the version lacks it, or it is tagged."""

    def __init__(self, field: Field) -> None:
        self._default = field.default
        self._factory = field.factory

    def decode(self, reader: Reader, values: list[object]) -> None:
        values.append(self._default if self._factory is None else self._factory())

    def encode(self, out: list[bytes], message: object) -> None:
        pass


class _Tagged:
    """A tagged field that the version has."""

    def __init__(self, field: Field, codec: Codec) -> None:
        assert field.tag is not None
        self.tag: int = field.tag
        self.name = field.name
        self.codec = codec
        self.default = field.make_default()
        #: A structure at its default is not written either.
        self.empty: object = field.struct() if field.struct is not None and field.kind == "struct" else None


class _Absent:
    """A field that the version lacks, and that must then be at its default."""

    def __init__(self, field: Field) -> None:
        self.name = field.name
        self.default = field.make_default()
        self.needed = str(field.versions)


class _Plan:
    """Everything that is to be known of one structure in one version."""

    def __init__(self, cls: type[Struct], version: int, flexible: bool) -> None:
        self._cls = cls
        self._make: Callable[..., Struct] = cls
        self._flexible = flexible
        self._steps: list[_Step] = []
        self._tagged: list[_Tagged] = []
        self._absent: list[_Absent] = []
        fixed: list[Field] = []
        for field in declared_fields(cls):
            if version in field.versions and field.tag is None and field.kind in FORMATS:
                fixed.append(field)
                continue
            if fixed:
                self._steps.append(_FixedStep(fixed))
                fixed = []
            if version not in field.versions:
                self._steps.append(_DefaultStep(field))
                if not field.ignorable:
                    self._absent.append(_Absent(field))
            elif field.tag is not None:
                self._steps.append(_DefaultStep(field))
                self._tagged.append(_Tagged(field, _codec_for(field, version, flexible)))
            else:
                self._steps.append(_CodecStep(field.name, _codec_for(field, version, flexible)))
        if fixed:
            self._steps.append(_FixedStep(fixed))
        #: Bytes of the shortest such structure.
        self.smallest: int = sum([step.smallest for step in self._steps]) + (1 if flexible else 0)

    def decode(self, reader: Reader) -> object:
        values: list[object] = []
        for step in self._steps:
            step.decode(reader, values)
        message = self._make(*values)
        if self._flexible:
            if reader.pos < reader.end and reader.data[reader.pos] == 0:
                reader.pos += 1  # as good as always: no tagged field at all
            else:
                self._decode_tags(reader, message)
        return message

    def _decode_tags(self, reader: Reader, message: Struct) -> None:
        unknown: list[TaggedField] = []
        last = -1
        try:
            count = reader.uvarint()
        except Malformed as e:
            raise e.inside("tagged fields") from None
        for _ in range(count):
            name = "tagged fields"
            try:
                tag = reader.uvarint()
                if tag <= last:
                    raise Malformed(f"tag {tag} after tag {last}")
                if tag > MAX_TAG:
                    raise Malformed(f"tag {tag} exceeds 31 bits")
                last = tag
                size = reader.uvarint()
                start = reader.skip(size)
                known = self._known(tag)
                if known is None:
                    unknown.append(TaggedField(tag, reader.data[start : start + size]))
                    continue
                name = known.name
                end = reader.end
                reader.pos, reader.end = start, start + size
                value = known.codec.decode(reader)
                # A structure that says nothing is none, also where a peer took the trouble to write it.
                setattr(message, name, known.default if known.empty is not None and value == known.empty else value)
                reader.pos, reader.end = start + size, end
            except Malformed as e:
                raise e.inside(name) from None
        if unknown:
            message.unknown_tagged_fields = tuple(unknown)

    def _known(self, tag: int) -> _Tagged | None:
        for tagged in self._tagged:
            if tagged.tag == tag:
                return tagged
        return None

    def encode(self, out: list[bytes], message: object) -> None:
        if not isinstance(message, Struct) or type(message) is not self._cls:
            raise Malformed(f"expected a {self._cls.__name__}, not {type_name(message)}")
        for absent in self._absent:
            value = getattr(message, absent.name)
            if value != absent.default and not _is_empty_tuple(value, absent.default):
                raise Malformed("", absent.name, absent.needed)
        for step in self._steps:
            step.encode(out, message)
        untyped: Any = message  # compiled code would check by itself, with a TypeError, what is declared
        if self._flexible:
            self._encode_tags(out, untyped)
        elif untyped.unknown_tagged_fields:
            raise Malformed("the version has no tagged fields", _UNKNOWN)

    def _encode_tags(self, out: list[bytes], message: Any) -> None:
        encoded: list[tuple[int, bytes]] = []
        for tagged in self._tagged:
            value = getattr(message, tagged.name)
            if value == tagged.default or (tagged.empty is not None and value == tagged.empty):
                continue
            if _is_empty_tuple(value, tagged.default):
                continue
            parts: list[bytes] = []
            try:
                tagged.codec.encode(parts, value)
            except Malformed as e:
                raise e.inside(tagged.name) from None
            encoded.append((tagged.tag, b"".join(parts)))
        given = message.unknown_tagged_fields
        if given != ():
            for tag, data in _unknown_tags(given):
                known = self._known(tag)
                if known is not None:
                    raise Malformed(f"tag {tag} is that of {known.name}", _UNKNOWN)
                encoded.append((tag, data))
        if not encoded:
            out.append(b"\0")
            return
        encoded.sort()
        out.append(uvarint(len(encoded)))
        last = -1
        for tag, data in encoded:
            if not last < tag <= MAX_TAG:
                raise Malformed("a tag is given twice, negative or beyond 31 bits", _UNKNOWN)
            last = tag
            out.append(uvarint(tag))
            out.append(uvarint(len(data)))
            out.append(data)


def _unknown_tags(given: object) -> list[tuple[int, bytes]]:
    """What was given as unknown tagged fields, if it can be that."""
    if not isinstance(given, (list, tuple)):
        raise Malformed(f"expected a tuple, not {type_name(given)}", _UNKNOWN)
    result: list[tuple[int, bytes]] = []
    for i, item in enumerate(given):
        if not isinstance(item, tuple) or len(item) != 2:
            raise Malformed(f"expected a TaggedField, not {type_name(item)}", f"{_UNKNOWN}[{i}]")
        tag: object = item[0]
        data: object = item[1]
        if not isinstance(tag, int):
            raise Malformed(f"expected an int, not {type_name(tag)}", f"{_UNKNOWN}[{i}].tag")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise Malformed(f"expected bytes, not {type_name(data)}", f"{_UNKNOWN}[{i}].data")
        result.append((tag, as_bytes(data)))
    return result


def _is_empty_tuple(value: object, default: object) -> bool:
    """Whether a list at its default, the empty one, was given as a tuple."""
    return value == () and default == []


def _codec_for(field: Field, version: int, flexible: bool) -> Codec:
    compact = flexible and field.compact
    nullable = version in field.nullable
    others = "" if nullable else _null_versions(field, version)
    if field.kind != "array":
        return _codec_of_kind(field.kind, field.struct, version, flexible, compact, nullable, others)
    if field.of in FORMATS:
        return NumbersCodec(field.of, compact, nullable, others)
    element = _codec_of_kind(field.of, field.struct, version, flexible, compact, False, "")
    return ArrayCodec(element, compact, nullable, others)


def _null_versions(field: Field, version: int) -> str:
    """For an error: where the versions begin in which the field may be None; empty where none comes later."""
    first = max(field.nullable.first, field.versions.first)
    return f" before version {first}" if version < first <= field.nullable.last else ""


def _codec_of_kind(
    kind: str,
    nested: type[Struct] | None,
    version: int,
    flexible: bool,
    compact: bool,
    nullable: bool,
    null_versions: str,
) -> Codec:
    if kind == "string":
        return StringCodec(compact, nullable, null_versions)
    if kind == "bytes":
        return BytesCodec(compact, nullable, null_versions)
    if kind == "records":
        return RecordsCodec(compact, nullable)
    if kind == "uuid":
        return UuidCodec()
    if nested is not None:
        return _StructCodec(_plan(nested, version, flexible), nullable)
    return FixedCodec(kind)


_plans: Final[dict[tuple[type[Struct], int], _Plan]] = {}


def _plan(cls: type[Struct], version: int, flexible: bool) -> _Plan:
    key = (cls, version)
    plan = _plans.get(key)
    if plan is None:
        plan = _plans[key] = _Plan(cls, version, flexible)
    return plan


def _plan_of(cls: type[Message], version: int) -> _Plan:
    plan = _plans.get((cls, version))
    if plan is None:
        versions = cls.VERSIONS
        if version not in versions:
            raise UnsupportedVersionError(f"{cls.__name__} has versions {versions}, not {version}", str(versions))
        plan = _plan(cls, version, versions.is_flexible(version))
    return plan


# ------------------------------------------------------------------------------------------------------ the surface


def encode(message: Message, version: int) -> bytes:
    """The body of `message` in `version`, without size and header.

    Raises EncodeError where a value does not fit its field, and UnsupportedVersionError where the version does not
    exist or lacks a field that is set and may not be dropped.

    >>> from dekaf_proto.messages.heartbeat import HeartbeatRequest
    >>> encode(HeartbeatRequest(group_id="g", generation_id=7, member_id="m"), 0).hex()
    '0001670000000700016d'
    """
    cls = type(message)
    out: list[bytes] = []
    try:
        _plan_of(cls, version).encode(out, message)
    except Malformed as e:
        what = f"{cls.__name__} v{version}"
        if e.needed:
            raise UnsupportedVersionError(f"{what}: {e.path} needs version {e.needed}", e.needed) from None
        raise EncodeError(what, e.path, e.reason) from None
    return b"".join(out)


def decode(cls: type[M], version: int, data: Buffer) -> M:
    """The message of class `cls` that `data`, a body without size and header, holds in `version`.

    `records` fields are views of `data` (of a copy, unless `data` is `bytes`). All other fields become objects, and at
    worst, of nothing but structures that take two or three bytes each, these take about 60 times the memory of `data`:
    mind that where a limit is set for the frames of peers that are not trusted. Raises DecodeError where the bytes are
    not such a message, all of them, and UnsupportedVersionError where there is no such version.
    """
    return decode_rest(cls, version, Reader(as_bytes(data)))


def decode_rest(cls: type[M], version: int, reader: Reader) -> M:
    """The message that all that `reader` has left is."""
    message = decode_part(cls, version, reader)
    if reader.pos != reader.end:
        raise DecodeError(f"{cls.__name__} v{version}", "", f"{reader.end - reader.pos} bytes are left over")
    return message


def decode_part(cls: type[M], version: int, reader: Reader) -> M:
    """The message that begins where `reader` stands."""
    plan = _plan_of(cls, version)
    try:
        return cast("M", plan.decode(reader))
    except Malformed as e:
        raise DecodeError(f"{cls.__name__} v{version}", e.path, e.reason) from None
