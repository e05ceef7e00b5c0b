"""Commits and stores between the assignment and the moment at which the position is known (lesson 7)."""

from __future__ import annotations

from typing import Any

import pytest

from dekaf_proto.messages import ApiKey
from dekaf_proto.types import TopicPartition
from tests.consumer.helpers import Setup

TP = TopicPartition("t", 0)


def assigned(committed: int | None, slow: ApiKey, **options: Any) -> Setup:
    """A consumer that is still looking for its position: the answer to one question takes a second."""
    setup = Setup(group_id="g", **{"auto_commit_interval_ms": 500, **options})
    setup.append("a", "b", "c", "d")
    if committed is not None:
        setup.broker.commit("g", {TP: committed})
    setup.broker.faults.add(api=slow, delay=1.0)
    setup.assign()
    setup.run_for(0.1)
    assert setup.consumer.position(TP) is None
    return setup


@pytest.mark.parametrize(
    "committed, slow", [(None, ApiKey.OFFSET_FETCH), (None, ApiKey.LIST_OFFSETS), (1, ApiKey.OFFSET_FETCH)]
)
def test_an_automatic_commit_does_not_go_behind_an_explicit_one(committed: int | None, slow: ApiKey) -> None:
    setup = assigned(committed, slow)
    setup.result(setup.consumer.commit({TP: 3}, setup.now))
    position = setup.values(1)
    assert position == (["a"] if committed is None else ["b"])  # what was asked before does not know of it
    setup.run_for(2.0)
    assert setup.broker.committed("g")[TP].offset == 3
    setup.values(3 - (committed or 0))
    setup.consumer.poll(setup.now)
    setup.close()
    assert setup.broker.committed("g")[TP].offset == 4


@pytest.mark.parametrize("slow", [ApiKey.OFFSET_FETCH, ApiKey.LIST_OFFSETS])
def test_one_that_is_answered_only_after_the_position_is_known(slow: ApiKey) -> None:
    setup = assigned(None, slow)
    setup.broker.faults.add(api=ApiKey.OFFSET_COMMIT, delay=3.0)
    operation = setup.consumer.commit({TP: 3}, setup.now)
    setup.values(1)
    setup.result(operation)
    setup.run_for(2.0)
    setup.close()
    assert setup.broker.committed("g")[TP].offset == 3


@pytest.mark.parametrize("slow", [ApiKey.OFFSET_FETCH, ApiKey.LIST_OFFSETS])
def test_what_was_stored_is_kept(slow: ApiKey) -> None:
    setup = assigned(None, slow, enable_auto_offset_store=False, auto_commit_interval_ms=60_000)
    setup.consumer.store_offsets({TP: 2}, setup.now)
    setup.values(1)
    setup.close()
    assert setup.broker.committed("g")[TP].offset == 2


def test_a_seek_has_the_last_word() -> None:
    """Over a commit that was made before it and is answered after it."""
    setup = assigned(None, ApiKey.OFFSET_FETCH)
    setup.broker.faults.add(api=ApiKey.OFFSET_COMMIT, delay=1.0)
    operation = setup.consumer.commit({TP: 3}, setup.now)
    setup.seek(1)
    setup.result(operation)
    setup.close()
    assert setup.broker.committed("g")[TP].offset == 1
