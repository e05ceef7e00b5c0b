"""The other direction of the golden vectors: what dekaf writes, Java's own code reads and would write the same.

Everything that is to be read goes through one JVM for messages and one for records.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from dekaf_proto.records import BatchBuilder, Codec, ControlType, Header, build_marker
from dekaf_proto.wire import encode
from dekaf_proto.wire.schema import Field, Message, Request, Response, Struct, declared_fields
from tests.integration.conftest import unavailable
from tests.integration.kafka import DEFAULT_VERSION, JAVA, Unavailable
from tests.strategies import class_versions, examples, messages_of
from tools.golden_messages import SUFFIX, camel, jsonable
from tools.golden_records import check_records_line

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def golden_java() -> Callable[..., Lines]:
    """Hands lines to a checker of tests/java/golden-src, and gives back what it answers."""
    for program in ("java", "javac"):
        if shutil.which(program) is None:
            unavailable(Unavailable(f"no {program} here"))
    # Compiled once, before the tests: a machine that can't get at Kafka's jars is no failure of theirs.
    built = subprocess.run(
        [JAVA / "build", "golden"],
        env={**os.environ, "KAFKA_VERSION": DEFAULT_VERSION},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        unavailable(Unavailable(f"tests/java/build golden failed: {built.stderr.strip()[-600:]}"))

    def run(checker: str, *arguments: str, lines: Lines) -> Lines:
        done = subprocess.run(
            [JAVA / "golden", checker, *arguments],
            input="".join(json.dumps(line) + "\n" for line in lines),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.startswith(f"checked {len(lines)} lines: "), done.stderr[-2000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Some examples of a strategy. What hypothesis would shrink can't fail in here: it fails in Java, later."""
    found = []

    # No database: it keeps what failed, and nothing does.
    @settings(max_examples=count, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


# ------------------------------------------------------------------------------------------------------------- messages


def as_json(struct: Struct, version: int) -> dict[str, Any]:
    """A structure as the JSON that Java's converter makes of it (golden vectors are written so)."""
    result: dict[str, Any] = {}
    for field in declared_fields(type(struct)):
        value = getattr(struct, field.name)
        if version in field.versions and not (field.tag is not None and value == field.make_default()):
            result[camel(field.name)] = value_as_json(field, value, version)
    if struct.unknown_tagged_fields:
        result["_unknownTaggedFields"] = [
            {"tag": tag, "data": jsonable("bytes", data)} for tag, data in struct.unknown_tagged_fields
        ]
    return result


def value_as_json(field: Field, value: Any, version: int) -> Any:
    if value is None:
        return None
    if field.kind == "array":
        return [as_json(v, version) if field.of == "struct" else jsonable(field.of, v) for v in value]
    return as_json(value, version) if field.kind == "struct" else jsonable(field.kind, value)


def as_line(message: Message, version: int) -> dict[str, Any]:
    name = type(message).__name__
    if isinstance(message, Request):
        kind = "request"
    elif isinstance(message, Response):
        kind = "response"
    else:
        kind = "header" if name.endswith("Header") else "data"
    api = name.removesuffix(SUFFIX[kind])
    line = {"api": api, "kind": kind, "version": version, "hex": encode(message, version).hex()}
    return {**line, "json": as_json(message, version)}


def test_java_reads_every_message(golden_java: Callable[..., Lines]) -> None:
    lines = []
    for cls, version in class_versions():
        for message in [cls(), *drawn(messages_of(cls, version), examples(4))]:
            lines.append(as_line(message, version))
    failed = golden_java("CheckMessages", "--strict", "--quiet", lines=lines)
    assert failed[:3] == []


def test_java_would_find_a_difference(golden_java: Callable[..., Lines]) -> None:
    """So that the test above proves something."""
    cls, version = next((c, v) for c, v in class_versions() if c.__name__ == "HeartbeatRequest")
    right = as_line(cls(), version)
    other_json = {**right, "json": {**right["json"], "generationId": 1}}
    short = {**right, "hex": right["hex"][:-2]}
    long = {**right, "hex": right["hex"] + "00"}
    failed = golden_java("CheckMessages", "--strict", "--quiet", lines=[right, other_json, short, long])
    assert [answer["line"] for answer in failed] == [2, 3, 4]


# -------------------------------------------------------------------------------------------------------------- records


@dataclass
class Appended:
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    gap: int  # offsets left out before it, as a log cleaner does


@dataclass
class Built:
    """A batch, and what went into it."""

    records: list[Appended]
    options: dict[str, Any]

    def build(self) -> bytes:
        builder = BatchBuilder(**self.options)
        delta = -1
        for record in self.records:
            delta += 1 + record.gap
            assert builder.append(record.timestamp, record.key, record.value, record.headers, delta) == delta
        return builder.build()

    def expected(self) -> Lines:
        """Java's view of the records, as far as it does not depend on what surrounds them."""
        result = []
        offset = self.options["base_offset"] - 1
        for record in self.records:
            offset += 1 + record.gap
            result.append(
                {
                    "offset": offset,
                    "timestamp": self.options.get("append_time", record.timestamp),
                    "key": None if record.key is None else record.key.hex(),
                    "value": None if record.value is None else record.value.hex(),
                    "headers": [[key, None if value is None else value.hex()] for key, value in record.headers],
                }
            )
        return result


DATA = st.none() | st.binary(max_size=40) | st.sampled_from([b"", bytes(63), bytes(64), bytes(8192), b"ab" * 5000])
# From near each other, as they are, to as far apart as they can be.
TIMES = st.integers(1_700_000_000_000, 1_700_000_100_000) | st.integers(-1, (1 << 63) - 1)
RECORDS = st.builds(
    Appended,
    timestamp=TIMES,
    key=DATA,
    value=DATA,
    headers=st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=8)), max_size=3),
    gap=st.just(0) | st.integers(0, 1000),
)
INT16, INT32 = st.integers(0, (1 << 15) - 1), st.integers(0, (1 << 31) - 1)
PLAIN: st.SearchStrategy[dict[str, Any]] = st.just({})
IDEMPOTENT = st.fixed_dictionaries(
    {
        "producer_id": st.integers(0, (1 << 63) - 1),
        "producer_epoch": INT16,
        "base_sequence": INT32,  # the sequences behind the last one begin at 0 again
        "transactional": st.booleans(),
    }
)


@st.composite
def batches(draw: st.DrawFn, codec: Codec) -> Built:
    options: dict[str, Any] = {**draw(PLAIN | IDEMPOTENT)}
    options.update(codec=codec, base_offset=draw(st.integers(0, 1 << 40)), leader_epoch=draw(st.none() | INT32))
    if draw(st.booleans()):
        options["append_time"] = draw(st.integers(0, 1 << 50))
    return Built(draw(st.lists(RECORDS, min_size=1, max_size=6)), options)


@pytest.mark.parametrize("codec", list(Codec), ids=lambda codec: codec.name.lower())
def test_java_reads_every_batch(golden_java: Callable[..., Lines], codec: Codec) -> None:
    made: list[Built] = drawn(batches(codec), examples(60))
    many = [Appended(n, b"k%d" % n, bytes(n), [], 0) for n in range(1000)]
    made.append(Built(many, {"codec": codec, "base_offset": 7}))
    lines: Lines = [{"id": n, "hex": built.build().hex()} for n, built in enumerate(made)]
    # All of them once more, one behind the other, as a log has them.
    lines.append({"id": len(made), "hex": "".join(line["hex"] for line in lines)})

    answers = golden_java("GoldenRecords", "--check", lines=lines)
    assert [answer["id"] for answer in answers] == list(range(len(lines)))
    for built, line, answer in zip(made, lines, answers, strict=False):
        assert answer["ok"], answer
        (batch,) = answer["batches"]
        fields = ("offset", "timestamp", "key", "value", "headers")
        assert [{name: record[name] for name in fields} for record in batch["records"]] == built.expected()
        assert batch["compression"] == codec.name.lower()
        assert batch["isTransactional"] == built.options.get("transactional", False)
        for name, option in (
            ("producerId", "producer_id"),
            ("producerEpoch", "producer_epoch"),
            ("baseSequence", "base_sequence"),
        ):
            assert batch[name] == built.options.get(option, -1)
        # And dekaf reads in it what Java reads.
        assert check_records_line({**answer, **line, "name": "ours", "kind": "valid"}) == []
    log = answers[-1]
    assert (log["ok"], log["unread_bytes"], len(log["batches"])) == (True, 0, len(made))


@pytest.mark.parametrize("type", [ControlType.COMMIT, ControlType.ABORT], ids=lambda type: type.name)
def test_java_reads_markers(golden_java: Callable[..., Lines], type: ControlType) -> None:
    marker = build_marker(
        type,
        producer_id=9000,
        producer_epoch=3,
        coordinator_epoch=17,
        base_offset=1 << 40,
        timestamp=1_700_000_000_000,
        leader_epoch=5,
    )
    (answer,) = golden_java("GoldenRecords", "--check", lines=[{"hex": marker.hex()}])
    assert answer["ok"], answer
    (batch,) = answer["batches"]
    assert (batch["isControl"], batch["isTransactional"], batch["baseSequence"]) == (True, True, -1)
    assert (batch["producerId"], batch["producerEpoch"], batch["partitionLeaderEpoch"]) == (9000, 3, 5)
    (record,) = batch["records"]
    assert (record["controlType"], record["coordinatorEpoch"], record["offset"]) == (type.name, 17, 1 << 40)
