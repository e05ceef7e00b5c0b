"""Hypothesis strategies for messages, built from their declarations: every class, every version, nothing by hand.

A message made here says all that its version can say and nothing more, so that `decode(encode(x)) == x`:
fields of other versions are at their default, nulls only where they are allowed, unknown tagged fields never use a tag
that is declared, and a tagged structure is never at its default (it is not written then, and None comes back).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import settings, strategies as st

from dekaf_proto import messages
from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import Field, Message, Request, Response, Struct, TaggedField, declared_fields

INTEGERS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}

#: Lengths at which the length itself takes another byte in the compact form.
EDGES = (126, 127, 128, 300)


def message_classes() -> list[type[Message]]:
    """Every message there is: requests, responses, headers, the consumer protocol."""
    found = (getattr(messages, name) for name in dir(messages))
    classes = {c for c in found if isinstance(c, type) and issubclass(c, Message)} - {Message, Request, Response}
    return sorted(classes, key=lambda cls: cls.__name__)


def class_versions() -> Iterator[tuple[type[Message], int]]:
    """Every message in every version of it."""
    for cls in message_classes():
        for version in range(cls.VERSIONS.min, cls.VERSIONS.max + 1):
            yield cls, version


def examples(normally: int) -> int:
    """How many examples to take where 100 are too many or few: `normally`; more to soak, fewer in a hurry."""
    assert settings.default is not None
    return max(1, settings.default.max_examples * normally // 100)


def _integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)


def _primitive(kind: str) -> st.SearchStrategy[Any]:
    if kind == "bool":
        return st.booleans()
    if kind in INTEGERS:
        return _integers(INTEGERS[kind])
    if kind == "uuid":
        return st.binary(min_size=16, max_size=16).map(Uuid)
    if kind == "string":
        return st.text(max_size=8) | st.sampled_from(EDGES).map(lambda n: "\u00e4" * (n // 2) + "a" * (n % 2))
    assert kind in ("bytes", "records"), kind
    return st.binary(max_size=16) | st.sampled_from(EDGES).map(bytes)


def _value(field: Field, version: int, flexible: bool) -> st.SearchStrategy[Any]:
    values: st.SearchStrategy[Any]
    if field.struct is not None:
        values = _structs(field.struct, version, flexible)
        if field.kind == "array":
            values = st.lists(values, max_size=2)
        elif field.tag is not None:
            default = field.struct()
            values = st.none() | values.filter(lambda struct: struct != default)
    elif field.kind == "array":
        values = st.lists(_primitive(field.of), max_size=9)
    else:
        values = _primitive(field.kind)
    return st.none() | values if version in field.nullable else values


@st.composite
def _tagged_fields(draw: st.DrawFn, known: frozenset[int]) -> tuple[TaggedField, ...]:
    tags = st.integers(0, 0x7FFFFFFE) | st.integers(0, 5)  # the highest of 31 bits Java keeps for itself
    chosen = draw(st.sets(tags.filter(lambda tag: tag not in known), max_size=2))
    return tuple(TaggedField(tag, draw(st.binary(max_size=5))) for tag in sorted(chosen))


def _structs(cls: type[Struct], version: int, flexible: bool) -> st.SearchStrategy[Any]:
    key = (cls, version, flexible)
    if key not in _made:
        _made[key] = _make_structs(cls, version, flexible)
    return _made[key]


_made: dict[tuple[type[Struct], int, bool], st.SearchStrategy[Any]] = {}


def _make_structs(cls: type[Struct], version: int, flexible: bool) -> st.SearchStrategy[Any]:
    fields = [field for field in declared_fields(cls) if version in field.versions]
    values = {field.name: _value(field, version, flexible) for field in fields}
    if flexible:
        # Those of other versions too: Java refuses a tag in a version before its own.
        known = frozenset(field.tag for field in declared_fields(cls) if field.tag is not None)
        values["unknown_tagged_fields"] = st.just(()) | _tagged_fields(known)
    return st.builds(cls, **values)


def messages_of(cls: type[Message], version: int) -> st.SearchStrategy[Message]:
    """Messages of class `cls` that `version` carries without loss."""
    strategy: st.SearchStrategy[Message] = _structs(cls, version, cls.VERSIONS.is_flexible(version))
    return strategy
