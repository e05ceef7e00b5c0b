"""Kafka's console tools as they are: `kafka-topics`, `kafka-console-producer` and so on, all in one JVM."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tests.integration.kafka import JVM, _script

Tool = Literal["topics", "producer", "consumer", "groups", "offsets"]

CLASSES: Final[dict[Tool, str]] = {
    "topics": "TopicCommand",
    "producer": "ConsoleProducer",
    "consumer": "consumer.ConsoleConsumer",
    "groups": "consumer.group.ConsumerGroupCommand",
    "offsets": "GetOffsetShell",
}


@dataclass(frozen=True)
class Ended:
    """How a tool has ended, and what it said on its standard output."""

    code: int
    out: str

    @property
    def lines(self) -> list[str]:
        """What it said, without empty lines and without the ends of lines that only align."""
        return [line.rstrip() for line in self.out.splitlines() if line.strip()]


class Console:
    """The JVM. A tool that takes too long ends it, and all that wait with it."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process, self._errors = process, errors
        self._started = 0
        self._ended: dict[int, Ended] = {}

    def run(self, bootstrap: str, tool: Tool, *arguments: str, given: str = "") -> Ended:
        """Runs a tool to its end; `given` is its standard input."""
        return self.wait(self.start(bootstrap, tool, *arguments, given=given))

    def start(self, bootstrap: str, tool: Tool, *arguments: str, given: str = "") -> int:
        """Has a tool run beside the others; `wait` takes what this returns."""
        assert self._process.stdin is not None
        self._started += 1
        order = {
            "id": self._started,
            "tool": f"org.apache.kafka.tools.{CLASSES[tool]}",
            "args": ["--bootstrap-server", bootstrap, *arguments],
            "input": given,
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._started

    def wait(self, number: int) -> Ended:
        """Until that tool has ended."""
        assert self._process.stdout is not None
        while number not in self._ended:
            line = self._process.stdout.readline()
            assert line, f"the console tools have died: {self._errors.read_text(errors='replace')[-3000:]}"
            answer = json.loads(line)
            self._ended[answer["id"]] = Ended(answer["code"], answer["out"])
        return self._ended.pop(number)


@contextmanager
def console() -> Iterator[Console]:
    """Unavailable where there is no Java, or no Maven that brings the tools."""
    libs, classes = _script("fetch-jars", "tools"), _script("build", "tools")
    command = ["java", "-Xmx256m", *JVM, "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
    command += ["-cp", f"{classes}:{libs}/*", "ConsoleTools"]
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder) / "errors"
        with errors.open("wb") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                start_new_session=True,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Console(process, errors)
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
