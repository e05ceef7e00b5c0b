"""Topics and partitions that are deleted, created again, or gone for a while; look-ups that come to nothing."""

from __future__ import annotations

from dekaf_proto.consumer.partition import PartitionPhase
from dekaf_proto.errors import (
    ErrorCode,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from dekaf_proto.events import Failed
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse
from dekaf_proto.messages.metadata import MetadataRequest
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup, in_phase, led_by_0_and_1, values_of

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


def timestamps(setup: Setup) -> list[int]:
    """What ListOffsets was asked for."""
    return [p.timestamp for r in setup.requests(ListOffsetsRequest) for t in r.topics for p in t.partitions]


def test_a_topic_that_was_deleted_and_created_again() -> None:
    # Trap 13, lesson 36, F12: its epochs and offsets begin anew
    setup = Setup(nodes=2, auto_offset_reset="earliest")
    setup.append("a", "b", "c", "d")
    for leader in (1, 0, 1, 0):
        setup.broker.move_leader("t", 0, leader)
    setup.assign({T0: 0})
    assert setup.values(3) == ["a", "b", "c"]
    setup.until_fetching()
    setup.broker.recreate_topic("t")
    setup.append("A", "B")
    setup.run_for(5)
    assert values_of(setup.read_all()) == ["A", "B"]
    assert setup.partition().leader_epoch == 0
    assert setup.partition().high_watermark == 2


def test_a_topic_that_was_created_again_with_names_only() -> None:
    """Fetch by name, but metadata with ids (Kafka 2.8): only new metadata shows it, for which an offset that is out of
    range is a good reason."""
    setup = Setup({"t": 2}, release="2.8")
    setup.append("a", "b")
    setup.append("c", partition=1)
    setup.assign()
    assert sorted(setup.values(3)) == ["a", "b", "c"]
    setup.until_fetching()
    setup.broker.recreate_topic("t")
    setup.append("A")
    setup.append("C", partition=1)
    assert {"A", "C"} == set(values_of(setup.read_all(5)))
    setup.append("B")
    setup.append("D", partition=1)
    assert sorted(setup.values(2)) == ["B", "D"]


def test_a_topic_that_was_created_again_without_a_policy() -> None:
    setup = led_by_0_and_1(auto_offset_reset="none", group_id="g")
    setup.broker.recreate_topic("t")
    setup.append("A")
    setup.run_for(5)
    output = setup.poll()
    assert isinstance(output, Failed)
    assert isinstance(output.error, OffsetOutOfRangeError)
    assert output.error.offsets == {T0: 2}
    assert setup.consumer.position(T0) == 2
    setup.seek(0)
    assert setup.values(1) == ["A"]


def test_a_topic_that_was_created_again_before_there_was_a_position() -> None:
    # What is on its way was asked about another topic.
    setup = Setup({"t": 2}, nodes=2, group_id="g")
    setup.append("a", "b", "c", partition=1)
    setup.broker.commit("g", {T0: 0, T1: 0})
    setup.result(setup.consumer.end_offsets([T0, T1], setup.now))
    fault = setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, delay=5)
    other = setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, delay=5)
    setup.assign()
    setup.run_until(lambda: fault.hits)
    setup.consumer.seek_to_end(T1, setup.now)
    setup.run_until(lambda: other.hits)
    setup.run_for(1)
    setup.broker.recreate_topic("t")
    setup.append("A")
    setup.append("B", partition=1)
    setup.refresh()
    setup.run_for(10)
    setup.append("C", partition=1)
    assert values_of(setup.read_all()) == ["A", "C"]


def test_a_topic_that_was_created_again_while_the_program_is_to_decide() -> None:
    setup = Setup(auto_offset_reset="none")
    setup.assign()
    assert isinstance(setup.failure(), NoOffsetForPartitionError)
    setup.run_for(1)
    setup.broker.recreate_topic("t")
    setup.refresh()
    setup.run_for(5)
    assert setup.poll() is None
    assert in_phase(setup, PartitionPhase.FAILED)


def test_a_topic_that_is_gone_for_a_while() -> None:
    # M5: it is gone from metadata, and from the brokers, and back with the same id
    setup = led_by_0_and_1()
    topic = setup.broker.cluster.topics.pop("t")
    setup.broker._changed()
    setup.run_for(20)
    setup.broker.cluster.topics["t"] = topic
    setup.append("e")
    assert values_of(setup.read_all(5)) == ["c", "d", "e"]
    assert setup.consumer.position(T0) == 5


def test_a_partition_that_is_gone_for_a_while() -> None:
    setup = Setup({"t": 2})
    setup.append("a", partition=1)
    setup.assign()
    assert setup.values(1) == ["a"]
    partition = setup.broker.cluster.topics["t"].partitions.pop()
    setup.refresh()
    setup.run_for(20)
    assert len(setup.requests(MetadataRequest)) < 40
    setup.broker.cluster.topics["t"].partitions.append(partition)
    setup.append("b", partition=1)
    assert setup.values(1) == ["b"]


def test_a_reset_that_comes_to_nothing_for_long_does_not_hurry() -> None:
    # F24
    setup = Setup()
    setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, error=ErrorCode.OFFSET_NOT_AVAILABLE, times=None)
    setup.assign()
    setup.run_for(60)
    assert 50 < len(timestamps(setup)) < 90


def alter_offset(request: object, response: ListOffsetsResponse) -> ListOffsetsResponse:
    response.topics[0].partitions[0].offset = -1
    return response


def test_a_log_without_ends_does_not_hurry_either() -> None:
    setup = Setup(auto_offset_reset="latest")
    fault = setup.broker.faults.add(api=ApiKey.LIST_OFFSETS, alter=alter_offset, times=None)
    setup.assign()
    setup.run_for(20)
    assert len(timestamps(setup)) < 30
    setup.broker.faults.remove(fault)
    setup.until_fetching()
