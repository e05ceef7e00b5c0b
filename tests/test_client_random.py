"""Random inputs to a client, right and wrong ones: no handle, no request and no deadline gets lost."""

from __future__ import annotations

from random import Random

import pytest

from dekaf_proto.client import LEAST_LOADED
from dekaf_proto.cluster import BrokerInfo
from dekaf_proto.errors import (
    ErrorCode,
)
from dekaf_proto.events import Address, Connect, Disconnect, Resolve
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.metadata import MetadataResponse
from dekaf_proto.node import NodeKey, NodeState, Purpose
from tests.hand import Hand


class World:
    """Random inputs to a client, right and wrong ones, and what must be true after each."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.hand = Hand("10.0.0.1", "kafka.test", seed=seed, connections_max_idle_ms=20_000, request_timeout_ms=5_000)
        self.client = self.hand.client
        self.queries: list[int] = []
        self.connects: list[int] = []
        self.open: list[int] = []
        self.asked = 0

    def run(self, steps: int) -> None:
        moves = [self.ask, self.ask, self.answer, self.answer, self.answer, self.time, self.time, self.resolve,
                 self.resolve, self.connect, self.connect, self.connect, self.cut, self.junk, self.metadata,
                 self.coordinator, self.wrong]  # fmt: skip
        for _ in range(steps):
            self.random.choice(moves)()
            if self.random.random() < 0.01:
                self.client.rebootstrap("at random")
            self.check()
        for _ in range(2000):
            deadline = self.client.next_deadline()
            if deadline is None or deadline > self.hand.now + 500:
                break
            self.hand.at(deadline)
            self.check()
        assert len(self.hand.results) == self.asked  # everybody has been answered, once

    def pick(self, handles: list[int]) -> int | None:
        return self.random.choice(handles) if handles else None

    def ask(self) -> None:
        self.asked += 1
        targets = [LEAST_LOADED, 1, 2, 3, NodeKey(1, Purpose.FETCH), NodeKey(2, Purpose.COORDINATOR)]
        self.hand.ask(self.random.choice(targets), self.asked)

    def answer(self) -> None:
        conn = self.pick([conn for conn in self.open if self.hand.asked.get(conn)])
        if conn is None:
            return
        if self.hand.asked[conn][0][0].request_api_key == ApiKey.API_VERSIONS:
            refused = self.random.random() < 0.1
            self.hand.answer_versions(conn, None, error_code=ErrorCode.REBOOTSTRAP_REQUIRED if refused else 0)
        else:
            throttle = self.random.choice([0, 0, 0, 3_000])
            self.hand.reply(conn, MetadataResponse(throttle_time_ms=throttle))

    def time(self) -> None:
        self.hand.after(self.random.choice([0.0, 0.01, 0.5, 3.0, 30.0]))

    def resolve(self) -> None:
        query = self.pick(self.queries)
        if query is not None:
            self.queries.remove(query)
            if self.random.random() < 0.3:
                self.client.resolve_failed(query, "no such name", self.hand.now)
            else:
                count = self.random.randrange(3)
                self.client.resolved(query, [Address(f"10.1.1.{n}", 9092) for n in range(count)], self.hand.now)

    def connect(self) -> None:
        conn = self.pick(self.connects)
        if conn is not None:
            self.connects.remove(conn)
            if self.random.random() < 0.3:
                self.client.connect_failed(conn, "refused", self.hand.now)
            else:
                self.open.append(conn)
                self.client.connected(conn, self.hand.now)

    def cut(self) -> None:
        conn = self.pick(self.open)
        if conn is not None and self.random.random() < 0.5:
            self.open.remove(conn)
            self.client.disconnected(conn, self.random.choice(["", "reset"]), self.hand.now)

    def junk(self) -> None:
        conn = self.pick(self.open)
        if conn is not None and self.random.random() < 0.3:
            self.client.receive_data(conn, self.random.randbytes(20), self.hand.now)

    def metadata(self) -> None:
        ids = self.random.sample([1, 2, 3], self.random.randrange(1, 4))
        self.client.cluster.brokers = {
            n: BrokerInfo(n, self.random.choice(["10.0.1.1", "kafka1.test"]), 9092) for n in ids
        }
        self.client.metadata_arrived()

    def coordinator(self) -> None:
        if self.random.random() < 0.5:
            self.client.add_coordinator(2, self.random.choice(["10.0.1.2", "kafka2.test"]), 9092)
        else:
            self.client.disconnect(NodeKey(2, Purpose.COORDINATOR), "at random")

    def wrong(self) -> None:
        handle = self.random.randrange(-1, 60)
        if handle in self.queries or handle in self.connects or handle in self.open:
            return
        self.client.receive_data(handle, b"\0\0\0\1\0", self.hand.now)
        self.client.connected(handle, self.hand.now)
        self.client.disconnected(handle, "", self.hand.now)
        self.client.resolved(handle, [Address("10.9.9.9", 9092)], self.hand.now)

    def check(self) -> None:
        hand, client = self.hand, self.client
        for effect in hand.drain():
            if isinstance(effect, Resolve):
                self.queries.append(effect.query)
            elif isinstance(effect, Connect):
                self.connects.append(effect.conn)
            elif isinstance(effect, Disconnect):
                assert effect.conn in self.connects + self.open, "closed twice, or never opened"
                for handles in (self.connects, self.open):
                    if effect.conn in handles:
                        handles.remove(effect.conn)
            else:
                assert effect.conn in self.open, "sent where nothing is open"
        hand.effects.clear()
        nodes = client._all_nodes()
        live = [handle for node in nodes for handle in (node.conn, node.query) if handle is not None]
        assert sorted(client._by_handle) == sorted(live), "a handle without a node"
        assert sorted(self.connects + self.open) == sorted(node.conn for node in nodes if node.conn is not None)
        for node in nodes:
            assert (node.connection is not None) == (node.state in (NodeState.NEGOTIATING, NodeState.READY))
            assert not node.in_flight or node.state is NodeState.READY
            assert not node.queue or node.is_open
        deadline = client.next_deadline()
        if deadline is not None and deadline <= hand.now:
            hand.at(hand.now)
            hand_deadline = client.next_deadline()
            assert hand_deadline is None or hand_deadline > hand.now, "a deadline stays in the past"
        marks = [mark for mark, _, _ in hand.results]
        assert len(marks) == len(set(marks)), "answered twice"


@pytest.mark.parametrize("seed", range(40))
def test_random_inputs(seed: int) -> None:
    World(seed).run(400)
