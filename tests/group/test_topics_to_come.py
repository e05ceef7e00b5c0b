"""Subscribed topics that do not exist yet, or are out of reach."""

from __future__ import annotations

import pytest

from dekaf_proto.errors import ErrorCode, InvalidTopicError, TopicAuthorizationError
from dekaf_proto.events import Failed
from dekaf_proto.messages import ApiKey
from dekaf_proto.messages.metadata import MetadataRequest
from tests.consumer.helpers import T0, Setup

FIVE_MINUTES = 300.0


def test_a_topic_that_is_created_later_is_found_soon(caplog: pytest.LogCaptureFixture) -> None:
    setup = Setup({}, group_id="g")
    setup.consumer.subscribe(["t"], setup.now)
    setup.run_for(10)
    assert "there is no topic t (yet)" in caplog.text
    assert caplog.text.count("no topic t") == 1
    asked = len(setup.requests(MetadataRequest))
    assert 8 < asked < 25  # M9: less and less often
    setup.broker.create_topic("t", 1)
    setup.append("a")
    began = setup.now
    assert setup.values(1) == ["a"]
    assert setup.now - began < 3
    asked = len(setup.requests(MetadataRequest))
    setup.run_for(FIVE_MINUTES / 2)
    assert len(setup.requests(MetadataRequest)) <= asked + 2


def test_a_topic_that_the_question_has_created() -> None:  # its leader is not there yet
    setup = Setup({}, group_id="g", auto_create_partitions=1)
    setup.broker.faults.add(api=ApiKey.METADATA, error=ErrorCode.LEADER_NOT_AVAILABLE, times=2)
    began = setup.now
    setup.consumer.subscribe(["t"], setup.now)
    setup.run_until(lambda: "t" in setup.broker.topics)
    setup.append("a")
    assert setup.values(1) == ["a"]
    assert setup.now - began < 3


@pytest.mark.parametrize(
    "code, error",
    [
        (ErrorCode.INVALID_TOPIC_EXCEPTION, InvalidTopicError),
        (ErrorCode.TOPIC_AUTHORIZATION_FAILED, TopicAuthorizationError),
    ],
)
def test_a_topic_that_is_out_of_reach_is_said_once(code: ErrorCode, error: type[Exception]) -> None:  # M6
    setup = Setup({"t": 1, "u": 1}, group_id="g", metadata_max_age_ms=1_000)
    fault = setup.broker.faults.add(api=ApiKey.METADATA, topic="u", error=code, times=None)
    setup.append("a", "b")
    setup.consumer.subscribe(["t", "u"], setup.now)
    with pytest.raises(error, match="topic u"):
        setup.values(1)
    assert setup.values(2) == ["a", "b"]  # the others are read
    assert setup.consumer.assignment == [T0]
    setup.run_for(5)
    assert setup.poll() is None
    setup.broker.faults.remove(fault)
    setup.run_for(5)
    setup.poll()
    setup.run_for(1)
    setup.poll()
    assert len(setup.consumer.assignment) == 2
    setup.broker.faults.add(api=ApiKey.METADATA, topic="u", error=code, times=None)
    setup.run_for(2)
    failed = setup.poll()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, error)
