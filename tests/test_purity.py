"""`dekaf_proto` does no I/O, starts nothing, and reads neither a clock nor the machine's randomness.

Its source is read, so that what only a function does counts too: each import has to be in a list of what is harmless,
with the reason, and some names are refused wherever they come from. Besides, all of it is imported in a fresh
interpreter. A list of what is harmful instead would never be complete.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Modules of which everything may be used, and why.
ALLOWED = {
    **dict.fromkeys(("__future__", "typing", "typing_extensions", "mypy_extensions", "types", "abc"), "types only"),
    **dict.fromkeys(("collections", "collections.abc", "dataclasses", "enum"), "containers"),
    **dict.fromkeys(("bisect", "heapq", "itertools", "functools", "operator", "contextlib", "copy"), "algorithms"),
    **dict.fromkeys(("math", "statistics", "fractions"), "arithmetic"),
    **dict.fromkeys(("re", "string", "textwrap", "difflib", "json", "unicodedata"), "text"),
    **dict.fromkeys(("struct", "base64", "binascii", "zlib", "hashlib", "hmac"), "bytes to bytes"),
    **dict.fromkeys(("warnings",), "says something about the caller's code, where Python says such things"),
    **dict.fromkeys(("crc32c", "cramjam"), "our dependencies: bytes to bytes; what they load is their affair"),
}

#: Modules of which only this may be used, and why.
PARTLY: dict[str, tuple[set[str], str]] = {
    "datetime": ({"datetime", "date", "timedelta", "timezone", "UTC"}, "points in time, but not the present one"),
    "random": ({"Random"}, "with a seed that the caller gives, which is checked below"),
    "logging": (
        {"getLogger", "Logger", "LoggerAdapter", "NullHandler", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"},
        "a message for whoever wants it; where it goes is for the application to say",
    ),
    "sys": ({"modules", "version_info", "maxsize", "byteorder", "intern"}, "facts of the interpreter"),
    "importlib": ({"import_module"}, "of our own modules, which is checked below"),
    "importlib.machinery": ({"EXTENSION_SUFFIXES", "PathFinder"}, "to tell what is compiled"),
}

#: Ways past the lists above.
REFUSED = {f"datetime.{cls}.{method}" for cls in ("datetime", "date") for method in ("now", "utcnow", "today")}

#: What needs no import.
BUILTINS = {
    *("open", "input", "print", "breakpoint", "help", "exit", "quit"),
    *("exec", "eval", "compile", "__import__", "__builtins__", "__loader__", "__spec__"),
}

#: Modules that load others by a name which they look up in a table.
LAZY = {"dekaf_proto", "dekaf_proto.messages"}

#: What must not even be loaded.
IO = {"socket", "ssl", "select", "selectors", "asyncio", "trio"}


def sources() -> dict[str, Path]:
    """Module name -> its source, for every module of the package."""
    package = importlib.util.find_spec("dekaf_proto")
    assert package is not None
    assert package.origin is not None
    root = Path(package.origin).parent
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def impurities(source: str, module: str = "") -> list[str]:
    """What the source of `module` does that the core must not do, as `line: what`."""
    tree = ast.parse(source)
    return sorted(_Checker(tree, module).found, key=lambda text: int(text.partition(":")[0]))


class _Checker(ast.NodeVisitor):
    def __init__(self, tree: ast.Module, module: str) -> None:
        self.found: list[str] = []
        self._module = module
        self._names: dict[str, str] = {}  # a name in this source -> what it stands for, from its module on
        self._annotations: set[ast.AST] = set()
        for _ in range(2):  # an alias may stand below a function that uses it
            self.found.clear()
            self.visit(tree)

    def _complain(self, node: ast.AST, text: str) -> None:
        self.found.append(f"{getattr(node, 'lineno', 0)}: {text}")

    # -- imports

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for statement in node.orelse:  # the rest is never run
                self.visit(statement)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._imports(node, alias.name)
            root = alias.name.partition(".")[0]
            self._names[alias.asname or root] = alias.name if alias.asname else root

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            return  # one of ours
        assert node.module is not None
        self._imports(node, node.module)
        for alias in node.names:
            path = f"{node.module}.{alias.name}"
            self._names[alias.asname or alias.name] = path
            if alias.name == "*" and node.module in PARTLY:
                self._complain(node, f"uses {path}")
            self._uses(node, path)

    def _imports(self, node: ast.AST, name: str) -> None:
        if name.partition(".")[0] != "dekaf_proto" and name not in ALLOWED and name not in PARTLY:
            self._complain(node, f"imports {name}, which is not among what is allowed")

    # -- what the names stand for

    def _path(self, node: ast.AST) -> str:
        """What an expression stands for, such as `datetime.datetime.now`; empty if that can't be told."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id, "")
        if isinstance(node, ast.Attribute):
            owner = self._path(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        return ""

    def visit_Assign(self, node: ast.Assign) -> None:
        if path := self._path(node.value):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    self._names[target.id] = path
        self.generic_visit(node)

    def _annotated(self, annotation: ast.AST | None) -> None:
        if annotation is not None:
            self._annotations.update(ast.walk(annotation))

    def visit_arg(self, node: ast.arg) -> None:
        self._annotated(node.annotation)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotated(node.annotation)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._annotated(node.returns)
        self.generic_visit(node)

    # -- uses

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            if node.id in BUILTINS and node.id not in self._names:
                self._complain(node, f"uses {node.id}")
            self._uses(node, self._path(node))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = self._path(node)
        if path:
            self._uses(node, path)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        path = self._path(node.func)
        if path == "random.Random":
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            if not given or (isinstance(given[0], ast.Constant) and given[0].value is None):
                self._complain(node, "a random generator without a seed")
        elif path == "importlib.import_module":
            self._import_module(node)
        elif isinstance(node.func, ast.Name) and node.func.id == "getattr" and self._path(node.args[0]) in PARTLY:
            self._complain(node, "getattr of a module of which only a part is allowed")
        elif isinstance(node.func, ast.Name) and node.func.id == "getattr" and isinstance(node.args[1], ast.Constant):
            owner = self._path(node.args[0])
            self._uses(node, f"{owner}.{node.args[1].value!s}" if owner else "")
            self.visit(node.func)
        else:
            self.visit(node.func)
        for child in (*node.args, *node.keywords):
            self.visit(child)

    def _import_module(self, node: ast.Call) -> None:
        name = node.args[0]
        if isinstance(name, ast.JoinedStr):
            name = name.values[0]
        if isinstance(name, ast.Constant):
            self._imports(node, str(name.value))
        elif self._module not in LAZY:
            self._complain(node, "imports a module that can't be told from here")

    def _uses(self, node: ast.AST, path: str) -> None:
        """Complains of what is not allowed of a module that is allowed in part."""
        if path in REFUSED:
            self._complain(node, f"uses {path}")
        # As the function of a call these do not get here. Handed on, they would be called where nobody looks.
        handed_on = isinstance(node, ast.Name | ast.Attribute) and node not in self._annotations
        if handed_on and path in {"random.Random", "importlib.import_module"}:
            self._complain(node, f"uses {path} other than by calling it")
        parts = path.split(".")
        for end in range(len(parts) - 1, 0, -1):
            owner = ".".join(parts[:end])
            if owner in ALLOWED or ".".join(parts[: end + 1]) in {**ALLOWED, **PARTLY}:
                return
            if owner in PARTLY:
                if parts[end] not in PARTLY[owner][0]:
                    self._complain(node, f"uses {owner}.{parts[end]}")
                return


def test_the_whole_package_is_looked_at() -> None:
    assert {"dekaf_proto", "dekaf_proto.errors", "dekaf_proto.types", "dekaf_proto._i64"} <= set(sources())


@pytest.mark.parametrize("module", sources())
def test_a_module_is_pure(module: str) -> None:
    assert impurities(sources()[module].read_text(encoding="utf-8"), module) == []


REFUSED_SOURCES = [
    # modules
    "import socket",
    "import asyncio.events as e",
    "from ssl import SSLContext",
    "def f():\n    import threading",
    "try:\n    from trio import sleep\nexcept ImportError:\n    pass",
    "if not TYPE_CHECKING:\n    import socket",
    "if TYPE_CHECKING:\n    pass\nelse:\n    import socket",
    "import concurrent.futures",
    "import http.client",
    "import urllib.request",
    "from urllib.request import urlopen",
    "import queue",
    "import subprocess",
    "import signal",
    "import pathlib",
    "import tempfile",
    "import ctypes",
    "import builtins",
    "from os import fork",
    "import os\nos.fork()",
    "import os\nos.urandom(8)",
    "from os import environ",
    "import collections, socket",
    "import json.tool",
    # modules by name
    "import importlib\nimportlib.import_module('selectors')",
    "from importlib import import_module as load\nload('socket')",
    "import importlib as i\ni.import_module(name)",
    "from importlib import import_module\nimport_module(f'{name}')",
    "from importlib import import_module\nload = import_module\nload('socket')",
    "from importlib import import_module\nmap(import_module, names)",
    "from importlib import reload",
    "__import__('select')",
    "load = __import__",
    "import sys\nsys.meta_path",
    # files and the terminal
    "open('/etc/hosts')",
    "def f(opener=open): ...",
    "print('here')",
    "input()",
    "exec('import ' + 'socket')",
    "eval('1')",
    "import sys\nsys.stdout.write('x')",
    "from sys import stdin",
    "import logging\nlogging.FileHandler('x')",
    "import logging\nlogging.basicConfig()",
    "from logging import handlers",
    "import logging.handlers",
    # clocks
    "import time\ntime.monotonic()",
    "import time as t\ndef f(clock=t.time): ...",
    "from time import monotonic",
    "import sched",
    "from datetime import datetime\ndatetime.now()",
    "from datetime import datetime as d\nd.now()",
    "from datetime import datetime as d\nclock = d.now",
    "import datetime\ndatetime.datetime.utcnow()",
    "import datetime as dt\ndt.datetime.now(dt.timezone.utc)",
    "import datetime as dt\ndef f():\n    return d.today()\nd = dt.date",
    "import datetime as dt\ngetattr(dt, name)",
    "import datetime as dt\ngetattr(dt.datetime, 'now')()",
    "from datetime import *",
    "from datetime import date\ndate.today()",
    # chance
    "import random\nrandom.random()",
    "import random as r\nr.Random()",
    "from random import Random\nRandom()",
    "from random import Random as R\nR()",
    "from random import Random\nRandom(None)",
    "from random import Random\nRandom(x=None)",
    "from random import Random\nR = Random\nR()",
    "from random import Random\ndef f(make=Random): ...",
    "from random import SystemRandom",
    "from random import shuffle",
    "from random import *",
    "import random\nrandom._inst.random()",
    "from uuid import uuid4",
    "import uuid\nuuid.uuid4()",
    "import secrets\nsecrets.token_bytes()",
]


@pytest.mark.parametrize("source", REFUSED_SOURCES)
def test_what_is_forbidden_is_found(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize(
    "source",
    [
        "import random\ndef f(seed): return random.Random(seed).random()",
        "from random import Random\nclass A:\n    def __init__(self, seed): self.random = Random(seed)",
        "from random import Random\nr: Random = Random(7)\ndef f(random: Random) -> Random: return random.choice([1])",
        "from datetime import datetime, timezone\ndatetime.fromtimestamp(0, timezone.utc)",
        "def f(clock): return clock.now()",
        "if TYPE_CHECKING:\n    import threading",
        "import logging\nlog = logging.getLogger('dekaf')\nlog.debug('x')",
        "from . import time",
        "import sys\nsys.modules['x']",
        "import re\nre.compile('x')",
        "session.open()",
        "import collections.abc\ncollections.abc.Sequence",
        "from importlib import import_module\nimport_module(f'dekaf_proto.{name}')",
        "import dekaf_proto.errors",
        "getattr(message, name)",
        "getattr(message, 'now')",
    ],
)
def test_what_is_allowed_is_not_found(source: str) -> None:
    assert impurities(source) == []


def test_only_the_modules_of_which_it_is_known_load_by_table() -> None:
    source = "from importlib import import_module\nimport_module(TABLE[name])"
    assert impurities(source, "dekaf_proto") == []
    assert impurities(source, "dekaf_proto.errors") == ["2: imports a module that can't be told from here"]


def test_each_line_says_what_is_wrong() -> None:
    source = "import re\nimport socket\nfrom random import Random as R\nR()\nopen"
    assert impurities(source) == [
        "2: imports socket, which is not among what is allowed",
        "4: a random generator without a seed",
        "5: uses open",
    ]


def fresh(program: str) -> str:
    """What a program prints in a new interpreter that finds the same packages as this one."""
    path = {**os.environ, "PYTHONPATH": str(sources()["dekaf_proto"].parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_all_of_it_loads_nothing_that_does_io() -> None:
    """Nor does using what loads on first use, or the imports inside functions, as far as Python itself has them."""
    inside = {
        name
        for path in sources().values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name in {**ALLOWED, **PARTLY} and name.partition(".")[0] in sys.stdlib_module_names
    }
    assert "zlib" in inside
    program = "import importlib, json, sys\nbefore = set(sys.modules)\n"
    program += f"for name in {[*sources(), *sorted(inside)]!r}:\n    module = importlib.import_module(name)\n"
    program += "    if name.startswith('dekaf_proto'):\n        [getattr(module, each) for each in dir(module)]\n"
    program += "print(json.dumps(sorted(set(sys.modules) - before)))"
    loaded = set(json.loads(fresh(program)))
    assert "dekaf_proto.errors" in loaded
    assert loaded & IO == set()  # threading is not among these: it comes with logging


def test_importing_the_package_alone_loads_none_of_its_parts() -> None:
    program = "import sys, dekaf_proto\n"
    program += "print([m for m in sys.modules if m.startswith(('dekaf_', 'crc32c', 'cramjam', 'typing'))])"
    assert fresh(program).strip() == "['dekaf_proto']"
