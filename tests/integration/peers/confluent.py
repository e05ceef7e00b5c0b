"""librdkafka, by confluent-kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
    admin as untyped,
)

from tests.integration.peers.peer import PARTITIONS, PATIENCE, Member, Peer, Place, Refused, Row, Sent, Transactions

admin: Any = untyped  # its types do not say what it exports


@contextmanager
def refusals() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise Refused(error.args[0].code()) from error


def _row(message: Message) -> Row:
    found: Any = message.headers() or ()
    headers = tuple((name, value) for name, value in found)
    where = message.partition(), message.offset()
    return Row(*where, message.timestamp()[1], message.key(), message.value(), headers)  # type: ignore[arg-type]  # None only in errors


class _Member(Member):
    def __init__(self, peer: Client, group: str) -> None:
        self._topic = peer.topic
        self._consumer = Consumer(
            {
                "bootstrap.servers": peer.bootstrap,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "heartbeat.interval.ms": 200,
                "fetch.wait.max.ms": 100,
            }
        )
        self._consumer.subscribe([peer.topic])

    def poll(self) -> list[Row]:
        found = []
        for message in self._consumer.consume(1000, 0.1):
            if (error := message.error()) is not None:
                raise KafkaException(error)
            found.append(_row(message))
        return found

    def owns(self) -> list[int]:
        return sorted(each.partition for each in self._consumer.assignment())

    def commit(self) -> None:
        self._consumer.commit(asynchronous=False)

    def committed(self, partition: int) -> int | None:
        [found] = self._consumer.committed([TopicPartition(self._topic, partition)], PATIENCE)
        return None if found.offset < 0 else found.offset

    def seek(self, partition: int, offset: int) -> None:
        self._consumer.seek(TopicPartition(self._topic, partition, offset))

    def close(self) -> None:
        self._consumer.close()


def _deliver(producer: Producer, topic: str, records: Sequence[Sent]) -> list[Place]:
    placed: dict[int, Place] = {}
    failed: list[KafkaError] = []

    def produce(number: int, record: Sent) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failed.append(error)
            else:
                placed[number] = message.partition() or 0, message.offset() or 0

        producer.produce(
            topic,
            record.value,
            record.key,
            record.partition,
            on_delivery=delivered,
            timestamp=record.timestamp,
            headers=list(record.headers),
        )

    for number, record in enumerate(records):
        produce(number, record)
    left = producer.flush(PATIENCE)
    if failed:
        raise Refused(failed[0].code())
    assert not left
    return [placed[number] for number in range(len(records))]


class _Transactions(Transactions):
    def __init__(self, peer: Client, name: str) -> None:
        self._peer = peer
        self._producer = Producer({"bootstrap.servers": peer.bootstrap, "transactional.id": name, "linger.ms": 5})
        self._producer.init_transactions(PATIENCE)

    def begin(self) -> None:
        self._producer.begin_transaction()

    def send(self, records: Sequence[Sent]) -> list[Place]:
        return _deliver(self._producer, self._peer.topic, records)

    def send_offsets(self, group: str, offsets: Sequence[Place]) -> None:
        consumer = Consumer({"bootstrap.servers": self._peer.bootstrap, "group.id": group})
        try:
            partitions = [TopicPartition(self._peer.topic, *place) for place in offsets]
            self._producer.send_offsets_to_transaction(partitions, consumer.consumer_group_metadata(), PATIENCE)
        finally:
            consumer.close()

    def end(self, commit: bool) -> None:
        with refusals():
            if commit:
                self._producer.commit_transaction(PATIENCE)
            else:
                self._producer.abort_transaction(PATIENCE)

    def close(self) -> None:
        """There is nothing to close."""


class Client(Peer):
    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(bootstrap, topic)
        self._admin = admin.AdminClient({"bootstrap.servers": bootstrap})

    def close(self) -> None:
        """There is nothing to close."""

    def _one(self, call: Callable[..., dict[Any, Any]], *arguments: Any, **options: Any) -> Any:
        with refusals():
            [future] = call(*arguments, **options).values()
            return future.result(PATIENCE)

    def create_topic(self, name: str, partitions: int, configs: dict[str, str]) -> None:
        self._one(self._admin.create_topics, [admin.NewTopic(name, partitions, 1, config=configs)])

    def create_partitions(self, total: int) -> None:
        self._one(self._admin.create_partitions, [admin.NewPartitions(self.topic, total)])

    def delete_topic(self, name: str) -> None:
        self._one(self._admin.delete_topics, [name])

    def partitions(self) -> list[int]:
        found = self._admin.list_topics(self.topic, PATIENCE).topics[self.topic]
        if found.error is not None:
            raise Refused(found.error.code())
        return sorted(found.partitions)

    def config(self, name: str) -> str | None:
        found = self._one(self._admin.describe_configs, [admin.ConfigResource(admin.ResourceType.TOPIC, self.topic)])
        return found[name].value if name in found else None

    def groups(self) -> list[str]:
        found = self._admin.list_consumer_groups().result(PATIENCE)
        assert not found.errors
        return [group.group_id for group in found.valid]

    def describe_group(self, group: str) -> tuple[str, str, int]:
        found = self._one(self._admin.describe_consumer_groups, [group])
        return found.state.name, found.partition_assignor, len(found.members)

    def group_offsets(self, group: str) -> list[Place]:
        found = self._one(self._admin.list_consumer_group_offsets, [ConsumerGroupTopicPartitions(group)])
        return [(each.partition, each.offset) for each in found.topic_partitions]

    def delete_group(self, group: str) -> None:
        self._one(self._admin.delete_consumer_groups, [group])

    def produce(self, records: Sequence[Sent], codec: str) -> list[Place]:
        settings = {"bootstrap.servers": self.bootstrap, "compression.type": codec, "linger.ms": 20}
        return _deliver(Producer(settings), self.topic, records)

    def transactions(self, name: str) -> Transactions:
        return _Transactions(self, name)

    def member(self, group: str) -> Member:
        return _Member(self, group)

    def _reader(self, committed: bool = False) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "nobody",
                "isolation.level": "read_committed" if committed else "read_uncommitted",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
            }
        )

    def read(self, committed: bool) -> list[Row]:
        reader = self._reader(committed)
        reader.assign([TopicPartition(self.topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
        found: list[Row] = []
        ended: set[int] = set()
        deadline = monotonic() + PATIENCE
        while len(ended) < PARTITIONS:
            assert monotonic() < deadline, f"{len(found)} records, and the ends of {len(ended)} partitions"
            for message in reader.consume(1000, 0.1):
                error = message.error()
                if error is None:
                    found.append(_row(message))
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition() or 0)
                else:
                    raise KafkaException(error)
        reader.close()
        return found

    def offsets_for_time(self, timestamp: int) -> list[int | None]:
        reader = self._reader()
        asked = [TopicPartition(self.topic, partition, timestamp) for partition in range(PARTITIONS)]
        found = reader.offsets_for_times(asked, PATIENCE)
        reader.close()
        return [None if each.offset < 0 else each.offset for each in sorted(found, key=lambda each: each.partition)]
