"""What names stand for that no document declares ("Predeclared identifiers")."""

from connect.config.cue.lattice import (
    BOOL,
    BYTES,
    FLOAT,
    INT,
    NUMBER,
    STRING,
    Bound,
    Conjunction,
    FunctionValue,
    Intrinsic,
    Scalar,
    TypeValue,
    Value,
)
from connect.config.cue.numbers import PREDECLARED, Bounds
from connect.config.cue.packages.predeclared import PREDECLARED_FUNCTIONS
from connect.config.cue.source import Span

__all__ = ["predeclared", "predeclared_names"]

_TYPES = {
    "bool": BOOL,
    "int": INT,
    "float": FLOAT,
    "number": NUMBER,
    "string": STRING,
    "bytes": BYTES,
}
_INTRINSICS = {intrinsic.value: intrinsic for intrinsic in Intrinsic}


def predeclared_names() -> list[str]:
    """Return all of them."""
    return [*_TYPES, *PREDECLARED, *PREDECLARED_FUNCTIONS, *_INTRINSICS]


def predeclared(name: str, span: Span) -> "TypeValue | Conjunction | FunctionValue | None":
    """Return what a name stands for, None if it is not predeclared."""
    if name in _TYPES:
        return TypeValue(_TYPES[name], span)
    if name in PREDECLARED:
        return _range(PREDECLARED[name], span)
    if name in PREDECLARED_FUNCTIONS:
        return FunctionValue(PREDECLARED_FUNCTIONS[name], span)
    if name in _INTRINSICS:
        return FunctionValue(_INTRINSICS[name], span)
    return None


def _range(bounds: Bounds, span: Span) -> Conjunction:
    kind = bounds.kind.value
    values: list[Value] = [TypeValue(kind, span)]
    for operator, limit in ((">=", bounds.low), ("<=", bounds.high)):
        if limit is not None:
            values.append(Bound(operator, Scalar(limit, span), span))
    return Conjunction(tuple(values), kind)
