"""Each fault still fits the client, and a hunt finds one that is there, and none where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

import dekaf_proto
from tests.simulation.planted.__main__ import CLIENT, hunt
from tests.simulation.planted.faults import FAULTS, Fault

BY_NAME = {fault.name: fault for fault in FAULTS}


def test_there_are_ten() -> None:
    assert len(BY_NAME) == len(FAULTS) >= 10


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_it_fits_the_client(fault: Fault) -> None:
    planted = fault.plant(CLIENT.parent)
    compile(planted, fault.path, "exec")
    assert planted != (CLIENT.parent / fault.path).read_text(encoding="utf-8")


@pytest.mark.parametrize("source", ["something else", "x = 1\nx = 1\n"], ids=["gone", "twice"])
def test_one_that_does_not_fit_any_more_is_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "module.py").write_text(source)
    with pytest.raises(LookupError, match="'wrong' does not fit"):
        Fault("wrong", "nothing", "module.py", "\nx = 1\n", "\nx = 2\n").plant(tmp_path)


@pytest.mark.skipif(dekaf_proto.COMPILED, reason="a fault is planted in the source")
def test_a_hunt() -> None:
    found = hunt(BY_NAME["no goodbye"], 10)
    assert found.found
    assert "no goodbye: members still are" in found.text
    broken = hunt(Fault("broken", "all", "dekaf_proto/types.py", "\nclass Uuid", "\nclass Uuid?"), 10)
    assert not broken.found
    assert broken.text.startswith("NOT FOUND by 10 seeds")
    assert "SyntaxError" in broken.text
