"""Complaints are said once, and then once in a while with a count."""

from __future__ import annotations

import logging

import pytest

from dekaf_proto.logs import INTERVAL, RateLimited

log = logging.getLogger("dekaf.test")


def test_a_complaint_is_not_repeated_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    limited = RateLimited(log)
    for now in (100.0, 101.0, 102.0, 100.0 + INTERVAL, 101.0 + INTERVAL):
        limited.warning(now, "a", "%s failed at %d", "it", int(now))
    assert caplog.messages == ["it failed at 100", "it failed at 130 (2 more in the last 30 s)"]
    assert {record.name for record in caplog.records} == {"dekaf.test"}


def test_subjects_do_not_hide_each_other(caplog: pytest.LogCaptureFixture) -> None:
    limited = RateLimited(log)
    limited.warning(1.0, "a", "100 % of a")
    limited.warning(1.0, "b", "b")
    assert caplog.messages == ["100 % of a", "b"]


def test_after_the_trouble_is_over_the_next_one_is_said(caplog: pytest.LogCaptureFixture) -> None:
    limited = RateLimited(log)
    limited.warning(1.0, "a", "first")
    limited.warning(2.0, "a", "again")
    limited.settled("a")
    limited.settled("never heard of")
    limited.warning(3.0, "a", "second")
    assert caplog.messages == ["first", "second"]
