"""Arguments as JSON, and back."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any

import pytest

from dekaf_proto.consumer import Batch, Bound
from dekaf_proto.consumer.chunk import Delivery
from dekaf_proto.events import Address, PartitionsAssigned
from dekaf_proto.records import make_record
from dekaf_proto.records.record import BatchContext, Record
from dekaf_proto.trace.values import Numbered, Other, References, settled
from dekaf_proto.types import (
    IsolationLevel,
    OffsetAndMetadata,
    OffsetAndTimestamp,
    TopicPartition,
    TopicPartitionOffset,
)

TP = TopicPartition("t", 3)


def there_and_back(value: Any, references: References | None = None) -> Any:
    references = references or References()
    return references.decode(json.loads(json.dumps(references.encode(value))))


@pytest.mark.parametrize(
    "value",
    [
        None, True, 7, 1.5, "text", b"bytes", [1, [TP]], (TP, 2), ("t", 3), {TP: 4, "a": [None]}, TP,
        TopicPartitionOffset("t", 3, 4), OffsetAndMetadata(4, "note", 2), OffsetAndTimestamp(4, 5), Address("::1", 1),
        datetime(2026, 1, 2, 3, 4, 5, 6, timezone.utc), re.compile("orders-.*", re.IGNORECASE),
    ],
)  # fmt: skip
def test_there_and_back(value: Any) -> None:
    found = there_and_back(value)
    assert found == value
    assert type(found) is type(value)


def test_what_is_as_good() -> None:
    assert there_and_back({3}) == [3]
    assert there_and_back({3: 4}.keys()) == [3]
    assert there_and_back(IsolationLevel.READ_COMMITTED) == 1
    assert there_and_back(bytearray(b"a")) == b"a"
    for other in (object(), ValueError("password"), re.compile(b"a")):
        assert isinstance(there_and_back(other), Other)
        assert "password" not in json.dumps(References().encode(other))


def test_iterators_are_read_once() -> None:
    assert settled(iter([1, 2])) == [1, 2]
    given = {TP: 4}
    assert settled(given) is given


def test_records_lie_where_they_did_and_belong_to_whom_they_did() -> None:
    references = References()
    delivery = Delivery(TP, object())
    references.deliveries.add(delivery)
    record: Any = Record(BatchContext("t", 3, leader_epoch=5, ownership=delivery), 17, 0, b"k", b"secret", ())
    assert "secret" not in json.dumps(references.encode(record))
    found = there_and_back(record, references)
    assert (found.topic_partition, found.offset, found.leader_epoch) == (TP, 17, 5)
    assert found.context.ownership is delivery
    batch = there_and_back(Batch([record, make_record("t", 3, 18, None, b"")]), references)
    assert isinstance(batch, Batch)
    assert batch.offsets == {TP: OffsetAndMetadata(19, "", None)}
    assert batch[1].context.ownership is None


def test_numbers() -> None:
    references = References()
    event, bound = PartitionsAssigned((TP,)), Bound({})
    for thing in (event, bound):
        assert isinstance(there_and_back(thing, references), Other)
    assert references.events.add(event) == 1
    references.bounds.add(bound, 7)
    assert references.encode(bound) == {"$": "bound", "v": 7}
    assert there_and_back(event, references) is event
    assert there_and_back(bound, references) is bound


def test_the_last_ones_are_kept() -> None:
    numbered = Numbered(2)
    things = [object() for _ in range(3)]
    assert [numbered.add(thing) for thing in things] == [1, 2, 3]
    assert numbered.add(things[1]) == 2
    assert [numbered.number(thing) for thing in things] == [None, 2, 3]
    assert numbered.get(3) is things[2]
    assert isinstance(numbered.get(1), Other)
