"""`i64` for the modules that mypyc compiles: a machine integer there, a plain `int` everywhere else.

This module itself is never compiled: inside a compiled module the run-time branch would need mypy_extensions.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import i64
else:
    i64 = int

__all__ = ["i64"]
