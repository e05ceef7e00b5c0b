"""dekaf_proto.records.checksum: known values, and that the library is not imported before it is needed."""

from __future__ import annotations

import subprocess
import sys

from dekaf_proto.records.checksum import crc32c


def test_known_values() -> None:
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(memoryview(b"6789"), crc32c(bytearray(b"12345"))) == 0xE3069283


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = "import sys, dekaf_proto.records as r; print(sorted({'crc32c', 'cramjam'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
