"""What expressions evaluate to: atoms, types, bounds, validators, disjunctions, bottom.

All are points of the value lattice ("Values" in the specification of CUE); structs and
lists, and whatever stands at a place of the document, are vertices (`vertex.py`). Kinds
are plain ints here, the values of `Kind`: the evaluator compares them all the time.
"""

from collections.abc import Sequence
from decimal import Decimal
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from connect.config.cue.ast import Scalar as Atom
from connect.config.cue.errors import Path
from connect.config.cue.source import Span
from connect.config.cue.values import Builtin, Kind, kind_of

if TYPE_CHECKING:
    from connect.config.cue.vertex import Vertex

__all__ = [
    "BOOL",
    "BYTES",
    "FLOAT",
    "FUNCTION",
    "INT",
    "LIST",
    "NULL",
    "NUMBER",
    "SCALARS",
    "STRING",
    "STRUCT",
    "TOP",
    "Bottom",
    "Bound",
    "Code",
    "Conjunction",
    "Disjunction",
    "FunctionValue",
    "Intrinsic",
    "Label",
    "ListMarker",
    "Nearest",
    "PackageValue",
    "Part",
    "Scalar",
    "StructMarker",
    "Top",
    "TypeValue",
    "Validator",
    "Value",
    "kind_text",
    "label_text",
]

NULL = Kind.NULL.value
BOOL = Kind.BOOL.value
INT = Kind.INT.value
FLOAT = Kind.FLOAT.value
STRING = Kind.STRING.value
BYTES = Kind.BYTES.value
LIST = Kind.LIST.value
STRUCT = Kind.STRUCT.value
NUMBER = INT | FLOAT
SCALARS = NULL | BOOL | NUMBER | STRING | BYTES
TOP = SCALARS | LIST | STRUCT
FUNCTION = 1 << 8  # a builtin that is not called; no kind of the language

Label: TypeAlias = str | int | tuple[str, str]
"""A regular field's name, a list's index, or a definition or hidden field's name and scope.

The scope is the package of a hidden field, which no other package can see, and empty for
a definition.
"""


def label_text(label: Label) -> str | int:
    """Return what a path shows for a label."""
    return label[0] if isinstance(label, tuple) else label


def kind_text(kind: int) -> str:
    """Name a kind as CUE does: ``string``, ``(int|string)``."""
    if kind & FUNCTION:
        return "function"
    return str(Kind(kind))


class Code(IntEnum):
    """How final a failure is; the lower one decides when several meet ("Bottom and errors")."""

    EVALUATION = 0
    STRUCTURAL_CYCLE = 1
    INCOMPLETE = 2  # more specific values could resolve it
    CYCLE = 3  # waits for itself


class Scalar:
    """A concrete atom: null, a bool, int, float, string or bytes ("Values")."""

    __slots__ = ("kind", "span", "value")

    def __init__(self, value: Atom, span: Span | None, kind: int | None = None) -> None:
        self.value = value
        self.span = span
        self.kind: int = _scalar_kind(value) if kind is None else kind


_KINDS: dict[type, int] = {
    str: STRING,
    int: INT,
    bool: BOOL,
    Decimal: FLOAT,
    type(None): NULL,
    bytes: BYTES,
}


def _scalar_kind(value: Atom) -> int:
    kind = _KINDS.get(type(value))
    return kind_of(value).value if kind is None else kind


class TypeValue:
    """All values of one or more kinds, such as `int` or `number` ("Values")."""

    __slots__ = ("kind", "span")

    def __init__(self, kind: int, span: Span | None) -> None:
        self.kind = kind
        self.span = span


class Top:
    """``_``: anything ("Top")."""

    __slots__ = ("span",)
    kind = TOP

    def __init__(self, span: Span | None) -> None:
        self.span = span


class Bound:
    """``<5``, ``!="a"`` or ``=~"^x"``: all values that compare so ("Bounds")."""

    __slots__ = ("kind", "operator", "span", "value")

    def __init__(self, operator: str, value: Scalar, span: Span | None) -> None:
        self.operator = operator
        self.value = value
        self.span = span
        kind = value.kind
        if kind & NUMBER:
            kind = NUMBER
        elif kind == NULL:
            kind = TOP & ~NULL
        self.kind: int = kind


class Validator:
    """A function called with one argument too few: all values that it finds good
    ("Builtin functions").
    """

    __slots__ = ("arguments", "builtin", "kind", "span")

    def __init__(self, builtin: Builtin, arguments: "tuple[Value, ...]", span: Span | None) -> None:
        self.builtin = builtin
        self.arguments = arguments
        self.span = span
        self.kind: int = builtin.parameters[0].value


class Conjunction:
    """Several constraints that no single value expresses ("Unification")."""

    __slots__ = ("kind", "span", "values")

    def __init__(self, values: "tuple[Value, ...]", kind: int) -> None:
        self.values = values
        self.kind = kind
        first: Any = values[0]
        self.span: Span | None = first.span


class Disjunction:
    """What is left of a disjunction, the defaults first ("Disjunction").

    Attributes:
        values: one vertex for each disjunct.
        defaults: how many of them are defaults.
        marked: some disjunct was marked as default, also if it is not left.
    """

    __slots__ = ("defaults", "kind", "marked", "span", "values")

    def __init__(self, values: "Sequence[Vertex]", defaults: int, marked: bool) -> None:
        self.values = values
        self.defaults = defaults
        self.marked = marked
        kind = 0
        for value in values:
            kind |= value.kind
        self.kind = kind
        first: Any = values[0]
        self.span: Span | None = first.span


class StructMarker:
    """Says of a vertex that it is a struct; its fields are the arcs ("Structs")."""

    __slots__ = ("needs_close",)
    kind = STRUCT

    def __init__(self, needs_close: bool = False) -> None:
        self.needs_close = needs_close


class ListMarker:
    """Says of a vertex that it is a list; its elements are the arcs ("Lists")."""

    __slots__ = ("is_open",)
    kind = LIST

    def __init__(self, is_open: bool) -> None:
        self.is_open = is_open


class Intrinsic(Enum):
    """The functions that unify, which only the evaluator can ("Builtin functions")."""

    AND = "and"
    OR = "or"
    CLOSE = "close"


class FunctionValue:
    """A builtin function that is not called, named in the document ("Builtin functions")."""

    __slots__ = ("builtin", "span")
    kind = FUNCTION

    def __init__(self, builtin: Builtin | Intrinsic, span: Span | None) -> None:
        self.builtin = builtin
        self.span = span


class PackageValue:
    """A builtin package as what its name in a document stands for ("Qualified identifiers")."""

    __slots__ = ("path", "span")
    kind = FUNCTION

    def __init__(self, path: str, span: Span | None) -> None:
        self.path = path
        self.span = span


class Nearest:
    """A piece of a message that names the nearest of several names, if one is near."""

    __slots__ = ("known", "name")

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = known


class Bottom:
    """An error ("Bottom and errors").

    Attributes:
        code: how final it is.
        parts: the message, texts and values; values are written when it is told.
        spans: the most telling place first.
        path: where it was met first.
        causes: why each disjunct failed, or what it comes from.
    """

    __slots__ = ("causes", "code", "parts", "path", "span", "spans")
    kind = 0

    def __init__(
        self,
        code: Code,
        parts: tuple[Any, ...],
        spans: "Sequence[Span | None]" = (),
        causes: "Sequence[Bottom]" = (),
    ) -> None:
        self.code = code
        self.parts = parts
        self.spans = tuple(dict.fromkeys(span for span in spans if span is not None))
        self.causes = tuple(causes)
        self.path: Path | None = None
        self.span = self.spans[0] if self.spans else None

    @property
    def incomplete(self) -> bool:
        return self.code >= Code.INCOMPLETE


Value: TypeAlias = Union[
    Scalar,
    TypeValue,
    Top,
    Bound,
    Validator,
    Conjunction,
    FunctionValue,
    PackageValue,
    Bottom,
    Disjunction,
    "Vertex",
]

Part: TypeAlias = Any
"""A piece of a message: text, or a value that is written when the message is told."""
