"""The embedded broker's side of producing and Kafka's: the same requests, the same answers, the same log after them.

Each scenario is a list of what was seen; ids of producers and times are left out. Then Java's own producer, which has
to get along with our broker as with Kafka.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Literal

import pytest

from dekaf_proto.broker import Broker
from dekaf_proto.messages import ApiKey
from dekaf_proto.records import Codec
from dekaf_proto.records.checksum import crc32c
from dekaf_proto.types import Uuid
from tests.broker.members import Requester
from tests.broker.peer import START, Peer
from tests.broker.producing import (
    Producer as _Producer,
    committed,
    end_offsets,
    log,
    made as made_at,
    offsets,
    only,
    produce_request,
    shown,
)
from tests.broker_server import BrokerServer
from tests.integration import librdkafka
from tests.integration.kafka import CODECS, JavaClients, JavaError, JavaHelper, KafkaCluster, Placed, Produced
from tests.integration.wire import Wire

HOUR = 3_600_000
#: Records of 1970 would lie in another segment of Kafka's log than the markers, which have its clock's time.
NOW = int(time.time() * 1000)
TOPIC = "programs"
made = partial(made_at, timestamp=NOW)
Producer = partial(_Producer, timestamp=NOW)


def altered(data: bytes, at: int, new: bytes, *, checksum: bool = True) -> bytes:
    """A batch with other bytes at a place, under a right checksum if wanted."""
    data = data[:at] + new + data[at + len(new) :]
    return data[:17] + crc32c(data[21:]).to_bytes(4, "big") + data[21:] if checksum else data


def plain(peer: Requester, topic: str) -> list[object]:
    producer = Producer(peer, topic)
    seen: list[object] = []
    for version in range(3, 14):
        seen.append(producer.send(version=version, data=made(b"v%d" % version, b"x")))
        seen.append(producer.send(version=version, data=made(b"z", codec=Codec.ZSTD)))
    for acks in (1, -1, 2):
        seen.append(producer.send(data=made(b"acks"), acks=acks))
    for codec in Codec:
        seen.append(producer.send(data=made(b"a" * 100, b"b" * 100, codec=codec)))
    seen += log(peer, topic)
    return seen


def what_is_refused(peer: Requester, topic: str) -> list[object]:
    producer = Producer(peer, topic)
    good, zipped = made(b"a", b"b"), made(b"a" * 50, b"b" * 50, codec=Codec.GZIP)
    seen: list[object] = []
    for data in (
        altered(good, 30, b"\7", checksum=False),
        altered(good, 57, b"\0\0\0\3"),  # the count
        altered(good, 57, b"\0\0\0\0"),
        altered(good, 57, b"\xff\xff\xff\xff"),
        altered(good, 23, b"\xff\xff\xff\xff"),  # the last offset
        altered(good, 23, b"\0\0\0\2"),
        altered(altered(good, 23, b"\0\0\0\2"), 57, b"\0\0\0\3"),  # both, so that a record is missing
        altered(altered(good, 23, b"\0\0\0\0"), 57, b"\0\0\0\1"),  # both, so that one is too many
        altered(zipped, 57, b"\0\0\0\1"),
        altered(altered(zipped, 23, b"\0\0\0\0"), 57, b"\0\0\0\1"),
        altered(good, 21, b"\0\x20"),  # a control batch
        altered(good, 21, b"\0\x08"),  # log append time
        altered(good, 21, b"\0\x40"),  # a delete horizon
        altered(good, 21, b"\0\x05"),  # no codec
        altered(good, 61, b"\x7f"),  # the first record's length
        altered(zipped, 61, b"\xff\xff"),
        altered(zipped, 75, b"\xff\xff"),
        altered(good, 0, bytes(7) + b"\5"),  # the first offset
        altered(good, 12, b"\0\0\0\7"),  # the leader epoch
        altered(good, 35, bytes(8)),  # the highest timestamp
        altered(good, 16, b"\1", checksum=False),
        altered(good, 16, b"\3", checksum=False),
        altered(good, 8, b"\0\0\0\1", checksum=False),  # the length
        altered(good, 8, b"\0\0\x10\0", checksum=False),
        good + good,
        good + good[:-1],
        good + b"\0" * 5,
        good + b"\0" * 20,
        good[:-1],
        good[:40],
        good[:10],
        b"",
        made(b"x", producer=(5_000_000, 0)),
        made(b"x", producer=(5_000_001, 0), sequence=0, transactional=True),
        made(b"x", transactional=True),
    ):
        seen.append(producer.send(data=data))
        seen.append(producer.send(data=data, version=11))
    unknown = Uuid(b"\7" * 16)
    seen.append(shown(only(peer.ask(produce_request(unknown, good), 13))))
    seen.append(shown(only(peer.ask(produce_request("no-such-topic", good), 12))))
    seen.append(shown(only(peer.ask(produce_request("__transaction_state", good), 12))))
    seen.append(shown(only(peer.ask(produce_request("no such topic", good), 12))))
    seen.append(producer.send(data=good, partition=99))
    two = produce_request(topic, good, b"", good)
    answers = sorted(peer.ask(two, 12).responses[0].partition_responses, key=lambda each: each.index)
    seen += [shown(each) for each in answers]
    seen += log(peer, topic)
    return seen


def options(peer: Requester, topic: str) -> list[object]:
    seen: list[object] = []
    for which in ("compact", "time", "small", "strict"):
        producer = Producer(peer, f"{topic}-{which}")
        for data in (
            made(b"x", key=b"k"),
            made(b"x", b"y", None),
            made(b"x" * 201, key=b"k"),
            made(b"z" * 400, key=b"k", codec=Codec.GZIP),
            made(b"late", b"later", key=b"k", timestamp=4_000_000_000_000),
            made(b"none", key=b"k", timestamp=-1),
            altered(made(b"x", key=b"k"), 21, b"\0\x08"),
        ):
            answer = only(peer.ask(produce_request(f"{topic}-{which}", data), 9))
            records = [(each.batch_index, each.batch_index_error_message is None) for each in answer.record_errors]
            seen.append((shown(answer), answer.error_message is None, records))
        seen += log(peer, producer.topic)
    return seen


def idempotence(peer: Requester, topic: str) -> list[object]:
    producer = Producer(peer, topic)
    seen: list[object] = [producer.init(), producer.init()]
    sent = [producer.batch(b"%d" % number, b"x") for number in range(7)]
    seen += [producer.send(data=data) for data in sent]
    seen += [producer.send(data=data) for data in sent]  # the last five of them are known
    seen.append(producer.send(b"gap", sequence=20))
    seen.append(producer.send(b"behind", sequence=13))
    seen.append(producer.send(b"half of one that is known", sequence=12))
    seen.append(producer.send(b"next", sequence=14))
    producer.epoch = 1
    seen += [producer.send(b"new epoch", sequence=15), producer.send(b"new epoch", sequence=0)]
    producer.epoch = 0
    seen.append(producer.send(b"old epoch", sequence=15))
    producer.adopt(7_000_000, 3)
    seen.append(producer.send(b"unknown", b"id", sequence=0x7FFFFFFE))
    seen += [producer.send(b"wraps", sequence=0x7FFFFFFF), producer.send(b"wraps", sequence=0), producer.send(b"1")]
    producer.adopt(7_000_001, 0)
    seen += [producer.send(b"a", b"b", b"c", sequence=0x7FFFFFFE), producer.send(b"d")]
    seen += log(peer, topic)
    seen += [producer.init(expected=(producer.id, 0)), producer.init(expected=(5, 3), version=3)]
    seen += [producer.init(expected=(-1, 3)), producer.init(expected=(3, -1))]
    return seen


def transactions(bump: bool) -> Callable[[Requester, str], list[object]]:
    def scenario(peer: Requester, topic: str) -> list[object]:
        producer = Producer(peer, topic, topic, bump=bump)
        seen: list[object] = [producer.ready()]
        if not bump:
            seen += [producer.send(b"not added"), producer.send(b"not added", version=10), producer.add(0, 1)]
            seen.append(producer.add(0))
        seen += [producer.send(b"a", b"b"), producer.send(b"c"), producer.send(b"d", partition=1)]
        seen += [end_offsets(peer, topic), committed(peer, topic)]
        seen += [producer.end(keep=True), producer.settled(), producer.end(commit=False, keep=True)]
        seen += [committed(peer, topic), committed(peer, topic, 1)]
        if bump:
            seen += [producer.send(b"old epoch"), producer.end(), producer.send(b"old sequence", sequence=3)]
            producer.sequences.clear()
        else:
            seen.append(producer.add(0, 1))
        for partition in (0, 1):
            seen.append(producer.send(b"e", partition=partition))
        seen += [producer.send(b"f", b"g"), producer.end(commit=False, keep=True), producer.settled(commit=False)]
        seen += [producer.end(keep=True), committed(peer, topic)]
        return seen + log(peer, topic) + log(peer, topic, 1)

    return scenario


def empty_transactions(peer: Requester, topic: str) -> list[object]:
    producer = Producer(peer, topic, topic)
    seen: list[object] = [producer.ready()]
    for version in (3, 4, 5):
        for commit in (True, False):
            seen.append(producer.end(commit=commit, version=version, keep=True))
        seen.append(producer.settled(commit=False))
    seen += [producer.send(b"x"), producer.end(commit=True, keep=True), producer.settled(commit=True)]
    producer.epoch += 1
    seen.append(producer.end(commit=True))
    return [*seen, producer.end(commit=False, keep=True), producer.settled(commit=False), producer.settled()]


def fencing(bump: bool) -> Callable[[Requester, str], list[object]]:
    def scenario(peer: Requester, topic: str) -> list[object]:
        old, new = Producer(peer, topic, topic, bump=bump), Producer(peer, topic, topic, bump=bump)
        seen: list[object] = [old.ready()]
        if not bump:
            seen.append(old.add(0))
        seen += [old.send(b"a"), new.init(), new.ready()]
        seen += [old.send(b"b", version=version) for version in (10, 11, 12)]
        seen += [old.add(0, version=version) for version in range(4)]
        seen += [old.end(version=version) for version in range(6)]
        seen += [old.add_offsets(version=version) for version in (1, 4)]
        seen += [old.commit(1, version=version) for version in (2, 3, 4, 5)]
        seen += [old.init(expected=(old.id, old.epoch)), old.init(expected=(old.id, old.epoch), version=3)]
        seen += [new.add(0), new.send(b"c"), new.init(expected=(new.id, new.epoch)), new.ready()]
        seen += [new.add(0), new.send(b"C"), new.init(expected=(new.id, 99)), new.ready()]
        seen += [new.add(0), new.send(b"C"), new.init(expected=(new.id + 1000, 0)), new.end(keep=True), new.settled()]
        new.epoch -= 1
        seen += [new.init(expected=(new.id, new.epoch)), new.ready()]
        lost = (new.id, new.epoch)
        seen += [new.init(expected=lost), new.init(expected=lost), new.init(expected=lost)]
        seen += [new.add(0), new.send(b"d"), new.end(keep=True), new.settled()]
        stranger = Producer(peer, topic, topic, bump=bump)
        stranger.adopt(new.id + 1000, 0)
        seen += [stranger.add(0), stranger.send(b"e"), stranger.end(), stranger.add_offsets(), stranger.commit(1)]
        unknown = Producer(peer, topic, f"{topic}-unknown", bump=bump)
        unknown.adopt(new.id, new.epoch)
        seen += [unknown.add(0), unknown.send(b"e"), unknown.end(), unknown.add_offsets(), unknown.commit(1)]
        seen += [unknown.init(expected=(new.id, 5)), unknown.init(timeout_ms=0), unknown.init(timeout_ms=900_001)]
        empty = Producer(peer, topic, "", bump=bump)
        empty.adopt(new.id, 0)
        seen += [empty.init(), empty.add(0), empty.end(), empty.add_offsets(), empty.send(b"f"), empty.commit(1)]
        return [*seen, committed(peer, topic), log(peer, topic)]

    return scenario


def epochs(peer: Requester, topic: str) -> list[object]:
    producer = Producer(peer, topic, topic)
    seen: list[object] = [producer.ready(), producer.send(b"a"), producer.end(keep=True), producer.settled()]
    producer.adopt(producer.id, producer.epoch + 1)
    last = producer.epoch
    seen += [producer.send(b"b"), producer.ask_init().error_code]
    for _ in range(100):
        if end_offsets(peer, topic) == (4, 4):
            break
        peer.pass_time(0.05)
    peer.pass_time(0.3)  # the abort is written; then the coordinator hears of it
    for epoch in (last - 1, last, last + 1):
        producer.adopt(producer.id, epoch)
        seen.append(producer.init(expected=(producer.id, epoch)))
    return seen


def adding(peer: Requester, topic: str) -> list[object]:
    producer = Producer(peer, topic, topic, bump=False)
    seen: list[object] = [producer.ready()]
    seen += [sorted(producer.add(0, 99)), producer.add(0, topic="no-such-topic"), producer.send(b"a")]
    seen += [producer.add(0, 1), producer.send(b"a", sequence=5), producer.send(b"a", sequence=0), producer.send(b"b")]
    seen += [producer.send(b"a", sequence=5, partition=1), producer.send(b"a", sequence=7, partition=1)]
    return [*seen, producer.send(b"a", sequence=6, partition=1), producer.end(), producer.settled(), log(peer, topic)]


def group_offsets(bump: bool) -> Callable[[Requester, str], list[object]]:
    def scenario(peer: Requester, topic: str) -> list[object]:
        producer = Producer(peer, topic, topic, bump=bump, group=topic)

        def seen_offsets() -> list[object]:
            return [offsets(peer, topic, topic, (0, 1), stable=stable) for stable in (True, False)]

        seen: list[object] = [producer.ready()]
        if not bump:
            seen += [producer.commit(5, version=version) for version in (2, 3, 4)]
            seen.append(producer.add_offsets())
        seen += [producer.commit(5), seen_offsets(), producer.commit(6), producer.commit(7, partition=99)]
        seen += [producer.commit(7, topic="no-such-topic"), producer.commit(7, metadata="x" * 4097)]
        seen += [producer.commit(7, member=(3, "nobody", None)), producer.commit(7, member=(-1, "nobody", None))]
        seen += [producer.end(keep=True), producer.settled(), seen_offsets()]
        if bump:
            seen += [
                producer.end(),
                producer.commit(8, version=6, topic=None),
                producer.commit(9, version=6, topic="x"),
            ]
        else:
            seen += [producer.add_offsets(), producer.commit(8)]
        seen += [seen_offsets(), producer.end(commit=False, keep=True), producer.settled(commit=False)]
        return [*seen, seen_offsets()]

    return scenario


def time_runs_out(peer: Requester, topic: str) -> list[object]:
    producer = Producer(peer, topic, topic)
    seen: list[object] = [producer.init(timeout_ms=1000), producer.send(b"a")]
    for _ in range(400):  # Kafka looks every ten seconds
        if end_offsets(peer, topic) != (1, 0):
            break
        peer.pass_time(0.05)
    seen += [committed(peer, topic), producer.send(b"b"), producer.end(), producer.end(version=4), producer.add(0)]
    return [*seen, producer.ready(), log(peer, topic)]


SCENARIOS: dict[str, Callable[[Requester, str], list[object]]] = {
    "plain": plain,
    "what is refused": what_is_refused,
    "options of the topic": options,
    "idempotence": idempotence,
    "transactions, version 1": transactions(False),
    "transactions, version 2": transactions(True),
    "empty transactions": empty_transactions,
    "fencing, version 1": fencing(False),
    "fencing, version 2": fencing(True),
    "adding": adding,
    "epochs": epochs,
    "offsets, version 1": group_offsets(False),
    "offsets, version 2": group_offsets(True),
    "time runs out": time_runs_out,
}


def ours(topic: str) -> Peer:
    peer = Peer(Broker(unix_offset=NOW / 1000 - START))
    for name in (topic, "__transaction_state", "__consumer_offsets"):
        peer.broker.create_topic(name, 3)
    peer.broker.create_topic(f"{topic}-compact", compacted=True)
    peer.broker.create_topic(f"{topic}-time", log_append_time=True)
    peer.broker.create_topic(f"{topic}-small", max_message_bytes=200)
    peer.broker.create_topic(f"{topic}-strict")
    for each in (topic, f"{topic}-compact", f"{topic}-small"):
        peer.broker.cluster.topics[each].timestamp_after_max_ms = 1 << 62
    Producer(peer, topic, topic).init()  # as Wire does to see whether the coordinator is there
    return peer


@pytest.mark.parametrize("name", SCENARIOS)
def test_producers_get_the_same_answers(kafka: KafkaCluster, topic: str, name: str) -> None:
    kafka.create_topic(topic, 3)
    if name == "options of the topic":
        for which, option, value in (
            ("compact", "cleanup.policy", "compact"),
            ("time", "message.timestamp.type", "LogAppendTime"),
            ("small", "max.message.bytes", "200"),
            ("strict", "message.timestamp.after.max.ms", str(HOUR)),
        ):
            kafka.create_topic(f"{topic}-{which}", configs={option: value})
    wire = Wire(kafka, topic)
    try:
        wire.wait_for_coordinator()
        wire.wait_for_transactions()
        wire.wait_for_topic(topic, 3)
        expected = SCENARIOS[name](wire, topic)
    finally:
        wire.close()
    assert SCENARIOS[name](ours(topic), topic) == expected


# -------------------------------------------------------------------------------------------------- Java's own producer


class Embedded(JavaClients):
    """Java's clients at our broker."""

    def __init__(self, java: JavaHelper, bootstrap: str) -> None:
        self.java = java
        self._bootstrap = bootstrap

    @property
    def bootstrap(self) -> str:
        return self._bootstrap


def programs(cluster: JavaClients, topic: str) -> list[object]:
    """What programs do; where the records went, and what consumers see of them."""
    seen: list[object] = []

    def records(name: str, count: int, size: int = 20) -> list[Produced]:
        return [
            Produced(topic, n % 2, b"%d" % n, f"{name}-{n}".encode() * size, [("h", b"%d" % n)], NOW + n)
            for n in range(count)
        ]

    for codec in CODECS:
        seen.append(cluster.produce(records(codec, 20), codec=codec, flush_every=7))
    for acks in ("0", "1"):
        placed = cluster.produce(records(acks, 6), configs={"acks": acks}, idempotent=False)
        seen.append(placed if acks == "1" else len(placed))
    cluster.produce(records("open", 4), transactional_id=topic, end="open")
    seen += [cluster.offset(topic, 0, "latest", isolated) for isolated in (False, True)]
    cluster.end_transaction(topic, "abort")
    ends: tuple[Literal["commit", "abort"], ...] = ("commit", "abort", "commit")
    for number, end in enumerate(ends):
        offsets = (topic, topic, 1, number)
        seen.append(cluster.produce(records(end, 30), transactional_id=topic, end=end, flush_every=4, offsets=offsets))
        seen.append(cluster.committed(topic))
    with pytest.raises(JavaError) as caught:
        cluster.produce(records("large", 1, size=200_000), configs={"max.request.size": 1 << 24})
    seen.append(caught.value.kind)
    for partition in (0, 1):
        for isolated in (False, True):
            rows = cluster.consume(topic, partition, read_committed=isolated)
            seen.append([(row.offset, row.timestamp, row.key, row.value, row.headers) for row in rows])
    return seen


@pytest.fixture(scope="module")
def expected(kafka: KafkaCluster) -> list[object]:
    """What the programs see of a real Kafka."""
    kafka.create_topic(TOPIC, 2)
    return programs(kafka, TOPIC)


@pytest.mark.parametrize("release, version", [(None, 5), ("3.9", 4)])
def test_java_produces(java: JavaHelper, expected: list[object], release: str | None, version: int) -> None:
    broker = Broker(nodes=3, unix_offset=time.time() - time.monotonic(), release=release)
    broker.create_topic(TOPIC, 2)
    with BrokerServer(broker) as bootstrap:
        assert programs(Embedded(java, bootstrap), TOPIC) == expected
    ends = [each.header for each in broker.requests if each.header.request_api_key == ApiKey.END_TXN]
    assert {header.request_api_version for header in ends} == {version}


def test_librdkafka_produces() -> None:
    pytest.importorskip("confluent_kafka")
    broker = Broker(nodes=3, unix_offset=time.time() - time.monotonic())
    broker.create_topic(TOPIC, 2)
    sent = [Produced(TOPIC, n % 2, b"%d" % n, b"value", [("h", b"1")], NOW + n) for n in range(20)]
    with BrokerServer(broker) as bootstrap:
        for number, codec in enumerate(CODECS):
            placed = librdkafka.produce(bootstrap, sent, codec)
            assert placed == [Placed(TOPIC, n % 2, 10 * number + n // 2, NOW + n) for n in range(20)]
        for end in ("abort", "commit"):
            librdkafka.produce(bootstrap, sent, transactional_id="x", end=end)
    seen = [committed(Peer(broker), TOPIC, partition) for partition in (0, 1)]
    assert seen == [([b"value"] * 60, 1, 72, 72)] * 2
