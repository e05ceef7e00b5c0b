"""The fuzz targets hold for what they start from, and their runner finds what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

# Only a checkout has it: where the tests run against an installed dekaf they may stand alone.
fuzz = pytest.importorskip("fuzz", reason="fuzz/ is not beside the tests")

from dekaf_proto.errors import DecodeError  # noqa: E402
from dekaf_proto.group.payloads import decode_assignment, decode_subscription  # noqa: E402
from dekaf_proto.records import Codec  # noqa: E402
from fuzz import __main__ as runner, frames, messages, mutations, payloads, records  # noqa: E402  # see above
from tests.strategies import class_versions  # noqa: E402


@pytest.mark.parametrize("target", runner.TARGETS)
def test_a_few_inputs(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["--runner", "mutations", "--target", target, "--inputs", "500"]) == 0
    assert capsys.readouterr().out.startswith(f"{target}: 500 inputs passed (mutations, seed 1, ")


def test_every_message_is_a_choice() -> None:
    assert set(messages.CHOICES) == set(class_versions())
    assert {int.from_bytes(seed[:2], "big") for seed in messages.seeds()} == set(range(len(messages.CHOICES)))


def test_seeds_get_past_the_checksum() -> None:
    seen = [
        records.read(records.with_right_crcs(seed[1:]), True) for seed in records.seeds() if not seed[0] & records.WRAP
    ]
    assert sum(len(result) > 2 for result in seen) > len(seen) / 3


def test_some_seeds_of_what_members_say_can_be_read() -> None:
    found = {0: 0, payloads.ASSIGNMENT: 0}
    for seed in payloads.seeds():
        try:
            read = decode_assignment(seed[1:]) if seed[0] else decode_subscription(seed[1:]).topics
        except DecodeError:
            continue
        found[seed[0]] += len(read) > 0
    assert found[0] > 10
    assert found[payloads.ASSIGNMENT] > 0


def test_what_is_wrapped_is_a_batch() -> None:
    for seed in records.seeds():
        if seed[0] & records.WRAP:
            codec = Codec((seed[0] >> records.CODEC_SHIFT) % 5)
            assert len(records.read(records.wrapped(seed[1:], codec), True)) >= 2


def test_the_same_seed_gives_the_same_inputs() -> None:
    def inputs(seed: int) -> list[bytes]:
        found: list[bytes] = []
        mutations.run(found.append, [b"abcdef", b"0123456789"], 50, seed)
        return found

    assert inputs(1) == inputs(1) != inputs(2)


def test_a_finding_is_kept_and_can_be_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fuzz_one(data: bytes) -> None:
        assert len(data) % 7

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(frames, "fuzz_one", fuzz_one)
    assert runner.main(["--runner", "mutations", "--target", "frames"]) == 1
    (found,) = tmp_path.iterdir()
    assert len(found.read_bytes()) % 7 == 0
    assert f"which is in {found.name}" in capsys.readouterr().out
    with pytest.raises(AssertionError):
        runner.main(["--target", "frames", "--replay", str(found)])
    monkeypatch.undo()
    assert runner.main(["--target", "frames", "--replay", str(found)]) == 0
