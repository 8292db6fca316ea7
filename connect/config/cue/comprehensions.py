"""What comprehensions yield ("Comprehensions").

Each clause makes an environment for its variables; the struct at the end is evaluated in
that of the last one.
"""

from collections.abc import Iterable

from connect.config.cue.closedness import NO_CLOSE
from connect.config.cue.core import Core
from connect.config.cue.environment import Env
from connect.config.cue.lattice import (
    BOOL,
    Bottom,
    Code,
    ListMarker,
    Scalar,
    StructMarker,
    Value,
    kind_text,
)
from connect.config.cue.terms import (
    ComprehensionTerm,
    ForClause,
    IfClause,
    LetClause,
    StructTerm,
)
from connect.config.cue.vertex import CYCLE, Status, Vertex

__all__ = ["Comprehensions"]


class Comprehensions(Core):
    """Evaluates the clauses of comprehensions ("Comprehensions")."""

    def yields(
        self, env: Env, comprehension: ComprehensionTerm
    ) -> "list[tuple[Env, StructTerm]] | Bottom":
        """The structs that a comprehension yields, or why it cannot yet ("Comprehensions")."""
        scopes = [env]
        for clause in comprehension.clauses:
            following: list[Env] = []
            for scope in scopes:
                self.meter.step()
                found: Iterable[Env] | Bottom
                if isinstance(clause, ForClause):
                    found = self._for(scope, clause)
                elif isinstance(clause, IfClause):
                    found = self._if(scope, clause)
                else:
                    found = [self._let(scope, clause)]
                if isinstance(found, Bottom):
                    return found
                following += found
            scopes = following
        return [(scope, comprehension.value) for scope in scopes]

    def _if(self, env: Env, clause: IfClause) -> list[Env] | Bottom:
        """``if condition``: once, or not at all ("Comprehensions")."""
        value = self.concrete(env, clause.condition, "if")
        if isinstance(value, Bottom):
            return value
        if not isinstance(value, Scalar) or value.kind != BOOL:
            return self.failure(
                "cannot use ",
                value,
                f" (type {kind_text(value.kind)}) as type bool",
                spans=(clause.condition.span,),
            )
        return [env] if value.value else []

    def _let(self, env: Env, clause: LetClause) -> Env:
        """``let name = value``: once, with the variable ("Comprehensions")."""
        variable = Vertex(env.vertex, None, [(env, clause.value, NO_CLOSE)])
        return Env(env, env.vertex, {clause.name: variable})

    def _for(self, env: Env, clause: ForClause) -> list[Env] | Bottom:
        """``for key, value in source``: for each element or regular field ("Comprehensions")."""
        source = self._source(env, clause)
        if isinstance(source, Bottom):
            return source
        scopes: list[Env] = []
        for label, arc in source.scope.arcs.items():
            if isinstance(label, tuple):
                continue
            self.meter.step()
            variables = {clause.value: arc}
            if clause.key is not None:
                key = Vertex(arc)
                key.base = Scalar(label, clause.span)
                key.status = Status.FINAL
                variables[clause.key] = key
            scopes.append(Env(env, env.vertex, variables))
        return scopes

    def _source(self, env: Env, clause: ForClause) -> Vertex | Bottom:
        """The struct or list that a clause goes through ("Comprehensions")."""
        span = clause.source.span
        found = self.resolve(env, clause.source)
        if isinstance(found, Vertex):
            self.unify(found, Status.CONJUNCTS)
            if found.status == Status.EVALUATING:
                # Its fields are not all known, and what is yielded here may be some of them.
                return Bottom(Code.CYCLE, CYCLE.parts, (span,))
        value: Value = self.default_of(found, span)
        if isinstance(value, Vertex):
            base = value.base
            if isinstance(base, StructMarker | ListMarker):
                return value
            value = self.value_of(value)
        if isinstance(value, Bottom):
            return value
        kind = value.kind
        if kind & (StructMarker.kind | ListMarker.kind):
            text = span.text if span is not None else "the source"
            return self.waiting(
                f"cannot range over {text} (incomplete type {kind_text(kind)})", spans=(span,)
            )
        return self.failure(
            "invalid operand ",
            value,
            f" (found {kind_text(kind)}, want list or struct)",
            spans=(span,),
        )
