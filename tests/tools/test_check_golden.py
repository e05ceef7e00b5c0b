"""tools/check_golden.py finds what is wrong: a check that can't fail proves nothing."""

from __future__ import annotations

import copy
import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dekaf_proto.group import ASSIGNORS
from dekaf_proto.types import TopicPartition
from tools import check_golden, select_golden
from tools.check_golden import check_line, main, open_lines
from tools.golden_assign import (
    compare_members,
    compare_metrics,
    group_of,
    is_balanced,
    metrics_of,
    partitions_of,
)

GOLDEN = Path(__file__).parent.parent / "golden"

Line = dict[str, Any]


def find(file: str, wanted: Callable[[Line], bool]) -> Line:
    with open_lines(GOLDEN / file) as lines:
        return next(line for line in map(json.loads, lines) if wanted(line))


@pytest.fixture(scope="module")
def message() -> Line:
    return find(
        "messages.jsonl.xz",
        lambda line: (line["api"], line["kind"], line["version"], line["sample"]) == ("Fetch", "response", 16, "full"),
    )


@pytest.fixture(scope="module")
def batch() -> Line:
    return find("records.jsonl.xz", lambda line: line["name"] == "v2/none/CreateTime/idempotent/headers")


@pytest.fixture(scope="module")
def compressed() -> Line:
    return find("records.jsonl.xz", lambda line: line["name"] == "v2/lz4/CreateTime/txn/mixed")


@pytest.fixture(scope="module")
def decided() -> Line:
    """A line on which dekaf decides otherwise than Java."""
    return find("records.jsonl.xz", lambda line: line.get("mutation") == "key length -2")


@pytest.fixture(scope="module")
def assigned() -> Line:
    """Members with partitions of their own, where Java's answer is the only one."""
    return find(
        "assign.jsonl.xz",
        lambda line: (
            (line["assignor"], line["change"], line["same_subscriptions"], line["hash_sensitive"])
            == ("sticky", "join", True, False)
        ),
    )


@pytest.fixture(scope="module")
def sensitive() -> Line:
    """Where another answer may do as well."""
    return find(
        "assign.jsonl.xz",
        lambda line: line["hash_sensitive"] and line["change"] == "join" and line["partition_racks"] is None,
    )


def altered(line: Line, change: Callable[[Line], object]) -> str:
    line = copy.deepcopy(line)
    change(line)
    return json.dumps(line)


def flip(at: int) -> Callable[[Line], None]:
    """Another byte in the message or batch."""

    def change(line: Line) -> None:
        data = bytearray.fromhex(line["hex"])
        data[at] ^= 1
        line["hex"] = data.hex()

    return change


def test_lines_as_they_are_pass(
    message: Line, batch: Line, compressed: Line, decided: Line, assigned: Line, sensitive: Line
) -> None:
    for line in (message, batch, compressed, decided, assigned, sensitive):
        assert check_line(json.dumps(line)) == []


def test_a_message_that_only_brokers_send(message: Line) -> None:
    text = altered(message, lambda line: line.update(api="Vote"))
    assert check_line(text) == ["dekaf has no VoteResponse: its messages are those of clients, without the brokers'"]


def partition(line: Line) -> Line:
    found: Line = line["json"]["responses"][0]["partitions"][0]
    return found


MESSAGE_ALTERATIONS: dict[str, Callable[[Line], object]] = {
    "a byte at the start": flip(0),
    "a byte in the middle": flip(40),
    "a byte at the end": flip(-1),
    "a byte less": lambda line: line.update(hex=line["hex"][:-2]),
    "a byte more": lambda line: line.update(hex=line["hex"] + "00"),
    "no bytes": lambda line: line.update(hex=""),
    "no hexadecimal": lambda line: line.update(hex="xy"),
    "a number": lambda line: line["json"].update(throttleTimeMs=line["json"]["throttleTimeMs"] + 1),
    "a nested number": lambda line: partition(line).update(highWatermark=0),
    "a nested string": lambda line: line["json"]["nodeEndpoints"][0].update(host="elsewhere"),
    "a null": lambda line: partition(line).update(records=None),
    "a number as a boolean": lambda line: partition(line).update(errorCode=True),
    "record data": lambda line: partition(line).update(records="AAAA"),
    "a topic id": lambda line: line["json"]["responses"][0].update(topicId="AAAAAAAAAAAAAAAAAAAAAA"),
    "an element less": lambda line: line["json"]["responses"].pop(),
    "an element more": lambda line: line["json"]["responses"].append(line["json"]["responses"][0]),
    "an object in place of a list": lambda line: line["json"].update(responses={}),
    "a list in place of an object": lambda line: partition(line).update(currentLeader=[]),
    "a field less": lambda line: partition(line).pop("logStartOffset"),
    "a tagged field less": lambda line: partition(line).pop("currentLeader"),
    "a field more": lambda line: line["json"].update(surprise=1),
    "an unknown tagged field": lambda line: line["json"].update(_unknownTaggedFields=[{"tag": 9, "data": "AA=="}]),
    "another version": lambda line: line.update(version=15),
    "a version that is not there": lambda line: line.update(version=99),
    "another api": lambda line: line.update(api="Metadata"),
    "an api that is not there": lambda line: line.update(api="Fetching"),
    "another kind": lambda line: line.update(kind="request"),
    "a kind that is not there": lambda line: line.update(kind="answer"),
    "another key": lambda line: line.update(api_key=2),
    "not flexible": lambda line: line.update(flexible=False),
    "another header": lambda line: line.update(header_version=0),
    "unstable": lambda line: line.update(unstable=True),
    "no json": lambda line: line.pop("json"),
    "no hex": lambda line: line.pop("hex"),
}


@pytest.mark.parametrize("name", MESSAGE_ALTERATIONS)
def test_an_altered_message_fails(message: Line, name: str) -> None:
    assert check_line(altered(message, MESSAGE_ALTERATIONS[name])) != []


def first(line: Line) -> Line:
    found: Line = line["batches"][0]
    return found


def record(line: Line) -> Line:
    return next(r for r in first(line)["records"] if r["headers"] and r["value"])


def swap_records(line: Line) -> None:
    records = first(line)["records"]
    records[0], records[1] = records[1], records[0]


RECORDS_ALTERATIONS: dict[str, Callable[[Line], object]] = {
    "another kind": lambda line: line.update(kind="good"),
    "a byte of the header": flip(30),
    "a byte of the checksum": flip(17),
    "a byte of the base offset": flip(7),
    "a byte of the leader epoch": flip(15),
    "a byte of the records": flip(-1),
    "a byte less": lambda line: line.update(hex=line["hex"][:-2]),
    "a byte more": lambda line: line.update(hex=line["hex"] + "00"),
    "no bytes": lambda line: line.update(hex=""),
    "a batch less": lambda line: line["batches"].clear(),
    "a batch more": lambda line: line["batches"].append(first(line)),
    "a record less": lambda line: first(line)["records"].pop(),
    "a record more": lambda line: first(line)["records"].append(record(line)),
    "records in another order": swap_records,
    "an offset": lambda line: record(line).update(offset=1),
    "a timestamp": lambda line: record(line).update(timestamp=1),
    "a sequence": lambda line: record(line).update(sequence=record(line)["sequence"] + 1),
    "a size": lambda line: record(line).update(sizeInBytes=record(line)["sizeInBytes"] - 1),
    "a value": lambda line: record(line).update(value="00"),
    "a null value": lambda line: record(line).update(value=None),
    "a header less": lambda line: record(line)["headers"].pop(),
    "a header's key": lambda line: record(line)["headers"][0].__setitem__(0, "other"),
    "unread bytes": lambda line: line.update(unread_bytes=3),
    "an error": lambda line: line.update(first_error={"stage": "log_error", "batch": 0, "class": "E"}),
    "no batches": lambda line: line.pop("batches"),
    "no hex": lambda line: line.pop("hex"),
}
for field in (
    *(
        "magic",
        "baseOffset",
        "lastOffset",
        "nextOffset",
        "sizeInBytes",
        "compression",
        "timestampType",
        "baseTimestamp",
    ),
    *("maxTimestamp", "producerId", "producerEpoch", "baseSequence", "lastSequence", "partitionLeaderEpoch"),
    *("isControl", "isTransactional", "deleteHorizonMs", "count", "checksum", "isValid"),
):
    RECORDS_ALTERATIONS[field] = partial(lambda field, line: first(line).update({field: 12345}), field)


@pytest.mark.parametrize("name", RECORDS_ALTERATIONS)
@pytest.mark.parametrize("kind", ["batch", "compressed"])
def test_an_altered_batch_fails(request: pytest.FixtureRequest, kind: str, name: str) -> None:
    assert check_line(altered(request.getfixturevalue(kind), RECORDS_ALTERATIONS[name])) != []


def test_a_difference_passes_only_under_its_own_mutation(decided: Line) -> None:
    assert check_line(altered(decided, lambda line: line.update(mutation="none of ours"))) != []
    assert check_line(altered(decided, lambda line: line.pop("mutation"))) != []
    # A mutation that is decided upon excuses no other difference.
    assert check_line(altered(decided, lambda line: first(line).update(maxTimestamp=1))) != []


def member_with(line: Line, name: str) -> Line:
    return next(member for member in line["members"] if member[name])


def give_away(line: Line) -> None:
    """Java gave to another member what we leave where it is."""
    one, other = sorted(line["assignment"], key=lambda member: len(line["assignment"][member]))[-2:]
    line["assignment"][one].append(line["assignment"][other].pop())


def lose(line: Line) -> None:
    next(partitions for partitions in line["assignment"].values() if partitions).pop()


ASSIGNMENT_ALTERATIONS: dict[str, Callable[[Line], object]] = {
    "a partition elsewhere": give_away,
    "a partition less": lose,
    "a member less": lambda line: line["assignment"].popitem(),
    "a member more": lambda line: line["assignment"].update(nobody=[]),
    "another assignor": lambda line: line.update(assignor="range"),
    "an assignor that is not there": lambda line: line.update(assignor="uniform"),
    "a topic more": lambda line: line["topics"].update({line["members"][0]["topics"][0]: 50}),
    "no topics": lambda line: line.pop("topics"),
    "no members": lambda line: line.pop("members"),
    "other user data": lambda line: member_with(line, "user_data").update(user_data="0000000000000001"),
    "no user data": lambda line: member_with(line, "user_data").update(user_data=""),
    "another generation": lambda line: member_with(line, "user_data").update(user_data_generation=77),
}


@pytest.mark.parametrize("name", ASSIGNMENT_ALTERATIONS)
def test_an_altered_assignment_fails(assigned: Line, name: str) -> None:
    assert check_line(altered(assigned, ASSIGNMENT_ALTERATIONS[name])) != []


def test_where_java_depends_on_the_order_the_same_quality_will_do(sensitive: Line) -> None:
    topics, members = group_of(sensitive)
    ours = ASSIGNORS[sensitive["assignor"]].assign(topics, members)
    same = metrics_of(sensitive, ours)
    worse = altered(sensitive, lambda line: line.update(assignment={}, metrics=metrics_of(line, {})))
    assert check_line(worse) == []
    assert (
        check_line(altered(sensitive, lambda line: line.update(assignment={}))) != []
    )  # not what the line says itself
    for name, value in (("unique", False), ("valid", False), ("balanced", False), ("owned_kept", 0)):
        assert len(compare_metrics({**same, name: value}, same)) == 1
    assert len(compare_metrics({**same, "unassigned": [["t0", 0]]}, same)) == 1
    # Nothing stays at its member in an assignment that gives it what it does not want.
    worst = {**same, "valid": False, "balanced": False}
    assert compare_metrics({**same, "balanced": False, "owned_kept": 0}, worst) == []


def test_an_answer_of_javas_that_is_not_valid_is_no_measure() -> None:
    def invalid(line: Line) -> bool:
        topics = {member["id"]: member["topics"] for member in line["members"]}
        return any(p[0] not in topics[member] for member, given in line["assignment"].items() for p in given)

    line = find("assign.jsonl.xz", lambda line: not line["hash_sensitive"] and invalid(line))
    assert check_line(json.dumps(line)) == []


def test_what_a_flipped_bit_does_depends_on_the_seed() -> None:
    line = find("records-other-seeds.jsonl", lambda line: True)
    assert line["mutation"] == "payload bit flipped, crc fixed"
    assert check_line(json.dumps(line)) == []  # a header's value whose length is negative
    assert check_line(altered(line, lambda line: line.update(name="corrupt/v2/lz4/damaged"))) != []
    assert check_line(altered(line, lambda line: line.update(hex=line["hex"][:-2]))) != []  # refused for another reason


def other_seeds(change: str) -> Line:
    return find("assign-other-seeds.jsonl", lambda line: line["change"] == change)


def swap(line: Line) -> None:
    """Two members have each one of the other's, which makes nobody richer."""
    one, other = sorted(line["assignment"], key=lambda member: len(line["assignment"][member]))[-2:]
    mine, theirs = line["assignment"][one], line["assignment"][other]
    mine[-1], theirs[-1] = theirs[-1], mine[-1]


@pytest.mark.parametrize("change", ["join", "one resubscribes", "leave"])
def test_another_answer_must_come_from_the_order_or_from_looking_ahead(change: str) -> None:  # A4, A6
    line = other_seeds(change)
    topics, members = group_of(line)
    assert not line["hash_sensitive"]
    ours = ASSIGNORS[line["assignor"]].assign(topics, members)
    assert compare_members(ours, {m: partitions_of(pairs) for m, pairs in line["assignment"].items()}) != []
    assert check_line(json.dumps(line)) == []
    assert check_line(altered(line, swap)) != []


def test_what_two_members_claim_is_given_to_nobody() -> None:  # A3
    line = other_seeds("stale claim")
    assert line["assignment"]["consumer-2-R-N1aU9c"] == [["t0", 0]]
    assert check_line(json.dumps(line)) == []
    assert check_line(altered(line, lambda line: line["members"][1].update(owned=[]))) != []


def test_what_one_of_two_claimed_later_is_its_own() -> None:  # A3
    line = find("assign-other-seeds.jsonl", lambda line: len(line["members"]) == 7 and not line["hash_sensitive"])
    assert line["change"] == "stale claim"
    assert ["topic-k4Wc", 0] in line["metrics"]["unassigned"]
    topics, members = group_of(line)
    ours = ASSIGNORS[line["assignor"]].assign(topics, members)
    assert TopicPartition("topic-k4Wc", 0) in ours["consumer-0-xXpMjHR6"]
    assert check_line(json.dumps(line)) == []


def test_what_is_in_another_rack_is_dealt_again() -> None:  # A6
    line = find("assign-other-seeds.jsonl", lambda line: "EU_ADh3" in line["assignment"])
    topics, members = group_of(line)
    ours = metrics_of(line, ASSIGNORS[line["assignor"]].assign(topics, members))
    assert (ours["unassigned"], ours["contested"], ours["far"]) == ([["t0", 0], ["t0", 1]], 1, 1)
    assert check_line(json.dumps(line)) == []
    assert len(compare_metrics({**ours, "far": 0, "balanced": True}, {**ours, "unassigned": []})) == 1


def test_what_is_withheld_may_make_the_difference_in_size() -> None:  # A6
    line = find("assign-other-seeds.jsonl", lambda line: line["hash_sensitive"])
    assert line["metrics"]["sizes"] == [2, 2, 2, 2, 2, 2, 3]
    topics, members = group_of(line)
    ours = metrics_of(line, ASSIGNORS[line["assignor"]].assign(topics, members))
    assert (ours["sizes"], ours["balanced"]) == ([1, 2, 2, 2, 2, 2, 3], True)
    assert check_line(json.dumps(line)) == []
    empty: dict[str, list[TopicPartition]] = {member["id"]: [] for member in line["members"]}
    one = {**empty, members[0].id: partitions_of([["t1", 0], ["t1", 1], ["topic-OHTE", 0], ["topic-OHTE", 1]])}
    assert is_balanced(empty, {}) is True
    assert is_balanced(one, {member.id: set(member.topics) for member in members}) is False


# ------------------------------------------------------------------------------------------------------------- the tool


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str]]:
    status = main([str(a) for a in arguments])
    return status, capsys.readouterr().out.splitlines()


def test_what_it_prints(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, message: Line, batch: Line, assigned: Line
) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(message) + "\n\n" + json.dumps(batch) + "\n")
    assert run(capsys, good) == (0, ["2 passed, 0 failed"])
    bad = tmp_path / "bad.jsonl"
    bad.write_text(altered(message, flip(3)) + "\n" + altered(batch, flip(30)) + "\n" + json.dumps(batch))
    status, printed = run(capsys, good, bad)
    assert status == 1
    assert printed[-1] == "3 passed, 2 failed"
    assert len(printed) == 3
    assert printed[0].startswith(f"{bad}:1: Fetch response v16 full: ")
    assert printed[1].startswith(f"{bad}:2: v2/none/CreateTime/idempotent/headers: batch 0: ")
    bad.write_text(altered(assigned, lose))
    status, printed = run(capsys, bad)
    assert printed[0].startswith(f"{bad}:1: {assigned['chain']} round {assigned['round']} (join): ")


@pytest.mark.parametrize("suffix,pack", [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_packed_files(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    message: Line,
    suffix: str,
    pack: Callable[[bytes], bytes],
) -> None:
    path = tmp_path / f"messages.jsonl{suffix}"
    packed = pack(json.dumps(message).encode())
    path.write_bytes(packed)
    assert run(capsys, path) == (0, ["1 passed, 0 failed"])
    path.write_bytes(packed[:-20])
    status, printed = run(capsys, path)
    assert (status, printed[-1]) == (1, "0 passed, 1 failed")
    path.write_bytes(b"something else")
    assert run(capsys, path)[0] == 1


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_nothing_to_check_is_no_success(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, message: Line, content: str
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text(content)
    assert run(capsys, empty) == (1, [f"{empty}: no lines", "0 passed, 0 failed"])
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(message))
    assert run(capsys, good, empty)[0] == 1
    assert run(capsys)[0] == 2


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, printed = run(capsys, tmp_path / "nowhere.jsonl")
    assert (status, printed[-1]) == (1, "0 passed, 1 failed")


@pytest.mark.parametrize("text", ["{", "[]", "7", '"batches"', '{"batches": 7}', '{"api": 7}', "{}", "\x00"])
def test_a_line_that_is_no_golden_line_is_one_failure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(text)
    status, printed = run(capsys, path)
    assert (status, len(printed), printed[-1]) == (1, 2, "0 passed, 1 failed")


def test_an_exception_that_is_not_ours_to_raise_is_a_failure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, message: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(line: Line) -> list[str]:
        raise IndexError("out of\nrange")

    monkeypatch.setattr(check_golden, "check_messages_line", broken)
    path = tmp_path / "messages.jsonl"
    path.write_text(json.dumps(message))
    status, printed = run(capsys, path)
    assert status == 1
    assert printed == [f"{path}:1: Fetch response v16 full: IndexError: out of range", "0 passed, 1 failed"]


# ------------------------------------------------------------------------------------------------------- the selection


def message_lines(seed: str) -> Iterator[str]:
    for version in (0, 1):
        for sample in ("0", "full"):
            line = {"api": "Fetch", "kind": "request", "version": version, "sample": sample, "hex": seed}
            yield json.dumps(line) + "\n"


def test_a_selection_of_messages() -> None:
    assert select_golden.select_messages([*message_lines("aa"), *message_lines("bb")]) == list(message_lines("aa"))


def test_a_selection_of_records() -> None:
    def line(name: str, data: str, kind: str = "valid") -> str:
        return json.dumps({"name": name, "kind": kind, "hex": data, "batches": []}) + "\n"

    long = "00" * select_golden.SHORT
    kept = [
        line("v2/none/a", "00"),
        line("v2/none/many", long),
        line("v2/gzip/many", long),
        line("corrupt/crc", "01", "corrupt"),
        line("corrupt/crc", "02", "corrupt"),
    ]
    left_out = [line("v2/none/a", "03"), line("v2/none/large", long), line("corrupt/crc", "01", "corrupt")]
    assert select_golden.select_records([*kept, *left_out]) == kept


def test_a_selection_of_assignments() -> None:
    def line(chain: str, number: int, change: str = "join") -> str:
        return json.dumps({"chain": chain, "round": number, "change": change}) + "\n"

    one = [line("range-0", 0), line("range-0", 1, "stale claim"), line("sticky-9", 0)]
    assert select_golden.select_assignments(one * 2) == [*one, one[1]]


def test_what_is_selected_depends_on_what_is_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, assigned: Line, batch: Line
) -> None:
    monkeypatch.setattr(select_golden, "TARGET", tmp_path)
    path, empty = tmp_path / "one.jsonl", tmp_path / "empty.jsonl"
    empty.write_text("")
    assert select_golden.main([str(empty)]) == 2
    path.write_text(json.dumps(assigned) + "\n")
    assert select_golden.main([str(path)]) == 0
    path.write_text(json.dumps(batch) + "\n")
    assert select_golden.main([str(path)]) == 0
    path.write_text("".join(message_lines("aa")))
    assert select_golden.main([str(path)]) == 0
    assert {path.name for path in tmp_path.glob("*.xz")} == {f"{kind}.jsonl.xz" for kind in select_golden.SELECTIONS}
    assert "records.jsonl.xz: 1 lines" in capsys.readouterr().out
