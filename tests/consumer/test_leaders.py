"""Fetching from leaders that move, with hints where they are (F27), and from followers (3.6)."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.broker.inprocess import NewRecord
from dekaf_proto.errors import (
    ErrorCode,
)
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchRequest, FetchResponse, LeaderIdAndEpoch
from dekaf_proto.messages.list_offsets import ListOffsetsRequest
from dekaf_proto.messages.metadata import MetadataRequest, MetadataResponse, MetadataResponseBroker
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup, from_now_on, reading, values_of

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


def fetch_nodes(setup: Setup) -> list[int]:
    """Which broker was asked, fetch by fetch."""
    return [received.node for received in setup.received(FetchRequest)]


# ------------------------------------------------------------------------------------------------------- leader changes


@pytest.mark.parametrize("release", ["2.4", "3.3", None])
def test_leaders_that_move(release: str | None) -> None:
    setup = Setup({"t": 3}, nodes=3, release=release)
    expected = []
    setup.assign({TopicPartition("t", number): 0 for number in range(3)})
    records = []
    for number in range(30):
        for partition in range(3):
            setup.append(f"{partition}:{number}", partition=partition)
            expected.append(f"{partition}:{number}")
        setup.broker.move_leader("t", number % 3, (number // 3 + number) % 3)
        records += setup.read(number % 4)
        setup.run_for(0.3)
    records += setup.read_all()
    for partition in range(3):
        mine = [value for value in values_of(records) if value.startswith(str(partition))]
        assert mine == [value for value in expected if value.startswith(str(partition))]


def stale_metadata(setup: Setup) -> None:
    """From now on metadata says what it has always said."""

    def alter(request: object, response: MetadataResponse) -> MetadataResponse:
        response.brokers = brokers
        response.topics[0].partitions[0].leader_id = response.topics[0].partitions[0].leader_epoch = 0
        return response

    brokers = [
        MetadataResponseBroker(broker.node_id, broker.host, broker.port)
        for broker in setup.consumer._client.cluster.brokers.values()
    ]
    setup.broker.faults.add(api=ApiKey.METADATA, alter=alter, times=None)


def test_a_hint_where_the_leader_is() -> None:
    # F27: it is asked at once, and metadata as well
    setup = reading()
    stale_metadata(setup)
    setup.broker.move_leader("t", 0, 1)
    setup.append("c")
    started = setup.now
    assert setup.values(1) == ["c"]
    assert setup.now - started < 1
    assert setup.partition().leader == 1


def test_a_hint_without_a_way_to_the_leader_or_an_old_one() -> None:
    # F27: ignored
    for leader, epoch in ((7, 5), (1, 0), (-1, 5), (1, -1)):

        def alter(request: FetchRequest, response: FetchResponse, leader: int = leader, epoch: int = epoch) -> Any:
            response.node_endpoints = []
            for topic in response.responses:
                for partition in topic.partitions:
                    partition.current_leader = LeaderIdAndEpoch(leader, epoch)
            return response

        setup = reading()
        setup.broker.faults.add(api=ApiKey.FETCH, node=0, error=ErrorCode.NOT_LEADER_OR_FOLLOWER, alter=alter, times=3)
        setup.append("c")
        setup.run_for(1)
        assert setup.partition().leader == 0
        assert setup.values(1) == ["c"]


def test_a_hint_to_a_broker_that_was_not_known() -> None:
    # F27: the answer says where it is
    setup = Setup({"t": 1}, nodes=2)

    def only_node_0(request: object, response: MetadataResponse) -> MetadataResponse:
        response.brokers = [broker for broker in response.brokers if broker.node_id == 0]
        return response

    setup.broker.faults.add(api=ApiKey.METADATA, alter=only_node_0, times=None)
    setup.assign({T0: 0})
    setup.until_fetching()
    setup.broker.move_leader("t", 0, 1)
    stale_metadata(setup)
    setup.append("a")
    assert setup.values(1) == ["a"]
    known = setup.consumer._client.cluster.brokers[1]
    assert (known.host, known.port) == setup.broker.cluster.endpoint(1)


def test_a_leader_that_is_unknown_for_a_while() -> None:
    # F3
    setup = reading()
    setup.broker.move_leader("t", 0, None)
    setup.run_for(20)
    assert len(setup.requests(MetadataRequest)) < 50
    assert len(setup.fetches(0)) < 60
    setup.broker.move_leader("t", 0, 1)
    setup.append("c")
    assert setup.values(1) == ["c"]


def test_a_broker_that_is_gone_for_a_while() -> None:
    # F3, lesson 30: one in back-off is left alone
    setup = Setup({"t": 2}, nodes=[1])
    setup.assign({T0: 0, T1: 0})
    setup.until_fetching()
    setup.broker.stop_node(1, setup.now)
    setup.run_for(60)
    setup.broker.start_node(1, setup.now)
    setup.append("a")
    assert setup.values(1) == ["a"]


def test_the_answer_of_a_former_leader_does_not_count() -> None:
    """Neither its records nor its errors, once the new leader is known (F16)."""
    setup = Setup(nodes=2)
    setup.append("a", "b")
    setup.assign({T0: 0})
    assert setup.values(2) == ["a", "b"]
    fault = setup.broker.faults.add(api=ApiKey.FETCH, node=0, delay=3)
    setup.append("c")  # which the old leader is about to send
    setup.run_until(lambda: fault.hits)
    setup.run_for(0.01)
    setup.broker.truncate("t", 0, 2, leader=1)
    setup.append("C")
    setup.refresh()
    assert values_of(setup.read_all(5)) == ["C"]


@pytest.mark.parametrize("release", ["2.1", None])
def test_two_answers_for_one_position(release: str | None) -> None:
    # Lesson 29: of the old and of the new leader, with the same records
    setup = Setup(nodes=2, release=release)
    setup.append("a", "b")
    setup.assign({T0: 0})
    assert setup.values(2) == ["a", "b"]
    setup.poll()
    fault = setup.broker.faults.add(api=ApiKey.FETCH, node=0, delay=0.5)
    setup.run_until(lambda: fault.hits)
    setup.append("c", "d")  # which the old leader sends late
    setup.broker.move_leader("t", 0, 1)
    setup.refresh()
    assert values_of(setup.read_all(3)) == ["c", "d"]
    assert {received.node for received in setup.received(FetchRequest)} == {0, 1}


# ------------------------------------------------------------------------------------------------------------ followers


def near(**options: Any) -> Setup:
    """A consumer in rack b, where node 1 is, which follows node 0; the leader sends consumers there."""
    setup = Setup({"t": 1}, nodes=2, racks={0: "a", 1: "b"}, client_rack="b", **options)
    setup.append("a", "b")
    setup.broker.prefer_replica("t", 0, 1)
    setup.assign({T0: 0})
    return setup


def test_a_follower_is_read_from() -> None:
    # F30
    setup = near()
    assert setup.values(2) == ["a", "b"]
    assert fetch_nodes(setup)[:2] == [0, 1]
    setup.append("c")
    assert setup.values(1) == ["c"]
    assert set(fetch_nodes(setup)[1:]) == {1}
    setup.consumer.seek_to_end(None, setup.now)  # the leader only
    setup.until_fetching(at=3)
    assert [r.node for r in setup.received(ListOffsetsRequest)] == [0]


def test_the_lease_ends() -> None:
    # F30, trap 9: after metadata.max.age.ms, which the same answer again does not prolong
    setup = near(metadata_max_age_ms=10_000)
    setup.values(2)
    started = setup.now
    setup.broker.prefer_replica("t", 0, None)
    for _ in range(100):
        setup.run_for(0.2)
    by_time = [(r.now - started, r.node) for r in setup.received(FetchRequest)]
    assert {node for when, node in by_time if 1 < when < 9.5} == {1}
    assert {node for when, node in by_time if when > 10.5} == {0}
    setup.append("c")
    assert setup.values(1) == ["c"]


def test_a_follower_that_goes_offline() -> None:
    # F30, trap 9
    setup = near()
    setup.values(2)
    setup.broker.prefer_replica("t", 0, None)
    setup.broker.stop_node(1, setup.now)
    setup.append("c")
    assert setup.values(1) == ["c"]
    assert fetch_nodes(setup)[-1] == 0


def test_a_follower_that_metadata_calls_offline() -> None:
    # F30: connected as it is
    def offline(request: object, response: MetadataResponse) -> MetadataResponse:
        response.topics[0].partitions[0].offline_replicas = [1]
        return response

    setup = near()
    setup.values(2)
    setup.broker.prefer_replica("t", 0, None)
    setup.broker.faults.add(api=ApiKey.METADATA, alter=offline, times=None)
    setup.refresh()
    setup.run_for(1)
    setup.append("c")
    assert setup.values(1) == ["c"]
    assert fetch_nodes(setup)[-1] == 0


def test_a_leader_change_ends_it() -> None:
    # F25, F30, trap 9
    setup = Setup({"t": 1}, nodes=3, client_rack="b")
    setup.append("a", "b")
    setup.broker.prefer_replica("t", 0, 1)
    setup.assign({T0: 0})
    assert setup.values(2) == ["a", "b"]
    setup.broker.prefer_replica("t", 0, None)
    setup.broker.move_leader("t", 0, 2)
    setup.refresh()
    setup.append("c")
    assert setup.values(1) == ["c"]
    setup.run_for(2)
    assert set(fetch_nodes(setup)[-2:]) == {2}


def test_a_follower_that_lags_is_no_reason_for_a_reset() -> None:
    # 3.4, trap 8
    setup = near()
    setup.values(2)
    setup.broker.lag_replica("t", 0, 1, 1)
    setup.broker.prefer_replica("t", 0, None)
    setup.append("c")
    assert setup.values(1) == ["c"]
    assert setup.requests(ListOffsetsRequest) == []
    assert fetch_nodes(setup)[-1] == 0


def test_a_leader_that_insists_on_a_follower_that_lags_is_not_hurried() -> None:
    # F24
    setup = near(busy=40)
    setup.values(2)
    setup.poll()
    setup.broker.lag_replica("t", 0, 1, 1)
    before = len(setup.fetches())
    setup.run_for(20)
    assert len(setup.fetches()) - before < 400
    assert setup.consumer.position(T0) == 2


def test_a_leader_that_names_an_unknown_broker_is_not_hurried() -> None:
    # F24, F30
    def unknown(request: FetchRequest, response: FetchResponse) -> FetchResponse:
        for topic in response.responses:
            for partition in topic.partitions:
                partition.preferred_read_replica, partition.records = 7, b""
        return response

    setup = reading()
    fault = from_now_on(setup, node=0, alter=unknown)
    before = len(setup.requests(MetadataRequest))
    setup.append("c")
    setup.run_for(20)
    assert fault.hits < 250
    assert before + 5 < len(setup.requests(MetadataRequest)) < before + 40
    setup.broker.faults.clear()
    assert setup.values(1) == ["c"]


def test_the_leader_may_name_itself() -> None:
    setup = reading()
    setup.broker.prefer_replica("t", 0, 0)
    setup.broker.append("t", 0, [NewRecord(b"c")], setup.now)
    assert setup.values(1) == ["c"]


def test_a_follower_that_names_itself_does_not_prolong_the_lease() -> None:
    # F30
    def itself(request: FetchRequest, response: FetchResponse) -> FetchResponse:
        for topic in response.responses:
            for partition in topic.partitions:
                partition.preferred_read_replica, partition.records = 1, b""
        return response

    setup = near()
    setup.values(2)
    until = setup.partition().preferred_until
    fault = setup.broker.faults.add(api=ApiKey.FETCH, node=1, alter=itself, times=2)
    setup.append("c")
    assert setup.values(1) == ["c"]
    assert fault.spent
    assert setup.partition().preferred_until == until
