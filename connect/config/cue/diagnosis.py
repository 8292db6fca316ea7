"""What is wrong in a finished graph, as faults with paths and places.

A value is final and concrete if every regular field is; hidden fields and definitions may
stay incomplete, but an error in them is one of the document.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from connect.config.cue.core import Redact
from connect.config.cue.errors import Fault, FaultKind, Path, path_text
from connect.config.cue.export import default_vertex
from connect.config.cue.expression_terms import nearest
from connect.config.cue.lattice import (
    Bottom,
    Code,
    Disjunction,
    FunctionValue,
    ListMarker,
    Nearest,
    PackageValue,
    Scalar,
    StructMarker,
    TypeValue,
    kind_text,
    label_text,
)
from connect.config.cue.rendering import MASK, Writer
from connect.config.cue.source import Source, Span
from connect.config.cue.vertex import Vertex

__all__ = ["FaultCollector"]

_KINDS = {
    Code.EVALUATION: FaultKind.EVALUATION,
    Code.STRUCTURAL_CYCLE: FaultKind.CYCLE,
    Code.INCOMPLETE: FaultKind.INCOMPLETE,
    Code.CYCLE: FaultKind.CYCLE,
}
_MOST_LISTED = 10
_DEEPEST_REASON = 20  # disjunctions in one another of which reasons are told


class _Place(NamedTuple):
    """A vertex on the way down, and what is known of its surroundings.

    Attributes:
        concrete: what is not concrete is wrong here.
        outer: the nearest place around it that is in the document itself.
    """

    vertex: Vertex
    path: Path
    concrete: bool
    outer: Span | None


class FaultCollector:
    """Finds everything that is wrong below a vertex that was finalized.

    Args:
        redact: tells whether the value at a path must not be shown.
        secrets: texts that must not be shown wherever they are.
        sources: of the documents themselves; places in them are told before those in
            packages.
        concrete: also what is not concrete is wrong.
    """

    def __init__(
        self,
        redact: Redact | None,
        secrets: Collection[str],
        sources: Collection[Source],
        *,
        concrete: bool,
    ) -> None:
        self._writer = Writer(redact, secrets)
        self._sources = sources
        self._concrete = concrete
        self._faults: list[Fault] = []
        self._errors: dict[int, tuple[Bottom, _Place]] = {}

    def collect(self, root: Vertex, path: Path) -> tuple[Fault, ...]:
        """Return the faults in the order of the document.

        Args:
            path: of the root.
        """
        pending = [_Place(root, path, self._concrete, None)]
        while pending:
            pending += reversed(self._visit(pending.pop()))
        for error, place in self._errors.values():
            message = self._message(error, place.path)
            self._add(_KINDS[error.code], message, place, error.spans)
        return tuple(sorted(self._faults, key=self._order))

    def _add(self, kind: FaultKind, message: str, place: _Place, spans: Sequence[Span]) -> None:
        own = [span for span in spans if span.source in self._sources]
        if not own and place.outer is not None:
            own = [place.outer]
        others = [span for span in spans if span.source not in self._sources]
        self._faults.append(Fault(kind, message, place.path, (*own, *others)))

    def _order(self, fault: Fault) -> tuple[bool, int]:
        if not fault.spans:
            return (False, 0)
        first = fault.spans[0]
        return (first.source not in self._sources, first.start)

    def _visit(self, place: _Place) -> list[_Place]:
        """Note what is wrong with one vertex; return what is below it.

        Below an erroneous vertex it says nothing more to find values that are missing.
        """
        vertex = default_vertex(place.vertex)
        spans = _places(vertex)
        outer = next((span for span in spans if span.source in self._sources), place.outer)
        place = place._replace(outer=outer)
        strict = place.concrete
        for error in vertex.errors:
            if place.concrete or not error.incomplete:
                self._note(error, place)
            strict = strict and error.incomplete
        if place.concrete and not vertex.errors:
            message = self._missing(vertex, place.path)
            if message is not None:
                self._add(FaultKind.INCOMPLETE, message, place, spans)
        return [
            _Place(
                arc,
                (*place.path, label_text(label)),
                strict and not isinstance(label, tuple),
                outer,
            )
            for label, arc in vertex.arcs.items()
        ]

    def _note(self, error: Bottom, place: _Place) -> None:
        """Note an error once, where it arose rather than where it was referred to."""
        known = self._errors.get(id(error))
        if known is None or error.path == place.vertex.path:
            self._errors[id(error)] = (error, place)

    def _message(self, error: Bottom, path: Path, depth: int = 0) -> str:
        """Write an error, with the reasons of each disjunct on lines of their own."""
        lines = ["".join(self._part(part, path) for part in error.parts)]
        reasons: dict[str, None] = {}
        for cause in error.causes if depth < _DEEPEST_REASON else ():
            inside = _below(cause, error)
            where = f"{path_text(inside)}: " if inside else ""
            reasons[where + self._message(cause, (*path, *inside), depth + 1)] = None
        for reason in list(reasons)[:_MOST_LISTED]:
            lines += [f"  {line}" for line in reason.splitlines()]
        untold = len(reasons) - _MOST_LISTED
        if untold > 0:
            lines.append(f"  and {untold} more")
        return "\n".join(lines)

    def _part(self, part: Any, path: Path) -> str:
        if isinstance(part, str):
            return MASK if self._writer.mentions_secret(part) else part
        if isinstance(part, Nearest):
            return nearest(part.name, part.known)
        return self._writer.text(part, path)

    def _missing(self, vertex: Vertex, path: Path) -> str | None:
        """Say what keeps a value from being concrete."""
        base = vertex.base
        match base:
            case Disjunction(values=values, defaults=defaults):
                shown = values[:defaults] if defaults else values
                texts = [self._part(item, path) for item in shown]
                what = "defaults" if defaults else "values"
                count = f"{len(texts)} {what} are possible"
                return f"incomplete value: {count}: {_listed(texts)}"
            case TypeValue(kind=kind):
                return f"incomplete value {kind_text(kind)}: expected a concrete {_plain(kind)}"
            case Scalar() | StructMarker() | ListMarker() | Bottom():
                return None
            case FunctionValue() | PackageValue():
                return f"{self._part(base, path)} is no data; a function has to be called"
            case _:
                text = "_" if base is None else self._part(base, path)
                return f"incomplete value {text}: expected a concrete value"


def _below(cause: Bottom, error: Bottom) -> Path:
    """Return where a disjunct failed, seen from the disjunction."""
    if cause.path is None or error.path is None:
        return ()
    return cause.path[len(error.path) :]


def _listed(texts: list[str]) -> str:
    if len(texts) > _MOST_LISTED:
        texts = [*texts[:_MOST_LISTED], f"{len(texts) - _MOST_LISTED} more"]
    return f"{', '.join(texts[:-1])} or {texts[-1]}"


def _plain(kind: int) -> str:
    text = kind_text(kind)
    return "value" if "|" in text or text == "_" else text


def _places(vertex: Vertex) -> tuple[Span, ...]:
    spans = [term.span for _, term, _ in vertex.conjuncts if term.span is not None]
    return tuple(dict.fromkeys(spans))
