"""The controls of a broker that runs, which are those of the engine without `now`; and retention and compaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from dekaf_proto.broker import Broker, Fault, GroupOptions, GroupState, NewRecord
from dekaf_proto.broker.controls import Controls, can_t_listen, crashed, make_engine
from dekaf_proto.errors import ConfigurationError, ErrorCode, InternalError, LocalProtocolError
from dekaf_proto.events import Listen
from dekaf_proto.messages import ApiKey, MetadataRequest
from dekaf_proto.records import Codec
from dekaf_proto.types import TopicPartition
from tests.broker.members import GroupPeer
from tests.broker.peer import START, Peer
from tests.broker.requests import fetch_request

T = TypeVar("T")

T0 = TopicPartition("t", 0)


class Direct(Controls):
    """The controls of a broker in virtual time."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def call(self, action: Callable[[Broker, float], T]) -> T:
        result = action(self.peer.broker, self.peer.now)
        self.peer.drain()
        return result


def controls(nodes: int = 3, **options: int) -> Direct:
    broker = Broker(nodes=nodes, **options)  # type: ignore[arg-type]
    broker.create_topic("t", 2)
    return Direct(Peer(broker))


def values(controls: Controls, partition: int | None = None) -> list[bytes | None]:
    return [record.value for record in controls.records("t", partition)]


def test_the_cluster() -> None:
    broker = controls()
    assert broker.nodes == [0, 1, 2]
    assert broker.bootstrap_servers == "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094"
    assert Direct(Peer(Broker(host="::1", port=7))).bootstrap_servers == "[::1]:7"


def test_nodes() -> None:
    broker = controls()
    conn = broker.peer.connect(1)
    assert broker.leader("t", 1) == 1
    broker.stop_node(1)
    assert broker.peer.closed == [conn]
    assert broker.leader("t", 1) == 2
    with pytest.raises(ValueError, match="does not listen"):
        broker.peer.connect(1)
    broker.start_node(1)
    broker.stop_node(2, elect=False)
    assert broker.leader("t", 1) == 2
    conn = broker.peer.connect(1)
    broker.pause_node(1)
    broker.peer.send(conn, MetadataRequest([]), 9)
    assert broker.peer.frame(conn) is None
    broker.resume_node(1)
    assert broker.peer.frame(conn) is not None


@pytest.mark.parametrize("nodes", [0, -1, [], [1, 1], [-1], "3"])
def test_nodes_that_can_t_be(nodes: Any) -> None:
    with pytest.raises(ValueError, match="nodes have to be"):
        Broker(nodes=nodes)


def test_numbers_that_can_t_be() -> None:
    with pytest.raises(ValueError, match="auto_create_partitions"):
        Broker(auto_create_partitions=0)
    broker = controls()
    for action in (
        lambda: broker.create_topic("u", -1),
        lambda: broker.create_topic("u", replicas=4),
        lambda: broker.create_partitions("t", -1),
        lambda: broker.recreate_topic("t", -1),
        lambda: broker.append("t", 0, [b"a"], per_batch=-1),
        lambda: broker.append("t", 0, [b"a"], per_batch=0),
    ):
        with pytest.raises(ValueError, match=r"at least|replicas"):
            action()
    with pytest.raises(KeyError):
        broker.disconnect(7)
    with pytest.raises(KeyError):
        broker.expire_sessions(7)
    assert (broker.topics, broker.end_offset("t", 0)) == (["t"], 0)


def test_connections_are_closed() -> None:
    broker = controls()
    conns = [broker.peer.connect(node) for node in (0, 1, 1)]
    broker.disconnect(1)
    assert broker.peer.closed == conns[1:]
    broker.disconnect()
    assert broker.peer.closed == [*conns[1:], conns[0]]
    broker.peer.ask(MetadataRequest([]), 9)


def test_leaders_and_coordinators() -> None:
    broker = controls()
    broker.move_leader("t", 0, 2)
    assert broker.leader("t", 0) == 2
    broker.move_leader("t", 0, None)
    assert broker.leader("t", 0) is None
    broker.move_coordinator("g", 2, load_ms=5)
    assert broker.coordinator("g") == 2
    assert broker.call(lambda b, now: b.cluster.coordinator_error("g", 2, now)) is (
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    )


def test_topics() -> None:
    broker = controls()
    broker.create_topic("u", 2, replicas=1, log_append_time=True, compacted=True, max_message_bytes=9)
    broker.create_partitions("u", 1)
    assert broker.topics == ["t", "u"]
    made = broker.call(lambda b, _: b.cluster.topics["u"])
    assert ([len(p.replicas) for p in made.partitions], made.log_append_time) == ([1, 1, 3], True)
    assert (made.compacted, made.max_message_bytes) == (True, 9)
    broker.append("u", 0, [b"x"])
    broker.recreate_topic("u", 1)
    assert broker.end_offset("u", 0) == 0
    with pytest.raises(KeyError):
        broker.end_offset("u", 1)
    broker.delete_topic("u")
    assert broker.topics == ["t"]
    with pytest.raises(ValueError, match="illegal topic name"):
        broker.create_topic("a b")


def test_records() -> None:
    broker = controls()
    assert broker.append("t", 0, [b"a", NewRecord(b"b", key=b"k", timestamp=7)], codec=Codec.GZIP, per_batch=1) == 0
    assert broker.append("t", 1, [None]) == 0
    assert broker.append("t", 0, [b"c"], producer_id=5, transactional=True) == 2
    assert broker.append("t", 0, [b"d"], producer_id=6, transactional=True) == 3
    broker.end_transaction("t", 0, 5, commit=True)
    broker.end_transaction("t", 0, 6, commit=False)
    assert values(broker) == [b"a", b"b", b"c", b"d", None]  # no markers
    assert values(broker, 1) == [None]
    found = broker.records("t", 0)[1]
    assert (found.topic_partition, found.offset, found.key, found.timestamp) == (T0, 1, b"k", 7)
    log = broker.call(lambda b, _: b.cluster.topics["t"].partitions[0].log)
    assert [batch.codec for batch in log.batches[:3]] == [Codec.GZIP, Codec.GZIP, 0]
    assert [aborted.producer_id for aborted in log.aborted] == [6]
    assert broker.end_offset("t", 0) == 6
    broker.delete_records("t", 0, 2)
    assert values(broker, 0) == [b"c", b"d"]
    with pytest.raises(KeyError):
        broker.records("t", 2)


def test_records_begin_where_the_log_does() -> None:
    broker = controls()
    broker.append("t", 0, [b"a", b"b", b"c"])
    broker.delete_records("t", 0, 2)  # in the middle of a batch
    assert values(broker) == [b"c"]


def test_retention() -> None:
    broker = controls()
    for second in range(5):
        broker.peer.now = START + second
        broker.append("t", 0, [b"%d" % second])
    broker.append("t", 1, [NewRecord(b"old", timestamp=0), NewRecord(b"new", timestamp=10**15)])
    broker.retain(ms=2_000)  # of the last one
    assert values(broker, 0) == [b"2", b"3", b"4"]
    assert values(broker, 1) == [b"old", b"new"]  # a batch goes as a whole
    broker.retain(max_bytes=10**6)
    size = len(broker.call(lambda b, _: b.cluster.topics["t"].partitions[0].log.batches[0].data))
    broker.retain(max_bytes=2 * size)
    assert values(broker, 0) == [b"3", b"4"]
    broker.call(lambda b, _: b.hold_high_watermark("t", 0, 4))
    broker.retain(max_bytes=0)
    assert values(broker, 0) == [b"4"]  # consumers have not seen it
    broker.call(lambda b, _: b.hold_high_watermark("t", 0, None))
    broker.retain(ms=-1_000)
    assert values(broker, 0) == []
    assert broker.call(lambda b, _: b.log_start("t", 0)) == 5


def test_compaction_knows_transactions() -> None:  # B6
    broker = controls()

    def keyed(*values: bytes) -> list[NewRecord]:
        return [NewRecord(value, b"k") for value in values]

    broker.append("t", 0, keyed(b"old", b"good"))
    broker.append("t", 0, keyed(b"aborted"), producer_id=1, transactional=True)
    broker.end_transaction("t", 0, 1, commit=False)
    broker.compact("t", 0)
    assert values(broker, 0) == [b"good"]  # what was aborted replaces nothing, and goes
    broker.append("t", 0, keyed(b"committed"), producer_id=1, transactional=True)
    broker.end_transaction("t", 0, 1, commit=True)
    broker.append("t", 0, keyed(b"open"), producer_id=1, transactional=True)
    broker.append("t", 0, keyed(b"behind it"))
    broker.compact("t", 0)
    assert values(broker, 0) == [b"committed", b"open", b"behind it"]  # what is open replaces nothing yet
    broker.end_transaction("t", 0, 1, commit=True)
    broker.compact("t", 0)
    assert values(broker, 0) == [b"behind it"]


def test_the_beginning_of_an_open_transaction_is_deleted() -> None:
    broker = controls()
    broker.append("t", 0, [b"1", b"2"], producer_id=1, transactional=True)
    broker.append("t", 0, [b"3"])
    stable = [broker.call(lambda engine, _: engine.last_stable_offset("t", 0))]
    for before in (1, 3):
        broker.delete_records("t", 0, before)
        stable.append(broker.call(lambda engine, _: engine.last_stable_offset("t", 0)))
    assert stable == [0, 1, 3]  # never below the log's start


def test_compaction() -> None:
    broker = controls()
    broker.append(
        "t", 0, [NewRecord(b"1", b"a"), NewRecord(b"2", b"b"), NewRecord(b"no key"), NewRecord(b"3", b"a")], per_batch=2
    )
    broker.append("t", 0, [NewRecord(None, b"b")])
    broker.compact("t", 0)
    assert [(record.offset, record.value) for record in broker.records("t", 0)] == [(3, b"3"), (4, None)]
    broker.compact("t", 0, lambda record: record.value is not None)
    assert values(broker, 0) == [b"3"]


def test_groups() -> None:
    broker = controls(1)
    group = GroupPeer(broker.peer.broker)
    member = group.member("me")
    member.join()
    member.sync({member.id: b""})
    assert broker.group("g").state is GroupState.STABLE
    assert broker.group("nobody").state is GroupState.DEAD
    broker.commit("g", {T0: 3})
    assert {tp: found.offset for tp, found in broker.committed("g").items()} == {T0: 3}
    broker.expire_member("g", "me")
    assert broker.group("g").members == ()
    with pytest.raises(KeyError):
        broker.expire_member("g", "me")


def test_faults() -> None:
    broker = controls()

    def errors() -> list[int]:
        return [topic.error_code for topic in broker.peer.ask(MetadataRequest(None), 9).topics]

    fault = broker.add_fault(Fault(api=ApiKey.METADATA, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED, times=2))
    other = broker.add_fault(Fault(api=ApiKey.METADATA, drop="before", times=None))
    broker.remove_fault(other)
    assert errors() == [ErrorCode.TOPIC_AUTHORIZATION_FAILED]
    assert fault.hits == 1
    broker.clear_faults()
    assert errors() == [0]
    assert len(broker.requests(MetadataRequest)) == len(broker.requests(MetadataRequest, 0)) == 2
    assert broker.requests(MetadataRequest, 1) == []
    assert [received.node for received in broker.received()] == [0, 0]


def test_fetch_sessions() -> None:
    broker = controls(1)
    broker.append("t", 0, [b"x"])

    def session() -> int:
        return broker.peer.ask(fetch_request("t", 0, session=(0, 0)), 12).session_id

    number = session()
    broker.expire_sessions(0)
    unknown = broker.peer.ask(fetch_request("t", 0, session=(number, 1)), 12)
    assert unknown.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    broker.limit_sessions(0)
    assert session() == 0


def test_without_a_driver_nothing_is_reached() -> None:
    with pytest.raises(TypeError, match=r"abstract method '?call"):
        Controls()  # type: ignore[abstract]  # which is what is tested


def engine(**options: object) -> Broker:
    given = {
        "nodes": 1,
        "host": "127.0.0.1",
        "port": 0,
        "topics": None,
        "auto_create_partitions": 1,
        "release": None,
        "group_options": None,
        "unix_offset": 5.0,
        **options,
    }
    return make_engine(given.pop("engine", None), **given)  # type: ignore[arg-type]


def test_ports_that_there_are_not() -> None:
    with pytest.raises(ConfigurationError, match="2 nodes need the ports 65535 to 65536"):
        engine(nodes=[0, 5], port=65535)


def test_an_engine_from_options() -> None:
    made = engine(nodes=[4, 7], port=19092, topics={"orders": 3}, release="2.4", group_options=GroupOptions(max_size=2))
    assert [(e.node, e.port) for e in made.effects() if isinstance(e, Listen)] == [(4, 19092), (7, 19093)]
    assert [len(topic.partitions) for topic in made.cluster.topics.values()] == [3]
    assert made.versions[ApiKey.FETCH] == (4, 11)
    assert made.cluster.group_options.max_size == 2
    assert made.unix_ms(1.0) == 6000
    own = Broker(nodes=2)
    assert engine(engine=own, topics={"x": 1}) is own
    assert own.topics == ["x"]


@pytest.mark.parametrize(
    "options", [{"host": "0.0.0.0"}, {"host": "::"}, {"port": 65536}, {"port": -1}, {"topics": ["t"]}]
)
def test_options_that_can_t_be(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        engine(**options)


def test_what_is_said_of_a_port_that_is_taken() -> None:
    assert can_t_listen(Listen(1, "127.0.0.1", 9092), "Address already in use") == (
        "node 1 can't listen on 127.0.0.1:9092 (Address already in use): choose another port"
    )


def test_who_is_to_blame() -> None:
    ours, theirs = RuntimeError("why"), LocalProtocolError("a fault's `when` has raised")
    found = [crashed(ours), crashed(theirs)]
    assert [type(error) for error in found] == [InternalError, LocalProtocolError]
    assert [error.__cause__ for error in found] == [ours, theirs]
    assert ["a bug in dekaf" in str(error) for error in found] == [True, False]


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_topic_without_partitions_is_refused(wrong: int) -> None:
    broker = controls()
    with pytest.raises(ValueError, match=f"topic 'u' has to have at least 1 partition, not {wrong}"):
        broker.create_topic("u", wrong)
    assert broker.topics == ["t"]
    with pytest.raises(ValueError, match=f"topic 'u' has to have at least 1 partition, not {wrong}"):
        engine(topics={"u": wrong})
