"""Where names, selectors and indexes lead ("References", "Selectors", "Index expressions").

A reference leads to a vertex; its conjuncts, or its value, are then used. To find it, the
vertices on the way are unified as far as their fields are concerned.
"""

from collections.abc import Callable
from typing import Any

from connect.config.cue.closedness import NO_CLOSE
from connect.config.cue.core import Core
from connect.config.cue.environment import Env
from connect.config.cue.lattice import (
    LIST,
    STRING,
    STRUCT,
    Bottom,
    Code,
    FunctionValue,
    Label,
    ListMarker,
    Nearest,
    PackageValue,
    Scalar,
    StructMarker,
    TypeValue,
    Value,
    kind_text,
    label_text,
)
from connect.config.cue.numbers import number_text
from connect.config.cue.packages import package
from connect.config.cue.source import Span
from connect.config.cue.terms import (
    DynamicRef,
    FieldRef,
    ImportRef,
    IndexTerm,
    LabelRef,
    LetRef,
    SelectTerm,
    Term,
    ValueRef,
    VariableRef,
)
from connect.config.cue.values import Builtin, CueMember
from connect.config.cue.vertex import CYCLE, Status, Vertex

__all__ = ["References"]


class References(Core):
    """Resolves references ("References")."""

    def resolve(self, env: Env, term: Term | Vertex) -> Value:
        """The vertex that a reference leads to, another value, or an error ("References")."""
        if isinstance(term, Vertex):
            return term
        resolver = _RESOLVERS.get(type(term))
        if resolver is None:
            return self.evaluate(env, term)
        return resolver(self, env, term)

    def field(self, env: Env, term: FieldRef) -> Value:
        """A field of an enclosing struct ("References")."""
        scope = env.ancestor(term.up).vertex
        self.unify(scope, Status.PARTIAL)
        return self.lookup(scope, term.label, term.span)

    def let(self, env: Env, term: LetRef) -> Value:
        """A `let`: an expression of its own, evaluated once in each scope ("Let declarations")."""
        scope = env.ancestor(term.up)
        assert scope.lets is not None
        known = scope.lets.get(id(term.let))
        if known is None:
            assert term.let.value is not None
            known = Vertex(scope.vertex, None, [(scope, term.let.value, NO_CLOSE)])
            scope.lets[id(term.let)] = known
        return known

    def variable(self, env: Env, term: VariableRef) -> Value:
        """A variable of a clause ("Comprehensions")."""
        variables = env.ancestor(term.up).variables
        assert variables is not None
        return variables[term.name]

    def value_alias(self, env: Env, term: ValueRef) -> Value:
        """The value that an alias names ("Aliases")."""
        return self.vertex.home if term.up == 0 else env.ancestor(term.up - 1).vertex

    def dynamic(self, env: Env, term: DynamicRef) -> Value:
        """A field with a computed label, by its alias ("Aliases")."""
        scope = env.ancestor(term.up)
        assert term.computed.label is not None
        label = self.label_of(scope, term.computed.label)
        if isinstance(label, Bottom):
            return label
        self.unify(scope.vertex, Status.PARTIAL)
        return self.lookup(scope.vertex, label, term.span)

    def imported(self, env: Env, term: ImportRef) -> Value:
        """A package that is written in CUE ("Qualified identifiers")."""
        return self.packages[term.path]

    def label(self, env: Env, term: LabelRef) -> Value:
        """The label that matched a pattern; any string where none did yet ("Aliases")."""
        label = env.ancestor(term.up).label
        return TypeValue(STRING, term.span) if label is None else Scalar(label, term.span)

    def select(self, env: Env, term: SelectTerm) -> Value:
        """``operand.label`` ("Selectors")."""
        operand = term.operand
        if isinstance(operand, PackageValue):
            return self._member(operand.path, label_text(term.label), term.label_span)
        node = self.node(env, operand, term.span)
        if isinstance(node, Bottom):
            return node
        if isinstance(node, PackageValue):
            return self._member(node.path, label_text(term.label), term.label_span)
        return self._within(node, term.label, term.label_span, operand.span)

    def index(self, env: Env, term: IndexTerm) -> Value:
        """``operand[index]`` ("Index expressions")."""
        node = self.node(env, term.operand, term.span)
        index = self.concrete(env, term.index, "index")
        for part in (node, index):
            if isinstance(part, Bottom):
                return part
        place = term.index.span or term.span
        if isinstance(index, Scalar):
            value = index.value
            if isinstance(value, str):
                if isinstance(node, PackageValue):
                    return self._member(node.path, value, place)
                return self._within(node, value, place, term.operand.span)
            if isinstance(value, int) and not isinstance(value, bool):
                if value < 0:
                    return self.failure(
                        f"invalid index {number_text(value)} (index must be non-negative)",
                        spans=(term.index.span,),
                    )
                return self._within(node, int(value), place, term.operand.span)
        return self.failure(
            "invalid index ",
            index,
            f" (type {kind_text(index.kind)}); expected an int or a string",
            spans=(term.index.span,),
        )

    def node(self, env: Env, term: Term, whole: Span) -> Value:
        """Return the struct or list, or what may become one, that an operand is
        ("Selectors", "Index expressions").
        """
        stack = self.stack
        if stack.room:
            stack.room -= 1
            found = self.resolve(env, term)
            stack.room += 1
        else:
            found = stack.call(self.resolve, env, term)
        if isinstance(found, Vertex):
            self.unify(found, Status.CONJUNCTS)
        value = self.default_of(found, term.span)
        if isinstance(value, Vertex):
            base = value.base
            if base is CYCLE or isinstance(base, StructMarker | ListMarker):
                return value
            if isinstance(base, Bottom):
                return base
            if value.arcs:
                return value
        if isinstance(value, Bottom):
            return value
        package_value = value.base if isinstance(value, Vertex) else value
        if isinstance(package_value, PackageValue):
            return package_value
        kind = value.kind
        if kind & STRUCT:
            return self.waiting(
                f"{whole.text} is undefined, as {_span_text(term)} is incomplete"
                f" (type {kind_text(kind)})",
                spans=(whole,),
            )
        if isinstance(value, Vertex):
            return value
        return self._no_operand(value, term.span)

    def _no_operand(self, value: Value, span: Span | None) -> Bottom:
        """Only structs and lists have elements ("Selectors", "Index expressions")."""
        text = span.text if span is not None else "value"
        return self.failure(
            f"invalid operand {text} (found {kind_text(value.kind)}, want list or struct)",
            spans=(span,),
        )

    def _within(self, node: Value, label: Label, span: Span, operand: Span | None) -> Value:
        """Look a label up in an operand ("Selectors", "Index expressions")."""
        if not isinstance(node, Vertex):
            return node
        base = node.base
        if base is CYCLE:
            base = node.scope.base  # of the disjunct that is being tried
        hidden = isinstance(label, tuple)
        if isinstance(base, ListMarker) and isinstance(label, str):
            return self.failure(f'invalid list index "{label}" (type string)', spans=(span,))
        if isinstance(base, StructMarker) and isinstance(label, int):
            return self.failure(
                f"invalid struct selector {label} (type int); expected a string", spans=(span,)
            )
        if (
            base is not None
            and base is not CYCLE
            and not hidden
            and not base.kind & (LIST | STRUCT)
            and not isinstance(base, Bottom)
        ):
            return self._no_operand(node, operand)
        return self.lookup(node, label, span)

    def lookup(self, vertex: Vertex, label: Label, span: Span) -> Value:
        """Return an arc, or why there is none (yet) ("Selectors")."""
        scope = vertex.scope
        arc = scope.arcs.get(label)
        if arc is not None:
            return arc
        text = label_text(label)
        if isinstance(label, int):
            return self._no_element(scope, label, span)
        state = scope.state
        if scope.status < Status.CONJUNCTS and state is not None:
            for item in state.pending:
                if item.error is not None and item.error.code != Code.CYCLE:
                    return item.error
            if any(item.error is CYCLE for item in state.expressions):
                return Bottom(Code.CYCLE, CYCLE.parts, (span,))
        if any(label in info.term.optionals for info in scope.structs):
            message = f"cannot reference optional field: {text}"
        else:
            message = f"undefined field: {text}"
        known = Nearest(str(text), [str(label_text(name)) for name in scope.arcs])
        if scope.status >= Status.CONJUNCTS and self.refuses(scope, label):
            return self.failure(message, known, spans=(span,))
        return self.waiting(message, known, spans=(span,))

    def _no_element(self, scope: Vertex, index: int, span: Span) -> Bottom:
        """An index out of range ("Index expressions")."""
        count = len(scope.elements())
        message = f"index out of range [{index}] with length {count}"
        base = scope.base
        if isinstance(base, ListMarker) and not base.is_open:
            return self.failure(message, spans=(span,))
        return self.waiting(message, spans=(span,))

    def _member(self, path: str, label: str | int, span: Span) -> Value:
        """A member of a builtin package ("Qualified identifiers")."""
        found = package(path)
        assert found is not None
        name = str(label)
        member: Any = found.members.get(name, _ABSENT)
        if member is _ABSENT or name.startswith("_"):
            return self.failure(
                f'undefined field: {name} (no such member of package "{path}")',
                Nearest(name, list(found.members)),
                spans=(span,),
            )
        if isinstance(member, Builtin):
            return FunctionValue(member, span)
        if isinstance(member, CueMember):
            return self.package_member(path, name)
        return self.from_python(member, span)

    # What other parts offer

    def refuses(self, vertex: Vertex, label: Label) -> bool:
        """Tell whether a field can never be in a vertex, as that is closed ("Closed structs")."""
        probe = Vertex(vertex, label)
        probe.closed = vertex.closed
        return self.allowed(probe) is not None


_ABSENT = object()

_RESOLVERS: dict[type, Callable[[Any, Env, Any], Value]] = {
    FieldRef: References.field,
    LetRef: References.let,
    VariableRef: References.variable,
    ValueRef: References.value_alias,
    DynamicRef: References.dynamic,
    ImportRef: References.imported,
    SelectTerm: References.select,
    IndexTerm: References.index,
    LabelRef: References.label,
}


def _span_text(term: Term) -> str:
    return "the operand" if term.span is None else term.span.text
