"""A fetch session with one broker: what the broker remembers of our last requests (KIP-227, F6-F15).

A full request names every partition and may open a session; within one, a request names only what has changed since the
last, and a response only what has news. Topics are named by id where all of them have one, by name otherwise; a session
never mixes the two (F13).

It makes requests and judges responses. It does not send, and it does not look into partitions' data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.fetch import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ForgottenTopic,
    PartitionData,
)
from dekaf_proto.types import TopicPartition, Uuid

#: The last version that names topics.
NAMES_UP_TO: Final = 12


class Wanted(NamedTuple):
    """What is to be fetched of a partition; two that are equal need not be said twice."""

    topic_id: Uuid
    offset: int
    leader_epoch: int
    max_bytes: int


class FetchSession:
    """The session with one broker, as both ends should know it."""

    def __init__(self) -> None:
        self.session_id = 0
        self.epoch = 0
        self._known: dict[TopicPartition, Wanted] = {}
        self._asked: dict[TopicPartition, Wanted] = {}
        self._by_id = False
        self._version = 0

    @property
    def partitions(self) -> Iterable[TopicPartition]:
        """The partitions of the last request."""
        return self._asked.keys()

    def request(self, wanted: dict[TopicPartition, Wanted]) -> tuple[FetchRequest, int | None]:
        """The next request, for partitions in the order of `wanted`; session and partitions only. And the highest
        version that it may have, None for any."""
        by_id = all(want.topic_id for want in wanted.values())
        if by_id != self._by_id:
            self.epoch = 0  # a full request, which also closes the old session (F10, F13)
            self._by_id = by_id
        request = FetchRequest(session_id=self.session_id, session_epoch=self.epoch)
        if self.epoch == 0:
            changed = wanted
        else:
            changed = {tp: want for tp, want in wanted.items() if self._known.get(tp) != want}
            request.forgotten_topics_data = list(self._forgotten(wanted))
        topics: dict[str, FetchTopic] = {}
        for tp, want in changed.items():
            topic = topics.get(tp.topic)
            if topic is None:
                topic = topics[tp.topic] = FetchTopic(topic=tp.topic, topic_id=want.topic_id)
            topic.partitions.append(
                FetchPartition(
                    partition=tp.partition,
                    current_leader_epoch=want.leader_epoch,
                    fetch_offset=want.offset,
                    partition_max_bytes=want.max_bytes,
                )
            )
        request.topics = list(topics.values())
        self._asked = wanted
        return request, self._max_version

    def request_again(self) -> tuple[FetchRequest, int | None] | None:
        """The next request if nothing is to be said that the last one has not said; None if there is no session."""
        if self.epoch == 0:
            return None
        return FetchRequest(session_id=self.session_id, session_epoch=self.epoch), self._max_version

    @property
    def _max_version(self) -> int | None:
        return None if self._by_id else NAMES_UP_TO

    def _forgotten(self, wanted: dict[TopicPartition, Wanted]) -> Iterator[ForgottenTopic]:
        """What the broker is to drop: what is not wanted any more, under the id by which it knows it (F12, trap 15)."""
        topics: dict[tuple[str, Uuid], ForgottenTopic] = {}
        for tp, known in self._known.items():
            want = wanted.get(tp)
            if want is None or want.topic_id != known.topic_id:
                key = (tp.topic, known.topic_id)
                if key not in topics:
                    topics[key] = ForgottenTopic(topic=tp.topic, topic_id=known.topic_id)
                topics[key].partitions.append(tp.partition)
        yield from topics.values()

    def in_version(self, request: FetchRequest, version: int) -> FetchRequest:
        """The last request as it goes out in `version`.

        Where topics have names, an old id and a new one are the same to the broker, which adds first and drops then.
        """
        self._version = version
        if version <= NAMES_UP_TO:
            asked = {(tp.topic, tp.partition) for tp in self._asked}
            for topic in request.forgotten_topics_data:
                topic.partitions = [p for p in topic.partitions if (topic.topic, p) not in asked]
            request.forgotten_topics_data = [topic for topic in request.forgotten_topics_data if topic.partitions]
        return request

    def accept(self, response: FetchResponse) -> dict[TopicPartition, PartitionData] | None:
        """The partitions of a response; None if nothing of it can be used, and the session begins anew."""
        code = response.error_code
        if code != ErrorCode.NONE:
            # A lost session is opened anew; any other error closes the old one first (F10).
            self.restart(keep_id=code != ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
            return None
        ids = {want.topic_id: tp.topic for tp, want in self._asked.items()} if response.responses else {}
        data: dict[TopicPartition, PartitionData] = {}
        complete = True
        for topic in response.responses:
            name = topic.topic if self._version <= NAMES_UP_TO else ids.get(topic.topic_id)
            for partition in topic.partitions:
                tp = TopicPartition(name or "", partition.partition_index)
                if name is None or tp not in self._asked:
                    complete = False
                else:
                    data[tp] = partition
        if self.epoch == 0:
            complete = complete and len(data) == len(self._asked)
            if not complete:
                self.restart(keep_id=False)  # also the empty answer of a throttling broker (F7)
                return None
            self._known = self._asked
            self.session_id = response.session_id
            self.epoch = 1 if response.session_id else 0  # 0: the broker's cache is full; go on without (trap 16)
            return data
        if not complete:
            self.restart(keep_id=True)
            return None
        if response.session_id == 0:
            self.restart(keep_id=False)
            return data
        self._known = self._asked
        self.epoch = 1 if self.epoch == 0x7FFFFFFF else self.epoch + 1
        return data

    def restart(self, *, keep_id: bool) -> None:
        """The next request is a full one; with `keep_id` it closes the old session, if there was one (F11)."""
        self.epoch = 0
        if not keep_id:
            self.session_id = 0

    def closing_request(self) -> FetchRequest | None:
        """What tells the broker that the session is over; None if there is none (F14)."""
        if self.session_id == 0:
            return None
        return FetchRequest(session_id=self.session_id, session_epoch=-1)
