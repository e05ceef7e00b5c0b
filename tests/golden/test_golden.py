"""The golden vectors that are kept here (tools/select_golden.py chose them) pass, and say what they are meant to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dekaf_proto.group import ASSIGNORS
from tests.strategies import class_versions
from tools.check_golden import check_lines, open_lines
from tools.golden_messages import SUFFIX

HERE = Path(__file__).parent
FILES = [HERE / "messages.jsonl.xz", HERE / "records.jsonl.xz", HERE / "assign.jsonl.xz"]


def lines_of(path: Path) -> list[dict[str, Any]]:
    with open_lines(path) as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_golden_vectors(path: Path) -> None:
    with open_lines(path) as lines:
        results = list(check_lines(lines))
    assert [f"{number}: {wrong}" for number, wrong in results if wrong] == []
    assert len(results) > 1900


def test_every_message_is_there_in_every_version() -> None:
    lines = lines_of(FILES[0])
    there = {(line["api"] + SUFFIX[line["kind"]], line["version"]) for line in lines}
    assert there == {(cls.__name__, version) for cls, version in class_versions()}
    assert {line["sample"] for line in lines} == {"0", "1", "2", "default", "nulls", "full"}


def test_records_of_every_format_and_codec_are_there() -> None:
    valid = [line for line in lines_of(FILES[1]) if line["kind"] == "valid"]
    seen = {(batch["magic"], batch["compression"]) for line in valid for batch in line["batches"]}
    codecs = ["none", "gzip", "snappy", "lz4"]
    assert seen >= {(magic, codec) for magic in (0, 1, 2) for codec in codecs} | {(2, "zstd")}


def test_every_assignor_is_there_with_all_that_can_happen_to_a_group() -> None:  # A1-A6
    lines = lines_of(FILES[2])
    changes = {"start", "none", "join", "leave", "more partitions", "topic added or removed", "one resubscribes"}
    for assignor in ASSIGNORS:
        there = [line for line in lines if line["assignor"] == assignor]
        assert {line["change"] for line in there} == {*changes, "stale claim"}
        assert {(line["same_subscriptions"], line["partition_racks"] is None) for line in there} == {
            *((True, True), (True, False), (False, True), (False, False))
        }


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in FILES) < 3_000_000
