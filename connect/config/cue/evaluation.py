"""Expressions to values ("Expressions"): what is known of them, or why nothing is.

Errors are values here, of type `Bottom`. An incomplete one says that more specific values
may still give a result.
"""

from collections.abc import Callable, Sequence
from typing import Any

from connect.config.cue.bounds import invert_bound
from connect.config.cue.closedness import NO_CLOSE
from connect.config.cue.core import Core
from connect.config.cue.environment import Env
from connect.config.cue.lattice import (
    BYTES,
    INT,
    NULL,
    NUMBER,
    STRING,
    Bottom,
    Bound,
    Code,
    Disjunction,
    FunctionValue,
    ListMarker,
    PackageValue,
    Scalar,
    StructMarker,
    TypeValue,
    Value,
    kind_text,
)
from connect.config.cue.numbers import number_text
from connect.config.cue.source import Span
from connect.config.cue.terms import (
    BinaryTerm,
    BottomTerm,
    BoundTerm,
    CallTerm,
    ConjunctionTerm,
    DisjunctionTerm,
    DynamicRef,
    FieldRef,
    ImportRef,
    IndexTerm,
    InterpolationTerm,
    LabelRef,
    LetRef,
    ListTerm,
    SelectTerm,
    SliceTerm,
    StructTerm,
    Term,
    UnaryTerm,
    ValueRef,
    VariableRef,
)
from connect.config.cue.vertex import CYCLE, State, Status, Vertex, structural_cycle

__all__ = ["Evaluation"]

_BOUNDED = NUMBER | STRING | BYTES


_COMPUTED = (StructTerm, ListTerm, ConjunctionTerm, DisjunctionTerm, CallTerm)


class Evaluation(Core):
    """Evaluates terms.

    A value inside an expression that needs itself is computed once within itself, where it
    counts as not known: what comes out has to agree with the rest ("Cycles").
    """

    def evaluate(self, env: Env, term: Term | Vertex) -> Value:
        """The value of a term, as far as it is known ("Expressions")."""
        evaluator = _EVALUATORS.get(type(term))
        if evaluator is None:
            return term  # type: ignore[return-value]  # all that is not in the table is a value
        stack = self.stack
        if not stack.room:
            return stack.call(self.evaluate, env, term)
        meter = self.meter
        meter.steps -= 1
        if meter.steps < 0:
            raise meter.too_many()
        stack.room -= 1
        if not isinstance(term, _COMPUTED):
            value = evaluator(self, env, term)
            stack.room += 1
            return value
        key = (id(term), id(env.vertex), id(env.variables), env.label)
        inside = self.computing.get(key, 0)
        if inside > 1:
            stack.room += 1
            return Bottom(Code.CYCLE, CYCLE.parts, (term.span,))
        self.computing[key] = inside + 1
        value = evaluator(self, env, term)
        self.computing[key] = inside
        stack.room += 1
        return value

    def reference(self, env: Env, term: Term) -> Value:
        """The value of what a reference leads to ("References")."""
        found = self.resolve(env, term)
        value = self.value_of(found) if isinstance(found, Vertex) else found
        return Bottom(Code.CYCLE, CYCLE.parts, (term.span,)) if value is CYCLE else value

    def explicit(self, env: Env, term: BottomTerm) -> Value:
        """``_|_`` ("Bottom and errors")."""
        return self.failure("explicit error (_|_ literal) in source", spans=(term.span,))

    def computed(self, env: Env, vertex: Vertex) -> Value:
        """The value of an operand that has been computed ("Operands")."""
        return self.value_of(vertex)

    def value_of(self, vertex: Vertex) -> Value:
        """The atom or error that a vertex is, or else the vertex ("Values")."""
        self.unify(vertex, Status.PARTIAL)
        vertex_state: State | None = vertex.state
        if vertex_state is not None and vertex.status < Status.CONJUNCTS:
            for error in vertex_state.errors:
                if not error.incomplete:
                    return error
            scalar = vertex_state.scalar
            if scalar is not None:
                return scalar
        base = vertex.base
        if base is CYCLE:
            return self._unfinished(vertex)
        if base is None or isinstance(base, StructMarker | ListMarker | Disjunction):
            return vertex
        return base

    def _unfinished(self, vertex: Vertex) -> Bottom:
        """Say what a vertex waits for ("Cycles")."""
        state = vertex.state
        if state is not None and vertex.status == Status.PARTIAL:
            for item in state.pending:
                if item.error is not None:
                    return item.error
        return CYCLE

    def anonymous(self, env: Env, term: Term) -> Value:
        """A struct, list, conjunction or disjunction inside an expression ("Operands")."""
        vertex = Vertex(self.vertex, None, [(env.apart(), term, NO_CLOSE)])
        self.unify(vertex, Status.CONJUNCTS)
        state = vertex.state
        if state is not None and state.endless:
            return structural_cycle(term.span)
        if vertex.status >= Status.CONJUNCTS and isinstance(term, ConjunctionTerm):
            self.finalize(vertex)
            if vertex.child_error is not None:
                return vertex.child_error
        return self.value_of(vertex)

    # Concrete values

    def default_of(self, value: Value, span: Span | None) -> Value:
        """Resolve a disjunction to its default ("Default values").

        A disjunct left alone needs no mark, so that only ambiguous ones come here.
        """
        while True:
            base = value.base if isinstance(value, Vertex) else value
            if not isinstance(base, Disjunction):
                return value
            if base.defaults != 1:
                return self.waiting("unresolved disjunction ", base, spans=(span,))
            value = base.values[0]

    def concrete(self, env: Env, term: Term | Vertex, operation: str) -> Value:
        """The concrete value that an operation needs; else the expression is incomplete
        ("Expressions").
        """
        span = term.span
        value = self.default_of(self.evaluate(env, term), span)
        if isinstance(value, Vertex):
            value = self.value_of(value)
        if isinstance(value, Scalar | Bottom):
            return value
        if isinstance(value, Vertex) and isinstance(value.base, StructMarker | ListMarker):
            return value
        if isinstance(value, FunctionValue | PackageValue):
            return value
        return self.waiting(
            "non-concrete value ", value, f" in operand to {operation}", spans=(span,)
        )

    def label_of(self, env: Env, term: Term) -> "str | Bottom":
        """The string that a computed label is ("Dynamic fields")."""
        value = self.concrete(env, term, "label")
        if isinstance(value, Bottom):
            return value
        if isinstance(value, Scalar) and isinstance(value.value, str):
            return value.value
        return self.failure(
            "invalid label ",
            value,
            f" (type {kind_text(value.kind)}); expected a string",
            spans=(term.span,),
        )

    def interpolation(self, env: Env, term: InterpolationTerm) -> Value:
        """``"a \\(b) c"`` ("String interpolation")."""
        pieces: list[str | bytes] = []
        size = 0
        for part in term.parts:
            piece: str | bytes | Bottom
            if isinstance(part, str | bytes):
                piece = part
            else:
                piece = self._piece(self.concrete(env, part, "interpolation"), part.span)
            if isinstance(piece, Bottom):
                return piece
            pieces.append(piece)
            size += len(piece)
        if size > self.meter.budget.size:
            raise self.exceeded(
                f"a string has more than the {self.meter.budget.size} characters allowed"
            )
        if term.is_bytes:
            data = b"".join(
                piece if isinstance(piece, bytes) else piece.encode(errors="replace")
                for piece in pieces
            )
            return Scalar(data, term.span)
        text = "".join(
            piece if isinstance(piece, str) else piece.decode(errors="replace") for piece in pieces
        )
        return Scalar(text, term.span)

    def _piece(self, value: Value, span: Span | None) -> str | bytes | Bottom:
        """What an interpolated value adds to the text ("String interpolation")."""
        if isinstance(value, Bottom):
            return value
        if isinstance(value, Scalar):
            inner = value.value
            if isinstance(inner, str | bytes):
                return inner
            if isinstance(inner, bool):
                return "true" if inner else "false"
            if inner is not None:
                return number_text(inner)
        return self.failure(
            "invalid interpolation: cannot use ",
            value,
            f" (type {kind_text(value.kind)}) as type (bool|string|bytes|number)",
            spans=(span,),
        )

    def unary(self, env: Env, term: UnaryTerm) -> Value:
        """``+x``, ``-x``, ``!x`` ("Arithmetic operators", "Logical operators")."""
        value = self.concrete(env, term.operand, term.operator)
        if isinstance(value, Bottom):
            return value
        if isinstance(value, Scalar):
            if term.operator == "!" and isinstance(value.value, bool):
                return Scalar(not value.value, term.span)
            if term.operator != "!" and value.kind & NUMBER:
                return self.signed(term.operator, value, term.span)
        return self.failure(
            f"invalid operation {term.span.text} ({term.operator} {kind_text(value.kind)})",
            spans=(term.span,),
        )

    def bound(self, env: Env, term: BoundTerm) -> Value:
        """``<x`` and its like ("Bounds"); a bound of a bound is simplified."""
        value = self.default_of(self.evaluate(env, term.operand), term.operand.span)
        if isinstance(value, Vertex):
            value = self.value_of(value)
        if isinstance(value, Bottom):
            return value
        allowed = _BOUNDED | (NULL if term.operator == "!=" else 0)
        kind = value.kind
        if not kind & allowed or (isinstance(value, Scalar) and not kind & allowed):
            return self.failure(
                "invalid value ",
                value,
                f" (type {kind_text(kind)}) for bound {term.operator}",
                spans=(term.operand.span,),
            )
        if isinstance(value, Scalar):
            return Bound(term.operator, value, term.span)
        if isinstance(value, Bound):
            simpler = _bound_of_bound(term, value)
            if simpler is not None:
                return simpler
        ordered = term.operator in ("<", "<=", ">", ">=")
        if isinstance(value, TypeValue) and ordered and not kind & ~_BOUNDED:
            return value
        return self.waiting(
            "non-concrete value ", value, f" for bound {term.operator}", spans=(term.span,)
        )

    def slice(self, env: Env, term: SliceTerm) -> Value:
        """``operand[low:high]`` ("Primary expressions")."""
        value = self.concrete(env, term.operand, "slice")
        if isinstance(value, Bottom):
            return value
        items: list[Vertex] | bytes
        if isinstance(value, Vertex) and isinstance(value.base, ListMarker):
            items = value.elements()
        elif isinstance(value, Scalar) and isinstance(value.value, bytes):
            items = value.value
        else:
            return self.failure(
                "cannot slice ", value, f" (type {kind_text(value.kind)})", spans=(term.span,)
            )
        low = self._slice_index(env, term.low, 0)
        high = self._slice_index(env, term.high, len(items))
        if isinstance(low, Bottom):
            return low
        if isinstance(high, Bottom):
            return high
        if high > len(items):
            return self.failure(
                f"index {high} out of range with length {len(items)}", spans=(term.span,)
            )
        if low > high:
            return self.failure(f"invalid slice index: {low} > {high}", spans=(term.span,))
        if isinstance(items, bytes):
            return Scalar(items[low:high], term.span)
        return self.list_of(items[low:high])

    def _slice_index(self, env: Env, term: Term | None, default: int) -> int | Bottom:
        """The bound of a slice, which is an index ("Index expressions")."""
        if term is None:
            return default
        value = self.concrete(env, term, "slice index")
        if isinstance(value, Bottom):
            return value
        index = value.value if isinstance(value, Scalar) and value.kind == INT else None
        if isinstance(index, int) and index >= 0:
            return int(index)
        return self.failure(
            "invalid slice index ", value, "; expected an int of 0 or more", spans=(term.span,)
        )

    def list_of(self, values: Sequence[Value]) -> Vertex:
        """A closed list of values ("Lists")."""
        result = Vertex(self.vertex)
        result.base = ListMarker(is_open=False)
        result.status = Status.CONJUNCTS
        env = Env(None, result)
        for index, value in enumerate(values):
            conjunct: Any = (env, value, NO_CLOSE)
            result.put(index, Vertex(result, index, [conjunct]))
        return result


def _bound_of_bound(term: BoundTerm, inner: Bound) -> Value | None:
    """Simplify ``<(<=3)`` and its like ("Bounds")."""
    outer, known = term.operator, inner.operator
    ordered = ("<", "<=", ">", ">=")
    if known == "!=":
        if outer in ordered:
            return TypeValue(inner.kind, term.span)
        return inner.value if outer == "!=" else None
    if outer == "!=":
        return Bound(invert_bound(known), inner.value, term.span) if known in ordered else None
    if outer not in ordered or known not in ordered:
        return None
    if outer[0] != known[0]:
        return TypeValue(inner.kind, term.span)
    if len(outer) == 1:
        return Bound(outer, inner.value, term.span)
    return inner


def _later(name: str) -> Callable[[Any, Env, Any], Value]:
    """Return a call of a method that another part of the evaluator has."""

    def call(evaluator: Any, env: Env, term: Any) -> Value:
        value: Value = getattr(evaluator, name)(env, term)
        return value

    return call


_EVALUATORS: dict[type, Callable[[Any, Env, Any], Value]] = {
    **dict.fromkeys(
        (
            FieldRef,
            LetRef,
            VariableRef,
            ValueRef,
            DynamicRef,
            ImportRef,
            SelectTerm,
            IndexTerm,
            LabelRef,
        ),
        Evaluation.reference,
    ),
    **dict.fromkeys((StructTerm, ListTerm, ConjunctionTerm, DisjunctionTerm), Evaluation.anonymous),
    Vertex: Evaluation.computed,
    BottomTerm: Evaluation.explicit,
    InterpolationTerm: Evaluation.interpolation,
    UnaryTerm: Evaluation.unary,
    BoundTerm: Evaluation.bound,
    SliceTerm: Evaluation.slice,
    BinaryTerm: _later("binary"),
    CallTerm: _later("call"),
}
