"""The syntax tree of CUE.

Nodes are immutable once parsed and know their span. What the language's specification
calls by a name has that name here.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from connect.config.cue.source import Source, Span

__all__ = [
    "Alias",
    "Attribute",
    "Binary",
    "Call",
    "Clause",
    "Comment",
    "Comprehension",
    "Declaration",
    "DynamicLabel",
    "Ellipsis",
    "Embedding",
    "Expr",
    "Field",
    "File",
    "For",
    "Ident",
    "If",
    "Import",
    "Index",
    "Interpolation",
    "Label",
    "Let",
    "ListLit",
    "Literal",
    "NameLabel",
    "Paren",
    "PatternLabel",
    "Scalar",
    "Selector",
    "Slice",
    "StructLit",
    "TextLabel",
    "Unary",
]

Scalar: TypeAlias = bool | int | Decimal | str | bytes | None
"""A concrete atom: a bool, int, float (`Decimal`), string, bytes, or null."""


@dataclass(frozen=True, slots=True)
class Comment:
    """``// text``; `own_line` tells one that stands alone from one behind code."""

    span: Span
    text: str
    own_line: bool


# Expressions


@dataclass(frozen=True, slots=True)
class Literal:
    """A basic literal with its value: null, true, 1, 1.5, "a" or 'a' in any form.

    `_|_` is no literal but `Ident("_|_")`; `_` is `Ident("_")`.
    """

    span: Span
    value: Scalar


@dataclass(frozen=True, slots=True)
class Ident:
    """A name: of a field, an alias, a package, a predeclared value, `_` or `_|_`."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class Interpolation:
    """A string or bytes with ``\\(...)`` in it.

    Attributes:
        parts: texts (already unquoted and unescaped) and expressions, by turns as they
            come; texts may be absent between expressions.
        is_bytes: it was written in single quotes.
    """

    span: Span
    parts: tuple["str | bytes | Expr", ...]
    is_bytes: bool


@dataclass(frozen=True, slots=True)
class StructLit:
    """``{...}``, or the body of a file."""

    span: Span
    declarations: tuple["Declaration", ...]


@dataclass(frozen=True, slots=True)
class Ellipsis:
    """``...`` in a struct or list, ``...T`` in a list."""

    span: Span
    value: "Expr | None"


@dataclass(frozen=True, slots=True)
class ListLit:
    """``[a, b, ...T]``.

    Attributes:
        elements: expressions and comprehensions.
        ellipsis: the final ``...`` or ``...T``, which opens the list.
    """

    span: Span
    elements: tuple["Expr | Comprehension", ...]
    ellipsis: Ellipsis | None


@dataclass(frozen=True, slots=True)
class Selector:
    """``operand.name`` or ``operand."text"``.

    Attributes:
        name: the label's text, unquoted.
        quoted: it was written as a string, so that `#x` and `_x` are ordinary names.
    """

    span: Span
    operand: "Expr"
    name: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Index:
    """``operand[index]``."""

    span: Span
    operand: "Expr"
    index: "Expr"


@dataclass(frozen=True, slots=True)
class Slice:
    """``operand[low:high]``; both bounds are optional."""

    span: Span
    operand: "Expr"
    low: "Expr | None"
    high: "Expr | None"


@dataclass(frozen=True, slots=True)
class Call:
    """``function(arguments)``."""

    span: Span
    function: "Expr"
    arguments: tuple["Expr", ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """``operator operand``.

    Attributes:
        operator: one of ``+ - ! * != < <= > >= =~ !~``; ``*`` marks a default and
            stands only in a disjunction; the comparisons make bounds.
    """

    span: Span
    operator: str
    operand: "Expr"


@dataclass(frozen=True, slots=True)
class Binary:
    """``left operator right``.

    Attributes:
        operator: one of ``| & || && == != < <= > >= =~ !~ + - * / div mod quo rem``. A
            chain of them leans to the left and may be 10,000 long.
        operator_span: where the operator stands.
    """

    span: Span
    operator: str
    left: "Expr"
    right: "Expr"
    operator_span: Span


@dataclass(frozen=True, slots=True)
class Paren:
    """``(expression)``, which the formatter keeps and grouping needs."""

    span: Span
    inner: "Expr"


@dataclass(frozen=True, slots=True)
class Alias:
    """``name=value``: a value alias, as in ``a: X={...}``."""

    span: Span
    name: Ident
    value: "Expr"


Expr: TypeAlias = (
    Literal
    | Ident
    | Interpolation
    | StructLit
    | ListLit
    | Selector
    | Index
    | Slice
    | Call
    | Unary
    | Binary
    | Paren
    | Alias
)


# Clauses and comprehensions


@dataclass(frozen=True, slots=True)
class For:
    """``for key, value in source``."""

    span: Span
    key: Ident | None
    value: Ident
    source: Expr


@dataclass(frozen=True, slots=True)
class If:
    """``if condition``."""

    span: Span
    condition: Expr


@dataclass(frozen=True, slots=True)
class Let:
    """``let name = value``: a declaration or a clause; see also `Alias`."""

    span: Span
    name: Ident
    value: Expr


Clause: TypeAlias = For | If | Let


@dataclass(frozen=True, slots=True)
class Comprehension:
    """Clauses and the struct they yield, in a struct or in a list."""

    span: Span
    clauses: tuple[Clause, ...]
    value: StructLit


# Labels


@dataclass(frozen=True, slots=True)
class NameLabel:
    """An identifier: ``a``, ``_a`` (hidden), ``#A`` (definition), ``_#A`` (both)."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class TextLabel:
    """A quoted label: an ordinary field even when it looks hidden; it declares no name."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class DynamicLabel:
    """``(expression)`` or a string with interpolations, which the evaluation makes a name."""

    span: Span
    name: Expr


@dataclass(frozen=True, slots=True)
class PatternLabel:
    """``[pattern]`` or ``[name=pattern]``: constrains every field whose label matches.

    Attributes:
        alias: the name that stands for the matching label in the value.
    """

    span: Span
    pattern: Expr
    alias: Ident | None


Label: TypeAlias = NameLabel | TextLabel | DynamicLabel | PatternLabel


# Declarations


@dataclass(frozen=True, slots=True)
class Attribute:
    """``@name(content)``; it means nothing to the evaluation."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """``label: value``; ``a: b: 1`` is a field whose value is a struct of one field.

    Attributes:
        alias: the name of ``X=label: value``, which stands for the field.
        optional: it was written with ``?``.
        attributes: those behind the value.
        nested: the value was written without braces, as in ``a: b: 1``.
    """

    span: Span
    label: Label
    value: Expr
    alias: Ident | None = None
    optional: bool = False
    attributes: tuple[Attribute, ...] = ()
    nested: bool = False


@dataclass(frozen=True, slots=True)
class Embedding:
    """An expression among the declarations of a struct."""

    span: Span
    value: Expr


Declaration: TypeAlias = Field | Let | Alias | Embedding | Ellipsis | Comprehension | Attribute
"""`Alias` as a declaration is the old form of `Let`, if the parser takes it."""


@dataclass(frozen=True, slots=True)
class Import:
    """``import name "path"``; the default name is the path's last element (or after ``:``)."""

    span: Span
    path: str
    name: Ident | None


@dataclass(frozen=True, slots=True)
class File:
    """A document.

    Attributes:
        package: the name in the package clause.
        comments: all of them, in order; the formatter puts them back by their place.
    """

    source: Source
    package: Ident | None
    imports: tuple[Import, ...]
    body: StructLit
    comments: tuple[Comment, ...]
