"""What befalls the brokers and the network: nodes, leaders and coordinators, connections, wrong answers, clocks."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey

if TYPE_CHECKING:
    from tests.simulation.world import World

_CODES: Final = {
    ApiKey.JOIN_GROUP: (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR, ErrorCode.UNKNOWN_MEMBER_ID),
    ApiKey.SYNC_GROUP: (ErrorCode.REBALANCE_IN_PROGRESS, ErrorCode.NOT_COORDINATOR, ErrorCode.UNKNOWN_MEMBER_ID),
    ApiKey.HEARTBEAT: (ErrorCode.NOT_COORDINATOR, ErrorCode.ILLEGAL_GENERATION, ErrorCode.COORDINATOR_NOT_AVAILABLE),
    ApiKey.OFFSET_COMMIT: (
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.REBALANCE_IN_PROGRESS,
        ErrorCode.REQUEST_TIMED_OUT,
    ),
    ApiKey.OFFSET_FETCH: (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR),
    ApiKey.FETCH: (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.KAFKA_STORAGE_ERROR),
    ApiKey.FIND_COORDINATOR: (ErrorCode.COORDINATOR_NOT_AVAILABLE,),
}


class Troubles:
    """The troubles of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._broker = world.broker
        self._network = world.network
        self._history = world.history

    @property
    def _random(self) -> Random:
        return self._world.random

    def coordinator_moves(self) -> None:
        node = self._random.choice(self._broker.nodes)
        load_ms = self._random.choice((0, 0, 500, 3000))
        self._world.note(f"node {node} is made the coordinator, loading {load_ms} ms")
        self._broker.move_coordinator("g", node, self._world.broker_time, load_ms=load_ms)
        self._history.happened["coordinator moves"] += 1

    def a_node_stops(self) -> None:
        if len(self._broker.cluster.alive()) < 2:
            return
        node = self._random.choice(self._broker.cluster.alive())
        elect = self._random.random() < 0.7
        self._world.note(f"node {node} stops, elect={elect}")
        self._broker.stop_node(node, self._world.broker_time, elect=elect)
        self._history.happened["node stops"] += 1
        self._world.later(self._random.uniform(0.1, 6), lambda: self.start_node(node))

    def start_node(self, node: int) -> None:
        if not self._broker.cluster.nodes[node].alive:
            self._world.note(f"node {node} starts")
            self._broker.start_node(node, self._world.broker_time)

    def a_node_pauses(self) -> None:
        node = self._random.choice(self._broker.nodes)
        if self._broker.cluster.nodes[node].state.value == "running":
            self._world.note(f"node {node} pauses")
            self._broker.pause_node(node, self._world.broker_time)
            self._world.later(self._random.uniform(0.1, 6), lambda: self.resume_node(node))

    def resume_node(self, node: int) -> None:
        if self._broker.cluster.nodes[node].state.value == "paused":
            self._world.note(f"node {node} goes on")
            self._broker.resume_node(node, self._world.broker_time)

    def connections_break(self) -> None:
        program = self._world.one()
        node = self._random.choice((None, *self._broker.nodes))
        client = None if program is None or self._random.random() < 0.3 else program.consumer
        if self._random.random() < 0.3 and node is not None:
            self._world.note(f"connections of node {node} break soon")
            self._network.cut_after(node, self._random.randint(1, 300))
        else:
            self._world.note(f"connections break: of node {node}, of {program if client else 'all'}")
            self._network.cut(node=node, client=client)
        self._history.happened["broken connections"] += 1

    def all_nodes_stop(self) -> None:
        """The whole cluster is restarted."""
        self._world.note("all nodes stop")
        for node in self._broker.cluster.alive():
            self._broker.stop_node(node, self._world.broker_time, elect=False)
            self._world.later(self._random.uniform(0.1, 4), partial(self.start_node, node))
        self._history.happened["restarts of the cluster"] += 1

    def a_node_is_slow(self) -> None:
        node = self._random.choice(self._broker.nodes)
        seconds = self._random.choice((0.2, 1.0))
        self._world.note(f"node {node} is {seconds} s away")
        self._network.node_latency[node] = seconds
        self._world.later(self._random.uniform(1, 6), lambda: self.node_is_near(node))

    def node_is_near(self, node: int) -> None:
        self._network.node_latency.pop(node, None)

    def a_network_partition(self) -> None:
        """Some programs don't reach some nodes, which reach each other."""
        nodes = self._random.sample(self._broker.nodes, self._random.randint(1, len(self._broker.nodes)))
        for program in self._world.alive():
            if self._random.random() < 0.5:
                self._world.note(f"{program.name} does not reach {nodes}")
                self._network.part(program.consumer, nodes)
        self._history.happened["network partitions"] += 1
        self._world.later(self._random.uniform(0.1, 8), self.join_all)

    def join_all(self) -> None:
        for program in self._world.alive():
            self._network.join(program.consumer)

    def a_clock_jumps(self) -> None:
        seconds = self._random.choice((0.5, 3.0, 8.0, 400.0))
        program = self._world.one()
        self._history.happened["clocks that jump"] += 1
        if program is None or self._random.random() < 0.2:
            self._world.note(f"the brokers' clock jumps by {seconds} s")
            self._network.jump(self._broker, seconds)
        else:
            program.jump(seconds)

    def silence(self) -> None:
        node = self._random.choice(self._broker.nodes)
        self._world.note(f"silence around node {node}")
        self._network.block(node)
        self._world.later(self._random.uniform(0.1, 6), lambda: self._network.unblock(node))

    def answers_are_wrong(self) -> None:
        api = self._random.choice(list(_CODES))
        what: dict[str, Any] = self._random.choice(
            (
                {"error": self._random.choice(_CODES[api])},
                {"error": self._random.choice(_CODES[api])},
                {"drop": "before"},
                {"drop": "after"},
                {"silent": "after"},
                {"delay": self._random.uniform(0.1, 4)},
            )
        )
        times = self._random.randint(1, 3)
        self._world.note(f"{times} times {api.name}: {what}")
        self._broker.faults.add(api=api, times=times, **what)
        self._history.happened["wrong answers"] += 1

    def a_leader_moves(self) -> None:
        present = self._history.present()
        if present and self._broker.cluster.alive():
            tp = self._random.choice(present).tp
            node = self._random.choice(self._broker.cluster.alive())
            self._world.note(f"node {node} leads {tp}")
            self._broker.move_leader(*tp, node)
