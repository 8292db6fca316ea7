"""Tests of `connect.runs.delays`."""

import pytest

from connect.runs.delays import backoff, parse_delay, retry_delay

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("1h30m", 5400.0),
        ("2d", 172_800.0),
        ("12", 12.0),
        (" 1.5 ", 1.5),
        ("2023-11-14T22:13:50Z", 30.0),
        ("2023-11-14T23:13:50.500+01:00", 30.5),
        ("2023-11-14T22:13:50", 30.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("2001-01-01T00:00:00Z", 0.0),
        ("-5", 0.0),
    ],
)
def test_a_delay_may_be_a_duration_seconds_or_a_moment(text: str, seconds: float) -> None:
    assert parse_delay(text, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "inf", "nan", "5 parsecs"])
def test_any_other_delay_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="neither a duration such as '1h30m' nor a time"):
        parse_delay(text, NOW)


def test_backoff_doubles_from_one_second_to_sixty() -> None:
    assert [backoff(n, 0.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_jitter_takes_off_up_to_half() -> None:
    assert backoff(3, 1.0) == 2.0


def test_the_workers_wish_goes_before_backoff() -> None:
    assert retry_delay("7s", failures=1, now=NOW, jitter=0.0) == 7.0


@pytest.mark.parametrize("wish", [None, "", "whenever"])
def test_without_a_readable_wish_there_is_backoff(wish: str | None) -> None:
    assert retry_delay(wish, failures=2, now=NOW, jitter=0.0) == 2.0
