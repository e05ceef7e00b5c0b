"""The table of error codes against Java's own."""

from __future__ import annotations

from dekaf_proto.errors import ErrorCode
from tests.integration.kafka import JavaHelper


def test_every_code_of_java_is_in_the_table_with_its_name_and_its_classification(java: JavaHelper) -> None:
    rows = java.call("errors")
    assert {row["code"]: row["name"] for row in rows} == {code.value: code.name for code in ErrorCode}
    assert [row["code"] for row in rows if row["retriable"]] == sorted(c for c in ErrorCode if c.retriable)
    metadata = sorted(c for c in ErrorCode if c.invalidates == "metadata")
    assert [row["code"] for row in rows if row["invalid_metadata"]] == metadata
    # What Java refreshes besides the metadata is the coordinator.
    coordinator = sorted(c for c in ErrorCode if c.invalidates == "coordinator")
    assert [row["code"] for row in rows if row["refresh"] and not row["invalid_metadata"]] == coordinator
