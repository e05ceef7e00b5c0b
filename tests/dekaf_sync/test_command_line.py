"""`dekaf broker` and `dekaf demo`, as commands; and the demo's account, which must find what is wrong."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from dekaf_sync import Consumer
from dekaf_sync.__main__ import main
from dekaf_sync._demo.account import Account, Journal, Line
from dekaf_sync._demo.screen import HEADINGS, Screen, make_screen, rows

DEKAF = [sys.executable, "-m", "dekaf_sync"]


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs, with its output and its errors in one."""
    process = subprocess.Popen([*DEKAF, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


# ------------------------------------------------------------------------------------------------------------ broker


@pytest.mark.skipif(sys.platform == "win32", reason="no signals that a process can send to one alone")
def test_a_broker_until_ctrl_c() -> None:
    with program("broker", "--port", "0", "--nodes", "2", "--topic", "orders:3", "--topic", "x") as process:
        assert process.stdout is not None
        found = re.fullmatch(r"bootstrap.servers=(127.0.0.1:\d+,127.0.0.1:\d+)\n", process.stdout.readline())
        assert found
        assert process.stdout.readline() == "topics: orders (3), x (1). Ctrl+C ends it.\n"
        with Consumer(bootstrap_servers=found[1]) as consumer:
            assert sorted(consumer.topics()) == ["orders", "x"]
            assert len(consumer.partitions_for("orders")) == 3
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "ended\n"
        assert process.wait() == 0


def test_a_broker_whose_port_is_taken(capsys: pytest.CaptureFixture[str], free_signals: None) -> None:
    with program("broker", "--port", "0") as process:
        assert process.stdout is not None
        port = process.stdout.readline().rpartition(":")[2].strip()
        assert main(["broker", "--port", port]) == 1
        assert f"node 0 can't listen on 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "required: COMMAND"),
        (["brokr"], "invalid choice"),
        (["broker", "--topic", "x:0"], "'x:0' is not NAME or NAME:PARTITIONS"),
        (["broker", "--nodes", "0"], "must be at least 1"),
        (["demo", "--orders", "0"], "must be at least 1"),
        (["demo", "--speed", "0"], "must be more than 0"),
        (["demo", "--speed", "-1"], "must be more than 0"),
        (["demo", "--speed", "nan"], "must be more than 0"),
    ],
)
def test_arguments_that_can_t_be(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--host", "0.0.0.0"], ["--topic", "a b"], ["--port", "70000"], ["--port", "65535", "--nodes", "2"]]
)
def test_options_that_the_broker_refuses(
    arguments: list[str], capsys: pytest.CaptureFixture[str], free_signals: None
) -> None:
    assert main(["broker", *arguments]) == 1
    assert capsys.readouterr().err.startswith("dekaf broker: ")


# -------------------------------------------------------------------------------------------------------------- demo


def test_the_demo_goes_without_a_word_when_nobody_reads_it() -> None:
    with subprocess.Popen([*DEKAF, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() != ""
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


def test_the_demo() -> None:
    command = [*DEKAF, "demo", "--plain", "--speed", "5", "--orders", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    story, _, summary = done.stdout.partition("\n\n")
    assert "'automatic' is KILLED" in story
    assert "'by hand' has all partitions" in story
    assert "100 orders in 4 partitions; 0 of them were lost." in summary
    numbers = re.search(r"'automatic' had done (\d+) when it was killed, and had not committed (\d+) of these", summary)
    assert numbers
    assert 0 < int(numbers[1]) < 100
    twice = re.search(r"^(\d+) orders were done twice", summary, re.MULTILINE)
    assert twice
    commits = re.search(r"^0 commits covered .*; (\d+) were looked at", summary, re.MULTILINE)
    assert commits
    assert int(commits[1]) > 2
    assert "All of this was checked" in summary


# ----------------------------------------------------------------------------------------------------------- account

FED = {0: [0, 1, 2], 1: [5, 6]}
VICTIM, SURVIVOR = "automatic", "by hand"


def done(partition: int, *offsets: int) -> list[Line]:
    return [{"done": [partition, offset]} for offset in offsets]


def told(
    first: Iterable[Line] = (), second: Iterable[Line] = (), end: Mapping[int, int] | None = None
) -> tuple[Account, list[str]]:
    """The account of a victim that had partition 0, with offset 1 committed, and was killed; and of a survivor. What
    each does is what it does in a story that is right, unless given."""
    account = Account(FED)
    account.read(VICTIM, [{"assigned": [0]}, *(first or done(0, 0, 1))])
    account.read(SURVIVOR, [{"assigned": [1]}, *done(1, 5)])
    account.look({0: 1, 1: 6})
    account.killed(VICTIM)
    right = [{"revoked": [1]}, {"assigned": [0, 1]}, *done(0, 1, 2), *done(1, 6)]
    account.read(SURVIVOR, second or right)
    account.look({0: 3, 1: 7} if end is None else end)
    return account, account.failures(VICTIM, SURVIVOR)


def test_an_account_that_is_right() -> None:
    account, failures = told()
    assert failures == []
    assert account.all_committed()
    assert account.summary(VICTIM, SURVIVOR) == [
        "5 orders in 2 partitions; 0 of them were lost.",
        "'automatic' had done 2 when it was killed, and had not committed 1 of these.",
        "'by hand' took over partition 0 at what was committed, and did 4 orders.",
        "1 orders were done twice.",
        "0 commits covered an order that was not done; what is committed was looked at again and again.",
    ]
    assert account.take_events() == [
        "'automatic' is given partition 0",
        "'by hand' is given partition 1",
        "'by hand' gives back partition 1",
        "'by hand' is given partitions 0, 1",
    ]
    assert account.take_events() == []
    assert rows(account) == [
        ("0", "by hand", "3", "3", "3", "0"),
        ("1", "by hand", "7", "7", "7", "0"),
    ]
    assert len(HEADINGS) == len(rows(account)[0])


BOTH: list[Line] = [{"assigned": [0, 1]}]


@pytest.mark.parametrize(
    "second, said",
    [
        ([*BOTH, *done(0, 2), *done(1, 6)], None),
        ([*BOTH, *done(0, 1), *done(1, 6)], "1 orders were lost"),
        ([*BOTH, *done(0, 0, 1, 2), *done(1, 6)], "began partition 0 at 0; 1 was committed by then"),
        ([*BOTH, *done(0, 1, 2, 2), *done(1, 6)], "did partition 0, offset 2, after 2"),
        ([*BOTH, *done(0, 2, 7), *done(1, 6)], "1 orders were done that there are not"),
        ([*done(1, 6), *done(0, 2)], "'by hand' took nothing over from 'automatic'"),
    ],
)
def test_an_account_finds_what_is_wrong(second: list[Line], said: str | None) -> None:
    _, failures = told(second=second)
    assert [said in failure for failure in failures if said is not None].count(True) == (said is not None), failures
    assert bool(failures) == (said is not None)


def test_a_commit_that_is_ahead() -> None:
    _, failures = told(first=done(0, 1))
    assert "partition 0: 1 was committed before the order at 0 was done" in failures
    account = Account(FED)
    account.read(VICTIM, [{"assigned": [0]}, *done(0, 0)])
    account.commit({0: 1})
    assert account.ahead == 0
    account.commit({0: 2})
    assert (account.ahead, account.commits) == (1, 2)
    assert "partition 0: 2 was committed before the order at 1 was done" in account.failures(VICTIM, SURVIVOR)


def test_something_is_not_committed_at_the_end() -> None:
    account, failures = told(end={0: 2, 1: 7})
    assert not account.all_committed()
    assert failures == ["partition 0: 2 is committed at the end, and not 3"]


def test_a_journal_is_read_by_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.read() == []
    journal.path.write_bytes(b'{"done": [0, 1]}\n{"done": ')
    assert journal.read() == [{"done": [0, 1]}]
    journal.path.write_bytes(b'{"done": [0, 1]}\n{"done": [0, 2]}\n')
    assert journal.read() == [{"done": [0, 2]}]


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    account, _ = told()
    screen = make_screen(False, account)
    assert type(screen) is Screen
    with screen:
        screen.say("here")
        screen.show()
        screen._shown -= 1
        screen.show()
    here, table = capsys.readouterr().out.splitlines()
    assert here.endswith("s  here")
    assert table.endswith("0: 3/3/3   1: 7/7/7")
