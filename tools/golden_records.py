"""Compares dekaf's reading and writing of record batches with Java's: the record half of tools/check_golden.py.

A line of records-SEED.jsonl holds bytes and what Java's own code saw in them, step by step. `check_records_line` reads
the same bytes with dekaf and lists what differs:

- every batch's header up to the first error, and that the error is at the same batch;
- every record with its sequence number and its size, and which records come before an error;
- the length of a partial tail;
- of valid batches of format 2 also the way back: the same bytes when uncompressed, else the same decompressed bytes.

One difference is no finding: where a compressed batch is damaged, dekaf hands out none of its records before the error,
as it decompresses a batch at once, where Java's stream gets as far as the damage. The other ones are in
`golden_decisions`: a line that names such a mutation passes only if it differs in that way and no other.
"""

from __future__ import annotations

from typing import Any

from dekaf_proto.errors import CorruptRecordError
from dekaf_proto.records import Batch, BatchBuilder, LegacyBatch, Record, RecordBatch, read_batches
from dekaf_proto.records.batch import HEADER_SIZE
from dekaf_proto.records.compression import decompress
from dekaf_proto.records.varint import encode_varint, read_varint
from dekaf_proto.types import TimestampType
from tools.golden_decisions import Outcome, decisions_for

_TYPE_NAMES = {
    TimestampType.NO_TIMESTAMP_TYPE: "NoTimestampType",
    TimestampType.CREATE_TIME: "CreateTime",
    TimestampType.LOG_APPEND_TIME: "LogAppendTime",
}

# Java's names of control types by their numbers; any other one is UNKNOWN.
_CONTROL_NAMES = dict(
    enumerate(
        ("ABORT", "COMMIT", "LEADER_CHANGE", "SNAPSHOT_HEADER", "SNAPSHOT_FOOTER", "KRAFT_VERSION", "KRAFT_VOTERS")
    )
)

BytesRecord = Record["bytes | None", "bytes | None"]


def check_records_line(line: dict[str, Any]) -> list[str]:
    """What is wrong with dekaf's view of one line; nothing, if it passes."""
    if line["kind"] not in ("valid", "corrupt"):
        return [f"there is no kind {line['kind']!r}"]
    failures = compare_with_java(line)
    for decision in decisions_for(line["name"], line.get("mutation")):
        if failures and (decision.outcome is not Outcome.REFUSED or decision.says in failures[0]):
            failures = compare_with_java(line, decision.outcome)
    if not failures and line["kind"] == "valid":
        failures = check_encoding(bytes.fromhex(line["hex"]))
    return failures


def compare_with_java(line: dict[str, Any], decided: Outcome | None = None) -> list[str]:
    """The differences between dekaf's view and Java's, but for the one that was decided on."""
    failures: list[str] = []
    error_at = java_error_at(line)
    reader = read_batches(bytes.fromhex(line["hex"]), "golden", 0)
    index = 0
    while True:
        failed = index == error_at  # Java's reading ends here
        expected = line["batches"][index] if index < len(line["batches"]) else None
        batch: Batch | None = None
        records: list[BytesRecord] = []
        error: CorruptRecordError | None = None
        try:
            batch = next(reader, None)
            if batch is not None:
                records.extend(batch.records())
                if batch.is_control:
                    batch.control_record()
        except CorruptRecordError as caught:
            error = caught
        at = f"batch {index}"
        if batch is None and error is None:
            if failed or expected is not None:
                failures.append(f"{at}: dekaf is at the end, Java is not")
            elif reader.bytes_left != line["unread_bytes"]:
                failures.append(f"{reader.bytes_left} bytes left where Java leaves {line['unread_bytes']}")
            return failures
        if error is not None and not failed and decided is not Outcome.REFUSED:
            return [*failures, f"{at}: dekaf refuses it ({error.reason}), Java does not"]
        if error is None and failed:
            failures.append(f"{at}: Java refuses it ({line['first_error']}), dekaf does not")
        if expected is None:
            if batch is not None and not failed:
                failures.append(f"{at}: Java is at the end, dekaf is not")
            return failures  # Java saw no batch here at all; whether that is an error was compared above
        if batch is not None:
            failures += [f"{at}: {failure}" for failure in compare_header(batch, expected, error is not None)]
        readable = [] if "ensure_valid_error" in expected else expected["records"]
        # Java reads a compressed batch as a stream, up to the damage; dekaf decompresses all of it or nothing.
        fewer = error is not None and (
            decided in (Outcome.REFUSED, Outcome.REFUSED_EARLIER) or is_codec_failure(expected)
        )
        if batch is not None:
            failures += [f"{at}: {failure}" for failure in compare_places(batch, records, readable)]
        failures += [f"{at}: {failure}" for failure in compare_records(records, readable, fewer, decided)]
        if failed or error is not None:
            return failures
        index += 1


def is_codec_failure(expected: dict[str, Any]) -> bool:
    """Whether Java's trouble with a batch's records came from decompressing (or from an inner message's CRC)."""
    if expected["compression"] == "none":
        return False
    error = expected.get("records_error")
    return error is None or not error["class"].endswith(".InvalidRecordException")


def java_error_at(line: dict[str, Any]) -> int | None:
    """The batch at which a Java consumer that checks CRCs stops, None if it reads all.

    That is the line's first error, and besides the CRC of a message inside a compressed set, which the consumer checks
    record by record, and a control record whose key it can't read.
    """
    first = line["first_error"]
    for index, batch in enumerate(line["batches"]):
        if first is not None and first["batch"] == index:
            return index
        if any("ensure_valid_error" in record for record in batch["records"]):
            return index
        if batch["records"] and str(batch["records"][0].get("controlType", "")).startswith("!"):
            return index
    return None if first is None else int(first["batch"])


def compare_header(batch: Batch, expected: dict[str, Any], failed: bool) -> list[str]:
    """What differs between a batch's header and Java's view of it."""
    actual: dict[str, object] = {
        "magic": batch.magic,
        "lastOffset": batch.last_offset,
        "nextOffset": batch.next_offset,
        "sizeInBytes": batch.size,
        "compression": batch.codec.name.lower(),
        "timestampType": _TYPE_NAMES[batch.timestamp_type],
        "maxTimestamp": batch.max_timestamp,
        "producerId": batch.producer_id,
        "producerEpoch": batch.producer_epoch,
        "baseSequence": batch.base_sequence,
        "lastSequence": batch.last_sequence,
        "partitionLeaderEpoch": -1 if batch.leader_epoch is None else batch.leader_epoch,
        "isControl": batch.is_control,
        "isTransactional": batch.is_transactional,
        "deleteHorizonMs": batch.delete_horizon_ms,
        "count": batch.count,
        "checksum": batch.crc,
        "isValid": batch.crc_is_valid,
    }
    if isinstance(batch, RecordBatch):
        actual["baseTimestamp"] = batch.base_timestamp
    if not failed:
        actual["baseOffset"] = batch.base_offset  # of a compressed set: by its messages
        control = batch.control_record() if batch.is_control else None
        if control is not None and expected["records"]:
            java = expected["records"][0]
            epoch = java.get("coordinatorEpoch")  # a marker's only; an exception's name if it can't be read
            if (_CONTROL_NAMES.get(control.number, "UNKNOWN"), control.coordinator_epoch) != (
                java["controlType"],
                None if isinstance(epoch, str) else epoch,
            ):
                return [f"control record {control} where Java sees {java}"]
    return [
        f"{name} is {value!r}, in Java {expected[name]!r}" for name, value in actual.items() if value != expected[name]
    ]


def compare_records(
    records: list[BytesRecord], expected: list[dict[str, Any]], fewer: bool, decided: Outcome | None
) -> list[str]:
    """What differs between the records handed out and Java's; `fewer` are enough before some errors."""
    failures = []
    if len(records) > len(expected) or (len(records) < len(expected) and not fewer):
        failures.append(f"{len(records)} records where Java has {len(expected)}")
    for record, java in zip(records, expected, strict=False):
        headers = [[key, None if value is None else value.hex()] for key, value in record.headers]
        expected_headers = java["headers"]
        if decided is Outcome.HEADER_KEYS:
            headers = [[_known_part(key), value] for key, value in headers]
            expected_headers = [[_known_part(key), value] for key, value in expected_headers]
        for name, value, wanted in (
            ("offset", record.offset, java["offset"]),
            ("timestamp", record.timestamp, java["timestamp"]),
            ("key", None if record.key is None else record.key.hex(), java["key"]),
            ("value", None if record.value is None else record.value.hex(), java["value"]),
            ("headers", headers, expected_headers),
        ):
            if value != wanted:
                failures.append(f"record at {record.offset}: {name} is {value!r}, in Java {wanted!r}")
    return failures


def compare_places(batch: Batch, records: list[BytesRecord], expected: list[dict[str, Any]]) -> list[str]:
    """What differs in what a record does not tell by itself: its sequence number, and its size in the batch."""
    failures = []
    sizes = record_sizes(batch, records)
    for record, size, java in zip(records, sizes, expected, strict=False):
        sequence = -1
        if batch.base_sequence >= 0:
            sequence = (batch.base_sequence + record.offset - batch.base_offset) % (1 << 31)
        for name, value in (("sequence", sequence), ("sizeInBytes", size)):
            if value != java[name]:
                failures.append(f"record at {record.offset}: {name} is {value!r}, in Java {java[name]!r}")
    return failures


def record_sizes(batch: Batch, records: list[BytesRecord]) -> list[int]:
    """The bytes that each record takes, uncompressed."""
    if isinstance(batch, LegacyBatch):
        start = 26 if batch.magic == 0 else 34
        return [start + len(record.key or b"") + len(record.value or b"") for record in records]
    sizes: list[int] = []
    payload = batch._payload() if records else b""
    start = 0
    for _ in records:
        length, end = read_varint(payload, start)
        sizes.append(length + len(encode_varint(length)))  # as Java: a length in more bytes than it needs counts less
        start = end + length
    return sizes


def _known_part(key: str | None) -> str:
    """A header's key without what was no UTF-8."""
    return "".join(c for c in key or "" if c != "\ufffd" and not "\ud800" <= c <= "\udfff")


def check_encoding(data: bytes) -> list[str]:
    """Writes each batch of format 2 again; what differs from `data`."""
    failures = []
    for batch in read_batches(data, "golden", 0):
        if isinstance(batch, LegacyBatch):
            continue
        start = data.index(bytes(batch._data))
        original = data[start : start + batch.size]
        written = encode_again(batch, original)
        if batch.codec == 0:
            if written != original:
                failures.append(f"batch at {batch.base_offset}: written as {written.hex()}")
            continue
        # Length and CRC depend on what the compressor made of it; everything else must be the same.
        for begin, end in ((0, 8), (12, 17), (21, HEADER_SIZE)):
            if written[begin:end] != original[begin:end]:
                failures.append(f"batch at {batch.base_offset}: header bytes {begin} to {end} differ")
        if decompress(batch.codec, written[HEADER_SIZE:]) != decompress(batch.codec, original[HEADER_SIZE:]):
            failures.append(f"batch at {batch.base_offset}: other records")
        (again,) = read_batches(written, "golden", 0)
        if list(again.records()) != list(batch.records()):
            failures.append(f"batch at {batch.base_offset}: it reads differently")
    return failures


def encode_again(batch: RecordBatch, original: bytes) -> bytes:
    """The batch as `BatchBuilder` makes it from its header and its records."""
    # Records of a batch with the broker's time still have their own in the bytes; without the attribute bit they show.
    plain = bytearray(original)
    plain[22] &= ~0x08
    (readable,) = read_batches(plain, "golden", 0, check_crcs=False)
    append_time = batch.max_timestamp if batch.timestamp_type is TimestampType.LOG_APPEND_TIME else None
    builder = BatchBuilder(
        codec=batch.codec,
        base_offset=batch.base_offset,
        leader_epoch=batch.leader_epoch,
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        base_sequence=batch.base_sequence,
        transactional=batch.is_transactional,
        control=batch.is_control,
        append_time=append_time,
        base_timestamp=batch.base_timestamp,
        delete_horizon_ms=batch.delete_horizon_ms,
    )
    for record in readable.records():
        builder.append(
            record.timestamp, record.key, record.value, record.headers, offset_delta=record.offset - batch.base_offset
        )
    return builder.build(
        last_offset_delta=batch.last_offset - batch.base_offset,
        max_timestamp=None if builder.count else batch.max_timestamp,
    )
