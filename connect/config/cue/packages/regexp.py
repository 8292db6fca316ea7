"""Package ``regexp``: finding and replacing what regular expressions match."""

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import TypeAlias

from connect.config.cue.packages.signature import Signatures
from connect.config.cue.regular_expressions import Match, Pattern, compile_pattern
from connect.config.cue.sequences import text_bytes
from connect.config.cue.values import RESULT_LIMIT, BuiltinError, Kind, Package, check_size

__all__ = ["PACKAGE"]

_Expand: TypeAlias = Callable[[Match], str]

# In a template: a dollar sign, and a name that is as long as possible.
_REFERENCE = re.compile(r"\$(?:\$|(?P<plain>\w+)|\{(?P<braced>\w+)\})", re.ASCII)


def _valid(pattern: str) -> bool:
    compile_pattern(pattern)
    return True


def _match(pattern: str, text: str) -> bool:
    return compile_pattern(pattern).matches(text)


def _first(pattern: Pattern, text: str) -> Match:
    found = pattern.first(text)
    if found is None:
        raise BuiltinError("no match")
    return found


def _several(pattern: Pattern, text: str, count: int) -> list[Match]:
    """Return at most `count` matches, all of them if it is negative."""
    found = []
    for match in pattern.all(text) if count else ():
        found.append(match)
        if len(found) == count:
            break
    if not found:
        raise BuiltinError("no match")
    return found


def _find(pattern: str, text: str) -> str:
    return _first(compile_pattern(pattern), text).groups[0]


def _find_all(pattern: str, text: str, count: int) -> list[str]:
    return [match.groups[0] for match in _several(compile_pattern(pattern), text, count)]


def _find_submatch(pattern: str, text: str) -> list[str]:
    return list(_first(compile_pattern(pattern), text).groups)


def _find_all_submatch(pattern: str, text: str, count: int) -> list[list[str]]:
    return [list(match.groups) for match in _several(compile_pattern(pattern), text, count)]


def _find_named_submatch(pattern: str, text: str) -> dict[str, str]:
    compiled = compile_pattern(pattern)
    return _named(compiled, _first(compiled, text))


def _find_all_named_submatch(pattern: str, text: str, count: int) -> list[dict[str, str]]:
    compiled = compile_pattern(pattern)
    return [_named(compiled, match) for match in _several(compiled, text, count)]


def _named(pattern: Pattern, match: Match) -> dict[str, str]:
    return {name: match.groups[number] for name, number in pattern.names.items()}


def _replace_all(pattern: str, text: str, template: str, *, limit: int = RESULT_LIMIT) -> str:
    """Replace every match by a template in which ``$1``, ``$name`` and ``${name}`` are groups."""
    compiled = compile_pattern(pattern)

    def expanded(match: Match) -> str:
        return _REFERENCE.sub(lambda reference: _group(compiled, match, reference), template)

    return _replaced(compiled, text, expanded, limit)


def _replace_all_literal(
    pattern: str, text: str, replacement: str, *, limit: int = RESULT_LIMIT
) -> str:
    return _replaced(compile_pattern(pattern), text, lambda _: replacement, limit)


def _replaced(pattern: Pattern, text: str, replacement: _Expand, limit: int) -> str:
    data = text_bytes(text)
    parts: list[str] = []
    size = position = 0
    for match in pattern.all(text):
        parts += (data[position : match.start].decode(), replacement(match))
        size += len(parts[-1]) + len(parts[-2])
        check_size(size, limit, "characters")
        position = match.end
    return "".join(parts) + data[position:].decode()


def _group(pattern: Pattern, match: Match, reference: "re.Match[str]") -> str:
    name = reference["plain"] or reference["braced"]
    if name is None:
        return "$"
    number = int(name) if name.isdigit() and len(name) < 9 else pattern.names.get(name, -1)
    return match.groups[number] if 0 <= number < len(match.groups) else ""


def _quote_meta(text: str) -> str:
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)


def _package() -> Package:
    add = (signatures := Signatures("regexp")).add
    text, whole = Kind.STRING, Kind.INT
    add("Valid", (text,), Kind.BOOL, _valid)
    add("Match", (text, text), Kind.BOOL, _match)
    add("Find", (text, text), text, _find)
    add("FindAll", (text, text, whole), Kind.LIST, _find_all)
    add("FindSubmatch", (text, text), Kind.LIST, _find_submatch)
    add("FindAllSubmatch", (text, text, whole), Kind.LIST, _find_all_submatch)
    add("FindNamedSubmatch", (text, text), Kind.STRUCT, _find_named_submatch)
    add("FindAllNamedSubmatch", (text, text, whole), Kind.LIST, _find_all_named_submatch)
    add("ReplaceAll", (text, text, text), text, _replace_all, bounded=True)
    add("ReplaceAllLiteral", (text, text, text), text, _replace_all_literal, bounded=True)
    add("QuoteMeta", (text,), text, _quote_meta)
    return Package("regexp", MappingProxyType(signatures.members))


PACKAGE = _package()
