"""Values as CUE text, for messages and for people ("Values").

What is shown in messages is short, and of secrets nothing is shown: neither a value at a
path that is one, nor a text that was met at such a path.
"""

from collections.abc import Collection
from typing import Any

from connect.config.cue.core import Redact
from connect.config.cue.errors import Path, path_text
from connect.config.cue.lattice import (
    Bottom,
    Bound,
    Conjunction,
    Disjunction,
    FunctionValue,
    Intrinsic,
    Label,
    ListMarker,
    PackageValue,
    Scalar,
    StructMarker,
    Top,
    TypeValue,
    Validator,
    kind_text,
    label_text,
)
from connect.config.cue.numbers import number_text
from connect.config.cue.stack import Stack
from connect.config.cue.terms import ListTerm, StructTerm
from connect.config.cue.vertex import CYCLE, Status, Vertex

__all__ = ["MASK", "Writer", "label_source", "quoted"]

MASK = "…"
"""Stands for what is left out: because it is long, not known, or a secret."""

_LEVELS = 12  # of values in one another upon one stack, of up to four frames each
_LONGEST = 160
_DEEPEST = 4
_MOST_ITEMS = 8
_TELLING = 4  # characters of a secret that are no coincidence within another text
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quoted(text: str) -> str:
    """Write a string as a CUE literal on one line."""
    pieces = ['"']
    for character in text:
        escape = _ESCAPES.get(character)
        if escape is not None:
            pieces.append(escape)
        elif character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff":
            pieces.append(f"\\u{ord(character):04x}")
        else:
            pieces.append(character)
    pieces.append('"')
    return "".join(pieces)


def _bytes_text(data: bytes) -> str:
    pieces = ["'"]
    for byte in data:
        if byte in (0x27, 0x5C):
            pieces.append("\\" + chr(byte))
        elif 0x20 <= byte < 0x7F:
            pieces.append(chr(byte))
        else:
            pieces.append(f"\\x{byte:02x}")
    pieces.append("'")
    return "".join(pieces)


def label_source(label: Label) -> str:
    """Write a label as it stands in a struct."""
    if isinstance(label, tuple):
        return label[0]
    text = path_text((str(label),))
    return quoted(text) if text.startswith(("_", "#")) else text


class Writer:
    """Writes values.

    Args:
        redact: tells whether the value at a path must not be shown.
        secrets: texts that must not be shown anywhere.
        short: cut what is long or deep.
    """

    def __init__(
        self,
        redact: Redact | None = None,
        secrets: Collection[str] = (),
        *,
        short: bool = True,
    ) -> None:
        self._redact = redact
        self._secrets = secrets
        self._deepest = _DEEPEST if short else None
        self._longest = _LONGEST if short else None
        self._stack = Stack(_LEVELS)

    def text(self, value: Any, path: Path = ()) -> str:
        """Write a value that is at a path."""
        text = self._text(value, path, 0)
        if self._longest is not None and len(text) > self._longest:
            return text[: self._longest - 1] + MASK
        return text

    def mentions_secret(self, text: str) -> bool:
        """Tell whether a secret is part of a text."""
        return any(len(secret) >= _TELLING and secret in text for secret in self._secrets)

    def _text(self, value: Any, path: Path, depth: int) -> str:
        if self._redact is not None and self._redact(path) and not isinstance(value, TypeValue):
            return MASK
        if self._deepest is not None and depth > self._deepest:
            return MASK  # as what is around it is
        if isinstance(value, Scalar):
            return self._scalar(value)
        stack = self._stack
        if not stack.room:
            return stack.call(self._text, value, path, depth)
        stack.room -= 1
        match value:
            case Disjunction(values=values, defaults=defaults):
                text = self._disjunction(values, defaults, path, depth)
            case Conjunction(values=values):
                text = " & ".join(self._text(item, path, depth) for item in values)
            case Vertex():
                text = self._vertex(value, path, depth)
            case StructTerm():
                text = self._struct(value, path, depth)
            case ListTerm():
                text = self._list(value, path, depth)
            case _:
                text = self._plain(value, path, depth)
        stack.room += 1
        return text

    def _plain(self, value: Any, path: Path, depth: int) -> str:
        """Write what has no parts at other paths."""
        match value:
            case TypeValue(kind=kind):
                return kind_text(kind)
            case Top():
                return "_"
            case Bound(operator=operator, value=limit):
                return f"{operator}{self._scalar(limit)}"
            case Validator(builtin=builtin, arguments=arguments):
                inner = ", ".join(self._text(item, path, depth) for item in arguments)
                return f"{builtin.name}({inner})"
            case FunctionValue(builtin=Intrinsic(value=name)):
                return name
            case FunctionValue(builtin=builtin):
                return builtin.name
            case PackageValue(path=import_path):
                return f'package "{import_path}"'
            case Bottom():
                return "_|_"
            case _:
                return MASK

    def _scalar(self, value: Scalar) -> str:
        inner = value.value
        match inner:
            case None:
                return "null"
            case bool():
                return "true" if inner else "false"
            case str():
                hidden = inner in self._secrets or self.mentions_secret(inner)
                return MASK if hidden else quoted(inner)
            case bytes():
                return _bytes_text(inner)
            case _:
                return number_text(inner)

    def _disjunction(self, values: Any, defaults: int, path: Path, depth: int) -> str:
        texts = []
        for index, item in enumerate(values):
            text = self._text(item, path, depth)
            texts.append(f"*{text}" if index < defaults and defaults < len(values) else text)
        return " | ".join(texts)

    # Structs and lists

    def _struct(self, term: StructTerm, path: Path, depth: int) -> str:
        items = [
            f"{label_source(field.label)}: "
            + self._text(field.value, (*path, label_text(field.label)), depth + 1)
            for field in term.fields
        ]
        if term.steps or term.patterns or term.optionals:
            items.append(MASK)
        return self._joined("{}", items, depth)

    def _list(self, term: ListTerm, path: Path, depth: int) -> str:
        items = [
            self._text(element, (*path, index), depth + 1)
            for index, element in enumerate(term.elements)
        ]
        return self._joined("[]", [*items, "..."] if term.is_open else items, depth)

    def _joined(self, brackets: str, items: list[str], depth: int) -> str:
        if self._deepest is not None:
            if depth >= self._deepest and items:
                items = [MASK]
            if len(items) > _MOST_ITEMS:
                items = [*items[:_MOST_ITEMS], MASK]
        return brackets[0] + ", ".join(items) + brackets[1]

    def _vertex(self, vertex: Vertex, path: Path, depth: int) -> str:
        base = vertex.base
        if base is None or base is CYCLE:
            state = vertex.state
            source = None if state is None else state.kind_source
            return "_" if source is None else self._text(source, path, depth)
        elements = vertex.elements()
        is_list = isinstance(base, ListMarker) or (isinstance(base, Bottom) and elements)
        if not is_list and not (isinstance(base, StructMarker) or self._was_struct(vertex)):
            return self._text(base, path, depth)
        items: list[str] = []
        for label, arc in vertex.scope.arcs.items():
            text = self._arc(arc, (*path, label_text(label)), depth)
            if not is_list:
                items.append(f"{label_source(label)}: {text}")
            elif isinstance(label, int):
                items.append(text)
        if isinstance(base, ListMarker) and base.is_open:
            items.append("...")
        return self._joined("[]" if is_list else "{}", items, depth)

    def _was_struct(self, vertex: Vertex) -> bool:
        """Tell whether an erroneous vertex is a struct apart from that."""
        return isinstance(vertex.base, Bottom) and bool(vertex.structs) and bool(vertex.arcs)

    def _arc(self, arc: Vertex, path: Path, depth: int) -> str:
        if arc.status == Status.UNPROCESSED and arc.conjuncts:
            return self._text(arc.conjuncts[0][1], path, depth + 1)
        return self._text(arc, path, depth + 1)
