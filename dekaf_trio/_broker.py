"""`EmbeddedBroker`: a broker in tasks of the program's own, on real sockets or in memory.

Its tasks are shielded from what is cancelled around them, so that clients inside its block can still say goodbye. They
end with the block. What touches the engine has no checkpoint: a call is done when it returns.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

import trio
import trio.testing

from dekaf_proto.broker import Broker, GroupOptions
from dekaf_proto.broker.controls import Controls, can_t_listen, crashed, make_engine
from dekaf_proto.errors import ClosedError, KafkaTimeoutError, LocalProtocolError
from dekaf_proto.events import Address, Connect, Listen, Send
from dekaf_trio._network import Network
from dekaf_trio._server import Client, Port, reason_of

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("dekaf.trio")

T = TypeVar("T")

#: How often `wait_until` looks, in seconds.
LOOK: Final = 0.005
#: What one read takes at most.
READ_SIZE: Final = 256 * 1024
#: What nodes listen on in memory, where there are no ports to choose from: the first one's.
FIRST_PORT: Final = 9092
#: For how long no connection is taken when the process has no descriptor left for one, in seconds.
BREATH: Final = 0.1


class EmbeddedBroker(Controls):
    """A Kafka cluster of `nodes` nodes (0, 1, ..., or those numbers) in this process, on loopback, without Java.

        async with EmbeddedBroker(topics={"orders": 3}) as broker:
            broker.append("orders", 0, [b"two teas"])
            async with Consumer("orders", bootstrap_servers=broker.bootstrap_servers, group_id="billing") as consumer:
                ...

    Its state is in memory and ends with it. `in_memory`: there are no sockets; consumers are given its `network`, and
    all of it may run under `trio.testing.MockClock`. `host` is where it listens and what clients are told; `port` the
    first node's, the others have the next ones; 0 takes whichever are free. `topics`: name -> how many partitions.
    `auto_create_partitions`: of topics that are made when a client asks for them, None for none. `release` ("2.4")
    makes it as old as that. `group_options`: what brokers say of session timeouts and the like. `engine`: a
    `dekaf_proto.broker.Broker` made by hand, instead of all these but `topics`. It is made in trio's loop.

    Its methods (see `Controls`) are plain functions, for any task in its block.
    """

    def __init__(
        self,
        nodes: int | Sequence[int] = 1,
        *,
        in_memory: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        topics: Mapping[str, int] | None = None,
        auto_create_partitions: int | None = 1,
        release: str | None = None,
        group_options: GroupOptions | None = None,
        engine: Broker | None = None,
    ) -> None:
        self._engine: Final = make_engine(
            engine,
            nodes=nodes,
            host=host,
            port=port,
            topics=topics,
            auto_create_partitions=auto_create_partitions,
            release=release,
            group_options=group_options,
            unix_offset=time.time() - trio.current_time(),
        )
        self._in_memory: Final = in_memory
        self._scope: Final = trio.CancelScope(shield=True)
        self._clients: Final[dict[int, Client]] = {}
        self._ports: Final[dict[int, Port]] = {}
        #: Where nodes listen in memory.
        self._places: Final[dict[Address, int]] = {}
        self._nursery: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._tasks: trio.Nursery | None = None
        self._alarm = trio.CancelScope()
        self._ended = False
        self._crash: Exception | None = None

    @property
    def network(self) -> Network:
        """What a consumer is given as `network`, to be connected to this broker. With `in_memory` only."""
        if not self._in_memory:
            raise LocalProtocolError("a broker on real sockets has no network of its own: make it with in_memory=True")
        return _Memory(self)

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Self:
        if self._nursery is not None:
            raise LocalProtocolError("an embedded broker can be entered once: make another one")
        self._nursery = trio.open_nursery()
        nursery = await self._nursery.__aenter__()
        try:
            with trio.CancelScope(shield=True):
                await nursery.start(self._run)
            self._settle()
        except BaseException:
            self._scope.cancel()
            await self._nursery.__aexit__(None, None, None)
            raise
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._nursery is not None
        self._scope.cancel()
        # It is told of no error: the nursery would make a group of it, while Python raises it again as it is.
        await self._nursery.__aexit__(None, None, None)
        if self._crash is not None and error is None:
            raise crashed(self._crash)

    @trio.lowlevel.enable_ki_protection
    def call(self, action: Callable[[Broker, float], T]) -> T:
        """Returns `action(broker, now)`, or raises what that raises."""
        if self._crash is not None:
            raise crashed(self._crash)
        if self._ended:
            raise ClosedError("the embedded broker has been stopped")
        if self._tasks is None:
            raise LocalProtocolError("the embedded broker is to be used in an `async with` block")
        try:
            return action(self._engine, trio.current_time())
        finally:
            self._settle()

    async def wait_until(self, condition: Callable[[], object], timeout: float = 30.0) -> None:
        """Waits until `condition()` is true, which it looks at every few milliseconds of trio's clock.

        KafkaTimeoutError after `timeout` seconds.
        """
        deadline = trio.current_time() + timeout
        while not condition():
            if trio.current_time() >= deadline:
                raise KafkaTimeoutError("EmbeddedBroker.wait_until", timeout)
            await trio.sleep(LOOK)

    # ------------------------------------------------------------------------------------------------------ the tasks

    @trio.lowlevel.enable_ki_protection
    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as self._tasks:
                    task_status.started()
                    await self._guard(self._keep_time)
        finally:
            self._ended = True
            for port in self._ports.values():
                port.close()

    @trio.lowlevel.enable_ki_protection
    async def _guard(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        """What every task runs in: none of them raises."""
        try:
            await task(*args)
        except Exception as error:
            log.critical("the embedded broker has crashed", exc_info=error)
            self._crash = self._crash or error
            self._scope.cancel()

    async def _keep_time(self) -> None:
        while True:
            with trio.CancelScope() as self._alarm:
                self._set_alarm()
                await trio.sleep_forever()
            self._engine.handle_timeout(trio.current_time())
            self._settle()

    def _settle(self) -> None:
        """Does what has to be done after each input or call of the engine."""
        for effect in self._engine.effects():
            if isinstance(effect, Listen):
                self._listen(effect)
            elif effect.conn in self._clients:
                client = self._clients[effect.conn]
                if isinstance(effect, Send):
                    client.sending.send_nowait(effect.data)
                else:
                    client.sending.close()
        for node, port in self._ports.items():
            if port.kept is None and not self._engine.is_listening(node):
                port.stop()
        self._set_alarm()

    def _set_alarm(self) -> None:
        deadline = self._engine.next_deadline()
        self._alarm.deadline = inf if deadline is None else deadline

    def _listen(self, order: Listen) -> None:
        now = trio.current_time()
        if self._in_memory:
            address = Address(order.host, order.port or FIRST_PORT + self._engine.nodes.index(order.node))
            self._places[address] = order.node
            self._engine.listening(order.node, address, now)
            return
        if order.node in self._ports:
            self._ports.pop(order.node).close()
        try:
            port = self._ports[order.node] = Port(order.host, order.port)
        except OSError as error:
            raise OSError(error.errno, can_t_listen(order, reason_of(error))) from None
        self._engine.listening(order.node, Address(order.host, port.address[1]), now)
        assert self._tasks is not None
        self._tasks.start_soon(self._guard, self._accept, order.node, port.listener)

    async def _accept(self, node: int, listener: trio.SocketListener) -> None:
        while True:
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:
                return
            except OSError:  # too many open files, mostly: it would be ready again at once
                await trio.sleep(BREATH)
                continue
            if self._engine.is_listening(node):
                self._serve(node, stream)
            else:
                await trio.aclose_forcefully(stream)

    def _serve(self, node: int, stream: trio.abc.Stream) -> None:
        client = Client(self._engine.accepted(node, trio.current_time()), stream)
        self._clients[client.conn] = client
        assert self._tasks is not None
        self._tasks.start_soon(self._guard, self._talk, client)
        self._settle()

    async def _talk(self, client: Client) -> None:
        error = ""
        try:
            with client.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guard, self._write, client)
                    try:
                        while data := await client.stream.receive_some(READ_SIZE):
                            self._engine.receive_data(client.conn, bytes(data), trio.current_time())
                            self._settle()
                    except (OSError, trio.BrokenResourceError) as broken:
                        error = str(broken)
                    client.scope.cancel()
        finally:
            del self._clients[client.conn]
            await trio.aclose_forcefully(client.stream)
            self._engine.disconnected(client.conn, error, trio.current_time())
            self._settle()

    async def _write(self, client: Client) -> None:
        with suppress(OSError, trio.BrokenResourceError):
            async for data in client.to_send:
                await client.stream.send_all(data)
        client.scope.cancel()

    # ------------------------------------------------------------------------------------------------------ in memory

    def _place(self, address: Address) -> int | None:
        """The node that listens there, None if none does."""
        node = self._places.get(address)
        return node if node is not None and not self._ended and self._engine.is_listening(node) else None


class _Memory(Network):
    """Memory streams to a broker, whatever names are used for it."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Every name is an address."""
        await trio.lowlevel.checkpoint()
        return [Address(host, port)]

    async def connect(self, order: Connect) -> trio.abc.Stream:
        """The end of a new connection; ConnectionRefusedError where no node listens."""
        await trio.lowlevel.checkpoint()
        node = self._broker._place(order.address)
        if node is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        ours, theirs = trio.testing.memory_stream_pair()
        self._broker._serve(node, theirs)
        return ours
