"""How metadata is kept fresh, whatever the brokers answer, and how a consumer begins again: in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from dekaf_proto.broker.versions import RELEASES
from dekaf_proto.errors import (
    ErrorCode,
    InvalidTopicError,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationError,
    UnknownTopicError,
    UnsupportedVersionError,
)
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.metadata import MetadataRequest, MetadataResponse
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup

TP = TopicPartition("t", 0)


def asked(setup: Setup) -> list[tuple[float, list[str]]]:
    """When metadata was asked for, and for which topics."""
    return [
        (received.now, [topic.name for topic in received.request.topics])  # type: ignore[attr-defined]
        for received in setup.received(MetadataRequest)
    ]


def pauses(setup: Setup) -> list[float]:
    times = [now for now, _ in asked(setup)]
    return [later - earlier for earlier, later in pairwise(times)]


# -------------------------------------------------------------------------------------------------------- what is asked


def test_metadata_is_asked_for_once_and_when_it_has_aged() -> None:  # M9
    setup = Setup({"t": 1}, metadata_max_age_ms=10_000)
    setup.assign()
    setup.until_fetching()
    assert len(asked(setup)) == 1
    assert asked(setup)[0][1] == ["t"]
    setup.run_for(30.0)
    assert len(asked(setup)) == 4
    assert pauses(setup) == pytest.approx([10.0] * 3, abs=0.02)


def test_a_consumer_without_partitions_asks_for_the_brokers_only() -> None:  # M1
    setup = Setup({"t": 1}, metadata_max_age_ms=10_000)
    setup.assign([])
    setup.run_for(25.0)
    assert [topics for _, topics in asked(setup)] == [[], [], []]


def test_a_new_topic_is_asked_about_at_once() -> None:
    setup = Setup({"a": 1, "b": 1, "c": 1})
    for number, topic in enumerate("abc"):
        setup.consumer.incremental_assign([TopicPartition(topic, 0)], setup.now)
        setup.run_for(0.02)
        assert len(asked(setup)) == number + 1
    assert asked(setup)[-1][1] == ["a", "b", "c"]


def test_a_topic_that_was_only_asked_about_is_kept_fresh_for_a_while() -> None:
    setup = Setup({"t": 1, "other": 1}, metadata_max_age_ms=10_000)
    setup.assign([TP])
    setup.run_for(0.01)
    began = setup.now
    setup.result(setup.consumer.end_offsets(TopicPartition("other", 0), setup.now))
    assert setup.now - began < 0.02  # at once, though the last answer is not old
    setup.run_for(5.0)
    setup.result(setup.consumer.end_offsets(TopicPartition("other", 0), setup.now))
    setup.run_for(30.0)
    assert [topics for _, topics in asked(setup)] == [["t"], ["t", "other"], ["t", "other"], ["t"], ["t"]]


@pytest.mark.parametrize("allowed", [True, False])
def test_whether_topics_may_be_created(allowed: bool) -> None:  # M2
    setup = Setup({}, auto_create_partitions=2, allow_auto_create_topics=allowed)
    setup.assign([TP])
    setup.run_for(3.0)
    assert setup.broker.topics == (["t"] if allowed else [])
    with pytest.raises(UnknownTopicError):
        setup.result(setup.consumer.partitions_for("u", setup.now))
    assert "u" not in setup.broker.topics


# ---------------------------------------------------------------------------------- answers that lack something: M5, M9


def test_a_topic_that_does_not_exist_is_asked_for_less_and_less() -> None:
    setup = Setup({})
    setup.assign([TP])
    setup.run_for(20.0)
    found = pauses(setup)
    assert 0.08 <= found[0] <= 0.13
    assert 0.16 <= found[1] <= 0.25
    assert all(0.8 <= pause <= 1.01 for pause in found[4:])
    setup.broker.create_topic("t")
    setup.append("a")
    assert setup.values(1) == ["a"]


def missing_partition(setup: Setup) -> None:
    setup.assign({TopicPartition("t", 7): 0})  # with an offset it is to be fetched at once


def no_leader(setup: Setup) -> None:
    setup.assign({TP: 0})
    setup.until_fetching()
    setup.broker.move_leader("t", 0, None)


def no_leader_at_first(setup: Setup) -> None:
    setup.broker.move_leader("t", 0, None)
    setup.assign([TP])


@pytest.mark.parametrize("trouble", [missing_partition, no_leader, no_leader_at_first])
def test_what_stays_stale_is_asked_for_less_and_less(trouble: Callable[[Setup], None]) -> None:
    setup = Setup({"t": 1}, nodes=2)
    trouble(setup)
    setup.run_for(1.0)
    before = len(asked(setup))
    setup.run_for(30.0)
    assert 15 <= len(asked(setup)) - before <= 40
    # and yet nothing is lost
    if trouble is missing_partition:
        setup.broker.create_partitions("t", 7)
    else:
        setup.broker.move_leader("t", 0, 1)
    tp = setup.consumer.assignment[0]
    setup.append("a", partition=tp.partition)
    assert setup.values(1) == ["a"]


def test_a_new_topic_does_not_wait_for_one_that_is_missing() -> None:
    setup = Setup({"t": 1})
    setup.assign([TopicPartition("missing", 0)])
    setup.run_for(20.0)
    before = len(asked(setup))
    setup.consumer.incremental_assign([TP], setup.now)
    setup.run_for(0.01)
    assert len(asked(setup)) == before + 1


def test_a_time_out_says_what_is_missing() -> None:  # lesson 39
    setup = Setup({"t": 1}, nodes=2)
    consumer, now = setup.consumer, setup.now
    missing = [TopicPartition("gone", 0), TopicPartition("t", 9)]
    operations = [consumer.end_offsets(tp, now, 5.0) for tp in missing]
    for operation, text in zip(
        operations,
        [
            r"end_offsets did not finish in 5 s: UNKNOWN_TOPIC_OR_PARTITION \(3\): topic gone",
            r"UNKNOWN_TOPIC_OR_PARTITION \(3\): t-9",
        ],
        strict=True,
    ):
        with pytest.raises(KafkaTimeoutError, match=text):
            setup.result(operation)
    setup.broker.create_topic("u")
    setup.broker.move_leader("u", 0, None)
    with pytest.raises(KafkaTimeoutError, match=r"LEADER_NOT_AVAILABLE \(5\): u-0"):
        setup.result(consumer.end_offsets(TopicPartition("u", 0), setup.now, 5.0))


@pytest.mark.parametrize(
    "code, error",
    [
        (ErrorCode.TOPIC_AUTHORIZATION_FAILED, TopicAuthorizationError),
        (ErrorCode.INVALID_TOPIC_EXCEPTION, InvalidTopicError),
    ],
)
def test_a_topic_that_is_out_of_reach_is_told(code: ErrorCode, error: type[KafkaError]) -> None:  # M6
    setup = Setup({"t": 1, "u": 1})
    fault = setup.broker.faults.add(api=ApiKey.METADATA, topic="t", error=code, times=None)
    setup.append("a", topic="u")
    setup.assign()
    found = setup.failure()
    assert isinstance(found, error)
    assert "topic t" in str(found) or "t" in str(found)
    assert setup.values(1) == ["a"]  # the others go on
    with pytest.raises(error):
        setup.result(setup.consumer.end_offsets(TP, setup.now))
    setup.broker.faults.remove(fault)


# --------------------------------------------------------------------------------------------- answers that are no good


def every_answer(setup: Setup, change: Callable[[MetadataResponse], MetadataResponse]) -> None:
    setup.broker.faults.add(api=ApiKey.METADATA, times=None, alter=lambda request, response: change(response))


def without_brokers(response: MetadataResponse) -> MetadataResponse:
    response.brokers = []
    return response


def with_error(response: MetadataResponse) -> MetadataResponse:
    response.error_code = ErrorCode.UNKNOWN_SERVER_ERROR
    return response


def rebootstrap_required(response: MetadataResponse) -> MetadataResponse:
    response.error_code = ErrorCode.REBOOTSTRAP_REQUIRED
    return response


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize(
    "change, text",
    [
        (without_brokers, "names no brokers"),  # M7
        (with_error, "in answer to Metadata"),
        (rebootstrap_required, "REBOOTSTRAP_REQUIRED"),  # M8
    ],
)
def test_answers_that_can_not_be_used(
    nodes: int, change: Callable[[MetadataResponse], MetadataResponse], text: str
) -> None:
    setup = Setup({"t": 1}, nodes=nodes)
    every_answer(setup, change)
    setup.assign([TP])
    operation = setup.consumer.end_offsets(TP, setup.now, 20.0)
    with pytest.raises(KafkaTimeoutError, match=text):
        setup.result(operation)
    assert all(0.8 <= pause <= 1.01 for pause in pauses(setup)[5:])
    setup.broker.faults.clear()
    setup.append("a")
    assert setup.values(1) == ["a"]


@pytest.mark.parametrize("change", [without_brokers, rebootstrap_required])
def test_answers_that_get_worse(change: Callable[[MetadataResponse], MetadataResponse]) -> None:
    """What is known stays, and is used."""
    setup = Setup({"t": 1}, nodes=3, metadata_max_age_ms=1_000)
    setup.assign([TP])
    setup.until_fetching()
    every_answer(setup, change)
    setup.run_for(5.0)
    setup.append("a")
    if change is without_brokers:
        assert setup.values(1) == ["a"]
    before = len(asked(setup))
    setup.run_for(20.0)
    assert len(asked(setup)) - before <= 30
    setup.broker.faults.clear()
    setup.append("b")
    assert setup.read_all()[-1].value == b"b"


def test_brokers_that_hang_up_are_asked_in_turn_and_then_after_a_pause() -> None:
    setup = Setup({"t": 1}, nodes=3, latency=0.03)
    fault = setup.broker.faults.add(api=ApiKey.METADATA, times=None, drop="before")
    setup.assign([TP])
    setup.run_for(60.0)
    assert 90 <= fault.hits <= 3 * 75  # each of three once a round, a round a second
    assert len({received.node for received in setup.received(MetadataRequest)}) == 3
    setup.broker.faults.clear()
    setup.append("a")
    assert setup.values(1) == ["a"]


def test_another_broker_is_asked_at_once() -> None:
    setup = Setup({"t": 1}, nodes=3)
    setup.broker.faults.add(api=ApiKey.METADATA, times=2, drop="before")
    setup.assign([TP])
    began = setup.now
    setup.until_fetching()
    assert setup.now - began < 0.04


# ---------------------------------------------------------------------------------------------------------- old brokers


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_since_2_1_will_do(release: str) -> None:  # W29
    setup = Setup({"t": 2}, nodes=2, release=release, group_id="g", enable_auto_commit=False)
    for partition in (0, 1):
        setup.append("a", "b", partition=partition)
    setup.assign()
    assert sorted(setup.values(4)) == ["a", "a", "b", "b"]
    setup.poll()
    setup.result(setup.consumer.commit(None, setup.now))
    assert {tp: found.offset for tp, found in setup.broker.committed("g").items()} == {TP: 2, TopicPartition("t", 1): 2}
    setup.restart(group_id="g")
    setup.append("c")
    setup.assign()
    assert setup.values(1) == ["c"]
    setup.broker.move_leader("t", 0, 1)
    setup.append("d")
    assert setup.values(1) == ["d"]
    assert setup.result(setup.consumer.end_offsets(TP, setup.now)) == {TP: 4}
    setup.close()


def test_a_broker_that_does_not_speak_our_metadata() -> None:
    setup = Setup({"t": 1}, api_versions={ApiKey.METADATA: None}, check=False)
    setup.assign([TP])
    error = setup.failure()
    assert isinstance(error, UnsupportedVersionError)
    assert str(error) == "MetadataRequest: we speak versions 0-13, the broker none"
    setup.run_for(60.0)
    assert setup.poll() is None  # it is said once
    with pytest.raises(KafkaTimeoutError, match="MetadataRequest: we speak versions 0-13, the broker none"):
        setup.result(setup.consumer.end_offsets(TP, setup.now, 5.0))
    with pytest.raises(UnsupportedVersionError):
        setup.result(setup.consumer.topics(setup.now))
    setup.close()


@pytest.mark.parametrize(
    "api, options, name",
    [
        (ApiKey.FETCH, {}, "FetchRequest"),
        (ApiKey.LIST_OFFSETS, {}, "ListOffsetsRequest"),
        (ApiKey.OFFSET_FETCH, {"group_id": "g"}, "OffsetFetchRequest"),
        (ApiKey.FIND_COORDINATOR, {"group_id": "g"}, "FindCoordinatorRequest"),
    ],
)
def test_a_broker_that_lacks_an_api(api: ApiKey, options: dict[str, Any], name: str) -> None:
    setup = Setup({"t": 1}, api_versions={api: None}, **options)
    setup.assign([TP])
    error = setup.failure()
    assert isinstance(error, UnsupportedVersionError)
    assert name in str(error)
