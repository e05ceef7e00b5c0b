"""Compares messages with the golden lines that Java's own serialisers made (see tests/java/README.md)."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from typing import Any

from dekaf_proto import messages
from dekaf_proto.errors import KafkaError
from dekaf_proto.wire import decode, encode
from dekaf_proto.wire.frames import response_header_version
from dekaf_proto.wire.schema import Field, Message, Request, Response, Struct, declared_fields

SUFFIX = {"request": "Request", "response": "Response", "header": "", "data": ""}


def check_messages_line(line: dict[str, Any]) -> list[str]:
    """What is wrong with our reading and writing of one line; empty if nothing is."""
    data = bytes.fromhex(line["hex"])
    version = line["version"]
    name = line["api"] + SUFFIX[line["kind"]]
    cls: type[Message] | None = getattr(messages, name, None)
    if cls is None:
        return [f"dekaf has no {name}: its messages are those of clients, without the brokers'"]
    try:
        message = decode(cls, version, data)
        again = encode(message, version)
    except KafkaError as e:
        return [f"{type(e).__name__}: {e}"]
    failures = []
    failures += [
        f"{name} is {fact!r}, in Java {line[name]!r}"
        for name, fact in facts(cls, version).items()
        if name in line and not same(fact, line[name])
    ]
    if again != data:
        failures.append("encoded again, the bytes differ")
    differences = list(compare(message, line["json"], version, ""))
    return failures + differences[:5]


def facts(cls: type[Message], version: int) -> dict[str, object]:
    """What a line says of the message besides its content."""
    flexible = cls.VERSIONS.is_flexible(version)
    result: dict[str, object] = {"flexible": flexible, "api_key": getattr(cls, "API_KEY", None)}
    if issubclass(cls, Request):
        result["header_version"] = 2 if flexible else 1
    if issubclass(cls, Response):
        result["header_version"] = response_header_version(cls, version)
    if issubclass(cls, (Request, Response)):
        result["unstable"] = version == messages.request_class(cls.API_KEY).VERSIONS.unstable
    return result


def same(one: object, other: object) -> bool:
    """Equal, and not 1 for true."""
    return one == other and type(one) is type(other)


def compare(struct: Struct, json: dict[str, Any], version: int, path: str) -> list[str]:
    """Where `struct` is not what the JSON of Java's converter says."""
    failures = []
    expected = dict(json)
    unknown = expected.pop("_unknownTaggedFields", [])
    if unknown != [{"tag": t.tag, "data": jsonable("bytes", t.data)} for t in struct.unknown_tagged_fields]:
        failures.append(f"{path}: unknown tagged fields differ")
    for field in declared_fields(type(struct)):
        value = getattr(struct, field.name)
        name = camel(field.name)
        where = f"{path}.{field.name}" if path else field.name
        if version not in field.versions:
            if value != field.make_default():
                failures.append(f"{where}: not at its default in a version without it")
            continue
        if name not in expected:
            if field.tag is None or value != field.make_default():
                failures.append(f"{where}: absent in Java's view")
            continue
        failures += compare_value(field, value, expected.pop(name), version, where)
    return failures + [f"{path}: Java also has {name}" for name in expected]


def compare_value(field: Field, value: Any, json: Any, version: int, where: str) -> list[str]:
    if value is None or json is None:
        return [] if value is json else [f"{where}: {value!r}, not {json!r}"]
    if field.kind == "struct":
        return compare(value, json, version, where)
    if field.kind != "array":
        shown = jsonable(field.kind, value)
        return [] if same(shown, json) else [f"{where}: {shown!r}, not {json!r}"]
    if not isinstance(json, list):
        return [f"{where}: {value!r}, not {json!r}"]
    if len(value) != len(json):
        return [f"{where}: {len(value)} elements, not {len(json)}"]
    failures = []
    for i, (item, item_json) in enumerate(zip(value, json, strict=True)):
        if field.of == "struct":
            failures += compare(item, item_json, version, f"{where}[{i}]")
        elif not same(jsonable(field.of, item), item_json):
            failures.append(f"{where}[{i}]: {item!r}, not {item_json!r}")
    return failures


def jsonable(kind: str, value: Any) -> Any:
    if kind in ("bytes", "records"):
        return b64encode(value).decode()
    if kind == "uuid":
        return urlsafe_b64encode(value).decode().rstrip("=")
    return value


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
