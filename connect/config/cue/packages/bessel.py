"""Bessel functions of integer order, and the inverse of the error function.

Small arguments are summed as power series with enough digits that nothing is lost to
cancellation, large ones by Hankel's expansion; orders above one follow by recurrence in the
direction in which it is stable (Abramowitz and Stegun, chapter 9).
"""

import math
from decimal import Context, Decimal

from connect.config.cue.values import BuiltinError

__all__ = ["bessel_j", "bessel_y", "erfinv"]

_LARGE = 40.0
_MOST_ORDERS = 100_000
_LEAST_LOGARITHM = -760.0  # of what a float can be told from zero
_CONTEXT = Context(prec=70, Emin=-999_999, Emax=999_999)
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781")
_GAMMA = Decimal("0.57721566490153286060651209008240243104215933593992359880576723488487")


def bessel_j(order: int, x: float) -> float:
    """Return the Bessel function of the first kind."""
    sign = -1.0 if order % 2 and (order < 0) != (x < 0) else 1.0
    order, x = _bounded(order), abs(x)
    if x == 0:
        return 0.0 if order else 1.0
    if order * math.log(x / 2) - math.lgamma(order + 1) < _LEAST_LOGARITHM:
        return 0.0
    if x < _LARGE:
        return sign * float(_series(order, Decimal(x)))
    if order < 2:
        return sign * _hankel(order, x)[0]
    if order < x:
        return sign * _upward(order, x, _hankel(0, x)[0], _hankel(1, x)[0])
    return sign * _downward(order, x)


def bessel_y(order: int, x: float) -> float:
    """Return the Bessel function of the second kind; infinite at zero, NaN below."""
    sign = -1.0 if order % 2 and order < 0 else 1.0
    order = _bounded(order)
    if x <= 0:
        return -sign * math.inf if x == 0 else math.nan
    if x < _LARGE:
        zeroth, first = _second_kind(Decimal(x))
    else:
        zeroth, first = _hankel(0, x)[1], _hankel(1, x)[1]
    return sign * (zeroth if order == 0 else _upward(order, x, zeroth, first))


def _bounded(order: int) -> int:
    if abs(order) > _MOST_ORDERS:
        raise BuiltinError(f"the order {order} is too large; it may be up to {_MOST_ORDERS}")
    return abs(order)


def _series(order: int, x: Decimal) -> Decimal:
    half = _CONTEXT.divide(x, Decimal(2))
    square = _CONTEXT.multiply(half, half)
    term = Decimal(1)
    for factor in range(1, order + 1):
        term = _CONTEXT.divide(_CONTEXT.multiply(term, half), Decimal(factor))
    total, k = term, 0
    least = _CONTEXT.scaleb(abs(term), -40)
    while abs(term) > least or k < half:
        k += 1
        term = _CONTEXT.divide(_CONTEXT.multiply(-term, square), Decimal(k * (k + order)))
        total = _CONTEXT.add(total, term)
    return total


def _second_kind(x: Decimal) -> tuple[float, float]:
    """Return Y0 by its series, and Y1 by the Wronskian of both kinds."""
    context = _CONTEXT
    zeroth, first = _series(0, x), _series(1, x)
    half = context.divide(x, Decimal(2))
    square = context.multiply(half, half)
    total = context.multiply(context.add(context.ln(half), _GAMMA), zeroth)
    term, harmonic, k = Decimal(1), Decimal(0), 0
    while abs(term) > Decimal("1e-60") or k < half:
        k += 1
        term = context.divide(context.multiply(-term, square), Decimal(k * k))
        harmonic = context.add(harmonic, context.divide(Decimal(1), Decimal(k)))
        total = context.subtract(total, context.multiply(term, harmonic))
    scale = context.divide(Decimal(2), _PI)
    second = context.multiply(scale, total)
    wronskian = context.divide(scale, x)
    product = context.subtract(context.multiply(first, second), wronskian)
    return float(second), float(context.divide(product, zeroth))


def _hankel(order: int, x: float) -> tuple[float, float]:
    """Return both kinds, of order 0 or 1, for a large argument."""
    cosine, sine = math.cos(x), math.sin(x)
    if order:  # the phase is a quarter turn behind
        cosine, sine = sine, -cosine
    phase_cosine, phase_sine = cosine + sine, sine - cosine  # both times the root of 2
    even, odd, term = 1.0, 0.0, 1.0
    k = 0
    while abs(term) > 1e-20:
        k += 1
        term *= (4 * order * order - (2 * k - 1) ** 2) / (8 * x * k)
        if k % 2:
            odd += term if k % 4 == 1 else -term
        else:
            even += term if k % 4 == 0 else -term
    scale = math.sqrt(1 / (math.pi * x))
    return (
        scale * (even * phase_cosine - odd * phase_sine),
        scale * (even * phase_sine + odd * phase_cosine),
    )


def _upward(order: int, x: float, zeroth: float, first: float) -> float:
    before, current = zeroth, first
    for n in range(1, order):
        before, current = current, 2 * n / x * current - before
        if math.isinf(current):
            break
    return current


def _downward(order: int, x: float) -> float:
    """Miller's algorithm: from far above, then scaled by what the sum of all has to be."""
    start = 2 * ((order + math.isqrt(40 * order)) // 2) + 2
    above, current, total, result = 0.0, 1e-300, 0.0, 0.0
    for n in range(start, 0, -1):
        above, current = current, 2 * n / x * current - above
        if abs(current) > 1e200:
            above, current = above * 1e-200, current * 1e-200
            total, result = total * 1e-200, result * 1e-200
        if n - 1 == order:
            result = current
        if n % 2 and n > 1:
            total += 2 * current
    return result / (total + current)


def erfinv(y: float) -> float:
    """Return what the error function is `y` of; infinite at -1 and 1, NaN beyond."""
    if abs(y) >= 1:
        return math.copysign(math.inf, y) if abs(y) == 1 else math.nan
    if y == 0:
        return y
    logarithm = math.log1p(-y * y)
    middle = 2 / (math.pi * 0.147) + logarithm / 2
    x = math.sqrt(math.sqrt(middle * middle - logarithm / 0.147) - middle)
    target = abs(y)
    for _ in range(4):
        error = (1 - target) - math.erfc(x) if target > 0.5 else math.erf(x) - target
        slope = 2 / math.sqrt(math.pi) * math.exp(-x * x)
        step = error / slope
        x -= step / (1 + x * step)
    return math.copysign(x, y)
