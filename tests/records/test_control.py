"""dekaf_proto.records.control: which control records are understood (B10, B11)."""

from __future__ import annotations

import pytest

from dekaf_proto.records.control import ControlRecord, ControlType, encode_marker, parse_control_record


@pytest.mark.parametrize("type", [ControlType.ABORT, ControlType.COMMIT])
def test_markers(type: ControlType) -> None:
    key, value = encode_marker(type, 7)
    assert (key, value) == (bytes([0, 0, 0, type.value]), bytes([0, 0, 0, 0, 0, 7]))  # B10
    assert parse_control_record(key, value) == ControlRecord(type, type.value, 0, 7)


def test_only_markers_can_be_written() -> None:
    with pytest.raises(ValueError, match="ABORT or COMMIT"):
        encode_marker(ControlType.OTHER, 0)


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6, 99, -1])
def test_other_types_are_told_apart_but_not_read(number: int) -> None:
    key = b"\0\0" + number.to_bytes(2, "big", signed=True)
    assert parse_control_record(key, b"anything") == ControlRecord(ControlType.OTHER, number, 0, None)  # B10


def test_newer_versions_are_read_as_far_as_they_are_known() -> None:
    assert parse_control_record(b"\0\1\0\0more", b"\0\1\0\0\0\2more") == ControlRecord(ControlType.ABORT, 0, 1, 2)


@pytest.mark.parametrize("value", [None, b"", b"\0\0\0", b"\xff\xff\0\0\0\1"])
def test_a_value_that_cannot_be_read_is_not_needed(value: bytes | None) -> None:
    assert parse_control_record(b"\0\0\0\1", value) == ControlRecord(ControlType.COMMIT, 1, 0, None)


@pytest.mark.parametrize("key", [None, b"", b"\0\0\0", b"\xff\xff\0\0"])
def test_keys_that_no_control_record_has(key: bytes | None) -> None:
    with pytest.raises(ValueError, match="control record"):
        parse_control_record(key, b"\0\0\0\0\0\0")
