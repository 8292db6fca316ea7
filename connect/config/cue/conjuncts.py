"""Conjuncts go into a vertex one by one, whatever they are ("Unification").

Structs bring fields, references the conjuncts of another vertex, atoms and constraints
narrow the value. What waits for other values is queued, disjunctions and lists are
collected; `unify.py` says when they have their turn.
"""

from connect.config.cue.closedness import CloseInfo
from connect.config.cue.core import Core
from connect.config.cue.environment import Env, Trail
from connect.config.cue.lattice import (
    Bottom,
    Bound,
    Conjunction,
    FunctionValue,
    Label,
    PackageValue,
    Scalar,
    Top,
    TypeValue,
    Validator,
)
from connect.config.cue.terms import (
    ComprehensionTerm,
    ConjunctionTerm,
    DisjunctionTerm,
    DynamicField,
    DynamicRef,
    FieldRef,
    ForClause,
    ImportRef,
    IndexTerm,
    LetRef,
    ListTerm,
    SelectTerm,
    StructTerm,
    Term,
    ValueRef,
    VariableRef,
)
from connect.config.cue.vertex import (
    Conjunct,
    Pending,
    PendingDisjunction,
    State,
    Status,
    StructInfo,
    Vertex,
    added,
)

__all__ = ["Conjuncts"]

_LITERALS = (Scalar, TypeValue, Top, Conjunction, Bound, Validator, FunctionValue, PackageValue)
_REFERENCES = (
    FieldRef,
    SelectTerm,
    IndexTerm,
    LetRef,
    VariableRef,
    ValueRef,
    DynamicRef,
    ImportRef,
)


class Conjuncts(Core):
    """Inserts conjuncts into states ("Unification")."""

    def add_conjunct(self, state: State, env: Env, term: Term | Vertex, close: CloseInfo) -> None:
        """Unify a vertex with a term, whatever it is ("Unification")."""
        stack = self.stack
        if not stack.room:
            stack.call(self.add_conjunct, state, env, term, close)
            return
        stack.room -= 1
        if isinstance(term, StructTerm):
            self.add_struct(state, env, term, close)
        elif isinstance(term, _LITERALS):
            self.add_value(state, env, term, close)
        elif isinstance(term, _REFERENCES):
            self._add_reference(state, env, term, close)
        elif isinstance(term, DisjunctionTerm):
            state.disjunctions = added(state.disjunctions, PendingDisjunction.of(env, term, close))
        elif isinstance(term, ConjunctionTerm):
            for part in term.terms:
                self.add_conjunct(state, env, part, close)
        elif isinstance(term, ListTerm):
            scope = Env(env, state.vertex.home)
            state.lists = added(state.lists, (scope, term, close))
        elif isinstance(term, Vertex):
            self.add_value(state, env, term, close)
        else:
            self._add_expression(state, env, term, close)
        stack.room += 1

    def _add_expression(self, state: State, env: Env, term: Term, close: CloseInfo) -> None:
        """Unify with an expression's value; an incomplete one waits ("Expressions")."""
        value = self.evaluate(env, term)
        if isinstance(value, Bottom) and value.incomplete:
            state.expressions = added(state.expressions, Pending(env, term, close, value))
        else:
            self.add_value(state, env, value, close)

    # References ("References", "Cycles")

    def _add_reference(self, state: State, env: Env, term: Term, close: CloseInfo) -> None:
        """Unify with what a reference leads to ("References")."""
        found = self.resolve(env, term)
        if isinstance(found, Vertex):
            self._add_vertex(state, env, found, _closing(term, close))
        elif isinstance(found, Bottom) and found.incomplete:
            state.expressions = added(state.expressions, Pending(env, term, close, found))
        else:
            self.add_value(state, env, found, close)

    def _add_vertex(self, state: State, env: Env, found: Vertex, close: CloseInfo) -> None:
        """Add the conjuncts of a vertex that a reference leads to.

        A vertex that is met again while its own conjuncts are added says nothing new
        ("Reference cycles"). One that contains the reference makes a structural cycle,
        which is an error where no conjunct from elsewhere ends it ("Structural cycles").
        """
        if found.home is state.vertex.home:
            return
        cyclic = env.cyclic
        link, above = env.trail, False
        while link is not None:
            above = above or link is env.level
            if link.vertex is found:
                if not above:
                    if state.vertex.home is not state.vertex:
                        state.cyclic = True  # a disjunct that says only what it is one of
                    return
                cyclic = state.cyclic = True
                break
            link = link.before
        key = (id(found), close)
        if key in state.arcs_seen:
            return
        state.arcs_seen.add(key)
        if _contains(found, state.vertex):
            cyclic = state.cyclic = True
        elif found.status == Status.UNPROCESSED:
            self.apply_constraints(found)
        if not found.conjuncts:
            self.add_value(state, env, found, close)
            return
        self.meter.step()
        self.meter.enter()
        trail = Trail(found, env.trail)
        for inner, term, _ in list(found.conjuncts):
            copy = inner.copy()
            copy.trail = trail
            copy.level = env.level
            copy.cyclic = inner.cyclic or cyclic
            self.add_conjunct(state, copy, term, close)
        self.meter.leave()

    # Structs

    def add_struct(self, state: State, env: Env, term: StructTerm, close: CloseInfo) -> None:
        """Unify with a struct literal ("Structs").

        This is where unification happens: the names in its fields refer to the vertex
        that the literal is now part of, with all that other conjuncts bring.
        """
        if not env.cyclic:
            state.non_cyclic = True
        scope = Env(env, state.vertex.home)
        if term.has_lets:
            scope.lets = {}
        if term.embeds and not term.is_file:
            close = close.group()
        vertex = state.vertex
        vertex.structs = added(vertex.structs, StructInfo(term, scope, close))
        if term.constrains:
            vertex.constrained = len(vertex.structs)
        vertex.close_tree = None
        inside = close.inside()
        if term.steps:
            self._add_steps(state, term, scope, env, inside)
        if not term.embeds:
            state.struct_source = term
        for field in term.fields:
            if isinstance(field.label, str):
                state.struct_source = term
            self.insert_field(state, field.label, (scope, field.value, inside))
        if term.constrains:
            for arc in list(vertex.arcs.values()):
                if arc.status != Status.UNPROCESSED:
                    self._reconsider(state, arc)

    def _add_steps(
        self,
        state: State,
        term: StructTerm,
        scope: Env,
        outer: Env,
        close: CloseInfo,
    ) -> None:
        """Add embeddings, computed labels and comprehensions ("Embedding", "Dynamic fields").

        What is embedded becomes part of the same vertex, so that references on the way
        here count as seen for it.
        """
        same = scope
        if outer.level is not scope.level:
            same = scope.copy()
            same.level = outer.level
        for step in term.steps:
            if isinstance(step, DynamicField):
                state.struct_source = term
                state.dynamics = added(state.dynamics, Pending(scope, step, close, None))
            elif isinstance(step, ComprehensionTerm):
                item = Pending(same, step, close, None)
                if isinstance(step.clauses[0], ForClause):
                    state.loops = added(state.loops, item)
                else:
                    state.comprehensions = added(state.comprehensions, item)
            else:
                self.add_conjunct(state, same, step, close.embedding())

    def _reconsider(self, state: State, arc: Vertex) -> None:
        """Apply constraints that came after an arc was evaluated
        ("Pattern and default constraints").
        """
        if self.apply_constraints(arc) and arc.status != Status.EVALUATING:
            arc.reset()

    def insert_field(self, state: State, label: Label, conjunct: Conjunct) -> Vertex:
        """Add to a field: those of the same label are unified ("Structs")."""
        vertex = state.vertex
        arc = vertex.arcs.get(label)
        if arc is None:
            if vertex.rejected is not None and label in vertex.rejected:
                state.fail(
                    self.failure(
                        "cycle: new field ",
                        _quoted(label),
                        " is inserted by a clause that evaluated it before",
                        spans=(conjunct[1].span,),
                    )
                )
            arc = vertex.put(label, Vertex(vertex, label))
        arc.conjuncts.append(conjunct)
        if arc.status not in (Status.UNPROCESSED, Status.EVALUATING):
            arc.reset()
        return arc


def _contains(vertex: Vertex, other: Vertex) -> bool:
    """Tell whether a vertex is above another one ("Structural cycles")."""
    parent = other.parent
    while parent is not None:
        if parent.home is vertex.home:
            return True
        parent = parent.parent
    return False


def _closing(term: Term, close: CloseInfo) -> CloseInfo:
    """Close what comes through a definition ("Definitions and hidden fields")."""
    if isinstance(term, FieldRef):
        label = term.label
        defines = isinstance(label, tuple) and label[0].lstrip("_").startswith("#")
    else:
        defines = isinstance(term, SelectTerm | IndexTerm) and term.definition
    return close.definition() if defines else close


def _quoted(label: Label) -> str:
    return str(label[0] if isinstance(label, tuple) else label)
