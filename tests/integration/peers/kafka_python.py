"""kafka-python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from tests.integration.peers.peer import PARTITIONS, PATIENCE, Member, Peer, Place, Refused, Row, Sent, Transactions


@contextmanager
def refusals() -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise Refused(getattr(error, "errno", type(error).__name__)) from error


def _row(record: Any) -> Row:
    headers = tuple((name, value) for name, value in record.headers)
    return Row(record.partition, record.offset, record.timestamp, record.key, record.value, headers)


class _Member(Member):
    def __init__(self, peer: Client, group: str) -> None:
        self._topic = peer.topic
        self._consumer = KafkaConsumer(
            peer.topic,
            bootstrap_servers=peer.bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=200,
            fetch_max_wait_ms=100,
        )

    def poll(self) -> list[Row]:
        found = self._consumer.poll(timeout_ms=100)
        return [_row(record) for records in found.values() for record in records]

    def owns(self) -> list[int]:
        return sorted(each.partition for each in self._consumer.assignment())

    def commit(self) -> None:
        self._consumer.commit()

    def committed(self, partition: int) -> int | None:
        found: int | None = self._consumer.committed(TopicPartition(self._topic, partition))
        return found

    def seek(self, partition: int, offset: int) -> None:
        self._consumer.seek(TopicPartition(self._topic, partition), offset)

    def close(self) -> None:
        self._consumer.close()


def _deliver(producer: KafkaProducer, topic: str, records: Sequence[Sent]) -> list[Place]:
    with refusals():
        futures = [
            producer.send(
                topic,
                record.value,
                record.key,
                headers=list(record.headers),
                partition=record.partition,
                timestamp_ms=record.timestamp,
            )
            for record in records
        ]
        found = [future.get(timeout=PATIENCE) for future in futures]
    return [(each.partition, each.offset) for each in found]


class _Transactions(Transactions):
    def __init__(self, peer: Client, name: str) -> None:
        self._topic = peer.topic
        self._producer = KafkaProducer(bootstrap_servers=peer.bootstrap, transactional_id=name, linger_ms=5)
        self._producer.init_transactions()

    def begin(self) -> None:
        self._producer.begin_transaction()

    def send(self, records: Sequence[Sent]) -> list[Place]:
        return _deliver(self._producer, self._topic, records)

    def send_offsets(self, group: str, offsets: Sequence[Place]) -> None:
        partitions = {TopicPartition(self._topic, p): OffsetAndMetadata(offset, "", -1) for p, offset in offsets}
        self._producer.send_offsets_to_transaction(partitions, group)

    def end(self, commit: bool) -> None:
        with refusals():
            if commit:
                self._producer.commit_transaction()
            else:
                self._producer.abort_transaction()

    def close(self) -> None:
        self._producer.close(timeout=1)


class Client(Peer):
    codecs = ("none", "gzip")  # the others need packages of their own

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(bootstrap, topic)
        self._admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def close(self) -> None:
        self._admin.close()

    def create_topic(self, name: str, partitions: int, configs: dict[str, str]) -> None:
        with refusals():
            self._admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])

    def create_partitions(self, total: int) -> None:
        with refusals():
            self._admin.create_partitions({self.topic: total})

    def delete_topic(self, name: str) -> None:
        with refusals():
            self._admin.delete_topics([name])

    def partitions(self) -> list[int]:
        [found] = self._admin.describe_topics([self.topic])
        if found["error_code"]:
            raise Refused(found["error_code"])
        return sorted(each["partition_index"] for each in found["partitions"])

    def config(self, name: str) -> str | None:
        resource = ConfigResource(ConfigResourceType.TOPIC, self.topic)
        found = self._admin.describe_configs([resource], config_filter="all")["topic"][self.topic]
        value: str | None = found[name]["value"] if name in found else None
        return value

    def groups(self) -> list[str]:
        return [group["group_id"] for group in self._admin.list_groups()]

    def describe_group(self, group: str) -> tuple[str, str, int]:
        found = self._admin.describe_groups([group])[group]
        return found["group_state"], found["protocol_data"], len(found["members"])

    def group_offsets(self, group: str) -> list[Place]:
        with refusals():
            found = self._admin.list_group_offsets(group)[group]
        return [(tp.partition, each.offset) for tp, each in found.items()]

    def delete_group(self, group: str) -> None:
        said = self._admin.delete_groups([group])[group]
        if said != "OK":
            raise Refused({"NonEmptyGroupError": 68}[said])

    def produce(self, records: Sequence[Sent], codec: str) -> list[Place]:
        compression = None if codec == "none" else codec
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, compression_type=compression, linger_ms=20)
        try:
            return _deliver(producer, self.topic, records)
        finally:
            producer.close()

    def transactions(self, name: str) -> Transactions:
        return _Transactions(self, name)

    def member(self, group: str) -> Member:
        return _Member(self, group)

    def _reader(self, committed: bool = False) -> KafkaConsumer:
        return KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=None,
            auto_offset_reset="earliest",
            isolation_level="read_committed" if committed else "read_uncommitted",
            fetch_max_wait_ms=100,
        )

    def read(self, committed: bool) -> list[Row]:
        reader = self._reader(committed)
        partitions = [TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        reader.assign(partitions)
        ends = reader.end_offsets(partitions)
        found: list[Row] = []
        deadline = monotonic() + PATIENCE
        while any(reader.position(tp) < end for tp, end in ends.items()):
            assert monotonic() < deadline, f"{len(found)} records, and not the end"
            for records in reader.poll(timeout_ms=100).values():
                found += map(_row, records)
        reader.close()
        return found

    def offsets_for_time(self, timestamp: int) -> list[int | None]:
        reader = self._reader()
        partitions = [TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        found = reader.offsets_for_times(dict.fromkeys(partitions, timestamp))
        reader.close()
        return [None if found[tp] is None else found[tp].offset for tp in partitions]
