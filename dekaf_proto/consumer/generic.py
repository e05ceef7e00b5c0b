"""`FetchedRecords[K, V]`, the class of `chunk` as type checkers see it: it is compiled, and so not generic itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from dekaf_proto.consumer import chunk
from dekaf_proto.records import Record

K = TypeVar("K", covariant=True)
V = TypeVar("V", covariant=True)

if TYPE_CHECKING:

    class FetchedRecords(Generic[K, V]):
        """A run of records: iterate, or `take` some at a time."""

        stopped: bool

        @property
        def chunks(self) -> Sequence[chunk.Chunk]: ...
        def __iter__(self) -> FetchedRecords[K, V]: ...
        def __next__(self) -> Record[K, V]: ...
        def take(self, limit: int) -> list[Record[K, V]]: ...
        def finish(self) -> None: ...

else:
    FetchedRecords = chunk.FetchedRecords
