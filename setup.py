"""The part of the build that a table can't say: which modules mypyc compiles, and when none are.

    pip wheel .                 compiles COMPILED_MODULES; without a C compiler, or where mypyc fails, it says so and is
                                pure
    DEKAF_PURE=1 pip wheel .    a pure wheel
    pip install -e .            always pure: a stale extension would shadow the source being edited

`dekaf_proto.COMPILED` tells which of the two is installed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

#: What is compiled: paths or globs, each of which must match something. All of it also runs as plain Python.
#: `_i64.py` must never be here (it says why). `dekaf_proto._HOT_MODULE` names one of these.
COMPILED_MODULES = [
    "dekaf_proto/records/varint.py",
    "dekaf_proto/records/record.py",
    "dekaf_proto/records/iterator.py",
    "dekaf_proto/records/batch.py",
    "dekaf_proto/records/builder.py",
    "dekaf_proto/records/stream.py",
    "dekaf_proto/records/isolation.py",
    "dekaf_proto/records/control.py",
    "dekaf_proto/records/legacy.py",
    "dekaf_proto/consumer/chunk.py",
    "dekaf_proto/wire/values.py",
    "dekaf_proto/wire/codec.py",
]

#: mypyc makes one shared library for all of them (and a stub of a few kilobytes per module that points into it),
#: not one library each: inside one library calls between modules are direct C calls with unboxed integers, and the
#: record iterator calls the varint readers several times a record. With a name of ours, not a hash.
GROUP_NAME = "dekaf"


class BuildIfPossible(build_ext):
    """All extensions or none: some without the others would be a package that can't be imported."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # no compiler, no headers, one that fails: distutils has many types for it
            print(f"dekaf: NOT COMPILED, a pure Python build ({type(error).__name__}: {error})", file=sys.stderr)
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions = []


def extensions() -> list[object]:
    if os.environ.get("DEKAF_PURE", "0") not in {"", "0"}:
        print("dekaf: DEKAF_PURE is set: a pure Python build", file=sys.stderr)
        return []
    if not {"build_ext", "bdist_wheel"} & set(sys.argv) or {"editable_wheel", "develop"} & set(sys.argv):
        return []  # metadata and source distributions need no compiler; an editable install is pure

    paths: list[str] = []
    for pattern in COMPILED_MODULES:
        found = sorted(str(path) for path in Path().glob(pattern))
        if not found:
            raise SystemExit(f"setup.py: nothing matches {pattern!r} in COMPILED_MODULES")
        paths += found
    if not paths:
        return []

    try:
        from mypyc.build import mypycify  # here, because only a compiled build needs it

        return mypycify(paths, group_name=GROUP_NAME, opt_level="3", debug_level="0")
    except (Exception, SystemExit) as error:  # it exits where mypy, of a version newer than ours, finds a type wrong
        print(f"dekaf: NOT COMPILED, a pure Python build ({type(error).__name__}: {error})", file=sys.stderr)
        return []


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildIfPossible})
