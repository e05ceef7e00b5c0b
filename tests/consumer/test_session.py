"""Fetch sessions: what a request says, what a response may say, and that both ends always know the same."""

from __future__ import annotations

from random import Random

from hypothesis import given, strategies as st

from dekaf_proto.broker.sessions import SessionCache
from dekaf_proto.consumer.session import FetchSession, Wanted
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages.fetch import FetchableTopicResponse, FetchRequest, FetchResponse, PartitionData
from dekaf_proto.types import TopicPartition, Uuid
from dekaf_proto.wire import decode_request, encode_request

A = Uuid(b"a" * 16)
B = Uuid(b"b" * 16)
C = Uuid(b"c" * 16)
T0, T1, U0 = TopicPartition("t", 0), TopicPartition("t", 1), TopicPartition("u", 0)
NEWEST = 18


def want(offset: int, topic_id: Uuid = A, *, epoch: int = 0, max_bytes: int = 1000) -> Wanted:
    return Wanted(topic_id, offset, epoch, max_bytes)


def send(session: FetchSession, wanted: dict[TopicPartition, Wanted], version: int = NEWEST) -> FetchRequest:
    """The request as the broker gets it."""
    request, max_version = session.request(wanted)
    version = version if max_version is None else min(version, max_version)
    _, received = decode_request(encode_request(session.in_version(request, version), version, 1)[4:])
    assert isinstance(received, FetchRequest)
    return received


def response(*tps: TopicPartition, session_id: int = 5, error: int = 0, ids: bool = True) -> FetchResponse:
    topics = [
        FetchableTopicResponse(
            "" if ids else tp.topic, {"t": A, "u": B}[tp.topic] if ids else Uuid.ZERO, [PartitionData(tp.partition)]
        )
        for tp in tps
    ]
    return FetchResponse(error_code=error, session_id=session_id, responses=topics)


def listed(request: FetchRequest) -> dict[tuple[str, Uuid, int], int]:
    """What a request names, with the offsets."""
    return {(t.topic, t.topic_id, p.partition): p.fetch_offset for t in request.topics for p in t.partitions}


def forgotten(request: FetchRequest) -> list[tuple[str, Uuid, int]]:
    return [(t.topic, t.topic_id, p) for t in request.forgotten_topics_data for p in t.partitions]


def opened(wanted: dict[TopicPartition, Wanted]) -> FetchSession:
    session = FetchSession()
    send(session, wanted)
    assert session.accept(response(*wanted)) is not None
    assert (session.session_id, session.epoch) == (5, 1)
    return session


def test_the_first_request_names_everything_and_opens_a_session() -> None:
    # F6, F7
    session = FetchSession()
    request = send(session, {T0: want(3, epoch=2), T1: want(4), U0: want(5, B)})
    assert (request.session_id, request.session_epoch) == (0, 0)
    assert listed(request) == {("", A, 0): 3, ("", A, 1): 4, ("", B, 0): 5}
    assert [topic.topic_id for topic in request.topics] == [A, B]
    assert request.topics[0].partitions[0].current_leader_epoch == 2  # F4
    assert request.topics[0].partitions[0].last_fetched_epoch == -1  # F29
    assert request.topics[0].partitions[0].partition_max_bytes == 1000
    assert list(session.partitions) == [T0, T1, U0]
    data = session.accept(response(T0, T1, U0))
    assert data is not None
    assert list(data) == [T0, T1, U0]
    assert (session.session_id, session.epoch) == (5, 1)


def test_the_next_ones_name_what_has_changed() -> None:
    # F6, F9
    session = opened({T0: want(3), T1: want(4), U0: want(5, B)})
    request = send(session, {T0: want(3), T1: want(6), U0: want(5, B)})
    assert (request.session_id, request.session_epoch) == (5, 1)
    assert listed(request) == {("", A, 1): 6}
    assert forgotten(request) == []
    assert session.accept(response()) == {}
    assert session.epoch == 2
    # Nothing at all: an idle session is cheap.
    request = send(session, {T0: want(3), T1: want(6), U0: want(5, B)})
    assert (request.session_epoch, listed(request), forgotten(request)) == (2, {}, [])
    session.accept(response())
    for changed in (want(3, epoch=1), want(3, max_bytes=7)):
        assert len(listed(send(session, {T0: changed, T1: want(6), U0: want(5, B)}))) == 1
        session.accept(response())


def test_what_is_not_wanted_any_more_is_forgotten() -> None:
    # F6
    session = opened({T0: want(3), T1: want(4), U0: want(5, B)})
    request = send(session, {T1: want(4)})
    assert (listed(request), forgotten(request)) == ({}, [("", A, 0), ("", B, 0)])
    session.accept(response())
    assert forgotten(send(session, {T1: want(4)})) == []
    session.accept(response())
    assert listed(send(session, {T0: want(3), T1: want(4)})) == {("", A, 0): 3}


def test_a_topic_with_another_id_is_forgotten_under_the_old_one() -> None:
    # F12, trap 15
    session = opened({T0: want(3), T1: want(4), U0: want(5, B)})
    request = send(session, {T0: want(0, C), T1: want(4, C), U0: want(5, B)})
    assert listed(request) == {("", C, 0): 0, ("", C, 1): 4}
    assert forgotten(request) == [("", A, 0), ("", A, 1)]
    # All of its partitions are dropped: the id is the one under which the broker knows them.
    session.accept(response())
    assert forgotten(send(session, {U0: want(5, B)})) == [("", C, 0), ("", C, 1)]


def test_where_topics_have_names_another_id_is_not_forgotten() -> None:
    """The broker adds first and drops then: it would drop what it has just been asked for."""
    session = FetchSession()
    send(session, {T0: want(3), T1: want(4), U0: want(5, B)}, 12)
    session.accept(response(T0, T1, U0, ids=False))
    request = send(session, {T0: want(0, C)}, 12)
    assert listed(request) == {("t", Uuid.ZERO, 0): 0}
    assert forgotten(request) == [("t", Uuid.ZERO, 1), ("u", Uuid.ZERO, 0)]
    session.accept(response(ids=False))
    request = send(session, {T0: want(0, A)}, 12)
    assert forgotten(request) == []


def test_without_all_ids_topics_are_named_and_the_session_begins_anew() -> None:
    # F13, W29, trap 14
    session = opened({T0: want(3), U0: want(5, B)})
    request = send(session, {T0: want(3), U0: want(5, Uuid.ZERO)})
    assert (request.session_id, request.session_epoch) == (5, 0)
    assert listed(request) == {("t", Uuid.ZERO, 0): 3, ("u", Uuid.ZERO, 0): 5}
    data = session.accept(response(T0, U0, ids=False, session_id=6))
    assert data is not None
    assert list(data) == [T0, U0]
    request = send(session, {T0: want(3), U0: want(5, B)})
    assert (request.session_id, request.session_epoch, len(listed(request))) == (6, 0, 2)


def test_a_broker_without_room_for_sessions() -> None:
    # F7, trap 16
    session = FetchSession()
    for _ in range(3):
        request = send(session, {T0: want(3), T1: want(4)})
        assert (request.session_id, request.session_epoch, len(listed(request))) == (0, 0, 2)
        assert session.accept(response(T0, T1, session_id=0)) is not None
    assert session.closing_request() is None


def test_a_full_response_must_name_exactly_what_was_asked_for() -> None:
    # F7
    for answer in (response(T0), response(T0, T1, U0), response()):
        session = FetchSession()
        send(session, {T0: want(3), T1: want(4)})
        assert session.accept(answer) is None
        assert (session.session_id, session.epoch) == (0, 0)
    unknown = response(T0, T1)
    unknown.responses[1].topic_id = C
    session = FetchSession()
    send(session, {T0: want(3), T1: want(4)})
    assert session.accept(unknown) is None


def test_an_incremental_response_may_name_only_what_was_asked_for() -> None:
    # F8
    session = opened({T0: want(3), T1: want(4)})
    send(session, {T0: want(3), T1: want(4)})
    assert session.accept(response(U0)) is None
    assert (session.session_id, session.epoch) == (5, 0)  # a full request that closes the old session
    request = send(session, {T0: want(3), T1: want(4)})
    assert (request.session_id, request.session_epoch, len(listed(request))) == (5, 0, 2)


def test_a_broker_that_ends_a_session() -> None:
    # F8
    session = opened({T0: want(3)})
    send(session, {T0: want(3)})
    data = session.accept(response(T0, session_id=0))
    assert data is not None
    assert list(data) == [T0]
    assert (session.session_id, session.epoch) == (0, 0)


def test_errors_of_the_session() -> None:
    # F10
    for error, kept in (
        (ErrorCode.FETCH_SESSION_ID_NOT_FOUND, 0),
        (ErrorCode.INVALID_FETCH_SESSION_EPOCH, 5),
        (ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR, 5),
        (ErrorCode.UNKNOWN_SERVER_ERROR, 5),
    ):
        session = opened({T0: want(3)})
        send(session, {T0: want(3)})
        assert session.accept(response(T0, error=error, session_id=0)) is None
        assert (session.session_id, session.epoch) == (kept, 0)
        assert len(listed(send(session, {T0: want(3)}))) == 1


def test_the_epoch_wraps_to_one() -> None:
    # F8
    session = opened({T0: want(3)})
    session.epoch = 0x7FFFFFFF
    send(session, {T0: want(3)})
    session.accept(response())
    assert session.epoch == 1


def test_after_a_failure_a_full_request_closes_the_old_session() -> None:
    # F11
    session = opened({T0: want(3)})
    send(session, {T0: want(4)})
    session.restart(keep_id=True)
    request = send(session, {T0: want(4)})
    assert (request.session_id, request.session_epoch, listed(request)) == (5, 0, {("", A, 0): 4})
    session.restart(keep_id=False)
    assert send(session, {T0: want(4)}).session_id == 0


def test_the_end() -> None:
    # F14
    session = opened({T0: want(3)})
    request = session.closing_request()
    assert request is not None
    assert (request.session_id, request.session_epoch, request.topics) == (5, -1, [])
    session.restart(keep_id=True)
    assert session.closing_request() is not None


STEP = st.tuples(
    # what is wanted: of the partitions of three topics, some, at some offset
    st.dictionaries(st.integers(0, 5), st.integers(0, 2), min_size=1),
    # which topics have which id (0: none)
    st.tuples(*[st.integers(0, 2)] * 3),
    st.sampled_from([12, 18]),
    st.sampled_from(["answered", "answered", "answered", "answered", "not sent", "lost", "expired", "full"]),
)


@given(st.lists(STEP, max_size=15), st.randoms(use_true_random=False))
def test_both_ends_know_the_same(steps: list[tuple[dict[int, int], tuple[int, ...], int, str]], random: Random) -> None:
    """Whatever is wanted, lost and forgotten: with each answer the broker's session holds exactly what was wanted."""
    session = FetchSession()
    cache = SessionCache(10, random)
    connection = 18
    for now, (offsets, ids, version, outcome) in enumerate(steps):
        if version != connection and outcome != "answered":
            connection = version  # a new connection comes after a failure only
            session.restart(keep_id=True)
        wanted = {}
        for number, offset in offsets.items():
            topic = number // 2
            topic_id = Uuid(bytes([topic + 1, ids[topic]]) * 8) if ids[topic] else Uuid.ZERO
            wanted[TopicPartition("tuv"[topic], number % 2)] = Wanted(topic_id, offset, 0, 100)
        if outcome == "expired":
            cache.expire_all()
        cache.limit = 0 if outcome == "full" else 10
        request = send(session, wanted, connection)
        if outcome == "not sent":
            session.restart(keep_id=True)
            continue
        sent_in = connection if all(w.topic_id for w in wanted.values()) else 12
        answer = cache.open(request, sent_in, float(now))
        if outcome == "lost":
            session.restart(keep_id=True)
            continue
        if answer.error:
            assert outcome == "expired"
            assert session.accept(FetchResponse(error_code=answer.error)) is None
            continue
        topics = [
            FetchableTopicResponse(name, topic_id, [PartitionData(partition)])
            for (name, topic_id, partition), _ in answer.partitions
            if not answer.incremental or random.random() < 0.5
        ]
        session_id = 0 if answer.session is None else answer.session.id
        data = session.accept(FetchResponse(session_id=session_id, responses=topics))
        assert data is not None
        assert data.keys() <= wanted.keys()
        if answer.session is not None:
            by_id = sent_in >= 13
            assert {key: asked.fetch_offset for key, asked in answer.session.partitions.items()} == {
                (("", w.topic_id) if by_id else (tp.topic, Uuid.ZERO)) + (tp.partition,): w.offset
                for tp, w in wanted.items()
            }
