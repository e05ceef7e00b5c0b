"""The I/O thread with an engine that only does as it is told: sockets, effects, time, and what may go wrong there."""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
import weakref
from collections.abc import Generator, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from dekaf_proto.errors import ClosedError, InternalError, KafkaTimeoutError, WakeupError
from dekaf_proto.events import Address, Connect, Disconnect, Effect, Resolve, Send
from dekaf_proto.operation import Operation
from dekaf_sync import _pump, _resolve, _sockets
from dekaf_sync._pump import Pump
from tests.dekaf_sync.helpers import until


class Told:
    """An engine that carries out nothing: it remembers what it was told, and orders what a test has put into `todo`."""

    def __init__(self) -> None:
        self.todo: list[Effect] = []
        self.told: list[tuple[object, ...]] = []
        self.data = b""
        self.deadline: float | None = None
        self.closed = False

    def resolved(self, query: int, addresses: Sequence[Address], now: float) -> None:
        self.told.append(("resolved", query, *addresses))

    def resolve_failed(self, query: int, error: str, now: float) -> None:
        self.told.append(("resolve_failed", query, error))

    def connected(self, conn: int, now: float) -> None:
        self.told.append(("connected", conn))

    def connect_failed(self, conn: int, error: str, now: float) -> None:
        self.told.append(("connect_failed", conn, error))

    def receive_data(self, conn: int, data: bytes | bytearray | memoryview, now: float) -> None:
        self.data += data

    def disconnected(self, conn: int, error: str, now: float) -> None:
        self.told.append(("disconnected", conn, error))

    def handle_timeout(self, now: float) -> None:
        self.told.append(("timeout", now))
        self.deadline = None

    def effects(self) -> list[Effect]:
        todo, self.todo = self.todo, []
        return todo

    def next_deadline(self) -> float | None:
        return self.deadline

    def close(self, now: float, timeout: float | None = None) -> Operation[None]:
        self.closed = True
        return Operation.completed("close", None)


class Bench:
    """A pump, its engine, and a server to connect to."""

    def __init__(self) -> None:
        self.engine = Told()
        self.pump = Pump(self.engine, "bench")
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(20.0)
        self.address = Address(*self.server.getsockname()[:2])

    @property
    def sockets(self) -> _sockets.Sockets:
        assert self.pump._sockets is not None
        return self.pump._sockets

    def do(self, *effects: Effect) -> None:
        """Has the engine order something."""

        def script(now: float) -> Generator[Operation[Any], float, None]:
            self.engine.todo.extend(effects)
            yield Operation.completed("order", None)

        self.pump.call(script)

    def connect(self, conn: int = 1) -> socket.socket:
        """An open connection; the server's end."""
        self.do(Connect(conn, self.address, self.address.host, False))
        sock, _ = self.server.accept()
        sock.settimeout(20.0)
        until(lambda: ("connected", conn) in self.engine.told)
        return sock

    def told(self, *what: object) -> None:
        """Waits until the engine was told something that begins like this."""
        until(lambda: any(entry[: len(what)] == what for entry in self.engine.told))


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.pump.close(5.0)
    bench.server.close()


def everything(sock: socket.socket) -> bytes:
    with sock:
        data = b""
        while more := sock.recv(1 << 20):
            data += more
        return data


# ------------------------------------------------------------------------------------------------------------- sockets


def test_a_connection_is_set_up_as_kafka_wants_it(bench: Bench) -> None:
    """C9"""
    with bench.connect():
        sock = bench.sockets._links[1].sock
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not sock.getblocking()


def test_what_does_not_fit_is_sent_later_and_in_order(bench: Bench) -> None:
    peer = bench.connect()
    parts = [bytes([n]) * 3_000_000 for n in range(5)]
    bench.do(*(Send(1, part) for part in parts[:3]))
    assert bench.sockets._links[1].unsent  # the peer does not read
    bench.do(*(Send(1, part) for part in parts[3:]))
    received = bytearray()
    while len(received) < 15_000_000:
        received += peer.recv(1 << 20)
    assert bytes(received) == b"".join(parts)
    bench.do(Send(1, b"."), Disconnect(1))
    assert everything(peer) == b"."


def test_before_a_disconnect_is_sent_what_fits_without_waiting(bench: Bench) -> None:
    peer = bench.connect()
    bench.do(Send(1, b"x" * 20_000_000), Send(1, b"goodbye"), Disconnect(1))
    assert bench.sockets._links == {}
    assert 0 < len(everything(peer)) < 20_000_000


def test_what_is_received_is_handed_in(bench: Bench) -> None:
    with bench.connect() as peer:
        peer.sendall(b"a" * 3_000_000)
        until(lambda: len(bench.engine.data) == 3_000_000)


def test_a_peer_that_goes(bench: Bench) -> None:
    bench.connect(1).close()
    bench.told("disconnected", 1, "")
    peer = bench.connect(2)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()  # resets the connection
    bench.told("disconnected", 2, "Connection reset by peer")
    bench.do(Send(1, b"x"), Disconnect(2), Send(7, b"x"))  # what nobody has any more
    assert bench.sockets._links == {}


def test_a_connection_that_breaks_while_it_is_written_to(bench: Bench) -> None:
    with bench.connect():
        sock = bench.sockets._links[1].sock
        sock.shutdown(socket.SHUT_WR)
        bench.do(Send(1, b"x"))
        bench.told("disconnected", 1, "Broken pipe")


def test_a_connection_that_breaks_while_it_is_given_up(bench: Bench) -> None:
    with bench.connect():
        bench.sockets._links[1].sock.shutdown(socket.SHUT_WR)

        def script(now: float) -> Generator[Operation[Any], float, None]:
            bench.sockets._links[1].unsent.append(b"x")
            bench.engine.todo.append(Disconnect(1))
            yield Operation.completed("order", None)

        bench.pump.call(script)
        assert bench.sockets._links == {}
    assert bench.engine.told == [("connected", 1)]


def test_a_false_alarm(bench: Bench) -> None:
    """The selector may say that there is something to read, and then there is not."""
    with bench.connect() as peer:
        link = bench.sockets._links[1]

        def script(now: float) -> Generator[Operation[Any], float, None]:
            bench.sockets._read(link)
            yield Operation.completed("read", None)

        bench.pump.call(script)
        peer.sendall(b"x")
        until(lambda: bench.engine.data == b"x")


def test_a_refused_connection(bench: Bench) -> None:
    bench.server.close()
    bench.do(Connect(1, bench.address, "localhost", False))
    bench.told("connect_failed", 1, "Connection refused")


@pytest.mark.parametrize("host", ["300.1.1.1", "1.2", "localhost", "::1::2"])
def test_a_host_that_is_no_address_is_never_looked_up(bench: Bench, host: str) -> None:
    bench.do(Connect(1, Address(host, 9), host, False))
    bench.told("connect_failed", 1, "illegal IP address string passed to inet_pton")


def test_an_address_of_the_other_family(bench: Bench) -> None:
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("there is no IPv6 loopback here")
    with server:
        bench.do(Connect(1, Address("::1", server.getsockname()[1]), "localhost", False))
        bench.told("connected", 1)


def test_a_connection_that_fails_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(socket.socket):
        def connect_ex(self, address: Any) -> int:
            return errno.ENETUNREACH

    monkeypatch.setattr(socket, "socket", Failing)
    bench.do(Connect(1, bench.address, "localhost", False))
    bench.told("connect_failed", 1, "Network is unreachable")


def test_one_that_is_given_up_before_it_stands(bench: Bench) -> None:
    bench.do(Connect(1, bench.address, "localhost", False), Send(1, b"early"), Disconnect(1))
    assert bench.sockets._links == {}
    bench.do(Connect(2, bench.address, "localhost", False), Send(2, b"early"))
    for _ in range(2):
        with bench.server.accept()[0] as peer:
            if data := peer.recv(10):
                assert data == b"early"
                break
    assert ("connected", 1) not in bench.engine.told


def test_an_event_for_a_connection_that_was_just_closed(bench: Bench) -> None:
    """What is posted comes before what the selector has found."""
    with bench.connect() as peer:
        bench.engine.told.clear()
        held, sent = threading.Event(), threading.Event()

        def close(now: float) -> Generator[Operation[Any], float, None]:
            bench.engine.todo.append(Disconnect(1))
            bench.sockets.carry_out_effects()
            yield Operation.completed("close", None)

        def late(now: float) -> None:
            bench.engine.deadline = None
            held.set()
            sent.wait(20.0)
            bench.pump.tell(close)  # so it is there when the selector is asked next, as is the data

        def script(now: float) -> Generator[Operation[Any], float, None]:
            bench.engine.__dict__["handle_timeout"] = late
            bench.engine.deadline = now
            yield Operation.completed("order", None)

        bench.pump.call(script)
        assert held.wait(20.0)
        peer.sendall(b"x")
        sent.set()
        until(lambda: bench.sockets._links == {})
        bench.do()
        assert (bench.engine.told, bench.engine.data) == ([], b"")


# --------------------------------------------------------------------------------------------------------------- names


def test_names_are_looked_up_elsewhere(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that takes its time does not hold up the rest."""
    answer = threading.Event()
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 9092)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 9092)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%eth0", 9092, 0, 2)),
    ]

    def slow(*_: Any, **__: Any) -> list[Any]:
        assert answer.wait(20.0)
        return found

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    bench.do(Resolve(5, "kafka.test", 9092))
    bench.do()
    assert bench.engine.told == []
    answer.set()
    bench.told("resolved", 5, Address("10.0.0.1", 9092), Address("fe80::1%eth0", 9092))


@pytest.mark.parametrize(
    "error, text",
    [
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError("strange"), "strange"),
        (UnicodeError("label empty or too long"), "label empty or too long"),
    ],
)
def test_a_name_without_an_address(bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str) -> None:
    def fail(*_: Any, **__: Any) -> list[Any]:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    bench.do(Resolve(5, "kafka.test", 9092))
    bench.told("resolve_failed", 5, text)


def test_no_thread_to_look_up_with(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.do()  # its own thread runs

    class Full(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_resolve.threading, "Thread", Full)  # type: ignore[attr-defined]
    bench.do(Resolve(5, "kafka.test", 9092))
    bench.told("resolve_failed", 5, "can't start new thread")
    other = Pump(Told(), "other")  # nor one to work in
    with pytest.raises(RuntimeError, match="can't start new thread"):
        other.start()
    assert other.join(0)
    other.close(5.0)


def test_a_name_that_is_found_too_late(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer.wait(20.0) and [])
    bench.do(Resolve(5, "kafka.test", 9092))
    bench.pump.close(5.0)
    answer.set()
    until(lambda: not any("looks up" in thread.name for thread in threading.enumerate()))
    assert bench.engine.told == []


# ---------------------------------------------------------------------------------------------------------------- time


def test_a_deadline_is_kept(bench: Bench) -> None:
    def script(now: float) -> Generator[Operation[Any], float, float]:
        bench.engine.deadline = now + 0.02
        yield Operation.completed("wait", None)
        return bench.engine.deadline

    deadline = bench.pump.call(script)
    bench.told("timeout")
    [(_, now)] = bench.engine.told
    assert isinstance(now, float)
    assert now >= deadline


def test_a_deadline_that_is_far_away_is_none_of_the_selector_s_business(bench: Bench) -> None:
    def script(now: float) -> Generator[Operation[Any], float, None]:
        bench.engine.deadline = now + 1e12
        yield Operation.completed("wait", None)

    bench.pump.call(script)
    bench.do()
    assert bench.engine.told == []


def test_time_never_goes_back_within_a_script(bench: Bench) -> None:
    times = []

    def script(now: float) -> Generator[Operation[Any], float, None]:
        times.append(now)
        for _ in range(3):
            times.append((yield Operation.completed("step", None)))

    bench.pump.call(script)
    assert times == sorted(times)


# ------------------------------------------------------------------------------------------------------ waiting, ending


def test_a_wait_in_slices(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where Ctrl+C does not end a wait."""
    monkeypatch.setattr(_pump, "WAIT_SLICE", 0.001)

    def script(now: float) -> Generator[Operation[Any], float, str]:
        time.sleep(0.02)
        yield Operation.completed("sleep", None)
        return "done"

    assert bench.pump.call(script) == "done"


def test_a_wait_with_an_end(bench: Bench) -> None:
    never: Operation[None] = Operation("never")

    def script(now: float) -> Generator[Operation[Any], float, None]:
        yield never

    with pytest.raises(KafkaTimeoutError, match="bench did not finish"):
        bench.pump.call(script, patience=0.01)
    until(lambda: not bench.pump._calls)
    assert never.done  # it was cancelled


def test_many_wakes_fill_no_buffer(bench: Bench) -> None:
    bench.do()
    waker = bench.sockets._waker
    for _ in range(100_000):
        waker.wake()
    bench.do()
    bench.pump.close(5.0)
    waker.wake()
    waker.drain()


def test_a_script_that_is_given_up_before_it_began(bench: Bench) -> None:
    call: Any = _pump._Call(True)
    bench.pump._give_up(call)
    bench.pump._calls.append(call)
    bench.pump._give_up(call)
    assert bench.pump._calls == []


def test_starting_twice_starts_once(bench: Bench) -> None:
    bench.do()
    thread = bench.pump._thread
    bench.pump._thread = None  # as if Ctrl+C had come before that was set
    bench.do()
    until(lambda: sum(t.name == "dekaf: bench" for t in threading.enumerate()) == 1)
    bench.pump._thread = thread


def test_a_call_that_is_posted_at_the_very_end_is_refused(bench: Bench) -> None:
    """By the I/O thread, which looks once more."""
    bench.do()
    errors: list[Exception | None] = []
    call: Any = _pump._Call(True)

    def close(now: float) -> Generator[Operation[Any], float, None]:
        bench.engine.closed = True
        bench.pump._calls.append(call)  # as one that begins while it ends
        yield Operation.completed("close", None)

    bench.pump.tell(close)
    until(lambda: call.wait(0.001))
    errors.append(call.error)
    assert isinstance(errors[0], ClosedError)


def test_a_script_hears_of_the_end(bench: Bench) -> None:
    heard: list[Exception] = []
    never: Operation[None] = Operation("never")

    def script(now: float) -> Generator[Operation[Any], float, None]:
        try:
            yield never
        except ClosedError as error:
            heard.append(error)

    bench.do()
    bench.pump.tell(script)
    bench.pump.close(5.0)
    assert len(heard) == 1


@pytest.mark.parametrize("given_up", [False, True])
def test_a_call_that_has_ended_holds_nothing_of_the_program(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, given_up: bool
) -> None:
    """The I/O thread may look at a call a moment longer than the thread that has waited for it."""

    class Mine:
        def script(self, now: float) -> _pump.Steps[None]:
            yield Operation.completed("nothing", None)
            if given_up:
                yield _pump.Visit(self.interrupt)

        def interrupt(self) -> None:
            raise KeyboardInterrupt

    calls: list[Any] = []

    def begin(pump: Pump, call: Any, script: Any) -> None:
        calls.append(call)
        begun(pump, call, script)

    begun = Pump._begin
    monkeypatch.setattr(Pump, "_begin", begin)
    mine = Mine()
    gone = weakref.ref(mine)
    with pytest.raises(KeyboardInterrupt) if given_up else nullcontext():
        bench.pump.call(mine.script)
    until(lambda: calls[0].ended)
    del mine
    until(lambda: gone() is None)
    assert len(calls) == 1


def test_a_visit_is_made_in_the_thread_that_waits(bench: Bench) -> None:
    visited: list[int] = []

    def script(now: float) -> _pump.Steps[str]:
        yield Operation.completed("before", None)
        for _ in range(3):
            later = yield _pump.Visit(lambda: visited.append(threading.get_ident()))
            assert later >= now
        yield Operation.completed("after", None)
        return "the end"

    assert bench.pump.call(script) == "the end"
    assert visited == [threading.get_ident()] * 3
    assert bench.pump._calls == []


def test_a_visit_may_call(bench: Bench) -> None:
    def script(now: float) -> _pump.Steps[str]:
        yield _pump.Visit(bench.do)
        return "the end"

    assert bench.pump.call(script) == "the end"


def test_what_a_visit_raises_comes_out_and_closes_the_script(bench: Bench) -> None:
    closed: list[str] = []

    def script(now: float) -> _pump.Steps[None]:
        try:
            yield _pump.Visit(lambda: [].pop())
        finally:
            closed.append(threading.current_thread().name)

    with pytest.raises(IndexError):
        bench.pump.call(script)
    bench.do()
    assert closed == ["dekaf: bench"]
    assert bench.pump._calls == []


@pytest.mark.parametrize("interruptible", [True, False])
def test_a_wakeup_during_a_visit_is_for_what_comes_after_it(bench: Bench, interruptible: bool) -> None:
    went_on: list[bool] = []
    never = Operation[None]("never")

    def visit() -> None:
        bench.pump.interrupt(lambda: None)
        until(lambda: bench.pump._interrupted)

    def script(now: float) -> _pump.Steps[None]:
        yield _pump.Visit(visit)
        went_on.append(True)
        if interruptible:
            yield never

    if interruptible:
        with pytest.raises(WakeupError):
            bench.pump.call(script)
        assert never.done
        assert not bench.pump._interrupted
    else:
        bench.pump.call(script, interruptible=False)
        assert bench.pump._interrupted
    assert went_on == [True]


def test_the_thread_ends_during_a_visit(bench: Bench) -> None:
    heard: list[str] = []

    def visit() -> None:
        bench.pump._stop = True
        bench.pump.post(lambda: None)
        until(lambda: bench.pump.ended)

    def script(now: float) -> _pump.Steps[None]:
        try:
            yield _pump.Visit(visit)
        except ClosedError:
            heard.append("closed")
            raise

    with pytest.raises(ClosedError):
        bench.pump.call(script)
    assert heard == ["closed"]


def test_a_crash_is_not_told_twice_by_close(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def broken(now: float) -> Generator[Operation[Any], float, None]:
        yield Operation.completed("begin", None)
        raise RuntimeError("broken")

    with pytest.raises(InternalError):
        bench.pump.call(broken)
    with pytest.raises(InternalError):
        bench.pump.close(5.0)
    bench.pump.close(5.0)
    assert bench.pump.abandon(1.0) is False


def test_leaving_all_to_the_parent(bench: Bench) -> None:
    """What happens in a forked process, here in the same one."""
    with bench.connect():
        pump, engine = Pump(bench.engine, "copy"), bench.engine
        pump.leave_to_parent()
        assert (pump.forked, engine.closed) == (True, True)
        engine.closed = False
        copy = Pump(engine, "copy")
        link = _sockets._Link(1, socket.socket())
        copy._sockets = sockets = _sockets.Sockets(engine, copy.post)
        sockets._links[1] = link
        _pump._running.add(copy)
        others = _pump._running - {copy}
        _pump._running.difference_update(others)
        try:
            _pump._after_fork()
            assert not _pump._running
        finally:
            _pump._running.update(others)
        assert link.sock.fileno() == -1
        assert sockets._waker.receiver.fileno() == -1
        engine.closed = False


def test_closing_all_at_exit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.do()
    with pytest.warns(ResourceWarning, match="unclosed bench"):
        _pump._close_all()
    assert bench.engine.closed
    _pump._close_all()
