"""What the evaluator and the builtin packages have in common: kinds and functions.

Concrete values travel as Python's own: None, bool, int, Decimal (a float, whose text is
kept: `Decimal("1.50")`), str, bytes, list, and dict from label to value in order. A value
that is not concrete, or that a function only hands on, travels as the evaluator's own
`Opaque` object, in a list or struct too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Flag
from typing import Any, Protocol, TypeAlias

__all__ = [
    "RESULT_LIMIT",
    "Builtin",
    "BuiltinError",
    "Concrete",
    "CueMember",
    "Kind",
    "NotConcrete",
    "Opaque",
    "Package",
    "TooLarge",
    "check_size",
    "kind_of",
]

RESULT_LIMIT = 1 << 20
"""Characters, bytes or elements of one function's result, unless the caller says otherwise."""


class Opaque(Protocol):
    """A value of the evaluator that functions hand on and do not look into."""

    @property
    def cue_kind(self) -> "Kind": ...

    @property
    def cue_text(self) -> str: ...


Concrete: TypeAlias = (
    "bool | int | Decimal | str | bytes | list[Concrete] | dict[str, Concrete] | Opaque | None"
)


class Kind(Flag):
    """The types of CUE; a value that is not concrete may be of several."""

    NULL = 1
    BOOL = 2
    INT = 4
    FLOAT = 8
    STRING = 16
    BYTES = 32
    LIST = 64
    STRUCT = 128
    BOTTOM = 0
    NUMBER = INT | FLOAT
    SCALAR = NULL | BOOL | INT | FLOAT | STRING | BYTES
    TOP = SCALAR | LIST | STRUCT

    def __str__(self) -> str:
        names: list[str] = []
        rest = Kind(self.value)
        if rest == Kind.TOP:
            return "_"
        if Kind.NUMBER in rest:
            names.append("number")
            rest &= ~Kind.NUMBER
        names += [str(kind.name).lower() for kind in _ATOMIC if kind in rest]
        if len(names) > 1:
            return f"({'|'.join(names)})"
        return names[0] if names else "_|_"


_ATOMIC = (
    Kind.NULL,
    Kind.BOOL,
    Kind.INT,
    Kind.FLOAT,
    Kind.STRING,
    Kind.BYTES,
    Kind.LIST,
    Kind.STRUCT,
)


def kind_of(value: Concrete) -> Kind:
    """Return the kind of a concrete value, or that which an opaque one may have."""
    match value:
        case None:
            return Kind.NULL
        case bool():
            return Kind.BOOL
        case int():
            return Kind.INT
        case Decimal():
            return Kind.FLOAT
        case str():
            return Kind.STRING
        case bytes():
            return Kind.BYTES
        case list():
            return Kind.LIST
        case dict():
            return Kind.STRUCT
        case _:
            return value.cue_kind


class BuiltinError(Exception):
    """A function refuses its arguments; the text says why, without the function's name."""


class NotConcrete(BuiltinError):
    """A function needs a concrete value where there is none yet: incomplete, not wrong."""


class TooLarge(BuiltinError):
    """A result would have more characters, bytes or elements than allowed."""

    def __init__(self, size: int, limit: int, unit: str) -> None:
        self.size = size
        self.limit = limit
        self.unit = unit
        super().__init__(size, limit, unit)

    def __str__(self) -> str:
        return f"the result would have more than the {self.limit} {self.unit} allowed"


def check_size(size: int, limit: int, unit: str) -> None:
    """Refuse a result by its size, before it is made.

    Raises:
        TooLarge: it exceeds the limit.
    """
    if size > limit:
        raise TooLarge(size, limit, unit)


@dataclass(frozen=True, slots=True)
class Builtin:
    """A function of a package.

    Called with one argument too few, a function whose result is a bool is a validator:
    the missing first argument is the value that it is unified with.

    Attributes:
        name: qualified, such as ``strings.MinRunes``.
        parameters: the kinds taken, in order. The evaluator refuses arguments of other
            kinds and waits for those that are not concrete, but for `Kind.TOP`, which
            takes what there is; `Kind.INT` takes no float.
        result: the kind returned.
        function: takes the arguments as concrete values, returns one.
            Raises `BuiltinError`.
        open_list: the function may look at a list or struct whose elements are not
            concrete (they come as opaque values), and may return them.
        apply: a function that unifies values (such as `list.Sort`, whose comparison is a
            struct) gets as first argument `unify(template, value) -> Concrete`: the
            template (a value of any kind, as it came in the arguments) unified with
            another value, evaluated. What is not concrete in the result is opaque; a
            conflict raises `BuiltinError`.
        bounded: the function takes the keyword `limit`: the most characters, bytes or
            elements that its result may have (`RESULT_LIMIT` if it is not given).
    """

    name: str
    parameters: tuple[Kind, ...]
    result: Kind
    function: Callable[..., Any]
    open_list: bool = False
    apply: bool = False
    bounded: bool = False


@dataclass(frozen=True, slots=True)
class CueMember:
    """A member of a package that is written in CUE, such as `list.Ascending`.

    Attributes:
        text: an expression; it may name other such members of the package.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Package:
    """A builtin package.

    Attributes:
        path: such as ``encoding/json``.
        members: functions and constants by name, and what is written in CUE.
    """

    path: str
    members: Mapping[str, "Builtin | CueMember | Concrete"]
