"""Package ``math``: rounding, powers and logarithms with 24 digits; the rest in 64-bit floats."""

import decimal
import math
from collections.abc import Callable
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from connect.config.cue.numbers import (
    MAX_EXPONENT,
    PRECISION,
    Number,
    arithmetic_context,
    as_decimal,
    by_value,
    number_text,
)
from connect.config.cue.packages.bessel import bessel_j, bessel_y, erfinv
from connect.config.cue.packages.floats import from_float, to_float
from connect.config.cue.packages.signature import Signatures
from connect.config.cue.values import BuiltinError, Kind, Package

__all__ = ["PACKAGE"]

_CONTEXT = arithmetic_context()
_WIDE = arithmetic_context(PRECISION + 20, decimal.ROUND_HALF_EVEN)

_CONSTANTS: dict[str, Number] = {
    "MaxExp": 2147483647,
    "MinExp": -2147483648,
    "MaxPrec": 4294967295,
    "MaxBase": 62,
    "ToNearestEven": 0,
    "ToNearestAway": 1,
    "ToZero": 2,
    "AwayFromZero": 3,
    "ToNegativeInf": 4,
    "ToPositiveInf": 5,
    "Below": -1,
    "Exact": 0,
    "Above": 1,
    "E": Decimal("2.71828182845904523536028747135266249775724709369995957496696763"),
    "Pi": Decimal("3.14159265358979323846264338327950288419716939937510582097494459"),
    "Phi": Decimal("1.61803398874989484820458683436563811772030917980576286213544861"),
    "Sqrt2": Decimal("1.41421356237309504880168872420969807856967187537694807317667974"),
    "SqrtE": Decimal("1.64872127070012814684865078781416357165377610071014801157507931"),
    "SqrtPi": Decimal("1.77245385090551602729816748334114518279754945612238712821380779"),
    "SqrtPhi": Decimal("1.27201964951406896425242246173749149171560804184009624861664038"),
    "Ln2": Decimal("0.693147180559945309417232121458176568075500134360255254120680009"),
    "Log2E": Decimal("1.442695040888963407359924681001892137426645954152985934135449408"),
    "Ln10": Decimal("2.3025850929940456840179914546843642076011014886287729760333278"),
    "Log10E": Decimal("0.43429448190325182765112891891660508229439700580366656611445378"),
}


# To integers


def _rounding(mode: str) -> Callable[[Number], int]:
    def rounded(value: Number) -> int:
        if isinstance(value, int):
            return int(value)
        if value.adjusted() > MAX_EXPONENT:
            raise BuiltinError(f"{number_text(value)} is too large to be an int")
        return int(value.to_integral_value(mode, _CONTEXT))

    return rounded


# Decimal functions


def _decimal(function: Callable[..., Decimal]) -> Callable[..., Number]:
    """Give a function decimals, and have its result an int if it has no fraction."""

    def called(*arguments: Number) -> Number:
        try:
            result = function(*map(as_decimal, arguments))
        except decimal.InvalidOperation:
            raise BuiltinError(f"not defined for {_listed(arguments)}") from None
        except decimal.DecimalException:
            raise _out_of_range(arguments) from None
        if not result.is_finite():
            raise BuiltinError(f"the result for {_listed(arguments)} is infinite")
        return by_value(result)

    return called


def _listed(arguments: tuple[Number, ...]) -> str:
    return " and ".join(map(number_text, arguments))


def _out_of_range(arguments: tuple[Number, ...]) -> BuiltinError:
    return BuiltinError(
        f"the result for {_listed(arguments)} is out of range; its exponent must be from"
        f" -{MAX_EXPONENT} to {MAX_EXPONENT}"
    )


def _cbrt(x: Decimal) -> Decimal:
    if not x:
        return x
    third = _WIDE.divide(Decimal(1), Decimal(3))
    return _CONTEXT.plus(_WIDE.power(x.copy_abs(), third).copy_sign(x))


def _dim(x: Decimal, y: Decimal) -> Decimal:
    difference = _CONTEXT.subtract(x, y)
    return difference if difference >= 0 else Decimal(0)


def _log2(x: Decimal) -> Decimal:
    return _CONTEXT.divide(_CONTEXT.ln(x), _CONTEXT.ln(Decimal(2)))


def _log10(x: Decimal) -> Decimal:
    result = _CONTEXT.log10(x)
    if not result:
        return result
    last_digit = Decimal((0, (1,), result.adjusted() - PRECISION + 1))
    return result.quantize(last_digit, context=_CONTEXT)


def _pow(x: Decimal, y: Decimal) -> Decimal:
    if x == 1 and y != y.to_integral_value(context=_CONTEXT):
        return Decimal(1)
    return _CONTEXT.power(x, y)


def _exp2(x: Decimal) -> Decimal:
    return _CONTEXT.power(Decimal(2), x)


def _pow10(exponent: int) -> Number:
    if abs(exponent) > MAX_EXPONENT:
        raise _out_of_range((exponent,))
    return by_value(Decimal((0, (1,), exponent)))


def _multiple_of(x: Number, y: Number) -> bool:
    """Tell whether the quotient needs but one digit: what v0.4.2 takes for a multiple."""
    if not y:
        raise BuiltinError("division by zero")
    context = arithmetic_context(1)
    try:
        context.divide(as_decimal(x), as_decimal(y))
    except decimal.DecimalException:
        raise _out_of_range((x, y)) from None
    return not context.flags[decimal.Inexact]


def _jacobi(x: int, y: int) -> int:
    """Return the Jacobi symbol of two integers, the second of which is odd."""
    if y % 2 == 0:
        raise BuiltinError(f"the second argument {number_text(y)} is even; expected an odd integer")
    if max(x.bit_length(), y.bit_length()) > 10_000:
        raise BuiltinError("the arguments are too large; they may have 10000 bits")
    result = -1 if x < 0 and y < 0 else 1
    y = abs(y)
    x %= y
    while x:
        while x % 2 == 0:
            x //= 2
            if y % 8 in (3, 5):
                result = -result
        x, y = y, x
        if x % 4 == 3 and y % 4 == 3:
            result = -result
        x %= y
    return result if y == 1 else 0


# Functions of 64-bit floats


def _float(function: Callable[..., float]) -> Callable[..., Decimal]:
    """Give a function floats; what it does not know, and infinity, is an error."""

    def called(*arguments: Number) -> Decimal:
        try:
            result = function(*map(to_float, arguments))
        except (ValueError, OverflowError):
            raise BuiltinError(f"not defined for {_listed(arguments)}") from None
        return from_float(result)

    return called


def _logb(x: float) -> float:
    return math.frexp(x)[1] - 1


def _ilogb(x: Number) -> int:
    return math.frexp(to_float(x))[1] - 1


def _ldexp(fraction: Number, exponent: int) -> Decimal:
    try:
        return from_float(math.ldexp(to_float(fraction), max(min(exponent, 5000), -5000)))
    except OverflowError:
        raise _out_of_range((fraction, exponent)) from None


def _of_order(function: Callable[[int, float], float]) -> Callable[[int, Number], Decimal]:
    return lambda order, x: from_float(function(order, to_float(x)))


_UNARY_FLOATS: dict[str, Callable[[float], float]] = {
    "Acos": math.acos,
    "Acosh": math.acosh,
    "Asin": math.asin,
    "Asinh": math.asinh,
    "Atan": math.atan,
    "Atanh": math.atanh,
    "Cos": math.cos,
    "Cosh": math.cosh,
    "Erf": math.erf,
    "Erfc": math.erfc,
    "Erfinv": erfinv,
    "Erfcinv": lambda x: erfinv(1 - x),
    "Expm1": math.expm1,
    "Gamma": math.gamma,
    "J0": lambda x: bessel_j(0, x),
    "J1": lambda x: bessel_j(1, x),
    "Log1p": math.log1p,
    "Logb": _logb,
    "Sin": math.sin,
    "Sinh": math.sinh,
    "Sqrt": math.sqrt,
    "Tan": math.tan,
    "Tanh": math.tanh,
    "Y0": lambda x: bessel_y(0, x),
    "Y1": lambda x: bessel_y(1, x),
}
_BINARY_FLOATS: dict[str, Callable[[float, float], float]] = {
    "Atan2": math.atan2,
    "Hypot": math.hypot,
    "Mod": math.fmod,
    "Remainder": math.remainder,
}
_UNARY_DECIMALS: dict[str, Callable[[Decimal], Decimal]] = {
    "Abs": _CONTEXT.abs,
    "Cbrt": _cbrt,
    "Exp": _CONTEXT.exp,
    "Exp2": _exp2,
    "Log": _CONTEXT.ln,
    "Log2": _log2,
    "Log10": _log10,
}
_BINARY_DECIMALS: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "Copysign": lambda x, y: x.copy_sign(y),
    "Dim": _dim,
    "Pow": _pow,
}
_ROUNDINGS = {
    "Ceil": decimal.ROUND_CEILING,
    "Floor": decimal.ROUND_FLOOR,
    "Round": decimal.ROUND_HALF_UP,
    "RoundToEven": decimal.ROUND_HALF_EVEN,
    "Trunc": decimal.ROUND_DOWN,
}


def _package() -> Package:
    add = (signatures := Signatures("math")).add
    whole, number = Kind.INT, Kind.NUMBER
    for name, mode in _ROUNDINGS.items():
        add(name, (number,), whole, _rounding(mode))
    for name, unary in _UNARY_DECIMALS.items():
        add(name, (number,), number, _decimal(unary))
    for name, binary in _BINARY_DECIMALS.items():
        add(name, (number, number), number, _decimal(binary))
    for name, of_float in _UNARY_FLOATS.items():
        add(name, (number,), number, _float(of_float))
    for name, of_floats in _BINARY_FLOATS.items():
        add(name, (number, number), number, _float(of_floats))
    add("Jn", (whole, number), number, _of_order(bessel_j))
    add("Yn", (whole, number), number, _of_order(bessel_y))
    add("Ldexp", (number, whole), number, _ldexp)
    add("Ilogb", (number,), whole, _ilogb)
    add("Pow10", (whole,), number, _pow10)
    add("Jacobi", (whole, whole), whole, _jacobi, big=True)
    add("Signbit", (number,), Kind.BOOL, lambda value: as_decimal(value).is_signed())
    add("MultipleOf", (number, number), Kind.BOOL, _multiple_of)
    members: dict[str, Any] = {**signatures.members, **_CONSTANTS}
    return Package("math", MappingProxyType(members))


PACKAGE = _package()
