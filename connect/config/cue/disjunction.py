"""Disjunctions: which disjuncts are left, and which of them are defaults ("Disjunction").

Every combination of disjuncts is tried on a copy of the vertex and evaluated to the end;
those that fail fall away, also because of something deep below them. Equal ones become
one. With several disjunctions in a vertex, all but the last are tried with checks
deferred that need all that is known (closedness, validators), only to eliminate early.

The defaults follow the specification's rules for pairs of a value and its default: a
conjunction of a default with anything that has no default is a default, with something
that is not one is none. As of v0.4.2, a disjunction of which no marked disjunct is left
counts as unmarked.
"""

from collections.abc import Hashable, Sequence
from functools import partial

from connect.config.cue.core import Core
from connect.config.cue.equality import same_value, shape_of
from connect.config.cue.lattice import Bottom, Code, Disjunction, ListMarker, Scalar
from connect.config.cue.vertex import (
    NO_ARCS,
    PendingDisjunction,
    State,
    Status,
    Usage,
    Vertex,
)

__all__ = ["Disjunctions"]

_MAYBE, _DEFAULT, _NOT = range(3)  # the greater one wins where two meet


class Disjunctions(Core):
    """Expands the disjunctions of a vertex ("Disjunction")."""

    def expand_disjunctions(self, state: State) -> None:
        """Give a vertex the value that its disjunctions leave ("Disjunction", "Default values").

        One disjunct left is the vertex's value; of several, the vertex becomes a
        `Disjunction`. None is an error with every disjunct's reason.
        """
        vertex = state.vertex
        errors: list[Bottom] = []
        results = self._expand(state, _MAYBE, errors, last=True, again=False)
        vertex.current = None
        left: list[State] = []
        for result in results:
            if _finished(result):
                left.append(result)
            else:
                errors += [item.error for item in result.pending if item.error is not None]
        vertex.status = Status.FINAL
        vertex.arcs = NO_ARCS
        if not left:
            bottom = _empty(errors)
            if bottom.path is None:
                bottom.path = vertex.path
            vertex.base = bottom
            vertex.errors = [bottom]
        elif len(left) == 1:
            _adopt(vertex, left[0].vertex)
            state.expressions = left[0].expressions
            state.dynamics = state.comprehensions = state.loops = ()
        else:
            for result in left:
                _fail_unknown(result)
            ordered = sorted(left, key=lambda result: result.mode != _DEFAULT)
            defaults = sum(result.mode == _DEFAULT for result in left)
            marked = any(result.mode != _MAYBE for result in left)
            vertex.base = Disjunction([item.vertex for item in ordered], defaults, marked)
            vertex.errors = []
            if defaults == 1:
                vertex.current = ordered[0].vertex

    def _expand(
        self, state: State, mode: int, errors: list[Bottom], *, last: bool, again: bool
    ) -> list[State]:
        """Return what is left of a state with all its disjunctions expanded ("Disjunction").

        Args:
            mode: whether the state came by a disjunct marked as default.
            errors: takes the reasons of those that failed.
            last: no other disjunction is expanded afterwards.
            again: the results will be expanded further, and need a snapshot for it.
        """
        self.progress(state)
        if not state.disjunctions:
            return self._attempt(state, mode, errors, again=again)
        offset = len(state.usages)
        disjunctions = state.disjunctions
        current = [state]
        for index, disjunction in enumerate(disjunctions):
            more = index + 1 < len(disjunctions)
            self.deferring += more
            current = self._multiply(
                current, disjunction, errors, last=not more, again=again or more
            )
            self.deferring -= more
            if not current:
                return []
        _combine(current, disjunctions, offset, mode)
        return current

    def _multiply(
        self,
        current: list[State],
        disjunction: PendingDisjunction,
        errors: list[Bottom],
        *,
        last: bool,
        again: bool,
    ) -> list[State]:
        """Try every disjunct with every state so far: unification distributes ("Disjunction")."""
        stack = self.stack
        results: list[State] = []
        shapes: dict[Hashable, list[int]] = {}
        for base in current:
            source = base if base.snapshot is None else base.snapshot
            for term, is_default in disjunction.disjuncts:
                self.meter.step()
                attempt = source.clone()
                attempt.usages = list(base.usages)
                home = attempt.vertex.home
                home.current = attempt.vertex
                outer, self.vertex = self.vertex, attempt.vertex
                self.add_conjunct(attempt, disjunction.env, term, disjunction.close)
                mode = _mode(disjunction.marked, is_default)
                self.meter.enter()
                if stack.room:
                    stack.room -= 1
                    found = self._expand(attempt, mode, errors, last=last, again=again)
                    stack.room += 1
                else:
                    expand = partial(self._expand, last=last, again=again)
                    found = stack.call(expand, attempt, mode, errors)
                self.meter.leave()
                self.vertex = outer
                for result in found:
                    self._merge(results, shapes, result, last)
        return results

    def _attempt(
        self, state: State, mode: int, errors: list[Bottom], *, again: bool
    ) -> list[State]:
        """Evaluate a state without disjunctions to the end ("Disjunction")."""
        vertex = state.vertex
        vertex.home.current = vertex
        if again:
            state.snapshot = state.clone()
        self.complete(state)
        vertex.status = Status.CONJUNCTS
        vertex.checked = True
        failures = [error for error in vertex.errors if not error.incomplete]
        if not failures:
            self.finalize(vertex)
            failures = [error for error in vertex.errors if not error.incomplete]
            if vertex.child_error is not None:
                failures.append(vertex.child_error)
        if failures:
            errors += failures
            return []
        state.usages = [*state.usages, Usage(mode, mode, mode)]
        state.mode = mode
        return [state]

    def _merge(
        self, results: list[State], shapes: dict[Hashable, list[int]], new: State, last: bool
    ) -> None:
        """Add a result unless an equal one is known; a default takes its place
        ("Disjunction", "Default values").

        Args:
            shapes: where in the results those are that may be equal, by `shape_of`.
        """
        if not new.done:
            results.append(new)
            return
        alike = shapes.setdefault(shape_of(new.vertex), [])
        for index in alike:
            self.meter.step()
            if same_value(results[index].vertex, new.vertex, ignore_plain=last):
                if max((usage.nested for usage in new.usages), default=_MAYBE) == _DEFAULT:
                    results[index] = new
                return
        alike.append(len(results))
        results.append(new)


def _mode(marked: bool, is_default: bool) -> int:
    """What the mark of a disjunct says ("Default values")."""
    if not marked:
        return _MAYBE
    return _DEFAULT if is_default else _NOT


def _combine(
    results: list[State], disjunctions: Sequence[PendingDisjunction], offset: int, mode: int
) -> None:
    """Decide which results are defaults, from what each used of every disjunction
    ("Default values").

    A usage says for one disjunction whether the disjunct was marked (`parent`), and what
    the disjunctions within it made of that (`nested`, `original`).
    """
    count = len(disjunctions)
    used = [False] * count
    nested_used = [False] * count
    for result in results:
        for index, usage in enumerate(result.usages[offset : offset + count]):
            used[index] = used[index] or usage.parent == _DEFAULT
            nested_used[index] = nested_used[index] or usage.original == _DEFAULT
    for result in results:
        combined = original = _MAYBE
        for index, usage in enumerate(result.usages[offset : offset + count]):
            original = max(original, usage.parent, usage.nested)
            if nested_used[index]:
                combined = max(combined, usage.parent, usage.original)
            elif used[index] or not disjunctions[index].marked:
                combined = max(combined, usage.parent, usage.nested)
        result.mode = combined
        result.usages = [*result.usages[:offset], Usage(mode, combined, original)]


def _finished(state: State) -> bool:
    """Tell whether nothing waits but for the value itself, which says nothing new ("Cycles")."""
    if state.dynamics or state.comprehensions or state.loops:
        return False
    return all(
        item.error is not None and item.error.code == Code.CYCLE for item in state.expressions
    )


def _fail_unknown(state: State) -> None:
    """Make an error of a disjunct that waits for the value itself, and says nothing else
    ("Cycles").
    """
    vertex = state.vertex
    if state.struct_source is None and not isinstance(vertex.base, Scalar | ListMarker):
        errors = [item.error for item in state.expressions if item.error is not None]
        if errors:
            vertex.errors = errors
            vertex.base = errors[0]


def _adopt(vertex: Vertex, result: Vertex) -> None:
    """Make the only disjunct left the value of the vertex ("Disjunction")."""
    vertex.arcs = result.arcs
    vertex.base = result.base
    vertex.structs = result.structs
    vertex.constrained = result.constrained
    vertex.errors = result.errors
    vertex.child_error = result.child_error
    vertex.close_tree = result.close_tree


def _empty(errors: list[Bottom]) -> Bottom:
    """Return the error of a disjunction of which nothing is left ("Disjunction")."""
    code = Code.EVALUATION
    for error in errors:
        code = max(code, error.code)
    if not errors:
        code = Code.INCOMPLETE
    unique = list(dict.fromkeys(errors))
    if len(unique) == 1:
        return unique[0]
    spans = [span for error in unique for span in error.spans]
    return Bottom(code, (f"none of {len(unique)} alternatives fits:",), spans, unique)
