"""docs/offsets.md, "Rebalances": what a listener is told, and what it may do."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from dekaf_proto import errors
from dekaf_proto.errors import ErrorCode
from dekaf_proto.messages import ApiKey
from dekaf_proto.types import TopicPartition
from tests.drivers_contract.needs import needs
from tests.drivers_contract.scene import ALL, T0, T1, T2, Notes, Scene, settle, values, wait_for

EVERY = [0, 1, 2]


@needs("listeners")
def test_the_order(scene: Scene) -> None:
    """Gives back, gets anew; what is finished is committed after on_revoked, and the record in hand is not finished."""
    for partition in EVERY:
        scene.append(*"abcd", partition=partition)
    stored: list[list[int | None]] = []
    one = Notes(revoked=lambda *_: stored.append([scene.stored(tp) for tp in ALL]))
    two = Notes()
    with scene.consumer("t", listener=one, auto_commit_interval_ms=3_600_000) as first:
        first.read(4)
        with scene.consumer("t", listener=two) as second:
            settle(first, second, until=lambda: len(one.told) == 3 and two.told)
            assert one.told[:2] == [("assigned", EVERY), ("revoked", EVERY)]
            assert stored[0] == [None, None, None]
            # Two members share three partitions by range.
            assert sorted(one.told[2][1] + two.told[0][1]) == EVERY
        assert two.told[-1][0] == "revoked"
        settle(first, until=lambda: one.told[-1] == ("assigned", EVERY))
    assert one.told[-1] == ("revoked", EVERY)


@needs("listeners")
def test_a_rebalance_waits_for_the_record_in_hand(scene: Scene) -> None:
    for partition in EVERY:
        scene.append(*"abcdef", partition=partition)
    told = Notes()
    with scene.consumer("t", listener=told, auto_commit_interval_ms=3_600_000) as first:
        loop = first.records()
        began = next(loop).topic_partition
        with scene.consumer() as second:
            scene.subscribe(second, "t")
            second.poll(0.05)
            wait_for(lambda: scene.call(lambda broker, _: len(broker.group("g").members)) == 2)
            second.poll(0.3)
            assert told.told == [("assigned", EVERY)]
            next(loop)
            assert told.told[:2] == [("assigned", EVERY), ("revoked", EVERY)]
            assert scene.stored(began) == 1
        del loop


@needs("listeners")
def test_in_cooperative_groups_only_what_moves_is_revoked(scene: Scene) -> None:
    one, two = Notes(), Notes()
    options = {"partition_assignment_strategy": "cooperative-sticky"}
    with scene.consumer("t", listener=one, **options) as first:
        settle(first, until=lambda: one.told)
        with scene.consumer("t", listener=two, **options) as second:
            # It owns the partition a moment before its listener is told.
            settle(first, second, until=lambda: any(partitions for _, partitions in two.told))
            (gone,) = [partitions for name, partitions in one.told if name == "revoked"]
            assert len(gone) == 1
            assert ("assigned", gone) in two.told
            assert {name for name, partitions in one.told[2:] if partitions} <= {"revoked"}


def expire(scene: Scene) -> None:
    """Has the broker forget the group's member."""
    member = scene.call(lambda broker, _: broker.group("g").members[0].member_id)
    scene.call(lambda broker, now: broker.expire_member("g", member, now))


@needs("listeners")
def test_lost(scene: Scene) -> None:
    caught: list[Exception] = []

    def lost(consumer: Any, partitions: list[TopicPartition]) -> None:
        try:
            consumer.commit({T0: 1})
        except errors.KafkaError as error:
            caught.append(error)

    told = Notes(lost=lost)
    scene.append("a", "b")
    with scene.consumer("t", listener=told) as consumer:
        consumer.read(1)
        expire(scene)
        settle(consumer, until=lambda: len(told.told) == 3)
    assert told.told[:3] == [("assigned", EVERY), ("lost", EVERY), ("assigned", EVERY)]
    assert isinstance(caught[0], errors.CommitFailedError)
    assert "UNKNOWN_MEMBER_ID" in caught[0].cause


@needs("listeners")
def test_without_on_lost_it_is_on_revoked(scene: Scene) -> None:
    told: list[str] = []

    class Two:
        def on_assigned(self, consumer: Any, partitions: list[TopicPartition]) -> None:
            told.append("assigned")

        def on_revoked(self, consumer: Any, partitions: list[TopicPartition]) -> None:
            told.append("revoked")

    with scene.consumer("t", listener=Two()) as consumer:
        settle(consumer, until=lambda: told)
        expire(scene)
        settle(consumer, until=lambda: len(told) == 3)
        assert told == ["assigned", "revoked", "assigned"]


@needs("listeners")
@pytest.mark.parametrize("name", ["assigned", "revoked", "lost"])
def test_what_it_raises_comes_out_once(scene: Scene, name: str) -> None:
    scene.append("a", "b")
    failing = [name]

    def fail(*_: object) -> None:
        if failing:
            failing.clear()
            raise ZeroDivisionError

    told = Notes(**{name: fail})
    with scene.consumer("t", listener=told) as consumer:
        if name != "assigned":
            settle(consumer, until=lambda: told.told)
        if name == "lost":
            expire(scene)
        elif name == "revoked":
            other = scene.consumer("t")
            second = other.__enter__()
            second.poll(0.05)
        with pytest.raises(ZeroDivisionError):
            settle(consumer, until=lambda: False)
        if name == "revoked":
            other.__exit__(None, None, None)
        settle(consumer, until=lambda: sorted(consumer.assignment) == ALL)
        scene.append("c")
        assert b"c" in [m.value for m in consumer.read_to_end()]


@needs("listeners")
def test_inside_of_on_assigned(scene: Scene) -> None:
    scene.append(*"abcdef")
    scene.append(*"xyz", partition=1)
    with scene.consumer() as earlier:
        earlier.assign(ALL)
        earlier.commit({T0: 1, T1: 1})
    seen: list[Any] = []

    def assigned(consumer: Any, partitions: list[TopicPartition]) -> None:
        seen.append(sorted(consumer.assignment) == sorted(partitions))
        seen.append(consumer.committed(T0).offset)
        seen.append(consumer.position(T1))
        consumer.seek(T0, 4)
        seen.append(consumer.position(T0))
        consumer.seek_to_end([T1])
        consumer.pause([T2])
        seen.append(consumer.paused)
        seen.append(consumer.end_offsets([T0]))
        seen.append(consumer.metrics().assigned_partitions)
        seen.append(consumer.subscription)
        consumer.commit({T2: 0})

    with scene.consumer("t", listener=Notes(assigned=assigned)) as consumer:
        assert values(consumer.read(2)) == ["e", "f"]
        assert seen[:2] == [True, 1]
        assert seen[2] in (None, 1)
        assert seen[3:] == [4, [T2], {T0: 6}, 3, ["t"]]
        assert scene.stored(T2) == 0
        assert consumer.lag(T1) == 0


@needs("listeners")
def test_inside_of_on_revoked(scene: Scene) -> None:
    scene.append(*"abcdef")
    seen: list[Any] = []

    def revoked(consumer: Any, partitions: list[TopicPartition]) -> None:
        seen.append(consumer.position(T0))
        consumer.commit()
        seen.append(scene.stored())
        seen.append(consumer.committed(T0).offset)
        consumer.seek(T0, 0)

    with scene.consumer("t", listener=Notes(revoked=revoked), enable_auto_commit=False) as consumer:
        consumer.read(3)
    assert seen == [3, 3, 3]
    assert scene.stored() == 3


@needs("listeners")
def test_listeners_may_not_read(scene: Scene) -> None:
    caught: list[BaseException] = []

    def assigned(consumer: Any, partitions: list[TopicPartition]) -> None:
        for name in ("poll", "unsubscribe"):
            try:
                getattr(consumer, name)()
            except Exception as error:
                caught.append(error)

    told = Notes(assigned=assigned)
    with scene.consumer("t", listener=told) as consumer:
        settle(consumer, until=lambda: told.told)
        assert [type(error) for error in caught] == [errors.LocalProtocolError] * 2
        assert all("listener can't" in str(error) for error in caught)


@needs("listeners")
def test_closing_and_subscribing_in_a_listener(scene: Scene) -> None:
    scene.call(lambda broker, _: broker.create_topic("u"))
    scene.append("a", topic="u")
    told = Notes(assigned=lambda consumer, _: None if "u" in consumer.subscription else consumer.subscribe("u"))
    with scene.consumer("t", listener=told) as consumer:
        assert values(consumer.read(1)) == ["a"]
    told = Notes(assigned=lambda consumer, _: consumer.close())
    with scene.consumer("t", listener=told) as consumer:
        assert list(consumer) == []
        assert scene.members() == 0
    with scene.consumer("t", listener=told) as consumer:
        assert list(consumer.batches()) == []


@needs("listeners")
def test_a_slow_program_leaves_and_comes_back(scene: Scene) -> None:
    scene.append(*"abc")
    told = Notes()
    with scene.consumer("t", listener=told, max_poll_interval_ms=150, enable_auto_commit=False) as consumer:
        (a,) = consumer.read(1)
        wait_for(lambda: scene.members() == 0)
        with pytest.raises(errors.CommitFailedError) as failed:
            consumer.commit(a)
        assert "max_poll_interval_ms" in failed.value.cause
        assert abs(failed.value.since - time.time()) < PATIENT
        assert isinstance(failed.value, errors.RebalanceError)
        assert values(consumer.read(1)) == ["a"]  # from the last commit: there is none
        assert told.told == [("assigned", EVERY), ("lost", EVERY), ("assigned", EVERY)]
    assert told.told[3:] == [("revoked", EVERY)]


PATIENT = 30


@needs("listeners")
def test_unsubscribing_and_subscribing_again(scene: Scene) -> None:
    scene.append(*"abc")
    told = Notes()
    with scene.consumer("t", listener=told) as consumer:
        consumer.read(2)
        consumer._call("unsubscribe")
        assert (consumer.assignment, consumer._look("subscription"), scene.members(), scene.stored()) == ([], [], 0, 1)
        scene.subscribe(consumer, "t", told)
        assert values(consumer.read(2)) == ["b", "c"]
        # Another listener takes its place.
        other = Notes()
        scene.subscribe(consumer, "t", other)
    assert [name for name, _ in told.told] == ["assigned", "revoked", "assigned"]
    assert [name for name, _ in other.told] == ["revoked"]


def test_a_pattern(scene: Scene) -> None:
    for name in ("orders.eu", "orders.us", "other", "__internal"):
        scene.call(lambda broker, _, name=name: broker.create_topic(name))  # type: ignore[misc]
    with scene.consumer(metadata_max_age_ms=100) as consumer:
        scene.subscribe(consumer, re.compile(r"orders\..*"))
        settle(consumer, until=lambda: len(consumer.assignment) == 2)
        assert sorted(consumer._look("subscription")) == ["orders.eu", "orders.us"]
        scene.call(lambda broker, _: broker.create_topic("orders.asia"))
        settle(consumer, until=lambda: len(consumer.assignment) == 3)


@needs("listeners")
def test_two_with_one_instance_id(scene: Scene) -> None:
    told = Notes()
    with scene.consumer("t", listener=told, group_instance_id="one") as first:
        settle(first, until=lambda: told.told)
        with scene.consumer("t", group_instance_id="one") as second:
            settle(second, until=lambda: second.assignment)
            with pytest.raises(errors.FencedInstanceIdError) as fenced:
                settle(first, until=lambda: False)
            assert not isinstance(fenced.value, errors.RebalanceError)
            settle(second, until=lambda: len(second.assignment) == 3)


def test_a_static_member_comes_back_without_a_rebalance(scene: Scene) -> None:
    for _ in range(2):
        with scene.consumer("t", group_instance_id="one") as consumer:
            settle(consumer, until=lambda: consumer.assignment)
            generation = consumer._call("group_metadata").generation_id
    assert generation == 1


def test_refused_access(scene: Scene) -> None:
    scene.append("a")
    scene.fault(api=ApiKey.JOIN_GROUP, error=ErrorCode.GROUP_AUTHORIZATION_FAILED, times=None)
    with scene.consumer("t") as consumer, pytest.raises(errors.KafkaError, match="GROUP_AUTHORIZATION_FAILED"):
        consumer.read(1)
