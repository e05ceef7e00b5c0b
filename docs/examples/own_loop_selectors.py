"""The consumer engine in a loop of one's own: one thread, plain `selectors`, no driver.

    python docs/examples/own_loop_selectors.py localhost:9092 orders [--group billing]

Prints a topic up to its present end; with a group, from where that was, and commits. What an engine wants of its loop:

1. Time. Each input and call takes `now`: seconds from any origin, never going back. An engine reads no clock.
2. After inputs and calls carry out `effects()`, in order, until there are none. Connect is answered by `connected` or
   `connect_failed`, Resolve by `resolved` or `resolve_failed`; Send and Disconnect are not answered.
3. Hand in bytes as they come, cut anywhere, and `disconnected` when the other end is gone. Inputs never raise.
4. Sleep at most until `next_deadline()`, hand in what has arrived (an answer that waits in a socket is not late), and
   call `handle_timeout`.
5. What takes time is an Operation: turn the loop until it is `done`, then take its `result()`.
6. `poll` gives records, or an error that the program must know; `wait` is done when `poll` has something. Asking for
   the next record finishes the one before, which is then due for a commit.
7. One thread at a time, and no exception in mid-call: Ctrl+C ends this program as a crash would, which loses nothing.
"""

import argparse
import signal
import socket
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic, time
from typing import Any, TypeVar

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer import Bound, Consumer, FetchedRecords
from dekaf_proto.events import Address, Connect, Disconnect, Effect, EndOfPartition, Failed, Resolve
from dekaf_proto.operation import Operation
from dekaf_proto.records import Record

T = TypeVar("T")


class Connection:
    def __init__(self, order: Connect) -> None:
        self.number, self.connected, self.unsent = order.conn, False, b""
        self.sock = socket.socket(socket.AF_INET6 if ":" in order.address.host else socket.AF_INET)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.sock.connect_ex(order.address)  # what is wrong with it shows when it is looked at


class Loop:
    def __init__(self, consumer: Consumer[Any, Any]) -> None:
        self.consumer = consumer
        self.selector = DefaultSelector()
        self.connections: dict[int, Connection] = {}

    def result(self, operation: Operation[T]) -> T:
        self.carry_out_effects()
        while not operation.done:
            self.turn()
        return operation.result()

    def records(self, bound: Bound) -> Iterator[Record[Any, Any]]:
        while not isinstance(output := self.consumer.poll(monotonic(), bound), EndOfPartition):
            self.turn(wait=False)  # sends the next fetches, among others, before these records are read
            if isinstance(output, FetchedRecords):
                yield from output
            elif isinstance(output, Failed):
                raise output.error
            else:
                self.result(self.consumer.wait(monotonic(), None, bound))

    def turn(self, wait: bool = True) -> None:
        deadline = self.consumer.next_deadline()
        timeout = None if deadline is None else max(0.0, deadline - monotonic())
        for key, _ in self.selector.select(timeout if wait else 0):
            self.look_at(key.data)
        self.consumer.handle_timeout(monotonic())  # which does no harm before the deadline
        self.carry_out_effects()

    def look_at(self, connection: Connection) -> None:
        try:
            while data := connection.sock.recv(256 * 1024):
                self.consumer.receive_data(connection.number, data, monotonic())
            self.lost(connection, "")  # by the other end
        except BlockingIOError:  # it is open, and that was all for now
            if not connection.connected:
                connection.connected = True
                self.consumer.connected(connection.number, monotonic())
            self.write(connection)
        except OSError as error:
            self.lost(connection, str(error))

    def write(self, connection: Connection) -> None:
        try:
            while connection.unsent:
                connection.unsent = connection.unsent[connection.sock.send(connection.unsent) :]
        except OSError:
            pass  # it takes no more for now; or never again, which reading from it will tell
        self.selector.modify(connection.sock, EVENT_READ | (EVENT_WRITE if connection.unsent else 0), connection)

    def lost(self, connection: Connection, error: str) -> None:
        self.forget(connection)
        tell = self.consumer.disconnected if connection.connected else self.consumer.connect_failed
        tell(connection.number, error, monotonic())

    def forget(self, connection: Connection) -> None:
        del self.connections[connection.number]
        self.selector.unregister(connection.sock)
        connection.sock.close()

    def carry_out_effects(self) -> None:
        while effects := self.consumer.effects():  # an answer given at once may have effects of its own
            for effect in effects:
                self.carry_out(effect)

    def carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Resolve):
            try:  # this blocks: a program with more to do leaves it to a thread
                found = socket.getaddrinfo(effect.host, effect.port, type=socket.SOCK_STREAM)
                self.consumer.resolved(effect.query, [Address(str(a[0]), effect.port) for *_, a in found], monotonic())
            except OSError as error:
                self.consumer.resolve_failed(effect.query, str(error), monotonic())
        elif isinstance(effect, Connect):
            self.connections[effect.conn] = connection = Connection(effect)
            self.selector.register(connection.sock, EVENT_WRITE, connection)
        elif effect.conn in self.connections:  # if not, the consumer knows or will soon
            connection = self.connections[effect.conn]
            if isinstance(effect, Disconnect):
                self.forget(connection)
            else:
                connection.unsent += effect.data
                self.write(connection)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("servers")
    parser.add_argument("topic")
    parser.add_argument("--group")
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # rule 7
    config = ConsumerConfig(bootstrap_servers=args.servers, group_id=args.group, auto_offset_reset="earliest")
    consumer = Consumer(config, seed=int(time() * 1000), unix_offset=time() - monotonic())
    loop = Loop(consumer)
    try:
        consumer.assign(loop.result(consumer.partitions_for(args.topic, monotonic())), monotonic())
        for record in loop.records(loop.result(consumer.until_end(monotonic()))):
            print(record.topic_partition, record.offset, record.datetime, record.key, record.value)
    finally:
        loop.result(consumer.close(monotonic()))  # with a group, this commits what was read


if __name__ == "__main__":
    main()
