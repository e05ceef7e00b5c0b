"""aiokafka, in a loop that runs while something is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from tests.integration.peers.peer import PARTITIONS, PATIENCE, Member, Peer, Place, Refused, Row, Sent, Transactions

T = TypeVar("T")


@contextmanager
def refusals() -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise Refused(getattr(error, "errno", type(error).__name__)) from error


def _check(code: int) -> None:
    if code:
        raise Refused(code)


def _row(record: Any) -> Row:
    headers = tuple((name, value) for name, value in record.headers)
    return Row(record.partition, record.offset, record.timestamp, record.key, record.value, headers)


class _Member(Member):
    def __init__(self, peer: Client, group: str) -> None:
        self._topic, self._do = peer.topic, peer.do

        async def start() -> AIOKafkaConsumer:
            consumer = AIOKafkaConsumer(
                peer.topic,
                bootstrap_servers=peer.bootstrap,
                group_id=group,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                heartbeat_interval_ms=200,
                fetch_max_wait_ms=100,
            )
            await consumer.start()
            return consumer

        self._consumer = self._do(start())

    def poll(self) -> list[Row]:
        found = self._do(self._consumer.getmany(timeout_ms=100))
        return [_row(record) for records in found.values() for record in records]

    def owns(self) -> list[int]:
        return sorted(each.partition for each in self._consumer.assignment())

    def commit(self) -> None:
        self._do(self._consumer.commit())

    def committed(self, partition: int) -> int | None:
        found: int | None = self._do(self._consumer.committed(TopicPartition(self._topic, partition)))
        return found

    def seek(self, partition: int, offset: int) -> None:
        self._consumer.seek(TopicPartition(self._topic, partition), offset)

    def close(self) -> None:
        self._do(self._consumer.stop())


async def _deliver(producer: AIOKafkaProducer, topic: str, records: Sequence[Sent]) -> list[Place]:
    futures = [
        await producer.send(
            topic,
            record.value,
            record.key,
            partition=record.partition,
            timestamp_ms=record.timestamp,
            headers=list(record.headers),
        )
        for record in records
    ]
    with refusals():
        found = await asyncio.wait_for(asyncio.gather(*futures), PATIENCE)
    return [(each.partition, each.offset) for each in found]


class _Transactions(Transactions):
    def __init__(self, peer: Client, name: str) -> None:
        self._topic, self._do = peer.topic, peer.do

        async def start() -> AIOKafkaProducer:
            producer = AIOKafkaProducer(bootstrap_servers=peer.bootstrap, transactional_id=name, linger_ms=5)
            await producer.start()
            return producer

        self._producer = self._do(start())

    def begin(self) -> None:
        self._do(self._producer.begin_transaction())

    def send(self, records: Sequence[Sent]) -> list[Place]:
        return self._do(_deliver(self._producer, self._topic, records))

    def send_offsets(self, group: str, offsets: Sequence[Place]) -> None:
        partitions = {TopicPartition(self._topic, partition): offset for partition, offset in offsets}
        self._do(self._producer.send_offsets_to_transaction(partitions, group))

    def end(self, commit: bool) -> None:
        with refusals():
            self._do(self._producer.commit_transaction() if commit else self._producer.abort_transaction())

    def close(self) -> None:
        self._do(self._producer.stop())


class Client(Peer):
    deletes_groups = False

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(bootstrap, topic)
        self._loop = asyncio.new_event_loop()

        async def start() -> AIOKafkaAdminClient:
            admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
            await admin.start()
            return admin

        self._admin = self.do(start())

    def do(self, job: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(job)

    def close(self) -> None:
        self.do(self._admin.close())
        self._loop.close()

    def create_topic(self, name: str, partitions: int, configs: dict[str, str]) -> None:
        topics = [NewTopic(name, partitions, 1, topic_configs=configs)]
        _check(self.do(self._admin.create_topics(topics)).topic_errors[0][1])

    def create_partitions(self, total: int) -> None:
        with refusals():
            self.do(self._admin.create_partitions({self.topic: NewPartitions(total)}))

    def delete_topic(self, name: str) -> None:
        _check(self.do(self._admin.delete_topics([name])).topic_error_codes[0][1])

    def partitions(self) -> list[int]:
        [found] = self.do(self._admin.describe_topics([self.topic]))
        _check(found["error_code"])
        return sorted(each["partition"] for each in found["partitions"])

    def config(self, name: str) -> str | None:
        [found] = self.do(self._admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, self.topic)]))
        options = {option[0]: option[1] for option in found.resources[0][4]}
        return options.get(name)

    def groups(self) -> list[str]:
        return [group[0] for group in self.do(self._admin.list_consumer_groups())]

    def describe_group(self, group: str) -> tuple[str, str, int]:
        [found] = self.do(self._admin.describe_consumer_groups([group]))
        _, _, state, _, protocol, members, *_ = found.groups[0]
        return state, protocol, len(members)

    def group_offsets(self, group: str) -> list[Place]:
        found = self.do(self._admin.list_consumer_group_offsets(group))
        return [(tp.partition, each.offset) for tp, each in found.items()]

    def delete_group(self, group: str) -> None:
        raise NotImplementedError("aiokafka can't")

    def produce(self, records: Sequence[Sent], codec: str) -> list[Place]:
        async def produce() -> list[Place]:
            compression = None if codec == "none" else codec
            settings = {"bootstrap_servers": self.bootstrap, "compression_type": compression, "linger_ms": 20}
            async with AIOKafkaProducer(**settings, enable_idempotence=True) as producer:
                return await _deliver(producer, self.topic, records)

        return self.do(produce())

    def transactions(self, name: str) -> Transactions:
        return _Transactions(self, name)

    def member(self, group: str) -> Member:
        return _Member(self, group)

    @contextmanager
    def _reader(self, committed: bool = False) -> Iterator[AIOKafkaConsumer]:
        async def start() -> AIOKafkaConsumer:
            reader = AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap,
                auto_offset_reset="earliest",
                isolation_level="read_committed" if committed else "read_uncommitted",
                fetch_max_wait_ms=100,
            )
            await reader.start()
            return reader

        reader = self.do(start())
        try:
            yield reader
        finally:
            self.do(reader.stop())

    def read(self, committed: bool) -> list[Row]:
        partitions = [TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        found: list[Row] = []

        async def read(reader: AIOKafkaConsumer) -> None:
            reader.assign(partitions)
            ends = await reader.end_offsets(partitions)
            deadline = monotonic() + PATIENCE
            while any([await reader.position(tp) < end for tp, end in ends.items()]):
                assert monotonic() < deadline, f"{len(found)} records, and not the end"
                for records in (await reader.getmany(timeout_ms=100)).values():
                    found.extend(map(_row, records))

        with self._reader(committed) as reader:
            self.do(read(reader))
        return found

    def offsets_for_time(self, timestamp: int) -> list[int | None]:
        partitions = [TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        with self._reader() as reader:
            found = self.do(reader.offsets_for_times(dict.fromkeys(partitions, timestamp)))
        return [None if found[tp] is None else found[tp].offset for tp in partitions]
