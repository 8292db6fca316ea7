"""Package ``strings``: text, by characters where a name says runes, else by bytes of UTF-8."""

from collections.abc import Callable
from types import MappingProxyType

from connect.config.cue.packages.arguments import byte_data, strings_of
from connect.config.cue.packages.signature import Signatures
from connect.config.cue.sequences import length, repeat
from connect.config.cue.values import (
    RESULT_LIMIT,
    BuiltinError,
    Concrete,
    Kind,
    Package,
    check_size,
)

__all__ = ["PACKAGE"]

# What Unicode calls white space; Python's `isspace` knows four more.
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_TO_SPACE = str.maketrans(dict.fromkeys(_SPACES, " "))


def _byte_at(data: str | bytes, index: int) -> int:
    octets = byte_data(data)
    if not 0 <= index < len(octets):
        raise BuiltinError(f"index {index} is out of range; there are {len(octets)} bytes")
    return octets[index]


def _byte_slice(data: str | bytes, start: int, end: int) -> bytes:
    octets = byte_data(data)
    _check_slice(start, end, len(octets), "bytes")
    return octets[start:end]


def _slice_runes(text: str, start: int, end: int) -> str:
    _check_slice(start, end, len(text), "characters")
    return text[start:end]


def _check_slice(start: int, end: int, size: int, unit: str) -> None:
    if not 0 <= start <= end <= size:
        raise BuiltinError(
            f"index out of range: {start} to {end} of {size} {unit};"
            f" expected 0 <= start <= end <= {size}"
        )


def _runes(text: str) -> list[Concrete]:
    return [ord(character) for character in text]


def _min_runes(text: str, least: int) -> bool:
    return len(text) >= least


def _max_runes(text: str, most: int) -> bool:
    return len(text) <= most


def _upper(character: str) -> str:
    """Map one character to one: where the whole mapping is longer, there is a simple one."""
    mapped = character.upper()
    return mapped if len(mapped) == 1 else _title(character)


def _title(character: str) -> str:
    mapped = character.title()
    return mapped if len(mapped) == 1 else character


def _lower(character: str) -> str:
    return character.lower()[0]  # only that of U+0130 is longer, and begins with the simple one


def _to_upper(text: str) -> str:
    return text.upper() if text.isascii() else "".join(map(_upper, text))


def _to_lower(text: str) -> str:
    return text.lower() if text.isascii() else "".join(map(_lower, text))


def _map_first_of_words(mapping: Callable[[str], str]) -> Callable[[str], str]:
    def mapped(text: str) -> str:
        befores = " " + text
        return "".join(
            mapping(character) if before in _SPACES else character
            for before, character in zip(befores, text, strict=False)
        )

    return mapped


def _compare(left: str, right: str) -> int:
    return (left > right) - (left < right)


def _contains_any(text: str, characters: str) -> bool:
    return not set(characters).isdisjoint(text)


def _index(text: str, part: str) -> int:
    return _byte_offset(text, text.find(part))


def _last_index(text: str, part: str) -> int:
    return _byte_offset(text, text.rfind(part))


def _index_any(text: str, characters: str) -> int:
    wanted = set(characters)
    found = (index for index, character in enumerate(text) if character in wanted)
    return _byte_offset(text, next(found, -1))


def _last_index_any(text: str, characters: str) -> int:
    wanted = set(characters)
    found = (index for index in range(len(text) - 1, -1, -1) if text[index] in wanted)
    return _byte_offset(text, next(found, -1))


def _byte_offset(text: str, index: int) -> int:
    return length(text[:index]) if index > 0 else index


def _split_n(text: str, separator: str, count: int) -> list[str]:
    """Split into at most `count` parts, all of them if it is negative."""
    if count == 0:
        return []
    if separator:
        return text.split(separator, count - 1 if count > 0 else -1)
    if count < 0 or count >= len(text):
        return list(text)
    return [*text[: count - 1], text[count - 1 :]]


def _split_after_n(text: str, separator: str, count: int) -> list[str]:
    parts = _split_n(text, separator, count)
    return [part + separator for part in parts[:-1]] + parts[-1:]


def _split(text: str, separator: str) -> list[str]:
    return _split_n(text, separator, -1)


def _split_after(text: str, separator: str) -> list[str]:
    return _split_after_n(text, separator, -1)


def _fields(text: str) -> list[str]:
    return [field for field in text.translate(_TO_SPACE).split(" ") if field]


def _join(parts: list[Concrete], separator: str, *, limit: int = RESULT_LIMIT) -> str:
    texts = strings_of(parts)
    size = sum(map(len, texts)) + len(separator) * max(len(texts) - 1, 0)
    check_size(size, limit, "characters")
    return separator.join(texts)


def _repeat(text: str, count: int, *, limit: int = RESULT_LIMIT) -> str:
    return repeat(text, count, limit)


def _trim(text: str, characters: str) -> str:
    return text.strip(characters)


def _trim_left(text: str, characters: str) -> str:
    return text.lstrip(characters)


def _trim_right(text: str, characters: str) -> str:
    return text.rstrip(characters)


def _replace(text: str, old: str, new: str, count: int, *, limit: int = RESULT_LIMIT) -> str:
    """Replace the first `count` occurrences, all of them if it is negative."""
    found = text.count(old) if count < 0 else min(text.count(old), count)
    check_size(len(text) + found * (len(new) - len(old)), limit, "characters")
    return text.replace(old, new, found)


def _package() -> Package:
    add = (signatures := Signatures("strings")).add
    text, whole, either = Kind.STRING, Kind.INT, Kind.BYTES | Kind.STRING
    add("ByteAt", (either, whole), whole, _byte_at)
    add("ByteSlice", (either, whole, whole), either, _byte_slice)
    add("Runes", (text,), Kind.LIST, _runes)
    add("MinRunes", (text, whole), Kind.BOOL, _min_runes)
    add("MaxRunes", (text, whole), Kind.BOOL, _max_runes)
    add("SliceRunes", (text, whole, whole), text, _slice_runes)
    add("ToTitle", (text,), text, _map_first_of_words(_title))
    add("ToCamel", (text,), text, _map_first_of_words(_lower))
    add("ToUpper", (text,), text, _to_upper)
    add("ToLower", (text,), text, _to_lower)
    add("Compare", (text, text), whole, _compare)
    add("Count", (text, text), whole, str.count)
    add("Contains", (text, text), Kind.BOOL, str.__contains__)
    add("ContainsAny", (text, text), Kind.BOOL, _contains_any)
    add("HasPrefix", (text, text), Kind.BOOL, str.startswith)
    add("HasSuffix", (text, text), Kind.BOOL, str.endswith)
    add("Index", (text, text), whole, _index)
    add("IndexAny", (text, text), whole, _index_any)
    add("LastIndex", (text, text), whole, _last_index)
    add("LastIndexAny", (text, text), whole, _last_index_any)
    add("Split", (text, text), Kind.LIST, _split)
    add("SplitN", (text, text, whole), Kind.LIST, _split_n)
    add("SplitAfter", (text, text), Kind.LIST, _split_after)
    add("SplitAfterN", (text, text, whole), Kind.LIST, _split_after_n)
    add("Fields", (text,), Kind.LIST, _fields)
    add("Join", (Kind.LIST, text), text, _join, bounded=True)
    add("Repeat", (text, whole), text, _repeat, bounded=True)
    add("Replace", (text, text, text, whole), text, _replace, bounded=True)
    add("Trim", (text, text), text, _trim)
    add("TrimLeft", (text, text), text, _trim_left)
    add("TrimRight", (text, text), text, _trim_right)
    add("TrimSpace", (text,), text, lambda value: value.strip(_SPACES))
    add("TrimPrefix", (text, text), text, str.removeprefix)
    add("TrimSuffix", (text, text), text, str.removesuffix)
    return Package("strings", MappingProxyType(signatures.members))


PACKAGE = _package()
