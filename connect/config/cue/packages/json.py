"""Package ``encoding/json``: values to JSON and back, and JSON laid out anew."""

from collections.abc import Callable
from types import MappingProxyType

from connect.config.cue.jsontext import (
    JsonError,
    TokenKind,
    html_escape,
    read_json,
    to_json,
    tokens,
)
from connect.config.cue.packages.arguments import byte_data, may_become
from connect.config.cue.packages.signature import Signatures
from connect.config.cue.values import (
    RESULT_LIMIT,
    BuiltinError,
    Concrete,
    Kind,
    NotConcrete,
    Package,
    check_size,
    kind_of,
)

__all__ = ["PACKAGE"]


def _text(data: str | bytes) -> str:
    return byte_data(data).decode(errors="replace")


def _valid(data: str | bytes) -> bool:
    try:
        for _ in tokens(_text(data)):
            pass
    except JsonError:
        return False
    return True


def _compact(data: str | bytes) -> str:
    return "".join(token.text for token in tokens(_text(data)))


def _indent(data: str | bytes, prefix: str, indent: str, *, limit: int = RESULT_LIMIT) -> str:
    """Put every element on a line of its own; spaces behind the value stay."""
    text = _text(data)
    parts: list[str] = []
    level = size = 0
    empty = False  # the bracket before has nothing behind it yet

    def add(part: str, line: bool = False) -> None:
        nonlocal size
        size += len(part) + (1 + len(prefix) + len(indent) * level if line else 0)
        check_size(size, limit, "characters")
        parts.append(f"\n{prefix}{indent * level}{part}" if line else part)

    for token in tokens(text):
        match token.kind:
            case TokenKind.CLOSE:
                level -= 1
                add(token.text, line=not empty)
                empty = False
                continue
            case TokenKind.COLON:
                add(": ")
                continue
        add(token.text, line=empty or (bool(parts) and parts[-1].endswith(",")))
        empty = token.kind is TokenKind.OPEN
        level += empty
    trailing = text[len(text.rstrip(" \t\r\n")) :]
    return "".join(parts) + trailing


def _html_escape(data: str | bytes) -> str:
    return html_escape(_text(data))


def _marshal(value: Concrete) -> str:
    return to_json(value, html_safe=True)


def _marshal_stream(values: Concrete) -> str:
    if may_become(values, Kind.LIST):
        raise NotConcrete("the list is not concrete")
    if not isinstance(values, list):
        raise BuiltinError(f"the argument is of type {kind_of(values)}; expected a list")
    return "".join(f"{_marshal(value)}\n" for value in values)


def _unmarshal(data: str | bytes) -> Concrete:
    try:
        text = byte_data(data).decode()
    except UnicodeDecodeError as error:
        raise BuiltinError(f"byte {error.start + 1} is not UTF-8") from None
    return read_json(text)


def _validate(
    unify: Callable[[Concrete, Concrete], Concrete], data: str | bytes, schema: Concrete
) -> bool:
    """Tell that JSON agrees with a schema; raises what `unify` says if it does not."""
    unify(schema, _unmarshal(data))
    return True


def _package() -> Package:
    add = (signatures := Signatures("encoding/json")).add
    text, data, anything = Kind.STRING, Kind.BYTES | Kind.STRING, Kind.TOP
    add("Valid", (data,), Kind.BOOL, _valid)
    add("Compact", (data,), text, _compact)
    add("Indent", (data, text, text), text, _indent, bounded=True)
    add("HTMLEscape", (data,), text, _html_escape)
    add("Marshal", (anything,), text, _marshal)
    add("MarshalStream", (anything,), text, _marshal_stream)
    add("Unmarshal", (data,), anything, _unmarshal)
    add("Validate", (data, anything), Kind.BOOL, _validate, apply=True)
    return Package("encoding/json", MappingProxyType(signatures.members))


PACKAGE = _package()
