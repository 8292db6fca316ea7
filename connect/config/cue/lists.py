"""List conjuncts become the arcs of a vertex ("Lists").

Closed lists must be of one length; an open one gives at least that many elements, and its
type to all beyond.
"""

from connect.config.cue.closedness import NO_CLOSE, CloseInfo
from connect.config.cue.core import Core
from connect.config.cue.environment import Env
from connect.config.cue.lattice import LIST, Bottom, ListMarker
from connect.config.cue.source import Span
from connect.config.cue.terms import ComprehensionTerm, ListTerm, Term
from connect.config.cue.vertex import State, Vertex

__all__ = ["Lists"]


class _Length:
    """The length that the lists so far agree on ("Lists").

    Attributes:
        count: of elements.
        open: there may be more.
        span: the list that says so.
    """

    __slots__ = ("count", "open", "span")

    def __init__(self) -> None:
        self.count = 0
        self.open = True
        self.span: Span | None = None


class Lists(Core):
    """Unifies lists ("Lists")."""

    def add_lists(self, state: State) -> None:
        """Unify the lists among the conjuncts, element by element ("Lists")."""
        vertex = state.vertex
        length = _Length()
        base = vertex.base
        if isinstance(base, ListMarker):
            length.open = base.is_open
            length.count = len(vertex.elements())
        lists, state.lists = state.lists, ()
        values, state.value_lists = state.value_lists, ()
        rests: list[tuple[Env, Term, CloseInfo, int]] = []
        for value, _ in values:
            self.narrow(state, LIST, value)
            self._add_value_list(state, value, length)
        for env, term, close in lists:
            self._add_literal(state, env, term, close, length, rests)
        if state.errors and not state.kind & LIST:
            return
        for env, rest, close, start in rests:
            for index in range(start, length.count):
                if index in vertex.arcs:
                    self.insert_field(state, index, (env, rest, close))
        if isinstance(base, ListMarker):
            length.open = length.open and base.is_open
        vertex.base = ListMarker(length.open)

    def _add_value_list(self, state: State, value: Vertex, length: _Length) -> None:
        """Unify with a list that has been computed ("Lists")."""
        base = value.base
        is_open = isinstance(base, ListMarker) and base.is_open
        elements = value.elements()
        env = Env(None, value)
        if not self._agree(state, length, len(elements), is_open, value.span):
            return
        for index, element in enumerate(elements):
            self.insert_field(state, index, (env, element, NO_CLOSE))

    def _add_literal(
        self,
        state: State,
        env: Env,
        term: ListTerm,
        close: CloseInfo,
        length: _Length,
        rests: list[tuple[Env, Term, CloseInfo, int]],
    ) -> None:
        """Unify with a list literal, comprehensions in it included ("Lists", "Comprehensions")."""
        if not env.cyclic:
            state.non_cyclic = True
        if not self.narrow(state, LIST, term):
            return
        index = 0
        conjuncts: list[tuple[Env, Term | Vertex, CloseInfo]] = []
        limit = self.meter.budget.size
        for element in term.elements:
            if isinstance(element, ComprehensionTerm):
                found = self.yields(env, element)
                if isinstance(found, Bottom):
                    state.fail(found)
                    return
                conjuncts += [(inner, struct, close) for inner, struct in found]
            else:
                conjuncts.append((env, element, close))
            if len(conjuncts) > limit:
                raise self.exceeded(f"a list has more than the {limit} elements allowed")
        index = len(conjuncts)
        if not self._agree(state, length, index, term.is_open, term.span):
            return
        for position, conjunct in enumerate(conjuncts):
            self.insert_field(state, position, conjunct)
        if term.rest is not None:
            rests.append((env, term.rest, close, index))

    def _agree(
        self, state: State, length: _Length, count: int, is_open: bool, span: Span | None
    ) -> bool:
        """Take another list's length into account; tell whether it fits ("Lists")."""
        too_short = count < length.count and not is_open
        too_long = count > length.count and not length.open
        if too_short or too_long:
            state.fail(
                self.failure(
                    f"incompatible list lengths ({length.count} and {count})",
                    spans=(span, length.span),
                )
            )
            return False
        if count > length.count or not is_open:
            length.span = span
        length.count = max(length.count, count)
        length.open = length.open and is_open
        return True
