"""What a refusal tells: why, and when to come again.

The worker API and the gateway's port answer with an HTTP status, a text and ``Retry-After``
(RFC 9110, section 10.2.3); a gateway that has read WORKER_CONNECT answers with SYNC_FAILED.
None of it is to be trusted: what cannot be read is taken as not said.
"""

import json
import re
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

__all__ = ["asked_in_data", "asked_in_headers", "error_text"]

_SECONDS = re.compile(r"[0-9]{1,9}")
# The one form of HTTP dates that is sent today (RFC 9110, section 5.6.7).
_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")

# Nobody means more seconds than these, which are 30 years.
_MOST_SECONDS = 1e9
_MOST_TEXT = 300


def asked_in_headers(headers: httpx.Headers) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait.

    A date is held against the ``Date`` of the same answer: no two clocks have to agree.

    Args:
        headers: of the answer that refuses.

    Returns:
        Seconds, or None where there is no such header, or it means nothing.
    """
    text = headers.get("retry-after", "")
    if _SECONDS.fullmatch(text):
        return float(text)
    until, since = _unix_seconds(text), _unix_seconds(headers.get("date", ""))
    return None if until is None or since is None else _credible(until - since)


def asked_in_data(data: bytes) -> float | None:
    """Return the seconds that the ``data`` of a SystemError asks to wait.

    Args:
        data: JSON such as ``{"retry_after": 7.5}``, which the gateways of this service send.

    Returns:
        Seconds, or None where the data does not say.
    """
    told = _read_json(data)
    return _credible(told.get("retry_after")) if isinstance(told, dict) else None


def error_text(body: bytes) -> str:
    """Return the ``error`` of a JSON body, else its text; the beginning will do."""
    told = _read_json(body)
    if isinstance(told, dict) and isinstance(told.get("error"), str):
        return str(told["error"])[:_MOST_TEXT]
    return body[:_MOST_TEXT].decode(errors="replace")


def _read_json(data: bytes) -> Any:
    """The value, None if it is not JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # the latter of brackets without end
        return None


def _unix_seconds(date: str) -> float | None:
    if _DATE.fullmatch(date) is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:  # no such day
        return None


def _credible(seconds: object) -> float | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return float(seconds) if 0 <= seconds <= _MOST_SECONDS else None
