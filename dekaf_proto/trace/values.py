"""The arguments of calls as JSON, and back.

What has no meaning in another process is a number: the event that `poll` gave as its third is the third one in a replay
too. So are bounds, and the ownership of records, of which nothing else is kept but where they lie.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from dekaf_proto.consumer.batch import Batch
from dekaf_proto.consumer.handout import Bound
from dekaf_proto.events import Address, Rebalance
from dekaf_proto.records.record import BatchContext, Record
from dekaf_proto.types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition, TopicPartitionOffset

T = TypeVar("T")

_TUPLES: Final[dict[str, Any]] = {
    cls.__name__: cls for cls in (Address, OffsetAndMetadata, OffsetAndTimestamp, TopicPartition, TopicPartitionOffset)
}


class Other:
    """Stands for something that no engine takes."""


class Numbered:
    """Things by their numbers, the last `size` of them: what is older nobody uses any more."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._things: dict[int, object] = {}
        self._numbers: dict[int, int] = {}
        self._count = 0

    def add(self, thing: object, number: int | None = None) -> int:
        """Its number, the next one if it has none."""
        known = self._numbers.get(id(thing))
        if known is not None:
            return known
        self._count += 1
        number = self._count if number is None else number
        self._things[number] = thing
        self._numbers[id(thing)] = number
        if len(self._things) > self._size:
            del self._numbers[id(self._things.pop(next(iter(self._things))))]
        return number

    def number(self, thing: object) -> int | None:
        """None for what is too old, or was never here."""
        return self._numbers.get(id(thing))

    def get(self, number: int) -> object:
        """The thing, an Other if it is not there."""
        return self._things.get(number) or Other()


class References:
    """What calls may refer to."""

    def __init__(self) -> None:
        self.events = Numbered(64)
        self.bounds = Numbered(64)
        self.deliveries = Numbered(10_000)

    def encode(self, value: Any) -> Any:
        """As JSON takes it."""
        if value is None or isinstance(value, bool | float | str):
            return value
        if isinstance(value, int):
            return int(value)
        name, content = self._described(value)
        return content if name == "list" else {"$": name, "v": content}

    def _described(self, value: Any) -> tuple[str, Any]:
        if type(value).__name__ in _TUPLES and isinstance(value, _TUPLES[type(value).__name__]):
            return type(value).__name__, list(value)
        if isinstance(value, Record):
            number = self.deliveries.number(value.context.ownership)
            return "Record", [value.topic, value.partition, value.offset, value.leader_epoch, number]
        if isinstance(value, Rebalance):
            return "event", self.events.number(value)
        if isinstance(value, Bound):
            return "bound", self.bounds.number(value)
        if isinstance(value, Mapping):
            return "map", [[self.encode(key), self.encode(item)] for key, item in value.items()]
        if isinstance(value, datetime):
            return "datetime", value.isoformat()
        if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
            return "pattern", [value.pattern, value.flags]
        if isinstance(value, bytes | bytearray | memoryview):
            return "bytes", b64encode(value).decode()
        if isinstance(value, Iterable):
            kind = next((cls.__name__ for cls in (tuple, Batch) if isinstance(value, cls)), "list")
            return kind, [self.encode(item) for item in value]
        return "other", type(value).__name__  # an error of a listener's too: its text may say anything

    def decode(self, value: Any) -> Any:
        """What it was, or something that an engine can't tell from it."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        name, content = value["$"], value["v"]
        if name in _TUPLES:
            return _TUPLES[name](*content)
        return getattr(self, f"_{name}")(content)

    def _Record(self, content: list[Any]) -> Record:
        topic, partition, offset, epoch, number = content
        ownership = None if number is None else self.deliveries.get(number)
        context = BatchContext(topic, partition, leader_epoch=epoch, ownership=ownership)
        return Record(context, offset, 0, None, None, ())

    def _event(self, number: int | None) -> object:
        return Other() if number is None else self.events.get(number)

    def _bound(self, number: int | None) -> object:
        return Other() if number is None else self.bounds.get(number)

    def _map(self, content: list[Any]) -> dict[Any, Any]:
        return {self.decode(key): self.decode(item) for key, item in content}

    def _datetime(self, content: str) -> datetime:
        return datetime.fromisoformat(content)

    def _pattern(self, content: list[Any]) -> re.Pattern[str]:
        return re.compile(*content)

    def _bytes(self, content: str) -> bytes:
        return b64decode(content)

    def _tuple(self, content: list[Any]) -> tuple[Any, ...]:
        return tuple(self.decode(item) for item in content)

    def _Batch(self, content: list[Any]) -> Batch[Any, Any]:
        return Batch([self.decode(item) for item in content])

    def _other(self, _content: str) -> Other:
        return Other()


def settled(value: Any) -> Any:
    """The same with nothing in it that can be read only once."""
    return list(value) if isinstance(value, Iterator) else value
