"""How long to wait: for what a function names, and between two attempts."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from connect.protocol.durations import parse_duration

__all__ = ["backoff", "parse_delay", "retry_delay"]

_FIRST_RETRY = 1.0
_LONGEST_RETRY = 60.0


def parse_delay(text: str, now: float) -> float:
    """Return the seconds from now that a text means.

    Worker SDKs write a delay as a duration (``1h30m``), as a number of seconds, as a
    point in time in RFC 3339, or, in ``retry_after``, as an HTTP date.

    Args:
        text: the delay.
        now: the current time, in unix seconds.

    Returns:
        Seconds, 0 for a moment that is over.

    Raises:
        ValueError: the text is none of these; says what would be right.
    """
    text = text.strip()
    for read in (_seconds, _duration, _moment):
        delay = read(text, now)
        if delay is not None:
            return max(0.0, delay)
    raise ValueError(
        f"{text[:60]!r} is neither a duration such as '1h30m' nor a time such as"
        " '2030-01-31T12:00:00Z'"
    )


def backoff(failures: int, jitter: float) -> float:
    """Return the seconds before the next attempt: 1 s doubling to 60 s, less jitter.

    Args:
        failures: attempts that failed so far, from 1.
        jitter: from 0 to 1; takes off up to half of the delay, so that what failed
            together does not come back together.
    """
    longest = min(_LONGEST_RETRY, _FIRST_RETRY * 2.0 ** min(failures - 1, 16))
    return longest * (1 - jitter / 2)


def retry_delay(retry_after: str | None, *, failures: int, now: float, jitter: float) -> float:
    """Return the seconds before the next attempt, as the worker asked if it did.

    An unreadable ``retry_after`` is taken as absent: the work is to be retried anyway.
    """
    if retry_after:
        try:
            return parse_delay(retry_after, now)
        except ValueError:
            pass
    return backoff(failures, jitter)


def _seconds(text: str, _now: float) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _duration(text: str, _now: float) -> float | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None


def _moment(text: str, now: float) -> float | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
        except ValueError:
            continue
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp() - now
    return None
