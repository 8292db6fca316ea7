"""Events that a command is given, as JSON."""

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from connect.cli.documents import demand, read_document
from connect.cli.faults import shown_faults
from connect.errors import ConfigurationError

if TYPE_CHECKING:
    from connect.config.cue.errors import Fault, FaultKind
    from connect.config.cue.source import Source, Span

__all__ = ["read_event"]


def read_event(name: str) -> dict[str, Any]:
    """Read an event, with what the service would add to it.

    Args:
        name: a file's path, or a dash for the standard input.

    Returns:
        The event, with `name`, `id`, `data`, `user` and `ts`.

    Raises:
        ConfigurationError: it does not exist, cannot be read, or is no event; the text tells
            everything that is wrong, each with its place.
    """
    from connect.config.cue.errors import Fault

    demand(name)
    source = read_document(name)
    if isinstance(source, Fault):
        raise _refused([source])
    event = _object(source)
    faults = _faults(event, source)
    if faults:
        raise _refused(faults)
    return event | {
        "id": event.get("id") or "",
        "data": event.get("data") or {},
        "user": event.get("user") or {},
        "ts": event.get("ts") or round(time.time() * 1000),
    }


def _object(source: "Source") -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ConfigurationError: it is none.
    """
    from connect.config.cue.errors import FaultKind
    from connect.config.cue.jsontext import JsonError, read_json
    from connect.config.cue.source import Span

    try:
        value = _as_decoded(read_json(source.text))
    except JsonError as error:
        span = Span(source, error.offset, error.offset + 1)
        message = f"not JSON: {error.message}"
        raise _refused([_fault(message, span, kind=FaultKind.SYNTAX)]) from None
    if not isinstance(value, dict):
        whole = Span(source, 0, len(source.text.rstrip()))
        raise _refused([_fault("no event; expected one JSON object", whole)])
    return value


def _faults(event: dict[str, Any], source: "Source") -> "list[Fault]":
    """Return what keeps an object from being an event."""
    from connect.config.cue.source import Span
    from connect.config.faults import json_kind

    expected: dict[str, tuple[type, str]] = {
        "name": (str, "a non-empty string"),
        "id": (str, "a string"),
        "data": (dict, "an object"),
        "user": (dict, "an object"),
        "ts": (int, "unix milliseconds, a whole number"),
    }
    places = _places(source)
    found = []
    for key, (kind, wanted) in expected.items():
        value, span = event.get(key), places.get(key, Span(source, 0, 1))
        if value is None and key == "name":
            found.append(_fault(f"missing; expected {wanted}", span, key))
        elif value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            found.append(_fault(f"{json_kind(value)}; expected {wanted}", span, key))
        elif value == "" and key == "name":
            found.append(_fault(f"an empty string; expected {wanted}", span, key))
    found += [_fault("a number too large to express", span) for span in _too_large(source)]
    return sorted(found, key=lambda fault: fault.spans[0].start)


def _too_large(source: "Source") -> "Iterator[Span]":
    """Yield the numbers that are none any more when they are decoded."""
    from connect.config.cue.jsontext import TokenKind, tokens
    from connect.config.cue.source import Span

    for token in tokens(source.text):
        whole = token.text.lstrip("-").isdigit()  # which may be of any size
        if token.kind is TokenKind.NUMBER and not whole and math.isinf(float(token.text)):
            yield Span(source, token.offset, token.offset + len(token.text))


def _places(source: "Source") -> "dict[str, Span]":
    """Return where the fields of a JSON object have their values."""
    import json

    from connect.config.cue.jsontext import TokenKind, tokens
    from connect.config.cue.source import Span

    found: dict[str, Span] = {}
    depth = 0
    label: str | None = None
    for token in tokens(source.text):
        if token.kind is TokenKind.CLOSE:
            depth -= 1
        elif depth == 1 and token.kind is TokenKind.LABEL:
            label = json.loads(token.text)
        elif label is not None and token.kind is not TokenKind.COLON:
            found[label] = Span(source, token.offset, token.offset + len(token.text))
            label = None
        if token.kind is TokenKind.OPEN:
            depth += 1
    return found


def _as_decoded(value: Any) -> Any:
    """Return a value with floats as JSON decodes them."""
    from decimal import Decimal

    match value:
        case dict():
            return {key: _as_decoded(item) for key, item in value.items()}
        case list():
            return [_as_decoded(item) for item in value]
        case Decimal():
            return float(value)
        case _:
            return value


def _fault(message: str, span: "Span", *path: str, kind: "FaultKind | None" = None) -> "Fault":
    from connect.config.cue.errors import Fault, FaultKind

    return Fault(kind or FaultKind.EVALUATION, message, path, (span,))


def _refused(faults: "list[Fault]") -> ConfigurationError:
    return ConfigurationError(f"the event cannot be used\n{shown_faults(faults)}")
