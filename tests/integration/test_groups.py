"""One consumer as a member of a group, with each driver: what it is told, what it commits, how it leaves."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dekaf_proto.errors import CommitFailedError
from dekaf_proto.types import TopicPartition
from tests.integration.drivers import Consumer, Driver, open_consumer
from tests.integration.groups import QUICK, Group
from tests.integration.kafka import KafkaCluster, wait_until

Told = list[tuple[str, list[TopicPartition]]]


class Listener:
    """Notes what the consumer is told, in either driver."""

    def __init__(self) -> None:
        self.told: Told = []

    def on_assigned(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.told.append(("assigned", partitions))

    def on_revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.told.append(("revoked", partitions))

    def on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.told.append(("lost", partitions))


def options(group: str, **more: Any) -> dict[str, Any]:
    """Of a consumer of this process."""
    return {**QUICK, "group_id": group, **more}


def test_a_program_that_is_too_slow(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    with Group(kafka, topic, partitions=2) as group:
        group.produce(10)
        slow = options(topic, max_poll_interval_ms=1_500, enable_auto_commit=False)
        with open_consumer(driver, kafka.bootstrap, **slow) as consumer:
            listener = Listener()
            consumer.subscribe([topic], listener)
            (record,) = consumer.read(1)
            both = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
            assert listener.told == [("assigned", both)]
            other = group.join()
            # Held for so long, the record is somebody else's to handle (G21).
            group.settle([other])
            with pytest.raises(CommitFailedError, match=r"asked for no further record for 1\.5 s") as caught:
                consumer.commit(record)
            assert set(caught.value.partitions) == {record.topic_partition}
            assert time.time() - 60 < caught.value.since < time.time()
            assert listener.told == [("assigned", both)]
            wait_until("the other's commit", lambda: set(kafka.committed(topic).values()) == {(10, "")})
            # Asking for the next one is being back.
            group.wait("the consumer to be back", lambda: not consumer.poll(0.05) and len(other.owns()) == 1)
            assert [what for what, _ in listener.told[:3]] == ["assigned", "lost", "assigned"]
            assert listener.told[1] == ("lost", both)
            group.produce(1)
            (record,) = consumer.read(1)
            assert record.offset == 10
            consumer.commit()
            assert kafka.committed(topic)[record.topic_partition][0] == 11


class Saver(Listener):
    """Begins where it likes, and commits by itself."""

    def on_assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        super().on_assigned(consumer, partitions)
        for tp in partitions:
            if consumer.committed_of(tp) is None:
                consumer.seek(tp, 3)

    def on_revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        super().on_revoked(consumer, partitions)
        consumer.commit({tp: consumer.position(tp) or 0 for tp in partitions})


def test_a_listener_seeks_and_commits(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    # Sessions that no slow machine ends: then the other member would begin where nothing has been committed.
    with Group(kafka, topic, partitions=2, session_timeout_ms=60_000) as group:
        group.produce(10)
        patient = options(topic, enable_auto_commit=False, session_timeout_ms=60_000)
        with open_consumer(driver, kafka.bootstrap, **patient) as consumer:
            listener = Saver()
            consumer.subscribe([topic], listener)
            got = consumer.read(2)
            assert got[0].offset == 3
            other = group.join()

            def handed_over() -> bool:
                got.extend(consumer.poll(0.05))
                return len(other.owns()) == 1

            group.wait("the other member to have its half", handed_over)
            assert [what for what, _ in listener.told[:2]] == ["assigned", "revoked"]
            tenure = other.tenures()[0]
            # G25: what is committed while a partition is being revoked is where the next one begins.
            assert tenure.floor == 1 + max(each.offset for each in got if each.topic_partition == tenure.part)
        group.end([other])


def test_close_leaves_at_once(kafka: KafkaCluster, driver: Driver, topic: str) -> None:  # G31
    with Group(kafka, topic, partitions=4, session_timeout_ms=60_000) as group:
        group.produce(10)
        with open_consumer(driver, kafka.bootstrap, **options(topic, session_timeout_ms=60_000)) as consumer:
            listener = Listener()
            consumer.subscribe([topic], listener)
            got = len(consumer.read(5))
            other = group.join()

            def halved() -> bool:
                nonlocal got
                got += len(consumer.poll(0.05))
                return len(other.owns()) == 2

            group.wait("the other member to have its half", halved)
            mine = consumer.assignment
        assert listener.told[-1] == ("revoked", mine)
        began = time.monotonic()
        group.wait("the other member to have all", lambda: len(other.owns()) == 4)
        assert time.monotonic() - began < 30  # half of the session time-out, which a member that vanishes takes
        group.wait("the rest to be handled", lambda: got + other.handled >= 40)
        group.end([other])


def test_unsubscribe_leaves_at_once(kafka: KafkaCluster, driver: Driver, topic: str) -> None:  # trap 36
    with Group(kafka, topic, partitions=2, session_timeout_ms=60_000) as group:
        group.produce(10)
        ours = options(topic, session_timeout_ms=60_000, auto_commit_interval_ms=60_000)
        with open_consumer(driver, kafka.bootstrap, **ours) as consumer:
            listener = Listener()
            consumer.subscribe([topic], listener)
            got = consumer.read(5)  # the last one is in hand, and is not finished
            consumer.unsubscribe()
            assert [what for what, _ in listener.told] == ["assigned", "revoked"]
            assert consumer.assignment == []
            assert sum(offset for offset, _ in kafka.committed(topic).values()) == 4
            assert kafka.describe_group(topic)["state"] == "Empty"
            other = group.join()
            group.wait("the rest to be handled", lambda: other.handled == 16)
            group.end([other])
            # It can come back; the other's commits are where it goes on.
            consumer.subscribe([topic], listener)
            group.produce(1)
            assert [record.offset for record in consumer.read(2)] == [10, 10]
        assert len(got) == 5


@pytest.mark.parametrize("automatic", [True, False])
def test_a_commit_at_close_though_the_body_raised(
    kafka: KafkaCluster, driver: Driver, topic: str, automatic: bool
) -> None:
    """What is finished is committed, and not the record that failed (lesson 2)."""
    with Group(kafka, topic, partitions=1) as group:
        group.produce(10)
        ours = options(topic, enable_auto_commit=automatic, auto_commit_interval_ms=60_000)
        listener = Listener()

        def run() -> None:
            with open_consumer(driver, kafka.bootstrap, **ours) as consumer:
                consumer.subscribe([topic], listener)
                for record in consumer:
                    _ = 1 // (5 - record.offset)

        with pytest.raises(ZeroDivisionError):
            run()
        assert kafka.committed(topic) == ({(topic, 0): (5, "")} if automatic else {})
        assert kafka.describe_group(topic)["state"] == "Empty"
        assert [what for what, _ in listener.told] == ["assigned", "revoked"]


def test_at_most_once_and_closed_in_good_order(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    """What was committed and not given is taken back: each record is given once."""
    with Group(kafka, topic, partitions=1) as group:
        group.produce(10)
        ours = options(topic, delivery="at_most_once", max_poll_records=4)
        for expected in (range(5), range(5, 10)):
            with open_consumer(driver, kafka.bootstrap, **ours) as consumer:
                consumer.subscribe([topic])
                assert [record.offset for record in consumer.read(5)] == [*expected]
            assert kafka.committed(topic) == {(topic, 0): (expected.stop, "")}


def test_reading_to_the_end(kafka: KafkaCluster, driver: Driver, topic: str) -> None:
    with Group(kafka, topic, partitions=3) as group:
        group.produce(20)
        for expected in (range(20), range(20, 30)):
            with open_consumer(driver, kafka.bootstrap, **options(topic)) as consumer:
                consumer.subscribe([topic])
                got = consumer.read_to_end()
                for partition in range(3):
                    assert [each.offset for each in got if each.partition == partition] == [*expected]
            assert set(kafka.committed(topic).values()) == {(expected.stop, "")}
            group.produce(10)


def test_who_it_is_in_the_group(kafka: KafkaCluster, driver: Driver, topic: str) -> None:  # G28
    with Group(kafka, topic, partitions=1) as group:
        group.produce(1)
        with open_consumer(driver, kafka.bootstrap, **options(topic, group_instance_id="me")) as consumer:
            assert consumer.group_metadata() == (topic, -1, "", "me")
            consumer.subscribe([topic])
            consumer.read(1)
            (member,) = kafka.describe_group(topic)["members"]
            assert member == {"id": consumer.group_metadata()[2], "instance": "me", "partitions": [[topic, 0]]}
            assert consumer.group_metadata() == (topic, 1, member["id"], "me")
