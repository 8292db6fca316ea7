"""Values go into a vertex: atoms and constraints narrow it, computed data adds to it.

The rules are those of "Values", "Bounds" and "Unification" in the specification.
"""

from connect.config.cue.bounds import same_scalar, simplify
from connect.config.cue.closedness import CloseInfo
from connect.config.cue.core import Core
from connect.config.cue.environment import Env
from connect.config.cue.lattice import (
    Bottom,
    Bound,
    Conjunction,
    Disjunction,
    FunctionValue,
    Intrinsic,
    ListMarker,
    PackageValue,
    Scalar,
    StructMarker,
    Top,
    TypeValue,
    Validator,
    Value,
    kind_text,
)
from connect.config.cue.source import Source, Span
from connect.config.cue.terms import (
    ListTerm,
    StructTerm,
)
from connect.config.cue.values import Kind
from connect.config.cue.vertex import PendingDisjunction, State, StructInfo, Vertex, added

__all__ = ["Constraints"]

_NOWHERE = Span(Source("", ""), 0, 0)


class Constraints(Core):
    """Narrows what a vertex can be ("Unification")."""

    def add_value(self, state: State, env: Env, value: Value, close: CloseInfo) -> None:
        """Unify a vertex with a value ("Unification")."""
        if isinstance(value, Vertex):
            self._add_computed(state, env, value, close)
            return
        if not env.cyclic:
            state.non_cyclic = True
        if isinstance(value, Bottom):
            state.fail(value)
            return
        if isinstance(value, FunctionValue):
            bare = _bare_validator(value)
            if bare is not None:
                self.add_value(state, env, bare, close)
                return
        if isinstance(value, FunctionValue | PackageValue):
            state.scalar = value
            state.kind = value.kind
            return
        if not self.narrow(state, value.kind, value):
            return
        self._add_constraint(state, env, value, close)
        self._narrow_range(state, env, close)

    def _add_constraint(
        self,
        state: State,
        env: Env,
        value: "Scalar | TypeValue | Top | Bound | Validator | Conjunction | Disjunction",
        close: CloseInfo,
    ) -> None:
        """Unify with what is no struct, list or error ("Unification")."""
        if isinstance(value, Scalar):
            self._add_scalar(state, value)
        elif isinstance(value, Bound):
            self._add_bound(state, env, value, close)
        elif isinstance(value, Validator):
            self._add_validator(state, value)
        elif isinstance(value, Conjunction):
            for part in value.values:
                self.add_value(state, env, part, close)
        elif isinstance(value, Disjunction):
            disjuncts = tuple(
                (item, index < value.defaults) for index, item in enumerate(value.values)
            )
            state.disjunctions = added(
                state.disjunctions, PendingDisjunction(env, disjuncts, value.marked, close)
            )
        elif isinstance(value, Top):
            state.top = True

    def _add_computed(self, state: State, env: Env, value: Vertex, close: CloseInfo) -> None:
        """Unify with a computed value: its conjuncts, or else its arcs ("Unification")."""
        base = value.base
        if isinstance(base, StructMarker):
            state.struct_source = value
            if base.needs_close:
                close = close.shut()
        if value.conjuncts:
            for inner, term, _ in list(value.conjuncts):
                self.add_conjunct(state, inner, term, close)
            return
        if not env.cyclic:
            state.non_cyclic = True
        if isinstance(base, ListMarker):
            state.value_lists = added(state.value_lists, (value, close))
        elif isinstance(base, StructMarker):
            self._add_data_struct(state, env, value, close)
        elif base is not None:
            self.add_value(state, env, base, close)

    def _add_data_struct(self, state: State, env: Env, value: Vertex, close: CloseInfo) -> None:
        """Unify with the fields of a struct that a function made ("Structs")."""
        labels = frozenset(value.arcs)
        span = value.span or _NOWHERE
        term = StructTerm(span, (), {}, (), (), False, False, False, labels, False, False, False)
        vertex = state.vertex
        vertex.structs = added(vertex.structs, StructInfo(term, env, close))
        for label, arc in value.arcs.items():
            self.insert_field(state, label, (env, arc, close.inside()))

    def narrow(self, state: State, kind: int, source: object) -> bool:
        """Keep the kinds that both sides allow; tell whether any are left
        ("Values", "Unification").
        """
        if not state.kind:
            return False
        kind &= state.kind
        if not kind:
            self._conflict(state, state.kind_source, source)
        elif kind != state.kind or state.kind_source is None:
            state.kind_source = source
        state.kind = kind
        return bool(kind)

    def _conflict(self, state: State, first: object, second: object) -> None:
        """Note that two values have no instance in common ("Bottom and errors")."""
        left, right = _in_order(first, second)
        parts: list[object] = ["conflicting values ", left, " and ", right]
        left_kind, right_kind = _kind(left), _kind(right)
        if left_kind != right_kind:
            types = f" (mismatched types {kind_text(left_kind)} and {kind_text(right_kind)})"
            parts.append(types)
        spans = (getattr(right, "span", None), getattr(left, "span", None))
        state.fail(self.failure(*parts, spans=spans))

    def _add_scalar(self, state: State, value: Scalar) -> None:
        """Two atoms unify if they are equal ("Values")."""
        known, text = state.scalar, value.value
        if self.redact is not None and isinstance(text, str) and self.redact(state.vertex.path):
            self.secrets.add(text)
        if isinstance(known, Scalar):
            if not same_scalar(known, value):
                self._conflict(state, known, value)
            return
        state.scalar = value

    def _add_bound(self, state: State, env: Env, bound: Bound, close: CloseInfo) -> None:
        """A bound replaces a wider one of its direction ("Bounds")."""
        if bound.operator in ("<", "<="):
            known, state.upper = state.upper, bound
            if known is not None:
                state.upper = None
                self._add_simplified(state, env, simplify(state.kind, bound, known), close)
                return
        elif bound.operator in (">", ">="):
            known, state.lower = state.lower, bound
            if known is not None:
                state.lower = None
                self._add_simplified(state, env, simplify(state.kind, bound, known), close)
                return
        else:
            self._add_unequal(state, bound)

    def _narrow_range(self, state: State, env: Env, close: CloseInfo) -> None:
        """Resolve a range that leaves one value, or none ("Bounds")."""
        if state.lower is None or state.upper is None:
            return
        value = simplify(state.kind, state.lower, state.upper)
        if value is not None:
            state.lower = state.upper = None
            self.add_value(state, env, value, close)

    def _add_simplified(
        self, state: State, env: Env, value: Value | None, close: CloseInfo
    ) -> None:
        """Unify with what two bounds make together ("Bounds")."""
        if value is not None:
            self.add_value(state, env, value, close)

    def _add_unequal(self, state: State, bound: Bound) -> None:
        """Keep ``!=`` or a pattern, unless another bound implies it ("Bounds")."""
        kept: list[Bound | Validator] = []
        known = False
        for check in state.checks:
            if isinstance(check, Bound):
                simpler = simplify(state.kind, bound, check)
                if simpler is check:
                    known = True
                elif simpler is bound:
                    continue
            kept.append(check)
        if not known:
            kept.append(bound)
        state.checks = kept

    def _add_validator(self, state: State, validator: Validator) -> None:
        """Keep a validator; the same one counts once ("Unification")."""
        for check in state.checks:
            if isinstance(check, Validator) and _same_validator(check, validator):
                return
        state.checks = added(state.checks, validator)


def _kind(value: object) -> int:
    """The kinds of a value or literal ("Values")."""
    if isinstance(value, StructTerm):
        return StructMarker.kind
    if isinstance(value, ListTerm):
        return ListMarker.kind
    return getattr(value, "kind", 0)


def _in_order(first: object, second: object) -> tuple[object, object]:
    """Put two values in the order of the document."""
    left, right = getattr(first, "span", None), getattr(second, "span", None)
    if left and right and left.source is right.source and right.start < left.start:
        return second, first
    return first, second


def _bare_validator(value: FunctionValue) -> Validator | None:
    """Return the validator that a function of one argument is when it is not called
    ("Builtin functions").
    """
    builtin = value.builtin
    if isinstance(builtin, Intrinsic):
        return None
    if len(builtin.parameters) == 1 and builtin.result == Kind.BOOL:
        return Validator(builtin, (), value.span)
    return None


def _same_validator(left: Validator, right: Validator) -> bool:
    """Tell whether two validators are one ("Unification")."""
    if left.builtin is not right.builtin or len(left.arguments) != len(right.arguments):
        return False
    return all(
        a is b or (isinstance(a, Scalar) and isinstance(b, Scalar) and same_scalar(a, b))
        for a, b in zip(left.arguments, right.arguments, strict=True)
    )
