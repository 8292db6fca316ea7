"""Documents compiled and evaluated: the interface of the language core.

`compile_document` resolves a document and returns its value, which is evaluated when
something asks for it. A `Value` can be walked, unified with others, checked and exported.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from connect.config.cue.ast import File
from connect.config.cue.budget import Budget
from connect.config.cue.closedness import NO_CLOSE
from connect.config.cue.core import Redact
from connect.config.cue.diagnosis import FaultCollector
from connect.config.cue.environment import Env
from connect.config.cue.errors import CueError, Fault, Path
from connect.config.cue.evaluator import Evaluator
from connect.config.cue.export import default_vertex, plain
from connect.config.cue.lattice import (
    Label,
    Scalar,
    label_text,
)
from connect.config.cue.parser import parse
from connect.config.cue.rendering import Writer
from connect.config.cue.resolver import resolve_document
from connect.config.cue.source import Source, Span
from connect.config.cue.terms import CompiledDocument
from connect.config.cue.values import Kind
from connect.config.cue.vertex import Status, Vertex

__all__ = ["Value", "compile_document", "compile_package"]

Compiled: TypeAlias = CompiledDocument


@dataclass(frozen=True, slots=True)
class _Whole:
    """A document's own value."""

    document: CompiledDocument


@dataclass(frozen=True, slots=True)
class _Below:
    """What is at a path below another value."""

    value: "_Recipe"
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class _Both:
    """Two values unified."""

    left: "_Recipe"
    right: "_Recipe"


_Recipe: TypeAlias = _Whole | _Below | _Both
"""How to make a value anew in another evaluation."""

_NO_STACK = (
    "the evaluation is started too deep within other calls: Python's stack has no room left for it"
)


def compile_package(
    source: Source | File,
    path: str,
    *,
    packages: "Mapping[str, Source | File | CompiledDocument] | None" = None,
) -> CompiledDocument:
    """Compile a package once, for any number of documents, in any thread.

    Args:
        source: text or tree of the package.
        path: its import path, such as ``inngest.com/defs/v1``.
        packages: those that it may import itself, by import path.

    Returns:
        what `compile_document` takes among its `packages`, or as the document.

    Raises:
        CueError: the source is no CUE, or names what does not exist.
    """
    return _compiled(source, _compiled_packages(packages or {}), path)


def compile_document(
    source: Source | File | CompiledDocument,
    *,
    packages: "Mapping[str, Source | File | CompiledDocument] | None" = None,
    budget: Budget | None = None,
    redact: Redact | None = None,
) -> "Value":
    """Compile a document and return its value, not yet evaluated.

    Args:
        source: its text or tree, or what `compile_package` returned.
        packages: the user's packages that it may import, by import path; better compiled
            once than as sources each time. Builtin packages need not be given.
        budget: what evaluating it may take.
        redact: tells whether the value at a path must not be shown in messages.

    Raises:
        CueError: it is no CUE, or names what does not exist; conflicts are found later.
    """
    document = _compiled(source, _compiled_packages(packages or {}), "")
    return Value(_Whole(document), (), budget or Budget(), redact)


def _compiled_packages(
    packages: "Mapping[str, Source | File | CompiledDocument]",
) -> dict[str, CompiledDocument]:
    return {path: _compiled(source, {}, path) for path, source in packages.items()}


def _compiled(
    source: Source | File | CompiledDocument,
    packages: Mapping[str, CompiledDocument],
    path: str,
) -> CompiledDocument:
    if isinstance(source, CompiledDocument):
        return source
    file = parse(source) if isinstance(source, Source) else source
    return resolve_document(file, packages, path)


class Value:
    """A value of a document, evaluated when something asks for it.

    Values can be used from several threads: a value evaluates under a lock of its own,
    and shares with others only what never changes.

    Attributes:
        path: where it is in its document.
    """

    def __init__(self, recipe: _Recipe, path: Path, budget: Budget, redact: Redact | None) -> None:
        self.path = path
        self._recipe = recipe
        self._budget = budget
        self._redact = redact
        self._evaluator = Evaluator(budget, redact)
        self._lock = threading.RLock()
        self._root: Vertex | None = None
        self._labels: tuple[Label, ...] = ()

    def _part(self, vertex: Vertex, label: Label) -> "Value":
        """Return a part of this value, in the same evaluation."""
        part = Value.__new__(Value)
        part.path = (*self.path, label_text(label))
        part._recipe = _Below(self._recipe, (label,))
        part._budget = self._budget
        part._redact = self._redact
        part._evaluator = self._evaluator
        part._lock = self._lock
        part._root = vertex
        part._labels = ()
        return part

    def __repr__(self) -> str:
        return f"<Value {'.'.join(map(str, self.path)) or 'of a document'}>"

    @contextmanager
    def _evaluating(self) -> Iterator[Vertex]:
        """Hold the value's lock; yields its vertex.

        Raises:
            CueError: the caller has left too little of Python's stack.
        """
        evaluator = self._evaluator
        with self._lock:
            room = evaluator.stack.room
            try:
                if self._root is None:
                    self._root = _build(evaluator, self._recipe)
                yield self._root
            except RecursionError:
                raise evaluator.meter.exceeded(_NO_STACK) from None
            finally:
                evaluator.stack.room = room

    # Looking around

    @property
    def kind(self) -> Kind:
        """The kinds that it may be of; `Kind.BOTTOM` for an error."""
        with self._evaluating() as vertex:
            self._evaluator.unify(vertex, Status.CONJUNCTS)
            return Kind(default_vertex(vertex).kind & Kind.TOP.value)

    @property
    def spans(self) -> tuple[Span, ...]:
        """The places where it was written; that of a conjunct of its own first."""
        with self._evaluating() as vertex:
            self._evaluator.unify(vertex, Status.CONJUNCTS)
            vertex = default_vertex(vertex)
            spans = [term.span for _, term, _ in vertex.conjuncts if term.span is not None]
            base = vertex.base
            if isinstance(base, Scalar) and base.span is not None:
                spans.insert(0, base.span)
            return tuple(dict.fromkeys(spans))

    def lookup(self, *path: str | int) -> "Value | None":
        """Return the value at a path below this one, None if there is none.

        Args:
            path: labels and indexes. One that begins with ``#`` is a definition, with
                ``_`` a hidden field; if there is none of that name, a field quoted so.
        """
        value: Value | None = self
        for part in path:
            if value is None:
                return None
            value = value._child(part)
        return value

    def _child(self, part: str | int) -> "Value | None":
        with self._evaluating() as vertex:
            self._evaluator.unify(vertex, Status.CONJUNCTS)
            arcs = default_vertex(vertex).scope.arcs
            if isinstance(part, str) and part.startswith(("#", "_")):
                for label, arc in arcs.items():
                    if isinstance(label, tuple) and label[0] == part:
                        return self._part(arc, label)
            arc_found = arcs.get(part)
            return None if arc_found is None else self._part(arc_found, part)

    def fields(self, *, hidden: bool = False) -> "Iterator[tuple[str, Value]]":
        """Yield the fields of a struct with their labels, in order.

        Args:
            hidden: also hidden fields and definitions.
        """
        with self._evaluating() as vertex:
            self._evaluator.unify(vertex, Status.CONJUNCTS)
            arcs = list(default_vertex(vertex).scope.arcs.items())
        for label, arc in arcs:
            if isinstance(label, str) or (hidden and isinstance(label, tuple)):
                yield str(label_text(label)), self._part(arc, label)

    def elements(self) -> "Iterator[Value]":
        """Yield the elements of a list."""
        with self._evaluating() as vertex:
            self._evaluator.unify(vertex, Status.CONJUNCTS)
            arcs = list(default_vertex(vertex).scope.arcs.items())
        for label, arc in arcs:
            if isinstance(label, int):
                yield self._part(arc, label)

    def default(self) -> "Value":
        """Return the default of a disjunction; the value itself if it has none."""
        with self._evaluating() as vertex:
            self._evaluator.unify(vertex, Status.CONJUNCTS)
            chosen = default_vertex(vertex)
            if chosen is vertex:
                return self
            part = self._part(chosen, "")
            part.path = self.path
            part._recipe = self._recipe
            return part

    # Combining

    def unify(self, other: "Value") -> "Value":
        """Return the unification of two values, also of different documents.

        Both are evaluated anew: neither value changes. Where `other` is a definition, or
        part of one, the result is closed as it says. Budget, path and what must not be
        shown are those of this value.
        """
        return Value(_Both(self._recipe, other._recipe), self.path, self._budget, self._redact)

    # Results

    def faults(self, *, concrete: bool = True) -> tuple[Fault, ...]:
        """Return everything that is wrong with the value, in the order of the document.

        Args:
            concrete: regular fields that are not final and concrete are wrong too.
        """
        try:
            with self._evaluating() as vertex:
                self._evaluator.finalize(vertex)
                evaluator = self._evaluator
                collector = FaultCollector(
                    self._redact, evaluator.secrets, evaluator.sources, concrete=concrete
                )
                return collector.collect(vertex, self.path)
        except CueError as error:
            return error.faults

    def validate(self, *, concrete: bool = True) -> None:
        """Check the value; see `faults`.

        Raises:
            CueError: with all faults, if there are any.
        """
        found = self.faults(concrete=concrete)
        if found:
            raise CueError(found)

    def export(self) -> Any:
        """Return the value as plain data: dict, list, str, int, Decimal, bool or None.

        Bytes become base64. Fields are in the order of the document.

        Raises:
            CueError: the value is wrong, or not final and concrete.
        """
        self.validate()
        with self._evaluating() as vertex:
            return plain(vertex)

    def text(self) -> str:
        """Return the value as CUE, evaluated as far as it is known."""
        with self._evaluating() as vertex:
            self._evaluator.finalize(vertex)
            return Writer(short=False).text(default_vertex(vertex))


def _build(evaluator: Evaluator, recipe: _Recipe) -> Vertex:
    """Make the vertex of a value in an evaluation."""
    stack = evaluator.stack
    if not stack.room:
        return stack.call(_build, evaluator, recipe)
    stack.room -= 1
    match recipe:
        case _Whole(document):
            vertex = evaluator.root(document)
        case _Below(inner, labels):
            vertex = _build(evaluator, inner)
            for label in labels:
                evaluator.unify(vertex, Status.CONJUNCTS)
                vertex = default_vertex(vertex).scope.arcs[label]
        case _Both(left, right):
            vertex = Vertex()
            env = Env(None, vertex)
            for part in (left, right):
                found = _build(evaluator, part)
                evaluator.apply_constraints(found)
                close = NO_CLOSE.definition() if _defines(part) else NO_CLOSE
                vertex.conjuncts.append((env, found, close))
    stack.room += 1
    return vertex


def _defines(recipe: _Recipe) -> bool:
    """Tell whether a value is a definition or in one."""
    while isinstance(recipe, _Below):
        for label in recipe.labels:
            if isinstance(label, tuple) and label[0].lstrip("_").startswith("#"):
                return True
        recipe = recipe.value
    return False
