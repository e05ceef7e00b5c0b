"""Control records: what brokers write into a partition between the users' records (B10, B11).

The markers that end a transaction are the ones a client has to understand; what Kafka's own metadata log adds is read
as `OTHER` and passed over. A control batch is told by its attribute bit; its record's key says which kind it is.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import Final, NamedTuple

_KEY: Final = struct.Struct(">hh")  # version, type
_MARKER: Final = struct.Struct(">hi")  # version, coordinator epoch


class ControlType(Enum):
    """What a control record announces."""

    ABORT = 0
    COMMIT = 1
    OTHER = -1  # something that no client needs to know


class ControlRecord(NamedTuple):
    """A control record's content.

    `number` is the type as it was written, `version` that of the key. `coordinator_epoch` is the marker's, None for
    other types and for a value that can't be read: nothing depends on it.
    """

    type: ControlType
    number: int
    version: int
    coordinator_epoch: int | None


def parse_control_record(key: bytes | None, value: bytes | None) -> ControlRecord:
    """Reads a control record; ValueError if the key is none that a control record can have."""
    if key is None or len(key) < _KEY.size:
        raise ValueError("a control record without a version and a type")
    version, number = _KEY.unpack_from(key)
    if version < 0:
        raise ValueError(f"a control record of version {version}")
    if number not in (ControlType.ABORT.value, ControlType.COMMIT.value):
        return ControlRecord(ControlType.OTHER, number, version, None)
    epoch: int | None = None
    if value is not None and len(value) >= _MARKER.size:
        marker_version, read = _MARKER.unpack_from(value)
        if marker_version >= 0:
            epoch = read
    return ControlRecord(ControlType(number), number, version, epoch)


def encode_marker(type: ControlType, coordinator_epoch: int) -> tuple[bytes, bytes]:
    """Key and value of the record that ends a transaction; ValueError for a type that does not."""
    if type is ControlType.OTHER:
        raise ValueError("a transaction ends with ABORT or COMMIT")
    return _KEY.pack(0, type.value), _MARKER.pack(0, coordinator_epoch)
