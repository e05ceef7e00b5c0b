"""`read_batches`: finds the batches in the record data of a partition (B17-B22, B25).

A fetch response may end inside a batch, because the broker cuts at a size; that tail is left out without a word, as it
comes whole with the next fetch. Everything else that is not a batch is a CorruptRecordError. The reader tells the two
and a third case apart: data without one whole batch, which would be fetched in vain for ever.

It knows nothing about positions, transactions or who asked.
"""

from __future__ import annotations

import struct
from typing import Final

from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records.batch import RecordBatch
from dekaf_proto.records.compression import MAX_DECOMPRESSED_SIZE, check_limit
from dekaf_proto.records.legacy import LegacyBatch

#: A batch of any format.
Batch = RecordBatch | LegacyBatch

_START: Final = struct.Struct(">qi")  # the offset and the length, the same in all formats
_MAGIC_AT: Final = 16
_MIN_LENGTH: Final = 14  # of a message of format 0, the shortest thing that there is
_MAX_LENGTH: Final = 0x7FFFFFFF - _START.size


class BatchReader:
    """An iterator over the batches of a partition's record data; `read_batches` makes it.

    It moves on only when it hands out a batch: what raised once raises again. Between two batches, and after the end,
    `batches_read`, `bytes_left` and `made_no_progress` tell how far it came.
    """

    __slots__ = ("_batches_read", "_check_crcs", "_data", "_max_decompressed_size", "_partition", "_position", "_topic")

    def __init__(
        self,
        data: bytes | bytearray | memoryview,
        topic: str,
        partition: int,
        *,
        check_crcs: bool = True,
        max_decompressed_size: int = MAX_DECOMPRESSED_SIZE,
    ) -> None:
        self._data = memoryview(data)
        self._topic = topic
        self._partition = partition
        self._check_crcs = check_crcs
        check_limit(max_decompressed_size)
        self._max_decompressed_size = max_decompressed_size
        self._position = 0
        self._batches_read = 0

    @property
    def batches_read(self) -> int:
        """How many batches were handed out."""
        return self._batches_read

    @property
    def bytes_left(self) -> int:
        """Bytes behind the last batch handed out. After the end of the iteration: the length of the partial tail."""
        return len(self._data) - self._position

    @property
    def made_no_progress(self) -> bool:
        """After the end: there was data, but not one whole batch (B20). Asking for the same again would not help."""
        return self._batches_read == 0 and len(self._data) > 0

    def __iter__(self) -> BatchReader:
        return self

    def __next__(self) -> Batch:
        left = len(self._data) - self._position
        if left < _START.size:
            raise StopIteration
        offset, length = _START.unpack_from(self._data, self._position)
        if not _MIN_LENGTH <= length <= _MAX_LENGTH:
            raise CorruptRecordError(self._topic, self._partition, offset, f"a batch claims a length of {length} bytes")
        if left <= _MAGIC_AT:
            raise StopIteration
        magic = self._data[self._position + _MAGIC_AT]
        if magic > 2:
            raise CorruptRecordError(self._topic, self._partition, offset, f"there is no message format {magic}")
        size = _START.size + length
        if size > left:
            raise StopIteration
        data = self._data[self._position : self._position + size]
        batch: Batch
        if magic == 2:
            batch = RecordBatch(data, self._topic, self._partition, self._check_crcs, self._max_decompressed_size)
        else:
            batch = LegacyBatch(data, self._topic, self._partition, self._check_crcs, self._max_decompressed_size)
        self._position += size
        self._batches_read += 1
        return batch


def read_batches(
    data: bytes | bytearray | memoryview,
    topic: str,
    partition: int,
    *,
    check_crcs: bool = True,
    max_decompressed_size: int = MAX_DECOMPRESSED_SIZE,
) -> BatchReader:
    """The batches in `data`, which is what a fetch response holds for a partition, or a log segment.

    `topic` and `partition` name it, in records and in errors. `check_crcs`: whether each batch's checksum is compared
    before the batch is handed out. `max_decompressed_size`: bytes that one batch may decompress to. The batches are
    views: they keep `data` alive. ValueError for a negative limit; iterating raises CorruptRecordError where a batch is
    damaged.

    >>> from dekaf_proto.records import BatchBuilder
    >>> builder = BatchBuilder()
    >>> builder.append(1_700_000_000_000, b"k", b"v")
    0
    >>> [record.value for batch in read_batches(builder.build(), "orders", 0) for record in batch.records()]
    [b'v']
    """
    return BatchReader(data, topic, partition, check_crcs=check_crcs, max_decompressed_size=max_decompressed_size)
