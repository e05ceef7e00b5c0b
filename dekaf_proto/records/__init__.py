"""Kafka's records in their batches: reading, writing, compression, transactions. Plain functions of bytes.

To read what a fetch response (or a log segment) holds for a partition, walk its batches, then their records:

>>> builder = BatchBuilder(codec=Codec.LZ4)
>>> builder.append(1_700_000_000_000, b"alice", b"paid", [("trace", b"7")])
0
>>> for batch in read_batches(builder.build(), topic="orders", partition=3):
...     for record in batch.records():
...         print(record.offset, record.key, record.value, record.headers)
0 b'alice' b'paid' (('trace', b'7'),)

- `read_batches` finds the batches, checks their CRCs and says whether the data ended inside one;
- `judge_batches` says which of them a read_committed reader is given;
- `RecordBatch` (and `LegacyBatch` for the formats before 0.11) is a batch's header and makes its `RecordIterator`;
- `Record` is what comes out; `make_record` makes one for a test;
- `BatchBuilder` is the other direction, `build_marker` what a broker writes at the end of a transaction.

Damaged data is always a `dekaf_proto.errors.CorruptRecordError`; docs/record-decisions.md lists where that is stricter
than Java. The codecs and the CRC come from the packages `cramjam` and `crc32c`, imported on first use.
"""

from dekaf_proto.records.batch import RecordBatch
from dekaf_proto.records.builder import BatchBuilder, CompressionRatioEstimator, batch_size_bound, build_marker
from dekaf_proto.records.compression import MAX_DECOMPRESSED_SIZE, Codec
from dekaf_proto.records.control import ControlRecord, ControlType
from dekaf_proto.records.generic import Deserializer, Record, RecordIterator, make_record
from dekaf_proto.records.isolation import JudgedBatches, TransactionFilter, Visibility, judge_batches
from dekaf_proto.records.legacy import LegacyBatch
from dekaf_proto.records.record import BatchContext, Header, Headers
from dekaf_proto.records.stream import Batch, BatchReader, read_batches

__all__ = [
    "MAX_DECOMPRESSED_SIZE",
    "Batch",
    "BatchBuilder",
    "BatchContext",
    "BatchReader",
    "Codec",
    "CompressionRatioEstimator",
    "ControlRecord",
    "ControlType",
    "Deserializer",
    "Header",
    "Headers",
    "JudgedBatches",
    "LegacyBatch",
    "Record",
    "RecordBatch",
    "RecordIterator",
    "TransactionFilter",
    "Visibility",
    "batch_size_bound",
    "build_marker",
    "judge_batches",
    "make_record",
    "read_batches",
]
