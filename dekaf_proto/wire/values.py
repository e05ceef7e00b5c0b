"""Single values as bytes and back: the parts that `codec` puts messages together from.

Every length is held against the bytes that are left before anything is allocated (W16). What is wrong becomes a
`Malformed`, to which each structure and array around it adds its name; `codec` makes the public error of it.

This module is compiled in wheels.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from dekaf_proto.types import Uuid

MAX_STRING: Final = 32767  # Java refuses longer ones in the compact form too

_INT16: Final = struct.Struct(">h")
_INT32: Final = struct.Struct(">i")
FORMATS: Final = {"bool": "?", "int8": "b", "int16": "h", "int32": "i", "int64": "q"}
PACK_FORMATS: Final = {**FORMATS, "bool": "b"}  # as "?" would take anything, None included


class Malformed(Exception):
    """What is wrong with a value, and where; `decode` and `encode` turn it into the public error."""

    def __init__(self, reason: str, path: str = "", needed: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.needed = needed  # the versions that could carry the value, where this one can't

    def inside(self, name: str) -> Malformed:
        """The same fault, seen from the structure or array around it."""
        dot = "." if self.path and self.path[0] != "[" else ""
        self.path = f"{name}{dot}{self.path}"
        return self


def as_bytes(data: bytes | bytearray | memoryview) -> bytes:
    """What a buffer holds, copied unless it can't change. TypeError for anything else, a number included."""
    return data if isinstance(data, bytes) else bytes(memoryview(data))


class Reader:
    """Bytes and how far they have been read. `end` may be lowered for a part that has a size of its own."""

    def __init__(self, data: bytes) -> None:
        self.data: Final = data
        self.pos = 0
        self.end = len(data)

    def skip(self, size: int) -> int:
        """Moves on by `size` bytes and returns where they start."""
        start = self.pos
        left = self.end - start
        if size > left:
            raise Malformed(f"needs {size} bytes, {left} left")
        self.pos = start + size
        return start

    def uvarint(self) -> int:
        """An unsigned varint of at most 32 bits."""
        data = self.data
        pos = self.pos
        end = self.end
        result = 0
        shift = 0
        while pos < end:
            byte = data[pos]
            pos += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                if result > 0xFFFFFFFF:
                    raise Malformed("varint exceeds 32 bits")
                self.pos = pos
                return result
            shift += 7
            if shift > 28:
                raise Malformed("varint is longer than 5 bytes")
        raise Malformed("varint is cut off")

    def length(self, compact: bool, short: bool, what: str, each: int = 1) -> int:
        """A length or count, -1 for null; never more than the bytes that are left, at `each` bytes or more apiece."""
        if compact:
            size = self.uvarint() - 1
        elif short:
            size = _INT16.unpack_from(self.data, self.skip(2))[0]
        else:
            size = _INT32.unpack_from(self.data, self.skip(4))[0]
        if size < -1:
            raise Malformed(f"{what} {size} is negative")
        if size * each > self.end - self.pos:
            apiece = f", at {each} or more apiece" if each > 1 else ""
            raise Malformed(f"{what} {size} exceeds the {self.end - self.pos} bytes left{apiece}")
        return size


def uvarint(value: int) -> bytes:
    """`value`, which is not negative, as an unsigned varint."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _write_length(out: list[bytes], size: int, compact: bool, short: bool) -> None:
    if compact:
        out.append(uvarint(size + 1))
    else:
        out.append((_INT16 if short else _INT32).pack(size))


# ------------------------------------------------------------------------------------------------- codecs of values


class Codec:
    """How one value travels. Subclasses know nothing of the field that they serve.

    Where they take `null_versions`, it says for an error which versions would have allowed None, as in " before
    version 1", and is empty where none does.
    """

    #: Bytes of the shortest value.
    smallest: int = 1

    def decode(self, reader: Reader) -> object:
        raise NotImplementedError  # pragma: no cover  # every subclass has its own

    def encode(self, out: list[bytes], value: object) -> None:
        raise NotImplementedError  # pragma: no cover  # every subclass has its own


class FixedCodec(Codec):
    """A number or bool by itself: in a tagged field."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._struct = struct.Struct(">" + FORMATS[kind])
        self.smallest = self._struct.size

    def decode(self, reader: Reader) -> object:
        return self._struct.unpack_from(reader.data, reader.skip(self._struct.size))[0]

    def encode(self, out: list[bytes], value: object) -> None:
        out.append(pack(self._kind, value))


class UuidCodec(Codec):
    """16 bytes, without a length; `Uuid.ZERO` in place of null."""

    def __init__(self) -> None:
        self.smallest = 16

    def decode(self, reader: Reader) -> object:
        start = reader.skip(16)
        return Uuid(reader.data[start : start + 16])

    def encode(self, out: list[bytes], value: object) -> None:
        if not isinstance(value, bytes) or len(value) != 16:
            raise Malformed(f"expected a Uuid of 16 bytes, not {type_name(value)}")
        out.append(value)


class StringCodec(Codec):
    """UTF-8 behind its length in bytes: an int16, or compact a uvarint of one more; null is -1 or 0 (W14)."""

    def __init__(self, compact: bool, nullable: bool, null_versions: str = "") -> None:
        self._compact = compact
        self._nullable = nullable
        self._null_versions = null_versions
        self.smallest = 1 if compact else 2

    def decode(self, reader: Reader) -> object:
        size = reader.length(self._compact, True, "length")
        if size < 0:
            return _null(self._nullable)
        if size > MAX_STRING:
            raise Malformed(f"length {size} exceeds the {MAX_STRING} bytes of a string")
        start = reader.skip(size)
        try:
            return reader.data[start : start + size].decode()
        except UnicodeDecodeError as e:
            raise Malformed(f"not UTF-8: {e.reason} at byte {e.start}") from None

    def encode(self, out: list[bytes], value: object) -> None:
        if value is None:
            _null_to_write(self._nullable, self._null_versions)
            _write_length(out, -1, self._compact, True)
            return
        if not isinstance(value, str):
            raise Malformed(f"expected a str, not {type_name(value)}")
        try:
            data = value.encode()
        except UnicodeEncodeError as e:
            raise Malformed(f"can't be written as UTF-8: {e.reason}") from None
        if len(data) > MAX_STRING:
            raise Malformed(f"length {len(data)} exceeds the {MAX_STRING} bytes of a string")
        _write_length(out, len(data), self._compact, True)
        out.append(data)


class BytesCodec(Codec):
    """Bytes behind their number: an int32, or compact a uvarint of one more; null is -1 or 0 (W14)."""

    def __init__(self, compact: bool, nullable: bool, null_versions: str = "") -> None:
        self._compact = compact
        self._nullable = nullable
        self._null_versions = null_versions
        self.smallest = 1 if compact else 4

    def decode(self, reader: Reader) -> object:
        size = reader.length(self._compact, False, "length")
        if size < 0:
            return _null(self._nullable)
        start = reader.skip(size)
        return reader.data[start : start + size]

    def encode(self, out: list[bytes], value: object) -> None:
        if value is None:
            _null_to_write(self._nullable, self._null_versions)
            _write_length(out, -1, self._compact, False)
            return
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise Malformed(f"expected bytes, not {type_name(value)}")
        data = bytes(value)
        if len(data) > 0x7FFFFFFF:
            raise Malformed(f"length {len(data)} exceeds 2 GiB")  # pragma: no cover  # a test would need the memory
        _write_length(out, len(data), self._compact, False)
        out.append(data)


class RecordsCodec(BytesCodec):
    """Records stay a view of the message, and a null that should not be there is let through (W15)."""

    def decode(self, reader: Reader) -> object:
        size = reader.length(self._compact, False, "length")
        if size < 0:
            return None
        start = reader.skip(size)
        return memoryview(reader.data)[start : start + size]

    def encode(self, out: list[bytes], value: object) -> None:
        BytesCodec.encode(self, out, b"" if value is None and not self._nullable else value)


class NumbersCodec(Codec):
    """An array of numbers, read and written in one go."""

    def __init__(self, kind: str, compact: bool, nullable: bool, null_versions: str = "") -> None:
        self._kind = kind
        self._size = struct.calcsize(">" + FORMATS[kind])
        self._short: list[struct.Struct] = [struct.Struct(f">{n}{FORMATS[kind]}") for n in range(8)]
        self._compact = compact
        self._nullable = nullable
        self._null_versions = null_versions

    def decode(self, reader: Reader) -> object:
        count = reader.length(self._compact, False, "count")
        if count < 0:
            return _null(self._nullable)
        start = reader.skip(count * self._size)
        if count < len(self._short):  # as replicas are
            return list(self._short[count].unpack_from(reader.data, start))
        return list(struct.unpack_from(f">{count}{FORMATS[self._kind]}", reader.data, start))

    def encode(self, out: list[bytes], value: object) -> None:
        if value is None:
            _null_to_write(self._nullable, self._null_versions)
            _write_length(out, -1, self._compact, False)
            return
        items = _items(value)
        _write_length(out, len(items), self._compact, False)
        try:
            out.append(struct.pack(f">{len(items)}{PACK_FORMATS[self._kind]}", *items))
        except struct.error:
            raise self._misfit(items) from None

    def _misfit(self, items: list[Any]) -> Malformed:
        for i, item in enumerate(items):
            try:
                pack(self._kind, item)
            except Malformed as e:
                return e.inside(f"[{i}]")
        raise AssertionError("they all fit")  # pragma: no cover  # together they would too


class ArrayCodec(Codec):
    """Any other array: its elements behind their number, an int32 or compact a uvarint of one more (W14)."""

    def __init__(self, element: Codec, compact: bool, nullable: bool, null_versions: str = "") -> None:
        self._element = element
        self._compact = compact
        self._nullable = nullable
        self._null_versions = null_versions
        self._each = max(element.smallest, 1)  # of a structure that has no field in the version nobody needs many

    def decode(self, reader: Reader) -> object:
        count = reader.length(self._compact, False, "count", self._each)
        if count < 0:
            return _null(self._nullable)
        result: list[object] = []
        element = self._element
        try:
            for _ in range(count):
                result.append(element.decode(reader))
        except Malformed as e:
            raise e.inside(f"[{len(result)}]") from None
        return result

    def encode(self, out: list[bytes], value: object) -> None:
        if value is None:
            _null_to_write(self._nullable, self._null_versions)
            _write_length(out, -1, self._compact, False)
            return
        items = _items(value)
        _write_length(out, len(items), self._compact, False)
        element = self._element
        i = 0
        try:
            for item in items:
                element.encode(out, item)
                i += 1
        except Malformed as e:
            raise e.inside(f"[{i}]") from None


def _null(nullable: bool) -> object:
    """None, if it may have been sent."""
    if not nullable:
        raise Malformed("is null where null is not allowed")
    return None


def _null_to_write(nullable: bool, null_versions: str) -> None:
    """Nothing, if None may be written."""
    if not nullable:
        raise Malformed(f"may not be None{null_versions}")


def _items(value: object) -> list[Any]:
    """What is to be written as an array."""
    if not isinstance(value, (list, tuple)):
        raise Malformed(f"expected a list, not {type_name(value)}")
    return list(value)


def type_name(value: object) -> str:
    """What an error says in place of a value, which may be a secret."""
    return type(value).__name__


def _described(value: object) -> str:
    """A number may be shown, anything else only by its type: it may be a secret in the wrong field."""
    if isinstance(value, int) and -(1 << 64) < value < 1 << 64:  # Python may refuse to print a huge one
        return str(int(value))
    return type_name(value)


def pack(kind: str, value: object) -> bytes:
    """A single number or bool as bytes."""
    try:
        return struct.pack(">" + PACK_FORMATS[kind], value)
    except struct.error:
        raise Malformed(f"{_described(value)} does not fit {kind}") from None
