"""Produce: what is taken, what is refused, and what the broker writes into a batch."""

from __future__ import annotations

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey, FetchResponse, ProduceRequest, ProduceResponse
from dekaf_proto.messages.produce import PartitionProduceData, PartitionProduceResponse, TopicProduceData
from dekaf_proto.records import BatchBuilder, Codec
from dekaf_proto.records.checksum import crc32c
from dekaf_proto.types import Uuid
from tests.broker.peer import START, Peer
from tests.broker.producing import TIMESTAMP, batches, made, only, produce_request, shown
from tests.broker.requests import fetch_request

NOW_MS = int(START * 1000)
GOOD = made(b"a", b"b")
ZIPPED = made(b"a" * 50, b"b" * 50, codec=Codec.GZIP)


def cluster(nodes: int = 1) -> Peer:
    peer = Peer(Broker(nodes=nodes))
    peer.broker.create_topic("t", 3)
    return peer


def ask(peer: Peer, *batches: bytes | None, version: int = 12, node: int = 0) -> PartitionProduceResponse:
    return only(peer.ask(produce_request("t", *batches), version, node=node))


def altered(data: bytes, at: int, new: bytes, *, checksum: bool = True) -> bytes:
    """A batch with other bytes at a place, under a right checksum if wanted."""
    data = data[:at] + new + data[at + len(new) :]
    return data[:17] + crc32c(data[21:]).to_bytes(4, "big") + data[21:] if checksum else data


def values(peer: Peer, topic: str = "t") -> list[bytes | None]:
    return [record.value for batch in batches(peer, topic) for record in batch.records()]


# -------------------------------------------------------------------------------------------------------- what is taken


@pytest.mark.parametrize("version", range(3, 14))
def test_batches_are_appended(version: int) -> None:
    peer = cluster()
    topic = peer.broker.topic_id("t") if version >= 13 else "t"
    for offset in (0, 2):
        answer = only(peer.ask(produce_request(topic, GOOD), version))
        assert shown(answer) == ("NONE", offset, 0 if version >= 5 else -1, False)
        assert (answer.error_message, answer.record_errors, answer.current_leader) == (None, [], None)
    assert values(peer) == [b"a", b"b", b"a", b"b"]


def test_what_the_broker_writes_into_a_batch() -> None:  # B2, B5
    peer = cluster()
    peer.broker.move_leader("t", 0, 0)
    sent = made(b"a", b"b", producer=(7, 2), sequence=0, codec=Codec.LZ4)
    ask(peer, sent)
    ask(peer, GOOD)
    first, second = peer.broker.cluster.topics["t"].partitions[0].log.batches
    assert (first.base_offset, first.last_offset, first.leader_epoch) == (0, 1, 1)
    assert second.base_offset == 2
    assert first.data[12:16] == b"\0\0\0\1"
    assert first.data[16:] == sent[16:]  # the checksum is that of the producer
    assert second.data[:8] == bytes(7) + b"\2"


def test_the_highest_timestamp_is_put_right() -> None:
    peer = cluster()
    ask(peer, altered(GOOD, 35, bytes(8)))
    ask(peer, made(b"no time", timestamp=-1))
    builder = BatchBuilder()
    for timestamp in (5, 9, 7):
        builder.append(timestamp, None, None)
    ask(peer, builder.build(max_timestamp=77))
    assert [batch.max_timestamp for batch in batches(peer, "t")] == [TIMESTAMP + 1, -1, 9]
    assert all(batch.crc_is_valid for batch in batches(peer, "t"))


def test_the_broker_s_clock() -> None:  # B5
    peer = cluster()
    peer.broker.create_topic("clock", log_append_time=True)
    for data in (GOOD, made(b"far", timestamp=1 << 50)):
        answer = only(peer.ask(produce_request("clock", data), 12))
        assert (answer.error_code, answer.log_append_time_ms) == (0, NOW_MS)
    assert [record.timestamp for batch in batches(peer, "clock") for record in batch.records()] == [NOW_MS] * 3


def test_timestamps_ahead_of_the_clock() -> None:
    peer = cluster()
    limit = NOW_MS + 3_600_000
    assert ask(peer, made(b"a", timestamp=limit)).error_code == 0
    answer = ask(peer, made(*[b"a"] * 5, timestamp=limit - 1))
    assert shown(answer) == ("INVALID_TIMESTAMP", -1, 0, False)
    assert [each.batch_index for each in answer.record_errors] == [2, 3, 4]
    assert answer.error_message is not None
    assert answer.error_message.startswith("3 of 5 records can't be taken: record 2: its timestamp, ")
    peer.broker.cluster.topics["t"].timestamp_after_max_ms = 1 << 50
    assert ask(peer, made(b"a", timestamp=limit + 1)).error_code == 0


def test_timestamps_that_only_the_broker_sets() -> None:  # T21
    peer = cluster()
    peer.broker.create_topic("clock", log_append_time=True)
    stamped = altered(GOOD, 21, b"\0\x08")
    answer = only(peer.ask(produce_request("clock", stamped), 12))
    assert (answer.error_code, len(answer.record_errors)) == (ErrorCode.INVALID_TIMESTAMP, 2)
    assert ask(peer, stamped).error_code == 0  # as in Kafka, which then takes the bit away
    assert [record.timestamp for record in batches(peer, "t")[0].records()] == [TIMESTAMP, TIMESTAMP + 1]
    assert ask(peer, altered(stamped, 35, b"\xff" * 8)).error_code == ErrorCode.INVALID_TIMESTAMP


def test_a_compacted_topic_needs_keys() -> None:
    peer = Peer(Broker())
    peer.broker.create_topic("t", compacted=True, max_message_bytes=500)
    peer.broker.recreate_topic("t")
    answer = ask(peer, *[made(*[b"a"] * 5)])
    assert shown(answer) == ("INVALID_RECORD", -1, 0, False)
    assert [each.batch_index for each in answer.record_errors] == [0, 1, 2, 3, 4]
    assert answer.error_message is not None
    assert answer.error_message.count("a compacted topic takes no record without a key") == 3
    assert ask(peer, made(b"a", key=b"k")).error_code == 0
    assert shown(ask(peer, made(b"a" * 500, key=b"k"))) == ("MESSAGE_TOO_LARGE", -1, -1, False)


def test_a_fetch_that_waits_gets_what_is_produced() -> None:
    peer = cluster()
    conn = peer.connect()
    peer.send(conn, fetch_request("t", 0), 12)
    assert peer.frame(conn) is None
    ask(peer, GOOD)
    response = peer.receive(conn, FetchResponse, 12)
    assert response is not None
    assert response.responses[0].partitions[0].high_watermark == 2


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "data, error",
    [
        (altered(GOOD, 30, b"\7", checksum=False), ErrorCode.CORRUPT_MESSAGE),  # the checksum
        (altered(GOOD, 57, b"\0\0\0\3"), ErrorCode.INVALID_RECORD),  # the count
        (altered(GOOD, 57, b"\xff\xff\xff\xff"), ErrorCode.INVALID_RECORD),
        (altered(altered(GOOD, 23, b"\xff\xff\xff\xff"), 57, b"\0\0\0\0"), ErrorCode.INVALID_RECORD),
        (altered(altered(GOOD, 23, b"\0\0\0\2"), 57, b"\0\0\0\3"), ErrorCode.INVALID_RECORD),  # a record is missing
        (altered(altered(GOOD, 23, b"\0\0\0\0"), 57, b"\0\0\0\1"), ErrorCode.INVALID_RECORD),  # one is too many
        (altered(GOOD, 21, b"\0\x20"), ErrorCode.INVALID_RECORD),  # a control batch
        (altered(GOOD, 21, b"\0\x05"), ErrorCode.UNKNOWN_SERVER_ERROR),  # no codec
        (altered(GOOD, 61, b"\x7f"), ErrorCode.INVALID_RECORD),  # the first record's length
        (altered(ZIPPED, 61, b"\xff\xff"), ErrorCode.UNKNOWN_SERVER_ERROR),  # not gzip
        (altered(GOOD, 0, bytes(7) + b"\5"), ErrorCode.INVALID_RECORD),  # the first offset
        (altered(GOOD, 16, b"\1", checksum=False), ErrorCode.INVALID_RECORD),  # the format
        (altered(GOOD, 16, b"\3", checksum=False), ErrorCode.CORRUPT_MESSAGE),
        (altered(GOOD, 8, b"\0\0\0\1", checksum=False), ErrorCode.CORRUPT_MESSAGE),  # the length
        (altered(GOOD, 8, b"\0\0\x10\0", checksum=False), ErrorCode.INVALID_RECORD),
        (altered(GOOD[:40], 8, b"\0\0\0\x1c", checksum=False), ErrorCode.CORRUPT_MESSAGE),  # shorter than a header
        (GOOD + GOOD, ErrorCode.INVALID_RECORD),
        (GOOD + bytes(20), ErrorCode.CORRUPT_MESSAGE),
        (GOOD[:-1], ErrorCode.INVALID_RECORD),
        (GOOD[:14], ErrorCode.INVALID_RECORD),
        (b"", ErrorCode.INVALID_RECORD),
        (None, ErrorCode.INVALID_RECORD),
        (made(b"x", producer=(7, 0)), ErrorCode.INVALID_RECORD),  # no sequence
        (made(b"x", transactional=True), ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    ],
)
def test_batches_that_are_refused(data: bytes | None, error: ErrorCode) -> None:  # T7, T21
    peer = cluster()
    answer = ask(peer, data)
    assert (answer.error_code, answer.base_offset, answer.log_append_time_ms) == (error, -1, -1)
    assert peer.broker.end_offset("t", 0) == 0


def test_a_batch_cut_off_at_the_end_is_left_out() -> None:  # T21
    peer = cluster()
    assert ask(peer, GOOD + GOOD[:-1]).error_code == 0
    assert ask(peer, GOOD + bytes(5)).error_code == 0
    assert values(peer) == [b"a", b"b"] * 2


@pytest.mark.parametrize("version, error", [(6, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE), (7, ErrorCode.NONE)])
def test_zstd_needs_version_7(version: int, error: ErrorCode) -> None:  # B15
    assert ask(cluster(), made(b"a", codec=Codec.ZSTD), version=version).error_code == error


def test_partitions_that_are_not_there() -> None:  # T7
    peer = cluster()
    for topic, partition in (("u", 0), ("t", 3), ("t", -1)):
        request = produce_request(topic, GOOD, first=partition)
        assert only(peer.ask(request, 12)).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert peer.broker.topics == ["t"]  # only Metadata creates topics
    unknown, known = Uuid(b"\7" * 16), peer.broker.topic_id("t")
    assert only(peer.ask(produce_request(unknown, GOOD), 13)).error_code == ErrorCode.UNKNOWN_TOPIC_ID
    request = produce_request(known, GOOD, first=9)
    assert only(peer.ask(request, 13)).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_internal_topics() -> None:  # T21
    peer = cluster()
    peer.broker.create_topic("__consumer_offsets")
    request = produce_request("__consumer_offsets", GOOD)
    assert only(peer.ask(request, 12)).error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_each_partition_has_its_own_answer() -> None:
    peer = cluster()
    topics = [
        TopicProduceData("t", partition_data=[PartitionProduceData(1, GOOD), PartitionProduceData(0, b"")]),
        TopicProduceData("u", partition_data=[PartitionProduceData(0, GOOD)]),
        TopicProduceData("t", partition_data=[PartitionProduceData(2, GOOD)]),
    ]
    answer = peer.ask(ProduceRequest(None, -1, 1000, topics), 9)
    assert [
        (topic.name, [(p.index, ErrorCode(p.error_code).name, p.base_offset) for p in topic.partition_responses])
        for topic in answer.responses
    ] == [
        ("t", [(1, "NONE", 0), (0, "INVALID_RECORD", -1)]),
        ("u", [(0, "UNKNOWN_TOPIC_OR_PARTITION", -1)]),
        ("t", [(2, "NONE", 0)]),
    ]


@pytest.mark.parametrize("version", [9, 10])
def test_the_way_to_the_leader(version: int) -> None:  # KIP-951
    peer = cluster(3)
    peer.broker.move_leader("t", 1, 0)
    topics = [TopicProduceData("t", partition_data=[PartitionProduceData(index, GOOD) for index in (0, 1, 2)])]
    answer = peer.ask(ProduceRequest(None, -1, 1000, topics), version, node=2)
    partitions = answer.responses[0].partition_responses
    assert [p.error_code for p in partitions] == [ErrorCode.NOT_LEADER_OR_FOLLOWER] * 2 + [0]
    leaders = [p.current_leader and (p.current_leader.leader_id, p.current_leader.leader_epoch) for p in partitions]
    assert leaders == ([(0, 0), (0, 1), None] if version >= 10 else [None] * 3)
    assert [(e.node_id, e.port) for e in answer.node_endpoints] == ([(0, 9092)] if version >= 10 else [])


def test_leaders_that_nobody_can_reach_are_not_named() -> None:
    peer = cluster(3)
    peer.broker.stop_node(0, peer.now, elect=False)
    answer = peer.ask(produce_request("t", GOOD), 12, node=1)
    assert (only(answer).current_leader is not None, answer.node_endpoints) == (True, [])
    peer.broker.move_leader("t", 0, None)
    answer = peer.ask(produce_request("t", GOOD), 12, node=1)
    assert (only(answer).error_code, only(answer).current_leader) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, None)


def test_errors_on_order() -> None:
    peer = cluster(2)
    fault = peer.broker.faults.add(api=ApiKey.PRODUCE, partition=0, error=ErrorCode.NOT_ENOUGH_REPLICAS)
    assert shown(ask(peer, GOOD)) == ("NOT_ENOUGH_REPLICAS", -1, 0, False)
    assert shown(ask(peer, GOOD)) == ("NONE", 0, 0, False)
    assert fault.hits == 1
    peer.broker.faults.add(api=ApiKey.PRODUCE, error=ErrorCode.NOT_LEADER_OR_FOLLOWER)
    answer = ask(peer, GOOD)
    assert answer.current_leader is not None
    assert answer.current_leader.leader_id == 0
    peer.broker.faults.add(api=ApiKey.PRODUCE, topic="u", error=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    request = produce_request("u", GOOD)
    assert only(peer.ask(request, 9)).error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED


# ----------------------------------------------------------------------------------------------------------------- acks


def test_without_acks_there_is_no_answer() -> None:  # W8
    peer = cluster()
    conn = peer.connect()
    peer.send(conn, produce_request("t", GOOD, acks=0), 9)
    peer.send(conn, produce_request("t", GOOD, acks=1), 9)
    answer = peer.receive(conn, ProduceResponse, 9)
    assert answer is not None
    assert only(answer).base_offset == 2
    assert (peer.frame(conn), peer.closed) == (None, [])


def test_without_acks_an_error_closes_the_connection() -> None:
    peer = cluster(2)
    conn = peer.connect(1)
    peer.send(conn, produce_request("t", GOOD, acks=0), 9)
    assert (peer.received[conn], peer.closed) == (b"", [conn])


def test_faults_of_a_request_without_an_answer() -> None:
    peer = cluster()
    conn = peer.connect()
    peer.broker.faults.add(api=ApiKey.PRODUCE, delay=2.0)
    peer.send(conn, produce_request("t", GOOD, acks=0), 9)
    peer.send(conn, produce_request("t", GOOD, acks=1), 9)
    assert peer.frame(conn) is None
    peer.pass_time(2.0)
    assert peer.frame(conn) is not None
    peer.broker.faults.add(api=ApiKey.PRODUCE, drop="after")
    peer.send(conn, produce_request("t", GOOD, acks=0), 9)
    assert (peer.closed, peer.broker.end_offset("t", 0)) == ([conn], 6)


def test_other_acks_are_refused() -> None:  # T7
    peer = cluster()
    for acks in (2, -2):
        answer = only(peer.ask(produce_request("t", GOOD, acks=acks), 12))
        assert shown(answer) == ("INVALID_REQUIRED_ACKS", -1, -1, False)


def test_with_all_acks_followers_are_waited_for() -> None:
    peer = cluster()
    peer.broker.hold_high_watermark("t", 0, 1)
    conn = peer.connect()
    peer.send(conn, produce_request("t", GOOD, GOOD, b""), 9)
    assert peer.frame(conn) is None
    peer.broker.hold_high_watermark("t", 0, None)
    response = peer.receive(conn, ProduceResponse, 9)
    assert response is not None
    answers = response.responses[0].partition_responses
    assert [shown(each)[:2] for each in answers] == [("NONE", 0), ("NONE", 0), ("INVALID_RECORD", -1)]


def test_followers_that_do_not_come() -> None:
    peer = cluster()
    peer.broker.hold_high_watermark("t", 0, 0)
    conn = peer.connect()
    peer.send(conn, produce_request("t", GOOD, timeout_ms=3000), 9)
    peer.pass_time(2.9)
    assert peer.frame(conn) is None
    peer.pass_time(0.1)
    response = peer.receive(conn, ProduceResponse, 9)
    assert response is not None
    assert shown(only(response)) == ("REQUEST_TIMED_OUT", 0, 0, False)
    peer.send(conn, produce_request("t", GOOD, timeout_ms=-1), 9)
    response = peer.receive(conn, ProduceResponse, 9)
    assert response is not None
    assert only(response).error_code == ErrorCode.REQUEST_TIMED_OUT
    assert only(peer.ask(produce_request("t", GOOD, acks=1), 9)).error_code == 0


def test_a_leader_that_is_deposed_while_it_waits() -> None:
    peer = cluster(2)
    peer.broker.hold_high_watermark("t", 0, 0)
    conn = peer.connect()
    peer.send(conn, produce_request("t", GOOD), 10)
    peer.broker.move_leader("t", 0, 1)
    response = peer.receive(conn, ProduceResponse, 10)
    assert response is not None
    assert only(response).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert only(response).current_leader is not None


def test_what_has_failed_stays_so() -> None:
    peer = cluster(2)
    peer.broker.move_leader("t", 1, 0)
    for partition in (0, 1):
        peer.broker.hold_high_watermark("t", partition, 0)
    conn = peer.connect()
    peer.send(conn, produce_request("t", GOOD, GOOD), 9)
    for leader in (1, 0):
        peer.broker.move_leader("t", 0, leader)
        assert peer.frame(conn) is None
    peer.pass_time(1)
    response = peer.receive(conn, ProduceResponse, 9)
    assert response is not None
    errors = [ErrorCode(each.error_code).name for each in response.responses[0].partition_responses]
    assert errors == ["NOT_LEADER_OR_FOLLOWER", "REQUEST_TIMED_OUT"]
