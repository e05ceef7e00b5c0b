"""The consumer engine in a loop of one's own: one thread, plain `selectors`, no driver.

    python docs/examples/own_loop_selectors.py localhost:9092 orders [--group billing] [--follow]

Prints a topic up to its end, or follows it until Ctrl+C; with a group as a member, and commits. See docs/embedding.md.
"""

import argparse
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic, time
from typing import Any

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer import Bound, Consumer, FetchedRecords
from dekaf_proto.events import Address, Connect, EndOfPartition, Failed, Rebalance, Resolve, Send
from dekaf_proto.operation import Operation
from dekaf_proto.records import Record


class Connection:
    def __init__(self, order: Connect) -> None:
        self.number, self.connected, self.unsent = order.conn, False, b""
        self.sock = socket.socket(socket.AF_INET6 if ":" in order.address.host else socket.AF_INET)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.sock.connect_ex(order.address)  # what is wrong with it shows when it is looked at


class Loop:
    def __init__(self, consumer: Consumer[Any, Any], alarm: socket.socket) -> None:
        self.consumer, self.alarm = consumer, alarm
        self.connections: dict[int, Connection] = {}
        self.selector = DefaultSelector()
        self.selector.register(alarm, EVENT_READ)

    def result(self, operation: Operation[Any]) -> Any:
        while not operation.done:
            self.turn()
        return operation.result()

    def records(self, bound: Bound | None) -> Iterator[Record[Any, Any]]:
        while not isinstance(output := self.consumer.poll(monotonic(), bound), EndOfPartition):
            self.carry_out_effects()  # the next fetches, among others: before these records are read
            if isinstance(output, FetchedRecords):
                for record in output:
                    self.turn(wait=False)  # for heartbeats, say: they can't wait until all records are dealt with
                    yield record
            elif isinstance(output, Failed):
                raise output.error
            elif output is not None:
                print(type(output).__name__, *output.partitions, flush=True)  # here a program may seek, or commit
                self.consumer.event_done(output, monotonic())
            else:
                self.result(self.consumer.wait(monotonic(), None, bound))

    def close(self) -> None:
        ending = self.consumer.close(monotonic())
        while not ending.done:  # which a member's is only when its last events are answered
            if self.consumer.subscription and isinstance(event := self.consumer.poll(monotonic()), Rebalance):
                self.consumer.event_done(event, monotonic())
            elif not ending.done:
                self.turn()
        self.carry_out_effects()

    def turn(self, wait: bool = True) -> None:
        self.carry_out_effects()
        deadline = self.consumer.next_deadline() if wait else 0.0
        for key, _ in self.selector.select(None if deadline is None else max(0.0, deadline - monotonic())):
            if key.fileobj is self.alarm and self.alarm.recv(1):
                raise KeyboardInterrupt
            self.look_at(key.data)
        self.consumer.handle_timeout(monotonic())  # which does no harm before the deadline
        self.carry_out_effects()

    def look_at(self, connection: Connection) -> None:
        error = ""
        try:
            while data := connection.sock.recv(256 * 1024):
                self.consumer.receive_data(connection.number, data, monotonic())
        except BlockingIOError:  # it is open, and that was all for now
            if not connection.connected:
                connection.connected = True
                self.consumer.connected(connection.number, monotonic())
            self.write(connection)
            return
        except OSError as failure:
            error = str(failure)
        self.forget(connection)
        tell = self.consumer.disconnected if connection.connected else self.consumer.connect_failed
        tell(connection.number, error, monotonic())

    def write(self, connection: Connection) -> None:
        with suppress(OSError):  # it takes no more for now; or never again, which reading from it will tell
            while connection.unsent:
                connection.unsent = connection.unsent[connection.sock.send(connection.unsent) :]
        self.selector.modify(connection.sock, EVENT_READ | (EVENT_WRITE if connection.unsent else 0), connection)

    def forget(self, connection: Connection) -> None:
        del self.connections[connection.number]
        self.selector.unregister(connection.sock)
        connection.sock.close()

    def carry_out_effects(self) -> None:
        while effects := self.consumer.effects():  # an answer given at once may have effects of its own
            for effect in effects:
                if isinstance(effect, Resolve):
                    self.resolve(effect)
                elif isinstance(effect, Connect):
                    connection = self.connections[effect.conn] = Connection(effect)
                    self.selector.register(connection.sock, EVENT_WRITE, connection)
                elif (known := self.connections.get(effect.conn)) and isinstance(effect, Send):
                    known.unsent += effect.data
                    self.write(known)
                elif known:  # if not, the consumer has heard that it is gone
                    self.forget(known)

    def resolve(self, order: Resolve) -> None:
        try:  # this blocks: a program with more to do leaves it to a thread
            found = socket.getaddrinfo(order.host, order.port, type=socket.SOCK_STREAM)
            self.consumer.resolved(order.query, [Address(str(a[0]), order.port) for *_, a in found], monotonic())
        except OSError as error:
            self.consumer.resolve_failed(order.query, str(error), monotonic())


def main() -> None:
    parser = argparse.ArgumentParser()
    for argument in "servers", "topic", "--group":
        parser.add_argument(argument)
    parser.add_argument("--follow", action="store_true")
    args = parser.parse_args()
    config = ConsumerConfig(bootstrap_servers=args.servers, group_id=args.group, auto_offset_reset="earliest")
    consumer = Consumer(config, seed=int(time() * 1000), unix_offset=time() - monotonic())
    alarm, bell = socket.socketpair()
    signal.signal(signal.SIGINT, lambda *_: bell.send(b"!"))  # Ctrl+C itself could hit the engine in mid-call
    with alarm, bell, suppress(KeyboardInterrupt), closing(Loop(consumer, alarm)) as loop:
        if args.group:
            consumer.subscribe(args.topic, monotonic())
        else:
            consumer.assign(loop.result(consumer.partitions_for(args.topic, monotonic())), monotonic())
        for record in loop.records(None if args.follow else loop.result(consumer.until_end(monotonic()))):
            print(record.topic_partition, record.offset, record.datetime, record.key, record.value, flush=True)


if __name__ == "__main__":
    main()
