"""What a client library has to be able to do, so that the story can be told of it; each has a module of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType

#: How long one step may take, in seconds. Only a failure takes that long.
PATIENCE = 60.0
PARTITIONS = 4

#: Partition and offset.
Place = tuple[int, int]


@dataclass(frozen=True)
class Sent:
    """A record to produce."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp: int


@dataclass(frozen=True)
class Row:
    """A record that was read."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Refused(Exception):
    """The broker said no, with this error code, or the client by itself."""

    def __init__(self, code: int | str) -> None:
        super().__init__(code)
        self.code = code


class Member(AbstractContextManager["Member"]):
    """A consumer in a group. Nothing is committed by itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def poll(self) -> list[Row]:
        """What there is within a moment."""

    @abstractmethod
    def owns(self) -> list[int]:
        """The partitions that it has."""

    @abstractmethod
    def commit(self) -> None:
        """Commits what it has read, and waits for the answer."""

    @abstractmethod
    def committed(self, partition: int) -> int | None:
        """What its group has committed."""

    @abstractmethod
    def seek(self, partition: int, offset: int) -> None:
        """Reads on there."""

    @abstractmethod
    def close(self) -> None:
        """Leaves the group."""


class Transactions(AbstractContextManager["Transactions"]):
    """A transactional producer."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def begin(self) -> None: ...

    @abstractmethod
    def send(self, records: Sequence[Sent]) -> list[Place]:
        """Waits until all are there."""

    @abstractmethod
    def send_offsets(self, group: str, offsets: Sequence[Place]) -> None:
        """Commits offsets as a part of the transaction."""

    @abstractmethod
    def end(self, commit: bool) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class Peer(ABC):
    """A client library, at one cluster and one topic."""

    #: In which ways it can compress.
    codecs: Sequence[str] = ("none", "gzip", "snappy", "lz4", "zstd")
    deletes_groups = True

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.bootstrap, self.topic = bootstrap, topic

    @abstractmethod
    def create_topic(self, name: str, partitions: int, configs: dict[str, str]) -> None: ...

    @abstractmethod
    def create_partitions(self, total: int) -> None: ...

    @abstractmethod
    def delete_topic(self, name: str) -> None: ...

    @abstractmethod
    def partitions(self) -> list[int]:
        """Of the topic; Refused if there is none."""

    @abstractmethod
    def config(self, name: str) -> str | None:
        """A configuration of the topic."""

    @abstractmethod
    def groups(self) -> list[str]: ...

    @abstractmethod
    def describe_group(self, group: str) -> tuple[str, str, int]:
        """Its state, its assignor, and how many members it has."""

    @abstractmethod
    def group_offsets(self, group: str) -> list[Place]: ...

    @abstractmethod
    def delete_group(self, group: str) -> None: ...

    @abstractmethod
    def produce(self, records: Sequence[Sent], codec: str) -> list[Place]: ...

    @abstractmethod
    def transactions(self, name: str) -> Transactions: ...

    @abstractmethod
    def member(self, group: str) -> Member: ...

    @abstractmethod
    def read(self, committed: bool) -> list[Row]:
        """The whole topic, to its end."""

    @abstractmethod
    def offsets_for_time(self, timestamp: int) -> list[int | None]:
        """By partition."""

    @abstractmethod
    def close(self) -> None:
        """Ends what is left open."""
