"""Values and spans of time as people read them."""

from __future__ import annotations

import pytest

from autokd.formatting import brief, clock, prefixed, span, span_words


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.3, "0.3 s"), (45, "45 s"), (600, "10 min"), (9000, "2.5 h"), (216000, "2.5 days")]
)
def test_a_time_for_people(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(600, "10 minutes"), (60, "1 minute"), (3600, "1 hour"), (5400, "1.5 hours"), (90, "1.5 minutes"), (1, "1 second"),
     (100, "100 seconds"), (86400, "24 hours")],
)  # fmt: skip
def test_a_window_in_words(seconds: float, text: str) -> None:
    assert span_words(seconds) == text


def test_a_clock_has_two_digits_of_seconds() -> None:
    assert [clock(s) for s in (0, 7.9, 61, 3600)] == ["0:00", "0:07", "1:01", "60:00"]


def test_a_parameter_s_value_is_brief() -> None:
    assert [brief(v) for v in (0.123456, 3, "kd", True, None)] == ["0.1235", "3", "kd", "True", "none"]
    assert brief(None, "–") == "–"


def test_ticks_have_a_prefix() -> None:
    assert [prefixed(v) for v in (0.02, 250.0, 2000.0, 1.5e6, -3e9)] == ["0.02", "250", "2k", "1.5M", "-3G"]
    assert [prefixed(v, " ", 1e4) for v in (2500.0, 25000.0, 1e6)] == ["2500", "25 k", "1 M"]
