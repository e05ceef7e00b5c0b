"""tools/generate_messages.py on schemas made up here: what it takes from a schema, and what it must not take."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import io
import json
import keyword
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dekaf_proto.wire import decode, encode
from dekaf_proto.wire.schema import Message, Range, Struct, Versions, declared_fields
from tests.strategies import message_classes
from tools import generate_messages
from tools.generate_messages import Module, default_argument, files, import_line, main, shortened, snake, versions

ABOUT = "A sentence that belongs to somebody else."

REQUEST: dict[str, Any] = {
    "apiKey": 77,
    "type": "request",
    "name": "DemoRequest",
    "validVersions": "2-6",
    "flexibleVersions": "4+",
    "latestVersionUnstable": True,
    "about": ABOUT,
    "commonStructs": [
        {
            "name": "Broker",
            "versions": "0+",
            "about": ABOUT,
            "fields": [{"name": "Host", "type": "string", "versions": "0+", "about": ABOUT}],
        }
    ],
    "fields": [
        {"name": "Gone", "type": "int32", "versions": "0-1", "about": ABOUT},
        {"name": "TimeoutMs", "type": "int32", "versions": "0+", "default": "0x7fffffff", "ignorable": True},
        {"name": "Class", "type": "string", "versions": "3+", "nullableVersions": "3+", "default": "null"},
        {"name": "Between", "type": "bool", "versions": "1-5", "default": "true", "about": ABOUT},
        {"name": "Rack", "type": "string", "versions": "5+", "taggedVersions": "5+", "tag": 2, "ignorable": True},
        {"name": "Ids", "type": "[]uuid", "versions": "0+", "about": ABOUT},
        {"name": "Records", "type": "records", "versions": "0+", "nullableVersions": "0+"},
        {"name": "Brokers", "type": "[]Broker", "versions": "0+", "about": ABOUT},
        {
            "name": "Topics",
            "type": "[]Topic",
            "versions": "0+",
            "about": ABOUT,
            "fields": [
                {"name": "Name", "type": "string", "versions": "0+", "entityType": "topicName", "about": ABOUT},
                {"name": "Payload", "type": "bytes", "versions": "0+", "ignorable": True},
            ],
        },
        {
            "name": "State",
            "type": "State",
            "versions": "5+",
            "taggedVersions": "5+",
            "tag": 0,
            "fields": [{"name": "Epoch", "type": "int64", "versions": "5+", "default": "-1"}],
        },
        {
            "name": "Must",
            "type": "Must",
            "versions": "2+",
            "fields": [{"name": "Flags", "type": "int8", "versions": "2+"}],
        },
        {
            "name": "May",
            "type": "May",
            "versions": "2+",
            "nullableVersions": "2+",
            "default": "null",
            "fields": [{"name": "Flags", "type": "int16", "versions": "2+"}],
        },
    ],
}
RESPONSE: dict[str, Any] = {
    "apiKey": 77,
    "type": "response",
    "name": "DemoResponse",
    "validVersions": "2-6",
    "flexibleVersions": "none",
    "about": ABOUT,
    "fields": [
        {
            "name": "Topics",
            "type": "[]Topic",
            "versions": "0+",
            "about": ABOUT,
            "fields": [{"name": "ErrorCode", "type": "int16", "versions": "0+", "about": ABOUT}],
        },
        {
            "name": "Brokers",
            "type": "[]Broker",
            "versions": "0+",
            "fields": [{"name": "Host", "type": "string", "versions": "0+", "about": "Said otherwise."}],
        },
    ],
}
HEADER = {"validVersions": "1", "flexibleVersions": "none", "fields": []}


@pytest.fixture
def jar() -> zipfile.ZipFile:
    """A kafka-clients jar, as far as the generator looks into it."""
    content = io.BytesIO()
    schemas = {"DemoRequest": REQUEST, "DemoResponse": RESPONSE}
    others = (*generate_messages.HEADERS, *generate_messages.CONSUMER_PROTOCOL)
    with zipfile.ZipFile(content, "w") as written:
        for name, schema in {**schemas, **dict.fromkeys(others, HEADER)}.items():
            licence = "// Somebody's licence.\n//\n"
            written.writestr(f"common/message/{name}.json", licence + json.dumps(schema, indent=2))
    return zipfile.ZipFile(content)


@pytest.fixture
def demo_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate_messages, "APIS", {"Demo": "Shows something."})
    monkeypatch.setattr(generate_messages, "SECRETS", {("Topic", "Payload")})


@pytest.fixture
def written(jar: zipfile.ZipFile, demo_only: None) -> dict[str, str]:
    return files(jar)


@pytest.fixture
def demo(written: dict[str, str], tmp_path: Path) -> Iterator[ModuleType]:
    """The module that was generated, imported."""
    path = tmp_path / "generated_demo.py"
    path.write_text(written["demo.py"])
    spec = importlib.util.spec_from_file_location("generated_demo", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["generated_demo"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["generated_demo"]


# ------------------------------------------------------------------------------------------------------ what is written


def test_the_whole_file(written: dict[str, str]) -> None:
    assert (
        written["demo.py"]
        == '''\
"""Demo (API key 77). Shows something.

Written by tools/generate_messages.py from Kafka's schemas: change that, not this.
"""

from __future__ import annotations

from dataclasses import dataclass

from dekaf_proto.types import Uuid
from dekaf_proto.wire.schema import (
    Buffer,
    Request,
    Response,
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
)


@dataclass(slots=True, repr=False)
class DemoRequest(Request["DemoResponse"]):
    """What a client sends for Demo."""

    API_KEY = 77
    VERSIONS = Versions(2, 6, flexible=4, unstable=6)

    timeout_ms: int = int32(default=0x7FFFFFFF)
    class_: str | None = string("3+", nullable="3+", default=None)
    between: bool = boolean("2-5", default=True)
    rack: str = string("5+", tag=2, ignorable=True)
    ids: list[Uuid] = array(of="uuid")
    records: Buffer | None = records(nullable="0+")
    brokers: list[Broker] = array()
    topics: list[Topic] = array()
    state: State | None = struct("5+", tag=0)
    must: Must = struct(factory=lambda: Must())
    may: May | None = struct(nullable="2+")


@dataclass(slots=True, repr=False)
class Broker(Struct):
    """An element of `DemoRequest.brokers`."""

    host: str = string()


@dataclass(slots=True, repr=False)
class Topic(Struct):
    """An element of `DemoRequest.topics`."""

    name: str = string()
    payload: bytes = binary(secret=True)


@dataclass(slots=True, repr=False)
class State(Struct):
    """The structure in `DemoRequest.state`."""

    epoch: int = int64(default=-1)


@dataclass(slots=True, repr=False)
class Must(Struct):
    """The structure in `DemoRequest.must`."""

    flags: int = int8()


@dataclass(slots=True, repr=False)
class May(Struct):
    """The structure in `DemoRequest.may`."""

    flags: int = int16()


@dataclass(slots=True, repr=False)
class DemoResponse(Response):
    """What a broker answers to Demo."""

    API_KEY = 77
    VERSIONS = Versions(2, 6)

    topics: list[ResponseTopic] = array()
    brokers: list[Broker] = array()


@dataclass(slots=True, repr=False)
class ResponseTopic(Struct):
    """An element of `DemoResponse.topics`."""

    error_code: int = int16()
'''
    )


def test_no_sentence_of_a_schema_is_copied(written: dict[str, str]) -> None:
    everything = "".join(written.values())
    for sentence in (ABOUT, "belongs to somebody else", "Said otherwise", "licence"):
        assert sentence not in everything


def test_what_was_generated_works(demo: ModuleType) -> None:
    request: type[Message] = demo.DemoRequest
    assert Versions(2, 6, 4, 6) == request.VERSIONS
    fields = {field.name: field for field in declared_fields(request)}
    assert fields["between"].versions == Range(2, 5)
    assert (fields["rack"].tag, fields["rack"].ignorable) == (2, True)
    message = demo.DemoRequest(5, "c", False, "r", [], b"x", [demo.Broker("h")], [demo.Topic("t", b"p")], demo.State(1))
    assert decode(request, 5, encode(message, 5)) == message


def test_the_index(written: dict[str, str]) -> None:
    index = written["__init__.py"]
    ast.parse(index)
    assert "    DEMO = 77\n" in index
    assert '    "DemoRequest": "demo",\n    "DemoResponse": "demo",\n    "RequestHeader": "header",\n' in index
    assert '    77: "Demo",\n' in index
    line = "    from dekaf_proto.messages.demo import DemoRequest as DemoRequest, DemoResponse as DemoResponse\n"
    assert line in index
    assert sorted(written) == ["__init__.py", "consumer_protocol.py", "demo.py", "header.py"]


def test_secrets_are_marked() -> None:
    module = Module("Title.")
    fields = [{"name": "Value", "type": "string", "versions": "0+"}]
    inner = {"name": "Configs", "type": "[]AlterableConfig", "versions": "0+", "fields": fields}
    schema = {"validVersions": "0", "flexibleVersions": "none", "fields": [inner]}
    module.add_message("DemoRequest", schema, "Message", "Doc.")
    assert "    value: str = string(secret=True)\n" in module.text()


@pytest.mark.parametrize("row", [("Topic", "Load"), ("Topics", "Payload"), ("AlterableConfig", "Value")])
def test_a_secret_that_no_schema_has_stops_it(
    jar: zipfile.ZipFile, demo_only: None, monkeypatch: pytest.MonkeyPatch, row: tuple[str, str]
) -> None:
    monkeypatch.setattr(generate_messages, "SECRETS", {("Topic", "Payload"), row})
    with pytest.raises(AssertionError, match=re.escape(f"SECRETS names what no schema has: [{row!r}]")):
        files(jar)


def test_a_long_field_is_wrapped() -> None:
    module = Module("Title.")
    long = "AnArrayWithANameThatIsMuchLongerThanAnyoneWouldWantToTypeTwice"
    field = {"name": long, "type": "[]int32", "versions": "1+", "nullableVersions": "1+", "ignorable": True}
    schema = {"validVersions": "0-1", "flexibleVersions": "none", "fields": [{**field, "default": "null"}]}
    module.add_message("Demo", schema, "Message", "Doc.")
    assert module.text().endswith(
        f"    {snake(long)}: list[int] | None = array(\n"
        '        "1+", nullable="1+", of="int32", default=None, ignorable=True\n'
        "    )\n"
    )


@pytest.mark.parametrize(
    "change,text",
    [
        ({"type": "float64"}, "Demo.Field has type float64"),
        ({"default": "null"}, "Demo.Field is null by default but may not be null"),
        ({"default": "something"}, "Demo.Field has the default 'something'"),
        ({"taggedVersions": "1+", "tag": 0}, "Demo.Field is tagged in some of its versions only"),
    ],
)
def test_what_the_generator_does_not_know_stops_it(change: dict[str, Any], text: str) -> None:
    field = {"name": "Field", "type": "string", "versions": "0+", **change}
    schema = {"validVersions": "0-1", "flexibleVersions": "0+", "fields": [field]}

    def generate() -> None:
        module = Module("Title.")
        module.add_message("Demo", schema, "Message", "Doc.")
        module.text()

    with pytest.raises(AssertionError, match=f"^{text}"):
        generate()


# ----------------------------------------------------------------------------------------------------------- the parts


@pytest.mark.parametrize(
    "name,expected",
    [
        ("ThrottleTimeMs", "throttle_time_ms"),
        ("IsrNodes", "isr_nodes"),
        ("OffsetForLeaderEpoch", "offset_for_leader_epoch"),
        ("HTTPPort", "http_port"),
        ("Sha256Sum", "sha256_sum"),
        ("name", "name"),
        ("Class", "class_"),
        ("From", "from_"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert snake(name) == expected


def test_no_name_is_a_keyword_or_hides_a_declaration() -> None:
    def check(cls: type[Struct]) -> None:
        seen: set[str] = set()
        for field in dataclasses.fields(cls):
            assert not keyword.iskeyword(field.name)
            if "wire" not in field.metadata:
                continue
            # Within the class, a field called `records` hides the function of that name from the fields after it.
            declared = {"bool": "boolean", "bytes": "binary"}.get(*[field.metadata["wire"].kind] * 2)
            assert declared not in seen, f"{cls.__name__}.{field.name}"
            seen.add(field.name)
        for inner in declared_fields(cls):
            if inner.struct is not None:
                check(inner.struct)

    for cls in message_classes():
        check(cls)


def test_ranges_of_versions() -> None:
    assert versions(None) == versions("none") == range(0)
    assert versions("3") == range(3, 4)
    assert versions("3-5") == range(3, 6)
    assert versions("3+") == range(3, 32768)
    assert shortened(range(3, 6), range(6)) == "3+"
    assert shortened(range(3, 5), range(6)) == "3-4"
    assert shortened(range(3, 4), range(6)) == "3"


@pytest.mark.parametrize(
    "field,expected",
    [
        ({"type": "int32"}, ""),
        ({"type": "int32", "default": "0"}, ""),
        ({"type": "int32", "default": "-1"}, "default=-1"),
        ({"type": "int32", "default": -1}, "default=-1"),
        ({"type": "int32", "default": "0x7fffffff"}, "default=0x7FFFFFFF"),
        ({"type": "bool", "default": "false"}, ""),
        ({"type": "bool", "default": True}, "default=True"),
        ({"type": "string", "default": ""}, ""),
        ({"type": "string", "default": "null"}, "default=None"),
        ({"type": "[]Thing", "struct": "Thing", "default": "null"}, "default=None"),
        ({"type": "Thing", "struct": "Thing", "default": "null"}, ""),
    ],
)
def test_defaults(field: dict[str, Any], expected: str) -> None:
    assert default_argument("Demo.Field", field, True) == expected


def test_imports() -> None:
    assert import_line("a", ["b", "c"]) == "from a import b, c"
    names = [f"name_{n:02}" for n in range(20)]
    assert import_line("a", names) == "from a import (\n" + "".join(f"    {name},\n" for name in names) + ")"


# ------------------------------------------------------------------------------------------------------------ the tool


@pytest.fixture
def target(jar: zipfile.ZipFile, demo_only: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """Where the files go, and the jar's path."""
    monkeypatch.setattr(generate_messages, "ROOT", tmp_path)
    monkeypatch.setattr(generate_messages, "TARGET", tmp_path / "messages")
    path = tmp_path / "kafka-clients.jar"
    assert isinstance(jar.fp, io.BytesIO)
    path.write_bytes(jar.fp.getvalue())
    return tmp_path / "messages", str(path)


def test_writing_and_checking(target: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, jar = target
    assert main(["--check", jar]) == 1
    assert not folder.exists()
    assert main([jar]) == 0
    assert main(["--check", jar]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "0 of 4 message files are current",
        "4 of 4 message files written",
        "4 of 4 message files are current",
    ]


def altered(folder: Path) -> None:
    path = folder / "demo.py"
    path.write_text(path.read_text().replace("int64(default=-1)", "int64()"))


def removed(folder: Path) -> None:
    (folder / "header.py").unlink()


def added(folder: Path) -> None:
    (folder / "extra.py").write_text("")


@pytest.mark.parametrize("damage,name", [(altered, "demo.py"), (removed, "header.py"), (added, "extra.py")])
def test_a_file_that_is_not_what_would_be_written(
    target: tuple[Path, str], capsys: pytest.CaptureFixture[str], damage: Any, name: str
) -> None:
    folder, jar = target
    main([jar])
    damage(folder)
    assert main(["--check", jar]) == 1
    text = f"{Path('messages') / name} is not what tools/generate_messages.py writes\n"
    assert capsys.readouterr().err == text
    main([jar])
    assert main(["--check", jar]) == 0
