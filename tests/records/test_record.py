"""dekaf_proto.records.record: what a record shows, and what it must not."""

from __future__ import annotations

import ast
import datetime as dt
import inspect
import pickle
import weakref
from typing import Any, get_origin

import pytest
from hypothesis import given

from dekaf_proto.records import BatchContext, Record, RecordIterator, generic, iterator, make_record, record as native
from dekaf_proto.records.record import Record as NativeRecord
from dekaf_proto.types import TimestampType, TopicPartition
from tests.records.made import INT64, NOW


def rec(
    topic: str = "t", *, partition: int = 0, offset: int = 0, key: Any = None, value: Any = None, **more: Any
) -> Record[Any, Any]:
    return make_record(topic, partition, offset, key, value, **more)


def test_fields() -> None:
    made = make_record(
        "orders",
        3,
        17,
        key=b"k",
        value=b"v",
        headers=[("a", b"1"), ("a", None)],
        timestamp=NOW,
        timestamp_type=TimestampType.LOG_APPEND_TIME,
        leader_epoch=5,
    )
    assert (made.topic, made.partition, made.offset, made.next_offset) == ("orders", 3, 17, 18)
    assert made.topic_partition == TopicPartition("orders", 3)
    assert (made.timestamp, made.timestamp_type) == (NOW, TimestampType.LOG_APPEND_TIME)
    assert (made.key, made.value, made.headers) == (b"k", b"v", (("a", b"1"), ("a", None)))
    assert (made.leader_epoch, made.context.leader_epoch) == (5, 5)
    assert (made.context.topic, made.context.partition, made.context.ownership) == ("orders", 3, None)
    assert made.context.timestamp_type is TimestampType.LOG_APPEND_TIME


def test_a_record_without_anything() -> None:
    made = rec()
    assert (made.key, made.value, made.headers, made.timestamp, made.leader_epoch) == (None, None, (), -1, None)
    assert made.datetime is None


@pytest.mark.parametrize("name", ["topic", "offset", "timestamp", "key", "value", "headers", "next_offset", "datetime"])
def test_records_are_read_only(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(rec(), name, None)


def test_what_records_share_is_read_only_too() -> None:
    context: Any = rec().context
    for name in ("topic", "partition", "timestamp_type", "leader_epoch"):
        with pytest.raises(AttributeError):
            setattr(context, name, None)
    with pytest.raises(AttributeError):
        context.something = 1


def test_datetime() -> None:
    assert rec(timestamp=0).datetime == dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
    moment = rec(timestamp=NOW + 250).datetime
    assert moment == dt.datetime(2023, 11, 14, 22, 13, 20, 250_000, tzinfo=dt.timezone.utc)
    assert rec(timestamp=-2).datetime == dt.datetime(1969, 12, 31, 23, 59, 59, 998_000, dt.timezone.utc)


@given(INT64)
def test_no_timestamp_is_too_much_for_datetime(timestamp: int) -> None:
    moment = rec(timestamp=timestamp).datetime
    if moment is not None:
        assert (moment - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)) // dt.timedelta(milliseconds=1) == timestamp


def test_equality_and_hash() -> None:
    made = rec(offset=5, key=b"k", value=b"v", headers=[("h", b"")], timestamp=1, leader_epoch=2)
    same = rec(offset=5, key=b"k", value=b"v", headers=[("h", b"")], timestamp=1, leader_epoch=2)
    assert made == same
    assert hash(made) == hash(same)
    same.context.ownership = object()
    assert made == same  # a token is not part of the record
    others = [
        rec("u", offset=5, key=b"k", value=b"v", headers=[("h", b"")], timestamp=1, leader_epoch=2),
        rec(partition=1, offset=5, key=b"k", value=b"v", headers=[("h", b"")], timestamp=1, leader_epoch=2),
        rec(offset=6, key=b"k", value=b"v", headers=[("h", b"")], timestamp=1, leader_epoch=2),
        rec(offset=5, key=None, value=b"v", headers=[("h", b"")], timestamp=1, leader_epoch=2),
        rec(offset=5, key=b"k", value=b"w", headers=[("h", b"")], timestamp=1, leader_epoch=2),
        rec(offset=5, key=b"k", value=b"v", headers=[], timestamp=1, leader_epoch=2),
        rec(offset=5, key=b"k", value=b"v", headers=[("h", b"")], timestamp=2, leader_epoch=2),
        rec(offset=5, key=b"k", value=b"v", headers=[("h", b"")], timestamp=1, leader_epoch=None),
    ]
    assert all(made != other for other in others)
    assert made != object()
    assert hash(rec(value={"not": "hashable"})) == hash(rec())


def test_contexts() -> None:
    context = BatchContext("t", 0, TimestampType.CREATE_TIME, 3, ownership=object())
    assert context == BatchContext("t", 0, TimestampType.CREATE_TIME, 3)
    assert hash(context) == hash(BatchContext("t", 0, TimestampType.CREATE_TIME, 3))
    assert context != BatchContext("t", 0, TimestampType.LOG_APPEND_TIME, 3)
    assert context != "t-0"
    assert repr(context) == "<BatchContext t-0 leader_epoch=3>"


def test_pickling() -> None:
    context = BatchContext("orders", 3, TimestampType.LOG_APPEND_TIME, 9, ownership=lambda: None)
    made = NativeRecord(context, 17, NOW, b"k", {"a": 1}, (("h", None),))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(made, protocol))
        assert again == made
        assert isinstance(again, Record)
        assert again.context.ownership is None  # it could not be pickled, and means nothing elsewhere


def test_repr_is_short() -> None:
    assert repr(rec(offset=5)) == "<Record t-0 offset=5 key=None value=None>"
    assert repr(rec(offset=5, value=b"v", headers=[("h", b"")])) == (
        "<Record t-0 offset=5 key=None value=b'v' headers=1>"
    )
    large = rec(offset=5, key="x" * 1000, value=b"\xff" * 1_000_000, headers=[("h", bytes(1000))] * 50)
    assert repr(large) == (
        "<Record t-0 offset=5 key='xxxxxxxxxxxxxxxx'... (1000 characters)"
        f" value={bytes([255] * 16)!r}... (1000000 bytes) headers=50>"
    )
    assert repr(rec(offset=5, key=1.5, value=["secret"] * 1000)) == "<Record t-0 offset=5 key=1.5 value=<list>>"
    assert repr(rec(offset=5, key=True, value=10**5000)) == "<Record t-0 offset=5 key=True value=<int>>"


def test_no_record_outlives_itself() -> None:
    made: Any = rec(offset=1)
    assert not hasattr(made, "__dict__")
    with pytest.raises(AttributeError):
        made.something = 1
    with pytest.raises(TypeError):  # a weak reference could show the next record in the same place
        weakref.ref(made)


def test_types_of_key_and_value_can_be_named() -> None:
    assert get_origin(Record[bytes, str]) is Record
    assert get_origin(RecordIterator[bytes, str]) is RecordIterator
    at_run_time: list[object] = [Record, RecordIterator]
    assert at_run_time == [native.Record, iterator.RecordIterator]


@pytest.mark.parametrize("real", [native.Record, iterator.RecordIterator])
def test_type_checkers_see_what_there_is(real: type) -> None:
    tree = ast.parse(inspect.getsource(generic))
    (declared,) = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == real.__name__)
    names = {node.name for node in declared.body if isinstance(node, ast.FunctionDef)}
    assert {n for n in names if not n.startswith("_")} == {n for n in dir(real) if not n.startswith("_")}
    assert all(hasattr(real, name) for name in names)
    for node in declared.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            shown, said = ast.get_docstring(node), inspect.getdoc(getattr(real, node.name))
            assert shown is not None
            if said is not None:  # compiled properties have no docstrings
                assert said.split("\n\n>>>")[0] == shown  # an editor needs no examples
