"""Package ``time``: times as text in RFC 3339, durations in nanoseconds, validators of both."""

import re
from types import MappingProxyType
from typing import Any

from connect.config.cue.packages.signature import Signatures
from connect.config.cue.packages.time_layouts import (
    MONTHS,
    RFC3339_NANO,
    BadTime,
    Moment,
    format_time,
    parse_time,
)
from connect.config.cue.values import BuiltinError, Concrete, Kind, Package

__all__ = ["PACKAGE"]

_LAYOUTS = {
    "ANSIC": "Mon Jan _2 15:04:05 2006",
    "UnixDate": "Mon Jan _2 15:04:05 MST 2006",
    "RubyDate": "Mon Jan 02 15:04:05 -0700 2006",
    "RFC822": "02 Jan 06 15:04 MST",
    "RFC822Z": "02 Jan 06 15:04 -0700",
    "RFC850": "Monday, 02-Jan-06 15:04:05 MST",
    "RFC1123": "Mon, 02 Jan 2006 15:04:05 MST",
    "RFC1123Z": "Mon, 02 Jan 2006 15:04:05 -0700",
    "RFC3339": "2006-01-02T15:04:05Z07:00",
    "RFC3339Nano": RFC3339_NANO,
    "RFC3339Date": "2006-01-02",
    "Kitchen": "3:04PM",
    "Kitchen24": "15:04",
}
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION = {
    "Nanosecond": _UNITS["ns"],
    "Microsecond": _UNITS["us"],
    "Millisecond": _UNITS["ms"],
    "Second": _UNITS["s"],
    "Minute": _UNITS["m"],
    "Hour": _UNITS["h"],
}
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_LONGEST = 2**63 - 1

_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)", re.ASCII)

# The moment at which the count of seconds of Go's 64-bit calendar begins.
_CALENDAR_START = -9_223_372_028_741_760_000


def _parse_duration(text: str) -> int:
    """Return the nanoseconds of a duration such as ``1h30m``, fractions of one cut off."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise _bad_duration(text, "numbers with units")
    total = position = 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if match is None or not (match[1] or match[2]):
            raise _bad_duration(text, "a number")
        if match[3] not in _UNITS:
            found = repr(match[3]) if match[3] else "none"
            raise _bad_duration(text, f"a unit of ns, us, ms, s, m, h; found {found}")
        total += _nanoseconds(match[1], match[2] or "", _UNITS[match[3]])
        if total > _LONGEST:
            raise _bad_duration(text, f"at most {_LONGEST} ns")
        position = match.end()
    return -total if text[0] == "-" else total


def _nanoseconds(whole: str, fraction: str, unit: int) -> int:
    if len(whole.lstrip("0")) > 19:
        return _LONGEST + 1
    # As Go reckons: as many digits as fit into 63 bits, scaled in floating point.
    digits = fraction[:19]
    if digits and int(digits) > _LONGEST:
        digits = digits[:18]
    part = int(float(int(digits)) * (unit / 10.0 ** len(digits))) if digits else 0
    return int(whole or "0") * unit + part


def _bad_duration(text: str, wanted: str) -> BuiltinError:
    return BuiltinError(f"invalid duration {text!r}; expected {wanted}")


def _duration(text: str) -> bool:
    _parse_duration(text)
    return True


def _moment(layout: str, text: str) -> Moment:
    try:
        return parse_time(layout, text)
    except BadTime as error:
        raise BuiltinError(f"invalid time {text!r} for the layout {layout!r}: {error}") from None


def _time(text: str) -> bool:
    _moment(RFC3339_NANO, text)
    return True


def _format(text: str, layout: str) -> bool:
    _moment(layout, text)
    return True


def _format_string(layout: str, text: str) -> str:
    return format_time(_moment(RFC3339_NANO, text), layout)


def _parse(layout: str, text: str) -> str:
    moment = _moment(layout, text)
    return format_time(Moment(moment.seconds, moment.nanoseconds), RFC3339_NANO)


def _unix(seconds: int, nanoseconds: int) -> str:
    """Write the moment so long after 1970 in UTC; beyond its calendar Go starts over."""
    carried, rest = divmod(nanoseconds, 1_000_000_000)
    since_start = (seconds + carried - _CALENDAR_START) % 2**64
    return format_time(Moment(since_start + _CALENDAR_START, rest), RFC3339_NANO)


def _split(text: str) -> dict[str, Concrete]:
    moment = _moment(RFC3339_NANO, text)
    parts = format_time(moment, "2006 1 2 15 4 5").split(" ")
    names = ("year", "month", "day", "hour", "minute", "second")
    numbers: dict[str, Concrete] = {
        name: int(part) for name, part in zip(names, parts, strict=True)
    }
    return {**numbers, "nanosecond": moment.nanoseconds}


def _package() -> Package:
    add = (signatures := Signatures("time")).add
    text, whole, truth = Kind.STRING, Kind.INT, Kind.BOOL
    add("Duration", (text,), truth, _duration)
    add("ParseDuration", (text,), whole, _parse_duration)
    add("Time", (text,), truth, _time)
    add("Format", (text, text), truth, _format)
    add("FormatString", (text, text), text, _format_string)
    add("Parse", (text, text), text, _parse)
    add("Unix", (whole, whole), text, _unix)
    add("Split", (text,), Kind.STRUCT, _split)
    members: dict[str, Any] = {
        **signatures.members,
        **_LAYOUTS,
        **_DURATION,
        **{name: number for number, name in enumerate(MONTHS, start=1)},
        **{name: number for number, name in enumerate(_DAYS)},
    }
    return Package("time", MappingProxyType(members))


PACKAGE = _package()
