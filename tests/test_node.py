"""A node's table, its deadlines, and what it says of itself."""

from __future__ import annotations

from itertools import product

import pytest

from dekaf_proto.errors import LocalProtocolError
from dekaf_proto.events import Address
from dekaf_proto.messages.metadata import MetadataRequest
from dekaf_proto.node import TRANSITIONS, Node, NodeInput, NodeKey, NodeState, PendingRequest, Purpose


def make(state: NodeState = NodeState.IDLE) -> Node:
    node = Node(NodeKey(3), "kafka", 9092)
    node.state = state
    node.address = Address("10.0.0.1", 9092)
    return node


def pending(deadline: float) -> PendingRequest:
    return PendingRequest(MetadataRequest(), None, lambda response, error: None, deadline, 1.0)


@pytest.mark.parametrize("state, what", list(product(NodeState, NodeInput)))
def test_every_pair_of_the_table(state: NodeState, what: NodeInput) -> None:
    node = make(state)
    if (state, what) in TRANSITIONS:
        node.move(what)
        assert node.state is TRANSITIONS[state, what]
    else:
        with pytest.raises(LocalProtocolError, match=f"{what.name} is not possible when {state.name}"):
            node.move(what)
        assert node.state is state


def test_every_state_can_be_reached_and_left_again() -> None:
    following = {state: {after for (before, _), after in TRANSITIONS.items() if before is state} for state in NodeState}

    def reachable(start: NodeState) -> set[NodeState]:
        found: set[NodeState] = set()
        todo = [start]
        while todo:
            for state in following[todo.pop()] - found:
                found.add(state)
                todo.append(state)
        return found

    assert all(reachable(state) == set(NodeState) for state in NodeState)


@pytest.mark.parametrize("state", [NodeState.RESOLVING, NodeState.CONNECTING, NodeState.NEGOTIATING, NodeState.READY])
def test_what_is_open_can_fail_or_be_given_up(state: NodeState) -> None:
    assert make(state).is_open
    assert TRANSITIONS[state, NodeInput.FAILED] is NodeState.BACKOFF
    assert TRANSITIONS[state, NodeInput.LEFT] is NodeState.IDLE
    assert not make(NodeState.IDLE).is_open
    assert not make(NodeState.BACKOFF).is_open


def test_names() -> None:
    assert make().name == "broker 3 (kafka:9092)"
    assert Node(NodeKey(-1), "kafka", 9092).name == "bootstrap server (kafka:9092)"
    assert repr(make(NodeState.READY)) == "<Node broker 3 kafka:9092 READY>"
    assert str(NodeKey(3, Purpose.FETCH)) == "broker 3"
    assert str(NodeKey(0)) == "broker 0"


def test_load() -> None:
    node = make()
    node.queue.append(pending(1.0))
    node.in_flight[7] = pending(2.0)
    assert node.load == 2


def test_deadlines() -> None:
    assert make().next_deadline(9.0) is None
    resting = make(NodeState.BACKOFF)
    resting.resting_until = 5.0
    assert resting.next_deadline(9.0) == 5.0
    connecting = make(NodeState.CONNECTING)
    connecting.setup_deadline = 10.0
    assert connecting.next_deadline(9.0) == 10.0
    connecting.queue.append(pending(3.0))
    assert connecting.next_deadline(9.0) == 3.0


def test_a_ready_node_is_idle_only_while_it_has_nothing_to_do() -> None:
    node = make(NodeState.READY)
    node.last_used = 100.0
    assert node.next_deadline(9.0) == 109.0
    node.in_flight[1] = pending(130.0)
    assert node.next_deadline(9.0) == 130.0
    node.in_flight[2] = pending(125.0)  # some requests may take longer than others
    assert node.next_deadline(9.0) == 125.0
    node.in_flight.clear()
    node.throttled_until = 120.0
    node.queue.append(pending(150.0))
    assert node.next_deadline(9.0) == 120.0


def test_a_throttle_is_no_deadline_of_a_node_that_is_being_connected() -> None:
    """It would lie in the past sooner or later, and nothing would come of it."""
    node = make(NodeState.CONNECTING)
    node.throttled_until = 120.0
    node.queue.append(pending(150.0))
    assert node.next_deadline(9.0) == 150.0


@pytest.mark.parametrize(
    "state, found",
    [
        (NodeState.IDLE, []),
        (NodeState.BACKOFF, []),
        (NodeState.RESOLVING, [("kafka", "the name is not resolved yet")]),
        (NodeState.CONNECTING, [("10.0.0.1:9092", "not connected yet")]),
        (NodeState.NEGOTIATING, [("10.0.0.1:9092", "no answer to ApiVersions yet")]),
        (NodeState.READY, []),
    ],
)
def test_what_hinders_a_node(state: NodeState, found: list[tuple[str, str]]) -> None:
    assert make(state).hindrances() == found


def test_what_failed_before_says_more_than_what_is_being_tried() -> None:
    node = make(NodeState.CONNECTING)
    node.causes = [("10.0.0.1:9092", "connection refused"), ("10.0.0.2:9092", "connection refused")]
    node.trying = [("10.0.0.2:9092", "no route to host")]
    assert node.hindrances() == [("10.0.0.1:9092", "connection refused"), ("10.0.0.2:9092", "no route to host")]


def test_a_silent_node() -> None:
    node = make(NodeState.READY)
    node.in_flight[1] = pending(1.0)
    assert node.hindrances() == [("10.0.0.1:9092", "no answer yet")]
