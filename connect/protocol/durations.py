"""Durations as text: those of Go, such as ``1h30m`` or ``500ms``, plus days and weeks."""

import math
import re

__all__ = ["format_duration", "parse_duration"]

_NANOSECOND = 1_000_000_000  # in one second

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FRACTIONS = {
    "ms": 1000,
    "us": 1_000_000,
    "\u00b5s": 1_000_000,  # micro sign
    "\u03bcs": 1_000_000,  # Greek letter mu
    "ns": _NANOSECOND,
}
_PART = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<unit>[^0-9.]*)")

# What a signed 64-bit count of nanoseconds holds, which is what the SDKs in Go use.
_LONGEST = (2**63 - 1) / _NANOSECOND

_EXPECTED = "expected something like 10s, 1h30m, 500ms or 7d"


def parse_duration(text: str) -> float:
    """Read a duration.

    Args:
        text: numbers, each followed by its unit (w, d, h, m, s, ms, us, ns), without
            spaces; a number may have a decimal fraction. ``0`` needs no unit.

    Returns:
        Seconds, 0 or more.

    Raises:
        ValueError: the text is no duration, is negative, or is over 292 years; the
            message says what was wrong and what would be right.
    """
    if text == "0":
        return 0.0
    if not text:
        raise ValueError(f"an empty duration; {_EXPECTED}")
    seconds = 0.0
    position = 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise ValueError(f"no number at {text[position : position + 20]!r}; {_EXPECTED}")
        position = part.end()
        number, unit = float(part["number"]), part["unit"]
        if unit in _SECONDS:
            seconds += number * _SECONDS[unit]
        elif unit in _FRACTIONS:
            seconds += number / _FRACTIONS[unit]
        elif not unit:
            raise ValueError(f"no unit after {part['number'][:20]}; {_EXPECTED}")
        else:
            raise ValueError(
                f"unknown unit {unit[:20]!r}; units are w, d, h, m, s, ms, us and ns; {_EXPECTED}"
            )
    if seconds > _LONGEST:
        raise ValueError("longer than 292 years")
    return seconds


def format_duration(seconds: float) -> str:
    """Write a duration in a single unit, rounded to nanoseconds.

    Whole seconds are always written as ``Ns``, above a minute too: SDKs read the
    intervals of GATEWAY_CONNECTION_READY as digits followed by ``s``.

    Args:
        seconds: finite, 0 or more.

    Returns:
        Such as ``10s``, ``90s``, ``1500ms`` or ``0s``.

    Raises:
        ValueError: the number is negative or not finite.
    """
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"not a duration: {seconds!r} seconds; expected 0 or more")
    nanoseconds = round(seconds * _NANOSECOND)
    for unit, size in (("s", _NANOSECOND), ("ms", 1_000_000), ("us", 1000)):
        if nanoseconds % size == 0:
            return f"{nanoseconds // size}{unit}"
    return f"{nanoseconds}ns"
