"""How bounds combine: tighter ones win, a range of one value is that value ("Bounds")."""

import math
from decimal import Decimal

from connect.config.cue.lattice import FLOAT, NULL, NUMBER, Bottom, Bound, Code, Scalar, Value
from connect.config.cue.regular_expressions import compile_pattern
from connect.config.cue.values import BuiltinError

__all__ = ["compare_scalars", "invert_bound", "same_scalar", "satisfied", "simplify"]

_DIRECTION = {">": 1, ">=": 1, "<": -1, "<=": -1}


def same_scalar(left: Scalar, right: Scalar) -> bool:
    """Tell whether two atoms are equal; an int equals a float of its value
    ("Comparison operators").
    """
    if left.kind != right.kind and not (left.kind & NUMBER and right.kind & NUMBER):
        return False
    return bool(left.value == right.value)


def compare_scalars(operator: str, left: Scalar, right: Scalar) -> bool | None:
    """Compare two atoms ("Comparison operators").

    Returns:
        None if they cannot be compared so.

    Raises:
        BuiltinError: the right one is no regular expression.
    """
    if operator in ("==", "!="):
        both_numbers = left.kind & NUMBER and right.kind & NUMBER
        if left.kind != right.kind and not both_numbers and NULL not in (left.kind, right.kind):
            return None
        return same_scalar(left, right) == (operator == "==")
    if operator in ("=~", "!~"):
        if not isinstance(left.value, str) or not isinstance(right.value, str | bytes):
            return None
        return compile_pattern(_pattern_text(right.value)).matches(left.value) == (operator == "=~")
    return _ordered(operator, left.value, right.value)


def _ordered(operator: str, a: object, b: object) -> bool | None:
    """Compare by order: numbers, strings or bytes ("Comparison operators")."""
    if isinstance(a, str) and isinstance(b, str):
        # Go compares the bytes of UTF-8, which order as code points do.
        order = (a > b) - (a < b)
    elif isinstance(a, bytes) and isinstance(b, bytes):
        order = (a > b) - (a < b)
    elif _is_number(a) and _is_number(b):
        order = (a > b) - (a < b)  # type: ignore[operator]  # both are int or Decimal
    else:
        return None
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]


def _is_number(value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def satisfied(bound: Bound, value: Scalar) -> bool | Bottom:
    """Tell whether an atom is within a bound ("Bounds")."""
    try:
        result = compare_scalars(bound.operator, value, bound.value)
    except BuiltinError as error:
        return Bottom(Code.EVALUATION, (str(error),), (bound.span,))
    if result is None:
        return Bottom(
            Code.EVALUATION,
            ("invalid operands ", value, " and ", bound.value, f" to '{bound.operator}'"),
            (value.span, bound.span),
        )
    return result


def simplify(kind: int, x: Bound, y: Bound) -> Value | None:
    """Combine two bounds ("Bounds").

    Args:
        kind: what else is known of the value; without floats, ranges are of ints.

    Returns:
        one bound, the only value within both, a `Bottom` if there is none, or None if
        both have to be kept.
    """
    x_way, y_way = _DIRECTION.get(x.operator), _DIRECTION.get(y.operator)
    if x_way is None or y_way is None:
        return _simplify_unequal(x, y)
    if x_way == y_way:
        tighter = {">": ">=", ">=": ">", "<": "<=", "<=": "<"}[x.operator]
        return x if compare_scalars(tighter, x.value, y.value) else y
    if x_way < 0:
        x, y = y, x
    return _simplify_range(kind, x, y)


def _simplify_unequal(x: Bound, y: Bound) -> Value | None:
    """Combine two bounds of which one at least has no direction ("Bounds")."""
    if x.operator == y.operator:
        return x if same_scalar(x.value, y.value) else None
    if x.operator == "!=" and y.operator in _DIRECTION:
        return None if compare_scalars(y.operator, x.value, y.value) else y
    if y.operator == "!=" and x.operator in _DIRECTION:
        return None if compare_scalars(x.operator, y.value, x.value) else x
    return None


def _simplify_range(kind: int, low: Bound, high: Bound) -> Value | None:
    """Combine a lower and an upper bound ("Bounds")."""
    a, b = low.value.value, high.value.value
    if not (_is_number(a) and _is_number(b)):
        return None
    assert isinstance(a, int | Decimal)
    assert isinstance(b, int | Decimal)
    whole = not kind & FLOAT
    difference: int
    if whole:
        a = math.ceil(a) if low.operator == ">=" else math.floor(a)
        b = math.floor(b) if high.operator == "<=" else math.ceil(b)
        difference = b - a
    else:
        difference = (b > a) - (b < a)  # only whether there is one, and in which direction
    includes_low, includes_high = low.operator == ">=", high.operator == "<="
    if difference < 0 or (difference == 0 and not (includes_low and includes_high)):
        return Bottom(
            Code.EVALUATION,
            ("incompatible bounds ", low, " and ", high),
            (low.span, high.span),
        )
    only: int | Decimal | None = None
    if difference == 0:
        only = a
    elif whole and difference == 1 and includes_low != includes_high:
        only = a if includes_low else b
    elif whole and difference == 2 and not includes_low and not includes_high:
        only = a + 1
    return None if only is None else Scalar(only, low.span, kind & NUMBER)


def invert_bound(operator: str) -> str:
    """Return the comparison that holds where this one does not ("Bounds")."""
    return {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[operator]


def _pattern_text(pattern: str | bytes) -> str:
    return pattern.decode(errors="replace") if isinstance(pattern, bytes) else pattern
