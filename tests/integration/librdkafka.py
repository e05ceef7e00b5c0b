"""The other producer that the world uses: librdkafka, by confluent-kafka. Its batches differ from Java's in places (raw
snappy instead of xerial's framing, lz4 and zstd frames of its own)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from tests.integration.kafka import Codec, Placed, Produced

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

PATIENCE = 30.0


def produce(
    bootstrap: str,
    records: Iterable[Produced],
    codec: Codec = "none",
    transactional_id: str | None = None,
    end: Literal["commit", "abort"] = "commit",
) -> list[Placed]:
    """As `KafkaCluster.produce`; a transaction can't be left open. Every record needs a partition."""
    from confluent_kafka import Producer  # here, so that the other tests can be collected without it

    configs: dict[str, Any] = {"bootstrap.servers": bootstrap, "compression.codec": codec, "linger.ms": 20}
    if transactional_id is not None:
        configs |= {"transactional.id": transactional_id, "transaction.timeout.ms": int(1000 * PATIENCE)}
    producer = Producer(configs)
    if transactional_id is not None:
        producer.init_transactions(PATIENCE)
        producer.begin_transaction()
    placed: dict[int, Placed] = {}
    failed: list[KafkaError] = []

    def send(number: int, record: Produced) -> None:
        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failed.append(error)
            else:
                where = message.topic() or "", message.partition() or 0, message.offset() or 0
                placed[number] = Placed(*where, message.timestamp()[1])

        options: dict[str, Any] = {"headers": list(record.headers)}
        if record.timestamp is not None:
            options["timestamp"] = record.timestamp
        assert record.partition is not None
        producer.produce(record.topic, record.value, record.key, record.partition, on_delivery=on_delivery, **options)

    for number, record in enumerate(records):
        send(number, record)
    left = producer.flush(PATIENCE)
    if failed or left:
        raise AssertionError(f"librdkafka could not deliver {left + len(failed)} records: {failed[:3]}")
    if transactional_id is not None:
        (producer.commit_transaction if end == "commit" else producer.abort_transaction)(PATIENCE)
    return [placed[number] for number in sorted(placed)]
