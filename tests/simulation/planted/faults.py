"""The faults: what each breaks, and the text of the client that it replaces.

A text has to be there exactly once, so that a change of the client which moves it is noticed at once, and the fault
adapted.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Fault(NamedTuple):
    """One fault. `path`: of the module, seen from the folder that has the packages."""

    name: str
    breaks: str
    path: str
    old: str
    new: str

    def plant(self, root: Path) -> str:
        """The module with the fault in it. LookupError if the text is not there, or several times."""
        old, new = self.old.removeprefix("\n"), self.new.removeprefix("\n")
        source = (root / self.path).read_text(encoding="utf-8")
        count = source.count(old)
        if count != 1:
            raise LookupError(
                f"the fault {self.name!r} does not fit {self.path} any more: its text is there {count} times. "
                "Adapt it in tests/simulation/planted/faults.py"
            )
        return source.replace(old, new)


FAULTS = (
    Fault(
        "generation",
        "a commit goes out for partitions that were lost meanwhile, under the present generation",
        "dekaf_proto/consumer/commits.py",
        old="""
        gone = [tp for tp in left if self._is_recreated(tp, origins) or self._is_gone(tenures.get(tp))]
""",
        new="""
        gone = [tp for tp in left if self._is_recreated(tp, origins)]
""",
    ),
    Fault(
        "position",
        "an automatic commit takes the position, so the record in hand counts as finished",
        "dekaf_proto/consumer/commits.py",
        old="""
            offset = partition.finished
            due_now""",
        new="""
            offset = -1 if partition.position is None else partition.position
            due_now""",
    ),
    Fault(
        "late answer",
        "a fetch response counts whatever became of the partition since: a seek, a reset, another assignment",
        "dekaf_proto/consumer/fetcher.py",
        old="""
        return p if asked == self._asked(p) else None
""",
        new="""
        return p
""",
    ),
    Fault(
        "fetch session",
        "after an error the fetch session is not begun anew",
        "dekaf_proto/consumer/session.py",
        old="""
        self.epoch = 0
        if not keep_id:
""",
        new="""
        if not keep_id:
""",
    ),
    Fault(
        "no goodbye",
        "who leaves does not tell the coordinator",
        "dekaf_proto/group/classic.py",
        old="""
        if not member_id or self._client.config.group_instance_id is not None:
            return
        goodbye""",
        new="""
        if member_id:
            return
        goodbye""",
    ),
    Fault(
        "prefix",
        "an acknowledgement finishes all that was handed out before the record",
        "dekaf_proto/consumer/acknowledgements.py",
        old="""
        while outstanding and outstanding[0] in acknowledged:
""",
        new="""
        while outstanding and outstanding[0] <= offset:
""",
    ),
    Fault(
        "no commit before revocation",
        "what is finished is not committed when a partition is given up",
        "dekaf_proto/consumer/subscription.py",
        old="""
        if due:
            left = min(""",
        new="""
        due.clear()
        if due:
            left = min(""",
    ),
    Fault(
        "silent while busy",
        "heartbeats are sent only while the program waits",
        "dekaf_proto/group/heartbeats.py",
        old="""
            if self._client.now < due:
                continue
""",
        new="""
            if self._client.now < due:
                continue
            patience = config.max_poll_interval_ms / 1000
            yield Wait(lambda: ended() or member.slow_at() >= self._client.now + patience, member.slow_at())
            if ended() or self._client.now >= member.slow_at():
                continue
""",
    ),
    Fault(
        "not withheld",
        "records of a partition are handed out while it is being given up",
        "dekaf_proto/consumer/subscription.py",
        old="""
        for tp in tps:
            self._partitions[tp].withheld = True
        yield from self._tell(""",
        new="""
        yield from self._tell(""",
    ),
    Fault(
        "silent reset",
        "an error when the committed offsets are asked for is taken for 'nothing is committed'",
        "dekaf_proto/consumer/positions.py",
        old="""
        if error.retriable:
            self._rest(partition, error)
        else:
            partition.fail(error)

    def _without_commit""",
        new="""
        self._without_commit([partition])

    def _without_commit""",
    ),
    Fault(
        "whole batch again",
        "a fetch that begins inside a batch hands out the batch from its first record on",
        "dekaf_proto/consumer/chunk.py",
        old="""
                    batch.records(
                        start,
""",
        new="""
                    batch.records(
                        0,
""",
    ),
    Fault(
        "aborted",
        "read_committed does not look at the list of aborted transactions",
        "dekaf_proto/consumer/chunk.py",
        old="""
TransactionFilter(reading.isolation_level, aborted)
""",
        new="""
TransactionFilter(reading.isolation_level, ())
""",
    ),
    Fault(
        "another topic",
        "a topic that was deleted and made again is taken for the old one",
        "dekaf_proto/consumer/positions.py",
        old="""
            self._start_anew(partition)
        partition.topic_id""",
        new="""
        partition.topic_id""",
    ),
    Fault(
        "kept too long",
        "what the group has given to another member is not given up",
        "dekaf_proto/consumer/subscription.py",
        old="""
        gone = [tp for tp in self.owned() if tp not in kept]
        if gone:
            yield from""",
        new="""
        gone = [tp for tp in self.owned() if tp not in kept]
        if gone and not kept:
            yield from""",
    ),
    Fault(
        "lost and committed",
        "a partition that was lost may still be committed",
        "dekaf_proto/consumer/subscription.py",
        old="""
            partition.tenure.end(cause, when)
            partition.withheld = True
""",
        new="""
            partition.withheld = True
""",
    ),
    Fault(
        "overtaken",
        "an automatic commit goes back behind one that was confirmed while it waited",
        "dekaf_proto/consumer/commits.py",
        old="""
            if forward:
                for tp in""",
        new="""
            if forward and not left:
                for tp in""",
    ),
    Fault(
        "out of turn",
        "commits do not wait for those before them",
        "dekaf_proto/consumer/commits.py",
        old="""
            if self._serving != ticket:
""",
        new="""
            if self._serving > ticket:
""",
    ),
)
