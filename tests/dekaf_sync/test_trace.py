"""`Consumer(..., trace=...)`: what a program does in threads is recorded so that it can be replayed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dekaf_proto.errors import DeserializationError
from dekaf_proto.trace import Step, Trace
from dekaf_sync import Consumer
from dekaf_sync._trace import TraceFile
from tests.dekaf_sync.helpers import T0, T1, Kafka, replay, until, values


def what(steps: list[Step], kind: str) -> list[Any]:
    return [entry for step in steps for entry in step.line.get("out", ()) if entry[0] == kind]


@pytest.mark.parametrize("payloads", [False, True])
def test_a_member_of_a_group(kafka: Kafka, tmp_path: Path, payloads: bool) -> None:
    path = tmp_path / "trace.jsonl"
    kafka.append("tea", "coffee", "tea")
    kafka.append("milk", partition=1)
    with kafka.member("t", trace=Trace(path, payloads=payloads), enable_auto_commit=False) as consumer:
        records = [record for _, record in zip(range(4), consumer, strict=False)]
        consumer.commit(records[0])
        consumer.commit_async({T1: 1}, on_done=lambda offsets, error: None)
        consumer.seek_to_beginning(T0)
        assert len(consumer.poll(max_records=2)) == 2
        assert len(consumer.offsets_for_times({T0: 1_000_000_000_000})) == 1
    steps = replay(path)
    assert [entry[2] for entry in what(steps, "event")] == ["PartitionsAssigned", "PartitionsRevoked"]
    given = [record.value for step in steps if "run" in step.line for record in step.output]
    assert (b"coffee" in given) is payloads
    text = path.read_text()
    assert "b3JkZXJz" not in text  # no topic of another test
    assert len(given) == 6 or not payloads


def test_reading_in_one_thread_while_the_engine_works_in_another(kafka: Kafka, tmp_path: Path) -> None:
    """What a commit sends depends on how far the program is at that moment."""
    path = tmp_path / "trace.jsonl"
    kafka.append(*map(str, range(2_000)), per_batch=10)
    kafka.append("bad", partition=1)

    def deserialize(value: bytes) -> int:
        if consumer.position(T0) == 500:  # it may take its time, and ask the consumer
            consumer.metrics()
        return int(value)

    consumer: Consumer[Any, Any] = kafka.consumer(
        group_id="g", value_deserializer=deserialize, auto_commit_interval_ms=1, fetch_max_bytes=500, trace=path
    )
    with consumer:
        consumer.assign([T0])
        for number, record in zip(range(1_500), consumer, strict=False):
            assert record.value == number
        while len(consumer.poll(0.05)):
            pass
        consumer.assign([T1])
        with pytest.raises(DeserializationError):
            consumer.poll()
    commits = [entry for entry in what(replay(path), "Send") if entry[2].startswith("OFFSET_COMMIT")]
    assert commits


def test_a_deserializer_does_not_hold_up_the_engine(kafka: Kafka, tmp_path: Path) -> None:
    """It may take longer than a session: heartbeats are sent meanwhile, and the replay has them where they came."""
    path = tmp_path / "trace.jsonl"
    kafka.append("a", "b")
    beats: list[int] = []

    def deserialize(value: bytes) -> bytes:
        sent = kafka.heartbeats()
        until(lambda: kafka.heartbeats() > sent + 1)
        beats.append(sent)
        return value

    with kafka.member("t", trace=path, value_deserializer=deserialize) as consumer:
        assert values(record for _, record in zip(range(2), consumer, strict=False)) == ["a", "b"]
    steps = replay(path)
    assert len(beats) == 2
    inside = [step.number for step in steps if "inside" in step.line]
    assert inside  # and between it and the next one the engine was told something
    assert all(any(other.number == number + 1 and "do" in other.line for other in steps) for number in inside)


def test_no_file_before_the_first_call_and_none_where_there_can_be_none(
    kafka: Kafka, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = kafka.consumer(trace=tmp_path / "never.jsonl")
    consumer.close()
    assert os.listdir(tmp_path) == []
    TraceFile(tmp_path / "never.jsonl").close()
    kafka.append("a")
    with kafka.consumer(T0, trace=str(tmp_path / "nowhere" / "trace.jsonl")) as consumer:
        assert next(iter(consumer)).value == b"a"
    assert [record.message for record in caplog.records if "the recording ends" in record.message]
