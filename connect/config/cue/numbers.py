"""Numbers as CUE reckons with them: 24 significant digits, and the text of floats kept.

An int is Python's `int`, a float is a `Decimal` with its exponent (``1.50`` is not ``1.5``).
`+ - *` of two ints give an int, of anything else a float; `/` always gives a float. The
result of all four is rounded half up to `PRECISION` digits, that of two ints too; `div`,
`mod`, `quo` and `rem` are exact. The rules are those of "Arithmetic operators" in the
specification of CUE, precision and notation those of its implementation as of v0.4.2.

All functions are pure: no global decimal context is read or changed.
"""

import decimal
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from connect.config.cue.values import BuiltinError, Kind

__all__ = [
    "PRECISION",
    "PREDECLARED",
    "Bounds",
    "Number",
    "WrittenInt",
    "arithmetic_context",
    "as_decimal",
    "binary",
    "by_value",
    "compare",
    "int_from_digits",
    "negate",
    "number_text",
]

Number = int | Decimal

PRECISION = 24
"""Significant digits of a result."""

MAX_EXPONENT = 100_000
"""Numbers reach from 1e-100000 to just below 1e100001."""

_MOST_BITS = 50_000  # of an operand that is divided exactly

# The least exponent that a context allows is `Emin` - (precision - 1).
_LEAST = -MAX_EXPONENT + PRECISION - 1
_EXACT_BELOW = 10**PRECISION
_ZERO = Decimal(0)


def arithmetic_context(
    precision: int = PRECISION, rounding: str = decimal.ROUND_HALF_UP
) -> decimal.Context:
    """Return a new context for CUE's floats that raises when an exponent is out of range.

    Args:
        precision: significant digits of results.
        rounding: one of the modes of `decimal`.
    """
    return decimal.Context(
        prec=precision,
        rounding=rounding,
        Emin=_LEAST,
        Emax=MAX_EXPONENT,
        capitals=1,
        clamp=0,
        traps=[
            decimal.Clamped,
            decimal.DivisionByZero,
            decimal.InvalidOperation,
            decimal.Overflow,
            decimal.Underflow,
        ],
    )


# Shared by all threads: its flags are set and never looked at, all else stays as it is.
_CONTEXT = arithmetic_context()


class WrittenInt(int):
    """An int that is not written by its digits alone: ``1.0E+30``, ``3.0``, ``-0``."""

    text: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers that a predeclared name such as ``uint8`` stands for.

    Attributes:
        kind: `Kind.INT`, or `Kind.NUMBER` where floats are in it too.
        low: the least number, None for no limit.
        high: the greatest number, None for no limit.
    """

    kind: Kind
    low: Number | None
    high: Number | None


def _signed(bits: int) -> Bounds:
    return Bounds(Kind.INT, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _unsigned(bits: int) -> Bounds:
    return Bounds(Kind.INT, 0, 2**bits - 1)


def _floating(greatest: str) -> Bounds:
    high = Decimal(greatest)
    return Bounds(Kind.NUMBER, high.copy_negate(), high)


PREDECLARED: Mapping[str, Bounds] = MappingProxyType(
    {
        "uint": Bounds(Kind.INT, 0, None),
        "rune": Bounds(Kind.INT, 0, 0x10FFFF),
        "float32": _floating("340282346638528859811704183484516925440"),
        "float64": _floating("1.797693134862315708145274237317043567981E+308"),
        **{f"int{bits}": _signed(bits) for bits in (8, 16, 32, 64, 128)},
        **{f"uint{bits}": _unsigned(bits) for bits in (8, 16, 32, 64, 128)},
    }
)
"""Predeclared identifiers that are ranges of numbers ("Predeclared identifiers")."""


def binary(operator: str, left: Number, right: Number) -> Number:
    """Reckon with two numbers.

    Args:
        operator: one of ``+ - * / div mod quo rem``; the last four take ints only. ``div``
            and ``mod`` are Euclidean (the modulus is never negative), ``quo`` and ``rem``
            truncate towards zero.

    Raises:
        BuiltinError: the divisor is zero, an operand of the last four is a float, or the
            result's exponent is out of range.
    """
    if operator in _INTEGER_OPERATORS:
        return _integer(operator, left, right)
    if type(left) is int and type(right) is int and operator != "/":
        exact = _exact(operator, left, right)
        if exact is not None:
            return exact
    if operator == "/" and not right:
        raise BuiltinError("division by zero" if left else "division of zero by zero")
    try:
        result = _FLOAT_OPERATORS[operator](_CONTEXT, as_decimal(left), as_decimal(right))
    except decimal.DecimalException:
        raise BuiltinError(
            f"the result's exponent is out of range; it must be from"
            f" -{MAX_EXPONENT} to {MAX_EXPONENT}"
        ) from None
    both_ints = isinstance(left, int) and isinstance(right, int)
    return _written_int(result) if both_ints and operator != "/" else result


_FLOAT_OPERATORS = {
    "+": decimal.Context.add,
    "-": decimal.Context.subtract,
    "*": decimal.Context.multiply,
    "/": decimal.Context.divide,
}
_INTEGER_OPERATORS = {"div", "mod", "quo", "rem"}


def _exact(operator: str, left: int, right: int) -> int | None:
    """Reckon with ints; None if the result has to be rounded, or is a negative zero."""
    if operator == "*":
        if left.bit_length() + right.bit_length() > 81:  # 10**24 has 80 bits
            return None
        result = left * right
        if not result and (left < 0 or right < 0):
            return None
    else:
        result = left + right if operator == "+" else left - right
    return result if -_EXACT_BELOW < result < _EXACT_BELOW else None


def by_value(value: Decimal) -> Number:
    """Return the number that a function answers: an int if it has no fraction.

    An int keeps the text of the decimal, so that ``3.0`` is an int that is written ``3.0``.

    Args:
        value: finite, and in the range of `arithmetic_context`.
    """
    if value != value.to_integral_value(context=_CONTEXT):
        return value
    return _written_int(value)


def as_decimal(value: Number) -> Decimal:
    """Return a number with the exponent that it is written with."""
    return Decimal(value.text) if isinstance(value, WrittenInt) else Decimal(value)


def _written_int(value: Decimal) -> int:
    sign, coefficient, exponent = value.as_tuple()
    if isinstance(exponent, int) and exponent > 0:
        # Much faster than `int` for the largest numbers.
        power: int = 10**exponent
        digits = int(Decimal((sign, coefficient, 0))) * power
    else:
        digits = int(value)
    if value.same_quantum(_ZERO) and (digits or not value.is_signed()):
        return digits
    result = WrittenInt(digits)
    result.text = _CONTEXT.to_sci_string(value)
    return result


def _integer(operator: str, left: Number, right: Number) -> int:
    for operand in (left, right):
        if not isinstance(operand, int):
            raise BuiltinError(f"{operator} takes ints, not the float {number_text(operand)}")
    a, b = int(left), int(right)
    if not b:
        raise BuiltinError("division by zero")
    if max(a.bit_length(), b.bit_length()) > _MOST_BITS:
        raise BuiltinError(f"an operand of {operator} is too large; it may have {_MOST_BITS} bits")
    if operator in ("quo", "rem"):
        quotient, remainder = divmod(abs(a), abs(b))
        if operator == "rem":
            return -remainder if a < 0 else remainder
        return -quotient if (a < 0) != (b < 0) else quotient
    quotient, remainder = divmod(a, abs(b))
    if operator == "mod":
        return remainder
    return -quotient if b < 0 else quotient


def compare(left: Number, right: Number) -> int:
    """Return -1, 0 or 1 as `left` is less than, equal to or greater than `right`, exactly."""
    return (left > right) - (left < right)


def negate(value: Number) -> Number:
    """Return the number with the other sign, all its digits kept; zero stays unsigned."""
    if type(value) is int:
        return -value
    result = as_decimal(value)
    result = result.copy_negate() if result else result.copy_abs()
    return _written_int(result) if isinstance(value, int) else result


def number_text(value: Number) -> str:
    """Write a number as CUE does: in interpolations, in JSON, in messages."""
    if isinstance(value, WrittenInt):
        return value.text
    # Python refuses to write ints of more than 4300 digits; decimals know no such limit.
    return _CONTEXT.to_sci_string(Decimal(value))


def int_from_digits(digits: str) -> int:
    """Read decimal digits of any number, also of more than Python's `int` takes."""
    return int(digits) if len(digits) < 4000 else int(Decimal(digits))
