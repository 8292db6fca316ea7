"""Constraints on fields by their labels, and which fields are allowed.

Optional fields and patterns say something of a field once there is one ("Field
constraints", "Pattern and default constraints"); in closed structs they also say that it
may be there.
"""

from connect.config.cue.bounds import satisfied
from connect.config.cue.closedness import NO_CLOSE, CloseTree, is_closed_struct
from connect.config.cue.core import Core
from connect.config.cue.environment import Env
from connect.config.cue.lattice import (
    STRING,
    Bottom,
    Bound,
    Label,
    Nearest,
    Scalar,
    Top,
    TypeValue,
    Value,
    label_text,
)
from connect.config.cue.terms import DynamicField
from connect.config.cue.vertex import Status, StructInfo, Vertex

__all__ = ["Patterns"]

# Nodes of a tree of closed structs that cost as much as a step: a chain of definitions has a
# tree for each, which grows with it.
_NODES_PER_STEP = 8


class Patterns(Core):
    """Applies optional fields and patterns ("Pattern and default constraints")."""

    def apply_constraints(self, vertex: Vertex) -> bool:
        """Add what the parent's constraints say of a field; tell whether they say anything
        ("Field constraints", "Pattern and default constraints").
        """
        parent, label = vertex.parent, vertex.label
        if parent is None or label is None:
            return False
        structs = parent.structs
        added = False
        if vertex.matched >= parent.constrained:
            vertex.matched = len(structs)
            return False
        while vertex.matched < len(structs):
            info = structs[vertex.matched]
            vertex.matched += 1
            if not info.term.constrains:
                continue
            close = info.close.inside()
            for field in info.term.optionals.get(label, ()):
                vertex.conjuncts.append((info.env, field.value, close))
                added = True
            if isinstance(label, str):
                for index, pattern in enumerate(info.term.patterns):
                    if self._matches(info, index, label):
                        env = info.env.copy()
                        env.label = label
                        vertex.conjuncts.append((env, pattern.value, close))
                        added = True
        return added

    def _matches(self, info: StructInfo, index: int, label: str) -> bool:
        """Tell whether a label matches a struct's pattern ("Pattern and default constraints")."""
        matchers = info.matchers
        if matchers is None:
            matchers = info.matchers = [None] * len(info.term.patterns)
        matcher = matchers[index]
        if matcher is None:
            pattern = info.term.patterns[index].pattern
            matcher = self.default_or_value(self.evaluate(info.env, pattern))
            if not isinstance(matcher, Bottom):
                matchers[index] = matcher
        return self._fits(matcher, label)

    def default_or_value(self, value: Value) -> Value:
        """Return what a pattern is matched with ("Pattern and default constraints")."""
        return self.value_of(value) if isinstance(value, Vertex) else value

    def _fits(self, matcher: Value, label: str) -> bool:
        """Tell whether a label unifies with a pattern ("Pattern and default constraints")."""
        if isinstance(matcher, Bottom):
            return False
        if isinstance(matcher, Top):
            return True
        if isinstance(matcher, TypeValue):
            return bool(matcher.kind & STRING)
        if isinstance(matcher, Scalar):
            return matcher.value == label
        if isinstance(matcher, Bound):
            fits = matcher.kind & STRING and satisfied(matcher, Scalar(label, None, STRING))
            return fits is True
        probe = Vertex()
        env = Env(None, probe)
        probe.conjuncts = [
            (env, matcher, NO_CLOSE),  # type: ignore[list-item]  # every value is a term
            (env, Scalar(label, None), NO_CLOSE),
        ]
        self.unify(probe, Status.CONJUNCTS)
        return not isinstance(probe.base, Bottom)

    # Closedness

    def allowed(self, vertex: Vertex) -> Bottom | None:
        """Check that the parent's closed structs allow a vertex
        ("Closed structs", "Definitions and hidden fields").

        Hidden fields and definitions are always allowed.
        """
        parent, label = vertex.parent, vertex.label
        if vertex.checked or parent is None or not isinstance(label, str) or self.deferring:
            return None
        vertex.checked = True
        tree = parent.close_tree
        if tree is None:
            closed = is_closed_struct(parent) or parent.closed or vertex.closed
            tree = CloseTree(parent.structs, self.declares, self.stack) if closed else False
            if tree:
                self.meter.take(tree.size // _NODES_PER_STEP)
            parent.close_tree = tree
        if tree is False:
            return None
        fine = tree.allowed(label) if tree.restricts else not vertex.closed or tree.found(label)
        return None if fine else self._not_allowed(parent, vertex, label)

    def _not_allowed(self, parent: Vertex, vertex: Vertex, label: str) -> Bottom:
        """A closed struct refuses the field; a near name is suggested ("Closed structs")."""
        allowed = [
            str(label_text(known))
            for info in parent.structs
            for known in info.term.labels
            if isinstance(known, str) and known != label
        ]
        tree = parent.close_tree
        if tree and tree.restricts:
            allowed = [known for known in allowed if tree.allowed(known)]
        spans = [
            field.span
            for info in parent.structs
            for field in info.term.fields
            if field.label == label and not info.close.defines
        ]
        if not spans:
            spans = [term.span for _, term, _ in vertex.conjuncts if term.span is not None]
        return self.failure(f"field not allowed: {label}", Nearest(label, allowed), spans=spans)

    def declares(self, info: StructInfo, label: Label) -> bool:
        """Tell whether a struct declares a label, or a pattern of it matches ("Closed structs")."""
        term = info.term
        if label in term.labels:
            return True
        if not isinstance(label, str):
            return False
        if term.is_open:
            return True
        for index in range(len(term.patterns)):
            if self._matches(info, index, label):
                return True
        if not term.has_dynamic:
            return False
        computed = [step.label for step in term.steps if isinstance(step, DynamicField)]
        return any(self.label_of(info.env, computed_label) == label for computed_label in computed)
