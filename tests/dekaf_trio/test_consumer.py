"""What holds for a consumer of dekaf_trio as a whole: types, options, its beginning and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import dekaf_trio.errors
from dekaf_proto import errors
from dekaf_proto.errors import (
    ClosedError,
    ConfigurationError,
    DeserializationError,
    LocalProtocolError,
)
from dekaf_trio import (
    Consumer,
    ConsumerConfig,
)
from tests.dekaf_trio.memory import T0, MemoryKafka, run, take

if TYPE_CHECKING:
    from typing_extensions import assert_type


def test_deserializers() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append("1", "2", "three", "4")
        async with Consumer(
            bootstrap_servers=kafka.bootstrap_servers,
            auto_offset_reset="earliest",
            group_id="g",
            network=kafka,
            value_deserializer=int,
        ) as consumer:
            if TYPE_CHECKING:
                assert_type(consumer, Consumer[bytes | None, int | None])
            consumer.assign([T0])
            seen = []

            async def read() -> None:
                async for msg in consumer:
                    if TYPE_CHECKING:
                        assert_type(msg.value, int | None)
                    seen.append(msg.value)

            for _ in range(2):
                with pytest.raises(DeserializationError) as caught:
                    await read()
            assert seen == [1, 2]
            with pytest.raises(DeserializationError):
                await consumer.poll()
            consumer.seek(T0, caught.value.next_offset)
            assert [msg.value for msg in await consumer.poll()] == [4]
        assert kafka.committed() == {T0: 3}

    run(main)


def test_options() -> None:
    config = ConsumerConfig(bootstrap_servers="a", group_id="g", value_deserializer=bytes.decode)
    consumer = Consumer(config=config, group_id="h")
    if TYPE_CHECKING:
        assert_type(consumer, Consumer[bytes | None, str | None])
    assert consumer.config.group_id == "h"
    assert repr(consumer) == "<Consumer('a:9092', group_id='h')>"
    with pytest.raises(ConfigurationError, match="group_id: must be given with topics"):
        Consumer("topic", bootstrap_servers="a")
    with pytest.raises(ConfigurationError, match="did you mean group_id"):
        Consumer(bootstrap_servers="a", groupid="g")  # type: ignore[call-overload]


def test_the_errors_are_the_cores() -> None:
    assert dekaf_trio.errors is errors


# --------------------------------------------------------------------------------------------------- beginning and end


def test_it_is_used_within_its_block_and_once() -> None:
    async def main(kafka: MemoryKafka) -> None:
        consumer = kafka.consumer()
        with pytest.raises(LocalProtocolError, match="async with"):
            consumer.assign([T0])
        with pytest.raises(LocalProtocolError, match="async with"):
            await consumer.poll()
        await consumer.close()
        async with consumer:
            pass
        with pytest.raises(ClosedError):
            consumer.assign([T0])
        with pytest.raises(ClosedError):
            await consumer.topics()
        assert consumer.metrics().assigned_partitions == 0
        await consumer.close()
        with pytest.raises(LocalProtocolError, match="again"):
            await consumer.__aenter__()

    run(main)


def test_closing_twice() -> None:
    async def main(kafka: MemoryKafka) -> None:
        kafka.append(*"abc")
        async with kafka.consumer(group_id="g") as consumer:
            consumer.assign([T0])
            await take(2, consumer)
            await consumer.close()
            assert kafka.links == 0
            assert kafka.committed() == {T0: 1}
            await consumer.close()

    run(main)
