"""`i64` and `mypyc_attr` for the modules that mypyc compiles: a machine integer there, a plain `int` everywhere else.

This module itself is never compiled: inside a compiled module the run-time branch would need mypy_extensions.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import i64, mypyc_attr
else:
    i64 = int

    def mypyc_attr(**options):
        """A class decorator by which mypyc is told how to compile a class; without mypyc it does nothing."""
        return lambda cls: cls


__all__ = ["i64", "mypyc_attr"]
