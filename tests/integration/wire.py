"""`Wire`: requests to a real Kafka, one by one, as tests of our own broker send them to that one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import (
    ApiVersionsRequest,
    FindCoordinatorRequest,
    InitProducerIdRequest,
    ListOffsetsRequest,
)
from dekaf_proto.messages.list_offsets import ListOffsetsPartition, ListOffsetsTopic
from dekaf_proto.wire import FrameReader, decode_response, encode_request, response_class
from dekaf_proto.wire.schema import Request, Response
from tests.broker.members import Member, Members
from tests.integration.kafka import KafkaCluster

S = TypeVar("S", bound=Response)

MOMENT = 0.4


class Wire(Members):
    """Sends requests to a real Kafka, one connection each."""

    def __init__(self, kafka: KafkaCluster, topic: str) -> None:
        self.group_id = self.topic = topic
        self._address = (kafka.bootstrap.split(":")[0], int(kafka.bootstrap.split(":")[1]))
        self._sockets: dict[int, tuple[socket.socket, FrameReader]] = {}

    def close(self) -> None:
        for connection, _ in self._sockets.values():
            connection.close()

    def connect(self, node: int = 0) -> int:
        connection = socket.create_connection(self._address, timeout=10)
        self._sockets[connection.fileno()] = (connection, FrameReader())
        return connection.fileno()

    def send(self, conn: int, request: Request[S], version: int) -> int:
        self._sockets[conn][0].sendall(encode_request(request, version, 1, "peer"))
        return 1

    def receive(self, conn: int, cls: type[S], version: int) -> S | None:
        return self._receive(conn, cls, version, MOMENT)

    def _receive(self, conn: int, cls: type[S], version: int, seconds: float) -> S | None:
        connection, frames = self._sockets[conn]
        connection.settimeout(seconds)
        while (frame := frames.next_frame()) is None:
            try:
                data = connection.recv(65536)
            except TimeoutError:
                return None
            assert data, "Kafka has closed the connection"
            frames.receive_data(data)
        return decode_response(cls, version, frame)[1]

    def ask(self, request: Request[S], version: int, *, conn: int | None = None, node: int = 0) -> S:
        conn = self.connect() if conn is None else conn
        self.send(conn, request, version)
        answer = self._receive(conn, response_class(type(request)), version, 20)
        assert answer is not None
        return answer

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait_for_coordinator(self) -> None:
        """The topic of offsets is made with the first question."""
        self.ask(ApiVersionsRequest("peer", "1"), 3)
        for _ in range(100):
            if self.ask(FindCoordinatorRequest(coordinator_keys=[self.group_id]), 4).coordinators[0].error_code == 0:
                break
            time.sleep(0.2)
        # Until it is loaded.
        while Member(self, None, [("x", b"")], "consumer", 10, 10, 9).heartbeat() != ErrorCode.UNKNOWN_MEMBER_ID:
            time.sleep(0.1)

    def wait_for_transactions(self) -> None:
        """The topic of transactions is made with the first question, and its parts are loaded one by one."""
        request = FindCoordinatorRequest(coordinator_keys=[self.topic], key_type=1)
        self._until(lambda: self.ask(request, 4).coordinators[0].error_code)
        self._until(lambda: self.ask(InitProducerIdRequest(self.topic, 60_000), 4).error_code)

    def wait_for_topic(self, topic: str, partitions: int) -> None:
        """Metadata may name a leader that does not know it yet."""
        asked = [ListOffsetsPartition(index, -1, -1) for index in range(partitions)]
        request = ListOffsetsRequest(-1, 0, [ListOffsetsTopic(topic, asked)])
        self._until(lambda: max(p.error_code for p in self.ask(request, 7).topics[0].partitions))

    @staticmethod
    def _until(error: Callable[[], int]) -> None:
        for _ in range(150):
            if error() == ErrorCode.NONE:
                return
            time.sleep(0.1)
        raise AssertionError("the coordinator is not there")
