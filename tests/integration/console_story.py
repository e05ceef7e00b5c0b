"""What Kafka's console tools do at a cluster, and what they say of it, less what differs from run to run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from functools import partial

from tests.integration.console import Console, Ended, Tool
from tests.integration.kafka import CODECS, JavaClients, Produced, wait_until

#: How long one step may take, in seconds. Only a failure takes that long.
PATIENCE = 90.0
OFFSETS = ("TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG")
NEW_OFFSETS = ("TOPIC", "PARTITION", "NEW-OFFSET")


class Tools:
    """See the module. It makes three topics and a group, and deletes them."""

    def __init__(self, console: Console, cluster: JavaClients, topic: str, now: int) -> None:
        self._console, self._cluster, self._now = console, cluster, now
        self._topic, self._shared, self._timed = topic, f"{topic}-shared", f"{topic}-timed"
        self._group = f"{topic}-group"
        self.seen: list[object] = []

    def tell(self) -> None:
        self._make_topics()
        keys = self._read_what_was_written()
        self._share(keys)
        self._look_up_times()
        self._reset()
        self._read_transactions()
        self._delete()

    # ------------------------------------------------------------------------------------------------------ the steps

    def _make_topics(self) -> None:
        create = ("--create", "--topic", self._topic, "--partitions")
        self._note("topics", *create, "2", "--config", "max.message.bytes=3000")
        self._note("topics", *create, "2")
        self._note("topics", "--create", "--topic", f"{self._topic}-x", "--config", "no.such=1")
        self._note("topics", "--create", "--topic", f"{self._topic}-x", "--replication-factor", "9")
        self._note("topics", "--alter", "--topic", self._topic, "--partitions", "4")
        self._note("topics", "--alter", "--topic", self._topic, "--partitions", "3")
        for name in (self._shared, self._timed):
            self._note("topics", "--create", "--topic", name, "--partitions", "4")
        for name in (self._topic, self._shared, self._timed):
            wait_until("the partitions", partial(self._has_four, name))
        self._note("topics", "--describe", "--topic", self._topic)
        assert {self._topic, self._shared, self._timed} <= set(self._run("topics", "--list").lines)

    def _read_what_was_written(self) -> list[str]:
        """Returns a key for each partition."""
        for codec in CODECS:
            lines = [f"n:{n},codec:{codec}\tkey {n}\tvalue {n}" for n in range(20)]
            self._write(self._topic, lines, "--compression-codec", codec)
        rows = self._wait_for(self._start_reading(self._topic, 100, "--from-beginning"))
        self.seen.append(rows)
        assert sorted(row[2:] for row in rows) == sorted(
            [f"n:{n},codec:{codec}", f"key {n}", f"value {n}"] for n in range(20) for codec in CODECS
        )
        self._note("offsets", "--topic-partitions", self._topic)
        keys = {int(partition): key for partition, _, _, key, _ in rows}
        return [keys[partition] for partition in range(4)]

    def _share(self, keys: list[str]) -> None:
        """Two members of a group, each with two partitions, of each ten records."""
        describe = ("--describe", "--group", self._group)
        arguments = (self._shared, 20, "--group", self._group, "--from-beginning")
        members = [self._start_reading(*arguments) for _ in range(2)]

        def shared() -> bool:
            found = self._run("groups", *describe, "--members")
            return found.code == 0 and _columns(found, ("#PARTITIONS",)) == [("2",), ("2",)]

        wait_until("a share for both", shared, PATIENCE)
        self._note_table("groups", *describe, "--state", columns=("ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"))
        self._note("groups", "--delete", "--group", self._group)
        self._write(self._shared, [f"n:{n}\t{key}\t{n}" for n in range(10) for key in keys])
        shares = [self._wait_for(member) for member in members]
        for share in shares:
            assert len({partition for partition, *_ in share}) == 2, shares
        self.seen.append(sorted(shares[0] + shares[1]))
        assert [row[:2] for row in sorted(shares[0] + shares[1])] == [
            [str(partition), str(offset)] for partition in range(4) for offset in range(10)
        ]
        assert self._group in self._run("groups", "--list").lines
        self._note_table("groups", *describe, "--state", columns=("STATE", "#MEMBERS"))
        self._note_table("groups", *describe, columns=OFFSETS)

    def _look_up_times(self) -> None:
        records = [Produced(self._timed, n % 4, b"%d" % n, b"timed", (), self._now + 1000 * n) for n in range(40)]
        self._cluster.produce(records)
        for at in (-1, 0, 17_500, 39_000, 39_001):
            self._note("offsets", "--topic-partitions", self._timed, "--time", self._now + at)
        for special in ("-1", "-2", "earliest", "latest", "max-timestamp"):
            self._note("offsets", "--topic-partitions", self._timed, "--time", special)

    def _reset(self) -> None:
        """Where the group goes on is changed in all ways; and it goes on there."""
        reset = ("--reset-offsets", "--group", self._group, "--topic")
        at = datetime.fromtimestamp((self._now + 17_500) / 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        for arguments in (
            [self._timed, "--to-latest", "--dry-run"],
            [self._timed, "--to-earliest", "--execute"],
            [f"{self._timed}:0,2", "--to-offset", "7", "--execute"],
            [f"{self._timed}:0,1,2,3", "--shift-by", "2", "--execute"],
            [f"{self._timed}:3", "--to-offset", "99", "--execute"],
            [f"{self._timed}:0", "--to-current", "--execute"],
            [self._timed, "--to-datetime", at, "--execute"],
        ):
            self._note_table("groups", *reset, *arguments, columns=NEW_OFFSETS)
        rows = self._wait_for(self._start_reading(self._timed, 22, "--group", self._group))
        self.seen.append(rows)
        assert sorted(int(row[3]) for row in rows) == list(range(18, 40))
        self._note("groups", "--delete-offsets", "--group", self._group, "--topic", f"{self._timed}:1")
        self._note("groups", "--delete-offsets", "--group", self._group, "--topic", self._shared)
        self._note_table("groups", "--describe", "--group", self._group, columns=OFFSETS)

    def _read_transactions(self) -> None:
        """Those of Java's producer: the console's has none."""
        for end in ("commit", "abort", "commit", "open"):
            records = [Produced(self._topic, n % 4, end.encode(), b"%d" % n) for n in range(20)]
            self._cluster.produce(records, transactional_id=self._topic, end=end, flush_every=7)
        views = [("read_committed", 140), ("read_uncommitted", 180)]
        for level, count in views:
            rows = self._wait_for(
                self._start_reading(self._topic, count, "--from-beginning", "--isolation-level", level)
            )
            self.seen.append(rows)
            ends = {row[3] for row in rows if not row[3].startswith("key")}
            assert ends == ({"commit"} if level == "read_committed" else {"commit", "abort", "open"})
        self._cluster.end_transaction(self._topic, "abort")

    def _delete(self) -> None:
        self._note("groups", "--delete", "--group", self._group)
        self._note("groups", "--delete", "--group", self._group)
        self._note("groups", "--describe", "--group", self._group)
        names = (self._topic, self._shared, self._timed)
        for name in names:
            self._note("topics", "--delete", "--topic", name)
        wait_until("the topics to be gone", lambda: not set(names) & set(self._run("topics", "--list").lines), PATIENCE)
        self._note("topics", "--describe", "--topic", self._topic)

    # ------------------------------------------------------------------------------------------------------ the tools

    def _run(self, tool: Tool, *arguments: object, given: str = "") -> Ended:
        return self._console.run(self._cluster.bootstrap, tool, *map(str, arguments), given=given)

    def _has_four(self, name: str) -> bool:
        return self._described(name).count("Partition: ") == 4

    def _described(self, topic: str) -> str:
        return self._run("topics", "--describe", "--topic", topic).out

    def _note(self, tool: Tool, *arguments: object) -> None:
        """Runs it, and takes down all that it says."""
        ended = self._run(tool, *arguments)
        said = [re.sub(r"TopicId: \S+", "", line) for line in ended.lines]
        said = [re.sub(r"(Unable to replicate .*\)): .*", r"\1", line) for line in said]  # and why, at some length
        # To a topic's own options Kafka adds those of its configuration.
        said = [re.sub(r"Configs: (\S*?,)?(max\.message\.bytes=\d+)\S*", r"\2", line) for line in said]
        said = [re.sub(r"Configs: .*", "", line) for line in said]
        self.seen.append([tool, arguments, ended.code, sorted(said)])

    def _note_table(self, tool: Tool, *arguments: object, columns: Sequence[str]) -> None:
        """Runs it, and takes down these columns of the table that it prints."""
        ended = self._run(tool, *arguments)
        self.seen.append([tool, arguments, ended.code, _columns(ended, columns)])

    def _write(self, topic: str, lines: Iterable[str], *arguments: str) -> None:
        """Each line is `headers TAB key TAB value`."""
        reader = _options("--reader-property", "parse.headers=true", "parse.key=true")
        given = "".join(f"{line}\n" for line in lines)
        ended = self._run("producer", "--topic", topic, *reader, *arguments, given=given)
        assert (ended.code, ended.lines) == (0, [])

    def _start_reading(self, topic: str, count: int, *arguments: str) -> int:
        """Has it read that many records, for `_wait_for`."""
        shown = _options(
            "--formatter-property", *(f"print.{what}=true" for what in ("partition", "offset", "key", "headers"))
        )
        beats = ("--command-property", "heartbeat.interval.ms=200")
        options = ("--topic", topic, "--max-messages", str(count), *beats, *shown, *arguments)
        return self._console.start(self._cluster.bootstrap, "consumer", *options)

    def _wait_for(self, reader: int) -> list[list[str]]:
        """What it has read: of each record the partition, the offset, headers, key and value."""
        ended = self._console.wait(reader)
        assert ended.code == 0
        return sorted(re.sub("(Partition|Offset):", "", line).split("\t") for line in ended.out.splitlines())


def _options(name: str, *values: str) -> list[str]:
    return [argument for value in values for argument in (name, value)]


def _columns(ended: Ended, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """These columns of the table, whose first heading is GROUP; empty if there is none."""
    rows = [line.split() for line in ended.lines]
    start = next((number for number, row in enumerate(rows) if row[0] == "GROUP"), len(rows))
    return sorted(tuple(row[rows[start].index(name)] for name in columns) for row in rows[start + 1 :])
