"""What was done, by whom, and whether that is right. It knows journals, offsets and commits; no process, no clock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

#: A line of a journal: {"done": [partition, offset]}, {"assigned": [partition, ...]} or {"revoked": [...]}.
Line = dict[str, list[int]]


class Journal:
    """Reads a worker's journal as it grows."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._read = 0

    def read(self) -> list[Line]:
        """The whole lines that are new."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self._read += len(data)
        return [json.loads(line) for line in data.splitlines()]


class Account:
    """The books. `fed`, the offsets that there are, may grow from outside. The journals are read after it was found out
    what is committed, so what a commit covers must be in a journal by then. One thread may look at it while another
    tells it something.
    """

    def __init__(self, fed: Mapping[int, Sequence[int]]) -> None:
        self.fed: Final = fed
        self.partitions: Final = list(fed)
        self.committed: Mapping[int, int] = {}
        self.lines = 0
        self.commits = 0
        #: How many of these, or of what was committed at a look, covered an order that was not done.
        self.ahead = 0
        #: (partition, offset) -> who has done it, each time.
        self.done: Final[dict[tuple[int, int], list[str]]] = {}
        self._owned: Final[dict[str, list[int]]] = {}
        #: (worker, partition) -> the offset below which it must not begin, then the last one that it has done.
        self._begins: Final[dict[tuple[str, int], int]] = {}
        self._last: Final[dict[tuple[str, int], int]] = {}
        #: partition -> how many of its first orders are done without a gap.
        self._without_gap: Final[dict[int, int]] = dict.fromkeys(fed, 0)
        self._taken_over: Final[list[int]] = []
        self._victim: str | None = None
        self._uncommitted = 0
        self._events: Final[list[str]] = []
        self._wrong: Final[list[str]] = []

    # ---------------------------------------------------------------------------------------------------- what happens

    def read(self, worker: str, lines: Iterable[Line]) -> None:
        """New lines of a journal."""
        for line in lines:
            self.lines += 1
            self._take(worker, line)

    def commit(self, offsets: Mapping[int, int]) -> None:
        """A commit comes."""
        self.commits += 1
        for partition, offset in offsets.items():
            self._check_commit(partition, offset)

    def look(self, committed: Mapping[int, int]) -> None:
        """What is committed; told after what the journals say."""
        self.committed = committed
        for partition, offset in committed.items():
            self._check_commit(partition, offset)

    def _take(self, worker: str, line: Line) -> None:
        owned = self._owned.setdefault(worker, [])
        for what, partitions in line.items():
            if what == "done":
                self._do(worker, *partitions)
                continue
            for partition in partitions:
                if what == "revoked" and partition in owned:
                    owned.remove(partition)
                elif what == "assigned":
                    owned.append(partition)
                    self._begins[worker, partition] = self.committed.get(partition, 0)
                    self._last.pop((worker, partition), None)
                    if self._victim not in (None, worker) and partition in self._owned[str(self._victim)]:
                        self._taken_over.append(partition)
            if partitions:
                given = "is given" if what == "assigned" else "gives back"
                self._events.append(f"{worker!r} {given} {_named(partitions)}")

    def _do(self, worker: str, partition: int, offset: int) -> None:
        last = self._last.get((worker, partition))
        if last is None and offset < self._begins.get((worker, partition), 0):
            begin = self._begins[worker, partition]
            self._wrong.append(f"{worker!r} began partition {partition} at {offset}; {begin} was committed by then")
        if last is not None and offset <= last:
            self._wrong.append(f"{worker!r} did partition {partition}, offset {offset}, after {last}")
        self._last[worker, partition] = offset
        self.done.setdefault((partition, offset), []).append(worker)

    def _check_commit(self, partition: int, committed: int) -> None:
        offsets = self.fed[partition]
        count = self._without_gap[partition]
        while count < len(offsets) and (partition, offsets[count]) in self.done:
            count += 1
        self._without_gap[partition] = count
        if count < len(offsets) and offsets[count] < committed:
            self.ahead += 1
            self._wrong.append(
                f"partition {partition}: {committed} was committed before the order at {offsets[count]} was done"
            )

    def killed(self, worker: str) -> None:
        """It was killed: what it has not committed by now will be done again."""
        self._victim = worker
        self._uncommitted = self.uncommitted(worker)

    # ---------------------------------------------------------------------------------------------------- how it stands

    def take_events(self) -> list[str]:
        """What is worth a line, once."""
        events = self._events[:]
        self._events.clear()
        return events

    def owned(self, worker: str) -> list[int]:
        """The partitions that it has, as it says."""
        return sorted(self._owned.get(worker, []))

    def owner(self, partition: int) -> str:
        """Who has a partition."""
        return next((w for w, owned in self._owned.items() if partition in owned and w != self._victim), "")

    def position(self, partition: int) -> int:
        """The offset after the last order of a partition that its owner has done; where the next owner will begin."""
        owner = self.owner(partition)
        if not owner:
            return self.committed.get(partition, 0)
        last = self._last.get((owner, partition))
        return self._begins.get((owner, partition), 0) if last is None else last + 1

    def uncommitted(self, worker: str) -> int:
        """How many of the orders that it has done, in the partitions that it has, are not committed."""
        owned = self._owned.get(worker, [])
        return sum(
            p in owned and o >= self.committed.get(p, 0) and worker in who for (p, o), who in list(self.done.items())
        )

    def left(self) -> int:
        """How many orders nobody has done."""
        return sum((p, offset) not in self.done for p, offsets in self.fed.items() for offset in offsets)

    def all_committed(self) -> bool:
        """Whether the group has committed all orders that there are."""
        return all(self.committed.get(p, 0) > offsets[-1] for p, offsets in self.fed.items() if offsets)

    def again(self) -> int:
        """How many orders were done more than once."""
        return sum(len(who) > 1 for who in list(self.done.values()))

    # ------------------------------------------------------------------------------------------------------ at the end

    def summary(self, victim: str, survivor: str) -> list[str]:
        """What there is to say."""
        fed = sum(len(offsets) for offsets in self.fed.values())
        by = {name: sum(name in who for who in list(self.done.values())) for name in (victim, survivor)}
        taken = sorted(set(self._taken_over))
        return [
            f"{fed} orders in {len(self.partitions)} partitions; {self.left()} of them were lost.",
            f"{victim!r} had done {by[victim]} when it was killed, and had not committed {self._uncommitted} of these.",
            f"{survivor!r} took over {_named(taken)} at what was committed, and did {by[survivor]} orders.",
            f"{self.again()} orders were done twice.",
            f"{self.ahead} commits covered an order that was not done; {self._looked_at()}.",
        ]

    def _looked_at(self) -> str:
        if self.commits:
            return f"{self.commits} were looked at as they came"
        return "what is committed was looked at again and again"

    def failures(self, victim: str, survivor: str) -> list[str]:
        """What is wrong; empty if nothing is."""
        found = list(dict.fromkeys(self._wrong))
        if self.left():
            found.append(f"{self.left()} orders were lost")
        strangers = sum(offset not in self.fed[partition] for partition, offset in self.done)
        if strangers:
            found.append(f"{strangers} orders were done that there are not")
        if not self._taken_over:
            found.append(f"{survivor!r} took nothing over from {victim!r}")
        for partition, offsets in self.fed.items():
            if offsets and self.committed.get(partition, 0) != offsets[-1] + 1:
                found.append(
                    f"partition {partition}: {self.committed.get(partition)} is committed at the end, "
                    f"and not {offsets[-1] + 1}"
                )
        return found


def _named(partitions: Sequence[int]) -> str:
    if not partitions:
        return "no partition"
    return ("partition " if len(partitions) == 1 else "partitions ") + ", ".join(map(str, sorted(partitions)))
