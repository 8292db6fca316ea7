"""Secrets of a configuration: which values they are, and texts without them.

A DSN, password, key or token never shows: not where an error quotes a line of the
document, not within a message, not where settings are listed. Names that nearly are those of
secrets count as them, because a misspelt name is what an error is about; and so do a URL with
a login in it and a signing key, whatever they are called. Doubts are settled by hiding: what
stands behind a secret's name in a comment is hidden, and so is a name that nothing declares
where a secret should be, for it may be a password without its quotes.
"""

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from difflib import SequenceMatcher
from functools import cache, lru_cache
from typing import Any

from connect.config.catalogue import catalogue
from connect.config.credentials import MASK, has_credentials, masked_credentials
from connect.config.cue import ast
from connect.config.cue.errors import CueError, Path
from connect.config.cue.parser import parse
from connect.config.cue.predeclared import predeclared_names
from connect.config.cue.source import Source
from connect.config.expansion import Expansion
from connect.config.schema import CONFIG_PATH, schema_source

__all__ = [
    "is_secret",
    "masked_error",
    "masked_message",
    "masked_text",
    "masked_value",
    "secret_texts",
]

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
_TELLING = re.compile(
    r"passw|passphrase|secret|credential"
    r"|(?:sign(?:ing)?|event|api|access|private|encryption|auth).?key",
    re.IGNORECASE,
)
# Words of which one is enough for a name such as `db_pw` or `authToken`.
_WORDS = frozenset({"auth", "cred", "creds", "pass", "psk", "pw", "pwd", "token", "tokens"})
# Words that a misspelling makes of these.
_MISSPELT = ("credential", "password", "secret", "token")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NEARLY = 0.8  # a name as alike as this to a secret's counts as its misspelling
_SHORTEST = 4  # a secret shorter than this is masked in a message only where it is quoted

# A label, as far as a document that cannot be parsed shows it.
_LABEL = re.compile(r"""(?P<name>[A-Za-z_$#][\w$#]*)["']?\s*[\])]?\s*\??\s*:(?!//)""")
_COMMENT = re.compile(r"(?<!:)//[^\n]*")
_NAME = re.compile(r"[A-Za-z_$#][\w$#]*")

# Texts between spaces that may be, or contain, a URL.
_UNSPACED = re.compile(r"\S+")
_KEPT = frozenset(" \t\r\n\"'[]{},")


@cache
def _secret_settings() -> frozenset[str]:
    return frozenset(setting.name for setting in catalogue().values() if setting.secret)


@cache
def _harmless_names() -> frozenset[str]:
    """Names that a configuration has for what is no secret, however they look."""
    schema = parse(schema_source(CONFIG_PATH))
    names = {name for name, _ in _declared(schema.body)}
    names |= {part for path in catalogue() for part in path.split(".")}
    return frozenset(names) - _secret_settings() - _NAMES


@lru_cache(maxsize=1000)
def _named_secret(name: str) -> bool:
    if name in _NAMES or name in _secret_settings():
        return True
    if name in _harmless_names():
        return False
    if _TELLING.search(name):
        return True
    words = [word.lower() for word in _WORD.findall(name)]
    if not _WORDS.isdisjoint(words):
        return True
    known = _NAMES | _secret_settings()
    return any(_alike(name.lower(), each.lower()) for each in known) or any(
        _alike(word, each) for word in words for each in _MISSPELT
    )


def _alike(name: str, known: str) -> bool:
    return SequenceMatcher(None, name, known).ratio() >= _NEARLY


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
    for start, end in (*_ranges(expansion, file), *_comments(expansion.text)):
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
    """Return the secrets that a document's text contains, for `masked_message`.

    The value of a variable that is named like a secret is one wherever it stands.
    """
    found = {
        substitution.value
        for substitution in expansion.substitutions
        if _named_secret(substitution.name)
    }
    if file is None:
        for start, end in _guessed_ranges(expansion.text):
            text = expansion.text[start:end]
            found |= set(re.findall(r"""[^\s"'\[\]{},:]+""", text))
            # What the parser takes for a name or a number may be a part of one.
            found |= set(re.findall(r"[^\W\d]\w*|\d+", text))
    else:
        values = _secret_values(file)
        for node in _shown_secrets(file):
            found.add(expansion.text[node.span.start : node.span.end])
            if isinstance(node, ast.Literal) and isinstance(node.value, str):
                found.add(node.value)
        for substitution in expansion.substitutions:
            if any(value.span.start <= substitution.at < value.span.end for value in values):
                found.add(substitution.value)
    found |= {text.strip("\"'") for text in found}
    return frozenset(text for text in found if text.strip("\"' \n\t"))


def masked_message(message: str, secrets: Iterable[str]) -> str:
    """Return a message without the secrets in it, and without what are credentials anyway."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            message = message.replace(secret, MASK)
        else:
            message = message.replace(f'"{secret}"', f'"{MASK}"')
            message = message.replace(f"'{secret}'", f"'{MASK}'")
    return masked_credentials(message)


def masked_value(value: Any, secrets: Set[str]) -> Any:
    """Return a value of a configuration without the secrets in it; what has none stays itself.

    Args:
        value: a string, a number, or a list of these; others stay as they are.
        secrets: the texts to hide.
    """
    match value:
        case bool():
            return value
        case str() | int() | Decimal() if str(value) in secrets:
            return MASK
        case str():
            # What stays the same keeps its type, which may be an enum's.
            masked = masked_message(value, secrets)
            return value if masked == value else masked
        case list() | tuple():
            return [masked_value(item, secrets) for item in value]
        case _:
            return value


def masked_error(error: CueError) -> CueError:
    """Return an error whose messages and quoted lines do not show secrets.

    The places of the error must be in documents as they were written, none of which had
    variables in it.
    """
    shown: dict[Source, tuple[Source, frozenset[str]]] = {}
    for source in {span.source for fault in error.faults for span in fault.spans}:
        expansion = Expansion(source.text, source.text, ())
        try:
            file = parse(source)
        except CueError:
            file = None
        text = masked_text(expansion, file)
        shown[source] = Source(source.name, text), secret_texts(expansion, file)
    secrets = frozenset().union(*(texts for _, texts in shown.values()))
    return CueError(
        [
            replace(
                fault,
                message=masked_message(fault.message, secrets),
                spans=tuple(span._replace(source=shown[span.source][0]) for span in fault.spans),
            )
            for fault in error.faults
        ]
    )


def _ranges(expansion: Expansion, file: ast.File | None) -> list[tuple[int, int]]:
    """Return where secrets stand in the expanded text."""
    if file is None:
        return list(_guessed_ranges(expansion.text))
    return [(node.span.start, node.span.end) for node in _shown_secrets(file)]


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
            return [*named, *_telling_texts(file.body)]
        secret |= referred


def _telling_texts(body: ast.StructLit) -> Iterator[ast.Literal | ast.Interpolation]:
    """Yield the texts that show to be credentials."""
    for node in _nodes(body):
        match node:
            case ast.Literal(value=str(text)) if has_credentials(text):
                yield node
            case ast.Interpolation(parts=parts) if any(
                has_credentials(part) for part in parts if isinstance(part, str)
            ):
                yield node


def _shown_secrets(file: ast.File) -> Iterator[ast.Expr]:
    """Yield what of the values of secrets must not be shown.

    That is every literal, and every name that stands for nothing: quotes were forgotten.
    """
    known = {name for name, _ in _declared(file.body)}
    known |= {"_", "_|_", *predeclared_names()}
    for loop in _nodes(file.body):
        if isinstance(loop, ast.For):
            known |= {name.name for name in (loop.key, loop.value) if name is not None}
    for package in file.imports:
        default = package.path.rpartition("/")[2].rpartition(":")[2]
        known.add(default if package.name is None else package.name.name)
    for value in _secret_values(file):
        for node in _nodes(value):
            match node:
                case ast.Literal() | ast.Interpolation():
                    yield node
                case ast.Ident(name=name) if name not in known:
                    yield node
                case ast.Selector() if _first_name(node) not in known:
                    yield node


def _first_name(node: ast.Expr) -> str | None:
    while isinstance(node, ast.Selector):
        node = node.operand
    return node.name if isinstance(node, ast.Ident) else "_"


def _declared(body: ast.StructLit) -> Iterator[tuple[str, ast.Expr]]:
    """Yield every name that is declared anywhere below, with its value."""
    for node in _nodes(body):
        match node:
            case ast.Field(label=ast.NameLabel(name=name), value=value):
                yield name, value
            case ast.Field(label=ast.TextLabel(text=text), value=value):
                yield text, value
            case ast.Field(label=label, value=value):
                # The name is that of an expression: any text or name in it may be meant.
                for part in _nodes(label):
                    match part:
                        case ast.Literal(value=str(text)) | ast.Ident(name=text):
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
    for found in _UNSPACED.finditer(text):
        if has_credentials(found[0]):
            yield found.span()


def _comments(text: str) -> Iterator[tuple[int, int]]:
    """Yield what of comments may be secrets: what stands behind the name of one.

    What only looks like a comment, within a string, counts as one.
    """
    for comment in _COMMENT.finditer(text):
        start, end = comment.span()
        for name in _NAME.finditer(text, start, end):
            if _named_secret(name[0]):
                yield name.end(), end
                break
        for found in _UNSPACED.finditer(text, start, end):
            if has_credentials(found[0]):
                yield found.span()
