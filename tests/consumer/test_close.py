"""Closing: whenever, bounded, once, and nothing is left open. What close commits is in test_auto_commits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dekaf_proto.errors import ClosedError, OperationCancelledError
from dekaf_proto.events import Address, Connect, Disconnect, Effect, Send
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.fetch import FetchRequest
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup

TP, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)


def remember(setup: Setup) -> list[Effect]:
    """All effects from now on."""
    found: list[Effect] = []
    original = setup.consumer.effects

    def effects() -> list[Effect]:
        drained = original()
        found.extend(drained)
        return drained

    setup.consumer.effects = effects  # type: ignore[method-assign]
    return found


def is_closed(setup: Setup) -> None:
    consumer = setup.consumer
    assert consumer.closed
    assert consumer.next_deadline() is None
    again = consumer.close(setup.now)
    assert again.done
    again.result()
    setup.run_for(10.0)
    assert consumer.effects() == []
    assert setup.broker.connections() == []


def test_a_consumer_that_was_never_started() -> None:
    setup = Setup()
    operation = setup.consumer.close(setup.now)
    assert operation.done
    operation.result()
    is_closed(setup)
    with pytest.raises(ClosedError, match="the consumer is closed"):
        setup.assign()


@pytest.mark.parametrize("how", ["unresolved", "refused", "blocked", "at once"])
def test_a_consumer_that_was_never_connected(how: str) -> None:  # lesson 33
    setup = Setup(group_id="g", check=False)
    if how == "unresolved":
        setup.consumer = setup.add_consumer(bootstrap_servers="nowhere.test", group_id="g")
    elif how == "refused":
        setup.network.refuse(0)
    elif how == "blocked":
        setup.network.block(0)
    setup.assign()
    if how != "at once":
        setup.run_for(3.0)
    began = setup.now
    setup.close()
    assert setup.now == began  # there is nothing to wait for
    setup.network.unblock(0)
    is_closed(setup)


@pytest.mark.parametrize("step", range(12))
def test_while_it_is_being_connected(step: int) -> None:
    setup = Setup({"t": 2}, nodes=2, group_id="g")
    setup.assign()
    setup.run_for(step * 0.001)
    setup.close()
    is_closed(setup)


def test_close_is_idempotent() -> None:
    setup = Setup(group_id="g")
    setup.append("a", "b")
    setup.assign()
    setup.read(2)
    first = setup.consumer.close(setup.now)
    assert not first.done
    assert setup.consumer.close(setup.now, 0.0) is first
    setup.result(first)
    is_closed(setup)


def test_every_later_call_is_refused() -> None:
    setup = Setup(group_id="g", enable_auto_offset_store=False)
    setup.append("a")
    setup.assign()
    setup.next()
    consumer, now = setup.consumer, setup.now
    setup.consumer.store_offsets({TP: 1}, now)
    closing = consumer.close(now)
    calls: list[Callable[[], object]] = [
        lambda: consumer.assign([TP], setup.now),
        lambda: consumer.incremental_assign([OTHER], setup.now),
        lambda: consumer.incremental_unassign([TP], setup.now),
        lambda: consumer.seek(TP, 0, setup.now),
        lambda: consumer.seek_to_beginning(None, setup.now),
        lambda: consumer.seek_to_end(None, setup.now),
        lambda: consumer.seek_to_committed(None, setup.now),
        lambda: consumer.seek_to_timestamp(1_700_000_000_000, setup.now),
        lambda: consumer.pause(None, setup.now),
        lambda: consumer.resume(None, setup.now),
        lambda: consumer.commit(None, setup.now),
        lambda: consumer.store_offsets({TP: 1}, setup.now),
        lambda: consumer.committed(TP, setup.now),
        lambda: consumer.beginning_offsets(TP, setup.now),
        lambda: consumer.end_offsets(TP, setup.now),
        lambda: consumer.offsets_for_times({}, setup.now),
        lambda: consumer.until_end(setup.now),
        lambda: consumer.partitions_for("t", setup.now),
        lambda: consumer.topics(setup.now),
        lambda: consumer.poll(setup.now),
        lambda: consumer.wait(setup.now),
        lambda: consumer.hand_back(setup.now),
    ]
    assert not closing.done
    for when in ("closing", "closed"):
        for call in calls:
            with pytest.raises(ClosedError):
                call()
        if when == "closing":
            setup.result(closing)
    # What only looks still can.
    assert consumer.assignment == [TP]
    assert consumer.position(TP) == 1
    assert consumer.metrics().commits == 1


def test_operations_that_are_open_fail() -> None:
    setup = Setup(group_id="g")
    setup.assign()
    setup.until_fetching()
    setup.network.block(0)
    operations = [
        setup.consumer.wait(setup.now),
        setup.consumer.topics(setup.now),
        setup.consumer.end_offsets(TP, setup.now),
        setup.consumer.committed(TP, setup.now),
        setup.consumer.commit({TP: 1}, setup.now),
    ]
    setup.result(setup.consumer.close(setup.now, 2.0))
    for operation in operations:
        with pytest.raises(ClosedError):
            operation.result()  # type: ignore[attr-defined]


def test_the_run_in_hand_ends() -> None:
    setup = Setup(group_id="g")
    setup.append("a", "b", "c")
    setup.assign()
    setup.next()
    run = setup.run
    assert run is not None
    setup.close()
    assert list(run) == []


def test_fetch_sessions_are_closed() -> None:  # F14
    setup = Setup({"t": 2}, nodes=2)
    setup.assign()
    setup.until_fetching()
    setup.consumer.pause(None, setup.now)
    setup.run_for(2.0)  # no fetch is on its way any more
    effects = remember(setup)
    setup.close()
    setup.run_for(1.0)
    for node in (0, 1):
        last: FetchRequest = setup.fetches(node)[-1]
        assert (last.session_epoch, last.topics) == (-1, [])
        assert last.session_id > 0
        assert not setup.broker.cluster.nodes[node].sessions.sessions
    # What is to be said is said before the connections close.
    sends = [index for index, effect in enumerate(effects) if isinstance(effect, Send)]
    closes = [index for index, effect in enumerate(effects) if isinstance(effect, Disconnect)]
    assert len(sends) == 2
    assert max(sends) < min(closes)


def test_it_does_not_wait_for_a_fetch_that_waits_for_data() -> None:
    setup = Setup({"t": 2}, nodes=2)
    setup.assign()
    setup.until_fetching()
    began = setup.now
    setup.close()
    assert setup.now == began


def test_nothing_more_is_fetched_or_asked() -> None:
    setup = Setup({"t": 1, "u": 1}, group_id="g")
    setup.append("a", "b")
    setup.assign([TP])
    setup.read(2)
    setup.broker.faults.add(api=ApiKey.OFFSET_COMMIT, delay=3.0)
    operation = setup.consumer.close(setup.now)
    before = len(setup.broker.requests)
    setup.result(operation)
    later = [received.header.request_api_key for received in list(setup.broker.requests)[before:]]
    assert later.count(ApiKey.FETCH) <= 1
    assert ApiKey.LIST_OFFSETS not in later


def test_giving_up_the_close_closes_at_once() -> None:
    setup = Setup(group_id="g")
    setup.append("a", "b")
    setup.assign()
    setup.read(2)
    setup.network.block(0)
    operation = setup.consumer.close(setup.now)
    setup.run_for(1.0)
    assert not setup.consumer.closed
    effects = remember(setup)
    operation.cancel()
    with pytest.raises(OperationCancelledError):
        operation.result()
    setup.run_for(0.0)
    assert {type(effect) for effect in effects} == {Disconnect}
    setup.network.unblock(0)
    is_closed(setup)


def test_inputs_after_the_close_are_ignored() -> None:
    setup = Setup()
    effects = remember(setup)
    setup.assign()
    setup.until_fetching()
    setup.close()
    setup.run_for(0.0)
    conns = [effect.conn for effect in effects if isinstance(effect, Connect)]
    consumer, now = setup.consumer, setup.now
    for conn in conns:
        consumer.receive_data(conn, b"\0\0\0\5hello", now)
        consumer.connected(conn, now)
        consumer.connect_failed(conn, "", now)
        consumer.disconnected(conn, "", now)
        consumer.resolved(conn, [Address("10.0.0.1", 1)], now)
        consumer.resolve_failed(conn, "", now)
    consumer.handle_timeout(now + 1000.0)
    assert consumer.effects() == []


def test_a_hundred_consumers_leave_nothing_behind() -> None:  # lesson 40
    setup = Setup(check=False)
    for number in range(100):
        consumer = setup.add_consumer(seed=number)
        consumer.assign([TP], setup.now)
        setup.run_for(number % 10 / 1000)
        setup.result(consumer.close(setup.now))
        setup.run_for(0.01)
        setup.network.clients.remove(consumer)
    assert setup.broker.connections() == []
    assert setup.network.links == []
