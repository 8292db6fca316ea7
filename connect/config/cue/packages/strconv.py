"""Package ``strconv``: numbers and text, quoting."""

import math
import re
import unicodedata
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import partial
from types import MappingProxyType

from connect.config.cue.ast import Literal
from connect.config.cue.errors import CueError
from connect.config.cue.numbers import Number
from connect.config.cue.packages.floats import from_float, narrowed, shortest, to_float
from connect.config.cue.packages.signature import Signatures
from connect.config.cue.parser import parse_expression
from connect.config.cue.source import Source
from connect.config.cue.values import RESULT_LIMIT, BuiltinError, Kind, Package, check_size

__all__ = ["PACKAGE"]

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PREFIXES = {"0x": 16, "0b": 2, "0o": 8}

# Underscores may separate digits, also those of a prefix from the rest.
_SEPARATED = re.compile(r"(?:0[xob]_?)?[0-9a-z]+(?:_[0-9a-z]+)*")
_DECIMAL_FLOAT = re.compile(
    r"[+-]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:e[+-]?[0-9][0-9_]*)?",
    re.ASCII | re.IGNORECASE,
)
_HEXADECIMAL_FLOAT = re.compile(
    r"[+-]?0x_?(?:[0-9a-f][0-9a-f_]*(?:\.[0-9a-f_]*)?|\.[0-9a-f][0-9a-f_]*)p[+-]?[0-9][0-9_]*",
    re.ASCII | re.IGNORECASE,
)


# Reading


def _invalid(text: str, wanted: str) -> BuiltinError:
    return BuiltinError(f"invalid syntax: {text!r}; expected {wanted}")


def _parse_magnitude(text: str, base: int) -> int | None:
    """Read digits without sign; None if there is something else."""
    lowered = text.lower()
    if base == 0:
        base = _PREFIXES.get(lowered[:2], 8 if lowered[:1] == "0" and len(lowered) > 1 else 10)
        if not _SEPARATED.fullmatch(lowered):
            return None
        lowered = (lowered[2:] if lowered[:2] in _PREFIXES else lowered).replace("_", "")
    if not lowered or not set(lowered) <= set(_DIGITS[:base]) or len(lowered) > 200:
        return None if len(lowered) <= 200 else 1 << 64
    return int(lowered, base)


def _check_base(base: int, bits: int) -> int:
    if base != 0 and not 2 <= base <= 36:
        raise BuiltinError(f"invalid base {base}; expected 0, or 2 to 36")
    if not 0 <= bits <= 64:
        raise BuiltinError(f"invalid bit size {bits}; expected 0 to 64")
    return bits or 64


def _parse_int(text: str, base: int, bits: int) -> int:
    bits = _check_base(base, bits)
    sign = -1 if text.startswith("-") else 1
    magnitude = _parse_magnitude(text[1:] if text[:1] in ("+", "-") else text, base)
    if magnitude is None:
        raise _invalid(text, "an integer")
    result = sign * magnitude
    if not -(1 << bits - 1) <= result < 1 << bits - 1:
        raise BuiltinError(f"{text!r} is out of range; it must fit into {bits} bits")
    return result


def _parse_uint(text: str, base: int, bits: int) -> int:
    bits = _check_base(base, bits)
    result = _parse_magnitude(text, base)
    if result is None:
        raise _invalid(text, "an integer without sign")
    if result >= 1 << bits:
        raise BuiltinError(f"{text!r} is out of range; it must fit into {bits} bits")
    return result


def _atoi(text: str) -> int:
    return _parse_int(text, 10, 0)


def _parse_float(text: str, bits: int) -> Decimal:
    if _DECIMAL_FLOAT.fullmatch(text) and not _misplaced_underscore(text):
        value = float(text.replace("_", ""))
    elif _HEXADECIMAL_FLOAT.fullmatch(text):
        value = _from_hexadecimal(text.replace("_", ""))
    else:
        raise _invalid(text, "a number")
    value = narrowed(value) if bits == 32 else value
    if math.isinf(value):
        size = 32 if bits == 32 else 64
        raise BuiltinError(f"{text!r} is out of range; it must fit into a {size}-bit float")
    return from_float(value)


def _misplaced_underscore(text: str) -> bool:
    return re.search(r"_(?![0-9])|(?<![0-9])_", text, re.ASCII) is not None


def _from_hexadecimal(text: str) -> float:
    try:
        return float.fromhex(text)
    except OverflowError:
        return math.inf


_TRUE = {"1", "t", "T", "true", "TRUE", "True"}
_FALSE = {"0", "f", "F", "false", "FALSE", "False"}


def _parse_bool(text: str) -> bool:
    if text not in _TRUE and text not in _FALSE:
        raise _invalid(text, "true or false")
    return text in _TRUE


# Writing


def _format_in_base(value: int, base: int) -> str:
    if not 2 <= base <= 36:
        raise BuiltinError(f"invalid base {base}; expected 2 to 36")
    digits: list[str] = []
    rest = abs(value)
    while rest or not digits:
        rest, digit = divmod(rest, base)
        digits.append(_DIGITS[digit])
    return "-" * (value < 0) + "".join(reversed(digits))


def _format_uint(value: int, base: int) -> str:
    if not 0 <= value < 1 << 64:
        raise BuiltinError("the number is out of range; it must fit into 64 bits, unsigned")
    return _format_in_base(value, base)


def _format_float(
    value: Number, layout: int, precision: int, bits: int, *, limit: int = RESULT_LIMIT
) -> str:
    """Write a float in the layout of ``b``, ``e``, ``E``, ``f``, ``g``, ``G``, ``x`` or ``X``.

    Args:
        layout: the letter's code point.
        precision: digits after the point, significant ones for ``g``; -1: as many as needed.
        bits: 32 or 64.
    """
    letter = chr(layout) if 0 <= layout < 128 else ""
    if letter not in ("b", "e", "E", "f", "g", "G", "x", "X"):
        raise BuiltinError(f"invalid format {layout}; expected the code of one of b e E f g G x X")
    if bits not in (32, 64):
        raise BuiltinError(f"invalid bit size {bits}; expected 32 or 64")
    check_size(precision, min(limit, 100_000), "digits")
    number = to_float(value)
    number = narrowed(number) if bits == 32 else number
    if math.isinf(number):
        raise BuiltinError("the number does not fit into a 32-bit float")
    match letter.lower():
        case "b":
            return _binary(number, bits)
        case "x":
            text = _hexadecimal(number, precision)
        case "e":
            text = _exponential(*_rounded(number, precision + 1, bits), precision)
        case "f":
            text = _positional(number, precision, bits)
        case _:
            text = _general(number, precision, bits)
    return text.upper() if letter.isupper() else text


def _rounded(number: float, digits: int, bits: int) -> tuple[int, str, int]:
    """Return sign, digits and exponent: `digits` significant ones, the shortest if it is 0."""
    if digits <= 0 or not number:
        return shortest(number, bits)
    context = Context(prec=digits, rounding=ROUND_HALF_EVEN)
    negative, kept, exponent = context.create_decimal(Decimal(number)).as_tuple()
    return negative, "".join(map(str, kept)), int(exponent)


def _exponential(negative: int, digits: str, exponent: int, precision: int) -> str:
    power = exponent + len(digits) - 1
    fraction = digits[1:].ljust(max(precision, 0), "0")
    point = "." if fraction else ""
    return f"{'-' * negative}{digits[0]}{point}{fraction}e{power:+03d}"


def _positional(number: float, precision: int, bits: int) -> str:
    if precision >= 0:
        return f"{number:.{precision}f}"
    negative, digits, exponent = shortest(number, bits)
    return f"{Decimal((negative, tuple(map(int, digits)), exponent)):f}"


def _general(number: float, precision: int, bits: int) -> str:
    wanted = precision or 1
    negative, digits, exponent = _rounded(number, max(wanted, 0), bits)
    stripped = digits.rstrip("0") or "0"
    if number:
        exponent += len(digits) - len(stripped)
        digits = stripped
    power = exponent + len(digits) - 1
    threshold = 6 if wanted < 0 else wanted
    if threshold > len(digits) and exponent <= 0:
        threshold = max(len(digits), 6) if wanted < 0 else max(len(digits), power + 1)
    if power < -4 or power >= max(threshold, wanted):
        return _exponential(negative, digits, exponent, 0)
    return f"{Decimal((negative, tuple(map(int, digits)), exponent)):f}"


def _binary(number: float, bits: int) -> str:
    mantissa_bits, least = (53, -1074) if bits == 64 else (24, -149)
    fraction, exponent = math.frexp(abs(number))
    power = max(exponent - mantissa_bits, least)
    mantissa = int(math.ldexp(fraction, exponent - power))
    sign = "-" if math.copysign(1, number) < 0 else ""
    return f"{sign}{mantissa}p{power:+d}"


def _hexadecimal(number: float, precision: int) -> str:
    sign = "-" if math.copysign(1, number) < 0 else ""
    fraction, exponent = math.frexp(abs(number))
    digits = 13 if precision < 0 else min(precision, 13)
    scaled = round(fraction * 2 * 16**13) if number else 0
    shift = 16 ** (13 - digits)
    quotient, rest = divmod(scaled, shift)
    if rest * 2 > shift or (rest * 2 == shift and quotient % 2):
        quotient += 1
    power = exponent - 1 if number else 0
    if quotient >= 2 * 16**digits:
        quotient, power = quotient // 2, power + 1
    lead, tail = divmod(quotient, 16**digits)
    text = f"{tail:0{digits}x}" if digits else ""
    text = text.rstrip("0") if precision < 0 else text.ljust(precision, "0")
    return f"{sign}0x{lead}{'.' if text else ''}{text}p{power:+03d}"


# Quoting

_ESCAPES = dict(zip("\a\b\f\n\r\t\v\\", "abfnrtv\\", strict=True))


def _is_graphic(code: int) -> bool:
    return _of_category(code, "LMNPS") or _of_category(code, ("Zs",))


def _is_print(code: int) -> bool:
    return _of_category(code, "LMNPS") or code == 0x20


def _of_category(code: int, categories: str | tuple[str, ...]) -> bool:
    if not 0 <= code <= 0x10FFFF:
        return False
    category = unicodedata.category(chr(code))
    return category in categories or category[0] in categories


def _is_ascii(code: int) -> bool:
    return 0x20 <= code < 0x7F


def _escaped(text: str, quote: str, shown: Callable[[int], bool]) -> str:
    parts = [quote]
    for character in text:
        code = ord(character)
        if character == quote or character in _ESCAPES:
            parts.append("\\" + _ESCAPES.get(character, character))
        elif shown(code):
            parts.append(character)
        elif code < 0x20:
            parts.append(f"\\x{code:02x}")
        else:
            parts.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    parts.append(quote)
    return "".join(parts)


def _quote(shown: Callable[[int], bool], text: str) -> str:
    return _escaped(text, '"', shown)


def _quote_rune(shown: Callable[[int], bool], code: int) -> str:
    valid = 0 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000
    return _escaped(chr(code) if valid else "\ufffd", "'", shown)


def _unquote(text: str) -> str:
    """Read a string or bytes literal of CUE that has no interpolations."""
    try:
        literal = parse_expression(Source("the text", text))
    except CueError as error:
        raise _invalid(text, f"a string literal ({error.faults[0].message})") from None
    if not isinstance(literal, Literal) or (literal.span.start, literal.span.end) != (
        0,
        len(text),
    ):
        raise _invalid(text, "a string literal")
    match literal.value:
        case str() as value:
            return value
        case bytes() as data:
            return data.decode(errors="replace")
        case _:
            raise _invalid(text, "a string literal")


def _package() -> Package:
    add = (signatures := Signatures("strconv")).add
    text, whole, number, truth = Kind.STRING, Kind.INT, Kind.NUMBER, Kind.BOOL
    add("Atoi", (text,), whole, _atoi)
    add("ParseInt", (text, whole, whole), whole, _parse_int)
    add("ParseUint", (text, whole, whole), whole, _parse_uint)
    add("ParseFloat", (text, whole), number, _parse_float)
    add("ParseBool", (text,), truth, _parse_bool)
    add("FormatInt", (whole, whole), text, _format_in_base)
    add("FormatUint", (whole, whole), text, _format_uint, big=True)
    add("FormatFloat", (number, whole, whole, whole), text, _format_float, bounded=True)
    add("FormatBool", (truth,), text, lambda value: "true" if value else "false")
    add("Unquote", (text,), text, _unquote)
    for suffix, shown in (("", _is_print), ("ToASCII", _is_ascii), ("ToGraphic", _is_graphic)):
        add(f"Quote{suffix}", (text,), text, partial(_quote, shown))
        add(f"QuoteRune{suffix}", (whole,), text, partial(_quote_rune, shown))
    add("IsPrint", (whole,), truth, _is_print)
    add("IsGraphic", (whole,), truth, _is_graphic)
    return Package("strconv", MappingProxyType({**signatures.members, "IntSize": 64}))


PACKAGE = _package()
