"""When schedules start functions."""

import time
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.schedule import Schedule, ScheduleError, nearest_zone, next_times
from connect.config.triggers import CronTrigger

NEW_YEAR = "2026-01-01T00:00:00+00:00"


def times(cron: str, after: str = NEW_YEAR, count: int = 3) -> list[str]:
    """Return the next times of a schedule, each as text with its offset."""
    starts = next_times(CronTrigger(cron), datetime.fromisoformat(after).timestamp(), count)
    return [start.at.isoformat() for start in starts]


def days(cron: str, count: int = 3) -> list[str]:
    return [text[:10] for text in times(cron, count=count)]


def reason(cron: str) -> str:
    with pytest.raises(ScheduleError) as caught:
        Schedule.parse(cron)
    return str(caught.value)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("*/15 * * * *", ["00:15:00", "00:30:00", "00:45:00"]),
        ("5-10/2 * * * *", ["00:05:00", "00:07:00", "00:09:00"]),
        ("5/20 * * * *", ["00:05:00", "00:25:00", "00:45:00"]),
        ("5-5/2 * * * *", ["00:05:00", "01:05:00", "02:05:00"]),
        ("1,3 * * * *", ["00:01:00", "00:03:00", "01:01:00"]),
        ("30 */5 * * * *", ["00:00:30", "00:05:30", "00:10:30"]),
        ("@hourly", ["01:00:00", "02:00:00", "03:00:00"]),
        ("@every 1h30m", ["01:30:00", "03:00:00", "04:30:00"]),
    ],
)
def test_times_of_the_day(cron: str, expected: list[str]) -> None:
    assert [text[11:19] for text in times(cron)] == expected


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 9 * * MON-FRI", ["2026-01-01", "2026-01-02", "2026-01-05"]),
        ("0 9 * * mon", ["2026-01-05", "2026-01-12", "2026-01-19"]),
        ("0 9 * * 7", ["2026-01-04", "2026-01-11", "2026-01-18"]),
        ("0 9 * * FRI/2", ["2026-01-02", "2026-01-09", "2026-01-16"]),
        ("0 9 * * SAT/1", ["2026-01-03", "2026-01-10", "2026-01-17"]),
        ("0 9 ? * MON", ["2026-01-05", "2026-01-12", "2026-01-19"]),
        ("0 9 */1 * MON", ["2026-01-05", "2026-01-12", "2026-01-19"]),
        ("0 9 1 JAN ?", ["2026-01-01", "2027-01-01", "2028-01-01"]),
        ("0 9 L * *", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("0 9 * * 5L", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 9 * * MON#2", ["2026-01-12", "2026-02-09", "2026-03-09"]),
        ("0 9 29 2 *", ["2028-02-29", "2032-02-29", "2036-02-29"]),
        ("@daily", ["2026-01-02", "2026-01-03", "2026-01-04"]),
        ("@weekly", ["2026-01-04", "2026-01-11", "2026-01-18"]),
        ("@monthly", ["2026-02-01", "2026-03-01", "2026-04-01"]),
        ("@yearly", ["2027-01-01", "2028-01-01", "2029-01-01"]),
    ],
)
def test_days(cron: str, expected: list[str]) -> None:
    assert days(cron) == expected


@pytest.mark.parametrize("cron", ["0 0 13 * FRI", "0 0 13-13/1 * FRI"])
def test_of_two_given_days_either_will_do(cron: str) -> None:
    assert days(cron) == ["2026-01-02", "2026-01-09", "2026-01-13"]


def test_a_star_with_a_step_counts_as_a_given_day() -> None:
    assert days("0 0 */2 * MON", 4) == ["2026-01-03", "2026-01-05", "2026-01-07", "2026-01-09"]


@pytest.mark.parametrize("prefix", ["TZ=", "CRON_TZ="])
def test_a_schedule_may_name_its_time_zone(prefix: str) -> None:
    assert times(f"{prefix}Asia/Kolkata 0 9 * * *", count=1) == ["2026-01-01T09:00:00+05:30"]


def test_a_time_that_the_clock_skips_comes_right_after_the_gap() -> None:
    assert times("TZ=America/New_York 30 2 * * *", "2026-03-07T12:00:00-05:00", 2) == [
        "2026-03-08T03:00:00-04:00",
        "2026-03-09T02:30:00-04:00",
    ]


def test_a_time_that_the_clock_shows_twice_comes_once() -> None:
    assert times("TZ=America/New_York 30 1 * * *", "2026-10-31T12:00:00-04:00", 2) == [
        "2026-11-01T01:30:00-04:00",
        "2026-11-02T01:30:00-05:00",
    ]


def test_between_its_two_showings_a_time_is_over() -> None:
    assert times("TZ=America/New_York 50 1 * * *", "2026-11-01T06:45:00+00:00", 1) == [
        "2026-11-02T01:50:00-05:00"
    ]


def test_what_recurs_keeps_to_the_clock_where_it_is_set_back() -> None:
    assert times("TZ=America/New_York */30 * * * *", "2026-11-01T05:00:00+00:00", 4) == [
        "2026-11-01T01:30:00-04:00",
        "2026-11-01T01:00:00-05:00",
        "2026-11-01T01:30:00-05:00",
        "2026-11-01T02:00:00-05:00",
    ]


def test_what_recurs_leaves_out_what_the_clock_skips() -> None:
    # In Cairo, Friday 24 April 2026 began at 01:00.
    assert times("TZ=Africa/Cairo 0 */6 * * FRI", "2026-04-23T12:00:00+00:00", 1) == [
        "2026-04-24T06:00:00+03:00"
    ]


def test_a_time_is_later_than_the_moment_asked_about() -> None:
    assert times("0 0 * * *", NEW_YEAR, 1) == ["2026-01-02T00:00:00+00:00"]


def test_fractions_of_a_second_do_not_move_times() -> None:
    [start] = next_times(CronTrigger("* * * * *"), 59.5, 1)
    assert start.at.timestamp() == 60


def test_jitter_bounds_how_late_a_start_may_be() -> None:
    [start] = next_times(CronTrigger("TZ=Europe/Berlin 0 12 * * *", "1h30m"), 0, 1)
    assert (start.latest - start.at).total_seconds() == 5400


def test_jitter_is_time_that_passes_not_time_on_the_clock() -> None:
    after = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
    [start] = next_times(CronTrigger("TZ=Europe/Berlin 30 1 * * *", "1h"), after, 1)
    assert start.latest.isoformat() == "2026-03-29T03:30:00+02:00"


def test_without_jitter_a_start_is_never_late() -> None:
    [start] = next_times(CronTrigger("@daily"), 0, 1)
    assert start.latest == start.at


@pytest.mark.parametrize("cron", ["@every 1h", "@daily", "0 0 * * *"])
def test_there_are_no_times_after_the_end_of_the_calendar(cron: str) -> None:
    end = datetime(9000, 1, 1, tzinfo=UTC).timestamp()
    assert next_times(CronTrigger(cron), end) == ()


def test_times_end_with_the_calendar() -> None:
    before = datetime(8999, 12, 30, 12, tzinfo=UTC).timestamp()
    assert len(next_times(CronTrigger("@daily"), before)) == 1


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("", "no fields; expected 5 or 6, such as '*/5 * * * *'"),
        ("* * * *", "4 fields; expected 5 or 6, such as '*/5 * * * *'"),
        ("soon", "1 field; expected 5 or 6, such as '*/5 * * * *'"),
        ("* * * * * * *", "7 fields; expected 5 or 6, such as '*/5 * * * *'"),
        ("* * $ * *", "'$' is no field of a cron expression"),
        ("60 * * * *", "'60' is no minute of a cron expression; expected 0 to 59"),
        ("99 * * * * *", "'99' is no second of a cron expression; expected 0 to 59"),
        ("* 24 * * *", "'24' is no hour of a cron expression; expected 0 to 23"),
        ("10-5 * * * *", "'10-5' is no minute of a cron expression; expected 0 to 59"),
        ("*/0 * * * *", "'*/0' is no minute of a cron expression; expected 0 to 59"),
        (
            "* * 32 * *",
            "'32' is no day of the month of a cron expression; expected 1 to 31, L or LW",
        ),
        (
            "* * * JUNE *",
            "'JUNE' is no month of a cron expression; expected 1 to 12 or JAN to DEC",
        ),
        (
            "* * * * FRI-MON",
            "'FRI-MON' is no day of the week of a cron expression;"
            " expected 0 to 7 or SUN to SAT, such as MON-FRI, 5L or MON#1",
        ),
        ("0 0 30 2 *", "the day '30' never comes in the month '2'"),
        ("0 0 31 2,4 *", "the day '31' never comes in the month '2,4'"),
        ("@dayly", "'@dayly' is no name of a schedule; did you mean '@daily'?"),
        ("@every 5",
         "after @every: no unit after 5; expected something like 10s, 1h30m, 500ms or 7d"),
        ("@every 10ms", "an interval of '10ms'; expected 1s or more"),
        ("TZ=Mars/Base 0 0 * * *",
         "no time zone is named 'Mars/Base'; expected one such as Europe/Berlin"),
        ("TZ=../zone 0 0 * * *",
         "no time zone is named '../zone'; expected one such as Europe/Berlin"),
        ("0," * 200 + "0 * * * *", "longer than 256 characters"),
    ],
    ids=lambda value: value[:30],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_the_reason(cron: str, expected: str) -> None:
    assert reason(cron) == expected


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Europ/Belrin", "Europe/Berlin"),
        ("Nowhere/At_all_12345", None),
    ],
)
def test_the_nearest_time_zone_is_suggested(written: str, meant: str | None) -> None:
    assert nearest_zone(written) == meant


def test_a_rare_schedule_is_found_in_no_time() -> None:
    began = time.perf_counter()
    assert days("0 0 29 2 *", 1) == ["2028-02-29"]
    assert times("0 0 * 2 MON#5", count=1) == ["2044-02-29T00:00:00+00:00"]
    assert time.perf_counter() - began < 1


@given(st.text("0123456789*/,-?#LMONJAUED@ ", max_size=24), st.floats(0, 4e9))
def test_any_text_has_later_and_later_times_or_is_refused(cron: str, after: float) -> None:
    try:
        schedule = Schedule.parse(cron)
    except ScheduleError:
        return
    moments = [found.timestamp() for found in islice(schedule.times(after), 3)]
    assert sorted({after, *moments}) == [after, *moments]


@given(
    st.sampled_from(["*/20 * * * *", "30 1,2,3 * * *", "0 0 * * *", "15 */2 1,29 3,10,11 *"]),
    st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata"]),
    st.integers(0, 4_000_000_000),
)
def test_times_exist_on_the_clock_of_their_zone(cron: str, zone: str, after: int) -> None:
    for found in islice(Schedule.parse(f"TZ={zone} {cron}").times(after), 5):
        shown = datetime.fromtimestamp(found.timestamp(), ZoneInfo(zone))
        assert shown.replace(tzinfo=None) == found.replace(tzinfo=None)


def test_a_moment_before_all_calendars_is_refused() -> None:
    before = datetime(1, 12, 31, tzinfo=UTC).timestamp()
    for cron in ("* * * * *", "@every 1h", "TZ=America/New_York 0 0 * * *"):
        with pytest.raises(ScheduleError, match="is before the year 2"):
            next_times(CronTrigger(cron), before)
    [first] = next_times(CronTrigger("TZ=America/New_York 0 0 * * *"), before + 2 * 86400, 1)
    assert first.at.year == 2
