"""Loading the configuration: the document's evaluation, and what results from it.

Variables in the text are expanded first. A document that begins with ``{`` is unified with
``#Config``; of any other, the field ``config`` or else all of it is the configuration. Its
value must be final and concrete; then it becomes frozen objects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from connect.config.alternatives import refined
from connect.config.configuration import Configuration
from connect.config.cue import Budget, Value
from connect.config.cue import errors as cue
from connect.config.cue.ast import File
from connect.config.cue.errors import CueError, Fault, FaultKind
from connect.config.cue.parser import parse
from connect.config.cue.source import Source, Span
from connect.config.decode import CheckURL, decode
from connect.config.documents import (
    CONFIGURATION,
    begins_with_brace,
    definition,
    evaluated,
    placed,
    places,
    wrapped,
)
from connect.config.effects import Note, effects_of
from connect.config.expansion import Expansion, expand
from connect.config.faults import nearest
from connect.config.finding import Document, Read, find_document, read_text
from connect.config.layers import Given
from connect.config.redaction import is_secret, masked_message, masked_text, secret_texts
from connect.config.unknown_names import besides, opened

__all__ = [
    "Evaluated",
    "Loaded",
    "decode_configuration",
    "evaluate_configuration",
    "load_configuration",
]


def _start(fault: Fault) -> int:
    return fault.spans[0].start if fault.spans else 0


class _Places:
    """From places in the expanded text to places in the text as it was written.

    What is quoted of that text has its secrets overwritten.
    """

    def __init__(self, name: str, expansion: Expansion, file: File | None, source: Source) -> None:
        self._expansion = expansion
        self._source = source
        self._shown = Source(name, masked_text(expansion, file))
        self._secrets = secret_texts(expansion, file)

    @property
    def secrets(self) -> frozenset[str]:
        """The secrets that the document's text contains."""
        return self._secrets

    def masked(self, error: CueError) -> CueError:
        """Return an error, with its places as they are shown, without secrets in its messages."""
        return CueError(
            [
                replace(fault, message=masked_message(fault.message, self._secrets))
                for fault in error.faults
            ]
        )

    def beside(self, error: CueError, further: Sequence[Fault]) -> CueError:
        """Return an error, as it is shown, with faults that stand behind unknown names."""
        others = self.masked(CueError(list(besides(error.faults, further, self._shown))))
        return CueError(sorted((*error.faults, *others.faults), key=_start))

    def span(self, span: Span) -> Span:
        if span.source is not self._source:
            return span
        return Span(self._shown, *self._expansion.original_range(span.start, span.end))

    def written(self, span: Span) -> bool:
        """Tell whether a place is in the document, rather than in a definition."""
        return span.source is self._source

    def error(self, error: CueError, root: cue.Path, whole: Value | None) -> CueError:
        """Return an error as it is shown.

        Args:
            root: the path of the configuration in the document.
            whole: the document's value; None when it has none.
        """
        return CueError([self._fault(fault, root, whole) for fault in error.faults])

    def _fault(self, fault: Fault, root: cue.Path, whole: Value | None) -> Fault:
        fault = placed(fault, whole, self.written)
        message = masked_message(fault.message, self._secrets)
        if fault.kind is FaultKind.SYNTAX and fault.spans:
            message = self._of_variable(message, fault.spans[0])
        path = fault.path[len(root) :] if fault.path[: len(root)] == root else fault.path
        spans = tuple(self.span(span) for span in fault.spans)
        return replace(fault, message=message, path=path, spans=spans)

    def _of_variable(self, message: str, span: Span) -> str:
        """Say which variable a syntax error comes from: the text shows only its name."""
        if not self.written(span):
            return message
        inside = self._expansion.substitution_at(span.start)
        if inside is not None:
            return f"the value of {inside.name} cannot stand here"
        before = self._expansion.nothing_before(span.start)
        if before is not None and before.name:
            return f"{message}; {before.name} is empty or not set"
        return message


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A configuration document's value, final and concrete.

    Attributes:
        document: where it came from.
        whole: the document's value.
        value: the value of the configuration.
        root: the path of the configuration in the document.
        exported: the value as plain Python objects; a dict unless the document's
            configuration is no struct, which only decoding refuses.
        checked: whether the document itself unified it with ``#Config``.
        file: the document's syntax tree.
        check_url: looks at the URL of a Redis that the configuration names.
    """

    document: Document
    whole: Value
    value: Value
    root: cue.Path
    exported: Any
    checked: bool
    file: File
    check_url: CheckURL | None
    _places: _Places

    @property
    def secrets(self) -> frozenset[str]:
        """The secrets that the document's text contains; they may stand in any value."""
        return self._places.secrets

    def decode(self, exported: Mapping[str, Any]) -> Configuration:
        """Make the objects of a value of this configuration.

        Raises:
            CueError: values that cannot be used, at their places, without secrets.
        """
        try:
            return decode(exported, self.spans, check_url=self.check_url)
        except CueError as error:
            raise self._places.masked(error) from None

    def error(self, error: CueError) -> CueError:
        """Return an error with its places in the document as it was written."""
        return self._places.error(error, self.root, self.whole)

    def spans(self, path: cue.Path) -> tuple[Span, ...]:
        """Return where the document writes the value at a path, or the nearest one around."""
        found = places(self.value, path, self._places.written)
        return tuple(self._places.span(span) for span in found)

    def written(self, path: cue.Path) -> Span | None:
        """Return where the document itself gives the value at a path, if it does."""
        value = self.value.lookup(*path)
        if value is None:
            return None
        found = [span for span in value.spans if self._places.written(span)]
        return self._places.span(found[0]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration, loaded.

    Attributes:
        exported: its value, with the defaults of ``#Config`` filled in.
        layer: the settings of this service that it gives.
        notes: what it says without effect on this service.
    """

    document: Document
    evaluated: Evaluated
    exported: dict[str, Any] = field(repr=False)
    configuration: Configuration
    layer: Mapping[str, Given]
    notes: tuple[Note, ...]


def evaluate_configuration(
    document: Document,
    *,
    environment: Mapping[str, str],
    budget: Budget | None = None,
    check_url: CheckURL | None = None,
) -> Evaluated:
    """Expand, parse and evaluate a configuration document.

    A document that begins with ``{`` is unified with ``#Config``; of any other the field
    ``config`` is taken as it is or, without one, the whole document.

    Args:
        environment: the variables to expand.
        budget: what the evaluation may cost; None for the usual.
        check_url: looks at the URL of the Redis that the configuration names for state; None
            leaves it unchecked.

    Raises:
        CueError: everything that is wrong, at its place in the document as it was written.
    """
    return _evaluate(document, expand(document.text, environment), budget, check_url)


def _evaluate(
    document: Document,
    expansion: Expansion,
    budget: Budget | None,
    check_url: CheckURL | None,
) -> Evaluated:
    # An empty document is the empty configuration, with all its defaults.
    text = expansion.text if expansion.text.strip() else "{}"
    source = Source(document.name, text)
    checked = begins_with_brace(text)
    root: cue.Path = (CONFIGURATION.field,)
    file: File | None = None
    whole: Value | None = None
    value: Value | None = None
    try:
        file = parse(source)
        document_file = wrapped(file, CONFIGURATION) if checked else file
        whole = evaluated(document_file, budget=budget, redact=is_secret)
        value = whole.lookup(CONFIGURATION.field)
        if value is None:
            value, root = whole, ()
        exported = value.export()
    except CueError as error:
        known = opened(source, error.faults)
        if file is not None and root:
            meant = refined(
                error.faults, file, CONFIGURATION, root, budget=budget, redact=is_secret
            )
            error = CueError(meant)
        shown = _Places(document.name, expansion, file, source)
        error = shown.error(error, root, whole)
        if known is not None:
            expansion = Expansion(expansion.original, known.text, expansion.substitutions)
            further = _all_faults(document, expansion, budget, check_url)
            error = shown.beside(error, further)
        spent = any(fault.kind is FaultKind.BUDGET for fault in error.faults)
        if file is not None and whole is not None and value is not None and not spent:
            given = Evaluated(document, whole, value, root, None, checked, file, check_url, shown)
            if not checked:
                value = value.unify(definition(CONFIGURATION))
                error = _with_schema(error, value, given)
            error = _with_decoding(error, value, given)
        raise error from None
    shown = _Places(document.name, expansion, file, source)
    return Evaluated(document, whole, value, root, exported, checked, file, check_url, shown)


def _all_faults(
    document: Document,
    expansion: Expansion,
    budget: Budget | None,
    check_url: CheckURL | None,
) -> Sequence[Fault]:
    """Return what is wrong with a document, by the schema and beyond it."""
    try:
        decode_configuration(_evaluate(document, expansion, budget, check_url))
    except CueError as error:
        return error.faults
    return ()


def decode_configuration(given: Evaluated) -> Loaded:
    """Make the objects of a configuration from its value.

    A document that did not unify its configuration with ``#Config`` is checked against it
    now: what it leaves out has its default, and unknown fields are refused.

    Raises:
        CueError: everything that is wrong, at its place in the document as it was written.
    """
    exported = given.exported
    if not isinstance(exported, dict):
        message = "a configuration is a struct with fields such as log and connect"
        fault = Fault(FaultKind.EVALUATION, message, given.root, given.value.spans)
        raise given.error(CueError([fault]))
    if not given.checked:
        unified = given.value.unify(definition(CONFIGURATION))
        try:
            exported = unified.export()
        except CueError as error:
            raise _with_decoding(_of_schema(error, given), unified, given) from None
    configuration = given.decode(exported)
    effects = effects_of(configuration, given.written)
    return Loaded(
        document=given.document,
        evaluated=given,
        exported=exported,
        configuration=configuration,
        layer=effects.layer,
        notes=effects.notes,
    )


def _of_schema(error: CueError, given: Evaluated) -> CueError:
    """Return what is wrong with a configuration by the schema, as it is shown."""
    meant = refined(error.faults, given.file, CONFIGURATION, given.root, redact=is_secret)
    return given.error(CueError([_meant_as_field(fault) for fault in meant]))


def _with_schema(error: CueError, value: Value, given: Evaluated) -> CueError:
    """Add to the faults of a configuration what the schema refuses elsewhere in it.

    Args:
        value: the configuration, unified with the schema.
    """
    try:
        value.export()
    except CueError as further:
        return _in_order(error, _of_schema(further, given).faults)
    return error


def _in_order(error: CueError, further: Sequence[Fault]) -> CueError:
    """Return an error with further faults, except for those where there is one already.

    What is wrong with a part may only be so because of what is wrong around or within it. But
    what conflicts with an incomplete value would do so with any that completes it.
    """
    faults = list(error.faults)
    faults += [
        each
        for each in further
        if not any(
            fault.path[: len(each.path)] == each.path[: len(fault.path)]
            for fault in error.faults
            if fault.kind is not FaultKind.INCOMPLETE or each.kind is FaultKind.INCOMPLETE
        )
    ]
    return CueError(sorted(faults, key=_start))


def _with_decoding(error: CueError, value: Value, given: Evaluated) -> CueError:
    """Add to the faults of a configuration what decoding refuses in its other sections."""
    sound: dict[str, Any] = definition(CONFIGURATION).export()
    for name, section in _fields(value):
        try:
            sound[name] = section.export()
        except CueError:
            parts = {part: _exported(inner) for part, inner in _fields(section)}
            given_parts = {part: inner for part, inner in parts.items() if inner is not None}
            sound[name] = sound.get(name, {}) | given_parts
    try:
        given.decode(sound)
    except CueError as further:
        return _in_order(error, further.faults)
    return error


def _fields(value: Value) -> list[tuple[str, Value]]:
    try:
        return list(value.fields())
    except CueError:
        return []


def _exported(value: Value) -> Any:
    try:
        return value.export()
    except CueError:
        return None


def _meant_as_field(fault: Fault) -> Fault:
    """Say of an unknown field that it probably is the field that holds a configuration."""
    field = CONFIGURATION.field
    unknown = len(fault.path) == 1 and fault.message == f"field not allowed: {fault.path[0]}"
    if not unknown or nearest(str(fault.path[0]), [field]) is None:
        return fault
    return replace(fault, message=f'{fault.message}; did you mean "{field}"?')


def load_configuration(
    path: str | None,
    *,
    environment: Mapping[str, str],
    read: Read = read_text,
    budget: Budget | None = None,
) -> Loaded:
    """Find, evaluate and decode the configuration.

    Args:
        path: an explicit path; None leaves it to the other loading rules.
        environment: the environment variables.
        read: returns a file's text, or None when there is no such file.
        budget: what the evaluation may cost; None for the usual.

    Raises:
        ConfigurationError: a file that is missing or cannot be read.
        CueError: everything that is wrong with the document.
    """
    document = find_document(path, environment=environment, read=read)
    return decode_configuration(
        evaluate_configuration(document, environment=environment, budget=budget)
    )
