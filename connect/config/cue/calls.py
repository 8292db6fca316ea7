"""Calls of functions ("Calls", "Builtin functions"), and validators made by them.

Arguments travel as Python's own values, see `values.py`; what is not concrete in them is
a vertex that functions only hand on.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from connect.config.cue.closedness import NO_CLOSE, is_closed_struct
from connect.config.cue.core import Core
from connect.config.cue.environment import Env
from connect.config.cue.lattice import (
    BOOL,
    FLOAT,
    INT,
    Bottom,
    FunctionValue,
    Intrinsic,
    ListMarker,
    Scalar,
    StructMarker,
    Validator,
    Value,
    kind_text,
)
from connect.config.cue.source import Source, Span
from connect.config.cue.terms import CallTerm, ConjunctionTerm, DisjunctionTerm
from connect.config.cue.values import Builtin, BuiltinError, Kind, NotConcrete, TooLarge
from connect.config.cue.vertex import Conjunct, Status, Vertex, structural_cycle

__all__ = ["Calls"]

_COMPOUND = (StructMarker, ListMarker)

_BUILTIN = Span(Source("<builtin>", ""), 0, 0)


class Calls(Core):
    """Calls functions ("Calls")."""

    def call(self, env: Env, term: CallTerm) -> Value:
        """Evaluate ``function(arguments)`` ("Calls")."""
        function = self.evaluate(env, term.function)
        if isinstance(function, Bottom):
            return function
        name = "a value" if term.function.span is None else term.function.span.text
        if not isinstance(function, FunctionValue):
            return self.failure(
                f"cannot call non-function {name} (type {kind_text(function.kind)})",
                spans=(term.function.span,),
            )
        arguments: list[Value] = []
        for argument in term.arguments:
            value = self.default_of(self.evaluate(env, argument), argument.span)
            if isinstance(value, Vertex):
                value = self.value_of(value)
            if isinstance(value, Bottom):
                return value
            arguments.append(value)
        builtin = function.builtin
        if isinstance(builtin, Intrinsic):
            return self._intrinsic(builtin, arguments, term)
        wanted = len(builtin.parameters)
        if len(arguments) == wanted - 1 and builtin.result == Kind.BOOL:
            return Validator(builtin, tuple(arguments), term.span)
        if len(arguments) != wanted:
            return self._wrong_count(builtin.name, len(arguments), wanted, term)
        return self._invoke(builtin, arguments, term.span)

    def _wrong_count(self, name: str, count: int, wanted: int, term: CallTerm) -> Bottom:
        """A call has as many arguments as the function ("Calls")."""
        amount = "too many" if count > wanted else "not enough"
        return self.failure(
            f"{amount} arguments in call to {name} (have {count}, want {wanted})",
            spans=(term.span,),
        )

    def satisfies(self, builtin: Builtin, arguments: Sequence[Value], span: Span | None) -> Value:
        """Call a validator with the value that it checks ("Builtin functions")."""
        return self._invoke(builtin, arguments, span)

    def _invoke(self, builtin: Builtin, arguments: Sequence[Value], span: Span | None) -> Value:
        """Call a function; what it refuses is an error ("Calls")."""
        values: list[Any] = []
        for index, argument in enumerate(arguments):
            value = self._argument(builtin, index, argument)
            if isinstance(value, Bottom):
                return value
            values.append(value)
        keywords = {"limit": self.meter.budget.size} if builtin.bounded else {}
        if builtin.apply:
            values.insert(0, self._unified)
        try:
            result = builtin.function(*values, **keywords)
        except NotConcrete as error:
            return self.waiting(f"error in call to {builtin.name}: {error}", spans=(span,))
        except TooLarge as error:
            raise self.exceeded(f"error in call to {builtin.name}: {error}") from None
        except BuiltinError as error:
            return self.failure(f"error in call to {builtin.name}: {error}", spans=(span,))
        return self.from_python(result, span)

    def _argument(self, builtin: Builtin, index: int, value: Value) -> Any:
        """Return an argument as the function takes it, or why that is not possible ("Calls")."""
        wanted = builtin.parameters[index].value
        kind = value.kind
        if not kind & wanted:
            return self.failure(
                "cannot use ",
                value,
                f" (type {kind_text(kind)}) as {kind_text(wanted)} in argument"
                f" {index + 1} to {builtin.name}",
                spans=(value.span,),
            )
        if isinstance(value, Scalar):
            return value.value
        base = value.base if isinstance(value, Vertex) else None
        if isinstance(value, Vertex) and isinstance(base, _COMPOUND):
            anything = wanted == Kind.TOP.value
            if not (anything and isinstance(base, ListMarker) and base.is_open):
                if builtin.apply and anything:
                    return value
                return self.to_python(value, opaque=builtin.open_list)
        return self.waiting(
            "non-concrete argument ", value, f" to {builtin.name}", spans=(value.span,)
        )

    def _wrapped(self, value: Value) -> Vertex:
        """A vertex for a value that functions only hand on ("Calls")."""
        vertex = Vertex(self.vertex)
        conjunct: Any = (Env(None, vertex), value, NO_CLOSE)
        vertex.conjuncts.append(conjunct)
        self.unify(vertex, Status.CONJUNCTS)
        return vertex

    # Values in and out

    def to_python(self, value: Value, *, opaque: bool) -> Any:
        """Return a list or struct as Python's own value ("Calls").

        Args:
            opaque: leave what is not concrete as a vertex, rather than return why it is
                not.
        """
        if isinstance(value, Scalar):
            return value.value
        if not isinstance(value, Vertex) or not isinstance(value.base, _COMPOUND):
            return value if isinstance(value, Vertex) else self._wrapped(value)
        items: dict[Any, Any] = {}
        for label, arc in value.scope.arcs.items():
            if isinstance(label, tuple):
                continue
            item = self._item(arc, opaque=opaque)
            if isinstance(item, Bottom):
                return item
            items[label] = item
        return list(items.values()) if isinstance(value.base, ListMarker) else items

    def _item(self, arc: Vertex, *, opaque: bool) -> Any:
        """A field or element as Python's own value ("Calls")."""
        self.meter.step()
        self.meter.enter()
        self.unify(arc, Status.CONJUNCTS)
        state = arc.state
        if state is not None and state.endless:
            self.meter.leave()
            return structural_cycle(arc.span)
        found = self.default_of(self.value_of(arc), None)
        if isinstance(found, Vertex):
            found = self.value_of(found)
        item: Any
        if isinstance(found, Scalar):
            item = found.value
        elif isinstance(found, Vertex) and isinstance(found.base, StructMarker | ListMarker):
            stack = self.stack
            if stack.room:
                stack.room -= 1
                item = self.to_python(found, opaque=opaque)
                stack.room += 1
            else:
                item = stack.call(partial(self.to_python, found, opaque=opaque))
        elif isinstance(found, Bottom) and not (found.incomplete and opaque):
            item = found
        elif opaque:
            item = arc
        else:
            item = self.waiting("non-concrete value ", found, spans=(arc.span,))
        self.meter.leave()
        return item

    def from_python(self, value: Any, span: Span | None) -> Value:
        """Return what a function returned as a value ("Calls")."""
        if isinstance(value, Vertex):
            return value
        if value is None or isinstance(value, bool | int | Decimal | str | bytes):
            return Scalar(value, span, _number_kind(value))
        stack = self.stack
        if not stack.room:
            return stack.call(self.from_python, value, span)
        stack.room -= 1
        result = Vertex(self.vertex)
        env = Env(None, result)
        if isinstance(value, list):
            result.base = ListMarker(is_open=False)
            pairs: list[tuple[Any, Any]] = list(enumerate(value))
        else:
            result.base = StructMarker()
            pairs = list(value.items())
        for label, item in pairs:
            self.meter.step()
            conjunct: Any = (env, self.from_python(item, span), NO_CLOSE)
            result.put(label, Vertex(result, label, [conjunct]))
        result.status = Status.CONJUNCTS
        stack.room += 1
        return result

    def _unified(self, template: Any, value: Any) -> Any:
        """Unify two values for a function (`Builtin.apply`) ("Unification").

        Raises:
            NotConcrete: it cannot be told yet whether they do.
            BuiltinError: they conflict.
        """
        result = Vertex(self.vertex)
        env = Env(None, result)
        for part in (template, value):
            item: Any = self.from_python(part, None)
            if isinstance(item, Vertex):
                result.conjuncts += _conjuncts_of(item, env)
            else:
                result.conjuncts.append((env, item, NO_CLOSE))
        self.finalize(result)
        found: Any = self.value_of(result)
        if not isinstance(found, Bottom):
            found = result.child_error or self.to_python(found, opaque=True)
        if isinstance(found, Bottom):
            if found.incomplete:
                raise NotConcrete("the values are not concrete")
            raise BuiltinError("the values conflict")
        return found

    # Functions that unify

    def _intrinsic(self, intrinsic: Intrinsic, arguments: list[Value], term: CallTerm) -> Value:
        """Call `and`, `or` or `close` ("Builtin functions")."""
        if len(arguments) != 1:
            return self._wrong_count(intrinsic.value, len(arguments), 1, term)
        argument = arguments[0]
        wanted = StructMarker if intrinsic is Intrinsic.CLOSE else ListMarker
        if not argument.kind & wanted.kind:
            return self.failure(
                "cannot use ",
                argument,
                f" (type {kind_text(argument.kind)}) as {kind_text(wanted.kind)} in argument 1"
                f" to {intrinsic.value}",
                spans=(term.arguments[0].span,),
            )
        if not isinstance(argument, Vertex) or not isinstance(argument.base, wanted):
            return self.waiting(
                "non-concrete argument ", argument, f" to {intrinsic.value}", spans=(term.span,)
            )
        if intrinsic is Intrinsic.CLOSE:
            return _closed(argument)
        if argument.label is None:
            # A list of the call's own, not a field's: what is wrong in it is no disjunct's.
            self.finalize(argument)
            if argument.child_error is not None:
                return argument.child_error
        return self._joined(intrinsic, argument.elements(), term)

    def _joined(self, intrinsic: Intrinsic, items: list[Vertex], term: CallTerm) -> Value:
        """`and` and `or`: the unification or disjunction of a list's elements
        ("Builtin functions").
        """
        result = Vertex(self.vertex)
        env = Env(None, result)
        joined: Any
        if intrinsic is Intrinsic.AND:
            joined = ConjunctionTerm(term.span, tuple(items))
        elif items:
            joined = DisjunctionTerm(term.span, tuple((item, False) for item in items), False)
        else:
            return self.waiting("empty list in call to or", spans=(term.span,))
        result.conjuncts.append((env, joined, NO_CLOSE))
        self.unify(result, Status.CONJUNCTS)
        return result


def _conjuncts_of(value: Vertex, env: Env) -> list[Conjunct]:
    """Return what a value brings into another one, closed as it is itself ("Closed structs")."""
    close = NO_CLOSE.definition() if value.closed else NO_CLOSE
    if value.home is value:
        return [(env, value, close)]
    # A disjunct that was chosen: the conjuncts of its home would bring the others back.
    if isinstance(value.base, StructMarker) and value.structs:
        return [
            (info.env.up or env, info.term, info.close if info.close.defines else close)
            for info in value.structs
        ]
    data = Vertex(value.parent)
    data.base, data.arcs, data.status = value.base, value.arcs, value.status
    return [(env, data, close)]


def _closed(argument: Vertex) -> Vertex:
    """`close`: the struct itself takes no other fields, what is in it may ("Closed structs")."""
    if is_closed_struct(argument):
        return argument
    result = Vertex(argument.parent, None, argument.conjuncts)
    result.arcs = argument.arcs
    result.structs = argument.structs
    result.constrained = argument.constrained
    result.base = StructMarker(needs_close=True)
    result.status = Status.CONJUNCTS
    return result


def _number_kind(value: Any) -> int | None:
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return INT
    return FLOAT if isinstance(value, Decimal) else None
