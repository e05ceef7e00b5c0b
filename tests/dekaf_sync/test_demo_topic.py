"""The topic that the demo makes on a real Kafka; here that is the embedded broker, which makes all kinds of trouble."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import pytest

from dekaf_proto.broker import Fault
from dekaf_proto.errors import BrokerError, ErrorCode
from dekaf_proto.messages import ApiKey
from dekaf_sync import EmbeddedBroker
from dekaf_sync.__main__ import main
from dekaf_sync._demo import topic as topic_module
from dekaf_sync._demo.topic import OwnTopic

RECORDS = [(b"1", b"tea"), (b"2", b"soup")]


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(nodes=3, auto_create_partitions=None) as broker:
        yield broker


@pytest.fixture(autouse=True)
def _no_breath(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_module, "BREATH", 0.0)


def written(broker: EmbeddedBroker) -> list[tuple[int, bytes | None, bytes | None]]:
    return [(each.partition, each.key, each.value) for each in broker.records("orders")]


def test_made_filled_and_deleted(broker: EmbeddedBroker) -> None:
    own = OwnTopic(broker.bootstrap_servers, "orders", 3)
    own.create()
    assert [own.append(2, RECORDS), own.append(2, RECORDS), own.append(0, RECORDS[:1])] == [0, 2, 0]
    assert written(broker) == [(0, b"1", b"tea"), *[(2, key, value) for key, value in RECORDS] * 2]
    assert all(record.timestamp > 0 for record in broker.records("orders"))
    own.delete()
    assert broker.topics == []


@pytest.mark.parametrize("release", ["2.4", "3.9"])
def test_an_older_kafka(release: str) -> None:
    with EmbeddedBroker(release=release, auto_create_partitions=None) as broker:
        own = OwnTopic(broker.bootstrap_servers, "orders", 2)
        own.create()
        assert own.append(1, RECORDS) == 0
        own.delete()
        assert broker.topics == []


#: What passes, and is not even noticed.
TROUBLE: dict[str, dict[str, Any]] = {
    "no controller": {"api": ApiKey.CREATE_TOPICS, "error": ErrorCode.NOT_CONTROLLER, "times": 2},
    "made, and not said": {"api": ApiKey.CREATE_TOPICS, "drop": "after"},
    "nobody knows the topic yet": {"api": ApiKey.METADATA, "error": ErrorCode.LEADER_NOT_AVAILABLE, "times": 3},
    "no producer ids": {"api": ApiKey.INIT_PRODUCER_ID, "error": ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, "times": 2},
    "another leader": {"api": ApiKey.PRODUCE, "error": ErrorCode.NOT_LEADER_OR_FOLLOWER, "times": 2},
    "not written, and cut": {"api": ApiKey.PRODUCE, "drop": "before"},
    "written, and cut": {"api": ApiKey.PRODUCE, "drop": "after"},
    "half an answer": {"api": ApiKey.PRODUCE, "truncate": 9},
    "deleted, and not said": {"api": ApiKey.DELETE_TOPICS, "drop": "after"},
}


@pytest.mark.parametrize("name", TROUBLE)
def test_what_passes(broker: EmbeddedBroker, name: str) -> None:
    fault = broker.add_fault(Fault(**TROUBLE[name]))
    own = OwnTopic(broker.bootstrap_servers, "orders", 2)
    own.create()
    assert [own.append(1, RECORDS), own.append(1, RECORDS)] == [0, 2]
    assert written(broker) == [(1, key, value) for key, value in RECORDS] * 2
    own.delete()
    assert broker.topics == []
    assert fault.spent


def test_a_node_dies(broker: EmbeddedBroker) -> None:
    own = OwnTopic(broker.bootstrap_servers, "orders", 3)
    own.create()
    for node in broker.nodes[:2]:
        assert [own.append(partition, RECORDS) for partition in range(3)] == [2 * node] * 3
        broker.stop_node(node)
    assert [own.append(partition, RECORDS) for partition in range(3)] == [4] * 3
    own.delete()
    assert broker.topics == []


@pytest.mark.parametrize("api", [ApiKey.CREATE_TOPICS, ApiKey.INIT_PRODUCER_ID, ApiKey.PRODUCE])
def test_what_does_not_pass(broker: EmbeddedBroker, api: ApiKey) -> None:
    broker.add_fault(Fault(api=api, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED, times=None))
    own = OwnTopic(broker.bootstrap_servers, "orders", 2)

    def use() -> None:
        own.create()
        own.append(0, RECORDS)

    with pytest.raises(BrokerError, match="TOPIC_AUTHORIZATION_FAILED"):
        use()
    own.delete()
    assert broker.topics == []


def test_what_does_not_pass_in_time(broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_module, "PATIENCE", 0.0)
    own = OwnTopic(broker.bootstrap_servers, "orders", 2)
    own.create()
    for fault, said in (
        (Fault(api=ApiKey.PRODUCE, error=ErrorCode.NOT_ENOUGH_REPLICAS, times=None), "NOT_ENOUGH_REPLICAS"),
        (Fault(api=ApiKey.PRODUCE, drop="before", times=None), "closed the connection"),
    ):
        broker.add_fault(fault)
        with pytest.raises((BrokerError, OSError), match=said):
            own.append(0, RECORDS)
        broker.clear_faults()
    own.delete()


# ---------------------------------------------------------------------------------------------------- the whole demo


@pytest.mark.parametrize(
    "fault, said",
    [
        ({"api": ApiKey.CREATE_TOPICS, "error": ErrorCode.POLICY_VIOLATION}, "POLICY_VIOLATION"),
        ({"api": ApiKey.INIT_PRODUCER_ID, "error": ErrorCode.CLUSTER_AUTHORIZATION_FAILED}, "CLUSTER_AUTHORIZATION"),
    ],
)
def test_it_fails_and_leaves_nothing(
    broker: EmbeddedBroker, fault: Mapping[str, Any], said: str, capsys: pytest.CaptureFixture[str], free_signals: None
) -> None:
    broker.add_fault(Fault(**fault, times=None))
    assert main(["demo", "--bootstrap-servers", broker.bootstrap_servers]) == 1
    error = capsys.readouterr().err
    assert error.startswith("dekaf demo: ")
    assert said in error
    assert broker.topics == []


def test_it_says_what_it_leaves(broker: EmbeddedBroker, capsys: pytest.CaptureFixture[str], free_signals: None) -> None:
    for api in (ApiKey.INIT_PRODUCER_ID, ApiKey.DELETE_TOPICS):
        broker.add_fault(Fault(api=api, error=ErrorCode.TOPIC_AUTHORIZATION_FAILED, times=None))
    assert main(["demo", "--bootstrap-servers", broker.bootstrap_servers]) == 1
    [topic] = broker.topics
    assert f"dekaf demo: topic {topic!r} is left there: delete it" in capsys.readouterr().err


def test_servers_that_are_not_there(capsys: pytest.CaptureFixture[str], free_signals: None) -> None:
    with socket.socket() as taken:  # bound, and does not listen
        taken.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["demo", "--bootstrap-servers", server]) == 1
    assert f"dekaf demo: no broker can be reached ({server}: " in capsys.readouterr().err
    assert main(["demo", "--bootstrap-servers", "a:b"]) == 1
    assert "dekaf demo: 'a:b' is not host:port" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no signals that a process can send to one alone")
@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_interrupted_it_leaves_nothing(broker: EmbeddedBroker, number: Signals) -> None:
    command = [sys.executable, "-m", "dekaf_sync", "demo", "--plain", "--bootstrap-servers", broker.bootstrap_servers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            while "is given" not in process.stdout.readline():
                assert process.poll() is None
            [topic] = broker.topics
            assert topic.startswith("dekaf-demo-")
            process.send_signal(number)
            assert "Traceback" not in process.stdout.read()
            assert process.wait() == 130
        finally:
            process.kill()
    assert broker.topics == []
