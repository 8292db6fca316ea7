"""Strings, bytes and lists: how long they are, joined and repeated.

The rules are those of "String operators", "List operators" and "Length" in the
specification of CUE. What can grow is bounded before it is made.
"""

from typing import Any, TypeVar

from connect.config.cue.numbers import number_text
from connect.config.cue.values import RESULT_LIMIT, BuiltinError, check_size

__all__ = ["concat", "length", "repeat", "text_bytes"]

Sequence = TypeVar("Sequence", str, bytes, list[Any])


def text_bytes(text: str) -> bytes:
    """Encode text as UTF-8; half of a surrogate pair becomes the replacement character."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def length(value: "str | bytes | list[Any] | dict[str, Any]") -> int:
    """Return the bytes of a string (in UTF-8) or bytes, the elements or the fields."""
    if isinstance(value, str) and not value.isascii():
        return len(text_bytes(value))
    return len(value)


def concat(left: Sequence, right: Sequence, limit: int = RESULT_LIMIT) -> Sequence:
    """Return two strings, bytes or lists as one (``+``).

    Args:
        limit: the most characters, bytes or elements of the result.

    Raises:
        TooLarge: it would have more.
    """
    check_size(len(left) + len(right), limit, _unit(left))
    return left + right


def repeat(value: Sequence, count: int, limit: int = RESULT_LIMIT) -> Sequence:
    """Return a string, bytes or list, `count` times (``*``).

    Args:
        limit: the most characters, bytes or elements of the result.

    Raises:
        BuiltinError: the count is negative.
        TooLarge: the result would have more than `limit`.
    """
    if count < 0:
        raise BuiltinError(f"negative count {number_text(count)}; it must be 0 or more")
    check_size(len(value) * count, limit, _unit(value))
    return value * count if value else value


def _unit(value: object) -> str:
    if isinstance(value, str):
        return "characters"
    return "bytes" if isinstance(value, bytes) else "elements"
