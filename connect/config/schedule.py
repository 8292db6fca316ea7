"""When cron expressions and intervals start a function.

A library does the arithmetic of cron. What it does not read is brought into its form
here: names such as ``@daily``, time zones, the question mark, and the rule for days as
Inngest has it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connect.config.faults import nearest, quoted
from connect.config.triggers import CronTrigger
from connect.protocol.durations import parse_duration

__all__ = [
    "LONGEST_CRON",
    "PlannedStart",
    "Schedule",
    "ScheduleError",
    "UnknownZone",
    "nearest_zone",
    "next_times",
]

LONGEST_CRON = 256  # characters

_NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = (
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, L or LW"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT, such as MON-FRI, 5L or MON#1"),
)
_DAY, _MONTH, _WEEKDAY = 3, 4, 5
_EXPECTED = "expected 5 or 6, such as '*/5 * * * *'"
_ZONE = re.compile(r"\s*(?:CRON_)?TZ=(?P<zone>\S*)\s*")
_FIELD = re.compile(r"[0-9A-Za-z*?/,#-]+")
_WEEKDAYS = {
    name: str(at) for at, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
}
# Moments that have a date in every time zone.
_EARLIEST = datetime(2, 1, 1, tzinfo=UTC).timestamp()
_LATEST = datetime(9000, 1, 1, tzinfo=UTC).timestamp()


class ScheduleError(ValueError):
    """A text that says no times; the message says what is wrong and what would be right."""


class UnknownZone(ScheduleError):
    """A time zone that there is not.

    Attributes:
        zone: its name, as it was written.
    """

    def __init__(self, zone: str) -> None:
        super().__init__(zone)
        self.zone = zone

    def __str__(self) -> str:
        return f"no time zone is named {quoted(self.zone)!r}; expected one such as Europe/Berlin"


@dataclass(frozen=True, slots=True)
class PlannedStart:
    """A time at which a function starts.

    Attributes:
        at: the time that the schedule says, in the schedule's time zone.
        latest: the latest time, `at` plus all of the jitter; the start is put off by a
            random part of it.
    """

    at: datetime
    latest: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression, or an interval, that was read.

    Attributes:
        cron: five or six fields in the library's form; empty for an interval.
        zone: the time zone that the fields are meant in; UTC unless it is named.
        every: the interval in seconds, 0 for a cron expression.
    """

    cron: str
    zone: ZoneInfo
    every: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Read a schedule.

        Args:
            text: five fields (minute, hour, day of the month, month, day of the week) or
                six, the first one being the second; a name such as ``@daily``; or
                ``@every`` and a duration of 1 s or more; perhaps after ``TZ=zone`` or
                ``CRON_TZ=zone``.

        Raises:
            ScheduleError: it is none of these, or its days never come.
        """
        return _schedule(text)

    def times(self, after: float) -> Iterator[datetime]:
        """Yield the times after a moment, in the schedule's time zone, in their order.

        Where clocks are set forward or back, times are those of Debian's cron: what is
        due at an hour or minute of its own comes exactly once, after the gap if its time
        was skipped; what recurs (a star in the hour or the minute) keeps to the clock.
        An interval counts from the moment given.

        Args:
            after: unix time in seconds; times before it, or at it, are left out.

        Raises:
            ScheduleError: the moment is before the year 2, when no calendar can tell it.
        """
        if after < _EARLIEST:
            raise ScheduleError(f"the moment {after} is before the year 2")
        if self.every:
            moment = after + self.every
            while moment < _LATEST:
                yield datetime.fromtimestamp(int(moment), self.zone)
                moment += self.every
            return
        from cronsim import CronSim

        if after >= _LATEST:
            return
        last = after
        found = CronSim(self.cron, datetime.fromtimestamp(after, self.zone))
        for time in found:
            moment = time.timestamp()
            if moment >= _LATEST:
                return
            # A time of day that a change of the clock leaves out is not on any clock.
            shown = datetime.fromtimestamp(moment, self.zone)
            if moment > last and shown.replace(tzinfo=None) == time.replace(tzinfo=None):
                last = moment
                yield time


def next_times(trigger: CronTrigger, after: float, count: int = 5) -> tuple[PlannedStart, ...]:
    """Return the next times at which a trigger starts its function.

    Args:
        trigger: a valid one.
        after: unix time in seconds; times before it, or at it, are left out.
        count: how many times, at most.

    Returns:
        The times in their order; fewer only if there are no more before the year 9000.

    Raises:
        ScheduleError: the trigger's cron expression is not valid, or the moment is before the
            year 2.
        ValueError: the trigger's jitter is not a duration.
    """
    jitter = timedelta(seconds=parse_duration(trigger.jitter)) if trigger.jitter else timedelta()
    times = Schedule.parse(trigger.cron).times(after)
    return tuple(
        PlannedStart(time, (time.astimezone(UTC) + jitter).astimezone(time.tzinfo))
        for time, _ in zip(times, range(count), strict=False)
    )


def nearest_zone(name: str) -> str | None:
    """Return the time zone that a misspelt name probably means, if there is one."""
    zones, by_city = _zones()
    return by_city.get(name.rsplit("/", 1)[-1].casefold()) or nearest(name, zones)


@lru_cache(maxsize=1)
def _zones() -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the names of all time zones of places, and those by city."""
    from zoneinfo import available_timezones

    zones = sorted(
        name
        for name in available_timezones()
        if "/" in name and not name.startswith(("Etc/", "posix/", "right/", "SystemV/"))
    )
    return tuple(zones), {name.rsplit("/", 1)[-1].casefold(): name for name in zones}


@lru_cache(maxsize=512)
def _schedule(text: str) -> Schedule:
    if len(text) > LONGEST_CRON:
        raise ScheduleError(f"longer than {LONGEST_CRON} characters")
    zoned = _ZONE.match(text)
    zone = _zone(zoned["zone"] if zoned else "UTC")
    rest = (text[zoned.end() :] if zoned else text).strip()
    if rest.startswith("@every"):
        return Schedule("", zone, _interval(rest.removeprefix("@every").strip()))
    if rest.startswith("@") and rest not in _NAMES:
        near = nearest(rest, (*_NAMES, "@every"))
        hint = f"did you mean {near!r}?" if near else f"expected {', '.join(_NAMES)} or '@every 1h'"
        raise ScheduleError(f"{quoted(rest)!r} is no name of a schedule; {hint}")
    return Schedule(_fields(_NAMES.get(rest, rest)), zone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownZone(name) from None


def _interval(text: str) -> float:
    try:
        seconds = float(int(parse_duration(text)))
    except ValueError as error:
        raise ScheduleError(f"after @every: {error}") from None
    if seconds < 1:
        raise ScheduleError(f"an interval of {quoted(text)!r}; expected 1s or more")
    return seconds


def _fields(text: str) -> str:
    """Return a cron expression in the library's form."""
    written = text.split()
    if not written:
        raise ScheduleError(f"no fields; {_EXPECTED}")
    for field in written:
        if not _FIELD.fullmatch(field):
            raise ScheduleError(f"{quoted(field)!r} is no field of a cron expression")
    if len(written) not in (5, 6):
        plural = "" if len(written) == 1 else "s"
        raise ScheduleError(f"{len(written)} field{plural}; {_EXPECTED}")
    read = written if len(written) == 6 else ["0", *written]
    fields = [_items(field.upper(), at) for at, field in enumerate(read)]
    for at, field in enumerate(fields):
        alone = ["*"] * 6
        alone[at] = field
        if not _accepted(" ".join(alone)):
            name, expected = _FIELDS[at]
            raise ScheduleError(
                f"{quoted(read[at])!r} is no {name} of a cron expression; expected {expected}"
            )
    cron = " ".join(fields[-len(written) :])
    if not _accepted(cron):
        raise ScheduleError(
            f"the day {quoted(read[_DAY])!r} never comes in the month {quoted(read[_MONTH])!r}"
        )
    return cron


def _accepted(cron: str) -> bool:
    """Tell whether the library reads a cron expression, and its days can come."""
    from cronsim import CronSim, CronSimError

    try:
        CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


def _items(field: str, at: int) -> str:
    """Return a field's items in the library's form.

    A question mark is a star. If the day of the month and the day of the week are both
    given, either will do; a star with a step counts as given, unlike in the library.
    """
    items = [_item(item, at) for item in field.replace("?", "*").split(",")]
    return "*" if "*" in items else ",".join(items)


def _item(item: str, at: int) -> str:
    span, slash, step = item.partition("/")
    if not slash or not step.isascii() or not step.isdigit() or int(step) == 0:
        return item
    first, dash, last = span.partition("-")
    if dash and first == last:
        return first  # the library would take it for "from here to the end"
    if span == "*" and int(step) == 1:
        return "*"
    if span == "*" and at in (_DAY, _WEEKDAY):
        return f"{'1-31' if at == _DAY else '0-6'}/{step}"
    if at == _WEEKDAY and not dash:
        number = _WEEKDAYS.get(span, span)
        return number if number in ("6", "7") else f"{number}-6/{step}"
    return item
