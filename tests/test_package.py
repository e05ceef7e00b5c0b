"""The packages' roots: what they export, and which build of the core is being tested."""

from __future__ import annotations

import ast
import importlib
import os
import re
from pathlib import Path
from typing import Any

import pytest

import dekaf_proto
import dekaf_sync
import dekaf_trio

ROOTS = [dekaf_proto, dekaf_sync, dekaf_trio]


@pytest.mark.parametrize("root", ROOTS)
def test_every_public_name_is_there_and_there_are_not_too_many(root: object) -> None:
    names: list[str] = root.__all__  # type: ignore[attr-defined]
    assert len(names) <= 40
    for name in names:
        assert getattr(root, name) is not None
        assert name in dir(root)


@pytest.mark.parametrize("root", [dekaf_proto, dekaf_sync])
def test_a_lazy_name_is_the_one_of_its_module_and_is_looked_up_once(root: Any) -> None:
    for name, home in root._HOME.items():
        assert getattr(root, name) is getattr(importlib.import_module(home), name)
        assert name in vars(root)


def test_a_submodule_is_there_when_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(dekaf_proto, "events", raising=False)
    assert dekaf_proto.events is importlib.import_module("dekaf_proto.events")
    monkeypatch.delattr(dekaf_sync, "errors", raising=False)
    assert dekaf_sync.errors is importlib.import_module("dekaf_sync.errors")


@pytest.mark.parametrize("root", [dekaf_proto, dekaf_sync])
def test_an_unknown_name_is_an_attribute_error(root: Any) -> None:
    with pytest.raises(AttributeError, match=f"module '{root.__name__}' has no attribute 'Cosumer'"):
        root.Cosumer  # noqa: B018


def shown_to_type_checkers(root: Any) -> dict[str, str | None]:
    """The names that are imported under TYPE_CHECKING, and from where."""
    tree = ast.parse(Path(root.__file__).read_text(encoding="utf-8"))
    [block] = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_type_checkers_see_what_is_there() -> None:
    """The imports under TYPE_CHECKING and the table from which names are loaded say the same."""
    shown = shown_to_type_checkers(dekaf_proto)
    assert shown == dekaf_proto._HOME | dict.fromkeys(dekaf_proto._SUBMODULES, "dekaf_proto")
    assert {*shown, "COMPILED", "__version__"} == set(dekaf_proto.__all__)
    shown = shown_to_type_checkers(dekaf_sync)
    assert shown == dekaf_sync._HOME | {"errors": "dekaf_sync"}
    assert set(shown) == set(dekaf_sync.__all__)


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", dekaf_proto.__version__)


def test_the_packages_are_typed() -> None:
    for root in ROOTS:
        assert (Path(str(root.__file__)).parent / "py.typed").exists()


def test_compiled_says_whether_the_hot_modules_are_extensions() -> None:
    hot = importlib.import_module(dekaf_proto._HOT_MODULE)
    assert dekaf_proto.COMPILED is not str(hot.__file__).endswith(".py")


@pytest.mark.skipif("DEKAF_EXPECT_COMPILED" not in os.environ, reason="only where a built wheel is being tested")
def test_it_is_the_wheel_that_is_tested() -> None:  # .ci/run sets the variable: 1 or 0
    assert (os.environ["DEKAF_EXPECT_COMPILED"] == "1") is dekaf_proto.COMPILED
    for root in ROOTS:
        assert "site-packages" in Path(str(root.__file__)).parts


def test_a_source_distribution_has_the_folders_that_its_tests_need() -> None:
    checkout = Path(__file__).resolve().parent.parent
    grafted = set(re.findall(r"^graft (\w+)$", (checkout / "MANIFEST.in").read_text(encoding="utf-8"), re.MULTILINE))
    imported: set[str] = set()
    for path in (checkout / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported.update(name.split(".")[0] for name in names)
    packages = {root.__name__ for root in ROOTS}
    ours = {name for name in imported - packages if (checkout / name).is_dir()}
    assert ours >= {"tests", "tools", "fuzz"}
    assert grafted >= ours | {"docs"}  # read by tests, not imported
