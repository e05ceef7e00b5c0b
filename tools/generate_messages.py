"""Writes `dekaf_proto/messages/` from the message schemas inside a kafka-clients jar.

    python tools/generate_messages.py [--check] [JAR]

Without JAR it is the one that tests/java/fetch-jars brings. `--check` writes nothing, and fails if a file differs from
what would be written. Only facts are taken from the schemas: names, types, versions, defaults. Their sentences are not.
"""

from __future__ import annotations

import json
import keyword
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "dekaf_proto" / "messages"
WIDTH = 120

Schema = dict[str, Any]

#: Every API that a client may use, and what it is for, in our words.
APIS = {
    "Produce": "Appends record batches to partitions.",
    "Fetch": "Reads record batches from partitions, in a session that remembers what was asked before.",
    "ListOffsets": "Finds the first or last offset of a partition, or the first one at or after a time.",
    "Metadata": "Tells the brokers, the topics, their partitions and who leads each.",
    "OffsetCommit": "Stores a group's offsets.",
    "OffsetFetch": "Reads a group's stored offsets.",
    "FindCoordinator": "Tells which broker coordinates a group or a transactional id.",
    "JoinGroup": "Enters a classic group, or its next generation.",
    "Heartbeat": "Keeps a member of a classic group alive, and tells it of a rebalance.",
    "LeaveGroup": "Takes members out of a classic group.",
    "SyncGroup": "Hands out the assignment of a generation.",
    "DescribeGroups": "Tells the state and the members of classic groups.",
    "ListGroups": "Lists groups.",
    "SaslHandshake": "Agrees on a SASL mechanism.",
    "ApiVersions": "Tells which versions of which APIs a broker speaks.",
    "CreateTopics": "Creates topics.",
    "DeleteTopics": "Deletes topics.",
    "DeleteRecords": "Moves the beginning of partitions forward.",
    "InitProducerId": "Gives a producer its id and epoch, and fences its predecessors.",
    "OffsetForLeaderEpoch": "Tells where a leader epoch ended, to find out about a truncated log.",
    "AddPartitionsToTxn": "Makes partitions part of a transaction.",
    "AddOffsetsToTxn": "Makes a group's offsets part of a transaction.",
    "EndTxn": "Commits or aborts a transaction.",
    "TxnOffsetCommit": "Stores a group's offsets as part of a transaction.",
    "SaslAuthenticate": "Carries the messages of a SASL mechanism.",
    "CreatePartitions": "Adds partitions to topics.",
    "DeleteGroups": "Deletes groups.",
    "OffsetDelete": "Deletes a group's stored offsets.",
    "DescribeConfigs": "Reads configurations.",
    "IncrementalAlterConfigs": "Changes single entries of configurations.",
    "DescribeCluster": "Tells the brokers and the controller.",
    "DescribeTopicPartitions": "Tells about topics' partitions, page by page.",
    "ConsumerGroupHeartbeat": "Joins, keeps and leaves a group whose assignment the broker makes.",
    "ConsumerGroupDescribe": "Tells the state and the members of such groups.",
    "ShareGroupHeartbeat": "Joins, keeps and leaves a share group.",
    "ShareFetch": "Acquires records of a share group.",
    "ShareAcknowledge": "Settles acquired records of a share group.",
    "GetTelemetrySubscriptions": "Asks which metrics a broker wants of this client.",
    "PushTelemetry": "Sends such metrics.",
}
HEADERS = ("RequestHeader", "ResponseHeader")
CONSUMER_PROTOCOL = ("ConsumerProtocolSubscription", "ConsumerProtocolAssignment")

#: Fields that may hold a password, a token or a key. A row that no field matches stops the generator.
SECRETS = {
    ("SaslAuthenticateRequest", "AuthBytes"),
    ("SaslAuthenticateResponse", "AuthBytes"),
    ("AlterableConfig", "Value"),
    ("CreatableTopicConfig", "Value"),
    ("CreatableTopicConfigs", "Value"),
    ("DescribeConfigsResourceResult", "Value"),
    ("DescribeConfigsSynonym", "Value"),
}

NUMBERS = {"bool": "bool", "int8": "int", "int16": "int", "int32": "int", "int64": "int"}
PYTHON = {**NUMBERS, "string": "str", "bytes": "bytes", "uuid": "Uuid", "records": "Buffer"}
DECLARED = {"bool": "boolean", "bytes": "binary"}


# ---------------------------------------------------------------------------------------------------- reading schemas


def load(jar: zipfile.ZipFile, name: str) -> Schema:
    text = jar.read(f"common/message/{name}.json").decode()
    schema: Schema = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    return schema


def snake(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    return f"{name}_" if keyword.iskeyword(name) else name


def versions(text: str | None) -> range:
    if text is None or text == "none":
        return range(0)
    if text.endswith("+"):
        return range(int(text[:-1]), 32768)
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def live_versions(f: Schema, valid: range) -> range:
    """Those of the `valid` versions that have the field."""
    present = versions(f["versions"])
    return range(max(present[0], valid[0]), min(present[-1], valid[-1]) + 1)


def covers(outer: range, inner: range) -> bool:
    return all(version in outer for version in inner)


@dataclass
class Class:
    """A class to be written: a message, or a structure inside one."""

    name: str
    fields: list[Schema]
    valid: range
    head: list[str]
    base: str = "Struct"


class Module:
    """One file to be written."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.imports: set[str] = set()
        self.types: set[str] = set()
        self.classes: dict[str, Class] = {}
        self.messages: list[str] = []
        self.secrets: set[tuple[str, str]] = set()  # the rows of SECRETS that were used

    def add_message(self, name: str, schema: Schema, base: str, doc: str) -> None:
        valid = versions(schema["validVersions"])
        flexible = versions(schema["flexibleVersions"])
        arguments = [str(valid[0]), str(valid[-1])]
        if any(version in flexible for version in valid):
            arguments.append(f"flexible={max(flexible[0], valid[0])}")
        if schema.get("latestVersionUnstable"):
            arguments.append(f"unstable={valid[-1]}")
        self.imports.add("Versions")
        self.imports.add(base.partition("[")[0])
        head = [f'"""{doc}"""', ""]
        if "apiKey" in schema:
            head.append(f"API_KEY = {schema['apiKey']}")
        head += [f"VERSIONS = Versions({', '.join(arguments)})", ""]
        common = {struct["name"]: struct["fields"] for struct in schema.get("commonStructs", [])}
        self.messages.append(name)
        self._add_class(name, schema["fields"], valid, head, base, common, name.endswith("Request"))

    def _add_class(
        self,
        name: str,
        fields: list[Schema],
        valid: range,
        head: list[str],
        base: str,
        common: dict[str, list[Schema]],
        request: bool,
    ) -> None:
        fields = [f for f in fields if live_versions(f, valid)]
        self.classes[name] = Class(name, fields, valid, head, base)
        for f in fields:
            kind = f["type"].removeprefix("[]")
            nested = f.get("fields") or common.get(kind)
            if nested is None:
                assert kind in PYTHON, f"{name}.{f['name']} has type {kind}"
                continue
            f["struct"] = kind
            if kind in self.classes and not same(self.classes[kind].fields, nested):
                f["struct"] = kind = f"{'Request' if request else 'Response'}{kind}"
            if kind not in self.classes:
                what = "An element of" if f["type"].startswith("[]") else "The structure in"
                doc = [f'"""{what} `{name}.{snake(f["name"])}`."""', ""]
                self.imports.add("Struct")
                inner = valid if kind in common else live_versions(f, valid)
                self._add_class(kind, nested, inner, doc, "Struct", common, request)

    def text(self) -> str:
        body = "\n\n".join(self._class_text(c) for c in self.classes.values())
        lines = [
            f'"""{self.title}',
            "",
            "Written by tools/generate_messages.py from Kafka's schemas: change that, not this.",
            '"""',
            "",
            "from __future__ import annotations",
            "",
            "from dataclasses import dataclass",
            "",
        ]
        if "Uuid" in self.types:
            lines.append("from dekaf_proto.types import Uuid")
        lines += [
            import_line("dekaf_proto.wire.schema", sorted(self.imports, key=import_order)),
            "",
            "",
            body,
        ]
        return "\n".join(lines)

    def _class_text(self, c: Class) -> str:
        lines = ["@dataclass(slots=True, repr=False)", f"class {c.name}({c.base}):"]
        lines += [f"    {line}" if line else "" for line in c.head]
        for f in c.fields:
            lines += self._field_text(c, f)
        if not c.fields:
            lines.pop()  # the empty line after the head
        return "\n".join(lines) + "\n"

    def _field_text(self, c: Class, f: Schema) -> list[str]:
        where = f"{c.name}.{f['name']}"
        kind: str = f["type"]
        present = versions(f["versions"])
        live = live_versions(f, c.valid)
        nullable = versions(f.get("nullableVersions"))
        is_nullable = any(version in nullable for version in live)
        tagged = versions(f.get("taggedVersions"))
        is_tagged = any(version in tagged for version in live)
        assert not is_tagged or covers(tagged, live), f"{where} is tagged in some of its versions only"
        array = kind.startswith("[]")
        element = kind.removeprefix("[]")
        struct = f.get("struct")
        arguments = []
        if not covers(present, c.valid):
            arguments.append(f'"{shortened(live, c.valid)}"')
        if is_nullable:
            arguments.append(f'nullable="{f["nullableVersions"]}"')
        annotation = struct or PYTHON[element]
        self.types.add(annotation)
        if array:
            declared = "array"
            annotation = f"list[{annotation}]"
            if struct is None:
                arguments.append(f'of="{element}"')
        elif struct is not None:
            declared = "struct"
        else:
            declared = DECLARED.get(kind, kind)
        self.imports.add(declared)
        if kind == "records":
            self.imports.add("Buffer")
        default = default_argument(where, f, is_nullable or (struct is not None and is_tagged and not array))
        if default:
            arguments.append(default)
        if declared == "struct" and not is_nullable and not is_tagged:
            arguments.append(f"factory=lambda: {struct}()")
        if is_tagged:
            arguments.append(f"tag={f['tag']}")
        if f.get("ignorable") and not covers(present, c.valid):
            arguments.append("ignorable=True")
        if f.get("flexibleVersions") == "none":
            arguments.append("compact=False")
        if (c.name, f["name"]) in SECRETS:
            arguments.append("secret=True")
            self.secrets.add((c.name, f["name"]))
        if is_nullable or kind == "records" or (declared == "struct" and is_tagged):
            annotation += " | None"
        start = f"    {snake(f['name'])}: {annotation} = {declared}("
        line = start + ", ".join(arguments) + ")"
        if len(line) <= WIDTH:
            return [line]
        return [start, "        " + ", ".join(arguments), "    )"]


def same(one: list[Schema], other: list[Schema]) -> bool:
    """Whether two structures differ in nothing but what is said about them."""
    facts = ("name", "type", "versions", "nullableVersions", "taggedVersions", "tag", "default")
    return [[f.get(k) for k in facts] for f in one] == [[f.get(k) for k in facts] for f in other]


def shortened(live: range, valid: range) -> str:
    """The versions of a field as a reader wants them: "5+" where it lasts to the end."""
    if live[-1] == valid[-1]:
        return f"{live[0]}+"
    return f"{live[0]}-{live[-1]}" if len(live) > 1 else str(live[0])


def default_argument(where: str, f: Schema, nullable: bool) -> str:
    if "default" not in f:
        return ""
    kind, default = f["type"], f["default"]
    if default == "null":
        assert nullable, f"{where} is null by default but may not be null"
        return "" if f.get("struct") and not kind.startswith("[]") else "default=None"
    if kind == "bool":
        return "default=True" if str(default).lower() == "true" else ""
    if kind in NUMBERS:
        text = str(default)
        return "" if int(text, 0) == 0 else f"default={text.upper().replace('0X', '0x')}"
    assert default == "", f"{where} has the default {default!r}"
    return ""


def import_order(name: str) -> tuple[bool, str, int]:
    """Classes before functions, and int8 before int16, as ruff sorts them."""
    digits = re.search(r"\d*$", name)
    assert digits is not None
    return (not name[0].isupper(), name[: digits.start()], int(digits[0] or 0))


def import_line(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


# ------------------------------------------------------------------------------------------------------- all the files


def files(jar: zipfile.ZipFile) -> dict[str, str]:
    """File name to content."""
    modules: dict[str, Module] = {}
    index: list[tuple[int, str, str]] = []
    for api, purpose in APIS.items():
        request, response = load(jar, f"{api}Request"), load(jar, f"{api}Response")
        module = Module(f"{api} (API key {request['apiKey']}). {purpose}")
        base = f'Request["{api}Response"]'
        module.add_message(f"{api}Request", request, base, f"What a client sends for {api}.")
        module.add_message(f"{api}Response", response, "Response", f"What a broker answers to {api}.")
        modules[snake(api)] = module
        index.append((request["apiKey"], api, snake(api)))
    header = Module("The headers of requests and responses.")
    header.add_message("RequestHeader", load(jar, "RequestHeader"), "Message", "What stands before a request's body.")
    header.add_message(
        "ResponseHeader", load(jar, "ResponseHeader"), "Message", "What stands before a response's body."
    )
    modules["header"] = header
    protocol = Module("What the members of a classic consumer group tell each other inside JoinGroup and SyncGroup.")
    for name, doc in zip(CONSUMER_PROTOCOL, ("What a member wants and has.", "What a member gets."), strict=True):
        protocol.add_message(name, load(jar, name), "Message", doc)
    modules["consumer_protocol"] = protocol
    result = {f"{name}.py": module.text() for name, module in modules.items()}
    result["__init__.py"] = index_text(sorted(index))
    # A field that was renamed would otherwise lose its mask, and show a password in logs.
    unused = SECRETS.difference(*(module.secrets for module in modules.values()))
    assert not unused, f"SECRETS names what no schema has: {sorted(unused)}"
    return result


def index_text(index: list[tuple[int, str, str]]) -> str:
    modules = {f"{api}{kind}": module for _, api, module in index for kind in ("Request", "Response")}
    modules |= dict.fromkeys(HEADERS, "header") | dict.fromkeys(CONSUMER_PROTOCOL, "consumer_protocol")
    by_module: dict[str, list[str]] = {}
    for name, module in modules.items():
        by_module.setdefault(module, []).append(name)
    lines = [
        '"""Every message that a client may send or get: one file an API, loaded on first use.',
        "",
        "    from dekaf_proto.messages import FetchRequest           # the message",
        "    from dekaf_proto.messages.fetch import FetchPartition   # a structure inside it",
        "",
        "Written by tools/generate_messages.py from Kafka's schemas: change that, not this.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from enum import IntEnum",
        "from importlib import import_module",
        "from typing import TYPE_CHECKING, cast",
        "",
        "if TYPE_CHECKING:",
    ]
    for module in sorted(by_module):
        names = sorted(by_module[module])
        line = f"    from dekaf_proto.messages.{module} import " + ", ".join(f"{n} as {n}" for n in names)
        if len(line) > WIDTH:
            lines.append(f"    from dekaf_proto.messages.{module} import (")
            lines += [f"        {n} as {n}," for n in names]
            lines.append("    )")
        else:
            lines.append(line)
    lines += [
        "    from dekaf_proto.wire.schema import Request, Response",
        "",
        "",
        "class ApiKey(IntEnum):",
        '    """The number that stands for an API at the head of each request."""',
        "",
        *(f"    {snake(api).upper()} = {key}" for key, api, _ in index),
        "",
        "",
        "_MODULES = {",
        *(f'    "{name}": "{module}",' for name, module in modules.items()),
        "}",
        "_NAMES = {",
        *(f'    {key}: "{api}",' for key, api, _ in index),
        "}",
        "",
        "",
        "def request_class(api_key: int) -> type[Request[Response]]:",
        '    """The class of the requests with `api_key`; KeyError if there is none."""',
        '    return cast("type[Request[Response]]", __getattr__(f"{_NAMES[api_key]}Request"))',
        "",
        "",
        "def response_class(api_key: int) -> type[Response]:",
        '    """The class of the responses to `api_key`; KeyError if there is none."""',
        '    return cast("type[Response]", __getattr__(f"{_NAMES[api_key]}Response"))',
        "",
        "",
        "def __getattr__(name: str) -> object:",
        "    if name not in _MODULES:",
        '        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")',
        '    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)',
        "",
        "",
        "def __dir__() -> list[str]:",
        "    return sorted([*globals(), *_MODULES])",
        "",
    ]
    return "\n".join(lines)


def find_jar() -> Path:
    fetched = subprocess.run(
        [ROOT / "tests" / "java" / "fetch-jars"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    (jar,) = Path(fetched).glob("kafka-clients-*.jar")
    return jar


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    named = [a for a in arguments if not a.startswith("--")]
    with zipfile.ZipFile(named[0] if named else find_jar()) as jar:
        wanted = files(jar)
    present = {path.name: path.read_text() for path in TARGET.glob("*.py")}
    differ = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if check:
        for name in differ:
            print(
                f"{TARGET.relative_to(ROOT) / name} is not what tools/generate_messages.py writes",
                file=sys.stderr,
            )
        print(f"{len(wanted) - len(differ)} of {len(wanted)} message files are current")
        return 1 if differ else 0
    TARGET.mkdir(exist_ok=True)
    for name in differ:
        if name in wanted:
            (TARGET / name).write_text(wanted[name])
        else:
            (TARGET / name).unlink()
    print(f"{len(differ)} of {len(wanted)} message files written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
