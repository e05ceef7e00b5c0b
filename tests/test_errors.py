"""dekaf_proto.errors: the tree of exceptions, and the table of codes against appendix A of docs/protocol-behaviour.md.

That the appendix is what Java says is tested in tests/integration/test_error_table.py.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

from dekaf_proto import errors
from dekaf_proto.errors import (
    BrokerError,
    CorruptRecordError,
    DecodeError,
    DeserializationError,
    EncodeError,
    ErrorCode,
    FrameError,
    KafkaError,
    UnsupportedVersionError,
    WakeupError,
    broker_error,
)
from dekaf_proto.types import TopicPartition

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "protocol-behaviour.md"
EXCEPTIONS = {
    name: value for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, BaseException)
}


# ------------------------------------------------------------------------------------------------------------ the table


def appendix() -> dict[str, dict[int, str]]:
    """What each list of appendix A holds: its first words -> code -> name."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Appendix A.")[2].partition("## Appendix B.")[0]
    lists = re.findall(r"^- \*\*(.+?)\*\*(.*?)\.$", text, re.MULTILINE)
    return {title: {int(c): n for c, n in re.findall(r"(-?\d+) ([A-Z_]+)", codes)} for title, codes in lists}


METADATA = "Retriable, and the metadata is stale"
COORDINATOR = "Retriable, and the coordinator must be found again"


def test_the_table_is_the_appendix() -> None:
    lists = appendix()
    assert list(lists) == [METADATA, COORDINATOR, "Retriable", "Not retriable"]
    assert sum(map(len, lists.values())) == len(ErrorCode) - 1  # each code in one list, NONE in none
    for title, codes in lists.items():
        for number, name in codes.items():
            code = ErrorCode(number)
            assert code.name == name
            assert code.retriable is (title != "Not retriable"), code
            assert code.invalidates == {METADATA: "metadata", COORDINATOR: "coordinator"}.get(title), code


def test_codes_have_no_gap() -> None:
    assert sorted(ErrorCode) == list(range(-1, 137))


@pytest.mark.parametrize("code", ErrorCode)
def test_a_code_becomes_its_exception(code: ErrorCode) -> None:
    error = broker_error(code, "because")
    assert type(error) is code.exception
    assert (error.code, error.error_code, error.name, error.message) == (code.value, code, code.name, "because")
    assert error.retriable is code.retriable
    assert str(error) == f"{code.name} ({code.value}): because"


@pytest.mark.parametrize("number", [-2, 137, 999, -32768, 32767])
def test_an_unknown_code_keeps_its_number(number: int) -> None:
    error = broker_error(number)
    assert ErrorCode.of(number) is ErrorCode.UNKNOWN_SERVER_ERROR
    assert type(error) is BrokerError
    assert (error.code, error.name, error.retriable) == (number, "UNKNOWN_SERVER_ERROR", False)
    assert str(error) == f"UNKNOWN_SERVER_ERROR ({number})"


def test_each_broker_error_names_its_codes() -> None:
    """The numbers in a docstring are those of the codes that become this class or one below it."""
    for name, cls in EXCEPTIONS.items():
        if not issubclass(cls, BrokerError) or cls in (BrokerError, errors.CommitFailedError):
            continue
        documented = re.search(r"\(([\d, ]+)\)", cls.__doc__ or "")
        assert documented, name
        numbers = {int(n) for n in documented[1].split(",")}
        assert numbers == {c.value for c in ErrorCode if issubclass(c.exception, cls)}, name


@pytest.mark.parametrize("number", [22, 25, 27])
def test_the_three_that_a_commit_must_live_with_have_one_base(number: int) -> None:
    assert isinstance(broker_error(number), errors.RebalanceError)


def test_authorization_errors_have_one_base() -> None:
    wanted = {code.value for code in ErrorCode if code.name.endswith("AUTHORIZATION_FAILED")}
    assert wanted == {c.value for c in ErrorCode if issubclass(c.exception, errors.AuthorizationError)}


# ------------------------------------------------------------------------------------------------------------- the tree


def test_everything_has_one_base_and_ends_in_error() -> None:
    assert len(EXCEPTIONS) > 30
    for name, cls in EXCEPTIONS.items():
        assert issubclass(cls, KafkaError), name
        assert name.endswith("Error"), name
        assert cls.__doc__, name


def test_only_a_broker_s_answer_is_retriable_by_its_code() -> None:
    assert KafkaError.retriable is False
    assert DecodeError("FetchResponse v13", "", "reason").retriable is False


TP = TopicPartition("orders", 3)
#: A value for each parameter that an exception is made with.
ARGUMENTS: dict[str, object] = {
    "broker": "node 1",
    "cause": ValueError("no JSON"),
    "causes": [("::1", "refused")],
    "code": 25,
    "divergent_offset": 5,
    "errors": {TP: broker_error(27)},
    "field": "value",
    "given": "7",
    "last_error": broker_error(16),
    "limit": 100,
    "message": "why",
    "name": "range",
    "needed": "5+",
    "next_offset": 9,
    "offset": 7,
    "offsets": {TP: 7},
    "operation": "commit",
    "option": "group_id",
    "partition": 3,
    "partitions": [TP],
    "path": "topics",
    "position": 7,
    "reason": "too long",
    "seconds": 1.5,
    "since": 1_700_000_000.0,
    "size": 101,
    "topic": "orders",
    "tp": TP,
    "what": "FetchRequest v4",
}
EXAMPLES = [
    (DecodeError("FetchResponse v13", "responses[2].topic", "null"), "FetchResponse v13: responses[2].topic: null"),
    (DecodeError("FetchResponse v13", "", "3 bytes left over"), "FetchResponse v13: 3 bytes left over"),
    (EncodeError("FetchRequest v4", "max_wait_ms", "out of range"), "FetchRequest v4: max_wait_ms: out of range"),
    (EncodeError("FetchRequest v4", "", "not a message"), "FetchRequest v4: not a message"),
    (FrameError(-1, 100), "a frame announces a size of -1 bytes"),
    (FrameError(101, 100), "a frame of 101 bytes exceeds the limit of 100"),
    (UnsupportedVersionError("needs v5", "5+"), "needs v5"),
    (UnsupportedVersionError("no such API"), "no such API"),
    (CorruptRecordError("orders", 3, 42, "checksum"), "orders-3: batch at offset 42: checksum"),
    (CorruptRecordError("orders", 3, 0, "checksum"), "orders-3: batch at offset 0: checksum"),
    (CorruptRecordError("orders", 3, -1, "too short"), "orders-3: batch: too short"),
    (broker_error(16), "NOT_COORDINATOR (16)"),
    (broker_error(3, "no such topic"), "UNKNOWN_TOPIC_OR_PARTITION (3): no such topic"),
    (errors.NotAssignedError("not mine: orders-3", [TP]), "not mine: orders-3"),
    (errors.OffsetOutOfRangeError({TP: 7}), "the log does not have the offset to read: orders-3 at 7"),
    (errors.LogTruncationError(TP, 7, 5), "orders-3: the log has changed from offset 5 on, the position was 7"),
    (errors.LogTruncationError(TP, 7, None), "orders-3: the log has changed, the position was 7"),
    (errors.NoProgressError(TP, 7, 10), "orders-3: 10 bytes at offset 7 hold no whole record batch"),
    (errors.CommitFailedError("it left", 0, [TP]), str(errors.CommitFailedError("it left", 0, [TP]))),
]


@pytest.mark.parametrize("error, text", EXAMPLES, ids=[text for _, text in EXAMPLES])
def test_an_error_tells_what_and_survives_pickling(error: KafkaError, text: str) -> None:
    assert str(error) == text
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == text
        assert vars(again) == vars(error)


def test_a_refused_commit_survives_pickling() -> None:
    error = errors.CommitError({TP: broker_error(27)})
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is errors.CommitError
        assert str(again) == str(error) == "not committed: orders-3: REBALANCE_IN_PROGRESS (27)"
        assert again.partitions == (TP,)
        assert again.errors[TP].code == 27


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_pickle_makes_each_error_of_its_arguments(name: str) -> None:
    """Or a worker process that raises one would take its pool down with it."""
    parameters = list(inspect.signature(EXCEPTIONS[name].__init__).parameters.values())[1:]
    given = [ARGUMENTS[p.name] for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    error = EXCEPTIONS[name](*given)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert repr(vars(again)) == repr(vars(error))


def test_what_was_wrong_is_in_attributes() -> None:
    decode = DecodeError("FetchResponse v13", "responses", "reason")
    assert (decode.what, decode.path, decode.reason) == ("FetchResponse v13", "responses", "reason")
    encode = EncodeError("FetchRequest v4", "topics", "reason")
    assert (encode.what, encode.path, encode.reason) == ("FetchRequest v4", "topics", "reason")
    frame = FrameError(7, 5)
    assert (frame.size, frame.limit) == (7, 5)
    assert UnsupportedVersionError("text", "5+").needed == "5+"
    corrupt = CorruptRecordError("orders", 3, 42, "reason")
    assert (corrupt.topic, corrupt.partition, corrupt.offset, corrupt.reason) == ("orders", 3, 42, "reason")
    assert corrupt.next_offset == -1
    assert CorruptRecordError("orders", 3, 42, "reason", next_offset=50).next_offset == 50


def test_a_deserializer_s_failure_keeps_its_cause_but_does_not_show_the_data() -> None:
    cause = ValueError("the secret")
    error = DeserializationError("orders", 3, 42, "value", cause)
    assert (error.topic, error.partition, error.offset, error.next_offset) == ("orders", 3, 42, 43)
    assert (error.field, error.cause) == ("value", cause)
    assert str(error) == "orders-3: the value of the record at offset 42: ValueError"
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert repr(again.cause) == repr(cause)


def test_being_woken_up_says_so() -> None:
    assert str(WakeupError()) == "woken up by wakeup()"
