"""What a peer does with a Kafka, whoever that is, and what it sees: each step with its outcome.

Nothing in that depends on the run, so that what is seen of two brokers can be compared. What must be true of any broker
is asserted here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import astuple
from itertools import chain
from time import monotonic

from tests.integration.kafka import wait_until
from tests.integration.peers.peer import PARTITIONS, PATIENCE, Member, Peer, Place, Refused, Row, Sent


class Story:
    """See the module."""

    def __init__(self, peer: Peer, now: int) -> None:
        self.peer, self.now = peer, now
        self.topic = peer.topic
        self.seen: list[object] = []
        #: All that is committed to the topic, by partition.
        self.log: list[list[Sent]] = [[] for _ in range(PARTITIONS)]
        self.steps = [self.administration, self.producing, self.times, self.group, self.transactions, self.the_end]

    def saw(self, step: str, *outcome: object) -> None:
        self.seen.append([step, *outcome])

    def refused(self, step: str, call: Callable[[], object]) -> None:
        try:
            call()
        except Refused as error:
            self.saw(step, "refused", error.code)
        else:
            self.saw(step, "accepted")

    def sent(self, name: str, count: int) -> list[Sent]:
        """Records for all partitions in turn, with all that records can have or lack."""
        found = []
        for n in range(count):
            text = f"{name} {n}".encode()
            headers = (("n", b"%d" % n), ("n", b""), ("kind", name.encode()))
            key = None if n % 5 == 4 else text
            value = None if key and n % 7 == 6 else text * (1 + n % 3)
            at = self.now + 1000 * sum(map(len, self.log)) + n
            found.append(Sent(n % PARTITIONS, key, value, headers[: n // 2 % 4], at))
        return found

    def keep(self, records: Sequence[Sent]) -> None:
        for record in records:
            self.log[record.partition].append(record)

    # ------------------------------------------------------------------------------------------------------ the steps

    def administration(self) -> None:
        peer, topic = self.peer, self.topic
        small = {"max.message.bytes": "3000"}
        peer.create_topic(topic, 2, small)
        wait_until("the topic", lambda: self._exists(2), PATIENCE)
        self.refused("create it again", lambda: peer.create_topic(topic, 2, {}))
        self.refused("create one with a bad name", lambda: peer.create_topic("a b", 2, {}))
        self.refused("create one with no partitions", lambda: peer.create_topic(f"{topic}-0", 0, {}))
        self.refused("create one with a bad option", lambda: peer.create_topic(f"{topic}-0", 1, {"no.such": "1"}))
        peer.create_partitions(PARTITIONS)
        wait_until("its partitions", lambda: self._exists(PARTITIONS), PATIENCE)
        self.refused("less partitions", lambda: peer.create_partitions(1))
        self.saw("options", peer.config("max.message.bytes"), peer.config("cleanup.policy"), peer.config("no.such"))
        self.refused("delete one that is not there", lambda: peer.delete_topic(f"{topic}-0"))

    def producing(self) -> None:
        for codec in self.peer.codecs:
            records = self.sent(codec, 12)
            self.saw(codec, self.peer.produce(records, codec))
            self.keep(records)
        large = Sent(0, b"large", b"x" * 5000, (), self.now)
        self.refused("one that is too large", lambda: self.peer.produce([large], "none"))
        self.read()

    def read(self) -> None:
        """Both views: all that is committed, in order; and what else is there."""
        expected = [record for log in self.log for record in log]
        found: list[Row] = []

        def complete() -> bool:  # a transaction that has ended is seen a little later
            found[:] = sorted(self.peer.read(True), key=lambda row: (row.partition, row.offset))
            return len(found) >= len(expected)

        wait_until("all that is committed", complete, PATIENCE)
        assert [Sent(row.partition, row.key, row.value, row.headers, row.timestamp) for row in found] == expected
        everything = sorted(self.peer.read(False), key=lambda row: (row.partition, row.offset))
        assert set(found) <= set(everything)
        for view, rows in (("committed", found), ("all", everything)):
            self.saw(view, [_plain(astuple(row)) for row in rows])

    def times(self) -> None:
        times = sorted(record.timestamp for log in self.log for record in log)
        for at in (self.now - 1, times[0], times[len(times) // 2], times[-1], times[-1] + 1):
            self.saw("offsets for a time", at - self.now, self.peer.offsets_for_time(at))

    def group(self) -> None:
        peer, group = self.peer, f"{self.topic}-group"
        with peer.member(group) as first:
            rows = drain([first], sum(map(len, self.log)))
            assert sorted(_places(rows)) == self._places()
            assert first.owns() == list(range(PARTITIONS))
            first.commit()
            self.saw("committed", [first.committed(partition) for partition in range(PARTITIONS)])
            self.saw("group", *self._described(group))
            with peer.member(group) as second:
                members = [first, second]
                wait_until("a share for both", lambda: not poll(members) and _shared(members), PATIENCE)
                self.saw("group", *self._described(group))
                records = self.sent("shared", 40)
                peer.produce(records, "none")
                self.keep(records)
                found: dict[Member, list[Row]] = {first: [], second: []}
                _wait_for_rows(found, 40)
                assert sorted(_places([row for rows in found.values() for row in rows])) == self._places(last=10)
                for member, rows in found.items():
                    assert {row.partition for row in rows} == set(member.owns())
                    member.commit()
            wait_until(
                "all partitions for the one", lambda: not poll([first]) and len(first.owns()) == PARTITIONS, PATIENCE
            )
            at = self.now + 1000 * len(self.log) + 1
            where = [(p, offset) for p, offset in enumerate(peer.offsets_for_time(at)) if offset is not None]
            for partition, offset in where:
                first.seek(partition, offset)
            again = drain([first], sum(len(self.log[partition]) - offset for partition, offset in where))
            self.saw("read again by time", sorted(_places(again)))
            if peer.deletes_groups:
                self.refused("delete a group in use", lambda: peer.delete_group(group))
        self.saw("group offsets", sorted(peer.group_offsets(group)))
        self.saw("group", *self._described(group))
        self.saw("listed", group in peer.groups())
        if peer.deletes_groups:
            peer.delete_group(group)
            self.saw("listed when deleted", group in peer.groups(), sorted(peer.group_offsets(group)))

    def transactions(self) -> None:
        peer, group = self.peer, f"{self.topic}-transactional"
        with ExitStack() as stack:
            producer = stack.enter_context(peer.transactions(self.topic))
            offsets: list[Place] = []
            for number, commit in enumerate((True, False, True)):
                records = self.sent(f"transaction {number}", 10)
                producer.begin()
                self.saw("in a transaction", producer.send(records[:5]), producer.send(records[5:]))
                producer.send_offsets(group, [(0, 10 + number), (1, 20 + number)])
                producer.end(commit)
                if commit:
                    self.keep(records)
                    offsets = [(0, 10 + number), (1, 20 + number)]
                self.wait_for_offsets(group, offsets)
            producer.begin()
            self.saw("still open", producer.send(self.sent("open", 4)))
            self.read()
            newer = stack.enter_context(peer.transactions(self.topic))  # aborts what is open
            self.refused("end of one that was fenced", lambda: producer.end(True))
            records = self.sent("newer", 4)
            newer.begin()
            self.saw("the newer one", newer.send(records))
            newer.end(True)
            self.keep(records)
            self.read()

    def wait_for_offsets(self, group: str, offsets: list[Place]) -> None:
        wait_until(f"{offsets} to be committed", lambda: sorted(self.peer.group_offsets(group)) == offsets, PATIENCE)

    def the_end(self) -> None:
        self.peer.delete_topic(self.topic)
        wait_until("the topic to be gone", lambda: not self._exists(PARTITIONS), PATIENCE)
        self.refused("what is deleted", self.peer.partitions)

    # -------------------------------------------------------------------------------------------------------- helpers

    def _exists(self, partitions: int) -> bool:
        try:
            return self.peer.partitions() == list(range(partitions))
        except Refused:
            return False

    def _described(self, group: str) -> tuple[str, str, int]:
        return self.peer.describe_group(group)

    def _places(self, last: int | None = None) -> list[Place]:
        """Where the records are, as long as no transaction has left its marks; the last ones of each partition."""
        return [
            (partition, offset)
            for partition, log in enumerate(self.log)
            for offset in range(0 if last is None else len(log) - last, len(log))
        ]


def poll(members: Sequence[Member]) -> list[Row]:
    return [row for member in members for row in member.poll()]


def drain(members: Sequence[Member], count: int) -> list[Row]:
    """Reads until there are that many."""
    found: list[Row] = []
    deadline = monotonic() + PATIENCE
    while len(found) < count:
        assert monotonic() < deadline, f"{len(found)} records instead of {count}"
        found += poll(members)
    return found


def _wait_for_rows(found: dict[Member, list[Row]], count: int) -> None:
    deadline = monotonic() + PATIENCE
    while sum(map(len, found.values())) < count:
        assert monotonic() < deadline, f"{ {len(rows) for rows in found.values()} } records instead of {count}"
        for member, rows in found.items():
            rows += member.poll()


def _shared(members: Sequence[Member]) -> bool:
    """Whether each partition has an owner, and no two."""
    owned = [member.owns() for member in members]
    return all(owned) and sorted(chain(*owned)) == list(range(PARTITIONS))


def _places(rows: Sequence[Row]) -> list[Place]:
    return [(row.partition, row.offset) for row in rows]


def _plain(value: object) -> object:
    """For JSON."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value
