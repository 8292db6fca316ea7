"""CEL expressions over events: the conditions of triggers and of waits.

CEL's library is heavy to import, so it is imported with the first expression.
"""

import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from connect.runs.errors import ExpressionError

__all__ = ["Expression"]

_LONGEST = 4096  # characters; what people write is far shorter
_INT64 = range(-(2**63), 2**63)

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
    "_==_": operator.eq,
    "_!=_": operator.ne,
}


class Expression:
    """A compiled condition.

    Args:
        text: the expression, in CEL.

    Raises:
        ExpressionError: the text is no CEL.
    """

    def __init__(self, text: str) -> None:
        import celpy
        from celpy.celparser import CELParseError

        self.text = text
        if len(text) > _LONGEST:
            raise ExpressionError(text[:60] + "…", f"longer than {_LONGEST} characters")
        environment = celpy.Environment()
        try:
            tree = environment.compile(text)
        except CELParseError as error:
            reason = f"syntax error at line {error.line}, column {error.column}"
            raise ExpressionError(text, reason) from None
        except (ValueError, RecursionError) as error:
            raise ExpressionError(text, f"{type(error).__name__}: {error}") from None
        self._program = environment.program(tree, functions=_functions())

    def matches(self, **variables: object) -> bool:
        """Return whether the condition holds.

        What is missing from an event, or is of another type than the expression has it,
        makes the condition false: an event that does not fit is nothing unusual.

        Args:
            variables: the values that the expression may name, decoded JSON each.

        Raises:
            ExpressionError: it names a variable that there is not, or its value is
                neither true nor false.
        """
        from celpy import celtypes
        from celpy.evaluation import CELEvalError

        try:
            value = self._program.evaluate({name: _cel(v) for name, v in variables.items()})
        except CELEvalError as error:
            reason = str(error.args[0] if error.args else error)
            if reason.startswith("undeclared reference"):
                unknown = reason.split("(in activation", 1)[0].strip()
                known = ", ".join(sorted(variables))
                raise ExpressionError(self.text, f"{unknown}; there is {known}") from None
            return False
        except (ValueError, RecursionError):
            return False
        if not isinstance(value, celtypes.BoolType):
            raise ExpressionError(self.text, "its value is neither true nor false")
        return bool(value)


@lru_cache(maxsize=1)
def _functions() -> dict[str, Any]:
    return {name: _comparison(name, compare) for name, compare in _COMPARISONS.items()}


def _comparison(name: str, compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a comparison as the language has it now: numbers compare across types.

    JSON does not tell 1 from 1.0, so ``event.data.amount > 99.5`` must hold for 100.
    Values of different types are unequal, where the library calls that an error.
    """
    from celpy import celtypes
    from celpy.evaluation import CELEvalError, base_functions

    ordinary = base_functions[name]
    integers = (celtypes.IntType, celtypes.UintType)

    def plain(value: object) -> int | float | None:
        if isinstance(value, integers):
            return int(value)
        return float(value) if isinstance(value, celtypes.DoubleType) else None

    def compared(left: Any, right: Any) -> Any:
        if isinstance(left, CELEvalError) or isinstance(right, CELEvalError):
            return ordinary(left, right)
        left_number, right_number = plain(left), plain(right)
        if left_number is not None and right_number is not None:
            return celtypes.BoolType(compare(left_number, right_number))
        if type(left) is not type(right) and name in ("_==_", "_!=_"):
            return celtypes.BoolType(name == "_!=_")
        return ordinary(left, right)

    return compared


def _cel(value: object) -> Any:
    """Return decoded JSON as the library's values."""
    from celpy import celtypes

    match value:
        case bool():
            return celtypes.BoolType(value)
        case int():
            return celtypes.IntType(value) if value in _INT64 else celtypes.DoubleType(value)
        case float():
            return celtypes.DoubleType(value)
        case str():
            return celtypes.StringType(value)
        case Mapping():
            return celtypes.MapType({celtypes.StringType(k): _cel(v) for k, v in value.items()})
        case list() | tuple():
            return celtypes.ListType([_cel(item) for item in value])
        case _:
            return None
