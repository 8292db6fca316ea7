"""Documents of the two kinds: how a text becomes a value of its definition.

A configuration is unified with ``#Config`` of ``inngest.com/defs/config``, a function with
``#Function`` of ``inngest.com/defs/v1``. What stands around the document in the end is put
into its syntax tree, so that places in it stay those of the text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from connect.config.cue import (
    Budget,
    CompiledDocument,
    CueError,
    Fault,
    FaultKind,
    Source,
    Span,
    Value,
    ast,
    compile_document,
    compile_package,
)
from connect.config.cue import Path as ValuePath
from connect.config.schema import CONFIG_PATH, FUNCTION_PATH, schema_source

__all__ = [
    "CONFIGURATION",
    "FUNCTION",
    "DocumentKind",
    "begins_with_brace",
    "bound",
    "definition",
    "evaluated",
    "placed",
    "places",
    "wrapped",
]


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """What a document is to be.

    Attributes:
        field: the field of a CUE document that holds it.
        definition: the name of its definition.
        path: the import path of the definition's package.
        alias: the name of that package within a document that is only a struct.
    """

    field: str
    definition: str
    path: str
    alias: str


CONFIGURATION = DocumentKind("config", "#Config", CONFIG_PATH, "c")
FUNCTION = DocumentKind("function", "#Function", FUNCTION_PATH, "defs")

# A name that no document can write, for an import besides its own.
_UNWRITABLE = " defs"


def begins_with_brace(text: str) -> bool:
    """Tell whether a document is only a struct; a comment before it prevents that."""
    return text.lstrip().startswith("{")


def wrapped(file: ast.File, kind: DocumentKind) -> ast.File:
    """Return a document that begins with a brace as a field unified with its definition.

    ``{…}`` becomes ``field: package.#Definition & {…}``; what follows the struct stays
    what it is, a declaration besides the field.
    """
    first = file.body.declarations[0]
    assert isinstance(first, ast.Embedding)
    place = _place(kind)
    field = ast.Field(
        first.span,
        ast.NameLabel(place, kind.field),
        _conjoined(first.value, _definition(kind, kind.alias)),
    )
    declarations = (field, *file.body.declarations[1:])
    return _importing(file, kind, kind.alias, declarations)


def bound(file: ast.File, kind: DocumentKind) -> ast.File:
    """Return a document with its field unified with the definition, there or not."""
    place = _place(kind)
    field = ast.Field(place, ast.NameLabel(place, kind.field), _definition(kind, _UNWRITABLE))
    return _importing(file, kind, _UNWRITABLE, (*file.body.declarations, field))


def _importing(
    file: ast.File, kind: DocumentKind, name: str, declarations: tuple[ast.Declaration, ...]
) -> ast.File:
    place = _place(kind)
    return replace(
        file,
        imports=(*file.imports, ast.Import(place, kind.path, ast.Ident(place, name))),
        body=replace(file.body, declarations=declarations),
    )


def _definition(kind: DocumentKind, name: str) -> ast.Expr:
    place = _place(kind)
    return ast.Selector(place, ast.Ident(place, name), kind.definition, quoted=False)


def _conjoined(value: ast.Expr, definition: ast.Expr) -> ast.Expr:
    """Put ``definition &`` before an expression, where its text would stand.

    ``&`` binds more tightly than ``|``, so that it belongs to the first disjunct.
    """
    if isinstance(value, ast.Binary) and value.operator == "|":
        return replace(value, left=_conjoined(value.left, definition))
    return ast.Binary(value.span, "&", definition, value, definition.span)


def _place(kind: DocumentKind) -> Span:
    """Return a place for what no text wrote; its source is empty, and never quoted."""
    source = Source(kind.path, "")
    return Span(source, 0, 0)


def evaluated(
    file: ast.File,
    *,
    budget: Budget | None = None,
    redact: Callable[[ValuePath], bool] | None = None,
) -> Value:
    """Compile a document, which may import the two packages of definitions.

    Args:
        budget: what its evaluation may cost; None for the usual.
        redact: tells whether the value at a path must not be shown in messages.

    Raises:
        CueError: it names what does not exist.
    """
    return compile_document(file, packages=_packages(), budget=budget, redact=redact)


def definition(kind: DocumentKind) -> Value:
    """Return the definition that documents of a kind are unified with."""
    found = compile_document(_packages()[kind.path]).lookup(kind.definition)
    assert found is not None
    return found


def places(value: Value, path: ValuePath, written: Callable[[Span], bool]) -> tuple[Span, ...]:
    """Return where a document writes the value at a path.

    Of a value that the document does not write, the nearest one around it that it does.

    Args:
        value: a value of the document.
        path: from there.
        written: tells whether a place is in the document, rather than in a definition.
    """
    for length in range(len(path), -1, -1):
        own = tuple(span for span in _spans(value, path[:length]) or () if written(span))
        if own:
            return own
    return ()


def placed(fault: Fault, value: Value | None, written: Callable[[Span], bool]) -> Fault:
    """Return a fault whose first place is in the document.

    Args:
        fault: with its path in the document.
        value: of the document; None when there is none yet.
        written: tells whether a place is in the document, rather than in a definition.
    """
    own = tuple(span for span in fault.spans if written(span))
    others = tuple(span for span in fault.spans if not written(span) and span.source.text)
    message = fault.message
    if value is not None:
        if fault.kind is FaultKind.INCOMPLETE:
            at_path = _spans(value, fault.path)
            if at_path is not None and not any(map(written, at_path)):
                message = f"not given; {message}"
        own = own or places(value, fault.path, written)[:1]
    return replace(fault, message=message, spans=own + others)


def _spans(value: Value, path: ValuePath) -> tuple[Span, ...] | None:
    """Return the places of the value at a path; None when there is none.

    A value that cannot be evaluated has no places: what is wrong with it is told already.
    """
    try:
        found = value.lookup(*path)
        spans = None if found is None else found.spans
    except CueError:
        return None
    return spans


@cache
def _packages() -> Mapping[str, CompiledDocument]:
    """Return the two packages of definitions, compiled once per process."""
    return {
        path: compile_package(schema_source(path), path) for path in (CONFIG_PATH, FUNCTION_PATH)
    }
