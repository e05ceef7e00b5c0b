"""Beginning, and beginning again: bootstrap servers, brokers that go, come back and move. In virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.errors import (
    ErrorCode,
    KafkaTimeoutError,
)
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.metadata import MetadataResponse
from dekaf_proto.node import Purpose
from dekaf_proto.operation import Operation
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup

TP = TopicPartition("t", 0)


# ------------------------------------------------------------------------------------------------------------ bootstrap


def test_bootstrap_from_several_addresses() -> None:  # C8
    setup = Setup({"t": 1}, nodes=3)
    (good,) = setup.network.bootstrap_servers()[:1]
    for seed in range(5):
        consumer = setup.add_consumer(
            seed=seed, bootstrap_servers=["nowhere.test:9092", "10.9.9.9:9092", good, "10.9.9.8:9092"]
        )
        assert setup.result(consumer.end_offsets(TP, setup.now)) == {TP: 0}
        setup.result(consumer.close(setup.now))


def test_every_address_that_failed_is_in_the_text_of_the_time_out() -> None:  # lesson 39
    setup = Setup({"t": 1}, check=False)
    setup.network.names["many.test"] = ["10.9.9.1", "10.9.9.2"]
    setup.network.names["dark.test"] = "server failure"
    setup.network.block(0)
    (silent,) = setup.network.bootstrap_servers()
    servers = ["many.test:9092", "dark.test:9092", "10.9.9.3:9092", silent]
    for seed in range(8):
        consumer = setup.add_consumer(seed=seed, bootstrap_servers=servers, socket_connection_setup_timeout_ms=2_000)
        operations: list[Operation[Any]] = [
            consumer.end_offsets(TP, setup.now, 15.0),
            consumer.topics(setup.now, 15.0),
            consumer.partitions_for("t", setup.now, 15.0),
        ]
        for operation in operations:
            with pytest.raises(KafkaTimeoutError) as caught:
                setup.result(operation)
            text = str(caught.value)
            for cause in (
                "10.9.9.1:9092: connection refused",
                "10.9.9.2:9092: connection refused",
                "dark.test: server failure",
                "10.9.9.3:9092: connection refused",
                f"{silent}: no connection in time",
            ):
                assert cause in text
        setup.result(consumer.close(setup.now))


def test_an_address_that_is_just_being_tried_is_named_too() -> None:
    setup = Setup({"t": 1}, check=False)
    setup.network.block(0)
    (silent,) = setup.network.bootstrap_servers()
    with pytest.raises(KafkaTimeoutError, match=f"{silent}: not connected yet"):
        setup.result(setup.consumer.end_offsets(TP, setup.now, 5.0))


def test_while_nothing_answers_there_is_no_storm() -> None:  # lesson 30
    setup = Setup({"t": 1}, nodes=3, check=False, seed=3)
    connects: list[float] = []
    for node in range(3):
        setup.network.refuse(node)
    setup.network.checks.append(
        lambda: connects.append(setup.now) if "refused" in (setup.network.history or [""])[-1] else None
    )
    setup.assign([TP])
    setup.run_for(60.0)
    assert setup.consumer._client.counts["failed_connects"] <= 3 * 70
    for node in range(3):
        setup.network.accept(node)
    setup.append("a")
    assert setup.values(1) == ["a"]


# ---------------------------------------------------------------------------------------------------------- rebootstrap


def test_when_no_broker_is_left_it_begins_again(caplog: pytest.LogCaptureFixture) -> None:  # C6a
    setup = Setup({"t": 1}, nodes=2)
    host, _, port = setup.network.bootstrap_servers()[0].partition(":")
    setup.network.names["kafka.test"] = [host]
    consumer = setup.consumer = setup.add_consumer(bootstrap_servers=f"kafka.test:{port}")
    setup.append("a")
    setup.assign([TP])
    assert setup.values(1) == ["a"]
    setup.poll()
    # The cluster moves: other nodes at other addresses, with the same log.
    other = Broker(nodes=[7, 8], seed=99, host="127.0.0.2", port=int(port))
    other.create_topic("t", 1, topic_id=setup.broker.topic_id("t"))
    other.append("t", 0, [b"a", b"b"], setup.now)
    setup.network.add_broker(other)
    setup.network.names["kafka.test"] = ["127.0.0.2"]
    for node in (0, 1):
        setup.broker.stop_node(node, setup.now)
    assert setup.values(1) == ["b"]  # it goes on where it was
    assert consumer._client.counts["rebootstraps"] == 1
    assert any("no known broker can be reached" in message for message in caplog.messages)


def test_one_connection_that_is_lost_is_not_all_of_them() -> None:  # C6a
    setup = Setup({"t": 1})
    setup.assign([TP])
    setup.until_fetching()
    (fetching,) = [n for key, n in setup.consumer._client._nodes.items() if key.purpose is Purpose.FETCH]
    conn = fetching.conn
    fault = setup.broker.faults.add(api=ApiKey.METADATA, drop="before", times=3)
    setup.consumer._metadata.refresh()
    setup.run_until(lambda: fault.hits == 3)
    setup.run_for(2.0)
    assert setup.consumer._client.counts["rebootstraps"] == 0
    assert fetching.conn == conn


def test_without_the_strategy_it_goes_on_trying() -> None:
    setup = Setup({"t": 1}, nodes=2, metadata_recovery_strategy="none")
    setup.assign([TP])
    setup.until_fetching()
    for node in (0, 1):
        setup.broker.stop_node(node, setup.now, elect=False)
    setup.run_for(30.0)
    assert setup.consumer._client.counts["rebootstraps"] == 0
    for node in (0, 1):
        setup.broker.start_node(node, setup.now)
    setup.append("a")
    assert setup.values(1) == ["a"]


def test_after_too_long_without_metadata_it_begins_again() -> None:  # C6b
    setup = Setup(
        {"t": 1},
        nodes=2,
        metadata_recovery_rebootstrap_trigger_ms=20_000,
        metadata_max_age_ms=5_000,
        request_timeout_ms=3_000,
    )
    setup.assign([TP])
    setup.until_fetching()
    setup.broker.faults.add(api=ApiKey.METADATA, times=None, silent="before")
    client = setup.consumer._client
    setup.run_until(lambda: client.counts["rebootstraps"] == 1, 60.0)
    # Counted from the first attempt that failed, which was made when the last answer was five seconds old.
    assert 1025.0 <= setup.now <= 1029.0
    setup.run_for(60.0)
    assert client.counts["rebootstraps"] == 1  # it is still beginning
    setup.broker.faults.clear()
    setup.append("a")
    assert setup.values(1) == ["a"]


def test_a_name_that_leads_to_another_cluster() -> None:  # C6c, W24
    setup = Setup({"t": 1}, nodes=1)
    setup.assign([TP])
    setup.until_fetching()
    client = setup.consumer._client
    # The process at the broker's address is of another cluster now; it says so to whoever means the old one.
    setup.broker.cluster.cluster_id = "another"
    setup.network.cut()
    setup.run_until(lambda: client.counts["rebootstraps"] == 1)
    setup.append("a")
    assert setup.values(1) == ["a"]
    assert client.cluster.cluster_id == "another"
    assert client.counts["rebootstraps"] == 1


def test_brokers_that_always_want_a_new_start_do_not_make_it_spin() -> None:  # C6: no tight loop
    setup = Setup({"t": 1}, nodes=2, check=False)
    setup.broker.faults.add(
        api=ApiKey.API_VERSIONS,
        times=None,
        when=lambda header, request: getattr(request, "node_id", -1) >= 0,
        error=ErrorCode.REBOOTSTRAP_REQUIRED,
    )
    setup.assign([TP])
    setup.run_for(60.0)
    assert 20 <= setup.consumer._client.counts["rebootstraps"] <= 90
    setup.broker.faults.clear()
    setup.append("a")
    assert setup.values(1) == ["a"]


def test_what_waits_in_a_queue_survives_a_new_start() -> None:
    setup = Setup({"t": 1}, nodes=2)
    setup.append("a")
    setup.assign([TP])
    setup.until_fetching()
    ends, topics = setup.consumer.end_offsets(TP, setup.now), setup.consumer.topics(setup.now)
    setup.consumer._client.rebootstrap("the test says so")
    assert setup.result(ends) == {TP: 1}
    assert setup.result(topics) == ["t"]
    assert setup.values(1) == ["a"]


def test_advertised_addresses_that_lead_nowhere() -> None:
    """The everyday mistake with advertised.listeners: what the bootstrap server says can't be reached."""
    setup = Setup({"t": 1}, nodes=1, check=False)

    def elsewhere(request: object, response: MetadataResponse) -> MetadataResponse:
        for broker in response.brokers:
            broker.host, broker.port = "10.9.9.9", 9092
        return response

    setup.broker.faults.add(api=ApiKey.METADATA, times=None, alter=elsewhere)
    setup.assign([TP])
    with pytest.raises(KafkaTimeoutError, match=r"10\.9\.9\.9:9092: connection refused"):
        setup.result(setup.consumer.end_offsets(TP, setup.now, 20.0))
    assert setup.consumer._client.counts["failed_connects"] <= 120
    setup.broker.faults.clear()
    setup.append("a")
    assert setup.values(1) == ["a"]


# ------------------------------------------------------------------------------------------------------ broker restarts


def test_a_broker_that_comes_back_at_another_address() -> None:  # M9
    setup = Setup({"t": 1}, nodes=2)
    setup.append("a")
    setup.assign([TP])
    assert setup.values(1) == ["a"]
    leader = setup.broker.cluster.nodes[0]
    setup.broker.stop_node(0, setup.now)
    setup.run_for(2.0)
    leader.address = None
    leader.host = "127.0.0.9"
    setup.broker.start_node(0, setup.now)
    setup.broker.move_leader("t", 0, 0)
    setup.append("b")
    assert setup.values(1) == ["b"]


@pytest.mark.parametrize("nodes", [1, 3])
def test_restarts(nodes: int) -> None:
    setup = Setup({"t": 3}, nodes=nodes)
    setup.assign()
    expected = []
    for number in range(6):
        for partition in range(3):
            setup.append(f"{number}-{partition}", partition=partition)
            expected.append(f"{number}-{partition}")
        if number % 2:
            setup.broker.stop_node(number % nodes, setup.now)
            setup.run_for(number)
            setup.broker.start_node(number % nodes, setup.now)
        else:
            setup.network.cut()
    assert sorted(record.value.decode() for record in setup.read_all()) == sorted(expected)
