"""setup.py: what is compiled when. That the wheels work is tested by installing them (.ci/run)."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "setup.py").exists() or not (CHECKOUT / "dekaf_proto").is_dir(), reason="only in a checkout"
)


def modules_to_compile(patch: pytest.MonkeyPatch, command: str, mypycify: Callable[..., list[object]]) -> object:
    """What setup.py gives setuptools as extensions."""
    setuptools = pytest.importorskip("setuptools", reason="comes with the extra `dev`")
    given: dict[str, object] = {}
    build = ModuleType("mypyc.build")
    build.mypycify = mypycify  # type: ignore[attr-defined]  # a module of our own
    patch.setitem(sys.modules, "mypyc.build", build)
    patch.setitem(sys.modules, "mypyc", ModuleType("mypyc"))
    patch.setattr(setuptools, "setup", given.update)
    patch.setattr(sys, "argv", ["setup.py", command])
    patch.delenv("DEKAF_PURE", raising=False)
    patch.chdir(CHECKOUT)
    runpy.run_path("setup.py")
    return given["ext_modules"]


def compiled(paths: list[str], **options: object) -> list[object]:
    return [*paths]


@pytest.mark.parametrize("command", ["bdist_wheel", "build_ext"])
def test_a_wheel_is_compiled(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    modules = modules_to_compile(monkeypatch, command, compiled)
    assert isinstance(modules, list)
    assert "dekaf_proto/records/iterator.py" in modules


@pytest.mark.parametrize("command", ["sdist", "egg_info", "editable_wheel"])
def test_nothing_else_is(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    assert modules_to_compile(monkeypatch, command, compiled) == []


@pytest.mark.parametrize("error", [SystemExit(1), RuntimeError("a bug")])
def test_where_mypyc_fails_the_wheel_is_pure_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    """The version of mypy is whichever is the newest on the day: it may find types wrong that were right."""

    def failing(paths: list[str], **options: object) -> list[object]:
        raise error

    assert modules_to_compile(monkeypatch, "bdist_wheel", failing) == []
    assert f"NOT COMPILED, a pure Python build ({type(error).__name__}: {error})" in capsys.readouterr().err
