"""How a vertex gets its value: conjuncts first, then disjunctions, then arcs.

A vertex is unified when something refers to it, as far as that needs, and all vertices to
the end from the root down. Neither order matters for the result: unification is
commutative and associative ("Unification"); what waits for a value in a cycle is tried
again when it is known ("Cycles").
"""

from collections.abc import Sequence

from connect.config.cue.bounds import satisfied, simplify
from connect.config.cue.core import Core
from connect.config.cue.environment import Env
from connect.config.cue.lattice import (
    TOP,
    Bottom,
    Bound,
    Code,
    Conjunction,
    Label,
    Scalar,
    StructMarker,
    TypeValue,
    Validator,
    Value,
)
from connect.config.cue.terms import ComprehensionTerm, DynamicField, StructTerm
from connect.config.cue.values import Kind
from connect.config.cue.vertex import (
    CYCLE,
    NO_ARCS,
    Base,
    Pending,
    State,
    Status,
    Vertex,
    added,
    structural_cycle,
)

__all__ = ["Unification"]


class Unification(Core):
    """Drives vertices from their conjuncts to their values ("Unification")."""

    def unify(self, vertex: Vertex, want: Status) -> None:
        """Unify the conjuncts of a vertex, as far as wanted and possible ("Unification").

        What it refers to is unified on the way. A vertex that is being unified already
        is left as it is, but has all its conjuncts inserted.
        """
        status = vertex.status
        if status >= Status.EVALUATING_ARCS:
            return
        if status == Status.EVALUATING:
            state = vertex.scope.state
            if state is not None:
                self._insert(state)
            return
        if status == Status.CONJUNCTS:
            parent = vertex.parent
            if parent is None or vertex.matched == len(parent.structs):
                return
            if not self.apply_constraints(vertex):
                return
            vertex.reset()
        elif status == Status.PARTIAL and self.apply_constraints(vertex):
            vertex.reset()
        outer, deferring = self.vertex, self.deferring
        self.deferring = 0
        stack, meter = self.stack, self.meter
        meter.depth -= 1
        if meter.depth < 0:
            raise meter.too_deep()
        if stack.room:
            stack.room -= 1
            self._unify(vertex, want)
            stack.room += 1
        else:
            stack.call(self._unify, vertex, want)
        meter.depth += 1
        self.vertex, self.deferring = outer, deferring

    def _unify(self, vertex: Vertex, want: Status) -> None:
        """Insert conjuncts, expand disjunctions, and so again if more came meanwhile
        ("Unification").
        """
        while True:
            self.meter.step()
            self.vertex = vertex
            if vertex.status == Status.UNPROCESSED:
                self._begin(vertex)
            vertex.status = Status.EVALUATING
            state = vertex.state
            assert state is not None
            self.progress(state)
            if not state.done and not self._may_finish(state, want):
                return
            if state.disjunctions:
                self.expand_disjunctions(state)
            else:
                self.complete(state)
                vertex.status = Status.CONJUNCTS
            if not state.done and not vertex.errors:
                self._fail_pending(state)
            if state.next == len(vertex.conjuncts):
                return
            vertex.reset()

    def _begin(self, vertex: Vertex) -> None:
        """Say what the surroundings bring: closedness, constraints on the label
        ("Definitions and hidden fields", "Field constraints").
        """
        parent, label = vertex.parent, vertex.label
        if parent is not None and label is not None:
            vertex.closed = parent.closed or _is_definition(label)
            self.apply_constraints(vertex)
        vertex.base = CYCLE
        vertex.state = State(vertex)

    def _may_finish(self, state: State, want: Status) -> bool:
        """Decide whether to go on although something waits for other values ("Cycles")."""
        vertex = state.vertex
        if want < Status.FINAL:
            vertex.status = Status.PARTIAL
            return False
        if not self.settling and (state.comprehensions or state.loops):
            self.settling = True
            self.progress(state)
            self.settling = False
        if state.disjunctions and vertex.base is CYCLE and not _only_cycles(state):
            self._fail_pending(state)
            vertex.status = Status.FINAL
            return False
        return True

    def _fail_pending(self, state: State) -> None:
        """Make errors of what waits in vain ("Bottom and errors")."""
        vertex = state.vertex
        errors = [item.error for item in state.pending if item.error is not None]
        if errors:
            vertex.errors = errors
            vertex.base = most_severe(errors)

    # Conjuncts

    def progress(self, state: State) -> None:
        """Insert conjuncts, and what waits, until nothing more can be inserted ("Unification").

        Comprehensions over fields come after all others, because those may add fields.
        """
        vertex = state.vertex
        while True:
            self._insert(state)
            if state.scalar is not None and vertex.base is CYCLE:
                vertex.base = state.scalar
            if state.done or (state.cyclic and not state.non_cyclic):
                return
            if not (
                self._insert_dynamic(state)
                or self._insert_yields(state, loops=False)
                or self._insert_yields(state, loops=True)
                or self._retry_expressions(state)
            ):
                return

    def _insert(self, state: State) -> None:
        """Insert the vertex's conjuncts that are not inserted yet ("Unification")."""
        conjuncts = state.vertex.home.conjuncts
        if state.vertex.home.state is not state:
            return  # an attempt with a disjunct has them all
        while state.next < len(conjuncts):
            env, term, close = conjuncts[state.next]
            state.next += 1
            outer = self.vertex
            self.vertex = state.vertex
            self.add_conjunct(state, env, term, close)
            self.vertex = outer

    def _insert_dynamic(self, state: State) -> bool:
        """Insert the fields whose computed labels are known ("Dynamic fields")."""
        waiting, state.dynamics = state.dynamics, []
        if not waiting:
            return False
        inserted = False
        for item in waiting:
            assert isinstance(item.term, DynamicField)
            label = self.label_of(item.env, item.term.label)
            if isinstance(label, str):
                inserted = True
                self.insert_field(state, label, (item.env, item.term.value, item.close))
            elif label.incomplete:
                state.dynamics = added(state.dynamics, item._replace(error=label))
            else:
                inserted = True
                state.fail(label)
        return inserted

    def _insert_yields(self, state: State, *, loops: bool) -> bool:
        """Insert what comprehensions yield ("Comprehensions").

        All are evaluated before any is inserted, so that their order does not matter.
        """
        waiting = state.loops if loops else state.comprehensions
        if not waiting:
            return False
        kept: list[Pending] = []
        yielded: list[tuple[Pending, list[tuple[Env, StructTerm]]]] = []
        failed = False
        for item in waiting:
            assert isinstance(item.term, ComprehensionTerm)
            found = self.yields(item.env, item.term)
            if not isinstance(found, Bottom):
                yielded.append((item, found))
            elif found.incomplete:
                kept.append(item._replace(error=found))
            else:
                failed = True
                state.fail(found)
        if loops:
            state.loops = kept
        else:
            state.comprehensions = kept
        for item, structs in yielded:
            for env, struct in structs:
                self.add_struct(state, env, struct, item.close)
        return failed or bool(yielded)

    def _retry_expressions(self, state: State) -> bool:
        """Insert again what waited for values, which may be known now ("Cycles")."""
        waiting, state.expressions = state.expressions, []
        for item in waiting:
            term = item.term
            assert not isinstance(term, DynamicField | ComprehensionTerm)
            self.add_conjunct(state, item.env, term, item.close)
        return len(state.expressions) < len(waiting)

    # Values

    def complete(self, state: State) -> None:
        """Give a vertex its base value once its conjuncts are inserted ("Unification")."""
        vertex = state.vertex
        while state.lists or state.value_lists:
            self.add_lists(state)
            self.progress(state)
        if state.struct_source is not None:
            self.narrow(state, StructMarker.kind, state.struct_source)
        base = vertex.base
        if base is CYCLE:
            base = None
        if base is None:
            base = state.scalar
        if base is None and (
            state.struct_source is not None
            or (vertex.structs and state.kind & StructMarker.kind and not state.top)
        ):
            base = StructMarker()
        if base is None:
            base = self._constraints(state)
        else:
            self._validate(state, base)
        self._check_list_labels(state)
        vertex.base = base
        if state.errors:
            vertex.errors = list(state.errors)
            vertex.base = most_severe(state.errors)

    def _constraints(self, state: State) -> Base:
        """Return what restricts a value that is not concrete ("Bounds")."""
        values: list[Value] = []
        kind, allowed = state.kind, TOP
        for bound in (state.lower, state.upper):
            if bound is not None:
                values.append(bound)
                allowed &= bound.kind
        for check in state.checks:
            if not self._implied(state, check):
                values.append(check)
                allowed &= check.kind
        if not values or allowed & ~kind:
            span = state.kind_source.span if state.kind_source is not None else None
            values.append(TypeValue(kind, span))
        if len(values) == 1:
            only = values[0]
            assert isinstance(only, TypeValue | Bound | Validator)
            return only
        return Conjunction(tuple(values), kind)

    def _implied(self, state: State, check: Bound | Validator) -> bool:
        """Tell whether a range excludes what ``!=`` does ("Bounds")."""
        if not isinstance(check, Bound) or check.operator != "!=":
            return False
        ranges = (state.lower, state.upper)
        return any(bound and simplify(state.kind, bound, check) is bound for bound in ranges)

    def _validate(self, state: State, base: Base) -> None:
        """Check a concrete value against bounds and validators ("Bounds")."""
        for bound in (state.lower, state.upper):
            if bound is not None and isinstance(base, Scalar):
                self._check_bound(state, bound, base)
        if self.deferring:
            return
        for check in state.checks:
            if isinstance(check, Validator):
                self._check_validator(state, check, base)
            elif isinstance(base, Scalar):
                self._check_bound(state, check, base)

    def _check_bound(self, state: State, bound: Bound, value: Scalar) -> None:
        """An atom outside of a bound is an error ("Bounds")."""
        result = satisfied(bound, value)
        if isinstance(result, Bottom):
            state.fail(result)
        elif not result:
            state.fail(
                self.failure(
                    "invalid value ",
                    value,
                    " (out of bound ",
                    bound,
                    ")",
                    spans=(value.span, bound.span),
                )
            )

    def _check_validator(self, state: State, check: Validator, base: Base) -> None:
        """A value that a function does not find good is an error ("Builtin functions")."""
        value: Value = base if isinstance(base, Scalar) else state.vertex
        if not isinstance(base, Scalar):
            state.vertex.base = base
        if check.builtin.parameters[0] is Kind.NUMBER:
            text = "as of v0.4.2 a function of numbers is no validator; call it with all arguments"
            state.fail(
                self.failure(
                    "invalid value ",
                    value,
                    " (does not satisfy ",
                    check,
                    f"): {text}",
                    spans=(value.span, check.span),
                )
            )
            return
        result = self.satisfies(check.builtin, (value, *check.arguments), check.span)
        if isinstance(result, Scalar) and result.value is True:
            return
        parts: list[object] = ["invalid value ", value, " (does not satisfy ", check, ")"]
        spans = (value.span, check.span)
        if isinstance(result, Bottom):
            parts += [": ", *result.parts]
            state.fail(Bottom(result.code, tuple(parts), spans))
        else:
            state.fail(self.failure(*parts, spans=spans))

    def _check_list_labels(self, state: State) -> None:
        """A struct that embeds a list has no regular fields ("Embedding")."""
        vertex = state.vertex
        if not vertex.arcs or not state.kind or state.struct_source is not None:
            return
        if 0 in vertex.arcs and any(isinstance(label, str) for label in vertex.arcs):
            state.fail(self.failure("list may not have regular fields"))

    # All below

    def finalize(self, vertex: Vertex) -> None:
        """Unify a vertex and all below it, to the end ("Structs").

        An error in an arc is noted in the vertices above it: it makes them unfit as
        disjuncts.
        """
        outer = self.vertex
        frames: list[tuple[Vertex, list[Vertex]]] = [(vertex, self._open(vertex))]
        while frames:
            current, arcs = frames[-1]
            if not arcs:
                frames.pop()
                self._finish(current)
                if len(frames) and current.base is not None:
                    _note_child_error(frames[-1][0], current)
                continue
            arc = arcs.pop()
            if len(frames) > self.meter.budget.depth:
                self.vertex = arc
                raise self.meter.too_deep()
            frames.append((arc, self._open(arc)))
        self.vertex = outer

    def _open(self, vertex: Vertex) -> list[Vertex]:
        """Unify a vertex and return the arcs that are to be finished, last one first
        ("Closed structs", "Structural cycles").
        """
        if vertex.status == Status.EVALUATING_ARCS or vertex.status == Status.EVALUATING:
            return []
        disallowed = self.allowed(vertex)
        if disallowed is not None:
            disallowed.path = vertex.path
            vertex.base = disallowed
            vertex.errors = [disallowed]
            vertex.arcs = NO_ARCS
            vertex.status = Status.FINAL
            return []
        if vertex.status < Status.CONJUNCTS:
            stack = self.stack
            self.meter.enter()
            if stack.room:
                stack.room -= 1
                self._unify(vertex, Status.FINAL)
                stack.room += 1
            else:
                stack.call(self._unify, vertex, Status.FINAL)
            self.meter.leave()
        if vertex.is_final:
            return []
        state = vertex.state
        if state is not None and state.cyclic and not state.non_cyclic:
            error = structural_cycle(vertex.span)
            vertex.errors = [*vertex.errors, error]
            vertex.base = error
            vertex.arcs = NO_ARCS
            vertex.status = Status.FINAL
            return []
        vertex.status = Status.EVALUATING_ARCS
        return list(reversed(vertex.arcs.values()))

    def _finish(self, vertex: Vertex) -> None:
        if vertex.status == Status.EVALUATING_ARCS:
            vertex.status = Status.FINAL
            vertex.state = None


def most_severe(errors: Sequence[Bottom]) -> Bottom:
    """Return the first of the most final errors ("Bottom and errors")."""
    return min(errors, key=lambda error: error.code)


def _note_child_error(parent: Vertex, child: Vertex) -> None:
    """An error in a field is one of the struct ("Structs")."""
    error = child.base if isinstance(child.base, Bottom) else child.child_error
    if error is not None and not error.incomplete:
        known = parent.child_error
        if known is None or error.code < known.code:
            parent.child_error = error


def _only_cycles(state: State) -> bool:
    return all(item.error is not None and item.error.code == Code.CYCLE for item in state.pending)


def _is_definition(label: Label) -> bool:
    return isinstance(label, tuple) and label[0].lstrip("_").startswith("#")
