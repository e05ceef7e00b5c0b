"""Shows how it stands: a table that changes, or a line a second."""

from __future__ import annotations

import importlib.util
import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Final

from dekaf_sync._demo.account import Account

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from typing_extensions import Self

HEADINGS: Final = ("partition", "consumer", "position", "committed", "end", "lag")


def rows(account: Account) -> list[tuple[str, ...]]:
    """The table: one row a partition. The lag is what is not done yet."""
    found = []
    for partition in account.partitions:
        offsets = account.fed.get(partition, ())
        end = offsets[-1] + 1 if offsets else 0
        position = account.position(partition)
        committed = account.committed.get(partition)
        owner = account.owner(partition) or "(nobody)"
        shown = (partition, owner, position, "-" if committed is None else committed, end, max(0, end - position))
        found.append(tuple(map(str, shown)))
    return found


class Screen(AbstractContextManager["Screen"]):
    """Lines, for whatever is no terminal."""

    def __init__(self, account: Account) -> None:
        self._account: Final = account
        self._began: Final = time.monotonic()
        self._shown = self._began

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def say(self, line: str) -> None:
        """Something that has happened."""
        self._print(f"{time.monotonic() - self._began:5.1f} s  {line}")

    def show(self) -> None:
        """How it stands, unless it was shown a moment ago."""
        now = time.monotonic()
        if now - self._shown >= 1:
            self._shown = now
            self._table()

    def _print(self, line: str) -> None:
        print(line, flush=True)

    def _table(self) -> None:
        cells = [f"{p}: {position}/{committed}/{end}" for p, _, position, committed, end, _ in rows(self._account)]
        self.say("  partition: position/committed/end  " + "   ".join(cells))


class Table(Screen):
    """A table that changes in place, under the lines."""

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        from rich.live import Live

        self._rows = rows(account)
        self._live: Final = Live(get_renderable=self._render, refresh_per_second=10, redirect_stdout=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def show(self) -> None:
        self._rows = rows(self._account)  # not in the thread that renders: the account goes on changing

    def _print(self, line: str) -> None:
        self._live.console.print(line, markup=False, highlight=False)

    def _render(self) -> RichTable:
        from rich.table import Table as RichTable

        table = RichTable(*HEADINGS)
        for row in self._rows:
            table.add_row(*row)
        return table


def make_screen(plain: bool, account: Account) -> Screen:
    """The table if there is a terminal and rich is installed."""
    if plain or not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        return Screen(account)
    return Table(account)
