"""JSON as text: written from values, read into values, and its tokens.

Numbers are written as CUE writes them, bytes as base64. Nothing here recurses, so that depth
costs no stack.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from typing import Any

from connect.config.cue.numbers import MAX_EXPONENT, Number, int_from_digits, number_text
from connect.config.cue.values import BuiltinError, Concrete, NotConcrete

__all__ = ["JsonError", "Token", "TokenKind", "html_escape", "read_json", "to_json", "tokens"]


class JsonError(BuiltinError):
    """A text is not JSON.

    Attributes:
        message: what is wrong.
        offset: where, in characters.
    """

    def __init__(self, message: str, offset: int) -> None:
        self.message = message
        self.offset = offset
        super().__init__(message, offset)

    def __str__(self) -> str:
        return f"invalid JSON at character {self.offset + 1}: {self.message}"


class TokenKind(Enum):
    """What a token is; see RFC 8259."""

    OPEN = auto()  # { or [
    CLOSE = auto()  # } or ]
    COMMA = auto()
    COLON = auto()
    LABEL = auto()
    STRING = auto()
    NUMBER = auto()
    NAME = auto()  # true, false or null


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it stands in the text."""

    kind: TokenKind
    text: str
    offset: int


_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>true|false|null)"
    r"|(?P<open>[{\[])|(?P<close>[}\]])|(?P<comma>,)|(?P<colon>:)"
)
_SPACE = re.compile(r"[ \t\r\n]*")
_CLOSING = {"{": "}", "[": "]"}


class _Want(Enum):
    """What may come next."""

    VALUE = "a value"
    VALUE_OR_CLOSE = "a value or ]"
    LABEL = "a string"
    LABEL_OR_CLOSE = "a string or }"
    COLON = ":"
    COMMA_OR_CLOSE = ", or the closing bracket"
    NOTHING = "the end"


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a JSON text, checked to be one value as they come.

    Raises:
        JsonError: it is not JSON.
    """
    brackets: list[str] = []
    want = _Want.VALUE
    position = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches everywhere
    while position < len(text):
        match = _TOKEN.match(text, position)
        token = None if match is None else _accepted(match, want, brackets)
        if match is None or token is None:
            found = repr(text[position])
            raise JsonError(f"found {found}, expected {want.value}", position)
        yield token
        want = _next(token, brackets)
        position = _SPACE.match(text, match.end()).end()  # type: ignore[union-attr]  # as above
    if want is not _Want.NOTHING:
        raise JsonError(f"found the end, expected {want.value}", position)


def _accepted(match: "re.Match[str]", want: _Want, brackets: list[str]) -> Token | None:
    """Return the token if it may stand here; keeps account of brackets."""
    kind = TokenKind[str(match.lastgroup).upper()]
    text = match[0]
    fits = False
    match kind:
        case TokenKind.CLOSE:
            fits = (
                want in (_Want.COMMA_OR_CLOSE, _Want.VALUE_OR_CLOSE, _Want.LABEL_OR_CLOSE)
                and brackets.pop() == text
            )
        case TokenKind.COMMA:
            fits = want is _Want.COMMA_OR_CLOSE
        case TokenKind.COLON:
            fits = want is _Want.COLON
        case TokenKind.STRING if want in (_Want.LABEL, _Want.LABEL_OR_CLOSE):
            kind, fits = TokenKind.LABEL, True
        case _:
            fits = want in (_Want.VALUE, _Want.VALUE_OR_CLOSE)
            if fits and kind is TokenKind.OPEN:
                brackets.append(_CLOSING[text])
    return Token(kind, text, match.start()) if fits else None


def _next(token: Token, brackets: list[str]) -> _Want:
    match token.kind:
        case TokenKind.OPEN:
            return _Want.LABEL_OR_CLOSE if token.text == "{" else _Want.VALUE_OR_CLOSE
        case TokenKind.LABEL:
            return _Want.COLON
        case TokenKind.COLON:
            return _Want.VALUE
        case TokenKind.COMMA:
            return _Want.LABEL if brackets[-1] == "}" else _Want.VALUE
        case _:
            return _Want.COMMA_OR_CLOSE if brackets else _Want.NOTHING


def read_json(text: str, depth: int = 200) -> Concrete:
    """Read a JSON text as CUE would: floats keep their text, repeated labels are unified.

    Args:
        depth: how many brackets may be open at once.

    Raises:
        JsonError: it is not JSON, is nested more deeply, or repeats a label with two values.
    """
    root: list[Any] = []
    open_values: list[Any] = [root]
    labels: list[tuple[str, int]] = []
    for token in tokens(text):
        match token.kind:
            case TokenKind.LABEL:
                labels.append((_unquoted(token), token.offset))
                continue
            case TokenKind.OPEN:
                if len(open_values) > depth:
                    raise JsonError(f"more than {depth} open brackets", token.offset)
                open_values.append({} if token.text == "{" else [])
                continue
            case TokenKind.CLOSE:
                value = open_values.pop()
            case TokenKind.COMMA | TokenKind.COLON:
                continue
            case _:
                value = _scalar(token)
        parent = open_values[-1]
        if isinstance(parent, list):
            parent.append(value)
            continue
        label, offset = labels.pop()
        if label in parent:
            value = _unified(parent[label], value, label, offset)
        parent[label] = value
    result: Concrete = root[0]
    return result


def _scalar(token: Token) -> bool | Number | str | None:
    match token.kind:
        case TokenKind.STRING:
            return _unquoted(token)
        case TokenKind.NAME:
            return {"true": True, "false": False, "null": None}[token.text]
        case _ if token.text.lstrip("-").isdigit():
            return int_from_digits(token.text)
        case _:
            value = Decimal(token.text)
            if abs(value.adjusted()) > MAX_EXPONENT:
                raise JsonError("the exponent of a number is out of range", token.offset)
            return value or value.copy_abs()


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _unquoted(token: Token) -> str:
    text = token.text[1:-1]
    if "\\" not in text:
        return text
    text = _ESCAPE.sub(
        lambda match: chr(int(match[1], 16)) if match[1] else _SHORT.get(match[2], match[2]), text
    )
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise JsonError("half of a surrogate pair in a string", token.offset) from None


def _unified(left: Concrete, right: Concrete, label: str, offset: int) -> Concrete:
    """Unify two concrete values: structs merge, all else must be equal."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            pairs += [(one[key], value) for key, value in other.items() if key in one]
            one.update({key: value for key, value in other.items() if key not in one})
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            pairs += zip(one, other, strict=True)
        elif type(one) is not type(other) or one != other:
            raise JsonError(f"the label {label!r} has two values", offset)
    return left


_UNSAFE = re.compile(r'["\\\x00-\x1f\u2028\u2029\ud800-\udfff]')
_HTML_UNSAFE = re.compile(r"[<>&\u2028\u2029]")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def html_escape(text: str) -> str:
    """Escape what HTML or JavaScript would take for its own: ``< > &``, U+2028, U+2029."""
    return _HTML_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _quoted(text: str, html_safe: bool) -> str:
    body = _UNSAFE.sub(lambda match: _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}", text)
    return f'"{html_escape(body) if html_safe else body}"'


def to_json(value: Concrete, *, html_safe: bool = False, indent: str = "") -> str:
    """Write a value as JSON: floats with the text they have, bytes as base64.

    Args:
        html_safe: also escape ``< > &`` in strings, as `json.Marshal` does.
        indent: of each level, every field and element on a line of its own; without one all
            stands on one line, without spaces.

    Raises:
        NotConcrete: something in it is not concrete.
    """
    parts: list[str] = []
    colon = ": " if indent else ":"
    # What is left of each open struct or list, and its closing bracket.
    levels: list[tuple[Iterator[tuple[str | None, Concrete]], str]] = [(iter([(None, value)]), "")]
    begun = True
    while levels:
        rest, closing = levels[-1]
        entry = next(rest, None)
        if entry is None:
            levels.pop()
            parts += (_line(indent, len(levels) - 1) if begun else "", closing)
            begun = True
            continue
        if closing:
            parts += ("," if begun else "", _line(indent, len(levels) - 1))
        begun = True
        label, field = entry
        if label is not None:
            parts += (_quoted(label, html_safe), colon)
        if isinstance(field, dict):
            parts.append("{")
            levels.append((iter(field.items()), "}"))
            begun = False
        elif isinstance(field, list):
            parts.append("[")
            levels.append((((None, element) for element in field), "]"))
            begun = False
        else:
            parts.append(_scalar_text(field, html_safe))
    return "".join(parts).rstrip("\n")


def _line(indent: str, level: int) -> str:
    return f"\n{indent * level}" if indent else ""


def _scalar_text(value: Concrete, html_safe: bool) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | Decimal():
            return number_text(value)
        case str():
            return _quoted(value, html_safe)
        case bytes():
            return f'"{base64.b64encode(value).decode()}"'
        case _:
            raise NotConcrete("cannot write as JSON what is not concrete")
