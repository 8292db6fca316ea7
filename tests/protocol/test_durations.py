"""Durations as text."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.protocol.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("10s", 10.0),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("2.s", 2.0),
        ("500ms", 0.5),
        ("250us", 0.00025),
        ("250\u00b5s", 0.00025),
        ("250\u03bcs", 0.00025),
        ("100ns", 1e-7),
        ("1m30s", 90.0),
        ("1h30m", 5400.0),
        ("7d", 604_800.0),
        ("2w", 1_209_600.0),
        ("1w2d3h4m5s6ms", 788_645.006),
        ("30m1h", 5400.0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty duration; expected something like 10s, 1h30m, 500ms or 7d"),
        ("10", "no unit after 10; expected something like 10s, 1h30m, 500ms or 7d"),
        ("1h30", "no unit after 30; expected something like 10s, 1h30m, 500ms or 7d"),
        ("-1s", "no number at '-1s'; expected something like 10s, 1h30m, 500ms or 7d"),
        ("soon", "no number at 'soon'; expected something like 10s, 1h30m, 500ms or 7d"),
        (" 1s", "no number at ' 1s'; expected something like 10s, 1h30m, 500ms or 7d"),
        (
            "3 days",
            "unknown unit ' days'; units are w, d, h, m, s, ms, us and ns; "
            "expected something like 10s, 1h30m, 500ms or 7d",
        ),
        (
            "1y",
            "unknown unit 'y'; units are w, d, h, m, s, ms, us and ns; "
            "expected something like 10s, 1h30m, 500ms or 7d",
        ),
        ("1.2.3s", "no unit after 1.2; expected something like 10s, 1h30m, 500ms or 7d"),
        ("9" * 400 + "h", "longer than 292 years"),
        ("300000d", "longer than 292 years"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_duration(text)


@given(st.text(max_size=30) | st.text(alphabet="0123456789.hmsduwn ", max_size=12))
def test_reading_any_text_gives_seconds_or_a_value_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds < math.inf


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (10.0, "10s"),
        (90, "90s"),
        (7200, "7200s"),
        (0.5, "500ms"),
        (1.5, "1500ms"),
        (0.1 * 3, "300ms"),
        (0.000_25, "250us"),
        (1e-9, "1ns"),
        (1e-12, "0s"),
    ],
)
def test_a_duration_is_written_in_one_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=10**9))
def test_whole_seconds_are_written_as_sdks_read_them(seconds: int) -> None:
    assert format_duration(seconds) == f"{seconds}s"


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, math.inf])
def test_what_is_no_duration_is_not_written(seconds: float) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        format_duration(seconds)


@given(st.floats(min_value=0, max_value=9e9))
def test_what_is_written_reads_as_the_same_duration(seconds: float) -> None:
    again = parse_duration(format_duration(seconds))
    assert again == pytest.approx(seconds, rel=1e-12, abs=1e-9)
