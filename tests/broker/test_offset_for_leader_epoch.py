"""OffsetForLeaderEpoch (F26)."""

from __future__ import annotations

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey, OffsetForLeaderEpochRequest
from dekaf_proto.messages.offset_for_leader_epoch import EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopic
from tests.broker.peer import Peer


def ask(
    peer: Peer, epoch: int, *, version: int = 4, current: int = -1, partition: int = 0, node: int = 0
) -> EpochEndOffset:
    asked = OffsetForLeaderPartition(partition, current, epoch)
    request = OffsetForLeaderEpochRequest(-1, [OffsetForLeaderTopic("t", [asked])])
    [topic] = peer.ask(request, version, node=node).topics
    [answer] = topic.partitions
    assert (topic.topic, answer.partition) == ("t", partition)
    return answer


def moved() -> Peer:
    """Offsets 0-2 in epoch 0, 3-4 in epoch 2, 5 in epoch 6; 1, 3 to 5 are empty."""
    peer = Peer(Broker(nodes=2))
    peer.broker.create_topic("t")
    peer.broker.append("t", 0, [b"a", b"b", b"c"], 0)
    for node in (1, 0):
        peer.broker.move_leader("t", 0, node)
    peer.broker.append("t", 0, [b"d", b"e"], 0)
    for node in (1, 0, 1, 0):
        peer.broker.move_leader("t", 0, node)
    peer.broker.append("t", 0, [b"f"], 0)
    return peer


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize(
    "epoch, found, end", [(0, 0, 3), (1, 0, 3), (2, 2, 5), (4, 2, 5), (6, 6, 6), (7, -1, -1), (-1, -1, -1), (-2, -2, 0)]
)
def test_where_epochs_end(version: int, epoch: int, found: int, end: int) -> None:
    answer = ask(moved(), epoch, version=version)
    assert (answer.error_code, answer.leader_epoch, answer.end_offset) == (0, found, end)


def test_after_a_truncation() -> None:  # F26
    peer = moved()
    peer.broker.truncate("t", 0, 2, leader=1)  # in mid-batch: the whole batch is gone
    peer.broker.append("t", 0, [b"new"], 0)
    answer = ask(peer, 2, node=1)
    assert (answer.leader_epoch, answer.end_offset) == (0, 2)
    answer = ask(peer, 7, node=1)
    assert (answer.leader_epoch, answer.end_offset) == (7, 3)


def test_who_may_answer() -> None:
    peer = moved()
    assert ask(peer, 0, node=1).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert ask(peer, 0, partition=1).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert ask(peer, 0, current=5).error_code == ErrorCode.FENCED_LEADER_EPOCH
    assert ask(peer, 0, current=6).error_code == 0
    assert ask(peer, 0, current=-1).error_code == 0
    assert ask(peer, 0, current=-2).error_code == ErrorCode.FENCED_LEADER_EPOCH  # only -1 is none
    answer = ask(peer, 0, current=7)
    assert (answer.error_code, answer.leader_epoch, answer.end_offset) == (ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1)


def test_errors_on_order() -> None:
    peer = moved()
    peer.broker.faults.add(api=ApiKey.OFFSET_FOR_LEADER_EPOCH, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    assert ask(peer, 0).error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
