"""`dekaf_proto` does no I/O, starts nothing, and reads neither a clock nor the machine's randomness.

Its source is read (so that an import inside a function counts too), and all of it is imported in a fresh
interpreter.
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

FORBIDDEN = {"socket", "ssl", "select", "selectors", "asyncio", "trio", "threading"}
# Modules whose import alone would be a way to a thread, a process or the network.
FORBIDDEN_TOO = {"_socket", "_ssl", "_thread", "concurrent", "multiprocessing", "signal", "subprocess"}

# None of these may be used, under whatever name they are imported; None: nothing of the module.
CLOCKS_AND_CHANCE: dict[str, set[str] | None] = {
    "time": None,
    "sched": None,
    "secrets": None,
    "uuid": {"uuid1", "uuid4", "uuid6", "uuid7", "getnode"},
    "os": {"urandom", "getrandom", "times"},
    "datetime": {"now", "utcnow", "today"},
    # A generator of one's own, seeded by an argument, is what the core is to use.
    "random": {
        "SystemRandom", "betavariate", "binomialvariate", "choice", "choices", "expovariate", "gammavariate",
        "gauss", "getrandbits", "lognormvariate", "normalvariate", "paretovariate", "randbytes", "randint",
        "random", "randrange", "sample", "seed", "setstate", "shuffle", "triangular", "uniform",
        "vonmisesvariate", "weibullvariate",
    },
}  # fmt: skip
# Reading the clock through a class: `datetime.now()`, `date.today()`, `datetime.datetime.utcnow()`.
CLOCK_METHODS = {"now", "utcnow", "today"}
CLOCK_CLASSES = {"datetime", "date"}


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


def impurities(source: str) -> list[str]:
    """What a module's source does that the core must not do, as `line: what`."""
    found: list[str] = []
    modules: dict[str, str] = {}  # a name in this source -> the module that it stands for
    tree = ast.parse(source)
    type_checking = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }

    def imported(node: ast.stmt, module: str) -> None:
        if module.partition(".")[0] in FORBIDDEN | FORBIDDEN_TOO and id(node) not in type_checking:
            found.append(f"{node.lineno}: imports {module}")

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported(node, alias.name)
                modules[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            imported(node, node.module)
            for alias in node.names:
                banned = CLOCKS_AND_CHANCE.get(node.module, set())
                if banned is None or alias.name in banned:
                    found.append(f"{node.lineno}: uses {node.module}.{alias.name}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            first = node.args[0] if node.args else None
            if name in {"__import__", "import_module"} and isinstance(first, ast.Constant):
                imported(ast.Expr(node, lineno=node.lineno), str(first.value))
            if name == "Random" and not node.args:
                found.append(f"{node.lineno}: a random generator without a seed")
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id in modules:
            banned = CLOCKS_AND_CHANCE.get(modules[owner.id], set())
            if banned is None or node.attr in banned:
                found.append(f"{node.lineno}: uses {modules[owner.id]}.{node.attr}")
        owner_name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
        if node.attr in CLOCK_METHODS and owner_name in CLOCK_CLASSES:
            found.append(f"{node.lineno}: reads the clock by {owner_name}.{node.attr}")
    return found


def test_the_whole_package_is_looked_at() -> None:
    assert {"dekaf_proto", "dekaf_proto.errors", "dekaf_proto.types", "dekaf_proto._i64"} <= set(sources())


@pytest.mark.parametrize("module", sources())
def test_a_module_is_pure(module: str) -> None:
    assert impurities(sources()[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import socket",
        "import asyncio.events as e",
        "from ssl import SSLContext",
        "def f():\n    import threading",
        "try:\n    from trio import sleep\nexcept ImportError:\n    pass",
        "import importlib\nimportlib.import_module('selectors')",
        "__import__('select')",
        "import concurrent.futures",
        "import time\ntime.monotonic()",
        "import time as t\ndef f(clock=t.time): ...",
        "from time import monotonic",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "import random\nrandom.random()",
        "import random as r\nr.Random()",
        "from random import Random\nRandom()",
        "from random import shuffle",
        "import os\nos.urandom(8)",
        "from uuid import uuid4",
        "import uuid\nuuid.uuid4()",
        "import secrets\nsecrets.token_bytes()",
    ],
)
def test_what_is_forbidden_is_found(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize(
    "source",
    [
        "import random\ndef f(seed): return random.Random(seed).random()",
        "from random import Random",
        "from datetime import datetime, timezone\ndatetime.fromtimestamp(0, timezone.utc)",
        "from uuid import UUID",
        "if TYPE_CHECKING:\n    import threading",
        "import logging",
        "from . import time",
    ],
)
def test_what_is_allowed_is_not_found(source: str) -> None:
    assert impurities(source) == []


def fresh(program: str) -> str:
    """What a program prints in a new interpreter that finds the same packages as this one."""
    path = {**os.environ, "PYTHONPATH": str(sources()["dekaf_proto"].parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_all_of_it_loads_nothing_that_does_io() -> None:
    program = "import importlib, json, sys\nbefore = set(sys.modules)\n"
    program += f"for name in {list(sources())!r}: importlib.import_module(name)\n"
    program += "print(json.dumps(sorted(set(sys.modules) - before)))"
    loaded = set(json.loads(fresh(program)))
    assert "dekaf_proto.errors" in loaded
    assert loaded & (FORBIDDEN - {"threading"}) == set()  # threading comes with logging


def test_importing_the_package_alone_loads_none_of_its_parts() -> None:
    program = "import sys, dekaf_proto\n"
    program += "print([m for m in sys.modules if m.startswith(('dekaf_', 'crc32c', 'cramjam', 'typing'))])"
    assert fresh(program).strip() == "['dekaf_proto']"
