"""CEL expressions over events: the conditions of triggers, steps, waits and cancellations.

The language is the Common Expression Language as its own specification has it; a library
compiles and evaluates it. It is heavy to import, so it is imported with the first
expression.

Whoever writes an expression is a stranger. The library bounds how deep an expression may
be nested and how often its loops may turn; what one turn may cost is bounded here, by
`connect.config.expression_cost`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from connect.config.expression_cost import BoundedCost, cost_of, data_size
from connect.config.faults import nearest
from connect.errors import ConnectError

__all__ = ["LONGEST_EXPRESSION", "Expression", "ExpressionError", "Outcome"]

LONGEST_EXPRESSION = 4096  # characters; what people write is far shorter

_DEEPEST_DATA = 100  # levels; the library converts values recursively
_INT64 = range(-(2**63), 2**63)

_ERROR = re.compile(r"ERROR: <input>:(?P<line>-?\d+):(?P<column>-?\d+): (?P<reason>.*)")
_UNDECLARED = re.compile(r"undeclared reference to '(?P<name>[^'.]*)")
_UNEXPECTED = re.compile(
    r"Syntax error: (?:mismatched input|extraneous input|token recognition error at:)"
    r" '(?P<found>.*)'$"
)
_KINDS = {
    "BYTES": "bytes",
    "DOUBLE": "a number",
    "DURATION": "a duration",
    "INT": "a number",
    "LIST": "a list",
    "MAP": "an object",
    "NULL": "null",
    "STRING": "a string",
    "TIMESTAMP": "a time",
    "TYPE": "a type",
    "UINT": "a number",
}
_FUNCTIONS = (
    "all", "bool", "bytes", "contains", "double", "duration", "dyn", "endsWith", "exists",
    "exists_one", "filter", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear",
    "getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds", "has",
    "int", "map", "matches", "size", "startsWith", "string", "timestamp", "type", "uint",
)  # fmt: skip


class ExpressionError(ConnectError):
    """A CEL expression that cannot be used.

    Attributes:
        expression: the expression.
        reason: what is wrong with it, in one line, with its place if it has one.
        line: the line in the expression, from 1; 0 if the fault has no place.
        column: the column in characters, from 1; 0 if the fault has no place.
    """

    def __init__(self, expression: str, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(expression, reason, line, column)
        self.expression = expression
        self.reason = reason
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return f"the expression {self.expression!r} is not usable: {self.reason}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an expression came to.

    Attributes:
        holds: whether the condition holds.
        reason: why it could not be evaluated, and so does not hold; None if it could be.
        refused: whether it was not even tried, since it could have taken too long.
    """

    holds: bool
    reason: str | None = None
    refused: bool = False


class Expression:
    """A compiled condition.

    Args:
        text: the expression, in CEL.
        variables: the names that it may use, apart from those of the language.

    Raises:
        ExpressionError: the text is no CEL, uses other names, or can be neither true nor false.
    """

    def __init__(self, text: str, variables: Sequence[str] = ("event", "async")) -> None:
        self.text = text
        self.variables = tuple(variables)
        if len(text) > LONGEST_EXPRESSION:
            raise ExpressionError(text[:60] + "…", f"longer than {LONGEST_EXPRESSION} characters")
        self._cost, self._program = _compiled(text, self.variables)

    def matches(self, **variables: object) -> bool:
        """Return whether the condition holds.

        What is missing from an event, or is of another type than the expression has it,
        makes the condition false: an event that does not fit is nothing unusual. So does
        an event with which evaluating the expression could take too long.

        Args:
            variables: the values that the expression may name, decoded JSON each.

        Raises:
            ExpressionError: it names a variable that has no value, or its value is
                neither true nor false.
        """
        return self.outcome(**variables).holds

    def outcome(self, **variables: object) -> Outcome:
        """Return whether the condition holds, and if it cannot be evaluated, why.

        Args and errors are those of `matches`.
        """
        from cel_expr_python import cel

        try:
            values = {name: _plain(value, _DEEPEST_DATA) for name, value in variables.items()}
        except _TooDeep:
            return Outcome(False, f"the event is nested deeper than {_DEEPEST_DATA} levels")
        size = data_size(tuple(values.values()))
        if not self._cost.affordable(size):
            reason = "it could take too long with an event as large as this one"
            return Outcome(False, reason, refused=True)
        try:
            value = self._program.eval(data=values)
        except RuntimeError as error:  # the library ran into a limit of its own
            return Outcome(False, _brief(str(error)))
        if value.type() == cel.Type.BOOL:
            return Outcome(bool(value.value()))
        if value.type() != cel.Type.ERROR:
            raise ExpressionError(self.text, "its value is neither true nor false")
        reason = str(value.value())
        if unset := re.search(r'No value with name "(.*?)"', reason):
            known = ", ".join(sorted(variables))
            raise ExpressionError(
                self.text, f"undeclared reference to {unset[1]!r}; there is {known}"
            )
        return Outcome(False, _brief(reason))


class _TooDeep(Exception):
    """A value is nested deeper than may be evaluated."""


@lru_cache(maxsize=512)
def _compiled(text: str, variables: tuple[str, ...]) -> tuple[BoundedCost, Any]:
    """Return what bounds an expression's cost, and its program."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ExpressionError(
            text.encode(errors="backslashreplace").decode(),
            "half of a surrogate pair, which is no text",
        ) from None
    cost = cost_of(text)
    for pattern in cost.patterns:
        if reason := _pattern_fault(pattern.text):
            line, column = _place(text, pattern.offset)
            raise ExpressionError(
                text, f"{reason} (a pattern at line {line}, column {column})", line, column
            )
    try:
        program = _environment(variables).compile(text)
    except RuntimeError as error:
        raise _explained(text, variables, str(error)) from None
    if reason := _type_fault(program.return_type()):
        raise ExpressionError(text, reason)
    return cost, program


@lru_cache(maxsize=16)
def _environment(variables: tuple[str, ...]) -> Any:
    from cel_expr_python import cel

    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN))


def _type_fault(of: Any) -> str | None:
    """Return why values of a type, which the compiler has found, are no condition's."""
    from cel_expr_python import cel

    if of in (cel.Type.BOOL, cel.Type.DYN):
        return None
    name = of.name().partition("<")[0]
    return f"its value is always {_KINDS.get(name, name)}; expected true or false"


def _pattern_fault(pattern: str) -> str | None:
    """Return what is wrong with a regular expression, in RE2's words."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 128 * 1024  # of the compiled pattern; CEL compiles it at each use
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return None


def _explained(text: str, variables: tuple[str, ...], found: str) -> ExpressionError:
    """Return the error for what the compiler found, in words of our own where it is cryptic."""
    if "recursion" in found:
        return ExpressionError(text, "nested too deeply, or too many operators in a row")
    first = _ERROR.search(found)
    if first is None:
        return ExpressionError(text, _brief(found))
    line, column = max(0, int(first["line"])), max(0, int(first["column"]))
    reason = first["reason"].split(" expecting ")[0].replace(" (in container '')", "")
    if undeclared := _UNDECLARED.match(reason):
        name = undeclared["name"]
        # The library points behind a name; where the name begins is what people look for.
        written = text.split("\n")[line - 1]
        column = written.rfind(name, 0, column) + 1 or column
        called = written[column - 1 :].removeprefix(name).lstrip().startswith("(")
        reason = f"undeclared reference to {name!r}; there is {', '.join(sorted(variables))}"
        if near := nearest(name, _FUNCTIONS if called else variables):
            reason += f"; did you mean {near!r}?"
    elif reason.startswith("Syntax error: "):
        unexpected = _UNEXPECTED.match(reason)
        found = unexpected["found"].strip() if unexpected else ""
        reason = "unexpected " + ("end" if found == "<EOF>" else repr(found))
        if not unexpected:
            reason = first["reason"].removeprefix("Syntax error: ")
        reason = f"syntax error at line {line}, column {column}: {reason[:200]}"
        return ExpressionError(text, reason, line, column)
    return ExpressionError(text, f"{reason[:200]} (line {line}, column {column})", line, column)


def _place(text: str, offset: int) -> tuple[int, int]:
    """Return line and column of an offset, from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _brief(reason: str) -> str:
    """Return the library's reason without its status code and its trailer."""
    line = reason.split("\n")[0].removesuffix("]").split(" [")[0]
    return re.sub(r"^[A-Z_]+: ", "", line)[:200]


def _plain(value: object, depth: int) -> Any:
    """Return decoded JSON as what the library takes: CEL has no larger integers than int64.

    Raises:
        _TooDeep: it is nested deeper than this many levels.
    """
    match value:
        case None | bool() | float():
            return value
        case int():
            return value if value in _INT64 else _double(value)
        case str():
            return value if value.isascii() else value.encode(errors="replace").decode()
        case Decimal():
            whole = value == value.to_integral_value() and abs(value) < _INT64.stop
            return int(value) if whole else float(value)
        case Mapping() | list() | tuple() if depth == 0:
            raise _TooDeep
        case Mapping():
            return {_plain(str(k), 1): _plain(item, depth - 1) for k, item in value.items()}
        case list() | tuple():
            return [_plain(item, depth - 1) for item in value]
        case _:
            return None


def _double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
