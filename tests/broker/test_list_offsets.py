"""ListOffsets (O1-O5)."""

from __future__ import annotations

import pytest

from dekaf_proto.broker import Broker, NewRecord
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey, ListOffsetsRequest
from dekaf_proto.messages.list_offsets import ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic
from tests.broker.peer import Peer
from tests.broker.requests import list_offsets_request


def ask(peer: Peer, version: int, timestamp: int, **more: int) -> ListOffsetsPartitionResponse:
    node = more.pop("node", 0)
    [topic] = peer.ask(list_offsets_request("t", timestamp, **more), version, node=node).topics
    [partition] = topic.partitions
    return partition


def filled() -> Peer:
    """Offsets 0 to 5: 1000, 1001, 3000 | 2000 (epoch 2), 3000 | open transaction."""
    peer = Peer(Broker(nodes=2))
    broker = peer.broker
    broker.create_topic("t")
    broker.append(
        "t", 0, [NewRecord(b"", timestamp=1000), NewRecord(b"", timestamp=1001), NewRecord(b"", timestamp=3000)], 0
    )
    broker.move_leader("t", 0, 1)
    broker.move_leader("t", 0, 0)
    broker.append("t", 0, [NewRecord(b"", timestamp=2000), NewRecord(b"", timestamp=3000)], 0)
    broker.append("t", 0, [NewRecord(b"", timestamp=9000)], 0, producer_id=1, producer_epoch=0, transactional=True)
    return peer


@pytest.mark.parametrize("version", range(1, 12))
def test_both_ends(version: int) -> None:  # O1
    peer = filled()
    first = ask(peer, version, -2)
    assert (first.error_code, first.offset, first.timestamp) == (0, 0, -1)
    last = ask(peer, version, -1)
    assert (last.error_code, last.offset, last.timestamp) == (0, 6, -1)
    if version >= 4:
        assert (first.leader_epoch, last.leader_epoch) == (0, 2)
    if version >= 2:
        assert ask(peer, version, -1, isolation_level=1).offset == 5  # the last stable offset
    peer.broker.delete_records("t", 0, 4)
    assert ask(peer, version, -2).offset == 4


@pytest.mark.parametrize(
    "timestamp, offset, found, epoch",
    [
        (0, 0, 1000, 0),
        (1000, 0, 1000, 0),
        (1001, 1, 1001, 0),
        (1500, 2, 3000, 0),
        (3001, 5, 9000, 2),
        (9001, -1, -1, -1),
    ],
)
def test_the_first_record_at_a_time(timestamp: int, offset: int, found: int, epoch: int) -> None:  # O1, O5
    answer = ask(filled(), 7, timestamp)
    assert (answer.error_code, answer.offset, answer.timestamp, answer.leader_epoch) == (0, offset, found, epoch)


def test_times_of_what_can_not_be_read_yet_or_any_more() -> None:
    peer = filled()
    assert ask(peer, 7, 9000, isolation_level=1).offset == -1
    peer.broker.hold_high_watermark("t", 0, 4)
    assert ask(peer, 7, 9000).offset == -1
    peer.broker.delete_records("t", 0, 1)
    assert ask(peer, 7, 0).offset == 1  # in mid-batch


def test_the_highest_timestamp() -> None:  # O1: -3
    peer = filled()
    answer = ask(peer, 7, -3)
    assert (answer.offset, answer.timestamp, answer.leader_epoch) == (5, 9000, 2)
    peer.broker.truncate("t", 0, 5)
    answer = ask(peer, 7, -3)
    assert (answer.offset, answer.timestamp, answer.leader_epoch) == (2, 3000, 0)  # the first of equals
    peer.broker.create_topic("empty")
    [topic] = peer.ask(list_offsets_request("empty", -3), 7).topics
    assert (topic.partitions[0].offset, topic.partitions[0].error_code) == (-1, 0)


def test_a_marker_has_a_time_too() -> None:
    peer = filled()
    marker = peer.broker.commit_transaction("t", 0, 1, 100.0)
    assert ask(peer, 7, 9001).offset == ask(peer, 7, -3).offset == marker


def test_tiers() -> None:  # O1: -4, -5, -6
    peer = filled()
    assert ask(peer, 8, -4).offset == 0
    for version, timestamp in ((9, -5), (11, -6)):
        answer = ask(peer, version, timestamp)
        assert (answer.error_code, answer.offset) == (0, -1)


@pytest.mark.parametrize("version, timestamp", [(6, -3), (7, -4), (8, -5), (10, -6), (11, -7)])
def test_special_times_that_the_version_does_not_have(version: int, timestamp: int) -> None:  # O1
    assert ask(filled(), version, timestamp).error_code == ErrorCode.UNSUPPORTED_VERSION


def test_who_may_answer() -> None:  # O4
    peer = filled()
    assert ask(peer, 7, -1, node=1).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert ask(peer, 7, -1, partition=3).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert ask(peer, 7, -1, leader_epoch=1).error_code == ErrorCode.FENCED_LEADER_EPOCH
    assert ask(peer, 7, -1, leader_epoch=2).error_code == 0
    assert ask(peer, 7, -1, leader_epoch=3).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    peer.broker.create_topic("single", replicas=1)
    [topic] = peer.ask(list_offsets_request("single", -1), 7, node=1).topics
    assert topic.partitions[0].error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (topic.partitions[0].offset, topic.partitions[0].timestamp) == (-1, -1)


def test_a_partition_twice() -> None:  # O3
    peer = filled()
    peer.broker.create_partitions("t", 2)
    asked = [
        ListOffsetsPartition(0, timestamp=-1),
        ListOffsetsPartition(2, timestamp=-1),
        ListOffsetsPartition(0, timestamp=-2),
    ]
    [topic] = peer.ask(ListOffsetsRequest(-1, 0, [ListOffsetsTopic("t", asked)]), 7).topics
    assert [(p.partition_index, p.error_code) for p in topic.partitions] == [(0, 42), (2, 0)]


def test_a_topic_without_partitions() -> None:
    assert filled().ask(ListOffsetsRequest(-1, 0, [ListOffsetsTopic("t", [])]), 7).topics == []


def test_a_new_leader_that_does_not_know_the_high_watermark() -> None:  # O4: 78
    peer = filled()
    peer.broker.hold_high_watermark("t", 0, 2)
    assert ask(peer, 5, -1).error_code == ErrorCode.OFFSET_NOT_AVAILABLE
    assert ask(peer, 4, -1).error_code == ErrorCode.LEADER_NOT_AVAILABLE
    assert ask(peer, 5, -2).error_code == 0
    peer.broker.hold_high_watermark("t", 0, None)
    assert ask(peer, 5, -1).offset == 6


def test_errors_on_order() -> None:
    peer = filled()
    peer.broker.faults.add(api=ApiKey.LIST_OFFSETS, topic="t", partition=0, error=ErrorCode.KAFKA_STORAGE_ERROR)
    assert ask(peer, 7, -1).error_code == ErrorCode.KAFKA_STORAGE_ERROR
    assert ask(peer, 7, -1).error_code == 0
