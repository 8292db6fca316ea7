"""What functions ask of their arguments beyond the kind: elements, ranges, floats."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from connect.config.cue.numbers import Number, as_decimal
from connect.config.cue.sequences import text_bytes
from connect.config.cue.values import BuiltinError, Concrete, Kind, NotConcrete, kind_of

__all__ = ["byte_data", "elements_of", "is_opaque", "may_become", "numbers_of", "strings_of"]


def byte_data(value: str | bytes) -> bytes:
    """Return bytes as they are, and a string as UTF-8."""
    return text_bytes(value) if isinstance(value, str) else value


def may_become(value: Concrete, wanted: Kind) -> bool:
    """Tell an opaque value that can still be of a kind; one without any kind is undecided."""
    kind = kind_of(value)
    return is_opaque(value) and (not kind or bool(kind & wanted))


def is_opaque(value: Concrete) -> bool:
    """Tell a value of the evaluator from one of Python's own."""
    return value is not None and not isinstance(value, (bool, int, Decimal, str, bytes, list, dict))


def elements_of(values: Sequence[Concrete], wanted: Kind) -> list[Any]:
    """Return the elements of a list, all of the kind that the function takes.

    Raises:
        NotConcrete: an element may yet become of the kind.
        BuiltinError: one is of another kind.
    """
    for index, value in enumerate(values):
        if may_become(value, wanted):
            raise NotConcrete(f"element {index} is not concrete; expected a {wanted}")
        kind = kind_of(value)
        if not kind & wanted:
            raise BuiltinError(f"element {index} is of type {kind}; expected {wanted}")
    return list(values)


def strings_of(values: Sequence[Concrete]) -> list[str]:
    """Return the elements of a list of strings; see `elements_of`."""
    return elements_of(values, Kind.STRING)


def numbers_of(values: Sequence[Concrete]) -> list[Decimal]:
    """Return the elements of a list of numbers as decimals; see `elements_of`."""
    numbers: list[Number] = elements_of(values, Kind.NUMBER)
    return [as_decimal(number) for number in numbers]
