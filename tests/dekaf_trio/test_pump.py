"""The tasks behind a consumer: broken connections, a program that lets nobody else run, bugs."""

from __future__ import annotations

import logging
import time

import pytest
import trio
import trio.testing

from dekaf_proto.broker import Broker
from dekaf_proto.errors import InternalError, KafkaTimeoutError
from dekaf_proto.events import Address, Connect
from dekaf_proto.messages import ApiKey, MetadataRequest
from dekaf_proto.operation import Operation
from dekaf_trio import _reading
from dekaf_trio._pump import FLUSH, _text
from dekaf_trio._reading import BUSY, LARGEST_SLICE
from tests.dekaf_trio.memory import T0, T1, MemoryKafka, run

# ------------------------------------------------------------------------------------------------- broken connections


def test_connections_that_are_cut() -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            for i in range(5):
                kafka.append(f"{i}")
                (msg,) = await consumer.poll()
                assert msg.offset == i
                kafka.cut()
            await consumer.commit()
        assert kafka.committed() == {T0: 5}

    run(main)


def test_a_broker_that_dies_and_comes_back() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a")
        async with kafka.consumer() as consumer:
            consumer.assign([T0])
            assert len(await consumer.poll()) == 1
            kafka.do(lambda broker, now: broker.stop_node(0, now))
            with trio.move_on_after(30) as scope:
                await consumer.poll()
            assert scope.cancelled_caught
            kafka.do(lambda broker, now: broker.start_node(0, now))
            kafka.append("b")
            assert [msg.value for msg in await consumer.poll()] == [b"b"]
            assert consumer.metrics().failed_connects > 0

    run(main)


def test_a_broker_that_dies_while_it_is_closed() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a")
        async with kafka.consumer(group_id="g", close_timeout_ms=5000) as consumer:
            consumer.assign([T0])
            await consumer.poll()
            await trio.sleep(1)
            kafka.do(lambda broker, now: broker.stop_node(0, now))
            started = trio.current_time()
        assert trio.current_time() - started <= 5

    run(main)


def test_of_several_addresses_one_works() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.silent.add(Address("10.0.0.9", 9092))
        kafka.names["kafka.test"] = ["10.0.0.8", "10.0.0.9", "127.0.0.1"]
        async with kafka.consumer(
            bootstrap_servers="nowhere.test,kafka.test", socket_connection_setup_timeout_ms=1000
        ) as consumer:
            assert await consumer.topics() == ["t"]

    run(main)


def test_what_is_wrong_with_each_address_is_told() -> None:
    """Lesson 39."""

    async def main(kafka: MemoryKafka) -> None:
        kafka.names["kafka.test"] = ["10.0.0.8"]
        async with kafka.consumer(bootstrap_servers="kafka.test,nowhere.test") as consumer:
            with pytest.raises(KafkaTimeoutError) as caught:
                await consumer.topics()
        assert "10.0.0.8:9092: Connection refused" in str(caught.value)
        assert "nowhere.test: nowhere.test: unknown" in str(caught.value)

    run(main)


def test_a_name_that_is_still_looked_up_at_the_end() -> None:
    async def resolve(host: str, port: int) -> list[Address]:
        await trio.sleep_forever()

    async def main(kafka: MemoryKafka) -> None:
        kafka.resolve = resolve  # type: ignore[method-assign]
        async with kafka.consumer(bootstrap_servers="kafka.test") as consumer:
            with trio.move_on_after(1):
                await consumer.topics()
        assert trio.current_time() <= 1 + FLUSH

    run(main)


def test_a_connection_that_takes_nothing_is_left_in_bounded_time() -> None:
    """The other end reads no more, so that `send_all` never returns."""

    class Stuck(trio.abc.Stream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.sleep_forever()

        async def wait_send_all_might_not_block(self) -> None: ...

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.sleep_forever()

        async def aclose(self) -> None:
            closed.append(trio.current_time())

    closed: list[float] = []

    async def connect(order: Connect) -> trio.abc.Stream:
        return Stuck()

    async def main(kafka: MemoryKafka) -> None:
        kafka.connect = connect  # type: ignore[method-assign]
        async with kafka.consumer(socket_connection_setup_timeout_ms=3000) as consumer:
            with trio.move_on_after(2):
                await consumer.topics()
        assert closed == [2 + FLUSH]

    run(main)


def test_what_was_sent_before_a_connection_is_closed_is_written() -> None:
    """The last commit, a goodbye: the engine orders them and the end of the connection in one go."""

    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a")
        async with kafka.consumer() as consumer:
            consumer.assign([T0])
            await consumer.poll()
            await trio.sleep(1)
            client = consumer._engine._client
            conn, connection = next(iter(consumer._pump._connections.items()))
            before = len(kafka.broker.requests)
            client.request(client._by_handle[conn].key, MetadataRequest(topics=[]), lambda response, error: None)
            client.disconnect(client._by_handle[conn].key, "on purpose")
            consumer._pump._settle()
            assert connection.closing
            await trio.testing.wait_all_tasks_blocked()
            apis = [received.header.request_api_key for received in list(kafka.broker.requests)[before:]]
            assert ApiKey.METADATA in apis

    run(main)


# ----------------------------------------------------------------------------------------------------------- lateness


def test_a_program_that_lets_nobody_run_is_told_and_what_has_arrived_meanwhile_is_not_late(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.consumer(request_timeout_ms=5000, fetch_max_wait_ms=500) as consumer:
            consumer.assign([T0])
            await trio.sleep(10)
            connects = kafka.connects
            for _ in range(3):
                kafka.append("a")
                kafka.compute(60)  # all fetches are answered, and their answers lie in the streams
                await trio.sleep(1)
            assert kafka.connects == connects
            assert len(await consumer.poll()) == 3
        assert "nothing ran for" in caplog.text

    run(main)


def test_a_busy_reader_lets_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """About each millisecond of the real clock, which here goes on by a third of that with each look at it."""

    class Clock:
        now = 0.0

        @classmethod
        def perf_counter(cls) -> float:
            cls.now += BUSY / 3
            return cls.now

        time = staticmethod(time.time)

    monkeypatch.setattr(_reading, "time", Clock)

    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*["x"] * 20_000)
        turns = [0]

        async def other() -> None:
            while True:
                await trio.lowlevel.checkpoint()
                turns[0] += 1

        async with kafka.consumer() as consumer, trio.open_nursery() as nursery:
            consumer.assign([T0])
            while consumer.metrics().buffered_bytes < 20_000:
                await trio.sleep(1)
            nursery.start_soon(other)
            begun, count, longest, last = turns[0], 0, 0, 0
            async for _ in consumer:
                count += 1
                if turns[0] != begun:
                    longest, begun, last = max(longest, count - last), turns[0], count
                if count == 20_000:
                    break
            nursery.cancel_scope.cancel()
            assert LARGEST_SLICE <= longest <= 4 * LARGEST_SLICE
            assert turns[0] >= 20_000 // longest

    run(main)


def test_a_slow_body_has_a_checkpoint_for_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0
        perf_counter = staticmethod(lambda: Clock.now)
        time = staticmethod(time.time)

    monkeypatch.setattr(_reading, "time", Clock)

    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*["x"] * 1000)
        async with kafka.consumer() as consumer:
            consumer.assign([T0])
            with trio.CancelScope() as scope:
                count = 0
                async for _ in consumer:
                    count += 1
                    if count > 500:
                        Clock.now += 0.01  # a body that computes
                    if count == 900:
                        scope.cancel()
            assert scope.cancelled_caught
            assert count == 900

    run(main)


# --------------------------------------------------------------------------------------------------------------- bugs


def test_a_bug_is_told_to_everybody_who_waits_or_comes_later(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(kafka: MemoryKafka) -> None:
        async def wait() -> None:
            with pytest.raises(InternalError, match="this is a bug in dekaf: KeyError"):
                await consumer.poll()
            told.append("a waiter")

        told: list[str] = []
        with pytest.raises(InternalError):  # noqa: PT012
            async with kafka.consumer() as consumer, trio.open_nursery() as nursery:
                consumer.assign([T0])
                nursery.start_soon(wait)
                await trio.sleep(1)

                def broken(conn: int, data: bytes, now: float) -> None:
                    raise KeyError("x")

                monkeypatch.setattr(consumer._engine, "receive_data", broken)
                kafka.append("a")
                await trio.sleep(1)
                assert told == ["a waiter"]
                with pytest.raises(InternalError):
                    consumer.seek(T0, 0)
                with pytest.raises(InternalError):
                    await consumer.topics()
        assert "has crashed" in caplog.text

    run(main)


def test_a_bug_does_not_mask_the_bodys_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(kafka: MemoryKafka) -> None:
        async def body() -> None:
            async with kafka.consumer() as consumer:
                consumer.assign([T0])
                await trio.sleep(1)
                monkeypatch.setattr(consumer._engine, "handle_timeout", lambda now: 1 / 0)
                await trio.sleep(1000)
                raise ValueError("the body's")

        with pytest.raises(ValueError, match="the body's"):
            await body()

    run(main)


def test_an_engine_that_does_not_close_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(kafka: MemoryKafka) -> None:
        async with kafka.consumer(close_timeout_ms=1000) as consumer:
            consumer.assign([T0])
            await trio.sleep(1)
            monkeypatch.setattr(consumer._engine, "close", lambda now, timeout: Operation("close"))
        assert trio.current_time() < 5
        assert "did not close in 1 s" in caplog.text

    with caplog.at_level(logging.ERROR):
        run(main)


@pytest.mark.parametrize(
    "error, text",
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (OSError("nothing more is known"), "nothing more is known"),
        (trio.BrokenResourceError(), "BrokenResourceError"),
    ],
)
def test_what_is_wrong_in_words(error: Exception, text: str) -> None:
    assert _text(error) == text
    wrapped = trio.BrokenResourceError("socket connection broken")
    wrapped.__cause__ = error
    assert _text(wrapped) == text


def test_three_nodes_and_idle_connections() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("a")
        kafka.append("b", tp=T1)
        async with kafka.consumer(connections_max_idle_ms=10_000) as consumer:
            consumer.assign([T0, T1])
            seen = 0
            async for _ in consumer.records(until_end=True):
                seen += 1
            assert seen == 2
            links = kafka.links
            await trio.sleep(60)
            assert 0 < kafka.links < links

    broker = Broker(nodes=3, unix_offset=1_700_000_000.0)
    run(main, broker)
