"""Secrets of a configuration: which values they are, and texts without them.

A DSN, password, key or token never shows: not where an error quotes a line of the
document, not within a message, not where settings are listed. Names that nearly are those of
secrets count as them, because a misspelt name is what an error is about; and so does a URL with
a password in it, whatever it is called.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from functools import cache, lru_cache
from typing import Any

from connect.config.catalogue import catalogue
from connect.config.cue import ast
from connect.config.cue.errors import Path
from connect.config.expansion import Expansion

__all__ = [
    "MASK",
    "is_secret",
    "masked_message",
    "masked_text",
    "secret_texts",
]

MASK = "********"

# Names of values in a configuration document that are, or contain, credentials, besides
# those of this service's settings.
_NAMES = frozenset(
    {
        "URI",
        "dsn",
        "password",
        "queueURL",
        "serverURL",
        "signingKey",
    }
)
_TELLING = re.compile(r"passw|secret|credential|signing.?key|event.?key|api.?key", re.IGNORECASE)
_NEARLY = 0.8  # a name as alike as this to a secret's counts as its misspelling
_SHORTEST = 4  # a secret shorter than this is masked in a message only where it is quoted

# A label, as far as a document that cannot be parsed shows it.
_LABEL = re.compile(r"""(?P<name>[A-Za-z_$#][\w$#]*)["']?\s*\??\s*:""")

# A URL with a password in it, which is a secret whatever it is called.
_CREDENTIALS = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*://[^/\s"']*:[^/\s"']*@[^\s"']*""")
_KEPT = frozenset(" \t\r\n\"'[]{},")


@cache
def _secret_settings() -> frozenset[str]:
    return frozenset(setting.name for setting in catalogue().values() if setting.secret)


@cache
def _plain_settings() -> frozenset[str]:
    """Names of settings that are no secrets, however they look."""
    names = frozenset(setting.name for setting in catalogue().values())
    return names - _secret_settings()


@lru_cache(maxsize=1000)
def _named_secret(name: str) -> bool:
    if name in _NAMES or name in _secret_settings():
        return True
    if name in _plain_settings():
        return False
    if _TELLING.search(name):
        return True
    lowered = name.lower()
    return any(SequenceMatcher(None, lowered, known.lower()).ratio() >= _NEARLY for known in _NAMES)


def is_secret(path: Path) -> bool:
    """Tell whether the value at a path of a configuration document must not be shown."""
    return any(isinstance(part, str) and _named_secret(part) for part in path)


def masked_text(expansion: Expansion, file: ast.File | None) -> str:
    """Return the original text of a document with its secrets overwritten.

    The text keeps its length and its lines, so that places in it stay right. References to
    variables stay readable.

    Args:
        expansion: the document before and after its variables were expanded.
        file: the parsed expanded text; None when it cannot be parsed. Then all that follows
            a secret's name on its line, or in its list, is overwritten.
    """
    references = {
        offset
        for substitution in expansion.substitutions
        for offset in range(substitution.start, substitution.end)
    }
    secret: set[int] = set()
    for start, end in _ranges(expansion, file):
        secret |= set(range(*expansion.original_range(start, end)))
    original = expansion.original
    for text in secret_texts(expansion, file):
        # The same text elsewhere is the same secret.
        found = original.find(text) if len(text) >= _SHORTEST else -1
        while found >= 0:
            secret |= set(range(found, found + len(text)))
            found = original.find(text, found + len(text))
    return "".join(
        "*"
        if offset in secret and offset not in references and character not in _KEPT
        else character
        for offset, character in enumerate(original)
    )


def secret_texts(expansion: Expansion, file: ast.File | None) -> frozenset[str]:
    """Return the secrets that a document's text contains, for `masked_message`."""
    found: set[str] = set()
    if file is None:
        for start, end in _guessed_ranges(expansion.text):
            found |= set(re.findall(r"""[^\s"'\[\]{},:]+""", expansion.text[start:end]))
    else:
        values = _secret_values(file)
        found |= {expansion.text[node.span.start : node.span.end] for node in _literals(values)}
        for substitution in expansion.substitutions:
            if any(value.span.start <= substitution.at < value.span.end for value in values):
                found.add(substitution.value)
    found |= {text.strip("\"'") for text in found}
    return frozenset(text for text in found if text.strip("\"' \n\t"))


def masked_message(message: str, secrets: Iterable[str]) -> str:
    """Return a message without the secrets in it."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            message = message.replace(secret, MASK)
        else:
            message = message.replace(f'"{secret}"', f'"{MASK}"')
    return message


def _ranges(expansion: Expansion, file: ast.File | None) -> list[tuple[int, int]]:
    """Return where secrets stand in the expanded text."""
    if file is None:
        return list(_guessed_ranges(expansion.text))
    return [(node.span.start, node.span.end) for node in _literals(_secret_values(file))]


def _secret_values(file: ast.File) -> list[ast.Expr]:
    """Return the values of all secrets.

    What a secret's value refers to by name is a secret too, wherever that name is declared.
    """
    declared = list(_declared(file.body))
    secret = {name for name, _ in declared if _named_secret(name)}
    while True:
        referred = {
            node.name
            for name, value in declared
            if name in secret
            for node in _nodes(value)
            if isinstance(node, ast.Ident | ast.Selector)
        }
        if referred <= secret:
            named = [value for name, value in declared if name in secret]
            return [*named, *_urls(file.body)]
        secret |= referred


def _urls(body: ast.StructLit) -> Iterator[ast.Literal | ast.Interpolation]:
    """Yield the texts with a URL that has a password."""
    for node in _nodes(body):
        match node:
            case ast.Literal(value=str(text)) if _CREDENTIALS.search(text):
                yield node
            case ast.Interpolation(parts=parts) if any(
                _CREDENTIALS.search(part) for part in parts if isinstance(part, str)
            ):
                yield node


def _literals(values: Iterable[ast.Expr]) -> Iterator[ast.Literal | ast.Interpolation]:
    for value in values:
        for node in _nodes(value):
            if isinstance(node, ast.Literal | ast.Interpolation):
                yield node


def _declared(body: ast.StructLit) -> Iterator[tuple[str, ast.Expr]]:
    """Yield every name that is declared anywhere below, with its value."""
    for node in _nodes(body):
        match node:
            case ast.Field(label=ast.NameLabel(name=name), value=value):
                yield name, value
            case ast.Field(label=ast.TextLabel(text=text), value=value):
                yield text, value
            case ast.Let(name=ident, value=value) | ast.Alias(name=ident, value=value):
                yield ident.name, value


def _nodes(node: Any) -> Iterator[Any]:
    """Yield a node of the syntax tree and all those below it."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, tuple):
            waiting.extend(reversed(current))
        elif is_dataclass(current) and not isinstance(current, type):
            yield current
            waiting.extend(
                getattr(current, field.name)
                for field in reversed(fields(current))
                if field.name != "span"
            )


def _guessed_ranges(text: str) -> Iterator[tuple[int, int]]:
    """Yield where secrets may stand in a text that is no valid document."""
    for label in _LABEL.finditer(text):
        if not _named_secret(label["name"]):
            continue
        end = text.find("\n", label.end())
        end = len(text) if end < 0 else end
        value = text[label.end() : end]
        for opening, closing in (("[", "]"), ('"""', '"""'), ("'''", "'''")):
            after = value.find(opening)
            if after >= 0 and closing not in value[after + len(opening) :]:
                closed = text.find(closing, end)
                end = len(text) if closed < 0 else closed
                break
        yield label.end(), end
    for url in _CREDENTIALS.finditer(text):
        yield url.span()
