"""Binary operators on concrete values ("Operators")."""

from typing import Any

from connect.config.cue.bounds import compare_scalars
from connect.config.cue.core import Core
from connect.config.cue.environment import Env
from connect.config.cue.lattice import (
    BOOL,
    INT,
    NUMBER,
    Bottom,
    Code,
    Label,
    ListMarker,
    Scalar,
    StructMarker,
    Value,
    kind_text,
)
from connect.config.cue.numbers import binary, negate
from connect.config.cue.sequences import concat, repeat
from connect.config.cue.source import Span
from connect.config.cue.terms import (
    BinaryTerm,
    BottomTerm,
    ComprehensionTerm,
    FieldRef,
    SelectTerm,
    Term,
)
from connect.config.cue.values import BuiltinError, TooLarge
from connect.config.cue.vertex import Status, Vertex

__all__ = ["Operators"]

_UNDECIDED = "cycle error: whether the field is there depends on a clause that asks for this one"
_COMPARISONS = frozenset(("==", "!=", "<", "<=", ">", ">=", "=~", "!~"))


class Operators(Core):
    """Evaluates binary operators ("Operators")."""

    def binary(self, env: Env, term: BinaryTerm) -> Value:
        """Evaluate ``left operator right``; a chain ``a + b + c`` from its first operand on
        ("Operators", "Operator precedence").
        """
        chain = [term]
        while isinstance(term.left, BinaryTerm) and _bottom_operand(term) is None:
            term = term.left
            self.meter.step()
            chain.append(term)
        other = _bottom_operand(chain[-1])
        if other is not None:
            first = chain.pop()
            value = self._compare_bottom(env, other, first.operator, first.span)
        else:
            value = self.concrete(env, chain[-1].left, chain[-1].operator)
        while chain:
            term = chain.pop()
            right = self.concrete(env, term.right, term.operator)
            failures = [part for part in (value, right) if isinstance(part, Bottom)]
            if failures:
                value = min(failures, key=lambda failure: failure.code)
            else:
                value = self._apply(term.operator, value, right, term.span)
        return value

    def _apply(self, operator: str, left: Value, right: Value, span: Span) -> Value:
        """Apply an operator to two concrete operands ("Operators")."""
        if operator in _COMPARISONS:
            return self.compare(operator, left, right, span)
        if operator in ("&&", "||"):
            return self._logical(operator, left, right, span)
        try:
            result = self._arithmetic(operator, left, right, span)
        except TooLarge as error:
            raise self.exceeded(str(error)) from None
        except BuiltinError as error:
            return self.failure(f"failed arithmetic: {error}", spans=(span,))
        if result is None:
            return self._mismatch(operator, left, right, span)
        return result

    def _mismatch(self, operator: str, left: Value, right: Value, span: Span | None) -> Bottom:
        """The types of the operands must unify ("Operators")."""
        types = f" (type {kind_text(left.kind)} and {kind_text(right.kind)})"
        return self.failure(
            "invalid operands ", left, " and ", right, f" to '{operator}'{types}", spans=(span,)
        )

    def _logical(self, operator: str, left: Value, right: Value, span: Span) -> Value:
        """``&&`` and ``||``; a right operand that does not matter may be of any type
        ("Logical operators").
        """
        for value in (left, right):
            if not isinstance(value, Scalar) or value.kind != BOOL:
                return self.failure(
                    "cannot use ",
                    value,
                    f" (type {kind_text(value.kind)}) as type bool in {operator}",
                    spans=(span,),
                )
            if value.value is (operator == "||"):
                return Scalar(value.value, span)
        return Scalar(operator == "&&", span)

    def _arithmetic(self, operator: str, left: Value, right: Value, span: Span) -> Value | None:
        """Reckon with numbers; join and repeat strings, bytes, lists ("Arithmetic operators")."""
        if isinstance(left, Scalar) and isinstance(right, Scalar):
            if left.kind & NUMBER and right.kind & NUMBER:
                a: Any = left.value
                b: Any = right.value
                return Scalar(binary(operator, a, b), span)
            return self._text(operator, left, right, span)
        if operator == "+" and _is_list(left) and _is_list(right):
            assert isinstance(left, Vertex)
            assert isinstance(right, Vertex)
            limit = self.meter.budget.size
            return self.list_of(concat(left.elements(), right.elements(), limit))
        if operator == "*":
            for count, items in ((left, right), (right, left)):
                if isinstance(count, Scalar) and count.kind == INT and _is_list(items):
                    return self._repeat_list(count, items, span)
        return None

    def _repeat_list(self, count: Scalar, items: Value, span: Span) -> Value:
        """``count * list`` ("Arithmetic operators")."""
        assert isinstance(items, Vertex)
        assert isinstance(count.value, int)
        repeated = repeat(items.elements(), count.value, self.meter.budget.size)
        return self.list_of(repeated)

    def _text(self, operator: str, left: Scalar, right: Scalar, span: Span) -> Value | None:
        """Join and repeat strings and bytes ("String operators")."""
        a, b, limit = left.value, right.value, self.meter.budget.size
        if operator == "+":
            if isinstance(a, str) and isinstance(b, str):
                return Scalar(concat(a, b, limit), span)
            if isinstance(a, bytes) and isinstance(b, bytes):
                return Scalar(concat(a, b, limit), span)
        elif operator == "*":
            for text, count in ((a, right), (b, left)):
                if isinstance(text, str | bytes) and count.kind == INT:
                    assert isinstance(count.value, int)
                    if isinstance(text, str):
                        return Scalar(repeat(text, count.value, limit), span)
                    return Scalar(repeat(text, count.value, limit), span)
        return None

    def signed(self, operator: str, value: Scalar, span: Span | None) -> Scalar:
        """Return a number with a sign before it ("Arithmetic operators")."""
        number: Any = value.value
        return Scalar(negate(number) if operator == "-" else number, span, value.kind)

    # Comparison ("Comparison operators")

    def compare(self, operator: str, left: Value, right: Value, span: Span | None) -> Value:
        """Compare two concrete operands ("Comparison operators")."""
        if isinstance(left, Scalar) and isinstance(right, Scalar):
            try:
                result = compare_scalars(operator, left, right)
            except BuiltinError as error:
                return self.failure(str(error), spans=(span,))
            if result is not None:
                return Scalar(result, span)
        elif operator in ("==", "!="):
            if _is_null(left) or _is_null(right):
                return Scalar(operator == "!=", span)
            if _is_list(left) and _is_list(right):
                return Scalar(self._compare_lists(operator, left, right), span)
        return self._mismatch(operator, left, right, span)

    def _compare_lists(self, operator: str, left: Value, right: Value) -> bool:
        """Lists are equal if their elements are, and can be compared ("Comparison operators").

        As of v0.4.2, lists of different lengths are neither ``==`` nor ``!=``.
        """
        assert isinstance(left, Vertex)
        assert isinstance(right, Vertex)
        stack = self.stack
        mine, others = left.elements(), right.elements()
        if len(mine) != len(others):
            return False
        for a, b in zip(mine, others, strict=True):
            self.meter.step()
            env = Env(None, a)
            x, y = self.concrete(env, a, "=="), self.concrete(env, b, "==")
            if stack.room:
                stack.room -= 1
                result = self.compare("==", x, y, None)
                stack.room += 1
            else:
                result = stack.call(self.compare, "==", x, y, None)
            if not isinstance(result, Scalar) or result.value is not True:
                return operator == "!="
        return operator == "=="

    def _compare_bottom(self, env: Env, term: Term, operator: str, span: Span) -> Value:
        """``x == _|_`` asks whether there is no concrete value (yet) ("Bottom and errors").

        A field that is looked for in vain must not be inserted afterwards, or else the
        answer would have been wrong. While a clause of another struct may yet insert it, there
        is no answer; in the end it is not there if only that would have inserted it.
        """
        value = self.evaluate(env, term)
        default = self.default_of(value, None)
        if isinstance(default, Vertex):
            default = self.value_of(default)
        if isinstance(default, Bottom):
            if default.code == Code.CYCLE:
                return default
            absent = True
            scope, label = self._sought(env, term)
            if scope is not None and label not in scope.arcs:
                asked_elsewhere = scope.home is not self.vertex.home
                decided = self.settling and operator == "!="
                if asked_elsewhere and not decided and _may_get(scope, label):
                    return Bottom(Code.CYCLE, (_UNDECIDED,), (span,))
                scope.rejected = {*(scope.rejected or ()), label}
        else:
            absent = not _is_concrete(default)
        return Scalar(absent == (operator == "=="), span)

    def _sought(self, env: Env, term: Term) -> tuple[Vertex | None, Label]:
        """Where a field is looked for, and its label ("References", "Selectors")."""
        if isinstance(term, FieldRef):
            return env.ancestor(term.up).vertex.scope, term.label
        if isinstance(term, SelectTerm):
            found = self.resolve(env, term.operand)
            if isinstance(found, Vertex):
                return found.scope, term.label
        return None, ""


def _may_get(scope: Vertex, label: Label) -> bool:
    """Tell whether a clause that waits may yet insert a field ("Comprehensions").

    Whether the field is there is then not answered before, so that neither of two clauses
    that ask for each other's fields decides by being the first.
    """
    if scope.state is None or scope.status >= Status.CONJUNCTS:
        return False
    waiting = [*scope.state.comprehensions, *scope.state.loops]
    return any(
        isinstance(item.term, ComprehensionTerm) and label in item.term.value.labels
        for item in waiting
    )


def _bottom_operand(term: BinaryTerm) -> Term | None:
    """Return what is compared with ``_|_``, if that is what a term does ("Bottom and errors")."""
    if term.operator in ("==", "!="):
        for literal, other in ((term.left, term.right), (term.right, term.left)):
            if isinstance(literal, BottomTerm):
                return other
    return None


def _is_list(value: Value) -> bool:
    return isinstance(value, Vertex) and isinstance(value.base, ListMarker)


def _is_null(value: Value) -> bool:
    return isinstance(value, Scalar) and value.value is None


def _is_concrete(value: Value) -> bool:
    if isinstance(value, Vertex):
        return isinstance(value.base, StructMarker | ListMarker)
    return isinstance(value, Scalar)
