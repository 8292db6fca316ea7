"""Binary floating point for the functions that reckon with it, as Go's `float64` does."""

import math
import struct
from decimal import Decimal

from connect.config.cue.numbers import Number, as_decimal, number_text
from connect.config.cue.values import BuiltinError

__all__ = ["from_float", "narrowed", "shortest", "to_float"]

_LEAST = Decimal(math.ulp(0.0))


def to_float(value: Number) -> float:
    """Return the nearest 64-bit float.

    Raises:
        BuiltinError: the number is beyond the greatest one, or nearer to 0 than the least. As
            of v0.4.2, 0 itself counts among these.
    """
    decimal = as_decimal(value)
    if decimal.copy_abs() < _LEAST:
        raise BuiltinError(
            f"{number_text(value)} is too near to 0 for a 64-bit float; CUE v0.4.2 takes none"
            " below 5e-324, and not 0 itself"
        )
    result = math.inf if decimal.adjusted() > 400 else float(decimal)
    if math.isinf(result):
        raise BuiltinError(f"{number_text(value)} does not fit into a 64-bit float")
    return result


def from_float(value: float) -> Decimal:
    """Return a float as CUE writes it: the shortest digits that tell it from all others.

    Raises:
        BuiltinError: it is infinite or not a number.
    """
    if not math.isfinite(value):
        raise BuiltinError("the result is infinite or not a number")
    negative, digits, exponent = shortest(value)
    if exponent > 0 and len(digits) + exponent <= 6:
        digits, exponent = digits + "0" * exponent, 0
    return Decimal((negative, tuple(map(int, digits)), exponent))


def shortest(value: float, bits: int = 64) -> tuple[int, str, int]:
    """Return sign, digits and exponent of the shortest decimal that is read as this float.

    Args:
        bits: 32 or 64; what it is read as. A 32-bit float must fit.
    """
    text = repr(value)
    if bits == 32:
        candidates = (f"{value:.{digits}e}" for digits in range(9))
        text = next(text for text in candidates if narrowed(float(text)) == value)
    negative, digits, exponent = Decimal(text).as_tuple()
    written = "".join(map(str, digits)).lstrip("0")
    kept = written.rstrip("0")
    if not kept:
        return negative, "0", 0
    return negative, kept, int(exponent) + len(written) - len(kept)


def narrowed(value: float) -> float:
    """Return the nearest 32-bit float, which may be infinite."""
    try:
        result: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return result
