"""Fetching: what is asked for and of whom, and the sessions with brokers (3.1, 3.2, traps 14-16)."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.messages.metadata import MetadataResponse
from dekaf_proto.node import NodeKey, Purpose
from dekaf_proto.types import TopicPartition, Uuid
from tests.consumer.helpers import Setup

T0, T1, T2 = (TopicPartition("t", number) for number in range(3))
U0 = TopicPartition("u", 0)


def offsets(request: FetchRequest) -> dict[int, int]:
    """Of one topic: partition -> the offset that is asked for."""
    return {p.partition: p.fetch_offset for t in request.topics for p in t.partitions}


def idle(setup: Setup) -> None:
    """Runs until nothing is on its way but fetches that wait for data."""
    setup.run_for(3)


# -------------------------------------------------------------------------------------------------------- the requests


def test_what_a_request_says() -> None:
    # F4, F29
    setup = Setup(
        {"t": 2, "u": 1},
        isolation_level="read_committed",
        client_rack="here",
        fetch_min_bytes=7,
        fetch_max_wait_ms=321,
        max_partition_fetch_bytes=5_000,
    )
    setup.assign({T0: 0, T1: 0, U0: 0})
    setup.until_fetching()
    received = setup.received(FetchRequest)[0]
    request = setup.fetches()[0]
    assert received.header.request_api_version == 18
    assert request.replica_state is None
    assert (request.max_wait_ms, request.min_bytes, request.isolation_level, request.rack_id) == (321, 7, 1, "here")
    assert request.max_bytes == 15_000
    assert [(t.topic_id, [p.partition for p in t.partitions]) for t in request.topics] == [
        (setup.broker.topic_id("t"), [0, 1]),
        (setup.broker.topic_id("u"), [0]),
    ]
    partition = request.topics[0].partitions[0]
    assert (partition.fetch_offset, partition.current_leader_epoch, partition.last_fetched_epoch) == (0, 0, -1)
    assert (partition.log_start_offset, partition.partition_max_bytes) == (-1, 5_000)


def test_fetches_have_a_connection_of_their_own() -> None:
    setup = Setup()
    setup.assign({T0: 0})
    setup.until_fetching()
    started = setup.now
    setup.result(setup.consumer.end_offsets(T0, setup.now))
    assert setup.now - started < 0.1  # it does not wait behind the fetch


@pytest.mark.parametrize("release", ["2.1", "2.3", "2.4", "2.8", "3.0", "3.3", "3.9", "4.0"])
def test_older_brokers(release: str) -> None:
    # W29, F13
    setup = Setup({"t": 2}, release=release)
    setup.append("a", "b")
    setup.append("c", partition=1)
    setup.assign()
    assert sorted(setup.values(3)) == ["a", "b", "c"]
    setup.append("d")
    assert setup.values(1) == ["d"]
    versions = {r.header.request_api_version for r in setup.received(FetchRequest)}
    assert versions == {{"2.1": 10, "2.3": 11, "2.4": 11, "2.8": 12, "3.0": 12, "3.3": 13}.get(release, 17)}
    names = {topic.topic for request in setup.fetches() for topic in request.topics}
    assert names == ({"t"} if release < "3.3" else {""})


def test_a_broker_without_sessions_at_all() -> None:
    setup = Setup({"t": 2}, api_versions={ApiKey.FETCH: (4, 6)})
    setup.append("a")
    setup.append("b", partition=1)
    setup.assign()
    assert sorted(setup.values(2)) == ["a", "b"]
    setup.append("c")
    assert setup.values(1) == ["c"]
    assert all(len(offsets(request)) == 2 for request in setup.fetches())


def test_topics_without_ids_are_named() -> None:
    # Trap 14, F13: Fetch with ids is there, metadata has none
    setup = Setup(api_versions={ApiKey.METADATA: (0, 9)})
    setup.append("a")
    setup.assign()
    assert setup.values(1) == ["a"]
    assert {r.header.request_api_version for r in setup.received(FetchRequest)} == {12}


def test_one_topic_without_an_id_names_all() -> None:
    # F13: never a zero id; and back again
    def no_id(request: object, response: MetadataResponse) -> MetadataResponse:
        for topic in response.topics:
            if topic.name == "u":
                topic.topic_id = Uuid.ZERO
        return response

    setup = Setup({"t": 1, "u": 1})
    fault = setup.broker.faults.add(api=ApiKey.METADATA, alter=no_id, times=None)
    setup.assign({T0: 0, U0: 0})
    setup.append("a")
    setup.append("b", topic="u")
    assert sorted(setup.values(2)) == ["a", "b"]
    assert {r.header.request_api_version for r in setup.received(FetchRequest)} == {12}
    setup.broker.faults.remove(fault)
    setup.refresh()
    idle(setup)
    setup.append("c")
    setup.append("d", topic="u")
    assert sorted(setup.values(2)) == ["c", "d"]
    assert setup.received(FetchRequest)[-1].header.request_api_version == 18


def test_one_request_a_broker_is_on_its_way() -> None:
    # F2
    setup = Setup({"t": 4}, nodes=2)
    setup.assign()
    waiting: dict[int, int] = {}

    def one_each() -> None:
        in_flight = setup.consumer._fetcher._in_flight
        for node in setup.consumer._client._nodes.values():
            if node.key.purpose is Purpose.FETCH:
                waiting[node.key.node_id] = node.load
                assert node.load == (1 if node.key in in_flight else 0)

    setup.network.checks.append(one_each)
    for number in range(20):
        setup.append(f"{number}", partition=number % 4)
        setup.run_for(0.1)
    assert waiting == {0: 1, 1: 1}
    assert len(setup.read_all()) == 20


def test_an_idle_session_says_nothing() -> None:
    # F6, F9: a thousand partitions, and not one of them in a request
    setup = Setup({"t": 1000})
    setup.assign({TopicPartition("t", number): 0 for number in range(1000)})
    setup.until_fetching()
    assert len(offsets(setup.fetches()[0])) == 1000
    idle(setup)
    before = len(setup.broker.requests)
    setup.run_for(10)
    after = list(setup.broker.requests)[before:]
    assert 19 <= len(after) <= 21  # one each fetch_max_wait_ms
    assert all(isinstance(r.request, FetchRequest) and not r.request.topics for r in after)
    assert not any(r.request.forgotten_topics_data for r in after if isinstance(r.request, FetchRequest))
    before = len(setup.fetches())
    setup.append("x", partition=777)
    assert setup.values(1) == ["x"]
    idle(setup)
    assert [offsets(request) for request in setup.fetches()[before:] if request.topics] == [{777: 1}]


def test_a_thousand_idle_partitions_cost_no_more_than_one() -> None:
    """In calls of functions: what is not changed is not looked at one by one."""

    def calls(partitions: int) -> int:
        setup = Setup({"t": partitions}, check=False)
        setup.assign({TopicPartition("t", number): 0 for number in range(partitions)})
        setup.until_fetching()
        setup.consumer.wait(setup.now, 1000)
        idle(setup)
        count = 0

        def profile(frame: FrameType, event: str, argument: object) -> None:
            nonlocal count
            name = frame.f_globals.get("__name__", "") if event == "call" else ""
            # Messages are left out because the broker, which looks at all partitions, makes them too.
            theirs = ("dekaf_proto.broker", "dekaf_proto.messages")
            count += name.startswith("dekaf_proto.") and not name.startswith(theirs)

        sys.setprofile(profile)
        try:
            setup.run_for(3)
        finally:
            sys.setprofile(None)
        return count

    assert calls(1000) < calls(1) * 1.1


def test_what_is_paused_or_assigned_no_longer_leaves_the_session() -> None:
    # F1, F6, trap 15
    setup = Setup({"t": 2, "u": 1})
    setup.assign({T0: 0, T1: 0, U0: 0})
    idle(setup)
    setup.consumer.pause([T0], setup.now)
    setup.consumer.incremental_unassign([U0], setup.now)
    before = len(setup.fetches())
    idle(setup)
    first = setup.fetches()[before]
    assert offsets(first) == {}
    assert [(t.topic_id, t.partitions) for t in first.forgotten_topics_data] == [
        (setup.broker.topic_id("t"), [0]),
        (setup.broker.topic_id("u"), [0]),
    ]
    setup.consumer.resume([T0], setup.now)
    before = len(setup.fetches())
    idle(setup)
    assert offsets(setup.fetches()[before]) == {0: 0}


def test_a_topic_with_a_new_id_is_forgotten_under_the_old_one() -> None:
    # F12, trap 15 (KAFKA-13079)
    setup = Setup({"t": 1, "u": 1})
    setup.assign({T0: 0, U0: 0})
    idle(setup)
    old = setup.broker.topic_id("t")
    setup.broker.recreate_topic("t")
    setup.append("a")
    assert setup.values(1) == ["a"]
    forgotten = [t.topic_id for request in setup.fetches() for t in request.forgotten_topics_data]
    assert forgotten == [old]


def test_partitions_that_had_data_go_to_the_end_of_the_line() -> None:
    # F5, lesson 31: a response without room for all, from a broker that keeps the order
    setup = Setup({"t": 3}, fetch_sessions=0, fetch_max_bytes=1_000, busy=1_000)
    for partition in range(3):
        setup.append(*["x" * 500] * 20, partition=partition, per_batch=1)
    setup.assign({T0: 0, T1: 0, T2: 0})
    order = [record.partition for record in setup.read(30)]
    assert {order[start : start + 3].count(p) for start in range(0, 30, 3) for p in range(3)} == {1}


# ------------------------------------------------------------------------------------------------------------ sessions


def test_no_room_for_a_session() -> None:
    # F7, trap 16: full requests, no error, no back-off
    setup = Setup({"t": 2}, fetch_sessions=0)
    setup.assign({T0: 0, T1: 0})
    started = setup.now
    for number in range(10):
        setup.append(str(number))
        assert setup.values(1) == [str(number)]
    assert setup.now - started < 1
    assert all(len(offsets(request)) == 2 for request in setup.fetches())
    assert all((r.session_id, r.session_epoch) == (0, 0) for r in setup.fetches())


def test_a_session_that_the_broker_has_forgotten() -> None:
    # F10: 70 at once, without a back-off
    setup = Setup()
    setup.assign({T0: 0})
    idle(setup)
    setup.broker.expire_sessions()
    setup.append("a")
    started = setup.now
    assert setup.values(1) == ["a"]
    assert setup.now - started < 0.6
    assert (setup.fetches()[-1].session_epoch, setup.fetches()[-2].session_epoch) != (0, 0)


def test_a_restarted_broker() -> None:
    # F10, F11, lesson 26
    setup = Setup({"t": 2}, nodes=2)
    setup.append("a")
    setup.append("b", partition=1)
    setup.assign()
    assert sorted(setup.values(2)) == ["a", "b"]
    for _ in range(3):
        for node in (0, 1):
            setup.broker.stop_node(node, setup.now)
            setup.run_for(0.5)
            setup.broker.start_node(node, setup.now)
            setup.run_for(0.5)
        setup.append("c")
        setup.append("d", partition=1)
        assert sorted(setup.values(2)) == ["c", "d"]


def test_the_end_of_sessions_is_told() -> None:
    # F14: also to a broker that is busy with a fetch
    setup = Setup({"t": 3}, nodes=3)
    setup.assign()
    setup.until_fetching()
    setup.consumer.pause([T2], setup.now)
    idle(setup)
    assert [len(setup.broker.cluster.nodes[node].sessions.sessions) for node in range(3)] == [1, 1, 1]
    setup.close()
    setup.run_for(1)
    assert [len(setup.broker.cluster.nodes[node].sessions.sessions) for node in range(3)] == [0, 0, 0]
    assert [r.session_epoch for r in setup.fetches()[-3:]] == [-1, -1, -1]


def test_no_end_of_a_session_that_never_was() -> None:
    setup = Setup(fetch_sessions=0)
    setup.assign({T0: 0})
    setup.until_fetching()
    setup.close()
    setup.run_for(1)
    assert setup.fetches()[-1].session_epoch == 0


def test_a_broker_that_has_left_the_cluster() -> None:
    # F15
    setup = Setup({"t": 2}, nodes=2)
    setup.assign({T0: 0, T1: 0})
    idle(setup)
    fetcher = setup.consumer._fetcher
    assert set(fetcher._sessions) == {NodeKey(0, Purpose.FETCH), NodeKey(1, Purpose.FETCH)}
    setup.broker.stop_node(1, setup.now)
    setup.append("a", partition=1)
    assert setup.values(1) == ["a"]
    assert set(fetcher._sessions) == set(fetcher._asked_last) == {NodeKey(0, Purpose.FETCH)}
