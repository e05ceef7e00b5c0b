"""The consumer engine in asyncio: `async for` over it, with groups, and cancellation that loses nothing.

    python docs/examples/own_loop_asyncio.py localhost:9092 orders [--group billing] [--follow]

Prints a topic up to its end, or follows it until Ctrl+C; with a group as a member, and commits. See docs/embedding.md.
"""

import argparse
import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from time import time
from typing import Any

from dekaf_proto.config import ConsumerConfig
from dekaf_proto.consumer import Bound, Consumer, FetchedRecords
from dekaf_proto.events import Address, Connect, Disconnect, EndOfPartition, Failed, Rebalance, Resolve, Send
from dekaf_proto.operation import Operation
from dekaf_proto.records import Record


class AsyncConsumer:
    def __init__(self, config: ConsumerConfig[Any, Any]) -> None:
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.engine = Consumer(config, seed=int(time() * 1000), unix_offset=time() - self.now())
        self.timer, self.turned = self.loop.call_later(0, self.turn), asyncio.Event()
        self.tasks: dict[Resolve | int, asyncio.Task[None]] = {}  # of look-ups, and of connections
        self.writers: dict[int, asyncio.StreamWriter] = {}
        self.run: Iterator[Record[Any, Any]] = iter(())  # the records in hand, whoever iterates

    def turn(self, is_time: bool = False) -> None:  # after whatever was said to the engine, and when it is time
        if is_time:
            self.engine.handle_timeout(self.now())
        while effects := self.engine.effects():
            for effect in effects:
                if isinstance(effect, Resolve):
                    self.tasks[effect] = self.loop.create_task(self.resolve(effect))
                elif isinstance(effect, Connect):
                    self.tasks[effect.conn] = self.loop.create_task(self.connection(effect))
                elif isinstance(effect, Send) and effect.conn in self.writers:
                    self.writers[effect.conn].write(effect.data)
                elif isinstance(effect, Disconnect) and effect.conn in self.tasks:
                    self.tasks[effect.conn].cancel()
        self.turned.set()
        self.timer.cancel()
        if (deadline := self.engine.next_deadline()) is not None:
            self.timer = self.loop.call_at(deadline, self.loop.call_soon, self.turn, True)  # after what has come

    async def resolve(self, order: Resolve) -> None:
        try:
            found = await self.loop.getaddrinfo(order.host, order.port, type=socket.SOCK_STREAM)
            self.engine.resolved(order.query, [Address(str(a[0]), order.port) for *_, a in found], self.now())
        except OSError as error:
            self.engine.resolve_failed(order.query, str(error), self.now())
        del self.tasks[order]
        self.turn()

    async def connection(self, order: Connect) -> None:
        tell, error = self.engine.connect_failed, ""
        try:
            reader, writer = await asyncio.open_connection(*order.address)  # which sets TCP_NODELAY
            tell, self.writers[order.conn] = self.engine.disconnected, writer
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self.engine.connected(order.conn, self.now())
            self.turn()
            while data := await reader.read(256 * 1024):
                self.engine.receive_data(order.conn, data, self.now())
                self.turn()
        except OSError as failure:
            error = str(failure)
        finally:  # cancelled, if the engine wants it closed: then that is all
            del self.tasks[order.conn]
            if order.conn in self.writers:
                self.writers.pop(order.conn).transport.abort()
        tell(order.conn, error, self.now())
        self.turn()

    async def result(self, operation: Operation[Any]) -> Any:
        self.turn()
        try:
            while not operation.done:
                self.turned.clear()
                await self.turned.wait()
        finally:  # cancelled, perhaps: then the engine is not to go on with it
            operation.cancel()
        return operation.result()

    async def records(self, bound: Bound | None = None) -> AsyncIterator[Record[Any, Any]]:
        while True:  # nothing is awaited between taking a record and giving it: who is cancelled has lost none
            for record in self.run:
                yield record
                await asyncio.sleep(0)  # heartbeats, other tasks: they can't wait until all records are dealt with
            output = self.engine.poll(self.now(), bound)
            self.turn()
            if isinstance(output, FetchedRecords):
                self.run = output
            elif isinstance(output, Failed):
                raise output.error
            elif isinstance(output, EndOfPartition):
                return
            elif output is not None:
                self.answer(output)
            else:
                await self.result(self.engine.wait(self.now(), None, bound))

    def answer(self, event: Rebalance) -> None:
        print(type(event).__name__, *event.partitions, flush=True)  # here a program may seek, or commit
        self.engine.event_done(event, self.now())
        self.turn()

    async def aclose(self) -> None:
        ending = self.engine.close(self.now())
        try:
            while not ending.done:  # which a member's is only when its last events are answered
                if self.engine.subscription and isinstance(event := self.engine.poll(self.now()), Rebalance):
                    self.answer(event)
                elif not ending.done:
                    await self.result(self.engine.wait(self.now()) if self.engine.subscription else ending)
        finally:  # cancelled again, perhaps: then it closes at once
            ending.cancel()
            self.turn()
            await asyncio.gather(*(task for task in self.tasks.values() if task.cancel()), return_exceptions=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    for argument in "servers", "topic", "--group":
        parser.add_argument(argument)
    parser.add_argument("--follow", action="store_true")
    args = parser.parse_args()
    config = ConsumerConfig(bootstrap_servers=args.servers, group_id=args.group, auto_offset_reset="earliest")
    consumer, task = AsyncConsumer(config), asyncio.current_task()
    signal.signal(signal.SIGINT, lambda *_: consumer.loop.call_soon_threadsafe(lambda: task and task.cancel()))
    engine, now = consumer.engine, consumer.now
    async with aclosing(consumer):
        if args.group:
            engine.subscribe(args.topic, now())
        else:
            engine.assign(await consumer.result(engine.partitions_for(args.topic, now())), now())
        bound = None if args.follow else await consumer.result(engine.until_end(now()))
        async for record in consumer.records(bound):
            print(record.topic_partition, record.offset, record.datetime, record.key, record.value, flush=True)


if __name__ == "__main__":
    with suppress(asyncio.CancelledError):
        asyncio.run(main())
