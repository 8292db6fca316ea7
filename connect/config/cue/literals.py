"""The values of literals: numbers, strings and bytes.

The scanner finds where a literal ends; what it stands for is worked out here. Rules are
those of the specification's "Numeric literals" and "String and byte sequence literals".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

__all__ = ["BadLiteral", "StringForm", "number_value", "string_values"]

# Python itself converts no longer decimal texts than 4300 digits, in either direction.
_MAX_DIGITS = 4000
_MAX_EXPONENT = 100_000

_MULTIPLIERS: dict[str, int] = {
    unit + suffix: base**power
    for power, unit in enumerate("KMGTP", start=1)
    for suffix, base in (("", 1000), ("i", 1024))
}
_BASES = {
    "0x": (16, "hexadecimal"),
    "0X": (16, "hexadecimal"),
    "0o": (8, "octal"),
    "0b": (2, "binary"),
}
_STRAY_UNDERSCORE = re.compile(r"_(?![0-9A-Fa-f])")


class BadLiteral(Exception):
    """A literal that stands for nothing.

    Attributes:
        message: what is wrong and what would be right.
        start: where, as an offset into the literal's text.
        end: where that ends.
        too_large: it is well-formed, but larger than a document may have it.
    """

    def __init__(self, message: str, start: int, end: int, *, too_large: bool = False) -> None:
        super().__init__(message, start, end)
        self.message = message
        self.start = start
        self.end = end
        self.too_large = too_large


def number_value(text: str) -> int | Decimal:
    """Return the value of a number as it is written; a float keeps its digits.

    Args:
        text: what the scanner takes for a number, such as ``0x1F``, ``1.5Gi``, ``1e3``.

    Raises:
        BadLiteral: it is malformed, no whole number though it has a multiplier, or too
            long.
    """
    end = len(text)
    if end > _MAX_DIGITS:
        raise BadLiteral(f"a number has at most {_MAX_DIGITS} digits", 0, end, too_large=True)
    base, name = _BASES.get(text[:2], (10, "decimal"))
    if stray := _STRAY_UNDERSCORE.search(text):
        at = stray.start()
        raise BadLiteral("'_' in a number must stand between digits", at, at + 1)
    digits = text.replace("_", "")
    if base != 10:
        try:
            return int(digits[2:], base)
        except ValueError:
            raise BadLiteral(f"{text[:2]} must be followed by {name} digits", 0, end) from None
    if digits.isdigit():
        if digits[0] == "0" and len(text) > 1:
            raise BadLiteral("a whole number must not begin with 0; octal is 0o17", 0, end)
        return int(digits)
    if digits[-1] in "KMGTPi":
        return _multiplied(text, digits)
    return _float(text, digits)


def _multiplied(text: str, digits: str) -> int:
    mantissa = digits.rstrip("KMGTPi")
    if mantissa.isdigit() and mantissa[0] == "0":
        raise BadLiteral("a number with a multiplier must not begin with 0", 0, len(text))
    value = Fraction(mantissa.rstrip(".")) * _MULTIPLIERS[digits[len(mantissa) :]]
    if value.denominator != 1:
        raise BadLiteral(f"{text} is not a whole number", 0, len(text))
    return value.numerator


def _float(text: str, digits: str) -> Decimal:
    try:
        value = Decimal(digits)
    except InvalidOperation:
        if digits[-1].isdigit():
            value = Decimal("Infinity")
        else:
            raise BadLiteral(f"the exponent of {text} has no digits", 0, len(text)) from None
    if not value.is_finite() or abs(value.adjusted()) > _MAX_EXPONENT:
        raise BadLiteral(f"an exponent is at most {_MAX_EXPONENT}", 0, len(text), too_large=True)
    return value


@dataclass(frozen=True, slots=True)
class StringForm:
    """How a string or bytes literal is written.

    Attributes:
        quote: ``"`` or ``'``, three of them for several lines.
        hashes: the number of ``#`` around it, which escapes have too.
    """

    quote: str
    hashes: int

    @property
    def is_bytes(self) -> bool:
        return self.quote[0] == "'"

    @property
    def is_multiline(self) -> bool:
        return len(self.quote) == 3

    @property
    def opening(self) -> str:
        return "#" * self.hashes + self.quote

    @property
    def closing(self) -> str:
        return self.quote + "#" * self.hashes


def string_values(form: StringForm, texts: Sequence[tuple[int, str]]) -> list[str] | list[bytes]:
    r"""Return the values of a literal's texts.

    Args:
        form: how the literal is written.
        texts: what stands between the quotes, cut at interpolations ``\(...)``, each with
            its offset in the document; one for a literal without interpolations. Of
            several lines, the first begins behind the line break of the opening quotes.

    Raises:
        BadLiteral: a bad escape or indentation; its places are offsets in the document.
    """
    indent = ""
    if form.is_multiline:
        texts, indent = _without_last_break(texts)
    values = [
        _decode(form, text, offset, indent, is_first=number == 0, is_last=number == len(texts) - 1)
        for number, (offset, text) in enumerate(texts)
    ]
    if form.is_bytes:
        return [value.encode("utf-8", "surrogateescape") for value in values]
    return values


def _without_last_break(texts: Sequence[tuple[int, str]]) -> tuple[list[tuple[int, str]], str]:
    """Cut off the line break before the closing quotes; return also their indentation."""
    *before, (offset, last) = texts
    body, newline, indent = last.rpartition("\n")
    if indent.strip(" \t") or not (newline or not before):
        return [*texts], ""  # the quotes close a line with text, which stays whole
    return [*before, (offset, body.removesuffix("\r"))], indent if newline else ""


def _decode(
    form: StringForm, text: str, offset: int, indent: str, *, is_first: bool, is_last: bool
) -> str:
    """Resolve escapes and indentation; bytes beyond ASCII come as surrogate escapes."""

    def skip_indent(position: int) -> int:
        if text.startswith(indent, position):
            return position + len(indent)
        if text.startswith(("\n", "\r\n"), position) or (is_last and position == len(text)):
            return position
        raise BadLiteral(
            "every line of this string must begin with the white space before its closing quotes",
            offset + position,
            offset + position + 1,
        )

    parts = []
    position = skip_indent(0) if is_first else 0
    while match := _SPECIAL.search(text, position):
        parts.append(text[position : match.start()])
        position = match.end()
        if match[0] == "\n":
            parts.append("\n")
            position = skip_indent(position)
        elif match[0] == "\r":
            if not form.is_multiline:
                at = offset + match.start()
                raise BadLiteral("a string of one line holds a carriage return", at, at + 1)
        elif text.startswith("#" * form.hashes, position):
            character, position = _escape(form, text, match.start(), offset)
            parts.append(character)
        else:
            parts.append("\\")
    parts.append(text[position:])
    return "".join(parts)


_SPECIAL = re.compile(r"[\\\n\r]")


def _escape(form: StringForm, text: str, start: int, offset: int) -> tuple[str, int]:
    """Return the character of the escape at `start`, and where it ends."""
    position = start + 1 + form.hashes
    name = text[position : position + 1]
    if name in _SIMPLE or name == form.quote[0]:
        return _SIMPLE.get(name, name), position + 1
    if name in _DIGITS and (form.is_bytes or name in "uU"):
        return _code_point(form, text, start, offset)
    shown = text[start : position + 1]
    if name and name in _DIGITS:
        message = f"{shown} is an escape of bytes ('...'), not of strings; use \\u and four digits"
    else:
        message = f"{shown} is no escape; there are {_known_escapes(form)}"
    raise BadLiteral(message, offset + start, offset + max(position + 1, start + 2))


def _known_escapes(form: StringForm) -> str:
    names = f"abfnrtv/\\{form.quote[0]}uU(" + ("x0" if form.is_bytes else "")
    return " ".join(f"\\{'#' * form.hashes}{name}" for name in names)


def _code_point(form: StringForm, text: str, start: int, offset: int) -> tuple[str, int]:
    prefix = "\\" + "#" * form.hashes
    name = text[start + len(prefix)]
    length, base = _DIGITS[name]
    first = start + len(prefix) + (0 if base == 8 else 1)
    end = first + length
    value = _digits(text, first, end, base)
    if value is None:
        kind = "octal" if base == 8 else "hexadecimal"
        raise BadLiteral(
            f"{prefix}{'' if base == 8 else name} must be followed by {length} {kind} digits",
            offset + start,
            offset + min(end, len(text)),
        )
    if name not in "uU":
        if value > 0xFF:
            raise BadLiteral("a byte is at most \\377", offset + start, offset + end)
        return chr(value if value < 0x80 else 0xDC00 + value), end
    if 0xD800 <= value < 0xDC00 and text.startswith(prefix + "u", end):
        low_start = end + len(prefix) + 1
        low = _digits(text, low_start, low_start + 4, 16) or 0
        if 0xDC00 <= low < 0xE000:
            return chr(0x10000 + (value - 0xD800) * 0x400 + low - 0xDC00), low_start + 4
    if value > 0x10FFFF or 0xD800 <= value < 0xE000:
        what = "half of a surrogate pair" if value < 0xE000 else "beyond U+10FFFF"
        raise BadLiteral(f"{text[start:end]} is no character: {what}", offset + start, offset + end)
    return chr(value), end


def _digits(text: str, start: int, end: int, base: int) -> int | None:
    digits = text[start:end]
    if len(digits) != end - start or not set(digits) <= _DIGIT_SETS[base]:
        return None
    return int(digits, base)


_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "/": "/",
    "\\": "\\",
}  # fmt: skip
_DIGITS = {"u": (4, 16), "U": (8, 16), "x": (2, 16)} | dict.fromkeys("01234567", (3, 8))
_DIGIT_SETS = {8: frozenset("01234567"), 16: frozenset("0123456789abcdefABCDEF")}
