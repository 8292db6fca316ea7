"""The compiled form of expressions: names are resolved, structs are sorted out.

The resolver makes terms from the syntax tree, the evaluator evaluates them. They are
immutable and know nothing of an evaluation, so that one compiled document serves many
evaluations and threads. A reference says how many environments up its name is bound.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from connect.config.cue.lattice import (
    Conjunction,
    FunctionValue,
    Label,
    PackageValue,
    Scalar,
    Top,
    TypeValue,
)
from connect.config.cue.source import Source, Span

__all__ = [
    "BinaryTerm",
    "BottomTerm",
    "BoundTerm",
    "CallTerm",
    "Clause",
    "CompiledDocument",
    "ComprehensionTerm",
    "ComputedLabel",
    "ConjunctionTerm",
    "DisjunctionTerm",
    "DynamicField",
    "DynamicRef",
    "FieldRef",
    "ForClause",
    "IfClause",
    "ImportRef",
    "IndexTerm",
    "InterpolationTerm",
    "LabelRef",
    "LetClause",
    "LetRef",
    "LetValue",
    "ListTerm",
    "PatternField",
    "Reference",
    "SelectTerm",
    "SliceTerm",
    "StaticField",
    "StructTerm",
    "Term",
    "UnaryTerm",
    "ValueRef",
    "VariableRef",
]


@dataclass(frozen=True, slots=True, eq=False)
class FieldRef:
    """A name that a field of an enclosing struct declares ("References")."""

    span: Span
    up: int
    label: Label


@dataclass(frozen=True, slots=True, eq=False)
class LetRef:
    """A name that a `let` of an enclosing struct declares; `let` is known when compiled."""

    span: Span
    up: int
    let: "LetValue"


@dataclass(slots=True, eq=False)
class LetValue:
    """What a `let` declares; the resolver fills in the value once."""

    span: Span
    name: str
    value: "Term | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class VariableRef:
    """A variable of a `for` or `let` clause."""

    span: Span
    up: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class LabelRef:
    """The label that matched a pattern: ``[Name=string]: {id: Name}``."""

    span: Span
    up: int


@dataclass(frozen=True, slots=True, eq=False)
class ValueRef:
    """A value alias, ``a: X={...}``; 0 up is the vertex that is being evaluated."""

    span: Span
    up: int


@dataclass(frozen=True, slots=True, eq=False)
class DynamicRef:
    """The alias of a field with a computed label, ``X=(a + b): 1``."""

    span: Span
    up: int
    computed: "ComputedLabel"


@dataclass(slots=True, eq=False)
class ComputedLabel:
    """A label that is an expression; the resolver fills it in once."""

    label: "Term | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class ImportRef:
    """The name of an imported package that is written in CUE."""

    span: Span
    path: str


@dataclass(frozen=True, slots=True, eq=False)
class SelectTerm:
    """``operand.label`` ("Selectors"); `definition` if a definition is in its path."""

    span: Span
    operand: "Term"
    label: Label
    label_span: Span
    definition: bool


@dataclass(frozen=True, slots=True, eq=False)
class IndexTerm:
    """``operand[index]`` ("Index expressions")."""

    span: Span
    operand: "Term"
    index: "Term"
    definition: bool


@dataclass(frozen=True, slots=True, eq=False)
class SliceTerm:
    """``operand[low:high]``."""

    span: Span
    operand: "Term"
    low: "Term | None"
    high: "Term | None"


@dataclass(frozen=True, slots=True, eq=False)
class InterpolationTerm:
    """``"a \\(b) c"`` ("String interpolation")."""

    span: Span
    parts: "tuple[str | bytes | Term, ...]"
    is_bytes: bool


@dataclass(frozen=True, slots=True, eq=False)
class UnaryTerm:
    """``+x``, ``-x`` or ``!x``."""

    span: Span
    operator: str
    operand: "Term"


@dataclass(frozen=True, slots=True, eq=False)
class BoundTerm:
    """``<x`` and its like ("Bounds")."""

    span: Span
    operator: str
    operand: "Term"


@dataclass(frozen=True, slots=True, eq=False)
class BottomTerm:
    """``_|_``: an error that was written ("Bottom and errors")."""

    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class BinaryTerm:
    """Two operands and any operator but ``&`` and ``|``."""

    span: Span
    operator: str
    left: "Term"
    right: "Term"


@dataclass(frozen=True, slots=True, eq=False)
class ConjunctionTerm:
    """``a & b & c`` ("Unification")."""

    span: Span
    terms: tuple[Any, ...]  # terms; vertices where `and` made it


@dataclass(frozen=True, slots=True, eq=False)
class DisjunctionTerm:
    """``a | *b`` ("Disjunction"): each disjunct, and whether it is marked as default."""

    span: Span
    disjuncts: "tuple[tuple[Any, bool], ...]"  # terms; vertices where `or` made it
    marked: bool


@dataclass(frozen=True, slots=True, eq=False)
class CallTerm:
    """``function(arguments)`` ("Calls")."""

    span: Span
    function: "Term"
    arguments: "tuple[Term, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class ListTerm:
    """``[a, b, ...T]`` ("Lists").

    Attributes:
        elements: terms and comprehensions.
        is_open: it ends in an ellipsis.
        rest: the ellipsis's type.
    """

    span: Span
    elements: "tuple[Term | ComprehensionTerm, ...]"
    is_open: bool
    rest: "Term | None"


@dataclass(frozen=True, slots=True, eq=False)
class ForClause:
    """``for key, value in source``."""

    span: Span
    key: str | None
    value: str
    source: "Term"


@dataclass(frozen=True, slots=True, eq=False)
class IfClause:
    """``if condition``."""

    span: Span
    condition: "Term"


@dataclass(frozen=True, slots=True, eq=False)
class LetClause:
    """``let name = value`` in a comprehension."""

    span: Span
    name: str
    value: "Term"


Clause: TypeAlias = ForClause | IfClause | LetClause


@dataclass(frozen=True, slots=True, eq=False)
class ComprehensionTerm:
    """Clauses and the struct that they yield ("Comprehensions")."""

    span: Span
    clauses: tuple[Clause, ...]
    value: "StructTerm"


@dataclass(frozen=True, slots=True, eq=False)
class StaticField:
    """A field whose label is known: required (it makes the field) or optional."""

    label: Label
    value: "Term"
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class DynamicField:
    """``(label): value`` or ``"a\\(b)": value``."""

    label: "Term"
    value: "Term"
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class PatternField:
    """``[pattern]: value``."""

    pattern: "Term"
    value: "Term"
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class StructTerm:
    """``{...}`` ("Structs"), its declarations sorted out.

    Attributes:
        fields: the regular, hidden and definition fields that it makes.
        optionals: the constraints of ``a?: b``, by label.
        steps: embeddings, dynamic fields and comprehensions, in order.
        is_open: it has an ellipsis.
        embeds: it has embeddings or comprehensions, so that it may be no struct after all.
        is_file: it is the body of a document.
        labels: of all static fields.
        constrains: it says something of fields that it does not make.
        has_dynamic: some of its fields have computed labels.
        has_lets: it declares names by `let`.
    """

    span: Span
    fields: tuple[StaticField, ...]
    optionals: dict[Label, tuple[StaticField, ...]]
    patterns: tuple[PatternField, ...]
    steps: "tuple[Term | DynamicField | ComprehensionTerm, ...]"
    is_open: bool
    embeds: bool
    is_file: bool
    labels: frozenset[Label]
    constrains: bool
    has_dynamic: bool
    has_lets: bool


Reference: TypeAlias = (
    FieldRef | LetRef | VariableRef | ValueRef | DynamicRef | ImportRef | SelectTerm | IndexTerm
)

Term: TypeAlias = (
    Reference
    | LabelRef
    | SliceTerm
    | InterpolationTerm
    | UnaryTerm
    | BoundTerm
    | BinaryTerm
    | ConjunctionTerm
    | DisjunctionTerm
    | CallTerm
    | ListTerm
    | StructTerm
    | Scalar
    | TypeValue
    | Top
    | Conjunction
    | BottomTerm
    | FunctionValue
    | PackageValue
)


@dataclass(frozen=True, slots=True, eq=False)
class CompiledDocument:
    """A document ready to be evaluated, any number of times, in any thread.

    Attributes:
        imports: the compiled packages that it names, by import path.
        path: its own import path, empty if it is no package.
    """

    source: Source
    root: StructTerm
    imports: "dict[str, CompiledDocument]"
    path: str = ""
