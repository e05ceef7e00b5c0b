"""How fast the codecs are: dekaf's, compiled and pure, beside aiokafka's (Cython) and kafka-python's, in one run.

    python bench/codec.py [ROUNDS=5]

Each contestant does the same work in a process of its own; the rounds alternate between them, and the best of each
counts. Figures are nanoseconds a record (or a partition of a message), and how many times dekaf's time the peer takes.

    decode     a batch of 150 records with a key of 10 bytes, a value of 100 and a header: check the CRC, and loop over
               the records
    fields     the same, and look at each record's offset, timestamp, key, value and headers
    encode     the same batch, uncompressed: append record by record, build; without the caller's loop (an empty one
               is measured and taken off)
    ... plain  with records that are nothing but a value of 100 bytes
    fetch      a Fetch response with 1,000 partitions, version 11
    metadata   a Metadata response with 10,000 partitions of 100 topics, version 5

kafka-python takes part twice: as it is installed by itself, with its own CRC, and with the crc32c package beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

RECORDS = 150
BATCHES = 40
TIMESTAMP = 1_700_000_000_000
VALUE = b"v" * 100
KEY = b"k" * 10
HEADERS = [("trace", b"1234")]
SHAPES: dict[str, tuple[bytes | None, list[tuple[str, bytes | None]]]] = {
    "": (KEY, list(HEADERS)),
    " plain": (None, []),
}
PARTITIONS = 1000
TOPICS, PER_TOPIC = 100, 100

Work = Callable[[], object]


def best(work: Work, repeat: int) -> float:
    """Seconds that `work` takes, the best of some attempts."""
    work()
    fastest = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


# ------------------------------------------------------------------------------------------------------- the material


def batches(shape: str) -> bytes:
    from dekaf_proto.records import BatchBuilder

    key, headers = SHAPES[shape]
    builder = BatchBuilder()
    for i in range(RECORDS):
        builder.append(TIMESTAMP + i, key, VALUE, headers)
    return builder.build() * BATCHES


def fetch_response() -> bytes:
    from dekaf_proto.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
    from dekaf_proto.wire import encode

    partitions = [PartitionData(i, 0, 1000, 1000, 0, aborted_transactions=[], records=VALUE) for i in range(PARTITIONS)]
    return encode(FetchResponse(responses=[FetchableTopicResponse("orders", partitions=partitions)]), 11)


def metadata_response() -> bytes:
    from dekaf_proto.messages.metadata import (
        MetadataResponse,
        MetadataResponseBroker,
        MetadataResponsePartition,
        MetadataResponseTopic,
    )
    from dekaf_proto.wire import encode

    brokers = [MetadataResponseBroker(i, f"broker-{i}", 9092, None) for i in range(3)]
    topics = [
        MetadataResponseTopic(
            name=f"topic-{t}",
            partitions=[
                MetadataResponsePartition(0, i, i % 3, replica_nodes=[0, 1, 2], isr_nodes=[0, 1, 2])
                for i in range(PER_TOPIC)
            ],
        )
        for t in range(TOPICS)
    ]
    return encode(MetadataResponse(brokers=brokers, cluster_id="bench", controller_id=1, topics=topics), 5)


# ---------------------------------------------------------------------------------------------------- the contestants


def loop(records: Iterable[Any], touch: bool) -> int:
    count = 0
    if touch:
        for record in records:
            record.offset, record.timestamp, record.key, record.value, record.headers  # noqa: B018
            count += 1
    else:
        for _ in records:
            count += 1
    return count


def record_work(
    decode: Callable[[bytes, bool], object],
    encode: Callable[[bytes | None, list[tuple[str, bytes | None]]], object],
    made: dict[str, bytes],
) -> dict[str, Work]:
    """Both ways, with each shape of record."""
    work: dict[str, Work] = {}
    for shape, (key, headers) in SHAPES.items():
        work[f"decode{shape}"] = partial(decode, made[shape], False)
        work[f"fields{shape}"] = partial(decode, made[shape], True)
        work[f"encode{shape}"] = partial(encode, key, headers)
    return work


def dekaf() -> dict[str, Work]:
    from dekaf_proto.messages import FetchResponse, MetadataResponse
    from dekaf_proto.records import BatchBuilder, read_batches
    from dekaf_proto.wire import decode

    fetch, metadata = fetch_response(), metadata_response()
    shapes = {shape: batches(shape) for shape in SHAPES}

    def decode_records(data: bytes, touch: bool) -> None:
        count = 0
        for found in read_batches(data, "orders", 0):
            count += loop(found.records(), touch)
        assert count == RECORDS * BATCHES

    def encode_records(key: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
        for _ in range(BATCHES):
            builder = BatchBuilder()
            append = builder.append
            for i in range(RECORDS):
                append(TIMESTAMP + i, key, VALUE, headers)
            builder.build()

    return {
        **record_work(decode_records, encode_records, shapes),
        "fetch": lambda: decode(FetchResponse, 11, fetch),
        "metadata": lambda: decode(MetadataResponse, 5, metadata),
    }


def aiokafka() -> dict[str, Work]:
    from aiokafka.protocol.fetch import FetchResponse_v11
    from aiokafka.protocol.metadata import MetadataResponse_v5
    from aiokafka.record._crecords import DefaultRecordBatchBuilder, MemoryRecords  # else it may be the pure one

    fetch, metadata = fetch_response(), metadata_response()
    shapes = {shape: batches(shape) for shape in SHAPES}

    def decode_records(data: bytes, touch: bool) -> None:
        records = MemoryRecords(data)
        count = 0
        while records.has_next():
            found = records.next_batch()
            assert found.validate_crc()
            count += loop(found, touch)
        assert count == RECORDS * BATCHES

    def encode_records(key: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
        for _ in range(BATCHES):
            builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
            append = builder.append
            for i in range(RECORDS):
                append(i, TIMESTAMP + i, key, VALUE, headers)
            builder.build()

    return {
        **record_work(decode_records, encode_records, shapes),
        "fetch": lambda: FetchResponse_v11.decode(fetch),
        "metadata": lambda: MetadataResponse_v5.decode(metadata),
    }


def kafka_python(*, with_crc32c: bool = False) -> dict[str, Work]:
    fetch, metadata = fetch_response(), metadata_response()
    shapes = {shape: batches(shape) for shape in SHAPES}  # made before crc32c is taken away
    if not with_crc32c:
        sys.modules["crc32c"] = None  # type: ignore[assignment]  # as if it was not installed
    from kafka.protocol.consumer import FetchResponse
    from kafka.protocol.metadata import MetadataResponse
    from kafka.record import MemoryRecords
    from kafka.record.default_records import DefaultRecordBatchBuilder

    def decode_records(data: bytes, touch: bool) -> None:
        records = MemoryRecords(data)
        count = 0
        while records.has_next():
            found = records.next_batch()
            assert found.validate_crc()
            count += loop(found, touch)
        assert count == RECORDS * BATCHES

    def encode_records(key: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
        for _ in range(BATCHES):
            builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
            append = builder.append
            for i in range(RECORDS):
                append(i, TIMESTAMP + i, key, VALUE, headers)
            builder.build()

    return {
        **record_work(decode_records, encode_records, shapes),
        "fetch": lambda: FetchResponse.decode(fetch, version=11),
        "metadata": lambda: MetadataResponse.decode(metadata, version=5),
    }


CONTESTANTS: dict[str, Callable[[], dict[str, Work]]] = {
    "dekaf": dekaf,
    "aiokafka": aiokafka,
    "kafka-python": kafka_python,
    "kafka-python + crc32c": partial(kafka_python, with_crc32c=True),
}
ITEMS = {
    **{f"{way}{shape}": RECORDS * BATCHES for shape in SHAPES for way in ("decode", "fields", "encode")},
    "fetch": PARTITIONS,
    "metadata": TOPICS * PER_TOPIC,
}


def worker(name: str) -> None:
    """Measures one contestant in this process: nanoseconds an item, as JSON."""

    def empty_loop() -> None:
        for _ in range(BATCHES):
            append = str
            for i in range(RECORDS):
                append, TIMESTAMP + i, VALUE

    loop = best(empty_loop, 20)
    result = {}
    for what, work in CONTESTANTS[name]().items():
        seconds = best(work, 5 if name.startswith("kafka-python") else 15)
        result[what] = 1e9 * (seconds - (loop if what.startswith("encode") else 0)) / ITEMS[what]
    print(json.dumps(result))


def main(rounds: int) -> None:
    # Only here: a worker must not find the checkout's packages instead of those that are installed.
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    from bench.environments import python_of

    compiled, pure = python_of("compiled"), python_of("pure")
    runs = {
        "dekaf compiled": (compiled, "dekaf"),
        "dekaf pure": (pure, "dekaf"),
        "aiokafka": (pure, "aiokafka"),
        "kafka-python": (pure, "kafka-python"),
        "kafka-python + crc32c": (pure, "kafka-python + crc32c"),
    }
    best_of: dict[str, dict[str, float]] = {name: {} for name in runs}
    for _ in range(rounds):
        for name, (python, contestant) in runs.items():
            command = [str(python), __file__, "--worker", contestant]
            done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=compiled.parent)
            for what, figure in json.loads(done.stdout).items():
                best_of[name][what] = min(figure, best_of[name].get(what, figure))
    print(f"{'ns an item, best of ' + str(rounds):38}" + "".join(f"{what:>14}" for what in ITEMS))
    for name, figures in best_of.items():
        print(f"{name:38}" + "".join(f"{figures[what]:14,.0f}" for what in ITEMS))
    for ours in ("dekaf compiled", "dekaf pure"):
        for peer in ("aiokafka", "kafka-python", "kafka-python + crc32c"):
            ratios = [best_of[peer][what] / best_of[ours][what] for what in ITEMS]
            print(f"{peer + ' / ' + ours:38}" + "".join(f"{ratio:13.2f}x" for ratio in ratios))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
