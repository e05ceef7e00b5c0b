"""docs/offsets.md, "What happens in a crash", cell by cell.

A crash is what the broker knows at that moment: whoever comes next goes on from the committed offset, and nothing that
the consumer does afterwards counts. So `next_owner` is asked in the middle of the program, and the program goes on.
"""

from __future__ import annotations

import pytest

from dekaf_proto.messages import ApiKey
from tests.drivers_contract.scene import T0, Scene, values, wait_for
from tests.integration.drivers import Consumer, open_consumer


def next_owner(scene: Scene) -> list[str]:
    """What the next owner is given if the program dies now."""
    begin = scene.stored() or 0
    with open_consumer("sync", scene.bootstrap) as other:
        other.assign({T0: begin})
        return values(other.read_to_end())


def test_automatic(scene: Scene) -> None:
    scene.append("a", "b", "c", "d")
    with scene.consumer("t", auto_commit_interval_ms=50) as consumer:
        assert values(consumer.read(1)) == ["a"]
        some_rounds(scene)
        assert next_owner(scene)[0] == "a"  # in the work, and after it
        loop = iter(consumer)
        assert next(loop).value == b"b"
        assert next_owner(scene)[0] in "ab"  # a is finished: when it is committed is the timer's affair
        wait_for(lambda: scene.stored() == 1)
        assert next_owner(scene) == ["b", "c", "d"]
        del loop


def test_automatic_before_the_timer(scene: Scene) -> None:
    scene.append("a", "b", "c", "d")
    with scene.consumer("t", auto_commit_interval_ms=3_600_000) as consumer:
        consumer.read(3)
        assert next_owner(scene) == ["a", "b", "c", "d"]
    assert next_owner(scene) == ["c", "d"]  # it ended in order, with c in hand


def test_manual(scene: Scene) -> None:
    scene.append("a", "b", "c", "d")
    with scene.consumer("t", enable_auto_commit=False) as consumer:
        msg = consumer.read(1)[0]
        assert next_owner(scene) == ["a", "b", "c", "d"]
        consumer.commit(msg)
        assert next_owner(scene) == ["b", "c", "d"]
        consumer.read(1)
        assert next_owner(scene) == ["b", "c", "d"]
    assert next_owner(scene) == ["b", "c", "d"]  # and at the end nothing is committed by itself


def test_explicit(scene: Scene) -> None:
    scene.append("a", "b", "c", "d")
    with scene.consumer("t", acknowledgement_mode="explicit", auto_commit_interval_ms=20) as consumer:
        a, b, c = consumer.read(3)
        consumer._call("acknowledge", b)
        some_rounds(scene)
        assert next_owner(scene) == ["a", "b", "c", "d"]
        consumer._call("acknowledge", a)
        wait_for(lambda: scene.stored() == 2)
        assert next_owner(scene) == ["c", "d"]
        consumer._call("acknowledge", c)
    assert next_owner(scene) == ["d"]


@pytest.mark.parametrize("chunk", [1, 3])
def test_at_most_once(scene: Scene, chunk: int) -> None:
    scene.append("a", "b", "c", "d")
    with scene.consumer("t", delivery="at_most_once", max_poll_records=chunk) as consumer:
        assert values(consumer.read(1)) == ["a"]
        assert next_owner(scene) == ["a", "b", "c", "d"][chunk:]  # before, in and after the work: at most `chunk` lost
        assert values(consumer.read(1)) == ["b"]
        assert next_owner(scene) == ["a", "b", "c", "d"][max(2, chunk) :]
    assert next_owner(scene) == [
        "c",
        "d",
    ]  # closing takes back what was not given; b was in hand, and is not given again


def test_in_a_commit_that_the_broker_has_received(scene: Scene) -> None:
    scene.append("a", "b")
    scene.fault(api=ApiKey.OFFSET_COMMIT, drop="after")
    with scene.consumer("t", enable_auto_commit=False) as consumer:
        consumer.commit(consumer.read(1)[0])
    assert next_owner(scene) == ["b"]


@pytest.mark.parametrize("mode", ["automatic", "manual", "explicit", "at_most_once"])
def test_an_error_ends_the_block(scene: Scene, mode: str) -> None:
    options: dict[str, dict[str, object]] = {
        "automatic": {},
        "manual": {"enable_auto_commit": False},
        "explicit": {"acknowledgement_mode": "explicit", "revocation_drain_ms": 50},
        "at_most_once": {"delivery": "at_most_once"},
    }
    scene.append("a", "b", "c", "d")

    def program(consumer: Consumer) -> None:
        for msg in consumer:
            if msg.value == b"c":
                raise ZeroDivisionError
            if mode == "manual":
                consumer.commit(msg)
            if mode == "explicit":
                consumer._call("acknowledge", msg)

    with pytest.raises(ZeroDivisionError), scene.consumer("t", **options[mode]) as consumer:
        program(consumer)
    assert next_owner(scene) == (["d"] if mode == "at_most_once" else ["c", "d"])
    assert scene.members() == 0


def some_rounds(scene: Scene) -> None:
    """Lets a few of the timer's rounds pass, as the broker sees them."""
    before = len(scene.call(lambda broker, _: list(broker.requests)))
    wait_for(lambda: len(scene.call(lambda broker, _: list(broker.requests))) > before + 6)
