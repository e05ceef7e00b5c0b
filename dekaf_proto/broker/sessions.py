"""Fetch sessions (KIP-227): what a client asked for before, so that the next request names only what changed.

A node has one `SessionCache`. The rules of numbers and epochs are here; what a partition answers is the Fetch
handler's affair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.fetch import FetchPartition, FetchRequest
from dekaf_proto.types import Uuid

NO_SESSION: Final = 0
INITIAL_EPOCH: Final = 0  # a full request that asks for a session
FINAL_EPOCH: Final = -1  # a full request that asks for none, and ends the one it names
_INT32_MAX: Final = 0x7FFFFFFF
_EVICT_AFTER: Final = 120.0  # seconds without use, as min.incremental.fetch.session.eviction.ms

#: By name up to version 12, by id from 13 on: the other one is empty.
Key = tuple[str, Uuid, int]


class Answered(NamedTuple):
    """What the client was last told of a partition; -1 where it must be told again."""

    high_watermark: int = -1
    log_start_offset: int = -1


@dataclass(slots=True, eq=False)
class Session:
    """One client's session. `partitions` is in the order in which they are served."""

    id: int
    uses_ids: bool
    epoch: int
    last_used: float
    partitions: dict[Key, FetchPartition]
    answered: dict[Key, Answered]

    def served(self, key: Key) -> None:
        """Data was returned for the partition: the others come first next time."""
        self.partitions[key] = self.partitions.pop(key)


class Opened(NamedTuple):
    """What a request turns out to be: an error, or partitions to serve, in a session or without."""

    error: ErrorCode = ErrorCode.NONE
    session: Session | None = None
    incremental: bool = False
    partitions: Iterable[tuple[Key, FetchPartition]] = ()


class SessionCache:
    """The sessions of one node, at most `limit`."""

    def __init__(self, limit: int, random: Random) -> None:
        self.limit = limit
        self.sessions: dict[int, Session] = {}
        self._random = random

    def open(self, request: FetchRequest, version: int, now: float) -> Opened:
        """Finds, makes, changes or ends the session that a request speaks of."""
        asked = _asked(request)
        if request.session_epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            self.sessions.pop(request.session_id, None)
            session = None
            if request.session_epoch == INITIAL_EPOCH and self._make_room(now):
                session = Session(self._new_id(), version >= 13, 1, now, asked, {})
                self.sessions[session.id] = session
            return Opened(session=session, partitions=list(asked.items()))
        session = self.sessions.get(request.session_id)
        if session is None:
            return Opened(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if session.epoch != request.session_epoch:
            return Opened(ErrorCode.INVALID_FETCH_SESSION_EPOCH)  # the session itself lives on (F10)
        if session.uses_ids != (version >= 13):
            return Opened(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        session.partitions.update(asked)
        for topic in request.forgotten_topics_data:  # after those that were asked for, as Kafka does it
            for partition in topic.partitions:
                session.partitions.pop((topic.topic, topic.topic_id, partition), None)
                session.answered.pop((topic.topic, topic.topic_id, partition), None)
        if not session.partitions:
            del self.sessions[session.id]
            return Opened()
        session.last_used = now
        session.epoch = 1 if session.epoch == _INT32_MAX else session.epoch + 1
        return Opened(session=session, incremental=True, partitions=list(session.partitions.items()))

    def expire_all(self) -> None:
        """Forgets every session, as a restarted broker has."""
        self.sessions.clear()

    def _make_room(self, now: float) -> bool:
        if len(self.sessions) < self.limit:
            return True
        idle = [session for session in self.sessions.values() if now - session.last_used >= _EVICT_AFTER]
        if self.limit <= 0 or not idle:
            return False
        del self.sessions[min(idle, key=lambda session: session.last_used).id]
        return True

    def _new_id(self) -> int:
        while True:
            number = self._random.randint(1, _INT32_MAX)
            if number not in self.sessions:
                return number


def _asked(request: FetchRequest) -> dict[Key, FetchPartition]:
    return {
        (topic.topic, topic.topic_id, partition.partition): partition
        for topic in request.topics
        for partition in topic.partitions
    }
