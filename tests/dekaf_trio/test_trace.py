"""`Consumer(..., trace=...)` of dekaf_trio."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from dekaf_proto.trace import Replay, Trace
from dekaf_trio._trace import TraceFile
from tests.dekaf_trio.memory import T0, MemoryKafka, run, take


@pytest.mark.parametrize("payloads", [False, True])
def test_a_session_is_replayed(tmp_path: Path, payloads: bool) -> None:
    path = tmp_path / "trace.jsonl"

    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a", "b", "c")
        async with kafka.member("t", trace=Trace(path, payloads=payloads)) as consumer:
            assert await take(2, consumer) == ["a", "b"]
            with trio.move_on_after(5):
                await take(2, consumer)
            consumer.pause()
            await consumer.commit({T0: 1})
            with trio.move_on_after(1):
                await consumer.poll()

    run(main)
    with open(path) as file:
        replay = Replay(file)
        steps = list(replay)
    assert replay.end == "closed"
    assert any("cancel" in step.line for step in steps)
    values = [record.value for step in steps if "run" in step.line for record in step.output]
    assert (values == [b"a", b"b", b"c"]) is payloads


def test_no_file_before_the_first_call(tmp_path: Path) -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.consumer(trace=str(tmp_path / "never.jsonl"))

    run(main)
    TraceFile(tmp_path / "never.jsonl").close()
    assert os.listdir(tmp_path) == []
