"""Times written and read by layouts that show how the reference time would be written.

The reference is ``Mon Jan 2 15:04:05 MST 2006`` in the zone -0700; the rules are those of Go's
package ``time``, which CUE's refers to. Years may have any number of digits when written.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["MONTHS", "RFC3339_NANO", "BadTime", "Moment", "format_time", "parse_time"]

RFC3339_NANO: Final = "2006-01-02T15:04:05.999999999Z07:00"

MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_LAST_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_ELEMENT = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|002|0[1-6]|15|1|2006|2|__2|_2(?!006)|3|4|5"
    r"|PM|pm|[-Z]07(?:0000|:00:00|00|:00)?|\.(?:0+|9+)(?![0-9])"
)


class BadTime(Exception):
    """A text does not follow a layout; the message says where it departs."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment, and the zone that it is written in.

    Attributes:
        seconds: since 1970-01-01 UTC, without leap seconds.
        nanoseconds: from 0 to 999999999.
        offset: of the zone, in seconds east of UTC.
        zone: its abbreviation, empty if there is none.
    """

    seconds: int
    nanoseconds: int
    offset: int = 0
    zone: str = "UTC"


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a date."""
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719_162
    return days + _DAYS_BEFORE[month - 1] + (month > 2 and _is_leap(year)) + day - 1


def _date(days: int) -> tuple[int, int, int, int]:
    """Return year, month, day and day of the year."""
    year = 1970 + (days * 400) // 146_097
    while _days(year, 1, 1) > days:
        year -= 1
    while _days(year + 1, 1, 1) <= days:
        year += 1
    day_of_year = days - _days(year, 1, 1)
    month = 12
    while _days(year, month, 1) > days:
        month -= 1
    return year, month, days - _days(year, month, 1) + 1, day_of_year + 1


def _elements(layout: str) -> Iterator[tuple[str, str, int]]:
    """Yield the text before each element, the element, and where what is left begins."""
    position = 0
    for match in _ELEMENT.finditer(layout):
        yield layout[position : match.start()], match[0], match.end()
        position = match.end()
    yield layout[position:], "", len(layout)


# Writing


def format_time(moment: Moment, layout: str) -> str:
    """Write a moment as a layout shows."""
    days, rest = divmod(moment.seconds + moment.offset, 86_400)
    year, month, day, day_of_year = _date(days)
    hour, minute, second = rest // 3600, rest // 60 % 60, rest % 60
    numbers = {
        "2006": f"{'-' * (year < 0)}{abs(year):04d}",
        "06": f"{year % 100:02d}",
        "January": MONTHS[month - 1],
        "Jan": MONTHS[month - 1][:3],
        "1": f"{month}",
        "01": f"{month:02d}",
        "Monday": _WEEKDAYS[(days + 4) % 7],
        "Mon": _WEEKDAYS[(days + 4) % 7][:3],
        "2": f"{day}",
        "_2": f"{day:2d}",
        "02": f"{day:02d}",
        "__2": f"{day_of_year:3d}",
        "002": f"{day_of_year:03d}",
        "15": f"{hour:02d}",
        "3": f"{hour % 12 or 12}",
        "03": f"{hour % 12 or 12:02d}",
        "4": f"{minute}",
        "04": f"{minute:02d}",
        "5": f"{second}",
        "05": f"{second:02d}",
        "PM": "PM" if hour >= 12 else "AM",
        "pm": "pm" if hour >= 12 else "am",
        "MST": moment.zone or _offset_text("-0700", moment.offset),
    }  # fmt: skip
    parts = []
    for literal, element, _ in _elements(layout):
        parts.append(literal)
        if element[:1] == ".":
            parts.append(_fraction_text(element, moment.nanoseconds))
        elif element[:1] in ("-", "Z"):
            parts.append(_offset_text(element, moment.offset))
        elif element:
            parts.append(numbers[element])
    return "".join(parts)


def _fraction_text(element: str, nanoseconds: int) -> str:
    digits = f"{nanoseconds:09d}".ljust(len(element), "0")[: len(element) - 1]
    if element[1] == "9":
        digits = digits.rstrip("0")
    return f".{digits}" if digits else ""


def _offset_text(element: str, offset: int) -> str:
    if element[0] == "Z" and not offset:
        return "Z"
    size = abs(offset)
    parts = [f"{size // 3600:02d}", f"{size // 60 % 60:02d}", f"{size % 60:02d}"]
    digits = sum(character.isdigit() for character in element)
    separator = ":" if ":" in element else ""
    return ("-" if offset < 0 else "+") + separator.join(parts[: digits // 2])


# Reading


class _Reading:
    """A text being read, and what has been found in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.found: dict[str, int] = {}
        self.afternoon: bool | None = None
        self.offset: int | None = None
        self.zone = ""

    def fail(self, wanted: str) -> BadTime:
        rest = self.text[self.position : self.position + 40]
        return BadTime(f"found {rest!r}, expected {wanted}")

    def sees(self, piece: str) -> bool:
        return self.text.startswith(piece, self.position)

    def take(self, pattern: str, wanted: str) -> "re.Match[str]":
        match = re.compile(pattern, re.ASCII).match(self.text, self.position)
        if match is None:
            raise self.fail(wanted)
        self.position = match.end()
        return match

    def number(self, pattern: str, wanted: str, low: int, high: int) -> int:
        """Take digits, perhaps behind spaces, that are a number in a range."""
        digits = self.take(pattern, wanted)[0].strip(" ")
        if not low <= int(digits) <= high:
            raise BadTime(f"found {digits!r}, expected {wanted} from {low} to {high}")
        return int(digits)

    def name(self, names: tuple[str, ...], length: int | None, wanted: str) -> int:
        for index, name in enumerate(names):
            short = name[:length]
            end = self.position + len(short)
            if self.text[self.position : end].lower() == short.lower():
                self.position = end
                return index
        raise self.fail(wanted)

    def literal(self, literal: str) -> None:
        """Take what stands in the layout as it is; spaces may be more or fewer, but not none."""
        for piece in re.findall(r" +|[^ ]+", literal):
            if piece[0] == " ":
                if self.position < len(self.text) and not self.sees(" "):
                    raise self.fail("a space")
                self.take(" *", "spaces")
            elif self.sees(piece):
                self.position += len(piece)
            else:
                raise self.fail(repr(piece))


def parse_time(layout: str, text: str) -> Moment:
    """Read a text that is written as a layout shows; what it leaves out is zero or one.

    Raises:
        BadTime: it is not, or there is no such time.
    """
    reading = _Reading(text)
    for literal, element, end in _elements(layout):
        reading.literal(literal)
        if element:
            _read(reading, element, layout, end)
    if reading.position < len(text):
        raise reading.fail("the end")
    return _moment(reading)


_TWO = r"[0-9]{2}"
_ONE_OR_TWO = r"[0-9]{1,2}"
# Elements that are numbers: the unit, pattern, name, and range.
_NUMBERS: dict[str, tuple[str, str, str, int, int]] = {
    "2006": ("year", r"[0-9]{4}", "a year of four digits", 0, 9999),
    "1": ("month", _ONE_OR_TWO, "a month", 1, 12),
    "01": ("month", _TWO, "a month of two digits", 1, 12),
    "2": ("day", _ONE_OR_TWO, "a day", 0, 99),
    "_2": ("day", r" ?[0-9]{1,2}", "a day", 0, 99),
    "02": ("day", _TWO, "a day of two digits", 0, 99),
    "__2": ("day_of_year", r" {0,2}[0-9]{1,3}", "a day of the year", 1, 366),
    "002": ("day_of_year", r"[0-9]{3}", "a day of the year of three digits", 1, 366),
    "15": ("hour", _ONE_OR_TWO, "an hour", 0, 23),
    "3": ("hour", _ONE_OR_TWO, "an hour", 0, 12),
    "03": ("hour", _TWO, "an hour of two digits", 0, 12),
    "4": ("minute", _ONE_OR_TWO, "a minute", 0, 59),
    "04": ("minute", _TWO, "a minute of two digits", 0, 59),
    "5": ("second", _ONE_OR_TWO, "a second", 0, 59),
    "05": ("second", _TWO, "a second of two digits", 0, 59),
}
_OFFSETS = {
    "07": r"([+-])([0-9]{2})",
    "0700": r"([+-])([0-9]{2})([0-9]{2})",
    "07:00": r"([+-])([0-9]{2}):([0-9]{2})",
    "070000": r"([+-])([0-9]{2})([0-9]{2})([0-9]{2})",
    "07:00:00": r"([+-])([0-9]{2}):([0-9]{2}):([0-9]{2})",
}
_ZONE = re.compile(
    r"UTC|ChST|MeST|GMT(?:[+-](?:2[0-3]|[01]?[0-9])(?![0-9]))?|[+-](?:2[0-3]|[01]?[0-9])(?![0-9])"
    r"|(?:[A-Z]{4}T|[A-Z]{3}T|WITA|[A-Z]{3})(?![A-Z])"
)


def _read(reading: _Reading, element: str, layout: str, end: int) -> None:
    if element in _NUMBERS:
        unit, pattern, wanted, low, high = _NUMBERS[element]
        reading.found[unit] = reading.number(pattern, wanted, low, high)
        if unit == "second" and not _fraction_follows(layout, end):
            _read_fraction(reading, ".9")
        return
    match element:
        case "06":
            year = reading.number(_TWO, "a year of two digits", 0, 99)
            reading.found["year"] = year + (1900 if year >= 69 else 2000)
        case "January" | "Jan":
            length = 3 if element == "Jan" else None
            reading.found["month"] = reading.name(MONTHS, length, "the name of a month") + 1
        case "Monday" | "Mon":
            length = 3 if element == "Mon" else None
            reading.name(_WEEKDAYS, length, "the name of a day")
        case "PM" | "pm":
            names = "AM|PM" if element == "PM" else "am|pm"
            reading.afternoon = reading.take(names, names.replace("|", " or "))[0] in ("PM", "pm")
        case "MST":
            reading.zone = reading.take(_ZONE.pattern, "the abbreviation of a time zone")[0]
        case _ if element[0] == ".":
            _read_fraction(reading, element)
        case _:
            _read_offset(reading, element)


def _fraction_follows(layout: str, end: int) -> bool:
    following = _ELEMENT.search(layout, end)
    return following is not None and following[0][0] == "."


def _read_fraction(reading: _Reading, element: str) -> None:
    """Take a fraction of a second: of as many digits as zeros say, or of any number."""
    if element[1] == "0":
        count = len(element) - 1
        digits = reading.take(rf"\.[0-9]{{{count}}}", f"a point and {count} digits")[0][1:]
    else:
        digits = reading.take(r"(?:\.[0-9]{1,9})?", "a fraction")[0][1:]
        if not digits:
            return
    reading.found["nanosecond"] = int(digits[:9].ljust(9, "0"))


def _read_offset(reading: _Reading, element: str) -> None:
    if element[0] == "Z" and reading.sees("Z"):
        reading.position += 1
        reading.offset = 0
        return
    match = reading.take(_OFFSETS[element[1:]], f"an offset like {element.replace('Z', '-')}")
    hours, minutes, seconds = (int(part) for part in [*match.groups()[1:], "0", "0"][:3])
    size = hours * 3600 + minutes * 60 + seconds
    reading.offset = -size if match[1] == "-" else size


def _moment(reading: _Reading) -> Moment:
    found = reading.found
    year, (month, day) = found.get("year", 0), _month_and_day(found)
    hour = found.get("hour", 0)
    if reading.afternoon is not None and hour <= 12:
        hour = hour % 12 + 12 * reading.afternoon
    seconds = _days(year, month, day) * 86_400 + hour * 3600
    seconds += found.get("minute", 0) * 60 + found.get("second", 0)
    nanoseconds = found.get("nanosecond", 0)
    if reading.offset is None:
        return Moment(seconds, nanoseconds, 0, reading.zone or "UTC")
    zone = "UTC" if reading.offset == 0 else ""
    return Moment(seconds - reading.offset, nanoseconds, reading.offset, zone)


def _month_and_day(found: dict[str, int]) -> tuple[int, int]:
    year, month, day = found.get("year", 0), found.get("month", 1), found.get("day", 1)
    day_of_year = found.get("day_of_year")
    if day_of_year is not None:
        if day_of_year > 365 + _is_leap(year):
            raise BadTime(f"there is no day {day_of_year} of the year {year}")
        _, *date, _ = _date(_days(year, 1, 1) + day_of_year - 1)
        if [found.get("month", date[0]), found.get("day", date[1])] != date:
            raise BadTime("the day of the year is another one than month and day")
        month, day = date
    last = 29 if month == 2 and _is_leap(year) else _LAST_DAYS[month - 1]
    if not 1 <= day <= last:
        raise BadTime(f"there is no day {day} of {MONTHS[month - 1]} {year}")
    return month, day
