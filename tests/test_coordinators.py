"""Finding the coordinator of a group, and losing it (G1-G4): in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.errors import (
    BrokerError,
    ErrorCode,
    GroupAuthorizationError,
    KafkaTimeoutError,
    OperationCancelledError,
)
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from dekaf_proto.messages.metadata import MetadataRequest
from dekaf_proto.messages.offset_fetch import OffsetFetchRequest
from dekaf_proto.node import NodeState, Purpose
from dekaf_proto.operation import Operation
from dekaf_proto.types import OffsetAndMetadata, TopicPartition
from tests.consumer.helpers import Setup

TP = TopicPartition("t", 0)
KEY = ApiKey.FIND_COORDINATOR


def make(**options: Any) -> Setup:
    setup = Setup({"t": 1}, **{"nodes": 3, "group_id": "g", "enable_auto_commit": False, **options})
    setup.broker.commit("g", {TP: 5})
    return setup


def committed(setup: Setup, timeout: float | None = None) -> Operation[Any]:
    return setup.consumer.committed(TP, setup.now, timeout)


FOUND = {TP: OffsetAndMetadata(5)}


def searches(setup: Setup) -> list[float]:
    return [received.now for received in setup.received(FindCoordinatorRequest)]


@pytest.mark.parametrize("release", ["2.4", "2.8", "3.0", "4.4"])
def test_it_is_found_and_kept(release: str) -> None:  # G1
    setup = make(release=release)
    for _ in range(3):
        assert setup.result(committed(setup)) == FOUND
    (found,) = setup.received(FindCoordinatorRequest)
    request: Any = found.request
    old = found.header.request_api_version < 4
    assert (request.key, request.coordinator_keys) == (("g", []) if old else ("", ["g"]))
    assert request.key_type == 0


def test_it_has_a_connection_of_its_own() -> None:  # G2
    setup = make(nodes=1)
    setup.assign()
    setup.until_fetching()
    setup.result(committed(setup))
    conns = {
        kind: {received.conn for received in setup.received(kind)}
        for kind in (FetchRequest, MetadataRequest, OffsetFetchRequest)
    }
    assert conns[OffsetFetchRequest].isdisjoint(conns[FetchRequest] | conns[MetadataRequest])
    began = setup.now
    setup.result(committed(setup))  # a fetch that waits for data does not hold it up
    assert setup.now - began < 0.01


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.REQUEST_TIMED_OUT,
    ],
)
def test_answers_that_ask_for_patience(code: ErrorCode) -> None:  # G3
    setup = make()
    fault = setup.broker.faults.add(api=KEY, error=code, times=8)
    assert setup.result(committed(setup)) == FOUND
    assert fault.hits == 8
    found = searches(setup)
    assert 0.08 <= found[1] - found[0] <= 0.13
    assert 0.8 <= found[8] - found[7] <= 1.01
    operation = committed(setup)
    setup.result(operation)


@pytest.mark.parametrize(
    "code, error",
    [
        (ErrorCode.GROUP_AUTHORIZATION_FAILED, GroupAuthorizationError),
        (ErrorCode.INVALID_GROUP_ID, BrokerError),
    ],
)
def test_answers_that_are_final(code: ErrorCode, error: type[Exception]) -> None:  # G3
    setup = make()
    setup.broker.faults.add(api=KEY, error=code, times=3)
    operations = [committed(setup) for _ in range(3)]
    for operation in operations:
        with pytest.raises(error, match="g" if error is GroupAuthorizationError else "INVALID_GROUP_ID"):
            setup.result(operation)
    assert len(searches(setup)) == 3
    assert setup.result(committed(setup)) == FOUND


def nobody(request: object, response: FindCoordinatorResponse) -> FindCoordinatorResponse:
    response.node_id = -1
    for answer in response.coordinators:
        answer.node_id = -1
    return response


def empty(request: object, response: FindCoordinatorResponse) -> FindCoordinatorResponse:
    response.coordinators = []
    return response


@pytest.mark.parametrize("alter, release", [(nobody, "4.4"), (nobody, "2.4"), (empty, "4.4")])
def test_nobody_is_not_kept(alter: Any, release: str) -> None:  # G3
    setup = make(release=release)
    setup.broker.faults.add(api=KEY, alter=alter, times=2)
    assert setup.result(committed(setup)) == FOUND
    assert len(searches(setup)) == 3


def test_a_time_out_says_why_it_is_not_found() -> None:
    setup = make()
    setup.broker.faults.add(api=KEY, error=ErrorCode.COORDINATOR_NOT_AVAILABLE, times=None)
    operations = [committed(setup, 5.0), committed(setup, 5.0), setup.consumer.commit({TP: 7}, setup.now, 5.0)]
    waiting = setup.consumer.commit({TP: 8}, setup.now, 5.0)  # for the other commit
    for operation in [*operations, waiting]:
        with pytest.raises(KafkaTimeoutError, match="COORDINATOR_NOT_AVAILABLE"):
            setup.result(operation)


def test_a_time_out_while_somebody_else_asks() -> None:
    setup = make()
    setup.broker.faults.add(api=KEY, error=ErrorCode.COORDINATOR_NOT_AVAILABLE)
    setup.broker.faults.add(api=KEY, silent="before", when=lambda header, request: len(searches(setup)) > 1)
    first = committed(setup, 20.0)
    setup.run_until(lambda: len(searches(setup)) > 1)
    with pytest.raises(KafkaTimeoutError, match="COORDINATOR_NOT_AVAILABLE"):
        setup.result(committed(setup, 5.0))
    assert not first.done


def test_all_who_look_for_it_ask_together() -> None:
    setup = make()
    setup.broker.faults.add(api=KEY, error=ErrorCode.COORDINATOR_NOT_AVAILABLE, times=5)
    operations = [committed(setup) for _ in range(20)]
    for operation in operations:
        assert setup.result(operation) == FOUND
    assert len(searches(setup)) == 6


def test_who_gives_up_does_not_stop_the_others() -> None:
    for cancel_after in (0.0, 0.001, 0.0035, 0.004, 0.0055, 0.05, 0.2):
        setup = make()
        setup.broker.faults.add(api=KEY, error=ErrorCode.COORDINATOR_NOT_AVAILABLE, times=2)
        first, second = committed(setup), committed(setup)
        setup.run_for(cancel_after)
        first.cancel()
        assert setup.result(second, limit=3.0) == FOUND
        with pytest.raises(OperationCancelledError):
            first.result()


@pytest.mark.parametrize("how", ["moved", "stopped", "cut", "idle", "silent"])
def test_it_is_looked_for_again(how: str) -> None:  # G4
    setup = make(request_timeout_ms=3_000, connections_max_idle_ms=30_000)
    assert setup.result(committed(setup)) == FOUND
    old = setup.broker.coordinator("g")
    assert old is not None
    if how == "moved":
        setup.broker.move_coordinator("g", (old + 1) % 3)
    elif how == "stopped":
        setup.broker.stop_node(old, setup.now)
    elif how == "cut":
        setup.network.cut()
    elif how == "idle":
        setup.run_for(40.0)
        client = setup.consumer._client
        assert all(n.state is NodeState.IDLE for k, n in client._nodes.items() if k.purpose is Purpose.COORDINATOR)
    else:
        setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, silent="before")
    assert setup.result(committed(setup)) == FOUND
    assert len(searches(setup)) == 2


@pytest.mark.parametrize("how", ["silent", "blocked"])
def test_while_one_is_dialled_in_vain_another_is_looked_for(how: str) -> None:  # G4
    setup = make(request_timeout_ms=1_000)
    assert setup.result(committed(setup)) == FOUND
    old = setup.broker.coordinator("g")
    assert old is not None
    if how == "silent":
        setup.broker.faults.add(node=old, silent="before", times=None)
    else:
        setup.network.cut(node=old)
        setup.network.block(old)
    operation = committed(setup)
    setup.run_for(3.0)  # until the cluster has noticed, it answers that it is the same one
    setup.broker.move_coordinator("g", (old + 1) % 3)
    assert setup.result(operation, limit=2.5) == FOUND


@pytest.mark.parametrize(
    "code", [ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.REQUEST_TIMED_OUT]
)
def test_an_answer_may_say_that_it_is_another_one(code: ErrorCode) -> None:  # G4
    setup = make()
    assert setup.result(committed(setup)) == FOUND
    setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, error=code, times=1)
    others = [committed(setup) for _ in range(3)]  # on the same connection: they fail with it, and are asked again
    for operation in others:
        assert setup.result(operation) == FOUND
    assert len(searches(setup)) == 2
    assert setup.consumer._client.counts["failed_connects"] == 0


def test_what_is_on_its_way_to_the_wrong_one_is_not_waited_for() -> None:  # G4
    setup = make()
    setup.result(committed(setup))
    setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, error=ErrorCode.NOT_COORDINATOR)
    third = lambda header, request: len(setup.received(OffsetFetchRequest)) == 3  # noqa: E731
    slow = setup.broker.faults.add(api=ApiKey.OFFSET_FETCH, delay=20.0, when=third)
    first, second = committed(setup), committed(setup)
    setup.result(first, limit=1.0)
    setup.result(second, limit=1.0)
    assert slow.hits == 1


def test_it_is_forgotten_with_all_brokers() -> None:
    """Also if its connection was never used: a key without a node would be asked for ever."""
    setup = make()
    assert setup.result(committed(setup)) == FOUND
    setup.network.cut()
    fault = setup.broker.faults.add(api=KEY, delay=0.5)
    operation = committed(setup)
    setup.run_until(lambda: fault.hits)
    setup.run_for(0.501)
    operation.cancel()
    setup.consumer._client.rebootstrap("the test says so")
    assert setup.result(committed(setup), limit=5.0) == FOUND


def test_it_may_be_a_broker_that_metadata_does_not_name_yet() -> None:
    setup = make()
    setup.broker.move_coordinator("g", 2)
    setup.assign()
    setup.until_fetching()

    def hide(request: object, response: Any) -> Any:
        response.brokers = [b for b in response.brokers if b.node_id != setup.broker.coordinator("g")]
        return response

    setup.broker.faults.add(api=ApiKey.METADATA, times=None, alter=hide)
    assert setup.result(committed(setup)) == FOUND
    setup.consumer._metadata.refresh()
    setup.run_for(1.0)
    assert setup.result(committed(setup)) == FOUND
    assert len(searches(setup)) == 1
