"""JSON as RFC 8259 has it: what Python's parser lets through besides is refused."""

import json
from typing import Any

__all__ = ["dump", "load"]


def load(data: bytes | str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: it is no JSON, no UTF-8, nested too deeply, or holds a number that is
            no finite one; the text says what is wrong in one line.
    """
    try:
        return json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dump(value: Any) -> bytes:
    """Write a value as compact JSON, all ASCII.

    Raises:
        ValueError: the value holds a number that is no finite one, or is nested too deeply.
        TypeError: the value holds something that JSON has no form for.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return number
