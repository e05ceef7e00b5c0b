"""Runs what the documentation shows.

    python tools/check_docs.py [FILE.md ...]     without arguments: README.md, CONTRIBUTING.md, docs/ and docstrings

- Each block of a page that is fenced as `python` is run; the blocks of a page share their names, as a reader would
  expect. A block with `>>>` is a doctest. One that can't run here (it needs a broker, say) is fenced as
  `python not-run`: it is only compiled.
- The examples in the docstrings of the packages are doctests too.
- Relative links lead to files that exist.

Prints what failed, then the counts; exits with 1 if anything failed or if nothing was found.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("dekaf_proto", "dekaf_sync", "dekaf_trio")

FENCE = re.compile(r"^```python[ \t]*(?P<mark>\S*)[^\n]*\n(?P<code>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


class Counts:
    def __init__(self) -> None:
        self.blocks = self.compiled = self.examples = self.links = self.failed = 0

    def fail(self, where: str, what: str) -> None:
        self.failed += 1
        print(f"{where}: {what}")


def check_page(path: Path, counts: Counts) -> None:
    text = path.read_text(encoding="utf-8")
    name = str(path.relative_to(ROOT))
    names: dict[str, object] = {"__name__": "__main__"}
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        where = f"{name}:{line}"
        if match["mark"] not in {"", "not-run"}:
            counts.fail(where, f"the mark {match['mark']!r} is unknown")
        elif ">>>" in match["code"]:
            counts.blocks += 1
            test = doctest.DocTestParser().get_doctest(match["code"], names, where, name, line - 1)
            run_doctest(test, counts)
            names.update(test.globs)
        else:
            try:
                # Blank lines before it, so that a traceback names the line of the page.
                code = compile("\n" * (line - 1) + match["code"], name, "exec", dont_inherit=True)
                if match["mark"] == "not-run":
                    counts.compiled += 1
                    continue
                counts.blocks += 1
                exec(code, names)
            except Exception:
                counts.fail(where, traceback.format_exc())
    for target in LINK.findall(CODE.sub("", text)):
        counts.links += 1
        if not (path.parent / target).exists():
            counts.fail(name, f"a link leads to {target}, which is not there")


def run_doctest(test: doctest.DocTest, counts: Counts) -> None:
    counts.examples += len(test.examples)
    report: list[str] = []
    counts.failed += doctest.DocTestRunner(verbose=False).run(test, out=report.append, clear_globs=False).failed
    print("".join(report), end="")


def check_docstrings(counts: Counts) -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for package in PACKAGES:
        root = importlib.import_module(package)
        names = [package, *(module.name for module in pkgutil.walk_packages(root.__path__, f"{package}."))]
        for name in names:
            for test in finder.find(importlib.import_module(name), name):
                run_doctest(test, counts)


def main(arguments: list[str]) -> int:
    counts = Counts()
    sys.path.insert(0, str(ROOT))
    if arguments:
        pages = [Path(argument).resolve() for argument in arguments]
    else:
        pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
        check_docstrings(counts)
    for page in pages:
        check_page(page, counts)
    print(
        f"{counts.blocks} blocks run, {counts.compiled} only compiled, {counts.examples} doctest examples, "
        f"{counts.links} links, {counts.failed} failed"
    )
    return 1 if counts.failed or not counts.blocks + counts.examples else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
