"""What a program may subscribe to."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dekaf_proto.consumer.subscription import topics_of
from dekaf_proto.errors import LocalProtocolError, NoGroupError
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup
from tests.group.helpers import Group

PATTERN = re.compile("a.*")


@pytest.mark.parametrize(
    "given, topics",
    [("a", ["a"]), (["b", "a", "b"], ["a", "b"]), (("a",), ["a"]), ({"a": 1}, ["a"]), (PATTERN, PATTERN)],
)
def test_what_may_be_given(given: Any, topics: Any) -> None:
    assert topics_of(given) == topics


@pytest.mark.parametrize(
    "given, error, text",
    [
        (re.compile(b"a"), TypeError, "a pattern of text, not of bytes"),
        (b"a", TypeError, "expected topics or a compiled pattern, not bytes b'a'"),
        (7, TypeError, "expected topics or a compiled pattern, not int 7"),
        (None, TypeError, "not NoneType None"),
        (["a", 7], TypeError, "expected the name of a topic, not int 7"),
        ([["a"]], TypeError, "; a list or a pattern is given to subscribe, by itself"),
        ([""], TypeError, "expected the name of a topic, not str ''"),
        ("", TypeError, "expected the name of a topic, not str ''"),
        ([], ValueError, "to end a subscription use unsubscribe"),
    ],
)
def test_what_may_not(given: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        topics_of(given)


def test_either_by_hand_or_by_the_group() -> None:
    group = Group({"t": 1})
    group.assign()
    with pytest.raises(LocalProtocolError, match="assigned by hand: unsubscribe first"):
        group.consumer.subscribe("t", group.now)
    group.consumer.assign([], group.now)
    one = group.join()
    tp = TopicPartition("t", 0)
    for refused in (one.consumer.assign, one.consumer.incremental_assign, one.consumer.incremental_unassign):
        with pytest.raises(LocalProtocolError, match="unsubscribe first"):
            refused([tp], group.now)
    group.settle()


def test_without_a_group() -> None:
    setup = Setup()
    with pytest.raises(NoGroupError):
        setup.consumer.subscribe("t", setup.now)
    with pytest.raises(NoGroupError):
        setup.consumer.group_metadata()
