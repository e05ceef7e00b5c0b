"""Fetch without sessions: limits, long polls, errors, transactions, replicas."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.broker import Broker, NewRecord
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey, FetchRequest, FetchResponse
from dekaf_proto.messages.fetch import FetchPartition, FetchTopic, PartitionData
from dekaf_proto.records import Codec, Visibility, judge_batches, read_batches
from dekaf_proto.types import IsolationLevel, Uuid
from tests.broker.peer import START, Peer
from tests.broker.requests import fetch_request

COMMITTED = IsolationLevel.READ_COMMITTED


def filled(**options: Any) -> Peer:
    """Topic t with partition 0: ten batches of two records, of one size each; partition 1: one batch."""
    peer = Peer(Broker(**options))
    peer.broker.create_topic("t", 2)
    peer.broker.append("t", 0, [b"%02d" % number for number in range(20)], peer.now, per_batch=2)
    peer.broker.move_leader("t", 1, 0)
    peer.broker.append("t", 1, [b"x"], peer.now)
    return peer


SIZE = len(filled().broker.cluster.topics["t"].partitions[0].log.batches[0].data)


def ask(peer: Peer, offset: int, version: int = 12, *, node: int = 0, **more: Any) -> PartitionData:
    """The answer for one partition, which has to come at once."""
    topic: str | Uuid = "t" if version <= 12 else peer.broker.topic_id("t")
    response = peer.ask(fetch_request(topic, offset, **more), version, node=node)
    assert response.error_code == 0
    [found] = response.responses
    assert (found.topic, found.topic_id) == (("t", Uuid.ZERO) if version <= 12 else ("", topic))
    return found.partitions[0]


def values(data: PartitionData) -> list[tuple[int, bytes | None]]:
    assert data.records is not None
    return [
        (record.offset, record.value)
        for batch in read_batches(data.records, topic="t", partition=0)
        for record in batch.records()
    ]


@pytest.mark.parametrize("version", range(4, 19))
def test_records_and_where_the_log_ends(version: int) -> None:
    data = ask(filled(), 18, version)
    assert values(data) == [(18, b"18"), (19, b"19")]
    assert (data.error_code, data.high_watermark, data.last_stable_offset) == (0, 20, 20)
    assert data.aborted_transactions is None  # B29
    if version >= 5:
        assert data.log_start_offset == 0


def test_the_first_batch_may_start_before_the_offset() -> None:  # B7
    assert values(ask(filled(), 3, partition_max_bytes=SIZE)) == [(2, b"02"), (3, b"03")]


def test_the_leader_epoch_is_in_the_batches() -> None:  # B9
    peer = filled(nodes=2)
    peer.broker.move_leader("t", 0, 1)
    peer.broker.move_leader("t", 0, 0)
    peer.broker.append("t", 0, [b"new"], peer.now)
    peer.broker.append("t", 0, [b"other"], peer.now, leader_epoch=7)
    records = ask(peer, 19).records
    assert records is not None
    assert [batch.leader_epoch for batch in read_batches(records, topic="t", partition=0)] == [0, 2, 7]


# ------------------------------------------------------------------------------------------------------------ limits


@pytest.mark.parametrize("limit", ["partition_max_bytes", "max_bytes"])
def test_the_cut_may_go_through_a_batch(limit: str) -> None:  # B17
    data = ask(filled(), 0, **{limit: 2 * SIZE + 30})
    assert data.records is not None
    assert len(data.records) == 2 * SIZE + 30
    assert values(data) == [(n, b"%02d" % n) for n in range(4)]


def test_a_first_batch_beyond_the_limits_comes_whole() -> None:  # B19
    peer = filled()
    assert values(ask(peer, 0, partition_max_bytes=10)) == [(0, b"00"), (1, b"01")]
    request = fetch_request("t", 0, FetchPartition(1, partition_max_bytes=1000), max_bytes=10)
    [topic] = peer.ask(request, 12).responses
    first, second = topic.partitions
    assert (len(values(first)), second.records, second.high_watermark) == (2, b"", 1)


def test_only_the_first_partition_with_data_may_exceed_the_limits() -> None:  # B19
    peer = filled()
    request = fetch_request(
        "t", 20, FetchPartition(1, partition_max_bytes=10), FetchPartition(0, partition_max_bytes=10)
    )
    [topic] = peer.ask(request, 12).responses
    # One partition is listed twice, which the broker does not mind; the answer for the last listing stands for both.
    assert [(p.partition_index, len(values(p))) for p in topic.partitions] == [(0, 2), (1, 0)]


def test_a_fetch_does_not_cross_a_segment() -> None:  # B21
    peer = Peer(Broker())
    peer.broker.create_topic("t")
    for rolled in (False, True, True):
        if rolled:
            peer.broker.roll("t", 0)
            peer.broker.roll("t", 0)  # nothing was written in between
        peer.broker.append("t", 0, [b"a", b"b"], peer.now, per_batch=1)
    assert [offset for offset, _ in values(ask(peer, 0))] == [0, 1]
    assert [offset for offset, _ in values(ask(peer, 1))] == [1]
    assert [offset for offset, _ in values(ask(peer, 2))] == [2, 3]
    assert [offset for offset, _ in values(ask(peer, 4))] == [4, 5]


# --------------------------------------------------------------------------------------------------------- long poll


def test_it_waits_for_data() -> None:
    peer = filled()
    conn = peer.connect()
    peer.send(conn, fetch_request("t", 20, max_wait_ms=300), 12)
    assert peer.frame(conn) is None
    peer.pass_time(0.2)
    assert peer.frame(conn) is None
    peer.broker.append("t", 0, [b"20"], peer.now)
    response = peer.receive(conn, FetchResponse, 12)
    assert response is not None
    assert values(response.responses[0].partitions[0]) == [(20, b"20")]
    assert peer.now == START + 0.2


def test_it_waits_for_enough_data_but_not_for_ever() -> None:
    peer = filled()
    conn = peer.connect()
    peer.send(conn, fetch_request("t", 20, max_wait_ms=300, min_bytes=SIZE + 1), 12)
    peer.pass_time(0.1)
    peer.broker.append("t", 0, [b"20"], peer.now)
    assert peer.frame(conn) is None
    peer.pass_time(0.1)
    assert peer.frame(conn) is None
    peer.broker.append("t", 0, [b"21"], peer.now)
    assert peer.frame(conn) is not None
    peer.send(conn, fetch_request("t", 21, max_wait_ms=300, min_bytes=SIZE + 1), 12)
    assert peer.frame(conn) is None
    peer.pass_time(0.3)
    response = peer.receive(conn, FetchResponse, 12)
    assert response is not None
    assert values(response.responses[0].partitions[0]) == [(21, b"21")]


@pytest.mark.parametrize("max_wait_ms, min_bytes", [(0, 1), (-1, 1), (500, 0)])
def test_it_does_not_wait_if_not_asked_to(max_wait_ms: int, min_bytes: int) -> None:
    data = ask(filled(), 20, max_wait_ms=max_wait_ms, min_bytes=min_bytes)
    assert (data.records, data.high_watermark) == (b"", 20)


def test_it_does_not_wait_for_more_than_it_may_send() -> None:
    assert ask(filled(), 0, min_bytes=1_000_000, max_bytes=SIZE).error_code == 0


def test_it_does_not_wait_for_nothing() -> None:
    peer = filled()
    request = fetch_request("t", 0)
    request.topics = []
    assert peer.ask(request, 12).responses == []


@pytest.mark.parametrize("event", ["leader", "delete", "truncate", "start"])
def test_what_happens_to_the_partition_ends_the_wait(event: str) -> None:
    peer = filled(nodes=2)
    conn = peer.connect()
    peer.send(conn, fetch_request("t", 20, leader_epoch=0), 12)
    if event == "leader":
        peer.broker.move_leader("t", 0, 1)
        expected = ErrorCode.FENCED_LEADER_EPOCH
    elif event == "delete":
        peer.broker.delete_topic("t")
        expected = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    elif event == "truncate":
        peer.broker.truncate("t", 0, 5)
        expected = ErrorCode.FENCED_LEADER_EPOCH
    else:
        peer.broker.append("t", 0, [b"20"], peer.now, transactional=True, producer_id=1, producer_epoch=0)
        expected = ErrorCode.NONE
    response = peer.receive(conn, FetchResponse, 12)
    assert response is not None
    assert response.responses[0].partitions[0].error_code == expected


def test_a_held_high_watermark_hides_records() -> None:
    peer = filled()
    peer.broker.hold_high_watermark("t", 0, 4)
    data = ask(peer, 2)
    assert (values(data), data.high_watermark) == ([(2, b"02"), (3, b"03")], 4)
    conn = peer.connect()
    peer.send(conn, fetch_request("t", 4), 12)
    assert peer.frame(conn) is None
    peer.broker.hold_high_watermark("t", 0, None)
    assert peer.frame(conn) is not None


# ------------------------------------------------------------------------------------------------------------ errors


def failed(data: PartitionData) -> ErrorCode:
    """The error; all numbers are -1 then (F23). What was there and could not be read has no list of transactions."""
    assert (data.high_watermark, data.last_stable_offset, data.log_start_offset) == (-1, -1, -1)
    assert (data.records, data.preferred_read_replica) == (b"", -1)
    error = ErrorCode(data.error_code)
    assert data.aborted_transactions == ([] if error in NOT_READ else None)
    return error


NOT_READ = (
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_ID,
    ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
)


def test_unknown_partitions() -> None:
    peer = filled()
    assert failed(ask(peer, 0, partition=9)) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert failed(ask(peer, 0, 13, partition=9)) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    gone = peer.broker.topic_id("t")
    peer.broker.recreate_topic("t")
    for topic in (gone, Uuid.ZERO):
        response = peer.ask(fetch_request(topic, 0), 13)
        assert failed(response.responses[0].partitions[0]) == ErrorCode.UNKNOWN_TOPIC_ID


def test_offsets_out_of_range() -> None:
    peer = filled()
    peer.broker.delete_records("t", 0, 5)
    for offset in (-1, 4, 21):
        assert failed(ask(peer, offset)) == ErrorCode.OFFSET_OUT_OF_RANGE
    assert values(ask(peer, 5))[0] == (4, b"04")


def test_leader_epochs() -> None:  # 74, 75
    peer = filled(nodes=2)
    peer.broker.move_leader("t", 0, 1)
    peer.broker.move_leader("t", 0, 0)
    assert failed(ask(peer, 0, leader_epoch=1)) == ErrorCode.FENCED_LEADER_EPOCH
    assert failed(ask(peer, 0, leader_epoch=3)) == ErrorCode.UNKNOWN_LEADER_EPOCH
    assert ask(peer, 0, leader_epoch=2).error_code == 0
    assert ask(peer, 0, 8).error_code == 0  # it is not in the request


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_way_to_the_leader(replicas: int) -> None:  # F27, KIP-951
    peer = Peer(Broker(nodes=3, racks={1: "b"}))
    peer.broker.create_topic("t", replicas=replicas)
    peer.broker.move_leader("t", 0, 1)
    for epoch, version in ((-1, 10), (0, 18)):
        topic: str | Uuid = "t" if version <= 12 else peer.broker.topic_id("t")
        response = peer.ask(fetch_request(topic, 0, leader_epoch=epoch), version)
        [data] = response.responses[0].partitions
        fenced = epoch == 0 and replicas == 2  # who has no replica does not look at epochs
        assert failed(data) == (ErrorCode.FENCED_LEADER_EPOCH if fenced else ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if version < 16:
            assert (data.current_leader, response.node_endpoints) == (None, [])
        else:
            assert data.current_leader is not None
            assert (data.current_leader.leader_id, data.current_leader.leader_epoch) == (1, 1)
            [node] = response.node_endpoints
            assert (node.node_id, node.host, node.port, node.rack) == (1, "127.0.0.1", 9093, "b")


def test_there_may_be_no_way_to_the_leader() -> None:
    peer = Peer(Broker(nodes=3))
    peer.broker.create_topic("t", replicas=2)
    peer.broker.move_leader("t", 0, None)
    response = peer.ask(fetch_request(peer.broker.topic_id("t"), 0), 18)
    [data] = response.responses[0].partitions
    assert (failed(data), data.current_leader) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, None)
    peer.broker.move_leader("t", 0, 2)  # takes the place of the first replica
    peer.broker.stop_node(2, peer.now, elect=False)
    response = peer.ask(fetch_request(peer.broker.topic_id("t"), 0), 18)
    assert response.responses[0].partitions[0].current_leader is not None
    assert response.node_endpoints == []


def test_zstd_for_clients_that_do_not_know_it() -> None:  # B15
    peer = Peer(Broker())
    peer.broker.create_topic("t")
    peer.broker.append("t", 0, [b"x"], peer.now, codec=Codec.ZSTD)
    assert failed(ask(peer, 0, 9)) == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    assert values(ask(peer, 0, 10)) == [(0, b"x")]


@pytest.mark.parametrize("codec", Codec)
def test_codecs(codec: Codec) -> None:
    peer = Peer(Broker())
    peer.broker.create_topic("t", log_append_time=True)
    peer.broker.append("t", 0, [NewRecord(b"v", b"k", [("h", b"1")], 5), None], 7.5, codec=codec)
    records = ask(peer, 0).records
    assert records is not None
    [batch] = read_batches(records, topic="t", partition=0)
    found = [(r.offset, r.key, r.value, r.headers, r.timestamp) for r in batch.records()]
    assert found == [(0, b"k", b"v", (("h", b"1"),), 7500), (1, None, None, (), 7500)]
    assert batch.codec == codec


def test_errors_on_order() -> None:
    peer = filled()
    fault = peer.broker.faults.add(api=ApiKey.FETCH, topic="t", partition=0, error=ErrorCode.KAFKA_STORAGE_ERROR)
    request = fetch_request("t", 0, FetchPartition(1, partition_max_bytes=1000))
    [topic] = peer.ask(request, 12).responses
    assert [p.error_code for p in topic.partitions] == [ErrorCode.KAFKA_STORAGE_ERROR, 0]
    assert fault.hits == 1
    peer.broker.faults.add(api=ApiKey.FETCH, top_error=ErrorCode.UNKNOWN_SERVER_ERROR, times=2)
    response = peer.ask(request, 12)
    assert (response.error_code, response.responses) == (-1, [])
    assert peer.ask(request, 6).responses != []  # it has no such field


def test_an_error_that_comes_while_it_waits_is_for_the_next_request() -> None:
    peer = filled()
    conn = peer.connect()
    peer.send(conn, fetch_request("t", 20), 12)
    peer.broker.faults.add(api=ApiKey.FETCH, error=ErrorCode.UNKNOWN_SERVER_ERROR)
    peer.broker.append("t", 0, [b"20"], peer.now)
    response = peer.receive(conn, FetchResponse, 12)
    assert response is not None
    assert response.responses[0].partitions[0].error_code == 0
    assert ask(peer, 0).error_code == -1


# ------------------------------------------------------------------------------------------------------ transactions


def test_read_committed() -> None:  # B26-B29
    peer = Peer(Broker())
    broker = peer.broker
    broker.create_topic("t")

    def write(value: bytes, producer: int) -> None:
        broker.append(
            "t", 0, [value], peer.now, producer_id=producer, producer_epoch=0, base_sequence=0, transactional=True
        )

    write(b"aborted", 1)  # 0
    write(b"committed", 2)  # 1
    assert broker.abort_transaction("t", 0, 1, peer.now) == 2
    assert broker.last_stable_offset("t", 0) == 1
    assert broker.commit_transaction("t", 0, 2, peer.now) == 3
    write(b"open", 3)  # 4
    broker.append("t", 0, [b"plain"], peer.now)  # 5
    assert broker.abort_transaction("t", 0, 9, peer.now) == 6  # it has no data here

    data = ask(peer, 0, isolation_level=COMMITTED)
    assert (data.high_watermark, data.last_stable_offset) == (7, 4)
    assert [offset for offset, _ in values(data)] == [0, 1, 2, 3]
    assert data.aborted_transactions is not None
    assert [(a.producer_id, a.first_offset) for a in data.aborted_transactions] == [(1, 0)]
    judged = judge_batches(
        read_batches(data.records or b"", topic="t", partition=0),
        COMMITTED,
        [(a.first_offset, a.producer_id) for a in data.aborted_transactions],
    )
    shown = [batch.base_offset for batch, visibility in judged if visibility is Visibility.RECORDS]
    assert shown == [1]

    data = ask(peer, 1, isolation_level=COMMITTED)
    assert data.aborted_transactions is not None
    assert [a.first_offset for a in data.aborted_transactions] == [0]  # below the offset asked for (B28)
    data = ask(peer, 3, isolation_level=COMMITTED)
    assert data.aborted_transactions == []
    data = ask(peer, 0)
    assert (len(values(data)), data.aborted_transactions) == (7, None)

    conn = peer.connect()
    peer.send(conn, fetch_request("t", 4, isolation_level=COMMITTED), 12)
    assert peer.frame(conn) is None
    broker.abort_transaction("t", 0, 3, peer.now)
    response = peer.receive(conn, FetchResponse, 12)
    assert response is not None
    [data] = response.responses[0].partitions
    assert [offset for offset, _ in values(data)] == [4, 5, 6, 7]
    assert data.aborted_transactions is not None
    assert [(a.producer_id, a.first_offset) for a in data.aborted_transactions] == [(3, 4)]  # T27: not 9


# ---------------------------------------------------------------------------------------------------------- replicas


def test_followers_answer_from_version_11_on() -> None:  # KIP-392
    peer = filled(nodes=3)
    assert failed(ask(peer, 0, 10, node=1)) == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert values(ask(peer, 18, 11, node=1)) == [(18, b"18"), (19, b"19")]
    peer.broker.move_leader("t", 0, None)
    assert failed(ask(peer, 0, 11, node=1)) == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_follower_that_lags() -> None:  # F30, trap 8
    peer = filled(nodes=3)
    peer.broker.lag_replica("t", 0, 1, 4)
    data = ask(peer, 2, node=1)
    assert (values(data), data.high_watermark) == ([(2, b"02"), (3, b"03")], 4)
    assert failed(ask(peer, 5, node=1)) == ErrorCode.OFFSET_OUT_OF_RANGE
    assert ask(peer, 5).error_code == 0
    peer.broker.lag_replica("t", 0, 1, None)
    assert ask(peer, 5, node=1).high_watermark == 20


def test_the_leader_names_a_better_replica() -> None:  # F30
    peer = filled(nodes=3)
    peer.broker.prefer_replica("t", 0, 1)
    data = ask(peer, 0, 11)
    assert (data.preferred_read_replica, data.records, data.high_watermark) == (1, b"", 20)
    assert values(ask(peer, 18, 10))  # before KIP-392
    assert values(ask(peer, 18, 11, node=1))
    peer.broker.stop_node(1, peer.now)
    assert ask(peer, 18).preferred_read_replica == -1
    peer.broker.prefer_replica("t", 0, 0)
    assert ask(peer, 18).preferred_read_replica == -1
    peer.broker.prefer_replica("t", 0, None)
    assert ask(peer, 18).preferred_read_replica == -1


def test_a_diverging_epoch_only_if_asked() -> None:  # F29
    peer = filled(nodes=2)
    peer.broker.truncate("t", 0, 10)
    assert (peer.broker.leader("t", 0), peer.broker.leader_epoch("t", 0)) == (0, 1)
    peer.broker.append("t", 0, [b"x"] * 10, peer.now)
    assert ask(peer, 14).diverging_epoch is None
    assert ask(peer, 14, last_fetched_epoch=1).diverging_epoch is None
    diverging = ask(peer, 14, last_fetched_epoch=0).diverging_epoch
    assert diverging is not None
    assert (diverging.epoch, diverging.end_offset) == (0, 10)
    assert failed(ask(peer, 14, last_fetched_epoch=5)) == ErrorCode.OFFSET_OUT_OF_RANGE
    assert ask(peer, 14, 11).diverging_epoch is None


def test_a_diverging_epoch_beyond_the_end_of_the_log() -> None:  # F29: what was read has been truncated away
    peer = filled(nodes=2)
    peer.broker.truncate("t", 0, 10)
    assert failed(ask(peer, 14)) == ErrorCode.OFFSET_OUT_OF_RANGE
    assert failed(ask(peer, 14, last_fetched_epoch=5)) == ErrorCode.OFFSET_OUT_OF_RANGE
    diverging = ask(peer, 14, last_fetched_epoch=0).diverging_epoch
    assert diverging is not None
    assert (diverging.epoch, diverging.end_offset) == (0, 10)
    peer.broker.delete_records("t", 0, 5)
    assert failed(ask(peer, 4, last_fetched_epoch=0)) == ErrorCode.OFFSET_OUT_OF_RANGE  # the beginning counts more


def test_what_is_not_there_comes_last() -> None:
    peer = filled()
    wanted = [
        FetchTopic(name, Uuid.ZERO, [FetchPartition(partition, -1, 0, partition_max_bytes=100_000)])
        for name, partition in (("gone", 0), ("t", 9), ("t", 0), ("u", 0), ("t", 1))
    ]
    peer.broker.create_topic("u")
    response = peer.ask(FetchRequest(topics=wanted, max_wait_ms=0), 12)
    found = [(topic.topic, [p.partition_index for p in topic.partitions]) for topic in response.responses]
    # A topic is named again where another one came in between.
    assert found == [("t", [0]), ("u", [0]), ("t", [1]), ("gone", [0]), ("t", [9])]


@pytest.mark.parametrize("epoch", [-1, -2])
def test_no_leader_epoch(epoch: int) -> None:
    assert ask(filled(), 0, leader_epoch=epoch).error_code == 0
