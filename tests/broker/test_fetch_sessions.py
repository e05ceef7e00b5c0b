"""Fetch sessions (KIP-227, F6-F14)."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import FetchRequest, FetchResponse
from dekaf_proto.messages.fetch import FetchPartition, FetchTopic, ForgottenTopic
from dekaf_proto.types import Uuid
from tests.broker.peer import Peer
from tests.broker.requests import fetch_request

INT32_MAX = 0x7FFFFFFF


def cluster(**options: Any) -> Peer:
    """Topic t: partitions 0 to 2 with one record each; topic u with one."""
    peer = Peer(Broker(**options))
    peer.broker.create_topic("t", 3, replicas=1)
    peer.broker.create_topic("u")
    for partition in range(3):
        peer.broker.append("t", partition, [b"0"], peer.now)
    peer.broker.append("u", 0, [b"0"], peer.now)
    return peer


def request(session: tuple[int, int], offsets: dict[int, int], *, topic: str | Uuid = "t", **more: Any) -> FetchRequest:
    """A request of a session for some partitions of a topic; it does not wait."""
    made = fetch_request(topic, 0, session=session, max_wait_ms=0, **more)
    made.topics[0].partitions = [
        FetchPartition(partition, fetch_offset=offset, partition_max_bytes=1000)
        for partition, offset in offsets.items()
    ]
    if not offsets:
        made.topics = []
    return made


def answered(response: FetchResponse) -> dict[int, int]:
    """partition -> bytes of records, in the order of the response."""
    assert response.error_code == 0
    return {
        partition.partition_index: len(partition.records or b"")
        for topic in response.responses
        for partition in topic.partitions
    }


def opened(peer: Peer, offsets: dict[int, int], version: int = 12) -> int:
    topic: str | Uuid = "t" if version <= 12 else peer.broker.topic_id("t")
    response = peer.ask(request((0, 0), offsets, topic=topic), version)
    assert list(answered(response)) == list(offsets)
    assert response.session_id != 0
    return response.session_id


def test_a_session_is_opened_changed_and_ended() -> None:  # F6-F9, F14
    peer = cluster()
    session = opened(peer, {0: 1, 1: 1, 2: 1})
    # Nothing new: nothing is said.
    response = peer.ask(request((session, 1), {}), 12)
    assert (response.session_id, answered(response)) == (session, {})
    # New data is told without asking again.
    peer.broker.append("t", 1, [b"1"], peer.now)
    assert list(answered(peer.ask(request((session, 2), {}), 12))) == [1]
    # Another position, and a partition less.
    changed = request((session, 3), {1: 2, 2: 0})
    changed.forgotten_topics_data = [ForgottenTopic("t", partitions=[0, 7])]
    peer.broker.append("t", 0, [b"1"], peer.now)
    assert list(answered(peer.ask(changed, 12))) == [2]
    # The end: no session any more (F14).
    response = peer.ask(request((session, -1), {}), 12)
    assert (response.session_id, answered(response)) == (0, {})
    assert peer.ask(request((session, 4), {}), 12).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_a_request_without_session() -> None:  # F6
    peer = cluster()
    response = peer.ask(request((0, -1), {0: 0}), 12)
    assert (response.session_id, list(answered(response))) == (0, [0])
    assert peer.ask(request((0, 0), {0: 0}), 6).session_id == 0  # before KIP-227
    assert peer.broker.cluster.nodes[0].sessions.sessions == {}


def test_what_is_news() -> None:  # F9
    peer = cluster()
    session = opened(peer, {0: 1, 1: 1, 2: 1})
    peer.broker.delete_records("t", 0, 1)  # another log start
    peer.broker.hold_high_watermark("t", 1, 0)  # another high watermark
    assert answered(peer.ask(request((session, 1), {}), 12)) == {0: 0, 1: 0}
    assert answered(peer.ask(request((session, 2), {}), 12)) == {}
    peer.broker.create_partitions("t", 1)
    peer.broker.prefer_replica("t", 2, None)
    # An error is told each time, and its end once.
    peer.broker.move_leader("t", 2, None)
    for epoch in (3, 4):
        assert answered(peer.ask(request((session, epoch), {}), 12)) == {2: 0}
    peer.broker.move_leader("t", 2, 0)
    assert answered(peer.ask(request((session, 5), {}), 12)) == {2: 0}
    assert answered(peer.ask(request((session, 6), {}), 12)) == {}


def test_a_diverging_epoch_is_news() -> None:
    peer = cluster()
    session = opened(peer, {0: 1})
    peer.broker.truncate("t", 0, 0)
    peer.broker.append("t", 0, [b"other"], peer.now)
    assert answered(peer.ask(request((session, 1), {}), 12)) == {}
    diverged = request((session, 2), {0: 1})
    diverged.topics[0].partitions[0].last_fetched_epoch = 0
    assert answered(peer.ask(diverged, 12)) == {0: 0}


def test_a_preferred_replica_is_news() -> None:
    peer = Peer(Broker(nodes=2))
    peer.broker.create_topic("t")
    session = opened(peer, {0: 0})
    peer.broker.prefer_replica("t", 0, 1)
    for epoch in (1, 2):
        assert answered(peer.ask(request((session, epoch), {}), 12)) == {0: 0}
    peer.broker.prefer_replica("t", 0, None)
    assert answered(peer.ask(request((session, 3), {}), 12)) == {}


def test_what_had_data_comes_last_next_time() -> None:  # F5
    peer = cluster()
    session = opened(peer, {0: 0, 1: 1, 2: 0})
    everything = {0: 0, 1: 0, 2: 0}
    response = peer.ask(request((session, 1), everything), 12)
    assert list(answered(response)) == [1, 0, 2]
    small = request((session, 2), everything, max_bytes=1)
    found = answered(peer.ask(small, 12))
    assert [partition for partition, size in found.items() if size] == [1]
    found = answered(peer.ask(request((session, 3), {}, max_bytes=1), 12))
    assert [partition for partition, size in found.items() if size] == [0]


def test_several_topics() -> None:
    peer = cluster()
    both = request((0, 0), {0: 0, 1: 0})
    both.topics.append(FetchTopic("u", partitions=[FetchPartition(0, partition_max_bytes=1000)]))
    response = peer.ask(both, 12)
    assert [(topic.topic, len(topic.partitions)) for topic in response.responses] == [("t", 2), ("u", 1)]


def test_errors_of_sessions() -> None:  # F10
    peer = cluster()
    session = opened(peer, {0: 1})
    response = peer.ask(request((session + 1, 1), {}), 12)
    assert (response.error_code, response.session_id) == (ErrorCode.FETCH_SESSION_ID_NOT_FOUND, 0)
    response = peer.ask(request((session, 2), {}), 12)
    assert (response.error_code, response.responses) == (ErrorCode.INVALID_FETCH_SESSION_EPOCH, [])
    assert peer.ask(request((session, 1), {}), 12).session_id == session  # it is still alive
    by_id = request((session, 2), {0: 1}, topic=peer.broker.topic_id("t"))
    assert peer.ask(by_id, 13).error_code == ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR
    assert peer.ask(request((session, 2), {}), 12).error_code == 0
    session = opened(peer, {0: 1}, 13)
    assert peer.ask(request((session, 1), {}), 12).error_code == ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR


def test_a_full_request_replaces_a_session() -> None:  # F10: (id, 0)
    peer = cluster()
    first = opened(peer, {0: 1})
    response = peer.ask(request((first, 0), {0: 1}), 12)
    assert response.session_id not in (0, first)
    assert peer.ask(request((first, 1), {}), 12).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_the_epoch_wraps_to_1() -> None:  # F8
    peer = cluster()
    session = opened(peer, {0: 1})
    peer.broker.cluster.nodes[0].sessions.sessions[session].epoch = INT32_MAX
    for epoch in (INT32_MAX, 1, 2):
        assert peer.ask(request((session, epoch), {}), 12).error_code == 0


def test_a_session_that_forgets_everything_ends() -> None:
    peer = cluster()
    session = opened(peer, {0: 1})
    last = request((session, 1), {})
    last.forgotten_topics_data = [ForgottenTopic("t", partitions=[0])]
    response = peer.ask(last, 12)
    assert (response.session_id, response.responses) == (0, [])
    assert peer.ask(request((session, 2), {}), 12).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_an_id_that_is_replaced() -> None:  # F12, trap 15
    peer = cluster()
    session = opened(peer, {0: 0}, 13)
    old = peer.broker.topic_id("t")
    new = peer.broker.recreate_topic("t")
    response = peer.ask(request((session, 1), {}), 13)
    [topic] = response.responses
    assert (topic.topic_id, topic.partitions[0].error_code) == (old, ErrorCode.UNKNOWN_TOPIC_ID)
    replaced = request((session, 2), {0: 0}, topic=new)
    replaced.forgotten_topics_data = [ForgottenTopic(topic_id=old, partitions=[0])]
    response = peer.ask(replaced, 13)
    assert [(topic.topic_id, topic.partitions[0].error_code) for topic in response.responses] == [(new, 0)]


def test_a_full_cache() -> None:  # F7, trap 16
    peer = cluster(fetch_sessions=1)
    session = opened(peer, {0: 1})
    peer.pass_time(60)
    assert peer.ask(request((session, 1), {}), 12).error_code == 0
    peer.pass_time(119)
    response = peer.ask(request((0, 0), {0: 0}), 12)
    assert (response.session_id, list(answered(response))) == (0, [0])
    peer.pass_time(1)  # unused for two minutes: it makes room
    assert opened(peer, {0: 1}) != session
    assert peer.ask(request((session, 2), {}), 12).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert cluster(fetch_sessions=0).ask(request((0, 0), {0: 0}), 12).session_id == 0


@pytest.mark.parametrize("how", ["expired", "restarted"])
def test_sessions_are_forgotten(how: str) -> None:
    peer = cluster(nodes=2)
    session = opened(peer, {0: 1})
    elsewhere = peer.ask(request((0, 0), {1: 1}), 12, node=1).session_id
    if how == "expired":
        peer.broker.expire_sessions(0)
    else:
        peer.broker.stop_node(0, peer.now)
        peer.broker.start_node(0, peer.now)
        peer.drain()
    assert peer.ask(request((session, 1), {}), 12).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert peer.ask(request((elsewhere, 1), {}), 12, node=1).error_code == 0
    peer.broker.expire_sessions()
    assert peer.ask(request((elsewhere, 2), {}), 12, node=1).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_session_ids_are_not_given_twice() -> None:
    class Dice:
        rolls = iter([5, 5, 6])

        def randint(self, low: int, high: int) -> int:
            return next(self.rolls)

    peer = cluster()
    peer.broker.cluster.nodes[0].sessions._random = Dice()  # type: ignore[assignment]
    assert [opened(peer, {0: 1}), opened(peer, {0: 1})] == [5, 6]


def test_a_session_waits_too() -> None:
    peer = cluster()
    session = opened(peer, {0: 1, 1: 1})
    conn = peer.connect()
    waiting = request((session, 1), {})
    waiting.max_wait_ms = 500
    peer.send(conn, waiting, 12)
    assert peer.frame(conn) is None
    peer.pass_time(0.5)
    response = peer.receive(conn, FetchResponse, 12)
    assert response is not None
    assert answered(response) == {}
    waiting.session_epoch = 2
    peer.send(conn, waiting, 12)
    peer.broker.append("t", 1, [b"1"], peer.now)
    response = peer.receive(conn, FetchResponse, 12)
    assert response is not None
    assert list(answered(response)) == [1]
