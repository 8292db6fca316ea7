"""The graph that an evaluation builds: a vertex for each place of the document.

A vertex collects conjuncts: terms, each with the environment that its names refer to.
Unifying them gives its base value and its arcs, the vertices of its fields or elements.
A reference to a vertex adds the conjuncts of that vertex to another one; this is what
makes references and unification commute ("References", "Cycles").
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, Union

from connect.config.cue.closedness import CloseInfo, CloseTree
from connect.config.cue.environment import Env
from connect.config.cue.errors import Path
from connect.config.cue.lattice import (
    LIST,
    STRUCT,
    Bottom,
    Bound,
    Code,
    Conjunction,
    Disjunction,
    FunctionValue,
    Label,
    ListMarker,
    PackageValue,
    Scalar,
    StructMarker,
    Top,
    TypeValue,
    Validator,
    Value,
    label_text,
)
from connect.config.cue.source import Span
from connect.config.cue.terms import (
    ComprehensionTerm,
    DisjunctionTerm,
    DynamicField,
    ListTerm,
    StructTerm,
    Term,
)
from connect.config.cue.values import Kind

__all__ = [
    "CYCLE",
    "NO_ARCS",
    "Base",
    "Conjunct",
    "Pending",
    "PendingDisjunction",
    "State",
    "Status",
    "StructInfo",
    "Usage",
    "Vertex",
    "added",
    "structural_cycle",
]

CYCLE = Bottom(Code.CYCLE, ("cycle error: the value refers to itself",))
"""Stands for the value of a vertex while its conjuncts are unified."""


def structural_cycle(span: Span | None) -> Bottom:
    """Return the error of a value that nothing but itself is in ("Structural cycles")."""
    message = "structural cycle: the value contains itself, without end"
    return Bottom(Code.STRUCTURAL_CYCLE, (message,), (span,))


Base: TypeAlias = (
    Scalar
    | TypeValue
    | Top
    | Bound
    | Validator
    | Conjunction
    | Disjunction
    | StructMarker
    | ListMarker
    | FunctionValue
    | PackageValue
    | Bottom
    | None
)


NO_ARCS: dict[Label, "Vertex"] = {}
"""What vertices without arcs have in common; nothing is ever put into it."""

_Item = TypeVar("_Item")


def added(items: Sequence[_Item], item: _Item) -> list[_Item]:
    """Return a list with another item; a list is changed, a tuple is not."""
    if isinstance(items, list):
        items.append(item)
        return items
    return [*items, item]


class Status(IntEnum):
    """How far the evaluation of a vertex is."""

    UNPROCESSED = 0
    EVALUATING = 1  # its conjuncts are being unified
    PARTIAL = 2  # some of them wait for values
    CONJUNCTS = 3  # they are unified; arcs may be unprocessed
    EVALUATING_ARCS = 4
    FINAL = 5


class StructInfo:
    """A struct literal among the conjuncts of a vertex, or the ellipsis of a list ("Structs")."""

    __slots__ = ("close", "env", "matchers", "term")

    def __init__(self, term: StructTerm, env: Env, close: CloseInfo) -> None:
        self.term = term
        self.env = env
        self.close = close
        self.matchers: list[Value | None] | None = None


Conjunct: TypeAlias = tuple[Env, Union[Term, "Vertex"], CloseInfo]


class Vertex:
    """A place of the document, or a value computed on the way ("Values").

    Attributes:
        label: None for the root and for what is computed.
        home: the vertex itself, or that of which this one is an attempt with some
            disjunct; environments refer to the home.
        current: the attempt that is being evaluated, or the default that was chosen.
        base: the value, but for its arcs.
        errors: all that is wrong with it.
        closed: it is part of a definition.
        constrained: how many of its structs there are up to the last that says something of
            fields which it does not make.
        matched: how many of the parent's structs had their constraints applied.
        has_child_error: an error below it, other than an incomplete value.
    """

    __slots__ = (
        "arcs",
        "base",
        "checked",
        "child_error",
        "close_tree",
        "closed",
        "conjuncts",
        "constrained",
        "current",
        "errors",
        "home",
        "label",
        "matched",
        "parent",
        "rejected",
        "state",
        "status",
        "structs",
    )

    def __init__(
        self,
        parent: "Vertex | None" = None,
        label: Label | None = None,
        conjuncts: "list[Conjunct] | None" = None,
    ) -> None:
        self.parent = parent
        self.label = label
        self.conjuncts: list[Conjunct] = [] if conjuncts is None else conjuncts
        self.home = self
        self.current: Vertex | None = None
        self.arcs: dict[Label, Vertex] = NO_ARCS
        self.base: Base = None
        self.errors: Sequence[Bottom] = ()
        self.structs: Sequence[StructInfo] = ()
        self.constrained = 0
        self.status = Status.UNPROCESSED
        self.state: State | None = None
        self.closed = False
        self.checked = False
        self.matched = 0
        self.child_error: Bottom | None = None
        self.close_tree: CloseTree | Literal[False] | None = None
        self.rejected: set[Label] | None = None

    @property
    def is_final(self) -> bool:
        return self.status == Status.FINAL

    @property
    def kind(self) -> int:
        """The kinds that it may be of; 0 for an error."""
        return 0 if self.base is None else self.base.kind

    @property
    def cue_kind(self) -> Kind:
        """The kinds, as functions see them."""
        return Kind(self.kind & Kind.TOP.value)

    @property
    def cue_text(self) -> str:
        """The value as text, as functions see it that compare what is not concrete."""
        from connect.config.cue.rendering import Writer  # which writes vertices

        return Writer(short=False).text(self)

    @property
    def span(self) -> Span | None:
        """Where it was written first."""
        pending: list[Any] = [self]
        while pending:
            part = pending.pop()
            if not isinstance(part, Vertex):
                span: Span | None = part.span
                if span is not None:
                    return span
                continue
            base = part.base
            if base is not None and not isinstance(base, StructMarker | ListMarker):
                pending.append(base)
            pending += [term for _, term, _ in reversed(part.conjuncts)]
        return None

    @property
    def path(self) -> Path:
        """Labels from the root; what is computed has the path of where it is."""
        labels: list[str | int] = []
        vertex: Vertex | None = self
        while vertex is not None:
            if vertex.label is not None:
                labels.append(label_text(vertex.label))
            vertex = vertex.parent
        return tuple(reversed(labels))

    @property
    def scope(self) -> "Vertex":
        """What has the arcs of this vertex now."""
        vertex = self
        while vertex.current is not None:
            vertex = vertex.current
        return vertex

    def put(self, label: Label, arc: "Vertex") -> "Vertex":
        """Add an arc."""
        if self.arcs is NO_ARCS:
            self.arcs = {}
        self.arcs[label] = arc
        return arc

    def elements(self) -> "list[Vertex]":
        """Return the elements of a list."""
        return [arc for label, arc in self.arcs.items() if isinstance(label, int)]

    def reset(self) -> None:
        """Forget what was evaluated, because there are more conjuncts."""
        self.current = None
        self.arcs = NO_ARCS
        self.base = None
        self.errors = ()
        self.structs = ()
        self.constrained = 0
        self.status = Status.UNPROCESSED
        self.state = None
        self.child_error = None
        self.close_tree = None


class Pending(NamedTuple):
    """A conjunct, field or comprehension that waits for other values ("Expressions")."""

    env: Env
    term: Union[Term, "Vertex", DynamicField, ComprehensionTerm]
    close: CloseInfo
    error: Bottom | None


class PendingDisjunction(NamedTuple):
    """A disjunction among the conjuncts, not yet expanded ("Disjunction")."""

    env: Env
    disjuncts: "tuple[tuple[Term | Vertex, bool], ...]"
    marked: bool
    close: CloseInfo

    @classmethod
    def of(cls, env: Env, term: DisjunctionTerm, close: CloseInfo) -> "PendingDisjunction":
        return cls(env, term.disjuncts, term.marked, close)


class Usage(NamedTuple):
    """What a result used of a disjunction: see `disjunction.py` ("Default values")."""

    parent: int
    nested: int
    original: int


class State:
    """What is known of a vertex while its conjuncts are unified ("Unification")."""

    __slots__ = (
        "arcs_seen",
        "checks",
        "comprehensions",
        "cyclic",
        "disjunctions",
        "dynamics",
        "errors",
        "expressions",
        "kind",
        "kind_source",
        "lists",
        "loops",
        "lower",
        "mode",
        "next",
        "non_cyclic",
        "scalar",
        "snapshot",
        "struct_source",
        "top",
        "upper",
        "usages",
        "value_lists",
        "vertex",
    )

    def __init__(self, vertex: Vertex) -> None:
        self.vertex = vertex
        self.next = 0
        self.kind = Top.kind
        self.kind_source: Any = None
        self.scalar: Scalar | FunctionValue | PackageValue | None = None
        self.lower: Bound | None = None
        self.upper: Bound | None = None
        # Most vertices need few of these; they are empty tuples until something is added.
        self.checks: Sequence[Bound | Validator] = ()
        self.errors: Sequence[Bottom] = ()
        self.expressions: Sequence[Pending] = ()
        self.dynamics: Sequence[Pending] = ()
        self.comprehensions: Sequence[Pending] = ()
        self.loops: Sequence[Pending] = ()
        self.lists: Sequence[tuple[Env, ListTerm, CloseInfo]] = ()
        self.value_lists: Sequence[tuple[Vertex, CloseInfo]] = ()
        self.disjunctions: Sequence[PendingDisjunction] = ()
        self.struct_source: StructTerm | Vertex | None = None
        self.top = False
        self.cyclic = False
        self.non_cyclic = False
        self.arcs_seen: set[tuple[int, CloseInfo]] = set()
        self.usages: Sequence[Usage] = ()
        self.mode = 0
        self.snapshot: State | None = None

    def fail(self, error: Bottom) -> None:
        """Note an error, and where it was met if it is a new one."""
        if error.path is None and error is not CYCLE:
            error.path = self.vertex.path
        self.errors = added(self.errors, error)

    @property
    def pending(self) -> list[Pending]:
        """All that waits for other values."""
        return [*self.dynamics, *self.loops, *self.comprehensions, *self.expressions]

    @property
    def endless(self) -> bool:
        """Tell whether an operand, all of which comes from itself, may be a struct or list."""
        return (
            self.cyclic
            and not self.non_cyclic
            and self.scalar is None
            and bool(self.kind & (LIST | STRUCT))
        )

    @property
    def done(self) -> bool:
        return not (self.expressions or self.dynamics or self.comprehensions or self.loops)

    def clone(self) -> "State":
        """Copy the state, for an attempt; its arcs are unprocessed again."""
        source = self.vertex
        vertex = Vertex(source.parent, source.label, source.conjuncts)
        vertex.home = source.home
        vertex.closed = source.closed
        vertex.structs = tuple(source.structs)
        vertex.constrained = source.constrained
        vertex.status = Status.EVALUATING
        vertex.base = CYCLE
        for label, arc in source.arcs.items():
            copy = Vertex(vertex, label, list(arc.conjuncts))
            copy.matched = arc.matched
            vertex.put(label, copy)
        new = State(vertex)
        vertex.state = new
        new.next = self.next
        new.kind = self.kind
        new.kind_source = self.kind_source
        new.scalar = self.scalar
        new.lower = self.lower
        new.upper = self.upper
        new.checks = tuple(self.checks)
        new.errors = tuple(self.errors)
        new.expressions = tuple(self.expressions)
        new.dynamics = tuple(self.dynamics)
        new.comprehensions = tuple(self.comprehensions)
        new.loops = tuple(self.loops)
        new.lists = tuple(self.lists)
        new.value_lists = tuple(self.value_lists)
        new.struct_source = self.struct_source
        new.top = self.top
        new.cyclic = self.cyclic
        new.non_cyclic = self.non_cyclic
        new.arcs_seen = set(self.arcs_seen)
        new.usages = self.usages
        return new
