"""Package ``time``."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cue.packages.time_layouts import RFC3339_NANO
from tests.config.cue.builtins import answer, call, refusal

PATH = "time"

# The function, its arguments, and its answer as JSON.
ANSWERS: list[tuple[str, tuple[Any, ...], str]] = [
    ("ParseDuration", ("1h30m",), "5400000000000"),
    ("ParseDuration", ("1.5h",), "5400000000000"),
    ("ParseDuration", ("-1.5h",), "-5400000000000"),
    ("ParseDuration", ("+5s",), "5000000000"),
    ("ParseDuration", ("0",), "0"),
    ("ParseDuration", ("100ns",), "100"),
    ("ParseDuration", ("1us",), "1000"),
    ("ParseDuration", ("1µs",), "1000"),
    ("ParseDuration", ("1μs",), "1000"),
    ("ParseDuration", ("1.5ns",), "1"),
    ("ParseDuration", ("1.999999999s",), "1999999999"),
    ("ParseDuration", (".5s",), "500000000"),
    ("ParseDuration", ("5.s",), "5000000000"),
    ("ParseDuration", ("1h1h",), "7200000000000"),
    ("ParseDuration", ("2562047h47m16.854775807s",), "9223372036854775807"),
    ("ParseDuration", ("0.9223372036854775808h",), "3320413933267"),
    ("ParseDuration", ("0.33333333333333333333h",), "1200000000000"),
    ("ParseDuration", ("-0",), "0"),
    ("ParseDuration", ("+0",), "0"),
    ("ParseDuration", ("0s",), "0"),
    ("Duration", ("1h",), "true"),
    ("Time", ("2019-01-02T15:04:05Z",), "true"),
    ("Time", ("2019-01-02T15:04:05.123Z",), "true"),
    ("Time", ("2019-01-02T15:04:05+01:00",), "true"),
    ("Time", ("2020-02-29T15:04:05Z",), "true"),
    ("Time", ("2019-01-02T15:04:05+24:00",), "true"),
    ("Time", ("2019-01-02T15:04:05+23:60",), "true"),
    ("Time", ("2019-01-02T5:04:05Z",), "true"),
    ("Time", ("0000-01-01T00:00:00Z",), "true"),
    ("Format", ("2019-01-02T15:04:05Z", "2006-01-02T15:04:05Z07:00"), "true"),
    ("Format", ("2024-02-29", "2006-01-02"), "true"),
    ("Format", ("3:04PM", "3:04PM"), "true"),
    ("Format", ("03:04PM", "3:04PM"), "true"),
    ("Format", ("0:04PM", "3:04PM"), "true"),
    ("Format", ("23:04", "15:04"), "true"),
    ("Format", ("Mon Jan  2 15:04:05 2006", "Mon Jan _2 15:04:05 2006"), "true"),
    ("Format", ("Mon Jan 2 15:04:05 2006", "Mon Jan _2 15:04:05 2006"), "true"),
    ("Format", ("Tue Jan  2 15:04:05 2006", "Mon Jan _2 15:04:05 2006"), "true"),
    ("Format", ("mon jan  2 15:04:05 2006", "Mon Jan _2 15:04:05 2006"), "true"),
    ("Format", ("Mon Jan  2 15:04:05 MST 2006", "Mon Jan _2 15:04:05 MST 2006"), "true"),
    ("Format", ("Mon Jan  2 15:04:05 GMT+3 2006", "Mon Jan _2 15:04:05 MST 2006"), "true"),
    ("Format", ("Mon Jan  2 15:04:05 UTC 2006", "Mon Jan _2 15:04:05 MST 2006"), "true"),
    ("Format", ("Mon Jan  2 15:04:05 CEST 2006", "Mon Jan _2 15:04:05 MST 2006"), "true"),
    ("Format", ("Mon Jan 02 15:04:05 -0700 2006", "Mon Jan 02 15:04:05 -0700 2006"), "true"),
    ("Format", ("02 Jan 06 15:04 MST", "02 Jan 06 15:04 MST"), "true"),
    ("Format", ("02 Jan 06 15:04 -0700", "02 Jan 06 15:04 -0700"), "true"),
    ("Format", ("Monday, 02-Jan-06 15:04:05 MST", "Monday, 02-Jan-06 15:04:05 MST"), "true"),
    ("Format", ("Mon, 02 Jan 2006 15:04:05 MST", "Mon, 02 Jan 2006 15:04:05 MST"), "true"),
    ("Format", ("Mon, 02 Jan 2006 15:04:05 -0700", "Mon, 02 Jan 2006 15:04:05 -0700"), "true"),
    ("Format", ("2006-01-02T15:04:05.1Z", "2006-01-02T15:04:05.999999999Z07:00"), "true"),
    ("Format", ("2006-01-02", "2006-01-02"), "true"),
    ("Format", ("2020-060", "2006-002"), "true"),
    ("Format", ("2020-366", "2006-002"), "true"),
    ("Format", ("Feb 28 20", "Jan _2 06"), "true"),
    ("Format", ("15:04:05.123", "15:04:05.000"), "true"),
    ("Format", ("15:04:05", "15:04:05.999"), "true"),
    ("Format", ("15:04:05.1", "15:04:05.999"), "true"),
    ("Format", ("15:04:05.12345", "15:04:05"), "true"),
    ("Format", ("3pm", "3pm"), "true"),
    ("Format", ("12AM", "3PM"), "true"),
    ("Format", ("Z", "Z0700"), "true"),
    ("Format", ("+0100", "Z0700"), "true"),
    ("Format", ("+01:00:00", "Z07:00:00"), "true"),
    ("Format", ("+01", "-07"), "true"),
    ("Format", ("february 3", "January 2"), "true"),
    ("Format", ("", ""), "true"),
    ("Format", ("abc", "abc"), "true"),
    ("Format", ("12/31/2006", "1/2/2006"), "true"),
    ("Format", ("1/02/2006", "1/2/2006"), "true"),
    ("Parse", ("2006-01-02", "2019-01-02"), '"2019-01-02T00:00:00Z"'),
    ("Parse", ("2006-01-02T15:04:05Z07:00", "2019-01-02T15:04:05+01:00"), '"2019-01-02T14:04:05Z"'),
    (
        "Parse",
        ("2006-01-02T15:04:05Z07:00", "2019-01-02T15:04:05.120Z"),
        '"2019-01-02T15:04:05.12Z"',
    ),
    ("Parse", ("3:04PM", "3:04PM"), '"0000-01-01T15:04:00Z"'),
    ("Parse", ("15:04", "11:30"), '"0000-01-01T11:30:00Z"'),
    ("Parse", ("02 Jan 06 15:04 MST", "02 Jan 70 15:04 MST"), '"1970-01-02T15:04:00Z"'),
    ("Parse", ("02 Jan 06 15:04 MST", "02 Jan 06 15:04 UTC"), '"2006-01-02T15:04:00Z"'),
    ("Parse", ("02 Jan 06 15:04 MST", "02 Jan 68 15:04 GMT"), '"2068-01-02T15:04:00Z"'),
    (
        "Parse",
        ("Mon, 02 Jan 2006 15:04:05 MST", "Mon, 02 Jan 2006 15:04:05 CET"),
        '"2006-01-02T15:04:05Z"',
    ),
    (
        "Parse",
        ("Mon, 02 Jan 2006 15:04:05 -0700", "Mon, 02 Jan 2006 15:04:05 +0530"),
        '"2006-01-02T09:34:05Z"',
    ),
    ("Parse", ("2006-01-02 MST", "2020-01-02 GMT-4"), '"2020-01-02T00:00:00Z"'),
    ("Parse", ("2006-002", "2020-060"), '"2020-02-29T00:00:00Z"'),
    ("Unix", (0, 0), '"1970-01-01T00:00:00Z"'),
    ("Unix", (1500000000, 123456), '"2017-07-14T02:40:00.000123456Z"'),
    ("Unix", (1500000000, 120000000), '"2017-07-14T02:40:00.12Z"'),
    ("Unix", (-1, 0), '"1969-12-31T23:59:59Z"'),
    ("Unix", (0, 1500000000), '"1970-01-01T00:00:01.5Z"'),
    ("Unix", (0, -1), '"1969-12-31T23:59:59.999999999Z"'),
    ("Unix", (253402300800, 0), '"10000-01-01T00:00:00Z"'),
    ("Unix", (1000000000000, 0), '"33658-09-27T01:46:40Z"'),
    ("Unix", (-62135596801, 0), '"0000-12-31T23:59:59Z"'),
    ("Unix", (9223372036854775807, 0), '"292277026596-12-04T15:30:07Z"'),
    ("Unix", (-9223372036854775808, 0), '"292277026596-12-04T15:30:08Z"'),
    ("Format", ("Mon Jan  2 15:04:05 WITA 2006", "Mon Jan _2 15:04:05 MST 2006"), "true"),
    ("Format", ("Mon Jan  2 15:04:05 ChST 2006", "Mon Jan _2 15:04:05 MST 2006"), "true"),
    ("Format", ("Mon Jan  2 15:04:05 +03 2006", "Mon Jan _2 15:04:05 MST 2006"), "true"),
    ("Format", ("Mon Jan  2 15:04:05 ABCDT 2006", "Mon Jan _2 15:04:05 MST 2006"), "true"),
    ("Format", ("2020-01-02T15:04:05.123456789", "2006-01-02T15:04:05"), "true"),
    ("Format", ("12:00AM", "3:04PM"), "true"),
    ("Format", ("06", "06"), "true"),
    ("Format", ("1:2:3", "3:4:5"), "true"),
    ("Format", ("11:22:33", "3:4:5"), "true"),
    ("Format", ("31", "2"), "true"),
    ("Format", ("29 Feb", "2 Jan"), "true"),
    ("Format", ("2020 060 Feb 29", "2006 002 Jan 2"), "true"),
    ("Format", ("2020  60", "2006 __2"), "true"),
    ("Format", ("2020 60", "2006 __2"), "true"),
    ("Format", ("2020   6", "2006 __2"), "true"),
    ("Format", ("Janx", "Janx"), "true"),
    ("Format", ("Janx 1", "Janx 2"), "true"),
    ("Format", ("Monday", "Monday"), "true"),
    ("Format", ("mon", "Mon"), "true"),
    ("Format", ("_2006", "_2006"), "true"),
    ("Format", ("_2020", "_2006"), "true"),
    ("Format", ("a b", "a  b"), "true"),
    ("Format", ("a  b", "a b"), "true"),
    ("Format", ("a", "a "), "true"),
    ("Format", ("", " "), "true"),
    ("Format", ("15:04:05.12", "15:04:05.00"), "true"),
    ("Format", ("Z", "Z07:00"), "true"),
    ("Format", ("+01", "Z07"), "true"),
    ("Format", ("-010203", "-070000"), "true"),
    ("Format", ("-01:02:03", "-07:00:00"), "true"),
    ("Format", ("+99:99", "-07:00"), "true"),
    (
        "Parse",
        ("2006-01-02 15:04:05.999 -07:00", "2020-01-02 00:04:05.5 +05:30"),
        '"2020-01-01T18:34:05.5Z"',
    ),
    ("Parse", ("3:04PM", "12:05AM"), '"0000-01-01T00:05:00Z"'),
    ("Parse", ("3:04PM", "12:05PM"), '"0000-01-01T12:05:00Z"'),
    ("Parse", ("15:04PM", "15:05AM"), '"0000-01-01T15:05:00Z"'),
    ("Parse", ("2006", "2020"), '"2020-01-01T00:00:00Z"'),
    ("Parse", ("Jan", "feb"), '"0000-02-01T00:00:00Z"'),
    ("Parse", ("06", "99"), '"1999-01-01T00:00:00Z"'),
    ("Parse", ("002", "366"), '"0000-12-31T00:00:00Z"'),
    ("Parse", ("2006-01-02", "0000-02-29"), '"0000-02-29T00:00:00Z"'),
    (
        "Parse",
        ("Mon Jan _2 15:04:05 MST 2006", "Mon Jan  2 15:04:05 GMT+3 2006"),
        '"2006-01-02T15:04:05Z"',
    ),
    ("Parse", ("-07:00:00", "-01:02:03"), '"0000-01-01T01:02:03Z"'),
    ("Unix", (-62167219201, 0), '"-0001-12-31T23:59:59Z"'),
    ("Unix", (-99999999999999, 0), '"-3166904-02-24T14:13:21Z"'),
    ("Unix", (1, 9223372036854775807), '"2262-04-11T23:47:17.854775807Z"'),
    ("Unix", (951782400, 0), '"2000-02-29T00:00:00Z"'),
    ("Unix", (68169600, 5), '"1972-02-29T00:00:00.000000005Z"'),
    ("ParseDuration", ("9223372036.854775807s",), "9223372036854775807"),
    ("ParseDuration", ("0.000000001s",), "1"),
    ("ParseDuration", ("0.99999999999999999999s",), "1000000000"),
    ("ParseDuration", ("1m0.5us",), "60000000500"),
]

# The function, and arguments that it refuses.
REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("ParseDuration", ("",)),
    ("ParseDuration", ("-",)),
    ("ParseDuration", ("1",)),
    ("ParseDuration", ("1d",)),
    ("ParseDuration", ("1 h",)),
    ("ParseDuration", (".s",)),
    ("ParseDuration", ("2562047h47m16.854775808s",)),
    ("ParseDuration", ("-2562047h47m16.854775808s",)),
    ("ParseDuration", ("9223372036854775808ns",)),
    ("ParseDuration", ("1H",)),
    ("ParseDuration", ("--1s",)),
    ("ParseDuration", ("1e3s",)),
    ("Duration", ("x",)),
    ("Duration", ("",)),
    ("Time", ("2019-01-02T15:04:05",)),
    ("Time", ("2019-13-02T15:04:05Z",)),
    ("Time", ("2019-02-29T15:04:05Z",)),
    ("Time", ("2019-01-02 15:04:05Z",)),
    ("Time", ("2019-01-02T24:00:00Z",)),
    ("Time", ("2019-01-02T23:59:60Z",)),
    ("Time", ("2019-01-02T15:04:05z",)),
    ("Time", ("2019-01-02T15:04:05-0700",)),
    ("Time", ("2019-1-2T15:04:05Z",)),
    ("Time", ("2019-01-02T15:04:05,5Z",)),
    ("Time", ("2019-01-02T15:04:05.Z",)),
    ("Time", ("x",)),
    ("Time", ("2019-01-02T15:04:05.999999999999Z",)),
    ("Format", ("2023-02-29", "2006-01-02")),
    ("Format", ("13:04PM", "3:04PM")),
    ("Format", ("3:04pm", "3:04PM")),
    ("Format", ("24:00", "15:04")),
    ("Format", ("Foo Jan  2 15:04:05 2006", "Mon Jan _2 15:04:05 2006")),
    ("Format", ("Mon Jan  2 15:04:05 mst 2006", "Mon Jan _2 15:04:05 MST 2006")),
    ("Format", ("Mon Jan  2 15:04:05 ABCDE 2006", "Mon Jan _2 15:04:05 MST 2006")),
    ("Format", ("2019-366", "2006-002")),
    ("Format", ("Feb 30 20", "Jan _2 06")),
    ("Format", ("15:04:05.12", "15:04:05.000")),
    ("Format", ("abd", "abc")),
    ("Format", ("20066", "2006")),
    ("Format", ("1/2/2006", "01/02/2006")),
    ("Parse", ("2006-01-02", "x")),
    ("Format", ("Mon Jan  2 15:04:05 ABCD 2006", "Mon Jan _2 15:04:05 MST 2006")),
    ("Format", ("Mon Jan  2 15:04:05 GMT+24 2006", "Mon Jan _2 15:04:05 MST 2006")),
    ("Format", ("Mon Jan  2 15:04:05 GMT+ 2006", "Mon Jan _2 15:04:05 MST 2006")),
    ("Format", ("Mon Jan  2 15:04:05 AB 2006", "Mon Jan _2 15:04:05 MST 2006")),
    ("Format", ("Mon Jan  2 15:04:05 UTCX 2006", "Mon Jan _2 15:04:05 MST 2006")),
    ("Format", ("Mon Jan  2 15:04:05 CESTX 2006", "Mon Jan _2 15:04:05 MST 2006")),
    ("Format", ("Mon Jan  2 15:04:05 ABCDEF 2006", "Mon Jan _2 15:04:05 MST 2006")),
    ("Format", ("2020-01-02T15:04:05.1234567890", "2006-01-02T15:04:05")),
    ("Format", ("15:04:05.", "15:04:05")),
    ("Format", ("0-01-02", "2006-01-02")),
    ("Format", ("13", "3")),
    ("Format", ("00", "2")),
    ("Format", ("0", "1")),
    ("Format", ("32", "2")),
    ("Format", ("31 Feb", "2 Jan")),
    ("Format", ("2020 060 Mar 29", "2006 002 Jan 2")),
    ("Format", ("2020 060 Feb 28", "2006 002 Jan 2")),
    ("Format", ("2020 000", "2006 002")),
    ("Format", ("2020 1", "2006 Jan")),
    ("Format", ("ab", "a b")),
    ("Format", ("a ", "a")),
    ("Format", (" ", "")),
    ("Format", ("15:04:05.1", "15:04:05.00")),
    ("Format", ("15:04:05.123", "15:04:05.00")),
    ("Format", ("15:04:05.000", "15:04:05.0001")),
    ("Format", ("+1:00", "Z07:00")),
    ("Format", ("+0100", "-07:00")),
    ("Format", ("2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z07:00")),
    ("Parse", ("2006-01-02", "1900-02-29")),
    ("ParseDuration", ("1.1.1s",)),
    ("ParseDuration", ("1s ",)),
    ("ParseDuration", ("9223372036.854775808s",)),
    ("ParseDuration", ("1h-1m",)),
    ("ParseDuration", ("100000000000000000000ns",)),
    ("ParseDuration", ("3000000h",)),
    ("ParseDuration", ("+",)),
    ("ParseDuration", (".",)),
    ("ParseDuration", ("s",)),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), ANSWERS)
def test_answers(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert answer(PATH, name, *arguments) == expected


@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(PATH, name, *arguments)


@pytest.mark.parametrize(
    ("layout", "value", "expected"),
    [
        ("2006-01-02", "2024-02-29T15:04:05Z", "2024-02-29"),
        (
            "Mon Monday Jan January _2 2 02",
            "2024-02-09T15:04:05Z",
            "Fri Friday Feb February  9 9 09",
        ),
        ("15 3 03 4 04 5 05 PM pm", "2024-02-09T15:04:05Z", "15 3 03 4 04 5 05 PM pm"),
        ("3PM", "2024-02-09T00:04:05Z", "12AM"),
        ("06 1 01 002 __2", "2024-02-09T00:04:05Z", "24 2 02 040  40"),
        (".000 .999 .000000000", "2024-02-09T00:04:05.12Z", ".120 .12 .120000000"),
        (".999", "2024-02-09T00:04:05Z", ""),
        (
            "-07 -0700 -07:00 -070000 -07:00:00",
            "2024-02-09T00:04:05-05:30",
            "-05 -0530 -05:30 -053000 -05:30:00",
        ),
        ("Z07:00 MST", "2024-02-09T00:04:05Z", "Z UTC"),
        ("Z0700 MST", "2024-02-09T00:04:05+05:30", "+0530 +0530"),
        ("no layout", "2024-02-09T00:04:05Z", "no layout"),
    ],
)
def test_format_string(layout: str, value: str, expected: str) -> None:
    assert call(PATH, "FormatString", layout, value) == expected


def test_split() -> None:
    assert call(PATH, "Split", "2024-02-29T15:04:05.5+01:00") == {
        "year": 2024,
        "month": 2,
        "day": 29,
        "hour": 15,
        "minute": 4,
        "second": 5,
        "nanosecond": 500_000_000,
    }


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        (
            "ParseDuration",
            ("1d",),
            "invalid duration '1d'; expected a unit of ns, us, ms, s, m, h; found 'd'",
        ),
        (
            "ParseDuration",
            ("1",),
            "invalid duration '1'; expected a unit of ns, us, ms, s, m, h; found none",
        ),
        (
            "Format",
            ("x", "2006"),
            "invalid time 'x' for the layout '2006': found 'x', expected a year of four digits",
        ),
        (
            "Format",
            ("13", "1"),
            "invalid time '13' for the layout '1': found '13', expected a month from 1 to 12",
        ),
        (
            "Format",
            ("2023-02-29", "2006-01-02"),
            "invalid time '2023-02-29' for the layout '2006-01-02':"
            " there is no day 29 of February 2023",
        ),
    ],
)
def test_a_refusal_says_what_would_be_right(
    name: str, arguments: tuple[Any, ...], reason: str
) -> None:
    assert refusal(PATH, name, *arguments) == reason


@given(st.datetimes(timezones=st.just(UTC)))
def test_unix_writes_what_the_calendar_says(moment: datetime) -> None:
    seconds, rest = divmod(moment - datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1))
    written = call(PATH, "Unix", seconds, rest.microseconds * 1000)
    assert datetime.fromisoformat(written) == moment


@given(st.integers(-62_167_219_200, 253_402_300_799), st.integers(0, 999_999_999))
def test_parse_inverts_unix(seconds: int, nanoseconds: int) -> None:
    written = call(PATH, "Unix", seconds, nanoseconds)
    assert call(PATH, "Parse", RFC3339_NANO, written) == written


@given(st.integers(0, 2**63 - 1))
def test_nanoseconds_are_a_duration(number: int) -> None:
    assert call(PATH, "ParseDuration", f"{number}ns") == number


def test_a_duration_of_a_million_digits_is_refused() -> None:
    assert refusal(PATH, "ParseDuration", "9" * 1_000_000 + "h")


def test_long_layouts_are_read_and_written() -> None:
    layout = "2006 " * 50_000
    written = call(PATH, "FormatString", layout, "2024-02-09T00:04:05Z")
    assert written == "2024 " * 50_000
    assert call(PATH, "Format", written, layout) is True


def test_the_last_day_of_a_late_leap_year() -> None:
    assert call(PATH, "Unix", 46_386 * 86_400, 0) == "2096-12-31T00:00:00Z"
